/** Notices at the top of a page, and messages over it. */
import { make } from "./dom.js";
import { text } from "./i18n.js";
import { icon } from "./icons.js";

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
