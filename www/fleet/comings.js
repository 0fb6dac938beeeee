/** Tells screen readers who came and who went: politely, and a few at a time. */
import { part } from "../dom.js";
import { text } from "./texts.js";

const GATHER = 1.5; // seconds of comings and goings in one sentence
const MOST = 3; // named in one sentence

export class Comings {
  /** By topic. @type {Map<string, {host: string, online: boolean}>} */ #known = new Map();
  /** @type {Map<string, {host: string, online: boolean}>} */ #news = new Map();
  #timer = 0;

  /** Everybody is as they are; that is no news. @param {Iterable<import("./house.js").Pi>} pis */
  begin(pis) {
    this.#known = new Map([...pis].map(({ topic, host, online }) => [topic, { host, online }]));
    this.#news.clear();
  }

  /** @param {import("./house.js").Pi} pi */
  note({ topic, host, online }) {
    if (this.#known.get(topic)?.online === online) this.#news.delete(topic); // it was away for a moment only
    else this.#news.set(topic, { host, online });
    if (this.#news.size) this.#timer ||= window.setTimeout(() => this.#tell(), GATHER * 1000);
  }

  #tell() {
    this.#timer = 0;
    const news = [...this.#news];
    this.#news.clear();
    for (const [topic, now] of news) this.#known.set(topic, now);
    if (document.hidden || !news.length) return;
    const sentences = news.slice(0, MOST).map(([, { host, online }]) => text(online ? "came" : "went", { host }));
    if (news.length > MOST) sentences.push(text("manyMore", { count: news.length - MOST }));
    part(document, "#news").textContent = sentences.join(", ");
  }
}
