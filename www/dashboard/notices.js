/** The notices at the top of the dashboard: the server's for its owner, and what keeps this page from working fully. */
import { address } from "../ui/address.js";
import { part } from "../ui/dom.js";
import { hasCode } from "../ui/frame.js";
import { text, worded } from "../ui/i18n.js";
import { linkButton, noticeElement } from "../ui/notice.js";
import { isWeak } from "./health.js";

/** @typedef {import("../ui/notice.js").Notice} Notice */

/** Return the notices that hold now. @param {import("../raspi.js").Raspi} raspi @param {() => HTMLElement} signIn makes a button */
export function currentNotices(raspi, signIn) {
  const { hello, health, link } = raspi;
  /** @type {Notice[]} */
  const found = [];
  if (isWeak(health)) found.push({ code: "power", words: text("weakPower"), isWarning: true });
  if (link === "polling" && !hasCode()) found.push({ code: "polling", words: text("byAsking"), isWarning: true, action: trustLink });
  for (const { code, message, reason, values } of hello?.server.notices ?? []) {
    const words = worded(`notice:${reason}`, values);
    const detail = words === null ? message : String(values.why ?? ""); // the words of a program
    found.push({ code, words: words ?? "", detail, isWarning: code !== "simulated" });
  }
  const outputs = hello?.pins.filter((pin) => pin.mode !== "input") ?? [];
  const switchesSome = outputs.some((pin) => pin.writable);
  if (hello?.code_would_help) {
    found.push({ code: "view", words: text(switchesSome ? "someNeedCode" : "lookOnlyCode"), action: signIn });
  } else if (hello?.access === "view" && outputs.length && !switchesSome) {
    found.push({ code: "view", words: text("lookOnly") });
  }
  return found;
}

const trustLink = () => linkButton(address("trust/"), text("howToTrust"));

export class Notices {
  #shown = "";

  /** @param {import("../raspi.js").Raspi} raspi @param {() => HTMLElement} signIn makes a button */
  constructor(raspi, signIn) {
    this.raspi = raspi;
    this.signIn = signIn;
  }

  /** Draw them if they differ from those before. */
  show() {
    const found = currentNotices(this.raspi, this.signIn);
    const shown = JSON.stringify(found);
    if (shown === this.#shown) return;
    this.#shown = shown;
    part(document, "#notices").replaceChildren(...found.map(noticeElement));
  }
}
