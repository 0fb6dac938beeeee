"""Clocks that are set and machines that sleep, as a viewer sees them. The clock of the real
server's process is set, never that of the machine."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from raspi_server.system import clock as clock_module
from tests.support.http import ask
from tests.support.server import Server
from tests.support.websocket import WebSocketClient
from tests.system.test_stuck import wait_for_state

pytestmark = pytest.mark.slow

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

    def __init__(self, server: Server) -> None:
        self.seen: list[dict[str, Any]] = []
        super().__init__(server.port)

    def __enter__(self) -> "Witness":
        return self

    def messages(self) -> Iterator[dict[str, Any]]:
        for message in super().messages():
            self.seen.append(message)
            yield message

    # As in tests/web/test_websocket.py, for tests/gpio/test_history.py.
    read = read_until = WebSocketClient.receive
    ask = WebSocketClient.command

    def of_type(self, kind: str) -> list[dict[str, Any]]:
        return [message for message in self.seen if message["type"] == kind]

    def changes(self, pin: str) -> list[dict[str, Any]]:
        return [change for change in self.of_type("change") if change["pin"] == pin]

    def state_times(self) -> list[float]:
        return [state["time"] for state in self.of_type("state")]

    def check_order(self) -> None:
        """Check that no message was sent twice, out of order or left out."""
        seqs = [message["seq"] for message in self.seen if "seq" in message]
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
    """Return all pins by name, and `time`."""
    found = ask(server, "GET", "/api/pins").json
    return {"time": found["time"], **{pin["name"]: pin for pin in found["pins"]}}


def count_short_pauses(times: list[float]) -> int:
    """Return the number of states that follow another one far too soon."""
    pauses = [after - before for before, after in zip(times, times[1:], strict=False)]
    return sum(1 for pause in pauses if pause < INTERVAL / 4)


@pytest.mark.parametrize("step", [HOUR, -20 * YEAR, 0.25], ids=lambda step: f"{step:+.2f}s")
def test_clock_is_set(pi: Server, clock: Clock, witness: Witness, step: float) -> None:
    """When the clock is set, every time that is sent is right from the next tick on, and numbers
    grow by one. A running pulse and max_on keep their length and end once."""
    witness.command(type="toggle", pin="lamp")
    assert clock.is_now(witness.receive("state")["time"])
    since = pins(pi)["lamp"]["since"]
    began = time.monotonic()
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
    with WebSocketClient(pi.port) as newcomer:
        assert clock.is_now(newcomer.receive("hello")["time"])

    witness.receive("change", pin="heat", value=0)
    assert time.monotonic() - began >= MAX_ON
    for _ in range(5):
        witness.receive("state")
    for pin, length, by in (("gate", PULSE, "pulse"), ("heat", MAX_ON, "max_on")):
        on, off = witness.changes(pin)
        assert (on["value"], off["value"], off["by"]) == (1, 0, by)
        assert length - 0.01 < off["time"] - on["time"] - step < length + SLACK
    witness.check_order()


def test_clock_is_moved_at_every_tick(pi: Server, clock: Clock, witness: Witness) -> None:
    """While NTP moves the clock back a little at every tick, times follow and the order stays."""
    for _ in range(8):
        clock.step(-0.5)
        witness.command(type="toggle", pin="lamp")
        assert clock.is_now(witness.changes("lamp")[-1]["time"])
        assert clock.is_now(witness.receive("state")["time"])
    witness.check_order()


def test_sleep(pi: Server, clock: Clock, witness: Witness) -> None:
    """A pulse that should have ended while everything slept ends once, right after it. The time is
    right by the next tick, and missed ticks are not made up for."""
    for pin in ("gate", "heat"):
        witness.command(type="set", pin=pin, value=1)
    pi.process.send_signal(signal.SIGSTOP)
    wait_for_state(pi.process.pid, "T")
    clock.step(HOUR)
    threading.Event().wait(MAX_ON + 0.3)
    woken = time.time() + clock.offset
    pi.process.send_signal(signal.SIGCONT)
    for pin in ("gate", "heat"):
        if len(witness.changes(pin)) < 2:
            witness.receive("change", pin=pin, value=0)
    witness.command(type="toggle", pin="lamp")
    assert clock.is_now(witness.receive("state")["time"])
    for _ in range(10):
        witness.receive("state")
    for pin in ("gate", "heat"):
        assert [change["value"] for change in witness.changes(pin)] == [1, 0]
        assert 0 <= witness.changes(pin)[1]["time"] - woken < SLACK
    after = [moment for moment in witness.state_times() if moment >= woken]
    assert count_short_pauses(after) <= 1
    witness.check_order()


class InterruptedTime:
    """The module `time` on a machine that interrupts us for 6 ms between two readings of its
    clocks, so many times."""

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
def test_interruption_between_two_readings(monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    """Converted times are right to the millisecond also if other work interrupts the readings."""
    monkeypatch.setattr(clock_module, "time", InterruptedTime(times))
    monkeypatch.setattr(clock_module, "_offset", 0.0)
    moment = time.monotonic()
    now = time.time()
    assert abs(clock_module.wall_time(moment) - now) < 0.001
