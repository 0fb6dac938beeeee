/** What the server says of schedules and rules: asked for at each hello, when it has news, and when a time passes that was told. */
import { request } from "../ui/polling.js";

/** A window of a schedule, or a moment, which has no end. @typedef {{begin: number, end: number|null}} Coming */
/**
 * A schedule, with its keys as config.yaml has them.
 * @typedef {{name: string, pin: string|null, from: string|null, to: string|null, at: string|null, days: string[], value: number|null, pulse: number|null,
 *   turn_off: string[], cover: string|null, goal: "open"|"close"|number|null, writable: boolean, paused: boolean, until: number|null, next: Coming|null, skipped: string|null, runs: number}} Schedule
 */
/**
 * A rule, with its keys as config.yaml has them.
 * @typedef {{name: string, when: string[], while: string[], press: "short"|"long"|"double"|null, for: number|null, hold: number|null,
 *   only: {from: string, to: string}|null, turn_on: string[], turn_off: string[], toggle: string[], set: Record<string, number>, pulse: string[],
 *   move: Record<string, "open"|"close"|number>,
 *   writable: boolean, paused: boolean, parked: boolean, acting: boolean, open: boolean, runs: number}} Rule
 */
/** What a schedule wants for an output, and when. @typedef {{begin: number, end: number, value: number, schedule: string}} Planned */

const LONGEST_S = 600; // between two requests: the end of the next 24 hours moves on
const POLL_INTERVAL_S = 10; // where no message says that there is news
const LATE_S = 1; // the server acts at a time, and tells it then
const RULES_INTERVAL_MS = 500; // for what rules do while they are watched

/** Return the outputs and covers of a rule. @param {Rule} rule */
export const targets = ({ turn_on, turn_off, toggle, set, pulse, move = {} }) => [...turn_on, ...turn_off, ...toggle, ...Object.keys(set), ...pulse, ...Object.keys(move)];

/** Return the outputs of a schedule, or its cover. @param {Schedule} schedule */
export const outputs = ({ pin, turn_off, cover }) => (pin ? [pin] : cover ? [cover] : turn_off);

export class AutomationState {
  /** @type {Schedule[]} */ schedules = [];
  /** @type {Rule[]} */ rules = [];
  /** By the names of outputs. @type {Record<string, Planned[]>} */ plan = {};
  isClockKnown = true;
  /** True once the server has answered. */ isKnown = false;
  /** True while the list is shown: then it follows what rules do. */ isWatched = false;
  /** The outputs that schedules or rules switch. @type {Set<string>} */ concerned = new Set();
  #requests = 0;
  #asking = Promise.resolve("");
  #requested = -Infinity; // by performance.now()
  #due = Infinity; // Unix seconds
  #rulesTimer = 0;
  #raspi;
  #changed;
  #pinChanged;

  /** @param {import("../raspi.js").Raspi} raspi @param {() => void} changed @param {(pin: import("../raspi.js").Pin) => void} pinChanged is told of a pin whose `next` is another one */
  constructor(raspi, changed, pinChanged) {
    this.#raspi = raspi;
    this.#changed = changed;
    this.#pinChanged = pinChanged;
    raspi.on("automation", () => this.refresh());
    for (const event of /** @type {const} */ (["change", "source"])) raspi.on(event, (change) => "source" in change && this.#ruleActed());
  }

  /** Ask for all of it, and wait for the newest answer. Return why there was none, or nothing. */
  async refresh() {
    this.#asking = this.#ask(++this.#requests);
    let [asking, error] = [/** @type {Promise<string>|null} */ (null), ""];
    while (asking !== this.#asking) error = await (asking = this.#asking);
    return error;
  }

  /** @param {number} number of the request @returns {Promise<string>} */
  async #ask(number) {
    this.#requested = performance.now();
    try {
      const isUsed = this.#raspi.hello?.automation;
      const [schedules, rules, plan, pins] = isUsed
        ? await Promise.all(["/schedules", "/rules", "/plan", "/pins"].map((path) => request(path)))
        : [{ schedules: [], clock_known: true }, { rules: [] }, { pins: {} }, { pins: [] }];
      if (number !== this.#requests) return "";
      this.plan = plan.pins;
      this.rules = rules.rules;
      for (const { name, next } of pins.pins) this.#setNext(name, next);
      this.takeSchedules(schedules);
      return "";
    } catch (error) {
      console.warn("raspi-server: no schedules:", error);
      return number === this.#requests ? String(error) : "";
    }
  }

  tick() {
    if (!this.#raspi.hello?.automation || !this.#raspi.isFresh) return;
    const waited = (performance.now() - this.#requested) / 1000;
    const most = this.isWatched && this.#raspi.link === "polling" ? POLL_INTERVAL_S : LONGEST_S;
    if (waited > most || (waited > LATE_S && this.#raspi.time > this.#due + LATE_S)) void this.refresh();
  }

  /** Take an answer of the server. @param {{schedules: Schedule[], clock_known: boolean}} answer */
  takeSchedules({ schedules, clock_known }) {
    this.schedules = schedules;
    this.isClockKnown = clock_known;
    const now = this.#raspi.time;
    const pins = [...this.#raspi.pins.values()].map(({ next }) => next);
    const told = [...schedules.flatMap(({ until, next }) => [until, next?.begin]), ...pins];
    this.#due = Math.min(...told.map((time) => (time && time > now ? time : Infinity)));
    this.#take();
  }

  /** Take an answer of the server. @param {{rules: Rule[]}} answer */
  takeRules({ rules }) {
    this.rules = rules;
    this.#take();
  }

  #take() {
    this.isKnown = true;
    this.concerned = new Set([...this.schedules.flatMap(outputs), ...this.rules.flatMap(targets)]);
    this.#changed();
  }

  /** @param {string} name @param {number|null} next */
  #setNext(name, next) {
    const pin = this.#raspi.pins.get(name);
    if (!pin || pin.next === next) return;
    pin.next = next;
    this.#pinChanged(pin);
  }

  #ruleActed() {
    if (!this.isWatched || !this.rules.length || this.#rulesTimer) return;
    this.#rulesTimer = window.setTimeout(async () => {
      this.#rulesTimer = 0;
      const number = this.#requests;
      const answer = await request("/rules").catch(() => null);
      if (answer && number === this.#requests) this.takeRules(answer);
    }, RULES_INTERVAL_MS);
  }
}
