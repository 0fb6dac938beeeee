/** Pictures of 24 × 24, drawn with lines, by name. */

/** The path of each. @type {Record<string, string>} */
const PATHS = {
  switch: "M7 7h10a5 5 0 0 1 0 10H7A5 5 0 0 1 7 7M7 10a2 2 0 1 0 0 4 2 2 0 0 0 0-4",
};

/** Return a picture, which says nothing to screen readers: the words beside it do. @param {string} name */
export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  for (const [key, value] of Object.entries({ class: "icon", viewBox: "0 0 24 24", "aria-hidden": "true" })) svg.setAttribute(key, value);
  const path = svg.appendChild(document.createElementNS(svg.namespaceURI, "path"));
  path.setAttribute("d", PATHS[name] ?? /** @type {string} */ (PATHS["switch"]));
  return svg;
}
