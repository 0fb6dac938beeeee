/** Notices at the top of a page, and messages over it. */
import { make } from "./dom.js";
import { text } from "./i18n.js";
import { icon } from "./icons.js";
import { recall, remember } from "./stored.js";

/** @typedef {{code: string, words: string, detail?: string, isWarning?: boolean, action?: () => HTMLElement}} Notice */

/** Return its element. @param {Notice} notice */
export function noticeElement({ code, words, detail, isWarning, action }) {
  const whole = make("div", isWarning ? "notice warning" : "notice");
  whole.dataset.code = code;
  const line = make("p", "");
  if (words) line.append(make(detail ? "strong" : "span", "", words));
  if (detail) {
    const message = make("span", "detail", detail);
    message.lang = "en";
    line.append(" ", message);
  }
  whole.append(line);
  if (action) whole.append(action());
  return whole;
}

/** Return a link that looks like a button. @param {string} href @param {string} words */
export function linkButton(href, words) {
  const link = make("a", "button", words);
  link.href = href;
  return link;
}

/** Return a button with a picture. @param {string} style @param {string} picture @param {string} label */
export function iconButton(style, picture, label) {
  const button = make("button", style);
  button.append(icon(picture));
  button.setAttribute("aria-label", label);
  return button;
}

/** Return all that a notice says: as long as that is the same, it stays put away. @param {Notice} notice */
const contentOf = ({ code, words, detail }) => [code, words, detail ?? ""].join(" ");

/** The notices at the top of a page. Each can be put away on this device until it changes. */
export class NoticeList {
  /** @type {Notice[]} */ #all = [];
  #shown = "";
  #key;
  /** The contents of those that were put away. @type {string[]} */ #putAway;

  /** @param {HTMLElement} place @param {string} key under which the browser remembers what was put away */
  constructor(place, key) {
    this.place = place;
    this.#key = key;
    this.#putAway = recall(key, /** @type {string[]} */ ([]));
  }

  /** Draw them if they differ from those before. @param {Notice[]} all @param {boolean} isComplete true if all that hold now are known */
  show(all, isComplete) {
    this.#all = all;
    if (isComplete) this.#forget(all.map(contentOf));
    const found = all.filter((notice) => !this.#putAway.includes(contentOf(notice)));
    const shown = JSON.stringify(found);
    if (shown === this.#shown) return;
    this.#shown = shown;
    this.place.replaceChildren(...found.map((notice) => {
      const away = iconButton("away", "close", text("putAway"));
      away.onclick = () => this.#putAwayNow(notice);
      const element = noticeElement(notice);
      element.append(away);
      return element;
    }));
    this.onDrawn();
  }

  /** For subclasses to override. */
  onDrawn() {}

  /** A notice that ended would be a new one. @param {string[]} current contents */
  #forget(current) {
    const kept = this.#putAway.filter((content) => current.includes(content));
    if (kept.length !== this.#putAway.length) remember(this.#key, (this.#putAway = kept));
  }

  /** @param {Notice} notice */
  #putAwayNow(notice) {
    this.#putAway.push(contentOf(notice));
    remember(this.#key, this.#putAway);
    this.show(this.#all, false);
    /** @type {HTMLElement|null} */ (this.place.querySelector(".away"))?.focus();
  }
}

const TOAST_SHOWN_S = 20;
const MOST_TOASTS = 3;

/**
 * Show a message at the lower edge of the screen for a while: it moves nothing from under a thumb. Return a function that takes it away.
 * @param {string} label what it is about @param {string} words
 */
export function toast(label, words) {
  const place = document.querySelector("#toasts") ?? document.body.appendChild(Object.assign(make("div", ""), { id: "toasts" }));
  const whole = make("div", "toast");
  whole.setAttribute("role", "alert");
  const line = make("p", "");
  const name = make("strong", "", label);
  name.dir = "auto";
  line.append(name, ` ${words}`);
  const away = iconButton("away", "close", text("putAway"));
  const timer = setTimeout(() => whole.remove(), TOAST_SHOWN_S * 1000);
  const end = () => {
    clearTimeout(timer);
    whole.remove();
  };
  away.onclick = end;
  whole.append(line, away);
  while (place.childElementCount >= MOST_TOASTS) place.firstElementChild?.remove();
  place.append(whole);
  return end;
}
