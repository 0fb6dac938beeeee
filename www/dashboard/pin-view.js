/** What the row and the head of a pin share: which control it has, the age of its value, and its limits. */
import { ago, author, forSpan, length, span } from "../ui/format.js";
import { text } from "../ui/i18n.js";
import { isPressed } from "../ui/kinds.js";
import { controlKind, PinControl } from "../ui/pin-control.js";

/** @typedef {import("../raspi.js").Pin} Pin */
/** @typedef {import("../ui/pin-control.js").Action} Action */
/**
 * What a view needs of the page.
 * @typedef {object} Context
 * @property {import("../raspi.js").Raspi} raspi
 * @property {(question: string, answer: string) => Promise<boolean>} confirm
 * @property {(pin: string, action: Action) => void} unlock asks for the code, and then carries on
 * @property {() => void} opened is told that a row was opened
 */

const COUNTDOWN_MIN_S = 5; // a shorter limit is over before it is read

/** Return whether a pin could be switched with the control code. @param {Pin} pin @param {Context} context */
export function isLocked({ mode, writable, control }, { raspi }) {
  return mode !== "input" && !writable && control === "code" && raspi.hello?.code_would_help === true;
}

/** @param {Pin} pin @param {Context} context @returns {import("../ui/pin-control.js").Kind} */
function kindOf(pin, context) {
  const { hello, link } = context.raspi; // the HTTP API cannot set an input
  const isDriven = pin.mode === "input" && hello?.server.simulated && hello.access === "control" && link !== "polling";
  if (isDriven && pin.error === null) return "drive";
  return controlKind(pin, pin.mode !== "input" && (pin.writable || isLocked(pin, context)));
}

/** Return what a view is built from: as long as that is the same, so is the view. @param {Pin} pin @param {Context} context */
export function shape(pin, context) {
  return JSON.stringify([kindOf(pin, context), isLocked(pin, context), { ...pin, value: 0, since: 0, by: "" }]);
}

/** @extends {PinControl<Pin>} */
export class PinView extends PinControl {
  #raspi;

  /** @param {Pin} pin @param {Context} context @param {HTMLElement} element holds all parts */
  constructor(pin, context, element) {
    const { raspi, confirm, unlock } = context;
    const { name } = pin;
    super(pin, kindOf(pin, context), element, {
      set: (value) => raspi.set(name, value),
      toggle: () => (raspi.pins.get(name)?.value ? raspi.set(name, 1) : raspi.toggle(name)), // a question may have taken long
      pulse: () => raspi.pulse(name),
      drive: (value) => raspi.drive(name, value),
      confirm,
      unlock: isLocked(pin, context) ? (action) => unlock(name, action) : null,
    });
    this.#raspi = raspi;
    element.dataset.pin = name;
  }

  /** @param {Pin} pin as it is now */
  show(pin) {
    this.pin = pin;
    this.update();
  }

  onShown() {
    this.tick();
  }

  /** Draw the age, which goes on while nothing changes. */
  tick() {}

  /** True if what is shown may be out of date. */
  get isOld() {
    return !this.#raspi.isFresh;
  }

  /** True while a pin that is pressed, such as a gate, is not: it is not "off". */
  get isIdle() {
    return isPressed(this.pin) && this.pin.value === 0 && !this.pin.words;
  }

  /** For how long the pin has its value, or nothing if it never changed. */
  get age() {
    const { since } = this.pin;
    return since === null ? "" : forSpan(this.#raspi.time - since);
  }

  /** How long ago it changed, or nothing if it never did. */
  get ago() {
    const { since } = this.pin;
    return since === null ? "" : ago(this.#raspi.time - since);
  }

  /** How long it may stay on, or nothing without a limit. */
  get left() {
    const { since, value, pulse, max_on } = this.pin;
    const limit = Math.min(pulse ?? Infinity, max_on ?? Infinity);
    if (!value || since === null || limit < COUNTDOWN_MIN_S || limit === Infinity) return "";
    return text("atMostLeft", { span: span(limit - (this.#raspi.time - since) + 1) });
  }

  /** Who changed it. */
  get author() {
    return author(this.pin.by);
  }

  /** The limits of its configuration, in words. */
  get limits() {
    const { pulse, max_on } = this.pin;
    return [pulse !== null && text("pulseOf", { span: length(pulse) }), max_on !== null && text("onAtMost", { span: length(max_on) })];
  }

  /** Its line, and why there is nothing to press, or that it is only simulated. */
  get line() {
    const { gpio, header, mode, writable, error } = this.pin;
    return [
      `GPIO${gpio}`,
      header !== null && text("header", { position: header }),
      this.kind === "drive" && text("drive"),
      mode !== "input" && !writable && !this.isLocked && error === null && text("viewOnly"),
    ];
  }
}

/** Return the words that there are, in one line. @param {(string|false|null)[]} words */
export const inLine = (words) => words.filter(Boolean).join(" · ");
