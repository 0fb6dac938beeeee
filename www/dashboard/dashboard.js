/** The dashboard, the page at `/`: every pin in a row, what is active, the board's header, the state of the connection, and help if there are no pins yet. */
import { connect } from "../raspi.js";
import { address } from "../ui/address.js";
import { showStatus } from "../ui/connection-status.js";
import { confirmInDialog } from "../ui/dialog.js";
import { fillIn, loadStyle, part, setText } from "../ui/dom.js";
import { loadStrings, text } from "../ui/i18n.js";
import { toast } from "../ui/notice.js";
import { recall, remember } from "../ui/stored.js";
import { Announcer } from "./announcer.js";
import { HealthView } from "./health.js";
import { LastKnown } from "./last-known.js";
import { Notices } from "./notices.js";
import { PinList } from "./pin-list.js";
import { PinRow } from "./pin-row.js";
import { isLocked } from "./pin-view.js";
import { Router, viewOf } from "./router.js";
import { SignIn } from "./sign-in.js";
import { Summary } from "./summary.js";

/** @typedef {import("../raspi.js").Pin} Pin */
/** @typedef {import("./pin-view.js").Action} Action */

fillIn(document);
for (const template of document.querySelectorAll("template")) fillIn(template.content);

const DISCONNECT_HIDDEN_AFTER_S = 60;
const DRAW_INTERVAL_MS = 200; // the first change at once, those that follow together; see tests/bench/FINDINGS.md
const THEMES = ["system", "light", "dark"];
const CARRY_ON_S = 10; // after signing in: a command may not come much later than its tap
const LONGEST_TAP_MS = 1000;
const CLICK_DELAY_MS = 50; // `click` comes after `pointerup`

const raspi = connect({ rest: DISCONNECT_HIDDEN_AFTER_S, confirm: false }); // the views ask, in the page's own words
/** @type {import("./pin-view.js").Context} */
const context = {
  raspi,
  confirm: confirmInDialog,
  unlock: (pin, action) => unlock(pin, action),
  signIn: (then, error) => askForCode(then, error),
  opened: (row) => (details ? details.opened(row) : void needDetails()),
  covers: () => covers,
};
const signIn = new SignIn(raspi);
const health = new HealthView(part(document, "#health"));
const notices = new Notices(raspi, () => signIn.button(), () => needDetails().then(() => details?.trustClock()));
const announcer = new Announcer();
const list = new PinList(part(document, "#pins"), context, {
  row,
  added({ canvas, element, pin }) {
    details?.sparklines.add(canvas, pin.name);
    visibility.observe(element);
  },
  removed({ canvas, element }) {
    details?.sparklines.remove(canvas);
    visibility.unobserve(element);
    visible.delete(element);
  },
});
const summary = new Summary(part(document, "#summary"), reveal);
const router = new Router({ list: part(document, "#list"), pin: part(document, "#pin-page"), events: part(document, "#events-page"), automation: part(document, "#automation-page") });
const lastKnown = new LastKnown(raspi, present);
const board = /** @type {HTMLDetailsElement} */ (part(document, "#board"));
/** @type {import("./details.js").Details|null} */
let details = null;
let areDetailsComing = false;
/** Null until they are loaded, undefined if that failed. @type {import("./covers.js").Covers|null|undefined} */
let covers = null;
/** Pins that have changed since they were drawn. @type {Set<string>} */
const changed = new Set();
/** The parts that may show any pin. */
const SHARED_PARTS = [board, part(document, "#pin-page")];
/** Those of them and of the rows that are on the screen. @type {Set<Element>} */
const visible = new Set();
const visibility = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    if (isIntersecting) visible.add(target);
    else visible.delete(target);
  }
  draw(isVisible); // before an old value is seen
});
let isDrawScheduled = false;
let drawn = 0; // time of the last drawing, by performance.now()
let theme = Math.max(0, THEMES.indexOf(recall("theme", "")));
/** What was tapped before this browser was known to have the right to it, and when that or the signing in was. @type {{label: string, then: () => unknown, at: number}[]} */
let tapped = [];
let isTouched = false;
let liftTimer = 0;
let isDue = false; // what the server said is to be shown once no finger is down

/** Show what the server said, once what its covers need is there. */
async function present() {
  if (raspi.covers.size && !covers) covers = await import("./covers.js").then((module) => module.load(context, change)).catch(failed);
  showUntouched();
}

/** Show what the server said, but not under a finger: if an element is replaced, lifting the finger from it presses nothing. */
function showUntouched() {
  isDue = true;
  if (!isTouched) showAll();
}

/** @param {PointerEvent} event */
function touch({ type }) {
  clearTimeout(liftTimer);
  const isDown = type === "pointerdown";
  if (isDown) isTouched = true;
  liftTimer = window.setTimeout(() => {
    isTouched = false;
    if (isDue) showAll();
  }, isDown ? LONGEST_TAP_MS : CLICK_DELAY_MS);
}

function showAll() {
  const { hello } = raspi;
  if (!hello || (covers === null && raspi.covers.size)) return; // present() comes
  isDue = false;
  setText(part(document, "#host"), hello.server.host);
  setText(part(document, "#version"), `${hello.server.name} ${hello.server.version}`);
  part(document, "#waiting").hidden = true;
  part(document, "#fleet-link").hidden = !hello.fleet;
  const isEmpty = !hello.pins.length;
  part(document, "#no-pins").hidden = !isEmpty || !details;
  part(document, "#events-link").hidden = isEmpty;
  part(document, "#automation-link").hidden = !hello.automation;
  part(document, "#summary").hidden = false; // what is not there yet cannot move
  signIn.show(hello.signed_in, hello.code_would_help);
  notices.update();
  list.show(listed());
  summary.show(listed());
  if (isEmpty && !details) void needDetails(); // the help, and the picture below it
  else if (board.hidden) {
    board.open = isEmpty;
    board.hidden = false;
  }
  route();
  void carryOn();
  void details?.refresh();
  if (navigator.serviceWorker?.controller) void needDetails(); // which it then has while the Pi does not answer
}

/** Return the module of the details, once its style and its strings are there, too. */
async function loadDetails() {
  await Promise.all([loadStyle(new URL("details.css", import.meta.url)), loadStrings()]);
  return import("./details.js");
}

/** @param {unknown} error */
const failed = (error) => void toast("", text("unanswered", { why: String(error) }));

/** Load the details, once. */
async function needDetails() {
  if (details || areDetailsComing) return;
  areDetailsComing = true;
  try {
    const { Details } = await loadDetails();
    details = new Details(context, change);
    for (const row of list.rows) {
      details.sparklines.add(row.canvas, row.pin.name);
      if (row.isOpen) details.opened(row);
    }
    showAll();
  } catch (error) {
    failed(error); // the next tap tries again
  }
  areDetailsComing = false;
}

/** Return the pins that are in the list. */
function listed() {
  const pins = [...raspi.pins.values()].filter(({ hidden, cover }) => !hidden && !cover);
  return covers ? covers.among(pins) : pins;
}

/** Return a pin, or a cover as one. @param {string} name */
const named = (name) => raspi.pins.get(name) ?? covers?.items.get(name);

/** @param {Pin} pin @param {Pin[]} [others] of its group */
function row(pin, others = []) {
  return covers?.row(pin) ?? new PinRow(pin, context, others);
}

/** Ask for the code that a pin needs, and then do what was tapped. @param {string} name of the pin @param {Action} action @param {string} [error] why it is asked again */
async function unlock(name, action, error) {
  const pin = named(name);
  const isThere = !!pin && !isLocked(pin, context); // the right to it
  await askForCode(() => carryOut(name, action), error, pin?.label, isThere);
}

/** Ask for the code, and then do what was tapped. @param {() => unknown} then @param {string} [error] why it is asked again @param {string} [label] of what it switches @param {boolean} [isThere] the right to it */
async function askForCode(then, error, label = "", isThere = false) {
  const isComing = raspi.isFresh && (isThere || signIn.isAwaited);
  if (isComing || (await signIn.ask(error))) tapped.push({ label, then, at: performance.now() });
}

/** Do what was tapped before this browser had the right to it. */
async function carryOn() {
  if (signIn.isAwaited) return;
  for (const { label, then, at } of tapped.splice(0)) {
    if (performance.now() - at > CARRY_ON_S * 1000) toast(label && `${label}:`, text("notDone", { why: text("error:no-answer") }));
    else await then();
  }
}

/** Do what was tapped, after signing in. @param {string} name @param {Action} action */
async function carryOut(name, action) {
  const pin = named(name);
  if (!pin) return;
  if (isLocked(pin, context)) void unlock(name, action, text("notThisCode"));
  else await (list.row(name) ?? row(pin)).act(action); // a hidden pin has none
}

/** Bring the rows of pins to sight, from the page of a pin, too. @param {string[]} names */
function reveal(names) {
  if (viewOf(location.hash).name === "list") return list.reveal(names);
  window.addEventListener("hashchange", () => list.reveal(names), { once: true });
  location.hash = "";
}

/** Go to the next theme, or only show which it is. @param {0|1} step */
function showTheme(step) {
  theme = (theme + step) % THEMES.length;
  const name = /** @type {"system"|"light"|"dark"} */ (THEMES[theme]);
  if (step) remember("theme", name);
  if (step) document.dispatchEvent(new CustomEvent("theme", { detail: name })); // ui/theme.js applies it
  setText(part(document, "#theme"), text("theme", { name: text(`theme:${name}`) }));
}

/** Draw the changes since the last time, of some pins or of all; browsers have no frames for hidden tabs. @param {(name: string) => boolean} [isMeant] */
function draw(isMeant = () => true) {
  const names = [...changed].filter(isMeant);
  if (!names.length) return;
  drawn = performance.now();
  for (const name of names) {
    changed.delete(name);
    const pin = named(name);
    if (!pin) continue;
    list.change(pin);
    details?.show(pin);
  }
  summary.show(listed());
}

/** Draw what is on the screen; the next tick draws the rest. */
function drawVisible() {
  isDrawScheduled = false;
  draw(isVisible);
}

/** @param {Pin} [pin] */
function change(pin) {
  if (!pin) return;
  if (!pin.hidden && !pin.cover && !covers?.isMoving(pin.name)) announcer.change(pin);
  details?.record(pin);
  changed.add(pin.name);
  if (isDrawScheduled || !isVisible(pin.name)) return; // then the next tick is soon enough
  isDrawScheduled = true;
  const rest = drawn + DRAW_INTERVAL_MS - performance.now();
  if (rest <= 0) requestAnimationFrame(drawVisible);
  else setTimeout(() => requestAnimationFrame(drawVisible), rest);
}

/** @param {string} name */
function isVisible(name) {
  const row = list.row(name)?.element;
  return (row && visible.has(row)) || SHARED_PARTS.some((element) => visible.has(element));
}

function showHealth() {
  if (document.hidden || !raspi.health) return;
  health.show(raspi.health);
  notices.update();
}

function tick() {
  if (document.hidden) return;
  showStatus(raspi);
  notices.update();
  if (!details && [...raspi.pins.values()].some(({ next }) => next && next < raspi.time)) void needDetails(); // which ask for the next one
  draw();
  list.tick();
  details?.tick();
  lastKnown.tick();
}

/** Show the view that the address names. */
function route() {
  const { name, pin } = viewOf(location.hash);
  const host = raspi.hello?.server.host ?? location.hostname;
  const title = pin ? (named(pin)?.label ?? pin) : name === "list" ? "" : text(name === "automation" ? name : "events");
  document.title = title ? `${title} – ${host}` : host;
  if (!raspi.hello) return;
  if (name !== "list" && !details) return void needDetails(); // which comes back here
  if (!router.route(open)) details?.refreshView();
}

/** @param {import("./router.js").View} view */
function open(view) {
  part(document, "#summary").classList.toggle("alarms-only", view.name !== "list");
  part(document, "footer").hidden = false; // not before, or it would move
  details?.open(view);
}

part(document, "#way-in").append(signIn.button());
part(document, "#theme").onclick = () => showTheme(1);
showTheme(0);
board.addEventListener("toggle", () => board.open && needDetails());
for (const type of /** @type {const} */ (["pointerdown", "pointerup", "pointercancel"])) document.addEventListener(type, touch, true);
raspi.on("hello", () => setTimeout(present)); // once the health is here, too, which may bring a notice above the pins
raspi.on("pin", change);
raspi.on("cover", ({ name }) => covers && change(named(name)));
raspi.on("automation", () => void needDetails()); // which follow it
raspi.on("health", showHealth);
raspi.on("link", () => showStatus(raspi)); // also on a hidden page: it is rare
window.addEventListener("hashchange", route);
for (const refresh of [tick, showHealth]) document.addEventListener("visibilitychange", refresh);
for (const element of SHARED_PARTS) visibility.observe(element);
setInterval(tick, 1000);
tick();

if ("serviceWorker" in navigator && location.protocol === "https:") {
  // It needs a certificate that this browser trusts; without it the page works all the same.
  navigator.serviceWorker.addEventListener("controllerchange", () => void needDetails());
  navigator.serviceWorker.register(address("service-worker.js")).catch((error) => console.warn("raspi-server: no service worker:", error));
}
