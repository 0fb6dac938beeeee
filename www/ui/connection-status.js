/** The state of the connection, always visible, and the time since the last message. */
import { part, setAttribute, setHidden, setText } from "./dom.js";
import { ago } from "./format.js";
import { text } from "./i18n.js";

/** @typedef {import("./connection.js").Link} Link */

/** The text in the place of the pins while there are none to show. @type {Partial<Record<Link, import("./i18n.js").Text>>} */
const WAITING = { lost: "noAnswer", "sign-in": "needsCode", forbidden: "notShown" };

/** @param {{link: Link, silence: number|null, isFresh: boolean}} connection */
export function showStatus({ link, silence, isFresh }) {
  setAttribute(document.body, "data-link", link);
  document.body.toggleAttribute("data-fresh", isFresh);
  setText(part(document, "#link strong"), text(link));
  let received = "";
  if (silence !== null && isFresh) received = silence < 2 ? text("justNow") : ago(silence);
  else if (silence !== null) received = text("silentFor", { ago: ago(silence) });
  setText(part(document, "#link span"), received);
  const waiting = WAITING[link];
  if (waiting) setText(part(document, "#waiting"), text(waiting));
  if (link === "sign-in" || link === "forbidden") setHidden(part(document, "#waiting"), false);
  setHidden(part(document, "#way-in"), link !== "sign-in");
}
