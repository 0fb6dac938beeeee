"""Signing in on the page: by a scanned link, by typing, and out again."""

import os
import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from raspi_server.codes import Codes

CONFIG = """
gpio: simulated
pins:
  lamp: {gpio: 27, mode: output, label: Desk lamp}
"""


@pytest.fixture
def home(start_server, tmp_path: Path):
    """A server with a control code, and that code."""
    code = Codes(tmp_path).renew("control")
    environment = {**os.environ, "STATE_DIRECTORY": str(tmp_path)}
    return lambda config=CONFIG: (start_server(config, env=environment), code)


def expect_control(page: Page) -> None:
    page.get_by_role("switch", name="Desk lamp").click()
    expect(page.get_by_role("switch", name="Desk lamp")).to_be_checked()
    expect(page.locator("#session")).to_contain_text("Signed in to switch")


def test_by_a_scanned_link(home, open_page, shoot):
    """The link behind the QR code signs the phone in for good, and leaves no code in its address
    bar; the next visit needs no code."""
    server, code = home()
    page = open_page(f"{server.url}/#code={code}")
    expect_control(page)
    assert page.url == f"{server.url}/"
    shoot(page, "signed-in")
    page.goto(server.url)
    expect(page.locator("#session")).to_contain_text("Signed in to switch")
    assert page.evaluate("document.cookie") == ""  # which no script can read


def test_by_typing(home, open_page, shoot):
    """Who only looks is told so, and can type the code; a wrong one says so and can be mended."""
    server, code = home()
    page = open_page(server.url)
    expect(page.locator('[data-code="view"]')).to_contain_text("needs the control code")
    expect(page.get_by_role("switch")).to_have_count(0)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("textbox", name="Access code").fill("xxxxx-xxxxx-xxxxx")
    page.locator("#sign-in .do").click()
    expect(page.locator("#sign-in .trouble")).to_have_text("this is not the code")
    shoot(page, "sign-in-wrong")
    page.get_by_role("textbox", name="Access code").fill(code.upper())
    page.get_by_role("textbox", name="Access code").press("Enter")
    expect_control(page)
    expect(page.locator('[data-code="view"]')).to_have_count(0)
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("switch")).to_have_count(0)
    expect(page.locator("#session")).to_be_hidden()


def test_before_looking(home, open_page, shoot):
    """Where looking needs a code, the page shows nothing but the way in."""
    server, code = home("access: {view: code}" + CONFIG)
    page = open_page(server.url)
    expect(page.locator("#waiting")).to_contain_text("only to those who signed in")
    shoot(page, "sign-in-needed")
    page.locator("#way-in button").click()
    shoot(page, "sign-in-dialog")
    page.get_by_role("textbox", name="Access code").fill(code)
    page.locator("#sign-in .do").click()
    expect_control(page)


def test_a_code_that_was_replaced(home, open_page, tmp_path):
    """A page whose code is replaced is signed out, and says so."""
    server, code = home("access: {view: code}" + CONFIG)
    page = open_page(f"{server.url}/#code={code}")
    expect(page.locator("#session")).to_contain_text("Signed in")
    Codes(tmp_path).renew("control")
    server.process.send_signal(1)
    expect(page.locator("#link")).to_contain_text("Sign in needed")
    expect(page.locator("#waiting")).to_have_text(re.compile("only to those who signed in"))


def test_while_asking(home, open_page):
    """Also where no WebSocket gets through, the page knows who is signed in, and asks in the
    language of the browser."""
    server, code = home()
    page = open_page("about:blank", locale="id-ID")
    page.add_init_script("window.WebSocket = class { constructor() { throw new Error(); } };")
    page.goto(server.url)
    expect(page.locator('[data-code="view"]')).to_contain_text("diperlukan kode kendali")
    page.get_by_role("button", name="Masuk").click()
    page.get_by_role("textbox", name="Kode akses").fill("xxxxx-xxxxx-xxxxx")
    page.locator("#sign-in .do").click()
    expect(page.locator("#sign-in .trouble")).to_have_text("ini bukan kodenya")
    page.get_by_role("textbox", name="Kode akses").fill(code)
    page.locator("#sign-in .do").click()
    expect(page.locator("#session")).to_contain_text("Masuk untuk mengalihkan")
    expect(page.get_by_role("switch", name="Desk lamp")).to_be_visible()
    page.get_by_role("button", name="Keluar").click()
    expect(page.locator("#session")).to_be_hidden()
