/** The next 24 hours of an output: a strip with what schedules want for it, and the same in words. */
import { make, put, setText } from "../ui/dom.js";
import { clockMinute, minute, spoken } from "../ui/format.js";
import { LOCALE, text } from "../ui/i18n.js";
import { stateText, toneOf } from "../ui/kinds.js";

/** @typedef {import("./automation-state.js").Planned} Planned */

const DAY_S = 86400;
const WEEK_S = 6 * DAY_S; // a name of a day would be ambiguous after it
const CUT_S = 900; // what ends so near to the end of the plan may go on after it
const LONG_DAY = new Intl.DateTimeFormat(LOCALE, { weekday: "long" });
const RELATIVE = new Intl.RelativeTimeFormat(LOCALE, { numeric: "auto" });
const TICK_HOURS = 3;
const COARSE_HOURS = 6; // between two labels on a phone
const EDGE_SHARE = 0.07; // of the width: a label nearer to an edge would be cut off

/** @param {HTMLElement} element @param {string} name @param {number} share */
const place = (element, name, share) => element.style.setProperty(name, `${(share * 100).toFixed(2)}%`);

/** Return the labels of the next 24 hours, by the clock of this device. @param {number} now Unix seconds */
export function axis(now) {
  const whole = make("div", "axis");
  whole.setAttribute("aria-hidden", "true");
  const first = new Date(now * 1000);
  first.setHours(Math.ceil((first.getHours() + 0.01) / TICK_HOURS) * TICK_HOURS, 0, 0, 0);
  for (const date = first; date.getTime() / 1000 < now + DAY_S; date.setHours(date.getHours() + TICK_HOURS)) {
    const share = (date.getTime() / 1000 - now) / DAY_S;
    if (share < EDGE_SHARE || share > 1 - EDGE_SHARE) continue;
    const label = make("span", date.getHours() % COARSE_HOURS ? "fine" : "", clockMinute(date.getTime() / 1000));
    place(label, "--at", share);
    whole.append(label);
  }
  return whole;
}

/** Return a time to come: "23:00", "tomorrow, 06:30", "Wednesday, 06:30". @param {number} time @param {number} now Unix seconds */
export function timeToCome(time, now) {
  const [date, today] = [new Date(time * 1000), new Date(now * 1000)];
  const clock = clockMinute(time);
  const day = Math.round((date.setHours(0, 0, 0, 0) - today.setHours(0, 0, 0, 0)) / 1000 / DAY_S);
  if (day === 0) return clock;
  if (day === 1) return `${RELATIVE.format(1, "day")}, ${clock}`;
  return time - now < WEEK_S ? `${LONG_DAY.format(time * 1000)}, ${clock}` : minute(time);
}

/** Return what is planned, in words. @param {Planned[]} planned @param {import("../raspi.js").Pin} pin @param {number} now Unix seconds */
export function inWords(planned, pin, now) {
  return planned.map(({ begin, end, value, schedule }) => {
    const values = { from: timeToCome(begin, now), to: timeToCome(end, now), state: stateText(value, pin), name: spoken(schedule) };
    const isCut = end > now + DAY_S - CUT_S;
    if (begin <= now) return text(isCut ? "plannedAlways" : "plannedUntil", values);
    return text(isCut ? "plannedFrom" : "planned", { ...values, to: clockMinute(end) });
  });
}

/** Return the strip of an output. @param {Planned[]} planned @param {import("../raspi.js").Pin} pin @param {number} now Unix seconds */
export function strip(planned, pin, now) {
  const whole = make("div", "strip");
  whole.dataset.tone = toneOf(pin, 1);
  for (const { begin, end, value } of planned) {
    const [from, to] = [begin, end].map((time) => Math.min(1, Math.max(0, (time - now) / DAY_S)));
    if (/** @type {number} */ (to) <= /** @type {number} */ (from)) continue;
    const want = make("span", value ? "want" : "want off");
    place(want, "--from", /** @type {number} */ (from));
    place(want, "--length", /** @type {number} */ (to) - /** @type {number} */ (from));
    place(want, "--level", value || 1);
    whole.append(want);
  }
  return whole;
}

/** The panel of one output on its page. */
export class PlanPanel {
  #drawn = "";
  #whole;
  #place = make("div", "strips");
  #list = make("ul", "plan");
  #none = make("p", "hint");

  /** @param {HTMLElement} whole */
  constructor(whole) {
    this.#whole = whole;
    whole.append(make("h2", "", text("nextDay")), this.#place, this.#list, this.#none);
  }

  /** @param {Planned[]|undefined} planned undefined if nothing is known of it @param {import("../raspi.js").Pin} pin @param {number} now @param {boolean} isExpected true if there may be some */
  show(planned, pin, now, isExpected) {
    this.#whole.hidden = !planned && !isExpected;
    const drawn = JSON.stringify([pin.name, planned, Math.floor(now / 60), isExpected]);
    if (this.#whole.hidden || drawn === this.#drawn) return;
    this.#drawn = drawn;
    const picture = strip(planned ?? [], pin, now);
    picture.setAttribute("aria-hidden", "true"); // the list says the same
    this.#place.replaceChildren(picture, axis(now));
    put(this.#list, inWords(planned ?? [], pin, now).map((words) => make("li", "", words)));
    setText(this.#none, planned && !planned.length ? text("nothingPlanned") : "");
  }
}
