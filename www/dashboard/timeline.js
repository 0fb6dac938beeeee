/** The timeline of a pin, from all that is kept down to milliseconds; wheel, pinch, buttons and keys zoom. */
import { part, setAttribute, setText } from "../ui/dom.js";
import { lasting, length, minute, moment, percent } from "../ui/format.js";
import { counted, LOCALE, text } from "../ui/i18n.js";
import { stateText } from "../ui/kinds.js";
import { fit, palette, plot } from "./plot.js";

/** @typedef {import("./history.js").Track} Track */

const MIN_SPAN_S = 0.02; // in view
const FIRST_SPAN_S = 300;
const HOUR_S = 3600;
const DAY_S = 86400; // in view, even if less is known
/** Seconds between two labels. Each is at most twice the one before: so three labels fit on any screen. */
const AXIS_STEPS_S = [
  ...[0.001, 0.01, 0.1].flatMap((unit) => [1, 2, 3, 5].map((count) => count * unit)),
  ...[1, 60].flatMap((unit) => [1, 2, 3, 5, 10, 15, 20, 30].map((count) => count * unit)),
  ...[1, 2, 3, 4, 6, 8, 12].map((count) => count * HOUR_S),
  ...[1, 2, 4, 7, 14, 28].map((count) => count * DAY_S),
];
const AXIS_GAP_PX = 96; // between two labels, where there is room
const AXIS_LABELS = 3; // at least, however narrow the screen
const AXIS_FONT_REM = 0.75;
const AXIS_FONTS = 26; // the width of the narrowest timeline, in heights of its letters

/** @param {Intl.DateTimeFormatOptions} options */
const clock = (options) => new Intl.DateTimeFormat(LOCALE, { hourCycle: "h23", ...options });
/** Labels of the axis by its step: the line below has the hour, and the day. */
const DAYS = clock({ day: "numeric", month: "numeric" });
const MINUTES = clock({ hour: "2-digit", minute: "2-digit" });
const SECONDS = clock({ minute: "2-digit", second: "2-digit" });
const FINER = clock({ second: "2-digit", fractionalSecondDigits: 3 });

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
      hour: () => this.#last(HOUR_S),
      day: () => this.#last(DAY_S),
    };
    for (const [name, act] of Object.entries(tools)) part(whole, `[data-do="${name}"]`).onclick = act;
    for (const [name, seconds] of /** @type {const} */ ([["hour", HOUR_S], ["day", DAY_S]])) {
      const button = part(whole, `[data-do="${name}"]`);
      button.textContent = length(seconds);
      button.setAttribute("aria-label", text("lastSpan", { span: length(seconds) }));
    }
    for (const [i, level] of [1, 0.5, 0].entries()) part(whole, `.scale :nth-child(${i + 1})`).textContent = percent(level);
    const chart = part(whole, ".chart");
    chart.onkeydown = (event) => this.#key(event);
    chart.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
    chart.onpointerdown = (event) => this.#down(event);
    chart.onpointermove = (event) => this.#move(event);
    chart.onpointerup = chart.onpointercancel = (event) => this.#up(event);
    chart.onpointerleave = ({ pointerType }) => {
      if (pointerType === "mouse") this.#point(null); // a finger leaves when it is lifted
    };
    new ResizeObserver(() => this.draw()).observe(this.#canvas);
    document.addEventListener("colours", () => this.draw());
  }

  /** @param {Track|null} track @param {import("../raspi.js").Pin} pin */
  show(track, pin) {
    this.#track = track;
    this.#pin = pin;
    part(this.#whole, ".scale").hidden = pin.mode !== "pwm";
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
    return Math.max(DAY_S, this.#track ? this.#now - this.#track.since : 0);
  }

  #follow() {
    this.#end = null;
    this.draw();
  }

  /** Show the last seconds. @param {number} seconds */
  #last(seconds) {
    this.#span = seconds;
    this.#follow();
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
    const font = Math.min(AXIS_FONT_REM * parseFloat(getComputedStyle(document.documentElement).fontSize), canvas.clientWidth / AXIS_FONTS);
    const axis = Math.round(1.75 * font);
    canvas.style.setProperty("--axis", `${axis}px`);
    const top = Math.round(8 * scale);
    const height = canvas.height - axis * scale - top;
    context.clearRect(0, 0, canvas.width, canvas.height);
    context.font = `${font * scale}px system-ui, sans-serif`;
    this.#drawAxis(context, from, to, top + height);
    if (this.#pin.mode === "pwm") for (const level of [1, 0.5]) context.fillRect(0, Math.round(top + (1 - level) * height), canvas.width, Math.max(1, Math.floor(scale)));
    if (this.#track) plot(context, this.#track, { from, to, end: this.#now, top, height });
    if (this.#cursor !== null) {
      context.fillStyle = palette().text;
      context.fillRect(Math.round(((this.#cursor - from) / this.#span) * canvas.width), 0, Math.ceil(scale), top + height);
    }
    this.#describe(from, to);
  }

  /** Draw the times, and leave the colour of lines. @param {CanvasRenderingContext2D} context @param {number} from @param {number} to @param {number} height */
  #drawAxis(context, from, to, height) {
    const { width, height: bottom } = context.canvas;
    const scale = devicePixelRatio || 1;
    const room = width - context.measureText(FINER.format(59_999)).width; // no label is wider, and none is drawn where it would be cut off
    const pixel = this.#span / width;
    const step = axisStep(AXIS_GAP_PX * scale * pixel, (room / AXIS_LABELS) * pixel);
    const words = step >= DAY_S ? DAYS : step >= 60 ? MINUTES : step >= 1 ? SECONDS : FINER;
    const shift = new Date(to * 1000).getTimezoneOffset() * 60; // labels are whole hours here, not at Greenwich
    const colours = palette();
    context.textBaseline = "bottom";
    context.textAlign = "center";
    for (let count = Math.ceil((from - shift) / step); count * step + shift <= to; count++) {
      const time = count * step + shift;
      const x = Math.round((time - from) / pixel);
      context.fillStyle = colours.line;
      context.fillRect(x, 0, Math.max(1, Math.floor(scale)), height);
      context.fillStyle = colours.text;
      if (Math.abs(x - width / 2) <= room / 2) context.fillText(words.format(time * 1000 + 0.0001), x, bottom);
    }
    context.fillStyle = colours.line;
  }

  /** Write what is in view, and what is pointed at, else how much of it. @param {number} from @param {number} to */
  #describe(from, to) {
    for (const [name, span] of /** @type {const} */ ([["hour", HOUR_S], ["day", DAY_S]])) {
      setAttribute(part(this.#whole, `[data-do="${name}"]`), "aria-pressed", String(this.#end === null && this.#span === span));
    }
    const shown = this.#span < 60 ? (/** @type {number} */ time) => moment(time, true) : this.#span < HOUR_S ? moment : minute;
    setText(part(this.#whole, ".range"), `${shown(from)} – ${this.#end === null ? text("now").toLocaleLowerCase(LOCALE) : shown(to)}`);
    if (this.#track) setText(part(this.#whole, ".readout"), this.#pointed() ?? this.#sum(from, to));
    else setText(part(this.#whole, ".readout"), "");
  }

  /** Return what is pointed at, if anything is known of it. */
  #pointed() {
    const at = this.#cursor;
    if (at === null) return null;
    const found = [.../** @type {Track} */ (this.#track).periods(this.#now)].find(({ start, end }) => start <= at && at < end);
    return found && `${moment(at, true)}: ${stateText(found.value, this.#pin)}, ${text("duringSpan", { span: lasting(found.end - found.start) })}`;
  }

  /** Return how much there is in view. @param {number} from @param {number} to */
  #sum(from, to) {
    const track = /** @type {Track} */ (this.#track);
    const end = Math.min(to, this.#now);
    let [known, on, level] = [0, 0, 0]; // seconds; of which it was on; times the level
    for (const { start, end: until, value } of track.periods(end)) {
      const inView = until - Math.max(start, from);
      if (inView <= 0 || value === null) continue;
      known += inView;
      level += inView * value;
      if (value > 0) on += inView;
    }
    const count = track.changes.filter(({ time }) => time >= from && time <= end).length;
    const seconds = this.#span >= 10 ? Math.round(this.#span) : Math.round(this.#span * 1000) / 1000;
    const isPwm = this.#pin.mode === "pwm";
    const state = isPwm ? text("on") : stateText(1, this.#pin);
    return [
      text("shown", { span: this.#span < 60 ? length(seconds) : lasting(seconds) }),
      this.#span - known > this.#span / 50 && text("knownFor", { span: known < 60 ? length(Math.round(known)) : lasting(known) }),
      known > 0 && isPwm && text("average", { level: percent(level / known) }),
      known > 0 && text("shareOfTime", { state, share: share(on / known) }),
      counted("changesShown", count),
    ].filter(Boolean).join(", ");
  }
}

/** Return a step of the axis: one with `gap` between two labels, but at most `most`. @param {number} gap @param {number} most seconds */
export function axisStep(gap, most) {
  const wide = AXIS_STEPS_S.find((step) => step >= gap) ?? Infinity;
  return wide <= most ? wide : ([...AXIS_STEPS_S].reverse().find((step) => step <= most) ?? most);
}

/** Return a share of the time; none is rounded to never or always. @param {number} of 0 to 1 */
function share(of) {
  if (of > 0 && of < 0.01) return `<${percent(0.01)}`;
  return of < 1 && of > 0.99 ? `>${percent(0.99)}` : percent(of);
}
