"""A house with rules: the rule engine on a board of plain values and a clock that jumps."""

import asyncio
from pathlib import Path
from typing import Any

from raspi_server.automation.rule_engine import RuleEngine
from raspi_server.automation.rule_memory import RuleMemory
from raspi_server.config import parser
from raspi_server.config.schema import OnlyConfig
from tests.support.board import JumpingLoop
from tests.support.claims import ClaimedBoard


class House:
    """Pins and rules from YAML. `windows` has the windows of `only` that are open."""

    def __init__(
        self, text: str, folder: Path | None = None, boot: str = "one", at: float = 1000.0
    ) -> None:
        self.loop = JumpingLoop(at)
        self.errors: list[Any] = []
        self.loop.set_exception_handler(lambda _, context: self.errors.append(context))
        self.windows: set[str] = set()
        self.folder = folder
        self.use(text)
        self.boot = boot
        self.board: Any = None
        self.start(boot)

    def use(self, text: str) -> None:
        self.config = parser.parse(text.encode(), "config.yaml", Path("/nowhere"))
        self.configs = {pin.name: pin for pin in self.config.pins}

    def start(self, boot: str = "one", **values: float) -> None:
        """Start the server: inputs have these values, outputs are closed at first."""
        before, self.board = self.board, ClaimedBoard(self.loop, self.configs)
        if before and boot == self.boot:
            self.board.resume(before)
        self.boot = boot
        for pin, value in values.items():
            self.board[pin].value = value
        memory = RuleMemory(self.folder, boot)
        self.engine = RuleEngine(self.loop, memory, self._window, wall=self.loop.time)
        self.board.changed = self.engine.changed
        outputs = [name for name, pin in self.board.pins.items() if pin.is_output]
        for name in outputs:
            self.board[name].value = None
        self.board.is_opening = True
        self.engine.configure(self.board, self.config.rules)
        self.board.is_opening = False
        for name in outputs:
            self.board.open(name)
        self.engine.synchronize()
        self.settle()

    def reload(self, text: str) -> None:
        self.use(text)
        self.engine.configure(self.board, self.config.rules)
        self.engine.synchronize()
        self.settle()

    def stop(self, kill: bool = False) -> None:
        """Stop the server, or kill it."""
        write = self.engine._memory.write
        if kill:
            self.engine._memory.write = lambda *_: None  # type: ignore[method-assign]
        self.engine.close()
        self.engine._memory.write = write  # type: ignore[method-assign]
        self.board.changed = lambda change: None

    def open(self, window: str, is_open: bool = True) -> None:
        """Open or close the window whose `from` is this."""
        (self.windows.add if is_open else self.windows.discard)(window)
        self.engine.reconsider()
        self.settle()

    def _window(self, only: OnlyConfig) -> Any:
        house = self

        class Window:
            def contains(self, now: float) -> bool:
                return str(only.begin) in house.windows

            def stays_open(self, now: float, until: float) -> bool:
                return True

        return Window()

    def drive(self, pin: str, value: float) -> None:
        self.board.drive(pin, value)
        self.settle()

    def lose(self, pin: str) -> None:
        self.board[pin].value = None
        self.engine.synchronize()
        self.settle()

    def find(self, pin: str, value: float) -> int:
        """Make a pin available again, an input with this value; the engine does not know yet.
        Return 1 if it is on."""
        self.board[pin].value = value
        if self.board[pin].is_output:
            self.board.open(pin)
        return int((self[pin] or 0) > 0)

    def wait(self, seconds: float) -> None:
        self.loop.run_until_complete(asyncio.sleep(seconds))
        self.settle()

    def settle(self) -> None:
        for _ in range(4):
            self.loop.run_until_complete(asyncio.sleep(0))

    def close(self) -> None:
        self.stop()
        self.loop.close()
        assert self.errors == []

    def __getitem__(self, pin: str) -> float | None:
        return self.board[pin].value
