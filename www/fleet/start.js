/** The start of the fleet page: the strings of one language, then the page. */
import { loadStrings as loadShared } from "../ui/i18n.js";
import { loadStrings } from "./i18n.js";

void Promise.all([loadShared(), loadStrings()])
  .then(() => import("./fleet.js"))
  .then(() => document.querySelector("#too-old")?.remove());
