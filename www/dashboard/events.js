/** The page of what happened: the changes of all pins in the last 24 hours, the newest first, by hours. */
import { make, part, put, setText } from "../ui/dom.js";
import { clockTime, hourFrom, length, moment } from "../ui/format.js";
import { counted, text } from "../ui/i18n.js";
import { isPressed } from "../ui/kinds.js";
import { eventRow } from "./event-row.js";
import { History, MAX_CHANGES } from "./history.js";
import { built } from "./markup.js";

/** @typedef {import("../raspi.js").Pin} Pin */
/** @typedef {{pin: Pin, change: import("./history.js").Change}} Event */

const DAY_S = 86400;
const FIRST_ROWS = 100;
const MORE_ROWS = 200;
const DRAW_INTERVAL_MS = 500;
const REQUEST_TIMEOUT_S = 30; // thousands of changes from a Pi Zero
const POLL_INTERVAL_S = 10; // as dashboard.js: polling does not say who changed a pin
const GAP_S = 60; // the least that is said about what is not kept

const HTML = `
<a class="back" href="#"><span aria-hidden="true">‹</span> <span data-text="back"></span></a>
<h2 data-text="events"></h2>
<p class="hint"></p>
<p class="error page-error" role="alert" hidden></p>
<p class="none" data-text="eventsNone" hidden></p>
<div class="hours"></div>
<button class="button show-more" data-text="showMore" hidden></button>
<p class="kept hint"></p>`;

export class EventsPage {
  /** @type {History} */ #day;
  /** Elements by what they show. @type {Map<string, HTMLElement>} */ #rows = new Map();
  #limit = FIRST_ROWS;
  #isOpen = false;
  #isKnown = false; // true once the server has answered
  #timer = 0;
  #requested = 0; // by performance.now()
  #raspi;
  #whole;

  /** @param {HTMLElement} whole @param {import("../raspi.js").Raspi} raspi */
  constructor(whole, raspi) {
    this.#whole = whole;
    this.#raspi = raspi;
    this.#day = new History(raspi, DAY_S, REQUEST_TIMEOUT_S);
    whole.append(built(HTML));
    setText(part(whole, ".hint"), text("eventsHint", { span: length(DAY_S) }));
    part(whole, ".show-more").onclick = () => {
      this.#limit += MORE_ROWS;
      this.#draw();
    };
  }

  /** Show the events, or stop. @param {boolean} isOpen */
  open(isOpen) {
    if (isOpen && !this.#isOpen) this.#limit = FIRST_ROWS;
    this.#isOpen = isOpen;
    this.refresh();
  }

  /** Fetch them again, if they are shown: the pins may be other ones now. */
  async refresh() {
    if (!this.#isOpen) return;
    this.#requested = performance.now();
    const isKnown = await this.#day.refresh();
    this.#isKnown ||= isKnown;
    const place = part(this.#whole, ".page-error");
    place.hidden = this.#isKnown;
    setText(place, this.#isKnown ? "" : text("noAnswer"));
    this.#draw();
  }

  /** Add a change. @param {Pin} pin */
  record(pin) {
    if (!this.#isOpen || !this.#day.record(pin) || pin.hidden) return;
    this.#limit++; // so that none goes at the end for one that comes
    this.#timer ||= window.setTimeout(() => this.#draw(), DRAW_INTERVAL_MS);
  }

  tick() {
    const { link } = this.#raspi;
    if (link === "polling" && performance.now() - this.#requested > POLL_INTERVAL_S * 1000) this.refresh();
  }

  /** Return the newest events, one more than are shown. @returns {Event[]} */
  #newest() {
    /** @type {Event[]} */
    const found = [];
    for (const pin of this.#raspi.pins.values()) {
      if (pin.hidden) continue;
      const track = this.#day.of(pin.name);
      track.forgetBefore(this.#raspi.time - DAY_S);
      const isPress = isPressed(pin) && !pin.words; // its end says nothing
      const changes = isPress ? track.changes.filter(({ value }) => value !== 0) : track.changes;
      for (const change of changes.slice(-this.#limit - 1)) found.push({ pin, change });
    }
    return found.sort((one, other) => other.change.time - one.change.time).slice(0, this.#limit + 1);
  }

  #draw() {
    clearTimeout(this.#timer);
    this.#timer = 0;
    if (!this.#isOpen || !this.#isKnown) return;
    const events = this.#newest();
    const isCut = events.length > this.#limit;
    part(this.#whole, ".none").hidden = events.length > 0;
    part(this.#whole, ".show-more").hidden = !isCut;
    setText(part(this.#whole, ".kept"), isCut ? "" : this.#limits());
    const before = this.#rows;
    this.#rows = new Map();
    /** The rows of each hour. @type {Map<number, HTMLElement[]>} */
    const hours = new Map();
    for (const event of events.slice(0, this.#limit)) {
      const start = new Date(event.change.time * 1000).setMinutes(0, 0, 0) / 1000;
      hours.set(start, [...(hours.get(start) ?? []), this.#row(event, before)]);
    }
    const place = part(this.#whole, ".hours");
    const height = place.offsetHeight;
    put(place, [...hours].map(([start, rows]) => {
      const hour = this.#hour(start, before);
      put(part(hour, "ul"), rows);
      return hour;
    }));
    // Other browsers keep the rows that are read in their place by themselves.
    if (scrollY > 0 && !CSS.supports("overflow-anchor", "auto")) scrollBy(0, place.offsetHeight - height);
  }

  /** @param {number} start Unix seconds @param {Map<string, HTMLElement>} before */
  #hour(start, before) {
    return this.#kept(hourFrom(start), before, (words) => {
      const hour = make("section", "hour");
      const title = make("h3", "", words);
      title.id = `hour-${start}`;
      hour.setAttribute("aria-labelledby", title.id);
      hour.append(title, make("ul", "panel"));
      return hour;
    });
  }

  /** @param {Event} event @param {Map<string, HTMLElement>} before */
  #row({ pin, change }, before) {
    const { name, label, kind, icon, words } = pin;
    const { time, value, by } = change;
    let key = JSON.stringify([name, Math.round(time * 100), value, by, label, kind, icon, words]); // a clock that is set moves it a little
    while (this.#rows.has(key)) key += " again";
    return this.#kept(key, before, () => eventRow(pin, change, clockTime(change.time), { label: true }));
  }

  /** Return the element of a key, which stays the same as long as it is shown. @param {string} key @param {Map<string, HTMLElement>} before @param {(key: string) => HTMLElement} create */
  #kept(key, before, create) {
    const element = before.get(key) ?? create(key);
    this.#rows.set(key, element);
    return element;
  }

  /** Return what the server does not know of this day any more. */
  #limits() {
    const pins = [...this.#raspi.pins.values()].filter((pin) => !pin.hidden);
    const since = Math.min(...pins.map(({ name }) => this.#day.of(name).since));
    const full = pins.filter(({ name }) => this.#day.of(name).changes.length >= MAX_CHANGES);
    const isShort = pins.length > 0 && since > this.#raspi.time - DAY_S + GAP_S;
    return [
      isShort && text("eventsSince", { time: moment(since) }),
      full.length > 0 && text("eventsFull", { count: counted("changesShown", MAX_CHANGES), list: full.map(({ label }) => label).join(", ") }),
    ].filter(Boolean).join(" ");
  }
}
