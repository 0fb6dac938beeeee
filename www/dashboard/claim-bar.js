/** Why an output has its value and until when, with what makes it automatic again, and what switches it on for a while. */
import { make, part, setText } from "../ui/dom.js";
import { comingTime, length, spoken } from "../ui/format.js";
import { text } from "../ui/i18n.js";

/** @typedef {import("./pin-view.js").PinView} PinView */

const WHILE_S = [300, 900, 3600];
/** The sentences for each source: with an end, and without. */
const WHY = /** @type {const} */ ({ manual: ["whyHandUntil", "whyHand"], schedule: ["whyScheduleUntil", "whySchedule"], rule: ["whyRuleUntil", "whyRule"] });

export class ClaimBar {
  element = make("div", "claim");
  #why = make("p", "why");
  #automatic = make("button", "button", text("automatic"));
  #view;
  #state;
  #raspi;
  #isShort;

  /** @param {PinView} view of the pin @param {boolean} isShort true if the view tells the schedule or rule @param {string} id of its label @param {import("./automation-state.js").AutomationState} state @param {import("../raspi.js").Raspi} raspi */
  constructor(view, isShort, id, state, raspi) {
    this.#view = view;
    this.#isShort = isShort;
    this.#state = state;
    this.#raspi = raspi;
    const line = make("div", "reason");
    line.append(this.#why, this.#automatic);
    this.#automatic.id = `${id}-automatic`;
    this.#prepare(this.#automatic, `${this.#automatic.id} ${id}`, { type: "auto" });
    this.element.append(line);
    const { kind, pin } = view;
    if (kind === "dimmer" || kind === "switch") this.#offer(WHILE_S.filter((seconds) => seconds <= (pin.max_on ?? Infinity)), id);
    this.show();
  }

  /** Draw what the pin is now. */
  show() {
    const { pin, kind } = this.#view;
    const isConcerned = this.#state.concerned.has(pin.name);
    setText(this.#why, this.#reason(isConcerned));
    this.#automatic.hidden = !pin.auto || !isConcerned || kind === "lamp" || kind === "broken";
    part(this.element, ".reason").hidden = !this.#why.textContent && this.#automatic.hidden && (this.#isShort || !isConcerned);
    this.element.classList.toggle("concerned", isConcerned);
    this.element.hidden = this.element.childElementCount < 2 && part(this.element, ".reason").hidden;
  }

  /** @param {number[]} spans seconds @param {string} id */
  #offer(spans, id) {
    if (!spans.length) return;
    const whole = make("div", "whiles");
    const words = make("span", "", text("onFor"));
    words.id = `${id}-while`;
    whole.setAttribute("role", "group");
    whole.setAttribute("aria-labelledby", `${words.id} ${id}`);
    const buttons = make("div", "");
    whole.append(words, buttons);
    for (const seconds of spans) {
      const button = make("button", "button", length(seconds));
      button.id = `${id}-${seconds}`;
      this.#prepare(button, `${words.id} ${button.id} ${id}`, { type: "while", seconds });
      buttons.append(button);
    }
    this.element.append(whole);
  }

  /** @param {HTMLButtonElement} button @param {string} labels ids of the elements that name it @param {import("../ui/pin-control.js").Action} action */
  #prepare(button, labels, action) {
    button.setAttribute("aria-labelledby", labels);
    button.onclick = () => this.#view.act(action);
    if (this.#view.isLocked) button.setAttribute("aria-describedby", "locked");
  }

  /** Return why it has its value, in a sentence. @param {boolean} isConcerned */
  #reason(isConcerned) {
    const { source, until, next, pulse, auto } = this.#view.pin;
    const now = this.#raspi.time;
    const time = until && until > now ? comingTime(until, now) : "";
    const coming = next && next > now ? comingTime(next, now) : "";
    const level = source?.level ?? "default";
    if (level === "manual" && !time && coming) return text("whyHandAutomatic", { time: coming });
    if (level === "default" || (level === "manual" && (pulse !== null || (!time && !isConcerned)))) return coming && text("whyNext", { time: coming });
    if (this.#isShort && !auto) return ""; // the row says it
    return text(WHY[level][time ? 0 : 1], { time, name: spoken(source?.name ?? "") });
  }
}
