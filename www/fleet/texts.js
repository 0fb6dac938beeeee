/** The texts of this page beside those of the main one, in English and in Indonesian. */
import { filled, known, LANGUAGE, LOCALE } from "../texts.js";

const EN = {
  title: "All Raspberry Pis",
  heading: "All Pis",
  here: "The page of this Raspberry Pi",
  search: "Name, label or group",
  find: "Search",
  show: "Show",
  all: "All",
  offlineOnly: "Offline",
  anyOn: "Something is on",
  anyError: "In error",
  count_one: "{count} Raspberry Pi",
  count_other: "{count} Raspberry Pis",
  offlineCount: "{count} offline",
  allOnline: "all online",
  shown: "{count} shown",
  noMatch: "None of them matches.",
  nobody: "No Raspberry Pi has been heard at the broker.",
  alone: "Only this one is heard. If there are more at the broker, its ACL may keep them from this one: docs/mqtt.md says which lines it needs.",
  brokerAway: "The broker is not there. What is shown is what was heard last, and nothing can be switched.",
  brokerComing: "Connecting to the broker.",
  brokerPart: "The broker is there, but not for everything.",
  blocked: "Live connections are blocked. On iPhones and iPads that happens until they trust the certificate.",
  lookOnlyCode: "Only looking: switching other Raspberry Pis needs the control code of this one.",
  lookOnly: "Only looking: nobody may switch other Raspberry Pis from here.",
  signInThere: "Sign in",
  offlineSince: "offline, last heard {span} ago",
  offline: "offline",
  onCount: "{count} of {all} on",
  noneOn: "nothing on",
  noPins: "no pins yet",
  simulated: "simulated",
  ownPage: "Page of {host}",
  went: "{host} is offline",
  came: "{host} is online",
  manyMore: "{count} more came or went",
  notYetTitle: "This page is off",
  notYet: "It shows all Raspberry Pis at one MQTT broker, and switches them. These lines in config.yaml switch it on:",
  notYetEnd: "Then let the server read it: {reload}",
};

/** @type {Record<keyof typeof EN, string>} */
const ID = {
  title: "Semua Raspberry Pi",
  heading: "Semua Pi",
  here: "Halaman Raspberry Pi ini",
  search: "Nama, label, atau grup",
  find: "Cari",
  show: "Tampilkan",
  all: "Semua",
  offlineOnly: "Luring",
  anyOn: "Ada yang nyala",
  anyError: "Bermasalah",
  count_one: "{count} Raspberry Pi",
  count_other: "{count} Raspberry Pi",
  offlineCount: "{count} luring",
  allOnline: "semua daring",
  shown: "{count} ditampilkan",
  noMatch: "Tidak ada yang cocok.",
  nobody: "Belum ada Raspberry Pi yang terdengar di broker.",
  alone: "Hanya yang ini terdengar. Bila ada yang lain di broker, mungkin ACL-nya menghalangi: docs/mqtt.md menyebut baris yang diperlukan.",
  brokerAway: "Broker tidak ada. Yang tampak adalah yang terakhir terdengar, dan tidak ada yang dapat dialihkan.",
  brokerComing: "Menghubungi broker.",
  brokerPart: "Broker ada, tetapi tidak untuk semuanya.",
  blocked: "Sambungan langsung terhalang. Di iPhone dan iPad itu terjadi sampai sertifikatnya dipercaya.",
  lookOnlyCode: "Hanya melihat: untuk mengalihkan Raspberry Pi lain diperlukan kode kendali yang ini.",
  lookOnly: "Hanya melihat: tidak seorang pun boleh mengalihkan Raspberry Pi lain dari sini.",
  signInThere: "Masuk",
  offlineSince: "luring, terakhir terdengar {span} lalu",
  offline: "luring",
  onCount: "{count} dari {all} nyala",
  noneOn: "semua mati",
  noPins: "belum ada pin",
  simulated: "simulasi",
  ownPage: "Halaman {host}",
  went: "{host} luring",
  came: "{host} daring",
  manyMore: "{count} lain datang atau pergi",
  notYetTitle: "Halaman ini belum dinyalakan",
  notYet: "Halaman ini menampilkan semua Raspberry Pi pada satu broker MQTT, dan mengalihkannya. Baris berikut dalam config.yaml menyalakannya:",
  notYetEnd: "Lalu biarkan server membacanya: {reload}",
};

/** @typedef {keyof typeof EN} Text */

const texts = LANGUAGE === "id" ? ID : EN;
const plurals = new Intl.PluralRules(LOCALE);

/** @param {Text} key @param {Record<string, string|number>} [values] */
export function text(key, values = {}) {
  return filled(texts[key], values);
}

/** @param {number} count */
export const number = (count) => count.toLocaleString(LOCALE);

/** @param {number} count of Pis */
export const counted = (count) => text(plurals.select(count) === "one" ? "count_one" : "count_other", { count: number(count) });

/** A text of this page or of the main one. @param {string} key @param {Record<string, string|number>} [values] */
export function anyText(key, values = {}) {
  return filled(key in texts ? texts[/** @type {Text} */ (key)] : (known(key) ?? ""), values);
}
