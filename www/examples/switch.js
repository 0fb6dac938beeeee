// One big button for one pin.
import { connect } from "../raspi.js"; // from a file beside raspi.js it is "./raspi.js"

const PIN = "lamp"; // the name of your pin in config.yaml; switch.html?pin=NAME shows another one

const raspi = connect(); // opens the link, opens it again whenever it is lost, and asks before it switches a pin with `confirm: true`
const [button] = document.getElementsByTagName("button");
const [words] = document.getElementsByTagName("p");
const name = new URLSearchParams(location.search).get("pin") ?? PIN;

/** Return what keeps the button from working, or nothing. */
function problem() {
  if (!raspi.isFresh) return raspi.link; // "lost", "stale", "sign-in": then sign in at /
  const pin = raspi.pins.get(name);
  if (pin) return pin.writable ? "" : `${pin.label} cannot be switched from here. A code may help: sign in at /`;
  const others = [...raspi.pins.values()].filter((each) => each.writable).map((each) => `${each.name} (${each.label})`);
  return `Write the name of your pin into PIN at the top of switch.js: ${others.join(", ") || "there is none that you may switch"}`;
}

/** Show the value the pin has, not the one that was asked for. */
function show() {
  const pin = raspi.pins.get(name);
  if (raspi.hello) button.textContent = pin ? pin.label : `There is no pin called ${name}`;
  button.ariaPressed = pin?.value ? "true" : "false";
  words.textContent = problem();
  button.disabled = words.textContent !== "";
}

button.onclick = () => raspi.toggle(name).catch((error) => (words.textContent = `Not done: ${error.message}`)); // the server says why

raspi.on("link", show);
raspi.on("hello", show); // at the start, and whenever config.yaml was reloaded
raspi.on("pin", show); // whenever a pin changes
