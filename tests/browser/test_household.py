"""The list of the dashboard as a household sees it: a house of 14 pins on every size of screen."""

import json
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Locator, Page, expect

from raspi_server.security.codes import Codes
from tests.browser.conftest import ARGUMENTS, DESK, PHONE, RULES, find
from tests.browser.looking import (
    Hand,
    api,
    card,
    drive,
    expect_live,
    open_row,
    resize,
    string,
    switch,
    value,
    wait_for,
    word,
)
from tests.support.coded_server import folders
from tests.support.server import LIMIT, Server

HOUSE = """
gpio: simulated
access: {control: everyone}
pins:
  front: {gpio: 17, mode: input, pull: up, kind: door, room: Hall, label: Front door}
  smoke: {gpio: 4, mode: input, kind: smoke, room: Hall, label: Smoke detector}
  motion: {gpio: 22, mode: input, kind: motion, room: Hall, label: Motion}
  hall: {gpio: 27, mode: output, kind: light, room: Hall, label: Hall light}
  doorbell: {gpio: 10, mode: input, pull: up, kind: button, room: Hall, label: Doorbell}
  back: {gpio: 9, mode: input, pull: up, kind: door, room: Kitchen, label: Back door}
  window: {gpio: 11, mode: input, pull: up, kind: window, room: Kitchen, label: Kitchen window}
  leak: {gpio: 5, mode: input, kind: moisture, room: Kitchen, label: Leak under the sink}
  fan: {gpio: 18, mode: pwm, kind: fan, room: Kitchen, label: Cooker hood}
  garage: {gpio: 6, mode: input, pull: up, kind: garage_door, room: Garage, label: Garage door}
  heater: {gpio: 13, mode: output, kind: heater, room: Garage, label: Frost heater, max_on: 3600}
  porch: {gpio: 19, mode: output, kind: light, room: Garden, label: Porch light}
  pump: {gpio: 26, mode: output, kind: pump, room: Garden, label: Water pump, pulse: 600}
  gate: {gpio: 21, mode: output, kind: gate, room: Garden, label: Gate, pulse: 0.5, confirm: true}
"""
GERMAN = {
    "Front door": "Haustür", "Smoke detector": "Rauchmelder", "l: Motion": "l: Bewegungsmelder",
    "Hall light": "Flurbeleuchtung", "Doorbell": "Türklingel", "Back door": "Terrassentür",
    "Kitchen window": "Küchenfenster", "Leak under the sink": "Wassermelder Spüle",
    "Cooker hood": "Dunstabzugshaube", "Garage door": "Garagentor", "Frost heater": "Frostwächter",
    "Porch light": "Außenbeleuchtung", "Water pump": "Gartenpumpe", "l: Gate": "l: Einfahrtstor",
    "m: Hall": "m: Eingangsbereich", "m: Kitchen": "m: Küche", "m: Garden": "m: Garten",
}  # fmt: skip
ARABIC = {
    "Front door": "الباب الأمامي", "Smoke detector": "كاشف الدخان", "l: Motion": "l: حركة",
    "Hall light": "ضوء القاعة", "Doorbell": "جرس الباب", "Back door": "الباب الخلفي",
    "Kitchen window": "نافذة المطبخ", "Leak under the sink": "تسرب تحت المغسلة",
    "Cooker hood": "شفاط المطبخ", "Garage door": "باب المرآب", "Frost heater": "سخان",
    "Porch light": "ضوء الشرفة", "Water pump": "مضخة المياه", "l: Gate": "l: البوابة",
    "m: Hall": "m: القاعة", "m: Kitchen": "m: المطبخ", "m: Garden": "m: الحديقة",
}  # fmt: skip
PINS = 14
SMALL_PHONE = {"width": 390, "height": 664}
LANDSCAPE = {"width": 844, "height": 390}
WIDTHS = (320, 390, 820, 1440)
EVENING = {"front": 1, "garage": 1, "motion": 1, "back": 0, "window": 0, "doorbell": 0}
"""What the inputs say while two lights, the fan and the heater are on."""

BOXES = """[...document.querySelectorAll("#pins .pin > .face")].map((face) => {
    const { x, y, width, height } = face.getBoundingClientRect();
    return { pin: face.parentElement.dataset.pin, x, y, width, height };
})"""
COLUMNS = f"""(count) => new Set({BOXES}.map(({{ x }}) => x)).size === count"""
BROKEN_WORDS = """() => {
    const broken = [];
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
        const node = walker.currentNode;
        if (!node.parentElement.checkVisibility()) continue;
        if (node.parentElement.closest(".unseen, template")) continue;
        for (const { 0: word, index } of node.textContent.matchAll(/[^\\s-]+/g)) {
            const range = document.createRange();
            range.setStart(node, index);
            range.setEnd(node, index + word.length);
            const lines = new Set([...range.getClientRects()].map(({ y }) => Math.round(y)));
            if (lines.size > 1) broken.push(`${word} in ${node.parentElement.className}`);
        }
    }
    return broken;
}"""
OUTSIDE = """() => [...document.querySelectorAll("body *")]
    .filter((element) => element.checkVisibility() && !element.closest("#summary, .unseen"))
    .filter((element) => {
        const { left, right } = element.getBoundingClientRect();
        return left < -0.5 || right > innerWidth + 0.5;
    })
    .map((element) => element.outerHTML.slice(0, 120))"""
WATCH_SHIFTS = """
    window.shifted = 0;
    new PerformanceObserver((list) => {
        for (const { value } of list.getEntries()) window.shifted += value;
    }).observe({ type: "layout-shift", buffered: true });
"""
MOST_SHIFTED = 0.05
"""The layout shift (CLS) at load: half of what web.dev calls good."""
WATCH_WRITES = """() => {
    window.written = new Set();
    new MutationObserver((all) => {
        for (const { target } of all) {
            const element = target.nodeType === Node.TEXT_NODE ? target.parentElement : target;
            const part = element?.closest("[data-pin], #summary, #announcements");
            window.written.add(part?.dataset.pin ?? part?.id ?? element?.outerHTML);
        }
    }).observe(document, {
        subtree: true, childList: true, attributes: true, characterData: true,
    });
}"""
"""Collect in `window.written` the pins and other parts whose elements were changed."""
NO_STORAGE = """
    Object.defineProperty(window, "localStorage", {
        get() { throw new DOMException("denied", "SecurityError"); }
    });
"""
"""A script of a browser that lets pages keep nothing."""


def renamed(words: dict[str, str]) -> str:
    config = HOUSE
    for english, other in words.items():
        assert english in config
        config = config.replace(english, other)
    return config


def evening(server: Server) -> None:
    """Open two doors, and switch some outputs on."""
    drive(server, **EVENING, smoke=0, leak=0)
    for pin, level in {"hall": 1, "porch": 1, "fan": 0.35, "heater": 1}.items():
        switch(server, pin, level)


def boxes(page: Page) -> dict[str, dict[str, float]]:
    return {box.pop("pin"): box for box in page.evaluate(BOXES)}


def chips(page: Page) -> Locator:
    return page.locator("#summary a")


@pytest.fixture
def open_large(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Open an address in a browser whose user has chosen a size for text, in pixels."""
    contexts = []
    with tempfile.TemporaryDirectory() as folder:

        def open_large(url: str, pixels: int, **options: Any) -> Page:
            profile = Path(folder) / str(len(contexts))
            preferences = profile / "Default" / "Preferences"
            preferences.parent.mkdir(parents=True)
            sizes = {"default_font_size": pixels, "default_fixed_font_size": pixels * 13 // 16}
            preferences.write_text(json.dumps({"webkit": {"webprefs": sizes}}))
            context = browser.browser_type.launch_persistent_context(
                profile,
                executable_path=find("chromium", "chromium"),
                args=ARGUMENTS,
                has_touch=True,
                **options,
            )
            contexts.append(context)
            context.set_default_timeout(LIMIT * 1000)
            page = context.pages[0]
            page.goto(url)
            size = page.evaluate("getComputedStyle(document.documentElement).fontSize")
            assert size == f"{pixels}px"
            return page

        yield open_large
        for context in contexts:
            context.close()


def test_rows_that_a_screen_shows(start_server, open_page):
    """A row is 48 to 64 pixels high. A phone shows 8 of them, 6 with a browser's bars, 3 when it
    lies on its side, and all 14 in two screens. A notice and the summary have room, too."""
    server = start_server(HOUSE)
    evening(server)
    page = open_page(server.url)
    expect_live(page)
    expect(chips(page)).not_to_have_count(0)
    expect(page.locator("#notices .notice").first).to_be_visible()
    for screen, least in ((PHONE, 8), (SMALL_PHONE, 6), (LANDSCAPE, 3)):
        resize(page, screen)
        rows = boxes(page)
        assert len(rows) == PINS
        assert all(48 <= row["height"] <= 64 for row in rows.values()), rows
        seen = [pin for pin, row in rows.items() if row["y"] + row["height"] <= screen["height"]]
        assert len(seen) >= least, (screen, seen)
    resize(page, PHONE)
    assert max(row["y"] + row["height"] for row in boxes(page).values()) <= 2 * PHONE["height"]


def test_columns(start_server, open_page, shoot):
    """There are two columns from 600 pixels and three on a desk. Rows are equally high, and none
    is far below the one before. A row that opens moves only those below it in its column. A list
    without rooms fills all columns equally."""
    server = start_server(HOUSE)
    drive(server, smoke=0, leak=0)
    page = open_page(server.url, viewport=DESK, is_mobile=False)
    expect_live(page)
    expect(card(page, "gate")).to_be_visible()
    for width, count in ((599, 1), (600, 2), (820, 2), (1440, 3)):
        resize(page, {"width": width, "height": 900})
        wait_for(page, COLUMNS, count)
        rows = boxes(page)
        columns = {x: [row for row in rows.values() if row["x"] == x] for x in places(rows)}
        assert len({round(row["width"]) for row in rows.values()}) == 1
        assert len({round(row["height"]) for row in rows.values()}) == 1
        tops = {round(min(row["y"] for row in column)) for column in columns.values()}
        assert len(tops) == 1
        for column in columns.values():
            for row, below in zip(column, column[1:], strict=False):
                # Between two rooms there is a heading.
                assert 0 <= below["y"] - row["y"] - row["height"] <= 72
    before = boxes(page)
    open_row(page, "back")
    after = boxes(page)
    moved = {pin for pin in before if before[pin] != after[pin]}
    assert moved == {"window", "leak", "fan"}
    shoot(page)
    pins = "".join(f"  out{gpio}: {{gpio: {gpio}, mode: output}}\n" for gpio in range(28))
    server.reload(f"gpio: simulated\npins:\n{pins}")
    resize(page, {"width": 1440, "height": 900})
    expect(page.locator("#pins .pin")).to_have_count(28)
    wait_for(page, COLUMNS, 3)
    rows = boxes(page)
    lengths = [sum(row["x"] == x for row in rows.values()) for x in places(rows)]
    assert lengths == [10, 9, 9]
    assert list(rows) == [f"out{gpio}" for gpio in range(28)]


def places(rows: dict[str, dict[str, float]]) -> list[float]:
    """Return where columns begin."""
    return sorted({row["x"] for row in rows.values()})


@pytest.mark.parametrize("language", ["en-US", "de-DE", "ar"])
def test_every_size(start_server, open_large, tmp_path, language):
    """From 320 to 1440 pixels, in both themes and with text twice as large, no word is broken,
    nothing scrolls sideways, and axe finds no barrier. A tap opens a row, and a tap on its switch
    switches. In a language that runs from right to left, everything is the other way round."""
    words = {"de-DE": GERMAN, "ar": ARABIC}.get(language, {})
    strings = Path("www/languages/en.json").read_text()
    (tmp_path / "www" / "languages").mkdir(parents=True)
    if language == "ar":
        arabic = json.dumps({**json.loads(strings), "direction": "rtl"})
        (tmp_path / "www" / "languages" / "ar.json").write_text(arabic)
    server = start_server(renamed(words))
    evening(server)
    drive(server, leak=1)
    for pixels in (16, 32):
        page = open_large(server.url, pixels, locale=language)
        expect_live(page)
        open_row(page, "fan")
        for width in WIDTHS:
            resize(page, {"width": width, "height": 844})
            where = (language, pixels, width)
            assert page.evaluate("document.documentElement.scrollWidth") <= width, where
            assert page.evaluate(OUTSIDE) == [], where
            assert page.evaluate(BROKEN_WORDS) == [], where
            page.evaluate("scrollTo(0, 0)")  # nothing is half below the top line
            for scheme in ("light", "dark"):
                page.emulate_media(color_scheme=scheme)
                found = Axe().run(page, options={"runOnly": RULES, "resultTypes": ["violations"]})
                assert found.violations_count == 0, (where, scheme, found.generate_report())
            check_touch(page, server)
        side = page.evaluate("""() => {
            const [tile, control] = [".tile", ".control"].map((part) =>
                document.querySelector(`[data-pin="hall"] ${part}`).getBoundingClientRect().x);
            return tile < control ? "ltr" : "rtl";
        }""")
        assert side == page.evaluate("document.dir") == ("rtl" if language == "ar" else "ltr")


def check_touch(page: Page, server: Server) -> None:
    """Touch a row, which opens and closes it, and its switch, which switches."""
    hand, row = Hand(page), card(page, "hall")
    was = value(server, "hall")
    for is_open in (True, False):
        tap(hand, row.locator(".tile"))
        expect(row.locator(".more")).to_be_visible(visible=is_open)
    assert value(server, "hall") == was
    tap(hand, row.locator(".switch"))
    expect(row.get_by_role("switch")).to_have_attribute("aria-checked", str(not was).lower())
    assert value(server, "hall") == 1 - was
    expect(row.locator(".more")).to_be_hidden()


def tap(hand: Hand, target: Locator) -> None:
    target.evaluate("element => element.scrollIntoView({block: 'center'})")
    box = target.bounding_box()
    assert box
    hand.touch((box["x"] + box["width"] / 2, box["y"] + box["height"] / 2))
    hand.lift()


@pytest.mark.parametrize("is_slow", [False, True], ids=["fast", "slow"])
def test_nothing_moves_at_load(start_server, open_page, tmp_path, is_slow):
    """While the page loads, nothing that is shown moves, on a slow network, too."""
    Codes(tmp_path).renew("control")
    server = start_server(HOUSE.replace("everyone", "code"), env=folders(tmp_path))
    for screen in (PHONE, LANDSCAPE, DESK):
        page = open_page("about:blank", viewport=screen)
        page.add_init_script(WATCH_SHIFTS)
        if is_slow:
            network = page.context.new_cdp_session(page)
            network.send("Network.enable")
            network.send(
                "Network.emulateNetworkConditions",
                {
                    "offline": False,
                    "latency": 400,  # milliseconds
                    "downloadThroughput": 50_000,  # bytes a second
                    "uploadThroughput": 50_000,
                },
            )
        page.goto(server.url)
        expect_live(page)
        expect(page.locator("#health")).to_be_attached()
        expect(page.locator('[data-fact="memory"]')).to_have_count(1)
        expect(card(page, "gate")).to_be_attached()
        page.wait_for_load_state("networkidle")
        assert page.evaluate("window.shifted") < MOST_SHIFTED, screen


def test_summary_and_alarms(start_server, open_page, shoot):
    """The line at the top tells active alarms, what is open and what is on, and leads to the rows.
    It keeps its height. An active alarm is red and the first row; an open door and a light differ
    from the rest. What does not fit is told in short."""
    server = start_server(HOUSE)
    drive(server, **{**EVENING, "front": 0, "garage": 0, "motion": 0}, smoke=0, leak=0)
    page = open_page(server.url)
    expect_live(page)
    place = page.locator("#summary")
    expect(chips(page)).to_have_count(0)
    calm = boxes(page)
    drive(server, front=1, back=1)
    expect(chips(page)).to_have_text(["2 doors open"])
    for pin in ("hall", "porch"):
        switch(server, pin, 1)
    expect(chips(page)).to_have_text(["2 doors open", "2 lights on"])
    assert boxes(page) == calm
    for pin, tone in {"front": "attention", "hall": "warm", "smoke": "calm"}.items():
        expect(card(page, pin)).to_have_attribute("data-tone", tone)
    drive(server, smoke=1)
    expect(chips(page).first).to_have_text("Smoke!")
    expect(chips(page).first).to_have_css("background-color", "rgb(179, 32, 27)")
    expect(word(page, "smoke")).to_have_css("color", "rgb(179, 32, 27)")
    expect(page.locator("#pins .pin").first).to_have_attribute("data-pin", "smoke")
    expect(card(page, "smoke").locator(".where")).to_be_visible()
    shoot(page)
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    expect(place).to_be_in_viewport()
    chips(page).first.click()
    expect(card(page, "smoke")).to_be_in_viewport()
    expect(page.locator("#label-smoke")).to_be_focused()

    drive(server, smoke=0, garage=1, window=1)
    switch(server, "fan", 1)
    switch(server, "heater", 1)
    expect(page.locator("#pins .pin").first).to_have_attribute("data-pin", "front")
    resize(page, {"width": 320, "height": 640})
    expect(chips(page)).to_have_text(["4 open", "4 on"])
    resize(page, DESK)
    told = ["2 doors open", "1 window open", "1 garage door open"]
    expect(chips(page)).to_have_text([*told, "2 lights on", "1 fan on", "1 heater on"])
    page.get_by_role("button", name="Garage", exact=True).click()
    expect(card(page, "garage")).to_be_hidden()
    open_row(page, "gate").get_by_role("link").click()
    expect(page.locator("#pin-page")).to_be_visible()
    expect(place).to_be_hidden()
    drive(server, leak=1)
    expect(chips(page).filter(visible=True)).to_have_text(["Water leak!"])
    chips(page).first.click()
    expect(page.locator("#label-leak")).to_be_focused()
    page.get_by_role("link", name="1 garage door open").click()
    expect(page.locator("#label-garage")).to_be_focused()


def test_change_writes_its_row_alone(start_server, open_page):
    """A change of a pin changes its row, and nothing else but the line of what is active if that
    says something else now. A link in it that has the focus keeps it."""
    server = start_server(HOUSE)
    drive(server, **{**EVENING, "front": 0, "garage": 0, "motion": 0}, smoke=0, leak=0)
    switch(server, "hall", 1)
    page = open_page(server.url)
    expect_live(page)
    expect(chips(page)).to_have_text(["1 light on"])
    expect(page.locator("#health dd").first).to_be_visible()
    chips(page).focus()
    drive(server, motion=1)
    expect(word(page, "motion")).to_have_text("motion")
    page.evaluate(WATCH_WRITES)
    drive(server, motion=0)
    expect(word(page, "motion")).to_have_text("no motion")
    written = page.evaluate("[...window.written]")
    ages = {*EVENING, "hall"}  # times since the last changes
    assert {"motion"} <= {*written} <= {*ages, "announcements"}
    switch(server, "porch", 1)
    expect(chips(page)).to_have_text(["2 lights on"])
    expect(chips(page)).to_be_focused()
    written = page.evaluate("[...window.written]")
    assert {"porch", "summary"} <= {*written} <= {*ages, "announcements", "porch", "summary"}


@pytest.mark.parametrize("width", WIDTHS)
def test_names_in_the_picture_of_the_header_are_whole(start_server, open_page, width: int):
    """The picture of the header has one column of names where two would break a long word."""
    server = start_server(renamed(GERMAN))
    page = open_page(server.url, locale="de", viewport={"width": width, "height": 844})
    expect_live(page)
    page.locator("#board summary").tap()
    picture = page.locator(".header")
    expect(picture.locator("> button")).to_have_count(40)
    expect(picture).to_have_attribute("data-width", "narrow" if width < 800 else "wide")
    assert page.evaluate(BROKEN_WORDS) == []
    assert page.evaluate(OUTSIDE) == []
    assert picture.evaluate("picture => picture.scrollWidth <= picture.clientWidth")


def test_rooms(start_server, open_page):
    """Rooms are headings in the order of first appearance, after the pins without one. A folded
    room tells what is active in it, and stays folded on this device. Hidden pins are in no list,
    but have their page. A browser that keeps nothing folds rooms, too."""
    server = start_server(
        HOUSE
        + "  attic: {gpio: 12, mode: output, label: Attic}\n"
        + "  secret: {gpio: 16, mode: output, room: Hall, label: Secret, hidden: true}\n"
    )
    evening(server)
    switch(server, "secret", 1)
    page = open_page(server.url)
    expect_live(page)
    expect(page.get_by_role("heading", level=2)).to_have_text(
        ["Hall", "Kitchen", "Garage", "Garden", "This Raspberry Pi"]
    )
    expect(page.locator("#pins h3").first).to_have_text("Attic")
    expect(card(page, "secret")).to_have_count(0)
    assert "Secret" not in page.locator("#list").inner_text()
    expect(page.get_by_role("link", name="4 on")).to_be_visible()
    garage = page.get_by_role("button", name="Garage", exact=True)
    line = page.locator(".active").filter(visible=True)
    for _ in range(2):
        garage.click()
        expect(garage).to_have_attribute("aria-expanded", "false")
        expect(card(page, "garage")).to_be_hidden()
        expect(line).to_have_text("Garage door open · Frost heater on")
        page.reload()
        expect(line).to_have_text("Garage door open · Frost heater on")
        drive(server, garage=0)
        expect(line).to_have_text("Frost heater on")
        drive(server, garage=1)
        expect(line).to_have_text("Garage door open · Frost heater on")
        garage.press("Enter")
        expect(card(page, "garage")).to_be_visible()
        page.reload()
        expect(card(page, "garage")).to_be_visible()
    page.goto(f"{server.url}/#pin/secret")
    expect(page.get_by_role("heading", name="Secret")).to_be_visible()

    page = open_page("about:blank")
    page.add_init_script(NO_STORAGE)
    page.goto(server.url)
    expect_live(page)
    garage = page.get_by_role("button", name="Garage", exact=True)
    garage.click()
    expect(card(page, "garage")).to_be_hidden()
    page.locator("#notices .away").first.click()
    page.locator("#theme").click()
    expect(page.locator("html")).to_have_attribute("data-theme", "light")


def test_row_that_opens(start_server, open_page, shoot):
    """A row opens to its last minutes, its limits, its line and the link to its page, by keys, too.
    A dimmer has its slider there. Names of kinds, and words of one pin, are what it says."""
    server = start_server(
        HOUSE.replace("kind: fan,", "kind: fan, words: {on: Blowing, off: Calm},")
        + "  up: {gpio: 20, mode: output, room: Hall, label: Blind up, group: blind}\n"
        + "  down: {gpio: 16, mode: output, room: Hall, label: Blind down, group: blind}\n"
    )
    page = open_page(server.url)
    expect_live(page)
    for pin, words in {"front": "open", "leak": "dry", "fan": "Calm", "hall": "off"}.items():
        expect(word(page, pin)).to_have_text(words)
    expect(word(page, "gate")).to_have_text("")
    opener = page.get_by_role("button", name="Frost heater", exact=True)
    expect(opener).to_have_accessible_description("off")
    opener.press("Enter")
    expect(opener).to_have_attribute("aria-expanded", "true")
    expect(card(page, "heater").locator(".limits")).to_have_text(string("onAtMost", span="1 hr"))
    expect(card(page, "heater").locator(".line")).to_have_text("GPIO13 · pin 33")
    expect(card(page, "heater").locator("canvas")).to_be_visible()
    link = page.get_by_role("link", name="Timeline and changes of Frost heater")
    expect(link).to_have_attribute("href", "#pin/heater")
    page.get_by_role("switch", name="Frost heater").click()
    expect(card(page, "heater").locator(".since")).to_have_text("59 min left")
    up = open_row(page, "up")
    expect(up.locator(".limits")).to_have_text(string("groupWith", list="Blind down"))
    fan = open_row(page, "fan")
    fan.get_by_role("slider", name="Cooker hood level").press("End")
    expect(word(page, "fan")).to_have_text("100%")
    shoot(page)
    opener.press("Space")
    expect(link).to_be_hidden()


def test_notices(start_server, open_page, shoot):
    """A notice that is put away stays away on this device until it changes. On a phone they take
    two lines, and a tap shows the rest. The state of the connection is above them."""
    config = HOUSE.replace("hall:", "hal!:")
    server = start_server(HOUSE)
    page = open_page(server.url)
    expect_live(page)
    server.reload(config)
    wrong = page.locator('[data-code="configuration"]')
    expect(wrong).to_contain_text("config.yaml has errors")
    expect(page.locator("#notices .notice").filter(visible=True)).to_have_count(1)
    line = wrong.locator("p")
    assert line.evaluate("p => p.clientHeight / parseFloat(getComputedStyle(p).lineHeight)") < 2.5
    state, notices = page.locator("#link").bounding_box(), page.locator("#notices").bounding_box()
    assert state and notices
    assert state["y"] + state["height"] <= notices["y"]
    more = page.get_by_role("button", name="All notices")
    more.click()
    expect(more).to_have_attribute("aria-expanded", "true")
    expect(page.locator("#notices .notice").filter(visible=True)).to_have_count(3)
    expect(wrong).to_contain_text("hal!")
    assert line.evaluate("p => p.scrollHeight <= p.clientHeight + 1")
    shoot(page)
    for away in page.locator(".away").all():
        box = away.bounding_box()
        assert box and min(box["width"], box["height"]) >= 44
    for count in (2, 1, 0):
        page.locator(".away").first.click()
        expect(page.locator("#notices .notice")).to_have_count(count)
    page.reload()
    expect_live(page)
    expect(page.locator('[data-fact="memory"]')).to_have_count(1)
    expect(page.locator("#notices .notice")).to_have_count(0)
    server.reload(HOUSE.replace("porch:", "por!:"))
    expect(wrong).to_contain_text("por!")
    expect(page.locator("#notices .notice")).to_have_count(1)
    wrong.locator(".away").click()
    server.reload(HOUSE)
    wait_for(page, "() => !JSON.stringify({...localStorage}).includes('por!')")
    server.reload(HOUSE.replace("porch:", "por!:"))  # the same again, but it had gone
    expect(wrong).to_be_visible()


def test_search(start_server, open_page, shoot):
    """From 20 pins on there is a search over labels, rooms and kinds, which opens folded rooms."""
    more = [f"  spare{n}: {{gpio: {n}, mode: output}}\n" for n in (2, 3, 7, 8, 12)]
    server = start_server(HOUSE + "".join(more))
    page = open_page(server.url)
    expect_live(page)
    search = page.get_by_role("searchbox", name="Find a pin")
    expect(page.locator("#pins .pin")).to_have_count(19)
    expect(search).to_be_hidden()
    server.reload(HOUSE + "".join(more) + "  spare16: {gpio: 16, mode: output}\n")
    expect(search).to_be_visible()
    page.get_by_role("button", name="Garage", exact=True).click()
    shown = page.locator("#pins h3")
    for words, labels in {
        "DOOR": ["Front door", "Doorbell", "Back door", "Garage door"],
        "garden light": ["Porch light"],
        "heater": ["Frost heater"],
    }.items():
        search.fill(words)
        expect(shown).to_have_text(labels)
        expect(shown.last).to_be_visible()
    search.fill("nothing of that name")
    expect(shown).to_have_count(0)
    expect(page.locator("#no-match")).to_have_text("No pin matches.")
    shoot(page)
    search.fill("")
    expect(shown).to_have_count(20)
    expect(card(page, "garage")).to_be_hidden()


def theme(name: str) -> str:
    return string("theme", name=string(f"theme:{name}"))


def test_theme(start_server, open_page):
    """A button chooses the theme: the system's, light or dark. It is there before the first paint,
    on each page, and the timeline follows."""
    server = start_server(HOUSE)
    page = open_page("about:blank", color_scheme="light")
    page.add_init_script("""
        document.addEventListener("DOMContentLoaded", () => {
            window.first = document.documentElement.dataset.theme;
        });
    """)
    page.goto(server.url)
    expect_live(page)
    button, html = page.locator("#theme"), page.locator("html")
    ground = page.locator("body")
    light, dark = "rgb(244, 245, 248)", "rgb(16, 18, 22)"
    expect(button).to_have_text(theme("system"))
    expect(ground).to_have_css("background-color", light)
    page.emulate_media(color_scheme="dark")
    expect(ground).to_have_css("background-color", dark)
    button.click()
    expect(button).to_have_text(theme("light"))
    expect(ground).to_have_css("background-color", light)
    page.emulate_media(color_scheme="light")
    switch(server, "hall", 1)
    row = open_row(page, "hall")
    drawn = """([pin, colour]) => {
        const canvas = document.querySelector(`#pins [data-pin="${pin}"] canvas`);
        const { data } = canvas.getContext("2d").getImageData(canvas.width - 1, 4, 1, 1);
        return String([...data.slice(0, 3)]) === colour;
    }"""
    expect(row.locator("canvas")).to_be_visible()
    row.scroll_into_view_if_needed()
    page.wait_for_function(drawn, arg=["hall", "18,128,63"])
    button.click()
    expect(button).to_have_text(theme("dark"))
    expect(ground).to_have_css("background-color", dark)
    expect(page.locator('meta[name="theme-color"]').first).to_have_attribute("content", "#101216")
    row.scroll_into_view_if_needed()
    page.wait_for_function(drawn, arg=["hall", "79,220,140"])
    page.goto(f"{server.url}/#pin/hall")
    for path in ("/", "/fleet/", "/nothing"):
        page.goto(f"{server.url}{path}")
        expect(ground).to_have_css("background-color", dark)
        assert page.evaluate("window.first") == "dark"
    page.goto(server.url)
    button.click()
    expect(button).to_have_text(theme("system"))
    expect(html).not_to_have_attribute("data-theme", "dark")
    expect(ground).to_have_css("background-color", light)
    assert api(server, "/api/pins/hall")["value"] == 1
