/**
 * Shows the page also while the Raspberry Pi does not answer: from the network whenever there is one, else as it was when it last
 * answered. It keeps the page at `/` with the scripts and styles that it loads, and nothing else: no other page, no file of yours,
 * and never what the pins are. Browsers run it over https only.
 */
const worker = /** @type {ServiceWorkerGlobalScope} */ (/** @type {unknown} */ (self));

const KEPT = ["script", "style", "manifest"];
const OURS = "raspi-server "; // other caches are those of your own pages
const PATIENCE = 5; // seconds for a network that swallows everything, such as another Wi-Fi

worker.addEventListener("install", () => void worker.skipWaiting());
worker.addEventListener("activate", (event) => event.waitUntil(worker.clients.claim()));
worker.addEventListener("fetch", (event) => {
  const { request } = event;
  const { origin, pathname } = new URL(request.url);
  if (request.method !== "GET" || origin !== location.origin || /^\/(api|ws)(\/|$)/.test(pathname)) return;
  if (request.mode === "navigate" ? pathname === "/" : KEPT.includes(request.destination) || pathname === "/icon.svg") {
    event.respondWith(answer(event, pathname));
  }
});

/** From the network, else as it was. @param {FetchEvent} event @param {string} path */
async function answer(event, path) {
  const network = fetch(event.request);
  const before = await caches.match(path);
  try {
    const response = await (before ? Promise.race([network, tooLate()]) : network);
    const copy = response.clone();
    event.waitUntil(keep(event, path, copy));
    return response;
  } catch (error) {
    network.catch(() => {}); // nobody waits for it any more
    if (before) return before;
    throw error;
  }
}

/** @returns {Promise<never>} */
const tooLate = () => new Promise((_, reject) => setTimeout(reject, PATIENCE * 1000, new Error("no answer")));

/**
 * Each version of the page has a cache of its own, named by what the server calls it; after an upgrade the others go.
 * @param {FetchEvent} event @param {string} path @param {Response} response
 */
async function keep(event, path, response) {
  if (!response.ok || response.redirected) return;
  const ours = (await caches.keys()).filter((name) => name.startsWith(OURS));
  if (event.request.mode === "navigate") {
    const now = OURS + response.headers.get("ETag");
    await (await caches.open(now)).put(path, response);
    await Promise.all(ours.filter((name) => name !== now).map((name) => caches.delete(name)));
  } else {
    const page = await worker.clients.get(event.clientId);
    if (ours[0] && page && new URL(page.url).pathname === "/") await (await caches.open(ours[0])).put(path, response);
  }
}
