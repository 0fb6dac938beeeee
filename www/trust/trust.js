/**
 * The trust page: the steps for this device, a check every few seconds whether it trusts the Raspberry Pi, and the way on.
 *
 * It has helpers of its own instead of those in ui/, and no version folder: plain http serves only /trust/, the built-in files of languages/,
 * and the icon. The page is written in English, so it says all before a file has been read, and if none is.
 */
const CHECK_INTERVAL_MS = 2000;
const CHECK_TIMEOUT_MS = 10000; // TLS on a Pi Zero takes its time
const REDIRECT_DELAY_MS = 1200; // to read that all is well

/** @typedef {keyof typeof import("../languages/en.json")["trust"]} Key */

/** @param {string} id */
function part(id) {
  const found = document.getElementById(id);
  if (!found) throw new Error(`the page has no #${id}`);
  return found;
}

/** Show a string of the page in an element. @param {Element} element @param {Key} key */
function say(element, key) {
  element.setAttribute("data-text", key);
  const words = document.querySelector(`#words [data-text="${key}"]`)?.textContent ?? "";
  if (element.textContent !== words) element.textContent = words;
}

/** Show the page in the first of the browser's languages that there is a file for. */
async function translate() {
  const tags = (navigator.languages ?? [navigator.language]).map((each) => each.toLowerCase());
  for (const tag of new Set(tags.flatMap((each) => [each, each.replace(/-.*/, "")]))) {
    if (tag === "en") return;
    const answer = await fetch(`../languages/${encodeURIComponent(tag)}.json`).catch(() => null);
    const file = answer?.ok ? await answer.json().catch(() => null) : null;
    if (!file?.trust) continue;
    document.documentElement.lang = tag;
    document.documentElement.dir = file.direction === "rtl" ? "rtl" : "ltr";
    document.title = file.trust.title ?? document.title;
    for (const element of document.querySelectorAll("[data-text]")) {
      const words = file.trust[element.getAttribute("data-text") ?? ""];
      if (words) element.textContent = words;
    }
    return;
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

/** @param {"untrusted"|"unreachable"|"trusted"} state */
function show(state) {
  part("state").dataset.state = part("onward").dataset.state = state;
  say(part("state-words"), state);
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
    say(part("why"), "none");
    say(part("on"), "on");
  }
  return true;
}

async function check() {
  if (!document.hidden) {
    if (await isTrusted()) {
      show("trusted");
      say(part("on"), "on");
      setTimeout(() => location.replace(destination()), REDIRECT_DELAY_MS);
      return;
    }
    show((await showAuthority()) ? "untrusted" : "unreachable");
  }
  setTimeout(check, CHECK_INTERVAL_MS);
}

part("too-old").remove();
void translate();
showDevice();
/** @type {HTMLAnchorElement} */ (part("on")).href = destination();
void showAuthority();
void check();
