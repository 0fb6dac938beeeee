"""Languages of the pages: the built-in ones, and one that the owner of the Pi adds as a file."""

import json
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from raspi_server.web.context import BUILT_IN_WWW
from tests.browser.looking import CONFIG, expect_live, string, word
from tests.support.http import ask

ENGLISH: dict[str, Any] = json.loads((BUILT_IN_WWW / "languages/en.json").read_text())


@pytest.fixture
def languages(tmp_path: Path) -> Path:
    """The folder of the owner's languages."""
    folder = tmp_path / "www" / "languages"
    folder.mkdir(parents=True)
    return folder


def test_added_language(start_server, open_page, languages) -> None:
    """A file in `www/languages` is a language of all pages, with its direction. Strings that it
    lacks are English. An edit shows at the next visit, without a restart."""
    page_words = {"live": "مباشر", "on": "مشتغل", "askSwitchOn": "تشغيل {label}؟"}
    arabic: dict[str, Any] = {"name": "العربية", "direction": "rtl", "page": page_words}
    file = languages / "ar.json"
    file.write_text(json.dumps(arabic))
    server = start_server(CONFIG + f"www: {languages.parent}\n")
    page = open_page("about:blank", locale="ar-EG")
    warnings: list[str] = []
    page.on("console", lambda said: warnings.append(said.text) if said.type == "warning" else None)
    page.goto(server.url)
    expect_live(page)
    expect(page.locator("#link strong")).to_have_text("مباشر")
    html = page.locator("html")
    expect(html).to_have_attribute("lang", "ar-EG")
    expect(html).to_have_attribute("dir", "rtl")
    expect(word(page, "heater")).to_have_text(string("off"))
    page.get_by_role("switch", name="Heater").click()
    expect(page.get_by_role("dialog", name="تشغيل Heater؟")).to_be_visible()
    assert len(warnings) == 1
    assert warnings[0].startswith("languages/ar.json: expected also page.connecting, ")
    arabic["page"]["live"] = "حي"
    file.write_text(json.dumps(arabic))
    page.reload()
    expect(page.locator("#link strong")).to_have_text("حي")
    page.goto(f"{server.url}/fleet/")
    expect(page.locator("html")).to_have_attribute("dir", "rtl")
    expect(page.locator("h1")).to_have_text(ENGLISH["fleet"]["heading"])


@pytest.mark.parametrize("broken", ["{", '{"page": {"live": "Direct"}', ""])
def test_broken_language(start_server, open_page, languages, broken: str) -> None:
    """If the file is no JSON, the page is English, and the console says which file it is."""
    (languages / "fr.json").write_text(broken)
    server = start_server(CONFIG + f"www: {languages.parent}\n")
    page = open_page("about:blank", locale="fr-FR")
    with page.expect_console_message(lambda said: said.type == "warning") as warning:
        page.goto(server.url)
    assert warning.value.text.startswith("languages/fr.json: ")
    expect_live(page)
    expect(page.locator("#link strong")).to_have_text(string("live"))
    expect(page.locator("html")).to_have_attribute("lang", "en")
    expect(page.locator("#too-old")).to_have_count(0)


def test_languages_of_the_browser(start_server, open_page, languages) -> None:
    """Each built-in language is that of a browser that prefers it, with its numbers. A page of the
    owner has questions in its own language."""
    (languages.parent / "own.html").write_text(
        '<!DOCTYPE html><html lang="de"><button>Los</button><script type="module">'
        'import { connect } from "./raspi.js"; const raspi = connect();'
        'document.querySelector("button").onclick = () => raspi.set("heater", 1);</script>'
    )
    server = start_server(CONFIG + f"www: {languages.parent}\n")
    ask(server, "PUT", "/api/pins/fan", {"value": 0.35})
    for locale, name, level in (
        ("de-CH", "de", "35%"),
        ("de-DE", "de", "35\N{NO-BREAK SPACE}%"),
        ("id-ID", "id", "35%"),
        ("en-GB", "en", "35%"),
        ("nl-NL", "en", "35%"),
    ):
        page = open_page(server.url, locale=locale)
        expect(word(page, "lamp")).to_have_text(string("off", name))
        expect(word(page, "fan")).to_have_text(level)
        expect(page.locator("html")).to_have_attribute(
            "lang", locale if name != "en" or locale == "en-GB" else "en"
        )
    page.goto(f"{server.url}/own.html")
    button = page.get_by_role("button", name="Los")
    button.click()
    question = string("askSwitchOn", "de", label="Heater")
    expect(page.get_by_role("dialog", name=question)).to_be_visible()
    page.get_by_role("button", name=string("switchOn", "de")).click()
    expect(page.get_by_role("dialog")).to_have_count(0)
