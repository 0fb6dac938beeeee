/** The page at `/fleet/`: all Raspberry Pis at the broker, live, grouped, to be searched and switched. */
import { copyable, fillIn, make, part, say } from "../dom.js";
import { showLink } from "../link.js";
import { notice } from "../notices.js";
import { LANGUAGE } from "../texts.js";
import { Comings } from "./comings.js";
import { House } from "./house.js";
import { PiList } from "./list.js";
import { anyText, counted, number, text } from "./texts.js";

/** @typedef {import("./house.js").Pi} Pi */
/** @typedef {import("./card.js").PiCard} PiCard */

document.documentElement.lang = LANGUAGE;
document.title = text("title");
fillIn(document, anyText);

const DRAW_EVERY = 100; // milliseconds: the first change at once, those that follow together

const house = new House();
const list = new PiList(part(document, "#pis"), house);
const comings = new Comings();
const search = /** @type {HTMLInputElement} */ (part(document, "#search"));
const filter = /** @type {HTMLSelectElement} */ (part(document, "#filter"));
/** Names of pins that are not drawn yet as they are. @type {Map<string, Set<string>>} by topic */
const news = new Map();
let waits = false; // for the next drawing
let drawn = 0; // when that last was, by performance.now()
let isUntidy = false; // somebody may be in the wrong place
let notices = "";

/** @type {Record<string, (pi: Pi) => boolean>} */
const FILTERS = {
  all: () => true,
  offline: ({ online }) => !online,
  on: ({ online, pins }) => online && pins.some(({ value }) => value),
  error: ({ pins }) => pins.some(({ error }) => error !== null),
};

/** Shows who fits what is looked for. */
function tidy() {
  isUntidy = false;
  showCounts();
  const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
  const passes = FILTERS[filter.value] ?? (() => true);
  const shown = list.arrange((pi) => passes(pi) && words.every((each) => pi.words.includes(each)));
  const isAll = !words.length && filter.value === "all";
  say(part(document, "#shown"), isAll ? "" : text("shown", { count: number(shown) }));
  const empty = house.pis.size ? text("noMatch") : house.broker.connected ? text("nobody") : "";
  say(part(document, "#nothing"), shown || !house.isFresh ? "" : empty);
}

function tidySoon() {
  if (isUntidy) return;
  isUntidy = true;
  requestAnimationFrame(tidy);
}

function showCounts() {
  const offline = [...house.pis.values()].filter(({ online }) => !online).length;
  const state = offline ? text("offlineCount", { count: number(offline) }) : text("allOnline");
  const known = house.pis.size ? [counted(house.pis.size), house.isCurrent && state] : [];
  say(part(document, "#counts"), known.filter(Boolean).join(", "));
}

/** What is in the way, in words. */
function showNotices() {
  const { broker, access, codeWouldHelp, isFresh, isDeaf } = house;
  /** @type {import("../notices.js").Line[]} */
  const lines = [];
  if (isDeaf && !isFresh && !house.isOff) lines.push({ code: "blocked", words: text("blocked"), isWarning: true, action: () => way("/trust", "howToTrust") });
  if (isFresh && !broker.connected) {
    lines.push({ code: "broker", words: text(broker.error ? "brokerAway" : "brokerComing"), detail: broker.error ?? "", isWarning: true });
  } else if (isFresh && broker.error) lines.push({ code: "broker", words: text("brokerPart"), detail: broker.error, isWarning: true });
  if (isFresh && house.needsCode && (access === "control" || house.maySwitchSome)) {
    lines.push({ code: "view", words: anyText("someNeedCode"), action: () => way("/", "signInThere") });
  } else if (isFresh && access === "view") {
    lines.push({ code: "view", words: text(codeWouldHelp ? "lookOnlyCode" : "lookOnly"), action: codeWouldHelp ? () => way("/", "signInThere") : undefined });
  }
  if (house.isCurrent && !broker.error && house.pis.size === 1) lines.push({ code: "alone", words: text("alone") });
  const now = JSON.stringify(lines);
  if (now === notices) return;
  notices = now;
  part(document, "#notices").replaceChildren(...lines.map(notice));
}

/** @param {string} href @param {string} key */
function way(href, key) {
  const link = make("a", "button", anyText(key));
  link.href = href;
  return link;
}

function showState() {
  document.body.toggleAttribute("data-current", house.isCurrent);
  part(document, "#off").hidden = !house.isOff;
  if (house.isOff) for (const id of ["#waiting", "#link", "#tools"]) part(document, id).hidden = true;
  showCounts();
  showNotices();
  for (const card of list.near) card.renew(card.pi); // who may switch may be another
}

function showAll() {
  part(document, "#waiting").hidden = true;
  part(document, "#tools").hidden = false;
  comings.begin(house.pis.values());
  for (const pi of house.pis.values()) list.card(pi.topic)?.renew(pi);
  tidy();
}

/** @param {Pi} pi */
function renew(pi) {
  comings.note(pi);
  list.card(pi.topic)?.renew(pi);
  tidySoon();
}

/** Draws what came since the last time. */
function draw() {
  [waits, drawn] = [false, performance.now()];
  for (const [topic, names] of news) {
    const card = list.card(topic);
    for (const name of names) card?.show(name);
    card?.tick();
  }
  news.clear();
}

/** @param {{pi: Pi, pin: import("./house.js").Pin}} change */
function change({ pi, pin }) {
  const names = news.get(pi.topic) ?? new Set();
  news.set(pi.topic, names.add(pin.name));
  if (waits) return;
  waits = true;
  const rest = drawn + DRAW_EVERY - performance.now();
  if (rest <= 0) requestAnimationFrame(draw);
  else setTimeout(() => requestAnimationFrame(draw), rest);
}

function tick() {
  if (document.hidden) return;
  showLink(house);
  showNotices();
  for (const card of list.near) card.tick();
  if (filter.value !== "all") tidySoon();
}

for (const example of document.querySelectorAll("#off pre")) copyable(/** @type {HTMLElement} */ (example));
part(document, "#way-in").append(way("/", "signInThere"));
search.placeholder = text("find");
search.oninput = filter.onchange = tidySoon;
house.on("all", showAll);
house.on("pi", renew);
house.on("gone", tidySoon);
house.on("pin", change);
house.on("state", showState);
house.on("link", (link) => {
  showLink(house);
  showState();
  if (link === "lost") house.findOut();
});
document.addEventListener("visibilitychange", tick);
setInterval(tick, 1000);
tick();
