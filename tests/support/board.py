"""A board on simulated pins, with a clock that jumps: hours pass at once, timers run in order."""

import asyncio
import selectors
from collections.abc import Callable
from pathlib import Path
from typing import Any

from raspi_server.config import parser, schema
from raspi_server.gpio.backend import SimulatedFactory
from raspi_server.gpio.board import Board
from raspi_server.gpio.cover import Cover
from raspi_server.gpio.cover_memory import CoverMemory
from raspi_server.gpio.covers import Covers
from raspi_server.gpio.output_state import OutputStateStore
from raspi_server.gpio.pin import Decision, PinChange
from raspi_server.messages import Command, Pulse, Set, Toggle, Value


class _JumpingSelector(selectors.DefaultSelector):
    """A selector that moves the clock to the next timer instead of waiting for it."""

    def __init__(self, now: float) -> None:
        super().__init__()
        self.now = now

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0)
        self.now += 0 if ready else timeout or 0
        return ready


class JumpingLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock jumps to the next timer."""

    def __init__(self, at: float = 1000.0) -> None:
        self._clock = _JumpingSelector(at)
        super().__init__(self._clock)

    def time(self) -> float:
        return self._clock.now


def parse(pins: str, covers: str = "") -> schema.Config:
    """Return a configuration from the YAML text of its pins, and of its covers."""
    text = f"pins:\n{pins}\n" + (f"covers:\n{covers}\n" if covers else "")
    return parser.parse(text.encode(), "test", Path("/nowhere"))


class SimulatedBoard:
    """A board with its loop: its `changes`, `availability_changes` and `errors` for the log."""

    def __init__(
        self,
        pins: str,
        states: OutputStateStore | None = None,
        factory: SimulatedFactory | None = None,
        at: float = 1000.0,
        claim_first: Callable[[Board], None] = lambda board: None,
        covers: str = "",
        memory: CoverMemory | None = None,
    ) -> None:
        """Open a board from the YAML text of its pins, at the loop's time `at` in seconds.
        `claim_first` claims for it what schedules and rules give. `covers` is the YAML text of
        covers, which remember in `memory`."""
        self.loop = JumpingLoop(at)
        self.errors: list[dict[str, Any]] = []
        self.loop.set_exception_handler(lambda _, context: self.errors.append(context))
        self.changes: list[PinChange] = []
        self.decisions: list[tuple[str, Decision]] = []
        self.availability_changes = 0
        self.factory = factory or SimulatedFactory()
        self.states = states or OutputStateStore(None, None)
        config = parse(pins, covers)
        self.listeners: list[Callable[[PinChange], None]] = []
        self.moves: list[tuple[str, str, int | None, str | None]] = []
        self.covers = Covers(self.loop, memory or CoverMemory(None, None), self._moved, False)
        self.board = Board(
            config.pins,
            self.factory,
            self.states,
            self.loop,
            self._changed,
            self._count,
            when_decided=lambda *decision: self.decisions.append(decision),
            claim_first=claim_first,
        )
        self.covers.apply(config, self.board)

    def _changed(self, change: PinChange) -> None:
        self.changes.append(change)
        self.covers.changed(change)
        for listener in self.listeners:
            listener(change)

    def _moved(self, cover: Cover, by: str | None) -> None:
        self.moves.append((cover.name, cover.state, cover.position, by))

    def new_moves(self) -> list[tuple[str, int | None, str | None]]:
        """Return the reports of the only cover since the last call: state, position, caller."""
        found = [move[1:] for move in self.moves]
        self.moves.clear()
        return found

    def _count(self) -> None:
        self.availability_changes += 1
        self.covers.synchronize()

    def close(self) -> None:
        """Close the board and its loop; nothing may have been logged."""
        self.covers.close()
        self.board.close()
        self.loop.close()
        assert self.errors == []

    def crash(self) -> None:
        """Leave all as it is, and run no timer any more. What is written to the disk gets there."""
        executor = self.loop._default_executor  # type: ignore[attr-defined]
        if executor:
            executor.shutdown(wait=True)
        self.loop.close()

    def line(self, gpio: int) -> Any:
        """Return the simulated line of a GPIO."""
        return self.factory.pin(gpio)

    def levels_of(self, gpio: int) -> list[float]:
        """Return all levels that a line has had, its first one included."""
        return [state.state for state in self.line(gpio).states]

    def wait(self, seconds: float) -> None:
        """Move the clock, and run all timers until then."""
        self.loop.run_until_complete(asyncio.sleep(seconds))

    def settle(self) -> None:
        """Run what was posted to the loop, without moving the clock."""
        for _ in range(3):
            self.loop.run_until_complete(asyncio.sleep(0))

    def new_changes(self) -> list[tuple[str, Value, str | None]]:
        """Return the changes since the last call: pin, value, caller."""
        found = [(change.pin, change.value, change.by) for change in self.changes]
        self.changes.clear()
        return found

    def reconfigure(self, pins: str, covers: str = "") -> None:
        """Change to another configuration, from the YAML text of its pins, and of its covers."""
        config = parse(pins, covers)
        self.covers.prepare(config)
        self.board.reconfigure(config.pins)
        self.covers.apply(config, self.board)

    def value(self, pin: str) -> Value:
        return self.board[pin].value

    def carry_out(self, command: Command, by: str = "me") -> "asyncio.Future[Value]":
        return self.board.carry_out(command, by)

    def set(self, pin: str, value: float) -> "asyncio.Future[Value]":
        return self.carry_out(Set(pin=pin, value=value))

    def toggle(self, pin: str) -> "asyncio.Future[Value]":
        return self.carry_out(Toggle(pin=pin))

    def pulse(self, pin: str, seconds: float | None = None) -> "asyncio.Future[Value]":
        return self.carry_out(Pulse(pin=pin, seconds=seconds))
