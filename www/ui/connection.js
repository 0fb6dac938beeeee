/**
 * A live connection to the server: it reconnects by itself, reports silence, and sends each command once. Subclasses handle
 * the messages: raspi.js those of one Raspberry Pi, fleet/fleet-client.js those of the fleet.
 */
import { isOwnSocket } from "./address.js";
import { hasCode, isFramed } from "./frame.js";
import { ApiError, isReachable } from "./polling.js";

/**
 * connecting: not yet; live: all is fresh; polling: fresh to a second, without a WebSocket; stale: nothing was received for too long;
 * lost: closed, trying again; sign-in, forbidden: rejected by the server, and trying again would not help; closed: by close().
 * @typedef {"connecting"|"live"|"polling"|"stale"|"lost"|"sign-in"|"forbidden"|"closed"} Link
 */
/** @typedef {{pin: string, value: number}} Result */
/** @typedef {{type: string, pin?: string, cover?: string, pi?: string, value?: number, seconds?: number, position?: number}} Command */
/** @typedef {Record<string, string|number>} Values */
/** @typedef {(message: any) => void} Receive */
/** A way to the server without a WebSocket. @typedef {{refresh: () => void, close: () => void, send: (command: Command) => Promise<Result>}} Fallback */

/**
 * The reason a command failed: `code` is the server's, or "not-connected" or "cancelled" (never sent), "lost" or "no-answer" (unknown).
 * `reason` says more than the code, and `values` is what fills the braces of its string in languages/.
 */
export class RaspiError extends Error {
  /** @param {string} code @param {string} message @param {string} [reason] @param {Values} [values] */
  constructor(code, message, reason = code, values = {}) {
    super(message);
    this.code = code;
    this.reason = reason;
    this.values = values;
  }
}

const COMMAND_TIMEOUT_S = 15;
const CHECK_INTERVAL_MS = 250; // between checks for silence
const HELLO_TIMEOUT_S = 10; // from connecting to `hello`: TLS on a Pi Zero takes its time
const HEALTH_INTERVAL_S = 5; // the longest time between two messages, even if `interval` is longer
const RETRY_INTERVAL_S = 0.5; // between checks whether the server is back, and twice that after a minute
const REACH_TIMEOUTS_S = [1, 1, 1, 5]; // when a network has just returned, a new request is answered sooner than an old one
const MAX_FAILED_SOCKETS = 2; // that never opened although the server was reachable
const SOCKET_RETRY_DELAYS_S = [10, 20, 40, 60]; // while polling

/** @template {{link: Link}} E its events */
export class Connection {
  /** @type {Link} */
  link = "connecting";
  /** Seconds between two messages of the server, as far as known. */
  interval = 0;

  /** @type {string} */ #url;
  /** @type {WebSocket|null} */ #socket = null;
  /** @type {Map<string, Set<(detail: any) => void>>} */ #listeners = new Map();
  /** @type {Map<number, {resolve: (r: Result) => void, reject: (e: RaspiError) => void, timer: number}>} */
  #waiting = new Map();
  #ref = 0;
  /** True if the address is this server's, whose API can be used, too. */ #isOwn;
  /** @type {Fallback|null} */ #polling = null;
  /** @type {WebSocket|null} */ #trial = null;
  #failedSockets = 0; // that never opened, in a row
  #retries = 0; // since the connection was lost
  #attempt = 0; // the answer to an older one no longer counts
  #retryTimer = 0;
  #rest; // seconds
  #restTimer = 0;
  #checkTimer = 0;
  /** @type {Moment|null} */ #received = null;
  #started = now();
  #offset = 0; // the server's clock minus ours, seconds
  #wasFresh = false;

  /** @param {string} url @param {number} rest seconds */
  constructor(url, rest) {
    this.#url = url;
    this.#rest = rest;
    this.#isOwn = isOwnSocket(url);
    for (const [target, name] of this.#wakeEvents) target.addEventListener(name, this.#wake);
    this.#checkTimer = window.setInterval(() => this.#check(), CHECK_INTERVAL_MS);
  }

  /**
   * Call `listener` on every such event; return a function that ends that.
   * @template {keyof E & string} K
   * @param {K} name
   * @param {(detail: E[K]) => void} listener
   * @returns {() => void}
   */
  on(name, listener) {
    const listeners = this.#listeners.get(name) ?? new Set();
    this.#listeners.set(name, listeners.add(listener));
    return () => listeners.delete(listener);
  }

  /** The server's Unix time, estimated: phones' clocks differ. */
  get time() {
    return Date.now() / 1000 + this.#offset;
  }

  /** Seconds since anything was received, null if nothing ever was. */
  get silence() {
    return this.#received && age(this.#received);
  }

  /** Connect again, after signing in or out. */
  reconnect() {
    this.#retries = 0;
    this.#connect();
  }

  close() {
    for (const [target, name] of this.#wakeEvents) target.removeEventListener(name, this.#wake);
    clearInterval(this.#checkTimer);
    clearTimeout(this.#restTimer);
    this.disconnect("closed");
  }

  /** True if what is known is fresh, and a command would arrive now. */
  get isFresh() {
    return this.link === "live" || this.link === "polling";
  }

  /** True if sockets fail although the server is reachable. */
  get isBlocked() {
    return this.#failedSockets >= MAX_FAILED_SOCKETS;
  }

  // For subclasses to override.

  /** Take a message of the server that is no answer to a command. @param {any} _message */
  receive(_message) {}

  /** Return a fallback, if there is one. @param {Receive} _receive @param {(link: "lost"|"sign-in"|"forbidden") => void} _end @returns {Fallback|null} */
  fallback(_receive, _end) {
    return null;
  }

  /** Forget what belongs to a connection that has ended. */
  onDropped() {}

  // For subclasses to call.

  /** Everything is known: the connection is live from now on. */
  markLive() {
    this.#retries = 0;
    if (!this.#polling) this.#failedSockets = 0;
    this.#wasFresh = true;
    this.#setLink(this.#freshLink);
  }

  /** Estimate the server's clock; not from a `change`, whose time is that of the edge. @param {number} time Unix seconds */
  syncClock(time) {
    this.#offset = time - Date.now() / 1000;
  }

  /** @template {keyof E & string} K @param {K} name @param {E[K]} detail */
  emit(name, detail) {
    this.#listeners.get(name)?.forEach((listener) => listener(detail));
  }

  /**
   * Send one command, once. It is never sent again, and not at all on a silent connection, where it might arrive much later.
   * @param {Command} command
   * @returns {Promise<Result>}
   */
  send(command) {
    const socket = this.#socket;
    // Right after signing in there is a new socket that is not open yet.
    if (!this.isFresh || !(socket?.readyState === WebSocket.OPEN || this.#polling)) {
      return Promise.reject(new RaspiError("not-connected", "there is no live link, so nothing was sent"));
    }
    if (this.#polling) {
      return this.#polling.send(command).catch((/** @type {unknown} */ error) => {
        if (error instanceof ApiError) throw new RaspiError(error.code, error.message, error.reason, error.values);
        throw new RaspiError("no-answer", "the server did not answer");
      });
    }
    return new Promise((resolve, reject) => {
      const ref = ++this.#ref;
      const timer = window.setTimeout(() => {
        this.#waiting.delete(ref);
        reject(new RaspiError("no-answer", "the server did not answer"));
      }, COMMAND_TIMEOUT_S * 1000);
      this.#waiting.set(ref, { resolve, reject, timer });
      socket?.send(JSON.stringify({ ...command, ref }));
    });
  }

  #connect() {
    // Browsers let no page send a code with a WebSocket.
    if ((this.isBlocked || hasCode()) && this.#isOwn && this.#startPolling()) return;
    this.openSocket();
  }

  /** Open a WebSocket. A subclass calls it once, when it can take messages. */
  openSocket() {
    this.#drop();
    this.#started = now();
    const socket = this.#newSocket();
    if (!socket) return this.#socketFailed();
    this.#socket = socket;
    this.#listen(socket);
  }

  /** Return a new WebSocket, or null where the browser allows none. */
  #newSocket() {
    try {
      const url = new URL(this.#url);
      if (isFramed && this.#isOwn) url.search = "cookies=no"; // a browser would send it all the same
      return new WebSocket(url.href, "raspi-server.1");
    } catch (error) {
      console.warn("raspi-server: no WebSocket:", error);
      return null;
    }
  }

  /** @param {WebSocket} socket */
  #listen(socket) {
    let opened = socket.readyState === WebSocket.OPEN;
    socket.onopen = () => (opened = true);
    socket.onmessage = (event) => {
      if (socket === this.#socket) this.#handle(JSON.parse(event.data));
    };
    socket.onclose = (event) => {
      if (socket !== this.#socket) return;
      if (event.code === 4401) this.disconnect("sign-in");
      else if (!opened) this.#socketFailed();
      else this.disconnect("lost", event.code === 1013 ? 2 : 0); // 1013: this client was too slow, so it waits
    };
  }

  #socketFailed() {
    this.#failedSockets++;
    this.disconnect("lost");
  }

  /** Poll instead, if the subclass has a fallback, and try a WebSocket from time to time. Return whether it has one. */
  #startPolling() {
    this.#drop();
    this.#started = now();
    this.#polling = this.fallback((message) => this.#handle(message), (link) => this.disconnect(link));
    if (this.#polling && !hasCode()) this.#retrySocketLater(0);
    return this.#polling !== null;
  }

  /** @param {number} tried times */
  #retrySocketLater(tried) {
    const delay = SOCKET_RETRY_DELAYS_S[Math.min(tried, SOCKET_RETRY_DELAYS_S.length - 1)] ?? 60;
    this.#retryTimer = window.setTimeout(() => {
      const trial = document.hidden ? null : this.#newSocket();
      this.#trial = trial;
      if (!trial) return this.#retrySocketLater(tried);
      trial.onclose = () => {
        if (trial === this.#trial) this.#retrySocketLater(tried + 1);
      };
      trial.onmessage = ({ data }) => {
        if (trial !== this.#trial) return;
        this.#trial = null;
        this.#drop();
        this.#socket = trial;
        this.#listen(trial);
        this.#handle(JSON.parse(data));
      };
    }, delay * 1000);
  }

  /** Drop the socket without waiting for it: without a network it takes minutes to close. */
  #drop() {
    clearTimeout(this.#retryTimer);
    this.#attempt++;
    const [socket, trial, polling] = [this.#socket, this.#trial, this.#polling];
    this.#socket = this.#trial = this.#polling = null;
    socket?.close();
    trial?.close();
    polling?.close();
    const lost = new RaspiError("lost", "the link was lost before the answer came");
    for (const { reject, timer } of this.#waiting.values()) {
      clearTimeout(timer);
      reject(lost);
    }
    this.#waiting.clear();
    this.onDropped();
  }

  /** End the connection, and after "lost" try again. @param {Link} link @param {number} [delay] seconds before the next try, at least */
  disconnect(link, delay = 0) {
    this.#drop();
    this.#setLink(link);
    const gently = this.#isOwn ? 0.2 : Math.min(5, 0.25 * 2 ** this.#retries);
    if (link === "lost") this.#retryLater(Math.max(delay, gently));
  }

  /** @param {number} delay seconds, at most: not all phones at once */
  #retryLater(delay) {
    this.#retryTimer = window.setTimeout(() => this.#retry(), delay * 1000 * (0.6 + 0.4 * Math.random()));
  }

  /** Check that the server is reachable before a socket is opened: browsers slow down sockets that often fail. */
  async #retry() {
    if (document.hidden) return; // #wake is called when the page is visible again
    const attempt = ++this.#attempt;
    const timeout = REACH_TIMEOUTS_S[this.#retries++ % REACH_TIMEOUTS_S.length] ?? 1;
    const mayConnect = !this.#isOwn || (await isReachable(timeout));
    if (attempt !== this.#attempt) return;
    if (mayConnect) return this.#connect();
    if (!this.isBlocked) this.#failedSockets = 0; // the server was unreachable, which explains the failures
    this.#retryLater(this.#retries * RETRY_INTERVAL_S < 60 ? RETRY_INTERVAL_S : 2 * RETRY_INTERVAL_S);
  }

  /** Check the connection: the page is visible, or the network is back. A phone that slept may show OPEN for a dead socket. @param {Event} event */
  #wake = (event) => {
    if (event instanceof PageTransitionEvent && !event.persisted) return; // the page is only loading
    clearTimeout(this.#restTimer);
    if (document.hidden) {
      if (this.#rest) this.#restTimer = window.setTimeout(() => this.#wasFresh && this.#drop(), this.#rest * 1000);
      return;
    }
    if (this.#polling) return this.#polling.refresh();
    const limit = event.type === "online" ? 1 : this.#limits().stale;
    if (this.#socket && this.#silence() <= limit) return;
    this.#drop();
    if (this.link === "live" || this.link === "stale") this.#setLink("lost");
    this.#retries = 0;
    this.#retry();
  };
  /** @type {[EventTarget, string][]} */
  #wakeEvents = [[window, "online"], [window, "pageshow"], [document, "visibilitychange"]];

  /** Check how long the connection has been silent: browsers hide pings from scripts. */
  #check() {
    if (!this.#socket && !this.#polling) return;
    const { stale, dead } = this.#limits();
    if (this.#silence() > dead && this.#socket?.readyState === WebSocket.CONNECTING) this.#socketFailed();
    else if (this.#silence() > dead) this.disconnect("lost");
    else if (this.isFresh && this.#silence() > stale) this.#setLink("stale");
  }

  /** Return for how many seconds this connection has been silent. */
  #silence() {
    return Math.min(age(this.#started), this.silence ?? Infinity);
  }

  #limits() {
    if (!this.isFresh && this.link !== "stale") return { stale: HELLO_TIMEOUT_S, dead: HELLO_TIMEOUT_S };
    return {
      stale: Math.min(Math.max(3 * this.interval, 2), 2.4 * HEALTH_INTERVAL_S),
      dead: Math.min(Math.max(6 * this.interval, 6), 4 * HEALTH_INTERVAL_S),
    };
  }

  /** @param {any} message */
  #handle(message) {
    this.#received = now();
    if (this.link === "stale") this.#setLink(this.#freshLink);
    if (message.type === "error" && message.ref === null && message.code === "sign-in") this.disconnect("sign-in");
    else if (message.type === "result" || message.type === "error") this.#settle(message);
    else this.receive(message);
  }

  /** @returns {Link} */
  get #freshLink() {
    return this.#polling ? "polling" : "live";
  }

  /** @param {any} message a result or an error */
  #settle(message) {
    const waiting = this.#waiting.get(message.ref);
    if (!waiting) return;
    this.#waiting.delete(message.ref);
    clearTimeout(waiting.timer);
    if (message.type === "result") waiting.resolve(message);
    else waiting.reject(new RaspiError(message.code, message.message, message.reason, message.values));
  }

  /** @param {Link} link */
  #setLink(link) {
    if (link === this.link) return;
    this.link = link;
    this.emit("link", /** @type {any} */ (link));
  }
}

/**
 * Two clocks, since each fails alone: the steady one may stop while a phone sleeps, the other one can be set.
 * @typedef {{steady: number, wall: number}} Moment
 */
/** @returns {Moment} */
const now = () => ({ steady: performance.now(), wall: Date.now() });

/** Return the seconds since then. @param {Moment} then */
const age = (then) => Math.max(performance.now() - then.steady, Date.now() - then.wall) / 1000;
