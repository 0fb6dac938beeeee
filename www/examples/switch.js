// One big button for one pin. Which one stands in the address: switch.html?pin=lamp; else it is the first that may be switched.
import { connect } from "/raspi.js";

const raspi = connect(); // opens the link, and opens it again whenever it is lost
const [button] = document.getElementsByTagName("button");
const [words] = document.getElementsByTagName("p");
const name = new URLSearchParams(location.search).get("pin");

/** The pin as it is now, with its label, value and so on; undefined if there is none. */
function mine() {
  return name ? raspi.pins.get(name) : [...raspi.pins.values()].find((pin) => pin.writable);
}

/** Shows what is, not what somebody wished. */
function show() {
  const pin = mine();
  if (raspi.hello) button.textContent = pin ? pin.label : "There is no such pin";
  button.ariaPressed = pin?.value ? "true" : "false";
  button.disabled = !raspi.isFresh || !pin?.writable;
  words.textContent = raspi.isFresh ? "" : raspi.link; // "lost", "stale", "sign-in": then sign in at /
}

button.onclick = async () => {
  try {
    await raspi.toggle(mine()?.name ?? "");
  } catch (error) {
    words.textContent = `Not done: ${error}`; // the server says why
  }
};

raspi.on("link", show);
raspi.on("hello", show); // at the start, and whenever config.yaml was reloaded
raspi.on("pin", show); // whenever a pin changes
