"""The words of `/plain` in each language; those of the live page are in `www/ui/strings.*.js`."""

import re
from collections.abc import Mapping
from typing import NamedTuple


class Words(NamedTuple):
    """All words of the page in one language. Buttons differ from each other in all languages."""

    language: str
    # Buttons
    on: str
    off: str
    press: str
    set_level: str
    sign_in: str
    sign_out: str
    no: str
    # States
    is_on: str
    is_off: str
    unavailable: str
    since: str
    # Questions
    ask_on: str
    ask_off: str
    ask_press: str
    ask_set: str
    # Sentences
    no_pins: str
    needs_code: str
    switch_needs_code: str
    lost_code: str
    code: str
    level: str
    signed_in_view: str
    signed_in_control: str
    load_again: str
    load_every: str
    load_no_more: str
    live_page: str
    # Failures
    not_done: str
    old_form: str
    wrong_code: str
    wrong_codes: str
    notices: Mapping[str, str]
    """The words before, or in place of, the English message of a notice with this code."""


ENGLISH = Words(
    language="en",
    on="On",
    off="Off",
    press="Press",
    set_level="Set",
    sign_in="Sign in",
    sign_out="Sign out",
    no="No",
    is_on="on",
    is_off="off",
    unavailable="unavailable",
    since="since {time}",
    ask_on="Switch {label} on?",
    ask_off="Switch {label} off?",
    ask_press="Press {label}? It will be on for {seconds} s.",
    ask_set="Set {label} to {level} %?",
    no_pins="There are no pins yet.",
    needs_code="Viewing needs an access code.",
    switch_needs_code="Switching needs the control code.",
    lost_code="It was shown at the end of the installation. Lost it? {command} on the Raspberry Pi"
    " makes a new one.",
    code="Access code",
    level="Level of {label}",
    signed_in_view="Signed in with the view code.",
    signed_in_control="Signed in with the control code.",
    load_again="Load again",
    load_every="Load again every {seconds} seconds",
    load_no_more="Stop loading again",
    live_page="The live page",
    not_done="Not done: {why}",
    old_form="this form was too old, or this browser keeps no cookies. Try again.",
    wrong_code="",  # the server's own words say it
    wrong_codes="",
    notices={},
)
INDONESIAN = Words(
    language="id",
    on="Nyalakan",
    off="Matikan",
    press="Tekan",
    set_level="Atur",
    sign_in="Masuk",
    sign_out="Keluar",
    no="Batal",
    is_on="nyala",
    is_off="mati",
    unavailable="tidak tersedia",
    since="sejak {time}",
    ask_on="Nyalakan {label}?",
    ask_off="Matikan {label}?",
    ask_press="Tekan {label}? Ia akan nyala selama {seconds} detik.",
    ask_set="Atur {label} ke {level} %?",
    no_pins="Belum ada pin.",
    needs_code="Untuk melihat diperlukan kode akses.",
    switch_needs_code="Untuk mengalihkan diperlukan kode kendali.",
    lost_code="Kode ditampilkan di akhir pemasangan. Hilang? {command} di Raspberry Pi membuat yang"
    " baru.",
    code="Kode akses",
    level="Tingkat {label}",
    signed_in_view="Masuk dengan kode lihat.",
    signed_in_control="Masuk dengan kode kendali.",
    load_again="Muat ulang",
    load_every="Muat ulang setiap {seconds} detik",
    load_no_more="Berhenti memuat ulang",
    live_page="Halaman langsung",
    not_done="Tidak dilakukan: {why}",
    old_form="formulir ini terlalu lama, atau peramban ini tidak menyimpan cookie. Coba lagi.",
    wrong_code="ini bukan kodenya",
    wrong_codes="terlalu banyak kode yang salah: tunggu 10 detik, lalu coba lagi",
    notices={
        "configuration": "config.yaml salah, jadi yang sebelumnya tetap dipakai.",
        "simulated": "Pin simulasi: tidak ada yang nyata dibaca atau dialihkan.",
        "certificate": "Sertifikat perlu diperhatikan.",
        "open": "Terbuka: semua orang di jaringan ini boleh mengalihkan pin.",
    },
)
LANGUAGES = (ENGLISH, INDONESIAN)
_WANTED = re.compile(r"(?:^|,)\s*(" + "|".join(each.language for each in LANGUAGES) + r")\b", re.I)


def choose(accepted: str) -> Words:
    """Return the words of the first language of `Accept-Language` that the page has."""
    found = _WANTED.search(accepted)
    tag = found[1].lower() if found else ""
    return next((each for each in LANGUAGES if each.language == tag), ENGLISH)
