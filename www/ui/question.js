/** The question of raspi.js before it switches a pin with `confirm`: in the language of the page, and in a dialog of its own. */

/** @typedef {import("../raspi.js").Pin} Pin */
/** @typedef {import("./cover.js").Cover} Cover */
/** @typedef {import("../raspi.js").Answers} Answers */

/** The strings of questions, of which languages/ has other languages. */
const ENGLISH = {
  askSwitchOn: "Switch {label} on?",
  askSwitchOff: "Switch {label} off?",
  askSet: "Set {label} to {level}?",
  askPress: "Press {label}? It will be on for {span}.",
  switchOn: "Switch on",
  switchOff: "Switch off",
  set: "Set",
  press: "Press",
  cancel: "Cancel",
  askOpen: "Open {label}?",
  askClose: "Close {label}?",
  askMove: "Move {label} to {level}?",
  openCover: "Open",
  closeCover: "Close",
  moveCover: "Move",
  /** By the kind of a pin that is pressed. @type {Record<string, {press?: string, ask?: string}|undefined>} */
  kinds: {
    bell: { press: "Ring", ask: "Ring {label}?" },
    garage_door: { press: "Move", ask: "Move {label}?" },
    gate: { press: "Move", ask: "Move {label}?" },
  },
};
/** The strings that were read, and of which language. @type {{tag: string, strings: Promise<typeof ENGLISH>}|null} */
let read = null;

/** Return the strings in the language of the page, which its author wrote into `<html lang="">`; in English if there is no file for it. */
function strings() {
  const tag = document.documentElement.lang.toLowerCase();
  if (read?.tag !== tag) read = { tag, strings: readStrings(tag) };
  return read.strings;
}

/** @param {string} tag */
async function readStrings(tag) {
  for (const name of new Set([tag, tag.replace(/-.*/, "")])) {
    if (!/^[a-z]{2,3}(-[a-z0-9]+)*$/.test(name) || name === "en") break;
    const answer = await fetch(new URL(`../languages/${name}.json`, import.meta.url)).catch(() => null);
    const file = answer?.ok ? await answer.json().catch(() => null) : null;
    if (file) return /** @type {typeof ENGLISH} */ ({ ...ENGLISH, ...file.covers, ...file.page, kinds: file.kinds?.outputs ?? {} });
  }
  return ENGLISH;
}

/** Return a number in the language of the page. @param {number} value @param {Intl.NumberFormatOptions} options */
function inWords(value, options) {
  try {
    return new Intl.NumberFormat(document.documentElement.lang || "en", options).format(value);
  } catch {
    return new Intl.NumberFormat("en", options).format(value); // the page names no language that there is
  }
}

/**
 * Return the question before a command, and the words of its buttons.
 * @param {Pin} pin @param {number} value @param {boolean} isSwitch true for on, at whatever level @param {number|null} length seconds
 * @returns {Promise<[string, Answers]>}
 */
export async function questionOf({ label, mode, kind }, value, isSwitch, length) {
  const words = await strings();
  /** @type {Record<string, string>} */
  const values = {
    label,
    level: inWords(value, { style: "percent" }),
    span: inWords(length ?? 0, { style: "unit", unit: "second", maximumFractionDigits: 3 }),
  };
  let [template, yes] = [words.askSwitchOn, words.switchOn];
  if (!value) [template, yes] = [words.askSwitchOff, words.switchOff];
  else if (length !== null) {
    const { ask = words.askPress, press = words.press } = words.kinds[kind ?? ""] ?? {};
    [template, yes] = [ask, press];
  } else if (mode === "pwm" && !isSwitch) [template, yes] = [words.askSet, words.set];
  return [filled(template, values), { yes, no: words.cancel }];
}

/** Return the question before a command to a cover, and the words of its buttons. @param {Cover} cover @param {import("./connection.js").Command} command @returns {Promise<[string, Answers]>} */
export async function questionOfMove({ label }, { type, position = 0 }) {
  const words = await strings();
  const level = inWords(position / 100, { style: "percent" });
  let [template, yes] = [words.askMove, words.moveCover];
  if (type === "open") [template, yes] = [words.askOpen, words.openCover];
  if (type === "close") [template, yes] = [words.askClose, words.closeCover];
  return [filled(template, { label, level }), { yes, no: words.cancel }];
}

/** @param {string} template @param {Record<string, string>} values */
const filled = (template, values) => template.replace(/\{(\w+)\}/g, (whole, key) => values[key] ?? whole);

/**
 * Ask in a dialog of this page: browsers let people switch off their own, and those would stop the connection meanwhile.
 * @param {string} question @param {Pin|Cover} target @param {Answers} answers @returns {Promise<boolean>}
 */
export function askInDialog(question, target, answers) {
  const dialog = document.createElement("dialog");
  if (!dialog.showModal) return Promise.resolve(confirm(question)); // Safari before 15.4
  const words = document.createElement("p");
  words.textContent = question;
  words.style.setProperty("text-wrap", "balance"); // no unit alone on a line
  dialog.setAttribute("aria-label", question);
  dialog.append(words);
  dialog.style.maxWidth = "min(24em, 85vw)";
  for (const answer of /** @type {const} */ (["no", "yes"])) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = answers[answer];
    button.style.margin = "0.5em 0.5em 0 0";
    button.style.minHeight = "2.75em";
    button.onclick = () => dialog.close(answer);
    dialog.append(button);
  }
  document.body.append(dialog);
  dialog.showModal(); // the first button, "no", has the focus
  return new Promise((resolve) => {
    dialog.onclose = () => {
      dialog.remove();
      resolve(dialog.returnValue === "yes");
    };
  });
}
