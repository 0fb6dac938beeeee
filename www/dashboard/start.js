/** The start of the dashboard: the strings of one language, then the page. */
import { loadStrings } from "../ui/i18n.js";

void loadStrings()
  .then(() => import("./dashboard.js"))
  .then(() => document.querySelector("#too-old")?.remove());
