/** Helpers for elements. Texts go in as texts, never as HTML. */
import { text } from "./i18n.js";

/** Return a new element. @template {keyof HTMLElementTagNameMap} K @param {K} tag @param {string} style its class @param {string} [words] */
export function make(tag, style, words = "") {
  const element = document.createElement(tag);
  element.className = style;
  element.textContent = words;
  return element;
}

/** Return the one part of an element. @param {ParentNode} whole @param {string} selector @returns {HTMLElement} */
export function part(whole, selector) {
  const found = whole.querySelector(selector);
  if (!(found instanceof HTMLElement)) throw new Error(`the page has no ${selector}`);
  return found;
}

/** Add a style sheet to the page, and wait until it is there. @param {URL} url @returns {Promise<unknown>} */
export function loadStyle({ href }) {
  const style = Object.assign(make("link", ""), { rel: "stylesheet", href });
  document.head.append(style);
  return new Promise((resolve, reject) => {
    style.onload = resolve;
    style.onerror = () => {
      style.remove();
      reject(new Error(href));
    };
  });
}

/** Write a text if it differs, so that nothing is drawn or read aloud twice. @param {Element} element @param {string} words */
export function setText(element, words) {
  if (element.textContent !== words) element.textContent = words;
}

/** Write an attribute if it differs. @param {Element} element @param {string} name @param {string} value */
export function setAttribute(element, name, value) {
  if (element.getAttribute(name) !== value) element.setAttribute(name, value);
}

/** Hide an element or show it, if it is not so already. @param {HTMLElement} element @param {boolean} isHidden */
export function setHidden(element, isHidden) {
  if (element.hidden !== isHidden) element.hidden = isHidden;
}

/** Make these the children of a place. Those that are in theirs are not touched, and keep the focus. @param {Element} place @param {Element[]} children */
export function put(place, children) {
  let next = place.firstElementChild;
  for (const child of children) {
    if (child === next) next = next.nextElementSibling;
    else place.insertBefore(child, next);
  }
  while (next) {
    const after = next.nextElementSibling;
    next.remove();
    next = after;
  }
}

/**
 * Fill in the texts that elements name in `data-text` and `data-label`; `code` elements in them go where the text has their name in braces.
 * @param {ParentNode} whole @param {(key: any, values?: Record<string, string>) => string} [words] returns the text of a key
 */
export function fillIn(whole, words = text) {
  for (const element of whole.querySelectorAll("[data-label]")) {
    element.setAttribute("aria-label", words(element.getAttribute("data-label")));
  }
  for (const element of whole.querySelectorAll("[data-text]")) {
    const key = element.getAttribute("data-text");
    const names = new Map([...element.children].map((child) => [`{${child.getAttribute("data-name")}}`, child]));
    if (!names.size) element.textContent = words(key);
    else element.replaceChildren(...sentence(words(key, Object.fromEntries([...names.keys()].map((name) => [name.slice(1, -1), name]))), names));
  }
}

/** Return a text with elements in the places of their names. @param {string} whole @param {Map<string, Element>} elements by "{name}" */
function sentence(whole, elements) {
  return whole.split(/(\{\w+\})/).map((piece) => elements.get(piece) ?? piece);
}

/** Return a copy of a template's one element. @param {string} id @returns {HTMLElement} */
export function stamp(id) {
  const template = /** @type {HTMLTemplateElement} */ (part(document, `template#${id}`));
  return /** @type {HTMLElement} */ (/** @type {Element} */ (template.content.firstElementChild).cloneNode(true));
}
