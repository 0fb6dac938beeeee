"""Clocks that are set, as a viewer sees it: those of the server's process, not the machine's."""

import time
from pathlib import Path

import pytest

from tests.support.http import ask
from tests.support.websocket import WebSocketClient

pytestmark = pytest.mark.slow

SLACK = 20.0
"""Seconds by which this machine may be late."""
HOUR = 3600.0
YEAR = 365.25 * 24 * HOUR
CONFIG = """
access: {control: everyone}
pins:
  door: {gpio: 4, mode: input}
  lamp: {gpio: 17, mode: output}
"""
DRIVER = """
import sys, time
from raspi_server.cli.main import main
real = time.time
def shifted():
    with open({file!r}) as file:
        return real() + float(file.read())
time.time = shifted
sys.exit(main())
"""


class Clock:
    """The clock of a server's process: the machine's, and an offset in seconds."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.offset = 0.0
        self.step(0)

    def step(self, seconds: float) -> None:
        self.offset += seconds
        new = self._file.with_suffix(".new")
        new.write_text(repr(self.offset))
        new.replace(self._file)

    def is_now(self, moment: float) -> bool:
        return abs(time.time() + self.offset - moment) < SLACK


def test_clock_is_set(start_server, tmp_path: Path) -> None:
    """When the clock is set, all times are right from the next tick on. The models test pulses."""
    clock = Clock(tmp_path / "offset")
    pi = start_server(CONFIG, program=("-c", DRIVER.format(file=str(tmp_path / "offset"))))
    with WebSocketClient(pi.port) as viewer:
        for value, step in enumerate((HOUR, -20 * YEAR, -0.25)):
            assert clock.is_now(viewer.receive("state")["time"])
            viewer.send(type="toggle", pin="lamp")
            since = viewer.receive("change", pin="lamp")["time"]
            clock.step(step)
            assert abs(ask(pi, "GET", "/api/pins/lamp").json["since"] - since - step) < 0.01
            viewer.send(type="toggle", pin="lamp")
            assert clock.is_now(viewer.receive("change", pin="lamp")["time"])
            viewer.send(type="drive", pin="door", value=1 - value % 2)
            change = viewer.receive("change", pin="door")
            assert clock.is_now(change["time"])
            assert clock.is_now(viewer.receive("state")["time"])
            found = ask(pi, "GET", "/api/pins").json
            assert clock.is_now(found["time"])
            assert abs(found["pins"][0]["since"] - change["time"]) < 0.01
            assert all(pin["since"] <= found["time"] for pin in found["pins"])
