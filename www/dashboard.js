/** The page at `/`: every pin on a card, the board's header, how fresh all of it is, and what to type when there are no pins yet. */
import { Announcer } from "./announce.js";
import { ask } from "./dialog.js";
import { copyable, fillIn, make, part, say } from "./dom.js";
import { HeaderView } from "./header.js";
import { HealthView } from "./health.js";
import { showLink } from "./link.js";
import { Notices } from "./notices.js";
import { Past } from "./past.js";
import { PinPage } from "./pinpage.js";
import { PinCard, shape } from "./pins.js";
import { connect } from "./raspi.js";
import { Session } from "./session.js";
import { Strips } from "./strip.js";
import { LANGUAGE, text } from "./texts.js";

/** @typedef {import("./raspi.js").Pin} Pin */

document.documentElement.lang = LANGUAGE;
fillIn(document);
for (const template of document.querySelectorAll("template")) fillIn(template.content);

const PAST = 300; // seconds on a card
const REST = 60; // seconds
const DRAW_EVERY = 200; // milliseconds: the first change at once, those that follow together; see tests/bench/FINDINGS.md
const ASK_PAST_EVERY = 10; // seconds, while polling: what came and went between two looks

const raspi = connect({ rest: REST, confirm: () => true }); // the cards ask, in the page's own words
/** @type {import("./pins.js").Desk} */
const desk = { raspi, confirm: ask };
const session = new Session(raspi);
const header = new HeaderView(part(document, "#board"), raspi);
const health = new HealthView(part(document, "#health"));
const notices = new Notices(raspi, () => session.button());
const announcer = new Announcer();
const past = new Past(raspi, PAST);
const strips = new Strips(past);
const page = new PinPage(part(document, "#pin-page"), desk);
/** @type {Map<string, {shape: string, card: PinCard}>} */
let cards = new Map();
/** Pins that are not drawn yet as they are. @type {Set<string>} */
const news = new Set();
/** What may show any pin. */
const OF_ALL = [part(document, "#board"), part(document, "#pin-page")];
/** What is on the screen now of those and of the cards. @type {Set<Element>} */
const inSight = new Set();
const sight = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    if (isIntersecting) inSight.add(target);
    else inSight.delete(target);
  }
  draw(); // before anyone sees what it was
});
let waits = false; // for the next drawing
let drawn = 0; // when that last was, by performance.now()
let asked = 0; // when the past was, by performance.now()

async function showAll() {
  const { hello } = raspi;
  if (!hello) return;
  say(part(document, "#host"), hello.server.host);
  say(part(document, "#version"), `${hello.server.name} ${hello.server.version}`);
  part(document, "#waiting").hidden = true;
  part(document, "#house").hidden = !hello.fleet;
  part(document, "#no-pins").hidden = hello.pins.length > 0;
  session.show(hello.signed_in);
  notices.show();
  showCards();
  const board = /** @type {HTMLDetailsElement} */ (part(document, "#board"));
  if (board.hidden && !hello.pins.length) board.open = true;
  board.hidden = false;
  header.refresh();
  route();
  await askPast();
}

async function askPast() {
  asked = performance.now();
  if (!(await past.refresh())) return;
  strips.redraw();
  for (const pin of raspi.pins.values()) {
    const { time, by } = past.of(pin.name).last;
    if (pin.by !== null || !by || pin.since === null || Math.abs(time - pin.since) > 0.001) continue;
    pin.by = by; // a hello does not say who
    change(pin);
  }
}

/** A card whose pin is described as before stays, with the focus and the thumb that may be on it. */
function showCards() {
  const before = cards;
  cards = new Map();
  for (const pin of raspi.pins.values()) {
    const old = before.get(pin.name);
    const now = shape(pin, desk);
    if (old?.shape === now) {
      cards.set(pin.name, old);
      before.delete(pin.name);
    } else {
      const card = new PinCard(pin, desk);
      cards.set(pin.name, { shape: now, card });
      strips.add(card.canvas, pin.name);
      sight.observe(card.element);
    }
  }
  for (const { card } of before.values()) {
    strips.remove(card.canvas);
    sight.unobserve(card.element);
    inSight.delete(card.element);
  }
  const place = part(document, "#pins");
  const there = [...place.querySelectorAll(".pin")];
  const elements = [...cards.values()].map(({ card }) => card.element);
  if (elements.length === there.length && elements.every((element, i) => element === there[i])) return;
  place.replaceChildren(...grouped([...cards.values()].map(({ card }) => card)));
}

/** Neighbours of one group stand together under its name. @param {PinCard[]} all */
function grouped(all) {
  /** @type {HTMLElement[]} */
  const places = [];
  /** @type {string|null} */
  let open = null;
  all.forEach(({ pin: { group }, element }, i) => {
    const isNeighbour = group !== null && (all[i - 1]?.pin.group === group || all[i + 1]?.pin.group === group);
    if (!isNeighbour) {
      open = null;
      return places.push(element);
    }
    if (group !== open) {
      const place = make("section", "group");
      const title = make("h2", "", text("groupOf", { group }));
      title.id = `group-${places.length}`;
      place.setAttribute("aria-labelledby", title.id);
      place.append(title, make("div", "members"));
      places.push(place);
      open = group;
    }
    const place = /** @type {HTMLElement} */ (places[places.length - 1]);
    part(place, ".members").append(element);
    place.dataset.size = String(part(place, ".members").children.length);
  });
  return places;
}

/** Draws what came since the last time; browsers have no frames for tabs that nobody sees. */
function draw() {
  waits = false;
  if (!news.size) return;
  drawn = performance.now();
  for (const name of news) {
    const pin = raspi.pins.get(name);
    if (!pin) continue;
    cards.get(name)?.card.show(pin);
    page.show(pin);
    header.pin(pin);
  }
  news.clear();
}

/** @param {Pin} pin */
function change(pin) {
  announcer.change(pin);
  if (past.note(pin)) strips.change(pin.name);
  page.note(pin);
  news.add(pin.name);
  if (waits || !isInSight(pin.name)) return; // then the next tick is soon enough
  waits = true;
  const rest = drawn + DRAW_EVERY - performance.now();
  if (rest <= 0) requestAnimationFrame(draw);
  else setTimeout(() => requestAnimationFrame(draw), rest);
}

/** @param {string} name */
function isInSight(name) {
  const card = cards.get(name)?.card.element;
  return (card && inSight.has(card)) || OF_ALL.some((element) => inSight.has(element));
}

function showHealth() {
  if (document.hidden || !raspi.health) return;
  health.show(raspi.health);
  notices.show();
}

function tick() {
  if (document.hidden) return;
  showLink(raspi);
  notices.show();
  draw();
  for (const { card } of cards.values()) card.tick();
  strips.tick();
  page.tick();
  if (raspi.link === "polling" && performance.now() - asked > ASK_PAST_EVERY * 1000) askPast();
}

let place = 0; // how far the list of pins was scrolled
/** @type {string|null} */
let shown = null;

/** `#pin/NAME` is the page of one pin, all else the list. */
function route() {
  const name = /^#pin\/([a-z][a-z0-9_-]*)$/.exec(location.hash)?.[1] ?? "";
  const host = raspi.hello?.server.host ?? "raspi-server";
  document.title = name ? `${raspi.pins.get(name)?.label ?? name} – ${host}` : host;
  if (!raspi.hello) return;
  const isFirst = shown === null;
  if (name === shown) return page.refresh();
  if (!shown) place = scrollY;
  const before = shown ?? "";
  shown = name;
  part(document, "#list").hidden = name !== "";
  page.open(name);
  if (!isFirst) scrollTo(0, name ? 0 : place);
  if (isFirst) return; // nobody was anywhere yet
  if (name) part(document, "#pin-page .back").focus({ preventScroll: true });
  else cards.get(before)?.card.element.querySelector("a")?.focus({ preventScroll: true });
}

for (const example of document.querySelectorAll("#no-pins pre")) copyable(/** @type {HTMLElement} */ (example));
part(document, "#way-in").append(session.button());
raspi.on("hello", showAll);
raspi.on("pin", change);
raspi.on("health", showHealth);
raspi.on("link", () => showLink(raspi)); // also where nobody looks: it is rare
window.addEventListener("hashchange", route);
for (const look of [tick, showHealth]) document.addEventListener("visibilitychange", look);
for (const element of OF_ALL) sight.observe(element);
setInterval(tick, 1000);
tick();

if ("serviceWorker" in navigator && location.protocol === "https:") {
  // It needs a certificate that this browser trusts; without it the page works all the same.
  navigator.serviceWorker.register("/service-worker.js").catch((error) => console.warn("raspi-server: no service worker:", error));
}
