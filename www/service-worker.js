/**
 * Shows the dashboard also while the Raspberry Pi does not answer: from the network if there is one, else as it was at the last
 * answer. It keeps the page with the scripts and styles that it loads, and nothing else: no other page, no file of yours, and never
 * the values of pins: dashboard/last-known.js keeps those. Browsers run it over https only.
 */
const worker = /** @type {ServiceWorkerGlobalScope} */ (/** @type {unknown} */ (self));

const KEPT = ["script", "style", "manifest"]; // kinds of requests
const KEPT_PATHS = /(^|\/)(icon\.svg|languages\/[a-z0-9-]+(\.(first|covers))?\.json)$/;
const CACHE_PREFIX = "raspi-server "; // caches with other names are those of your own pages
const NETWORK_TIMEOUT_S = 5; // for a network that swallows everything, such as another Wi-Fi
const ROOT = new URL("./", location.href).pathname;
const VERSION = /\bv\/[0-9a-f]{16}\//;
const NAMED = /\bv\/[0-9a-f]{16}\/[\w./-]+\.(js|css|svg|webmanifest)\b/g;

let pageKept = Promise.resolve();

worker.addEventListener("install", (event) => {
  void worker.skipWaiting();
  event.waitUntil((pageKept = keepFirst().catch(() => {}))); // else the next visit keeps it
});
worker.addEventListener("activate", (event) => event.waitUntil(worker.clients.claim()));
worker.addEventListener("fetch", (event) => {
  const { request } = event;
  const { origin, pathname } = new URL(request.url);
  if (request.method !== "GET" || origin !== location.origin || !pathname.startsWith(ROOT)) return;
  const path = pathname.slice(ROOT.length);
  if (/^(api|ws)(\/|$)/.test(path)) return;
  if (request.mode === "navigate" ? path === "" : KEPT.includes(request.destination) || KEPT_PATHS.test(path)) {
    event.respondWith(answer(event, pathname));
  }
});

/**
 * Answer from the network, else as it was; a file that never changes as it was.
 * @param {FetchEvent} event @param {string} path
 */
async function answer(event, path) {
  const before = (await caches.match(path)) ?? (await caches.match(path.replace(/\.(first|covers)\.json$/, ".json"))); // which has more
  if (before && isImmutable(before)) return before;
  const network = fetch(event.request);
  try {
    const response = await (before ? Promise.race([network, timeout()]) : network);
    const copy = response.clone();
    event.waitUntil(keep(event, path, copy));
    return response;
  } catch (error) {
    network.catch(() => {}); // its answer is not used any more
    if (before) return before;
    throw error;
  }
}

/** @returns {Promise<never>} */
const timeout = () => new Promise((_, reject) => setTimeout(reject, NETWORK_TIMEOUT_S * 1000, new Error("no answer")));

/**
 * Keep an answer. Each version of the page has a cache of its own, named by its ETag; after an upgrade the others are deleted.
 * @param {FetchEvent} event @param {string} path @param {Response} response
 */
async function keep(event, path, response) {
  if (!response.ok || response.redirected) return;
  if (event.request.mode === "navigate") return (pageKept = keepPage(path, response));
  await pageKept; // its cache is there now, and no older one
  const page = await worker.clients.get(event.clientId);
  const [current] = await ownCaches();
  if (current && page && new URL(page.url).pathname === ROOT) await (await caches.open(current)).put(path, response);
}

/**
 * Keep the page with all files that it names, which were loaded before this worker was there. What it loads later goes through this
 * worker. Browsers have these files already, and do not load them again.
 */
async function keepFirst() {
  const response = await fetch(ROOT);
  if (!response.ok || response.redirected) return;
  const page = await response.clone().text();
  await keepPage(ROOT, response);
  const [current] = await ownCaches();
  if (current) await (await caches.open(current)).addAll([...new Set(page.match(NAMED))]);
}

/** Return whether the server said that a file in the version folder never changes. @param {Response} response */
const isImmutable = (response) => /\bimmutable\b/.test(response.headers.get("Cache-Control") ?? "");

/** @param {string} path @param {Response} response */
async function keepPage(path, response) {
  const current = CACHE_PREFIX + response.headers.get("ETag");
  const cache = await caches.open(current);
  const page = await response.clone().text();
  await cache.put(path, response);
  for (const name of (await ownCaches()).filter((name) => name !== current)) {
    await copyFiles(await caches.open(name), cache, page);
    await caches.delete(name);
  }
}

/**
 * Copy the files of the version that the page names: after an edit of the page alone they are the same, and a browser that has them
 * in its memory does not ask for them again.
 * @param {Cache} from @param {Cache} to @param {string} page
 */
async function copyFiles(from, to, page) {
  for (const request of await from.keys()) {
    const [version] = VERSION.exec(new URL(request.url).pathname) ?? [];
    const file = version && page.includes(version) && (await from.match(request));
    if (file) await to.put(request, file);
  }
}

const ownCaches = async () => (await caches.keys()).filter((name) => name.startsWith(CACHE_PREFIX));
