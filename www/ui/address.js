/**
 * Addresses on this server. They are relative to the address of this module, so pages work below any path of a reverse proxy,
 * such as /pi/, and from any folder.
 *
 * The built-in pages load their modules from a version folder, `v/` and 16 hex digits, which browsers keep for good. A path
 * below it is resolved as without it: first in your `www`, then among the built-in files. Only a file of the same path
 * replaces a built-in one; a folder `ui` or `dashboard` of your own hides nothing else.
 */

/** The address of the server's first page; ends with a slash. */
const ROOT = new URL("..", import.meta.url).href.replace(/\/v\/([0-9a-f]{16}|current)\/$/, "/");

/** The path of that address, `/` or such as `/pi/`: the cookie's, so that other sites of the same host do not get it. */
export const ROOT_PATH = new URL(ROOT).pathname;

/** Return the address of a path. @param {string} path without a slash at its start */
export const address = (path) => ROOT + path;

/** Return the address of a WebSocket. @param {string} path without a slash at its start */
export const socketAddress = (path) => ROOT.replace(/^http/, "ws") + path;

/** Return whether a WebSocket's address is one of this server's. @param {string} url */
export function isOwnSocket(url) {
  const [{ host, pathname }, own] = [new URL(url), new URL(ROOT)];
  return host === own.host && pathname.startsWith(own.pathname);
}
