/**
 * The globals of a browser that the modules of www/ use, for node. Import it before them.
 *
 * Time stands still until a test moves it. WebSockets and `fetch` end at the test, but files of www/ are read.
 */
import { readdirSync } from "node:fs";
import { readFile } from "node:fs/promises";

/** The languages of www/, as the server writes them into its pages. */
export const LANGUAGES = readdirSync(new URL("../../../www/languages/", import.meta.url)).map((name) => name.replace(".json", ""));

/** The clock that the modules see. */
export const clock = {
  steady: 0, // seconds, as performance.now()
  wall: 1_800_000_000, // Unix seconds, as Date.now()
  timers: new Map(),
  lastId: 0,

  start(callback, milliseconds = 0, period = null, ...values) {
    this.timers.set(++this.lastId, { due: this.steady + milliseconds / 1000, call: () => callback(...values), period });
    return this.lastId;
  },

  /** Let time pass; run each timer when it is due, and what follows from it. @param {number} seconds */
  async advance(seconds) {
    const end = this.steady + seconds;
    const move = (to) => ([this.wall, this.steady] = [this.wall + to - this.steady, to]);
    for (;;) {
      await settle();
      const [id, timer] = [...this.timers].sort(([, one], [, other]) => one.due - other.due)[0] ?? [];
      if (!timer || timer.due > end + 1e-9) break;
      move(Math.max(timer.due, this.steady));
      if (timer.period === null) this.timers.delete(id);
      else timer.due += timer.period / 1000;
      timer.call();
    }
    move(end);
    await settle();
  },

  /** Let time pass as on a phone that sleeps: no timer runs, and one of the clocks stops. @param {number} seconds */
  sleep(seconds) {
    this.wall += seconds;
  },
};

const realImmediate = setImmediate;
/** Wait until all promises that can settle have settled. */
export const settle = () => new Promise((done) => realImmediate(() => realImmediate(done)));

/** A WebSocket whose other end is the test. */
export class FakeSocket {
  static CONNECTING = 0;
  static OPEN = 1;
  static CLOSED = 3;
  /** All that were opened, the oldest first. @type {FakeSocket[]} */
  static all = [];

  constructor(url) {
    Object.assign(this, { url, readyState: FakeSocket.CONNECTING, sent: [], isClosed: false });
    FakeSocket.all.push(this);
  }
  send(text) {
    this.sent.push(JSON.parse(text));
  }
  close() {
    [this.readyState, this.isClosed] = [FakeSocket.CLOSED, true];
  }
  /** Receive a message from the server. */
  receive(message) {
    this.open();
    this.onmessage?.({ data: JSON.stringify(message) });
  }
  open() {
    if (this.readyState !== FakeSocket.CONNECTING) return;
    this.readyState = FakeSocket.OPEN;
    this.onopen?.();
  }
  /** Be closed by the server or the network. */
  end(code = 1006) {
    this.readyState = FakeSocket.CLOSED;
    this.onclose?.({ code });
  }
  static get last() {
    return FakeSocket.all[FakeSocket.all.length - 1];
  }
}

/** The HTTP API: `answers` has a body, a function of the request, or a status of an error by method and path; else it is unreachable. */
export const api = {
  answers: {},
  /** The contents of files by name, in place of those in www/. @type {Record<string, string>} */
  files: {},
  /** The names of files that were read. @type {string[]} */
  read: [],
  /** @type {{method: string, path: string, body: any}[]} */
  requests: [],

  async fetch(url, { method = "GET", body, signal } = {}) {
    if (url instanceof URL) {
      const name = url.pathname.split("/").pop();
      this.read.push(name);
      return new Response(this.files[name] ?? (await readFile(url)));
    }
    const path = url.replace(/^.*\/api/, "");
    const request = { method, path, body: body && JSON.parse(body) };
    this.requests.push(request);
    let answer = this.answers[`${method} ${path}`];
    if (typeof answer === "function") answer = await answer(request, signal);
    if (answer === undefined) throw new TypeError("Failed to fetch");
    const error = { error: { code: `code-${answer}`, message: `message ${answer}` } };
    const [status, found] = typeof answer === "number" ? [answer, error] : [200, answer];
    return { ok: status < 400, status, json: async () => structuredClone(found) };
  },
};

/** An EventTarget that can forget its listeners, as when a page is closed. */
class Target extends EventTarget {
  #listeners = [];

  addEventListener(...all) {
    this.#listeners.push(all);
    super.addEventListener(...all);
  }
  forget() {
    for (const [name, listener] of this.#listeners.splice(0)) this.removeEventListener(name, listener);
  }
}

class FakeDocument extends Target {
  hidden = false;
  documentElement = { lang: "en", dir: "", dataset: { languages: LANGUAGES.join(" ") } };
  activeElement = null;

  /** Hide or show the page, as a switch to another tab does. @param {boolean} hidden */
  hide(hidden) {
    this.hidden = hidden;
    this.dispatchEvent(new Event("visibilitychange"));
  }
}
export const page = new FakeDocument();

const globals = {
  document: page,
  window: Object.assign(new Target(), {
    setTimeout: (...all) => globals.setTimeout(...all),
    setInterval: (...all) => globals.setInterval(...all),
  }),
  navigator: { languages: ["en-US"] },
  WebSocket: FakeSocket,
  PageTransitionEvent: class extends Event {},
  HTMLElement: class {},
  fetch: (...all) => api.fetch(...all),
  performance: { now: () => clock.steady * 1000 },
  matchMedia: () => new EventTarget(),
  devicePixelRatio: 1,
  getComputedStyle: () => ({ getPropertyValue: (name) => name }),
  setTimeout: (callback, milliseconds, ...values) => clock.start(callback, milliseconds, null, ...values),
  setInterval: (callback, milliseconds) => clock.start(callback, milliseconds, milliseconds),
  clearTimeout: (id) => clock.timers.delete(id),
  clearInterval: (id) => clock.timers.delete(id),
};
for (const [name, value] of Object.entries(globals)) {
  Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
}
Date.now = () => clock.wall * 1000;
Math.random = () => 1;
console.warn = () => {};

/** Begin a test with no sockets, no requests and a visible page. */
export function reset() {
  clock.timers.clear();
  window.forget();
  page.forget();
  FakeSocket.all = [];
  Object.assign(api, { answers: {}, requests: [] });
  page.hidden = false;
}
