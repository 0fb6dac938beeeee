/** The question before a pin is switched, in a dialog of the page: browsers let people switch off their own. */
import { part, setText } from "./dom.js";

/**
 * Ask, and return whether to go ahead.
 * @param {string} question @param {string} answer the word on the button that goes ahead
 * @returns {Promise<boolean>}
 */
export async function confirmInDialog(question, answer) {
  const dialog = /** @type {HTMLDialogElement} */ (part(document, "#confirm"));
  if (!dialog.showModal) return confirm(question); // Safari before 15.4
  setText(part(dialog, "#question"), question);
  setText(part(dialog, ".do"), answer);
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.onclose = () => resolve(dialog.returnValue === "yes");
  });
}
