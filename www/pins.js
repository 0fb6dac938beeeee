/** One card for each pin: what it is now, and the one control that fits it. Only what changed is drawn. */
import { make, mark, part, say, stamp } from "./dom.js";
import { RaspiError } from "./raspi.js";
import { Slider } from "./slider.js";
import { refusal, text } from "./texts.js";
import { author, length, percent, span, word } from "./words.js";

/** @typedef {import("./raspi.js").Pin} Pin */
/** @typedef {"broken"|"lamp"|"drive"|"press"|"dimmer"|"switch"} Kind */
/**
 * What a card needs of the page.
 * @typedef {object} Desk
 * @property {import("./raspi.js").Raspi} raspi
 * @property {(question: string, answer: string) => Promise<boolean>} confirm
 */

const REASON_FOR = 20; // seconds that a refusal stays to be read
const STOPPABLE = 5; // seconds: a longer pulse can be ended by the button that began it

/** @param {Pin} pin @param {Desk} desk @returns {Kind} */
function kindOf(pin, { raspi }) {
  if (pin.error !== null) return "broken";
  if (pin.mode === "input") {
    const { hello, link } = raspi; // the HTTP API has no way to move an input
    return hello?.server.simulated && hello.access === "control" && link !== "polling" ? "drive" : "lamp";
  }
  if (!pin.writable) return "lamp";
  if (pin.pulse !== null) return "press";
  return pin.mode === "pwm" ? "dimmer" : "switch";
}

/** What a card is built from: as long as it stays the same, so does the card. @param {Pin} pin @param {Desk} desk */
export function shape(pin, desk) {
  return JSON.stringify([kindOf(pin, desk), { ...pin, value: 0, since: 0, by: "" }]);
}

export class PinCard {
  /** @type {Desk} */ #desk;
  /** @type {Kind} */ #kind;
  /** @type {HTMLButtonElement|null} */ #button = null;
  /** @type {Slider|null} */ #slider = null;
  /** What was asked for and is not confirmed yet. @type {{words: string, on: boolean}|null} */
  #wanted = null;
  /** @type {HTMLElement} */ #word;
  /** @type {HTMLElement} */ #age;
  #place;
  #asked = 0;
  #forget = 0; // timer

  /** @param {Pin} pin @param {Desk} desk @param {string} [place] before its ids, for the second card of a pin, which has no strip */
  constructor(pin, desk, place = "") {
    this.pin = pin;
    this.#place = place;
    this.#desk = desk;
    this.#kind = kindOf(pin, desk);
    this.element = stamp("pin");
    this.canvas = /** @type {HTMLCanvasElement} */ (part(this.element, "canvas"));
    this.#word = part(this.element, ".word");
    this.#age = part(this.element, ".since");
    this.element.dataset.pin = pin.name;
    this.element.dataset.kind = this.#kind;
    const title = part(this.element, "h2");
    title.textContent = pin.label;
    title.id = `${place}label-${pin.name}`;
    part(this.element, ".meta").textContent = this.#meta();
    const more = /** @type {HTMLAnchorElement} */ (part(this.element, ".more"));
    more.href = `#pin/${pin.name}`;
    more.setAttribute("aria-label", text("historyOf", { label: pin.label }));
    part(more, "span").textContent = text("lastMinutes");
    if (place) for (const element of [this.canvas, more]) element.remove();
    if (pin.error !== null) this.#complain(pin.error);
    this.#build(part(this.element, ".control"));
    this.show(pin);
  }

  /** @param {Pin} pin as it is now */
  show(pin) {
    this.pin = pin;
    const { element } = this;
    const on = pin.value !== null && pin.value > 0;
    mark(element, "data-on", String(on));
    mark(element, "data-wanted", this.#wanted && this.#wanted.on !== on ? String(this.#wanted.on) : "");
    if (element.hasAttribute("data-pending") !== (this.#wanted !== null)) element.toggleAttribute("data-pending");
    say(this.#word, word(pin.value, pin.mode));
    if (this.#button && (this.#kind === "dimmer" || this.#kind === "switch")) mark(this.#button, "aria-checked", String(on));
    if (this.#button && this.#kind === "drive") mark(this.#button, "aria-pressed", String(on));
    if (this.#button && this.#kind === "press") say(this.#button, text(this.#stops() ? "stop" : "press"));
    this.#slider?.follow(pin.value ?? 0);
    this.tick();
  }

  /** Ages go on while nothing changes. */
  tick() {
    const { raspi } = this.#desk;
    say(this.#age, this.#wanted?.words ?? (raspi.isFresh ? this.#since() : text("lastHeard")));
  }

  #since() {
    const { since, by, value, pulse, max_on } = this.pin;
    if (since === null) return text("noChange");
    const age = this.#desk.raspi.time - since;
    const limit = Math.min(pulse ?? Infinity, max_on ?? Infinity);
    const left = value && limit >= STOPPABLE && limit < Infinity ? text("atMostLeft", { span: span(limit - age + 1) }) : "";
    return [text("forSpan", { span: span(age) }), left || author(by)].filter(Boolean).join(", ");
  }

  #meta() {
    const { gpio, header, mode, writable, pulse, max_on, group, error } = this.pin;
    return [
      `GPIO${gpio}`,
      header !== null && text("header", { position: header }),
      pulse !== null && text("pulseOf", { span: length(pulse) }),
      max_on !== null && text("onAtMost", { span: length(max_on) }),
      group,
      this.#kind === "drive" && text("drive"),
      mode !== "input" && !writable && error === null && text("viewOnly"),
    ].filter(Boolean).join(" · ");
  }

  /** @param {HTMLElement} place */
  #build(place) {
    const { raspi } = this.#desk;
    const { name, mode } = this.pin;
    if (this.#kind === "broken" || this.#kind === "lamp") {
      place.append(make("span", "lamp"));
      return;
    }
    const button = make("button", this.#kind === "dimmer" ? "switch" : this.#kind);
    this.#button = button;
    button.setAttribute("aria-labelledby", `${this.#place}label-${name}`);
    place.append(button);
    if (this.#kind === "press") {
      button.id = `${this.#place}press-${name}`;
      button.setAttribute("aria-labelledby", `${button.id} ${this.#place}label-${name}`);
      button.onclick = () => this.#press();
      return;
    }
    button.append(make("span", this.#kind === "drive" ? "lamp" : "thumb"));
    if (this.#kind === "drive") {
      button.onclick = () => {
        const value = this.pin.value ? 0 : 1;
        this.#ask(text("driving", { state: word(value, mode) }), value > 0, () => raspi.drive(name, value));
      };
      return;
    }
    button.setAttribute("role", "switch");
    button.onclick = () => this.#flip();
    if (this.#kind === "dimmer") {
      this.#slider = this.#dimmer();
      part(this.element, ".face").append(this.#slider.element);
    }
  }

  #dimmer() {
    const { name, label, confirm } = this.pin;
    return new Slider(text("level", { label }), confirm, (value) => {
      const level = percent(value);
      const send = () => this.#desk.raspi.set(name, value);
      return this.#ask(text("setting", { level }), value > 0, send, text("askSet", { label, level }), text("set"));
    });
  }

  #flip() {
    const { raspi } = this.#desk;
    const { name, label, mode, value } = this.pin;
    const on = !(this.#wanted ? this.#wanted.on : value);
    // A dimmer goes back to its last level, which the server knows; else `set`, so that a tap on an old picture is harmless.
    const send = () => (mode === "pwm" && on ? raspi.toggle(name) : raspi.set(name, Number(on)));
    if (on) return this.#ask(text("switchingOn"), on, send, text("askSwitchOn", { label }), text("switchOn"));
    return this.#ask(text("switchingOff"), on, send, text("askSwitchOff", { label }), text("switchOff"));
  }

  #stops() {
    return Boolean(this.pin.value) && (this.pin.pulse ?? 0) >= STOPPABLE;
  }

  #press() {
    const { raspi } = this.#desk;
    const { name, label, pulse } = this.pin;
    if (this.#stops()) return this.#ask(text("stopping"), false, () => raspi.set(name, 0), text("askStop", { label }), text("stop"));
    const question = text("askPress", { label, span: length(pulse ?? 0) });
    return this.#ask(text("pressing"), true, () => raspi.pulse(name), question, text("press"));
  }

  /**
   * Shows the wish as a wish until the server has answered; if it refuses, takes it back and says why.
   * @param {string} words @param {boolean} on @param {() => Promise<unknown>} send
   * @param {string} [question] @param {string} [answer] for pins that ask first
   */
  async #ask(words, on, send, question = "", answer = "") {
    this.#complain("");
    if (question && this.pin.confirm && !(await this.#desk.confirm(question, answer))) return;
    const asked = ++this.#asked;
    this.#wanted = { words, on };
    this.show(this.pin);
    try {
      await send();
    } catch (error) {
      if (!(error instanceof RaspiError)) throw error;
      if (asked !== this.#asked) return; // a later wish took its place
      const unknown = error.code === "lost" || error.code === "no-answer";
      this.#complain(text(unknown ? "notConfirmed" : "notDone", { why: refusal(error.code, error.message) }));
    } finally {
      if (asked === this.#asked) this.#wanted = null;
      this.show(this.pin);
    }
  }

  /** @param {string} why */
  #complain(why) {
    clearTimeout(this.#forget);
    if (why && this.#kind !== "broken") this.#forget = window.setTimeout(() => this.#complain(""), REASON_FOR * 1000);
    const place = part(this.element, ".trouble");
    place.hidden = !why;
    say(place, why);
  }
}
