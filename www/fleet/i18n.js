/** The strings of the fleet page, beside those of ui/i18n.js. */
import { fill, known, LANGUAGE, LOCALE } from "../ui/i18n.js";

/** @typedef {keyof typeof import("./strings.en.js").default} Text */

/** @type {Record<Text, string>} */
let strings;
const plurals = new Intl.PluralRules(LOCALE);

/** Load the strings of the language. */
export async function loadStrings() {
  strings = (await import(`./strings.${LANGUAGE}.js`)).default;
}

/** Return a string of this page. @param {Text} key @param {Record<string, string|number>} [values] */
export function text(key, values = {}) {
  return fill(strings[key], values);
}

/** @param {number} count */
export const number = (count) => count.toLocaleString(LOCALE);

/** Return a number of Pis. @param {number} count */
export const counted = (count) => text(plurals.select(count) === "one" ? "count_one" : "count_other", { count: number(count) });

/** Return a string of this page or of ui/. @param {string} key @param {Record<string, string|number>} [values] */
export function anyText(key, values = {}) {
  return fill(key in strings ? strings[/** @type {Text} */ (key)] : (known(key) ?? ""), values);
}
