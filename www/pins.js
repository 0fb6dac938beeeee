/** One card for each pin: what it is now, and the one control that fits it. Only what changed is drawn. */
import { make, part, say, stamp } from "./dom.js";
import { RaspiError } from "./raspi.js";
import { Slider } from "./slider.js";
import { author, length, percent, span, word } from "./words.js";

/** @typedef {import("./raspi.js").Pin} Pin */
/** @typedef {"broken"|"lamp"|"drive"|"press"|"dimmer"|"switch"} Kind */
/**
 * What a card needs of the page.
 * @typedef {object} Desk
 * @property {import("./raspi.js").Raspi} raspi
 * @property {(question: string, answer: string) => Promise<boolean>} confirm
 */

const REASON_FOR = 20; // seconds that a refusal stays to be read
const STOPPABLE = 5; // seconds: a longer pulse can be ended by the button that began it

/** @param {Pin} pin @param {Desk} desk @returns {Kind} */
function kindOf(pin, { raspi }) {
  if (pin.error !== null) return "broken";
  if (pin.mode === "input") {
    return raspi.hello?.server.simulated && raspi.hello.access === "control" ? "drive" : "lamp";
  }
  if (!pin.writable) return "lamp";
  if (pin.pulse !== null) return "press";
  return pin.mode === "pwm" ? "dimmer" : "switch";
}

/** What a card is built from: as long as it stays the same, so does the card. @param {Pin} pin @param {Desk} desk */
export function shape(pin, desk) {
  return JSON.stringify([kindOf(pin, desk), { ...pin, value: 0, since: 0, by: "" }]);
}

export class PinCard {
  /** @type {Desk} */ #desk;
  /** @type {Kind} */ #kind;
  /** @type {HTMLButtonElement|null} */ #button = null;
  /** @type {Slider|null} */ #slider = null;
  /** What was asked for and is not confirmed yet. @type {{words: string, on: boolean}|null} */
  #wanted = null;
  #asked = 0;
  #forget = 0; // timer

  /** @param {Pin} pin @param {Desk} desk */
  constructor(pin, desk) {
    this.pin = pin;
    this.#desk = desk;
    this.#kind = kindOf(pin, desk);
    this.element = stamp("pin");
    this.element.dataset.pin = pin.name;
    this.element.dataset.kind = this.#kind;
    const title = part(this.element, "h2");
    title.textContent = pin.label;
    title.id = `label-${pin.name}`;
    part(this.element, ".meta").textContent = this.#meta();
    if (pin.error !== null) this.#complain(pin.error);
    this.#build(part(this.element, ".control"));
    this.show(pin);
  }

  /** @param {Pin} pin as it is now */
  show(pin) {
    this.pin = pin;
    const { element } = this;
    const on = pin.value !== null && pin.value > 0;
    element.dataset.on = String(on);
    element.dataset.wanted = this.#wanted && this.#wanted.on !== on ? String(this.#wanted.on) : "";
    element.toggleAttribute("data-pending", this.#wanted !== null);
    say(part(element, ".word"), word(pin.value, pin.mode));
    if (this.#kind === "dimmer" || this.#kind === "switch") this.#button?.setAttribute("aria-checked", String(on));
    if (this.#kind === "drive") this.#button?.setAttribute("aria-pressed", String(on));
    if (this.#kind === "press" && this.#button) say(this.#button, this.#stops() ? "Stop" : "Press");
    this.#slider?.follow(pin.value ?? 0);
    this.tick();
  }

  /** Ages go on while nothing changes. */
  tick() {
    const { raspi } = this.#desk;
    say(part(this.element, ".since"), this.#wanted?.words ?? (raspi.link === "live" ? this.#since() : "when last heard"));
  }

  #since() {
    const { since, by } = this.pin;
    if (since === null) return "no change yet";
    return [`for ${span(this.#desk.raspi.time - since)}`, author(by)].filter(Boolean).join(", ");
  }

  #meta() {
    const { gpio, header, mode, writable, pulse, max_on, group, error } = this.pin;
    return [
      `GPIO${gpio}`,
      header !== null && `pin ${header}`,
      pulse !== null && `${length(pulse)} at a press`,
      max_on !== null && `on at most ${length(max_on)}`,
      group !== null && `group ${group}`,
      this.#kind === "drive" && "simulated, tap to drive",
      mode !== "input" && !writable && error === null && "view only",
    ].filter(Boolean).join(" · ");
  }

  /** @param {HTMLElement} place */
  #build(place) {
    const { raspi } = this.#desk;
    const { name, label, mode } = this.pin;
    if (this.#kind === "broken" || this.#kind === "lamp") {
      place.append(make("span", "lamp"));
      return;
    }
    const button = make("button", this.#kind === "dimmer" ? "switch" : this.#kind);
    this.#button = button;
    button.setAttribute("aria-labelledby", `label-${name}`);
    place.append(button);
    if (this.#kind === "press") {
      button.id = `press-${name}`;
      button.setAttribute("aria-labelledby", `press-${name} label-${name}`);
      button.onclick = () => this.#press();
      return;
    }
    button.append(make("span", this.#kind === "drive" ? "lamp" : "thumb"));
    if (this.#kind === "drive") {
      button.onclick = () => {
        const value = this.pin.value ? 0 : 1;
        this.#ask(`driving it ${word(value, mode)}…`, value > 0, () => raspi.drive(name, value));
      };
      return;
    }
    button.setAttribute("role", "switch");
    button.onclick = () => this.#flip();
    if (this.#kind === "dimmer") {
      this.#slider = new Slider(label, this.pin.confirm, (value) =>
        this.#ask(`setting ${percent(value)}…`, value > 0, () => raspi.set(name, value), `Set ${label} to ${percent(value)}?`, "Set"),
      );
      this.element.append(this.#slider.element);
    }
  }

  #flip() {
    const { raspi } = this.#desk;
    const { name, label, mode, value } = this.pin;
    const on = !(this.#wanted ? this.#wanted.on : value);
    const state = on ? "on" : "off";
    // A dimmer goes back to its last level, which the server knows; else `set`, so that a tap on an old picture is harmless.
    const send = () => (mode === "pwm" && on ? raspi.toggle(name) : raspi.set(name, Number(on)));
    return this.#ask(`switching ${state}…`, on, send, `Switch ${label} ${state}?`, `Switch ${state}`);
  }

  #stops() {
    return Boolean(this.pin.value) && (this.pin.pulse ?? 0) >= STOPPABLE;
  }

  #press() {
    const { raspi } = this.#desk;
    const { name, label, pulse } = this.pin;
    if (this.#stops()) return this.#ask("stopping…", false, () => raspi.set(name, 0), `Stop ${label}?`, "Stop");
    const question = `Press ${label}? It will be on for ${length(pulse ?? 0)}.`;
    return this.#ask("pressing…", true, () => raspi.pulse(name), question, "Press");
  }

  /**
   * Shows the wish as a wish until the server has answered; if it refuses, takes it back and says why.
   * @param {string} words @param {boolean} on @param {() => Promise<unknown>} send
   * @param {string} [question] @param {string} [answer] for pins that ask first
   */
  async #ask(words, on, send, question = "", answer = "") {
    this.#complain("");
    if (question && this.pin.confirm && !(await this.#desk.confirm(question, answer))) return;
    const asked = ++this.#asked;
    this.#wanted = { words, on };
    this.show(this.pin);
    try {
      await send();
    } catch (error) {
      if (!(error instanceof RaspiError)) throw error;
      if (asked !== this.#asked) return; // a later wish took its place
      const unknown = error.code === "lost" || error.code === "no-answer";
      this.#complain(`${unknown ? "Not confirmed" : "Not done"}: ${error.message}`);
    } finally {
      if (asked === this.#asked) this.#wanted = null;
      this.show(this.pin);
    }
  }

  /** @param {string} why */
  #complain(why) {
    clearTimeout(this.#forget);
    if (why && this.#kind !== "broken") this.#forget = window.setTimeout(() => this.#complain(""), REASON_FOR * 1000);
    const place = part(this.element, ".trouble");
    place.hidden = !why;
    say(place, why);
  }
}
