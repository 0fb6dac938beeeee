"""The sparkline in each open row, the page of one pin, and the events of a day.

node/history.test.js tests the drawing."""

import csv
import re

from playwright.sync_api import Locator, Page, Route, expect

from tests.browser.looking import (
    CONFIG,
    Hand,
    api,
    card,
    expect_live,
    open_row,
    string,
    switch,
    word,
)
from tests.support.server import Server

DAY_S = 86400
HOUSE = """
gpio: simulated
access: {control: everyone}
pins:
  front: {gpio: 17, mode: input, pull: up, kind: door, label: Front door}
  leak: {gpio: 6, mode: input, pull: up, kind: moisture, label: Under the sink}
  fan: {gpio: 18, mode: pwm, kind: fan, label: Fan}
  bell: {gpio: 23, mode: output, kind: bell, pulse: 0.2, label: Bell}
  relay: {gpio: 5, mode: output, label: Relay, hidden: true}
""" + "".join(f"  in{gpio}: {{gpio: {gpio}, mode: input}}\n" for gpio in range(7, 17))
NOTE_TEXTS = """
    window.drawn = [];
    const { clearRect, fillText } = CanvasRenderingContext2D.prototype;
    Object.assign(CanvasRenderingContext2D.prototype, {
        clearRect(...all) {
            if (this.canvas.closest(".chart")) window.drawn = [];
            clearRect.apply(this, all);
        },
        fillText(words, x, y) {
            const half = this.measureText(words).width / 2;
            window.drawn.push({ words, left: x - half, right: x + half, width: this.canvas.width });
            fillText.call(this, words, x, y);
        },
    });
"""
"""Notes the labels on the axis of the timeline."""
LARGE_LETTERS = """addEventListener("DOMContentLoaded", () => {
    document.documentElement.style.fontSize = "200%";
});"""

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


def start_a_day_ago(page: Page, pin: str, *changes: tuple[float, float]) -> None:
    """Let the history of a pin begin a day ago: a test cannot wait for so long. A change has a
    share of the day and a value. The pin was off before."""

    def answer(route: Route) -> None:
        found = route.fetch().json()
        start = found["time"] - DAY_S
        found["since"], found["value"] = start, 0
        found["changes"] = [
            {"time": start + share * DAY_S, "value": value, "by": None} for share, value in changes
        ]
        route.fulfill(json=found)

    page.route(f"**/api/pins/{pin}/history", answer)


def summary(span: str, *parts: str, changes: int) -> str:
    """Return what the timeline says of a span."""
    count = string("changesShown_other", count=changes)
    return ", ".join([string("shown", span=span), *parts, count])


def share(state: str, amount: str) -> str:
    return string("shareOfTime", state=state, share=amount)


def tap(control: Locator) -> None:
    """Tap with a finger, once the control is in view."""
    control.scroll_into_view_if_needed()
    control.tap()


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
    rows = page.locator(".changes li")
    expect(rows).to_have_count(2)
    expect(rows.first.locator("time")).to_have_text(re.compile(r"^\d\d:\d\d:\d\d\.\d\d\d$"))
    expect(rows.first).to_contain_text(f"off {string('until')} {string('byWhom', who='127.0.0.1')}")
    expect(rows.nth(1)).to_contain_text(re.compile(r"on for \d+\.\d\d\d sec"))

    chart, readout = page.locator(".chart"), page.locator(".readout")
    known = summary("5 min", string("knownFor", span="X"), share("on", "Y"), changes=2)
    known = re.escape(known).replace("X", ".+").replace("Y", "<?[0-9]+%")
    expect(readout).to_have_text(re.compile(f"^{known}$"))
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
    expect(readout).to_have_text(re.compile("^18 min .+ shown"))
    hand = Hand(page)
    hand.touch((x - 20, y), (x + 20, y))
    for apart in range(35, 81, 15):
        hand.move((x - apart, y), (x + apart, y))
    hand.lift()
    expect(readout).to_have_text(re.compile("^4 min 3[0-9] sec shown"))

    page.get_by_role("switch", name="Desk lamp").click()
    expect(rows).to_have_count(3)
    expect(rows.first.locator(".state")).to_have_text("on")
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
    expect(page.locator(".none:visible")).to_have_text("No changes yet.")
    page.goto(f"{server.url}/#pin/nobody")
    expect(page.get_by_role("alert")).to_have_text("There is no pin called nobody.")
    page.get_by_role("link", name="All pins").click()
    expect(page.get_by_role("heading", name="Heater")).to_be_visible()


def test_timeline_in_words(start_server, open_page, shoot):
    """The timeline says of a level how high it was on average and for how long it was on, and of a
    door in its own words for how long it was open. One tap shows the last hour or day. A finger
    that taps a moment reads what was then."""
    server = start_server(HOUSE)
    page = open_page("about:blank")
    start_a_day_ago(page, "fan", (0.25, 0.5), (0.75, 1))
    start_a_day_ago(page, "front", (0.5, 1), (0.75, 0))
    page.goto(f"{server.url}/#pin/fan")
    readout, scale = page.locator(".readout"), page.locator(".scale")
    expect(readout).to_have_text(
        summary("5 min", string("average", level="100%"), share("on", "100%"), changes=0)
    )
    expect(scale.locator("span")).to_have_text(["100%", "50%", "0%"])
    hour, day = (
        page.get_by_role("button", name=string("lastSpan", span="1 hr")),
        page.get_by_role("button", name=string("lastSpan", span="24 hr")),
    )
    tap(day)
    expect(readout).to_have_text(
        summary("24 hr", string("average", level="50%"), share("on", "75%"), changes=2)
    )
    expect(day).to_have_attribute("aria-pressed", "true")
    expect(page.locator(".range")).to_have_text(re.compile(r", \d\d:\d\d – now$"))
    tap(hour)
    expect(readout).to_have_text(
        summary("1 hr", string("average", level="100%"), share("on", "100%"), changes=0)
    )
    expect(day).to_have_attribute("aria-pressed", "false")
    shoot(page)
    page.goto(f"{server.url}/#pin/front")
    tap(day)
    expect(readout).to_have_text(summary("24 hr", share("open", "25%"), changes=2))
    expect(scale).to_be_hidden()
    box = page.locator(".chart").bounding_box()
    page.touchscreen.tap(box["x"] + box["width"] * 0.6, box["y"] + 40)
    expect(readout).to_have_text(re.compile(r": open, for 6 hr$"))


def test_labels_of_the_timeline(start_server, open_page):
    """At every zoom a phone has three times on the axis at least, none cut off or on another one,
    whatever the size of its letters."""
    server = start_server(HOUSE)
    for width, script in ((390, ""), (320, ""), (390, LARGE_LETTERS), (320, LARGE_LETTERS)):
        page = open_page("about:blank", viewport={"width": width, "height": 800})
        page.add_init_script(NOTE_TEXTS + script)
        start_a_day_ago(page, "front", (0.5, 1))
        page.goto(f"{server.url}/#pin/front")
        expect(page.locator(".readout")).to_contain_text("5 min shown")
        page.locator(".chart").evaluate("chart => chart.scrollIntoView({block: 'center'})")
        box = page.locator(".chart").bounding_box()
        page.mouse.move(box["x"] + box["width"] - 1, box["y"] + 40)
        page.mouse.wheel(0, -4000)
        expect(page.locator(".range")).to_contain_text(".")  # milliseconds
        for _ in range(60):
            before = page.locator(".range").inner_text()
            labels = page.evaluate("drawn")
            where = f"{width} pixels, {before}: {labels}"
            assert len(labels) >= 3, where
            assert labels[0]["left"] >= 0 and labels[-1]["right"] <= labels[-1]["width"], where
            for one, other in zip(labels, labels[1:], strict=False):
                assert one["right"] < other["left"], where
            page.mouse.wheel(0, 160)
            page.wait_for_function(FRAMES)
        assert "," in before  # a day


FRAMES = "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"


def rows_of(page: Page) -> Locator:
    return page.locator("#events-page .event")


def test_events_of_a_day(start_server, open_page, shoot):
    """A link in the list leads to what happened, the newest first, in the words of each pin, and
    with who did it. What happens now appears at once, and moves no focus. A hidden pin is not
    there. Each event leads to its pin, and Back to the same place."""
    server = start_server(HOUSE)
    page = open_page(server.url)
    expect_live(page)
    tap(page.locator("#events-link"))
    expect(page.get_by_role("heading", name=string("events"))).to_be_visible()
    expect(page.locator("#events-page")).to_contain_text(string("eventsNone"))
    expect(page).to_have_title(re.compile(f"^{string('events')} – "))
    for level in (0.3, 0.8, 0):
        switch(server, "fan", level)
    switch(server, "relay", 1)
    rows = rows_of(page)
    by = re.escape(string("byWhom", who="127.0.0.1"))
    expect(rows).to_have_text(
        [re.compile(f"^Fan {state} {by}") for state in ("off", "80%")]
    )  # two levels in a second are one change
    page.get_by_role("link", name="Fan").last.focus()
    api(server, "/api/pins/bell/pulse", "POST", {})
    expect(rows).to_have_count(3)  # the end of a press is none
    expect(rows.first).to_have_text(re.compile(f"^Bell ringing {by}"))
    expect(rows.nth(2).locator("a")).to_be_focused()
    expect(page.locator(".kept")).not_to_be_empty()
    shoot(page)
    tap(rows.nth(2).locator("a"))
    expect(page.locator("#pin-page h2").first).to_have_text("Fan")
    page.go_back()
    expect(rows.nth(2).locator("a")).to_be_focused()
    page.reload()
    expect(rows).to_have_count(3)
    server.reload(HOUSE.replace("label: Fan", "label: Cooler"))
    expect(rows.nth(2)).to_contain_text("Cooler")


def test_thousands_of_events(start_server, open_page):
    """A busy day is shown a part at a time, by the hours of the phone's clock. Its end says since
    when events are known, and of which pins more happened than is kept."""
    server = start_server(HOUSE)
    page = open_page("about:blank")

    def answer(route: Route) -> None:
        found = route.fetch().json()
        start = found["time"] - DAY_S
        for name, history in found["pins"].items():
            history["since"] = start
            if name in ("front", "leak"):
                count = 1000 if name == "front" else 30
                step = DAY_S / (count + 1)
                history["changes"] = [
                    {"time": start + step * (i + 1), "value": (i + 1) % 2, "by": None}
                    for i in range(count)
                ]
        route.fulfill(json=found)

    page.route("**/api/history?seconds=86400", answer)
    page.goto(f"{server.url}/#events")
    rows = rows_of(page)
    expect(rows).to_have_count(100)
    first = rows.first.inner_text()
    more = page.get_by_role("button", name=string("showMore"))
    for count in (300, 500, 700, 900):
        expect(page.locator(".kept")).to_be_hidden()
        tap(more)
        expect(rows).to_have_count(count)
    tap(more)
    expect(rows).to_have_count(1030)
    expect(more).to_be_hidden()
    assert rows.first.inner_text() == first
    expect(page.locator(".kept")).to_have_text(
        string("eventsFull", count="1,000 changes", list="Front door")
    )
    assert 24 <= page.locator(".hour").count() <= 25
    wet = rows.filter(has_text="Under the sink").nth(1)
    expect(wet).to_have_attribute("data-tone", "alarm")
    expect(wet.locator(".state")).to_have_text("wet")


def test_unreadable_events(start_server, open_page):
    """Without an answer the page of what happened says so, and is right once there is one."""
    server = start_server(HOUSE)
    page = open_page("about:blank")
    page.route("**/api/history?seconds=86400", lambda route: route.abort())
    page.goto(f"{server.url}/#events")
    expect(page.get_by_role("alert")).to_have_text(string("noAnswer"))
    page.unroute("**/api/history?seconds=86400")
    server.restart()
    expect(page.locator("#events-page .none")).to_be_visible()
    expect(page.get_by_role("alert")).to_be_hidden()


def test_back_from_a_pin(start_server, open_page):
    """Back from a pin, by the browser or by the page, leads to the list at the same place and with
    the same focus. It goes through the pins that were opened, also after a reload."""
    server = start_server(HOUSE)
    page = open_page(server.url, viewport={"width": 390, "height": 500})
    expect_live(page)
    link = open_row(page, "in15").get_by_role("link")
    back = page.locator("#pin-page .back")

    def leave() -> int:
        """Open a pin from far below in the list; return how far it was scrolled."""
        if not link.is_visible():
            open_row(page, "in15")
        link.evaluate("link => link.scrollIntoView({block: 'center'})")
        before = page.evaluate("scrollY")
        assert before > 300
        link.tap()
        expect(back).to_be_focused()
        assert page.evaluate("scrollY") == 0
        return int(before)

    for go_back in (page.go_back, back.tap, lambda: page.keyboard.press("Enter")):
        before = leave()
        go_back()
        expect(link).to_be_focused()
        assert abs(page.evaluate("scrollY") - before) <= 1
    page.go_back()  # the list was only opened once
    assert page.url == "about:blank"
    page.go_forward()
    expect_live(page)

    leave()
    page.evaluate("location.hash = '#pin/fan'")
    expect(page.locator("#pin-page h2").first).to_have_text("Fan")
    page.reload()
    expect(page.locator("#pin-page h2").first).to_have_text("Fan")
    page.go_back()
    expect(page.locator("#pin-page h2").first).to_have_text("in15")
    page.go_forward()
    expect(page.locator("#pin-page h2").first).to_have_text("Fan")
    back.tap()
    expect(page.locator("#list")).to_be_visible()
    page.go_back()
    assert page.url == "about:blank"


def test_bookmark_of_a_pin(start_server, open_page):
    """From a pin that was opened by its address, the link to all pins leads to the list in its
    place. So Back leads to where one came from, not to the pin again."""
    server = start_server(HOUSE)
    page = open_page(f"{server.url}/examples/")
    for address in ("#pin/fan", "#events"):
        page.goto(f"{server.url}/{address}")
        expect(page.locator(".back:visible")).to_have_text(re.compile(string("back")))
        page.locator(".back:visible").tap()
        expect(page.locator("#list")).to_be_visible()
        expect(page.locator(".back:visible")).to_have_count(0)
        assert page.url == f"{server.url}/"
        page.go_back()
        assert page.url == f"{server.url}/examples/"
    page.goto(f"{server.url}/#pin/fan")
    expect(page.locator(".back:visible")).to_have_count(1)
    page.locator("a.home").click()
    expect(page.locator("#list")).to_be_visible()
    page.go_back()
    assert page.url == f"{server.url}/examples/"
