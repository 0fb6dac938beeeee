/** The fleet page at `/fleet/`: all Raspberry Pis at the broker, live, those with problems first, with a search and switches. */
import { address, ROOT_PATH } from "../ui/address.js";
import { showStatus } from "../ui/connection-status.js";
import { copyable } from "../ui/copyable.js";
import { fillIn, part, setText } from "../ui/dom.js";
import { linkButton, NoticeList } from "../ui/notice.js";
import { Announcer } from "./announcer.js";
import { FleetClient } from "./fleet-client.js";
import { anyText, counted, text } from "./i18n.js";
import { matcher, PiList } from "./list.js";

/** @typedef {import("./fleet-client.js").Pi} Pi */
/** @typedef {import("./card.js").PiCard} PiCard */

document.title = text("title");
fillIn(document, anyText);

const DRAW_INTERVAL_MS = 100; // the first change at once, those that follow together
const ADDRESS_DELAY_MS = 300; // Safari takes 100 changes of the address in 30 s

const fleet = new FleetClient();
const list = new PiList(part(document, "#pis"), fleet);
const announcer = new Announcer();
const notices = new NoticeList(part(document, "#notices"), `put away fleet ${ROOT_PATH}`);
const search = /** @type {HTMLInputElement} */ (part(document, "#search"));
const filter = /** @type {HTMLSelectElement} */ (part(document, "#filter"));
/** Names of pins that have changed since they were drawn. @type {Map<string, Set<string>>} by topic */
const changed = new Map();
let isDrawScheduled = false;
let drawn = 0; // time of the last drawing, by performance.now()
let isUnarranged = false; // a Pi may be in the wrong place
let addressTimer = 0;

/** Show the Pis that fit search and filter. */
function arrange() {
  isUnarranged = false;
  showCounts();
  const isAll = !search.value.trim() && filter.value === "all";
  const shown = list.arrange(matcher(search.value, filter.value), isAll);
  setText(part(document, "#shown"), isAll ? "" : counted("shown", shown));
  const empty = fleet.pis.size ? text("noMatch") : fleet.broker.connected ? text("noneHeard") : "";
  setText(part(document, "#nothing"), shown || !fleet.isFresh ? "" : empty);
}

function arrangeSoon() {
  if (isUnarranged) return;
  isUnarranged = true;
  requestAnimationFrame(arrange);
}

/** Take search and filter from the address, where links, reload and Back keep them. */
function readAddress() {
  const chosen = new URLSearchParams(location.hash.slice(1));
  search.value = chosen.get("search") ?? "";
  filter.value = chosen.get("filter") ?? "all";
  if (!filter.value) filter.value = "all"; // it has no such choice
  arrangeSoon();
}

function writeAddress() {
  clearTimeout(addressTimer);
  const chosen = new URLSearchParams();
  if (search.value.trim()) chosen.set("search", search.value.trim());
  if (filter.value !== "all") chosen.set("filter", filter.value);
  const { pathname, search: query } = location;
  history.replaceState(null, "", pathname + query + (chosen.toString() && `#${chosen}`));
}

/** Show what was chosen, and then write it into the address. */
function choose() {
  arrangeSoon();
  clearTimeout(addressTimer);
  addressTimer = window.setTimeout(writeAddress, ADDRESS_DELAY_MS);
}

function showCounts() {
  const offline = [...fleet.pis.values()].filter(({ online }) => !online).length;
  const state = offline ? counted("offlineCount", offline) : text("allOnline");
  const known = fleet.pis.size ? [counted("count", fleet.pis.size), fleet.isCurrent && state] : [];
  setText(part(document, "#counts"), known.filter(Boolean).join(", "));
}

/** Draw the notices: what keeps the page from working fully. */
function showNotices() {
  const { broker, access, codeWouldHelp, isFresh, isBlocked } = fleet;
  /** @type {import("../ui/notice.js").Notice[]} */
  const lines = [];
  if (isBlocked && !isFresh && !fleet.isOff) lines.push({ code: "blocked", words: text("blocked"), isWarning: true, action: () => linkTo("trust/", "howToTrust") });
  if (isFresh && !broker.connected) {
    lines.push({ code: "broker", words: text(broker.error ? "brokerAway" : "brokerComing"), detail: broker.error ?? "", isWarning: true });
  } else if (isFresh && broker.error) lines.push({ code: "broker", words: text("brokerPart"), detail: broker.error, isWarning: true });
  if (isFresh && fleet.needsCode && (access === "control" || fleet.maySwitchSome)) {
    lines.push({ code: "view", words: anyText("someNeedCode"), action: () => linkTo("", "signInThere") });
  } else if (isFresh && access === "view") {
    lines.push({ code: "view", words: text(codeWouldHelp ? "lookOnlyCode" : "lookOnly"), action: codeWouldHelp ? () => linkTo("", "signInThere") : undefined });
  }
  if (fleet.isCurrent && !broker.error && fleet.pis.size === 1) lines.push({ code: "alone", words: text("alone") });
  notices.show(lines, fleet.isCurrent);
}

/** @param {string} path @param {string} key */
const linkTo = (path, key) => linkButton(address(path), anyText(key));

function showState() {
  document.body.toggleAttribute("data-current", fleet.isCurrent);
  part(document, "#off").hidden = !fleet.isOff;
  if (fleet.isOff) for (const id of ["#waiting", "#link", "#tools"]) part(document, id).hidden = true;
  showCounts();
  showNotices();
  for (const card of list.near) card.refresh(card.pi); // the rights may be others
}

function showAll() {
  part(document, "#waiting").hidden = true;
  part(document, "#tools").hidden = false;
  announcer.begin(fleet.pis.values());
  for (const pi of fleet.pis.values()) list.card(pi.topic)?.refresh(pi);
  arrange();
}

/** @param {Pi} pi */
function refresh(pi) {
  announcer.change(pi);
  list.card(pi.topic)?.refresh(pi);
  arrangeSoon();
}

/** Draw the changes since the last time. */
function draw() {
  [isDrawScheduled, drawn] = [false, performance.now()];
  for (const [topic, names] of changed) {
    const card = list.card(topic);
    for (const name of names) card?.show(name);
    card?.tick();
  }
  changed.clear();
}

/** @param {{pi: Pi, pin: import("./fleet-client.js").Pin}} change */
function change({ pi, pin }) {
  const names = changed.get(pi.topic) ?? new Set();
  changed.set(pi.topic, names.add(pin.name));
  if (isDrawScheduled) return;
  isDrawScheduled = true;
  const rest = drawn + DRAW_INTERVAL_MS - performance.now();
  if (rest <= 0) requestAnimationFrame(draw);
  else setTimeout(() => requestAnimationFrame(draw), rest);
}

function tick() {
  if (document.hidden) return;
  showStatus(fleet);
  showNotices();
  for (const card of list.near) card.tick();
  if (filter.value === "on") arrangeSoon(); // the others change only with an event
}

for (const example of document.querySelectorAll("#off pre")) copyable(/** @type {HTMLElement} */ (example));
part(document, "#way-in").append(linkTo("", "signInThere"));
search.placeholder = text("find");
readAddress();
window.addEventListener("hashchange", readAddress);
search.oninput = choose;
search.onchange = filter.onchange = () => {
  arrangeSoon();
  writeAddress();
};
fleet.on("all", showAll);
fleet.on("pi", refresh);
fleet.on("removed", arrangeSoon);
fleet.on("pin", change);
fleet.on("state", showState);
fleet.on("link", (link) => {
  showStatus(fleet);
  showState();
  if (link === "lost") fleet.checkIsOff();
});
document.addEventListener("visibilitychange", tick);
setInterval(tick, 1000);
tick();
