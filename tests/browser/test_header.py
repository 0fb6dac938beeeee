"""The picture of the board's header: the user of each pin, and the example for a free one."""

import re

from playwright.sync_api import Page, expect

from raspi_server.config import parser, schema, source
from tests.browser.looking import switch

CONFIG = """
gpio: simulated
access: {control: everyone}
pins:
  door: {gpio: 17, mode: input, pull: up, label: Front door}
  lamp: {gpio: 27, mode: output, label: Desk lamp}
"""
TAKEN = """
import sys
from raspi_server.cli.main import main
from raspi_server.gpio.backend import SimulatedFactory
SimulatedFactory.holder = lambda self, gpio: "spi0 CS0" if gpio == 8 else None
sys.exit(main())
"""


def parsed(lines: str) -> list[tuple[str, int, type]]:
    """Return name, GPIO and kind of the pins in lines of config.yaml."""
    found = parser.parse(f"{lines}\n".encode(), "config.yaml", source.LOCAL_FILE.parent)
    return [(pin.name, pin.gpio, type(pin)) for pin in found.pins]


def choose(page: Page, name: str) -> None:
    page.get_by_role("button", name=re.compile(f"^{name}$")).click()


def test_header(start_server, open_page, shoot):
    """All 40 positions are as on the board: configured pins by name and live, others with their
    user. A free pin comes with lines that config.yaml takes as they are."""
    server = start_server(CONFIG, program=("-c", TAKEN))
    page = open_page(server.url)
    page.route("**/api/header", lambda route: route.abort())
    page.locator("#board summary").click()
    expect(page.locator("#board .error")).to_contain_text("The header could not be read")
    page.unroute("**/api/header")
    for _ in range(2):
        page.locator("#board summary").click()
    expect(page.locator("#board .error")).to_be_hidden()
    expect(page.locator(".header .number")).to_have_text([str(number) for number in range(1, 41)])
    expect(page.get_by_role("button", name="Pin 13, GPIO27, Desk lamp, off")).to_be_visible()
    switch(server, "lamp", 1)
    expect(page.get_by_role("button", name="Pin 13, GPIO27, Desk lamp, on")).to_be_visible()
    choose(page, "Pin 24, GPIO8, in use by spi0 CS0")
    expect(page.locator(".chosen")).to_contain_text("In use by spi0 CS0.")
    expect(page.locator(".chosen pre")).to_have_count(0)
    choose(page, "Pin 6, GND")
    expect(page.locator(".chosen")).to_contain_text("Ground")
    choose(page, "Pin 3, GPIO2")
    expect(page.locator(".chosen h3")).to_have_text("Pin 3: GPIO2, also I²C data")
    one, other = page.locator(".chosen code").all_inner_texts()
    assert parsed(f"pins:\n{one}") == [("gpio2", 2, schema.InputConfig)]
    assert parsed(f"pins:\n{other}") == [("gpio2", 2, schema.OutputConfig)]
    shoot(page, "header")


def test_first_pin(start_server, open_page):
    """With no pins the header is open, and the lines of a free pin begin with `pins:`."""
    page = open_page(start_server("gpio: simulated\n").url)
    choose(page, "Pin 11, GPIO17")
    lines = page.locator(".chosen code").first.inner_text()
    assert parsed(lines) == [("gpio17", 17, schema.InputConfig)]
