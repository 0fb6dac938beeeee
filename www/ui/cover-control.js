/** The control of one cover: buttons that open, stop and close it, and a slider for its position where there is room for one. */
import { allInWords, coverOf, isMoving, isWaiting, shareOf } from "./cover.js";
import { commandPicture, coverPicture, pictureOf } from "./cover-picture.js";
import { make, part, setAttribute, setText } from "./dom.js";
import { percent } from "./format.js";
import { errorText, text } from "./i18n.js";
import { icon } from "./icons.js";
import { Slider } from "./slider.js";

/** @typedef {import("./cover.js").Cover} Cover */
/** @typedef {import("./pin-control.js").Action} Action */
/** What a tap asks for. @typedef {{type: "open"|"close"|"stop"|"position", position?: number}} CoverAction */

/** The words while a command is not confirmed, the question before it and the answer that goes ahead; stopping is never asked about.
 * @type {Record<CoverAction["type"], [import("./i18n.js").Text, import("./i18n.js").Text|"", import("./i18n.js").Text]>} */
const WORDS = {
  open: ["isOpening", "askOpen", "openCover"],
  close: ["isClosing", "askClose", "closeCover"],
  stop: ["stopping", "", "stop"],
  position: ["isGoing", "askMove", "moveCover"],
};

/** Return whether a command asks for what is so already, or makes no sense now: its button is quiet, and can be pressed all the same. @param {"open"|"close"|"stop"} type @param {Cover} cover */
export function isQuiet(type, cover) {
  const { state, goal, position } = cover;
  if (type === "stop") return !isMoving(cover) && !isWaiting(cover);
  if (type === "close") return state === "closed" || (isMoving(cover) && goal === "close");
  return (state === "open" && (position === null || position >= 100)) || (isMoving(cover) && goal === "open");
}

/** Return where a slider stands: where the cover is to go, else where it is. @param {Cover} cover */
function aimOf(cover) {
  const { goal } = cover;
  if (goal === "open" || goal === "close") return goal === "open" ? 1 : 0;
  return goal === null ? shareOf(cover) : goal / 100;
}

/** Show the button that stops the drive, or that only drops a goal that waits. @param {HTMLElement} element @param {HTMLElement} button @param {Cover} cover */
function showStop(element, button, cover) {
  const isShown = cover.can_stop || isWaiting(cover);
  if (button.hidden !== isShown) return;
  if (!isShown && button === document.activeElement) {
    const what = cover.state.startsWith("open") ? "open" : "close"; // as it is: a second press changes nothing
    part(element, `[data-do="${what}"]`).focus({ preventScroll: true });
  }
  button.hidden = !isShown;
  element.classList.toggle("brief", !isShown);
}

/**
 * Return a row or a head of pins as one of covers. It has a method `command`, which sends what a tap asks for.
 * @template {new (...all: any[]) => import("./pin-control.js").PinControl<any>} B @param {B} Base
 */
export function coverControl(Base) {
  return class extends Base {
    /** @returns {Cover} */
    get cover() {
      return /** @type {Cover} */ (coverOf(this.pin));
    }

    /** Send a command. For subclasses to override. @param {CoverAction} _action @returns {Promise<unknown>} */
    command(_action) {
      throw new Error("a control needs a command");
    }

    /** @param {HTMLElement} place @param {HTMLElement|null} sliderPlace null for no slider @param {string} labels ids of the elements that name it @param {string} id */
    build(place, sliderPlace, labels, id) {
      const { cover, element, kind } = this;
      element.classList.add("cover");
      element.dataset.kind = "cover";
      element.classList.toggle("brief", !cover.can_stop);
      const problem = element.querySelector(".reading .error");
      if (problem) part(element, ".face").append(problem); // a sentence has no room beside the buttons
      place.before(Object.assign(make("span", "unseen told"), { role: "status" }));
      if (kind === "lamp") return;
      place.classList.add("moves");
      const isRow = element.localName === "li"; // where the others keep their places while a stop comes and goes
      /** @type {("open"|"stop"|"close")[]} */
      const types = cover.can_stop || !isRow ? ["open", "stop", "close"] : ["stop", "open", "close"];
      for (const type of types) {
        const button = make("button", "button move");
        button.id = `${id}-${type}`;
        button.dataset.do = type;
        button.hidden = type === "stop" && !cover.can_stop;
        button.setAttribute("aria-label", text(WORDS[type][2]));
        button.setAttribute("aria-labelledby", `${button.id} ${labels}`);
        if (this.isLocked) button.setAttribute("aria-describedby", "locked");
        button.append(commandPicture(type, cover), make("span", "verb", text(WORDS[type][2])));
        button.onclick = () => this.act(/** @type {any} */ ({ type }));
        place.append(button);
      }
      if (this.isLocked) place.append(icon("lock"));
      if (!cover.has_position || !sliderPlace) return;
      const send = (/** @type {number} */ level) => this.act(/** @type {any} */ ({ type: "position", position: Math.round(level * 100) }));
      this.slider = new Slider(this.sliderLabel, true, send); // the drive would turn round and round under a finger
      sliderPlace.append(this.slider.element);
    }

    get sliderLabel() {
      return text("positionOf", { label: this.fullLabel });
    }

    update() {
      const { cover, element } = this;
      /** @type {NodeListOf<HTMLElement>} */
      const buttons = element.querySelectorAll(".move");
      for (const button of buttons) {
        const type = /** @type {"open"|"stop"|"close"} */ (button.dataset.do);
        setAttribute(button, "data-quiet", String(isQuiet(type, cover)));
        if (type === "stop") showStop(element, button, cover);
        setAttribute(button, "data-now", String(isMoving(cover) && cover.state === WORDS[type][0].slice(2).toLowerCase()));
      }
      super.update();
      this.slider?.follow(aimOf(cover));
    }

    onShown() {
      const { cover, element } = this;
      const share = shareOf(cover);
      const picture = part(element, ".tile, .picture");
      const name = pictureOf(cover, share);
      if (picture.dataset.picture !== name) {
        picture.dataset.picture = name;
        picture.replaceChildren(...coverPicture(cover, share));
      }
      setText(part(element, ".word"), allInWords(cover));
      setAttribute(element, "data-state", cover.state);
      element.toggleAttribute("data-lost", cover.has_position && cover.position === null);
      setAttribute(element, "data-tone", this.pin.value ? this.pin.tone : "calm");
      element.toggleAttribute("data-problem", cover.problem !== null);
      const { problem, problem_reason, problem_values } = cover;
      const place = part(element, ".error");
      place.hidden = problem === null;
      setText(place, problem === null ? "" : errorText(problem_reason ?? "", problem, problem_values));
      // Its control says no state by itself, as a switch does.
      const isUsed = element.contains(document.activeElement);
      setText(part(element, ".told"), isUsed ? text("changed", { label: cover.label, state: allInWords({ ...cover, position: isMoving(cover) ? null : cover.position }) }) : "");
      this.tell();
    }

    /** Tell its state in words. */
    tell() {
      /** @type {any} */ (this).tick();
    }

    /** Do what a tap asks for, or ask for the code that it needs. @param {Action} action */
    async act(action) {
      if (this.isLocked) return super.act(action);
      const wanted = /** @type {CoverAction} */ (/** @type {unknown} */ (action));
      const [words, question, answer] = WORDS[wanted.type];
      const values = { label: this.fullLabel, level: percent((wanted.position ?? 0) / 100) };
      await this.send(text(words, values), true, async () => this.command(wanted), question && text(question, values), text(answer));
    }
  };
}
