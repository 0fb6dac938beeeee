// The page of the tutorial that raspi-server grew from: press "Run WebSocket" and see what the server says.
// The tutorial spoke to the WebSocket itself; raspi.js does that here, and knows when the link is dead.
import { connect } from "../raspi.js"; // from a file beside raspi.js it is "./raspi.js"

const [button] = document.getElementsByTagName("button");
const [box] = document.getElementsByTagName("div");
/** @type {string[]} */
const lines = [];

/** Add a line below the others; only the last ones stay. @param {string} line */
function say(line) {
  lines.push(line);
  box.textContent = lines.slice(-6).join("\n"); // textContent, never innerHTML: what comes from outside stays text
}

button.onclick = () => {
  button.disabled = true; // one link is enough
  say("Connecting…");
  const raspi = connect(); // the address is that of this page, with wss where the page came by https
  raspi.on("link", (link) => say(link === "live" ? "Connection is open" : `Connection is ${link}`));
  raspi.on("state", (state) => say(`${state.time.toFixed(3)} ${JSON.stringify(state.pins)}`)); // ten times a second
  raspi.on("change", (change) => say(`${change.time.toFixed(3)} ${change.pin} is now ${change.value}`)); // at once
};
button.disabled = false; // a press before now would do nothing
