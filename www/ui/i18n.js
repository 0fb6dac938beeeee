/** The language of the page, which the browser's languages decide, and its strings. */

/** @typedef {keyof typeof import("./strings.en.js").default} Text */

/** Return the first language that the page has, as the browser names it: en-GB has other dates than en-US. @param {readonly string[]} languages the browser's */
export const chooseLocale = (languages) => languages.find((tag) => /^(en|id)\b/i.test(tag)) ?? "en";
export const LOCALE = chooseLocale(navigator.languages ?? [navigator.language]);
export const LANGUAGE = LOCALE.slice(0, 2).toLowerCase();

/** @type {Record<Text, string>} */
let strings;
const plurals = new Intl.PluralRules(LOCALE);

/** Load the strings of the language, and of no other: before all else, and not with a top-level await, which fails in WebKit (bug 242740). */
export async function loadStrings() {
  strings = (await import(`./strings.${LANGUAGE}.js`)).default;
}

/** Return a string of the page. @param {Text} key @param {Record<string, string|number>} [values] */
export function text(key, values = {}) {
  return fill(strings[key], values);
}

/** Return a string with its braces filled in. @param {string} template @param {Record<string, string|number>} values */
export function fill(template, values) {
  return template.replace(/\{(\w+)\}/g, (_, name) => String(values[name]));
}

/** Return a string with a number of things. @param {"viewersCount"|"changesShown"} key @param {number} count */
export function counted(key, count) {
  return text(plurals.select(count) === "one" ? `${key}_one` : `${key}_other`, { count: count.toLocaleString(LOCALE) });
}

/** Return the string of a code or a fixed word of the server, or null. @param {string} key */
export function known(key) {
  return key in strings ? strings[/** @type {Text} */ (key)] : null;
}

/** Return the reason for an error: the page's own words, else the server's. @param {string} code @param {string} message */
export function errorText(code, message) {
  return known(`error:${code}`) || message;
}
