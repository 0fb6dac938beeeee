/**
 * The one module that talks to the server: a link that mends itself, what every pin is now, and commands.
 * It draws nothing, so any page of your own can use it:
 *
 *     import { connect } from "/raspi.js";
 *     const raspi = connect();
 *     raspi.on("pin", (pin) => console.log(pin.label, pin.value));   // now, and whenever one changes
 *     raspi.on("link", (link) => console.log(link));                 // "live", "stale", "lost", ...
 *     await raspi.set("lamp", 1);                                    // done, or throws a RaspiError
 *
 * Where a browser lets no WebSocket through, it asks the HTTP API once a second instead; all else stays the same.
 */
import { Lifeline } from "./lifeline.js";
import { Polling } from "./polling.js";

export { RaspiError } from "./lifeline.js";

/**
 * A pin as the server describes it, with what is known of it now. Times are Unix seconds of the server's clock.
 * @typedef {object} Pin
 * @property {string} name
 * @property {string} label        what people read
 * @property {number} gpio         BCM number
 * @property {number|null} header  position on the 40-pin header
 * @property {"input"|"output"|"pwm"} mode
 * @property {boolean} writable    whether this browser may switch it
 * @property {"everyone"|"code"|"nobody"|null} control  whom the configuration lets switch it; null for inputs
 * @property {number|null} pulse   seconds: switching it on means on for that long
 * @property {number|null} max_on  seconds: never on for longer
 * @property {string|null} group   of one group at most one is on
 * @property {boolean} confirm     ask before switching it
 * @property {string|null} error   why it could not be opened; its value is null then
 * @property {number|null} since   when it last changed, if known
 * @property {number|null} value   0 or 1 (1 is active), for pwm 0 to 1
 * @property {string|null} by      who changed it last: an address, "pulse", "max_on", "group"; null if unknown
 */
/** @typedef {{code: string, message: string}} Notice */
/** @typedef {{name: string, version: string, host: string, simulated: boolean, notices: Notice[]}} Server */
/** @typedef {{id: string, time: number, interval: number, server: Server, access: "view"|"control",
 *   signed_in: "view"|"control"|null, code_would_help: boolean, pins: Pin[], state: Record<string, number|null>,
 *   fleet: boolean}} Hello */
/** @typedef {{seq: number, time: number, pins: Record<string, number|null>}} State */
/** @typedef {{seq: number, time: number, pin: string, value: number|null, by?: string}} Change */
/** The Pi's pulse: °C, the firmware's complaints, shares from 0 to 1, seconds since it started, and where others reach it.
 * @typedef {{time: number, temperature: number|null, throttled: string[]|null, load: number|null, memory: number|null,
 *   disk: number|null, uptime: number|null, addresses: string[], viewers: number|null}} Health */
/** @typedef {import("./lifeline.js").Link} Link */
/** @typedef {import("./lifeline.js").Result} Result */
/** @typedef {{hello: Hello, pin: Pin, state: State, change: Change, health: Health, link: Link}} Events */

/** @extends {Lifeline<Events>} */
export class Raspi extends Lifeline {
  /** Every pin in the order of the configuration, by name. A new `hello` makes new ones. @type {Map<string, Pin>} */
  pins = new Map();
  /** @type {Hello|null} */
  hello = null;
  /** @type {Health|null} */
  health = null;

  /** @param {string} url @param {number} rest seconds */
  constructor(url, rest) {
    super(url, rest);
    this.open();
  }

  /**
   * As any link does; "pin" also tells at once what is known, so that a late listener misses nothing.
   * @template {keyof Events} K
   * @param {K} name
   * @param {(detail: Events[K]) => void} listener
   * @returns {() => void}
   */
  on(name, listener) {
    if (name === "pin") this.pins.forEach((pin) => /** @type {any} */ (listener)(pin));
    return super.on(name, listener);
  }

  /** @param {string} pin @param {number} value 0 or 1, for pwm 0 to 1 */
  set(pin, value) {
    return this.ask({ type: "set", pin, value });
  }
  /** @param {string} pin */
  toggle(pin) {
    return this.ask({ type: "toggle", pin });
  }
  /** @param {string} pin @param {number} [seconds] else the pin's own */
  pulse(pin, seconds) {
    return this.ask(seconds === undefined ? { type: "pulse", pin } : { type: "pulse", pin, seconds });
  }
  /** Moves a simulated input. @param {string} pin @param {number} value */
  drive(pin, value) {
    return this.ask({ type: "drive", pin, value });
  }

  /** @param {import("./lifeline.js").Tell} tell @param {(why: "lost"|"sign-in"|"forbidden") => void} end */
  instead(tell, end) {
    return new Polling(tell, end);
  }

  /** @param {any} message */
  take(message) {
    switch (message.type) {
      case "hello":
        this.keepTime(message.time);
        return this.#greet(message);
      case "state":
        this.keepTime(message.time);
        for (const [name, value] of Object.entries(message.pins)) {
          if (this.pins.get(name)?.value !== value) this.#learn(name, value, message.time, null);
        }
        return this.tell("state", message);
      case "change":
        this.#learn(message.pin, message.value, message.time, message.by ?? null);
        return this.tell("change", message);
      case "health":
        this.keepTime(message.time);
        this.health = message;
        return this.tell("health", message);
    }
  }

  /** @param {Hello} hello */
  #greet(hello) {
    this.hello = hello;
    this.pins = new Map(hello.pins.map((pin) => [pin.name, { ...pin, value: hello.state[pin.name] ?? null, by: null }]));
    this.interval = hello.interval;
    this.settle();
    this.tell("hello", hello);
    for (const pin of this.pins.values()) this.tell("pin", pin);
  }

  /** @param {string} name @param {number|null} value @param {number} time @param {string|null} by */
  #learn(name, value, time, by) {
    const pin = this.pins.get(name);
    if (!pin) return;
    Object.assign(pin, { value, since: time, by });
    this.tell("pin", pin);
  }
}

/**
 * Opens the live link to the server this page came from, and keeps it open.
 * @param {{url?: string, rest?: number}} [options] another WebSocket address; after how many seconds a hidden page lets go of
 *   the link until somebody looks again, else never
 */
export function connect({ url, rest = 0 } = {}) {
  return new Raspi(url ?? location.origin.replace(/^http/, "ws") + "/ws", rest);
}
