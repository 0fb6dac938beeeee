/**
 * The language of the page, which the browser's languages decide, and its strings: one file of `languages/` for each language.
 * docs/languages.md says how to add one.
 */

/** @typedef {typeof import("../languages/en.json")} Strings */
/** @typedef {keyof (Strings["page"] & Strings["details"] & Strings["automation"] & Strings["covers"])} Text */
/** @typedef {"first"|"covers"|""} Part */
/** A string with forms for numbers. @typedef {Text extends infer K ? K extends `${infer N}_other` ? N : never : never} Counted */

const page = document.documentElement;
/** Whether a language's file is in the owner's folder, by its name: the server ends such names with a plus. @type {Map<string, boolean>} */
const files = new Map((page.dataset.languages ?? "").split(" ").filter(Boolean).map((each) => [each.replace("+", ""), each.endsWith("+")]));

/**
 * Return the first language that the page has, as the browser names it, and the name of its file: en-GB has other dates than en-US.
 * @param {readonly string[]} languages the browser's @param {readonly string[]} names of the files @returns {[string, string]}
 */
export function choose(languages, names) {
  for (const each of languages) {
    const tag = canonical(each);
    const name = fileOf(tag.toLowerCase(), names);
    if (name) return [tag, name];
  }
  return ["en", "en"];
}

/** Return the file for a language: that of its region or script, that of the language, or that of another region. @param {string} tag @param {readonly string[]} names */
function fileOf(tag, names) {
  for (let part = tag; part; part = part.slice(0, Math.max(0, part.lastIndexOf("-")))) if (names.includes(part)) return part;
  return names.find((name) => tag && name.startsWith(`${tag.split("-")[0]}-`));
}

/** Return a language's tag in its usual form; an empty one for what is no tag, such as en-US@posix. @param {string} tag */
function canonical(tag) {
  try {
    return /** @type {string} */ (Intl.getCanonicalLocales(tag)[0]);
  } catch {
    return "";
  }
}

export const [LOCALE, LANGUAGE] = choose(navigator.languages ?? [navigator.language], [...files.keys()]);

/** @type {Strings} */
let strings;
/** The strings of the page, and of its details once they are loaded. @type {Record<string, string>} */
let words;
const plurals = new Intl.PluralRules(LOCALE);
const numbers = new Intl.NumberFormat(LOCALE);

/**
 * Load the strings of the language: before all else, and not with a top-level await, which fails in WebKit (bug 242740). A built-in file is
 * complete. One of the owner may lack strings, or be broken: those are shown in English.
 * @param {Part} [part] what of the file is needed: `first` by the list of pins, `covers` also by that
 */
export async function loadStrings(part = "") {
  const english = files.get(LANGUAGE) && LANGUAGE !== "en" ? read("en", part) : null;
  const own = await read(LANGUAGE, part).catch((error) => String(error.message));
  const isWhole = typeof own === "object" && !english;
  const found = isWhole ? own : (await import("./own-language.js")).completed(LANGUAGE, own, await (english ?? read("en", part)));
  strings = { ...strings, ...found };
  words = { ...strings.details, ...strings.automation, ...strings.covers, ...strings.page };
  page.lang = typeof own === "object" ? LOCALE : "en";
  page.dir = strings.direction === "rtl" ? "rtl" : "ltr";
}

/** @param {string} language @param {Part} part @returns {Promise<Strings>} */
async function read(language, part) {
  const answer = await fetch(new URL(`../languages/${language}${part && `.${part}`}.json`, import.meta.url));
  if (!answer.ok) throw new Error(`expected a file, got ${answer.status}`);
  const found = await answer.json();
  if (typeof found !== "object" || !found || Array.isArray(found)) throw new Error("expected sections of strings in braces");
  return found;
}

/** Return a string of the page. @param {Text} key @param {Record<string, string|number>} [values] */
export function text(key, values = {}) {
  return fill(words[key] ?? key, values);
}

/** Return a string with its braces filled in. @param {string} template @param {Record<string, string|number>} values */
export function fill(template, values) {
  return template.replace(/\{(\w+)\}/g, (whole, name) => String(values[name] ?? whole));
}

/**
 * Return the form of a string for a number of things: keys end with the categories of Intl.PluralRules, `_other` at least.
 * @param {Record<string, string>} forms a section of the file @param {string} key @param {number} count
 */
export function plural(forms, key, count) {
  const found = forms[`${key}_${plurals.select(count)}`] ?? /** @type {string} */ (forms[`${key}_other`]);
  return fill(found, { count: numbers.format(count) });
}

/** Return a string with a number of things. @param {Counted} key @param {number} count */
export const counted = (key, count) => plural(words, key, count);

/** Return a section of the file. @template {keyof Strings} S @param {S} name @returns {Strings[S]} */
export const section = (name) => strings[name];

/** Return the string of a code or a fixed word of the server, or null. @param {string} key */
export function known(key) {
  return (Object.prototype.hasOwnProperty.call(words, key) && words[key]) || null;
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
