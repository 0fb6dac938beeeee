/**
 * The second-best way to the server: asks its HTTP API again and again, where a browser lets no WebSocket through. iOS does that
 * without a word on pages whose certificate was only "visited anyway". What it finds it tells as the messages the socket would bring.
 */

/** @typedef {{type: string, pin: string, value?: number, seconds?: number}} Command */

const ASK_EVERY = 1; // seconds
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
    if (!answer.ok) throw new Refusal(answer.status, found.error.code, found.error.message);
    return found;
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
  /** What the pins are apart from their values. */ #shape = "";
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
      const { name, version, host, simulated, links } = await ask("");
      const notices = simulated ? [{ code: "simulated", message: "The pins are simulated: nothing real is read or switched" }] : [];
      const server = { name, version, host, simulated, notices };
      while (!this.#ended) {
        const { time, pins } = await ask("/pins");
        if (this.#ended) return;
        this.#hear(server, time, pins, "fleet" in links);
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

  /** @param {object} server @param {number} time @param {import("./raspi.js").Pin[]} pins @param {boolean} fleet */
  #hear(server, time, pins, fleet) {
    const shape = JSON.stringify(pins.map((pin) => ({ ...pin, value: 0, since: 0 })));
    if (shape === this.#shape) {
      pins.forEach((pin) => this.#learn(pin));
      this.#tell({ type: "state", seq: ++this.#seq, time, pins: {} });
      return;
    }
    this.#shape = shape;
    this.#since = new Map(pins.map(({ name, since }) => [name, since]));
    const outputs = pins.filter(({ mode }) => mode !== "input");
    const access = outputs.some(({ writable }) => writable) ? "control" : "view";
    const state = Object.fromEntries(pins.map(({ name, value }) => [name, value]));
    // The API does not say who we are; offering to sign in does no harm.
    const code_would_help = outputs.some(({ writable }) => !writable);
    const rest = { signed_in: null, code_would_help, pins, state, fleet };
    this.#tell({ type: "hello", id: "", time, interval: ASK_EVERY, server, access, ...rest });
  }

  /** @param {import("./raspi.js").Pin} pin */
  #learn({ name, value, since }) {
    if (since === this.#since.get(name)) return;
    this.#since.set(name, since);
    this.#tell({ type: "change", seq: ++this.#seq, time: since, pin: name, value });
  }
}
