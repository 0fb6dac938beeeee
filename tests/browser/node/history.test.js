/** The history of a pin, and its drawing. */
import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { api, reset } from "./fake-browser.js";
import { History, Track } from "../../../www/dashboard/history.js";
import { plot } from "../../../www/dashboard/plot.js";

beforeEach(reset);

const track = (...changes) => new Track({ since: 0, value: 0, changes: changes.map(([time, value, by = null]) => ({ time, value, by })) });
const add = (to, time, value, by = null) => to.add({ time, value, by });
const steps = ({ changes }) => changes.map(({ time, value }) => [time, value]);

test("A change is added once, in the order of time", () => {
  const history = track([1, 1]);
  assert.deepEqual([add(history, 1, 0), add(history, 0.5, 0), add(history, 2, 1)], [false, false, false]); // known, late, no change
  assert.equal(add(history, 2, 0), true);
  assert.deepEqual(steps(history), [[1, 1], [2, 0]]);
  assert.equal(add(track(), 0, 1), false);
});

test("Levels that one client sets in quick succession are one change, the last", () => {
  const drag = track([1, 0.2, "phone"]);
  for (const [time, value] of [[2, 0.3], [2.5, 0.4]]) assert.equal(add(drag, time, value, "phone"), true);
  assert.deepEqual(steps(drag), [[2.5, 0.4]]);
  assert.equal(drag.last.began, 1);
  add(drag, 2.6, 0.5, "desk"); // another client
  add(drag, 3.7, 0.6, "desk"); // later than a second
  add(drag, 3.8, 0, "desk"); // off
  add(drag, 3.9, 0.1, "desk"); // on
  assert.deepEqual(steps(drag), [[2.5, 0.4], [2.6, 0.5], [3.7, 0.6], [3.8, 0], [3.9, 0.1]]);
  const long = track([1, 0.1, "phone"]);
  for (let i = 1; i <= 21; i++) add(long, 1 + i / 2, 0.1 + i / 100, "phone");
  assert.deepEqual(steps(long).map(([time]) => time), [11, 11.5]); // ten seconds at most
});

test("The oldest changes are forgotten, the value before the first is kept", () => {
  const history = track([1, 1], [2, 0], [3, 1]);
  history.forgetBefore(2.5);
  assert.deepEqual([history.since, history.value, steps(history)], [2, 0, [[3, 1]]]);
  for (let i = 0; i < 1000; i++) add(history, 4 + i, i % 2);
  assert.deepEqual([history.changes.length, history.since, history.value], [1000, 3, 1]);
});

test("A history is told as the times for which each value was kept", () => {
  const told = (history, end) => [...history.periods(end)].map(({ start, end: until, value }) => [start, until, value]);
  assert.deepEqual(told(track([1, 1], [3, 0.5]), 5), [[0, 1, 0], [1, 3, 1], [3, 5, 0.5]]);
  assert.deepEqual(told(track([1, 1], [3, 0.5]), 2), [[0, 1, 0], [1, 2, 1]]); // what came later is left out
  assert.deepEqual(told(track(), 0), []);
});

test("Changes that come before the fetched history are added to it", async () => {
  const pin = { name: "lamp", value: 1, since: 7, by: "phone" };
  const history = new History({ pins: new Map([["lamp", pin]]), time: 9 }, 300);
  assert.deepEqual([history.of("lamp").since, history.of("unknown").since], [7, 9]);
  assert.equal(await history.refresh(), false); // unreachable: it begins now
  api.answers["GET /history?seconds=300"] = { pins: { lamp: { since: 1, value: 0, changes: [] } } };
  assert.deepEqual(await Promise.all([history.refresh(), history.refresh()]), [false, true]); // the later answer counts
  assert.deepEqual(steps(history.of("lamp")), [[7, 1]]);
  assert.equal(history.record({ ...pin, since: null }), false);
});

/** Draw the ten seconds from `from` on 10 pixels; return for each column its colours from the bottom up. */
function drawn(history, { from = 0, end = Infinity, height = 8 } = {}) {
  const columns = Array.from({ length: 10 }, () => Array(height).fill(" "));
  const context = {
    canvas: { width: 10 },
    fillRect(x, y, width, rise) {
      const letter = { "--on": "#", "--on-mixed": "+", "--off": "_" }[context.fillStyle];
      for (const column of columns.slice(x, x + width)) column.fill(letter, height - y - rise, height - y);
    },
  };
  plot(context, history, { from, to: from + 10, end, top: 0, height });
  return columns.map((column) => column.join("").trim()).join(" ");
}

test("A pulse of a millisecond is one column wide, wherever it is", () => {
  const history = track([3.2, 1], [3.201, 0]);
  assert.equal(drawn(history), "_ _ _ _+++++++ _ _ _ _ _ _");
  assert.equal(drawn(history, { from: 1.7 }), "_ _ _+++++++ _ _ _ _ _ _ _"); // columns lie on the same grid
  assert.equal(drawn(history, { from: 4.1 }), "_ _ _ _ _ _ _ _ _ _");
});

test("A level is as high as its share, at least two pixels; a time that is not known is empty", () => {
  const history = track([2.5, 0.5], [4, 0.01], [6, null], [8, 1]);
  assert.equal(drawn(history, { end: 9.5 }), "_ _ _+++ #### ##++ ## ##  ######## ########");
  assert.equal(drawn(history, { end: 8.5 }), "_ _ _+++ #### ##++ ## ##  ######## ");
});
