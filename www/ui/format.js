/** Numbers and times as people read them in their language. */
import { counted, LOCALE, text, worded } from "./i18n.js";

/** @param {string} unit @param {number} [digits] @param {"short"|"long"} [unitDisplay] */
const measure = (unit, digits = 0, unitDisplay = "short") =>
  new Intl.NumberFormat(LOCALE, { style: "unit", unit, unitDisplay, minimumFractionDigits: digits, maximumFractionDigits: digits });
const SECONDS = measure("second");
const MILLISECONDS = measure("second", 3);
const MINUTES = measure("minute");
const HOURS = measure("hour");
const DAYS = measure("day", 0, "long"); // short is "5 Tg." in German, and "5 hr" in Indonesian
const DEGREES = measure("celsius", 1);
const AGO = new Intl.RelativeTimeFormat(LOCALE, { style: "short" });
const DAYS_AGO = new Intl.RelativeTimeFormat(LOCALE);
const PERCENT = new Intl.NumberFormat(LOCALE, { style: "percent" });
/** @type {Intl.DateTimeFormatOptions} */
const CLOCK = { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" };
const TIME = new Intl.DateTimeFormat(LOCALE, CLOCK);
const EXACT_TIME = new Intl.DateTimeFormat(LOCALE, { ...CLOCK, fractionalSecondDigits: 3 });
const MINUTE = new Intl.DateTimeFormat(LOCALE, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const DAY = new Intl.DateTimeFormat(LOCALE, { weekday: "short", day: "numeric", month: "short" });

/** Return a span: "4 sec", "3 min", "2 hr", "5 days". @param {number} seconds */
export function span(seconds) {
  const s = Math.max(0, Math.floor(seconds));
  if (s < 60) return SECONDS.format(s);
  if (s < 3600) return MINUTES.format(Math.floor(s / 60));
  if (s < 48 * 3600) return HOURS.format(Math.floor(s / 3600));
  return DAYS.format(Math.floor(s / 86400));
}

/** Return a time that has passed: "4 sec. ago", "2 days ago". Many languages need other forms here than in `span`. @param {number} seconds */
export function ago(seconds) {
  const s = Math.max(0, Math.floor(seconds));
  if (s < 60) return AGO.format(-s, "second");
  if (s < 3600) return AGO.format(-Math.floor(s / 60), "minute");
  if (s < 48 * 3600) return AGO.format(-Math.floor(s / 3600), "hour");
  return DAYS_AGO.format(-Math.floor(s / 86400), "day");
}

/** Return for how long something has lasted: "for 3 min", "for 5 days". @param {number} seconds */
export function forSpan(seconds) {
  return seconds < 48 * 3600 ? text("forSpan", { span: span(seconds) }) : counted("forDays", Math.floor(seconds / 86400));
}

/** Return a configured length: "0.5 sec", "90 sec", "10 min". @param {number} seconds */
export function length(seconds) {
  if (seconds >= 3600 && seconds % 3600 === 0) return HOURS.format(seconds / 3600);
  if (seconds >= 60 && seconds % 60 === 0) return MINUTES.format(seconds / 60);
  return measure("second", seconds % 1 ? Math.min(3, String(seconds % 1).length - 2) : 0).format(seconds);
}

/** Return a duration, to the millisecond below a minute. @param {number} seconds */
export function lasting(seconds) {
  if (seconds < 60) return MILLISECONDS.format(Math.max(0, seconds));
  const s = Math.round(seconds);
  const [large, rest] = s < 3600 ? [MINUTES.format(Math.floor(s / 60)), s % 60] : [HOURS.format(Math.floor(s / 3600)), Math.floor((s % 3600) / 60)];
  return rest ? `${large} ${(s < 3600 ? SECONDS : MINUTES).format(rest)}` : large;
}

/** @param {number} share 0 to 1 */
export const percent = (share) => PERCENT.format(share);

/** @param {number} celsius */
export const degrees = (celsius) => DEGREES.format(celsius);

/** Return the time of day. @param {number} time Unix seconds */
export const clockTime = (time) => TIME.format(time * 1000);

/** Return the time of day, with the day where it is not today. @param {number} time Unix seconds @param {boolean} [exactly] to the millisecond */
export const moment = (time, exactly = false) => onDay(time, (exactly ? EXACT_TIME : TIME).format(time * 1000));

/** Return the time of day to the minute, with the day where it is not today. @param {number} time Unix seconds */
export const minute = (time) => onDay(time, MINUTE.format(time * 1000));

/** Return the time of day to the minute. @param {number} time Unix seconds */
export const clockMinute = (time) => MINUTE.format(time * 1000);

/** Return a time to come: the time of day, with the day where it is more than 24 hours away. @param {number} time Unix seconds @param {number} now */
export const comingTime = (time, now) => (time - now < 86400 ? clockMinute(time) : minute(time));

/** Return an hour: "14:00 – 14:59", with the day where it is not today. @param {number} start Unix seconds */
export const hourFrom = (start) => onDay(start, MINUTE.formatRange(start * 1000, (start + 3599) * 1000));

/** @param {number} time @param {string} clock */
function onDay(time, clock) {
  const date = new Date(time * 1000);
  return date.toDateString() === new Date().toDateString() ? clock : `${DAY.format(date)}, ${clock}`;
}

/** Return the name of a schedule or a rule for people. @param {string} name */
export const spoken = (name) => name.replaceAll("_", " ");

/** Return what changed a pin: a reason of the server, else a client's address. @param {string|null} by */
export function author(by) {
  if (by === null) return "";
  const [reason, name = ""] = by.split(" ");
  return worded(`by:${reason}`, { name: spoken(name) }) ?? text("byWhom", { who: by });
}
