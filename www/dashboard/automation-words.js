/** Schedules and rules in words: what they do, and what they are doing now. */
import { clockMinute, lasting, minute, percent } from "../ui/format.js";
import { LOCALE, text } from "../ui/i18n.js";
import { isPressed, stateText } from "../ui/kinds.js";
import { timeToCome } from "./strip.js";

/** @typedef {import("../raspi.js").Pin} Pin */
/** @typedef {import("./automation-state.js").Schedule} Schedule */
/** @typedef {import("./automation-state.js").Rule} Rule */
/** @typedef {import("../ui/i18n.js").Text} Text */
/** @typedef {(name: string) => Pin|undefined} Pins returns a pin by its name, or a cover as one */

const DAYS = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
const A_MONDAY = new Date(2024, 0, 1);
const DAY_S = 86400;
const ALL = new Intl.ListFormat(LOCALE, { type: "conjunction" });
const ANY = new Intl.ListFormat(LOCALE, { type: "disjunction" });
const SHORT_DAY = new Intl.DateTimeFormat(LOCALE, { weekday: "short" });
const DATE = new Intl.DateTimeFormat(LOCALE, { weekday: "long", day: "numeric", month: "long" });
/** The words for a time of the sun: itself, a moment at it, before it and after it. @type {Record<string, [Text, Text, Text, Text]>} */
const SUN = {
  sunset: ["sunset", "atSunset", "beforeSunset", "afterSunset"],
  sunrise: ["sunrise", "atSunrise", "beforeSunrise", "afterSunrise"],
};
/** @type {Record<"short"|"long"|"double", Text>} */
const PRESSES = { short: "shortPress", long: "longPress", double: "doublePress" };

/** Return a time of the day as config.yaml has it, in words. @param {string} time such as 23:00 or sunset+00:20 @param {boolean} [isMoment] true for "at 23:00" */
function timeOfDay(time, isMoment = false) {
  const [, sun = "", sign = "", hours = "0", minutes = "0"] = /^([a-z]*)([+-]?)(?:(\d+):(\d+))?$/.exec(time) ?? [];
  const words = SUN[sun];
  if (!words) {
    const clock = clockMinute(new Date(2024, 0, 1, Number(hours), Number(minutes)).getTime() / 1000);
    return isMoment ? text("atTime", { time: clock }) : clock;
  }
  const seconds = (Number(hours) * 60 + Number(minutes)) * 60;
  return seconds ? text(words[sign === "-" ? 2 : 3], { span: lasting(seconds) }) : text(words[isMoment ? 1 : 0]);
}

/** Return a window of the day in words. @param {string} from @param {string} to */
function fromTo(from, to) {
  return from === "00:00" && to === "24:00" ? text("allDay") : text("fromTo", { from: timeOfDay(from), to: timeOfDay(to) });
}

/** Return the days of a week in words, nothing for all of them. @param {string[]} days */
export function daysInWords(days) {
  if (days.length === DAYS.length) return "";
  const numbers = days.map((day) => DAYS.indexOf(day)).sort();
  const words = numbers.map((number) => SHORT_DAY.format(new Date(2024, 0, A_MONDAY.getDate() + number)));
  const isRow = numbers.length > 2 && numbers.every((number, i) => number === /** @type {number} */ (numbers[0]) + i);
  return isRow ? `${words[0]}\u2060–\u2060${words[words.length - 1]}` : ALL.format(words);
}

/** @param {string[]} names @param {Pins} pins @param {Intl.ListFormat} format */
const labels = (names, pins, format = ALL) => format.format(names.map((name) => pins(name)?.label ?? name));

/** Return what a schedule does. @param {Schedule} schedule @param {Pins} pins */
export function scheduleInWords({ pin: name, from, to, at, days, value, pulse, turn_off, cover, goal }, pins) {
  const pin = name ? pins(name) : undefined;
  const label = pin?.label ?? name ?? "";
  const state = pin ? stateText(pulse ? 1 : value, pin) : text(value === 0 ? "off" : "on");
  let what = text("is", { label, state });
  if (pulse) what = pin && isPressed(pin) ? text("pressed", { label }) : text("isFor", { label, state, span: lasting(pulse) });
  else if (cover) what = text(goal === "open" ? "toOpen" : goal === "close" ? "toClose" : "toMove", { label: labels([cover], pins), level: percent(Number(goal) / 100) });
  else if (turn_off.length) what = text("is", { label: labels(turn_off, pins), state: text("off") });
  const when = at ? timeOfDay(at, true) : fromTo(from ?? "", to ?? "");
  return capital([text("doesAt", { what, when }), daysInWords(days)].filter(Boolean).join(", "));
}

/** Return what a rule does. @param {Rule} rule @param {Pins} pins */
export function ruleInWords(rule, pins) {
  const { when, press, hold, only } = rule;
  const isHeld = rule.while.length > 0;
  const label = labels(isHeld ? rule.while : when, pins, ANY);
  /** @param {Text} key @param {string[]} names @param {string} [level] */
  const does = (key, names, level = "") => (names.length ? text(key, { what: labels(names, pins), level }) : "");
  const actions = [
    does(isHeld ? "keepsOn" : "turnsOn", rule.turn_on),
    does(isHeld ? "keepsOff" : "turnsOff", rule.turn_off),
    does("turnsOver", rule.toggle),
    ...Object.entries(rule.set).map(([name, level]) => does(isHeld ? "keepsAt" : "sets", [name], percent(level))),
    does("presses", rule.pulse),
    ...Object.entries(rule.move ?? {}).map(([name, goal]) => does(goal === "open" ? "opens" : goal === "close" ? "closes" : "movesTo", [name], percent(Number(goal) / 100))),
  ].filter(Boolean);
  const sentence = text("ruleDoes", { who: press ? text(PRESSES[press], { label }) : label, does: ALL.format(actions) });
  const more = [
    hold && text("longer", { span: lasting(hold) }),
    only && fromTo(only.from, only.to),
  ];
  return capital([rule.for ? text("afterSpan", { rule: sentence, span: lasting(rule.for) }) : sentence, ...more].filter(Boolean).join(", "));
}

/** @param {string} words */
const capital = (words) => words.slice(0, 1).toLocaleUpperCase(LOCALE) + words.slice(1);

/** Return what a schedule does now, and what comes next. @param {Schedule} schedule @param {boolean} isClockKnown @param {number} now Unix seconds @returns {string[]} */
export function scheduleState({ paused, until, next, skipped }, isClockKnown, now) {
  if (paused) return [text("paused")];
  if (!isClockKnown) return [text("rests")];
  const [begin, end] = [next?.begin, next?.end];
  const isActing = Boolean(until && until > now);
  const goesOn = isActing && begin === until; // windows without a gap
  const from = begin && !goesOn && timeToCome(begin, now);
  return /** @type {string[]} */ ([
    isActing && (goesOn ? text("acting") : text("actingUntil", { time: timeToCome(until ?? 0, now) })),
    skipped && text("skipped", { day: DATE.format(new Date(`${skipped}T12:00`)) }),
    from && (end ? text("nextFrom", { from, to: end - now < 2 * DAY_S || end - begin < DAY_S ? clockMinute(end) : minute(end) }) : text("nextAt", { time: from })),
    !from && !until && text("nothingNext"),
  ].filter(Boolean));
}

/** Return what a rule does now. @param {Rule} rule @param {boolean} isClockKnown */
export function ruleState({ paused, parked, acting, open, only }, isClockKnown) {
  if (only && !isClockKnown && !paused && !parked) return text("rests");
  return text(parked ? "parked" : paused ? "paused" : acting ? "acting" : open ? "ready" : "notNow");
}
