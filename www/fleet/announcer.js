/** Announcements for screen readers: Pis that went online or offline, and alarms, a few at a time. */
import { part } from "../ui/dom.js";
import { counted, text } from "./i18n.js";
import { alarmWords } from "./trouble.js";

/** @typedef {import("./fleet-client.js").Pi} Pi */
/** @typedef {{host: string, online: boolean, alarm: string}} State */

const GATHER_S = 1.5; // changes within this time go into one announcement
const MAX_PIS = 3; // named in one announcement

/** @param {Pi} pi @returns {State} */
const stateOf = ({ host, online, pins }) => ({ host, online, alarm: alarmWords(pins).join(", ") });

export class Announcer {
  /** By topic. @type {Map<string, State>} */ #known = new Map();
  /** @type {Map<string, State>} */ #pending = new Map();
  #timer = 0;

  /** Take on all Pis as they are, without an announcement. @param {Iterable<Pi>} pis */
  begin(pis) {
    this.#known = new Map([...pis].map((pi) => [pi.topic, stateOf(pi)]));
    this.#pending.clear();
  }

  /** Take on one Pi, which may have changed. @param {Pi} pi */
  change(pi) {
    const now = stateOf(pi);
    const before = this.#known.get(pi.topic);
    if (before?.online === now.online && before.alarm === now.alarm) this.#pending.delete(pi.topic); // it changed for a moment only
    else this.#pending.set(pi.topic, now);
    if (this.#pending.size) this.#timer ||= window.setTimeout(() => this.#announce(), GATHER_S * 1000);
  }

  #announce() {
    this.#timer = 0;
    const sentences = [];
    for (const [topic, now] of this.#pending) {
      const before = this.#known.get(topic);
      this.#known.set(topic, now);
      if (now.alarm && now.alarm !== before?.alarm) sentences.unshift(`${now.host}: ${now.alarm}`);
      else if (now.online !== before?.online) sentences.push(text(now.online ? "came" : "went", { host: now.host }));
    }
    this.#pending.clear();
    if (document.hidden || !sentences.length) return;
    const more = sentences.length - MAX_PIS;
    if (more > 0) sentences.splice(MAX_PIS, more, counted("manyMore", more));
    part(document, "#announcements").textContent = sentences.join(", ");
  }
}
