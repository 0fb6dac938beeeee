/** The control of one pin: a lamp, switch, dimmer or button. It shows a command as pending until the server has answered. */
import { RaspiError } from "./connection.js";
import { make, part, setAttribute, setText } from "./dom.js";
import { length, percent } from "./format.js";
import { brokenText, errorText, text } from "./i18n.js";
import { stateText } from "./kinds.js";
import { Slider } from "./slider.js";

/** @typedef {"broken"|"lamp"|"drive"|"press"|"dimmer"|"switch"} Kind */
/** The properties of a pin that a control uses.
 * @typedef {import("./kinds.js").Pin & {label: string, value: number|null, pulse: number|null, confirm: boolean, error: string|null,
 *   error_reason?: string|null, error_values?: Record<string, string|number>}} Pin */
/** The commands to a pin. @typedef {object} Commands
 * @property {(value: number) => Promise<unknown>} set
 * @property {() => Promise<unknown>} toggle
 * @property {() => Promise<unknown>} pulse
 * @property {(value: number) => Promise<unknown>} [drive]
 * @property {(question: string, answer: string) => Promise<boolean>} confirm
 */

const ERROR_SHOWN_S = 20;
const STOPPABLE_PULSE_S = 5; // a pulse as long as this can be ended by the button that began it

/** Return the control that fits a pin. @param {Pin} pin @param {boolean} isWritable @returns {"broken"|"lamp"|"press"|"dimmer"|"switch"} */
export function controlKind({ error, pulse, mode }, isWritable) {
  if (error !== null) return "broken";
  if (!isWritable) return "lamp";
  if (pulse !== null) return "press";
  return mode === "pwm" ? "dimmer" : "switch";
}

/** The base of a card and of a row, which add what they show beside the control. @template {Pin} P */
export class PinControl {
  /** @type {Commands} */ #commands;
  /** @type {HTMLButtonElement|null} */ #button = null;
  /** @type {Slider|null} */ #slider = null;
  /** The state that was asked for and is not confirmed yet. @type {{words: string, on: boolean}|null} */ #wanted = null;
  #requests = 0;
  #errorTimer = 0;

  /** @param {P} pin @param {Kind} kind @param {HTMLElement} element holds all parts @param {Commands} commands */
  constructor(pin, kind, element, commands) {
    this.pin = pin;
    this.kind = kind;
    this.element = element;
    this.#commands = commands;
    element.dataset.kind = kind;
  }

  /** The words to show while a command is not confirmed, else null. */
  get pending() {
    return this.#wanted && this.#wanted.words;
  }

  /** True if the button ends a pulse that is running. */
  get isStoppable() {
    return Boolean(this.pin.value) && (this.pin.pulse ?? 0) >= STOPPABLE_PULSE_S;
  }

  // For subclasses to override.

  /** The pin's name in questions. */
  get fullLabel() {
    return this.pin.label;
  }

  /** The slider's name for screen readers. */
  get sliderLabel() {
    return text("level", { label: this.pin.label });
  }

  /** Return the reason for an error. @param {RaspiError} error */
  reason({ reason, message, values }) {
    return errorText(reason, message, values);
  }

  /** Draw the rest, once the control is drawn. */
  onShown() {}

  // For subclasses to call.

  /**
   * Build the control.
   * @param {HTMLElement} place @param {HTMLElement} sliderPlace @param {string} labels ids of the elements that name it
   * @param {string} pressId id of a button for pulses, which is one of its names
   */
  build(place, sliderPlace, labels, pressId) {
    const { kind } = this;
    if (this.pin.error !== null) this.showError(brokenText(this.pin.error, this.pin));
    if (kind === "broken" || kind === "lamp") {
      place.append(make("span", "lamp"));
      return;
    }
    const button = make("button", kind === "dimmer" ? "switch" : kind);
    this.#button = button;
    button.setAttribute("aria-labelledby", labels);
    place.append(button);
    if (kind === "press") {
      button.id = pressId;
      button.setAttribute("aria-labelledby", `${pressId} ${labels}`);
      button.onclick = () => this.#press();
      return;
    }
    button.append(make("span", kind === "drive" ? "lamp" : "thumb"));
    if (kind === "drive") {
      button.onclick = () => this.#drive();
      return;
    }
    button.setAttribute("role", "switch");
    button.onclick = () => this.#flip();
    if (kind === "dimmer") {
      this.#slider = new Slider(this.sliderLabel, this.pin.confirm, (value) => this.#set(value));
      sliderPlace.append(this.#slider.element);
    }
  }

  /** Draw the present state of the pin. Only changes are drawn. */
  update() {
    const { element, kind, pin } = this;
    const on = pin.value !== null && pin.value > 0;
    setAttribute(element, "data-on", String(on));
    setAttribute(element, "data-wanted", this.#wanted && this.#wanted.on !== on ? String(this.#wanted.on) : "");
    if (element.hasAttribute("data-pending") !== (this.#wanted !== null)) element.toggleAttribute("data-pending");
    if (this.#button && (kind === "dimmer" || kind === "switch")) setAttribute(this.#button, "aria-checked", String(on));
    if (this.#button && kind === "drive") setAttribute(this.#button, "aria-pressed", String(on));
    if (this.#button && kind === "press") setText(this.#button, text(this.isStoppable ? "stop" : "press"));
    this.#slider?.follow(pin.value ?? 0);
    this.onShown();
  }

  /** Show an error for a while, or none. @param {string} words */
  showError(words) {
    clearTimeout(this.#errorTimer);
    if (words && this.kind !== "broken") this.#errorTimer = window.setTimeout(() => this.showError(""), ERROR_SHOWN_S * 1000);
    const place = part(this.element, ".error");
    place.hidden = !words;
    setText(place, words);
  }

  #flip() {
    const { fullLabel: label } = this;
    const { mode, value } = this.pin;
    const on = !(this.#wanted ? this.#wanted.on : value);
    // A dimmer goes back to its last level, which its server knows; else `set`, so that a tap on an old picture is harmless.
    const send = () => (mode === "pwm" && on ? this.#commands.toggle() : this.#commands.set(Number(on)));
    if (on) return this.#send(text("switchingOn"), on, send, text("askSwitchOn", { label }), text("switchOn"));
    return this.#send(text("switchingOff"), on, send, text("askSwitchOff", { label }), text("switchOff"));
  }

  /** @param {number} value */
  #set(value) {
    const level = percent(value);
    const question = text("askSet", { label: this.fullLabel, level });
    return this.#send(text("setting", { level }), value > 0, () => this.#commands.set(value), question, text("set"));
  }

  #drive() {
    const value = this.pin.value ? 0 : 1;
    return this.#send(text("driving", { state: stateText(value, this.pin) }), value > 0, async () => this.#commands.drive?.(value));
  }

  #press() {
    const { fullLabel: label } = this;
    if (this.isStoppable) return this.#send(text("stopping"), false, () => this.#commands.set(0), text("askStop", { label }), text("stop"));
    const question = text("askPress", { label, span: length(this.pin.pulse ?? 0) });
    return this.#send(text("pressing"), true, () => this.#commands.pulse(), question, text("press"));
  }

  /**
   * Show what was asked for as pending until the server has answered; after an error take it back and show the reason.
   * @param {string} words @param {boolean} on @param {() => Promise<unknown>} send
   * @param {string} [question] @param {string} [answer] for pins that ask first
   */
  async #send(words, on, send, question = "", answer = "") {
    this.showError("");
    if (question && this.pin.confirm && !(await this.#commands.confirm(question, answer))) return this.update();
    const request = ++this.#requests;
    this.#wanted = { words, on };
    this.update();
    try {
      await send();
    } catch (error) {
      if (!(error instanceof RaspiError)) throw error;
      if (request !== this.#requests) return; // a later one took its place
      const isUnknown = error.code === "lost" || error.code === "no-answer";
      this.showError(text(isUnknown ? "notConfirmed" : "notDone", { why: this.reason(error) }));
    } finally {
      if (request === this.#requests) this.#wanted = null;
      this.update();
    }
  }
}
