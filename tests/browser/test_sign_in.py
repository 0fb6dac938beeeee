"""Signing in on the page: by a scanned link, by typing, and out again."""

import re
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, Route, expect

from raspi_server.security.codes import Codes
from tests.browser.looking import string
from tests.support.coded_server import folders, new_link
from tests.support.server import Server

CONFIG = """
gpio: simulated
pins:
  lamp: {gpio: 27, mode: output, label: Desk lamp}
"""


@pytest.fixture
def coded(start_server: Callable[..., Server], tmp_path: Path) -> tuple[Server, str]:
    """Start a server with a control code; return both."""
    code = Codes(tmp_path).renew("control")
    return start_server(CONFIG, env=folders(tmp_path)), code


def expect_signed_in(page: Page) -> None:
    expect(page.locator("#session")).to_contain_text(string("signedInControl"))


def expect_control(page: Page) -> None:
    page.get_by_role("switch", name="Desk lamp").click()
    expect(page.get_by_role("switch", name="Desk lamp")).to_be_checked()
    expect_signed_in(page)


def type_code(page: Page, code: str) -> None:
    page.get_by_role("textbox", name="Access code").fill(code)
    page.locator("#sign-in .do").click()


def without_cookie(route: Route) -> None:
    """Sign in as a browser that keeps no cookies."""
    answer = route.fetch()
    route.request.frame.page.context.clear_cookies()  # `fetch` has kept it
    headers = {name: text for name, text in answer.headers.items() if name != "set-cookie"}
    route.fulfill(response=answer, headers=headers)


def test_link(coded, start_server, open_page, shoot, tmp_path):
    """A link signs the phone in for good, and leaves nothing in its address bar. The phone may open
    it again; on another one it says why not. Servers on one host do not sign each other out."""
    server, code = coded
    Codes(tmp_path).renew("view")
    server.process.send_signal(signal.SIGHUP)
    link, view_link = new_link(tmp_path), new_link(tmp_path, "view")
    page = open_page(f"{server.url}{link}")
    expect_control(page)
    assert page.url == f"{server.url}/"
    assert page.evaluate("document.cookie") == ""  # which no script can read
    shoot(page)
    for again in (link, view_link):
        with page.expect_response("**/api/hello"):
            page.evaluate("hash => location.hash = hash", again.lstrip("/"))
        expect_signed_in(page)
        expect(page.locator("#sign-in")).to_be_hidden()
        assert page.url == f"{server.url}/"
    neighbour = start_server(CONFIG, env=folders(tmp_path))
    page.goto(f"{neighbour.url}{new_link(tmp_path)}")
    expect_signed_in(page)
    page.goto(server.url)
    expect_signed_in(page)

    other = open_page(f"{server.url}{link}")
    error = other.locator("#sign-in .error")
    expect(error).to_have_text(string("error:used-link", command="sudo raspi-server code --qr"))
    expect(other.locator("#sign-in .hint")).to_contain_text("sudo raspi-server code --qr")
    shoot(other)
    type_code(other, code)
    expect_signed_in(other)


def test_typed_code(coded, open_page, shoot):
    """A browser that may only view takes the code, says if it is wrong or was not kept, and how
    long to wait. Signing out counts for all tabs. With `view: code` nothing else is shown."""
    server, code = coded
    page = open_page(server.url)
    expect(page.locator('[data-code="view"]')).to_contain_text("needs the control code")
    expect(page.locator('[data-pin="lamp"]')).to_contain_text("view only")
    expect(page.get_by_role("switch")).to_have_count(0)
    page.get_by_role("button", name="Sign in").click()
    error = page.locator("#sign-in .error")
    type_code(page, "xxxxx-xxxxx-xxxxx")
    expect(error).to_have_text(string("error:wrong-code"))
    shoot(page)
    page.route("**/api/login", without_cookie)
    type_code(page, code)
    expect(error).to_contain_text("this browser did not keep the sign-in")
    page.unroute("**/api/login")
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
    server.reload("access: {view: code}" + CONFIG)
    expect(other.locator("#link")).to_contain_text(string("sign-in"))
    other.reload()
    expect(other.locator("#waiting")).to_have_text(string("needsCode"))
    shoot(other)
    other.locator("#way-in button").click()
    for _ in range(8):
        with other.expect_response("**/api/login"):
            type_code(other, "wrong")
    words = re.compile(r"^too many wrong codes: try again in \d+ s$")
    expect(other.locator("#sign-in .error")).to_have_text(words)
