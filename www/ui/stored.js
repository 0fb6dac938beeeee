/** What this browser remembers, on this device only. In private mode, or without room, it remembers nothing: no browser may fail for that. */

const PREFIX = "raspi-server ";

/** Return what is remembered, or `otherwise`. @template V @param {string} key @param {V} otherwise @returns {V} */
export function recall(key, otherwise) {
  try {
    return JSON.parse(localStorage.getItem(PREFIX + key) ?? "null") ?? otherwise;
  } catch {
    return otherwise;
  }
}

/** Remember a value, or forget it if it is null. @param {string} key @param {unknown} value */
export function remember(key, value) {
  try {
    if (value === null) localStorage.removeItem(PREFIX + key);
    else localStorage.setItem(PREFIX + key, JSON.stringify(value));
  } catch {
    // Then it holds as long as the page.
  }
}
