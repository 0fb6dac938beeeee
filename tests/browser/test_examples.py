"""The example pages, each in a real browser."""

import re

from playwright.sync_api import expect

from tests.browser.looking import switch, value
from tests.support.http import ask

CONFIG = """
access: {control: everyone}
pins:
  door: {gpio: 17, mode: input, pull: up, label: Front door}
  heater: {gpio: 27, mode: output, label: Heater, confirm: true}
  fan: {gpio: 18, mode: pwm, label: Fan}
"""


def test_big_button(start_server, open_page, shoot):
    """The big button switches the pin in its address, and is disabled while the server is away. One
    whose pin may not be switched is disabled; one whose pin does not exist says which pins there
    are. If a pin has `confirm` it asks: after Cancel and Escape nothing was sent. Keys are enough,
    and the first of them changes nothing."""
    server = start_server(CONFIG)
    url = f"{server.url}/examples/switch.html"
    page = open_page(url)
    expect(page.get_by_role("button")).to_have_text("There is no pin called lamp")
    expect(page.get_by_role("button")).to_be_disabled()
    expect(page.get_by_role("status")).to_have_text(
        "Write the name of your pin into PIN at the top of switch.js: heater (Heater), fan (Fan)"
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


def test_table_and_tutorial(start_server, open_page, shoot):
    """The table shows every pin in order, and each change as it comes. The tutorial's button shows
    the server's messages as they come, and the end of the connection."""
    server = start_server(CONFIG)
    page = open_page(f"{server.url}/examples/table.html")
    expect(page.locator("tbody td:first-child")).to_have_text(["Front door", "Heater", "Fan"])
    values = page.locator("tbody td:nth-child(2)")
    expect(values).to_have_text(["0", "0", "0"])
    switch(server, "fan", 0.35)
    expect(values).to_have_text(["0", "0", "0.35"])
    expect(page.locator("tbody td:last-child").nth(2)).to_contain_text(re.compile(r"\d"))
    shoot(page)
    page.goto(f"{server.url}/examples/tutorial.html")
    box = page.locator("#messages")
    expect(box).to_be_empty()
    page.get_by_role("button", name="Run WebSocket").click()
    expect(box).to_contain_text('{"door":0,"heater":0,"fan":0.35}')
    switch(server, "heater", 1)
    expect(box).to_contain_text('{"door":0,"heater":1,"fan":0.35}')
    shoot(page)
    server.stop()
    expect(box).to_contain_text("Connection is lost")
