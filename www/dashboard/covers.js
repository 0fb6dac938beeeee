/** The covers of the dashboard, with their rows in the list. It is loaded if there are any. */
import { CoverItem, isMoving, items, merged, planInWords } from "../ui/cover.js";
import { coverControl } from "../ui/cover-control.js";
import { loadStyle, part, setText } from "../ui/dom.js";
import { loadStrings, text } from "../ui/i18n.js";
import { PinRow } from "./pin-row.js";

/** @typedef {import("../raspi.js").Pin} Pin */
/** @typedef {import("./pin-view.js").Context} Context */

/** Return the covers, once their style and their strings are there. @param {Context} context @param {(cover: Pin) => void} changed is told of each as it is then */
export async function load(context, changed) {
  await Promise.all([loadStyle(new URL("../ui/covers.css", import.meta.url)), loadStrings("covers")]);
  const covers = new Covers(context);
  covers.items.forEach((item) => changed(item));
  return covers;
}

export class Covers {
  #context;
  /** @type {Map<string, Pin>} */ #items = new Map();
  /** What they were made from. @type {unknown} */ #all;

  /** @param {Context} context */
  constructor(context) {
    this.#context = context;
  }

  /** All covers as pins of a list, by name. */
  get items() {
    const { covers } = this.#context.raspi;
    if (covers !== this.#all) this.#items = items(covers.values(), (name) => this.#context.raspi.covers.get(name));
    this.#all = covers;
    return this.#items;
  }

  /** Return the pins of the list with the covers among them. @param {Pin[]} pins */
  among(pins) {
    return merged(pins, [...this.items.values()].filter(({ hidden }) => !hidden));
  }

  /** Return the row of a cover, or undefined for a pin. @param {Pin} pin */
  row(pin) {
    return pin instanceof CoverItem ? new CoverRow(pin, this.#context, []) : undefined;
  }

  /** @param {string} name */
  isMoving(name) {
    const cover = this.#context.raspi.covers.get(name);
    return cover !== undefined && isMoving(cover);
  }
}

class CoverRow extends coverControl(PinRow) {
  #raspi;

  /** @param {Pin} pin @param {Context} context @param {Pin[]} others */
  constructor(pin, context, others) {
    super(pin, context, others);
    this.#raspi = context.raspi;
    const link = part(this.element, ".timeline-link");
    setText(link, text("coverMore"));
    link.setAttribute("aria-label", text("pageOfCover", { label: pin.label }));
  }

  /** @param {import("../ui/cover-control.js").CoverAction} action */
  command({ type, position = 0 }) {
    const { name } = this.pin;
    return type === "position" ? this.#raspi.position(name, position) : this.#raspi[type](name);
  }

  /** What it does next, else for how long it has its state; while it moves nobody counts. */
  get term() {
    return planInWords(this.cover) || (isMoving(this.cover) ? "" : this.age);
  }

  get line() {
    return [];
  }
}
