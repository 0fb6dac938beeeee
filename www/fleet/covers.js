/** Covers of the Pis, in rows as pins are. It is loaded if a Pi has any. */
import { coverOf, CoverItem, items, merged } from "../ui/cover.js";
import { coverControl } from "../ui/cover-control.js";
import { loadStyle, part, setText } from "../ui/dom.js";
import { PinRow } from "./row.js";

/** @typedef {import("../ui/cover.js").Cover} Cover */
/** @typedef {import("./fleet-client.js").Pi} Pi */
/** @typedef {import("./fleet-client.js").Pin} Pin */
/** @typedef {import("./fleet-client.js").Entry} Entry */

/** Load their style. */
export const ready = () => loadStyle(new URL("../ui/covers.css", import.meta.url));

/** Return the pins of a Pi that are in its list, with its covers as pins among them. @param {Entry} entry @returns {Pin[]} */
export function withCovers({ pins, covers = [] }) {
  const inside = new Set(covers.flatMap((cover) => cover.pins));
  const all = covers.map((cover) => ({ ...cover, goal: null, by: null })); // which no broker tells
  const shown = [...items(all, (name) => all.find((cover) => cover.name === name)).values()];
  return merged(pins.filter(({ name }) => !inside.has(name)), /** @type {any[]} */ (shown)).filter(({ hidden }) => !hidden);
}

/** Take on the news of a cover. @param {Pin} pin @param {import("./fleet-client.js").CoverNews} news */
export function follow(pin, [state, position, since, problem, problem_reason, problem_values]) {
  Object.assign(coverOf(pin) ?? {}, { state, position, since, problem, problem_reason, problem_values });
}

/** Return the row of a cover, or undefined for a pin. @param {Pi} pi @param {Pin} pin @param {import("./fleet-client.js").FleetClient} fleet @param {string} title */
export const coverRow = (pi, pin, fleet, title) => (pin instanceof CoverItem ? new CoverRow(pi, pin, fleet, title) : undefined);

class CoverRow extends coverControl(PinRow) {
  #fleet;

  /** @param {Pi} pi @param {Pin} pin @param {import("./fleet-client.js").FleetClient} fleet @param {string} title */
  constructor(pi, pin, fleet, title) {
    super(pi, pin, fleet, title);
    this.#fleet = fleet;
  }

  /** @param {import("../ui/cover-control.js").CoverAction} action */
  command({ type }) {
    return this.#fleet.send({ type, pi: this.pi.topic, cover: this.pin.name });
  }

  /** It has no slider: for that is the page of its Pi. @param {HTMLElement} place @param {HTMLElement} _level @param {string} labels @param {string} id */
  build(place, _level, labels, id) {
    super.build(place, null, labels, id);
  }

  tell() {
    if (this.pending) setText(part(this.element, ".word"), this.pending);
  }
}
