/** One card for each Pi. While it is far from the visible part it has only its name, so that a thousand cost little. */
import { make, part, setAttribute, setText, stamp } from "../ui/dom.js";
import { ago } from "../ui/format.js";
import { icon } from "../ui/icons.js";
import { activeWords } from "./active.js";
import { isFolded, toggleFold } from "./folds.js";
import { counted, text } from "./i18n.js";
import { kindOf, PinRow } from "./row.js";
import { alarmWords, isFaulty } from "./trouble.js";

/** @typedef {import("./fleet-client.js").Pi} Pi */
/** @typedef {import("./fleet-client.js").Pin} Pin */
/** @typedef {import("./fleet-client.js").FleetClient} FleetClient */

/** Heights as in fleet.css and covers.css: the room that is kept for what is not drawn. */
const HEAD_REM = 5;
const ROOM_REM = 2;
const ROW_REM = { broken: 3.5, lamp: 3.5, press: 3.5, switch: 3.5, dimmer: 6.25 };
const COVER_REM = 3.75;
let cards = 0; // for ids

export class PiCard {
  /** @type {FleetClient} */ #fleet;
  /** By name, while drawn. @type {Map<string, PinRow>|null} */ #rows = null;
  #title;
  #name = "";
  #shape = "";

  /** @param {Pi} pi @param {FleetClient} fleet */
  constructor(pi, fleet) {
    this.pi = pi;
    this.#fleet = fleet;
    this.element = make("section", "pi");
    this.element.dataset.topic = pi.topic;
    this.#title = make("h3", "name");
    this.#title.id = `pi-${++cards}`;
    this.element.setAttribute("aria-labelledby", this.#title.id);
    this.element.append(this.#title);
    this.refresh(pi);
  }

  /** Draw a Pi again. @param {Pi} pi as it is now, maybe with other pins or offline */
  refresh(pi) {
    this.pi = pi;
    setAttribute(this.element, "data-online", String(pi.online));
    setAttribute(this.element, "data-trouble", pi.trouble);
    const last = pi.topic.split("/").pop() ?? "";
    this.#name = last.toLowerCase() === pi.host.toLowerCase() ? pi.host : `${pi.host} (${last})`;
    if (this.#rows && this.#shape === this.#currentShape()) {
      for (const row of this.#rows.values()) row.show(pi, pi.byName.get(row.pin.name) ?? row.pin);
    } else {
      this.#keepRoom(this.#height());
      if (this.#rows) this.#build();
      else setText(this.#title, this.#name);
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
    this.#title.textContent = this.#name;
    this.element.replaceChildren(this.#title);
  }

  /** @param {string} name of a pin that has changed */
  show(name) {
    this.#rows?.get(name)?.update();
  }

  /** Draw the lines below its name; ages go on while nothing changes. */
  tick() {
    if (!this.#rows) return;
    const { group, heard, online, pins, simulated, trouble } = this.pi;
    const errors = pins.filter(isFaulty).length;
    const active = pins.length ? activeWords(pins) || text("noneOn") : text("noPins");
    const away = heard === null ? text("offline") : text("offlineSince", { ago: ago(this.#fleet.time - heard) });
    const words = [trouble && group, online ? active : away, errors && counted("errors", errors), simulated && text("simulated")];
    const alarm = part(this.element, ".alarm");
    setText(alarm, alarmWords(pins).join(" · "));
    alarm.hidden = !alarm.textContent;
    setText(part(this.element, ".state"), words.filter(Boolean).join(" · "));
  }

  get #key() {
    return `pi ${this.pi.topic}`;
  }

  /** The height in rem that it will have. */
  #height() {
    if (isFolded(this.#key)) return HEAD_REM;
    const rows = this.pi.pins.reduce((sum, pin) => sum + ("strings" in pin ? COVER_REM : ROW_REM[kindOf(this.pi, pin, this.#fleet)]), 0);
    return HEAD_REM + rows + this.#rooms.length * ROOM_REM;
  }

  /** The rooms of its pins in their order, "" for none; empty if all are in one. */
  get #rooms() {
    const rooms = [...new Set(this.pi.pins.map(({ room }) => room ?? ""))];
    return rooms.length > 1 ? rooms : [];
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
    link.append(icon("external"));
    this.#rows = new Map(pi.pins.map((pin) => [pin.name, this.#row(pi, pin)]));
    const list = part(whole, ".rows");
    list.append(...this.#inRooms([...this.#rows.values()]));
    this.#title.replaceChildren(this.#foldButton(list));
    part(whole, ".heading").prepend(this.#title);
    this.element.toggleAttribute("data-drawn", true);
    this.element.replaceChildren(...whole.children);
  }

  /** @param {Pi} pi @param {Pin} pin @returns {PinRow} */
  #row(pi, pin) {
    const title = this.#title.id;
    return this.#fleet.covers?.coverRow(pi, pin, this.#fleet, title) ?? new PinRow(pi, pin, this.#fleet, title);
  }

  /** Return the elements of rows under the names of their rooms. @param {PinRow[]} rows */
  #inRooms(rows) {
    const rooms = this.#rooms;
    if (!rooms.length) return rows.map(({ element }) => element);
    return rooms.flatMap((room) => {
      const own = rows.filter(({ pin }) => (pin.room ?? "") === room).map(({ element }) => element);
      if (!room) return own;
      const heading = make("li", "room");
      const name = make("span", "", room);
      name.dir = "auto";
      heading.append(name);
      return [heading, ...own];
    });
  }

  /** @param {HTMLElement} list */
  #foldButton(list) {
    const button = make("button", "fold");
    button.append(make("span", "", this.#name));
    const show = () => {
      list.hidden = isFolded(this.#key);
      button.setAttribute("aria-expanded", String(!list.hidden));
    };
    button.onclick = () => {
      toggleFold(this.#key);
      show();
    };
    show();
    return button;
  }

  /** @param {number} height rem */
  #keepRoom(height) {
    this.element.style.setProperty("--room", `${height}rem`);
  }
}
