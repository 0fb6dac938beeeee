"""A board on simulated pins and a clock that jumps: hours pass in an instant, in order."""

import asyncio
import selectors
from pathlib import Path
from typing import Any

from raspi_server.config import parser, schema
from raspi_server.gpio.backend import SimulatedFactory
from raspi_server.gpio.board import Board
from raspi_server.gpio.output_state import OutputStateStore
from raspi_server.gpio.pin import PinChange
from raspi_server.messages import Drive, Pulse, Set, Toggle, Value


class _JumpingSelector(selectors.DefaultSelector):
    """A selector that moves the clock to the next timer instead of waiting for it."""

    def __init__(self, now: float) -> None:
        super().__init__()
        self.now = now

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0)
        if not ready and timeout:
            self.now += timeout
        return ready


class JumpingLoop(asyncio.SelectorEventLoop):
    def __init__(self, at: float = 1000.0) -> None:
        self._clock = _JumpingSelector(at)
        super().__init__(self._clock)

    def time(self) -> float:
        return self._clock.now


def parse(pins: str) -> schema.Config:
    """Return a configuration from the YAML text of its pins."""
    return parser.parse(b"pins:\n" + pins.encode(), "test", Path("/nowhere"))


class Rig:
    """A board with its loop. `changes` are all changes reported; `remade` counts how often a pin
    was lost or came back."""

    def __init__(
        self,
        pins: str,
        states: OutputStateStore | None = None,
        factory: SimulatedFactory | None = None,
        at: float = 1000.0,
    ) -> None:
        self.loop = JumpingLoop(at)
        self.changes: list[PinChange] = []
        self.remade = 0
        self.factory = factory or SimulatedFactory()
        self.states = states or OutputStateStore(None, None)
        self.board = Board(
            parse(pins).pins,
            self.factory,
            self.states,
            self.loop,
            self.changes.append,
            self._count_remade,
        )

    def _count_remade(self) -> None:
        self.remade += 1

    def line(self, gpio: int) -> Any:
        """Return the simulated line of a GPIO."""
        return self.factory.pin(gpio)

    def levels_of(self, gpio: int) -> list[float]:
        """Return all levels the line has had since it was made, the first included."""
        return [state.state for state in self.line(gpio).states]

    def wait(self, seconds: float) -> None:
        """Let time pass, and all timers in it run."""
        self.loop.run_until_complete(asyncio.sleep(seconds))

    def settle(self) -> None:
        """Run what was posted to the loop, in no time."""
        for _ in range(3):
            self.loop.run_until_complete(asyncio.sleep(0))

    def told(self) -> list[tuple[str, Value, str | None]]:
        """Return the changes since the last call: pin, value, caller."""
        found = [(change.pin, change.value, change.by) for change in self.changes]
        self.changes.clear()
        return found

    def set(self, pin: str, value: float, by: str = "me") -> "asyncio.Future[Value]":
        return self.board.carry_out(Set(pin=pin, value=value), by)

    def toggle(self, pin: str, by: str = "me") -> "asyncio.Future[Value]":
        return self.board.carry_out(Toggle(pin=pin), by)

    def pulse(self, pin: str, seconds: float | None = None) -> "asyncio.Future[Value]":
        return self.board.carry_out(Pulse(pin=pin, seconds=seconds), "me")

    def drive(self, pin: str, value: float) -> "asyncio.Future[Value]":
        return self.board.carry_out(Drive(pin=pin, value=value), "me")
