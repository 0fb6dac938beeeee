"""The big button and the cover of the examples. test_webkit.py opens the other pages."""

from playwright.sync_api import expect

from tests.browser.looking import value
from tests.support.http import ask

CONFIG = """
access: {control: everyone}
pins:
  door: {gpio: 17, mode: input, pull: up, label: Front door}
  heater: {gpio: 27, mode: output, label: Heater, confirm: true}
"""


def test_big_button(start_server, open_page, shoot):
    """The big button switches the pin in its address, asks first if the pin has `confirm`, and is
    disabled where it cannot switch. Keys are enough."""
    server = start_server(CONFIG)
    url = f"{server.url}/examples/switch.html"
    page = open_page(url)
    expect(page.get_by_role("button")).to_have_text("There is no pin called lamp")
    expect(page.get_by_role("button")).to_be_disabled()
    expect(page.get_by_role("status")).to_have_text(
        "Write the name of your pin into PIN at the top of switch.js: heater (Heater)"
    )
    shoot(page)
    page.goto(f"{url}?pin=door")
    expect(page.get_by_role("button", name="Front door")).to_be_disabled()

    page.goto(f"{url}?pin=heater")
    button = page.get_by_role("button", name="Heater")
    question = page.get_by_role("dialog", name="Switch Heater on?")
    button.click()
    expect(question).to_be_visible()
    expect(question.get_by_role("button", name="Cancel")).to_be_focused()
    shoot(page)
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
    server.stop()
    expect(button).to_be_disabled()
    expect(page.get_by_role("status")).to_have_text("lost")


COVERS = """
access: {control: everyone}
pins:
  opener: {gpio: 23, mode: output, kind: garage_door, pulse: 0.1}
  shut: {gpio: 24, mode: input, kind: garage_door, pull: up}
covers:
  garage: {label: Garage door, button: opener, closed: shut, travel: 1, confirm: true}
"""


def test_cover(start_server, open_page, shoot):
    """The buttons of the cover move it, and ask first if it has `confirm`. One that it cannot do is
    disabled."""
    server = start_server(COVERS)
    page = open_page(f"{server.url}/examples/cover.html")
    expect(page.get_by_role("heading")).to_have_text("Garage door")
    expect(page.get_by_role("status")).to_have_text("closed")
    expect(page.get_by_role("button", name="Stop")).to_be_disabled()
    page.get_by_role("button", name="Open").click()
    question = page.get_by_role("dialog", name="Open Garage door?")
    question.get_by_role("button", name="Cancel").click()
    expect(page.get_by_role("status")).to_have_text(
        "Not done: the answer was no, so nothing was sent"
    )
    page.get_by_role("button", name="Open").click()
    question.get_by_role("button", name="Open").click()
    expect(page.get_by_role("status")).to_have_text("open")
    shoot(page)
    page.goto(f"{server.url}/examples/cover.html?cover=gate")
    expect(page.get_by_role("heading")).to_have_text("There is no cover called gate")
    expect(page.get_by_role("button", name="Open")).to_be_disabled()
