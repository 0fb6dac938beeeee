/** Covers: their words, their places among pins, their commands, and what they are without a WebSocket. */
import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { api, clock, FakeSocket, page, reset } from "./fake-browser.js";
import { phrases } from "../../../www/dashboard/summary.js";
import { ruleInWords, scheduleInWords } from "../../../www/dashboard/automation-words.js";
import { connect } from "../../../www/raspi.js";
import { allInWords, coverOf, items, merged, shareOf, stateInWords } from "../../../www/ui/cover.js";
import { pictureOf } from "../../../www/ui/cover-picture.js";
import { isQuiet } from "../../../www/ui/cover-control.js";
import "../../../www/ui/cover-polling.js"; // loaded already: it takes no time that the clock does not know
import { loadStrings } from "../../../www/ui/i18n.js";
import { toneOf } from "../../../www/ui/kinds.js";

beforeEach(reset);
await loadStrings();

const cover = (name, more = {}) => ({
  name, label: name, kind: "garage_door", room: null, icon: null, hidden: false, writable: true, control: "everyone", confirm: false, has_position: false,
  can_stop: true, pins: [], state: "closed", position: null, goal: null, problem: null, since: 5, ...more,
});

/** Return a live connection to a server with these covers. */
function live(covers, options = {}) {
  const raspi = connect(options);
  FakeSocket.last.receive({ type: "hello", time: clock.wall, interval: 1, pins: [], state: {}, covers });
  return raspi;
}

test("The state of a cover is told in words, with its position where it is known", () => {
  const told = (state, position = null, more = {}) => stateInWords(cover("garage", { state, position, ...more }));
  assert.deepEqual(["open", "opening", "closed", "closing", "stopped", "unknown"].map((state) => told(state)), ["open", "opening…", "closed", "closing…", "stopped", "unknown"]);
  assert.deepEqual([told("open", 100), told("closed", 0), told("stopped", 40), told("open", 40), told("closing", 35)], ["open", "closed", "40% open", "40% open", "closing… 35%"]);
  assert.equal(told("stopped", null, { has_position: true }), "unknown"); // as after a power cut on its way
  assert.equal(told("a later state"), "unknown");
});

test("A goal that waits is told after the state, and can be dropped", () => {
  const told = (more) => allInWords(cover("garage", more));
  assert.equal(told({ state: "opening", goal: "close" }), "opening…, then closes");
  assert.equal(told({ state: "closing", goal: "open" }), "closing…, then opens");
  assert.equal(told({ state: "open", goal: "close" }), "open, then closes"); // at rest for a moment
  assert.equal(told({ state: "closing", goal: "close" }), "closing…");
  assert.equal(told({ state: "opening", goal: 40 }), "opening…");
  assert.equal(isQuiet("stop", cover("garage", { state: "open", goal: "close" })), false);
});

test("A button is quiet where its goal is reached or underway, and one that stops while nothing moves", () => {
  const quiet = (state, more = {}) => ["open", "stop", "close"].filter((type) => isQuiet(type, cover("garage", { state, ...more })));
  assert.deepEqual(quiet("closed"), ["stop", "close"]);
  assert.deepEqual(quiet("open"), ["open", "stop"]);
  assert.deepEqual(quiet("open", { position: 40 }), ["stop"]);
  assert.deepEqual(quiet("stopped"), ["stop"]);
  assert.deepEqual(quiet("unknown"), ["stop"]);
  assert.deepEqual(quiet("opening", { goal: "open" }), ["open"]);
  assert.deepEqual(quiet("opening", { goal: "close" }), ["close"]); // it will turn round
  assert.deepEqual(quiet("closing", { goal: 40 }), []);
});

test("Covers are among the pins: rooms in the order of their first pin, and in each the covers first", () => {
  const [hall, study, none] = [{ name: "lamp", room: "Hall" }, { name: "fan", room: "Study" }, { name: "attic" }];
  const [shutter, gate] = [{ name: "shutter", room: "Study" }, { name: "gate", room: "Garden" }];
  const names = (pins, covers) => merged(pins, covers).map(({ name }) => name);
  assert.deepEqual(names([none, hall, study], [gate, shutter]), ["attic", "lamp", "shutter", "fan", "gate"]);
  assert.deepEqual(names([], [shutter]), ["shutter"]);
});

test("What a row is built from stays the same while a cover moves, and what is open is counted by its kind", () => {
  const garage = cover("garage");
  const all = [garage, cover("left", { kind: "shutter", state: "open" }), cover("right", { kind: "shutter", has_position: true, state: "stopped", position: 40 }),
    cover("lost", { kind: "shutter", has_position: true, state: "stopped" }), cover("porch", { kind: "awning" })];
  const found = items(all, (name) => all.find((each) => each.name === name));
  const pin = found.get("garage");
  const before = JSON.stringify({ ...pin });
  const values = new Set();
  for (const state of ["closed", "opening", "open", "closing", "stopped"]) values.add((garage.state = state) && pin.value);
  assert.equal(values.size, 5);
  assert.equal(JSON.stringify({ ...pin }), before);
  assert.equal(coverOf(pin), garage);
  assert.equal(coverOf({ name: "lamp" }), undefined);
  const chips = () => phrases([...found.values()]).map(({ sort, words }) => [sort, words]);
  assert.deepEqual(chips(), [["open", "1 garage door open"], ["open", "2 shutters open"]]);
  assert.deepEqual(["garage", "left"].map((name) => toneOf(found.get(name), 1)), ["attention", "calm"]);
  garage.state = "unknown";
  assert.equal(pin.value, 0);
});

test("The picture is where the cover is, or the one that config.yaml chose", () => {
  const drawn = (more) => {
    const each = cover("shutter", { kind: "shutter", ...more });
    return pictureOf(each, shareOf(each));
  };
  assert.equal(drawn({ state: "closed" }), "shutter 0");
  assert.equal(drawn({ state: "stopped", position: 40 }), "shutter 8");
  assert.equal(drawn({ state: "open" }), "shutter 20");
  assert.equal(drawn({ icon: "blinds" }), "blinds");
  assert.equal(drawn({ icon: "no such picture" }), "shutter 0");
});

test("raspi.js has all covers, tells of each change, and moves them", async () => {
  const raspi = live([cover("garage"), cover("shutter", { kind: "shutter", has_position: true })]);
  const seen = [];
  raspi.on("cover", ({ name, state, position }) => seen.push([name, state, position]));
  assert.deepEqual(seen.splice(0), [["garage", "closed", null], ["shutter", "closed", null]]); // what is known already
  FakeSocket.last.receive({ type: "cover", seq: 1, time: 7, cover: "garage", state: "opening", position: null, goal: "open", problem: null, since: 7, by: "phone" });
  FakeSocket.last.receive({ type: "cover", seq: 2, time: 7, cover: "no such cover", state: "open" });
  assert.deepEqual(seen, [["garage", "opening", null]]);
  const { by, goal, label, type } = raspi.covers.get("garage");
  assert.deepEqual([by, goal, label, type], ["phone", "open", "garage", undefined]);

  for (const act of [() => raspi.open("garage"), () => raspi.close("garage"), () => raspi.stop("garage"), () => raspi.position("shutter", 40)]) {
    act().catch(() => {});
    await clock.advance(0);
  }
  assert.deepEqual(FakeSocket.last.sent.map(({ ref, ...command }) => command), [
    { type: "open", cover: "garage" },
    { type: "close", cover: "garage" },
    { type: "stop", cover: "garage" },
    { type: "position", cover: "shutter", position: 40 },
  ]);
  const socket = FakeSocket.last;
  raspi.close();
  assert.equal(socket.isClosed, true);
  assert.equal(raspi.link, "closed");
});

test("A cover with `confirm` asks in the language of the page, but never before it is stopped", async () => {
  page.documentElement.lang = "de";
  const asked = [];
  const raspi = live([cover("Tor", { confirm: true, has_position: true })], { confirm: (question, { name }, { yes }) => void asked.push([question.replace(/\s/g, " "), name, yes]) });
  for (const act of [() => raspi.open("Tor"), () => raspi.close("Tor"), () => raspi.position("Tor", 40)]) await assert.rejects(act(), { code: "cancelled" });
  assert.deepEqual(FakeSocket.last.sent, []);
  raspi.stop("Tor").catch(() => {});
  assert.deepEqual(FakeSocket.last.sent.map(({ type }) => type), ["stop"]);
  assert.deepEqual(asked, [["Tor öffnen?", "Tor", "Öffnen"], ["Tor schließen?", "Tor", "Schließen"], ["Tor auf 40 % fahren?", "Tor", "Fahren"]]);
  page.documentElement.lang = "en";
  raspi.close();
});

test("Without WebSockets a change of a cover is told as with them, and commands go to the API", async () => {
  const garage = cover("garage");
  const hello = () => ({ type: "hello", id: "1", time: clock.wall, server: {}, pins: [], state: {}, covers: [garage] });
  api.answers = { "HEAD ": {}, "GET /hello": () => hello(), "GET /health": { type: "health", time: 0 } };
  const raspi = connect();
  for (let tries = 0; tries < 2; tries++) {
    FakeSocket.last.end();
    await clock.advance(1);
  }
  assert.equal(raspi.link, "polling");
  const seen = [];
  let hellos = 0;
  raspi.on("cover", ({ state }) => seen.push(state));
  raspi.on("hello", () => hellos++);
  Object.assign(garage, { state: "opening", goal: "open" });
  await clock.advance(2);
  assert.deepEqual(seen, ["closed", "opening"]);
  garage.label = "Big door";
  await clock.advance(2);
  assert.equal(hellos, 1); // what it is has changed
  api.requests = [];
  api.answers["POST /covers/garage/stop"] = () => Object.assign(garage, { state: "stopped", goal: null });
  api.answers["PUT /covers/garage"] = ({ body }) => Object.assign(garage, { state: "opening", goal: body.position });
  await raspi.stop("garage");
  assert.equal(raspi.covers.get("garage").state, "stopped");
  await raspi.position("garage", 40);
  assert.equal(raspi.covers.get("garage").goal, 40);
  assert.deepEqual(api.requests.filter(({ method }) => method !== "GET").map(({ method, path }) => `${method} ${path}`), ["POST /covers/garage/stop", "PUT /covers/garage"]);
  raspi.close();
});

test("Schedules and rules tell which covers they move", () => {
  const found = items([cover("garage", { label: "Garage door" }), cover("shutter", { label: "Shutter" })], () => undefined);
  const pins = (name) => found.get(name);
  const all = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
  const schedule = (goal) => scheduleInWords({ pin: null, from: null, to: null, at: "sunset", days: all, value: null, pulse: null, turn_off: [], cover: "shutter", goal }, pins);
  assert.deepEqual(["open", "close", 40].map(schedule), ["Open Shutter at sunset", "Close Shutter at sunset", "Move Shutter to 40% at sunset"]);
  const rule = (move) => ruleInWords({ when: ["garage"], while: [], press: null, for: 600, hold: null, only: null, turn_on: [], turn_off: [], toggle: [], set: {}, pulse: [], move }, pins);
  assert.equal(rule({ garage: "close", shutter: 40 }), "Garage door closes Garage door and moves Shutter to 40% after 10 min");
  assert.equal(rule({ shutter: "open" }), "Garage door opens Shutter after 10 min");
});
