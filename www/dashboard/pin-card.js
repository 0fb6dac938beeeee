/** The card of one pin: its value, since when it has it, its control and the last minutes. */
import { part, setText, stamp } from "../ui/dom.js";
import { text } from "../ui/i18n.js";
import { stateText } from "../ui/kinds.js";
import { inLine, PinView } from "./pin-view.js";

/** @typedef {import("./pin-view.js").Context} Context */

export class PinCard extends PinView {
  /** @type {HTMLElement} */ #state;
  /** @type {HTMLElement} */ #since;

  /** @param {import("../raspi.js").Pin} pin @param {Context} context */
  constructor(pin, context) {
    super(pin, context, stamp("pin"));
    const { name } = pin;
    this.canvas = /** @type {HTMLCanvasElement} */ (part(this.element, "canvas"));
    this.#state = part(this.element, ".word");
    this.#since = part(this.element, ".since");
    const title = part(this.element, "h2");
    title.textContent = pin.label;
    title.id = `label-${name}`;
    part(this.element, ".meta").textContent = inLine([...this.line, ...this.limits, pin.group]);
    const more = /** @type {HTMLAnchorElement} */ (part(this.element, ".more"));
    more.href = `#pin/${name}`;
    more.setAttribute("aria-label", text("historyOf", { label: pin.label }));
    part(more, "span").textContent = text("lastMinutes");
    this.build(part(this.element, ".control"), part(this.element, ".face"), title.id, `press-${name}`);
    this.update();
  }

  tick() {
    setText(this.#state, stateText(this.pin.value, this.pin));
    const now = [this.age || text("noChange"), this.left || this.author].filter(Boolean).join(", ");
    setText(this.#since, this.pending ?? (this.isOld ? text("lastHeard") : now));
  }
}
