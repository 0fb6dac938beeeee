"""Touch on the page: a swipe that scrolls it switches nothing, on `/` and on `/fleet/`."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from playwright.sync_api import CDPSession, Locator, Page, expect

from tests.browser.looking import api, value
from tests.support.http import ask
from tests.support.mqtt import Brokers
from tests.support.server import Server

PINS = """
  fan: {gpio: 18, mode: pwm, label: Fan, initial: 0.9}
  spot: {gpio: 19, mode: pwm, label: Spot, initial: 0.9, confirm: true}
  lamp: {gpio: 27, mode: output, label: Desk lamp}
  bell: {gpio: 23, mode: output, label: Doorbell, pulse: 0.2}
"""
MANY = "".join(f"  in{gpio}: {{gpio: {gpio}, mode: input}}\n" for gpio in range(4, 17))
"""Pins below those that are touched, so that there is something to scroll to."""


class Hand:
    """Fingers on the glass of a phone, as Chromium hears of them from the screen itself."""

    def __init__(self, page: Page) -> None:
        self._cdp: CDPSession = page.context.new_cdp_session(page)

    def touch(self, *points: tuple[float, float]) -> None:
        """Put fingers down."""
        self._send("touchStart", points)

    def move(self, *points: tuple[float, float]) -> None:
        """Move the fingers that are down there."""
        self._send("touchMove", points)

    def lift(self, *points: tuple[float, float]) -> None:
        """Lift all fingers but those that stay at these points."""
        self._send("touchEnd", points)

    def swipe(self, *points: tuple[float, float], steps: int = 8) -> None:
        """Go with one finger from point to point, and lift it."""
        self.touch(points[0])
        for (x0, y0), (x1, y1) in zip(points, points[1:], strict=False):
            for step in range(1, steps + 1):
                self.move((x0 + (x1 - x0) * step / steps, y0 + (y1 - y0) * step / steps))
        self.lift()

    def _send(self, kind: str, points: tuple[tuple[float, float], ...]) -> None:
        touches = [{"x": x, "y": y, "id": number} for number, (x, y) in enumerate(points)]
        self._cdp.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": touches})


class Seen(NamedTuple):
    """One of the two pages with its server, and all that it sent."""

    page: Page
    server: Server
    commands: list[dict[str, Any]]
    hand: Hand

    def pin(self, name: str) -> Locator:
        return self.page.locator(f'[data-pin="{name}"]')

    def slider(self, name: str = "fan") -> Locator:
        return self.pin(name).get_by_role("slider")

    def place(self, control: Locator, share: float) -> tuple[float, float]:
        """A point on a control, in the middle of its height."""
        control.evaluate("element => element.scrollIntoView({block: 'center'})")
        box = control.bounding_box()
        assert box
        return box["x"] + box["width"] * share, box["y"] + box["height"] / 2

    def sent(self) -> list[dict[str, Any]]:
        """All that was sent before the lamp was switched, which is done now."""
        switch = self.pin("lamp").get_by_role("switch")
        was = value(self.server, "lamp")
        switch.press("Enter")
        expect(switch).to_have_attribute("aria-checked", str(not was).lower())
        *before, last = self.commands
        assert last["pin"] == "lamp"
        self.commands.clear()
        return before

    def expect_untouched(self, name: str = "fan", level: int = 90) -> None:
        expect(self.slider(name)).to_have_value(str(level))
        assert self.sent() == []
        assert api(self.server, f"/api/pins/{name}")["since"] is None
        expect(self.slider(name)).to_have_attribute("aria-valuetext", f"{level}%")

    def changes(self, name: str = "fan") -> list[dict[str, Any]]:
        changes: list[dict[str, Any]] = ask(self.server, "GET", f"/api/pins/{name}/history").json[
            "changes"
        ]
        return changes


@pytest.fixture(params=["/", "/fleet/"])
def seen(
    request: pytest.FixtureRequest,
    start_server: Callable[..., Server],
    open_page: Callable[..., Page],
    tmp_path: Path,
) -> Iterator[Seen]:
    config = "gpio: simulated\naccess: {control: everyone}\n"
    with Brokers(tmp_path) as brokers:
        if request.param == "/fleet/":
            url = brokers.broker().url
            config += f'mqtt: {{url: "{url}", topic: a/b, control: true, fleet: true}}\n'
        server = start_server(f"{config}pins:{PINS}{MANY}")
        page = open_page("about:blank")
        commands: list[dict[str, Any]] = []
        page.on(
            "websocket",
            lambda socket: socket.on("framesent", lambda frame: commands.append(json.loads(frame))),
        )
        page.goto(server.url + request.param)
        found = Seen(page, server, commands, Hand(page))
        expect(found.slider()).to_have_value("90")
        yield found


def scrolled(page: Page) -> float:
    y: float = page.evaluate("scrollY")
    return y


@pytest.mark.parametrize("way", [(0, -200), (3, -200), (-60, -200)])
def test_a_scroll_that_begins_on_a_slider(seen, way):
    """A touch that begins on a slider and scrolls the page on switches nothing."""
    x, y = seen.place(seen.slider(), 0.3)
    before = scrolled(seen.page)
    seen.hand.swipe((x, y), (x + way[0], y + way[1]))
    seen.page.wait_for_function("before => scrollY !== before", arg=before)
    seen.expect_untouched()


def test_a_scroll_that_begins_sideways(seen):
    """Three pixels sideways before it goes up make no difference."""
    x, y = seen.place(seen.slider(), 0.3)
    before = scrolled(seen.page)
    seen.hand.swipe((x, y), (x + 3, y), (x + 3, y - 200))
    seen.page.wait_for_function("before => scrollY !== before", arg=before)
    seen.expect_untouched()


def test_a_scroll_that_asks(seen):
    """Where a dimmer asks first, a scroll over it asks nothing."""
    x, y = seen.place(seen.slider("spot"), 0.3)
    before = scrolled(seen.page)
    seen.hand.swipe((x, y), (x, y - 200))
    seen.page.wait_for_function("before => scrollY !== before", arg=before)
    expect(seen.page.locator("#confirm")).to_be_hidden()
    seen.expect_untouched("spot")


def test_nothing_is_sent_before_the_finger_has_moved(seen):
    """A finger that rests on a slider sends nothing, nor does one that moved by 7 pixels; more
    does, and follows the finger."""
    x, y = seen.place(seen.slider(), 0.3)
    seen.hand.touch((x, y))
    seen.hand.move((x + 7, y))
    assert seen.sent() == []
    assert api(seen.server, "/api/pins/fan")["since"] is None
    levels = []
    for way in (60, 120):
        seen.hand.move((x + way, y))
        levels.append(seen.slider().input_value())
        expect(seen.pin("fan").locator(".word")).to_have_text(f"{levels[-1]}%")
    assert 40 < int(levels[0]) < int(levels[1]) < 75
    seen.hand.lift()
    expect(seen.slider()).to_have_value(levels[-1])
    assert [change["value"] for change in seen.changes()] == [int(levels[-1]) / 100]


def test_a_tap_sets_it_when_lifted(seen):
    """A tap on the track sets the level there, once, and not before the finger is lifted."""
    x, y = seen.place(seen.slider(), 0.3)
    seen.hand.touch((x, y))
    level = seen.slider().input_value()
    assert 25 < int(level) < 31
    assert seen.sent() == []
    seen.hand.lift()
    expect(seen.pin("fan").locator(".word")).to_have_text(f"{level}%")
    expect(seen.slider()).to_have_value(level)
    assert [command["value"] for command in seen.sent()] == [int(level) / 100]


def test_a_tap_asks_once(seen):
    """Where a dimmer asks first, a tap asks once, when lifted; no leaves it where it was."""
    x, y = seen.place(seen.slider("spot"), 0.3)
    question = seen.page.locator("#confirm")
    for answer in ("Cancel", "Set"):
        seen.hand.touch((x, y))
        level = seen.slider("spot").input_value()
        assert 25 < int(level) < 31
        expect(question).to_be_hidden()
        seen.hand.lift()
        question.get_by_role("button", name=answer).click()
        expect(question).to_be_hidden()
        expect(seen.slider("spot")).to_have_value("90" if answer == "Cancel" else level)
    assert [command["value"] for command in seen.sent()] == [int(level) / 100]


def test_two_fingers(seen):
    """Two fingers are no tap, whether both are on the slider or only one."""
    x, y = seen.place(seen.slider(), 0.3)
    for other in ((x + 60, y), (x + 60, y + 150)):
        seen.hand.touch((x, y))
        seen.hand.touch((x, y), other)
        seen.hand.move((x + 20, y), other)
        seen.hand.lift(other)
        seen.hand.lift()
        seen.expect_untouched()


def test_a_touch_that_stops_the_page(seen):
    """A page that a finger threw is stopped by a touch, and that does nothing else."""
    seen.page.evaluate(
        """() => addEventListener("scroll", () => {
            const box = document.querySelector('[data-pin="fan"] .slider').getBoundingClientRect();
            window.at = box.y + box.height / 2;
        })"""
    )
    x, y = seen.place(seen.slider(), 0.3)
    seen.page.evaluate("scrollTo(0, 0)")
    seen.hand.touch((x, 700))
    for step in range(1, 5):
        seen.hand.move((x, 700 - 30 * step))
    seen.hand.lift()
    seen.hand.touch((x, seen.page.evaluate("at")))
    seen.hand.lift()
    seen.expect_untouched()


@pytest.mark.parametrize("name, role", [("lamp", "switch"), ("bell", "button")])
def test_a_scroll_that_begins_on_a_switch(seen, name, role):
    """A touch that begins on a switch or a button and scrolls on switches nothing, either."""
    x, y = seen.place(seen.pin(name).get_by_role(role), 0.5)
    before = scrolled(seen.page)
    seen.hand.swipe((x, y), (x, y - 200))
    seen.page.wait_for_function("before => scrollY !== before", arg=before)
    assert seen.sent() == []


def test_a_mouse_and_the_keys_act_at_once(seen):
    """A mouse that presses on the track moves it at once, and so does each key."""
    x, y = seen.place(seen.slider(), 0.3)
    seen.page.mouse.move(x, y)
    seen.page.mouse.down()
    word = seen.pin("fan").locator(".word")
    for way in (0, 4):
        seen.page.mouse.move(x + way, y)
        level = int(seen.slider().input_value())
        assert 25 < level < 35
        expect(word).to_have_text(f"{level}%")
    seen.page.mouse.up()
    for key, words in (
        ("ArrowRight", f"{level + 1}%"),
        ("Home", "off"),
        ("End", "100%"),
        ("ArrowLeft", "99%"),
    ):
        seen.slider().press(key)
        expect(word).to_have_text(words)
