/** The notices at the top of the dashboard: the server's for its owner, and what keeps this page from working fully. */
import { address, ROOT_PATH } from "../ui/address.js";
import { make, part } from "../ui/dom.js";
import { hasCode } from "../ui/frame.js";
import { text, worded } from "../ui/i18n.js";
import { iconButton, linkButton, NoticeList } from "../ui/notice.js";
import { isWeak } from "./health.js";

/** @typedef {import("../ui/notice.js").Notice} Notice */

/** Return the notices that hold now, the most urgent first. @param {import("../raspi.js").Raspi} raspi @param {() => HTMLElement} signIn makes a button @param {() => unknown} trustClock */
export function currentNotices(raspi, signIn, trustClock) {
  const { hello, health, link } = raspi;
  /** @type {Notice[]} */
  const found = [];
  if (isWeak(health)) found.push({ code: "power", words: text("weakPower"), isWarning: true });
  if (link === "polling" && !hasCode()) found.push({ code: "polling", words: text("byAsking"), isWarning: true, action: trustLink });
  for (const { code, message, reason, values } of hello?.server.notices ?? []) {
    const words = worded(`notice:${reason}`, values);
    const detail = words === null ? message : String(values.why ?? ""); // the words of a program
    found.push({ code, words: words ?? "", detail, isWarning: code !== "simulated", action: code === "clock" ? () => actionButton(text("timeIsRight"), trustClock) : undefined });
  }
  const outputs = hello?.pins.filter((pin) => pin.mode !== "input") ?? [];
  const switchesSome = [...outputs, ...(hello?.covers ?? [])].some((each) => each.writable);
  if (hello?.code_would_help) {
    found.push({ code: "view", words: text(switchesSome ? "someNeedCode" : "lookOnlyCode"), action: signIn });
  } else if (hello?.access === "view" && outputs.length && !switchesSome) {
    found.push({ code: "view", words: text("lookOnly") });
  }
  const rank = (/** @type {Notice} */ { isWarning, action }) => (isWarning ? 0 : action ? 1 : 2);
  return found.sort((one, other) => rank(one) - rank(other));
}

/** @param {string} words @param {() => unknown} act */
const actionButton = (words, act) => Object.assign(make("button", "button", words), { onclick: act });
const trustLink = () => linkButton(address("trust/"), text("howToTrust"));

/** The notices of the dashboard. On a phone they take two lines, until all of them are asked for. */
export class Notices extends NoticeList {
  #all = iconButton("all", "chevron-down", text("allNotices"));
  #raspi;
  #signIn;
  #trustClock;

  /** @param {import("../raspi.js").Raspi} raspi @param {() => HTMLElement} signIn makes a button @param {() => unknown} trustClock tells the server that its clock is right */
  constructor(raspi, signIn, trustClock) {
    super(part(document, "#notices"), `put away ${ROOT_PATH}`);
    this.#raspi = raspi;
    this.#signIn = signIn;
    this.#trustClock = trustClock;
    this.#all.setAttribute("aria-expanded", "false");
    this.#all.onclick = () => this.#open(!this.place.classList.contains("open"));
    new ResizeObserver(() => this.#fit()).observe(this.place);
  }

  /** Draw those that hold now. All are known only while connected. */
  update() {
    this.show(currentNotices(this.#raspi, this.#signIn, this.#trustClock), this.#raspi.isFresh && this.#raspi.health !== null);
  }

  onDrawn() {
    const first = this.place.firstElementChild;
    if (first) first.lastElementChild?.before(this.#all);
    else this.#open(false);
    this.#fit();
  }

  /** @param {boolean} isOpen */
  #open(isOpen) {
    this.place.classList.toggle("open", isOpen);
    this.#all.setAttribute("aria-expanded", String(isOpen));
  }

  /** Offer to show all of them where something is left out. */
  #fit() {
    const first = this.place.firstElementChild;
    if (!first) return;
    if (this.place.classList.contains("open")) return;
    this.#all.hidden = true;
    const line = part(first, "p");
    const isCut = line.scrollHeight > line.clientHeight + 1;
    /** @type {NodeListOf<HTMLElement>} */
    const parts = this.place.querySelectorAll(".notice, .notice .button");
    this.#all.hidden = !isCut && [...parts].every((each) => each.offsetParent);
  }
}
