/** What the dashboard gives its views, as a type for tsc: there is no code, and no page loads it. */

/** @typedef {import("../ui/types.js").Action} Action */
/**
 * What a view needs of the page.
 * @typedef {object} Context
 * @property {import("../raspi.js").Raspi} raspi
 * @property {(question: string, answer: string) => Promise<boolean>} confirm
 * @property {(pin: string, action: Action) => void} unlock asks for the code, and then carries on
 * @property {(then: () => void, error?: string) => void} signIn asks for the code, and then does that; the error is why it asks again
 * @property {(row: import("./pin-row.js").PinRow) => void} opened is told of a row that was opened
 * @property {() => import("./covers.js").Covers|null|undefined} covers
 */

export {};
