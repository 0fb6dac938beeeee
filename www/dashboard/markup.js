/** Elements of the details from HTML, which is always a constant of ours: what a server or a person wrote goes in as a text, later. */
import { fillIn } from "../ui/dom.js";

/** Return new elements, with the texts that they name. @param {string} html */
export function built(html) {
  const template = document.createElement("template");
  template.innerHTML = html;
  fillIn(template.content);
  return template.content;
}
