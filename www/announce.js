/** Tells screen readers what changed: politely, a few pins at a time, and nothing that the person did on this very card. */
import { part } from "./dom.js";
import { text } from "./texts.js";
import { word } from "./words.js";

/** @typedef {import("./raspi.js").Pin} Pin */

const GATHER = 1.5; // seconds of changes in one sentence
const AGAIN = 15; // seconds until the same pin is worth telling again
const MOST = 3; // pins named in one sentence

export class Announcer {
  /** @type {Map<string, Pin>} */ #news = new Map();
  /** @type {Map<string, {value: number|null, at: number}>} */ #told = new Map();
  #timer = 0;

  /** @param {Pin} pin */
  change(pin) {
    const told = this.#told.get(pin.name);
    if (!told) this.#told.set(pin.name, { value: pin.value, at: -Infinity }); // as it was when the page came
    if (!told || told.value === pin.value) return;
    this.#news.set(pin.name, pin);
    this.#timer ||= window.setTimeout(() => this.#tell(), GATHER * 1000);
  }

  #tell() {
    this.#timer = 0;
    if (document.hidden) return this.#news.clear();
    const now = performance.now() / 1000;
    const sentences = [];
    let more = 0;
    for (const [name, pin] of this.#news) {
      const told = this.#told.get(name);
      const isOurs = document.activeElement?.closest("[data-pin]")?.getAttribute("data-pin") === name;
      if (!told || told.value === pin.value || isOurs || now - told.at < AGAIN) continue;
      this.#told.set(name, { value: pin.value, at: now });
      if (sentences.length < MOST) sentences.push(text("changed", { label: pin.label, state: word(pin.value, pin.mode) }));
      else more++;
    }
    this.#news.clear();
    if (more) sentences.push(text("manyChanged", { count: more }));
    if (sentences.length) part(document, "#news").textContent = sentences.join(", ");
  }
}
