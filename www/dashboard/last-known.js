/**
 * What this device last knew of the Raspberry Pi: its name, its pins and their values. The page shows it where the service worker
 * opened it and nothing answers. It is kept on this device only, and only where there is a service worker: not over plain http, and
 * not in a page that another site frames. It is forgotten at a sign-out, and when the server asks for a code.
 */
import { ROOT_PATH } from "../ui/address.js";
import { part, setText } from "../ui/dom.js";
import { moment } from "../ui/format.js";
import { isFramed } from "../ui/frame.js";
import { text } from "../ui/i18n.js";
import { recall, remember } from "../ui/stored.js";

/** @typedef {import("../raspi.js").Raspi} Raspi */
/** @typedef {{time: number, hello: import("../raspi.js").Hello}} Known Unix seconds */

const KEY = `last-known ${ROOT_PATH}`; // a proxy may have several Pis at one origin
const SAVE_INTERVAL_S = 60;
const PATIENCE_S = 2; // without an answer, before it is shown

/** Forget it. */
export const forgetLastKnown = () => remember(KEY, null);

export class LastKnown {
  /** True while the page shows what was kept. */ isShown = false;
  #saved = 0; // by performance.now()
  #raspi;
  #show;

  /** @param {Raspi} raspi @param {() => void} show draws `raspi.hello` */
  constructor(raspi, show) {
    this.#raspi = raspi;
    this.#show = show;
    raspi.on("hello", () => this.#live());
    raspi.on("link", () => this.tick());
    document.addEventListener("visibilitychange", () => document.hidden && this.#save());
    navigator.serviceWorker?.addEventListener("controllerchange", () => this.#save()); // of a first visit
  }

  tick() {
    const { link, hello, isFresh } = this.#raspi;
    if (link === "sign-in" || link === "forbidden") this.#forget();
    else if (isFresh && performance.now() - this.#saved > SAVE_INTERVAL_S * 1000) this.#save();
    else if (!hello && (link === "lost" || performance.now() > PATIENCE_S * 1000)) this.#restore();
  }

  #live() {
    this.#mark(false);
    this.#save();
  }

  #forget() {
    forgetLastKnown();
    if (this.isShown) location.reload(); // without it
  }

  #save() {
    const { hello, isFresh, pins, covers, time, silence } = this.#raspi;
    if (isFramed || !hello || !isFresh || !navigator.serviceWorker?.controller) return;
    this.#saved = performance.now();
    // Neither notices nor the addresses of clients; and without an answer nothing can be switched.
    const server = { ...hello.server, notices: [] };
    const still = (/** @type {any} */ each) => ({ ...each, by: null, writable: false });
    const known = [...pins.values()].map(still);
    const state = Object.fromEntries(known.map(({ name, value }) => [name, value]));
    /** @type {Known} */
    const kept = {
      time: time - (silence ?? 0),
      hello: { ...hello, server, access: "view", signed_in: null, code_would_help: false, fleet: false, pins: known, covers: [...covers.values()].map(still), state },
    };
    remember(KEY, kept);
  }

  #restore() {
    if (isFramed) return;
    const kept = recall(KEY, /** @type {Known|null} */ (null));
    if (!kept) return setText(part(document, "#host"), location.hostname); // several Pis may be on one phone
    try {
      const { time, hello } = kept;
      const words = text("lastKnown", { host: hello.server.host, time: moment(time) });
      this.#raspi.describe(hello);
      setText(part(document, "#last-known"), words);
    } catch {
      return forgetLastKnown(); // another release kept it
    }
    this.#mark(true);
    this.#show();
  }

  /** @param {boolean} isShown */
  #mark(isShown) {
    this.isShown = isShown;
    document.body.toggleAttribute("data-last-known", isShown);
    part(document, "#last-known").hidden = !isShown;
  }
}
