/** The start of the fleet page: the strings of one language, then the page. */
import { loadStrings } from "../ui/i18n.js";

void loadStrings()
  .then(() => import("./fleet.js"))
  .then(() => document.querySelector("#too-old")?.remove());
