/** The notices at the top of a page. Each can be put away on this device until it changes. */
import { text } from "./i18n.js";
import { iconButton, noticeElement } from "./notice.js";
import { recall, remember } from "./stored.js";

/** @typedef {import("./notice.js").Notice} Notice */

/** Return all that a notice says: as long as that is the same, it stays put away. @param {Notice} notice */
const contentOf = ({ code, words, detail }) => [code, words, detail ?? ""].join(" ");

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
