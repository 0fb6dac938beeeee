"""Simulation: the schedules and rules of a configuration over a stretch of time, played at once.

It has the real board on simulated pins, and an event loop whose clock jumps to the next timer.
"""

import asyncio
import math
import selectors
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import msgspec

from ..config.schema import Config, InputConfig, PinConfig
from ..gpio.backend import SimulatedFactory
from ..gpio.board import Board
from ..gpio.claims import Level
from ..gpio.output_state import OutputStateStore
from ..gpio.pin import PinChange
from ..messages import Auto, Command, Drive, Set
from .given import Given
from .memory import Memory
from .rule_engine import RuleEngine
from .rule_memory import RuleMemory
from .rule_windows import RuleWindows
from .schedule_engine import ScheduleEngine, Zone


class Event(NamedTuple):
    """A change of a pin, and why. `moment` is Unix time.

    An event without a pin and a value says something else that is to know.
    """

    moment: float
    pin: str
    value: float | None
    why: str


_TINY_S = 0.001

_HAND, _AUTO = "by hand", "auto"
_WHYS = {
    _AUTO: "automatic again",
    "group": "another one of its group is on",
    "pulse": "the end of its pulse",
}
"""Causes in words that are not the end of something with the name of the cause."""


class _JumpingSelector(selectors.SelectSelector):
    """A selector that moves the clock to the next timer instead of waiting for it."""

    now = 0.0

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0)
        if not ready:  # after months its steps are longer than the loop's tolerance: always ahead
            self.now = max(self.now + (timeout or 0), math.nextafter(self.now, math.inf))
        return ready


class _Loop(asyncio.SelectorEventLoop):
    """An event loop whose clock begins at 0, and shows `begin` then as Unix time."""

    def __init__(self, begin: float) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)
        self.begin = begin

    def time(self) -> float:
        return self._jumping.now


class _Clock:
    """The clock of the loop."""

    def __init__(self, loop: _Loop) -> None:
        self._loop = loop

    def time(self) -> float:
        return self._loop.begin + self._loop.time()

    def monotonic(self) -> float:
        return self._loop.time()


class _Player:
    """A board with schedules and rules, from the start of the loop on."""

    def __init__(self, config: Config, loop: _Loop, zone: Zone, given: Sequence[Given]) -> None:
        self.events: list[Event] = []
        self._config = config
        self._loop = loop
        self._clock = clock = _Clock(loop)
        self._given = deque(each for each in given if each.moment > loop.begin)
        self._schedules = ScheduleEngine(Memory(None, ""), clock, zone, lambda done: done())
        self._schedules.is_known = True
        self._windows = RuleWindows(self._schedules)
        self._rules = RuleEngine(
            loop,
            RuleMemory(None, ""),
            self._windows.window,
            wall=clock.time,
            when_parked=self._note_parked,
        )
        self._parked: set[str] = set()
        first = {each.pin: each.value for each in given if each.moment <= loop.begin}
        self.board = Board(
            [_with_first(pin, first.get(pin.name)) for pin in config.pins],
            SimulatedFactory(),
            OutputStateStore(None, None),
            loop,
            self._changed,
            self._rules.synchronize,
            claim_first=self._start,
        )
        for pin in self.board:
            if pin.value:
                is_input = isinstance(pin.config, InputConfig)
                self._note(pin.config.name, pin.value, "given" if is_input else "initial")
        self._rules.synchronize()
        self._give()

    def _start(self, board: Board) -> None:
        self._schedules.use_outputs(board)
        self._schedules.configure(self._config.schedules, self._config.location)
        self._schedules.step()
        self._rules.configure(board, self._config.rules)
        self._windows.have_changed(self._clock.time())
        self._windows_at = 0.0
        self._wake()

    def _wake(self) -> None:
        now, at = self._clock.time(), self._schedules.step()
        if self._windows_at <= now:
            self._windows_at = self._windows.next_change(now)
            if self._windows.have_changed(now):
                self._rules.reconsider()
        moment = min(at, self._windows_at) - self._loop.begin
        # At the same moment again the loop would not get ahead, if rounding is in the way.
        self._loop.call_at(max(moment, self._loop.time() + _TINY_S), self._wake)

    def _give(self) -> None:
        """Do what is given for now, and come back for the rest."""
        while self._given and self._given[0].moment <= self._clock.time():
            given = self._given.popleft()
            by = _AUTO if given.value is None else _HAND
            done = self.board.carry_out(self._command(given), by)
            done.add_done_callback(lambda done: done.exception())
        if self._given:
            self._loop.call_at(self._given[0].moment - self._loop.begin, self._give)

    def _command(self, given: Given) -> Command:
        if given.value is None:
            return Auto(pin=given.pin)
        if isinstance(self.board[given.pin].config, InputConfig):
            return Drive(pin=given.pin, value=given.value)
        return Set(pin=given.pin, value=given.value)

    def _changed(self, changed: PinChange) -> None:
        is_input = isinstance(self.board[changed.pin].config, InputConfig)
        self._note(changed.pin, changed.value or 0, "given" if is_input else changed.by or "")
        self._rules.changed(changed)

    def _note(self, pin: str, value: float, by: str) -> None:
        why = by if by == "given" else self._why(pin, by)
        self.events.append(Event(self._clock.time(), pin, value, why))

    def _why(self, pin: str, by: str) -> str:
        """Return the cause of a change, and what decides now if the cause has ended."""
        winner, cause = self.board[pin].claims.winner, by.removeprefix("schedule ")
        is_default = winner.level is Level.DEFAULT
        is_order = cause in self._config.schedules and self._config.schedules[cause].turn_off
        if by == "initial":
            return by if is_default else winner.name
        if by in (winner.name, _HAND) or is_order:
            return by
        return _WHYS.get(by, f"the end of {by}") + ("" if is_default else f", now {winner.name}")

    def _note_parked(self) -> None:
        for name in self._rules.parked - self._parked:
            why = f"rule {name} rests from now on: it changes an output again and again"
            self.events.append(Event(self._clock.time(), "", None, why))
        self._parked = self._rules.parked


def _with_first(pin: PinConfig, value: float | None) -> PinConfig:
    """Return a pin that has this value at the start if it is an input; without one it is off."""
    if not isinstance(pin, InputConfig):
        return pin
    return msgspec.structs.replace(pin, pull="up", active="high" if value else "low")


def play(
    config: Config, begin: float, end: float, zone: Zone, given: Iterable[Given] = ()
) -> list[Event]:
    """Return what changes from `begin` to `end`, in Unix time, and at first what is on then.

    `given` is in the order of time. What it has for an input up to `begin` is its first value;
    without one it is off.
    """
    loop = _Loop(begin)
    try:
        player = _Player(config, loop, zone, list(given))
        loop.run_until_complete(asyncio.sleep(end - begin))
        events = list(player.events)
        player.board.close()
        return events
    finally:
        loop.close()
