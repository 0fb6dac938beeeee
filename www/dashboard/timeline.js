/** The timeline of a pin, from all that is kept down to milliseconds; wheel, pinch, buttons and keys zoom. */
import { part, setText } from "../ui/dom.js";
import { lasting, length, moment, percent } from "../ui/format.js";
import { counted, LOCALE, text } from "../ui/i18n.js";
import { stateText } from "../ui/kinds.js";
import { fit, palette, plot } from "./plot.js";

/** @typedef {import("./history.js").Track} Track */

const MIN_SPAN_S = 0.02; // in view
const FIRST_SPAN_S = 300;
const AXIS_STEPS_S = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400];
const AXIS_GAP_PX = 96; // between two times, at least
const AXIS_HEIGHT_PX = 22;

/** @type {Intl.DateTimeFormatOptions} */
const CLOCK = { hour: "2-digit", minute: "2-digit", hourCycle: "h23" };
const MINUTES = new Intl.DateTimeFormat(LOCALE, CLOCK);
const SECONDS = new Intl.DateTimeFormat(LOCALE, { ...CLOCK, second: "2-digit" });
const FINER = new Intl.DateTimeFormat(LOCALE, { ...CLOCK, second: "2-digit", fractionalSecondDigits: 3 });

export class Timeline {
  /** @type {Track|null} */ #track = null;
  /** @type {import("../ui/kinds.js").Pin} */ #pin = { mode: "input" };
  #span = FIRST_SPAN_S; // seconds in view
  /** @type {number|null} Unix seconds at the right edge; null follows the present */ #end = null;
  /** @type {number|null} Unix seconds that are pointed at */ #cursor = null;
  /** @type {Map<number, number>} */ #fingers = new Map();
  #moved = 0; // pixels since the finger began
  #frame = 0;
  #whole;
  #canvas;

  /** @param {HTMLElement} whole @param {import("../raspi.js").Raspi} raspi */
  constructor(whole, raspi) {
    this.raspi = raspi;
    this.#whole = whole;
    this.#canvas = /** @type {HTMLCanvasElement} */ (part(whole, "canvas"));
    /** @type {Record<string, () => void>} */
    const tools = {
      in: () => this.#zoom(0.5),
      out: () => this.#zoom(2),
      earlier: () => this.#pan(-this.#span / 2),
      later: () => this.#pan(this.#span / 2),
      now: () => this.#follow(),
    };
    for (const [name, act] of Object.entries(tools)) part(whole, `[data-do="${name}"]`).onclick = act;
    const chart = part(whole, ".chart");
    chart.onkeydown = (event) => this.#key(event);
    chart.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
    chart.onpointerdown = (event) => this.#down(event);
    chart.onpointermove = (event) => this.#move(event);
    chart.onpointerup = chart.onpointercancel = (event) => this.#up(event);
    chart.onpointerleave = () => this.#point(null);
    new ResizeObserver(() => this.draw()).observe(this.#canvas);
    document.addEventListener("colours", () => this.draw());
  }

  /** @param {Track|null} track @param {import("../raspi.js").Pin} pin */
  show(track, pin) {
    this.#track = track;
    this.#pin = pin;
    part(this.#whole, ".chart").setAttribute("aria-label", text("timelineKeys", { label: pin.label }));
    this.draw();
  }

  /** Begin with the last minutes, of another pin. */
  reset() {
    [this.#track, this.#span, this.#end, this.#cursor] = [null, FIRST_SPAN_S, null, null];
    this.#fingers.clear();
  }

  /** Draw with the next frame, once. */
  draw() {
    if (!this.#frame && !document.hidden) this.#frame = requestAnimationFrame(() => this.#draw());
  }

  /** True if time moves it by more than a pixel in half a second. */
  get isFast() {
    return this.#end === null && this.#span < 120;
  }

  get #now() {
    return this.raspi.time - (this.raspi.isFresh ? 0 : (this.raspi.silence ?? 0));
  }
  get #to() {
    return this.#end ?? this.#now;
  }
  get #most() {
    return Math.max(FIRST_SPAN_S, this.#track ? this.#now - this.#track.since : 0);
  }

  #follow() {
    this.#end = null;
    this.draw();
  }

  /** @param {number} seconds */
  #pan(seconds) {
    const end = this.#to + seconds;
    const first = this.#now - this.#most + this.#span;
    this.#end = end >= this.#now ? null : Math.max(end, Math.min(first, this.#now));
    this.draw();
  }

  /** @param {number} factor @param {number} [at] share of the width that stays in place; where the present is in view, it does */
  #zoom(factor, at = this.#end === null ? 1 : 0.5) {
    const span = Math.min(this.#most, Math.max(MIN_SPAN_S, this.#span * factor));
    const end = this.#to + (span - this.#span) * (1 - at);
    this.#span = span;
    if (this.#end !== null || at < 0.9) this.#end = end >= this.#now ? null : end;
    this.#pan(0);
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    /** @type {Record<string, () => void>} */
    const keys = {
      ArrowLeft: () => this.#pan(-this.#span / 10),
      ArrowRight: () => this.#pan(this.#span / 10),
      PageUp: () => this.#pan(-this.#span),
      PageDown: () => this.#pan(this.#span),
      Home: () => this.#pan(-this.#most),
      End: () => this.#follow(),
      "+": () => this.#zoom(0.5),
      "=": () => this.#zoom(0.5),
      "-": () => this.#zoom(2),
    };
    const act = event.ctrlKey || event.metaKey || event.altKey ? null : keys[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  }

  /** @param {WheelEvent} event */
  #wheel(event) {
    event.preventDefault();
    const { left, width } = this.#canvas.getBoundingClientRect();
    const lines = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 16 : 1;
    if (Math.abs(event.deltaX) > Math.abs(event.deltaY)) this.#pan((event.deltaX * lines * this.#span) / width);
    else this.#zoom(Math.exp((event.deltaY * lines) / 300), (event.clientX - left) / width);
  }

  /** @param {PointerEvent} event */
  #down(event) {
    this.#fingers.set(event.pointerId, event.clientX);
    this.#moved = 0;
    /** @type {HTMLElement} */ (event.currentTarget).setPointerCapture(event.pointerId);
  }

  /** @param {PointerEvent} event */
  #move(event) {
    const before = this.#fingers.get(event.pointerId);
    if (before === undefined) {
      if (event.pointerType === "mouse") this.#point(event.clientX);
      return;
    }
    const { left, width } = this.#canvas.getBoundingClientRect();
    const other = [...this.#fingers].find(([finger]) => finger !== event.pointerId)?.[1];
    this.#fingers.set(event.pointerId, event.clientX);
    this.#moved += Math.abs(event.clientX - before);
    if (other === undefined) {
      this.#pan(((before - event.clientX) * this.#span) / width);
    } else {
      const [was, is] = [Math.abs(before - other), Math.abs(event.clientX - other)];
      if (was > 8 && is > 8) this.#zoom(was / is, ((event.clientX + other) / 2 - left) / width);
    }
  }

  /** @param {PointerEvent} event */
  #up(event) {
    this.#fingers.delete(event.pointerId);
    if (this.#moved < 6) this.#point(event.clientX);
  }

  /** @param {number|null} x of the window */
  #point(x) {
    const { left, width } = this.#canvas.getBoundingClientRect();
    this.#cursor = x === null ? null : this.#to - this.#span * (1 - (x - left) / width);
    this.draw();
  }

  #draw() {
    this.#frame = 0;
    const canvas = this.#canvas;
    const context = canvas.getContext("2d");
    if (!context || !fit(canvas)) return;
    const to = this.#to;
    const from = to - this.#span;
    const scale = devicePixelRatio || 1;
    const axis = Math.round(AXIS_HEIGHT_PX * scale);
    const height = canvas.height - axis;
    context.clearRect(0, 0, canvas.width, canvas.height);
    this.#drawAxis(context, from, to, height, scale);
    if (this.#track) plot(context, this.#track, { from, to, end: this.#now, top: Math.round(8 * scale), height: height - Math.round(8 * scale) });
    if (this.#cursor !== null) {
      context.fillStyle = palette().text;
      context.fillRect(Math.round(((this.#cursor - from) / this.#span) * canvas.width), 0, Math.ceil(scale), height);
    }
    this.#describe(from, to);
  }

  /** @param {CanvasRenderingContext2D} context @param {number} from @param {number} to @param {number} height @param {number} scale */
  #drawAxis(context, from, to, height, scale) {
    const { width } = context.canvas;
    const least = (AXIS_GAP_PX * scale * this.#span) / width;
    const step = AXIS_STEPS_S.find((candidate) => candidate >= least) ?? least;
    const words = step >= 60 ? MINUTES : step >= 1 ? SECONDS : FINER;
    const colours = palette();
    context.font = `${12 * scale}px system-ui, sans-serif`;
    context.textBaseline = "bottom";
    context.textAlign = "center";
    for (let count = Math.ceil(from / step); count * step <= to; count++) {
      const x = Math.round(((count * step - from) / this.#span) * width);
      context.fillStyle = colours.line;
      context.fillRect(x, 0, Math.max(1, Math.floor(scale)), height);
      context.fillStyle = colours.text;
      const half = 42 * scale;
      if (x > half && x < width - half) context.fillText(words.format(count * step * 1000 + 0.0001), x, height + AXIS_HEIGHT_PX * scale);
    }
  }

  /** Write what is pointed at, or how much there is in view. @param {number} from @param {number} to */
  #describe(from, to) {
    const place = part(this.#whole, ".readout");
    if (!this.#track) return setText(place, "");
    const { changes, since, value } = this.#track;
    const end = Math.min(to, this.#now);
    let [count, on, known] = [0, 0, 0];
    let pointed = "";
    let [time, level] = [since, value];
    for (let i = 0; i <= changes.length; i++) {
      const next = changes[i];
      const until = next ? next.time : end;
      const inView = Math.min(until, end) - Math.max(time, from);
      if (inView > 0 && level !== null) [on, known] = [on + inView * level, known + inView];
      if (next && next.time >= from && next.time <= end) count++;
      if (this.#cursor !== null && time <= this.#cursor && this.#cursor < until) {
        pointed = `${moment(this.#cursor, true)}: ${stateText(level, this.#pin)}, ${text("duringSpan", { span: lasting(until - time) })}`;
      }
      if (next) [time, level] = [next.time, next.value];
    }
    const seconds = this.#span >= 10 ? Math.round(this.#span) : Math.round(this.#span * 1000) / 1000;
    const shown = this.#span < 60 ? length(seconds) : lasting(seconds);
    setText(place, pointed || `${text("inView", { span: shown, share: percent(known ? on / known : 0) })}, ${counted("changesShown", count)}`);
  }
}
