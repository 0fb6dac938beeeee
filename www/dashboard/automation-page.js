/** The page of schedules and rules: what each does and is doing now, with pause and skip, and the next 24 hours. */
import { make, part, put, setText } from "../ui/dom.js";
import { spoken } from "../ui/format.js";
import { errorText, text } from "../ui/i18n.js";
import { icon } from "../ui/icons.js";
import { toast } from "../ui/notice.js";
import { ApiError, request } from "../ui/polling.js";
import { outputs, targets } from "./automation-state.js";
import { ruleInWords, ruleState, scheduleInWords, scheduleState } from "./automation-words.js";
import { built } from "./markup.js";
import { isLocked } from "./pin-view.js";
import { axis, inWords, strip } from "./strip.js";

/** @typedef {import("./automation-state.js").AutomationState} AutomationState */
/** @typedef {"schedules"|"rules"} Sort */

const HTML = `
<a class="back" href="#"><span aria-hidden="true">‹</span> <span data-text="back"></span></a>
<h2 data-text="automation"></h2>
<p class="error page-error" role="alert" hidden></p>
<p class="none" data-text="noAutomation" hidden></p>
<section class="panel next-day" hidden><h3 data-text="nextDay"></h3><div class="strips"></div></section>
<section class="schedules" hidden><h3 data-text="schedules"></h3><ul class="panel"></ul></section>
<section class="rules" hidden><h3 data-text="rules"></h3><ul class="panel"></ul></section>`;

/** One schedule or rule. */
class Row {
  element = make("li", "automatism");
  #words = make("p", "does");
  #state = make("p", "state");
  #name;
  /** By what they do. @type {Map<string, HTMLButtonElement>} */ #buttons = new Map();
  #place = make("div", "commands");

  /** @param {string} name @param {string} id @param {(command: string) => void} act */
  constructor(name, id, act) {
    const title = make("h4", "", spoken(name));
    title.id = id;
    this.#name = title;
    const what = make("div", "what");
    what.append(title, this.#words, this.#state);
    this.element.append(what, this.#place);
    this.act = act;
  }

  /**
   * @param {string} words @param {string[]} state @param {boolean} isActing
   * @param {{[place: string]: [command: string, words: string]|null}} commands @param {boolean} isLocked
   */
  show(words, state, isActing, commands, isLocked) {
    setText(this.#words, words);
    if (this.#state.textContent !== state.join("")) this.#state.replaceChildren(...state.map((each) => make("span", "", each)));
    this.element.toggleAttribute("data-acting", isActing);
    this.element.toggleAttribute("data-locked", isLocked);
    for (const [place, command] of Object.entries(commands)) {
      const button = this.#button(place);
      button.hidden = !command;
      if (!command) continue;
      setText(part(button, "span"), command[1]);
      button.onclick = () => this.act(command[0]);
      if (isLocked) button.setAttribute("aria-describedby", "locked");
      else button.removeAttribute("aria-describedby");
    }
  }

  /** @param {string} place */
  #button(place) {
    let button = this.#buttons.get(place);
    if (!button) {
      button = make("button", "button");
      button.append(icon("lock"), make("span", ""));
      button.id = `${this.#name.id}-${place}`;
      button.setAttribute("aria-labelledby", `${button.id} ${this.#name.id}`);
      this.#buttons.set(place, button);
      this.#place.append(button);
    }
    return button;
  }
}

export class AutomationPage {
  #isOpen = false;
  #drawn = 0; // minute
  /** By the sort and the name. @type {Map<string, Row>} */ #rows = new Map();
  #whole;
  #context;
  #state;

  /** @param {HTMLElement} whole @param {import("./pin-view.js").Context} context @param {AutomationState} state */
  constructor(whole, context, state) {
    this.#whole = whole;
    this.#context = context;
    this.#state = state;
    whole.append(built(HTML));
  }

  /** Show it, or stop. @param {boolean} isOpen */
  async open(isOpen) {
    this.#isOpen = isOpen;
    this.#state.isWatched = isOpen;
    if (!isOpen) return;
    this.draw();
    const error = await this.#state.refresh();
    const place = part(this.#whole, ".page-error");
    place.hidden = !error;
    setText(place, error && text("noAnswer"));
  }

  tick() {
    if (this.#drawn !== this.#minute) this.draw();
  }

  get #minute() {
    return Math.floor(this.#context.raspi.time / 60);
  }

  /** Draw what is known. */
  draw() {
    if (!this.#isOpen || !this.#state.isKnown) return;
    this.#drawn = this.#minute;
    const { schedules, rules, isClockKnown } = this.#state;
    const { raspi } = this.#context;
    part(this.#whole, ".none").hidden = schedules.length + rules.length > 0;
    const pins = (/** @type {string} */ name) => raspi.pins.get(name) ?? this.#context.covers()?.items.get(name);
    const before = this.#rows;
    this.#rows = new Map();
    this.#fill("schedules", schedules.map((schedule) => {
      const { name, paused, skipped, next, until } = schedule;
      const row = this.#row("schedules", name, before);
      /** @type {[string, string]|null} */
      const skip = skipped ? ["undo-skip", text("undoSkip")] : next && isClockKnown ? ["skip", text("skip")] : null;
      this.#show(row, outputs(schedule), scheduleInWords(schedule, pins), scheduleState(schedule, isClockKnown, raspi.time), Boolean(until) && !paused, {
        pause: paused ? ["resume", text("resume")] : ["pause", text("pause")],
        skip: paused ? null : skip,
      }, schedule.writable);
      return row.element;
    }));
    this.#fill("rules", rules.map((rule) => {
      const row = this.#row("rules", rule.name, before);
      const { paused, parked, acting } = rule;
      this.#show(row, targets(rule), ruleInWords(rule, pins), [ruleState(rule, isClockKnown)], acting, {
        pause: paused || parked ? ["resume", text("resume")] : ["pause", text("pause")],
      }, rule.writable);
      return row.element;
    }));
    this.#drawPlan();
  }

  /** @param {Sort} sort @param {string} name @param {Map<string, Row>} before */
  #row(sort, name, before) {
    const key = `${sort}/${name}`;
    const row = before.get(key) ?? new Row(name, `${sort}-${name}`, (command) => this.#act(sort, name, command));
    this.#rows.set(key, row);
    return row;
  }

  /** @param {Row} row @param {string[]} names of its outputs @param {string} words @param {string[]} state @param {boolean} isActing @param {Parameters<Row["show"]>[3]} commands @param {boolean} isWritable */
  #show(row, names, words, state, isActing, commands, isWritable) {
    const mayAsk = !isWritable && this.#mayAsk(names);
    const none = Object.fromEntries(Object.keys(commands).map((place) => [place, null]));
    row.show(words, state, isActing, isWritable || mayAsk ? commands : none, mayAsk);
  }

  /** Return whether the code would let this browser switch all of these outputs, and move these covers. @param {string[]} names */
  #mayAsk(names) {
    return names.every((name) => {
      const pin = this.#context.raspi.pins.get(name) ?? this.#context.covers()?.items.get(name);
      return pin && (pin.writable || isLocked(pin, this.#context));
    });
  }

  /** @param {Sort} sort @param {HTMLElement[]} rows */
  #fill(sort, rows) {
    const place = part(this.#whole, `.${sort}`);
    place.hidden = !rows.length;
    put(part(place, "ul"), rows);
  }

  #drawPlan() {
    const { raspi } = this.#context;
    const now = raspi.time;
    const names = new Set(this.#state.schedules.flatMap(({ pin }) => pin ?? []));
    const rows = [...raspi.pins.values()].filter(({ name }) => names.has(name)).map((pin) => {
      const planned = this.#state.plan[pin.name] ?? [];
      const link = make("a", "", pin.label);
      link.href = `#pin/${pin.name}`;
      link.dir = "auto";
      const picture = strip(planned, pin, now);
      picture.setAttribute("role", "img");
      const list = inWords(planned, pin, now).join(", ") || text("nothingPlanned");
      picture.setAttribute("aria-label", text("plannedFor", { label: pin.label, list }));
      const row = make("div", "planned");
      row.append(link, picture);
      return row;
    });
    const place = part(this.#whole, ".next-day");
    place.hidden = !rows.length || !this.#state.isClockKnown;
    part(place, ".strips").replaceChildren(...rows, axis(now));
  }

  /** Do what a button says, or ask for the code first. @param {Sort} sort @param {string} name @param {string} command @param {boolean} [isAsked] true if the code was typed just now */
  async #act(sort, name, command, isAsked = false) {
    const state = this.#state;
    if (isAsked) await state.refresh();
    const found = state[sort].find((each) => each.name === name);
    if (!found) return;
    if (!found.writable) return this.#context.signIn(() => this.#act(sort, name, command, true), isAsked ? text("notThisCode") : "");
    try {
      const answer = await request(`/${sort}/${name}/${command}`, "POST");
      if (sort === "schedules") state.takeSchedules(answer);
      else state.takeRules(answer);
    } catch (error) {
      const why = error instanceof ApiError ? errorText(error.reason, error.message, error.values) : text("error:no-answer");
      toast(`${spoken(name)}:`, text("notDone", { why }));
    }
  }
}
