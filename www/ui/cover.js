/** A cover, a door or a shutter as one thing: its state in words, and what lists of pins need to have it among them. */
import { percent } from "./format.js";
import { section, text } from "./i18n.js";

/**
 * A cover as the server describes it, with what is known of it now. Times are Unix seconds of the server's clock.
 * @typedef {object} Cover
 * @property {string} name
 * @property {string} label          what people read
 * @property {"garage_door"|"gate"|"door"|"window"|"shutter"|"blind"|"awning"|"curtain"} kind
 * @property {string|null} room      the heading under which pages show it
 * @property {string|null} icon      the name of a picture in icons.js in place of its kind's
 * @property {boolean} hidden        in no list of a page
 * @property {boolean} writable      whether this browser may move it
 * @property {"everyone"|"code"|"nobody"} control  callers that may move it by the configuration
 * @property {boolean} confirm       ask before moving it
 * @property {boolean} has_position  it can be moved to a position
 * @property {boolean} can_stop      it can be stopped on its way
 * @property {string[]} pins         the names of its outputs and contacts
 * @property {"open"|"opening"|"closed"|"closing"|"stopped"|"unknown"} state
 * @property {number|null} position  percent: 100 is open; null if unknown
 * @property {"open"|"close"|number|null} goal  where it is to go, until it is there
 * @property {string|null} problem   what is wrong, if anything is
 * @property {string|null} [problem_reason]  the name of its string in languages/, whose braces `problem_values` fill
 * @property {Record<string, string|number>} [problem_values]
 * @property {number|null} since     when its state last changed, if known
 * @property {string|null} by        who moved it last: an address, "schedule NAME"; null if unknown
 */
/** @typedef {import("../raspi.js").Pin} Pin */
/** @typedef {import("./kinds.js").Tone} Tone */

/** How open a cover is drawn while its position is not known. @type {Record<Cover["state"], number>} */
const SHARES = { closed: 0, unknown: 0.5, stopped: 0.5, opening: 0.5, closing: 0.5, open: 1 };
/** Kinds that want to be seen while they are open; a shutter is open all day. */
const DOORS = ["garage_door", "gate", "door", "window"];
/** @type {Record<Cover["state"], import("./i18n.js").Text>} */
const STATES = { open: "isOpen", opening: "isOpening", closed: "isClosed", closing: "isClosing", stopped: "isStopped", unknown: "isUnknown" };

/**
 * A cover in a list of pins. Its own properties are what its row is built from; what changes with its state is asked for.
 */
export class CoverItem {
  mode = "cover";
  error = null;
  pulse = null;
  max_on = null;
  group = null;
  /** @type {() => Cover} */ #cover;

  /** @param {() => Cover} cover returns it as it is now */
  constructor(cover) {
    this.#cover = cover;
    const { name, label, kind, room, icon, hidden, writable, control, confirm, has_position, can_stop, pins } = cover();
    Object.assign(this, { name, label, kind, room, icon, hidden, writable, control, confirm, has_position, can_stop, pins });
    /** @type {Tone} */ this.tone = DOORS.includes(kind) ? "attention" : "calm";
  }

  /** The cover as it is now. */
  get actual() {
    return this.#cover();
  }

  get isMoving() {
    return isMoving(this.actual);
  }

  /** 0 while it is closed, or nobody knows; else more. Another state has another value. */
  get value() {
    const { state } = this.actual;
    if (isLost(this.actual)) return 0;
    return SHARES[state] && SHARES[state] + (state === "opening" ? 0.1 : state === "closing" ? 0.2 : 0);
  }

  get words() {
    const words = stateInWords(this.actual);
    return { on: words, off: words };
  }

  get problem() {
    return this.actual.problem;
  }

  get since() {
    return this.actual.since;
  }

  get by() {
    return this.actual.by;
  }

  /** The strings of its kind. @returns {Record<string, string>} */
  get strings() {
    return stringsOf(this.actual.kind);
  }
}

/** By the kind. @type {Map<string, Record<string, string>>} */
const strings = new Map();

/** Return the strings of a kind of covers: for several that are open. @param {Cover["kind"]} kind */
function stringsOf(kind) {
  const { inputs } = section("kinds");
  if (kind in inputs) return inputs[/** @type {keyof inputs} */ (kind)];
  const own = Object.entries(section("covers")).filter(([key]) => key.startsWith(`open:${kind}_`));
  const found = strings.get(kind) ?? Object.fromEntries(own.map(([key, words]) => [key.replace(`open:${kind}`, "count"), words]));
  strings.set(kind, found);
  return found;
}

/** Return covers as pins of a list, by name. @param {Iterable<Cover>} covers @param {(name: string) => Cover|undefined} find returns one as it is now */
export function items(covers, find) {
  const all = [...covers].map((cover) => new CoverItem(() => find(cover.name) ?? cover));
  return new Map(all.map((item) => [item.actual.name, /** @type {Pin} */ (/** @type {unknown} */ (item))]));
}

/** Return the cover of a pin of a list, or undefined. @param {unknown} pin */
export const coverOf = (pin) => (pin instanceof CoverItem ? pin.actual : undefined);

/** Return pins and covers of a list: rooms in the order of their first pin, and in each the covers first. @template {{room?: string|null}} T @param {T[]} pins @param {T[]} covers */
export function merged(pins, covers) {
  const rooms = [...new Set([...pins, ...covers].map(({ room }) => room ?? ""))];
  return rooms.flatMap((room) => [...covers, ...pins].filter((each) => (each.room ?? "") === room));
}

/** Return whether nobody knows where a cover is, as after a power cut on its way. @param {Cover} cover */
const isLost = ({ state, has_position, position }) => state === "unknown" || (state === "stopped" && has_position && position === null);

/** Return whether a cover has a goal that waits, as for the end of a motion the other way. @param {Cover} cover */
export const isWaiting = ({ state, goal }) => (goal === "open" && state !== "opening") || (goal === "close" && state !== "closing");

/** @param {Cover} cover */
export const isMoving = ({ state }) => state === "opening" || state === "closing";

/** Return how open a cover is, from 0 to 1. @param {Cover} cover */
export const shareOf = ({ state, position }) => (position === null ? SHARES[state] : position / 100);

/** Return the state of a cover: "open", "closing… 40%", "40% open". @param {Cover} cover */
export function stateInWords(cover) {
  const { state, position } = cover;
  const words = text(isLost(cover) ? "isUnknown" : (STATES[state] ?? "isUnknown"));
  if (position === null || state === "closed" || state === "unknown") return words;
  const level = percent(position / 100);
  if (isMoving(cover)) return `${words} ${level}`;
  return position < 100 ? text("partOpen", { level }) : words;
}

/** Return what a goal that waits will do: "then closes"; "" without one. @param {Cover} cover */
export const planInWords = (cover) => (isWaiting(cover) ? text(cover.goal === "open" ? "thenOpens" : "thenCloses") : "");

/** Return the state of a cover with its plan: "opening…, then closes". @param {Cover} cover */
export const allInWords = (cover) => [stateInWords(cover), planInWords(cover)].filter(Boolean).join(", ");
