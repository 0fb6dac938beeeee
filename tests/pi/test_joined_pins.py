"""A real Pi with two pins joined by a wire, named by RASPI_SERVER_JUMPER=17,27."""

import os
from collections.abc import Callable

import pytest

from tests.support.server import Server
from tests.support.websocket import WebSocketClient

JUMPER = os.environ.get("RASPI_SERVER_JUMPER", "")
REAL = "interval: 60\ngpio: real\naccess: {control: everyone}\npins:\n"

pytestmark = [
    pytest.mark.pi,
    pytest.mark.skipif(not JUMPER, reason="needs RASPI_SERVER_JUMPER=17,27: two joined GPIOs"),
]


def test_an_output_comes_back_as_an_edge(start_server: Callable[..., Server]) -> None:
    """Each switching is seen at the other end of the wire, once and within 50 ms. The length of a
    pulse is the same there to within 20 ms."""
    out, back = JUMPER.split(",")
    pins = f"  out: {{gpio: {out}, mode: output}}\n  back: {{gpio: {back}, mode: input}}\n"
    with WebSocketClient(start_server(REAL + pins, simulate=False).port) as viewer:
        assert viewer.receive("hello")["state"] == {"out": 0, "back": 0}
        for value in (1, 0) * 10:
            viewer.send(type="set", pin="out", value=value)
            switched = viewer.receive("change", pin="out", value=value)
            seen = viewer.receive("change", pin="back")
            assert seen["value"] == value
            assert abs(seen["time"] - switched["time"]) < 0.05
        viewer.send(type="pulse", pin="out", seconds=0.2)
        rose = viewer.receive("change", pin="back", value=1)
        fell = viewer.receive("change", pin="back", value=0)
        assert fell["time"] - rose["time"] == pytest.approx(0.2, abs=0.02)


@pytest.mark.parametrize(("pull", "active"), [("up", "low"), ("down", "high")])
def test_the_pull_of_a_line(start_server: Callable[..., Server], pull: str, active: str) -> None:
    """If both pins are inputs, the pull of one gives both their level."""
    one, other = JUMPER.split(",")
    pins = f"  pulled: {{gpio: {one}, mode: input, pull: {pull}}}\n"
    pins += f"  follower: {{gpio: {other}, mode: input, active: {active}}}\n"
    with WebSocketClient(start_server(REAL + pins, simulate=False).port) as viewer:
        assert viewer.receive("hello")["state"] == {"pulled": 0, "follower": 0}
