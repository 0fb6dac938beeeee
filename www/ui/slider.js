/**
 * A slider for a level from 0 to 1. It follows the server only while no finger or mouse holds it.
 *
 * Browsers move a slider where a finger touches it, and put nothing back when that finger scrolls the page. So a finger sends nothing
 * before it has moved sideways or was lifted; one that scrolls sends nothing at all. Mouse and keys act at once.
 */
import { make } from "./dom.js";
import { percent } from "./format.js";

const SEND_INTERVAL_MS = 100;
const RELEASE_DELAY_MS = 50; // `change` comes after `pointerup`
const SIDEWAYS_PX = 8; // and more than up or down: with less a finger may yet be about to scroll the page
const GLIDE_GAP_MS = 100; // while a page scrolls on after a swipe, its scroll events are closer than that
const HAS_SCROLLEND = "onscrollend" in document; // older Safaris have not

let isSwiped = false; // the last finger on the page scrolled it
let isScrolling = false;
let scrolledAt = -Infinity; // by the clock of events
document.addEventListener("pointercancel", () => (isSwiped = true), true);
document.addEventListener("pointerup", () => (isSwiped = false), true);
for (const type of ["scroll", "scrollend"]) {
  const note = (/** @type {Event} */ { timeStamp }) => {
    isScrolling = HAS_SCROLLEND && type === "scroll";
    scrolledAt = timeStamp;
  };
  document.addEventListener(type, note, { capture: true, passive: true });
}

/** Return whether a touch only stops a page that scrolls on. A busy phone may send scroll events late. @param {Event} touch */
const isGliding = ({ timeStamp }) => isSwiped && (isScrolling || timeStamp - scrolledAt < GLIDE_GAP_MS);

/** Return a level as the element has it. @param {number} level */
const shown = (level) => String(Math.round(level * 100));

export class Slider {
  #held = false;
  #sending = false;
  /** @type {number|null} */ #next = null;
  #level = 0;
  /** The state of a finger on it: undecided, until it moves it; abandoned, once it scrolls the page or is not alone. */
  /** @type {"undecided"|"moves"|"abandoned"|null} */ #finger = null;
  #x = 0; // where that finger began
  #y = 0;
  /** The value that needs no sending, if the browser reports it again. @type {string|null} */ #settled = null;

  /** @param {string} name for screen readers @param {boolean} onRelease send only then @param {(value: number) => Promise<void>} send */
  constructor(name, onRelease, send) {
    this.send = send;
    this.element = make("input", "slider");
    Object.assign(this.element, { type: "range", min: "0", max: "100", step: "1" });
    this.element.setAttribute("aria-label", name);
    this.element.onpointerdown = ({ isPrimary }) => {
      this.#held = true;
      if (isPrimary) this.#finger = null;
    };
    this.element.onpointerup = () => setTimeout(() => this.#release(), RELEASE_DELAY_MS);
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
  #touch(event) {
    const [first, other] = event.touches;
    if (!first || this.#finger === "moves") return;
    if (other || isGliding(event)) return this.#abandon();
    this.#finger = "undecided";
    [this.#x, this.#y] = [first.clientX, first.clientY];
  }

  /** @param {TouchEvent} event */
  #move({ touches: [first, other] }) {
    if (!first || this.#finger !== "undecided") return;
    if (other) return this.#abandon();
    const sideways = Math.abs(first.clientX - this.#x);
    if (sideways >= SIDEWAYS_PX && sideways > Math.abs(first.clientY - this.#y)) this.#finger = "moves";
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

  /** Put back what the finger moved, and send nothing of it: it does something else. */
  #abandon() {
    this.#finger = "abandoned";
    this.#next = null;
    this.#release();
  }

  /** Show the level the server has. @param {number} level */
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

  /** Send one value at a time and at most ten a second; those between are skipped, the last one never. */
  async #offer() {
    this.#settled = this.element.value;
    this.#next = Number(this.#settled) / 100;
    if (this.#sending) return;
    this.#sending = true;
    while (this.#next !== null) {
      const value = this.#next;
      this.#next = null;
      await Promise.all([this.send(value), new Promise((done) => setTimeout(done, SEND_INTERVAL_MS))]);
    }
    this.#sending = false;
    this.follow(this.#level);
  }

  #fill() {
    this.element.style.setProperty("--level", `${this.element.value}%`);
    this.element.setAttribute("aria-valuetext", percent(Number(this.element.value) / 100));
  }
}
