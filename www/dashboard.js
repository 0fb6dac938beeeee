/** The page at `/`: every pin on a card, the board's header, how fresh all of it is, and what to type when there are no pins yet. */
import { copyable, make, part, say } from "./dom.js";
import { HeaderView } from "./header.js";
import { PinCard, shape } from "./pins.js";
import { connect } from "./raspi.js";
import { Session } from "./session.js";
import { percent, span } from "./words.js";

/** @typedef {import("./raspi.js").Health} Health */
/** @typedef {import("./raspi.js").Hello} Hello */
/** @typedef {import("./raspi.js").Link} Link */

const raspi = connect();
/** @type {import("./pins.js").Desk} */
const desk = { raspi, confirm: ask };
const session = new Session(raspi);
const header = new HeaderView(part(document, "#board"), raspi);
/** @type {Map<string, {shape: string, card: PinCard}>} */
let cards = new Map();

/** @param {Hello} hello */
function showAll({ server, access, signed_in, code_would_help, pins }) {
  say(part(document, "#host"), server.host);
  say(part(document, "#version"), `${server.name} ${server.version}`);
  document.title = server.host;
  part(document, "#waiting").hidden = true;
  part(document, "#no-pins").hidden = pins.length > 0;
  session.show(signed_in);
  showNotices(server.notices);
  if (access === "view" && pins.some((pin) => pin.mode !== "input")) showOnlyLooking(code_would_help);

  // A card whose pin is described as before stays, with the focus and the thumb that may be on it.
  const before = cards;
  cards = new Map();
  for (const pin of raspi.pins.values()) {
    const old = before.get(pin.name);
    const now = shape(pin, desk);
    cards.set(pin.name, old?.shape === now ? old : { shape: now, card: new PinCard(pin, desk) });
  }
  const place = part(document, "#pins");
  const elements = [...cards.values()].map(({ card }) => card.element);
  if (elements.length !== place.children.length || elements.some((element, i) => element !== place.children[i])) {
    place.replaceChildren(...elements);
  }
  part(document, "#board").hidden = false;
  header.refresh();
}

/** @param {import("./raspi.js").Notice[]} notices */
function showNotices(notices) {
  part(document, "#notices").replaceChildren(
    ...notices.map(({ code, message }) => {
      const notice = make("p", code === "simulated" ? "notice" : "notice warning");
      notice.dataset.code = code;
      notice.textContent = message;
      return notice;
    }),
  );
}

/** @param {boolean} codeWouldHelp */
function showOnlyLooking(codeWouldHelp) {
  const notice = make("p", "notice");
  notice.dataset.code = "view";
  notice.textContent = `Only looking: ${codeWouldHelp ? "switching needs the control code." : "nobody may switch these pins."}`;
  if (codeWouldHelp) notice.append(session.button());
  part(document, "#notices").append(notice);
}

/** @type {Record<Link, string>} */
const LINK_WORDS = {
  connecting: "Connecting",
  live: "Live",
  stale: "Stale",
  lost: "Reconnecting",
  "sign-in": "Sign in needed",
  forbidden: "Not allowed",
  closed: "Closed",
};

/** What to say while there is nothing to show. @type {Partial<Record<Link, string>>} */
const WAITING_WORDS = {
  lost: `There is no answer from the Raspberry Pi. This page goes on trying by itself.${
    location.protocol === "https:" ? " iPhones and iPads do not connect until they trust the certificate." : ""
  }`,
  "sign-in": "This Raspberry Pi shows its pins only to those who signed in.",
  forbidden: "This Raspberry Pi does not show its pins to this device.",
};

function showLink() {
  const { link, silence } = raspi;
  if (document.body.dataset.link !== link) document.body.dataset.link = link;
  say(part(document, "#link strong"), LINK_WORDS[link]);
  let heard = "";
  if (silence !== null && link === "live") heard = silence < 2 ? "heard just now" : `heard ${span(silence)} ago`;
  else if (silence !== null) heard = `heard nothing for ${span(silence)}`;
  say(part(document, "#link span"), heard);
  const words = WAITING_WORDS[link];
  if (words) say(part(document, "#waiting"), words);
  if (link === "sign-in" || link === "forbidden") part(document, "#waiting").hidden = false;
  part(document, "#way-in").hidden = link !== "sign-in";
}

function tick() {
  showLink();
  for (const { card } of cards.values()) card.tick();
}

/** @param {Health} health */
function showHealth(health) {
  /** @param {number|null} value @param {(value: number) => string} words */
  const known = (value, words) => (typeof value === "number" ? words(value) : "");
  const facts = {
    Temperature: known(health.temperature, (degrees) => `${degrees.toFixed(1)} °C`),
    Load: known(health.load, percent),
    Memory: known(health.memory, percent),
    Disk: known(health.disk, percent),
    Viewers: known(health.viewers, String),
    Power: (health.throttled ?? []).join(", "),
  };
  const list = part(document, "#health");
  list.hidden = false;
  for (const [name, words] of Object.entries(facts)) {
    let fact = /** @type {HTMLElement|null} */ (list.querySelector(`[data-fact="${name}"]`));
    if (!fact) {
      fact = make("div", "fact");
      fact.dataset.fact = name;
      fact.append(make("dt", ""), make("dd", ""));
      part(fact, "dt").textContent = name;
      list.append(fact);
    }
    fact.hidden = !words;
    say(part(fact, "dd"), words);
  }
}

/**
 * Asks in a dialog of the page, since browsers let people switch off their own.
 * @param {string} question @param {string} answer the word on the button that goes ahead
 * @returns {Promise<boolean>}
 */
function ask(question, answer) {
  const dialog = /** @type {HTMLDialogElement} */ (part(document, "#confirm"));
  say(part(dialog, "#question"), question);
  say(part(dialog, ".do"), answer);
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.onclose = () => resolve(dialog.returnValue === "yes");
  });
}

for (const example of document.querySelectorAll("#no-pins pre")) copyable(/** @type {HTMLElement} */ (example));
part(document, "#way-in").append(session.button());
raspi.on("hello", showAll);
raspi.on("pin", (pin) => {
  cards.get(pin.name)?.card.show(pin);
  header.pin(pin);
});
raspi.on("health", showHealth);
raspi.on("link", tick);
setInterval(tick, 500);
