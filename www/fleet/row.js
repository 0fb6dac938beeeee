/** One row for each pin on the card of its Pi: its picture, its value, and its control. */
import { confirmInDialog } from "../ui/dialog.js";
import { part, setAttribute, setText, stamp } from "../ui/dom.js";
import { errorText } from "../ui/i18n.js";
import { icon } from "../ui/icons.js";
import { iconOf, isPressed, stateText, toneOf } from "../ui/kinds.js";
import { controlKind, PinControl } from "../ui/pin-control.js";

/** @typedef {import("./fleet-client.js").Pi} Pi */
/** @typedef {import("./fleet-client.js").Pin} Pin */
/** @typedef {import("./fleet-client.js").FleetClient} FleetClient */

let rows = 0; // for ids

/** Return the control that fits a pin. @param {Pi} pi @param {Pin} pin @param {FleetClient} fleet */
export const kindOf = (pi, pin, fleet) => controlKind(pin, pi.online && fleet.maySwitch(pin));

/** @extends {PinControl<Pin>} */
export class PinRow extends PinControl {
  #state;
  #picture;
  #shown = "";

  /** @param {Pi} pi @param {Pin} pin @param {FleetClient} fleet @param {string} title the id of the heading of its card */
  constructor(pi, pin, fleet, title) {
    const { topic } = pi;
    const { name } = pin;
    super(pin, kindOf(pi, pin, fleet), stamp("row"), {
      set: (value) => fleet.set(topic, name, value),
      toggle: () => fleet.toggle(topic, name),
      pulse: () => fleet.pulse(topic, name),
      confirm: confirmInDialog,
    });
    this.pi = pi;
    this.element.dataset.pin = name;
    this.#state = part(this.element, ".word");
    this.#picture = part(this.element, ".tile");
    const label = part(this.element, ".label");
    label.textContent = pin.label;
    label.id = `pin-${++rows}`;
    this.build(part(this.element, ".control"), part(this.element, ".level"), `${label.id} ${title}`, `press-${rows}`);
    this.update();
  }

  /** @param {Pi} pi as it is now @param {Pin} pin as it is now */
  show(pi, pin) {
    this.pi = pi;
    this.pin = pin;
    this.update();
  }

  onShown() {
    const { pin } = this;
    const isIdle = isPressed(pin) && pin.value === 0 && !pin.words; // a gate that is not pressed is not "off"
    setText(this.#state, this.pending ?? (isIdle ? "" : stateText(pin.value, pin)));
    setAttribute(this.element, "data-tone", toneOf(pin, pin.value));
    const name = iconOf(pin, pin.value);
    if (name === this.#shown) return;
    this.#shown = name;
    this.#picture.replaceChildren(icon(name));
  }

  get fullLabel() {
    return `${this.pin.label} (${this.pi.host})`;
  }

  get sliderLabel() {
    return `${super.sliderLabel}, ${this.pi.host}`;
  }

  /** @param {import("../ui/connection.js").RaspiError} error */
  reason({ code, reason, message, values }) {
    // A Pi of an older release tells no reason beside the code: only its message says more.
    return reason === code && code === "unavailable" ? message : errorText(reason, message, values);
  }
}
