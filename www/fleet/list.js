/** The cards of all Pis under the headings of their groups. Only those near the visible part are drawn. */
import { make } from "../ui/dom.js";
import { LOCALE } from "../ui/i18n.js";
import { PiCard } from "./card.js";

/** @typedef {import("./fleet-client.js").Pi} Pi */
/** @typedef {{whole: HTMLElement, cards: HTMLElement, shown: number}} Group */

const NEAR_PX = 800; // from the edge of the visible part
/** @type {Record<string, (pi: Pi) => boolean>} */
const FILTERS = {
  all: () => true,
  offline: ({ online }) => !online,
  on: ({ online, pins }) => online && pins.some(({ value }) => value),
  error: ({ pins }) => pins.some(({ error }) => error !== null),
};

const { compare } = new Intl.Collator(LOCALE, { numeric: true });

export class PiList {
  #place;
  #fleet;
  /** By topic. @type {Map<string, PiCard>} */ #cards = new Map();
  /** By name. @type {Map<string, Group>} */ #groups = new Map();
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

  /** Put every Pi into its place and hide those that do not fit; return how many do. @param {(pi: Pi) => boolean} fits */
  arrange(fits) {
    const { pis } = this.#fleet;
    for (const [topic, card] of this.#cards) if (!pis.has(topic)) this.#remove(topic, card);
    for (const group of this.#groups.values()) group.shown = 0;
    /** @type {Map<Group, Element|null>} */
    const next = new Map();
    /** @type {Element|null} */
    let nextGroup = this.#place.firstElementChild;
    for (const pi of [...pis.values()].sort(byPlace)) {
      const group = this.#groups.get(pi.group) ?? this.#newGroup(pi.group);
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
    let shown = 0;
    for (const [name, group] of this.#groups) {
      if (!group.cards.childElementCount) {
        group.whole.remove();
        this.#groups.delete(name);
      }
      group.whole.hidden = !group.shown;
      shown += group.shown;
    }
    return shown;
  }

  /** @param {Pi} pi */
  #newCard(pi) {
    const card = new PiCard(pi, this.#fleet);
    this.#cards.set(pi.topic, card);
    this.#byElement.set(card.element, card);
    this.#visibility.observe(card.element);
    return card;
  }

  /** @param {string} name */
  #newGroup(name) {
    const whole = make("section", "pi-group");
    const cards = make("div", "cards");
    if (name) whole.append(make("h2", "", name));
    whole.append(cards);
    const group = { whole, cards, shown: 0 };
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

/** Order by group, and in it as people count: pi-2 before pi-10. @param {Pi} one @param {Pi} other */
export const byPlace = (one, other) => compare(one.group, other.group) || compare(one.topic, other.topic);

/**
 * Put an element before `next`. One that is in its place is not touched, and keeps the focus.
 * @param {Element} place @param {Element} element @param {Element|null} next @returns what then comes next
 */
function put(place, element, next) {
  if (element === next) return element.nextElementSibling;
  place.insertBefore(element, next);
  return next;
}
