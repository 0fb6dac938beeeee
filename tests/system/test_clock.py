"""Clocks that are set, machines that sleep, loops that are busy, as a viewer sees them. The clock
of the real server's process is set, never that of the machine."""

import json
import signal
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from raspi_server.system import clock as clock_room
from tests.support.server import LIMIT, Server
from tests.system.test_stuck import wait_for_state
from tests.web.test_websocket import Browser

INTERVAL = 0.1
PULSE = 0.5
MAX_ON = 0.8
SLACK = 3.0
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

BUSY = """
import asyncio, sys, time
from raspi_server.cli.main import main
from raspi_server.server import Server
well = Server.run
async def run(self):
    def burn():
        end = time.monotonic() + {slice}
        while time.monotonic() < end:
            pass
        asyncio.get_running_loop().call_later({slice}, burn)
    burn()
    await well(self)
Server.run = run
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


class Witness(Browser):
    """Keeps all that was said in order."""

    def __enter__(self) -> "Witness":
        self.seen: list[dict[str, Any]] = []
        super().__enter__()
        return self

    def read(self) -> dict[str, Any]:
        self.seen.append(super().read())
        return self.seen[-1]

    def numbered(self) -> list[dict[str, Any]]:
        return [message for message in self.seen if "seq" in message]

    def changes(self, pin: str) -> list[dict[str, Any]]:
        return [each for each in self.seen if each["type"] == "change" and each["pin"] == pin]

    def check_order(self) -> None:
        """Nothing was said twice or out of order, nor left out."""
        seqs = [message["seq"] for message in self.numbered()]
        assert seqs == list(range(seqs[0], seqs[0] + len(seqs)))


@pytest.fixture(scope="module")
def clock(tmp_path_factory: pytest.TempPathFactory) -> Clock:
    return Clock(tmp_path_factory.mktemp("clock") / "offset")


@pytest.fixture(scope="module")
def pi(start_module_server: Callable[..., Server], clock: Clock) -> Server:
    driver = DRIVER.format(file=str(clock._file))
    return start_module_server(CONFIG, program=("-c", driver))


@pytest.fixture
def witness(pi: Server) -> Iterator[Witness]:
    with Witness(pi) as witness:
        yield witness


def pins(server: Server) -> dict[str, Any]:
    """All pins by name, and `time`."""
    with urllib.request.urlopen(server.url + "/api/pins", timeout=LIMIT) as answer:
        found = json.load(answer)
    return {"time": found["time"], **{pin["name"]: pin for pin in found["pins"]}}


@pytest.mark.parametrize(
    "step", [HOUR, -HOUR, 20 * YEAR, -20 * YEAR, 0.25], ids=lambda step: f"{step:+.2f}s"
)
def test_the_clock_is_set(pi: Server, clock: Clock, witness: Witness, step: float) -> None:
    """When the clock is set, every time told is right from the next tick on, numbers grow by one,
    and a pulse and max_on that run keep their length and end once."""
    witness.ask(type="toggle", pin="lamp")
    assert clock.is_now(witness.read_until("state")["time"])
    since = pins(pi)["lamp"]["since"]
    began = time.monotonic()
    for pin in ("gate", "heat"):
        witness.ask(type="set", pin=pin, value=1)

    clock.step(step)
    assert abs(pins(pi)["lamp"]["since"] - since - step) < 0.01
    witness.ask(type="toggle", pin="lamp")
    assert clock.is_now(witness.changes("lamp")[-1]["time"])
    assert clock.is_now(witness.read_until("state")["time"])
    value = 1 - pins(pi)["door"]["value"]
    witness.send(type="drive", pin="door", value=value)
    seen_at = witness.read_until("change", pin="door", value=value)["time"]
    assert clock.is_now(seen_at)
    told = pins(pi)
    assert clock.is_now(told["time"])
    assert abs(told["door"]["since"] - seen_at) < 0.01
    assert all(told[pin]["since"] <= told["time"] for pin in ("door", "lamp", "gate", "heat"))
    with Browser(pi) as newcomer:
        assert clock.is_now(newcomer.read()["time"])

    witness.read_until("change", pin="heat", value=0)
    assert time.monotonic() - began >= MAX_ON
    for _ in range(5):
        witness.read_until("state")
    for pin, length, by in (("gate", PULSE, "pulse"), ("heat", MAX_ON, "max_on")):
        on, off = witness.changes(pin)
        assert (on["value"], off["value"], off["by"]) == (1, 0, by)
        assert length - 0.01 < off["time"] - on["time"] - step < length + SLACK
    witness.check_order()


def test_the_clock_moves_a_little(pi: Server, clock: Clock, witness: Witness) -> None:
    """While NTP pushes the clock back a little at every tick, times follow and order stays."""
    for _ in range(20):
        clock.step(-0.5)
        witness.ask(type="toggle", pin="lamp")
        assert clock.is_now(witness.changes("lamp")[-1]["time"])
        assert clock.is_now(witness.read_until("state")["time"])
    witness.check_order()


@pytest.mark.parametrize("step", [0, HOUR], ids=["same clock", "clock set meanwhile"])
def test_a_sleep(pi: Server, clock: Clock, witness: Witness, step: float) -> None:
    """A pulse that should have ended while everything slept ends once, at once, after it; the
    time is right by the next tick, and no tick is made up for."""
    for pin in ("gate", "heat"):
        witness.ask(type="set", pin=pin, value=1)
    pi.process.send_signal(signal.SIGSTOP)
    wait_for_state(pi.process.pid, "T")
    clock.step(step)
    threading.Event().wait(MAX_ON + 0.3)
    woken = time.time() + clock.offset
    pi.process.send_signal(signal.SIGCONT)
    for pin in ("gate", "heat"):
        if len(witness.changes(pin)) < 2:
            witness.read_until("change", pin=pin, value=0)
    witness.ask(type="toggle", pin="lamp")
    assert clock.is_now(witness.read_until("state")["time"])
    for _ in range(10):
        witness.read_until("state")
    for pin in ("gate", "heat"):
        assert [change["value"] for change in witness.changes(pin)] == [1, 0]
        assert 0 <= witness.changes(pin)[1]["time"] - woken < SLACK
    states = [each["time"] for each in witness.seen if each["type"] == "state"]
    after = [moment for moment in states if moment >= woken]
    assert close_together(after) <= 1
    witness.check_order()


def close_together(times: list[float]) -> int:
    """Return the number of pauses between states that are much too short."""
    pauses = [after - before for before, after in zip(times, times[1:], strict=False)]
    return sum(1 for pause in pauses if pause < INTERVAL / 4)


def test_a_busy_machine(start_server: Callable[..., Server]) -> None:
    """When the machine is so busy that ticks are late, numbers grow by one, pulses end once and
    hardly late, and no tick comes close behind a late one to make up for others."""
    server = start_server(CONFIG, program=("-c", BUSY.format(slice=2.35 * INTERVAL)))
    with Witness(server) as witness:
        witness.ask(type="set", pin="gate", value=1)
        witness.read_until("change", pin="gate", value=0)
        while len(witness.numbered()) < 25:
            witness.read()
        on, off = witness.changes("gate")
        assert PULSE <= off["time"] - on["time"] + 0.01 < PULSE + SLACK
        states = [each["time"] for each in witness.seen if each["type"] == "state"]
        assert max(b - a for a, b in zip(states, states[1:], strict=False)) > 2 * INTERVAL
        assert close_together(states) <= 1
        assert states == sorted(states)
        witness.check_order()


class Held:
    """A machine that holds us up for 6 ms between two looks at its clocks, so many times."""

    def __init__(self, times: int) -> None:
        self._times = times

    def monotonic(self) -> float:
        return time.monotonic()

    def time(self) -> float:
        now = time.time()
        if self._times:
            self._times -= 1
            threading.Event().wait(0.006)
        return now


@pytest.mark.parametrize("times", [1, 5])
def test_held_up_between_two_clocks(monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    """The time of an edge is right to the millisecond also where we were held up on looking."""
    monkeypatch.setattr(clock_room, "time", Held(times))
    monkeypatch.setattr(clock_room, "_offset", 0.0)
    moment = time.monotonic()
    now = time.time()
    assert abs(clock_room.wall_time(moment) - now) < 0.001
