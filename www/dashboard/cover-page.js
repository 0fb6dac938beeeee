/** The page of one cover: its picture, its state, its buttons and its position, and the pins that it is made of. */
import { coverOf } from "../ui/cover.js";
import { coverControl } from "../ui/cover-control.js";
import { make, part, put, setAttribute, setText } from "../ui/dom.js";
import { text } from "../ui/i18n.js";
import { icon } from "../ui/icons.js";
import { iconOf, isPressed, stateText, toneOf } from "../ui/kinds.js";
import { built } from "./markup.js";
import { PinHead } from "./pin-head.js";
import { inLine, shape } from "./pin-view.js";

/** @typedef {import("../raspi.js").Pin} Pin */
/** @typedef {import("./context.js").Context} Context */

const HTML = `
<div class="cover-parts" hidden>
  <div class="head"></div>
  <section class="panel"><h2 data-text="itsPins"></h2><ul class="cover-pins"></ul></section>
</div>`;

class CoverHead extends coverControl(PinHead) {
  #raspi;

  /** @param {Pin} pin @param {Context} context @param {string} prefix of its ids */
  constructor(pin, context, prefix) {
    super(pin, context, prefix);
    this.#raspi = context.raspi;
  }

  /** @param {import("../ui/cover-control.js").CoverAction} action */
  command({ type, position = 0 }) {
    const { name } = this.pin;
    return type === "position" ? this.#raspi.position(name, position) : this.#raspi[type](name);
  }

  get line() {
    const cover = coverOf(this.pin);
    return [cover?.room ?? "", !this.pin.writable && !this.isLocked && text("viewOnly")];
  }
}

/** One pin of a cover, which leads to its page. */
class PartRow {
  element = make("li", "event");
  #icon = "";
  #link = make("a", "");
  #state = make("strong", "state");
  #line = make("span", "who");

  constructor() {
    const words = make("p", "");
    this.#link.dir = "auto";
    words.append(this.#link, " ", this.#state);
    const line = make("div", "");
    line.append(words, this.#line);
    this.element.append(icon("switch"), line);
  }

  /** @param {Pin} pin */
  show(pin) {
    const name = iconOf(pin, pin.value);
    if (name !== this.#icon) this.element.firstElementChild?.replaceWith(icon((this.#icon = name)));
    setAttribute(this.element, "data-tone", toneOf(pin, pin.value));
    setAttribute(this.element, "data-on", String(Boolean(pin.value)));
    this.#link.href = `#pin/${pin.name}`;
    setText(this.#link, pin.label);
    setText(this.#state, isPressed(pin) && pin.value === 0 && !pin.words ? "" : stateText(pin.value, pin));
    setText(this.#line, inLine([`GPIO${pin.gpio}`, pin.header !== null && text("header", { position: pin.header })]));
  }
}

export class CoverPage {
  /** The cover that is shown, or none. */ #name = "";
  /** @type {CoverHead|null} */ #head = null;
  /** By the names of its pins. @type {Map<string, PartRow>} */ #rows = new Map();
  #whole;
  #context;

  /** @param {HTMLElement} page @param {Context} context */
  constructor(page, context) {
    page.append(built(HTML));
    this.#whole = part(page, ".cover-parts");
    this.#context = context;
  }

  /** Show the page of a cover, also again. @param {string} name empty for none */
  open(name) {
    const item = this.#context.covers()?.items.get(name);
    const cover = coverOf(item);
    this.#whole.hidden = !cover;
    this.#name = cover ? name : "";
    if (!item || !cover) return;
    if (this.#head?.shape !== shape(item, this.#context)) {
      this.#head = new CoverHead(item, this.#context, "page-");
      part(this.#whole, ".head").replaceChildren(this.#head.element);
    } else this.#head.show(item);
    this.#rows = new Map(cover.pins.map((each) => [each, this.#rows.get(each) ?? new PartRow()]));
    put(part(this.#whole, ".cover-pins"), [...this.#rows.values()].map(({ element }) => element));
    for (const each of cover.pins) this.#showPart(each);
  }

  /** @param {Pin} pin a cover or a pin as it is now */
  show(pin) {
    if (!this.#name) return;
    if (pin.name === this.#name) this.#head?.show(pin);
    else this.#showPart(pin.name);
  }

  tick() {
    if (this.#name) this.#head?.tick();
  }

  /** @param {string} name */
  #showPart(name) {
    const pin = this.#context.raspi.pins.get(name);
    if (pin) this.#rows.get(name)?.show(pin);
  }
}
