/** Examples that are copied by a button. */
import { make, part } from "./dom.js";
import { text } from "./i18n.js";

/** Add a button to an example that copies it. Without https there is no clipboard API: an older one is used. @param {HTMLElement} example */
export function copyable(example) {
  const button = make("button", "copy", text("copy"));
  button.onclick = async () => {
    const code = part(example, "code");
    getSelection()?.selectAllChildren(code);
    const copied = navigator.clipboard
      ? await navigator.clipboard.writeText(code.textContent ?? "").then(() => true, () => false)
      : document.execCommand("copy");
    button.textContent = text(copied ? "copied" : "copyIt");
  };
  example.append(button);
}
