/** The strings of the fleet page, beside those that all pages share. */
import { fill, known, LOCALE, plural, section } from "../ui/i18n.js";

/** @typedef {keyof import("../ui/i18n.js").Strings["fleet"]} Text */

/** Return a string of this page. @param {Text} key @param {Record<string, string|number>} [values] */
export function text(key, values = {}) {
  return fill(section("fleet")[key], values);
}

/** @param {number} count */
export const number = (count) => count.toLocaleString(LOCALE);

/** Return a number of Pis. @param {number} count */
export const counted = (count) => plural(section("fleet"), "count", count);

/** Return a string of this page or of all pages. @param {string} key @param {Record<string, string|number>} [values] */
export function anyText(key, values = {}) {
  const own = section("fleet");
  return fill(key in own ? own[/** @type {Text} */ (key)] : (known(key) ?? ""), values);
}
