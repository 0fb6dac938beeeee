"""Schedules, rules and timed commands on the page, as a household meets them on a phone."""

import re
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, Route, expect

from raspi_server.security.codes import Codes
from tests.browser.looking import (
    NO_WEBSOCKETS,
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
)
from tests.browser.test_household import OUTSIDE, WATCH_SHIFTS
from tests.browser.test_sign_in import type_code
from tests.support.coded_server import folders
from tests.support.server import LIMIT, Server

WIDTHS = (320, 390, 820, 1440)
UNKNOWN_CLOCK = """
import sys
from pathlib import Path
from raspi_server.automation.clock import Evidence
nothing = Path("/nonexistent")
Evidence.__init__.__defaults__ = (nothing, nothing, ("false",))
from raspi_server.__main__ import main
sys.exit(main())
"""
"""The program on a machine that knows nothing of the time."""
COUNT_DOWN = """pin => {
    const since = document.querySelector(`#pins [data-pin="${pin}"] .since`);
    globalThis.left = [];
    new MutationObserver(() => {
        const [, seconds] = since.textContent.match(/^by hand, (\\d+) sec left$/) ?? [];
        if (seconds) left.push(Number(seconds));
    }).observe(since, { characterData: true, childList: true, subtree: true });
}"""
"""Collects the seconds that a row says are left."""
CLOCK = """([time, more]) => new Intl.DateTimeFormat(
    navigator.language, {hour: "2-digit", minute: "2-digit", hourCycle: "h23", ...more}
).format(time * 1000)"""


STARTED = datetime.now()


def hours(count: float) -> str:
    """Return the time of the day some hours after this run began, as config.yaml has it: the same
    in a configuration and in what is expected of it."""
    return (STARTED + timedelta(hours=count)).strftime("%H:%M")


def house(access: str = "{control: everyone}", control: str = "everyone") -> str:
    return f"""
gpio: simulated
access: {access}
schedules:
  evening: {{pin: porch, from: "{hours(-2)}", to: "{hours(4)}", value: 0.4}}
  early: {{pin: hall, from: "{hours(6)}", to: "{hours(8)}", days: [mon, tue, wed, thu, fri]}}
  later: {{pin: hall, from: "{hours(9)}", to: "{hours(10)}", days: [sat, sun]}}
  watering: {{pin: lawn, at: "{hours(7)}", pulse: 600}}
  all_off: {{at: "{hours(11)}", turn_off: [hall, porch]}}
rules:
  motion_light: {{when: motion, turn_on: hall, hold: 180, only: {{from: 00:00, to: 24:00}}}}
  wall: {{when: button, press: short, toggle: porch}}
  sump: {{while: leak, turn_on: pump}}
  forgotten: {{when: front, for: 600, turn_on: [hall, porch]}}
pins:
  front: {{gpio: 17, mode: input, pull: up, kind: door, label: Front door}}
  motion: {{gpio: 22, mode: input, kind: motion, label: Motion}}
  button: {{gpio: 10, mode: input, kind: button, label: Wall button}}
  leak: {{gpio: 5, mode: input, kind: moisture, label: Leak}}
  hall: {{gpio: 27, mode: output, kind: light, label: Hall light}}
  porch: {{gpio: 19, mode: pwm, kind: light, label: Porch light}}
  lawn: {{gpio: 20, mode: output, kind: valve, label: Lawn, max_on: 1200}}
  pump: {{gpio: 26, mode: output, kind: pump, label: Water pump, control: {control}}}
  desk: {{gpio: 16, mode: output, label: Desk lamp}}
  fan: {{gpio: 18, mode: pwm, label: Fan}}
  heater: {{gpio: 13, mode: output, label: Heater, confirm: true}}
  gate: {{gpio: 21, mode: output, kind: gate, label: Gate, pulse: 0.5}}
"""


@pytest.fixture
def start_house(start_server: Callable[..., Server]) -> Callable[..., Server]:
    """Start a server whose clock is known."""

    def start(config: str = "", **options: Any) -> Server:
        server = start_server(config or house(), **options)
        if "code" not in config:
            api(server, "/api/clock/trust", "POST")
        return server

    return start


def clock_of(page: Page, time_s: float, **more: str) -> str:
    """Return a time as the browser of the page writes it."""
    found: str = page.evaluate(CLOCK, [time_s, more])
    return found


def pin(server: Server, name: str) -> dict[str, Any]:
    found: dict[str, Any] = api(server, f"/api/pins/{name}")
    return found


def schedule(server: Server, name: str) -> dict[str, Any]:
    found = api(server, "/api/schedules")["schedules"]
    return next(each for each in found if each["name"] == name)


def rule(server: Server, name: str) -> dict[str, Any]:
    return next(each for each in api(server, "/api/rules")["rules"] if each["name"] == name)


def since(page: Page, name: str) -> Locator:
    return page.locator(f'#pins [data-pin="{name}"] .since')


def open_list(page: Page) -> None:
    page.locator("#automation-link").tap()
    expect(page.locator("#automation-page h2")).to_be_visible()
    expect(page.locator(".automatism")).to_have_count(9)


def item(page: Page, title: str) -> Locator:
    """Return a schedule or a rule of the list."""
    heading = page.get_by_role("heading", name=title, exact=True, level=4)
    return page.locator(".automatism").filter(has=heading)


def test_why_an_output_is_on(start_house, open_page, shoot):
    """A row says which schedule or rule decides, and until when, by the clock of the viewer. After
    a command by hand it says until when that holds, and a button makes it automatic again."""
    server = start_house()
    page = open_page(server.url, timezone_id="Asia/Kathmandu")
    until = clock_of(page, pin(server, "porch")["until"])
    expect(since(page, "porch")).to_have_text(f"until {until} (evening)")
    drive(server, motion=1)
    expect(since(page, "hall")).to_have_text(re.compile(r"^for \d+ sec \(motion light\)$"))
    drive(server, motion=0)
    expect(since(page, "hall")).to_have_text(re.compile(r"^[23] min left \(motion light\)$"))
    expect(since(page, "desk")).to_have_text("")

    row = open_row(page, "porch")
    automatic = row.get_by_role("button", name="Automatic Porch light")
    expect(row.get_by_role("group", name="Switch on for Porch light")).to_be_visible()
    expect(automatic).to_be_hidden()
    switch(server, "porch", 0.9)
    coming = clock_of(page, pin(server, "porch")["next"])
    expect(since(page, "porch")).to_have_text(f"by hand until {coming}")
    expect(row.locator(".why")).to_have_text(string("whyHandAutomatic", time=coming))
    shoot(page)
    automatic.tap()
    expect(since(page, "porch")).to_have_text(f"until {until} (evening)")
    expect(automatic).to_be_hidden()
    assert value(server, "porch") == 0.4

    row.locator(".timeline-link").tap()
    why = page.locator("#pin-page .why")
    expect(why).to_have_text(f"Schedule “evening” decides until {until}.")
    switch(server, "porch", 0)
    expect(why).to_have_text(string("whyHandAutomatic", time=coming))
    shoot(page)
    page.locator("#pin-page").get_by_role("button", name="Automatic Porch light").tap()
    expect(why).to_have_text(f"Schedule “evening” decides until {until}.")
    expect(page.locator("#pin-page .event .who").last).to_have_text("by schedule “evening”")


def test_next_change_is_kept_up_to_date(start_house, open_page):
    """What is paused elsewhere changes until when a command by hand holds."""
    server = start_house()
    page = open_page(server.url)
    switch(server, "hall", 1)
    first = clock_of(page, pin(server, "hall")["next"])
    expect(since(page, "hall")).to_have_text(f"by hand until {first}")
    for name in ("early", "later"):
        api(server, f"/api/schedules/{name}/pause", "POST")
    second = clock_of(page, pin(server, "hall")["next"])
    assert second != first
    expect(since(page, "hall")).to_have_text(f"by hand until {second}")


@pytest.mark.parametrize("has_sockets", [True, False], ids=["live", "polling"])
def test_on_for_a_while(start_house, open_page, shoot, has_sockets):
    """An output is switched on for 5, 15 or 60 minutes, no longer than its `max_on`. The time left
    counts down. A dimmer goes to its last level, a pin with `confirm` asks, a pulse has no such
    choice."""
    server = start_house()
    page = open_page("about:blank")
    if not has_sockets:
        page.add_init_script(NO_WEBSOCKETS)
    page.goto(server.url)
    row = open_row(page, "desk")
    names = ["5 min", "15 min", "1 hr"]
    expect(row.locator(".whiles button")).to_have_text(names)
    row.get_by_role("button", name="Switch on for 15 min Desk lamp").tap()
    expect(since(page, "desk")).to_have_text(re.compile(r"^by hand, 1[45] min left$"))
    found = pin(server, "desk")
    assert found["value"] == 1 and 890 < found["until"] - time.time() <= 900
    expect(row.get_by_role("button", name="Automatic Desk lamp")).to_be_hidden()  # it has nothing
    shoot(page)
    expect(open_row(page, "lawn").locator(".whiles button")).to_have_text(names[:2])
    expect(open_row(page, "gate").locator(".whiles")).to_have_count(0)

    page.evaluate(COUNT_DOWN, "desk")
    api(server, "/api/pins/desk", "PUT", {"value": 1, "seconds": 7})
    expect(card(page, "desk").first.locator(".word")).to_have_text("off")
    left = page.evaluate("left")  # a busy machine may leave out some
    assert len(left) > 1 and left == sorted(set(left), reverse=True) and left[0] <= 7

    for level in (0.3, 0):
        switch(server, "fan", level)
    open_row(page, "fan").get_by_role("button", name="Switch on for 5 min Fan").tap()
    expect(since(page, "fan")).to_have_text(re.compile(r"^by hand, [45] min left$"))
    assert value(server, "fan") == 0.3
    open_row(page, "heater").get_by_role("button", name="Switch on for 1 hr Heater").tap()
    question = page.get_by_role("dialog", name="Switch Heater on for 1 hr?")
    question.get_by_role("button", name="Cancel").tap()
    expect(question).to_be_hidden()
    assert pin(server, "heater")["since"] is None
    page.get_by_role("button", name="Switch on for 1 hr Heater").tap()
    question.get_by_role("button", name="Switch on").tap()
    expect(card(page, "heater").get_by_role("switch")).to_be_checked()
    assert pin(server, "heater")["until"] > time.time() + 3500

    page.goto(f"{server.url}/#pin/fan")
    page.get_by_role("button", name="Switch on for 1 hr Fan").tap()
    until = clock_of(page, time.time() + 3600)
    expect(page.locator("#pin-page .why")).to_have_text(
        re.compile(f"^Switched by hand until {until[:2]}:")
    )


def test_row_keeps_a_place_for_what_is_loaded(start_house, open_page):
    """A row that opens on a slow network does not move when its buttons are there."""
    server = start_house()
    page = open_page("about:blank")
    held: list[Route] = []
    page.route("**/dashboard/details.js", lambda route: held.append(route))
    page.goto(server.url)
    rows = [open_row(page, name) for name in ("desk", "fan", "gate", "front")]
    before = [row.locator(".history").bounding_box() for row in rows]
    wait_for(page, "() => document.styleSheets.length === 3")
    held[0].continue_()
    expect(rows[0].locator(".whiles button")).to_have_count(3)
    assert [row.locator(".history").bounding_box() for row in rows] == before


def test_list_of_schedules_and_rules(start_house, open_page, shoot):
    """The list says in words what each schedule and rule does, does now and does next. It follows
    what others do. Schedules and rules are paused and resumed, and the next time is skipped."""
    server = start_house()
    page = open_page(server.url)
    open_list(page)
    words = item(page, "evening").locator(".does")
    expect(words).to_have_text(f"Porch light 40% from {hours(-2)} to {hours(4)}")
    expect(item(page, "early").locator(".does")).to_contain_text("Mon\u2060–\u2060Fri")
    expect(item(page, "later").locator(".does")).to_contain_text("Sat and Sun")
    expect(item(page, "watering").locator(".does")).to_have_text(
        f"Lawn open for 10 min at {hours(7)}"
    )
    expect(item(page, "all off").locator(".does")).to_have_text(
        f"Hall light and Porch light off at {hours(11)}"
    )
    for name, does in (
        ("motion light", "Motion turns on Hall light, and 3 min longer, all day"),
        ("wall", "A press of Wall button turns Porch light on or off"),
        ("sump", "Leak keeps Water pump on"),
        ("forgotten", "Front door turns on Hall light and Porch light after 10 min"),
    ):
        expect(item(page, name).locator(".does")).to_have_text(does)
    shoot(page)

    state = item(page, "evening").locator(".state")
    until = clock_of(page, schedule(server, "evening")["until"])
    expect(state).to_contain_text(f"Acting now, until {until}")
    item(page, "evening").get_by_role("button", name="Pause").tap()
    expect(state).to_have_text("Paused")
    assert schedule(server, "evening")["paused"] and value(server, "porch") == 0
    resume = item(page, "evening").get_by_role("button", name="Resume")
    expect(resume).to_be_focused()
    api(server, "/api/schedules/evening/resume", "POST")
    expect(state).to_contain_text("Acting now")
    expect(resume).to_be_hidden()

    watering = item(page, "watering")
    day = datetime.fromtimestamp(schedule(server, "watering")["next"]["begin"])
    watering.get_by_role("button", name="Skip next").tap()
    expect(watering.locator(".state")).to_contain_text(
        f"Skipped: {day.strftime('%A, %B')} {day.day}"
    )
    assert schedule(server, "watering")["skipped"] == day.strftime("%Y-%m-%d")
    watering.get_by_role("button", name="Do not skip").tap()
    expect(watering.locator(".state")).to_have_text(re.compile("^Next: "))
    assert schedule(server, "watering")["skipped"] is None

    sump = item(page, "sump").locator(".state")
    expect(sump).to_have_text("Ready")
    drive(server, leak=1)
    expect(sump).to_have_text("Acting now")
    item(page, "sump").get_by_role("button", name="Pause").tap()
    expect(sump).to_have_text("Paused")
    assert rule(server, "sump")["paused"] and value(server, "pump") == 0
    item(page, "sump").get_by_role("button", name="Resume").tap()
    expect(sump).to_have_text("Acting now")

    page.go_back()
    expect(page.locator("#list")).to_be_visible()
    expect(page.locator("#automation-link")).to_be_focused()


def test_what_begins_is_noticed_without_a_message(start_house, open_page):
    """When the begin of a window passes, the list asks again."""
    soon = datetime.now() + timedelta(seconds=70)
    config = house().replace(f'from: "{hours(-2)}"', f'from: "{soon.strftime("%H:%M")}"')
    server = start_house(config)
    page = open_page(server.url)
    open_list(page)
    state = item(page, "evening").locator(".state")
    expect(state).to_have_text(re.compile("^Next: "))
    expect(state).to_contain_text("Acting now, until", timeout=(LIMIT + 70) * 1000)


def test_parked_rule(start_house, open_page):
    """A rule that switched too often says so, and is resumed."""
    server = start_house()
    page = open_page(server.url)
    open_list(page)
    for _ in range(11):
        drive(server, leak=1)
        drive(server, leak=0)
    state = item(page, "sump").locator(".state")
    expect(state).to_have_text(string("parked"))
    item(page, "sump").get_by_role("button", name="Resume").tap()
    expect(state).to_have_text("Ready")


@pytest.mark.parametrize("language", ["en-US", "de-DE", "id-ID"])
def test_next_24_hours(start_house, open_page, shoot, language):
    """The next 24 hours are a strip with at least three times on any screen, and words for screen
    readers, in the list and on the page of a pin. Nothing is cut off, and nothing moves."""
    server = start_house()
    page = open_page("about:blank", locale=language)
    page.add_init_script(WATCH_SHIFTS)
    tag = language[:2]
    for address in ("/#automation", "/#pin/porch", "/#pin/hall"):
        page.goto("about:blank")
        page.goto(server.url + address)
        expect_live(page)
        view = page.locator("#automation-page" if "auto" in address else "#pin-page")
        expect(view.locator(".want").first).to_be_visible()
        expect(view.locator("h3, h2").filter(has_text=string("nextDay", tag))).to_be_visible()
        assert page.evaluate("shifted") < 0.05, address
        for width in WIDTHS:
            resize(page, {"width": width, "height": 844})
            assert view.locator(".axis span:visible").count() >= 3
            assert page.evaluate(OUTSIDE) == []
            labels = [each.bounding_box() for each in view.locator(".axis span:visible").all()]
            ends = [(box["x"], box["x"] + box["width"]) for box in labels if box]
            assert all(one[1] < other[0] for one, other in zip(ends, ends[1:], strict=False))
        shoot(page)
    begin = schedule(server, "early")["next"]["begin"]
    if begin < time.time() + 23 * 3600:
        expect(page.locator("#pin-page .plan")).to_contain_text(clock_of(page, begin))
    page.goto(f"{server.url}/#automation")
    until = clock_of(page, schedule(server, "evening")["until"])
    strip = page.get_by_role("img", name=re.compile("^Porch light"))
    expect(strip).to_have_attribute("aria-label", re.compile(r"40\s?%.*evening"))
    expect(strip).to_have_attribute("aria-label", re.compile(re.escape(until)))
    expect(page.get_by_role("img", name=re.compile("^Desk lamp"))).to_have_count(0)


@pytest.mark.parametrize("width", [320, 390])
def test_narrow_rows(start_house, open_page, width):
    """With all that a row says of schedules, nothing of it is cut off on small phones, in German
    too; and what is touched has 44 pixels."""
    server = start_house()
    for language in ("de-DE", "id-ID"):
        page = open_page(server.url, locale=language, viewport={"width": width, "height": 700})
        for name in ("porch", "hall", "desk"):
            switch(server, name, 1)
            expect(open_row(page, name).locator(".whiles button").first).to_be_visible()
        assert page.evaluate(OUTSIDE) == []
        sizes = page.locator(".claim button:visible").evaluate_all(
            "(all) => all.map((one) => one.getBoundingClientRect()).map((r) => [r.width, r.height])"
        )
        assert len(sizes) > 8 and min(min(each) for each in sizes) >= 44
        page.goto(f"{server.url}/#automation")
        expect(page.locator(".automatism")).to_have_count(9)
        assert page.evaluate(OUTSIDE) == []


def test_code_is_asked_for(start_house, open_page, shoot, tmp_path: Path):
    """Without rights the buttons look locked. A tap asks for the code, and then does what was
    tapped. What no code allows has no buttons."""
    codes = Codes(tmp_path)
    code, view_code = codes.renew("control"), codes.renew("view")
    server = start_house(house("{view: everyone, control: code}", "nobody"), env=folders(tmp_path))
    page = open_page(server.url)
    row = open_row(page, "desk")
    button = row.get_by_role("button", name="Switch on for 5 min Desk lamp")
    expect(button).to_have_accessible_description("Locked: a tap asks for the control code.")
    shoot(page)
    button.tap()
    type_code(page, view_code)
    expect(page.locator("#sign-in .error")).to_contain_text(string("notThisCode"))
    type_code(page, code)
    expect(since(page, "desk")).to_have_text(re.compile("^by hand, [45] min left$"))

    page.get_by_role("button", name="Sign out").tap()
    expect(page.locator("#pins [data-locked]")).not_to_have_count(0)
    open_list(page)
    pause = item(page, "evening").get_by_role("button", name="Pause")
    expect(pause).to_have_accessible_description("Locked: a tap asks for the control code.")
    expect(item(page, "sump").get_by_role("button")).to_have_count(0)
    shoot(page)
    pause.tap()
    page.locator("#sign-in").get_by_role("button", name="Cancel").tap()
    pause.tap()
    type_code(page, view_code)
    expect(page.locator("#sign-in .error")).to_contain_text(string("notThisCode"))
    type_code(page, code)
    expect(item(page, "evening").locator(".state")).to_have_text("Paused")
    expect(page.locator(".automatism[data-locked]")).to_have_count(0)
    expect(item(page, "sump").get_by_role("button")).to_have_count(0)


def test_unknown_clock(start_server, open_page, shoot, tmp_path: Path):
    """While the Pi does not know the time, a notice says so in the language of the page, and the
    list that schedules rest. A person with the code says that the time is right."""
    code = Codes(tmp_path).renew("control")
    config = house("{view: everyone, control: code}")
    server = start_server(config, env=folders(tmp_path), program=("-c", UNKNOWN_CLOCK))
    page = open_page(server.url, locale="de-DE")
    notice = page.locator('[data-code="clock"]')
    expect(notice).to_contain_text(string("notice:clock-unknown", "de", clock="")[:-2])
    page.get_by_role("button", name=string("allNotices", "de")).tap()
    shoot(page)
    open_list(page)
    state = item(page, "evening").locator(".state")
    expect(state).to_have_text(string("rests", "de"))
    expect(page.locator(".next-day")).to_be_hidden()
    right = notice.get_by_role("button", name=string("timeIsRight", "de"))
    if not right.is_visible():
        page.get_by_role("button", name=string("allNotices", "de")).tap()
    right.tap()
    page.locator("#code").fill(code)
    page.locator("#sign-in .do").tap()
    expect(notice).to_have_count(0)
    expect(state).to_contain_text(string("acting", "de"))
    assert api(server, "/api/schedules")["clock_known"]
    expect(page.locator(".next-day")).to_be_visible()


def test_house_without_schedules(start_server, open_page):
    """Without schedules and rules nothing leads to their list, and nothing is asked about them."""
    server = start_server("pins:\n  desk: {gpio: 16, mode: output, label: Desk lamp}\n")
    page = open_page("about:blank")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(server.url)
    expect_live(page)
    expect(page.locator("#events-link")).to_be_visible()
    expect(page.locator("#automation-link")).to_be_hidden()
    expect(page.locator("#pins .opener")).to_have_count(1)
    open_row(page, "desk")
    wait_for(page, "() => document.fonts.ready.then(() => true)")
    page.goto(f"{server.url}/#automation")
    expect(page.locator("#automation-page .none")).to_have_text(string("noAutomation"))
    assert not [url for url in asked if re.search("/api/(schedules|rules|plan)", url)]


def test_reload_changes_the_list(start_house, open_page):
    """A reload that removes schedules shows in the list, and the way to it."""
    server = start_house()
    page = open_page(server.url)
    open_list(page)
    server.reload("access: {control: everyone}\npins:\n  desk: {gpio: 16, mode: output}\n")
    expect(page.locator("#automation-page .none")).to_be_visible()
    page.locator("#automation-page .back").tap()
    expect(page.locator("#automation-link")).to_be_hidden()
