"""The picture of the board's header: the holder of each pin, and the example for a free one."""

import re
import urllib.request

from playwright.sync_api import Page, expect

from raspi_server.config import parser, schema, source

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


def open_header(page: Page) -> None:
    page.locator("#board summary").click()
    expect(page.locator(".header button")).to_have_count(40)


def test_every_pin_of_the_header(start_server, open_page, shoot):
    """All 40 positions stand as on the board, ours by name and live, others with who holds them."""
    server = start_server(CONFIG, program=("-c", TAKEN))
    page = open_page(server.url)
    open_header(page)
    numbers = page.locator(".header .number").all_inner_texts()
    assert numbers == [str(position) for position in range(1, 41)]
    lamp = page.get_by_role("button", name="Pin 13, GPIO27, Desk lamp, off")
    expect(lamp).to_be_visible()
    request = urllib.request.Request(server.url + "/api/pins/lamp", b'{"value":1}', method="PUT")
    with urllib.request.urlopen(request, timeout=10):
        pass
    expect(page.get_by_role("button", name="Pin 13, GPIO27, Desk lamp, on")).to_be_visible()
    page.get_by_role("button", name="Pin 24, GPIO8, in use by spi0 CS0").click()
    expect(page.locator(".chosen")).to_contain_text("In use by spi0 CS0.")
    expect(page.locator(".chosen pre")).to_have_count(0)
    page.get_by_role("button", name="Pin 6, GND").click()
    expect(page.locator(".chosen")).to_contain_text("Ground")
    shoot(page, "header")


def test_the_lines_for_a_free_pin(start_server, open_page, shoot):
    """A free pin comes with lines to copy, which config.yaml takes as they are."""
    page = open_page(start_server(CONFIG).url)
    open_header(page)
    page.get_by_role("button", name=re.compile("^Pin 3, GPIO2$")).click()
    expect(page.locator(".chosen h3")).to_have_text("Pin 3: GPIO2, also I²C data")
    examples = page.locator(".chosen code").all_inner_texts()
    shoot(page, "header-free")
    modes = []
    for lines in examples:
        found = parser.parse(f"pins:\n{lines}\n".encode(), "config.yaml", source.LOCAL_FILE.parent)
        (pin,) = found.pins
        assert (pin.name, pin.gpio) == ("gpio2", 2)
        modes.append(type(pin))
    assert modes == [schema.InputConfig, schema.OutputConfig]


def test_the_first_pin(start_server, open_page):
    """With no pins yet the header lies open, and the lines of a free pin take the place of the line
    that says there are none."""
    page = open_page(start_server("gpio: simulated\n").url)
    page.get_by_role("button", name=re.compile("^Pin 11, GPIO17$")).click()
    lines = page.locator(".chosen code").first.inner_text()
    found = parser.parse(f"{lines}\n".encode(), "config.yaml", source.LOCAL_FILE.parent)
    assert [(pin.name, pin.gpio) for pin in found.pins] == [("gpio17", 17)]


def test_a_header_that_cannot_be_read(start_server, open_page):
    """What goes wrong is said in the place of the picture."""
    page = open_page(start_server(CONFIG).url)
    page.route("**/api/header", lambda route: route.abort())
    page.locator("#board summary").click()
    expect(page.locator("#board .error")).to_contain_text("The header could not be read")
