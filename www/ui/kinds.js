/**
 * Kinds of pins, as raspi_server/config/kinds.py has them: the picture of each state, and how much it wants to be seen. Their words
 * are in the section "kinds" of languages/.
 */
import { percent } from "./format.js";
import { section, text } from "./i18n.js";
import { hasIcon } from "./icons.js";

/** @typedef {import("./i18n.js").Strings["kinds"]} KindWords */
/** How much an active pin wants to be seen: `warm` is a light, `attention` an open door, `alarm` smoke. @typedef {"calm"|"warm"|"attention"|"alarm"} Tone */
/** @typedef {import("./types.js").KindPin} Pin */
/** A kind: the names of its pictures in icons.js for 1 and 0. @typedef {{on: string, off: string, tone: Tone}} Kind */

/** @param {string} on @param {string} off @param {Tone} tone @returns {Kind} */
const kind = (on, off = on, tone = "calm") => ({ on, off, tone });
/** @param {string} on @param {string} off @returns {Kind} */
const opening = (on, off) => kind(on, off, "attention");

/** Kinds of inputs. */
export const INPUTS = {
  door: opening("door-open", "door"),
  window: opening("window-open", "window"),
  garage_door: opening("door-garage-open", "door-garage"),
  gate: opening("gate-open", "gate"),
  opening: opening("door-open", "door"),
  lock: opening("lock-open", "lock"),
  motion: kind("motion"),
  occupancy: kind("person"),
  presence: kind("person"),
  smoke: kind("smoke", "smoke", "alarm"),
  gas: kind("gas", "gas", "alarm"),
  carbon_monoxide: kind("fumes", "fumes", "alarm"),
  moisture: kind("droplets", "droplets", "alarm"),
  problem: kind("warning", "warning", "alarm"),
  tamper: kind("shield", "shield", "alarm"),
  vibration: kind("vibration"),
  sound: kind("sound"),
  light: kind("sun"),
  power: kind("bolt"),
  running: kind("running"),
  heat: kind("thermometer"),
  cold: kind("snow"),
  button: kind("button"),
};

/** Kinds of outputs and pwm pins. */
export const OUTPUTS = {
  switch: kind("power"),
  outlet: kind("plug"),
  light: kind("bulb", "bulb", "warm"),
  fan: kind("fan"),
  heater: kind("heater", "heater", "warm"),
  pump: kind("pump"),
  valve: kind("valve"),
  siren: kind("siren", "siren", "alarm"),
  lock: opening("lock-open", "lock"),
  button: kind("button"),
  bell: kind("bell"),
  garage_door: kind("door-garage"),
  gate: kind("gate"),
};

const PLAIN = kind("switch", "switch-off");

/** Return the kind of a pin; for one that is not known here, a calm one. @param {Pin} pin @returns {Kind} */
export function kindOf({ mode, kind: name }) {
  /** @type {Record<string, Kind>} */
  const all = mode === "input" ? INPUTS : OUTPUTS;
  return find(all, name) ?? PLAIN;
}

/** Return what an object itself has by a name that a server sent. @template T @param {Record<string, T>} all @param {string|null} [name] */
const find = (all, name) => (name && Object.prototype.hasOwnProperty.call(all, name) ? all[name] : undefined);

/** Return the name of a pin's picture: its own, if there is one of that name. What is open looks it. @param {Pin} pin @param {number|null} value */
export function iconOf(pin, value) {
  const { on, off, tone } = kindOf(pin);
  if (!pin.icon || !hasIcon(pin.icon)) return value ? on : off;
  const open = `${pin.icon}-open`;
  return value && tone === "attention" && hasIcon(open) ? open : pin.icon;
}

/** Return how much a pin wants to be seen now. @param {Pin} pin @param {number|null} value @returns {Tone} */
export const toneOf = (pin, value) => (value ? (pin.tone ?? kindOf(pin).tone) : "calm");

/** Return the strings of a pin's kind. @param {Pin} pin @returns {Record<string, string>} */
export function stringsOf({ mode, kind: name, strings }) {
  const { inputs, outputs } = section("kinds");
  return strings ?? find(/** @type {Record<string, Record<string, string>>} */ (mode === "input" ? inputs : outputs), name) ?? {};
}

/** Return the words of a pin, or of its kind. @param {Pin} pin @returns {{on: string, off: string}} */
function wordsOf(pin) {
  const { on, off } = pin.words ?? stringsOf(pin);
  return { on: on ?? text("on"), off: off ?? text("off") };
}

/** Return whether a pin is pressed, not switched: at rest it is neither on nor off. @param {Pin} pin */
export const isPressed = ({ mode, kind: name }) => mode === "output" && ["button", "bell", "garage_door", "gate"].includes(name ?? "");

/** Return the word on the button of a pin with a pulse, and the question before it. @param {Pin} pin @returns {{press: string, ask: string}} */
export function verbsOf(pin) {
  const { press, ask } = stringsOf(pin);
  return { press: press ?? text("press"), ask: ask ?? section("page").askPress };
}

/** Return a value in the words of its pin: "open", "off", "35%". @param {number|null} value @param {Pin} pin */
export function stateText(value, pin) {
  if (value === null) return text("unavailable");
  if (pin.mode === "pwm" && value > 0) return percent(value);
  const { on, off } = wordsOf(pin);
  return value ? on : off;
}
