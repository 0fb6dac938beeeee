/**
 * The theme that was chosen on this device, before anything is drawn: a classic script in the head, since modules run later and the
 * content policy allows no script in the page. Without a choice the style sheet follows the system.
 */
{
  /** The grounds of style.css, for the bars of the browser. @type {Record<string, string>} */
  const GROUNDS = { light: "#f4f5f8", dark: "#101216" };

  /** @param {unknown} theme "light", "dark", or anything else for the system's */
  const apply = (theme) => {
    const chosen = theme === "light" || theme === "dark" ? theme : "";
    if (chosen) document.documentElement.dataset.theme = chosen;
    else delete document.documentElement.dataset.theme;
    for (const bar of document.querySelectorAll('meta[name="theme-color"]')) {
      const own = /dark/.test(bar.getAttribute("media") ?? "") ? "dark" : "light";
      bar.setAttribute("content", /** @type {string} */ (GROUNDS[chosen || own]));
    }
  };
  try {
    apply(JSON.parse(localStorage.getItem("raspi-server theme") ?? "null"));
  } catch {
    // It remembers nothing in private mode.
  }
  document.addEventListener("theme", (event) => apply(/** @type {CustomEvent} */ (event).detail));
}
