/** The connection of a page to one Raspberry Pi: live, silent, lost, and by polling. */
import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { api, clock, FakeSocket, page, reset, settle } from "./fake-browser.js";
import { connect, RaspiError } from "../../../www/raspi.js";

beforeEach(reset);

const LAMP = { name: "lamp", label: "Lamp", mode: "output", confirm: false, pulse: null, value: 0, since: 5 };
const hello = (more = {}) => ({ type: "hello", id: "1", time: clock.wall, interval: 1, pins: [LAMP], state: { lamp: 0 }, ...more });

/** Return a connection that is live, and all states it had since. */
function live(options = {}, more = {}) {
  const raspi = connect(options);
  FakeSocket.last.receive(hello(more));
  assert.equal(raspi.link, "live");
  const links = [];
  raspi.on("link", (link) => links.push(link));
  return { raspi, links, socket: FakeSocket.last };
}

/** Return a connection that polls, since no socket opens. */
async function polling(answer = () => hello()) {
  api.answers = { "HEAD ": {}, "GET /hello": answer, "GET /health": { type: "health", time: clock.wall } };
  const raspi = connect();
  const links = [];
  raspi.on("link", (link) => links.push(link));
  for (let tries = 0; tries < 2; tries++) {
    FakeSocket.last.end();
    await clock.advance(1);
  }
  assert.deepEqual(links, ["lost", "polling"]);
  return { raspi, links };
}

const asked = (request) => api.requests.filter(({ method, path }) => `${method} ${path}` === request).length;
const code = (promise) => promise.then(() => "done", (error) => error instanceof RaspiError && error.code);

for (const [interval, stale, dead] of [[0.1, 2, 6], [1, 3, 6], [3600, 12, 20]]) {
  test(`With ${interval} s between values a connection is stale after ${stale} s, and dead after ${dead} s`, async () => {
    const { links, socket } = live({}, { interval });
    await clock.advance(stale);
    assert.deepEqual(links, []);
    await clock.advance(0.5);
    assert.deepEqual(links, ["stale"]);
    socket.receive({ type: "health", time: clock.wall });
    assert.deepEqual(links, ["stale", "live"]);
    await clock.advance(dead);
    assert.deepEqual(links, ["stale", "live", "stale"]);
    await clock.advance(0.5);
    assert.deepEqual(links.slice(3), ["lost"]);
    assert.ok(socket.isClosed);
  });
}

test("An error that asks for a code before the hello ends the connection at once; that of a command does not", async () => {
  const raspi = connect();
  FakeSocket.last.open();
  FakeSocket.last.receive({ type: "error", ref: null, code: "sign-in", message: "viewing needs an access code" });
  assert.equal(raspi.link, "sign-in");
  assert.ok(FakeSocket.last.isClosed);
  const other = live();
  const switched = code(other.raspi.set("lamp", 1));
  other.socket.receive({ type: "error", ref: 1, code: "sign-in", message: "switching lamp needs the control code" });
  assert.equal(await switched, "sign-in");
  assert.equal(other.raspi.link, "live");
});

test("A socket that says nothing is given up after ten seconds; then the server is asked until it answers", async () => {
  const unheard = connect();
  FakeSocket.last.open();
  await clock.advance(10);
  assert.deepEqual([unheard.link, unheard.silence], ["connecting", null]);
  await clock.advance(0.5);
  assert.equal(unheard.link, "lost");
  unheard.close();
  reset();
  const { raspi, links, socket } = live();
  socket.end(1001);
  await clock.advance(0.19);
  assert.equal(api.requests.length, 0);
  await clock.advance(60);
  assert.ok(asked("HEAD ") >= 110 && asked("HEAD ") <= 121, String(asked("HEAD "))); // each half second
  const before = asked("HEAD ");
  await clock.advance(60);
  assert.ok(asked("HEAD ") - before <= 62); // each second
  assert.equal(FakeSocket.all.length, 1);
  api.answers = { "HEAD ": 500 };
  await clock.advance(1);
  assert.equal(FakeSocket.all.length, 2);
  FakeSocket.last.receive(hello());
  assert.deepEqual(links, ["lost", "live"]);
  socket.receive(hello({ pins: [] })); // of the old socket
  assert.equal(raspi.pins.size, 1);
});

test("A client that was too slow waits two seconds, one that has to sign in for the page", async () => {
  api.answers = { "HEAD ": {} };
  const { raspi, links, socket } = live();
  socket.end(1013);
  await clock.advance(1.9);
  assert.equal(FakeSocket.all.length, 1);
  await clock.advance(0.2);
  assert.equal(FakeSocket.all.length, 2);
  FakeSocket.last.end(4401);
  await clock.advance(600);
  assert.deepEqual([links, FakeSocket.all.length], [["lost", "sign-in"], 2]);
  raspi.reconnect();
  assert.equal(FakeSocket.all.length, 3);
});

test("A page that wakes with a socket that was silent for too long does not wait for it", async () => {
  api.answers = { "HEAD ": {} };
  const { links, socket } = live();
  page.hide(true);
  clock.sleep(2);
  page.hide(false);
  assert.deepEqual([links, socket.isClosed], [[], false]);
  window.dispatchEvent(new Event("online")); // a new network: less patience
  assert.deepEqual([links, socket.isClosed], [["lost"], true]);
  await settle();
  FakeSocket.last.receive(hello());
  clock.sleep(4);
  page.hide(false);
  assert.deepEqual(links, ["lost", "live", "lost"]);
});

test("A hidden page disconnects after the time it asked for, one that asked for none stays", async () => {
  const [resting, staying] = [live({ rest: 60 }), live()];
  api.answers = { "HEAD ": {} };
  const talk = setInterval(() => [resting, staying].forEach(({ socket }) => socket.receive({ type: "state", time: clock.wall, pins: {} })), 1000);
  page.hide(true);
  await clock.advance(59);
  assert.equal(resting.socket.isClosed, false);
  await clock.advance(2);
  assert.deepEqual([resting.socket.isClosed, staying.socket.isClosed], [true, false]);
  await clock.advance(600);
  assert.equal(FakeSocket.all.length, 2);
  page.hide(false);
  await settle();
  FakeSocket.last.receive(hello());
  clearInterval(talk);
  assert.deepEqual([resting.raspi.link, staying.links], ["live", []]);
});

test("A command is sent once, and settled by its answer", async () => {
  const { raspi, socket } = live();
  const [first, second, third] = [raspi.set("lamp", 1), raspi.toggle("lamp"), raspi.pulse("lamp", 0.5)];
  await settle();
  assert.deepEqual(socket.sent.map(({ type, ref }) => [type, ref]), [["set", 1], ["toggle", 2], ["pulse", 3]]);
  socket.receive({ type: "error", ref: 2, code: "too-fast", message: "wait" });
  socket.receive({ type: "result", ref: 1, pin: "lamp", value: 1 });
  assert.deepEqual([(await first).value, await code(second)], [1, "too-fast"]);
  socket.end(1001);
  assert.equal(await code(third), "lost");
  raspi.reconnect();
  FakeSocket.last.receive(hello());
  assert.deepEqual(FakeSocket.last.sent, []);
});

test("A command without an answer fails after fifteen seconds, one on a silent connection is not sent", async () => {
  const { raspi, socket } = live();
  const talk = setInterval(() => socket.receive({ type: "state", time: clock.wall, pins: {} }), 1000);
  const outcome = code(raspi.set("lamp", 1));
  await clock.advance(14.9);
  assert.equal(await Promise.race([outcome, "none"]), "none");
  await clock.advance(0.2);
  assert.equal(await outcome, "no-answer");
  clearInterval(talk);
  await clock.advance(4);
  assert.equal(raspi.link, "stale");
  assert.equal(await code(raspi.set("lamp", 1)), "not-connected");
  assert.equal(socket.sent.length, 1);
  raspi.close();
  assert.deepEqual([raspi.link, socket.isClosed, clock.timers.size], ["closed", true, 0]);
});

test("Sockets that fail while the server is away are no reason to poll", async () => {
  const raspi = connect();
  for (let tries = 0; tries < 5; tries++) {
    FakeSocket.last.end();
    api.answers = {};
    await clock.advance(2);
    api.answers = { "HEAD ": {}, "GET /hello": hello() };
    await clock.advance(2);
    assert.equal(raspi.isBlocked, false);
  }
  assert.equal(asked("GET /hello"), 0);
});

test("Polling reports values each second, health each six, and a new description as a hello", async () => {
  let [answer, hellos, changes] = [hello(), 0, []];
  const { raspi } = await polling(() => answer);
  raspi.on("hello", () => hellos++);
  raspi.on("change", ({ value }) => changes.push(value));
  const [before, health] = [asked("GET /hello"), asked("GET /health")];
  await clock.advance(12);
  assert.deepEqual([asked("GET /hello") - before, asked("GET /health") - health], [12, 2]);
  answer = hello({ id: "2", pins: [{ ...LAMP, value: 1, since: 6 }], state: { lamp: 1 } });
  await clock.advance(1);
  assert.deepEqual([changes, hellos, raspi.pins.get("lamp").value], [[1], 0, 1]);
  answer = hello({ pins: [{ ...LAMP, label: "Desk lamp" }] });
  await clock.advance(1);
  assert.deepEqual([changes, hellos, raspi.pins.get("lamp").label], [[1], 1, "Desk lamp"]);
  page.hidden = true;
  const seen = asked("GET /hello");
  await clock.advance(60);
  assert.equal(asked("GET /hello"), seen);
  page.hide(false);
  await settle();
  assert.equal(asked("GET /hello"), seen + 1);
});

test("Polling reports another source of a value, and the next time of its schedules, without a new hello", async () => {
  const decided = { source: { level: "manual" }, until: 60, auto: true, next: 90 };
  let [answer, hellos, sources] = [hello(), 0, []];
  const { raspi } = await polling(() => answer);
  raspi.on("hello", () => hellos++);
  raspi.on("source", ({ until, next }) => sources.push([until, next]));
  for (const more of [{}, { until: 70 }, { next: 95 }, { next: 95 }]) {
    answer = hello({ pins: [{ ...LAMP, ...Object.assign(decided, more) }] });
    await clock.advance(1);
  }
  assert.deepEqual([sources, hellos], [[[60, 90], [70, 90], [70, 95]], 0]);
  const { source, until, auto, next } = raspi.pins.get("lamp");
  assert.deepEqual({ source, until, auto, next }, decided);
  answer = hello({ pins: [{ ...LAMP, value: 1, since: 6, ...decided, auto: false }] });
  await clock.advance(1);
  assert.deepEqual([sources.length, raspi.pins.get("lamp").value, raspi.pins.get("lamp").auto], [3, 1, false]);
});

test("While polling, a command is one request; an error ends it", async () => {
  const { raspi } = await polling();
  api.answers["PUT /pins/lamp"] = { name: "lamp", value: 1, since: 7 };
  api.answers["POST /pins/lamp/toggle"] = 409;
  assert.deepEqual(await raspi.set("lamp", 1), { pin: "lamp", value: 1 });
  assert.equal(raspi.pins.get("lamp").value, 1);
  assert.equal(await code(raspi.toggle("lamp")), "code-409");
  assert.equal(await code(raspi.pulse("lamp", 2)), "no-answer"); // of a network that fails
  assert.equal(await code(raspi.set("lamp", 1, 900)), "done");
  assert.equal(await code(raspi.auto("lamp")), "no-answer");
  assert.equal(await code(raspi.drive("lamp", 1)), "not-connected");
  const commands = api.requests.filter(({ method }) => ["PUT", "POST"].includes(method));
  assert.deepEqual(commands.map(({ body }) => body), [{ value: 1 }, {}, { seconds: 2 }, { value: 1, seconds: 900 }, {}]);
  for (const [status, link] of [[401, "sign-in"], [403, "forbidden"], [500, "lost"]]) {
    let answer = hello();
    const ending = await polling(() => answer);
    answer = status;
    await clock.advance(1.5);
    assert.equal(ending.raspi.link, link);
  }
});

test("While polling a socket is tried after 10, 20, 40 and then each 60 seconds; one that opens takes over", async () => {
  const { raspi, links } = await polling();
  const times = [];
  for (let tries = 0; tries < 5; tries++) {
    if (tries) FakeSocket.last.end();
    const [count, began] = [FakeSocket.all.length, clock.steady];
    while (FakeSocket.all.length === count) await clock.advance(0.25);
    times.push(Math.round(clock.steady - began));
  }
  assert.deepEqual(times, [9, 20, 40, 60, 60]); // a second has passed since polling began
  FakeSocket.last.receive(hello());
  assert.deepEqual([links, raspi.isBlocked], [["lost", "polling", "live"], false]);
  const before = asked("GET /hello");
  await clock.advance(2);
  assert.equal(asked("GET /hello"), before);
});
