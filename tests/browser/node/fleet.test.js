/** The list of all Pis on the fleet page, and how news change it. */
import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { api, clock, FakeSocket, reset, settle } from "./fake-browser.js";
import { FleetClient } from "../../../www/fleet/fleet-client.js";

beforeEach(reset);

const pin = (name, more = {}) => ({ name, label: `Label of ${name}`, value: 0, since: 1, error: null, writable: true, control: "everyone", ...more });
const entry = (topic, more = {}) => ({ topic, group: "", host: topic.split("/").pop(), online: true, pins: [pin("lamp")], ...more });
const all = (seq, ...pis) => ({ time: clock.wall, seq, broker: { connected: true, error: null }, pis });
const HELLO = { type: "hello", access: "control", code_would_help: false, signed_in: null };
const news = (seq, more) => FakeSocket.last.receive({ type: "news", seq, time: clock.wall, ...more });

/** Return a client of which the fleet is here, and the events since. */
async function live(...pis) {
  api.answers = { "GET /fleet": all(7, ...pis), "HEAD ": {} };
  const fleet = new FleetClient();
  FakeSocket.last.receive(HELLO);
  await settle();
  assert.equal(fleet.link, "live");
  const events = [];
  for (const name of ["all", "pi", "removed", "link"]) fleet.on(name, (detail) => events.push([name, detail?.topic ?? detail]));
  fleet.on("pin", ({ pi, pin: { name, value } }) => events.push([pi.topic, name, value]));
  return { fleet, events };
}

test("News that came before the fleet are applied after it, if they are newer", async () => {
  let answer = () => {};
  api.answers = { "GET /fleet": () => new Promise((resolve) => (answer = resolve)) };
  const fleet = new FleetClient();
  FakeSocket.last.receive(HELLO);
  news(7, { pins: { "a/pi": { lamp: [0.7, 2] } } });
  news(8, { pins: { "a/pi": { lamp: [0.8, 3] } } });
  assert.equal(fleet.link, "connecting");
  answer(all(7, entry("a/pi", { pins: [pin("lamp", { value: 0.5 })] })));
  const seen = [];
  fleet.on("pin", ({ pin: { value, since } }) => seen.push([value, since]));
  await settle();
  assert.deepEqual([fleet.link, fleet.isCurrent, seen], ["live", true, [[0.8, 3]]]);
});

test("News remove, replace and change Pis; what is unknown is ignored", async () => {
  const { fleet, events } = await live(entry("a/1"), entry("a/2"));
  news(8, { removed: ["a/2", "a/3"], pis: [entry("a/1", { online: false, pins: [pin("fan")] }), entry("a/4")] });
  news(9, { pins: { "a/1": { fan: [0.5, 9], lamp: [1, 9] }, "a/2": { lamp: [1, 9] } } });
  assert.deepEqual(events, [["removed", "a/2"], ["pi", "a/1"], ["pi", "a/4"], ["a/1", "fan", 0.5]]);
  assert.deepEqual([...fleet.pis.keys()], ["a/1", "a/4"]);
  assert.deepEqual(fleet.pis.get("a/1").byName.get("fan").since, 9);
});

test("A Pi is in trouble while it is an alarm, offline or has a pin in error; hidden pins count for nothing", async () => {
  const smoke = (more) => pin("smoke", { mode: "input", kind: "smoke", ...more });
  const { fleet, events } = await live(
    entry("a/1", { pins: [smoke(), pin("secret", { hidden: true, error: "lost" })] }),
    entry("a/2", { online: false }),
    entry("a/3", { online: false, pins: [smoke({ value: 1 })] }),
    entry("a/4", { pins: [pin("lamp", { error: "lost", value: null, room: "Attic" })] }),
  );
  const troubles = () => [...fleet.pis.values()].map(({ trouble }) => trouble);
  assert.deepEqual(troubles(), ["", "offline", "alarm", "error"]);
  assert.deepEqual(fleet.pis.get("a/1").pins.map(({ name }) => name), ["smoke"]);
  assert.match(fleet.pis.get("a/4").words, /attic/);
  news(8, { pins: { "a/1": { smoke: [1, 9] } } });
  news(9, { pins: { "a/1": { smoke: [1, 10], secret: [1, 10] } } });
  assert.deepEqual(troubles(), ["alarm", "offline", "alarm", "error"]);
  assert.deepEqual(events, [["a/1", "smoke", 1], ["pi", "a/1"], ["a/1", "smoke", 1]]);
});

test("After a reconnection the fleet is fetched again; an answer to an older request does not count", async () => {
  const { fleet, events } = await live(entry("a/1"));
  FakeSocket.last.end(1001);
  const answers = [];
  api.answers["GET /fleet"] = () => new Promise((resolve) => answers.push(resolve));
  for (let tries = 0; tries < 2; tries++) {
    await clock.advance(1);
    FakeSocket.last.receive(HELLO);
    await settle();
    if (!tries) FakeSocket.last.end(1001);
  }
  answers[0](all(8, entry("a/old")));
  await settle();
  assert.deepEqual([fleet.link, [...fleet.pis.keys()]], ["lost", ["a/1"]]);
  answers[1](all(9, entry("a/new")));
  await settle();
  assert.deepEqual([...fleet.pis.keys()], ["a/new"]);
  assert.deepEqual(events, [["link", "lost"], ["link", "live"], ["all", null]]);
});

test("A fleet that is not answered ends the connection; one that is switched off is closed, after a 404 only", async () => {
  for (const [status, link] of [[401, "sign-in"], [500, "lost"]]) {
    api.answers = { "GET /fleet": status };
    const fleet = new FleetClient();
    FakeSocket.last.receive(HELLO);
    await settle();
    assert.equal(fleet.link, link);
  }
  for (const [status, isOff] of [[500, false], [404, true]]) {
    const fleet = new FleetClient();
    FakeSocket.last.end();
    api.answers = { "HEAD /fleet": status };
    await fleet.checkIsOff();
    assert.deepEqual([fleet.isOff, fleet.link], [isOff, isOff ? "closed" : "lost"]);
  }
});

test("A pin may be switched by the rights of its Pi and of this server", async () => {
  const rights = ["everyone", "code", "nobody"].flatMap((control) => [true, false].map((writable) => pin("p", { control, writable })));
  const { fleet } = await live(entry("a/1", { pins: rights.slice(2) }));
  assert.deepEqual(rights.map((each) => fleet.maySwitch(each)), [true, false, false, false, false, false]);
  assert.deepEqual([fleet.maySwitchSome, fleet.needsCode], [false, true]);
  FakeSocket.last.receive({ ...HELLO, signed_in: "control" });
  assert.deepEqual(rights.map((each) => fleet.maySwitch(each)), [true, false, true, false, false, false]);
  assert.deepEqual([fleet.maySwitchSome, fleet.needsCode], [true, false]);
});
