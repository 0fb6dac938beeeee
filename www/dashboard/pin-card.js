/** The card of one pin: its value, since when it has it, its control and the last minutes. */
import { part, setText, stamp } from "../ui/dom.js";
import { author, forSpan, length, span } from "../ui/format.js";
import { text } from "../ui/i18n.js";
import { stateText } from "../ui/kinds.js";
import { controlKind, PinControl } from "../ui/pin-control.js";

/** @typedef {import("../raspi.js").Pin} Pin */
/**
 * What a card needs of the page.
 * @typedef {object} Context
 * @property {import("../raspi.js").Raspi} raspi
 * @property {(question: string, answer: string) => Promise<boolean>} confirm
 */

const COUNTDOWN_MIN_S = 5; // a shorter limit is over before it is read

/** @param {Pin} pin @param {Context} context @returns {import("../ui/pin-control.js").Kind} */
function kindOf(pin, { raspi }) {
  const { hello, link } = raspi; // the HTTP API cannot set an input
  const isDriven = pin.mode === "input" && hello?.server.simulated && hello.access === "control" && link !== "polling";
  return isDriven && pin.error === null ? "drive" : controlKind(pin, pin.mode !== "input" && pin.writable);
}

/** Return what a card is built from: as long as that is the same, so is the card. @param {Pin} pin @param {Context} context */
export function shape(pin, context) {
  return JSON.stringify([kindOf(pin, context), { ...pin, value: 0, since: 0, by: "" }]);
}

/** @extends {PinControl<Pin>} */
export class PinCard extends PinControl {
  #raspi;
  /** @type {HTMLElement} */ #state;
  /** @type {HTMLElement} */ #since;

  /** @param {Pin} pin @param {Context} context @param {string} [prefix] of its ids, for the second card of a pin, which has no sparkline */
  constructor(pin, context, prefix = "") {
    const { raspi, confirm } = context;
    const { name } = pin;
    super(pin, kindOf(pin, context), stamp("pin"), {
      set: (value) => raspi.set(name, value),
      toggle: () => raspi.toggle(name),
      pulse: () => raspi.pulse(name),
      drive: (value) => raspi.drive(name, value),
      confirm,
    });
    this.#raspi = raspi;
    this.canvas = /** @type {HTMLCanvasElement} */ (part(this.element, "canvas"));
    this.#state = part(this.element, ".word");
    this.#since = part(this.element, ".since");
    this.element.dataset.pin = name;
    const title = part(this.element, "h2");
    title.textContent = pin.label;
    title.id = `${prefix}label-${name}`;
    part(this.element, ".meta").textContent = this.#meta();
    const more = /** @type {HTMLAnchorElement} */ (part(this.element, ".more"));
    more.href = `#pin/${name}`;
    more.setAttribute("aria-label", text("historyOf", { label: pin.label }));
    part(more, "span").textContent = text("lastMinutes");
    if (prefix) for (const element of [this.canvas, more]) element.remove();
    this.build(part(this.element, ".control"), part(this.element, ".face"), title.id, `${prefix}press-${name}`);
    this.update();
  }

  /** @param {Pin} pin as it is now */
  show(pin) {
    this.pin = pin;
    this.update();
  }

  onShown() {
    setText(this.#state, stateText(this.pin.value, this.pin));
    this.tick();
  }

  /** Draw the age, which goes on while nothing changes. */
  tick() {
    setText(this.#since, this.pending ?? (this.#raspi.isFresh ? this.#age() : text("lastHeard")));
  }

  #age() {
    const { since, by, value, pulse, max_on } = this.pin;
    if (since === null) return text("noChange");
    const age = this.#raspi.time - since;
    const limit = Math.min(pulse ?? Infinity, max_on ?? Infinity);
    const left = value && limit >= COUNTDOWN_MIN_S && limit < Infinity ? text("atMostLeft", { span: span(limit - age + 1) }) : "";
    return [forSpan(age), left || author(by)].filter(Boolean).join(", ");
  }

  #meta() {
    const { gpio, header, mode, writable, pulse, max_on, group, error } = this.pin;
    return [
      `GPIO${gpio}`,
      header !== null && text("header", { position: header }),
      pulse !== null && text("pulseOf", { span: length(pulse) }),
      max_on !== null && text("onAtMost", { span: length(max_on) }),
      group,
      this.kind === "drive" && text("drive"),
      mode !== "input" && !writable && error === null && text("viewOnly"),
    ].filter(Boolean).join(" · ");
  }
}
