/** The line at the top: active alarms, what is open, and what is on. Each leads to its rows. */
import { make, put, setAttribute, setText } from "../ui/dom.js";
import { counted, LOCALE, plural } from "../ui/i18n.js";
import { stateText, stringsOf, toneOf } from "../ui/kinds.js";

/** @typedef {import("../raspi.js").Pin} Pin */
/** What pins have in common, the most urgent first. @typedef {"alarm"|"open"|"on"} Sort */
/** Active pins that are told together, and what tells them from others. @typedef {{key: string, sort: Sort, words: string, pins: Pin[]}} Phrase */

/** The words for all of a sort, where those for each kind have no room. @type {Record<Sort, import("../ui/i18n.js").Counted>} */
const SHORT = { alarm: "someAlarms", open: "someOpen", on: "someOn" };
const SORTS = /** @type {const} */ (["alarm", "open", "on"]);
const MOST_KNOWN = 100; // texts whose width is known

/** Return the phrases for those pins that are active and have words for that. @param {Pin[]} pins */
export function phrases(pins) {
  /** @type {Map<string, Phrase>} */
  const found = new Map();
  for (const pin of pins) {
    if (!pin.value) continue;
    const forms = stringsOf(pin);
    const tone = toneOf(pin, pin.value);
    const sort = tone === "alarm" ? "alarm" : tone === "attention" || "strings" in pin ? "open" : "on";
    if (sort !== "alarm" && !("count_other" in forms)) continue;
    const own = sort === "alarm" ? ((!pin.words && forms.alarm) || `${stateText(pin.value, pin)}!`) : "";
    const key = `${sort} ${own || pin.kind}`;
    const phrase = found.get(key) ?? { key, sort, words: own, pins: [] };
    phrase.pins.push(pin);
    found.set(key, phrase);
  }
  for (const phrase of found.values()) {
    const [first, ...others] = phrase.pins;
    if (!phrase.words) phrase.words = plural(stringsOf(/** @type {Pin} */ (first)), "count", phrase.pins.length);
    else if (others.length) phrase.words += ` × ${phrase.pins.length.toLocaleString(LOCALE)}`;
  }
  return SORTS.flatMap((sort) => [...found.values()].filter((phrase) => phrase.sort === sort));
}

/** Tell all of a sort in one phrase. @param {Phrase[]} all @param {Sort} sort @returns {Phrase[]} */
function shorten(all, sort) {
  const some = all.filter((phrase) => phrase.sort === sort);
  if (some.length < 2) return all;
  const pins = some.flatMap((phrase) => phrase.pins);
  return all.flatMap((phrase) => (phrase === some[0] ? { key: sort, sort, words: counted(SHORT[sort], pins.length), pins } : phrase.sort === sort ? [] : phrase));
}

export class Summary {
  #place;
  #reveal;
  #shown = "";
  /** @type {Phrase[]} */ #phrases = [];
  /** By the keys of their phrases. @type {Map<string, HTMLAnchorElement>} */ #chips = new Map();
  /** Which pins each of them tells of. @type {Map<string, string[]>} */ #names = new Map();
  /** Whether there is room for a text, as it was measured. @type {Map<string, boolean>} */ #room = new Map();

  /** @param {HTMLElement} place @param {(names: string[]) => void} reveal brings the rows of pins to sight */
  constructor(place, reveal) {
    this.#place = place;
    this.#reveal = reveal;
    new ResizeObserver(() => {
      this.#room.clear();
      this.#fit();
    }).observe(place);
  }

  /** @param {Pin[]} pins all that are in the list */
  show(pins) {
    this.#phrases = phrases(pins);
    const shown = JSON.stringify(this.#phrases.map(({ words, pins: some }) => [words, some.map(({ name }) => name)]));
    if (shown === this.#shown) return;
    this.#shown = shown;
    setAttribute(this.#place, "data-first", this.#phrases[0]?.sort ?? "");
    this.#fit();
  }

  /** Tell each kind if there is room for it, else the less urgent ones in short. */
  #fit() {
    let all = this.#phrases;
    for (const sort of [...SORTS].reverse()) if (!this.#hasRoom(all)) all = shorten(all, sort);
    this.#draw(all);
  }

  /** Measure a text once: to measure it each time would cost a layout of the page. @param {Phrase[]} all */
  #hasRoom(all) {
    const text = [this.#place.className, ...all.map(({ words }) => words)].join("\n");
    let has = this.#room.get(text);
    if (has === undefined) {
      this.#draw(all);
      has = this.#place.scrollWidth <= this.#place.clientWidth;
      if (this.#room.size >= MOST_KNOWN) this.#room.clear();
      this.#room.set(text, has);
    }
    return has;
  }

  /** @param {Phrase[]} all */
  #draw(all) {
    put(this.#place, all.map(({ key, sort, words, pins }) => {
      const chip = this.#chips.get(key) ?? this.#chip(key, sort);
      this.#names.set(key, pins.map(({ name }) => name));
      setText(chip, words);
      chip.dataset.tone = pins[0] && toneOf(pins[0], 1);
      setAttribute(chip, "href", `#label-${pins[0]?.name}`);
      return chip;
    }));
  }

  /** @param {string} key @param {Sort} sort */
  #chip(key, sort) {
    const chip = make("a", "chip");
    chip.dataset.sort = sort;
    chip.onclick = (event) => {
      event.preventDefault();
      this.#reveal(this.#names.get(key) ?? []);
    };
    this.#chips.set(key, chip);
    return chip;
  }
}
