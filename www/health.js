/** The machine's own pulse, fact by fact. What it does not tell is not shown. */
import { make, part, say } from "./dom.js";
import { counted, known, text } from "./texts.js";
import { degrees, percent, span } from "./words.js";

/** @typedef {import("./raspi.js").Health} Health */
/** @typedef {"temperature"|"power"|"load"|"memory"|"disk"|"uptime"|"viewers"|"address"} Fact */

const HOT = 80; // degrees Celsius: where the firmware begins to slow down
const FULL = 0.9; // of memory or disk

/** What the firmware complains of, "… now" or "… since boot", in words. @param {string[]} throttled */
function power(throttled) {
  if (!throttled.length) return text("powerGood");
  /** @param {string} end @param {"powerNow"|"powerSince"} key */
  const told = (end, key) => {
    const list = throttled.filter((words) => words.endsWith(end)).map((words) => words.slice(0, -end.length));
    return list.length ? text(key, { list: list.map((words) => known(words) ?? words).join(", ") }) : "";
  };
  return [told(" now", "powerNow"), told(" since boot", "powerSince")].filter(Boolean).join("\n");
}

/** Whether the supply is too weak this very moment. @param {Health|null} health */
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
    this.#whole.hidden = false;
    this.#say("temperature", temperature, degrees, (value) => value >= HOT);
    this.#say("load", load, percent, (value) => value > 1);
    this.#say("memory", memory, percent, (value) => value > FULL);
    this.#say("disk", disk, percent, (value) => value > FULL);
    this.#say("uptime", uptime, span);
    this.#say("viewers", viewers || null, (count) => counted("viewersCount", count)); // who only asks is not counted
    this.#say("power", throttled, power, (list) => list.some((words) => words.endsWith("now")));
    this.#say("address", addresses?.length ? addresses : null, (list) => list.join("\n"));
    for (const [name, share] of Object.entries({ load, memory, disk })) {
      if (typeof share === "number") this.#meter(/** @type {Fact} */ (name), share);
    }
  }

  /**
   * @template V @param {Fact} name @param {V|null|undefined} value
   * @param {(value: V) => string} words @param {(value: V) => boolean} [isBad]
   */
  #say(name, value, words, isBad = () => false) {
    const isKnown = value !== null && value !== undefined;
    if (!isKnown && !this.#facts.has(name)) return;
    const fact = this.#fact(name);
    fact.hidden = !isKnown;
    if (!isKnown) return;
    say(part(fact, ".amount"), words(value));
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
    /** @type {HTMLElement} */ (bar).style.setProperty("--share", String(Math.min(1, Math.round(share * 50) / 50)));
  }
}
