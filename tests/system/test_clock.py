"""Clocks that are set, as a viewer sees it: those of the server's process, not the machine's."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.http import ask
from tests.support.server import Server
from tests.support.websocket import WebSocketClient

pytestmark = pytest.mark.slow

INTERVAL = 0.1
PULSE = 1.5
MAX_ON = 2.0
SLACK = 20.0
"""Seconds by which this machine may be late."""
HOUR = 3600.0
YEAR = 365.25 * 24 * HOUR

CONFIG = f"""
access: {{control: everyone}}
interval: {INTERVAL}
pins:
  door: {{gpio: 4, mode: input}}
  lamp: {{gpio: 17, mode: output}}
  gate: {{gpio: 22, mode: output, pulse: {PULSE}}}
  heat: {{gpio: 23, mode: output, max_on: {MAX_ON}}}
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


class Witness(WebSocketClient):
    """A viewer that keeps all messages, in order."""

    def __init__(self, port: int) -> None:
        self.seen: list[dict[str, Any]] = []
        super().__init__(port)

    def messages(self) -> Iterator[dict[str, Any]]:
        for message in super().messages():
            self.seen.append(message)
            yield message

    def changes(self, pin: str) -> list[dict[str, Any]]:
        return [each for each in self.seen if (each["type"], each.get("pin")) == ("change", pin)]


def pins(server: Server) -> dict[str, Any]:
    """Return all pins by name, and `time`."""
    found = ask(server, "GET", "/api/pins").json
    return {"time": found["time"], **{pin["name"]: pin for pin in found["pins"]}}


def test_clock_is_set(start_server: Callable[..., Server], tmp_path: Path) -> None:
    """When the clock is set, all times are right from the next tick on. Pulses keep their time."""
    clock = Clock(tmp_path / "offset")
    pi = start_server(CONFIG, program=("-c", DRIVER.format(file=str(tmp_path / "offset"))))
    for step in (HOUR, -20 * YEAR, -0.25):
        witness = Witness(pi.port)
        with witness:
            check_that_times_follow(pi, clock, witness, step)
        # No message was sent twice, out of order or left out.
        seqs = [message["seq"] for message in witness.seen if "seq" in message]
        assert seqs == list(range(seqs[0], seqs[0] + len(seqs)))


def check_that_times_follow(pi: Server, clock: Clock, witness: Witness, step: float) -> None:
    witness.command(type="toggle", pin="lamp")
    assert clock.is_now(witness.receive("state")["time"])
    since = pins(pi)["lamp"]["since"]
    for pin in ("gate", "heat"):
        witness.command(type="set", pin=pin, value=1)

    clock.step(step)
    assert abs(pins(pi)["lamp"]["since"] - since - step) < 0.01
    witness.command(type="toggle", pin="lamp")
    assert clock.is_now(witness.changes("lamp")[-1]["time"])
    assert clock.is_now(witness.receive("state")["time"])
    value = 1 - pins(pi)["door"]["value"]
    witness.send(type="drive", pin="door", value=value)
    seen_at = witness.receive("change", pin="door", value=value)["time"]
    assert clock.is_now(seen_at)
    found = pins(pi)
    assert clock.is_now(found["time"])
    assert abs(found["door"]["since"] - seen_at) < 0.01
    assert all(found[pin]["since"] <= found["time"] for pin in ("door", "lamp", "gate", "heat"))
    witness.receive("change", pin="heat", value=0)
    for _ in range(5):
        witness.receive("state")
    for pin, length, by in (("gate", PULSE, "pulse"), ("heat", MAX_ON, "max_on")):
        on, off = witness.changes(pin)
        assert (on["value"], off["value"], off["by"]) == (1, 0, by)
        assert length - 0.01 < off["time"] - on["time"] - step < length + SLACK
