/**
 * The module for pages of your own: a connection that reconnects by itself, the value of every pin, and commands.
 * It draws nothing but a question:
 *
 *     import { connect } from "/raspi.js";
 *     const raspi = connect();
 *     raspi.on("pin", (pin) => console.log(pin.label, pin.value));   // now, and whenever one changes
 *     raspi.on("link", (link) => console.log(link));                 // "live", "stale", "lost", ...
 *     await raspi.set("lamp", 1);                                    // done, or throws a RaspiError
 *     await raspi.close("garage");                                   // a cover; also open, stop, position
 *
 * Before it switches a pin that has `confirm: true` in config.yaml it asks, in a dialog of its own; after a "no" nothing is sent, and the
 * promise is rejected with the code "cancelled". The question is in the language of the page's `<html lang="">`, if there is a file for it
 * in languages/, else in English. A page may ask in its own way; `false` never asks:
 *
 *     const raspi = connect({ confirm: (question, pin) => askMyWay(question) });
 *
 * Where a browser lets no WebSocket through, it polls the HTTP API once a second instead; all else stays the same. The server's
 * address follows from that of this module, so it works from any folder and behind a reverse proxy.
 */
import { socketAddress } from "./ui/address.js";
import { Connection, RaspiError } from "./ui/connection.js";
import { Polling } from "./ui/polling.js";

export { RaspiError } from "./ui/connection.js";

/**
 * A pin as the server describes it, with what is known of it now. Times are Unix seconds of the server's clock.
 * @typedef {object} Pin
 * @property {string} name
 * @property {string} label        what people read
 * @property {number} gpio         BCM number
 * @property {number|null} header  position on the 40-pin header
 * @property {"input"|"output"|"pwm"} mode
 * @property {boolean} writable    whether this browser may switch it
 * @property {"everyone"|"code"|"nobody"|null} control  callers that may switch it by the configuration; null for inputs
 * @property {number|null} pulse   seconds: switching it on means on for that long
 * @property {number|null} max_on  seconds: never on for longer
 * @property {string|null} group   of one group at most one is on
 * @property {boolean} confirm     ask before switching it
 * @property {string|null} error   why it could not be opened; its value is null then
 * @property {string|null} [error_reason]  the name of its string in languages/, whose braces `error_values` fill
 * @property {Record<string, string|number>} [error_values]
 * @property {string|null} [kind]  what it means: door, light, moisture; ui/kinds.js has them all
 * @property {string|null} [room]  the heading under which pages show it
 * @property {string|null} [icon]  the name of a picture in ui/icons.js in place of its kind's
 * @property {{on: string, off: string}|null} [words]  in place of its kind's
 * @property {boolean} [hidden]    in no list of a page
 * @property {number|null} since   when it last changed, if known
 * @property {number|null} value   0 or 1 (1 is active), for pwm 0 to 1
 * @property {string|null} by      who changed it last: an address, "pulse", "max_on", "group", "schedule NAME"; null if unknown
 * @property {Source|null} source  what decides its value; null for inputs
 * @property {number|null} until   until when that decides, if known
 * @property {boolean} auto        whether `auto` would end what people have switched
 * @property {number|null} [next]  when schedules want another value next, within a day
 * @property {string|null} [cover] of which it is a part
 */
/** @typedef {import("./ui/cover.js").Cover} Cover */
/** `name` is that of the rule or schedule. @typedef {{level: "manual"|"rule"|"schedule"|"default", name?: string}} Source */
/** @typedef {import("./ui/types.js").Hello} Hello */
/** @typedef {import("./ui/types.js").Health} Health */
/** @typedef {import("./ui/types.js").Events} Events */
/** The words of a dialog's buttons. @typedef {{yes: string, no: string}} Answers */
/** Return whether to go ahead. @typedef {(question: string, pin: Pin|Cover, answers: Answers) => boolean|Promise<boolean>} Confirm */

/** A connection to one Raspberry Pi, and what is known of it. @extends {Connection<Events>} */
export class Raspi extends Connection {
  /** Every pin in the order of the configuration, by name. A new `hello` makes new ones. @type {Map<string, Pin>} */
  pins = new Map();
  /** @type {Map<string, Cover>} */
  covers = new Map();
  /** @type {Hello|null} */
  hello = null;
  /** @type {Health|null} */
  health = null;

  /** @type {Confirm|false|undefined} */ #confirm;

  /** @param {string} url @param {number} rest seconds @param {Confirm|false} [confirm] else it asks in a dialog of its own */
  constructor(url, rest, confirm) {
    super(url, rest);
    this.#confirm = confirm;
    this.openSocket();
  }

  /**
   * Call `listener` on every such event; for "pin" and "cover" also at once with what is known, so that a late listener misses nothing.
   * @template {keyof Events} K
   * @param {K} name
   * @param {(detail: Events[K]) => void} listener
   * @returns {() => void}
   */
  on(name, listener) {
    const known = name === "pin" ? this.pins : name === "cover" ? this.covers : [];
    known.forEach((each) => /** @type {any} */ (listener)(each));
    return super.on(name, listener);
  }

  /** @param {string} pin @param {number} value 0 or 1, for pwm 0 to 1 @param {number} [seconds] for how long, else until it is switched again */
  async set(pin, value, seconds) {
    if (this.#needsConfirmation(this.pins.get(pin))) await this.#confirmCommand(pin, value);
    return this.send({ type: "set", pin, value, seconds });
  }
  /** @param {string} pin @param {number} [seconds] as above */
  async toggle(pin, seconds) {
    if (!this.#needsConfirmation(this.pins.get(pin))) return this.send({ type: "toggle", pin, seconds });
    const { value = null, mode } = this.pins.get(pin) ?? {};
    await this.#confirmCommand(pin, value ? 0 : 1, !value);
    // The command that was confirmed, whatever happened meanwhile; only the server knows the last level of a dimmer.
    if (mode === "pwm" && !value && !this.pins.get(pin)?.value) return this.send({ type: "toggle", pin, seconds });
    return this.send({ type: "set", pin, value: value ? 0 : 1, seconds });
  }
  /** End what people have switched: rules and schedules decide again, else the pin's default. @param {string} pin */
  auto(pin) {
    return this.send({ type: "auto", pin });
  }
  /** @param {string} pin @param {number} [seconds] else the pin's own */
  async pulse(pin, seconds) {
    if (this.#needsConfirmation(this.pins.get(pin))) await this.#confirmCommand(pin, 1, true, seconds);
    return this.send({ type: "pulse", pin, seconds });
  }
  /** @param {string} cover */
  open(cover) {
    return this.#move({ type: "open", cover });
  }
  /** Close a cover, or without a name the connection. @param {string[]} names @returns {any} */
  close(...names) {
    return names.length ? this.#move({ type: "close", cover: names[0] }) : super.close();
  }
  /** @param {string} cover */
  stop(cover) {
    return this.send({ type: "stop", cover });
  }
  /** @param {string} cover @param {number} position percent, 100 is open */
  position(cover, position) {
    return this.#move({ type: "position", cover, position });
  }
  /** @param {import("./ui/connection.js").Command} command */
  async #move(command) {
    const cover = this.covers.get(command.cover ?? "");
    if (cover && this.#needsConfirmation(cover)) await this.#ask(cover, ({ questionOfMove }) => questionOfMove(cover, command));
    return this.send(command);
  }
  /** Set a simulated input. @param {string} pin @param {number} value */
  drive(pin, value) {
    return this.send({ type: "drive", pin, value });
  }

  /** @param {import("./ui/connection.js").Receive} receive @param {(link: "lost"|"sign-in"|"forbidden") => void} end */
  fallback(receive, end) {
    return new Polling(receive, end);
  }

  /** @param {any} message */
  receive(message) {
    switch (message.type) {
      case "hello":
        this.syncClock(message.time);
        return this.#begin(message);
      case "state":
        this.syncClock(message.time);
        for (const [name, value] of Object.entries(message.pins)) {
          if (this.pins.get(name)?.value !== value) this.#update(name, { value, since: message.time, by: null });
        }
        return this.emit("state", message);
      case "change":
        this.#update(message.pin, { value: message.value, since: message.time, by: message.by ?? null, ...decision(message) });
        return this.emit("change", message);
      case "source":
        this.#update(message.pin, decision(message));
        return this.emit("source", message);
      case "automation":
        return this.emit("automation", message);
      case "cover": {
        const cover = this.covers.get(message.cover);
        const { type, seq, time, cover: _, ...news } = message;
        return cover && this.emit("cover", Object.assign(cover, news));
      }
      case "health":
        this.syncClock(message.time);
        this.health = message;
        return this.emit("health", message);
    }
  }

  /** Return whether to ask first: not without a connection, where the command fails anyway. @param {Pin|Cover} [target] */
  #needsConfirmation(target) {
    return this.#confirm !== false && this.isFresh && target?.confirm === true;
  }

  /**
   * Ask; throw a RaspiError after a no.
   * @param {string} name @param {number} value @param {boolean} [isSwitch] true for on, at whatever level @param {number} [seconds]
   */
  async #confirmCommand(name, value, isSwitch = false, seconds) {
    const pin = this.pins.get(name);
    if (pin) await this.#ask(pin, ({ questionOf }) => questionOf(pin, value, isSwitch, seconds ?? pin.pulse));
  }

  /** @param {Pin|Cover} target @param {(module: typeof import("./ui/question.js")) => Promise<[string, Answers]>} phrase */
  async #ask(target, phrase) {
    const module = await import("./ui/question.js");
    const [question, answers] = await phrase(module);
    const isMeant = await (this.#confirm || module.askInDialog)(question, target, answers);
    if (!isMeant) throw new RaspiError("cancelled", "the answer was no, so nothing was sent");
  }

  /** Take on what a hello describes. @param {Hello} hello */
  describe(hello) {
    this.hello = hello;
    this.pins = new Map(hello.pins.map((pin) => [pin.name, { ...pin, value: hello.state[pin.name] ?? null, by: null }]));
    this.covers = new Map(hello.covers?.map((cover) => [cover.name, { ...cover, by: null }]));
  }

  /** @param {Hello} hello */
  #begin(hello) {
    this.describe(hello);
    this.interval = hello.interval;
    this.markLive();
    this.emit("hello", hello);
    for (const pin of this.pins.values()) this.emit("pin", pin);
    for (const cover of this.covers.values()) this.emit("cover", cover);
  }

  /** @param {string} name @param {Partial<Pin>} news */
  #update(name, news) {
    const pin = this.pins.get(name);
    if (!pin) return;
    Object.assign(pin, news);
    this.emit("pin", pin);
  }
}

/** Return what a message says of the source of a value. @param {Partial<Pin>} message @returns {Partial<Pin>} */
const decision = ({ source = null, until = null, auto = false, next }) => ({ source, until, auto, ...(next !== undefined && { next }) });

/**
 * Connect to the server this module came from, and stay connected.
 * @param {{url?: string, rest?: number, confirm?: Confirm|false}} [options] another WebSocket address; after how many seconds a hidden page
 *   disconnects until it is visible again, else never; how to ask before a pin with `confirm` is switched
 */
export function connect({ url, rest = 0, confirm } = {}) {
  return new Raspi(url ?? socketAddress("ws"), rest, confirm);
}
