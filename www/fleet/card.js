/** One card for each Pi. While it is far from the visible part it has only its name, so that a thousand cost little. */
import { make, part, setAttribute, setText, stamp } from "../ui/dom.js";
import { span } from "../ui/format.js";
import { number, text } from "./i18n.js";
import { kindOf, PinRow } from "./row.js";

/** @typedef {import("./fleet-client.js").Pi} Pi */
/** @typedef {import("./fleet-client.js").FleetClient} FleetClient */

/** Heights as in fleet.css: the room that is kept for what is not drawn. */
const HEAD_REM = 4.5;
const ROW_REM = { broken: 5, lamp: 2.25, press: 3, switch: 3, dimmer: 6 };
let cards = 0; // for ids

export class PiCard {
  /** @type {FleetClient} */ #fleet;
  /** By name, while drawn. @type {Map<string, PinRow>|null} */ #rows = null;
  #title;
  #shape = "";

  /** @param {Pi} pi @param {FleetClient} fleet */
  constructor(pi, fleet) {
    this.pi = pi;
    this.#fleet = fleet;
    this.element = make("article", "pi");
    this.element.dataset.topic = pi.topic;
    this.#title = make(pi.group ? "h3" : "h2", "name");
    this.#title.id = `pi-${++cards}`;
    this.element.append(this.#title);
    this.refresh(pi);
  }

  /** Draw a Pi again. @param {Pi} pi as it is now, maybe with other pins or offline */
  refresh(pi) {
    this.pi = pi;
    setAttribute(this.element, "data-online", String(pi.online));
    const last = pi.topic.split("/").pop() ?? "";
    setText(this.#title, last.toLowerCase() === pi.host.toLowerCase() ? pi.host : `${pi.host} (${last})`);
    if (this.#rows && this.#shape === this.#currentShape()) {
      for (const row of this.#rows?.values() ?? []) row.show(pi, pi.byName.get(row.pin.name) ?? row.pin);
    } else {
      this.#keepRoom(HEAD_REM + pi.pins.reduce((sum, pin) => sum + ROW_REM[kindOf(pi, pin, this.#fleet)], 0));
      if (this.#rows) this.#build();
    }
    this.tick();
  }

  /** Draw all of it, unless it is drawn. */
  draw() {
    if (!this.#rows) this.#build();
    this.tick();
  }

  /** Clear it, unless it has the focus or waits for an answer. */
  clear() {
    if (!this.#rows || this.element.contains(document.activeElement)) return;
    if ([...this.#rows.values()].some((row) => row.pending !== null)) return;
    this.#keepRoom(this.element.offsetHeight / parseFloat(getComputedStyle(document.documentElement).fontSize));
    this.#rows = null;
    this.element.removeAttribute("data-drawn");
    this.element.replaceChildren(this.#title);
  }

  /** @param {string} name of a pin that has changed */
  show(name) {
    this.#rows?.get(name)?.update();
  }

  /** Draw the line below its name; ages go on while nothing changes. */
  tick() {
    if (!this.#rows) return;
    const { online, heard, pins, simulated } = this.pi;
    const on = pins.filter(({ value }) => value).length;
    const here = !pins.length ? text("noPins") : on ? text("onCount", { count: number(on), all: number(pins.length) }) : text("noneOn");
    const away = heard === null ? text("offline") : text("offlineSince", { span: span(this.#fleet.time - heard) });
    setText(part(this.element, ".state"), [online ? here : away, simulated && text("simulated")].filter(Boolean).join(" · "));
  }

  /** Return what it is built from: as long as that is the same, so are its rows. */
  #currentShape() {
    const { host, url, pins } = this.pi;
    return JSON.stringify([host, url, pins.map((pin) => [kindOf(this.pi, pin, this.#fleet), { ...pin, value: 0, since: 0 }])]);
  }

  #build() {
    const { pi } = this;
    this.#shape = this.#currentShape();
    const whole = stamp("pi");
    const link = /** @type {HTMLAnchorElement} */ (part(whole, ".own"));
    link.hidden = pi.url === null;
    if (pi.url !== null) link.href = pi.url;
    link.setAttribute("aria-label", text("ownPage", { host: pi.host }));
    this.#rows = new Map(pi.pins.map((pin) => [pin.name, new PinRow(pi, pin, this.#fleet, this.#title.id)]));
    part(whole, ".rows").append(...[...this.#rows.values()].map(({ element }) => element));
    part(whole, ".heading").prepend(this.#title);
    this.element.toggleAttribute("data-drawn", true);
    this.element.replaceChildren(...whole.children);
  }

  /** @param {number} height rem */
  #keepRoom(height) {
    this.element.style.setProperty("--room", `${height}rem`);
  }
}
