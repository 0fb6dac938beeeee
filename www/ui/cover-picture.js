/** Pictures of covers, 24 × 24 as those of icons.js: what stands still, and the leaf, which is where the cover is. All are drawn for this project. */
import { hasIcon, icon } from "./icons.js";

/** @typedef {import("./cover.js").Cover} Cover */
/** Returns what stands still, and the leaf. @typedef {(share: number) => [string, string]} Drawing how open, from 0 to 1 */

/** @param {string} path */
function picture(path) {
  const svg = icon("");
  svg.firstElementChild?.setAttribute("d", path);
  return svg;
}

/** Return a length or a place with one decimal. @param {number} number */
const short = (number) => String(Math.round(number * 10) / 10);

/** Return a rolled leaf: slats from its lower edge up to its housing. @param {number} left @param {number} width @param {number} top @param {number} bottom of the closed leaf @param {number} share */
function slats(left, width, top, bottom, share) {
  const edge = bottom - (bottom - top - 2.5) * share;
  let path = "";
  for (let y = edge; y > top + 1; y -= 3.5) path += `M${left} ${short(y)}h${width}`;
  return path;
}

/** @type {Record<Cover["kind"], Drawing>} */
const DRAWINGS = {
  garage_door: (share) => [
    "M2 21V8a2 2 0 0 1 1.13-1.8l7.95-3.97a2 2 0 0 1 1.84 0l7.95 3.97A2 2 0 0 1 22 8v13M6 21V10a1 1 0 0 1 1-1h10a1 1 0 0 1 1 1v11",
    slats(6, 12, 9, 20, share),
  ],
  gate: (share) => {
    const right = 21 - 14 * share; // it slides to the left
    let path = `M3 9H${short(right)}M3 18H${short(right)}`;
    for (let x = right; x > 4.5; x -= 4.5) path += `M${short(x)} 6v15`;
    return ["M3 4v17M21 4v17", path];
  },
  door: (share) => (share ? ["M11 20H2M11 4H8a2 2 0 0 0-2 2v14M22 20h-3", "M11 4.56v16.16a1 1 0 0 0 1.24.97L19 20V5.56a2 2 0 0 0-1.51-1.94l-4-1A2 2 0 0 0 11 4.56zM14 12h.01"] : ["M2 20h20", "M10 12h.01M18 20V6a2 2 0 0 0-2-2H8a2 2 0 0 0-2 2v14"]),
  window: (share) => (share ? ["M11 5h8a2 2 0 0 1 2 2v10a2 2 0 0 1-2 2h-8", "M11 5L3 2v20l8-3zM3 12h8"] : ["M6 3h12a2 2 0 0 1 2 2v14a2 2 0 0 1-2 2H6a2 2 0 0 1-2-2V5a2 2 0 0 1 2-2z", "M12 3v18M4 12h16"]),
  shutter: (share) => ["M3 3h18v4H3zM5 7v14M19 7v14", slats(5, 14, 7, 21, share)],
  blind: (share) => {
    const gap = 4 - 2.6 * share; // its slats gather at the top
    return ["M3 3h18M4 3v13M2.5 18a1.5 1.5 0 1 0 3 0 1.5 1.5 0 1 0-3 0", [1, 2, 3, 4].map((slat) => `M8 ${short(3 + slat * gap)}h12`).join("")];
  },
  awning: (share) => {
    const [x, y] = [short(8 + 13 * share), short(8 + 5 * share)];
    return ["M4 3v18M4 5h3", `M7 5L${x} ${y}v3.5${share ? `L4 ${short(7 + 3 * share)}` : ""}`];
  },
  curtain: (share) => {
    const width = short(9 - 5.5 * share);
    const half = short((9 - 5.5 * share) / 2);
    return ["M2 4h20", `M3 4v16h${width}V4M${short(3 + Number(half))} 4v16M21 4v16h-${width}V4M${short(21 - Number(half))} 4v16`];
  },
};

/** Return the name of what `coverPicture` draws: as long as that is the same, so is the picture. @param {Cover} cover @param {number} share */
export const pictureOf = ({ kind, icon: own }, share) => (own && hasIcon(own) ? own : `${kind} ${Math.round(share * 20)}`);

/** Return the pictures of a cover, one above the other. @param {Cover} cover @param {number} share how open it is, from 0 to 1 */
export function coverPicture({ kind, icon: own }, share) {
  if (own && hasIcon(own)) return [icon(own)];
  const [frame, leaf] = (DRAWINGS[kind] ?? DRAWINGS.shutter)(share);
  const moving = picture(leaf);
  moving.classList.add("leaf");
  return [picture(frame), moving];
}

/** Return the picture on a button. @param {"open"|"stop"|"close"} command @param {Cover} cover */
export function commandPicture(command, { kind }) {
  if (command === "stop") return picture("M7 7h10v10H7z");
  const isSideways = ["gate", "door", "window", "awning", "curtain"].includes(kind);
  if (!isSideways) return picture(command === "open" ? "M12 19V6M6 12l6-6 6 6" : "M12 5v13M6 12l6 6 6-6");
  return picture(command === "open" ? "M9 12H3M6 9l-3 3 3 3M15 12h6M18 9l3 3-3 3M12 5v14" : "M3 12h6M6 9l3 3-3 3M21 12h-6M18 9l-3 3 3 3M12 5v14");
}
