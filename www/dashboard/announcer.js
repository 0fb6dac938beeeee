/** Announcements for screen readers: changes of pins, a few at a time, but not those of the focused card. */
import { part } from "../ui/dom.js";
import { counted, text } from "../ui/i18n.js";
import { stateText } from "../ui/kinds.js";

/** @typedef {import("../raspi.js").Pin} Pin */

const GATHER_S = 1.5; // changes within this time go into one announcement
const REPEAT_AFTER_S = 15; // until the same pin is announced again
const MAX_PINS = 3; // named in one announcement

export class Announcer {
  /** @type {Map<string, Pin>} */ #pending = new Map();
  /** @type {Map<string, {value: number|null, at: number}>} */ #announced = new Map();
  #timer = 0;

  /** @param {Pin} pin */
  change(pin) {
    const announced = this.#announced.get(pin.name);
    if (!announced) this.#announced.set(pin.name, { value: pin.value, at: -Infinity }); // its value when the page opened
    if (!announced || announced.value === pin.value) return;
    this.#pending.set(pin.name, pin);
    this.#timer ||= window.setTimeout(() => this.#announce(), GATHER_S * 1000);
  }

  #announce() {
    this.#timer = 0;
    if (document.hidden) return this.#pending.clear();
    const now = performance.now() / 1000;
    const sentences = [];
    let more = 0;
    for (const [name, pin] of this.#pending) {
      const announced = this.#announced.get(name);
      const isFocused = document.activeElement?.closest("[data-pin]")?.getAttribute("data-pin") === name;
      if (!announced || announced.value === pin.value || isFocused || now - announced.at < REPEAT_AFTER_S) continue;
      this.#announced.set(name, { value: pin.value, at: now });
      if (sentences.length < MAX_PINS) sentences.push(text("changed", { label: pin.label, state: stateText(pin.value, pin) }));
      else more++;
    }
    this.#pending.clear();
    if (more) sentences.push(counted("manyChanged", more));
    if (sentences.length) part(document, "#announcements").textContent = sentences.join(", ");
  }
}
