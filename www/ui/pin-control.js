/** The control of one pin: a lamp, switch, dimmer or button. It shows a command as pending until the server has answered. */
import { RaspiError } from "./connection.js";
import { make, part, setAttribute, setText } from "./dom.js";
import { length, percent } from "./format.js";
import { brokenText, errorText, fill, text } from "./i18n.js";
import { icon } from "./icons.js";
import { stateText, verbsOf } from "./kinds.js";
import { toast } from "./notice.js";
import { Slider } from "./slider.js";

/** @typedef {"broken"|"lamp"|"drive"|"press"|"dimmer"|"switch"} Kind */
/** @typedef {import("./types.js").Pin} Pin */
/** @typedef {import("./types.js").Action} Action */
/** @typedef {import("./types.js").Commands} Commands */

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
  /** Takes the last error away. @type {(() => void)|null} */ #endError = null;

  /** @param {P} pin @param {Kind} kind @param {HTMLElement} element holds all parts @param {Commands} commands */
  constructor(pin, kind, element, commands) {
    this.pin = pin;
    this.kind = kind;
    this.element = element;
    this.#commands = commands;
    element.dataset.kind = kind;
    element.toggleAttribute("data-locked", this.isLocked);
  }

  /** True if the control asks for the code. */
  get isLocked() {
    return Boolean(this.#commands.unlock) && this.kind !== "broken";
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
    if (this.pin.error !== null) this.showFault(brokenText(this.pin.error, this.pin));
    if (kind === "broken" || kind === "lamp") {
      place.append(make("span", "lamp"));
      return;
    }
    const button = make("button", kind === "dimmer" ? "switch" : kind);
    this.#button = button;
    button.setAttribute("aria-labelledby", labels);
    place.append(button);
    if (this.isLocked) {
      button.setAttribute("aria-describedby", "locked");
      place.append(icon("lock"));
    }
    if (kind === "press") {
      button.id = pressId;
      button.setAttribute("aria-labelledby", `${pressId} ${labels}`);
      button.onclick = () => this.act({ type: this.isStoppable ? "stop" : "press" });
      return;
    }
    button.append(make("span", kind === "drive" ? "lamp" : "thumb"));
    if (kind === "drive") {
      button.onclick = () => this.act({ type: "drive" });
      return;
    }
    button.setAttribute("role", "switch");
    button.onclick = () => this.act({ type: "switch", on: !(this.#wanted ? this.#wanted.on : this.pin.value) });
    if (kind === "dimmer") {
      const isHeldBack = this.pin.confirm || this.isLocked; // until the slider is let go
      this.#slider = new Slider(this.sliderLabel, isHeldBack, (level) => this.act({ type: "level", level }));
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
    if (this.#button && kind === "press") setText(this.#button, this.isStoppable ? text("stop") : verbsOf(pin).press);
    this.#slider?.follow(pin.value ?? 0);
    this.onShown();
  }

  /** Show why the pin cannot be used. @param {string} words */
  showFault(words) {
    const place = part(this.element, ".error");
    place.hidden = false;
    setText(place, words);
  }

  /** Show an error for a while, or none. @param {string} words */
  showError(words) {
    this.#endError?.();
    this.#endError = words ? toast(`${this.fullLabel}:`, words) : null;
  }

  /** Do what a tap asks for, or ask for the code that it needs. @param {Action} action */
  async act(action) {
    if (this.#commands.unlock) return void this.#commands.unlock(action);
    const { fullLabel: label, pin } = this;
    switch (action.type) {
      case "switch": {
        const { on } = action;
        // A dimmer goes back to its last level, which its server knows; else `set`, so that a tap on an old picture is harmless.
        const send = () => (pin.mode === "pwm" && on ? this.#commands.toggle() : this.#commands.set(Number(on)));
        if (on) return this.send(text("switchingOn"), on, send, text("askSwitchOn", { label }), text("switchOn"));
        return this.send(text("switchingOff"), on, send, text("askSwitchOff", { label }), text("switchOff"));
      }
      case "level": {
        const level = percent(action.level);
        const question = text("askSet", { label, level });
        return this.send(text("setting", { level }), action.level > 0, () => this.#commands.set(action.level), question, text("set"));
      }
      case "while": {
        const { seconds } = action;
        const send = () => (pin.mode === "pwm" && !pin.value ? this.#commands.toggle(seconds) : this.#commands.set(pin.value || 1, seconds));
        return this.send(text("switchingOn"), true, send, text("askOnFor", { label, span: length(seconds) }), text("switchOn"));
      }
      case "auto":
        return this.send(text("goingAutomatic"), Boolean(pin.value), async () => this.#commands.auto?.(), text("askAutomatic", { label }), text("automatic"));
      case "drive": {
        const value = pin.value ? 0 : 1;
        return this.send(text("driving", { state: stateText(value, pin) }), value > 0, async () => this.#commands.drive?.(value));
      }
      case "stop":
        return this.send(text("stopping"), false, () => this.#commands.set(0), text("askStop", { label }), text("stop"));
      case "press": {
        const { press, ask } = verbsOf(pin);
        const question = fill(ask, { label, span: length(pin.pulse ?? 0) });
        return this.send(text("pressing"), true, () => this.#commands.pulse(), question, press);
      }
    }
  }

  /**
   * Show what was asked for as pending until the server has answered; after an error take it back and show the reason.
   * @param {string} words @param {boolean} on @param {() => Promise<unknown>} send
   * @param {string} [question] @param {string} [answer] for pins that ask first
   */
  async send(words, on, send, question = "", answer = "") {
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
