/**
 * The views of the page by their addresses: `#pin/NAME` is one pin, `#events` the events of a day, `#automation` schedules
 * and rules, all else the list. Back leads to
 * the view before, at the same place and with the same focus.
 */

/** @typedef {{name: "list"|"pin"|"events"|"automation", pin: string}} View */

const PIN = /^#pin\/([a-z][a-z0-9_-]*)$/;

/** Return the view that an address names. @param {string} hash @returns {View} */
export function viewOf(hash) {
  const pin = PIN.exec(hash)?.[1] ?? "";
  return { name: pin ? "pin" : hash === "#events" ? "events" : hash === "#automation" ? "automation" : "list", pin };
}

/** Return the address of a view. @param {View} view */
const addressOf = ({ name, pin }) => (name === "list" ? "#" : pin ? `#pin/${pin}` : `#${name}`);

export class Router {
  /** @type {Record<View["name"], HTMLElement>} */ #parts;
  /** @type {View|null} */ #view = null;
  /** How far each view was scrolled, by its address. @type {Map<string, number>} */ #places = new Map();
  /** How many entries of the browser's history before this one the list is; null for none. @type {number|null} */ #toList = null;
  /** What had the focus in each of them. @type {Map<string, Element|null>} */ #used = new Map();

  /** @param {Record<View["name"], HTMLElement>} parts the element of each view */
  constructor(parts) {
    this.#parts = parts;
    history.scrollRestoration = "manual"; // browsers scroll before the view is there
    document.addEventListener("click", (event) => this.#click(event));
    this.#count();
  }

  /** Show the view of the address. Return it if it is another one than before, else null. @param {(view: View) => void} open fills it */
  route(open) {
    const isNew = this.#count();
    const [before, view] = [this.#view, viewOf(location.hash)];
    if (before?.name === view.name && before.pin === view.pin) return null;
    if (before) {
      this.#places.set(addressOf(before), scrollY);
      this.#used.set(addressOf(before), document.activeElement);
    }
    this.#view = view;
    for (const [name, element] of Object.entries(this.#parts)) element.hidden = name !== view.name;
    open(view);
    if (!before) return view; // there is no place and no focus to move yet
    const isLeft = !isNew || view.name === "list"; // it was seen before
    scrollTo(0, (isLeft && this.#places.get(addressOf(view))) || 0);
    this.#focus(view, isLeft ? before : null);
    return view;
  }

  /** Focus what had the focus, else what leads to the view before, else the link to the list. @param {View} view @param {View|null} before */
  #focus(view, before) {
    const whole = this.#parts[view.name];
    /** @type {(Element|null|undefined)[]} */
    const found = [whole.querySelector(".back")];
    if (before) {
      const leading = [`a[href="${addressOf(before)}"]`, `[data-pin="${before.pin}"] button`]; // iOS gives links no focus
      found.unshift(this.#used.get(addressOf(view)), ...leading.map((each) => whole.querySelector(each)));
    }
    for (const element of found) {
      if (!(element instanceof HTMLElement) || !whole.contains(element)) continue;
      element.focus({ preventScroll: true });
      if (element === document.activeElement) return;
    }
  }

  /** Keep in the entry how many before it the list is, also for after a reload. Return whether the entry is new. */
  #count() {
    const { state } = history;
    if (state && "toList" in state) {
      this.#toList = state.toList;
      return false;
    }
    const isList = viewOf(location.hash).name === "list";
    this.#toList = isList ? 0 : this.#toList === null ? null : this.#toList + 1;
    history.replaceState({ toList: this.#toList }, "");
    return true;
  }

  /** Let links to the list go back to it if it was there before, so that the browser's Back does not lead from it to where one was. @param {MouseEvent} event */
  #click(event) {
    const link = event.target instanceof Element && event.target.closest('a[href="#"]');
    if (!link || event.defaultPrevented || event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    if (viewOf(location.hash).name === "list") return scrollTo(0, 0);
    if (this.#toList && this.#toList < history.length) return history.go(-this.#toList);
    history.replaceState({ toList: 0 }, "", location.pathname + location.search);
    window.dispatchEvent(new HashChangeEvent("hashchange"));
  }
}
