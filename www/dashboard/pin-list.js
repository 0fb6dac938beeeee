/** The list of all pins: rooms in columns, active alarms above them, and a search where there are many. */
import { ROOT_PATH } from "../ui/address.js";
import { make, part, put, setText } from "../ui/dom.js";
import { text } from "../ui/i18n.js";
import { recall, remember } from "../ui/stored.js";
import { shape } from "./pin-view.js";
import { blocks, inColumns, Room, rowList } from "./rooms.js";

/** @typedef {import("../raspi.js").Pin} Pin */
/** @typedef {import("./pin-row.js").PinRow} PinRow */

const SEARCH_FROM = 20; // pins
const ROWS_A_COLUMN = 3; // at least, before there is another column
const WIDTHS = ["(min-width: 37.5rem)", "(min-width: 64rem)"].map((query) => matchMedia(query)); // for two and three columns
const FOLDED = `folded ${ROOT_PATH}`;

export class PinList {
  /** By the name of the pin, in the order of the configuration. @type {Map<string, {shape: string, row: PinRow}>} */ #rows = new Map();
  /** By the name of the room; a long one has several parts. @type {Map<string, Room[]>} */ #rooms = new Map();
  /** The names of folded rooms. @type {Set<string>} */ #folded = new Set(recall(FOLDED, /** @type {string[]} */ ([])));
  #alarms = rowList();
  #columns = make("div", "columns");
  #search = /** @type {HTMLInputElement} */ (part(document, "#search"));
  #context;
  #watch;

  /**
   * @param {HTMLElement} place @param {import("./pin-view.js").Context} context
   * @param {{row: (pin: Pin, others: Pin[]) => PinRow, added: (row: PinRow) => void, removed: (row: PinRow) => void}} watch makes rows, and is told of them
   */
  constructor(place, context, watch) {
    this.#context = context;
    this.#watch = watch;
    this.#alarms.classList.add("alarms");
    place.append(this.#alarms, this.#columns);
    this.#search.placeholder = text("search");
    this.#search.oninput = () => this.#arrange();
    for (const width of WIDTHS) width.addEventListener("change", () => this.#arrange());
  }

  /** Return the row of a pin, if it has one. @param {string} name */
  row(name) {
    return this.#rows.get(name)?.row;
  }

  get rows() {
    return [...this.#rows.values()].map(({ row }) => row);
  }

  /** Draw the list. A row whose pin is described as before stays, with the focus and the finger that may be on it. @param {Pin[]} pins */
  show(pins) {
    const before = this.#rows;
    this.#rows = new Map();
    for (const pin of pins) {
      const others = pins.filter(({ name, group }) => group !== null && group === pin.group && name !== pin.name);
      const now = shape(pin, this.#context) + others.map(({ label }) => label);
      const old = before.get(pin.name);
      before.delete(pin.name);
      if (old?.shape === now) {
        this.#rows.set(pin.name, old);
        continue;
      }
      const row = this.#watch.row(pin, others);
      this.#rows.set(pin.name, { shape: now, row });
      this.#watch.added(row);
      if (old?.row.isOpen) row.open(true);
      if (old) this.#watch.removed(old.row);
    }
    for (const { row } of before.values()) this.#watch.removed(row);
    this.#search.hidden = pins.length < SEARCH_FROM;
    if (this.#search.hidden) this.#search.value = "";
    this.#arrange();
  }

  /** @param {Pin} pin as it is now */
  change(pin) {
    const row = this.row(pin.name);
    if (!row) return;
    const { isAlarm } = row;
    row.show(pin);
    if (isAlarm !== row.isAlarm) this.#arrange();
    else if (this.#folded.has(pin.room ?? "")) this.#fold(pin.room ?? "");
  }

  /** Draw the ages. */
  tick() {
    for (const row of this.rows) row.tick();
  }

  /** Bring rows to sight, the first of them with the focus. @param {string[]} names of their pins */
  reveal(names) {
    const found = names.flatMap((name) => this.row(name) ?? []);
    this.#search.value = "";
    for (const { pin } of found) this.#folded.delete(pin.room ?? "");
    this.#arrange();
    found[0]?.reveal();
    for (const { element } of found) {
      element.classList.remove("meant");
      void element.offsetWidth; // so that its animation begins again
      element.classList.add("meant");
    }
  }

  /** Put every row into its place. */
  #arrange() {
    const focused = document.activeElement;
    const words = this.#search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const shown = this.rows.filter(({ pin }) => words.every((word) => searched(pin).includes(word)));
    put(this.#alarms, shown.filter(({ isAlarm }) => isAlarm).map(({ element }) => element));
    this.#alarms.hidden = !this.#alarms.childElementCount;

    /** @type {Map<string, PinRow[]>} */
    const rooms = new Map([["", []]]);
    for (const row of shown) rooms.set(row.room, [...(rooms.get(row.room) ?? []), row]);
    const count = this.#count();
    this.#columns.dataset.count = String(count);
    const isFolded = (/** @type {string} */ room) => !words.length && this.#folded.has(room);
    const parts = new Map(this.#rooms);
    this.#rooms.clear();
    const columns = inColumns(blocks(rooms, isFolded, count), count).map((some, i) => {
      const column = this.#columns.children[i] ?? make("div", "column");
      put(column, some.map(({ room: name, rows }) => {
        const done = this.#rooms.get(name) ?? [];
        const room = parts.get(name)?.[done.length] ?? new Room(name, !done.length, () => this.#toggle(name));
        this.#rooms.set(name, [...done, room]);
        room.show(rows.filter(({ isAlarm }) => !isAlarm)); // but an alarm keeps its place in its column
        return room.element;
      }));
      return column;
    });
    put(this.#columns, columns);
    for (const name of this.#rooms.keys()) this.#fold(name, isFolded(name));
    setText(part(document, "#no-match"), words.length && !shown.length ? text("noMatch") : "");
    if (focused instanceof HTMLElement && focused !== document.activeElement) focused.focus({ preventScroll: true }); // in a row that moved
  }

  /** Return for how many columns there is room, and rows. */
  #count() {
    const most = 1 + WIDTHS.filter(({ matches }) => matches).length;
    return Math.max(1, Math.min(most, Math.ceil(this.#rows.size / ROWS_A_COLUMN)));
  }

  /** @param {string} room */
  #toggle(room) {
    if (!this.#folded.delete(room)) this.#folded.add(room);
    remember(FOLDED, [...this.#folded]);
    this.#fold(room);
  }

  /** Draw a room folded, or not; nothing else moves to another column. @param {string} room */
  #fold(room, isFolded = this.#folded.has(room)) {
    const rows = this.rows.filter((row) => row.room === room && !row.isAlarm);
    for (const each of this.#rooms.get(room) ?? []) {
      each.fold(isFolded);
      if (isFolded) each.tell(rows);
    }
  }
}

/** Return what a search looks through. @param {Pin} pin */
const searched = ({ name, label, room, kind }) => `${label} ${room ?? ""} ${name} ${(kind ?? "").replace("_", " ")}`.toLowerCase();
