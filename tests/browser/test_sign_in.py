"""Signing in on the page: by a scanned link, by typing, and out again."""

import re
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from raspi_server.security.codes import Codes
from tests.support.coded_server import folders, new_link
from tests.support.server import Server

CONFIG = """
gpio: simulated
pins:
  lamp: {gpio: 27, mode: output, label: Desk lamp}
"""
VIEW_CODE = "access: {view: code}" + CONFIG


@pytest.fixture
def start_coded(
    start_server: Callable[..., Server], tmp_path: Path
) -> Callable[..., tuple[Server, str]]:
    """Start a server with a control code; return both."""
    code = Codes(tmp_path).renew("control")
    return lambda config=CONFIG: (start_server(config, env=folders(tmp_path)), code)


def expect_signed_in(page: Page) -> None:
    expect(page.locator("#session")).to_contain_text("Signed in to switch")


def expect_control(page: Page) -> None:
    page.get_by_role("switch", name="Desk lamp").click()
    expect(page.get_by_role("switch", name="Desk lamp")).to_be_checked()
    expect_signed_in(page)


def test_scanned_link(start_coded, start_server, open_page, shoot, tmp_path):
    """The link behind the QR code signs the phone in for good, and leaves nothing in its address
    bar; the next visit needs no link. Signing in to another server on the same host does not sign
    out of this one, though cookies do not know ports."""
    server, _ = start_coded()
    page = open_page(f"{server.url}{new_link(tmp_path)}")
    expect_control(page)
    assert page.url == f"{server.url}/"
    shoot(page, "signed-in")
    page.goto(server.url)
    expect_signed_in(page)
    assert page.evaluate("document.cookie") == ""  # which no script can read
    other = start_server(CONFIG, env=folders(tmp_path))
    page.goto(f"{other.url}{new_link(tmp_path)}")
    expect_signed_in(page)
    page.goto(server.url)
    expect_signed_in(page)


def test_used_link(start_coded, open_page, shoot, tmp_path):
    """A phone that is signed in may open its link again, and one of lesser rights, and keeps its
    rights. Another phone gets the reason why it does not work, and can type the code. A link of an
    older release, with the code in it, is not read."""
    server, code = start_coded()
    Codes(tmp_path).renew("view")
    server.process.send_signal(signal.SIGHUP)
    link, view_link = new_link(tmp_path), new_link(tmp_path, "view")
    page = open_page(f"{server.url}{link}")
    expect_control(page)
    for again in (link, view_link):
        with page.expect_response("**/api/hello"):
            page.evaluate("hash => location.hash = hash", again.lstrip("/"))
        expect_signed_in(page)
        expect(page.locator("#sign-in")).to_be_hidden()
        assert page.url == f"{server.url}/"
    other = open_page(f"{server.url}{link}")
    error = other.locator("#sign-in .error")
    expect(error).to_contain_text("this link was used or is older than 15 minutes")
    expect(other.locator("#sign-in .hint")).to_contain_text("sudo raspi-server code --qr")
    shoot(other, "sign-in-used-link")
    other.get_by_role("textbox", name="Access code").fill(code)
    other.locator("#sign-in .do").click()
    expect_signed_in(other)
    third = open_page(f"{server.url}/#code={code}")
    expect(third.locator('[data-code="view"]')).to_contain_text("needs the control code")
    expect(third.locator("#session")).to_be_hidden()


def test_typed_code(start_coded, open_page, shoot, tmp_path):
    """A browser that may only view says so, and takes the code; after a wrong one, another. Signing
    out in one tab counts for all tabs of the browser: they connect again."""
    server, code = start_coded()
    page = open_page(server.url)
    expect(page.locator('[data-code="view"]')).to_contain_text("needs the control code")
    expect(page.get_by_role("switch")).to_have_count(0)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("textbox", name="Access code").fill("xxxxx-xxxxx-xxxxx")
    page.locator("#sign-in .do").click()
    expect(page.locator("#sign-in .error")).to_have_text("this is not the code")
    shoot(page, "sign-in-wrong")
    page.get_by_role("textbox", name="Access code").fill(code.upper())
    page.get_by_role("textbox", name="Access code").press("Enter")
    expect_control(page)
    expect(page.locator('[data-code="view"]')).to_have_count(0)
    other = page.context.new_page()
    other.goto(server.url)
    expect_signed_in(other)
    other.get_by_role("button", name="Sign out").click()
    for each in (page, other):
        expect(each.get_by_role("switch")).to_have_count(0)
        expect(each.locator("#session")).to_be_hidden()
        expect(each.locator("body")).to_have_attribute("data-link", "live")


def test_some_pins_need_the_code(start_coded, open_page):
    """If some pins may be switched without the code, the page says that some need it. After too
    many wrong codes it says how long to wait."""
    server, _ = start_coded(CONFIG + "  bell: {gpio: 22, mode: output, control: everyone}\n")
    page = open_page(server.url)
    expect(page.get_by_role("switch")).to_have_count(1)
    expect(page.locator('[data-code="view"]')).to_contain_text("Switching some pins needs")
    page = open_page(server.url, locale="id-ID")
    page.locator('[data-code="view"] button').click()
    for _ in range(6):
        page.locator("#code").fill("wrong")
        with page.expect_response("**/api/login"):
            page.locator("#sign-in .do").click()
    expect(page.locator("#sign-in .error")).to_have_text(
        "terlalu banyak kode yang salah: tunggu 10 detik, lalu coba lagi"
    )


def test_view_code(start_coded, open_page, shoot, tmp_path):
    """With `view: code` the page shows nothing but how to sign in, and the same again once the code
    was replaced."""
    server, code = start_coded(VIEW_CODE)
    page = open_page(server.url)
    expect(page.locator("#link")).to_contain_text("Sign in needed")
    expect(page.locator("#waiting")).to_contain_text("only to those who signed in")
    shoot(page, "sign-in-needed")
    page.locator("#way-in button").click()
    shoot(page, "sign-in-dialog")
    page.get_by_role("textbox", name="Access code").fill(code)
    page.locator("#sign-in .do").click()
    expect_control(page)
    Codes(tmp_path).renew("control")
    server.process.send_signal(signal.SIGHUP)
    expect(page.locator("#link")).to_contain_text("Sign in needed")
    expect(page.locator("#waiting")).to_have_text(re.compile("only to those who signed in"))
