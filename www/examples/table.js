// All pins in a table, with their values and since when they have them.
import { connect } from "../raspi.js"; // from a file beside raspi.js it is "./raspi.js"

const raspi = connect(); // opens the link, and opens it again whenever it is lost
const [body] = document.getElementsByTagName("tbody");
/** The row of each pin, by its name. @type {Map<string, HTMLTableRowElement>} */
const rows = new Map();

// At the start, and whenever config.yaml was reloaded: there may be other pins now.
raspi.on("hello", () => {
  rows.clear();
  body.replaceChildren();
  for (const pin of raspi.pins.values()) {
    const row = body.insertRow();
    for (let column = 0; column < 3; column++) row.insertCell();
    rows.set(pin.name, row);
  }
});

// Right after that for every pin, and then whenever one changes.
raspi.on("pin", (pin) => {
  const cells = rows.get(pin.name)?.cells;
  if (!cells) return;
  cells[0].textContent = pin.label;
  cells[1].textContent = pin.error ?? String(pin.value); // 0 or 1, for dimmers 0 to 1; null cannot be read
  cells[2].textContent = pin.since ? new Date(pin.since * 1000).toLocaleTimeString() : "";
});

// Anything but "live" and "polling" means that the numbers are old: examples.css then lets them fade.
raspi.on("link", (link) => (document.body.dataset.link = link));
