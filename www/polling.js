/**
 * The second-best way to the server: asks its HTTP API again and again, where a browser lets no WebSocket through. iOS does that
 * without a word on pages whose certificate was only "visited anyway". What it finds it tells as the messages the socket would bring.
 */

/** @typedef {{type: string, pin: string, value?: number, seconds?: number}} Command */

const ASK_EVERY = 1; // seconds
const HEALTH_EVERY = 5; // seconds, as over the socket
const ANSWER_WITHIN = 5; // seconds

/** An answer of the API that says no. */
export class Refusal extends Error {
  /** @param {number} status @param {string} code @param {string} message */
  constructor(status, code, message) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

/**
 * One request to the API, never sent twice. Throws a Refusal, or what `fetch` throws when nothing came back in time.
 * @param {string} path @param {string} [method] @param {object} [body] @param {number} [patience] seconds
 */
export async function ask(path, method = "GET", body, patience = ANSWER_WITHIN) {
  const limit = new AbortController();
  const timer = setTimeout(() => limit.abort(), patience * 1000);
  try {
    const answer = await fetch(`/api${path}`, { method, cache: "no-store", signal: limit.signal, body: body && JSON.stringify(body) });
    const found = await answer.json();
    if (answer.ok || !found.error) return found; // who is not well answers all the same
    throw new Refusal(answer.status, found.error.code, found.error.message);
  } finally {
    clearTimeout(timer);
  }
}

/** Whether there is anybody at all. @param {number} patience seconds */
export async function reach(patience) {
  const limit = new AbortController();
  const timer = setTimeout(() => limit.abort(), patience * 1000);
  try {
    await fetch("/api", { method: "HEAD", cache: "no-store", signal: limit.signal });
    return true;
  } catch {
    return false; // whatever the reason, it is nobody we could talk to
  } finally {
    clearTimeout(timer);
  }
}

export class Polling {
  /** @type {(message: any) => void} */ #tell;
  /** @type {(why: "lost"|"sign-in"|"forbidden") => void} */ #end;
  /** All that a hello says apart from times and values. */ #shape = "";
  #examined = -Infinity; // when the health was asked for, by performance.now()
  /** @type {Map<string, number|null>} */ #since = new Map();
  #seq = 0;
  #ended = false;
  /** @type {() => void} */ #go = () => {};

  /**
   * @param {(message: any) => void} tell takes messages
   * @param {(why: "lost"|"sign-in"|"forbidden") => void} end called when it cannot go on
   */
  constructor(tell, end) {
    this.#tell = tell;
    this.#end = end;
    this.#run();
  }

  /** Asks now instead of later. */
  look() {
    this.#go();
  }

  close() {
    this.#ended = true;
    this.#go();
  }

  /** Carries out one command, once. @param {Command} command @returns {Promise<{pin: string, value: number}>} */
  async ask({ type, pin, value, seconds }) {
    const path = `/pins/${encodeURIComponent(pin)}`;
    /** @type {Record<string, () => Promise<any>>} */
    const ways = {
      set: () => ask(path, "PUT", { value }, 15),
      toggle: () => ask(`${path}/toggle`, "POST", {}, 15),
      pulse: () => ask(`${path}/pulse`, "POST", seconds === undefined ? {} : { seconds }, 15),
    };
    const way = ways[type];
    if (!way) throw new Refusal(0, "not-connected", `the API has no "${type}"`);
    const found = await way();
    if (!this.#ended) this.#learn(found);
    return { pin, value: found.value };
  }

  async #run() {
    try {
      while (!this.#ended) {
        const hello = await ask("/hello");
        if (this.#ended) return;
        this.#hear(hello);
        if (performance.now() - this.#examined > HEALTH_EVERY * 1000) await this.#examine();
        await this.#pause();
      }
    } catch (error) {
      if (this.#ended) return;
      const status = error instanceof Refusal ? error.status : 0;
      this.#end(status === 401 ? "sign-in" : status === 403 ? "forbidden" : "lost");
    }
  }

  /** A while; as long as nobody looks, until somebody does. @returns {Promise<void>} */
  #pause() {
    return new Promise((resolve) => {
      this.#go = resolve;
      setTimeout(() => document.hidden || resolve(), ASK_EVERY * 1000);
    });
  }

  async #examine() {
    this.#examined = performance.now();
    const health = await ask("/health");
    if (!this.#ended) this.#tell(health);
  }

  /** @param {import("./raspi.js").Hello} hello */
  #hear(hello) {
    const { time, pins } = hello;
    const shape = JSON.stringify({ ...hello, id: "", time: 0, state: {}, pins: pins.map((pin) => ({ ...pin, value: 0, since: 0 })) });
    if (shape === this.#shape) {
      pins.forEach((pin) => this.#learn(pin));
      this.#tell({ type: "state", seq: ++this.#seq, time, pins: {} });
      return;
    }
    this.#shape = shape;
    this.#since = new Map(pins.map(({ name, since }) => [name, since]));
    this.#tell({ ...hello, interval: ASK_EVERY });
  }

  /** @param {import("./raspi.js").Pin} pin */
  #learn({ name, value, since }) {
    if (since === this.#since.get(name)) return;
    this.#since.set(name, since);
    this.#tell({ type: "change", seq: ++this.#seq, time: since, pin: name, value });
  }
}
