"""Signing in on the page: by a scanned link, by typing, and out again."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from raspi_server.security.codes import Codes
from tests.support.coded_server import folders, new_link

CONFIG = """
gpio: simulated
pins:
  lamp: {gpio: 27, mode: output, label: Desk lamp}
"""


@pytest.fixture
def home(start_server, tmp_path: Path):
    """A server with a control code, and that code."""
    code = Codes(tmp_path).renew("control")
    return lambda config=CONFIG: (start_server(config, env=folders(tmp_path)), code)


def expect_control(page: Page) -> None:
    page.get_by_role("switch", name="Desk lamp").click()
    expect(page.get_by_role("switch", name="Desk lamp")).to_be_checked()
    expect(page.locator("#session")).to_contain_text("Signed in to switch")


def test_by_a_scanned_link(home, open_page, shoot, tmp_path):
    """The link behind the QR code signs the phone in for good, and leaves nothing in its address
    bar; the next visit needs no link."""
    server, _ = home()
    page = open_page(f"{server.url}{new_link(tmp_path)}")
    expect_control(page)
    assert page.url == f"{server.url}/"
    shoot(page, "signed-in")
    page.goto(server.url)
    expect(page.locator("#session")).to_contain_text("Signed in to switch")
    assert page.evaluate("document.cookie") == ""  # which no script can read


def test_a_link_that_was_used(home, open_page, shoot, tmp_path):
    """A phone that is signed in may open its link again, and one that asks for less, and stays what
    it is; another phone is told why it does not work, and can type the code."""
    server, code = home()
    Codes(tmp_path).renew("view")
    server.process.send_signal(1)
    link, for_looking = new_link(tmp_path), new_link(tmp_path, "view")
    page = open_page(f"{server.url}{link}")
    expect_control(page)
    for again in (link, for_looking):
        with page.expect_response("**/api/hello"):
            page.evaluate("hash => location.hash = hash", again.lstrip("/"))
        expect(page.locator("#session")).to_contain_text("Signed in to switch")
        expect(page.locator("#sign-in")).to_be_hidden()
        assert page.url == f"{server.url}/"
    other = open_page(f"{server.url}{link}")
    trouble = other.locator("#sign-in .error")
    expect(trouble).to_contain_text("this link was used or is older than 15 minutes")
    expect(other.locator("#sign-in .hint")).to_contain_text("sudo raspi-server code --qr")
    shoot(other, "sign-in-used-link")
    other.get_by_role("textbox", name="Access code").fill(code)
    other.locator("#sign-in .do").click()
    expect(other.locator("#session")).to_contain_text("Signed in to switch")
    third = open_page(f"{server.url}{link}", locale="id-ID")
    expect(third.locator("#sign-in .error")).to_contain_text("tautan ini sudah dipakai")


def test_a_code_in_a_link_is_not_read(home, open_page):
    """A link of an older release would leave the code in the browser's history."""
    server, code = home()
    page = open_page(f"{server.url}/#code={code}")
    expect(page.locator('[data-code="view"]')).to_contain_text("needs the control code")
    expect(page.locator("#session")).to_be_hidden()


def test_other_tabs_sign_in_and_out_too(home, open_page, tmp_path):
    """Signing in or out in one tab counts for all tabs of the browser: they connect again."""
    server, code = home()
    page = open_page(server.url)
    other = page.context.new_page()
    other.goto(f"{server.url}{new_link(tmp_path)}")
    expect(other.locator("#session")).to_contain_text("Signed in to switch")
    page.reload()
    expect(page.locator("#session")).to_contain_text("Signed in to switch")
    other.get_by_role("button", name="Sign out").click()
    for each in (page, other):
        expect(each.get_by_role("switch")).to_have_count(0)
        expect(each.locator("#session")).to_be_hidden()
        expect(each.locator("body")).to_have_attribute("data-link", "live")


def test_two_servers_on_one_host(home, open_page, start_server, tmp_path):
    """Signing in to one does not sign out of the other, though cookies do not know ports."""
    one, code = home()
    other = start_server(CONFIG, env=folders(tmp_path))
    page = open_page(f"{one.url}{new_link(tmp_path)}")
    expect_control(page)
    page.goto(f"{other.url}{new_link(tmp_path)}")
    expect(page.locator("#session")).to_contain_text("Signed in to switch")
    page.goto(one.url)
    expect(page.locator("#session")).to_contain_text("Signed in to switch")


def test_by_typing(home, open_page, shoot):
    """A browser that may only view says so, and takes the code; after a wrong one, another."""
    server, code = home()
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
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("switch")).to_have_count(0)
    expect(page.locator("#session")).to_be_hidden()


def test_some_pins_need_the_code(home, open_page):
    """Where some pins may be switched without the code, the page does not say that it only looks;
    and in Indonesian, too, a caller who is locked out is told for how long."""
    server, _ = home(CONFIG + "  bell: {gpio: 22, mode: output, control: everyone}\n")
    page = open_page(server.url)
    expect(page.get_by_role("switch")).to_have_count(1)
    expect(page.locator('[data-code="view"]')).to_contain_text("Switching some pins needs")
    page = open_page(server.url, locale="id-ID")
    page.locator('[data-code="view"] button').click()
    trouble = page.locator("#sign-in .error")
    for _ in range(6):
        page.locator("#code").fill("wrong")
        with page.expect_response("**/api/login"):
            page.locator("#sign-in .do").click()
    expect(trouble).to_have_text("terlalu banyak kode yang salah: tunggu 10 detik, lalu coba lagi")


def test_before_looking(home, open_page, shoot):
    """With `view: code`, the page shows nothing but how to sign in."""
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
    server, _ = home("access: {view: code}" + CONFIG)
    page = open_page(f"{server.url}{new_link(tmp_path)}")
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
    expect(page.locator("#sign-in .error")).to_have_text("ini bukan kodenya")
    page.get_by_role("textbox", name="Kode akses").fill(code)
    page.locator("#sign-in .do").click()
    expect(page.locator("#session")).to_contain_text("Masuk untuk mengalihkan")
    expect(page.get_by_role("switch", name="Desk lamp")).to_be_visible()
    page.get_by_role("button", name="Keluar").click()
    expect(page.locator("#session")).to_be_hidden()
