"""A house with rules on the board with simulated lines, and a clock that jumps."""

import asyncio
from pathlib import Path
from typing import Any
from unittest import mock

from raspi_server.automation.rule_engine import RuleEngine
from raspi_server.automation.rule_memory import RuleMemory
from raspi_server.config import parser
from raspi_server.config.schema import OnlyConfig
from raspi_server.gpio.backend import SimulatedFactory
from raspi_server.gpio.board import Board
from raspi_server.gpio.output_state import OutputStateStore
from raspi_server.gpio.pin import PinChange
from raspi_server.messages import Auto, Drive, Set, Value
from tests.support.board import JumpingLoop


class WiredHouse:
    """Pins and rules from YAML, in a folder that holds what outlasts a restart.

    `changes` has all changes; `windows` the `from` of each window of `only` that is open.
    """

    def __init__(self, text: str, folder: Path) -> None:
        self.loop = JumpingLoop()
        self.errors: list[Any] = []
        self.loop.set_exception_handler(lambda _, context: self.errors.append(context))
        self.folder = folder
        self.windows: set[str] = set()
        self._read(text)
        self.start()

    def _read(self, text: str) -> None:
        self.config = parser.parse(text.encode(), "config.yaml", Path("/nowhere"))
        self.gpios = {pin.name: pin.gpio for pin in self.config.pins}

    def start(self, on: tuple[str, ...] = (), boot: str = "one") -> None:
        """Start the server, with these inputs on."""
        self.changes: list[PinChange] = []
        factory = SimulatedFactory()
        for pin in on:
            factory.pin(self.gpios[pin]).drive_high()
        memory = RuleMemory(self.folder, boot)
        self.engine = RuleEngine(self.loop, memory, self._window, wall=self.loop.time)
        self.board = Board(
            self.config.pins,
            factory,
            OutputStateStore(self.folder, self.folder),
            self.loop,
            self._changed,
            self.engine.synchronize,
            claim_first=self._claim_first,
        )
        self.factory = factory
        self.engine.synchronize()

    def _claim_first(self, board: Board) -> None:
        self.engine.configure(board, self.config.rules)

    def _changed(self, change: PinChange) -> None:
        self.changes.append(change)
        self.engine.changed(change)

    def _window(self, only: OnlyConfig) -> Any:
        return mock.Mock(contains=lambda now: str(only.begin) in self.windows)

    def reload(self, text: str) -> None:
        self._read(text)
        self.board.reconfigure(self.config.pins)
        self.engine.synchronize()

    def stop(self) -> None:
        self.engine.close()
        self.board.close()

    def kill(self) -> None:
        """End the server without a last word: its files stay as they were."""
        kept = {file: file.read_bytes() for file in self.folder.iterdir()}
        with mock.patch.object(RuleMemory, "write"):
            self.stop()
        for file in self.folder.iterdir():
            file.unlink()
        for file, content in kept.items():
            file.write_bytes(content)

    def close(self) -> None:
        self.stop()
        self.loop.close()
        assert self.errors == []

    def __getitem__(self, pin: str) -> Value:
        """Return the value of a pin."""
        return self.board[pin].value

    def turn(self, pin: str, value: float) -> None:
        """Make an input active or inactive, a millisecond after what was before."""
        self.wait(0.001)
        self.board.carry_out(Drive(pin=pin, value=value), "me")
        self.wait(0)

    def press(self, pin: str, seconds: float = 0.1) -> None:
        self.turn(pin, 1)
        self.wait(seconds)
        self.turn(pin, 0)
        self.wait(0.05)

    def switch(self, pin: str, value: float) -> None:
        """Switch an output by hand."""
        self.wait(0.001)
        self.board.carry_out(Set(pin=pin, value=value), "me")
        self.wait(0)

    def automatic(self, pin: str) -> None:
        self.board.carry_out(Auto(pin=pin), "me")
        self.wait(0)

    def lose(self, pin: str) -> None:
        """Let the line of a pin fail."""
        self.board[pin]._fail(OSError("I/O error"))
        self.wait(0)

    def find(self, pin: str) -> None:
        """Let the line work again."""
        self.board.reopen_failed()
        self.wait(0)
        assert self[pin] is not None

    def open(self, window: str) -> None:
        self.windows.add(window)
        self.engine.reconsider()

    def shut(self, window: str) -> None:
        self.windows.discard(window)
        self.engine.reconsider()

    def wait(self, seconds: float) -> None:
        self.loop.run_until_complete(asyncio.sleep(seconds))
        for _ in range(3):
            self.loop.run_until_complete(asyncio.sleep(0))
