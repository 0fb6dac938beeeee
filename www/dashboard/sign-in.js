/**
 * Signing in and out: by a scanned link, which is valid once, or with the typed code. The server knows the browser by a cookie, and a
 * page that another site frames by the code in its memory.
 */
import { address, ROOT_PATH } from "../ui/address.js";
import { make, part, setText } from "../ui/dom.js";
import { isFramed, keepCode } from "../ui/frame.js";
import { errorText, text } from "../ui/i18n.js";
import { ApiError, request } from "../ui/polling.js";
import { forgetLastKnown } from "./last-known.js";

/** @typedef {import("../raspi.js").Raspi} Raspi */

export class SignIn {
  /** @type {Raspi} */ #raspi;
  #dialog = /** @type {HTMLDialogElement} */ (part(document, "#sign-in"));
  #input = /** @type {HTMLInputElement} */ (part(document, "#code"));
  /** What the server said before. @type {import("../raspi.js").Hello|null} */ #before = null;
  /** Takes whether this browser has signed in, once it is decided. @type {((isSignedIn: boolean) => void)|null} */ #decided = null;

  /** @param {Raspi} raspi */
  constructor(raspi) {
    this.#raspi = raspi;
    part(this.#dialog, "form").onsubmit = (event) => {
      event.preventDefault();
      void this.#signIn({ code: this.#input.value });
    };
    part(this.#dialog, ".cancel").onclick = () => this.#dialog.close();
    this.#dialog.onclose = () => this.#dialog.open || this.#decide(false);
    part(document, "#session .sign-in").onclick = () => this.#askForCode("");
    part(document, "#session .sign-out").onclick = () => this.#signOut();
    window.addEventListener("hashchange", () => this.#useLink());
    this.#useLink();
  }

  /** Return a button that asks for the code. */
  button() {
    const button = make("button", "button do", text("signIn"));
    button.onclick = () => this.#askForCode("");
    return button;
  }

  /** Ask for the code; return whether this browser then signed in, and connects again. @param {string} [error] the reason why it is asked again */
  ask(error = "") {
    return new Promise((/** @type {(isSignedIn: boolean) => void} */ resolve) => {
      this.#decide(false);
      this.#decided = resolve;
      this.#askForCode(error);
    });
  }

  /** True from signing in until the server says what this browser may do now. */
  get isAwaited() {
    return this.#before !== null && this.#before === this.#raspi.hello;
  }

  /** Connect as a browser that has signed in. */
  #connect() {
    this.#before = this.#raspi.hello;
    this.#dialog.close?.();
    this.#decide(true);
    this.#raspi.reconnect();
  }

  /** @param {boolean} isSignedIn */
  #decide(isSignedIn) {
    this.#decided?.(isSignedIn);
    this.#decided = null;
  }

  /** Show which code this browser signed in with, and offer to sign in. @param {"view"|"control"|null} signedIn @param {boolean} isOffered */
  show(signedIn, isOffered) {
    const place = part(document, "#session");
    place.hidden = signedIn === null && !isOffered;
    setText(part(place, "span"), signedIn === null ? "" : text(signedIn === "control" ? "signedInControl" : "signedInView"));
    part(place, ".sign-out").hidden = signedIn === null;
    part(place, ".sign-in").hidden = !isOffered;
  }

  /** Sign in by a link. The token follows the #, which no browser sends, and leaves the address bar at once; in the browser's history it is worthless. */
  #useLink() {
    const token = !isFramed && /^#token=([\w-]+)$/.exec(location.hash)?.[1];
    if (!token) return;
    history.replaceState(null, "", location.pathname + location.search);
    void this.#signIn({ token });
  }

  /** @param {string} error the reason why it failed before */
  #askForCode(error) {
    const place = part(this.#dialog, ".error");
    place.hidden = !error;
    setText(place, error);
    if (!this.#dialog.showModal) {
      const code = prompt([error, text("theCode")].filter(Boolean).join("\n")); // Safari before 15.4
      if (!code) return this.#decide(false);
      return void this.#signIn({ code });
    }
    if (!this.#dialog.open) {
      this.#input.value = "";
      this.#dialog.showModal();
    }
    this.#input.select();
  }

  /** @param {{code: string}|{token: string}} shown */
  async #signIn(shown) {
    if (isFramed && "code" in shown) return this.#tryCode(shown.code);
    const error = await post("api/login", shown);
    if (error && "code" in shown) return this.#askForCode(error);
    const signedIn = await signedInAs();
    if (error && signedIn) return; // a link that was opened again
    if (error) return this.#askForCode(error);
    if (signedIn === null) return this.#askForCode(text("noCookie"));
    this.#connect();
  }

  /** Use a code from now on, if it is right. @param {string} code */
  async #tryCode(code) {
    keepCode(code);
    try {
      await request("/hello");
    } catch (error) {
      keepCode(null);
      return this.#askForCode(error instanceof ApiError ? errorText(error.reason, error.message, error.values) : String(error));
    }
    this.#connect();
  }

  async #signOut() {
    keepCode(null);
    forgetLastKnown();
    if (isFramed) return this.#raspi.reconnect();
    const error = await post("api/logout", {});
    if (error) setText(part(document, "#session span"), error);
    else this.#raspi.reconnect();
  }
}

/** Send a request; return the reason why it failed, or nothing. @param {string} path @param {object} body */
async function post(path, body) {
  try {
    const answer = await fetch(address(path), { method: "POST", body: JSON.stringify({ ...body, path: ROOT_PATH }) });
    if (answer.ok) return "";
    const { reason, message, values } = (await answer.json()).error;
    return errorText(reason, message, values);
  } catch (error) {
    return text("unanswered", { why: error instanceof Error ? error.message : String(error) });
  }
}

/** Return which code the server knows this browser by, null for none, and undefined if it does not answer. @returns {Promise<"view"|"control"|null|undefined>} */
async function signedInAs() {
  try {
    return (await request("/hello")).signed_in;
  } catch (error) {
    return error instanceof ApiError && error.status === 401 ? null : undefined;
  }
}
