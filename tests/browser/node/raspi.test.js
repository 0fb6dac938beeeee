/** What a page knows of the pins, what it asks before a command, and what it tells. */
import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { clock, FakeSocket, reset } from "./fake-browser.js";
import { power } from "../../../www/dashboard/health.js";
import { currentNotices } from "../../../www/dashboard/notices.js";
import { pinOf } from "../../../www/dashboard/pin-page.js";
import { connect } from "../../../www/raspi.js";
import { loadStrings } from "../../../www/ui/i18n.js";
import { controlKind } from "../../../www/ui/pin-control.js";

beforeEach(reset);
await loadStrings();

const pin = (name, label, more = {}) => ({ name, label, mode: "output", confirm: true, pulse: null, value: 0, since: 5, ...more });
const PINS = [pin("garage", "Garage", { pulse: 0.5 }), pin("heater", "Heater"), pin("spot", "Spot", { mode: "pwm" })];

/** Return a live connection to a server with these pins. */
function live(options = {}, pins = PINS, state = { garage: 0, heater: 0, spot: 0 }) {
  const raspi = connect(options);
  FakeSocket.last.receive({ type: "hello", time: clock.wall + 100, interval: 1, pins, state });
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

for (const [act, question, command] of [
  [(raspi) => raspi.pulse("garage"), "Press Garage? It will be on for 0.5 s.", { type: "pulse", pin: "garage" }],
  [(raspi) => raspi.pulse("garage", 0.2), "Press Garage? It will be on for 0.2 s.", { type: "pulse", pin: "garage", seconds: 0.2 }],
  [(raspi) => raspi.toggle("garage"), "Press Garage? It will be on for 0.5 s.", { type: "set", pin: "garage", value: 1 }],
  [(raspi) => raspi.set("heater", 1), "Switch Heater on?", { type: "set", pin: "heater", value: 1 }],
  [(raspi) => raspi.set("heater", 0), "Switch Heater off?", { type: "set", pin: "heater", value: 0 }],
  [(raspi) => raspi.set("spot", 0.35), "Set Spot to 35%?", { type: "set", pin: "spot", value: 0.35 }],
  [(raspi) => raspi.set("spot", 0), "Switch Spot off?", { type: "set", pin: "spot", value: 0 }],
  [(raspi) => raspi.toggle("spot"), "Switch Spot on?", { type: "toggle", pin: "spot" }],
]) {
  test(`${act} asks "${question}", and sends nothing after a no`, async () => {
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
  });
}

test("A toggle that was confirmed sends what the question named, though the pin has changed meanwhile", async () => {
  const raspi = live({
    confirm() {
      FakeSocket.last.receive({ type: "change", time: 7, pin: "heater", value: 0 });
      return true;
    },
  });
  FakeSocket.last.receive({ type: "change", time: 6, pin: "heater", value: 1 });
  raspi.toggle("heater");
  await clock.advance(0);
  assert.deepEqual(FakeSocket.last.sent, [{ type: "set", pin: "heater", value: 0, ref: 1 }]);
});

test("A pin without `confirm` asks nothing, nor does one on a connection that is not live", async () => {
  const confirm = () => assert.fail("it asks");
  const raspi = live({ confirm }, [pin("lamp", "Lamp", { confirm: false })], { lamp: 0 });
  raspi.toggle("lamp");
  await clock.advance(0);
  assert.equal(FakeSocket.last.sent.length, 1);
  const lost = live({ confirm });
  FakeSocket.last.end(1001);
  await assert.rejects(lost.set("heater", 1), { code: "not-connected" });
});

test("The address of a pin's page is #pin/ and its name", () => {
  assert.deepEqual(["#pin/fan_2-a", "#pin/", "#pin/2", "#pin/Fan", "#pin/fan/x", "#token=fan", ""].map(pinOf), ["fan_2-a", "", "", "", "", "", ""]);
});

test("The control fits the pin and the rights of the browser", () => {
  const kind = (more, isWritable = true) => controlKind({ error: null, pulse: null, mode: "output", ...more }, isWritable);
  assert.deepEqual([kind({}), kind({ mode: "pwm" }), kind({ pulse: 2 })], ["switch", "dimmer", "press"]);
  assert.deepEqual([kind({}, false), kind({ error: "in use" }), kind({ error: "in use" }, false)], ["lamp", "broken", "broken"]);
});

test("The firmware's warnings are told, those of now first", () => {
  assert.equal(power([]), "good");
  const warnings = ["throttled since boot", "under-voltage now", "frequency capped now", "of a newer one since boot"];
  assert.equal(power(warnings), "now: under-voltage, slowed down\nsince boot: throttled, of a newer one");
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
  assert.deepEqual(words("view", { pins: some([false]) }), ["Only looking: nobody may switch these pins."]);
  assert.deepEqual(words("view", { pins: some([false, true]) }), []);
  assert.deepEqual(words("view", { pins: some([]) }), []);
  const wanted = { code_would_help: true };
  assert.deepEqual(words("view", { pins: some([false]), ...wanted }), ["Only looking: switching needs the control code."]);
  assert.deepEqual(words("view", { pins: some([false, true]), ...wanted }), ["Switching some pins needs the control code of this Raspberry Pi."]);
});

test("Notices of the server have the page's words, and its own where those say more", () => {
  const found = notices({
    link: "polling",
    health: { throttled: ["under-voltage now"] },
    notices: [{ code: "simulated", message: "Simulated." }, { code: "certificate", message: "It ends soon." }, { code: "newer", message: "New." }],
  });
  const told = found.map(({ code, detail, isWarning }) => [code, detail, isWarning]);
  assert.deepEqual(told, [
    ["power", undefined, true],
    ["polling", undefined, true],
    ["simulated", "Simulated.", false],
    ["certificate", "It ends soon.", true],
    ["newer", "New.", true],
  ]);
  assert.deepEqual(notices({ health: { throttled: ["under-voltage since boot"] } }), []);
});
