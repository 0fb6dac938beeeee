"""The history of the pins: the sparkline on each card, and the page of one pin. The drawing of a
line is tested in node/history.test.js."""

import csv
import re

from playwright.sync_api import Page, expect

from tests.browser.looking import CONFIG, api, card, expect_live, switch, word
from tests.support.server import Server

MILLISECONDS = re.compile(r"^\d\d:\d\d:\d\d\.\d\d\d$")
LIT = """(canvas) => {
    const row = canvas.getContext("2d").getImageData(0, 2, canvas.width, 1).data;
    const isLit = (x) => x >= 0 && row[4 * x + 3] > 200;
    const lit = [];
    for (let x = 0; x < canvas.width; x++) if (isLit(x) && !isLit(x - 1)) lit.push(x);
    return lit;
}"""
"""The columns of device pixels in which the pin went on: a pulse may lie in two of them."""


def lit(page: Page, pin: str) -> list[int]:
    columns: list[int] = card(page, pin).locator("canvas").evaluate(LIT)
    return columns


def wait_for_lit(page: Page, pin: str, count: int) -> None:
    """Wait until the sparkline of a pin shows that it went on so many times."""
    script = f"""([selector, count]) => {{
        const strip = document.querySelector(selector);  // the cards come some time after the page
        return strip && ({LIT})(strip).length === count;
    }}"""
    page.wait_for_function(script, arg=[f'[data-pin="{pin}"] canvas', count])


def flash(server: Server, pin: str) -> None:
    """Switch a pin on, and off again a few milliseconds later."""
    switch(server, pin, 1)
    switch(server, pin, 0)


def pinch(page: Page, middle: tuple[float, float], start: float, end: float) -> None:
    """Move two fingers from one distance to another."""
    session = page.context.new_cdp_session(page)
    x, y = middle

    def touch(kind: str, apart: float | None) -> None:
        points = [] if apart is None else [x - apart / 2, x + apart / 2]
        fingers = [{"x": at, "y": y, "id": i} for i, at in enumerate(points)]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": fingers})

    touch("touchStart", start)
    for step in range(1, 9):
        touch("touchMove", start + (end - start) * step / 8)
    touch("touchEnd", None)


def test_sparkline(start_server, open_page, shoot):
    """A pulse of milliseconds before the page was opened is on its sparkline, and those that come
    later join it. The card says who changed its pin last, also before the page was opened."""
    server = start_server(CONFIG)
    flash(server, "lamp")
    page = open_page(server.url)
    wait_for_lit(page, "lamp", 1)
    expect(card(page, "lamp").locator(".since")).to_contain_text("by 127.0.0.1")
    (first,) = lit(page, "lamp")
    # A pixel is half a second: the next one is to have its own.
    moved = f"([selector, x]) => ({LIT})(document.querySelector(selector))[0] < x"
    page.wait_for_function(moved, arg=['[data-pin="lamp"] canvas', first - 3])
    flash(server, "lamp")
    wait_for_lit(page, "lamp", 2)
    assert lit(page, "door") == []
    shoot(page, "strips")


def test_page_of_one_pin(start_server, open_page, shoot):
    """The sparkline leads to the pin's own page, with its switch, its timeline, its last changes to
    the millisecond and a CSV file; the browser's back button leads back."""
    server = start_server(CONFIG)
    flash(server, "lamp")
    page = open_page(server.url)
    expect_live(page)
    page.get_by_role("link", name="History of Desk lamp").click()
    expect(page.locator("#list")).to_be_hidden()
    assert page.url.endswith("/#pin/lamp")
    rows = page.locator(".changes tbody tr")
    expect(rows).to_have_count(2)
    newest = rows.first.locator("td")
    expect(newest.nth(0)).to_have_text(MILLISECONDS)
    expect(newest.nth(1)).to_have_text("off")
    expect(newest.nth(3)).to_have_text("127.0.0.1")
    expect(rows.nth(1).locator("td").nth(2)).to_have_text(re.compile(r"^0\.\d\d\d sec$"))
    page.get_by_role("switch", name="Desk lamp").click()
    expect(rows).to_have_count(3)
    expect(rows.first.locator("td").nth(1)).to_have_text("on")
    expect(page.locator(".readout")).to_contain_text("3 changes")
    with page.expect_download() as download:
        page.get_by_role("link", name="Download as CSV").click()
    lines = download.value.path().read_text().splitlines()
    assert [row["value"] for row in csv.DictReader(lines)] == ["0", "1", "0", "1"]
    shoot(page, "pin")
    page.go_back()
    expect(page.locator("#pin-page")).to_be_hidden()
    expect(word(page, "lamp").first).to_have_text("on")
    assert page.evaluate("document.title") == api(server, "/api")["host"]


def test_page_by_its_address(start_server, open_page):
    """The page of a pin can be opened by its address. It shows a drag as one change, live and after
    a reload, and says if there is no pin of that name."""
    server = start_server(CONFIG)
    page = open_page(f"{server.url}/#pin/fan")
    expect(page.get_by_role("heading", name="Fan")).to_be_visible()
    expect(page.get_by_role("heading", name="Heater")).to_be_hidden()
    expect(page.locator(".none")).to_have_text("No changes yet.")
    for level in (0.9, 0.7, 0.5, 0.22, 0, 0.3):
        switch(server, "fan", level)
    states = page.locator(".changes tbody td:nth-child(2)")
    expect(states).to_have_text(["30%", "off", "22%"])
    page.reload()
    expect(states).to_have_text(["30%", "off", "22%"])
    page.goto(f"{server.url}/#pin/nobody")
    expect(page.get_by_role("alert")).to_have_text("There is no pin called nobody.")
    page.get_by_role("link", name="All pins").click()
    expect(page.get_by_role("heading", name="Heater")).to_be_visible()


def test_zooming(start_server, open_page):
    """The timeline zooms by buttons, keys, wheel and two fingers, pans, and finds back to now."""
    server = start_server(CONFIG)
    flash(server, "lamp")
    page = open_page(f"{server.url}/#pin/lamp")
    readout = page.locator(".readout")
    expect(readout).to_have_text(re.compile("^5 min shown: on 0%, 2 changes$"))
    page.get_by_role("button", name="Zoom in").click()
    expect(readout).to_contain_text("2 min 30 sec shown")
    chart = page.locator(".chart")
    chart.press("+")
    expect(readout).to_contain_text("1 min 15 sec shown")
    chart.press("-")
    expect(readout).to_contain_text("2 min 30 sec shown")
    chart.press("ArrowLeft")
    page.get_by_role("button", name="Earlier").click()
    expect(readout).to_contain_text("0 changes")
    chart.press("End")
    expect(readout).to_contain_text("2 changes")
    box = chart.bounding_box()
    middle = (box["x"] + box["width"] / 2, box["y"] + 40)
    page.mouse.move(box["x"] + box["width"] - 1, box["y"] + 40)
    expect(readout).to_have_text(re.compile(r"^\d\d:\d\d:\d\d\.\d\d\d: off, for"))
    page.mouse.move(*middle)
    page.mouse.wheel(0, 1200)
    page.mouse.move(0, 0)
    expect(readout).to_contain_text("5 min shown")
    pinch(page, middle, 40, 160)
    expect(readout).to_have_text(re.compile("^1 min 1[0-9] sec shown"))


def test_unreadable_history(start_server, open_page):
    """Without a history the page says why, and everything else works."""
    server = start_server(CONFIG)
    page = open_page("about:blank")
    page.route("**/api/**history*", lambda route: route.abort())
    page.goto(f"{server.url}/#pin/lamp")
    expect(page.get_by_role("alert")).to_contain_text("The history could not be read")
    page.get_by_role("link", name="All pins").click()
    expect(page.locator("#pin-page")).to_be_hidden()
    page.get_by_role("switch", name="Desk lamp").click()
    expect(word(page, "lamp").first).to_have_text("on")
    drawn = f"(selector) => ({LIT})(document.querySelector(selector)).length > 0"
    page.wait_for_function(drawn, arg='#pins [data-pin="lamp"] canvas')
