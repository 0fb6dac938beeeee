/** Numbers, times and strings in English. */
import assert from "node:assert/strict";
import { test } from "node:test";
import "./fake-browser.js";
import { author, lasting, length, moment, span } from "../../../www/ui/format.js";
import { errorText, fill, loadStrings } from "../../../www/ui/i18n.js";

await loadStrings();

/** Compare a table of arguments and results with what a function returns. */
const check = (format, table) => assert.deepEqual(table.map(([value]) => [value, format(value)]), table);

test("An age is told in the largest unit that is full", () => {
  check(span, [
    [59.9, "59 sec"],
    [60, "1 min"],
    [48 * 3600 - 1, "47 hr"],
    [48 * 3600, "2 days"],
  ]);
});

test("A configured length is told exactly, a duration to the millisecond below a minute, and with two units above", () => {
  check(length, [
    [0.0625, "0.063 sec"],
    [90, "90 sec"],
    [3600, "1 hr"],
    [5400, "90 min"],
  ]);
  check(lasting, [
    [-1, "0.000 sec"],
    [59.999, "59.999 sec"],
    [150.4, "2 min 30 sec"],
    [3660, "1 hr 1 min"],
  ]);
});

test("A time of day has its day if that is not today; a cause is the server's reason or a client's address", () => {
  const noon = new Date().setHours(12, 0, 0, 42) / 1000;
  assert.equal(moment(noon), "12:00:00");
  assert.equal(moment(noon, true), "12:00:00.042");
  assert.match(moment(noon - 86_400), /^\w{3}, \w+ \w+, 12:00:00$/);
  check(author, [
    [null, ""],
    ["max_on", "time limit reached"],
    ["noPins", "by noPins"], // a string of the page, but no reason
  ]);
});

test("An error is told in the page's words, or in the server's where the page has none", () => {
  assert.equal(errorText("unknown-pin", "no pin", { name: "lamp" }), "there is no pin lamp");
  assert.equal(errorText("unknown-pin", "as an older server says"), "as an older server says");
  assert.equal(errorText("of-a-newer-server", "as it says"), "as it says");
  assert.equal(fill("{a}{b}{a}", { a: "{b}", b: 2 }), "{b}2{b}");
});
