/** The dashboard, the page at `/`: every pin on a card, the board's header, the state of the connection, and help if there are no pins yet. */
import { connect } from "../raspi.js";
import { address } from "../ui/address.js";
import { showStatus } from "../ui/connection-status.js";
import { confirmInDialog } from "../ui/dialog.js";
import { copyable, fillIn, make, part, setText } from "../ui/dom.js";
import { text } from "../ui/i18n.js";
import { Announcer } from "./announcer.js";
import { EventsPage } from "./events.js";
import { GpioHeader } from "./gpio-header.js";
import { HealthView } from "./health.js";
import { History } from "./history.js";
import { LastKnown } from "./last-known.js";
import { Notices } from "./notices.js";
import { PinCard } from "./pin-card.js";
import { shape } from "./pin-view.js";
import { PinPage } from "./pin-page.js";
import { Router, viewOf } from "./router.js";
import { SignIn } from "./sign-in.js";
import { Sparklines } from "./sparkline.js";

/** @typedef {import("../raspi.js").Pin} Pin */

fillIn(document);
for (const template of document.querySelectorAll("template")) fillIn(template.content);

const HISTORY_S = 300; // on a card
const DISCONNECT_HIDDEN_AFTER_S = 60;
const DRAW_INTERVAL_MS = 200; // the first change at once, those that follow together; see tests/bench/FINDINGS.md
const HISTORY_INTERVAL_S = 10; // while polling: for changes between two requests

const raspi = connect({ rest: DISCONNECT_HIDDEN_AFTER_S, confirm: () => true }); // the cards ask, in the page's own words
/** @type {import("./pin-view.js").Context} */
const context = { raspi, confirm: confirmInDialog };
const signIn = new SignIn(raspi);
const header = new GpioHeader(part(document, "#board"), context);
const health = new HealthView(part(document, "#health"));
const notices = new Notices(raspi, () => signIn.button());
const announcer = new Announcer();
const history = new History(raspi, HISTORY_S);
const sparklines = new Sparklines(history);
const page = new PinPage(part(document, "#pin-page"), context);
const events = new EventsPage(part(document, "#events-page"), raspi);
const router = new Router({ list: part(document, "#list"), pin: part(document, "#pin-page"), events: part(document, "#events-page") });
const lastKnown = new LastKnown(raspi, () => showAll());
/** @type {Map<string, {shape: string, card: PinCard}>} */
let cards = new Map();
/** Pins that have changed since they were drawn. @type {Set<string>} */
const changed = new Set();
/** The parts that may show any pin. */
const SHARED_PARTS = [part(document, "#board"), part(document, "#pin-page")];
/** Those of them and of the cards that are on the screen. @type {Set<Element>} */
const visible = new Set();
const visibility = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    if (isIntersecting) visible.add(target);
    else visible.delete(target);
  }
  draw(); // before an old value is seen
});
let isDrawScheduled = false;
let drawn = 0; // time of the last drawing, by performance.now()
let historyRequested = 0; // by performance.now()

async function showAll() {
  const { hello } = raspi;
  if (!hello) return;
  setText(part(document, "#host"), hello.server.host);
  setText(part(document, "#version"), `${hello.server.name} ${hello.server.version}`);
  part(document, "#waiting").hidden = true;
  part(document, "#fleet-link").hidden = !hello.fleet;
  part(document, "#no-pins").hidden = hello.pins.length > 0;
  part(document, "#events-link").hidden = hello.pins.length === 0;
  signIn.show(hello.signed_in);
  notices.show();
  showCards();
  const board = /** @type {HTMLDetailsElement} */ (part(document, "#board"));
  if (board.hidden && !hello.pins.length) board.open = true;
  board.hidden = false;
  header.refresh();
  route();
  await fetchHistory();
}

async function fetchHistory() {
  historyRequested = performance.now();
  if (!(await history.refresh())) return;
  sparklines.redraw();
  for (const pin of raspi.pins.values()) {
    const { time, by } = history.of(pin.name).last;
    if (pin.by !== null || !by || pin.since === null || Math.abs(time - pin.since) > 0.001) continue;
    pin.by = by; // a hello does not have it
    change(pin);
  }
}

/** Draw the cards. A card whose pin is described as before stays, with the focus and the finger that may be on it. */
function showCards() {
  const before = cards;
  cards = new Map();
  for (const pin of raspi.pins.values()) {
    const old = before.get(pin.name);
    const now = shape(pin, context);
    if (old?.shape === now) {
      cards.set(pin.name, old);
      before.delete(pin.name);
    } else {
      const card = new PinCard(pin, context);
      cards.set(pin.name, { shape: now, card });
      sparklines.add(card.canvas, pin.name);
      visibility.observe(card.element);
    }
  }
  for (const { card } of before.values()) {
    sparklines.remove(card.canvas);
    visibility.unobserve(card.element);
    visible.delete(card.element);
  }
  const place = part(document, "#pins");
  const there = [...place.querySelectorAll(".pin")];
  const elements = [...cards.values()].map(({ card }) => card.element);
  if (elements.length === there.length && elements.every((element, i) => element === there[i])) return;
  place.replaceChildren(...grouped([...cards.values()].map(({ card }) => card)));
}

/** Return the cards in their places: neighbours of one group together under its name. @param {PinCard[]} all */
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

/** Draw the changes since the last time; browsers have no frames for hidden tabs. */
function draw() {
  isDrawScheduled = false;
  if (!changed.size) return;
  drawn = performance.now();
  for (const name of changed) {
    const pin = raspi.pins.get(name);
    if (!pin) continue;
    cards.get(name)?.card.show(pin);
    page.show(pin);
    header.showPin(pin);
  }
  changed.clear();
}

/** @param {Pin} pin */
function change(pin) {
  announcer.change(pin);
  if (history.record(pin)) sparklines.change(pin.name);
  page.record(pin);
  events.record(pin);
  changed.add(pin.name);
  if (isDrawScheduled || !isVisible(pin.name)) return; // then the next tick is soon enough
  isDrawScheduled = true;
  const rest = drawn + DRAW_INTERVAL_MS - performance.now();
  if (rest <= 0) requestAnimationFrame(draw);
  else setTimeout(() => requestAnimationFrame(draw), rest);
}

/** @param {string} name */
function isVisible(name) {
  const card = cards.get(name)?.card.element;
  return (card && visible.has(card)) || SHARED_PARTS.some((element) => visible.has(element));
}

function showHealth() {
  if (document.hidden || !raspi.health) return;
  health.show(raspi.health);
  notices.show();
}

function tick() {
  if (document.hidden) return;
  showStatus(raspi);
  notices.show();
  draw();
  for (const { card } of cards.values()) card.tick();
  sparklines.tick();
  page.tick();
  events.tick();
  header.tick();
  lastKnown.tick();
  if (raspi.link === "polling" && performance.now() - historyRequested > HISTORY_INTERVAL_S * 1000) fetchHistory();
}

/** Show the view that the address names. */
function route() {
  const { name, pin } = viewOf(location.hash);
  const host = raspi.hello?.server.host ?? location.hostname;
  const title = pin ? (raspi.pins.get(pin)?.label ?? pin) : name === "events" ? text("events") : "";
  document.title = title ? `${title} – ${host}` : host;
  if (!raspi.hello || router.route(open)) return;
  page.refresh();
  events.refresh();
}

/** @param {import("./router.js").View} view */
function open({ name, pin }) {
  page.open(pin);
  events.open(name === "events");
}

for (const example of document.querySelectorAll("#no-pins pre")) copyable(/** @type {HTMLElement} */ (example));
part(document, "#way-in").append(signIn.button());
raspi.on("hello", showAll);
raspi.on("pin", change);
raspi.on("health", showHealth);
raspi.on("link", () => showStatus(raspi)); // also on a hidden page: it is rare
window.addEventListener("hashchange", route);
for (const refresh of [tick, showHealth]) document.addEventListener("visibilitychange", refresh);
for (const element of SHARED_PARTS) visibility.observe(element);
setInterval(tick, 1000);
tick();

if ("serviceWorker" in navigator && location.protocol === "https:") {
  // It needs a certificate that this browser trusts; without it the page works all the same.
  navigator.serviceWorker.register(address("service-worker.js")).catch((error) => console.warn("raspi-server: no service worker:", error));
}
