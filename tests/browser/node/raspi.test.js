/** A page's pins and commands: their values, the question before a command, and the events. */
import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { api, clock, FakeSocket, page, reset } from "./fake-browser.js";
import { Announcer } from "../../../www/dashboard/announcer.js";
import { power } from "../../../www/dashboard/health.js";
import { currentNotices } from "../../../www/dashboard/notices.js";
import { connect } from "../../../www/raspi.js";
import { loadStrings, section, text } from "../../../www/ui/i18n.js";
import { controlKind } from "../../../www/ui/pin-control.js";

beforeEach(reset);
await loadStrings();

const pin = (name, label, more = {}) => ({ name, label, mode: "output", confirm: true, pulse: null, value: 0, since: 5, ...more });
const PINS = [pin("garage", "Garage", { pulse: 0.5 }), pin("heater", "Heater"), pin("spot", "Spot", { mode: "pwm" })];

/** Return a live connection to a server with these pins. */
function live(options = {}) {
  const raspi = connect(options);
  const state = { garage: 0, heater: 0, spot: 0 };
  FakeSocket.last.receive({ type: "hello", time: clock.wall + 100, interval: 1, pins: PINS, state });
  return raspi;
}

test("Values and changes are merged into the pins, and each listener is called once for each", () => {
  const raspi = live();
  const seen = [];
  const end = raspi.on("pin", ({ name, value, by }) => seen.push([name, value, by]));
  assert.deepEqual(seen.splice(0), [["garage", 0, null], ["heater", 0, null], ["spot", 0, null]]); // what is known already
  FakeSocket.last.receive({ type: "change", time: 7, pin: "heater", value: 1, by: "phone" });
  FakeSocket.last.receive({ type: "change", time: 7, pin: "unknown", value: 1 });
  FakeSocket.last.receive({ type: "state", time: clock.wall + 101, pins: { heater: 1, spot: 0.5 } });
  assert.deepEqual(seen, [["heater", 1, "phone"], ["spot", 0.5, null]]);
  assert.equal(raspi.pins.get("heater").since, 7);
  assert.equal(Math.round(raspi.time - clock.wall), 101); // the server's clock
  end();
  FakeSocket.last.receive({ type: "change", time: 8, pin: "heater", value: 0 });
  assert.equal(seen.length, 2);
});

test("The source of a value is merged into its pin, with or without a change of the value", async () => {
  const raspi = live();
  const seen = [];
  for (const event of ["source", "automation"]) raspi.on(event, ({ type }) => seen.push(type));
  const decided = ({ value, source, until, auto, next }) => [value, source, until, auto, next];
  raspi.pins.get("heater").next = 90;
  FakeSocket.last.receive({ type: "change", time: 7, pin: "heater", value: 1, source: { level: "manual" }, until: 80, auto: true });
  assert.deepEqual(decided(raspi.pins.get("heater")), [1, { level: "manual" }, 80, true, 90]);
  FakeSocket.last.receive({ type: "source", time: 8, pin: "heater", source: { level: "schedule", name: "evening" }, until: null, auto: false });
  assert.deepEqual(decided(raspi.pins.get("heater")), [1, { level: "schedule", name: "evening" }, null, false, 90]);
  assert.equal(raspi.pins.get("heater").since, 7);
  FakeSocket.last.receive({ type: "change", time: 9, pin: "heater", value: 0 });
  assert.deepEqual(decided(raspi.pins.get("heater")), [0, null, null, false, 90]);
  FakeSocket.last.receive({ type: "automation", time: 9 });
  assert.deepEqual(seen, ["source", "automation"]);
});

test("A command may be for some seconds, and `auto` ends what people have switched", async () => {
  const raspi = live({ confirm: () => true });
  raspi.set("heater", 1, 900);
  raspi.toggle("spot", 300);
  raspi.toggle("heater", 60);
  raspi.auto("heater");
  while (FakeSocket.last.sent.length < 4) await new Promise(setImmediate);
  assert.deepEqual(FakeSocket.last.sent.map(({ ref, ...command }) => command).sort((one, other) => (one.type < other.type ? -1 : 1)), [
    { type: "auto", pin: "heater" },
    { type: "set", pin: "heater", value: 1, seconds: 900 },
    { type: "set", pin: "heater", value: 1, seconds: 60 },
    { type: "toggle", pin: "spot", seconds: 300 },
  ]);
});

test("A pin with `confirm` asks, and after a no nothing is sent", async () => {
  for (const [act, question, command] of [
    [(raspi) => raspi.pulse("garage", 0.2), "Press Garage? It will be on for 0.2 sec.", { type: "pulse", pin: "garage", seconds: 0.2 }],
    [(raspi) => raspi.toggle("garage"), "Press Garage? It will be on for 0.5 sec.", { type: "set", pin: "garage", value: 1 }],
    [(raspi) => raspi.set("heater", 0), "Switch Heater off?", { type: "set", pin: "heater", value: 0 }],
    [(raspi) => raspi.set("spot", 0.35), "Set Spot to 35%?", { type: "set", pin: "spot", value: 0.35 }],
    [(raspi) => raspi.toggle("spot"), "Switch Spot on?", { type: "toggle", pin: "spot" }],
  ]) {
    const asked = [];
    let answer = false;
    const raspi = live({ confirm: (words, { name }) => asked.push([words, name]) && answer });
    await assert.rejects(act(raspi), { code: "cancelled" });
    assert.deepEqual(FakeSocket.last.sent, []);
    answer = true;
    act(raspi);
    await clock.advance(0);
    assert.deepEqual(FakeSocket.last.sent, [{ ...command, ref: 1 }]);
    assert.deepEqual(asked, [[question, command.pin], [question, command.pin]]);
  }
});

test("With `confirm: false` a page asks nothing, loads no words, and sends at once", () => {
  const raspi = live({ confirm: false });
  api.read = [];
  void raspi.set("heater", 1);
  void raspi.toggle("heater");
  assert.deepEqual(FakeSocket.last.sent.map(({ type }) => type), ["set", "toggle"]);
  assert.deepEqual(api.read, []);
});

test("The question is in the language of the page, by a file of languages/; without one it is English", async () => {
  api.files = { "fr.json": JSON.stringify({ page: { askSet: "{label} à {level} ?", cancel: "Non" } }), "pl.json": "{" };
  const asked = [];
  for (const lang of ["fr-CA", "de", "pl", "no-such-tag", "de_DE"]) {
    page.documentElement.lang = lang;
    const raspi = live({ confirm: (...all) => void asked.push([all[0].replace(/\s/g, " "), all[2].yes, all[2].no]) });
    await assert.rejects(raspi.set("spot", 0.35), { code: "cancelled" });
  }
  page.documentElement.lang = "en-US";
  const english = ["Set Spot to 35%?", "Set", "Cancel"];
  assert.deepEqual(asked, [["Spot à 35 % ?", "Set", "Non"], ["Spot auf 35 % setzen?", "Setzen", "Abbrechen"], english, english, english]);
});

test("The question and the button of a pin that is pressed have the words of its kind, as on the dashboard", async () => {
  const asked = [];
  for (const lang of ["en", "de"]) {
    page.documentElement.lang = lang;
    for (const kind of ["gate", "bell", "button", "constructor", null]) {
      const raspi = connect({ confirm: (question, _, { yes }) => void asked.push([question.replace(/\s/g, " "), yes]) });
      FakeSocket.last.receive({ type: "hello", time: 1, interval: 1, pins: [{ ...PINS[0], kind }], state: { garage: 0 } });
      await assert.rejects(raspi.pulse("garage"), { code: "cancelled" });
    }
  }
  page.documentElement.lang = "en";
  const pressed = ["Press Garage? It will be on for 0.5 sec.", "Press"];
  const german = ["Garage drücken? Bleibt 0,5 Sek. an.", "Drücken"];
  assert.deepEqual(asked, [
    ["Move Garage?", "Move"], ["Ring Garage?", "Ring"], pressed, pressed, pressed,
    ["Garage bewegen?", "Bewegen"], ["Garage klingeln lassen?", "Klingeln"], german, german, german,
  ]);
  const { outputs } = section("kinds");
  for (const kind of ["gate", "garage_door", "bell"]) assert.ok(outputs[kind].ask && outputs[kind].press);
});

test("A confirmed toggle sends what the question named, whatever happened meanwhile; a lost connection asks nothing", async () => {
  const raspi = live({
    confirm() {
      FakeSocket.last.receive({ type: "change", time: 7, pin: "heater", value: 0 });
      return true;
    },
  });
  FakeSocket.last.receive({ type: "change", time: 6, pin: "heater", value: 1 });
  const { sent } = FakeSocket.last;
  raspi.toggle("heater");
  while (!sent.length) await new Promise(setImmediate); // it loads its words first
  assert.deepEqual(sent, [{ type: "set", pin: "heater", value: 0, ref: 1 }]);
  const lost = live({ confirm: () => assert.fail("it asks") });
  FakeSocket.last.end(1001);
  await assert.rejects(lost.set("heater", 1), { code: "not-connected" });
});

test("The control fits the pin and the rights of the browser; the firmware's warnings of now are told first", () => {
  const kind = (more, isWritable = true) => controlKind({ error: null, pulse: null, mode: "output", ...more }, isWritable);
  assert.deepEqual([kind({}), kind({ mode: "pwm" }), kind({ pulse: 2 })], ["switch", "dimmer", "press"]);
  assert.deepEqual([kind({}, false), kind({ error: "in use" }), kind({ error: "in use" }, false)], ["lamp", "broken", "broken"]);
  const warnings = ["throttled since boot", "under-voltage now", "frequency capped now", "of a newer one since boot"];
  assert.equal(power(warnings), `now: under-voltage, slowed down\n${text("powerSince", { list: "throttled, of a newer one" })}`);
});

/** Return the codes of the notices, and the words that a test compares. */
function notices({ link = "live", health = null, pins = PINS, ...hello }) {
  const server = { notices: hello.notices ?? [] };
  return currentNotices({ link, health, hello: { server, pins, access: "control", ...hello } }, () => null);
}
const some = (writable) => [{ mode: "input", writable: false }, ...writable.map((each) => ({ mode: "output", writable: each }))];

test("A page tells why it switches nothing, or not all, and whether a code would help", () => {
  const words = (access, more) => notices({ access, ...more }).map((notice) => notice.words);
  assert.deepEqual(words("control", { pins: some([true]) }), []);
  assert.deepEqual(words("view", { pins: some([false]) }), [text("lookOnly")]);
  const wanted = { code_would_help: true };
  assert.deepEqual(words("view", { pins: some([false]), ...wanted }), [text("lookOnlyCode")]);
  assert.deepEqual(words("view", { pins: some([false, true]), ...wanted }), [text("someNeedCode")]);
});

test("Notices of the server have the page's words, with the words of a program, or the server's own for a reason that the page does not know", () => {
  const found = notices({
    health: { throttled: ["under-voltage now"] },
    notices: [
      { code: "simulated", message: "Simulated.", reason: "simulated", values: {} },
      { code: "certificate", message: "It is odd: odd.", reason: "certificate-faulty", values: { why: "odd" } },
      { code: "newer", message: "New.", reason: "newer", values: { why: "new" } },
    ],
  });
  assert.deepEqual(found.map(({ code, words, detail, isWarning }) => [code, words, detail, isWarning]), [
    ["power", text("weakPower"), undefined, true],
    ["certificate", text("notice:certificate-faulty"), "odd", true],
    ["newer", "", "New.", true],
    ["simulated", text("notice:simulated"), "", false],
  ]);
  assert.deepEqual(notices({ health: { throttled: ["under-voltage since boot"] } }), []);
});

test("A screen reader hears of a few changes together, of none twice soon, and of none of the focused card", async () => {
  const place = Object.assign(new HTMLElement(), { textContent: "" });
  Object.assign(page, { querySelector: () => place, activeElement: { closest: () => ({ getAttribute: () => "spot" }) } });
  const announcer = new Announcer();
  const change = (value) => PINS.forEach((each) => announcer.change({ ...each, value }));
  change(0); // when the page opened
  change(1);
  await clock.advance(1.6);
  assert.equal(place.textContent, "Garage on, Heater on");
  change(0);
  await clock.advance(15);
  assert.equal(place.textContent, "Garage on, Heater on");
  change(0);
  await clock.advance(2);
  assert.equal(place.textContent, "Garage off, Heater off");
});
