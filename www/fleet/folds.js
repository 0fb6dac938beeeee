/** The groups and Pis that are folded on this device. */
import { recall, remember } from "../ui/stored.js";

const KEY = "fleet folded";

/** @type {Set<string>} */
const folded = new Set([recall(KEY, /** @type {string[]} */ ([]))].flat());

/** @param {string} key */
export const isFolded = (key) => folded.has(key);

/** Fold or unfold. @param {string} key */
export function toggleFold(key) {
  if (!folded.delete(key)) folded.add(key);
  remember(KEY, folded.size ? [...folded] : null);
}
