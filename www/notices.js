/** What stands on top of the page: what the server wants its owner to know, and what keeps this page from being all it could be. */
import { make, part } from "./dom.js";
import { isWeak } from "./health.js";
import { known, text } from "./texts.js";

/** @typedef {{code: string, words: string, detail?: string, isWarning?: boolean, action?: () => HTMLElement}} Line */

/** @param {import("./raspi.js").Raspi} raspi @param {() => HTMLElement} signIn makes a button */
function lines(raspi, signIn) {
  const { hello, health, link } = raspi;
  /** @type {Line[]} */
  const found = [];
  if (isWeak(health)) found.push({ code: "power", words: text("weakPower"), isWarning: true });
  if (link === "polling") found.push({ code: "polling", words: text("byAsking"), isWarning: true, action: trust });
  for (const { code, message } of hello?.server.notices ?? []) {
    const words = known(code);
    // Of what our own words say in full, the server's say no more.
    const isSaid = words && ["simulated", "open"].includes(code);
    found.push({ code, words: words ?? "", detail: isSaid ? "" : message, isWarning: code !== "simulated" });
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

function trust() {
  const link = make("a", "button", text("howToTrust"));
  link.href = "/trust";
  return link;
}

export class Notices {
  #shown = "";

  /** @param {import("./raspi.js").Raspi} raspi @param {() => HTMLElement} signIn makes a button */
  constructor(raspi, signIn) {
    this.raspi = raspi;
    this.signIn = signIn;
  }

  /** Draws them where they are others than before. */
  show() {
    const found = lines(this.raspi, this.signIn);
    const shown = JSON.stringify(found);
    if (shown === this.#shown) return;
    this.#shown = shown;
    part(document, "#notices").replaceChildren(...found.map(notice));
  }
}

/** One of them. @param {Line} line */
export function notice({ code, words, detail, isWarning, action }) {
  const whole = make("div", isWarning ? "notice warning" : "notice");
  whole.dataset.code = code;
  const told = make("p", "");
  if (words) told.append(make(detail ? "strong" : "span", "", words));
  if (detail) {
    const message = make("span", "detail", detail);
    message.lang = "en";
    told.append(" ", message);
  }
  whole.append(told);
  if (action) whole.append(action());
  return whole;
}
