/** The start of the dashboard: the strings that the list needs, then the page. */
import { loadStrings } from "../ui/i18n.js";

void loadStrings("first")
  .then(() => import("./dashboard.js"))
  .then(() => document.querySelector("#too-old")?.remove());
