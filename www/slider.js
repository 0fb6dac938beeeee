/** A level from 0 to 1 that does not fight the thumb: it follows the server only when nobody holds it. */
import { make } from "./dom.js";
import { percent } from "./words.js";

const SEND_EVERY = 100; // milliseconds

export class Slider {
  #held = false;
  #sending = false;
  /** @type {number|null} */ #next = null;
  #level = 0;

  /** @param {string} name for those who do not see it @param {boolean} onRelease send only then @param {(value: number) => Promise<void>} send */
  constructor(name, onRelease, send) {
    this.send = send;
    this.element = make("input", "slider");
    Object.assign(this.element, { type: "range", min: "0", max: "100", step: "1" });
    this.element.setAttribute("aria-label", name);
    this.element.onpointerdown = () => (this.#held = true);
    this.element.onpointerup = () => setTimeout(() => this.#release(), 50); // `change` comes after it
    this.element.onpointercancel = this.element.onblur = () => this.#release();
    this.element.oninput = () => {
      if (onRelease) this.#held = true;
      else this.#offer();
      this.#fill();
    };
    this.element.onchange = () => {
      if (onRelease) this.#offer();
      this.#release();
    };
  }

  /** @param {number} level */
  follow(level) {
    this.#level = level;
    if (this.#held || this.#sending) return;
    const value = String(Math.round(level * 100));
    if (this.element.value !== value) this.element.value = value;
    this.#fill();
  }

  #release() {
    this.#held = false;
    this.follow(this.#level);
  }

  /** One value at a time and at most ten a second; those between are skipped, the last one never. */
  async #offer() {
    this.#next = Number(this.element.value) / 100;
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
