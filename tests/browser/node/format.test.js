/** Numbers, times and strings in English. */
import assert from "node:assert/strict";
import { test } from "node:test";
import "./fake-browser.js";
import { author, degrees, lasting, length, moment, percent, span, stateText } from "../../../www/ui/format.js";
import { counted, errorText, fill, known, LANGUAGE, loadStrings, LOCALE, text } from "../../../www/ui/i18n.js";

await loadStrings();

/** Compare a table of arguments and results with what a function returns. */
const check = (format, table) => assert.deepEqual(table.map(([value]) => [value, format(value)]), table);

test("An age is told in the largest unit that is full", () => {
  check(span, [
    [-3, "0 sec"],
    [0.9, "0 sec"],
    [59.9, "59 sec"],
    [60, "1 min"],
    [3599, "59 min"],
    [3600, "1 hr"],
    [48 * 3600 - 1, "47 hr"],
    [48 * 3600, "2 days"],
  ]);
});

test("A configured length is told exactly", () => {
  check(length, [
    [0.2, "0.2 sec"],
    [0.0625, "0.063 sec"],
    [1, "1 sec"],
    [90, "90 sec"],
    [60, "1 min"],
    [600, "10 min"],
    [3600, "1 hr"],
    [5400, "90 min"],
  ]);
});

test("A duration is told to the millisecond below a minute, and with two units above", () => {
  check(lasting, [
    [-1, "0.000 sec"],
    [0.0042, "0.004 sec"],
    [59.999, "59.999 sec"],
    [60, "1 min"],
    [150.4, "2 min 30 sec"],
    [3600, "1 hr"],
    [3660, "1 hr 1 min"],
  ]);
});

test("A value is told as the mode of its pin has it", () => {
  assert.equal(stateText(null, "output"), "unavailable");
  assert.deepEqual([stateText(0, "input"), stateText(1, "output")], ["off", "on"]);
  assert.deepEqual([stateText(0, "pwm"), stateText(0.35, "pwm"), stateText(1, "pwm")], ["off", "35%", "100%"]);
  assert.deepEqual([percent(0.006), degrees(61.24)], ["1%", "61.2°C"]);
});

test("A time of day has its day if that is not today", () => {
  const noon = new Date().setHours(12, 0, 0, 42) / 1000;
  assert.equal(moment(noon), "12:00:00");
  assert.equal(moment(noon, true), "12:00:00.042");
  assert.match(moment(noon - 86_400), /^\w{3}, \w+ \w+, 12:00:00$/);
});

test("The cause of a change is the server's reason or a client's address", () => {
  check(author, [
    [null, ""],
    ["pulse", "pulse over"],
    ["max_on", "time limit reached"],
    ["192.168.1.20", "by 192.168.1.20"],
    ["noPins", "by noPins"], // a string of the page, but no reason
  ]);
});

test("A string is filled in", () => {
  assert.deepEqual([LOCALE, LANGUAGE], ["en-US", "en"]);
  assert.equal(text("silentFor", { span: "4 sec" }), "silent for 4 sec");
  assert.equal(fill("{a}{b}{a}", { a: "{b}", b: 2 }), "{b}2{b}");
  assert.deepEqual([counted("viewersCount", 1), counted("viewersCount", 1200)], ["1 page", "1,200 pages"]);
});

test("An error is told in the page's words, or in the server's where the page has none", () => {
  assert.equal(errorText("lost", "gone"), "the link was lost before the answer came");
  assert.equal(errorText("bad-value", "value must be 0 or 1"), "value must be 0 or 1");
  assert.equal(errorText("of-a-newer-server", "as it says"), "as it says");
  assert.equal(known("nothing"), null);
});
