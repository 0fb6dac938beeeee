"""Schedules and the real board, on simulated lines and a clock that jumps."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest

from raspi_server.automation.memory import Memory
from raspi_server.automation.schedule_engine import ScheduleEngine
from raspi_server.gpio.board import Board
from raspi_server.gpio.output_state import OutputStateStore
from raspi_server.messages import Set
from tests.automation.house import Zone, config
from tests.support.board import SimulatedBoard

LAMP, ZONE = 17, 22
# Low is on, so a level that is high at first would show an output that starts off.
PINS = """
  lamp: {gpio: 17, mode: output, active: low}
  zone1: {gpio: 22, mode: output, active: low, max_on: 30min}
"""
SCHEDULES = """
  evening: {pin: lamp, from: 18:00, to: 23:00}
  morning: {pin: zone1, from: 06:00, to: 06:30}
  long:    {pin: zone1, from: 08:00, to: 10:00}
  bath:    {pin: zone1, at: 12:00, pulse: 600}
  off:     {at: 21:00, turn_off: [lamp]}
"""


class Home(SimulatedBoard):
    """A board and an engine, in UTC, from the time `now` on."""

    def __init__(self, folder: Path, now: str, at: float = 1000.0) -> None:
        self._begin = datetime.fromisoformat(f"{now}+00:00").timestamp() - at
        self.config = config(SCHEDULES, pins=f"pins:{PINS}")
        self.memory = Memory(folder, "boot")
        self.engine = ScheduleEngine(self.memory, self, Zone("UTC"), self._store)
        self.engine.is_known = True
        super().__init__(PINS, OutputStateStore(folder, None), at=at, claim_first=self._claim)
        self._wake()

    def time(self) -> float:
        return self._begin + self.loop.time()

    def monotonic(self) -> float:
        return self.loop.time()

    def _store(self, done: Callable[[], None]) -> None:
        self.memory.write(self.memory.snapshot(self.time()))
        done()

    def _claim(self, board: Board) -> None:
        self.engine.use_outputs(board)
        self.engine.configure(self.config.schedules, self.config.location)
        self.engine.step()
        self.engine.claim_again()

    def _wake(self) -> None:
        moment = self.engine.step() - self._begin
        self.loop.call_at(max(moment, self.loop.time() + 0.001), self._wake)

    def set_clock(self, seconds: float) -> None:
        """Set the clock forward, or back."""
        self._begin += seconds
        self._wake()

    def end(self) -> None:
        if not self.loop.is_closed():
            self.close()

    def until(self, time: str) -> None:
        self.wait(datetime.fromisoformat(f"{time}+00:00").timestamp() - self.time())


@pytest.fixture
def start(tmp_path):
    """`start(now, at)`: a home, on the disk of the last one."""
    homes = []

    def start(now, at=1000.0):
        homes.append(Home(tmp_path, now, at))
        return homes[-1]

    yield start
    for home in homes:
        home.end()


def test_first_level_of_a_line_is_that_of_its_window(start):
    """At a start in a window its line is on from the first level on."""
    home = start("2026-06-01 20:00:00")
    assert (home.levels_of(LAMP), home.levels_of(ZONE)) == ([0], [0, 1])
    home.until("2026-06-01 23:00:01")
    assert home.value("lamp") == 0


def test_limits_cut_windows(start):
    """`max_on` ends a window, which then rests until the next one, over a restart, too."""
    home = start("2026-06-01 07:59:00")
    home.until("2026-06-01 08:29:50")
    assert home.value("zone1") == 1
    home.until("2026-06-01 08:31:00")
    assert home.value("zone1") == 0
    at = home.loop.time()
    home.end()
    again = start("2026-06-01 08:32:00", at + 60)
    assert (again.levels_of(ZONE), again.value("zone1")) == ([0, 1], 0)
    again.until("2026-06-02 06:10:00")
    assert again.value("zone1") == 1


def test_window_that_was_cut_when_the_clock_is_set(start):
    """The window that a limit has cut stays off if the clock is set back within it, over a restart,
    too. The window of another day has its output on, whatever the clock was meanwhile."""
    home = start("2026-06-01 07:59:00")
    home.until("2026-06-01 08:31:00")
    assert home.value("zone1") == 0
    home.set_clock(-1830)
    home.wait(5)
    assert home.value("zone1") == 0
    at = home.loop.time()
    home.end()
    home = start("2026-06-01 08:00:36", at + 1)
    assert home.value("zone1") == 0
    home.set_clock(86400 + 60)
    home.wait(1)
    assert home.value("zone1") == 1
    home.until("2026-06-02 08:35:00")
    assert home.value("zone1") == 0
    home.set_clock(-86400)
    home.wait(1)
    assert home.value("zone1") == 1


def test_pulse_of_a_moment(start):
    """A moment's pulse ends on the board in time, and after a restart at its original end."""
    home = start("2026-06-01 11:59:00")
    home.until("2026-06-01 12:09:59")
    assert home.value("zone1") == 1
    home.until("2026-06-01 12:10:01")
    assert home.value("zone1") == 0
    home.until("2026-06-02 12:05:00")
    assert home.value("zone1") == 1
    at = home.loop.time()
    home.end()
    again = start("2026-06-02 12:06:00", at + 60)
    assert again.levels_of(ZONE) == [0]
    again.until("2026-06-02 12:09:59")
    assert again.value("zone1") == 1
    again.until("2026-06-02 12:10:01")
    assert again.value("zone1") == 0


def test_turn_off_ends_what_people_switched(start):
    """What a person switched off in a window stays off until `turn_off`, after which the window
    decides again; a new window ends it, too."""
    home = start("2026-06-01 19:00:00")
    home.set("lamp", 0)
    home.until("2026-06-01 20:59:59")
    assert home.value("lamp") == 0
    home.until("2026-06-01 21:00:01")
    assert home.value("lamp") == 1
    home.set("lamp", 0)
    home.until("2026-06-02 18:00:01")
    assert home.value("lamp") == 1


def test_turn_off_ends_what_is_on_for_a_time(start):
    """A command for a time runs its whole time over the events of a window, but `turn_off` ends it,
    as `auto` does."""
    home = start("2026-06-01 17:00:00")
    home.carry_out(Set(pin="lamp", value=0, seconds=8 * 3600))
    home.until("2026-06-01 20:59:59")
    assert home.value("lamp") == 0
    home.until("2026-06-01 21:00:01")
    assert home.value("lamp") == 1


def test_pin_that_a_reload_changes_is_claimed_again(start):
    """A pin that a reload opens anew has the claim of its window from its first level on."""
    home = start("2026-06-01 19:00:00")
    home.reconfigure(PINS.replace("gpio: 17", "gpio: 18"))
    assert (home.value("lamp"), home.levels_of(18)) == (1, [0])
    home.until("2026-06-01 23:00:01")
    assert home.value("lamp") == 0


def test_pin_with_another_name_keeps_no_claim(start):
    """An output that a reload gives another name is as that of its new name, with nothing left of
    the schedules for the old one."""
    swapped = PINS.replace("lamp:", "x:").replace("zone1:", "lamp:").replace("x:", "zone1:")
    home = start("2026-06-01 19:00:00")
    home.config = config(SCHEDULES, pins=f"pins:{swapped}")
    home.reconfigure(swapped)
    assert (home.value("lamp"), home.value("zone1")) == (1, 0)
    home.config = config("", pins=f"pins:{PINS}")
    home.reconfigure(PINS)
    assert (home.value("lamp"), home.value("zone1")) == (0, 0)


def test_pulse_of_a_schedule_that_is_gone_ends(start, monkeypatch):
    """After a restart without its schedule, or with one for another pin, a pulse does not go on."""
    other = SCHEDULES.replace("bath:    {pin: zone1", "bath:    {pin: lamp")
    for schedules in (SCHEDULES.replace("bath", "shower"), other):
        home = start("2026-06-01 11:59:00")
        home.until("2026-06-01 12:05:00")
        assert home.value("zone1") == 1
        at = home.loop.time()
        home.end()
        with monkeypatch.context() as patched:
            patched.setattr(f"{__name__}.SCHEDULES", schedules)
            again = start("2026-06-01 12:06:00", at + 60)
        assert (again.value("zone1"), again.value("lamp")) == (0, 0)
        again.end()
