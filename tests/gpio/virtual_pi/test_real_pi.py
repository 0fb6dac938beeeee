"""For a real Pi with two pins of its header joined by a wire: RASPI_SERVER_JUMPER=17,27 says which.
An output's levels must come back as an input's edges, through the real server."""

import os
from collections.abc import Callable, Iterator

import pytest

from tests.support.server import Server
from tests.web.test_websocket import Browser

_JUMPER = os.environ.get("RASPI_SERVER_JUMPER", "")

pytestmark = [
    pytest.mark.pi,
    pytest.mark.skipif(not _JUMPER, reason="needs RASPI_SERVER_JUMPER=17,27: two joined GPIOs"),
]


@pytest.fixture
def browser(start_server: Callable[..., Server]) -> Iterator[Browser]:
    out, back = map(int, _JUMPER.split(","))
    config = f"""
interval: 60
gpio: real
access: {{control: everyone}}
pins:
  out: {{gpio: {out}, mode: output}}
  back: {{gpio: {back}, mode: input}}
"""
    with Browser(start_server(config, simulate=False)) as browser:
        hello = browser.read_until("hello")
        assert hello["state"] == {"out": 0, "back": 0}
        yield browser


def test_an_output_comes_back_as_an_edge(browser: Browser) -> None:
    """Each switching is seen at the other end of the wire, once and within 50 ms."""
    for value in (1, 0) * 10:
        browser.send(type="set", pin="out", value=value)
        switched = browser.read_until("change", pin="out", value=value)
        seen = browser.read_until("change", pin="back")
        assert seen["value"] == value
        assert abs(seen["time"] - switched["time"]) < 0.05


def test_a_pulse_is_as_long_as_it_says(browser: Browser) -> None:
    """A pulse of a fifth of a second is measured at the other end to within 20 ms."""
    browser.send(type="pulse", pin="out", seconds=0.2)
    rose = browser.read_until("change", pin="back", value=1)
    fell = browser.read_until("change", pin="back", value=0)
    assert fell["time"] - rose["time"] == pytest.approx(0.2, abs=0.02)


def test_the_pull_holds_a_line_that_nobody_drives(start_server: Callable[..., Server]) -> None:
    """With both ends inputs, the one with a pull gives both their level."""
    one, other = map(int, _JUMPER.split(","))
    for pull, value in (("up", 0), ("down", 0)):
        config = f"""
gpio: real
pins:
  pulled: {{gpio: {one}, mode: input, pull: {pull}}}
  follower: {{gpio: {other}, mode: input, active: {"low" if pull == "up" else "high"}}}
"""
        server = start_server(config, simulate=False)
        with Browser(server) as browser:
            hello = browser.read_until("hello")
        assert hello["state"] == {"pulled": value, "follower": value}
        server.stop()
