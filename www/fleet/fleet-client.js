/** The fleet, all Raspberry Pis at the broker, as they are now: fetched once, and kept up to date by messages. It draws nothing. */
import { address, socketAddress } from "../ui/address.js";
import { Connection } from "../ui/connection.js";
import { credentials } from "../ui/frame.js";
import { ApiError, request } from "../ui/polling.js";
import { isFaulty, troubleOf } from "./trouble.js";

/**
 * A pin of a Pi as it was last reported. Times are Unix seconds.
 * @typedef {object} Pin
 * @property {string} name
 * @property {string} label
 * @property {"input"|"output"|"pwm"} mode
 * @property {string|null} [kind]
 * @property {string|null} [room]
 * @property {string|null} [icon]
 * @property {{on: string, off: string}|null} [words]
 * @property {boolean} [hidden]
 * @property {number|null} value
 * @property {number|null} since
 * @property {boolean} writable   whether its Pi takes commands from the broker
 * @property {number|null} pulse  seconds
 * @property {string|null} group
 * @property {boolean} confirm
 * @property {"everyone"|"code"|"nobody"|null} control  callers that may switch it from this server; null for inputs
 * @property {string|null} error
 * @property {string|null} [problem]  of a cover
 * @property {string|null} [error_reason]  the name of its string in languages/, whose braces `error_values` fill
 * @property {Record<string, string|number>} [error_values]
 */
/** @typedef {import("../ui/cover.js").Cover} Cover */
/** What of a cover changes. @typedef {[Cover["state"], number|null, number|null, string|null, string|null, Record<string, string|number>]} CoverNews */
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
 * @property {Cover[]} [covers]
 */
/** Without hidden pins, and with covers among the others, as pins. `words` is what a search compares.
 * @typedef {Entry & {byName: Map<string, Pin>, words: string, trouble: import("./trouble.js").Trouble}} Pi */
/** @typedef {{connected: boolean, error: string|null}} Broker */
/** @typedef {{seq: number, time: number, removed?: string[], pis?: Entry[], pins?: Record<string, Record<string, [number|null, number|null]>>,
 *   covers?: Record<string, Record<string, CoverNews>>}} News */
/**
 * all: the whole fleet was fetched; pi: a Pi is new, has a new description, went online or offline, or has other trouble; removed: a Pi was removed; pin: a pin
 * changed; state: the state of the broker or the rights of this browser changed.
 * @typedef {{all: null, pi: Pi, removed: Pi, pin: {pi: Pi, pin: Pin}, state: null, link: import("../ui/connection.js").Link}} Events
 */

const PING_INTERVAL_S = 5;
const FLEET_TIMEOUT_S = 30; // a thousand Pis over a poor Wi-Fi
const DISCONNECT_HIDDEN_AFTER_S = 60;

/** @extends {Connection<Events>} */
export class FleetClient extends Connection {
  /** By topic. @type {Map<string, Pi>} */
  pis = new Map();
  /** @type {Broker} */
  broker = { connected: false, error: null };
  /** @type {"view"|"control"} */
  access = "view";
  codeWouldHelp = false;
  /** The code that this browser signed in with. @type {"view"|"control"|null} */
  signedIn = null;
  /** True if the fleet page is switched off. */
  isOff = false;
  /** The news that came before the fleet, null once that is here. @type {News[]|null} */ #early = [];
  /** What covers need, once a Pi has some. @type {typeof import("./covers.js")|null} */
  covers = null;
  #requests = 0;

  constructor() {
    super(socketAddress("fleet/ws"), DISCONNECT_HIDDEN_AFTER_S);
    this.interval = PING_INTERVAL_S;
    this.openSocket();
  }

  /** True if what is shown is current, and could be switched. */
  get isCurrent() {
    return this.isFresh && this.broker.connected;
  }

  /** Return whether this browser may switch a pin, by this server and by its Pi. @param {Pin} pin */
  maySwitch({ writable, control }) {
    return writable && (control === "everyone" || (control === "code" && this.signedIn === "control"));
  }

  /** True if there is a pin that this browser may switch. */
  get maySwitchSome() {
    return [...this.pis.values()].some(({ pins }) => pins.some((pin) => this.maySwitch(pin)));
  }

  /** True if there are pins that signing in with the control code would let it switch. */
  get needsCode() {
    if (this.signedIn === "control") return false;
    return [...this.pis.values()].some(({ pins }) => pins.some(({ writable, control }) => writable && control === "code"));
  }

  /** @param {string} pi its topic @param {string} pin @param {number} value */
  set(pi, pin, value) {
    return this.send({ type: "set", pi, pin, value });
  }
  /** @param {string} pi @param {string} pin */
  toggle(pi, pin) {
    return this.send({ type: "toggle", pi, pin });
  }
  /** @param {string} pi @param {string} pin */
  pulse(pi, pin) {
    return this.send({ type: "pulse", pi, pin });
  }

  onDropped() {
    this.#early = [];
    this.#requests++;
  }

  /** @param {any} message */
  receive(message) {
    if (message.time) this.syncClock(message.time);
    switch (message.type) {
      case "hello":
        this.access = message.access;
        this.codeWouldHelp = message.code_would_help;
        this.signedIn = message.signed_in;
        if (this.#early) this.#fetchAll();
        else this.emit("state", null);
        return;
      case "news":
        if (this.#early) return void this.#early.push(message);
        if (this.covers || !hasCovers(message.pis)) return this.#apply(message);
        this.#early = []; // the first covers: what they need is loaded first
        return void this.#fetchAll();
      case "broker":
        this.broker = { connected: message.connected, error: message.error };
        return this.emit("state", null);
    }
  }

  async #fetchAll() {
    const number = ++this.#requests;
    try {
      const { time, seq, broker, pis } = await request("/fleet", "GET", undefined, FLEET_TIMEOUT_S);
      if (!this.covers && hasCovers(pis)) {
        const module = await import("./covers.js");
        await module.ready();
        this.covers = module;
      }
      if (number !== this.#requests) return;
      this.syncClock(time);
      this.broker = broker;
      this.pis = new Map(pis.map((/** @type {Entry} */ entry) => [entry.topic, this.#indexed(entry)]));
      const early = this.#early ?? [];
      this.#early = null;
      this.markLive();
      this.emit("all", null);
      this.emit("state", null);
      for (const news of early) if (news.seq > seq) this.#apply(news);
    } catch (error) {
      if (number !== this.#requests) return;
      this.disconnect(error instanceof ApiError && error.status === 401 ? "sign-in" : "lost", 1);
    }
  }

  /** Check, after a connection failed, whether the fleet is switched off here. */
  async checkIsOff() {
    const answer = await fetch(address("api/fleet"), { ...credentials(), method: "HEAD", cache: "no-store" }).catch(() => null);
    if (answer?.status !== 404 || this.isFresh) return;
    this.isOff = true;
    this.close();
  }

  /** @param {News} news */
  #apply({ removed = [], pis = [], pins = {}, covers = {} }) {
    for (const topic of removed) {
      const pi = this.pis.get(topic);
      this.pis.delete(topic);
      if (pi) this.emit("removed", pi);
    }
    for (const entry of pis) {
      const pi = this.#indexed(entry);
      this.pis.set(pi.topic, pi);
      this.emit("pi", pi);
    }
    for (const [topic, values] of Object.entries(pins)) {
      const pi = this.pis.get(topic);
      if (!pi) continue;
      for (const [name, [value, since]] of Object.entries(values)) {
        const pin = pi.byName.get(name);
        if (!pin) continue;
        Object.assign(pin, { value, since });
        this.emit("pin", { pi, pin });
      }
      if (this.#hasOtherTrouble(pi)) this.emit("pi", pi);
    }
    for (const [topic, all] of Object.entries(covers)) {
      const pi = this.pis.get(topic);
      if (!pi) continue;
      let isOther = false;
      for (const [name, news] of Object.entries(all)) {
        const pin = pi.byName.get(name);
        if (!pin) continue;
        const before = isFaulty(pin);
        this.covers?.follow(pin, news);
        isOther ||= isFaulty(pin) !== before;
        this.emit("pin", { pi, pin });
      }
      if (this.#hasOtherTrouble(pi) || isOther) this.emit("pi", pi); // a filter looks at each
    }
  }

  /** Find the trouble of a Pi again; return whether it is another one. @param {Pi} pi */
  #hasOtherTrouble(pi) {
    const before = pi.trouble;
    pi.trouble = troubleOf(pi);
    return pi.trouble !== before;
  }

  /** @param {Entry} entry @returns {Pi} */
  #indexed(entry) {
    const pins = this.covers?.withCovers(entry) ?? entry.pins.filter(({ hidden }) => !hidden);
    const byName = new Map(pins.map((pin) => [pin.name, pin]));
    const words = [entry.topic, entry.host, ...pins.flatMap(({ name, label, room }) => [name, label, room])];
    return { ...entry, pins, byName, words: words.join("\n").toLowerCase(), trouble: troubleOf({ ...entry, pins }) };
  }
}

/** @param {Entry[]} [entries] */
const hasCovers = (entries = []) => entries.some(({ covers }) => covers?.length);
