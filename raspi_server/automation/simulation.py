"""Simulation: the schedules and rules of a configuration over a stretch of time, played at once.

It has the real board on simulated pins, the real covers with simulated drives, and an event loop
whose clock jumps to the next timer.
"""

import asyncio
import math
import selectors
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import msgspec

from ..config.schema import Config, InputConfig, PinConfig
from ..errors import RequestError
from ..gpio.backend import SimulatedFactory
from ..gpio.board import Board
from ..gpio.claims import Level
from ..gpio.cover import Cover
from ..gpio.cover_memory import CoverMemory, Kept
from ..gpio.covers import Covers
from ..gpio.output_state import OutputStateStore
from ..gpio.pin import PinChange
from ..messages import Auto, Command, Drive, Set, Stop
from .covers import AutomationCovers, command
from .given import Given
from .memory import Memory
from .rule_engine import RuleEngine
from .rule_memory import RuleMemory
from .rule_windows import RuleWindows
from .schedule_engine import ScheduleEngine, Zone


class Event(NamedTuple):
    """A change of a pin or a cover, and why. `moment` is Unix time.

    The value of a cover is its state in words. An event without a pin and a value says something
    else that is to know.
    """

    moment: float
    pin: str
    value: float | str | None
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


class _AllClosed(CoverMemory):
    """A memory that takes a cover it knows nothing of as closed."""

    def __getitem__(self, key: str) -> Kept:
        """Return what is kept of a cover."""
        return self._covers.get(key, Kept(0.0))


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
        self._covers: Covers | None = None
        self._of_covers = {pin for cover in config.covers for pin in cover.pins}
        self._states: dict[str, tuple[str, object]] = {}
        self._movers: dict[str, str] = {}
        """What has moved each cover last."""
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
        if config.covers:
            self._open_covers(config, first)
        for pin in self.board:
            if pin.value and pin.config.name not in self._of_covers:
                is_input = isinstance(pin.config, InputConfig)
                self._note(pin.config.name, pin.value, "given" if is_input else "initial")
        self._rules.synchronize()
        self._give()

    def _open_covers(self, config: Config, first: dict[str, float | str | None]) -> None:
        self._covers = Covers(self._loop, _AllClosed(None, None), self._cover_changed)
        self._covers.apply(config, self.board)
        for pin in self._of_covers & first.keys():
            value = first[pin]
            if isinstance(value, float) and isinstance(self.board[pin].config, InputConfig):
                self.board.carry_out(Drive(pin=pin, value=value), "given")
        for cover in self._covers:
            self._states[cover.name] = _state(cover)
            if cover.state != "closed":
                self._note_cover(cover, "given")

    def _start(self, board: Board) -> None:
        inputs = {pin.config.name: pin.config for pin in board}
        self._moved = AutomationCovers(
            self._config.covers,
            {name: pin for name, pin in inputs.items() if isinstance(pin, InputConfig)},
            lambda: self._covers,
            self._tell,
        )
        self._schedules.use_outputs(board, self._move_soon)
        self._schedules.configure(self._config.schedules, self._config.location)
        self._schedules.step()
        self._rules.configure(board, self._config.rules, self._moved)
        self._windows.have_changed(self._clock.time())
        self._windows_at = 0.0
        self._wake()

    def _move_soon(self, *move: Any) -> None:
        """Move a cover once this turn of the loop is over: at the start it is not open yet."""
        self._loop.call_soon(self._moved.move, *move)

    def _tell(self, words: str) -> None:
        self.events.append(Event(self._clock.time(), "", None, words))

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
            if self._covers and given.pin in self._states:
                self._move_by_hand(self._covers, given)
                continue
            by = _AUTO if given.value is None else _HAND
            done = self.board.carry_out(self._command(given), by)
            done.add_done_callback(lambda done: done.exception())
        if self._given:
            self._loop.call_at(self._given[0].moment - self._loop.begin, self._give)

    def _move_by_hand(self, covers: Covers, given: Given) -> None:
        is_stop = given.value == "stop"
        asked = Stop(cover=given.pin) if is_stop else command(given.pin, given.value)  # type: ignore[arg-type]
        try:
            covers.carry_out(asked, _HAND)
        except RequestError as error:
            self._tell(f"{_HAND}: {given.pin} is not moved ({given.value}): {error.message}")

    def _command(self, given: Given) -> Command:
        if given.value is None:
            return Auto(pin=given.pin)
        value = given.value
        assert not isinstance(value, str), "it is for no cover"
        if isinstance(self.board[given.pin].config, InputConfig):
            return Drive(pin=given.pin, value=value)
        return Set(pin=given.pin, value=value)

    def _changed(self, changed: PinChange) -> None:
        if self._covers:
            self._covers.changed(changed)
        if changed.pin not in self._of_covers:
            is_input = isinstance(self.board[changed.pin].config, InputConfig)
            self._note(changed.pin, changed.value or 0, "given" if is_input else changed.by or "")
        self._rules.changed(changed)

    def _cover_changed(self, cover: Cover, by: str | None) -> None:
        if cover.name not in self._states:
            return  # it is just being opened
        before, now = self._states[cover.name], _state(cover)
        if by:
            self._movers[cover.name] = by
        if now != before:
            self._states[cover.name] = now
            if by is None and before[0] not in ("opening", "closing"):
                self._movers[cover.name] = "given"  # a contact has changed by hand
            self._note_cover(cover, self._movers[cover.name])
        self._rules.cover_changed(cover.name, cover.value, self._loop.time())

    def _note_cover(self, cover: Cover, why: str) -> None:
        at = cover.position
        is_between = cover.state in ("open", "stopped") and at is not None and 0 < at < 100
        state = f"{cover.state} {at} %" if is_between else cover.state
        if cover.problem:
            why = f"{why}: {cover.problem.message}"
        self.events.append(Event(self._clock.time(), cover.name, state, why))

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


def _state(cover: Cover) -> tuple[str, object]:
    return cover.state, cover.problem


def _with_first(pin: PinConfig, value: float | str | None) -> PinConfig:
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
