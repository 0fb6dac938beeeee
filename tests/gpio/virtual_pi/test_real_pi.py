"""For a real Pi with two pins joined by a wire, named by RASPI_SERVER_JUMPER=17,27.

The levels of an output must come back as edges of an input, through the real server."""

import os
from collections.abc import Callable, Iterator

import pytest

from tests.support.server import Server
from tests.support.websocket import WebSocketClient

_JUMPER = os.environ.get("RASPI_SERVER_JUMPER", "")

pytestmark = [
    pytest.mark.pi,
    pytest.mark.skipif(not _JUMPER, reason="needs RASPI_SERVER_JUMPER=17,27: two joined GPIOs"),
]


@pytest.fixture
def viewer(start_server: Callable[..., Server]) -> Iterator[WebSocketClient]:
    out, back = map(int, _JUMPER.split(","))
    config = f"""
interval: 60
gpio: real
access: {{control: everyone}}
pins:
  out: {{gpio: {out}, mode: output}}
  back: {{gpio: {back}, mode: input}}
"""
    with WebSocketClient(start_server(config, simulate=False).port) as viewer:
        hello = viewer.receive("hello")
        assert hello["state"] == {"out": 0, "back": 0}
        yield viewer


def test_an_output_comes_back_as_an_edge(viewer: WebSocketClient) -> None:
    """Each switching is seen at the other end of the wire, once and within 50 ms."""
    for value in (1, 0) * 10:
        viewer.send(type="set", pin="out", value=value)
        switched = viewer.receive("change", pin="out", value=value)
        seen = viewer.receive("change", pin="back")
        assert seen["value"] == value
        assert abs(seen["time"] - switched["time"]) < 0.05


def test_the_length_of_a_pulse(viewer: WebSocketClient) -> None:
    """A pulse of a fifth of a second is measured at the other end to within 20 ms."""
    viewer.send(type="pulse", pin="out", seconds=0.2)
    rose = viewer.receive("change", pin="back", value=1)
    fell = viewer.receive("change", pin="back", value=0)
    assert fell["time"] - rose["time"] == pytest.approx(0.2, abs=0.02)


def test_the_pull_of_a_line_that_is_not_driven(start_server: Callable[..., Server]) -> None:
    """If both pins are inputs, the pull of one gives both their level."""
    one, other = map(int, _JUMPER.split(","))
    for pull, value in (("up", 0), ("down", 0)):
        config = f"""
gpio: real
pins:
  pulled: {{gpio: {one}, mode: input, pull: {pull}}}
  follower: {{gpio: {other}, mode: input, active: {"low" if pull == "up" else "high"}}}
"""
        server = start_server(config, simulate=False)
        with WebSocketClient(server.port) as viewer:
            hello = viewer.receive("hello")
        assert hello["state"] == {"pulled": value, "follower": value}
        server.stop()
