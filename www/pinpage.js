/** The page of one pin: its card, its timeline, and its last changes to the millisecond. */
import { make, part, say } from "./dom.js";
import { PinCard, shape } from "./pins.js";
import { ask } from "./polling.js";
import { Track } from "./past.js";
import { text } from "./texts.js";
import { Timeline } from "./timeline.js";
import { author, lasting, moment, word } from "./words.js";

/** @typedef {import("./raspi.js").Pin} Pin */

const ROWS = 50;
const RUN_EVERY = 100; // milliseconds, a timeline of seconds
const DRAW_EVERY = 500; // milliseconds, the table

export class PinPage {
  /** The pin that is shown, or none. */ #name = "";
  /** @type {PinCard|null} */ #card = null;
  /** @type {Track|null} */ #track = null;
  #shape = "";
  #asked = 0;
  #timer = 0;
  #run = 0; // timer
  #whole;
  #desk;
  #timeline;

  /** @param {HTMLElement} whole @param {import("./pins.js").Desk} desk */
  constructor(whole, desk) {
    this.#whole = whole;
    this.#desk = desk;
    this.#timeline = new Timeline(part(whole, ".timeline"), desk.raspi);
  }

  /** @param {string} name of a pin; empty for none */
  open(name) {
    if (name !== this.#name) {
      [this.#name, this.#card, this.#shape, this.#track] = [name, null, "", null];
      this.#timeline.reset();
      clearInterval(this.#run);
      if (name) this.#run = window.setInterval(() => this.#timeline.isFast && this.#timeline.draw(), RUN_EVERY);
    }
    this.#whole.hidden = !name;
    if (name) this.refresh();
  }

  /** Everything anew: the pin may be another one now. */
  refresh() {
    const pin = this.#desk.raspi.pins.get(this.#name);
    if (!this.#name || !this.#desk.raspi.hello) return;
    this.#complain(pin ? "" : text("noPin", { name: this.#name }));
    part(this.#whole, ".known").hidden = !pin;
    if (!pin) return;
    const now = shape(pin, this.#desk);
    if (!this.#card || this.#shape !== now) {
      this.#shape = now;
      this.#card = new PinCard(pin, this.#desk, "page-");
      part(this.#whole, ".card").replaceChildren(this.#card.element);
      /** @type {HTMLAnchorElement} */ (part(this.#whole, ".csv")).href = `/api/pins/${pin.name}/history?format=csv`;
    }
    this.#ask(pin);
  }

  /** @param {Pin} pin as it is now */
  show(pin) {
    if (pin.name === this.#name) this.#card?.show(pin);
  }

  /** Takes on each change, also one that is over before it could be drawn. @param {Pin} pin */
  note(pin) {
    const { name, value, since, by } = pin;
    if (name !== this.#name || since === null || !this.#track?.add({ time: since, value, by })) return;
    this.#timeline.draw();
    this.#timer ||= window.setTimeout(() => requestAnimationFrame(() => this.#list(pin)), DRAW_EVERY);
  }

  tick() {
    if (!this.#name) return;
    this.#card?.tick();
    this.#timeline.draw();
  }

  /** @param {Pin} pin */
  async #ask(pin) {
    const asked = ++this.#asked;
    try {
      const told = await ask(`/pins/${pin.name}/history`);
      if (asked !== this.#asked) return;
      this.#track = new Track(told);
      const { value, since, by } = this.#desk.raspi.pins.get(pin.name) ?? pin;
      if (since !== null) this.#track.add({ time: since, value, by });
    } catch (error) {
      if (asked !== this.#asked) return;
      this.#complain(text("pastUnread", { why: error instanceof Error ? error.message : String(error) }));
    }
    this.#timeline.show(this.#track, pin);
    this.#list(pin);
  }

  /** The last changes, the newest first. @param {Pin} pin */
  #list(pin) {
    this.#timer = 0;
    const changes = this.#track?.changes.slice(-ROWS).reverse() ?? [];
    part(this.#whole, ".changes").hidden = changes.length === 0;
    part(this.#whole, ".none").hidden = changes.length > 0;
    const rows = changes.map(({ time, value, by }, i) => {
      const next = changes[i - 1];
      const row = make("tr", "");
      row.dataset.on = String(Boolean(value));
      row.append(
        make("td", "", moment(time, true)),
        make("td", "", word(value, pin.mode)),
        make("td", "", next ? lasting(next.time - time) : text("until")),
        make("td", "", author(by).replace(text("byWhom", { who: "" }), "") || "–"),
      );
      return row;
    });
    part(this.#whole, "tbody").replaceChildren(...rows);
  }

  /** @param {string} why */
  #complain(why) {
    const place = part(this.#whole, ".page-trouble");
    place.hidden = !why;
    say(place, why);
  }
}
