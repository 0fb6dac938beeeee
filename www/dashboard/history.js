/** The history of the pins: fetched at each hello, and kept up to date by the changes since. */
import { request } from "../ui/polling.js";

/** A change; `began` where it is the last level of a drag. @typedef {{time: number, value: number|null, by: string|null, began?: number}} Change */
/** A pin's history as the API has it. @typedef {{since: number, value: number|null, changes: Change[]}} PinHistory */

export const MAX_CHANGES = 1000; // of one pin: as many as the server keeps
const DRAG_GAP_S = 1; // as in raspi_server/limits.py: levels that one client sets in quick succession are one change, the last
const DRAG_LENGTH_S = 10;

/** Return whether a change continues a drag; going on or off is always a change of its own. @param {Change} last @param {Change} change */
function isDrag(last, change) {
  if (!last.value || !change.value || change.by === null || change.by !== last.by) return false;
  return change.time - last.time <= DRAG_GAP_S && change.time - (last.began ?? last.time) <= DRAG_LENGTH_S;
}

/** The history of one pin: it had `value` at `since`, then came `changes`, the oldest first. */
export class Track {
  /** @param {PinHistory} history */
  constructor({ since, value, changes }) {
    this.since = since;
    this.value = value;
    this.changes = changes;
  }

  /** @returns {Change} */
  get last() {
    return this.changes.length ? this.changes[this.changes.length - 1] : { time: this.since, value: this.value, by: null };
  }

  /** Yield each value with the time for which it was kept, the oldest first. @param {number} end of the last @returns {Generator<{start: number, end: number, value: number|null}>} */
  *periods(end) {
    let { since: start, value } = this;
    for (const change of this.changes) {
      if (change.time >= end) break;
      yield { start, end: change.time, value };
      [start, value] = [change.time, change.value];
    }
    if (start < end) yield { start, end, value };
  }

  /** Add a change, unless it is known already; return whether it was new. @param {Change} change */
  add(change) {
    const last = this.last;
    if (change.time <= last.time || change.value === last.value) return false;
    if (this.changes.length && isDrag(last, change)) {
      Object.assign(last, change, { began: last.began ?? last.time });
      return true;
    }
    this.changes.push(change);
    if (this.changes.length > MAX_CHANGES) this.forget(this.changes.length - MAX_CHANGES);
    return true;
  }

  /** Forget the oldest changes. @param {number} count */
  forget(count) {
    const forgotten = this.changes.splice(0, count);
    const last = forgotten[forgotten.length - 1];
    if (last) [this.since, this.value] = [last.time, last.value];
  }

  /** Forget what ended before that time. @param {number} time Unix seconds */
  forgetBefore(time) {
    let count = 0;
    while (count < this.changes.length && /** @type {Change} */ (this.changes[count]).time < time) count++;
    if (count) this.forget(count);
  }
}

const REQUEST_TIMEOUT_S = 5;

/** The last seconds of all pins. */
export class History {
  /** @type {Map<string, Track>} */ #tracks = new Map();
  #requests = 0;

  /** @param {import("../raspi.js").Raspi} raspi @param {number} seconds @param {number} [timeout] of a request, seconds */
  constructor(raspi, seconds, timeout = REQUEST_TIMEOUT_S) {
    this.raspi = raspi;
    this.seconds = seconds;
    this.timeout = timeout;
  }

  /** Return the history of one pin. @param {string} name @returns {Track} */
  of(name) {
    let track = this.#tracks.get(name);
    if (!track) {
      const pin = this.raspi.pins.get(name);
      const since = pin?.since ?? this.raspi.time;
      this.#tracks.set(name, (track = new Track({ since, value: pin?.value ?? null, changes: [] })));
    }
    return track;
  }

  /** Add the last change of a pin; return whether it was new. @param {import("../raspi.js").Pin} pin */
  record({ name, value, since, by }) {
    return since !== null && this.of(name).add({ time: since, value, by });
  }

  /** Fetch all of it; without an answer the history begins now. @returns {Promise<boolean>} whether there was one */
  async refresh() {
    const number = ++this.#requests;
    try {
      const { pins } = await request(`/history?seconds=${this.seconds}`, "GET", undefined, this.timeout);
      if (number !== this.#requests) return false;
      this.#tracks = new Map(Object.entries(pins).map(([name, history]) => [name, new Track(/** @type {PinHistory} */ (history))]));
      for (const pin of this.raspi.pins.values()) this.record(pin); // a change that came before the answer
      return true;
    } catch (error) {
      console.warn("raspi-server: no history:", error);
      return false;
    }
  }
}
