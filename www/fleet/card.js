/** One card for each Pi. As long as it is far from what is in sight only its name stands there, so that a thousand cost little. */
import { make, mark, part, say, stamp } from "../dom.js";
import { span } from "../words.js";
import { kindOf, PinRow } from "./row.js";
import { number, text } from "./texts.js";

/** @typedef {import("./house.js").Pi} Pi */
/** @typedef {import("./house.js").House} House */

/** Heights in rem, as in fleet.css: so much room is kept for what is not drawn. */
const HEAD = 4.5;
const HEIGHT = { broken: 5, lamp: 2.25, press: 3, switch: 3, dimmer: 6 };
let cards = 0; // for ids

export class PiCard {
  /** @type {House} */ #house;
  /** By name, while drawn. @type {Map<string, PinRow>|null} */ #rows = null;
  #title;
  #shape = "";

  /** @param {Pi} pi @param {House} house */
  constructor(pi, house) {
    this.pi = pi;
    this.#house = house;
    this.element = make("article", "pi");
    this.element.dataset.topic = pi.topic;
    this.#title = make(pi.group ? "h3" : "h2", "name");
    this.#title.id = `pi-${++cards}`;
    this.element.append(this.#title);
    this.renew(pi);
  }

  /** @param {Pi} pi as it is now, maybe with other pins or nobody there */
  renew(pi) {
    this.pi = pi;
    mark(this.element, "data-online", String(pi.online));
    const last = pi.topic.split("/").pop() ?? "";
    say(this.#title, last.toLowerCase() === pi.host.toLowerCase() ? pi.host : `${pi.host} (${last})`);
    if (this.#rows && this.#shape === this.#form()) {
      for (const row of this.#rows?.values() ?? []) Object.assign(row, { pi, pin: pi.byName.get(row.pin.name) }).show();
    } else {
      this.#keepRoom(HEAD + pi.pins.reduce((sum, pin) => sum + HEIGHT[kindOf(pi, pin, this.#house)], 0));
      if (this.#rows) this.#build();
    }
    this.tick();
  }

  /** Shows all of it, if it does not yet. */
  draw() {
    if (!this.#rows) this.#build();
    this.tick();
  }

  /** Nobody sees it. What somebody has the focus on, or waits for, stays. */
  rest() {
    if (!this.#rows || this.element.contains(document.activeElement)) return;
    if ([...this.#rows.values()].some((row) => row.isWaiting)) return;
    this.#keepRoom(this.element.offsetHeight / parseFloat(getComputedStyle(document.documentElement).fontSize));
    this.#rows = null;
    this.element.removeAttribute("data-drawn");
    this.element.replaceChildren(this.#title);
  }

  /** @param {string} name of a pin that has changed */
  show(name) {
    this.#rows?.get(name)?.show();
  }

  /** The line below its name; ages go on while nothing changes. */
  tick() {
    if (!this.#rows) return;
    const { online, heard, pins, simulated } = this.pi;
    const on = pins.filter(({ value }) => value).length;
    const here = !pins.length ? text("noPins") : on ? text("onCount", { count: number(on), all: number(pins.length) }) : text("noneOn");
    const away = heard === null ? text("offline") : text("offlineSince", { span: span(this.#house.time - heard) });
    say(part(this.element, ".state"), [online ? here : away, simulated && text("simulated")].filter(Boolean).join(" · "));
  }

  /** What it is built from: as long as that stays the same, so do its rows. */
  #form() {
    const { host, url, pins } = this.pi;
    return JSON.stringify([host, url, pins.map((pin) => [kindOf(this.pi, pin, this.#house), { ...pin, value: 0, since: 0 }])]);
  }

  #build() {
    const { pi } = this;
    this.#shape = this.#form();
    const whole = stamp("pi");
    const link = /** @type {HTMLAnchorElement} */ (part(whole, ".own"));
    link.hidden = pi.url === null;
    if (pi.url !== null) link.href = pi.url;
    link.setAttribute("aria-label", text("ownPage", { host: pi.host }));
    this.#rows = new Map(pi.pins.map((pin) => [pin.name, new PinRow(pi, pin, this.#house, this.#title.id)]));
    part(whole, ".rows").append(...[...this.#rows.values()].map(({ element }) => element));
    part(whole, ".who").prepend(this.#title);
    this.element.toggleAttribute("data-drawn", true);
    this.element.replaceChildren(...whole.children);
  }

  /** @param {number} height rem */
  #keepRoom(height) {
    this.element.style.setProperty("--room", `${height}rem`);
  }
}
