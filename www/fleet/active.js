/** What is open and on at a Pi. */
import { LOCALE, plural } from "../ui/i18n.js";
import { stringsOf, toneOf } from "../ui/kinds.js";
import { counted } from "./i18n.js";

const LIST = new Intl.ListFormat(LOCALE, { type: "unit" });

/** Return it in words, such as "2 doors open, 3 lights on", without alarms; "" if there is nothing. @param {import("./fleet-client.js").Pin[]} pins */
export function activeWords(pins) {
  /** @type {Map<Record<string, string>|null, number>} */
  const counts = new Map();
  for (const pin of pins) {
    if (!pin.value || toneOf(pin, pin.value) === "alarm") continue;
    const forms = stringsOf(pin);
    if (pin.kind && !("count_other" in forms)) continue; // motion, or a button
    const key = "strings" in pin || (pin.kind && !pin.words) ? forms : null;
    counts.set(key, (counts.get(key) ?? 0) + 1);
  }
  return LIST.format([...counts].map(([forms, count]) => (forms ? plural(forms, "count", count) : counted("on", count))));
}
