/** The row of one pin in the list: its picture, name, state and control. It opens to its last minutes, its limits and its line. */
import { part, setAttribute, setText, stamp } from "../ui/dom.js";
import { text } from "../ui/i18n.js";
import { icon } from "../ui/icons.js";
import { iconOf, stateText, toneOf } from "../ui/kinds.js";
import { inLine, PinView } from "./pin-view.js";

/** @typedef {import("../raspi.js").Pin} Pin */

const SHORT_LABEL = 12; // characters, as many as fit beside a control on a small phone

export class PinRow extends PinView {
  /** True while it is drawn as an alarm. */ isAlarm = false;
  #icon = "";
  #tile;
  #word;
  #since;
  #opener;
  #opened;
  #more;

  /** @param {Pin} pin @param {import("./pin-view.js").Context} context @param {Pin[]} others of its group */
  constructor(pin, context, others) {
    super(pin, context, stamp("row"));
    this.#opened = context.opened;
    const { element } = this;
    const { name, label, room } = pin;
    this.canvas = /** @type {HTMLCanvasElement} */ (part(element, "canvas"));
    this.#tile = part(element, ".tile");
    this.#word = part(element, ".word");
    this.#since = part(element, ".since");
    this.#opener = part(element, ".opener");
    this.#more = part(element, ".more");
    part(element, ".label").textContent = label;
    element.classList.toggle("long", label.length > SHORT_LABEL);
    this.#opener.id = `label-${name}`;
    this.#word.id = `word-${name}`;
    this.#more.id = `more-${name}`;
    this.#opener.setAttribute("aria-describedby", this.#word.id);
    this.#opener.setAttribute("aria-controls", this.#more.id);
    this.#opener.onclick = () => this.open(!this.isOpen);
    part(element, ".where").textContent = room ?? "";
    part(element, ".limits").textContent = inLine([...this.limits, others.length > 0 && text("groupWith", { list: others.map((each) => each.label).join(", ") })]);
    part(element, ".line").textContent = inLine(this.line);
    const link = /** @type {HTMLAnchorElement} */ (part(element, ".timeline-link"));
    link.href = `#pin/${name}`;
    link.setAttribute("aria-label", text("pageOf", { label }));
    this.build(part(element, ".control"), part(element, ".level"), this.#opener.id, `press-${name}`);
    this.update();
  }

  /** The name of its room, "" for none. */
  get room() {
    return this.pin.room ?? "";
  }

  get isOpen() {
    return !this.#more.hidden;
  }

  /** Show the rest of it below, or only its face. @param {boolean} isOpen */
  open(isOpen) {
    this.#more.hidden = !isOpen;
    this.#opener.setAttribute("aria-expanded", String(isOpen));
    this.tick();
    if (isOpen) this.#opened(this);
  }

  /** Focus the link to its page, or what opens to it. */
  focus() {
    (this.isOpen ? part(this.element, ".timeline-link") : this.#opener).focus({ preventScroll: true });
  }

  /** Bring it into the middle of the screen, with the focus. */
  reveal() {
    this.element.scrollIntoView({ block: "center" });
    this.#opener.focus({ preventScroll: true });
  }

  onShown() {
    const { element, pin } = this;
    const name = iconOf(pin, pin.value);
    if (name !== this.#icon) {
      this.#icon = name;
      this.#tile.replaceChildren(icon(name));
    }
    const tone = toneOf(pin, pin.value);
    this.isAlarm = tone === "alarm";
    setAttribute(element, "data-tone", tone);
    super.onShown();
  }

  tick() {
    const { pin } = this;
    const { isIdle } = this;
    setText(this.#word, isIdle ? "" : stateText(pin.value, pin));
    setText(this.#since, this.pending ?? (this.isOld ? text("lastHeard") : isIdle ? this.ago : this.term));
    if (!this.isOpen) return;
    setText(part(this.element, ".by"), [this.age || text("noChange"), this.author].filter(Boolean).join(", "));
    this.bar?.show();
  }
}
