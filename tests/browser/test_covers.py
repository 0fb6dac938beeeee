"""Covers on the page: garage doors, gates and shutters as one thing each, moved by thumb."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Locator, Page, expect

from raspi_server.security.codes import Codes
from tests.browser.conftest import DESK, PHONE, RULES
from tests.browser.looking import (
    NO_WEBSOCKETS,
    Hand,
    api,
    card,
    drive,
    expect_live,
    first_visit,
    open_row,
    resize,
    string,
    word,
)
from tests.browser.test_household import (
    BROKEN_WORDS,
    LANDSCAPE,
    MOST_SHIFTED,
    OUTSIDE,
    WATCH_SHIFTS,
    WIDTHS,
    chips,
    open_large,  # noqa: F401
    tap,
)
from tests.browser.test_service_worker import install_worker, wait_for_kept
from tests.browser.test_sign_in import type_code
from tests.support.coded_server import folders
from tests.support.server import Server

PINS = """
gpio: simulated
access: {control: everyone}
pins:
  motion: {gpio: 17, mode: input, kind: motion, room: Hall, label: Motion}
  porch: {gpio: 19, mode: output, kind: light, room: Garage, label: Porch light}
  opener: {gpio: 23, mode: output, kind: garage_door, label: Opener, pulse: 0.1}
  shut: {gpio: 24, mode: input, kind: garage_door, label: Contact below, pull: up}
  up: {gpio: 25, mode: input, label: Contact above}
  motor: {gpio: 12, mode: output, kind: gate, label: Gate motor, pulse: 0.1}
  gate_shut: {gpio: 16, mode: input, kind: gate, label: Gate contact, pull: up}
  blind_up: {gpio: 5, mode: output, label: Up, group: blind, group_pause: 0.5}
  blind_down: {gpio: 6, mode: output, label: Down, group: blind, group_pause: 0.5}
"""
COVERS = """
covers:
  garage:
    label: Garage door
    room: Garage
    button: opener
    closed: shut
    opened: up
    travel: {travel}
    presses: {{opening: stop, closing: reverse, stopped: opposite}}
  gate: {{kind: gate, label: Gate, room: Garage, button: motor, closed: gate_shut,
    travel: {travel}, confirm: true}}
  shutter: {{label: Shutter, room: Study, up: blind_up, down: blind_down, travel: {travel}}}
"""
LABELS = {
    "de-DE": {"l: Garage door": "l: Garagentor", "label: Gate,": "label: Einfahrtstor zur Straße,",
              "l: Shutter": "l: Rollladen Wohnzimmer", "m: Study": "m: Wohnzimmer"},
    "ar": {"l: Garage door": "l: باب المرآب", "label: Gate,": "label: البوابة الرئيسية للحديقة,",
           "l: Shutter": "l: مصراع", "m: Study": "m: غرفة المكتب"},
}  # fmt: skip
TARGETS = """[...document.querySelectorAll(".move")].filter((move) => move.checkVisibility())
    .map((move) => move.getBoundingClientRect()).map(({ width, height }) => [width, height])"""
SMALL, TABLET = {"width": 320, "height": 568}, {"width": 620, "height": 800}
MOST_BYTES = 85_000
LEAF = "leaf => getComputedStyle(leaf).animationName"


def house(travel: float = 1, **words: str) -> str:
    """Return a configuration whose drives take some seconds from end to end."""
    config = PINS + COVERS.format(travel=travel)
    for english, other in words.items():
        assert english in config
        config = config.replace(english, other)
    return config


def move(page: Page, cover: str, command: str) -> Locator:
    """Return a button of a cover."""
    return page.locator(f'#pins [data-pin="{cover}"] [data-do="{command}"]')


def press(page: Page, target: Locator) -> None:
    """Put a thumb on a button and lift it, once the page has drawn its present size."""
    resize(page, page.viewport_size or PHONE)
    tap(Hand(page), target)


def cover(server: Server, name: str) -> Any:
    return api(server, f"/api/covers/{name}")


def command(server: Server, name: str, what: str) -> None:
    """Move a cover as another client."""
    api(server, f"/api/covers/{name}/{what}", "POST", {})


def test_by_thumb(start_server, open_page, shoot):
    """A cover has one row, the first of its room, with what it is and its buttons, which are large
    enough for a thumb. They open, stop and close it. The one for what is so already is quiet. Its
    pins have no rows."""
    server = start_server(house(travel=4))
    page = open_page(server.url)
    expect_live(page)
    labels = ["Motion", "Garage door", "Gate", "Porch light", "Shutter"]
    expect(page.locator("#pins h3")).to_have_text(labels)
    expect(page.locator("#pins h2")).to_have_text(["Hall", "Garage", "Study"])
    expect(word(page, "garage")).to_have_text("closed")
    sizes = page.evaluate(TARGETS)
    assert len(sizes) == 3 + 2 + 3  # the gate cannot be stopped
    assert min(min(size) for size in sizes) >= 48
    for name, quiet in (("open", "false"), ("stop", "true"), ("close", "true")):
        expect(move(page, "garage", name)).to_have_attribute("data-quiet", quiet)
    expect(page.get_by_role("button", name="Open Garage door")).to_be_visible()
    shoot(page)

    press(page, move(page, "garage", "open"))
    expect(word(page, "garage")).to_have_text("opening…")
    expect(move(page, "garage", "open")).to_have_attribute("data-now", "true")
    expect(move(page, "garage", "stop")).to_have_attribute("data-quiet", "false")
    expect(chips(page)).to_have_text(["1 garage door open"])
    press(page, move(page, "garage", "stop"))
    expect(word(page, "garage")).to_have_text("stopped")
    shoot(page)
    press(page, move(page, "garage", "close"))
    expect(word(page, "garage")).to_have_text("closing…")
    expect(word(page, "garage")).to_have_text("closed")
    expect(chips(page)).to_have_count(0)
    assert cover(server, "garage")["problem"] is None
    press(page, move(page, "garage", "close"))  # there is nothing to do, and nothing is pressed
    press(page, move(page, "garage", "open"))
    expect(word(page, "garage")).to_have_text("opening…")
    expect(word(page, "garage")).to_have_text("open")
    expect(move(page, "garage", "open")).to_have_attribute("data-quiet", "true")
    expect(card(page, "garage")).to_have_attribute("data-tone", "attention")
    shoot(page)


def test_question(start_server, open_page):
    """A cover with `confirm` asks in verbs that fit before it is opened and closed. After a cancel
    nothing is pressed."""
    server = start_server(house(travel=1.5))
    page = open_page(server.url)
    expect_live(page)
    question = page.get_by_role("dialog")
    for what, verb, end in (("open", "Open", "open"), ("close", "Close", "closed")):
        for answer in ("Cancel", verb):
            move(page, "gate", what).click()
            expect(question).to_contain_text(f"{verb} Gate?")
            question.get_by_role("button", name=answer).click()
            expect(question).to_be_hidden()
        expect(word(page, "gate")).to_have_text(end)
    presses = api(server, "/api/pins/motor/history")["changes"]
    assert [press["value"] for press in presses] == [1, 0] * 2


def test_row_keeps_its_height(start_server, open_page):
    """A row is as high while its cover moves as before: what is below stays under the thumb."""
    server = start_server(house(travel=3))
    for screen in (PHONE, DESK):
        page = open_page(server.url, viewport=screen)
        expect_live(page)
        expect(word(page, "shutter")).to_be_visible()
        height = "row => row.getBoundingClientRect().height"
        row = card(page, "garage")
        before = row.evaluate(height)
        command(server, "garage", "open")
        expect(word(page, "garage")).to_have_text("opening…")
        assert row.evaluate(height) == before
        expect(word(page, "garage")).to_have_text("open")
        assert row.evaluate(height) == before
        command(server, "garage", "close")
        expect(word(page, "garage")).to_have_text("closed")


def test_position(start_server, open_page, shoot):
    """A shutter tells its position, and goes where its slider is let go, in its open row and on its
    page. While it moves the slider stands at the goal, and the words tell where it is."""
    server = start_server(house(travel=3))
    page = open_page(server.url)
    expect_live(page)
    expect(word(page, "shutter")).to_have_text("unknown")
    command(server, "shutter", "close")
    expect(word(page, "shutter")).to_have_text("closed")
    row = open_row(page, "shutter")
    slider = row.get_by_role("slider", name="Position of Shutter")
    expect(slider).to_have_value("0")
    touch(page, slider, 0.4)
    expect(word(page, "shutter")).to_have_text(re.compile(r"^opening… [1-9]\d?%$"))
    goal = int(slider.input_value())
    assert 35 < goal < 45
    assert cover(server, "shutter")["goal"] == goal
    expect(word(page, "shutter")).to_have_text(re.compile(r"^\d\d% open$"))
    there = int(slider.input_value())
    assert goal <= there < 100  # a busy loop is late
    expect(word(page, "shutter")).to_have_text(f"{there}% open")
    expect(chips(page)).to_have_text(["1 shutter open"])
    expect(card(page, "shutter")).to_have_attribute("data-tone", "calm")
    shoot(page)

    row.get_by_role("link", name="More about Shutter").click()
    head = page.locator("#pin-page .pin-head")
    expect(head.locator(".word")).to_have_text(f"{there}% open")
    touch(page, head.get_by_role("slider"), 0.8)
    expect(head.locator(".word")).to_have_text(re.compile(r"^[7-9]\d% open$"))
    shoot(page)


def touch(page: Page, slider: Locator, share: float) -> None:
    """Put a thumb on a slider, and lift it."""
    slider.evaluate("element => element.scrollIntoView({block: 'center'})")
    box = slider.bounding_box()
    assert box
    hand = Hand(page)
    hand.touch((box["x"] + box["width"] * share, box["y"] + box["height"] / 2))
    hand.lift()


def test_page_of_a_cover(start_server, open_page, shoot):
    """The page of a cover has its state, its buttons, and its pins, which are not switched there.
    The pages of these, and the picture of the header, lead to it. Back leads to the list."""
    server = start_server(house(travel=2))
    page = open_page(server.url)
    expect_live(page)
    open_row(page, "garage").get_by_role("link", name="More about Garage door").click()
    expect(page).to_have_title(re.compile("^Garage door – "))
    whole = page.locator("#pin-page")
    expect(whole.get_by_role("heading", name="Garage door")).to_be_visible()
    expect(whole.locator(".timeline")).to_be_hidden()
    parts = whole.locator(".cover-pins li")
    expect(parts).to_have_text(["Opener GPIO23 · pin 16", "Contact below closedGPIO24 · pin 18",
                                "Contact above offGPIO25 · pin 22"])  # fmt: skip
    expect(whole.get_by_role("switch")).to_have_count(0)
    whole.get_by_role("button", name="Open Garage door").click()
    expect(whole.locator(".pin-head .word")).to_have_text("opening…")
    expect(parts.nth(1)).to_contain_text("open")
    expect(whole.locator(".pin-head .word")).to_have_text("open")
    expect(parts.nth(2)).to_contain_text("on")
    shoot(page)

    parts.first.get_by_role("link").click()
    expect(page.get_by_role("heading", name="Opener")).to_be_visible()
    expect(whole.locator(".cover-parts")).to_be_hidden()
    expect(whole.locator(".timeline")).to_be_visible()
    expect(whole.locator(".pin-head button").filter(visible=True)).to_have_count(0)
    expect(whole.locator(".changes li")).to_have_count(2)
    page.get_by_role("link", name="part of Garage door").click()
    expect(whole.locator(".cover-parts")).to_be_visible()
    expect(whole.locator(".timeline")).to_be_hidden()
    page.go_back()
    page.go_back()
    page.go_back()
    expect(page.locator("#list")).to_be_visible()

    page.locator("#board summary").click()
    socket = page.get_by_role("button", name=re.compile("^Pin 16, "))
    expect(socket.locator(".name")).to_have_text("Garage door")
    expect(socket).to_have_accessible_name("Pin 16, GPIO23, Garage door, open, Opener, off")
    command(server, "garage", "close")
    expect(socket).to_have_accessible_name(re.compile("Garage door, closing…, Opener, "))
    expect(socket).to_have_accessible_name("Pin 16, GPIO23, Garage door, closed, Opener, off")
    socket.click()
    page.locator(".chosen").get_by_role("link", name="More about Garage door").click()
    expect(whole.get_by_role("heading", name="Garage door")).to_be_visible()
    page.goto(f"{server.url}/#pin/shutter")
    expect(whole.get_by_role("heading", name="Shutter")).to_be_visible()


def test_goal_that_waits(start_server, open_page, shoot):
    """A goal that waits for the end of a motion is told, and can be dropped, by a button that has
    no other use on a drive that cannot be stopped. While it comes and goes nothing else moves,
    where a row has room for it."""
    server = start_server(house(30, **{", confirm: true": ""}))
    page = open_page(server.url)
    expect_live(page)
    row, stop = card(page, "gate").first, move(page, "gate", "stop")
    places = """row => [row, ...row.querySelectorAll(".tile, :not([data-do=stop]).move")]
        .map(each => each.getBoundingClientRect())
        .map(({x, y, height}, _, [{y: top}]) => [x, y - top, height])"""
    expect(stop).to_be_hidden()
    move(page, "gate", "open").click()
    expect(word(page, "gate")).to_have_text("opening…")
    for screen in (SMALL, PHONE, TABLET, DESK):
        resize(page, screen)
        before = row.evaluate(places)
        move(page, "gate", "close").click()
        expect(row.locator(".since")).to_have_text("then closes")
        expect(stop).to_be_visible()
        expect(stop).to_have_attribute("data-quiet", "false")
        if screen in (PHONE, DESK):
            assert row.evaluate(places) == before
        assert page.evaluate(BROKEN_WORDS) == []
        stop.press("Enter")
        expect(row.locator(".since")).to_have_text("")
        expect(stop).to_be_hidden()
        expect(move(page, "gate", "open")).to_be_focused()
        assert row.evaluate(places) == before
        found = cover(server, "gate")
        assert (found["state"], found["goal"]) == ("opening", None)

    page.goto(f"{server.url}/#pin/gate")
    head = page.locator("#pin-page .pin-head")
    head.get_by_role("button", name="Close").click()
    expect(head.locator(".word")).to_have_text("opening…, then closes")
    expect(head.locator(".told")).to_have_text("Gate opening…, then closes")
    shoot(page)
    head.get_by_role("button", name="Stop").click()
    expect(head.locator(".word")).to_have_text("opening…")
    expect(head.get_by_role("button", name="Stop")).to_be_hidden()
    expect(page.locator(".toast")).to_have_count(0)


def test_problem(start_server, open_page, shoot):
    """What is the matter with a cover is told in its row and on its page, in the words of the
    browser's language, until it is over; so is why a command is refused."""
    server = start_server(house())
    page = open_page(server.url, locale="de-DE")
    expect_live(page)
    expect(word(page, "garage")).to_have_text("geschlossen")
    problem = card(page, "garage").locator(".face > .error")
    expect(problem).to_be_hidden()
    drive(server, up=1)
    told = string("error:cover-contacts-both", "de", closed="Contact below", opened="Contact above")
    expect(problem).to_have_text(told)
    expect(word(page, "garage")).to_have_text("unbekannt")
    move(page, "garage", "open").click()
    why = string("error:cover-state-unknown", "de", label="Garage door")
    expect(page.locator(".toast")).to_contain_text(why)
    page.locator(".toast .away").click()
    shoot(page)
    page.goto(f"{server.url}/#pin/garage")
    expect(page.locator("#pin-page .pin-head .error")).to_have_text(told)
    shoot(page)
    drive(server, up=0)
    expect(page.locator("#pin-page .pin-head .error")).to_be_hidden()
    expect(page.locator("#pin-page .pin-head .word")).to_have_text("geschlossen")


def test_moved_by_hand(start_server, open_page):
    """A door that is moved by hand is followed, without a problem."""
    server = start_server(house())
    page = open_page(server.url)
    expect_live(page)
    drive(server, shut=1)
    expect(word(page, "garage")).to_have_text("stopped")
    drive(server, up=1)
    expect(word(page, "garage")).to_have_text("open")
    expect(card(page, "garage").locator(".face > .error")).to_be_hidden()
    drive(server, gate_shut=1)
    expect(word(page, "gate")).to_have_text("open")
    expect(chips(page)).to_have_text(["1 garage door open", "1 gate open"])


@pytest.mark.parametrize("has_sockets", [True, False], ids=["live", "polling"])
def test_locked(start_server, open_page, shoot, tmp_path, has_sockets):
    """A tap on a locked button asks for the code, and then does what was tapped."""
    code = Codes(tmp_path).renew("control")
    config = house().replace("everyone", "code")
    server = start_server(config, env=folders(tmp_path))
    page = open_page("about:blank")
    if not has_sockets:
        page.add_init_script(NO_WEBSOCKETS)
    page.goto(server.url)
    button = page.get_by_role("button", name="Open Garage door")
    expect(button).to_have_accessible_description(string("locked"))
    expect(page.locator("#pins .moves > .icon")).to_have_count(3)
    expect(page.locator('[data-code="view"]')).to_contain_text(string("lookOnlyCode"))
    shoot(page)
    press(page, button)
    page.locator("#sign-in").get_by_role("button", name="Cancel").click()
    assert cover(server, "garage")["state"] == "closed"
    press(page, button)
    type_code(page, code)
    expect(word(page, "garage")).to_have_text("open")
    expect(page.locator("#pins [data-locked]")).to_have_count(0)
    move(page, "shutter", "close").click()
    expect(word(page, "shutter")).to_have_text("closed")
    row = open_row(page, "shutter")
    row.get_by_role("slider").press("End")
    expect(word(page, "shutter")).to_have_text("open")
    assert cover(server, "shutter")["position"] == 100


def test_without_a_connection(start_server, open_page):
    """Without a connection a cover is told as it was last known, and a tap sends nothing."""
    server = start_server(house())
    page = open_page(server.url)
    expect_live(page)
    command(server, "garage", "open")
    expect(word(page, "garage")).to_have_text("open")
    server.stop()
    expect(card(page, "garage").locator(".since")).to_have_text(string("lastHeard"))
    expect(word(page, "garage")).to_have_text("open")
    move(page, "garage", "close").click()
    expect(page.locator(".toast")).to_contain_text(string("error:not-connected"))
    server.restart()
    expect_live(page)
    expect(word(page, "garage")).to_have_text("closed")  # as simulated drives begin


def test_pi_that_does_not_answer(start_server, open_page, shoot):
    """The page that a service worker opens tells what it last knew of covers, and moves none."""
    server = start_server(house())
    page = open_page(server.url)
    command(server, "garage", "open")
    command(server, "shutter", "close")
    for name, state in (("garage", "open"), ("shutter", "closed")):
        expect(word(page, name)).to_have_text(state)
    install_worker(page)
    for path in ("/dashboard/covers.js", "/ui/covers.css", "/dashboard/cover-page.js"):
        wait_for_kept(page, path)
    server.stop()
    page.reload()
    expect(page.locator("#last-known")).to_be_visible()
    for name, state in (("garage", "open"), ("shutter", "closed")):
        expect(word(page, name)).to_have_text(state)
        expect(card(page, name).locator(".since")).to_have_text(string("lastHeard"))
    expect(page.locator(".move, .slider")).to_have_count(0)
    shoot(page)
    page.evaluate("location.hash = '#pin/garage'")
    expect(page.locator("#pin-page .pin-head .word")).to_have_text("open")
    page.go_back()
    server.restart()
    expect_live(page)
    move(page, "garage", "open").click()
    expect(word(page, "garage").first).to_have_text("open")


def test_reload(start_server, open_page):
    """Covers that a new configuration brings appear without a reload of the page; those that it
    takes away go, and their pins are back in the list."""
    server = start_server(PINS)
    page = open_page(server.url)
    expect_live(page)
    expect(page.locator("#pins .pin")).to_have_count(9)
    server.reload(house())
    expect(page.locator("#pins .pin")).to_have_count(5)
    expect(word(page, "garage")).to_have_text("closed")
    server.reload(PINS)
    expect(page.locator("#pins .pin")).to_have_count(9)
    expect(card(page, "garage")).to_have_count(0)


def test_keys_and_screen_readers(start_server, open_page):
    """Keys do everything, and the focus stays. Whoever moves a cover hears what it does, once for
    each state; others hear of it when it is at rest."""
    server = start_server(house(travel=2))
    page = open_page(server.url)
    other = open_page(server.url)
    for each in (page, other):
        expect_live(each)
    button = page.get_by_role("button", name="Open Garage door")
    button.press("Enter")
    told = card(page, "garage").locator(".told")
    expect(told).to_have_text("Garage door opening…")
    expect(told).to_have_text("Garage door open")
    expect(button).to_be_focused()
    expect(other.locator("#announcements")).to_have_text("Garage door open")
    expect(card(other, "garage").locator(".told")).to_have_text("")


def test_motion(start_server, open_page):
    """The picture of a cover moves while the cover does, and not with reduced motion."""
    server = start_server(house(travel=3))
    leaves = []
    for motion in ("no-preference", "reduce"):
        page = open_page(server.url, reduced_motion=motion)
        expect_live(page)
        leaf = card(page, "garage").locator(".leaf")
        assert leaf.evaluate(LEAF) == "none"
        leaves.append(leaf)
        page.wait_for_load_state("networkidle")
    command(server, "garage", "open")
    for leaf, name in zip(leaves, ("leaf", "none"), strict=True):
        state = leaf.locator("xpath=ancestor::li")
        expect(state).to_have_attribute("data-state", "opening")
        assert leaf.evaluate(LEAF) == name


@pytest.mark.parametrize("language", ["en-US", "de-DE", "ar"])
def test_every_size(start_server, open_large, tmp_path: Path, language: str):  # noqa: F811
    """From 320 to 1440 pixels, in both themes and with text twice as large, no word of a row or of
    a page is broken, nothing scrolls sideways, and axe finds no barrier."""
    if language == "ar":
        strings = json.loads(Path("www/languages/en.json").read_text())
        (tmp_path / "www" / "languages").mkdir(parents=True)
        arabic = json.dumps({**strings, "direction": "rtl"})
        (tmp_path / "www" / "languages" / "ar.json").write_text(arabic)
    server = start_server(house(**LABELS.get(language, {})))
    for name in ("garage", "shutter"):
        command(server, name, "open")
    drive(server, gate_shut=1)
    for pixels in (16, 32):
        page = open_large(server.url, pixels, locale=language)
        expect_live(page)
        expect(card(page, "garage")).to_have_attribute("data-state", "open")
        drive(server, up=1, shut=0)
        expect(card(page, "garage")).to_have_attribute("data-problem", "")
        open_row(page, "shutter")
        for address in ("#", "#pin/garage", "#pin/shutter"):
            page.evaluate("hash => (location.hash = hash)", address)
            shown = page.locator("#list" if address == "#" else "#pin-page .cover-parts")
            expect(shown).to_be_visible()
            for width in WIDTHS:
                resize(page, {"width": width, "height": 844})
                where = (language, pixels, width, address)
                assert page.evaluate("document.documentElement.scrollWidth") <= width, where
                assert page.evaluate(OUTSIDE) == [], where
                assert page.evaluate(BROKEN_WORDS) == [], where
                assert min(min(size) for size in page.evaluate(TARGETS)) >= 48, where
                page.evaluate("scrollTo(0, 0)")
                for scheme in ("light", "dark"):
                    page.emulate_media(color_scheme=scheme)
                    options = {"runOnly": RULES, "resultTypes": ["violations"]}
                    found = Axe().run(page, options=options)
                    assert found.violations_count == 0, (where, scheme, found.generate_report())
        drive(server, up=0, shut=0)
        command(server, "garage", "open")
        expect(card(page, "garage").first).to_have_attribute("data-state", "open")


@pytest.mark.parametrize("is_slow", [False, True], ids=["fast", "slow"])
def test_nothing_moves_at_load(start_server, open_page, is_slow):
    """While the page with covers loads, nothing that is shown moves, on a slow network, too."""
    server = start_server(house())
    for screen in (PHONE, LANDSCAPE, DESK):
        page = open_page("about:blank", viewport=screen)
        page.add_init_script(WATCH_SHIFTS)
        if is_slow:
            network = page.context.new_cdp_session(page)
            network.send("Network.enable")
            slow = {"downloadThroughput": 50_000, "uploadThroughput": 50_000}
            network.send("Network.emulateNetworkConditions",
                         {"offline": False, "latency": 400, **slow})  # fmt: skip
        page.goto(server.url)
        expect_live(page)
        expect(page.locator('[data-fact="memory"]')).to_have_count(1)
        expect(card(page, "garage")).to_be_attached()
        page.wait_for_load_state("networkidle")
        assert page.evaluate("window.shifted") < MOST_SHIFTED, screen


def test_cost(start_server, open_page):
    """A first visit with covers loads at most 85 kB in each language; without covers nothing of
    what they need is loaded."""
    server = start_server(house())
    for language in ("en", "de", "id"):
        page = open_page("about:blank", locale=language)
        sizes = first_visit(page, server.url)
        expect(card(page, "garage")).to_be_visible()
        assert sum("cover" in url for url in sizes) >= 4
        assert sum(sizes.values()) <= MOST_BYTES, sizes
        page.close()
    server.reload(PINS)
    page = open_page("about:blank")
    assert not [url for url in first_visit(page, server.url) if "cover" in url]


def test_fleet(brokers, start_server, open_page, shoot):
    """On the fleet page a cover of another Pi is one row with its state and its buttons, if that Pi
    takes commands. What it needs is loaded with the first Pi that has one."""
    broker = brokers.broker()
    mqtt = 'mqtt: {{url: "{url}", topic: {topic}, control: {control}, fleet: {fleet}}}\n'
    desk = mqtt.format(url=broker.url, topic="farm/desk", control="false", fleet="true")
    server = start_server("gpio: simulated\naccess: {control: everyone}\npins: {}\n" + desk)
    page = open_page("about:blank")
    sizes = first_visit(page, f"{server.url}/fleet/")
    assert not [url for url in sizes if "cover" in url]
    pis = {}
    for name, control in (("barn", "true"), ("shed", "false")):
        config = mqtt.format(url=broker.url, topic=f"farm/{name}", control=control, fleet="false")
        pis[name] = start_server(house(travel=2) + config)
    whole = page.locator('[data-topic="farm/barn"]')
    row = whole.locator('[data-pin="garage"]')
    expect(row.locator(".word")).to_have_text("closed")
    expect(whole.locator(".label")).to_have_text(
        ["Motion", "Garage door", "Gate", "Porch light", "Shutter"]
    )
    other = page.locator('[data-topic="farm/shed"]')
    expect(other.locator('[data-pin="garage"] .word')).to_have_text("closed")
    expect(other.locator(".move")).to_have_count(0)
    shoot(page)
    press(page, row.locator('[data-do="open"]'))
    expect(row.locator(".word")).to_have_text("opening…")
    expect(row.locator(".word")).to_have_text("open")
    expect(whole.locator(".state")).to_have_text("1 garage door open · simulated")
    gate = whole.locator('[data-pin="gate"]')
    gate.get_by_role("button", name=re.compile("^Open Gate")).click()
    question = page.get_by_role("dialog")
    expect(question).to_contain_text("Open Gate (")
    question.get_by_role("button", name="Open").click()
    expect(gate.locator(".word")).to_have_text("open")
    expect(whole.locator(".state")).to_have_text("1 garage door open, 1 gate open · simulated")
    drive(pis["barn"], shut=0)
    told = string("error:cover-contacts-both", closed="Contact below", opened="Contact above")
    expect(row.locator(".error")).to_have_text(told)
    shoot(page)
