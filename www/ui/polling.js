/**
 * The HTTP API, and live values without a WebSocket by polling that API. On pages whose certificate was only "visited anyway" iOS
 * blocks WebSockets without an error. Polling reports the same messages as a WebSocket.
 */
import { address } from "./address.js";
import { credentials } from "./frame.js";

/** @typedef {import("./connection.js").Command} Command */

const POLL_INTERVAL_S = 1;
const HEALTH_INTERVAL_S = 5; // as over the WebSocket
const REQUEST_TIMEOUT_S = 5;
const COMMAND_TIMEOUT_S = 15;

/** An answer of the API that is an error. */
export class ApiError extends Error {
  /** @param {number} status @param {string} code @param {string} message @param {string} [reason] @param {Record<string, string|number>} [values] */
  constructor(status, code, message, reason = code, values = {}) {
    super(message);
    this.status = status;
    this.code = code;
    this.reason = reason;
    this.values = values;
  }
}

/**
 * Send one request to the API, once. Throws an ApiError, or what `fetch` throws when no answer came in time.
 * @param {string} path @param {string} [method] @param {object} [body] @param {number} [timeout] seconds
 */
export async function request(path, method = "GET", body, timeout = REQUEST_TIMEOUT_S) {
  const limit = new AbortController();
  const timer = setTimeout(() => limit.abort(), timeout * 1000);
  try {
    const answer = await fetch(address(`api${path}`), { ...credentials(), method, cache: "no-store", signal: limit.signal, body: body && JSON.stringify(body) });
    const found = await answer.json();
    if (answer.ok || !found.error) return found; // /api/health answers 503 with a health, not with an error
    const { code, message, reason, values } = found.error;
    throw new ApiError(answer.status, code, message, reason, values);
  } finally {
    clearTimeout(timer);
  }
}

/** Return whether the server answers. @param {number} timeout seconds */
export async function isReachable(timeout) {
  const limit = new AbortController();
  const timer = setTimeout(() => limit.abort(), timeout * 1000);
  try {
    await fetch(address("api"), { ...credentials(), method: "HEAD", cache: "no-store", signal: limit.signal });
    return true;
  } catch {
    return false;
  } finally {
    clearTimeout(timer);
  }
}

/** One run of polling, from the first request until it fails or is closed. */
export class Polling {
  /** @type {(message: any) => void} */ #receive;
  /** @type {(link: "lost"|"sign-in"|"forbidden") => void} */ #end;
  /** All of a hello but times and values. */ #description = "";
  #healthRequested = -Infinity; // by performance.now()
  /** What was said of each pin, but its value. @type {Map<string, {since: number|null, decision: string}>} */ #told = new Map();
  /** @type {import("./cover-polling.js").CoverPolling|undefined} */ #covers;
  #seq = 0;
  #isClosed = false;
  /** @type {() => void} */ #resume = () => {};

  /**
   * @param {(message: any) => void} receive takes messages
   * @param {(link: "lost"|"sign-in"|"forbidden") => void} end called when it cannot go on
   */
  constructor(receive, end) {
    this.#receive = receive;
    this.#end = end;
    this.#run();
  }

  /** Poll now instead of later. */
  refresh() {
    this.#resume();
  }

  close() {
    this.#isClosed = true;
    this.#resume();
  }

  /** Carry out one command, once. @param {Command} command @returns {Promise<any>} */
  async send(command) {
    const { type, pin = "", value, seconds, cover } = command;
    if (cover) return this.#covers?.send(command, COMMAND_TIMEOUT_S);
    const path = `/pins/${encodeURIComponent(pin)}`;
    /** @type {Record<string, () => Promise<any>>} */
    const requests = {
      set: () => request(path, "PUT", { value, seconds }, COMMAND_TIMEOUT_S),
      toggle: () => request(`${path}/toggle`, "POST", { seconds }, COMMAND_TIMEOUT_S),
      pulse: () => request(`${path}/pulse`, "POST", { seconds }, COMMAND_TIMEOUT_S),
      auto: () => request(`${path}/auto`, "POST", {}, COMMAND_TIMEOUT_S),
    };
    const carryOut = requests[type];
    if (!carryOut) throw new ApiError(0, "not-connected", `the API has no "${type}"`);
    const found = await carryOut();
    if (!this.#isClosed) this.#update(found);
    return { pin, value: found.value };
  }

  async #run() {
    try {
      while (!this.#isClosed) {
        const hello = await request("/hello");
        if (this.#isClosed) return;
        if (hello.covers?.length) this.#covers ??= new (await import("./cover-polling.js")).CoverPolling((news) => this.#isClosed || this.#receive(news));
        this.#report(hello);
        if (performance.now() - this.#healthRequested > HEALTH_INTERVAL_S * 1000) await this.#pollHealth();
        await this.#pause();
      }
    } catch (error) {
      if (this.#isClosed) return;
      const status = error instanceof ApiError ? error.status : 0;
      this.#end(status === 401 ? "sign-in" : status === 403 ? "forbidden" : "lost");
    }
  }

  /** Wait until the next request is due; while the page is hidden, until `refresh`. @returns {Promise<void>} */
  #pause() {
    return new Promise((resolve) => {
      this.#resume = resolve;
      setTimeout(() => document.hidden || resolve(), POLL_INTERVAL_S * 1000);
    });
  }

  async #pollHealth() {
    this.#healthRequested = performance.now();
    const health = await request("/health");
    if (!this.#isClosed) this.#receive(health);
  }

  /** @param {import("../raspi.js").Hello} hello */
  #report(hello) {
    const { time, pins, covers = [] } = hello;
    const description = JSON.stringify({ ...hello, id: "", time: 0, state: {}, pins: pins.map((pin) => ({ ...pin, value: 0, since: 0, source: 0, until: 0, auto: 0, next: 0 })), covers: this.#covers?.describe(covers) });
    if (description === this.#description) {
      pins.forEach((pin) => this.#update(pin));
      this.#covers?.update(covers);
      this.#receive({ type: "state", seq: ++this.#seq, time, pins: {} });
      return;
    }
    this.#description = description;
    this.#told = new Map(pins.map((pin) => [pin.name, told(pin)]));
    this.#covers?.begin(covers);
    this.#receive({ ...hello, interval: POLL_INTERVAL_S });
  }

  /** @param {import("../raspi.js").Pin} pin */
  #update(pin) {
    const { name, value, since: time, source, until, auto, next } = pin;
    const [before, now] = [this.#told.get(name), told(pin)];
    const isSame = now.since === before?.since;
    if (isSame && now.decision === before?.decision) return;
    this.#told.set(name, now);
    const message = { seq: ++this.#seq, time, pin: name, source, until, auto, next };
    this.#receive(isSame ? { type: "source", ...message } : { type: "change", value, ...message });
  }
}

/** @param {import("../raspi.js").Pin} pin */
const told = ({ since, source, until, auto, next }) => ({ since, decision: JSON.stringify([source, until, auto, next]) });
