/** Signing in and out: by a scanned link, which is good once, or with the code, typed. The server knows us by a cookie. */
import { make, part, say } from "./dom.js";
import { ask, Refusal } from "./polling.js";
import { refusal, text } from "./texts.js";

/** @typedef {import("./raspi.js").Raspi} Raspi */

export class Session {
  /** @type {Raspi} */ #raspi;
  #dialog = /** @type {HTMLDialogElement} */ (part(document, "#sign-in"));
  #input = /** @type {HTMLInputElement} */ (part(document, "#code"));

  /** @param {Raspi} raspi */
  constructor(raspi) {
    this.#raspi = raspi;
    part(this.#dialog, "form").onsubmit = (event) => {
      event.preventDefault();
      void this.#signIn({ code: this.#input.value });
    };
    part(this.#dialog, ".cancel").onclick = () => this.#dialog.close();
    window.addEventListener("hashchange", () => this.#useLink());
    this.#useLink();
  }

  /** A button that asks for the code. */
  button() {
    const button = make("button", "button do", text("signIn"));
    button.onclick = () => this.#ask("");
    return button;
  }

  /** Says who we are. @param {"view"|"control"|null} signedIn */
  show(signedIn) {
    const place = part(document, "#session");
    place.hidden = signedIn === null;
    say(part(place, "span"), text(signedIn === "control" ? "signedInControl" : "signedInView"));
    part(place, "button").onclick = () => this.#leave();
  }

  /** The token stands behind the #, which no browser sends, and leaves the address bar at once; in the browser's history it is worth nothing. */
  #useLink() {
    const token = /^#token=([\w-]+)$/.exec(location.hash)?.[1];
    if (!token) return;
    history.replaceState(null, "", location.pathname + location.search);
    void this.#signIn({ token });
  }

  /** @param {string} trouble */
  #ask(trouble) {
    const place = part(this.#dialog, ".trouble");
    place.hidden = !trouble;
    say(place, trouble);
    if (!this.#dialog.showModal) {
      const code = prompt([trouble, text("theCode")].filter(Boolean).join("\n")); // Safari before 15.4
      if (code) void this.#signIn({ code });
      return;
    }
    if (!this.#dialog.open) {
      this.#input.value = "";
      this.#dialog.showModal();
    }
    this.#input.select();
  }

  /** @param {{code: string}|{token: string}} shown */
  async #signIn(shown) {
    const trouble = await post("/api/login", shown);
    if (trouble && "code" in shown) return this.#ask(trouble);
    const signedIn = await whoWeAre();
    if (trouble && signedIn) return; // a link that was opened again
    if (trouble) return this.#ask(trouble);
    if (signedIn === null) return this.#ask(text("noCookie"));
    this.#dialog.close?.();
    this.#raspi.reconnect();
  }

  async #leave() {
    const trouble = await post("/api/logout", {});
    if (trouble) say(part(document, "#session span"), trouble);
    else this.#raspi.reconnect();
  }
}

/** Why it failed, in words, or nothing. @param {string} path @param {object} body */
async function post(path, body) {
  try {
    const answer = await fetch(path, { method: "POST", body: JSON.stringify(body) });
    if (answer.ok) return "";
    const { code, message } = (await answer.json()).error;
    if (code === "too-fast") return refusal("wrong-codes", message);
    return refusal(code === "sign-in" ? ("token" in body ? "used-link" : "wrong-code") : code, message);
  } catch (error) {
    return text("unanswered", { why: error instanceof Error ? error.message : String(error) });
  }
}

/** Which code the server knows us by, null for none, and undefined where it does not answer. @returns {Promise<"view"|"control"|null|undefined>} */
async function whoWeAre() {
  try {
    return (await ask("/hello")).signed_in;
  } catch (error) {
    return error instanceof Refusal && error.status === 401 ? null : undefined;
  }
}
