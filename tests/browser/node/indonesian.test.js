/** The choice of the language, and strings in Indonesian. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { readFile } from "node:fs/promises";
import { LANGUAGES } from "./fake-browser.js";

const { anyText } = await choose(["xx-YY", "id-ID", "en"], "../../../www/fleet/i18n.js");
const { chooseLocale, counted, errorText, LANGUAGE, loadStrings, LOCALE, text } = await import("../../../www/ui/i18n.js");
const { length, percent, span } = await import("../../../www/ui/format.js");
await loadStrings();

/** Import a module in a browser with these languages. */
function choose(languages, module) {
  navigator.languages = languages;
  return import(module);
}

test("The first of the browser's languages that the page has is chosen", () => {
  assert.deepEqual([LOCALE, LANGUAGE], ["id-ID", "id"]);
  assert.deepEqual([["en-GB", "id"], ["ID"], ["xx-YY", "idx", "eng"], []].map((each) => chooseLocale(each, LANGUAGES)), ["en-GB", "ID", "en", "en"]);
});

test("Numbers and strings are Indonesian", () => {
  assert.deepEqual([span(90), length(0.5), percent(0.35)], ["1 mnt", "0,5 dtk", "35%"]);
  assert.equal(counted("viewersCount", 1200), "1.200 halaman");
  assert.equal(errorText("bad-value", "value must be 0 or 1"), "nilai ini tidak dapat diterima pin ini");
  assert.equal(anyText("signInThere"), "Masuk"); // of the fleet page
  assert.equal(anyText("howToTrust"), text("howToTrust")); // of all pages
});

test("All languages have the same strings, with the same names in braces", async () => {
  const english = shape(await language("en"));
  for (const name of LANGUAGES) assert.deepEqual(shape(await language(name)), english, name);
});

const language = async (name) => JSON.parse(await readFile(new URL(`../../../www/languages/${name}.json`, import.meta.url), "utf8"));
const names = (words) => [...new Set(words.match(/\{\w+\}/g))].sort();

/** Return the keys of a file with the names in braces, the forms of a plural as one. */
function shape(strings, path = "") {
  if (typeof strings === "string") return [[path.replace(/_(zero|one|two|few|many|other)$/, "_*"), names(strings)]];
  const found = Object.entries(strings).flatMap(([key, value]) => shape(value, `${path}/${key}`));
  return [...new Map(found.filter(([key]) => key !== "/direction"))].sort();
}
