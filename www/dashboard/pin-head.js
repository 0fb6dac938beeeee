/** One pin alone: its picture, its value, its control and its limits. It heads the page of the pin, and is beside the board's header. */
import { make, part, setAttribute, setText } from "../ui/dom.js";
import { text } from "../ui/i18n.js";
import { icon } from "../ui/icons.js";
import { iconOf, stateText, toneOf } from "../ui/kinds.js";
import { built } from "./markup.js";
import { inLine, PinView, shape } from "./pin-view.js";

const HTML = `
<article class="pin pin-head">
  <div class="face">
    <span class="picture"></span>
    <div class="what">
      <h2><bdi></bdi></h2>
      <p><strong class="word"></strong> <span class="since"></span></p>
    </div>
    <div class="control"></div>
  </div>
  <p class="error" role="alert" hidden></p>
  <p class="meta"></p>
</article>`;

/** Return a link to the cover that a pin belongs to. @param {import("../raspi.js").Cover} cover */
function coverLink({ name, label }) {
  const link = make("a", "", text("partOfCover", { label }));
  link.href = `#pin/${name}`;
  return link;
}

export class PinHead extends PinView {
  #icon = "";
  #picture;
  #word;
  #since;

  /** @param {import("../raspi.js").Pin} pin @param {import("./pin-view.js").Context} context @param {string} prefix of its ids: the list has the pin, too */
  constructor(pin, context, prefix) {
    super(pin, context, part(built(HTML), "article"));
    const { element } = this;
    this.shape = shape(pin, context);
    this.#picture = part(element, ".picture");
    this.#word = part(element, ".word");
    this.#since = part(element, ".since");
    const title = part(element, "h2");
    part(title, "bdi").textContent = pin.label;
    title.id = `${prefix}label-${pin.name}`;
    part(element, ".meta").textContent = inLine([...this.limits, pin.group, ...this.line]);
    const cover = context.raspi.covers.get(pin.cover ?? "");
    if (cover) part(element, ".meta").append(" · ", coverLink(cover));
    this.build(part(element, ".control"), part(element, ".face"), title.id, `${prefix}press-${pin.name}`);
    this.update();
  }

  onShown() {
    const { element, pin } = this;
    const name = iconOf(pin, pin.value);
    if (name !== this.#icon) {
      this.#icon = name;
      this.#picture.replaceChildren(icon(name));
    }
    setAttribute(element, "data-tone", toneOf(pin, pin.value));
    setText(this.#word, this.isIdle ? "" : stateText(pin.value, pin));
    super.onShown();
  }

  tick() {
    const now = [(this.isIdle ? this.ago : this.age) || text("noChange"), this.left || this.author].filter(Boolean).join(", ");
    setText(this.#since, this.pending ?? (this.isOld ? text("lastHeard") : now));
    this.bar?.show();
  }
}
