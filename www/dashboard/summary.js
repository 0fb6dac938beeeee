/** The line at the top: active alarms, what is open, and what is on. Each leads to its rows. */
import { make, setAttribute } from "../ui/dom.js";
import { counted, LOCALE, plural } from "../ui/i18n.js";
import { stateText, stringsOf, toneOf } from "../ui/kinds.js";

/** @typedef {import("../raspi.js").Pin} Pin */
/** What pins have in common, the most urgent first. @typedef {"alarm"|"open"|"on"} Sort */
/** Active pins that are told together. @typedef {{sort: Sort, words: string, pins: Pin[]}} Phrase */

/** The words for all of a sort, where those for each kind have no room. @type {Record<Sort, import("../ui/i18n.js").Counted>} */
const SHORT = { alarm: "someAlarms", open: "someOpen", on: "someOn" };
const SORTS = /** @type {const} */ (["alarm", "open", "on"]);

/** Return the phrases for those pins that are active and have words for that. @param {Pin[]} pins */
export function phrases(pins) {
  /** @type {Map<string, Phrase>} */
  const found = new Map();
  for (const pin of pins) {
    const forms = stringsOf(pin);
    const tone = toneOf(pin, pin.value);
    const sort = tone === "alarm" ? "alarm" : tone === "attention" ? "open" : "on";
    if (!pin.value || (sort !== "alarm" && !("count_other" in forms))) continue;
    const own = sort === "alarm" ? (pin.words ? `${stateText(pin.value, pin)}!` : (forms.alarm ?? `${stateText(pin.value, pin)}!`)) : "";
    const key = `${sort} ${own || pin.kind}`;
    const phrase = found.get(key) ?? { sort, words: own, pins: [] };
    phrase.pins.push(pin);
    const count = phrase.pins.length;
    if (!own) phrase.words = plural(forms, "count", count);
    else if (count > 1) phrase.words = `${own} × ${count.toLocaleString(LOCALE)}`;
    found.set(key, phrase);
  }
  return SORTS.flatMap((sort) => [...found.values()].filter((phrase) => phrase.sort === sort));
}

/** Tell all of a sort in one phrase. @param {Phrase[]} all @param {Sort} sort @returns {Phrase[]} */
function shorten(all, sort) {
  const some = all.filter((phrase) => phrase.sort === sort);
  if (some.length < 2) return all;
  const pins = some.flatMap((phrase) => phrase.pins);
  return all.flatMap((phrase) => (phrase === some[0] ? { sort, words: counted(SHORT[sort], pins.length), pins } : phrase.sort === sort ? [] : phrase));
}

export class Summary {
  #place;
  #reveal;
  #shown = "";
  /** @type {Phrase[]} */ #phrases = [];

  /** @param {HTMLElement} place @param {(names: string[]) => void} reveal brings the rows of pins to sight */
  constructor(place, reveal) {
    this.#place = place;
    this.#reveal = reveal;
    new ResizeObserver(() => this.#fit()).observe(place);
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
    this.#draw(all);
    for (const sort of [...SORTS].reverse()) {
      if (this.#place.scrollWidth <= this.#place.clientWidth) return;
      this.#draw((all = shorten(all, sort)));
    }
  }

  /** @param {Phrase[]} all */
  #draw(all) {
    this.#place.replaceChildren(...all.map(({ sort, words, pins }) => {
      const link = make("a", "chip", words);
      const names = pins.map(({ name }) => name);
      link.dataset.sort = sort;
      link.href = `#label-${names[0]}`;
      link.onclick = (event) => {
        event.preventDefault();
        this.#reveal(names);
      };
      return link;
    }));
  }
}
