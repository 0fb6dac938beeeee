/** The strip of the last minutes on each card. Only strips that are on the screen are drawn, with the page's own tick. */
import { fit, plot } from "./plot.js";

/** @typedef {import("./past.js").Past} Past */

const MOVE_EVERY = 1; // seconds, at most, where nothing changed

export class Strips {
  /** @type {Map<Element, {name: string, drawn: number, isSeen: boolean, isNews: boolean}>} */ #all = new Map();
  /** @type {Past} */ #past;
  #seen = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      const strip = this.#all.get(target);
      if (strip) Object.assign(strip, { isSeen: isIntersecting, isNews: true });
    }
    this.#draw();
  });
  #sized = new ResizeObserver(() => this.redraw());

  /** @param {Past} past */
  constructor(past) {
    this.#past = past;
    document.addEventListener("colours", () => this.redraw());
  }

  /** @param {HTMLCanvasElement} canvas @param {string} name of its pin */
  add(canvas, name) {
    this.#all.set(canvas, { name, drawn: 0, isSeen: false, isNews: true });
    this.#seen.observe(canvas);
    this.#sized.observe(canvas);
  }

  /** @param {HTMLCanvasElement} canvas */
  remove(canvas) {
    this.#all.delete(canvas);
    this.#seen.unobserve(canvas);
    this.#sized.unobserve(canvas);
  }

  /** A pin has changed: its strip is drawn with the next tick. @param {string} name */
  change(name) {
    for (const strip of this.#all.values()) if (strip.name === name) strip.isNews = true;
  }

  redraw() {
    for (const strip of this.#all.values()) strip.isNews = true;
    this.#draw();
  }

  /** Time goes on: draws the strips that changed or moved by a pixel. */
  tick() {
    for (const [canvas, strip] of this.#all) {
      const step = Math.max(MOVE_EVERY, this.#past.seconds / Math.max(1, /** @type {HTMLCanvasElement} */ (canvas).width));
      if (Math.floor(this.#now / step) !== Math.floor(strip.drawn / step)) strip.isNews = true;
    }
    this.#draw();
  }

  /** The end of what we know: time stands still while nothing is heard. */
  get #now() {
    const { raspi } = this.#past;
    return raspi.time - (raspi.isFresh ? 0 : (raspi.silence ?? 0));
  }

  #draw() {
    if (document.hidden) return;
    const to = this.#now;
    const from = to - this.#past.seconds;
    for (const [element, strip] of this.#all) {
      const canvas = /** @type {HTMLCanvasElement} */ (element);
      if (!strip.isNews || !strip.isSeen || !fit(canvas)) continue;
      strip.isNews = false;
      strip.drawn = to;
      const context = canvas.getContext("2d");
      if (!context) continue;
      const track = this.#past.of(strip.name);
      track.forgetBefore(from);
      context.clearRect(0, 0, canvas.width, canvas.height);
      plot(context, track, { from, to, end: to, top: 0, height: canvas.height });
    }
  }
}
