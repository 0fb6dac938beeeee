/** A language whose file is the owner's: it may lack strings, or be broken. What it lacks is English, and the console names it. */

/** @typedef {import("./i18n.js").Strings} Strings */
/** A part of a file, while it is not known to be right. @typedef {{[key: string]: unknown}} Part */

/**
 * Return strings with those that are missing from the English ones.
 * @param {string} language @param {Strings|string} own or why there are none @param {Strings} english @returns {Strings}
 */
export function completed(language, own, english) {
  /** @type {string[]} */
  const missing = [];
  const found = /** @type {any} */ (filled(own, english, "", missing));
  const fault = typeof own === "string" ? own : missing.length ? `expected also ${missing.join(", ")}` : "";
  if (fault) console.warn(`languages/${language}.json: ${fault}. What is missing is shown in English.`);
  return found;
}

/**
 * Return a part of a file with what it lacks. Other strings in it stay: they are forms of plurals.
 * @param {unknown} own @param {Part} english @param {string} path @param {string[]} missing gets the names of what is missing
 */
function filled(own, english, path, missing) {
  const given = /** @type {Part} */ (typeof own === "object" && own ? own : {});
  const all = Object.fromEntries(Object.entries(given).filter(([, value]) => typeof value === "string"));
  for (const [key, value] of Object.entries(english)) {
    const name = path + key;
    if (typeof value !== "string") all[key] = filled(given[key], /** @type {Part} */ (value), `${name}.`, missing);
    else if (typeof given[key] !== "string") {
      all[key] = value;
      if (!key.endsWith("_one")) missing.push(name); // many languages have no such form
    }
  }
  return all;
}
