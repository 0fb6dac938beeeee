/** The board's 40-pin header: the function and the user of each pin, and an example of its configuration. */
import { address } from "../ui/address.js";
import { copyable, make, part, setText } from "../ui/dom.js";
import { credentials } from "../ui/frame.js";
import { brokenText, errorText, text } from "../ui/i18n.js";
import { stateText } from "../ui/kinds.js";

/** @typedef {import("../raspi.js").Raspi} Raspi */
/**
 * One position, as `/api/header` has it.
 * @typedef {{position: number, function: string, gpio: number|null, holder: string|null, pin: string|null}} Position
 */
/** @typedef {"ground"|"power"|"ours"|"taken"|"free"} Kind */

/** Other functions of a pin, once they are switched on. @type {Record<number, string>} */
const ALSO = {
  0: "HAT EEPROM data", 1: "HAT EEPROM clock", 2: "I²C data", 3: "I²C clock", 4: "1-Wire", 7: "SPI CE1", 8: "SPI CE0",
  9: "SPI MISO", 10: "SPI MOSI", 11: "SPI clock", 12: "PWM", 13: "PWM", 14: "UART TXD", 15: "UART RXD", 18: "PWM, I²S",
  19: "PWM, I²S", 20: "I²S", 21: "I²S",
};

/** @param {Position} position @returns {Kind} */
function kindOf({ function: name, gpio, holder, pin }) {
  if (gpio === null) return name === "GND" ? "ground" : "power";
  if (pin !== null) return "ours";
  return holder === null ? "free" : "taken";
}

export class GpioHeader {
  /** @type {Raspi} */ #raspi;
  /** @type {HTMLDetailsElement} */ #whole;
  /** @type {Map<number, HTMLElement>} */ #buttons = new Map();
  /** @type {Position[]} */ #positions = [];
  #chosen = 0; // position

  /** @param {HTMLElement} whole a `details` element @param {Raspi} raspi */
  constructor(whole, raspi) {
    this.#whole = /** @type {HTMLDetailsElement} */ (whole);
    this.#raspi = raspi;
    whole.addEventListener("toggle", () => this.refresh());
  }

  /** Fetch what uses which pin, if the header is open. */
  async refresh() {
    if (!this.#whole.open) return;
    const place = part(this.#whole, ".error");
    try {
      const answer = await fetch(address("api/header"), credentials());
      const found = await answer.json();
      if (!answer.ok) throw new Error(errorText(found.error.reason, found.error.message, found.error.values));
      place.hidden = true;
      this.#show(found);
    } catch (error) {
      place.hidden = false;
      setText(place, text("headerError", { why: error instanceof Error ? error.message : String(error) }));
    }
  }

  /** Draw a configured pin, which has another value. @param {import("../raspi.js").Pin} pin */
  showPin(pin) {
    const position = this.#positions.find((each) => each.pin === pin.name);
    const button = position && this.#buttons.get(position.position);
    if (button) this.#draw(button, position);
  }

  /** @param {{model: string, pins: Position[]}} found */
  #show({ model, pins }) {
    setText(part(this.#whole, ".model"), model);
    this.#positions = pins;
    if (this.#buttons.size !== pins.length) {
      this.#buttons = new Map(pins.map((position) => [position.position, this.#button(position)]));
      part(this.#whole, ".header").replaceChildren(...this.#buttons.values(), part(this.#whole, ".chosen"));
    }
    for (const position of pins) this.#draw(/** @type {HTMLElement} */ (this.#buttons.get(position.position)), position);
    this.#explain();
  }

  /** @param {Position} position */
  #button({ position }) {
    const button = make("button", position % 2 ? "odd" : "even");
    const socket = make("span", "socket");
    socket.append(make("span", "number", String(position)));
    button.append(make("span", "name"), socket);
    button.onclick = () => {
      this.#chosen = position;
      this.#explain();
    };
    return button;
  }

  /** @param {HTMLElement} button @param {Position} position */
  #draw(button, position) {
    const kind = kindOf(position);
    const ours = this.#raspi.pins.get(position.pin ?? "");
    button.dataset.kind = kind;
    button.dataset.on = String(Boolean(ours?.value));
    button.toggleAttribute("data-broken", Boolean(ours?.error));
    const words = { ground: text("ground"), power: position.function, ours: ours?.label ?? position.function, taken: position.holder, free: position.function };
    setText(part(button, ".name"), words[kind] ?? "");
    const state = ours ? `${ours.label}, ${stateText(ours.value, ours)}` : kind === "taken" ? text("inUse", { holder: position.holder ?? "" }) : "";
    button.setAttribute("aria-label", [text("pinNumber", { position: position.position }), position.function, state].filter(Boolean).join(", "));
    button.setAttribute("aria-pressed", String(position.position === this.#chosen));
  }

  /** Show what the chosen pin is, and how to use it. */
  #explain() {
    const position = this.#positions.find((each) => each.position === this.#chosen);
    for (const [number, button] of this.#buttons) button.setAttribute("aria-pressed", String(number === this.#chosen));
    const place = part(this.#whole, ".chosen");
    place.hidden = !position;
    if (!position) return;
    // Below its row, so that nothing moves away under a finger.
    this.#buttons.get(position.position + (position.position % 2))?.after(place);
    place.dataset.side = position.position % 2 ? "odd" : "even";
    const { gpio } = position;
    const also = ALSO[gpio ?? -1];
    const title = [text("pinTitle", { position: position.position, name: position.function }), also && text("pinAlso", { list: also })];
    place.replaceChildren(make("h3", "", title.filter(Boolean).join(", ")), make("p", "", this.#words(position)));
    if (kindOf(position) !== "free") return;
    const first = this.#raspi.pins.size ? "" : "pins:\n"; // with it they replace the line that says there are none
    const lines = `${first}  gpio${gpio}:\n    gpio: ${gpio}\n    mode: `;
    place.append(
      example(text("exampleInput"), `${lines}input\n    pull: up`),
      example(text("exampleOutput", { line: "active: low" }), `${lines}output`),
    );
  }

  /** @param {Position} position */
  #words(position) {
    const { holder, pin } = position;
    const ours = this.#raspi.pins.get(pin ?? "");
    const label = ours?.label ?? pin ?? "";
    switch (kindOf(position)) {
      case "ground": return text("aboutGround");
      case "power": return text("aboutPower");
      case "ours": return ours?.error ? text("aboutBroken", { label, why: brokenText(ours.error, ours) }) : text("aboutOurs", { label, name: pin ?? "" });
      case "taken": return text("aboutTaken", { holder: holder ?? "" });
      case "free": return text("aboutFree", { pins: "pins:" });
    }
  }
}

/** @param {string} caption @param {string} lines */
function example(caption, lines) {
  const whole = make("div", "");
  whole.append(make("p", "", caption), make("pre", ""));
  part(whole, "pre").append(make("code", "", lines));
  copyable(part(whole, "pre"));
  return whole;
}
