/**
 * What the list does not need at first: the last minutes in open rows, the page of a pin, the events of a day, and the picture of the
 * header, help if there are no pins yet, and what is told of schedules and rules. It is loaded when any of it is opened.
 */
import { loadStyle, part } from "../ui/dom.js";
import { errorText, text } from "../ui/i18n.js";
import { toast } from "../ui/notice.js";
import { ApiError, request } from "../ui/polling.js";
import { AutomationState } from "./automation-state.js";
import { ClaimBar } from "./claim-bar.js";
import { EventsPage } from "./events.js";
import { GpioHeader } from "./gpio-header.js";
import { History } from "./history.js";
import { explainPins } from "./no-pins.js";
import { PinPage } from "./pin-page.js";
import { viewOf } from "./router.js";
import { Sparklines } from "./sparkline.js";

/** @typedef {import("../raspi.js").Pin} Pin */

const HISTORY_S = 300; // in a row
const HISTORY_INTERVAL_S = 10; // while polling: for changes between two requests

export class Details {
  #raspi;
  #history;
  #requested = 0; // by performance.now()
  #context;
  /** @type {import("./automation-page.js").AutomationPage|null} */ #automationPage = null;
  /** @type {import("./cover-page.js").CoverPage|null} */ #coverPage = null;
  /** @type {Promise<unknown>|null} */ #automationStyle = null;
  /** True while the page of schedules and rules is wanted. */ #isAutomationOpen = false;

  /** @param {import("./pin-view.js").Context} context @param {(pin: Pin) => void} changed is told of a pin whose author is known now */
  constructor(context, changed) {
    this.#context = context;
    this.#raspi = context.raspi;
    this.automation = new AutomationState(context.raspi, () => this.#automationChanged(), changed);
    this.#history = new History(context.raspi, HISTORY_S);
    this.changed = changed;
    this.sparklines = new Sparklines(this.#history);
    this.page = new PinPage(part(document, "#pin-page"), context, this.automation);
    this.events = new EventsPage(part(document, "#events-page"), context.raspi);
    this.header = new GpioHeader(part(document, "#board"), context);
    explainPins(part(document, "#no-pins"));
  }

  /** Fetch what happened before, after each hello. */
  async refresh() {
    this.header.refresh();
    void this.automation.refresh();
    if (this.#raspi.covers.size && navigator.serviceWorker?.controller) void this.#showCover(); // which keeps it
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
    if (this.#raspi.covers.has(pin.name)) return;
    if (this.#history.record(pin)) this.sparklines.change(pin.name);
    this.page.record(pin);
    this.events.record(pin);
  }

  /** Tell more of a pin in its open row. @param {import("./pin-row.js").PinRow} row */
  opened(row) {
    if (row.bar || row.pin.mode === "input" || this.#raspi.covers.has(row.pin.name)) return;
    const bar = new ClaimBar(row, true, `label-${row.pin.name}`, this.automation, this.#raspi);
    part(row.element, ".claim").replaceWith(bar.element);
    row.bar = bar;
  }

  /** Tell the server that its clock is right, or ask for the code first. @param {boolean} [isAsked] true if the code was typed just now */
  async trustClock(isAsked = false) {
    try {
      await request("/clock/trust", "POST");
    } catch (error) {
      if (error instanceof ApiError && error.code === "sign-in") return this.#context.signIn(() => this.trustClock(true), isAsked ? text("notThisCode") : "");
      toast("", text("notDone", { why: error instanceof ApiError ? errorText(error.reason, error.message, error.values) : text("error:no-answer") }));
    }
  }

  #automationChanged() {
    this.page.tick();
    this.#automationPage?.draw();
  }

  /** Fill the view of the address. @param {import("./router.js").View} view */
  open({ name, pin }) {
    this.#openPin(pin);
    this.events.open(name === "events");
    this.#isAutomationOpen = name === "automation";
    if (this.#isAutomationOpen || this.#automationPage) void this.#openAutomation();
  }

  /** Show the page of schedules and rules, or stop; load it first. */
  async #openAutomation() {
    try {
      const [{ AutomationPage }] = await Promise.all([import("./automation-page.js"), this.#automationStyle ??= loadStyle(new URL("automation.css", import.meta.url))]);
      this.#automationPage ??= new AutomationPage(part(document, "#automation-page"), this.#context, this.automation);
    } catch (error) {
      this.#automationStyle = null;
      return void toast("", text("unanswered", { why: String(error) }));
    }
    await this.#automationPage.open(this.#isAutomationOpen);
  }

  /** Show the page of a pin or a cover. @param {string} name empty for none */
  #openPin(name) {
    const isCover = this.#raspi.covers.has(name);
    this.page.open(isCover ? "" : name);
    if (isCover || this.#coverPage) void this.#showCover();
  }

  /** Show the page of the cover that the address names, if it names one; load it first. */
  async #showCover() {
    try {
      const { CoverPage } = await import("./cover-page.js");
      this.#coverPage ??= new CoverPage(part(document, "#pin-page"), this.#context);
    } catch (error) {
      return void toast("", text("unanswered", { why: String(error) }));
    }
    const { pin } = viewOf(location.hash);
    this.#coverPage.open(this.#raspi.covers.has(pin) ? pin : "");
  }

  /** Show the present view again: the pins may be other ones now, or covers. */
  refreshView() {
    this.#openPin(viewOf(location.hash).pin);
    this.events.refresh();
  }

  /** Draw a pin. @param {Pin} pin */
  show(pin) {
    this.page.show(pin);
    this.#coverPage?.show(pin);
    this.header.showPin(pin);
  }

  tick() {
    this.sparklines.tick();
    this.page.tick();
    this.#coverPage?.tick();
    this.events.tick();
    this.header.tick();
    this.automation.tick();
    this.#automationPage?.tick();
    if (this.#raspi.link === "polling" && performance.now() - this.#requested > HISTORY_INTERVAL_S * 1000) this.refresh();
  }
}
