/** The choice of the language, the files of strings, and what is shown where one is missing or broken. */
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { beforeEach, test } from "node:test";
import { api, LANGUAGES, page } from "./fake-browser.js";

const { anyText } = await inBrowser(["xx-YY", "id-ID", "en"], "fleet/i18n.js");
const { choose, counted, errorText, LANGUAGE, loadStrings, LOCALE, text } = await inBrowser(["xx-YY", "id-ID", "en"], "ui/i18n.js");
const { ago, forSpan, length, percent, span } = await inBrowser(["xx-YY", "id-ID", "en"], "ui/format.js");
await loadStrings();

const files = Object.fromEntries(await Promise.all(LANGUAGES.map(async (name) => [name, JSON.parse(await source(name))])));
/** @type {string[]} */
let warnings = [];
console.warn = (words) => warnings.push(words);
beforeEach(() => {
  warnings = [];
  Object.assign(api, { files: {}, read: [] });
});

/** Import a module in a browser with these languages. */
function inBrowser(languages, module) {
  navigator.languages = languages;
  return import(`../../../www/${module}`);
}

function source(name) {
  return readFile(new URL(`../../../www/languages/${name}.json`, import.meta.url), "utf8");
}

let copies = 0;
/** Import ui/i18n.js and load its strings in a browser of a language whose file the owner of the server has. */
async function withOwn(language, file, names = [...LANGUAGES, `${language}+`]) {
  page.documentElement.dataset.languages = names.join(" ");
  api.files = { [`${language}.json`]: typeof file === "string" ? file : JSON.stringify(file) };
  const module = await inBrowser([language], `ui/i18n.js?${++copies}`);
  await module.loadStrings();
  page.documentElement.dataset.languages = LANGUAGES.join(" ");
  return module;
}

test("The first of the browser's languages that the page has is chosen, also in another region", () => {
  assert.deepEqual([LOCALE, LANGUAGE], ["id-ID", "id"]);
  const names = ["de", "en", "id", "pt-br", "zh-hant"];
  const table = [
    [["en-GB", "id"], "en-GB", "en"],
    [["ID"], "id", "id"],
    [["in-ID"], "id-ID", "id"], // as old Androids call it
    [["xx-YY", "idx", "de-CH"], "de-CH", "de"],
    [["pt-PT"], "pt-PT", "pt-br"],
    [["zh-Hant-TW"], "zh-Hant-TW", "zh-hant"],
    [["en-US@posix", "id"], "id", "id"], // no tag, and Intl would throw
    [["xx"], "en", "en"],
    [[], "en", "en"],
  ];
  for (const [languages, ...found] of table) assert.deepEqual(choose(languages, names), found);
});

test("Numbers, times and strings are Indonesian", () => {
  assert.deepEqual([span(90), length(0.5), percent(0.35)], ["1 mnt", "0,5 dtk", "35%"]);
  assert.deepEqual([ago(9), ago(5 * 86_400), forSpan(3 * 86_400)], ["9 dtk lalu", "5 hari yang lalu", "selama 3 hari"]);
  assert.equal(counted("viewersCount", 1200), "1.200 halaman");
  assert.equal(errorText("bad-value", "value must be 0 or 1"), files.id.page["error:bad-value"]);
  assert.equal(anyText("signInThere"), "Masuk"); // of the fleet page
  assert.equal(anyText("howToTrust"), text("howToTrust")); // of all pages
  assert.equal(text("no-such-key"), "no-such-key");
  assert.deepEqual([page.documentElement.lang, page.documentElement.dir], ["id-ID", "ltr"]);
});

test("All languages have the same strings with the same names in braces, and each a form for all of its numbers", () => {
  const english = strings(files.en);
  for (const [name, file] of Object.entries(files)) {
    const categories = new Intl.PluralRules(name).resolvedOptions().pluralCategories;
    const expected = new Map();
    for (const [key, words] of english) {
      const base = key.replace(/_(one|other)$/, "");
      for (const each of base === key ? [""] : categories) expected.set(each ? `${base}_${each}` : key, names(words));
    }
    const found = new Map([...strings(file)].map(([key, words]) => [key, names(words)]));
    assert.deepEqual([...found].sort(), [...expected].sort(), name);
    assert.match(file.direction, /^(ltr|rtl)$/);
  }
});

test("An owner's language is shown, with its direction; what it lacks is English, and the console names it", async () => {
  const { page: strings, ...rest } = files.en;
  const { live: _, ...others } = strings;
  const arabic = { ...rest, direction: "rtl", page: { ...others, stale: "قديم", on: 5 } };
  const { text } = await withOwn("ar", arabic);
  assert.deepEqual([text("stale"), text("live"), text("on")], ["قديم", "Live", "on"]);
  assert.deepEqual([page.documentElement.lang, page.documentElement.dir], ["ar", "rtl"]);
  assert.equal(warnings.length, 1);
  assert.match(warnings[0], /^languages\/ar\.json: expected also page\.live, page\.on\. /);
  warnings = [];
  assert.equal((await withOwn("ar", files.en)).text("live"), "Live");
  assert.deepEqual(warnings, []);
  assert.deepEqual(api.read.slice(-2).sort(), ["ar.json", "en.json"]);
});

test("A built-in language needs no other file", async () => {
  const { text } = await withOwn("de", files.de, ["de", "en"]);
  assert.equal(text("on"), "an");
  assert.deepEqual(api.read, ["de.json"]);
});

test("With a broken file the page is English, and the console says why", async () => {
  for (const [broken, reason] of [["{", /JSON/], ["[]", /in braces/], ["5", /in braces/], ["", /JSON/]]) {
    warnings = [];
    const { text } = await withOwn("fr", broken);
    assert.equal(text("live"), "Live");
    assert.equal(warnings.length, 1);
    assert.match(warnings[0], reason);
    assert.match(warnings[0], /^languages\/fr\.json: .*English\.$/s);
    assert.equal(page.documentElement.lang, "en");
  }
});

test("Each language counts in its own way", async () => {
  const forms = { count_one: "{count} one", count_two: "two", count_few: "{count} few", count_many: "{count} many", count_other: "{count} other" };
  const { plural: polish } = await withOwn("pl", files.en);
  assert.deepEqual([1, 3, 5, 22, 1.5].map((n) => polish(forms, "count", n)), ["1 one", "3 few", "5 many", "22 few", "1,5 other"]);
  const { plural: arabic } = await withOwn("ar", files.en);
  assert.deepEqual([0, 2, 3, 11].map((n) => arabic(forms, "count", n).replace(/\S* /, "")), ["other", "two", "few", "many"]);
});

/** Return the strings of a file by their paths. @returns {Map<string, string>} */
function strings(file, path = "") {
  return new Map(Object.entries(file).flatMap(([key, value]) => (typeof value === "string" ? [[path + key, value]] : [...strings(value, `${path}${key}.`)])));
}

/** Return the names in braces that a string must have; the numeral of a single thing may be a word. */
const names = (words) => [...new Set(words.match(/\{\w+\}/g))].sort().join();
