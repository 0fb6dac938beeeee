/** The cards of all Pis: first those that need attention, then the others under the headings of their groups. Only those near the visible part are drawn. */
import { make, setText } from "../ui/dom.js";
import { LOCALE } from "../ui/i18n.js";
import { PiCard } from "./card.js";
import { isFolded, toggleFold } from "./folds.js";
import { counted, text } from "./i18n.js";
import { byTrouble, isFaulty } from "./trouble.js";

/** @typedef {import("./fleet-client.js").Pi} Pi */
/** @typedef {{key: string, whole: HTMLElement, heading: HTMLElement, button: HTMLButtonElement, sum: HTMLElement, cards: HTMLElement, shown: number}} Group */

const NEAR_PX = 800; // from the edge of the visible part
const ATTENTION = null; // in the place of a group's name
/** @type {Record<string, (pi: Pi) => boolean>} */
const FILTERS = {
  all: () => true,
  attention: ({ trouble }) => trouble !== "",
  offline: ({ online }) => !online,
  on: ({ online, pins }) => online && pins.some(({ value }) => value),
  error: ({ pins }) => pins.some(isFaulty),
};

const { compare } = new Intl.Collator(LOCALE, { numeric: true });

export class PiList {
  #place;
  #fleet;
  /** By topic. @type {Map<string, PiCard>} */ #cards = new Map();
  /** By name. @type {Map<string|null, Group>} */ #groups = new Map();
  /** @type {WeakMap<Element, PiCard>} */ #byElement = new WeakMap();
  #visibility = new IntersectionObserver((entries) => this.#showVisible(entries), { rootMargin: `${NEAR_PX}px 0px` });
  /** The cards that are near. @type {Set<PiCard>} */ near = new Set();

  /** @param {HTMLElement} place @param {import("./fleet-client.js").FleetClient} fleet */
  constructor(place, fleet) {
    this.#place = place;
    this.#fleet = fleet;
  }

  /** @param {string} topic */
  card(topic) {
    return this.#cards.get(topic);
  }

  /**
   * Put every Pi into its place and hide those that do not fit; return how many do.
   * @param {(pi: Pi) => boolean} fits @param {boolean} isAll false if that is a choice: then no group is folded
   */
  arrange(fits, isAll) {
    const { pis } = this.#fleet;
    for (const [topic, card] of this.#cards) if (!pis.has(topic)) this.#remove(topic, card);
    for (const group of this.#groups.values()) group.shown = 0;
    /** @type {Map<Group, Element|null>} */
    const next = new Map();
    /** @type {Element|null} */
    let nextGroup = this.#place.firstElementChild;
    for (const pi of [...pis.values()].sort(byPlace)) {
      const name = pi.trouble ? ATTENTION : pi.group;
      const group = this.#groups.get(name) ?? this.#newGroup(name);
      if (!next.has(group)) {
        next.set(group, group.cards.firstElementChild);
        nextGroup = put(this.#place, group.whole, nextGroup);
      }
      const { element } = this.#cards.get(pi.topic) ?? this.#newCard(pi);
      next.set(group, put(group.cards, element, next.get(group) ?? null));
      const isShown = fits(pi);
      element.hidden = !isShown;
      if (isShown) group.shown++;
    }
    return this.#showGroups(isAll);
  }

  /** Draw the headings; return how many Pis are shown. @param {boolean} isAll */
  #showGroups(isAll) {
    let shown = 0;
    for (const [name, group] of this.#groups) {
      if (!group.cards.childElementCount) {
        group.whole.remove();
        this.#groups.delete(name);
      }
      group.whole.hidden = !group.shown;
      group.button.disabled = !isAll;
      this.#showFold(group);
      shown += group.shown;
    }
    const alone = this.#groups.size === 1 && this.#groups.get("");
    for (const group of this.#groups.values()) group.heading.classList.toggle("unseen", group === alone);
    return shown;
  }

  /** @param {Group} group */
  #showFold({ key, button, sum, cards, shown }) {
    const isClosed = !button.disabled && isFolded(key);
    cards.hidden = isClosed;
    button.setAttribute("aria-expanded", String(!isClosed));
    setText(sum, isClosed ? counted("count", shown) : "");
  }

  /** @param {Pi} pi */
  #newCard(pi) {
    const card = new PiCard(pi, this.#fleet);
    this.#cards.set(pi.topic, card);
    this.#byElement.set(card.element, card);
    this.#visibility.observe(card.element);
    return card;
  }

  /** @param {string|null} name */
  #newGroup(name) {
    const whole = make("section", "pi-group");
    const heading = make("h2", "");
    const button = make("button", "fold");
    const sum = make("span", "sum");
    const cards = make("div", "cards");
    const title = make("span", "title", name === ATTENTION ? text("attention") : name || text("noGroup"));
    title.dir = "auto";
    button.append(title);
    heading.append(button, sum);
    whole.append(heading, cards);
    whole.toggleAttribute("data-attention", name === ATTENTION);
    const group = { key: name === ATTENTION ? "attention" : `group ${name}`, whole, heading, button, sum, cards, shown: 0 };
    button.onclick = () => {
      toggleFold(group.key);
      this.#showFold(group);
    };
    this.#groups.set(name, group);
    return group;
  }

  /** @param {string} topic @param {PiCard} card */
  #remove(topic, card) {
    this.#visibility.unobserve(card.element);
    this.near.delete(card);
    this.#cards.delete(topic);
    card.element.remove();
  }

  /** @param {IntersectionObserverEntry[]} entries */
  #showVisible(entries) {
    for (const { target, isIntersecting } of entries) {
      const card = this.#byElement.get(target);
      if (!card) continue;
      if (isIntersecting) {
        this.near.add(card);
        card.draw();
      } else {
        this.near.delete(card);
        card.clear();
      }
    }
  }
}

/** Return a function that tells whether a Pi passes a filter and has all words of a search. @param {string} search @param {string} filter */
export function matcher(search, filter) {
  const words = search.toLowerCase().split(/\s+/).filter(Boolean);
  const passes = FILTERS[filter] ?? (() => true);
  return (/** @type {Pi} */ pi) => passes(pi) && words.every((each) => pi.words.includes(each));
}

/** Order by trouble, then by group, and in it as people count: pi-2 before pi-10. @param {Pi} one @param {Pi} other */
export const byPlace = (one, other) => byTrouble(one.trouble, other.trouble) || compare(one.group, other.group) || compare(one.topic, other.topic);

/**
 * Put an element before `next`. One that is in its place is not touched, and keeps the focus.
 * @param {Element} place @param {Element} element @param {Element|null} next @returns what then comes next
 */
function put(place, element, next) {
  if (element === next) return element.nextElementSibling;
  place.insertBefore(element, next);
  return next;
}
