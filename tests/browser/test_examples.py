"""The example pages, each alive in a real browser, under a content policy stricter than ours."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from raspi_server.web.context import BUILT_IN_WWW
from tests.support.http import ask
from tests.support.server import Server

expect.set_options(timeout=15_000)

CONFIG = """
access: {control: everyone}
pins:
  door: {gpio: 17, mode: input, pull: up, label: Front door}
  lamp: {gpio: 27, mode: output, label: Desk lamp}
  fan: {gpio: 18, mode: pwm, label: Fan}
"""
GARAGE = """
access: {control: everyone}
pins:
  garage: {gpio: 22, mode: output, label: Garage, pulse: 0.5, confirm: true}
  heater: {gpio: 5, mode: output, label: Heater, confirm: true}
  spot: {gpio: 18, mode: pwm, label: Spot, confirm: true}
"""
STRICTLY = """
import sys
from raspi_server.cli.main import main
from raspi_server.web.static import Files
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
    """The big button switches the pin it names, shows what others do, and cannot
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
    nothing = visit(open_page, strict, "switch.html?pin=garage")
    expect(nothing.get_by_role("button")).to_have_text("There is no pin called garage")
    expect(nothing.get_by_role("button")).to_be_disabled()
    expect(nothing.get_by_role("status")).to_contain_text("lamp (Desk lamp), fan (Fan)")


def test_the_big_button_of_no_pin(start_server, open_page, shoot):
    """Where the pin that it names is not there, it takes no other, and says which there are."""
    server = start_server(GARAGE, program=("-c", STRICTLY))
    page = visit(open_page, server, "switch.html")
    button = page.get_by_role("button")
    expect(button).to_have_text("There is no pin called lamp")
    expect(button).to_be_disabled()
    expect(page.get_by_role("status")).to_have_text(
        "Write the name of your pin into PIN at the top of switch.js:"
        " garage (Garage), heater (Heater), spot (Spot)"
    )
    shoot(page, "example-no-pin")


def test_the_big_button_asks(start_server, open_page, shoot):
    """Where a pin has `confirm` it asks: after Cancel and Escape nothing was sent, after yes it
    is done. Keys are enough, and the first of them does no harm."""
    server = start_server(GARAGE, program=("-c", STRICTLY))
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


@pytest.mark.parametrize(
    "call, question",
    [
        ("pulse('garage')", "Press Garage? It will be on for 0.5 s."),
        ("pulse('garage', 0.2)", "Press Garage? It will be on for 0.2 s."),
        ("toggle('garage')", "Press Garage? It will be on for 0.5 s."),
        ("set('heater', 1)", "Switch Heater on?"),
        ("set('spot', 0.35)", "Set Spot to 35%?"),
        ("set('spot', 0)", "Switch Spot off?"),
        ("toggle('spot')", "Switch Spot on?"),
    ],
)
def test_a_page_of_my_own_asks(start_server, open_page, call, question):
    """Whatever switches a pin with `confirm` from a page of one's own asks, and sends nothing after
    a no; it does after a yes, and where the page says that it asks itself."""
    server = start_server(GARAGE)
    page = open_page("about:blank")
    sent: list[str] = []
    page.on("websocket", lambda socket: socket.on("framesent", lambda frame: sent.append(frame)))
    page.goto(server.url + "/examples/index.html")
    page.evaluate("""async () => {
        const { connect } = await import("/raspi.js");
        const asked = (question) => (window.asked = question) === null;
        for (const [name, confirm] of [["plain"], ["never", asked], ["own", () => true]]) {
            const raspi = window[name] = connect({ confirm });
            await new Promise((done) => raspi.on("hello", done));
        }
    }""")
    outcome = f"(name) => window[name].{call}.then(() => 'done', (error) => error.code)"
    assert page.evaluate(outcome, "never") == "cancelled"
    assert page.evaluate("asked") == question
    page.evaluate(f"() => {{ window.waiting = ({outcome})('plain') }}")
    page.get_by_role("dialog", name=question).get_by_role("button", name="Cancel").click()
    assert page.evaluate("waiting") == "cancelled"
    assert sent == []
    page.evaluate(f"() => {{ window.waiting = ({outcome})('plain') }}")
    page.get_by_role("dialog", name=question).get_by_role("button", name="Yes").click()
    assert page.evaluate("waiting") == "done"
    assert page.evaluate(outcome, "own") == "done"
    assert len(sent) == 2


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
