/** All Raspberry Pis at the broker, as they are now: asked for once as a whole, and kept up with what is told since. It draws nothing. */
import { Lifeline } from "../lifeline.js";
import { ask, Refusal } from "../polling.js";

/**
 * A pin of some Pi as it was told last. Times are Unix seconds.
 * @typedef {object} Pin
 * @property {string} name
 * @property {string} label
 * @property {"input"|"output"|"pwm"} mode
 * @property {number|null} value
 * @property {number|null} since
 * @property {boolean} writable   whether its Pi obeys those at the broker
 * @property {number|null} pulse  seconds
 * @property {string|null} group
 * @property {boolean} confirm
 * @property {"everyone"|"code"|"nobody"|null} control  whom this server lets switch it; null for inputs
 * @property {string|null} error
 */
/**
 * @typedef {object} Entry
 * @property {string} topic
 * @property {string} group
 * @property {string} host
 * @property {boolean} online
 * @property {number|null} heard
 * @property {boolean} simulated
 * @property {string} version
 * @property {string|null} url
 * @property {Pin[]} pins
 */
/** `words` is what a search looks at. @typedef {Entry & {byName: Map<string, Pin>, words: string}} Pi */
/** @typedef {{connected: boolean, error: string|null}} Broker */
/** @typedef {{seq: number, time: number, gone?: string[], pis?: Entry[], pins?: Record<string, Record<string, [number|null, number|null]>>}} News */
/**
 * all: everything is new; pi: one came, was described anew, or went on- or offline; gone: one is no more; pin: a value; state: the broker, or
 * what we may do.
 * @typedef {{all: null, pi: Pi, gone: Pi, pin: {pi: Pi, pin: Pin}, state: null, link: import("../lifeline.js").Link}} Events
 */

const PULSE_EVERY = 5; // seconds
const WHOLE_WITHIN = 30; // seconds: a thousand Pis over a poor Wi-Fi

/** @extends {Lifeline<Events>} */
export class House extends Lifeline {
  /** By topic. @type {Map<string, Pi>} */
  pis = new Map();
  /** @type {Broker} */
  broker = { connected: false, error: null };
  /** @type {"view"|"control"} */
  access = "view";
  codeWouldHelp = false;
  /** Which code we have shown. @type {"view"|"control"|null} */
  signedIn = null;
  /** Whether there is such a page here at all. */
  isOff = false;
  /** What came before the whole did, null once that is here. @type {News[]|null} */ #early = [];
  #asked = 0;

  constructor() {
    super(location.origin.replace(/^http/, "ws") + "/fleet/ws", 60);
    this.interval = PULSE_EVERY;
    this.open();
  }

  /** Whether what is shown is so now, and could be switched. */
  get isCurrent() {
    return this.isFresh && this.broker.connected;
  }

  /** Whether we may switch a pin, as far as this server and its Pi go. @param {Pin} pin */
  maySwitch({ writable, control }) {
    return writable && (control === "everyone" || (control === "code" && this.signedIn === "control"));
  }

  /** Whether there is a pin that we may switch. */
  get maySwitchSome() {
    return [...this.pis.values()].some(({ pins }) => pins.some((pin) => this.maySwitch(pin)));
  }

  /** Whether there are pins that the control code, which we have not shown, would switch. */
  get needsCode() {
    if (this.signedIn === "control") return false;
    return [...this.pis.values()].some(({ pins }) => pins.some(({ writable, control }) => writable && control === "code"));
  }

  /** @param {string} pi its topic @param {string} pin @param {number} value */
  set(pi, pin, value) {
    return this.ask({ type: "set", pi, pin, value });
  }
  /** @param {string} pi @param {string} pin */
  toggle(pi, pin) {
    return this.ask({ type: "toggle", pi, pin });
  }
  /** @param {string} pi @param {string} pin */
  pulse(pi, pin) {
    return this.ask({ type: "pulse", pi, pin });
  }

  dropped() {
    this.#early = [];
    this.#asked++;
  }

  /** @param {any} message */
  take(message) {
    if (message.time) this.keepTime(message.time);
    switch (message.type) {
      case "hello":
        this.access = message.access;
        this.codeWouldHelp = message.code_would_help;
        this.signedIn = message.signed_in;
        if (this.#early) this.#askForAll();
        else this.tell("state", null);
        return;
      case "news":
        if (this.#early) this.#early.push(message);
        else this.#apply(message);
        return;
      case "broker":
        this.broker = { connected: message.connected, error: message.error };
        return this.tell("state", null);
    }
  }

  async #askForAll() {
    const asked = ++this.#asked;
    try {
      const { time, seq, broker, pis } = await ask("/fleet", "GET", undefined, WHOLE_WITHIN);
      if (asked !== this.#asked) return;
      this.keepTime(time);
      this.broker = broker;
      this.pis = new Map(pis.map((/** @type {Entry} */ entry) => [entry.topic, grown(entry)]));
      const early = this.#early ?? [];
      this.#early = null;
      this.settle();
      this.tell("all", null);
      this.tell("state", null);
      for (const news of early) if (news.seq > seq) this.#apply(news);
    } catch (error) {
      if (asked !== this.#asked) return;
      this.lose(error instanceof Refusal && error.status === 401 ? "sign-in" : "lost", 1);
    }
  }

  /** To be asked when no link comes about: whether none ever will. */
  async findOut() {
    const answer = await fetch("/api/fleet", { method: "HEAD", cache: "no-store" }).catch(() => null);
    if (answer?.status !== 404 || this.isFresh) return;
    this.isOff = true;
    this.close();
  }

  /** @param {News} news */
  #apply({ gone = [], pis = [], pins = {} }) {
    for (const topic of gone) {
      const pi = this.pis.get(topic);
      this.pis.delete(topic);
      if (pi) this.tell("gone", pi);
    }
    for (const entry of pis) {
      const pi = grown(entry);
      this.pis.set(pi.topic, pi);
      this.tell("pi", pi);
    }
    for (const [topic, values] of Object.entries(pins)) {
      const pi = this.pis.get(topic);
      for (const [name, [value, since]] of Object.entries(values)) {
        const pin = pi?.byName.get(name);
        if (!pi || !pin) continue;
        Object.assign(pin, { value, since });
        this.tell("pin", { pi, pin });
      }
    }
  }
}

/** @param {Entry} entry @returns {Pi} */
function grown(entry) {
  const byName = new Map(entry.pins.map((pin) => [pin.name, pin]));
  const words = [entry.topic, entry.host, ...entry.pins.flatMap(({ name, label }) => [name, label])];
  return { ...entry, byName, words: words.join("\n").toLowerCase() };
}
