/**
 * A live link to the server that mends itself, admits when it has heard nothing, and sends each command once. What is said over it
 * is the business of its heirs: raspi.js speaks with one Raspberry Pi, fleet/house.js of all of them.
 */
import { reach, Refusal } from "./polling.js";

/**
 * connecting: not yet; live: all is fresh; polling: fresh to a second, without a socket; stale: nothing was heard for too long;
 * lost: closed, trying again; sign-in, forbidden: the server closed the door and knocking again would not help; closed: by close().
 * @typedef {"connecting"|"live"|"polling"|"stale"|"lost"|"sign-in"|"forbidden"|"closed"} Link
 */
/** @typedef {{pin: string, value: number}} Result */
/** @typedef {{type: string, pin: string, pi?: string, value?: number, seconds?: number}} Command */
/** @typedef {(message: any) => void} Tell */
/** A way to the server without a socket. @typedef {{look: () => void, close: () => void, ask: (command: Command) => Promise<Result>}} Way */

/** Why a command was not done: `code` is the server's, or "not-connected" or "cancelled" (never sent), "lost" or "no-answer" (unknown). */
export class RaspiError extends Error {
  /** @param {string} code @param {string} message */
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

const ANSWER_WITHIN = 15; // seconds for a command
const HELLO_WITHIN = 10; // seconds from knocking to `hello`: TLS on a Pi Zero takes its time
const HEALTH_EVERY = 5; // seconds: the slowest pulse, however long the interval
const KNOCK_EVERY = 0.5; // seconds between looks whether the server is back, and twice that after a minute
const KNOCK_WITHIN = [1, 1, 1, 5]; // seconds: on a network that just came back a new look is faster than an old one
const DEAF = 2; // sockets that came to nothing although the server was there
const TRY_SOCKET = [10, 20, 40, 60]; // seconds between tries while polling

/** @template {{link: Link}} E its events */
export class Lifeline {
  /** @type {Link} */
  link = "connecting";
  /** Seconds between two messages of the server, as far as is known. */
  interval = 0;

  /** @type {string} */ #url;
  /** @type {WebSocket|null} */ #socket = null;
  /** @type {Map<string, Set<(detail: any) => void>>} */ #listeners = new Map();
  /** @type {Map<number, {resolve: (r: Result) => void, reject: (e: RaspiError) => void, timer: number}>} */
  #waiting = new Map();
  #ref = 0;
  /** Whether its API may be asked, too: pages may ask only their own server. */ #isOurs;
  /** @type {Way|null} */ #polling = null;
  /** @type {WebSocket|null} */ #trial = null;
  #deaf = 0; // sockets that never opened, in a row
  #knocks = 0; // in vain, since the link was lost
  #turn = 0; // of knocking; an older one's answer no longer counts
  #retry = 0; // timer
  #rest; // seconds
  #napping = 0; // timer
  #watch = 0; // timer
  /** @type {Moment|null} */ #heard = null;
  #knocked = now();
  #offset = 0; // the server's clock minus ours, seconds
  #wasFresh = false;

  /** @param {string} url @param {number} rest seconds */
  constructor(url, rest) {
    this.#url = url;
    this.#rest = rest;
    this.#isOurs = new URL(url).host === location.host;
    for (const [target, name] of this.#wakers) target.addEventListener(name, this.#wake);
    this.#watch = window.setInterval(() => this.#look(), 250);
  }

  /**
   * Calls `listener` on every such event; returns a function that ends that.
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

  /** The server's Unix time by our estimate: phones' clocks differ. */
  get time() {
    return Date.now() / 1000 + this.#offset;
  }

  /** Seconds since anything was heard, null if nothing ever was. */
  get silence() {
    return this.#heard && age(this.#heard);
  }

  /** Begins anew, as somebody else: signing in or out changes who we are. */
  reconnect() {
    this.#knocks = 0;
    this.#begin();
  }

  close() {
    for (const [target, name] of this.#wakers) target.removeEventListener(name, this.#wake);
    clearInterval(this.#watch);
    clearTimeout(this.#napping);
    this.lose("closed");
  }

  /** Whether what we know is fresh, and a command would arrive now. */
  get isFresh() {
    return this.link === "live" || this.link === "polling";
  }

  /** Whether sockets come to nothing although the server is there. */
  get isDeaf() {
    return this.#deaf >= DEAF;
  }

  // What an heir says of itself.

  /** Takes what the server says, but for answers. @param {any} _message */
  take(_message) {}

  /** Another way, if there is one. @param {Tell} _tell @param {(why: "lost"|"sign-in"|"forbidden") => void} _end @returns {Way|null} */
  instead(_tell, _end) {
    return null;
  }

  /** The link is gone, or begins anew. */
  dropped() {}

  // What an heir may ask for.

  /** Everything is known: from now on the link is live. */
  settle() {
    this.#knocks = 0;
    if (!this.#polling) this.#deaf = 0;
    this.#wasFresh = true;
    this.#become(this.#freshLink);
  }

  /** Not from a `change`: its time is that of the edge. @param {number} time */
  keepTime(time) {
    this.#offset = time - Date.now() / 1000;
  }

  /** @template {keyof E & string} K @param {K} name @param {E[K]} detail */
  tell(name, detail) {
    this.#listeners.get(name)?.forEach((listener) => listener(detail));
  }

  /**
   * Sends one command, once: it is never sent again, and not at all on a silent link, where it might arrive much later.
   * @param {Command} command
   * @returns {Promise<Result>}
   */
  ask(command) {
    const socket = this.#socket;
    if (!this.isFresh || !(socket || this.#polling)) {
      return Promise.reject(new RaspiError("not-connected", "there is no live link, so nothing was sent"));
    }
    if (this.#polling) {
      return this.#polling.ask(command).catch((/** @type {unknown} */ error) => {
        if (error instanceof Refusal) throw new RaspiError(error.code, error.message);
        throw new RaspiError("no-answer", "the server did not answer");
      });
    }
    return new Promise((resolve, reject) => {
      const ref = ++this.#ref;
      const timer = window.setTimeout(() => {
        this.#waiting.delete(ref);
        reject(new RaspiError("no-answer", "the server did not answer"));
      }, ANSWER_WITHIN * 1000);
      this.#waiting.set(ref, { resolve, reject, timer });
      socket?.send(JSON.stringify({ ...command, ref }));
    });
  }

  #begin() {
    if (this.isDeaf && this.#isOurs && this.#poll()) return;
    this.open();
  }

  /** To be called once, by the heir, when it is ready to hear. */
  open() {
    this.#drop();
    this.#knocked = now();
    const socket = this.#dial();
    if (!socket) return this.#failed();
    this.#socket = socket;
    this.#attend(socket);
  }

  /** A socket, unless the browser refuses even that. */
  #dial() {
    try {
      return new WebSocket(this.#url, "raspi-server.1");
    } catch (error) {
      console.warn("raspi-server: no WebSocket:", error);
      return null;
    }
  }

  /** @param {WebSocket} socket */
  #attend(socket) {
    let opened = socket.readyState === WebSocket.OPEN;
    socket.onopen = () => (opened = true);
    socket.onmessage = (event) => {
      if (socket === this.#socket) this.#hear(JSON.parse(event.data));
    };
    socket.onclose = (event) => {
      if (socket !== this.#socket) return;
      if (event.code === 4401) this.lose("sign-in");
      else if (event.code === 4403) this.lose("forbidden");
      else if (!opened) this.#failed();
      else this.lose("lost", event.code === 1013 ? 2 : 0); // 1013: we were too slow, so come back gently
    };
  }

  #failed() {
    this.#deaf++;
    this.lose("lost");
  }

  /** Goes on without a socket, where the heir knows how, and tries one now and then. */
  #poll() {
    this.#drop();
    this.#knocked = now();
    this.#polling = this.instead((message) => this.#hear(message), (why) => this.lose(why));
    if (this.#polling) this.#tryLater(0);
    return this.#polling !== null;
  }

  /** @param {number} tried times */
  #tryLater(tried) {
    const delay = TRY_SOCKET[Math.min(tried, TRY_SOCKET.length - 1)] ?? 60;
    this.#retry = window.setTimeout(() => {
      const trial = document.hidden ? null : this.#dial();
      this.#trial = trial;
      if (!trial) return this.#tryLater(tried);
      trial.onclose = () => {
        if (trial === this.#trial) this.#tryLater(tried + 1);
      };
      trial.onmessage = ({ data }) => {
        if (trial !== this.#trial) return;
        this.#trial = null;
        this.#drop();
        this.#socket = trial;
        this.#attend(trial);
        this.#hear(JSON.parse(data));
      };
    }, delay * 1000);
  }

  /** Lets go of the socket without waiting for it: one to a phone network that is gone takes minutes to close. */
  #drop() {
    clearTimeout(this.#retry);
    this.#turn++;
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
    this.dropped();
  }

  /** @param {Link} link @param {number} [patience] least seconds before the next try */
  lose(link, patience = 0) {
    this.#drop();
    this.#become(link);
    const gently = this.#isOurs ? 0.2 : Math.min(5, 0.25 * 2 ** this.#knocks);
    if (link === "lost") this.#knockLater(Math.max(patience, gently));
  }

  /** @param {number} delay seconds, at most: not all phones of the house at once */
  #knockLater(delay) {
    this.#retry = window.setTimeout(() => this.#knock(), delay * 1000 * (0.6 + 0.4 * Math.random()));
  }

  /** Looks whether anybody is there before a socket is opened: browsers slow down sockets that often fail. */
  async #knock() {
    if (document.hidden) return; // #wake comes when someone looks again
    const turn = ++this.#turn;
    const patience = KNOCK_WITHIN[this.#knocks++ % KNOCK_WITHIN.length] ?? 1;
    const isThere = !this.#isOurs || (await reach(patience));
    if (turn !== this.#turn) return;
    if (isThere) return this.#begin();
    if (!this.isDeaf) this.#deaf = 0; // it was away: no wonder
    this.#knockLater(this.#knocks * KNOCK_EVERY < 60 ? KNOCK_EVERY : 2 * KNOCK_EVERY);
  }

  /** Someone looks, or the network is back. A phone that slept may still show OPEN on a socket that is dead. @param {Event} event */
  #wake = (event) => {
    if (event instanceof PageTransitionEvent && !event.persisted) return; // the page is only loading
    clearTimeout(this.#napping);
    if (document.hidden) {
      if (this.#rest) this.#napping = window.setTimeout(() => this.#wasFresh && this.#drop(), this.#rest * 1000);
      return;
    }
    if (this.#polling) return this.#polling.look();
    const patience = event.type === "online" ? 1 : this.#limits().stale;
    if (this.#socket && this.#quiet() <= patience) return;
    this.#drop();
    if (this.link === "live" || this.link === "stale") this.#become("lost");
    this.#knocks = 0;
    this.#knock();
  };
  /** @type {[EventTarget, string][]} */
  #wakers = [[window, "online"], [window, "pageshow"], [document, "visibilitychange"]];

  /** Browsers hide pings from scripts, so silence itself has to be watched. */
  #look() {
    if (!this.#socket && !this.#polling) return;
    const { stale, dead } = this.#limits();
    if (this.#quiet() > dead && this.#socket?.readyState === WebSocket.CONNECTING) this.#failed();
    else if (this.#quiet() > dead) this.lose("lost");
    else if (this.isFresh && this.#quiet() > stale) this.#become("stale");
  }

  /** Seconds this socket has been silent. */
  #quiet() {
    return Math.min(age(this.#knocked), this.silence ?? Infinity);
  }

  #limits() {
    if (!this.isFresh && this.link !== "stale") return { stale: HELLO_WITHIN, dead: HELLO_WITHIN };
    return {
      stale: Math.min(Math.max(3 * this.interval, 2), 2.4 * HEALTH_EVERY),
      dead: Math.min(Math.max(6 * this.interval, 6), 4 * HEALTH_EVERY),
    };
  }

  /** @param {any} message */
  #hear(message) {
    this.#heard = now();
    if (this.link === "stale") this.#become(this.#freshLink);
    if (message.type === "result" || message.type === "error") this.#answer(message);
    else this.take(message);
  }

  /** @returns {Link} */
  get #freshLink() {
    return this.#polling ? "polling" : "live";
  }

  /** @param {any} message a result or an error */
  #answer(message) {
    const waiting = this.#waiting.get(message.ref);
    if (!waiting) return;
    this.#waiting.delete(message.ref);
    clearTimeout(waiting.timer);
    if (message.type === "result") waiting.resolve(message);
    else waiting.reject(new RaspiError(message.code, message.message));
  }

  /** @param {Link} link */
  #become(link) {
    if (link === this.link) return;
    this.link = link;
    this.tell("link", /** @type {any} */ (link));
  }
}

/**
 * Two clocks, since each fails alone: the steady one may stand still while a phone sleeps, the other one gets set.
 * @typedef {{steady: number, wall: number}} Moment
 */
/** @returns {Moment} */
const now = () => ({ steady: performance.now(), wall: Date.now() });

/** Seconds since. @param {Moment} then */
const age = (then) => Math.max(performance.now() - then.steady, Date.now() - then.wall) / 1000;
