/** Covers without a WebSocket: the part of polling.js that is loaded if there are any. */
import { request } from "./polling.js";

/** @typedef {import("./cover.js").Cover} Cover */

/** Return what a cover is, without what it does now. @param {Cover} cover */
const described = (cover) => ({ ...cover, state: 0, position: 0, goal: 0, problem: 0, problem_reason: 0, problem_values: 0, since: 0 });

export class CoverPolling {
  /** What was said of each. @type {Map<string, string>} */ #told = new Map();
  #receive;

  /** @param {(message: object) => void} receive takes messages */
  constructor(receive) {
    this.#receive = receive;
  }

  /** Return what covers are, for which a page needs a new hello. @param {Cover[]} covers */
  describe(covers) {
    return covers.map(described);
  }

  /** Note what a hello says. @param {Cover[]} covers */
  begin(covers) {
    this.#told = new Map(covers.map((cover) => [cover.name, JSON.stringify(cover)]));
  }

  /** Report those that have changed. @param {Cover[]} covers */
  update(covers) {
    for (const cover of covers) {
      const now = JSON.stringify(cover);
      if (now === this.#told.get(cover.name)) continue;
      this.#told.set(cover.name, now);
      this.#receive({ type: "cover", ...cover, cover: cover.name });
    }
  }

  /** Carry out one command, once. @param {import("./connection.js").Command} command @param {number} timeout seconds */
  async send({ type, cover = "", position }, timeout) {
    const path = `/covers/${encodeURIComponent(cover)}`;
    const found = await (type === "position" ? request(path, "PUT", { position }, timeout) : request(`${path}/${type}`, "POST", {}, timeout));
    this.update([found]);
    return found;
  }
}
