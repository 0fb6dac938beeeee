"""Touch on the page: a swipe that scrolls it switches nothing. `/fleet/` has the same controls."""

import json
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.looking import Hand, api, card, open_row, switch, value, word
from tests.support.server import Server

CONFIG = """
access: {control: everyone}
pins:
  fan: {gpio: 18, mode: pwm, label: Fan, initial: 0.9}
  spot: {gpio: 19, mode: pwm, label: Spot, initial: 0.9, confirm: true}
  lamp: {gpio: 27, mode: output, label: Desk lamp}
  bell: {gpio: 23, mode: output, label: Doorbell, pulse: 0.2}
""" + "".join(f"  in{gpio}: {{gpio: {gpio}, mode: input}}\n" for gpio in range(4, 17))
"""Pins below those that are touched are there to be scrolled to."""

GLIDE = """() => {
    const slider = document.querySelector('[data-pin="fan"] .slider');
    window.glide = {y: 0, isOver: false, isStopped: false};
    scrollTo(0, 0);
    document.addEventListener("scroll", () => {
        const box = slider.getBoundingClientRect();
        glide.y = box.y + box.height / 2;
    });
    document.addEventListener("touchend", () => {
        document.addEventListener("scrollend", () => (glide.isOver = true));
        document.addEventListener("touchstart", ({target}) => {
            glide.isStopped = target === slider && !glide.isOver;
        });
    }, {once: true});
}"""
"""Notes where the slider is while the page glides, and whether the next touch stops it there."""


class Phone(NamedTuple):
    """A page on a phone with its server, all that it sent, and a hand."""

    page: Page
    server: Server
    commands: list[dict[str, Any]]
    hand: Hand

    def slider(self, name: str = "fan") -> Locator:
        return card(self.page, name).get_by_role("slider")

    def place(self, control: Locator, share: float) -> tuple[float, float]:
        """Return a point on a control, in the middle of its height, once it is in view."""
        control.evaluate("element => element.scrollIntoView({block: 'center'})")
        box = control.bounding_box()
        assert box
        return box["x"] + box["width"] * share, box["y"] + box["height"] / 2

    def sent(self) -> list[dict[str, Any]]:
        """Return all that was sent before the lamp was switched, which this does."""
        switch = card(self.page, "lamp").get_by_role("switch")
        was = value(self.server, "lamp")
        switch.press("Enter")
        expect(switch).to_have_attribute("aria-checked", str(not was).lower())
        *before, last = self.commands
        assert last["pin"] == "lamp"
        self.commands.clear()
        return before

    def expect_untouched(self, name: str = "fan") -> None:
        """Expect that a slider is where it was, nothing was sent and its pin never changed."""
        expect(self.slider(name)).to_have_value("90")
        assert self.sent() == []
        assert api(self.server, f"/api/pins/{name}")["since"] is None
        expect(self.slider(name)).to_have_attribute("aria-valuetext", "90%")

    def stop_glide(self) -> bool:
        """Flick the page, and touch the fan's slider while the page scrolls on. Return False if the
        page had come to rest before, or the touch missed the slider."""
        x, _ = self.place(self.slider(), 0.3)
        self.page.evaluate(GLIDE)
        self.hand.touch((x, 700))
        for step in range(1, 5):
            self.hand.move((x, 700 - 30 * step))
        self.hand.lift()
        self.hand.touch((x, self.page.evaluate("glide.y")))
        self.hand.lift()
        return bool(self.page.evaluate("glide.isStopped"))

    def scroll(self, control: Locator, *way: tuple[float, float]) -> None:
        """Scroll the page with a finger that begins on a control."""
        x, y = self.place(control, 0.3)
        before = self.page.evaluate("scrollY")
        self.hand.swipe((x, y), *[(x + right, y + down) for right, down in way])
        self.page.wait_for_function("before => scrollY !== before", arg=before)


@pytest.fixture
def open_phone(start_server, open_page) -> Callable[[], Phone]:
    def start() -> Phone:
        server = start_server(CONFIG)
        page = open_page("about:blank")
        phone = Phone(page, server, [], Hand(page))
        note = lambda frame: phone.commands.append(json.loads(frame))  # noqa: E731
        page.on("websocket", lambda socket: socket.on("framesent", note))
        page.goto(server.url)
        for name in ("fan", "spot"):
            open_row(page, name)
        expect(phone.slider()).to_have_value("90")
        return phone

    return start


def test_scrolling_switches_nothing(open_phone):
    """A scroll that begins on a control sends and asks nothing, nor do two fingers."""
    phone = open_phone()
    for way in ([(0, -200)], [(3, -200)], [(-60, -200)], [(3, 0), (3, -200)]):
        phone.scroll(phone.slider(), *way)
        phone.expect_untouched()
    phone.scroll(phone.slider("spot"), (0, -200))
    expect(phone.page.locator("#confirm")).to_be_hidden()
    phone.expect_untouched("spot")
    for name, control in (("lamp", ".switch"), ("bell", ".press"), ("bell", ".opener")):
        phone.scroll(card(phone.page, name).locator(control), (0, -200))
        assert phone.sent() == []
    expect(card(phone.page, "bell").locator(".more")).to_be_hidden()
    x, y = phone.place(phone.slider(), 0.3)
    for other in ((x + 60, y), (x + 60, y + 150)):
        phone.hand.touch((x, y))
        phone.hand.touch((x, y), other)
        phone.hand.move((x + 20, y), other)
        phone.hand.lift(other)
        phone.hand.lift()
        phone.expect_untouched()


def test_a_touch_that_stops_the_page(open_phone):
    """A touch on a slider that stops a page which scrolls on sends nothing."""
    for _ in range(20):
        phone = open_phone()
        if phone.stop_glide():  # else this machine was too slow
            phone.expect_untouched()
            return
    pytest.fail("no touch met a page that scrolled on")


def test_a_tap_counts_when_lifted(open_phone):
    """A tap sets the level once, when the finger is lifted; with `confirm` it asks once. A finger
    that rests or moves by 7 pixels sends nothing; one that moves more is followed."""
    phone = open_phone()
    x, y = phone.place(phone.slider(), 0.3)
    phone.hand.touch((x, y))
    level = phone.slider().input_value()
    assert 25 < int(level) < 31
    assert phone.sent() == []
    phone.hand.lift()
    expect(word(phone.page, "fan")).to_have_text(f"{level}%")
    expect(phone.slider()).to_have_value(level)
    assert [command["value"] for command in phone.sent()] == [int(level) / 100]
    x, y = phone.place(phone.slider("spot"), 0.3)
    question = phone.page.locator("#confirm")
    for answer in ("Cancel", "Set"):
        phone.hand.touch((x, y))
        level = phone.slider("spot").input_value()
        assert 25 < int(level) < 31
        expect(question).to_be_hidden()
        phone.hand.lift()
        expect(question).to_contain_text(f"Set Spot to {level}%?")
        question.get_by_role("button", name=answer).click()
        expect(question).to_be_hidden()
        expect(phone.slider("spot")).to_have_value("90" if answer == "Cancel" else level)
    assert [command["value"] for command in phone.sent()] == [int(level) / 100]
    x, y = phone.place(phone.slider(), 0.3)
    phone.hand.touch((x, y))
    phone.hand.move((x + 7, y))
    assert phone.sent() == []
    for way in (60, 120):
        phone.hand.move((x + way, y))
        level = phone.slider().input_value()
        expect(word(phone.page, "fan")).to_have_text(f"{level}%")
    assert 55 < int(level) < 75
    phone.hand.lift()
    expect(phone.slider()).to_have_value(level)
    changes = api(phone.server, "/api/pins/fan/history")["changes"]
    assert changes[-1]["value"] == int(level) / 100


def test_mouse_and_keys(open_phone):
    """Mouse and keys act immediately. They send ten commands a second at most, and always the last.
    While the mouse holds the slider it stays there, though the word tells the real value."""
    phone = open_phone()
    told, mouse = word(phone.page, "fan"), phone.page.mouse
    x, y = phone.place(phone.slider(), 0.3)
    began = phone.page.evaluate("performance.now()")
    mouse.move(x, y)
    mouse.down()
    level = int(phone.slider().input_value())
    assert 25 < level < 35
    expect(told).to_have_text(f"{level}%")
    mouse.move(x + 100, y, steps=60)
    level = int(phone.slider().input_value())
    expect(told).to_have_text(f"{level}%")
    expect(card(phone.page, "fan")).not_to_have_attribute("data-pending", "")
    took = (phone.page.evaluate("performance.now()") - began) / 1000
    levels = [command["value"] for command in phone.commands]
    assert value(phone.server, "fan") == level / 100 == levels[-1]
    assert 1 < len(levels) <= took / 0.1 + 1
    switch(phone.server, "fan", 0.1)
    expect(told).to_have_text("10%")
    expect(phone.slider()).to_have_value(str(level))
    mouse.up()
    expect(phone.slider()).to_have_value("10")
    for key, words in (("ArrowRight", "11%"), ("Home", "off"), ("End", "100%")):
        phone.slider().press(key)
        expect(told).to_have_text(words)
