"""The example pages, each alive in a real browser, under a content policy stricter than ours."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from raspi_server.site import BUILT_IN_WWW
from tests.asking import ask
from tests.conftest import Server

expect.set_options(timeout=15_000)

CONFIG = """
access: {control: everyone}
pins:
  door: {gpio: 17, mode: input, pull: up, label: Front door}
  lamp: {gpio: 27, mode: output, label: Desk lamp}
  fan: {gpio: 18, mode: pwm, label: Fan}
"""
STRICTLY = """
import sys
from raspi_server.__main__ import main
from raspi_server.files import Files
before = Files.set_default_headers
def strictly(self):
    before(self)
    self.set_header("Content-Security-Policy", "default-src 'none'; script-src 'self';"
        " style-src 'self'; img-src 'self'; connect-src 'self'")
Files.set_default_headers = strictly
sys.exit(main())
"""
EXAMPLES = BUILT_IN_WWW / "examples"
PAGES = sorted(file.name for file in EXAMPLES.glob("*.html"))


@pytest.fixture
def strict(start_server: Callable[..., Server]) -> Server:
    """A server with a policy of which a breach fails the test."""
    return start_server(CONFIG, program=("-c", STRICTLY))


def visit(open_page: Callable[[str], Page], server: Server, name: str) -> Page:
    return open_page(f"{server.url}/examples/{name}")


def switch(server: Server, pin: str, value: float) -> None:
    assert ask(server, "PUT", f"/api/pins/{pin}", {"value": value}).status == 200


def value(server: Server, pin: str) -> float:
    level: float = ask(server, "GET", f"/api/pins/{pin}").json["value"]
    return level


def test_the_big_button(strict, open_page, shoot):
    """The big button switches the first pin that may be switched, shows what others do, and cannot
    be pressed while the server is away."""
    page = visit(open_page, strict, "switch.html")
    button = page.get_by_role("button", name="Desk lamp")
    button.click()
    expect(button).to_have_attribute("aria-pressed", "true")
    assert value(strict, "lamp") == 1
    shoot(page, "example-switch")
    switch(strict, "lamp", 0)
    expect(button).to_have_attribute("aria-pressed", "false")
    strict.stop()
    expect(button).to_be_disabled()
    expect(page.get_by_role("status")).to_have_text("lost")
    strict.restart()
    expect(button).to_be_enabled()
    button.click()
    expect(button).to_have_attribute("aria-pressed", "true")


def test_the_big_button_of_my_choice(strict, open_page):
    """The pin may stand in the address; one that may not be switched, or is none, is not."""
    fan = visit(open_page, strict, "switch.html?pin=fan").get_by_role("button", name="Fan")
    fan.click()
    expect(fan).to_have_attribute("aria-pressed", "true")
    assert (value(strict, "fan"), value(strict, "lamp")) == (1, 0)
    door = visit(open_page, strict, "switch.html?pin=door").get_by_role("button", name="Front door")
    expect(door).to_be_disabled()
    nothing = visit(open_page, strict, "switch.html?pin=garage").get_by_role("button")
    expect(nothing).to_have_text("There is no such pin")
    expect(nothing).to_be_disabled()


def test_the_table(strict, open_page, shoot):
    """The table shows every pin in order, and each change as it comes."""
    page = visit(open_page, strict, "table.html")
    names = page.locator("tbody td:first-child")
    expect(names).to_have_text(["Front door", "Desk lamp", "Fan"])
    values = page.locator("tbody td:nth-child(2)")
    expect(values).to_have_text(["0", "0", "0"])
    switch(strict, "lamp", 1)
    switch(strict, "fan", 0.35)
    expect(values).to_have_text(["0", "1", "0.35"])
    expect(page.locator("tbody td:last-child").nth(1)).to_contain_text(re.compile(r"\d"))
    shoot(page, "example-table")
    strict.stop()
    expect(page.locator("body")).to_have_attribute("data-link", "lost")
    strict.restart()
    expect(values).to_have_text(["0", "0", "0"])


def test_the_page_of_the_tutorial(strict, open_page, shoot):
    """The button opens the link and shows what the server says as it comes, and that the link
    is closed when it is."""
    page = visit(open_page, strict, "tutorial.html")
    box = page.locator("#messages")
    expect(box).to_be_empty()
    page.get_by_role("button", name="Run WebSocket").click()
    expect(box).to_contain_text('{"door":0,"lamp":0,"fan":0}')
    switch(strict, "lamp", 1)
    expect(box).to_contain_text('{"door":0,"lamp":1,"fan":0}')
    shoot(page, "example-tutorial")
    strict.stop()
    expect(box).to_contain_text("Connection is lost")


def test_the_list_leads_to_all(strict, open_page):
    """The list of examples leads to each of them, to its script, and to the dashboard."""
    page = visit(open_page, strict, "index.html")
    links = page.get_by_role("link").evaluate_all("links => links.map((link) => link.pathname)")
    expected = {f"/examples/{name}" for name in PAGES if name != "index.html"}
    expected |= {path.replace(".html", ".js") for path in expected}
    assert expected | {"/", "/raspi.js"} == set(links)
    for link in links:
        assert ask(strict, "GET", link).status == 200
    assert visit(open_page, strict, "").title() == page.title()


@pytest.mark.parametrize("file", sorted(EXAMPLES.iterdir()), ids=lambda file: file.name)
def test_they_are_tiny(file: Path) -> None:
    """Each example can be read at one go, and nothing in it is loaded from elsewhere."""
    text = file.read_text()
    assert text.count("\n") < 40
    assert "//" not in re.sub(r"(^|\s)// .*", "", text)
    assert "style=" not in text and " on" + "click=" not in text
