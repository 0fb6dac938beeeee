/** The words for schedules and rules, in each language. */
import assert from "node:assert/strict";
import { test } from "node:test";
import "./fake-browser.js";
import { daysInWords, ruleInWords, ruleState, scheduleInWords, scheduleState } from "../../../www/dashboard/automation-words.js";
import { inWords, timeToCome } from "../../../www/dashboard/strip.js";
import { author } from "../../../www/ui/format.js";
import { loadStrings } from "../../../www/ui/i18n.js";

await loadStrings();

const ALL_DAYS = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
const PINS = new Map([
  ["porch", { label: "Porch", mode: "pwm", kind: "light" }],
  ["lamp", { label: "Hall lamp", mode: "output", kind: "light" }],
  ["lawn", { label: "Lawn", mode: "output", kind: "valve" }],
  ["gate", { label: "Gate", mode: "output", kind: "gate" }],
  ["motion", { label: "Motion", mode: "input", kind: "motion" }],
  ["door", { label: "Front door", mode: "input", kind: "door" }],
]);
const pins = (name) => PINS.get(name);
const schedule = (more) => ({ pin: null, from: null, to: null, at: null, days: ALL_DAYS, value: null, pulse: null, turn_off: [], paused: false, until: null, next: null, skipped: null, ...more });
const rule = (more) => ({ when: [], while: [], press: null, for: null, hold: null, only: null, turn_on: [], turn_off: [], toggle: [], set: {}, pulse: [], paused: false, parked: false, acting: false, open: true, ...more });
const at = (...date) => new Date(...date).getTime() / 1000;

test("A schedule is a sentence", () => {
  const table = [
    [{ pin: "porch", from: "sunset+00:20", to: "23:00", value: 0.4, days: ALL_DAYS.slice(0, 5) }, "Porch 40% from 20 min after sunset to 23:00, Mon\u2060–\u2060Fri"],
    [{ pin: "lamp", from: "sunset", to: "sunrise", value: 1 }, "Hall lamp on from sunset to sunrise"],
    [{ pin: "lamp", from: "06:00", to: "sunrise-01:30", value: 1 }, "Hall lamp on from 06:00 to 1 hr 30 min before sunrise"],
    [{ pin: "lamp", from: "00:00", to: "24:00", value: 0 }, "Hall lamp off all day"],
    [{ pin: "lamp", from: "18:00", to: "24:00", value: 1 }, "Hall lamp on from 18:00 to 00:00"],
    [{ pin: "lawn", at: "06:30", pulse: 600, days: ["mon", "wed", "fri"] }, "Lawn open for 10 min at 06:30, Mon, Wed, and Fri"],
    [{ pin: "gate", at: "sunset", pulse: 0.5, days: ["sat", "sun"] }, "Press Gate at sunset, Sat and Sun"],
    [{ at: "sunrise+00:10", turn_off: ["lamp", "porch", "gone"] }, "Hall lamp, Porch, and gone off 10 min after sunrise"],
  ];
  for (const [keys, words] of table) assert.equal(scheduleInWords(schedule(keys), pins), words);
  assert.equal(daysInWords(["sat", "sun", "mon"]), "Mon, Sat, and Sun");
});

test("A rule is a sentence", () => {
  const table = [
    [{ when: ["motion"], turn_on: ["lamp"], hold: 180, only: { from: "sunset", to: "sunrise" } }, "Motion turns on Hall lamp, and 3 min longer, from sunset to sunrise"],
    [{ when: ["motion", "door"], turn_off: ["lamp", "porch"] }, "Motion or Front door turns off Hall lamp and Porch"],
    [{ when: ["door"], press: "short", toggle: ["lamp"] }, "A press of Front door turns Hall lamp on or off"],
    [{ when: ["door"], press: "long", turn_on: ["lamp"], turn_off: ["porch"] }, "A long press of Front door turns on Hall lamp and turns off Porch"],
    [{ when: ["door"], press: "double", set: { porch: 0.4, lamp: 1 } }, "A double press of Front door sets Porch to 40% and sets Hall lamp to 100%"],
    [{ while: ["motion"], turn_on: ["lamp"], set: { porch: 0.5 } }, "Motion keeps Hall lamp on and keeps Porch at 50%"],
    [{ while: ["motion"], turn_off: ["lamp"] }, "Motion keeps Hall lamp off"],
    [{ when: ["door"], for: 600, pulse: ["gate"], only: { from: "22:00", to: "06:00" } }, "Front door presses Gate after 10 min, from 22:00 to 06:00"],
  ];
  for (const [keys, words] of table) assert.equal(ruleInWords(rule(keys), pins), words);
});

test("A schedule tells what it does now, and what comes next", () => {
  const now = at(2026, 10, 30, 14, 0);
  const window = { begin: at(2026, 11, 1, 6, 0), end: at(2026, 11, 1, 7, 30) };
  const state = (more, isKnown = true) => scheduleState(schedule(more), isKnown, now);
  assert.deepEqual(state({ until: at(2026, 10, 30, 23, 0), next: window }), ["Acting now, until 23:00", "Next: tomorrow, 06:00 to 07:30"]);
  assert.deepEqual(state({ next: { begin: at(2026, 11, 2, 6, 30), end: null }, skipped: "2026-12-01" }), ["Skipped: Tuesday, December 1", "Next: Wednesday, 06:30"]);
  const allDay = { begin: at(2026, 11, 1, 0, 0), end: at(2026, 11, 2, 0, 0) };
  assert.deepEqual(state({ until: allDay.begin, next: allDay }), ["Acting now"]);
  assert.deepEqual(state({}), ["Nothing is coming up"]);
  assert.deepEqual(state({ paused: true, next: window }, false), ["Paused"]);
  assert.deepEqual(state({ next: window }, false), ["Rests until the time is known"]);
  assert.equal(timeToCome(at(2026, 11, 24, 18, 0), now), "Thu, Dec 24, 18:00");
  assert.equal(timeToCome(at(2026, 10, 30, 18, 0), now), "18:00");
});

test("A rule tells what it does now", () => {
  const only = { from: "sunset", to: "sunrise" };
  const table = [[{}, "Ready"], [{ acting: true }, "Acting now"], [{ only, open: false }, "Not at this time of day"], [{ paused: true }, "Paused"], [{ parked: true }, "Stopped by itself, because it switched too often"]];
  for (const [keys, words] of table) assert.equal(ruleState(rule(keys), true), words);
  assert.equal(ruleState(rule({ only, open: false }), false), "Rests until the time is known");
  assert.equal(ruleState(rule({}), false), "Ready");
});

test("The next 24 hours are told in words; what goes on after them has no end", () => {
  const now = at(2026, 10, 30, 14, 0);
  const porch = pins("porch");
  const planned = [
    { begin: now, end: at(2026, 10, 30, 23, 0), value: 0.4, schedule: "evening" },
    { begin: at(2026, 11, 1, 6, 0), end: at(2026, 11, 1, 7, 0), value: 0, schedule: "early_bird" },
    { begin: at(2026, 11, 1, 11, 15), end: now + 86400, value: 0.4, schedule: "evening" },
  ];
  assert.deepEqual(inWords(planned, porch, now), ["Until 23:00: 40% (evening)", "tomorrow, 06:00 to 07:00: off (early bird)", "From tomorrow, 11:15: 40% (evening)"]);
  assert.deepEqual(inWords([{ begin: now, end: now + 86400, value: 1, schedule: "x" }], porch, now), ["All the time: 100% (x)"]);
});

test("Who changed a pin is told in words", () => {
  const table = [["schedule all_off", "by schedule “all off”"], ["rule hall", "by rule “hall”"], ["timer", "its time was over"], ["manual_hold", "back to automatic"], ["pulse", "pulse ended"], ["mqtt", "by mqtt"], ["10.0.0.5", "by 10.0.0.5"], [null, ""]];
  for (const [by, words] of table) assert.equal(author(by), words);
});
