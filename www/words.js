/** Numbers into the words people read. */

/** "4 s", "3 min", "2 h", "5 days". @param {number} seconds */
export function span(seconds) {
  const s = Math.max(0, Math.floor(seconds));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min`;
  if (s < 48 * 3600) return `${Math.floor(s / 3600)} h`;
  return `${Math.floor(s / 86400)} days`;
}

/** A length somebody configured: "0.5 s", "90 s", "10 min". @param {number} seconds */
export function length(seconds) {
  if (seconds >= 3600 && seconds % 3600 === 0) return `${seconds / 3600} h`;
  if (seconds >= 60 && seconds % 60 === 0) return `${seconds / 60} min`;
  return `${seconds} s`;
}

/** "on", "off", "35 %". @param {number|null} value @param {string} mode */
export function word(value, mode) {
  if (value === null) return "unavailable";
  if (mode === "pwm" && value > 0) return percent(value);
  return value ? "on" : "off";
}

/** @param {number} share 0 to 1 */
export const percent = (share) => `${Math.round(share * 100)} %`;

/** Who changed it last. @param {string|null} by */
export function author(by) {
  if (by === null) return "";
  /** @type {Record<string, string>} */
  const known = { pulse: "pulse over", max_on: "time limit reached", group: "another of its group was switched on" };
  return known[by] ?? `by ${by}`;
}
