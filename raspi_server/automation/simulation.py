"""Simulation: the schedules of a configuration over a stretch of time, without waiting for it.

It has the real board on simulated pins, and an event loop whose clock jumps to the next timer.
"""

import asyncio
import math
import selectors
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from ..config.schema import Config, InputConfig
from ..gpio.backend import SimulatedFactory
from ..gpio.board import Board
from ..gpio.claims import Level
from ..gpio.output_state import OutputStateStore
from ..gpio.pin import PinChange
from .memory import Memory
from .schedule_engine import ScheduleEngine, Zone


class Switch(NamedTuple):
    """A change of an output, and why. `moment` is Unix time."""

    moment: float
    pin: str
    value: float
    why: str


_TINY_S = 0.001

Event = tuple[float, Callable[[Board], object]]
"""Something from outside at a Unix time, such as a change of an input, and what it does."""


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
    """A board and an engine, from the start of the loop on."""

    def __init__(self, config: Config, loop: _Loop, zone: Zone) -> None:
        self.switches: list[Switch] = []
        self._config = config
        self._loop = loop
        self._engine = ScheduleEngine(Memory(None, ""), _Clock(loop), zone, lambda done: done())
        self._engine.is_known = True
        self.board = Board(
            config.pins,
            SimulatedFactory(),
            OutputStateStore(None, None),
            loop,
            self._changed,
            lambda: None,
            claim_first=self._start,
        )
        for pin in self.board:
            if pin.value and not isinstance(pin.config, InputConfig):
                self._note(pin.config.name, pin.value, "initial")

    def _start(self, board: Board) -> None:
        self._engine.use_outputs(board)
        self._engine.configure(self._config.schedules, self._config.location)
        self._wake()

    def _wake(self) -> None:
        moment = self._engine.step() - self._loop.begin
        # At the same moment again the loop would not get ahead, if rounding is in the way.
        self._loop.call_at(max(moment, self._loop.time() + _TINY_S), self._wake)

    def _changed(self, changed: PinChange) -> None:
        if not isinstance(self.board[changed.pin].config, InputConfig):
            self._note(changed.pin, changed.value or 0, changed.by or "")

    def _note(self, pin: str, value: float, by: str) -> None:
        """Note a change, with its cause, and what decides now if the cause has ended."""
        winner, cause = self.board[pin].claims.winner, by.removeprefix("schedule ")
        is_default = winner.level is Level.DEFAULT
        is_order = cause in self._config.schedules and self._config.schedules[cause].turn_off
        if by == "initial":
            why = by if is_default else winner.name
        elif by == winner.name or winner.level is Level.MANUAL or is_order:
            why = by
        else:
            why = f"the end of {by}" + ("" if is_default else f", now {winner.name}")
        self.switches.append(Switch(self._loop.begin + self._loop.time(), pin, value, why))


def play(
    config: Config, begin: float, end: float, zone: Zone, events: Iterable[Event] = ()
) -> list[Switch]:
    """Return what switches from `begin` to `end`, in Unix time, and at first what is on then.

    `events` are what happens from outside meanwhile.
    """
    loop = _Loop(begin)
    try:
        player = _Player(config, loop, zone)
        for moment, act in events:
            loop.call_at(moment - begin, act, player.board)
        loop.run_until_complete(asyncio.sleep(end - begin))
        switches = list(player.switches)
        player.board.close()
        return switches
    finally:
        loop.close()
