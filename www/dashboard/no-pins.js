/** Help for a Raspberry Pi that has no pins in its configuration yet. */
import { copyable } from "../ui/copyable.js";
import { built } from "./markup.js";

const HTML = `
<h2 data-text="noPinsTitle"></h2>
<p data-text="noPinsWords"></p>
<ol>
  <li>
    <p data-text="stepChoose"></p>
    <pre><code>pins:
  button:
    label: Button
    gpio: 17
    mode: input
    pull: up
  led:
    label: LED
    gpio: 27
    mode: output</code></pre>
  </li>
  <li>
    <p data-text="stepFile"><code data-name="pins">pins:</code><code data-name="run">scripts/run.sh</code><code data-name="file">config.yaml</code></p>
    <pre><code>sudo nano /etc/raspi-server/config.yaml</code></pre>
  </li>
  <li>
    <p data-text="stepReload"><code data-name="run">scripts/run.sh</code></p>
    <pre><code>sudo systemctl reload raspi-server</code></pre>
  </li>
</ol>
<p data-text="noPinsEnd"></p>`;

/** Show how to configure the first pins. @param {HTMLElement} place */
export function explainPins(place) {
  place.append(built(HTML));
  for (const example of place.querySelectorAll("pre")) copyable(example);
}
