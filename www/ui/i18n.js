/**
 * The language of the page, which the browser's languages decide, and its strings: one file of `languages/` for each language. To add
 * one, copy en.json to a new name, such as fr.json, and translate it.
 */

/** @typedef {typeof import("../languages/en.json")} Strings */
/** @typedef {keyof Strings["page"]} Text */
/** A string with forms for numbers. @typedef {Text extends infer K ? K extends `${infer N}_other` ? N : never : never} Counted */

const page = document.documentElement;
const available = (page.dataset.languages ?? "").split(" ").filter(Boolean);

/**
 * Return the first language that the page has, as the browser names it: en-GB has other dates than en-US.
 * @param {readonly string[]} languages the browser's @param {readonly string[]} files the languages of the page
 */
export function chooseLocale(languages, files) {
  return languages.find((tag) => files.includes(fileOf(tag, files))) ?? "en";
}

/** Return the name of the file for a language: that of the region, if there is one. @param {string} tag @param {readonly string[]} files */
export function fileOf(tag, files) {
  const name = tag.toLowerCase();
  return files.includes(name) ? name : /** @type {string} */ (name.split("-")[0]);
}

export const LOCALE = chooseLocale(navigator.languages ?? [navigator.language], available);
export const LANGUAGE = fileOf(LOCALE, available);

/** @type {Strings} */
let strings;
const plurals = new Intl.PluralRules(LOCALE);

/** Load the strings of the language, and of no other: before all else, and not with a top-level await, which fails in WebKit (bug 242740). */
export async function loadStrings() {
  const answer = await fetch(new URL(`../languages/${LANGUAGE}.json`, import.meta.url));
  if (!answer.ok) throw new Error(`languages/${LANGUAGE}.json: ${answer.status}`);
  strings = await answer.json();
  page.lang = LOCALE;
  page.dir = "direction" in strings ? String(strings.direction) : "ltr";
}

/** Return a string of the page. @param {Text} key @param {Record<string, string|number>} [values] */
export function text(key, values = {}) {
  return fill(strings.page[key], values);
}

/** Return a string with its braces filled in. @param {string} template @param {Record<string, string|number>} values */
export function fill(template, values) {
  return template.replace(/\{(\w+)\}/g, (_, name) => String(values[name]));
}

/**
 * Return the form of a string for a number of things: keys end with the categories of Intl.PluralRules, `_other` at least.
 * @param {Record<string, string>} forms a section of the file @param {string} key @param {number} count
 */
export function plural(forms, key, count) {
  const found = forms[`${key}_${plurals.select(count)}`] ?? /** @type {string} */ (forms[`${key}_other`]);
  return fill(found, { count: count.toLocaleString(LOCALE) });
}

/** Return a string with a number of things. @param {Counted} key @param {number} count */
export const counted = (key, count) => plural(strings.page, key, count);

/** Return a section of the file. @template {keyof Strings} S @param {S} name @returns {Strings[S]} */
export const section = (name) => strings[name];

/** Return the string of a code or a fixed word of the server, or null. @param {string} key */
export function known(key) {
  return key in strings.page ? strings.page[/** @type {Text} */ (key)] : null;
}

/**
 * Return what the server says in the words of the page, or null if it has none.
 * @param {string} key @param {Record<string, string|number>} [values]
 */
export function worded(key, values = {}) {
  const template = known(key);
  if (!template || [...template.matchAll(/\{(\w+)\}/g)].some(([, name]) => !(/** @type {string} */ (name) in values))) return null;
  return fill(template, values);
}

/**
 * Return the reason for an error: the page's own words, else the server's.
 * @param {string} code the `reason` of the server, or its code @param {string} message @param {Record<string, string|number>} [values]
 */
export const errorText = (code, message, values) => worded(`error:${code}`, values) ?? message;

/**
 * Return why a pin is unavailable.
 * @param {string} error @param {{error_reason?: string|null, error_values?: Record<string, string|number>}} pin
 */
export const brokenText = (error, { error_reason, error_values }) => errorText(error_reason ?? error, error, error_values);
