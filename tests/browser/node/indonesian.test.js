/** The choice of the language, and strings in Indonesian. */
import assert from "node:assert/strict";
import { test } from "node:test";
import "./fake-browser.js";

const { anyText, loadStrings: loadFleet } = await choose(["de-DE", "id-ID", "en"], "../../../www/fleet/i18n.js");
const { chooseLocale, counted, errorText, LANGUAGE, loadStrings, LOCALE, text } = await import("../../../www/ui/i18n.js");
const { length, percent, span } = await import("../../../www/ui/format.js");
await Promise.all([loadStrings(), loadFleet()]);

/** Import a module in a browser with these languages. */
function choose(languages, module) {
  navigator.languages = languages;
  return import(module);
}

test("The first of the browser's languages that the page has is chosen", () => {
  assert.deepEqual([LOCALE, LANGUAGE], ["id-ID", "id"]);
  assert.deepEqual([["en-GB", "id"], ["ID"], ["de-DE", "idx", "eng"], []].map(chooseLocale), ["en-GB", "ID", "en", "en"]);
});

test("Numbers and strings are Indonesian", () => {
  assert.deepEqual([span(90), length(0.5), percent(0.35)], ["1 mnt", "0,5 dtk", "35%"]);
  assert.equal(counted("viewersCount", 1200), "1.200 halaman");
  assert.equal(errorText("bad-value", "value must be 0 or 1"), "nilai ini tidak dapat diterima pin ini");
  assert.equal(anyText("signInThere"), "Masuk"); // of the fleet page
  assert.equal(anyText("howToTrust"), text("howToTrust")); // of all pages
});

test("Both languages have the same strings, with the same names in braces", async () => {
  const shape = (strings) => Object.fromEntries(Object.entries(strings).map(([key, words]) => [key, names(words)]).sort());
  const names = (words) => [...new Set(words.match(/\{\w+\}/g))].sort();
  for (const folder of ["ui", "fleet"]) {
    const [english, indonesian] = await Promise.all(["en", "id"].map((each) => import(`../../../www/${folder}/strings.${each}.js`)));
    assert.deepEqual(shape(indonesian.default), shape(english.default));
  }
});
