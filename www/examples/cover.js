// Three buttons for one cover, such as a garage door.
import { connect } from "../raspi.js"; // from a file beside raspi.js it is "./raspi.js"

const COVER = "garage"; // the name of your cover in config.yaml; cover.html?cover=NAME shows another one

const raspi = connect(); // asks before it moves a cover with `confirm: true`
const [heading] = document.getElementsByTagName("h1");
const [words] = document.getElementsByTagName("p");
const buttons = [...document.getElementsByTagName("button")];
const name = new URLSearchParams(location.search).get("cover") ?? COVER;

function show() {
  const cover = raspi.covers.get(name);
  if (raspi.hello) heading.textContent = cover ? cover.label : `There is no cover called ${name}`;
  const { state, position, problem } = cover ?? {};
  words.textContent = raspi.isFresh ? [state, position !== null && position !== undefined && `${position}%`, problem].filter(Boolean).join(", ") : raspi.link;
  for (const button of buttons) button.disabled = !raspi.isFresh || !cover?.writable || (button.value === "stop" && !cover.can_stop);
}

/** @type {Record<string, () => Promise<unknown>>} */
const commands = { open: () => raspi.open(name), stop: () => raspi.stop(name), close: () => raspi.close(name) };
for (const button of buttons) {
  button.onclick = () => commands[button.value]?.().catch((error) => (words.textContent = `Not done: ${error.message}`)); // the server says why
}

raspi.on("link", show);
raspi.on("hello", show); // at the start, and whenever config.yaml was reloaded
raspi.on("cover", show); // whenever a cover moves
