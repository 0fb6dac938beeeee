"""A cover: a door, gate or shutter with a drive, which is moved as one thing.

A command is a goal. What moves the cover is in the two kinds of drives: `one_button.py` and
`two_outputs.py`. Nothing here moves a cover without a command, and no goal is tried twice.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterator
from typing import NamedTuple

from ..config.cover_rules import is_reached
from ..config.schema import CoverConfig, InputConfig
from ..errors import Reason, RequestError, reason, refusal
from ..messages import Auto, CoverCommand, CoverGoal, CoverState, Open, Position, Stop
from .board import Board
from .cover_memory import CoverMemory
from .output import Output
from .pin import PinChange

OVER_RUN = 0.2
"""The share of the travel for which a drive may need longer than that."""
UP, DOWN = 1, -1
"""Directions: up opens, down closes."""

log = logging.getLogger(__name__)


class CoverEnvironment(NamedTuple):
    """The parts that all covers share. `when_changed(cover, by)` is called after each change."""

    board: Board
    loop: asyncio.AbstractEventLoop
    memory: CoverMemory
    when_changed: Callable[["Cover", str | None], None]


class Ends(NamedTuple):
    """The ends that contacts say are reached, or the `fault` for which that is not known."""

    closed: bool
    opened: bool
    fault: Reason | None = None

    @property
    def is_between(self) -> bool:
        """True if no contact says that an end is reached."""
        return not (self.closed or self.opened or self.fault)

    def reached(self, direction: int) -> bool:
        """Return True if the end in a direction is reached."""
        return self.opened if direction == UP else self.closed


class Cover:
    """One cover.

    `goal` is what it was told and has not reached. `problem` is what went wrong last, until an end
    or a goal is reached. `since` is the moment of the last change of `state` in monotonic seconds,
    None before the first. `key` is its name in the memory. All methods run on the loop's thread.
    """

    key: str

    def __init__(self, config: CoverConfig, environment: CoverEnvironment) -> None:
        self.config = config
        self.goal: CoverGoal | None = None
        self.problem: Reason | None
        self.since: float | None = None
        self.state: CoverState = "unknown"
        self._environment = environment
        self._board = environment.board
        self._loop = environment.loop
        self._memory = environment.memory
        self._ends = self._read_ends()
        self.problem = self._ends.fault
        self._is_closed = False
        self._is_reporting = False
        self._reported: object = None
        """What was reported last, None until the first state is known."""
        self._logged: tuple[CoverState, Reason | None] = "unknown", None

    @property
    def name(self) -> str:
        """The name in config.yaml."""
        return self.config.name

    @property
    def position(self) -> int | None:
        """The position in percent, 100 is open. None if it is not known."""
        return None

    @property
    def value(self) -> int | None:
        """What the cover is to rules: 0 closed, 1 not closed, None if that is not known."""
        return None if self.state == "unknown" else int(self.state != "closed")

    def carry_out(self, command: CoverCommand, by: str) -> None:
        """Take a command of the caller `by` as the new goal. Raises RequestError."""
        with self._reporting(by):
            if isinstance(command, Stop):
                self._stop(by)
                return
            if isinstance(command, Position):
                goal = self._checked_position(command.position)
            else:
                goal = "open" if isinstance(command, Open) else "close"
            if self._ends.fault:
                raise refusal("cover-state-unknown", label=self.config.label)
            self._begin(goal, by)

    def changed(self, change: PinChange) -> None:
        """Follow a change of one of its pins."""
        if not self._is_closed:
            with self._reporting(change.by):
                if change.pin in self.config.contacts:
                    self._look()
                else:
                    self._output_changed(change)

    def synchronize(self) -> None:
        """Follow its pins after one became unavailable, or available again."""
        if not self._is_closed:
            with self._reporting(None):
                self._look()
                self._check_outputs()

    def adopt(self, config: CoverConfig) -> None:
        """Take other keys that are not about the drive."""
        self.config = config

    def close(self) -> None:
        """End all that it does, and let its outputs go off. It reports nothing any more."""
        with self._reporting(None):
            self._end()
        self._is_closed = True

    # What the kinds of drives do

    def _begin(self, goal: CoverGoal, by: str) -> None:
        """Pursue a goal. Raises RequestError."""
        raise NotImplementedError

    def _stop(self, by: str) -> None:
        """Stop the drive, and drop the goal. Raises RequestError."""
        raise NotImplementedError

    def _ends_changed(self, before: Ends) -> None:
        """Follow the contacts, which said `before` until now."""
        raise NotImplementedError

    def _output_changed(self, change: PinChange) -> None:
        """Follow a change of an output."""

    def _check_outputs(self) -> None:
        """Follow the outputs after one became unavailable, or available again."""
        raise NotImplementedError

    def _end(self) -> None:
        """End all that it does."""
        raise NotImplementedError

    # Parts

    def _checked_position(self, position: float) -> CoverGoal:
        label = self.config.label
        if not self.config.has_position:
            raise refusal("cover-no-position", label=label)
        if not 0 <= position <= 100:
            raise refusal("cover-position-range", label=label, got=f"{position:g}")
        whole = round(position)
        return "close" if whole == 0 else "open" if whole == 100 else whole

    def _look(self) -> None:
        before, self._ends = self._ends, self._read_ends()
        if self._ends != before:
            self._ends_changed(before)

    def _read_ends(self) -> Ends:
        """Return what the contacts say now."""
        found: dict[str, bool] = {}
        for name in self.config.contacts:
            pin = self._board[name]
            if pin.value is None:
                fault = reason("cover-contact-unavailable", contact=pin.config.label)
                return Ends(False, False, fault)
            assert isinstance(pin.config, InputConfig)
            found[name] = is_reached(self.config, pin.config, int(pin.value))
        closed, opened = self.config.closed, self.config.opened
        ends = Ends(found.get(closed or "", False), found.get(opened or "", False))
        if not (ends.closed and ends.opened):
            return ends
        labels = {"closed": self._label(closed), "opened": self._label(opened)}
        return Ends(False, False, reason("cover-contacts-both", **labels))

    def _label(self, pin: str | None) -> str:
        return self._board[pin].config.label if pin else ""

    def _not_confirmed(self, direction: int) -> Reason:
        """Return the problem that a contact has not confirmed a motion in a direction in time."""
        contact = self._contact_of(direction) or self._contact_of(-direction)
        seconds = f"{self._longest(direction):g}"
        return reason("cover-not-confirmed", contact=self._label(contact), seconds=seconds)

    def _travel(self, direction: int) -> float:
        """Return the seconds from the other end to that in a direction."""
        return self.config.travel.up if direction == UP else self.config.travel.down

    def _longest(self, direction: int) -> float:
        """Return the seconds after which a motion in a direction is over."""
        return (1 + OVER_RUN) * self._travel(direction)

    def _contact_of(self, direction: int) -> str | None:
        """Return the contact at the end in a direction."""
        return self.config.opened if direction == UP else self.config.closed

    def _failed_output(self) -> Reason | None:
        """Return the problem that an output is unavailable, or None."""
        for name in self.config.outputs:
            if not isinstance(self._board[name].device, Output):
                return reason("cover-output-unavailable", output=self._label(name))
        return None

    def _as_problem(self, error: RequestError) -> Reason:
        """Return the problem for a goal that failed later.

        All viewers read it, so it does not have the kernel's words.
        """
        failed = self._failed_output() if error.code == "unavailable" else None
        return failed or Reason(error.reason, error.message, error.values)

    def _release(self, by: str) -> None:
        """Let all outputs go off. One that is unavailable comes back off."""
        for output in self.config.outputs:
            with contextlib.suppress(RequestError):
                self._board.carry_out(Auto(pin=output), by, is_of_cover=True)

    def _set_state(self, state: CoverState) -> None:
        if state != self.state:
            self.state = state
            self.since = self._loop.time() if self._reported is not None else None

    @contextlib.contextmanager
    def _reporting(self, by: str | None) -> Iterator[None]:
        """Report at the end of the block what has changed in it, if anything has.

        A block within another one reports nothing: pins change while a command is carried out.
        """
        is_outer, self._is_reporting = not self._is_reporting, True
        try:
            yield
        finally:
            if is_outer:
                self._is_reporting = False
                now = (self.state, self.position, self.goal, self.problem)
                before, self._reported = self._reported, now
                if before is not None and now != before and not self._is_closed:
                    self._log(by)
                    self._environment.when_changed(self, by)

    def _log(self, by: str | None) -> None:
        """Log another state, and a new problem."""
        state, problem = self._logged
        self._logged = self.state, self.problem
        if self.state != state:
            log.info("%s: %s%s", self.config, self.state, f", by {by}" if by else "")
        if self.problem and self.problem != problem:
            log.warning("%s: %s", self.config, self.problem)


def goal_direction(goal: CoverGoal | None) -> int:
    """Return the direction of a goal that is an end, else 0."""
    return UP if goal == "open" else DOWN if goal == "close" else 0
