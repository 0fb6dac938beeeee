"""The sparkline in open rows, and the page of one pin. node/history.test.js tests the drawing."""

import csv
import re

from playwright.sync_api import Page, expect

from tests.browser.looking import CONFIG, Hand, api, card, open_row, switch, word
from tests.support.server import Server

LIT = """(pin) => {
    const canvas = document.querySelector(`#pins [data-pin="${pin}"] canvas`);
    const row = canvas.getContext("2d").getImageData(0, 2, canvas.width, 1).data;
    const isLit = (x) => x >= 0 && row[4 * x + 3] > 200;
    const lit = [];
    for (let x = 0; x < canvas.width; x++) if (isLit(x) && !isLit(x - 1)) lit.push(x);
    return lit;
}"""
"""The columns of device pixels in which a pin went on."""


def wait_for_lit(page: Page, pin: str, count: int) -> None:
    """Wait until the sparkline of a pin shows that it went on so many times."""
    expect(card(page, pin).first).to_be_attached()
    page.wait_for_function(f"([pin, count]) => ({LIT})(pin).length === count", arg=[pin, count])


def flash(server: Server, pin: str) -> None:
    """Switch a pin on, and off again a few milliseconds later."""
    switch(server, pin, 1)
    switch(server, pin, 0)


def test_sparkline_and_unreadable_history(start_server, open_page, shoot):
    """The sparkline shows pulses of milliseconds, earlier and new ones. The row names who changed
    its pin last. Without a history the page of a pin says why, and everything else works."""
    server = start_server(CONFIG)
    flash(server, "lamp")
    page = open_page(server.url)
    row = open_row(page, "lamp")
    wait_for_lit(page, "lamp", 1)
    expect(row.locator(".by")).to_contain_text("by 127.0.0.1")
    (first,) = page.evaluate(LIT, "lamp")
    # A pixel is half a second: the next pulse gets one of its own.
    page.wait_for_function(f"(x) => ({LIT})('lamp')[0] < x", arg=first - 3)
    flash(server, "lamp")
    wait_for_lit(page, "lamp", 2)
    open_row(page, "door")
    wait_for_lit(page, "door", 0)
    shoot(page)
    page.route("**/api/**history*", lambda route: route.abort())
    page.goto(f"{server.url}/#pin/lamp")
    page.reload()
    expect(page.get_by_role("alert")).to_contain_text("The history could not be read")
    page.get_by_role("link", name="All pins").click()
    expect(page.locator("#pin-page")).to_be_hidden()
    open_row(page, "lamp")
    page.get_by_role("switch", name="Desk lamp").click()
    wait_for_lit(page, "lamp", 1)


def test_page_of_one_pin(start_server, open_page, shoot):
    """A pin's own page has its switch, its timeline, its last changes and a CSV file. The timeline
    zooms by buttons, keys, wheel and two fingers. Back and its address work; a wrong one says
    so."""
    server = start_server(CONFIG)
    flash(server, "lamp")
    page = open_page(server.url)
    open_row(page, "lamp").get_by_role("link").click()
    expect(page.locator("#list")).to_be_hidden()
    assert page.url.endswith("/#pin/lamp")
    rows = page.locator(".changes tbody tr")
    expect(rows).to_have_count(2)
    newest = rows.first.locator("td")
    expect(newest.nth(0)).to_have_text(re.compile(r"^\d\d:\d\d:\d\d\.\d\d\d$"))
    expect(newest.nth(1)).to_have_text("off")
    expect(newest.nth(3)).to_have_text("127.0.0.1")
    expect(rows.nth(1).locator("td").nth(2)).to_have_text(re.compile(r"^\d+\.\d\d\d sec$"))

    chart, readout = page.locator(".chart"), page.locator(".readout")
    expect(readout).to_have_text(re.compile("^5 min shown: on [0-9]%, 2 changes$"))
    page.get_by_role("button", name="Zoom in").click()
    expect(readout).to_contain_text("2 min 30 sec shown")
    for key, words in (("+", "1 min 15 sec shown"), ("-", "2 min 30 sec shown")):
        chart.press(key)
        expect(readout).to_contain_text(words)
    chart.press("ArrowLeft")
    page.get_by_role("button", name="Earlier").click()
    expect(readout).to_contain_text("0 changes")
    chart.press("End")
    expect(readout).to_contain_text("2 changes")
    box = chart.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + 40
    page.mouse.move(box["x"] + box["width"] - 1, y)
    expect(readout).to_have_text(re.compile(r"^\d\d:\d\d:\d\d\.\d\d\d: off, for"))
    page.mouse.move(x, y)
    page.mouse.wheel(0, 1200)
    page.mouse.move(0, 0)
    expect(readout).to_contain_text("5 min shown")
    hand = Hand(page)
    hand.touch((x - 20, y), (x + 20, y))
    for apart in range(35, 81, 15):
        hand.move((x - apart, y), (x + apart, y))
    hand.lift()
    expect(readout).to_have_text(re.compile("^1 min 1[0-9] sec shown"))

    page.get_by_role("switch", name="Desk lamp").click()
    expect(rows).to_have_count(3)
    expect(rows.first.locator("td").nth(1)).to_have_text("on")
    with page.expect_download() as download:
        page.get_by_role("link", name="Download as CSV").click()
    lines = download.value.path().read_text().splitlines()
    assert [row["value"] for row in csv.DictReader(lines)] == ["0", "1", "0", "1"]
    shoot(page)
    page.go_back()
    expect(page.locator("#pin-page")).to_be_hidden()
    expect(word(page, "lamp").first).to_have_text("on")
    assert page.evaluate("document.title") == api(server, "/api")["host"]

    page.goto(f"{server.url}/#pin/fan")
    page.reload()
    expect(page.locator(".none")).to_have_text("No changes yet.")
    page.goto(f"{server.url}/#pin/nobody")
    expect(page.get_by_role("alert")).to_have_text("There is no pin called nobody.")
    page.get_by_role("link", name="All pins").click()
    expect(page.get_by_role("heading", name="Heater")).to_be_visible()
