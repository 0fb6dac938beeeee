/** Shows the steps for the device at hand, looks again and again whether it trusts the Raspberry Pi by now, and leads on. */
import { ENGLISH, INDONESIAN } from "./texts.js";

const LOOK_EVERY = 2000; // ms
const LOOK_WITHIN = 10000; // ms: TLS on a Pi Zero takes its time
const LINGER = 1200; // ms to read that all is well

const inIndonesian = (navigator.languages.find((each) => /^(en|id|in)\b/.test(each)) ?? "en").slice(0, 2) !== "en";

/** @param {string} id */
function part(id) {
  const found = document.getElementById(id);
  if (!found) throw new Error(`the page has no #${id}`);
  return found;
}

/** @param {keyof ENGLISH} key */
const text = (key) => (inIndonesian ? INDONESIAN[key] : ENGLISH[key]);

function translate() {
  if (!inIndonesian) return;
  document.documentElement.lang = "id";
  document.title = INDONESIAN.title;
  for (const element of document.querySelectorAll("[data-text]")) {
    element.textContent = INDONESIAN[/** @type {HTMLElement} */ (element).dataset.text ?? ""];
  }
}

function showDevice() {
  const agent = navigator.userAgent;
  const isPad = /Macintosh/.test(agent) && navigator.maxTouchPoints > 1; // what an iPad calls itself
  const mine = /iPhone|iPad|iPod/.test(agent) || isPad ? "ios" : /Android/.test(agent) ? "android" : "desktop";
  for (const device of document.querySelectorAll(".device")) {
    /** @type {HTMLElement} */ (device).hidden = false;
    if (device.id !== mine) part("others").append(device);
  }
}

/** Where people wanted to go; never another site. */
function destination() {
  const wanted = new URLSearchParams(location.search).get("to") ?? "/";
  const home = `https://${location.host}`;
  const found = new URL(wanted, home);
  if (found.origin !== new URL(home).origin) return `${home}/`;
  found.hash = location.hash;
  return found.href;
}

/** @param {"asking"|"untrusted"|"unreachable"|"trusted"} state */
function show(state) {
  part("state").dataset.state = part("onward").dataset.state = state;
  const words = part("state-words");
  if (words.textContent !== text(state)) words.textContent = text(state);
}

/** A WebSocket over TLS opens only where the certificate is trusted: "visit anyway" does not reach it. @returns {Promise<boolean>} */
function isTrusted() {
  return new Promise((resolve) => {
    const socket = new WebSocket(`wss://${location.host}/trust/proof`);
    const timer = setTimeout(() => socket.close(), LOOK_WITHIN);
    let opened = false;
    socket.onopen = () => (opened = true);
    socket.onclose = () => {
      clearTimeout(timer);
      resolve(opened);
    };
  });
}

async function showFacts() {
  const answer = await fetch("authority.json").catch(() => null);
  if (!answer) return false;
  const facts = answer.ok ? await answer.json() : null;
  part("steps").hidden = !facts;
  if (facts) {
    part("name").textContent = facts.name;
    part("fingerprint").textContent = facts.fingerprint.replaceAll(":", " ");
    part("facts").hidden = false;
  } else {
    part("state").hidden = true;
    document.querySelector("[data-text=why]")?.replaceChildren(text("none"));
    part("on").textContent = text("on");
  }
  return true;
}

async function look() {
  if (!document.hidden) {
    if (await isTrusted()) {
      show("trusted");
      part("on").textContent = text("on");
      setTimeout(() => location.replace(destination()), LINGER);
      return;
    }
    show((await showFacts()) ? "untrusted" : "unreachable");
  }
  setTimeout(look, LOOK_EVERY);
}

translate();
showDevice();
/** @type {HTMLAnchorElement} */ (part("on")).href = destination();
void showFacts();
void look();
