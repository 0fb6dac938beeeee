/** The card of one pin, on its own page: its value, since when it has it, its control and its limits. */
import { part, setText, stamp } from "../ui/dom.js";
import { text } from "../ui/i18n.js";
import { stateText } from "../ui/kinds.js";
import { inLine, PinView } from "./pin-view.js";

export { shape } from "./pin-view.js";
/** @typedef {import("./pin-view.js").Context} Context */

export class PinCard extends PinView {
  /** @type {HTMLElement} */ #state;
  /** @type {HTMLElement} */ #since;

  /** @param {import("../raspi.js").Pin} pin @param {Context} context @param {string} prefix of its ids: the row of the pin has them, too */
  constructor(pin, context, prefix) {
    super(pin, context, stamp("pin"));
    this.#state = part(this.element, ".word");
    this.#since = part(this.element, ".since");
    const title = part(this.element, "h2");
    title.textContent = pin.label;
    title.id = `${prefix}label-${pin.name}`;
    part(this.element, ".meta").textContent = inLine([...this.line, ...this.limits, pin.group]);
    this.build(part(this.element, ".control"), part(this.element, ".face"), title.id, `${prefix}press-${pin.name}`);
    this.update();
  }

  tick() {
    setText(this.#state, stateText(this.pin.value, this.pin));
    const now = [this.age || text("noChange"), this.left || this.author].filter(Boolean).join(", ");
    setText(this.#since, this.pending ?? (this.isOld ? text("lastHeard") : now));
  }
}
