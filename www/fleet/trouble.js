/** What is wrong with a Pi. */
import { stateText, toneOf } from "../ui/kinds.js";

/** @typedef {import("./fleet-client.js").Pin} Pin */
/** The worst first. @typedef {"alarm"|"offline"|"error"|""} Trouble */

const ORDER = ["alarm", "offline", "error", ""];

/** Return the pins that are an alarm now. @param {Pin[]} pins */
const alarms = (pins) => pins.filter((pin) => toneOf(pin, pin.value) === "alarm");

/** Return whether a pin is in error, or a cover has a problem. @param {Pin} pin */
export const isFaulty = ({ error, problem }) => error !== null || Boolean(problem);

/** Return the worst of what is wrong. An offline Pi may have been an alarm when it was last seen. @param {{online: boolean, pins: Pin[]}} pi @returns {Trouble} */
export function troubleOf({ online, pins }) {
  if (alarms(pins).length) return "alarm";
  if (!online) return "offline";
  return pins.some(isFaulty) ? "error" : "";
}

/** Return its active alarms in words. @param {Pin[]} pins */
export const alarmWords = (pins) => alarms(pins).map((pin) => `${pin.label}: ${stateText(pin.value, pin)}`);

/** Compare by trouble, the worst first. @param {Trouble} one @param {Trouble} other */
export const byTrouble = (one, other) => ORDER.indexOf(one) - ORDER.indexOf(other);
