/** The page of one pin: its head, its timeline, and its last changes to the millisecond. */
import { address } from "../ui/address.js";
import { part, setText } from "../ui/dom.js";
import { lasting, moment } from "../ui/format.js";
import { text } from "../ui/i18n.js";
import { request } from "../ui/polling.js";
import { ClaimBar } from "./claim-bar.js";
import { eventRow } from "./event-row.js";
import { Track } from "./history.js";
import { built } from "./markup.js";
import { shape } from "./pin-view.js";
import { PinHead } from "./pin-head.js";
import { PlanPanel } from "./strip.js";
import { Timeline } from "./timeline.js";

/** @typedef {import("../raspi.js").Pin} Pin */

const MAX_ROWS = 50;
const FAST_TIMELINE_INTERVAL_MS = 100;
const TABLE_INTERVAL_MS = 500;

const HTML = `
<a class="back" href="#"><span aria-hidden="true">‹</span> <span data-text="back"></span></a>
<p class="error page-error" role="alert" hidden></p>
<div class="known">
  <div class="head"></div>
  <section class="panel timeline">
    <div class="bar">
      <h2 data-text="timeline"></h2>
      <div class="tools" dir="ltr">
        <div>
          <button class="button" data-do="hour"></button>
          <button class="button" data-do="day"></button>
          <button class="button" data-do="now" data-text="now"></button>
        </div>
        <div>
          <button class="button" data-do="earlier" data-label="earlier">‹</button>
          <button class="button" data-do="out" data-label="zoomOut">−</button>
          <button class="button" data-do="in" data-label="zoomIn">+</button>
          <button class="button" data-do="later" data-label="later">›</button>
        </div>
      </div>
    </div>
    <div class="chart" role="group" tabindex="0" dir="ltr">
      <canvas aria-hidden="true"></canvas>
      <div class="scale" aria-hidden="true" hidden><span></span><span></span><span></span></div>
    </div>
    <p class="range"></p>
    <p class="readout"></p>
  </section>
  <section class="panel coming" hidden></section>
  <section class="panel">
    <div class="bar">
      <h2 data-text="lastChanges"></h2>
      <a class="button csv" download data-text="csv"></a>
    </div>
    <p class="none hint" data-text="noChanges" hidden></p>
    <ol class="changes" hidden></ol>
  </section>
</div>`;

export class PinPage {
  /** The pin that is shown, or none. */ #name = "";
  /** @type {PinHead|null} */ #head = null;
  /** @type {Track|null} */ #track = null;
  #requests = 0;
  #tableTimer = 0;
  #timelineTimer = 0;
  #whole;
  #context;
  #automation;
  #plan;
  #timeline;

  /** @param {HTMLElement} whole @param {import("./pin-view.js").Context} context @param {import("./automation-state.js").AutomationState} automation */
  constructor(whole, context, automation) {
    this.#whole = whole;
    this.#context = context;
    this.#automation = automation;
    whole.append(built(HTML));
    this.#plan = new PlanPanel(part(whole, ".coming"));
    this.#timeline = new Timeline(part(whole, ".timeline"), context.raspi);
  }

  /** Show the page of a pin. @param {string} name empty for none */
  open(name) {
    if (name !== this.#name) {
      [this.#name, this.#head, this.#track] = [name, null, null];
      this.#timeline.reset();
      clearInterval(this.#timelineTimer);
      if (name) this.#timelineTimer = window.setInterval(() => this.#timeline.isFast && this.#timeline.draw(), FAST_TIMELINE_INTERVAL_MS);
    }
    if (name) return this.refresh();
    this.#showError("");
    part(this.#whole, ".known").hidden = true;
  }

  /** Show everything again: the pin may be another one now. */
  refresh() {
    const pin = this.#context.raspi.pins.get(this.#name);
    if (!this.#name || !this.#context.raspi.hello) return;
    this.#showError(pin ? "" : text("noPin", { name: this.#name }));
    part(this.#whole, ".known").hidden = !pin;
    if (!pin) return;
    if (this.#head?.shape !== shape(pin, this.#context)) {
      this.#head = new PinHead(pin, this.#context, "page-");
      part(this.#whole, ".head").replaceChildren(this.#head.element);
      if (pin.mode !== "input") {
        this.#head.bar = new ClaimBar(this.#head, false, `page-label-${pin.name}`, this.#automation, this.#context.raspi);
        part(this.#head.element, ".meta").before(this.#head.bar.element);
      }
      /** @type {HTMLAnchorElement} */ (part(this.#whole, ".csv")).href = address(`api/pins/${pin.name}/history?format=csv`);
    }
    this.showPlan();
    this.#fetchHistory(pin);
  }

  /** Show what schedules want for it. */
  showPlan() {
    const { raspi } = this.#context;
    const pin = raspi.pins.get(this.#name);
    if (!pin) return;
    const { isKnown, plan, schedules } = this.#automation;
    const isPlanned = isKnown && schedules.some((schedule) => schedule.pin === pin.name);
    this.#plan.show(isPlanned ? (plan[pin.name] ?? []) : undefined, pin, raspi.time, !isKnown && Boolean(pin.next));
  }

  /** @param {Pin} pin as it is now */
  show(pin) {
    if (pin.name === this.#name) this.#head?.show(pin);
  }

  /** Add each change, also one that is over before it could be drawn. @param {Pin} pin */
  record(pin) {
    const { name, value, since, by } = pin;
    if (name !== this.#name || since === null || !this.#track?.add({ time: since, value, by })) return;
    this.#timeline.draw();
    this.#tableTimer ||= window.setTimeout(() => requestAnimationFrame(() => this.#list(pin)), TABLE_INTERVAL_MS);
  }

  tick() {
    if (!this.#name) return;
    this.#head?.tick();
    this.showPlan();
    this.#timeline.draw();
  }

  /** @param {Pin} pin */
  async #fetchHistory(pin) {
    const number = ++this.#requests;
    try {
      const history = await request(`/pins/${pin.name}/history`);
      if (number !== this.#requests) return;
      this.#track = new Track(history);
      const { value, since, by } = this.#context.raspi.pins.get(pin.name) ?? pin;
      if (since !== null) this.#track.add({ time: since, value, by });
    } catch (error) {
      if (number !== this.#requests) return;
      this.#showError(text("historyError", { why: error instanceof Error ? error.message : String(error) }));
    }
    this.#timeline.show(this.#track, pin);
    this.#list(pin);
  }

  /** Draw the last changes, the newest first. @param {Pin} pin */
  #list(pin) {
    this.#tableTimer = 0;
    const changes = this.#track?.changes.slice(-MAX_ROWS).reverse() ?? [];
    part(this.#whole, ".changes").hidden = changes.length === 0;
    part(this.#whole, ".none").hidden = changes.length > 0;
    const rows = changes.map((change, i) => {
      const next = changes[i - 1];
      return eventRow(pin, change, moment(change.time, true), { span: next ? text("duringSpan", { span: lasting(next.time - change.time) }) : text("until") });
    });
    part(this.#whole, ".changes").replaceChildren(...rows);
  }

  /** @param {string} words */
  #showError(words) {
    const place = part(this.#whole, ".page-error");
    place.hidden = !words;
    setText(place, words);
  }
}
