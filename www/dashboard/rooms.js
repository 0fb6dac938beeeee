/** Rooms of the list, and the columns that they stand in. Each column is a stack of its own: a row that opens moves only what is below it. */
import { make, put, setAttribute, setText } from "../ui/dom.js";
import { text } from "../ui/i18n.js";
import { stateText } from "../ui/kinds.js";

/** @typedef {import("./pin-row.js").PinRow} PinRow */

/** Some rows that stay together: all of a room, or a part of one that is too long for a column. The height is in rows.
 * @template R @typedef {{room: string, rows: R[], height: number}} Block */

const HEADING_ROWS = 0.7; // the height of a heading
const FOLDED_ROWS = 0.5; // that of the line below it in a folded room
const TOO_LONG = 1.25; // a room that is so many times as long as a column would be is divided

/** A room: a heading that folds it, and its rows. Folded, it has a line of what is active in it. */
export class Room {
  /** Lists of neighbours of one group, by the name of the first. @type {Map<string, HTMLElement>} */ #groups = new Map();
  #active = make("p", "active");
  #list = rowList();
  /** @type {HTMLElement|null} */ #button = null;

  /** @param {string} name "" for none, which has no heading @param {boolean} isFirst false for the rest of a room, in another column @param {() => void} onFold */
  constructor(name, isFirst, onFold) {
    this.name = name;
    this.element = make("div", "room");
    if (name && isFirst) {
      this.#button = make("button", "fold");
      const label = make("span", "", name);
      label.dir = "auto";
      this.#button.append(label);
      this.#button.onclick = onFold;
      const heading = make("h2", "");
      heading.append(this.#button);
      this.element.append(heading, this.#active);
    } else if (name) {
      const rest = make("p", "rest", name);
      rest.setAttribute("aria-hidden", "true");
      this.element.append(rest);
    }
    this.element.append(this.#list);
  }

  /** @param {boolean} isFolded */
  fold(isFolded) {
    if (this.#button) setAttribute(this.#button, "aria-expanded", String(!isFolded));
    this.#list.hidden = isFolded;
    this.#active.hidden = !isFolded;
    this.element.classList.toggle("folded", isFolded);
  }

  /** Draw the line of what is active. @param {PinRow[]} rows all of the room */
  tell(rows) {
    const active = rows.filter(({ pin }) => pin.value).map(({ pin }) => text("changed", { label: pin.label, state: stateText(pin.value, pin) }));
    setText(this.#active, active.join(" · "));
  }

  /** Put rows into their places: neighbours of one group in a list of its name. @param {PinRow[]} rows */
  show(rows) {
    /** @type {HTMLElement[]} */
    const places = [];
    for (let i = 0; i < rows.length; ) {
      const { pin, element } = /** @type {PinRow} */ (rows[i]);
      let end = i + 1;
      while (pin.group !== null && rows[end]?.pin.group === pin.group) end++;
      if (end === i + 1) places.push(element);
      else places.push(this.#group(pin.name, pin.group ?? "", rows.slice(i, end)));
      i = end;
    }
    put(this.#list, places);
    this.element.hidden = !rows.length;
  }

  /** @param {string} key @param {string} name @param {PinRow[]} rows */
  #group(key, name, rows) {
    const whole = this.#groups.get(key) ?? make("li", "group");
    this.#groups.set(key, whole);
    const list = whole.firstElementChild ?? whole.appendChild(rowList());
    setAttribute(list, "aria-label", text("groupOf", { group: name }));
    put(list, rows.map(({ element }) => element));
    return whole;
  }
}

/** Return an empty list. Safari takes lists without bullets for none. */
export function rowList() {
  const list = make("ul", "rows");
  list.setAttribute("role", "list");
  return list;
}

/**
 * Return the rows of all rooms in blocks.
 * @template R @param {Map<string, R[]>} rooms by name, "" for none @param {(room: string) => boolean} isFolded @param {number} columns
 * @returns {Block<R>[]}
 */
export function blocks(rooms, isFolded, columns) {
  const heightOf = (/** @type {string} */ room, /** @type {number} */ rows) => (room ? HEADING_ROWS : 0) + (isFolded(room) ? FOLDED_ROWS : rows);
  let total = 0;
  for (const [room, rows] of rooms) total += heightOf(room, rows.length);
  const ideal = total / columns;
  return [...rooms].flatMap(([room, rows]) => {
    const height = heightOf(room, rows.length);
    const parts = height > TOO_LONG * ideal && !isFolded(room) ? Math.min(columns, Math.round(height / ideal)) : 1;
    return Array.from({ length: parts }, (_, part) => {
      const some = rows.slice(Math.ceil((part * rows.length) / parts), Math.ceil(((part + 1) * rows.length) / parts));
      return { room, rows: some, height: heightOf(room, some.length) };
    });
  });
}

/** Return the blocks of each column, in their order; the longest column is as short as can be. @template R @param {Block<R>[]} all @param {number} columns */
export function inColumns(all, columns) {
  const total = all.reduce((sum, { height }) => sum + height, 0);
  for (let limit = total / columns; ; limit += 0.25) {
    const found = fill(all, limit);
    if (found.length <= columns) return found;
  }
}

/** @template R @param {Block<R>[]} all @param {number} limit the height of a column, unless one block is higher */
function fill(all, limit) {
  /** @type {Block<R>[][]} */
  const found = [];
  let height = Infinity;
  for (const block of all) {
    if (height + block.height > limit) {
      found.push([]);
      height = 0;
    }
    found[found.length - 1]?.push(block);
    height += block.height;
  }
  return found;
}
