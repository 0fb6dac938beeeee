/** How fresh the page is, always in sight: the state of the link, and when anything was last heard. */
import { mark, part, say } from "./dom.js";
import { text } from "./texts.js";
import { span } from "./words.js";

/** @typedef {import("./lifeline.js").Link} Link */

/** What to say while there is nothing to show. @type {Partial<Record<Link, import("./texts.js").Text>>} */
const WAITING = { lost: "noAnswer", "sign-in": "needsCode", forbidden: "notShown" };

/** @param {{link: Link, silence: number|null, isFresh: boolean}} lifeline */
export function showLink({ link, silence, isFresh }) {
  mark(document.body, "data-link", link);
  document.body.toggleAttribute("data-fresh", isFresh);
  say(part(document, "#link strong"), text(link));
  let heard = "";
  if (silence !== null && isFresh) heard = silence < 2 ? text("justNow") : text("ago", { span: span(silence) });
  else if (silence !== null) heard = text("silentFor", { span: span(silence) });
  say(part(document, "#link span"), heard);
  const words = WAITING[link];
  if (words) say(part(document, "#waiting"), text(words));
  if (link === "sign-in" || link === "forbidden") part(document, "#waiting").hidden = false;
  part(document, "#way-in").hidden = link !== "sign-in";
}
