"""A house for the engine: a clock that can be set, a zone that can change, and outputs that note
what happens. It can be restarted, lose its power, and be slow to write to its disk."""

from collections.abc import Callable
from datetime import datetime, tzinfo
from pathlib import Path
from typing import NamedTuple
from zoneinfo import ZoneInfo

from raspi_server.automation.memory import Memory
from raspi_server.automation.schedule_engine import ScheduleEngine
from raspi_server.config.parser import parse
from raspi_server.config.schema import Config
from raspi_server.gpio.claims import Level

PINS = """
pins:
  lamp: {gpio: 17, mode: output}
  porch: {gpio: 18, mode: pwm}
  zone1: {gpio: 22, mode: output}
  zone2: {gpio: 23, mode: output}
  up: {gpio: 24, mode: output, group: shutter, group_pause: 0.5}
  down: {gpio: 25, mode: output, group: shutter, group_pause: 0.5}
covers:
  shutter: {up: up, down: down, travel: 20}
"""
LONGEST_SLEEP_S = 60
"""A server takes a step at least once in this time."""


def config(schedules: str, location: str = "", pins: str = PINS) -> Config:
    """Return a configuration with these lines below `schedules`."""
    text = f"{location}\nschedules:\n{schedules}\n{pins}"
    return parse(text.encode(), "config.yaml", Path("/etc"))


class Zone:
    """A time zone that can change."""

    def __init__(self, name: str) -> None:
        self.zone: tzinfo = ZoneInfo(name)
        self._is_new = True

    def change(self, name: str) -> None:
        self.zone, self._is_new = ZoneInfo(name), True

    def has_changed(self) -> bool:
        was_new, self._is_new = self._is_new, False
        return was_new


class Clock:
    """A wall clock that can be set, beside a monotonic one that cannot."""

    def __init__(self, now: float) -> None:
        self.uptime = 1000.0
        self._offset = now - self.uptime

    def time(self) -> float:
        return self.uptime + self._offset

    def monotonic(self) -> float:
        return self.uptime

    def set(self, now: float) -> None:
        self._offset = now - self.uptime


class Claim(NamedTuple):
    level: int
    began: float
    value: float
    end: float


class Outputs:
    """Outputs whose value is that of their best claim, as gpio/claims.py has it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.claims: dict[str, dict[str, Claim]] = {}
        self.log: list[tuple] = []
        """Each call."""
        self.changes: list[tuple[str, float, float]] = []
        """Each new value: its pin, the value, and the monotonic time."""

    def claim(self, pin, source, level, value, began, seconds=None, window=None):
        assert level is Level.SCHEDULE and (window is None) == (seconds is not None)
        self.log.append(("claim", pin, source, value, seconds))
        end = began + seconds if seconds else float("inf")
        self._change(pin, lambda mine: mine.update({source: Claim(level, began, value, end)}))

    def release(self, pin, source, level):
        self.log.append(("release", pin, source))
        self._change(pin, lambda mine: mine.pop(source, None))

    def relinquish(self, pin, by, rules_too=False):
        assert by.startswith("schedule ") and rules_too
        self.log.append(("relinquish", pin))

    def value(self, pin: str) -> float:
        now = self._clock.monotonic()
        live = [claim for claim in self.claims.get(pin, {}).values() if now < claim.end]
        return max(live, key=lambda claim: (claim.level, claim.began)).value if live else 0

    def _change(self, pin: str, act: Callable[[dict[str, Claim]], object]) -> None:
        before = self.value(pin)
        act(self.claims.setdefault(pin, {}))
        if self.value(pin) != before:
            self.changes.append((pin, self.value(pin), self._clock.monotonic()))


class House:
    """A server with an engine, from its first start on."""

    def __init__(self, folder: Path | None, zone: str, now: str | float, conf: Config) -> None:
        self.zone = Zone(zone)
        if isinstance(now, str):
            now = datetime.fromisoformat(now).replace(tzinfo=self.zone.zone).timestamp()
        self.clock = Clock(now)
        self.folder = folder
        self.config = conf
        self.boot = 1
        self.is_known = True
        self.disk_is_slow = False
        self.waiting: list[Callable[[], None]] = []
        self.moves: list[tuple[str, object, str]] = []
        """Each move of a cover: the cover, its goal, and who moved it, over all restarts."""
        self.start()

    @property
    def now(self) -> float:
        return self.clock.time()

    @property
    def local(self) -> str:
        return datetime.fromtimestamp(self.now, self.zone.zone).strftime("%Y-%m-%d %H:%M:%S")

    def _hear(self) -> None:
        self.news += 1

    def start(self) -> None:
        self.outputs = Outputs(self.clock)
        self.memory = Memory(self.folder, f"boot {self.boot}")
        self.news = 0
        """How often the engine said that states have changed."""
        self.engine = ScheduleEngine(self.memory, self.clock, self.zone, self._store, self._hear)
        self.engine.use_outputs(self.outputs, lambda *move: self.moves.append(move))
        self.engine.is_known = self.is_known
        self.engine.configure(self.config.schedules, self.config.location)
        self.step()

    def _store(self, done: Callable[[], None]) -> None:
        def write() -> None:
            self.memory.write(self.memory.snapshot(self.now if self.is_known else None))
            done()

        if self.disk_is_slow:
            self.waiting.append(write)
        else:
            write()

    def write(self) -> None:
        """Let the disk finish what waits for it."""
        waiting, self.waiting = self.waiting, []
        for each in waiting:
            each()

    def step(self) -> None:
        seconds = min(self.engine.step() - self.now, LONGEST_SLEEP_S)
        self._next = self.clock.monotonic() + seconds

    def sleep(self, seconds: float) -> None:
        """Let time pass. The engine takes its steps when it asked for them."""
        end = self.clock.uptime + seconds
        while self.clock.uptime < end:
            self.clock.uptime = min(end, max(self._next, self.clock.uptime + 2**-7))
            if self.clock.uptime >= self._next:
                self.step()

    def until(self, time: str) -> None:
        """Let time pass until a local time."""
        end = datetime.fromisoformat(time).replace(tzinfo=self.zone.zone).timestamp()
        self.sleep(end - self.now)

    def set_clock(self, now: str | float) -> None:
        """Set the clock; the kernel tells the engine."""
        if isinstance(now, str):
            now = datetime.fromisoformat(now).replace(tzinfo=self.zone.zone).timestamp()
        self.clock.set(now)
        self.step()

    def restart(self, down_s: float = 1, power_cut: bool = False) -> None:
        self.waiting.clear()
        self.clock.uptime += down_s
        if power_cut:
            now = self.now
            self.boot += 1
            self.clock.uptime = 5.0
            self.clock.set(now)
        self.start()

    def reload(self, conf: Config) -> None:
        self.config = conf
        self.engine.configure(conf.schedules, conf.location)
        self.step()

    def value(self, pin: str) -> float:
        return self.outputs.value(pin)
