/** The strings of the fleet page, beside those that all pages share. */
import { fill, known, plural, section } from "../ui/i18n.js";

/** @typedef {keyof import("../ui/i18n.js").Strings["fleet"]} Text */
/** A string with forms for numbers. @typedef {Text extends infer K ? K extends `${infer N}_other` ? N : never : never} Counted */

/** Return a string of this page. @param {Text} key @param {Record<string, string|number>} [values] */
export function text(key, values = {}) {
  return fill(section("fleet")[key], values);
}

/** Return a string with a number of things. @param {Counted} key @param {number} count */
export const counted = (key, count) => plural(section("fleet"), key, count);

/** Return a string of this page or of all pages. @param {string} key @param {Record<string, string|number>} [values] */
export function anyText(key, values = {}) {
  const own = section("fleet");
  return fill(key in own ? own[/** @type {Text} */ (key)] : (known(key) ?? ""), values);
}
