/**
 * A level from 0 to 1 that does not fight the thumb: it follows the server only when nobody holds it.
 *
 * Browsers move it where a finger touches it, and put nothing back when that finger scrolls the page on. So a finger sends nothing
 * before it has moved sideways or was lifted; one that scrolls sends nothing at all. Mouse and keys act at once.
 */
import { make } from "./dom.js";
import { percent } from "./words.js";

const SEND_EVERY = 100; // milliseconds
const SIDEWAYS = 8; // pixels, and more than up or down: so far a finger may yet be about to scroll the page
const GLIDE_GAP = 100; // milliseconds between two scroll events of a page that glides on, at most

let isThrown = false; // the last finger on the page scrolled it
let scrolledAt = -Infinity; // by performance.now()
document.addEventListener("pointercancel", () => (isThrown = true), true);
document.addEventListener("pointerup", () => (isThrown = false), true);
document.addEventListener("scroll", () => (scrolledAt = performance.now()), { capture: true, passive: true });

/** Whether a touch that begins now only stops the page that a finger threw. */
const isGliding = () => isThrown && performance.now() - scrolledAt < GLIDE_GAP;

/** A level as the element has it. @param {number} level */
const shown = (level) => String(Math.round(level * 100));

export class Slider {
  #held = false;
  #sending = false;
  /** @type {number|null} */ #next = null;
  #level = 0;
  /** What a finger on it is about: undecided, until it moves it; abandoned, once it scrolls the page or is not alone. */
  /** @type {"undecided"|"moves"|"abandoned"|null} */ #finger = null;
  #x = 0; // where that finger came
  #y = 0;
  /** What needs no sending any more, if the browser tells of it once more. @type {string|null} */ #settled = null;

  /** @param {string} name for those who do not see it @param {boolean} onRelease send only then @param {(value: number) => Promise<void>} send */
  constructor(name, onRelease, send) {
    this.send = send;
    this.element = make("input", "slider");
    Object.assign(this.element, { type: "range", min: "0", max: "100", step: "1" });
    this.element.setAttribute("aria-label", name);
    this.element.onpointerdown = ({ isPrimary }) => {
      this.#held = true;
      if (isPrimary) this.#finger = null;
    };
    this.element.onpointerup = () => setTimeout(() => this.#release(), 50); // `change` comes after it
    this.element.onpointercancel = () => (this.#finger ? this.#abandon() : this.#release());
    this.element.onblur = () => this.#release();
    this.element.addEventListener("touchstart", (event) => this.#touch(event), { passive: true });
    this.element.addEventListener("touchmove", (event) => this.#move(event), { passive: true });
    this.element.addEventListener("touchend", (event) => this.#lift(event), { passive: true });
    this.element.addEventListener("touchcancel", (event) => this.#lift(event), { passive: true });
    this.element.oninput = () => {
      this.#settled = null;
      if (this.#finger === "abandoned") return this.#release();
      if (onRelease || this.#finger === "undecided") this.#held = true;
      else this.#offer();
      this.#fill();
    };
    this.element.onchange = () => {
      if (this.#finger) return; // it counts when lifted
      if (onRelease && this.element.value !== this.#settled) this.#offer();
      this.#release();
    };
  }

  /** @param {TouchEvent} event */
  #touch({ touches: [first, other] }) {
    if (!first || this.#finger === "moves") return;
    if (other || isGliding()) return this.#abandon();
    this.#finger = "undecided";
    [this.#x, this.#y] = [first.clientX, first.clientY];
  }

  /** @param {TouchEvent} event */
  #move({ touches: [first, other] }) {
    if (!first || this.#finger !== "undecided") return;
    if (other) return this.#abandon();
    const sideways = Math.abs(first.clientX - this.#x);
    if (sideways >= SIDEWAYS && sideways > Math.abs(first.clientY - this.#y)) this.#finger = "moves";
  }

  /** @param {TouchEvent} event */
  #lift({ type, targetTouches }) {
    if (type === "touchcancel") this.#abandon();
    if (targetTouches.length) return;
    const { value } = this.element;
    const counts = this.#finger === "undecided" || this.#finger === "moves";
    if (counts && value !== (this.#settled ?? shown(this.#level))) this.#offer();
    this.#finger = null;
    this.#release();
    this.#settled = this.element.value; // `change` and a mouse's events, made of this touch, come after it
  }

  /** The finger does something else: what it moved is put back, and what was not sent yet never is. */
  #abandon() {
    this.#finger = "abandoned";
    this.#next = null;
    this.#release();
  }

  /** @param {number} level */
  follow(level) {
    this.#level = level;
    if (this.#held || this.#sending) return;
    const value = shown(level);
    if (this.element.value !== value) this.element.value = value;
    this.#fill();
  }

  #release() {
    this.#held = false;
    this.follow(this.#level);
  }

  /** One value at a time and at most ten a second; those between are skipped, the last one never. */
  async #offer() {
    this.#settled = this.element.value;
    this.#next = Number(this.#settled) / 100;
    if (this.#sending) return;
    this.#sending = true;
    while (this.#next !== null) {
      const value = this.#next;
      this.#next = null;
      await Promise.all([this.send(value), new Promise((done) => setTimeout(done, SEND_EVERY))]);
    }
    this.#sending = false;
    this.follow(this.#level);
  }

  #fill() {
    this.element.style.setProperty("--level", `${this.element.value}%`);
    this.element.setAttribute("aria-valuetext", percent(Number(this.element.value) / 100));
  }
}
