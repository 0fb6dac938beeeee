/** The few things every part of the page does with elements. Texts go in as texts, never as HTML. */

/** @template {keyof HTMLElementTagNameMap} K @param {K} tag @param {string} style its class */
export function make(tag, style) {
  const element = document.createElement(tag);
  element.className = style;
  return element;
}

/** @param {ParentNode} whole @param {string} selector @returns {HTMLElement} */
export function part(whole, selector) {
  const found = whole.querySelector(selector);
  if (!(found instanceof HTMLElement)) throw new Error(`the page has no ${selector}`);
  return found;
}

/** Writes only what differs, so that nothing is drawn or read aloud twice. @param {Element} element @param {string} text */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Puts a button to an example that copies it. The clipboard needs https, so there is an older way besides. @param {HTMLElement} example */
export function copyable(example) {
  const button = make("button", "copy");
  button.textContent = "Copy";
  button.onclick = async () => {
    const code = part(example, "code");
    getSelection()?.selectAllChildren(code);
    const copied = navigator.clipboard
      ? await navigator.clipboard.writeText(code.textContent ?? "").then(() => true, () => false)
      : document.execCommand("copy");
    button.textContent = copied ? "Copied" : "Selected: copy it";
  };
  example.append(button);
}

/** A copy of a template's one element. @param {string} id @returns {HTMLElement} */
export function stamp(id) {
  const template = /** @type {HTMLTemplateElement} */ (part(document, `template#${id}`));
  return /** @type {HTMLElement} */ (/** @type {Element} */ (template.content.firstElementChild).cloneNode(true));
}
