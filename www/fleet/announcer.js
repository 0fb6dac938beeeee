/** Announcements for screen readers: Pis that went online or offline, a few at a time. */
import { part } from "../ui/dom.js";
import { text } from "./i18n.js";

const GATHER_S = 1.5; // changes within this time go into one announcement
const MAX_PIS = 3; // named in one announcement

export class Announcer {
  /** By topic. @type {Map<string, {host: string, online: boolean}>} */ #known = new Map();
  /** @type {Map<string, {host: string, online: boolean}>} */ #pending = new Map();
  #timer = 0;

  /** Take on all Pis as they are, without an announcement. @param {Iterable<import("./fleet-client.js").Pi>} pis */
  begin(pis) {
    this.#known = new Map([...pis].map(({ topic, host, online }) => [topic, { host, online }]));
    this.#pending.clear();
  }

  /** Take on one Pi, which may have changed. @param {import("./fleet-client.js").Pi} pi */
  change({ topic, host, online }) {
    if (this.#known.get(topic)?.online === online) this.#pending.delete(topic); // it was offline for a moment only
    else this.#pending.set(topic, { host, online });
    if (this.#pending.size) this.#timer ||= window.setTimeout(() => this.#announce(), GATHER_S * 1000);
  }

  #announce() {
    this.#timer = 0;
    const changes = [...this.#pending];
    this.#pending.clear();
    for (const [topic, now] of changes) this.#known.set(topic, now);
    if (document.hidden || !changes.length) return;
    const sentences = changes.slice(0, MAX_PIS).map(([, { host, online }]) => text(online ? "came" : "went", { host }));
    if (changes.length > MAX_PIS) sentences.push(text("manyMore", { count: changes.length - MAX_PIS }));
    part(document, "#announcements").textContent = sentences.join(", ");
  }
}
