/** The sparkline of the last minutes on each card. Only those on the screen are drawn, with the page's own tick. */
import { fit, plot } from "./plot.js";

/** @typedef {import("./history.js").History} History */

const MOVE_INTERVAL_S = 1; // at least, where nothing changed

export class Sparklines {
  /** @type {Map<Element, {name: string, drawn: number, isVisible: boolean, isStale: boolean}>} */ #all = new Map();
  /** @type {History} */ #history;
  #visible = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      const line = this.#all.get(target);
      if (line) Object.assign(line, { isVisible: isIntersecting, isStale: true });
    }
    this.#draw();
  });
  #resized = new ResizeObserver(() => this.redraw());

  /** @param {History} history */
  constructor(history) {
    this.#history = history;
    document.addEventListener("colours", () => this.redraw());
  }

  /** @param {HTMLCanvasElement} canvas @param {string} name of its pin */
  add(canvas, name) {
    this.#all.set(canvas, { name, drawn: 0, isVisible: false, isStale: true });
    this.#visible.observe(canvas);
    this.#resized.observe(canvas);
  }

  /** @param {HTMLCanvasElement} canvas */
  remove(canvas) {
    this.#all.delete(canvas);
    this.#visible.unobserve(canvas);
    this.#resized.unobserve(canvas);
  }

  /** Draw the sparkline of a pin with the next tick: it has changed. @param {string} name */
  change(name) {
    for (const line of this.#all.values()) if (line.name === name) line.isStale = true;
  }

  redraw() {
    for (const line of this.#all.values()) line.isStale = true;
    this.#draw();
  }

  /** Draw the sparklines that changed or moved by a pixel. */
  tick() {
    for (const [canvas, line] of this.#all) {
      const step = Math.max(MOVE_INTERVAL_S, this.#history.seconds / Math.max(1, /** @type {HTMLCanvasElement} */ (canvas).width));
      if (Math.floor(this.#now / step) !== Math.floor(line.drawn / step)) line.isStale = true;
    }
    this.#draw();
  }

  /** The end of what is known: it stands still while nothing is received. */
  get #now() {
    const { raspi } = this.#history;
    return raspi.time - (raspi.isFresh ? 0 : (raspi.silence ?? 0));
  }

  #draw() {
    if (document.hidden) return;
    const to = this.#now;
    const from = to - this.#history.seconds;
    for (const [element, line] of this.#all) {
      const canvas = /** @type {HTMLCanvasElement} */ (element);
      if (!line.isStale || !line.isVisible || !fit(canvas)) continue;
      line.isStale = false;
      line.drawn = to;
      const context = canvas.getContext("2d");
      if (!context) continue;
      const track = this.#history.of(line.name);
      track.forgetBefore(from);
      context.clearRect(0, 0, canvas.width, canvas.height);
      plot(context, track, { from, to, end: to, top: 0, height: canvas.height });
    }
  }
}
