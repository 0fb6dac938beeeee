/**
 * Types of what modules pass to each other, with no code: tsc reads them, and no page loads them.
 */

// The messages of the server on `/ws`, which docs/protocol.md describes.

/** @typedef {import("../raspi.js").Source} Source */
/** @typedef {import("./cover.js").Cover} Cover */
/** @typedef {{code: string, message: string, reason: string, values: Record<string, string|number>}} Notice */
/** @typedef {{name: string, version: string, host: string, simulated: boolean, notices: Notice[]}} Server */
/** @typedef {{id: string, time: number, interval: number, server: Server, access: "view"|"control",
 *   signed_in: "view"|"control"|null, code_would_help: boolean, pins: import("../raspi.js").Pin[], covers?: Cover[], state: Record<string, number|null>,
 *   fleet: boolean, automation: boolean}} Hello */
/** @typedef {{seq: number, time: number, pins: Record<string, number|null>}} State */
/** @typedef {{seq: number, time: number, pin: string, value: number|null, by?: string, source?: Source, until?: number, auto?: boolean}} Change */
/** Another source or end, while the value stays. @typedef {{seq: number, time: number, pin: string, source: Source|null, until: number|null, auto: boolean}} SourceChange */
/** The Pi's health: °C, the firmware's warnings, shares from 0 to 1, seconds since it started, and the addresses others reach it by.
 * @typedef {{time: number, temperature: number|null, throttled: string[]|null, load: number|null, memory: number|null,
 *   disk: number|null, uptime: number|null, addresses: string[], viewers: number|null}} Health */
/** What `on` of raspi.js tells of, by name. @typedef {{hello: Hello, pin: import("../raspi.js").Pin, cover: Cover, state: State, change: Change, source: SourceChange, automation: {seq: number, time: number}, health: Health, link: import("./connection.js").Link}} Events */

// What the words of a pin and its control need.

/** The properties of a pin that its words need. A cover has a tone and strings of its own.
 * @typedef {{mode: "input"|"output"|"pwm", kind?: string|null, icon?: string|null, words?: {on: string, off: string}|null,
 *   tone?: import("./kinds.js").Tone, strings?: Record<string, string>}} KindPin */
/** The properties of a pin that a control uses.
 * @typedef {KindPin & {label: string, value: number|null, pulse: number|null, confirm: boolean, error: string|null,
 *   error_reason?: string|null, error_values?: Record<string, string|number>}} Pin */
/** What a tap asks for. @typedef {{type: "switch", on: boolean}|{type: "level", level: number}|{type: "while", seconds: number}|{type: "press"|"stop"|"drive"|"auto"}} Action */
/** The commands to a pin. @typedef {object} Commands
 * @property {(value: number, seconds?: number) => Promise<unknown>} set
 * @property {(seconds?: number) => Promise<unknown>} toggle
 * @property {() => Promise<unknown>} pulse
 * @property {(value: number) => Promise<unknown>} [drive]
 * @property {() => Promise<unknown>} [auto]
 * @property {(question: string, answer: string) => Promise<boolean>} confirm
 * @property {((action: Action) => unknown)|null} [unlock] for a pin that needs the code: ask for it, and then carry on
 */

export {};
