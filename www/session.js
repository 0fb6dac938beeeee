/** Signing in and out: with the code in a scanned link, or typed. The server keeps who we are in a cookie. */
import { make, part, say } from "./dom.js";
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
      this.#signIn(this.#input.value);
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

  /** The code stands behind the #, which no browser sends, and leaves the address bar at once. */
  #useLink() {
    const code = /^#code=(.+)$/.exec(location.hash)?.[1];
    if (!code) return;
    history.replaceState(null, "", location.pathname + location.search);
    this.#signIn(decodeURIComponent(code));
  }

  /** @param {string} trouble */
  #ask(trouble) {
    const place = part(this.#dialog, ".trouble");
    place.hidden = !trouble;
    say(place, trouble);
    if (!this.#dialog.showModal) {
      const code = prompt([trouble, text("theCode")].filter(Boolean).join("\n")); // Safari before 15.4
      if (code) this.#signIn(code);
      return;
    }
    if (!this.#dialog.open) {
      this.#input.value = "";
      this.#dialog.showModal();
    }
    this.#input.select();
  }

  /** @param {string} code */
  async #signIn(code) {
    const trouble = await post("/api/login", { code });
    if (trouble) return this.#ask(trouble);
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
    return refusal(code === "sign-in" ? "wrong-code" : code, message);
  } catch (error) {
    return text("unanswered", { why: error instanceof Error ? error.message : String(error) });
  }
}
