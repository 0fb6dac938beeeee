/** One change of a pin as a row of a list. */
import { make } from "../ui/dom.js";
import { author } from "../ui/format.js";
import { icon } from "../ui/icons.js";
import { iconOf, stateText, toneOf } from "../ui/kinds.js";

/**
 * Return the row of a change.
 * @param {import("../raspi.js").Pin} pin @param {import("./history.js").Change} change @param {string} clock its time in words
 * @param {{label?: boolean, span?: string}} also the pin's label, which leads to its page; how long the value was kept
 */
export function eventRow(pin, { time, value, by }, clock, { label, span }) {
  const row = make("li", "event");
  row.dataset.tone = toneOf(pin, value);
  row.dataset.on = String(Boolean(value));
  const words = make("p", "");
  if (label) {
    const link = make("a", "", pin.label);
    link.dir = "auto";
    link.href = `#pin/${pin.name}`;
    words.append(link, " ");
  }
  words.append(make("strong", "state", stateText(value, pin)));
  for (const [style, more] of [["span", span], ["who", author(by)]]) if (more) words.append(" ", make("span", style ?? "", more));
  const when = make("time", "", clock);
  when.dateTime = new Date(time * 1000).toISOString();
  const line = make("div", "");
  line.append(words, when);
  row.append(icon(iconOf(pin, value)), line);
  return row;
}
