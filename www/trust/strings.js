/** The strings of the page. Those in index.html are English; a key of the Indonesian ones is an element's `data-text`. */
/** The English strings that are not in index.html. */
export const ENGLISH = {
  asking: "Looking whether this device trusts the Raspberry Pi",
  untrusted: "This device does not trust the Raspberry Pi yet",
  unreachable: "There is no answer from the Raspberry Pi",
  trusted: "This device trusts the Raspberry Pi",
  on: "Go on",
  none: "This server's certificate is not its own: there is nothing to install here.",
};

/** @type {Record<string, string>} */
export const INDONESIAN = {
  title: "Jalan masuk yang aman",
  why: "Raspberry Pi ini memakai https, supaya tidak ada orang di Wi-Fi yang dapat menguping atau menekan sakelar atas nama Anda. Sertifikatnya buatan sendiri, dan perangkat ini belum mengenalnya. Kenalkan sekali saja, untuk seterusnya.",
  asking: "Memeriksa apakah perangkat ini memercayai Raspberry Pi",
  untrusted: "Perangkat ini belum memercayai Raspberry Pi",
  unreachable: "Raspberry Pi tidak menjawab",
  trusted: "Perangkat ini memercayai Raspberry Pi",
  on: "Lanjut",
  none: "Sertifikat server ini bukan buatan sendiri: tidak ada yang perlu dipasang.",
  ios: "iPhone dan iPad",
  ios1: "Di Safari, ketuk ini dan izinkan unduhannya:",
  ios2: "Buka Pengaturan dan ketuk “Profil Telah Diunduh” di bagian atas, lalu Instal. (Setelah itu ada di Umum, VPN & Pengelolaan Perangkat.)",
  ios3: "Di Pengaturan, buka Umum, Mengenai, Pengaturan Kepercayaan Sertifikat di paling bawah, lalu nyalakan nama di bawah ini.",
  iosplain: "Kalau profilnya ditolak, sertifikatnya saja juga cukup:",
  profile: "Ambil profil",
  android1: "Unduh sertifikatnya, dan simpan kalau peramban bertanya:",
  android2: "Buka Setelan dan cari “sertifikat CA”. (Letaknya di Keamanan, Enkripsi & kredensial, Instal sertifikat.)",
  android3: "Pilih Tetap instal, lalu pilih raspi-server.crt dari unduhan. Android meminta kunci layar, dan akan berkata bahwa jaringan mungkin dipantau: itu dikatakannya untuk setiap sertifikat sendiri.",
  firefox: "Firefox perlu satu langkah lagi: di setelannya, Tentang Firefox, ketuk logonya tujuh kali, lalu izinkan sertifikat CA pihak ketiga di Secret Settings.",
  certificate: "Ambil sertifikat",
  back: "Kembali ke halaman ini. Halaman ini tahu sendiri dan melanjutkan.",
  desktop: "Komputer",
  windows: "Windows: buka berkasnya, Install Certificate, Current User, dan pilih tempat “Trusted Root Certification Authorities”.",
  mac: "Mac: buka berkasnya di Keychain Access, klik ganda nama di bawah ini, dan di bagian Trust pilih Always Trust.",
  linux: "Chrome di Linux, dan Firefox di mana pun: di pengaturan cari “sertifikat”, buka Kelola atau Lihat Sertifikat, dan impor di bagian Otoritas, untuk mengenali situs web.",
  others: "Perangkat lain",
  compare: "Bandingkan sebelum percaya",
  name: "Nama",
  fingerprint: "Sidik jari SHA-256:",
  where: "Yang sama tertulis di akhir install.sh, dan ditampilkan di Raspberry Pi oleh",
  anyway: "Lanjut tanpa itu (peramban akan memperingatkan)",
};
