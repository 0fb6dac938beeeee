"""The example pages, each in a real browser, under a content policy stricter than ours."""

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from raspi_server.web.context import BUILT_IN_WWW
from tests.browser.looking import switch, value
from tests.support.http import ask
from tests.support.server import Server

CONFIG = """
access: {control: everyone}
pins:
  door: {gpio: 17, mode: input, pull: up, label: Front door}
  lamp: {gpio: 27, mode: output, label: Desk lamp}
  fan: {gpio: 18, mode: pwm, label: Fan}
"""
WITHOUT_LAMP = """
access: {control: everyone}
pins:
  garage: {gpio: 22, mode: output, label: Garage, pulse: 0.5, confirm: true}
  heater: {gpio: 5, mode: output, label: Heater, confirm: true}
"""
STRICT = """
import sys
from raspi_server.cli.main import main
from raspi_server.web.static import Files
before = Files.set_default_headers
def set_strict(self):
    before(self)
    self.set_header("Content-Security-Policy", "default-src 'none'; script-src 'self';"
        " style-src 'self'; img-src 'self'; connect-src 'self'")
Files.set_default_headers = set_strict
sys.exit(main())
"""
EXAMPLES = BUILT_IN_WWW / "examples"


@pytest.fixture
def strict(start_server: Callable[..., Server]) -> Server:
    """A server with a strict content policy. A breach fails the test."""
    return start_server(CONFIG, program=("-c", STRICT))


def visit(open_page: Callable[[str], Page], server: Server, name: str) -> Page:
    return open_page(f"{server.url}/examples/{name}")


def test_big_button(strict, open_page, shoot):
    """The big button switches its pin, shows what other clients do, and is disabled while the
    server is away. The pin may be in the address; one that may not be switched is disabled."""
    fan = visit(open_page, strict, "switch.html?pin=fan").get_by_role("button", name="Fan")
    fan.click()
    expect(fan).to_have_attribute("aria-pressed", "true")
    assert (value(strict, "fan"), value(strict, "lamp")) == (1, 0)
    door = visit(open_page, strict, "switch.html?pin=door").get_by_role("button", name="Front door")
    expect(door).to_be_disabled()
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


def test_big_button_of_an_unknown_pin(start_server, open_page, shoot):
    """A button whose pin does not exist is disabled, and says which pins there are."""
    page = visit(open_page, start_server(WITHOUT_LAMP, program=("-c", STRICT)), "switch.html")
    expect(page.get_by_role("button")).to_have_text("There is no pin called lamp")
    expect(page.get_by_role("button")).to_be_disabled()
    expect(page.get_by_role("status")).to_have_text(
        "Write the name of your pin into PIN at the top of switch.js:"
        " garage (Garage), heater (Heater)"
    )
    shoot(page, "example-no-pin")


def test_big_button_asks(start_server, open_page, shoot):
    """If a pin has `confirm`, the button asks: after Cancel and Escape nothing was sent, after
    yes it is done. Keys are enough, and the first of them changes nothing."""
    server = start_server(WITHOUT_LAMP, program=("-c", STRICT))
    page = visit(open_page, server, "switch.html?pin=heater")
    button = page.get_by_role("button", name="Heater")
    question = page.get_by_role("dialog", name="Switch Heater on?")
    button.click()
    expect(question).to_be_visible()
    expect(question.get_by_role("button", name="Cancel")).to_be_focused()
    shoot(page, "example-confirm")
    for key in ("Enter", "Escape"):
        page.keyboard.press(key)
        expect(question).to_have_count(0)
        expect(page.get_by_role("status")).to_have_text(
            "Not done: the answer was no, so nothing was sent"
        )
        expect(button).to_be_focused()
        button.press("Enter")
        expect(question).to_be_visible()
    assert ask(server, "GET", "/api/pins/heater").json["since"] is None
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(button).to_have_attribute("aria-pressed", "true")
    assert value(server, "heater") == 1
    button.click()
    page.get_by_role("dialog", name="Switch Heater off?").get_by_text("Yes").click()
    expect(button).to_have_attribute("aria-pressed", "false")


def test_table(strict, open_page, shoot):
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


def test_tutorial(strict, open_page, shoot):
    """The button connects and shows the server's messages as they come, and the end of the
    connection."""
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


def test_list_of_examples(strict, open_page):
    """The list leads to each example, to its script, and to the dashboard. Each can be read at one
    go, and loads nothing from elsewhere."""
    page = visit(open_page, strict, "index.html")
    links = page.get_by_role("link").evaluate_all("links => links.map((link) => link.pathname)")
    expected = {
        f"/examples/{file.name}" for file in EXAMPLES.glob("*.html") if file.stem != "index"
    }
    expected |= {path.replace(".html", ".js") for path in expected}
    assert expected | {"/", "/raspi.js"} == set(links)
    for link in links:
        assert ask(strict, "GET", link).status == 200
    assert visit(open_page, strict, "").title() == page.title()
    for file in EXAMPLES.iterdir():
        text = file.read_text()
        assert text.count("\n") < 40, file
        assert "//" not in re.sub(r"(^|\s)// .*", "", text), file
        assert "style=" not in text and "onclick=" not in text, file
