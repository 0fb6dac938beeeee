/**
 * What the list does not need at first: the last minutes in open rows, the page of a pin, the events of a day, and the picture of the
 * header, and help if there are no pins yet. It is loaded when any of it is opened.
 */
import { part } from "../ui/dom.js";
import { EventsPage } from "./events.js";
import { GpioHeader } from "./gpio-header.js";
import { History } from "./history.js";
import { explainPins } from "./no-pins.js";
import { PinPage } from "./pin-page.js";
import { Sparklines } from "./sparkline.js";

/** @typedef {import("../raspi.js").Pin} Pin */

const HISTORY_S = 300; // in a row
const HISTORY_INTERVAL_S = 10; // while polling: for changes between two requests

export class Details {
  #raspi;
  #history;
  #requested = 0; // by performance.now()

  /** @param {import("./pin-view.js").Context} context @param {(pin: Pin) => void} changed is told of a pin whose author is known now */
  constructor(context, changed) {
    this.#raspi = context.raspi;
    this.#history = new History(context.raspi, HISTORY_S);
    this.changed = changed;
    this.sparklines = new Sparklines(this.#history);
    this.page = new PinPage(part(document, "#pin-page"), context);
    this.events = new EventsPage(part(document, "#events-page"), context.raspi);
    this.header = new GpioHeader(part(document, "#board"), context);
    explainPins(part(document, "#no-pins"));
  }

  /** Fetch what happened before, after each hello. */
  async refresh() {
    this.header.refresh();
    this.#requested = performance.now();
    if (!(await this.#history.refresh())) return;
    this.sparklines.redraw();
    for (const pin of this.#raspi.pins.values()) {
      const { time, by } = this.#history.of(pin.name).last;
      if (pin.by !== null || !by || pin.since === null || Math.abs(time - pin.since) > 0.001) continue;
      pin.by = by; // a hello does not have it
      this.changed(pin);
    }
  }

  /** Note a change, also one that is over before it could be drawn. @param {Pin} pin */
  record(pin) {
    if (this.#history.record(pin)) this.sparklines.change(pin.name);
    this.page.record(pin);
    this.events.record(pin);
  }

  /** Fill the view of the address. @param {import("./router.js").View} view */
  open({ name, pin }) {
    this.page.open(pin);
    this.events.open(name === "events");
  }

  /** Show the present view again: the pins may be other ones now. */
  refreshView() {
    this.page.refresh();
    this.events.refresh();
  }

  /** Draw a pin. @param {Pin} pin */
  show(pin) {
    this.page.show(pin);
    this.header.showPin(pin);
  }

  tick() {
    this.sparklines.tick();
    this.page.tick();
    this.events.tick();
    this.header.tick();
    if (this.#raspi.link === "polling" && performance.now() - this.#requested > HISTORY_INTERVAL_S * 1000) this.refresh();
  }
}
