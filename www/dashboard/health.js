/** The machine's health, fact by fact. Unknown facts are not shown. */
import { make, part, setHidden, setText } from "../ui/dom.js";
import { degrees, percent, span } from "../ui/format.js";
import { counted, known, text } from "../ui/i18n.js";

/** @typedef {import("../raspi.js").Health} Health */
/** @typedef {"temperature"|"power"|"load"|"memory"|"disk"|"uptime"|"viewers"|"address"} Fact */

const HOT_CELSIUS = 80; // the firmware slows down from here
const FULL_SHARE = 0.9; // of memory or disk

/** Return the firmware's warnings, "… now" or "… since boot", in words. @param {string[]} throttled */
export function power(throttled) {
  if (!throttled.length) return text("powerGood");
  /** @param {string} end @param {"powerNow"|"powerSince"} key */
  const listed = (end, key) => {
    const list = throttled.filter((words) => words.endsWith(end)).map((words) => words.slice(0, -end.length));
    return list.length ? text(key, { list: list.map((words) => known(words) ?? words).join(", ") }) : "";
  };
  return [listed(" now", "powerNow"), listed(" since boot", "powerSince")].filter(Boolean).join("\n");
}

/** Return whether the supply is too weak now. @param {Health|null} health */
export const isWeak = (health) => health?.throttled?.includes("under-voltage now") ?? false;

export class HealthView {
  /** @type {Map<Fact, HTMLElement>} */ #facts = new Map();
  #whole;

  /** @param {HTMLElement} whole */
  constructor(whole) {
    this.#whole = whole;
  }

  /** @param {Health} health */
  show({ temperature, throttled, load, memory, disk, uptime, viewers, addresses }) {
    setHidden(this.#whole, false);
    this.#showFact("temperature", temperature, degrees, (value) => value >= HOT_CELSIUS);
    this.#showFact("load", load, percent, (value) => value > 1);
    this.#showFact("memory", memory, percent, (value) => value > FULL_SHARE);
    this.#showFact("disk", disk, percent, (value) => value > FULL_SHARE);
    this.#showFact("uptime", uptime, span);
    this.#showFact("viewers", viewers || null, (count) => counted("viewersCount", count)); // pages that poll are not counted
    this.#showFact("power", throttled, power, (list) => list.some((words) => words.endsWith("now")));
    this.#showFact("address", addresses?.length ? addresses : null, (list) => list.join("\n"));
    for (const [name, share] of Object.entries({ load, memory, disk })) {
      if (typeof share === "number") this.#meter(/** @type {Fact} */ (name), share);
    }
  }

  /**
   * @template V @param {Fact} name @param {V|null|undefined} value
   * @param {(value: V) => string} words @param {(value: V) => boolean} [isBad]
   */
  #showFact(name, value, words, isBad = () => false) {
    const isKnown = value !== null && value !== undefined;
    if (!isKnown && !this.#facts.has(name)) return;
    const fact = this.#fact(name);
    setHidden(fact, !isKnown);
    if (!isKnown) return;
    setText(part(fact, ".amount"), words(value));
    fact.toggleAttribute("data-bad", isBad(value));
  }

  /** @param {Fact} name */
  #fact(name) {
    let fact = this.#facts.get(name);
    if (!fact) {
      fact = make("div", "fact");
      fact.dataset.fact = name;
      const amount = make("dd", "");
      amount.append(make("span", "amount"));
      fact.append(make("dt", "", text(name)), amount);
      this.#facts.set(name, fact);
      part(this.#whole, "dl").append(fact);
    }
    return fact;
  }

  /** @param {Fact} name @param {number} share */
  #meter(name, share) {
    const place = part(this.#fact(name), "dd");
    const bar = place.querySelector(".meter") ?? place.appendChild(make("span", "meter"));
    const { style } = /** @type {HTMLElement} */ (bar);
    const shown = String(Math.min(1, Math.round(share * 50) / 50));
    if (style.getPropertyValue("--share") !== shown) style.setProperty("--share", shown);
  }
}
