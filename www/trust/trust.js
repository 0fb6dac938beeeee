/**
 * The trust page: the steps for this device, a check every few seconds whether it trusts the Raspberry Pi, and the way on.
 *
 * It has helpers of its own instead of those in ui/, and no version folder: plain http serves only /trust/ and the icon.
 */
import { ENGLISH, INDONESIAN } from "./strings.js";

const CHECK_INTERVAL_MS = 2000;
const CHECK_TIMEOUT_MS = 10000; // TLS on a Pi Zero takes its time
const REDIRECT_DELAY_MS = 1200; // to read that all is well

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

/** Return the address that was asked for, over https; never that of another site. */
function destination() {
  const wanted = new URLSearchParams(location.search).get("to") ?? "/";
  const home = new URL("..", `https://${location.host}${location.pathname}`);
  const found = new URL(wanted.startsWith("/") ? `.${wanted}` : "", home);
  found.hash = location.hash;
  return found.href;
}

/** @param {"asking"|"untrusted"|"unreachable"|"trusted"} state */
function show(state) {
  part("state").dataset.state = part("onward").dataset.state = state;
  const words = part("state-words");
  if (words.textContent !== text(state)) words.textContent = text(state);
}

/** Return whether the certificate is trusted: only then a WebSocket over TLS opens, whatever was "visited anyway". @returns {Promise<boolean>} */
function isTrusted() {
  return new Promise((resolve) => {
    const socket = new WebSocket(new URL("proof", `wss://${location.host}${location.pathname}`));
    const timer = setTimeout(() => socket.close(), CHECK_TIMEOUT_MS);
    let opened = false;
    socket.onopen = () => (opened = true);
    socket.onclose = () => {
      clearTimeout(timer);
      resolve(opened);
    };
  });
}

async function showAuthority() {
  const answer = await fetch("authority.json").catch(() => null);
  if (!answer) return false;
  const authority = answer.ok ? await answer.json() : null;
  part("steps").hidden = !authority;
  if (authority) {
    part("name").textContent = authority.name;
    part("fingerprint").textContent = authority.fingerprint.replaceAll(":", " ");
    part("authority").hidden = false;
  } else {
    part("state").hidden = true;
    document.querySelector("[data-text=why]")?.replaceChildren(text("none"));
    part("on").textContent = text("on");
  }
  return true;
}

async function check() {
  if (!document.hidden) {
    if (await isTrusted()) {
      show("trusted");
      part("on").textContent = text("on");
      setTimeout(() => location.replace(destination()), REDIRECT_DELAY_MS);
      return;
    }
    show((await showAuthority()) ? "untrusted" : "unreachable");
  }
  setTimeout(check, CHECK_INTERVAL_MS);
}

part("too-old").remove();
translate();
showDevice();
/** @type {HTMLAnchorElement} */ (part("on")).href = destination();
void showAuthority();
void check();
