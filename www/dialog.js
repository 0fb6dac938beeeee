/** Asks before something is done: in a dialog of the page, since browsers let people switch off their own. */
import { part, say } from "./dom.js";

/**
 * @param {string} question @param {string} answer the word on the button that goes ahead
 * @returns {Promise<boolean>}
 */
export async function ask(question, answer) {
  const dialog = /** @type {HTMLDialogElement} */ (part(document, "#confirm"));
  if (!dialog.showModal) return confirm(question); // Safari before 15.4
  say(part(dialog, "#question"), question);
  say(part(dialog, ".do"), answer);
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.onclose = () => resolve(dialog.returnValue === "yes");
  });
}
