/**
 * A page that another site frames (`access.origins`): cookies do not count there, since that site could make people press. The page
 * asks for the code, and keeps it in memory only: it is gone when the page is.
 */

/** True if a page of another origin is around this one, whichever is nearest. */
export const isFramed = hasForeignAncestor();

/** @type {string|null} */
let code = null;

function hasForeignAncestor() {
  try {
    for (let page = window; page !== page.parent; ) {
      page = /** @type {Window & typeof globalThis} */ (page.parent);
      if (page.location.origin !== location.origin) return true;
    }
  } catch {
    return true; // browsers show a page nothing of one of another origin
  }
  return false;
}

/** Keep a code, or forget it. @param {string|null} typed */
export function keepCode(typed) {
  code = typed;
}

/** Return whether this page has a code in memory. */
export const hasCode = () => code !== null;

/** Return what identifies this page in a request: its cookie, or in a frame the code, if there is one. @returns {RequestInit} */
export function credentials() {
  if (!isFramed) return {};
  return { credentials: "omit", headers: code === null ? {} : { Authorization: `Bearer ${code}` } };
}
