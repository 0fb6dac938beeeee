/** One line for each pin on the card of its Pi: what it is now, and the one control that fits it. */
import { ask } from "../dialog.js";
import { make, mark, part, say, stamp } from "../dom.js";
import { RaspiError } from "../lifeline.js";
import { Slider } from "../slider.js";
import { refusal, text } from "../texts.js";
import { length, percent, word } from "../words.js";

/** @typedef {import("./house.js").Pi} Pi */
/** @typedef {import("./house.js").Pin} Pin */
/** @typedef {import("./house.js").House} House */
/** @typedef {"broken"|"lamp"|"press"|"dimmer"|"switch"} Kind */

const REASON_FOR = 20; // seconds that a refusal stays to be read
const STOPPABLE = 5; // seconds: a longer pulse can be ended by the button that began it
let rows = 0; // for ids

/** @param {Pi} pi @param {Pin} pin @param {House} house @returns {Kind} */
export function kindOf(pi, pin, house) {
  if (pin.error !== null) return "broken";
  if (!pi.online || !house.maySwitch(pin)) return "lamp";
  if (pin.pulse !== null) return "press";
  return pin.mode === "pwm" ? "dimmer" : "switch";
}

export class PinRow {
  /** @type {House} */ #house;
  /** @type {Kind} */ #kind;
  /** @type {HTMLButtonElement|null} */ #button = null;
  /** @type {Slider|null} */ #slider = null;
  /** What was asked for and is not confirmed yet. @type {{words: string, on: boolean}|null} */ #wanted = null;
  #word;
  #asked = 0;
  #forget = 0; // timer

  /** @param {Pi} pi @param {Pin} pin @param {House} house @param {string} title the id of the heading of its card */
  constructor(pi, pin, house, title) {
    this.pi = pi;
    this.pin = pin;
    this.#house = house;
    this.#kind = kindOf(pi, pin, house);
    this.element = stamp("row");
    this.element.dataset.pin = pin.name;
    this.element.dataset.kind = this.#kind;
    this.#word = part(this.element, ".word");
    const label = part(this.element, ".label");
    label.textContent = pin.label;
    label.id = `pin-${++rows}`;
    this.#build(part(this.element, ".control"), `${label.id} ${title}`);
    if (pin.error !== null) this.#complain(pin.error);
    this.show();
  }

  /** Whether something was asked for that is not confirmed yet. */
  get isWaiting() {
    return this.#wanted !== null;
  }

  /** Draws what its pin is now. */
  show() {
    const { element, pin } = this;
    const on = pin.value !== null && pin.value > 0;
    mark(element, "data-on", String(on));
    mark(element, "data-wanted", this.#wanted && this.#wanted.on !== on ? String(this.#wanted.on) : "");
    if (element.hasAttribute("data-pending") !== this.isWaiting) element.toggleAttribute("data-pending");
    say(this.#word, this.#wanted?.words ?? word(pin.value, pin.mode));
    if (this.#button && this.#kind !== "press") mark(this.#button, "aria-checked", String(on));
    if (this.#button && this.#kind === "press") say(this.#button, text(this.#stops() ? "stop" : "press"));
    this.#slider?.follow(pin.value ?? 0);
  }

  /** @param {HTMLElement} place @param {string} names ids of what names it */
  #build(place, names) {
    if (this.#kind === "broken" || this.#kind === "lamp") {
      place.append(make("span", "lamp"));
      return;
    }
    const button = make("button", this.#kind === "press" ? "press" : "switch");
    this.#button = button;
    button.setAttribute("aria-labelledby", names);
    place.append(button);
    if (this.#kind === "press") {
      button.id = `press-${rows}`;
      button.setAttribute("aria-labelledby", `${button.id} ${names}`);
      button.onclick = () => this.#press();
      return;
    }
    button.append(make("span", "thumb"));
    button.setAttribute("role", "switch");
    button.onclick = () => this.#flip();
    if (this.#kind === "dimmer") {
      this.#slider = this.#dimmer();
      this.element.append(this.#slider.element);
    }
  }

  #dimmer() {
    const { pi, pin } = this;
    return new Slider(`${text("level", { label: pin.label })}, ${pi.host}`, pin.confirm, (value) => {
      const level = percent(value);
      const send = () => this.#house.set(pi.topic, pin.name, value);
      return this.#ask(text("setting", { level }), value > 0, send, text("askSet", { label: this.#fullName(), level }), text("set"));
    });
  }

  #flip() {
    const { pi, pin } = this;
    const label = this.#fullName();
    const on = !(this.#wanted ? this.#wanted.on : pin.value);
    // A dimmer goes back to its last level, which its Pi knows; else `set`, so that a tap on an old picture is harmless.
    const send = () => (pin.mode === "pwm" && on ? this.#house.toggle(pi.topic, pin.name) : this.#house.set(pi.topic, pin.name, Number(on)));
    if (on) return this.#ask(text("switchingOn"), on, send, text("askSwitchOn", { label }), text("switchOn"));
    return this.#ask(text("switchingOff"), on, send, text("askSwitchOff", { label }), text("switchOff"));
  }

  #stops() {
    return Boolean(this.pin.value) && (this.pin.pulse ?? 0) >= STOPPABLE;
  }

  #press() {
    const { pi, pin } = this;
    const label = this.#fullName();
    if (this.#stops()) {
      return this.#ask(text("stopping"), false, () => this.#house.set(pi.topic, pin.name, 0), text("askStop", { label }), text("stop"));
    }
    const question = text("askPress", { label, span: length(pin.pulse ?? 0) });
    return this.#ask(text("pressing"), true, () => this.#house.pulse(pi.topic, pin.name), question, text("press"));
  }

  /** Of many lamps the one at that Pi. */
  #fullName() {
    return `${this.pin.label} (${this.pi.host})`;
  }

  /**
   * Shows the wish as a wish until its Pi has answered; if that or anybody before it refuses, takes it back and says why.
   * @param {string} words @param {boolean} on @param {() => Promise<unknown>} send
   * @param {string} question @param {string} answer for pins that ask first
   */
  async #ask(words, on, send, question, answer) {
    this.#complain("");
    if (this.pin.confirm && !(await ask(question, answer))) return this.show();
    const asked = ++this.#asked;
    this.#wanted = { words, on };
    this.show();
    try {
      await send();
    } catch (error) {
      if (!(error instanceof RaspiError)) throw error;
      if (asked !== this.#asked) return; // a later wish took its place
      const unknown = error.code === "lost" || error.code === "no-answer";
      // Here a pin may be out of reach for many reasons.
      const why = error.code === "unavailable" ? error.message : refusal(error.code, error.message);
      this.#complain(text(unknown ? "notConfirmed" : "notDone", { why }));
    } finally {
      if (asked === this.#asked) this.#wanted = null;
      this.show();
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
