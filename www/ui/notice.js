/** One notice at the top of a page. */
import { make } from "./dom.js";

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
