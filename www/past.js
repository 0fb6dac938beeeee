/** What the pins have been: the server's memory, fetched at each hello, and kept up by what happens since. */
import { ask } from "./polling.js";

/** A change; `began` where it is the last level of a drag. @typedef {{time: number, value: number|null, by: string|null, began?: number}} Moment */
/** @typedef {{since: number, value: number|null, changes: Moment[]}} Told  as the server tells it */

const MOST = 1000; // changes of one pin: as many as the server keeps
const DRAG_GAP = 1; // seconds, as raspi_server/history.py has them: levels that one caller sets in quick succession are one change, the last
const DRAG_LENGTH = 10;

/** Going on or off stays a change of its own. @param {Moment} last @param {Moment} change */
function isDrag(last, change) {
  if (!last.value || !change.value || change.by === null || change.by !== last.by) return false;
  return change.time - last.time <= DRAG_GAP && change.time - (last.began ?? last.time) <= DRAG_LENGTH;
}

/** The past of one pin: it held `value` at `since`, then came `changes`, the oldest first. */
export class Track {
  /** @param {Told} told */
  constructor({ since, value, changes }) {
    this.since = since;
    this.value = value;
    this.changes = changes;
  }

  /** @returns {Moment} */
  get last() {
    return this.changes.length ? this.changes[this.changes.length - 1] : { time: this.since, value: this.value, by: null };
  }

  /** Takes on a change, unless it is known already. Whether it was news. @param {Moment} change */
  add(change) {
    const last = this.last;
    if (change.time <= last.time || change.value === last.value) return false;
    if (this.changes.length && isDrag(last, change)) {
      Object.assign(last, change, { began: last.began ?? last.time });
      return true;
    }
    this.changes.push(change);
    if (this.changes.length > MOST) this.forget(this.changes.length - MOST);
    return true;
  }

  /** @param {number} count changes */
  forget(count) {
    const gone = this.changes.splice(0, count);
    const last = gone[gone.length - 1];
    if (last) [this.since, this.value] = [last.time, last.value];
  }

  /** Forgets what ended before that time. @param {number} time */
  forgetBefore(time) {
    let count = 0;
    while (count < this.changes.length && /** @type {Moment} */ (this.changes[count]).time < time) count++;
    if (count) this.forget(count);
  }
}

/** The last seconds of all pins. */
export class Past {
  /** @type {Map<string, Track>} */ #tracks = new Map();
  #asked = 0;

  /** @param {import("./raspi.js").Raspi} raspi @param {number} seconds */
  constructor(raspi, seconds) {
    this.raspi = raspi;
    this.seconds = seconds;
  }

  /** @param {string} name @returns {Track} */
  of(name) {
    let track = this.#tracks.get(name);
    if (!track) {
      const pin = this.raspi.pins.get(name);
      const since = pin?.since ?? this.raspi.time;
      this.#tracks.set(name, (track = new Track({ since, value: pin?.value ?? null, changes: [] })));
    }
    return track;
  }

  /** A pin is as it is since a moment. Whether that was news. @param {import("./raspi.js").Pin} pin */
  note({ name, value, since, by }) {
    return since !== null && this.of(name).add({ time: since, value, by });
  }

  /** Asks the server for all of it. Without an answer the past begins now. @returns {Promise<boolean>} whether there was one */
  async refresh() {
    const asked = ++this.#asked;
    try {
      const { pins } = await ask(`/history?seconds=${this.seconds}`);
      if (asked !== this.#asked) return false;
      this.#tracks = new Map(Object.entries(pins).map(([name, told]) => [name, new Track(/** @type {Told} */ (told))]));
      for (const pin of this.raspi.pins.values()) this.note(pin); // what came while the answer was on its way
      return true;
    } catch (error) {
      console.warn("raspi-server: no history:", error);
      return false;
    }
  }
}
