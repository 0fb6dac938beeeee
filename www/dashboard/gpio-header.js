/** The board's 40-pin header: the function and the user of each pin, the switch of one of ours, and an example for a free one. */
import { address } from "../ui/address.js";
import { copyable } from "../ui/copyable.js";
import { make, part, setText } from "../ui/dom.js";
import { credentials } from "../ui/frame.js";
import { errorText, text } from "../ui/i18n.js";
import { stateText } from "../ui/kinds.js";
import { built } from "./markup.js";
import { PinHead } from "./pin-head.js";
import { shape } from "./pin-view.js";

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

/** Layouts and the least width that each needs, in rem: with what is told of a pin beside it, with two columns of names, with one.
 * @type {[string, number][]} */
const LAYOUTS = [["wide", 36], ["", 15], ["narrow", 0]];

const HTML = `
<p class="hint" data-text="boardHint"></p>
<ul class="legend">
  <li data-kind="ours"><span class="number"></span><span data-text="ours"></span></li>
  <li data-kind="ours" data-on="true"><span class="number"></span><span data-text="oursOn"></span></li>
  <li data-kind="free"><span class="number"></span><span data-text="free"></span></li>
  <li data-kind="taken"><span class="number"></span><span data-text="taken"></span></li>
  <li data-kind="power"><span class="number"></span><span data-text="voltage"></span></li>
  <li data-kind="ground"><span class="number"></span><span data-text="ground"></span></li>
</ul>
<div class="header" role="group" dir="ltr" data-label="boardPins">
  <section class="chosen" hidden>
    <div class="about" role="status"></div>
    <button class="button close" data-label="close">×</button>
    <div class="uses"></div>
  </section>
</div>
<p class="error" role="alert" hidden></p>`;

export class GpioHeader {
  /** @type {HTMLDetailsElement} */ #whole;
  /** @type {Map<number, HTMLElement>} */ #buttons = new Map();
  /** @type {Position[]} */ #positions = [];
  /** @type {PinHead|null} */ #head = null; // of the chosen pin
  #chosen = 0; // position
  #explained = ""; // what is told of it
  #context;

  /** @param {HTMLElement} whole a `details` element @param {import("./pin-view.js").Context} context */
  constructor(whole, context) {
    this.#whole = /** @type {HTMLDetailsElement} */ (whole);
    this.#context = context;
    whole.append(built(HTML));
    whole.addEventListener("toggle", () => this.refresh());
    const picture = part(whole, ".header");
    part(whole, ".close").onclick = () => this.#choose(0);
    picture.onkeydown = ({ key }) => {
      if (key === "Escape") this.#choose(0);
    };
    new ResizeObserver(() => this.#fit()).observe(picture);
  }

  /** Choose the widest layout that breaks no word of a name. */
  #fit() {
    const picture = part(this.#whole, ".header");
    const width = picture.clientWidth / parseFloat(getComputedStyle(document.documentElement).fontSize);
    for (const [layout, least] of LAYOUTS) {
      if (width < least) continue;
      picture.dataset.width = layout;
      if (picture.scrollWidth <= picture.clientWidth) return;
    }
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

  /** Draw a configured pin, which has another value, or the pins of a cover, which has another state. @param {import("../raspi.js").Pin} pin */
  showPin(pin) {
    const { pins } = this.#context.raspi;
    for (const position of this.#positions) {
      const name = position.pin ?? "";
      const button = name === pin.name || pins.get(name)?.cover === pin.name ? this.#buttons.get(position.position) : null;
      if (button) this.#draw(button, position);
    }
    if (this.#head?.pin.name === pin.name) this.#head.show(pin);
  }

  tick() {
    this.#head?.tick();
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
    this.#fit();
    this.#explain();
  }

  /** @param {Position} position */
  #button({ position }) {
    const button = make("button", position % 2 ? "odd" : "even");
    const [socket, name] = [make("span", "socket"), make("span", "name")];
    socket.append(make("span", "number", String(position)));
    name.dir = "auto";
    button.append(name, socket);
    button.style.setProperty("--position", String(position));
    button.style.setProperty("--row", String(Math.ceil(position / 2)));
    button.onclick = () => this.#choose(position === this.#chosen ? 0 : position);
    return button;
  }

  /** @param {number} position 0 for none */
  #choose(position) {
    const before = this.#buttons.get(this.#chosen);
    this.#chosen = position;
    this.#explain();
    if (!position) return before?.focus({ preventScroll: true });
    this.#buttons.get(position)?.scrollIntoView({ block: "nearest" }); // from below what is told of it
  }

  /** @param {HTMLElement} button @param {Position} position */
  #draw(button, position) {
    const kind = kindOf(position);
    const { raspi } = this.#context;
    const ours = raspi.pins.get(position.pin ?? "");
    button.dataset.kind = kind;
    button.dataset.on = String(Boolean(ours?.value));
    button.toggleAttribute("data-broken", Boolean(ours?.error));
    const cover = raspi.covers.get(ours?.cover ?? "");
    const item = this.#context.covers()?.items.get(cover?.name ?? "");
    const name = cover?.label ?? ours?.label;
    const words = { ground: text("ground"), power: position.function, ours: name ?? position.function, taken: position.holder, free: position.function };
    setText(part(button, ".name"), words[kind] ?? "");
    const states = [cover?.label, item && stateText(item.value, item), ours && `${ours.label}, ${stateText(ours.value, ours)}`]; // first what can be read
    const told = kind === "taken" ? [text("inUse", { holder: position.holder ?? "" })] : states;
    button.setAttribute("aria-label", [text("pinNumber", { position: position.position }), position.function, ...told].filter(Boolean).join(", "));
    button.setAttribute("aria-pressed", String(position.position === this.#chosen));
  }

  /** Show what the chosen pin is, and how to use it. */
  #explain() {
    const position = this.#positions.find((each) => each.position === this.#chosen);
    for (const [number, button] of this.#buttons) button.setAttribute("aria-pressed", String(number === this.#chosen));
    const place = part(this.#whole, ".chosen");
    place.hidden = !position;
    if (position?.pin !== this.#head?.pin.name) this.#head = null;
    const ours = this.#context.raspi.pins.get(position?.pin ?? "");
    const explained = JSON.stringify([position, ours && shape(ours, this.#context)]);
    if (explained === this.#explained) return; // what has the focus keeps it
    this.#explained = explained;
    this.#whole.style.setProperty("--covered", "0px");
    if (!position) return;
    this.#buttons.get(position.position)?.after(place); // for keys; on the screen it is beside the picture, or above its lower end
    const also = ALSO[position.gpio ?? -1];
    const title = [text("pinTitle", { position: position.position, name: position.function }), also && text("pinAlso", { list: also })];
    part(place, ".about").replaceChildren(make("h3", "", title.filter(Boolean).join(", ")), make("p", "", this.#words(position)));
    part(place, ".uses").replaceChildren(...this.#uses(position));
    this.#whole.style.setProperty("--covered", `${place.offsetHeight}px`);
  }

  /** Return what the chosen pin can be used by: our switch and page of it, or the lines for a free one. @param {Position} position */
  #uses(position) {
    const { raspi } = this.#context;
    const ours = raspi.pins.get(position.pin ?? "");
    if (ours) {
      if (this.#head?.shape !== shape(ours, this.#context)) this.#head = new PinHead(ours, this.#context, "board-");
      const cover = raspi.covers.get(ours.cover ?? "");
      const link = make("a", "button", cover ? text("pageOfCover", { label: cover.label }) : text("pageOf", { label: ours.label }));
      link.href = `#pin/${(cover ?? ours).name}`;
      return [this.#head.element, link];
    }
    if (kindOf(position) !== "free") return [];
    const first = raspi.pins.size ? "" : "pins:\n"; // with it they replace the line that says there are none
    const lines = `${first}  gpio${position.gpio}:\n    gpio: ${position.gpio}\n    mode: `;
    return [
      example(text("exampleInput"), `${lines}input\n    pull: up`),
      example(text("exampleOutput", { line: "active: low" }), `${lines}output`),
    ];
  }

  /** @param {Position} position */
  #words(position) {
    const { holder, pin } = position;
    switch (kindOf(position)) {
      case "ground": return text("aboutGround");
      case "power": return text("aboutPower");
      case "ours": return text("aboutOurs", { name: pin ?? "" });
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
