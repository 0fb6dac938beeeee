/**
 * The drawing of a pin's history. Each column of pixels shows the least and the most of its time, so that a pulse of a millisecond
 * is one pixel wide; columns lie on a fixed grid of time, so that they do not flicker as time goes on.
 */

/** @typedef {{on: string, mixed: string, off: string, line: string, text: string}} Colours */

/** @type {Colours|null} */
let colours = null;
const forget = () => {
  colours = null;
  document.dispatchEvent(new Event("colours"));
};
for (const query of ["(prefers-color-scheme: dark)", "(forced-colors: active)"]) {
  matchMedia(query).addEventListener("change", forget); // Safari 15 has this, too
}
document.addEventListener("theme", forget); // after ui/theme.js has applied it

/** Return the colours the style sheet has now. @returns {Colours} */
export function palette() {
  const style = getComputedStyle(document.documentElement);
  /** @param {string} name */
  const of = (name) => style.getPropertyValue(name).trim();
  colours ??= { on: of("--on"), mixed: of("--on-mixed"), off: of("--off"), line: of("--line"), text: of("--quiet") };
  return colours;
}

/** Give a canvas the pixels of its place on the page; return whether it has any. @param {HTMLCanvasElement} canvas */
export function fit(canvas) {
  const scale = devicePixelRatio || 1;
  const [width, height] = [Math.round(canvas.clientWidth * scale), Math.round(canvas.clientHeight * scale)];
  if (canvas.width !== width) canvas.width = width;
  if (canvas.height !== height) canvas.height = height;
  return width > 0 && height > 0;
}

/**
 * Draw a history.
 * @param {CanvasRenderingContext2D} context
 * @param {import("./history.js").Track} track
 * @param {{from: number, to: number, end: number, top: number, height: number}} area times in Unix seconds, `end` is how far they are known; the rest in pixels
 */
export function plot(context, track, { from, to, end, top, height }) {
  const { on, mixed, off } = palette();
  const { width } = context.canvas;
  const step = (to - from) / width;
  const first = Math.floor(from / step);
  const floor = top + height;
  const thin = Math.max(1, Math.round(devicePixelRatio));

  /** @param {number} level */
  const tall = (level) => (level > 0 ? Math.max(2 * thin, Math.round(level * height)) : 0);
  /** Draw columns that look the same. @param {number} start @param {number} stop @param {number} least @param {number} most */
  const draw = (start, stop, least, most) => {
    const [x, count] = [start - first, stop - start];
    if (tall(most) > tall(least)) {
      context.fillStyle = mixed;
      context.fillRect(x, floor - tall(most), count, tall(most) - tall(least));
    }
    context.fillStyle = least > 0 ? on : off;
    const rise = least > 0 ? tall(least) : thin;
    context.fillRect(x, floor - rise, count, rise);
  };

  let column = -Infinity; // the one that is being gathered, with its least and most
  let [least, most] = [Infinity, -Infinity];
  const flush = () => {
    if (column >= first && most >= least) draw(column, column + 1, least, most);
    [least, most] = [Infinity, -Infinity];
  };
  const last = Math.min(end, to);
  const { changes } = track;
  for (let i = -1; i < changes.length; i++) {
    const { time, value } = i < 0 ? { time: track.since, value: track.value } : /** @type {import("./history.js").Change} */ (changes[i]);
    const next = i + 1 < changes.length ? /** @type {import("./history.js").Change} */ (changes[i + 1]).time : Infinity;
    const until = Math.min(next, last);
    if (until < from) continue;
    if (time > last) break;
    const begin = Math.max(first, Math.floor(time / step));
    const finish = Math.max(first, Math.floor(until / step));
    if (begin !== column) {
      flush();
      column = begin;
    }
    if (value !== null) [least, most] = [Math.min(least, value), Math.max(most, value)];
    if (finish > begin) {
      flush();
      if (value !== null && finish > begin + 1) draw(begin + 1, finish, value, value);
      column = finish;
      if (value !== null) [least, most] = [value, value];
    }
  }
  flush();
}
