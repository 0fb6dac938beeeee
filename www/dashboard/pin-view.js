/** What the row and the head of a pin share: which control it has, the age of its value, and its limits. */
import { ago, author, comingTime, forSpan, length, span, spoken } from "../ui/format.js";
import { text } from "../ui/i18n.js";
import { isPressed } from "../ui/kinds.js";
import { controlKind, PinControl } from "../ui/pin-control.js";

/** @typedef {import("../raspi.js").Pin} Pin */
/** @typedef {import("../ui/pin-control.js").Action} Action */
/** @typedef {import("./context.js").Context} Context */

const COUNTDOWN_MIN_S = 5; // a shorter limit is over before it is read
const COUNTDOWN_MOST_S = 3600; // a later end is told as a time

/** Return whether a pin could be switched with the control code. @param {Pin} pin @param {Context} context */
export function isLocked({ mode, writable, control, cover }, { raspi }) {
  return mode !== "input" && !cover && !writable && control === "code" && raspi.hello?.code_would_help === true;
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
  return JSON.stringify([kindOf(pin, context), isLocked(pin, context), { ...pin, value: 0, since: 0, by: 0, source: 0, until: 0, auto: 0, next: 0 }]);
}

/** @extends {PinControl<Pin>} */
export class PinView extends PinControl {
  /** What tells more of the source of its value, once that is loaded. @type {{show: () => void, element: HTMLElement}|null} */ bar = null;
  #raspi;

  /** @param {Pin} pin @param {Context} context @param {HTMLElement} element holds all parts */
  constructor(pin, context, element) {
    const { raspi, confirm, unlock } = context;
    const { name } = pin;
    super(pin, kindOf(pin, context), element, {
      set: (value, seconds) => raspi.set(name, value, seconds),
      toggle: (seconds) => {
        const value = raspi.pins.get(name)?.value; // a question may have taken long
        return value ? raspi.set(name, value, seconds) : raspi.toggle(name, seconds);
      },
      pulse: () => raspi.pulse(name),
      drive: (value) => raspi.drive(name, value),
      auto: () => raspi.auto(name),
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

  /** How long it stays on, or nothing if that has no end, or a near one. */
  get left() {
    const { since, value, until } = this.pin;
    if (!value || !until || until - (since ?? 0) < COUNTDOWN_MIN_S) return "";
    return text("atMostLeft", { span: span(until - this.#raspi.time + 1) });
  }

  /** Until when it has its value, and why; else for how long it has had it. */
  get term() {
    const { source, until, next, pulse } = this.pin;
    const { time } = this.#raspi;
    const isByHand = source?.level === "manual" && this.#raspi.hello?.automation; // elsewhere all of it is
    const end = until ?? (isByHand && next) ?? 0;
    const why = source?.name ? ` (${spoken(source.name)})` : "";
    if (pulse === null && end && end > time) {
      if (source?.level === "schedule") return text("untilTime", { time: comingTime(end, time) }) + why;
      if (isByHand && until && until - time <= COUNTDOWN_MOST_S) return text("byHandLeft", { span: span(until - time + 1) });
      if (isByHand) return text("byHandUntil", { time: comingTime(end, time) });
    }
    const words = this.left || this.age;
    return words && words + why;
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
