"""The covers of a configuration, by name. Imported only if config.yaml has covers."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from ..config.schema import Config, CoverConfig, InputConfig, PinConfig
from ..decoding import shorten
from ..errors import refusal
from ..messages import CoverCommand
from .board import Board
from .cover import Cover, CoverEnvironment
from .cover_memory import CoverMemory
from .one_button import OneButton
from .pin import PinChange
from .simulated_drive import SimulatedDrive
from .two_outputs import TwoOutputs

_KEYS_OFF_THE_DRIVE = {
    *("label", "room", "icon", "words", "hidden", "confirm", "control", "unattended")
}
"""Keys of covers and their pins that do not affect the drive."""


class Covers:
    """The covers, in the order of the configuration.

    `when_changed(cover, by)` is called after each change of a cover, while it moves at most four
    times a second. All methods run on the loop's thread.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        memory: CoverMemory,
        when_changed: Callable[[Cover, str | None], None],
        has_drives: bool = True,
    ) -> None:
        """Begin without covers: `apply` makes them.

        On simulated pins drives move the contacts, unless `has_drives` is false.
        """
        self._loop = loop
        self._memory = memory
        self._when_changed = when_changed
        self._has_drives = has_drives
        self._board: Board | None = None
        self._covers: dict[str, Cover] = {}
        self._drives: dict[str, SimulatedDrive] = {}
        self._keys: dict[str, Any] = {}
        self._by_pin: dict[str, Cover] = {}

    def __iter__(self) -> Iterator[Cover]:
        """Iterate over the covers in the order of the configuration."""
        return iter(tuple(self._covers.values()))

    def __len__(self) -> int:
        """Return the number of covers."""
        return len(self._covers)

    def __getitem__(self, name: str) -> Cover:
        """Return one cover. Raises RequestError for an unknown name."""
        try:
            return self._covers[name]
        except KeyError:
            raise refusal("unknown-cover", name=shorten(name)) from None

    def carry_out(self, command: CoverCommand, by: str) -> Cover:
        """Carry out a command of the caller `by`; return its cover. Raises RequestError."""
        cover = self[command.cover]
        cover.carry_out(command, by)
        return cover

    def changed(self, change: PinChange) -> None:
        """Follow a change of a pin."""
        cover = self._by_pin.get(change.pin)
        if cover:
            cover.changed(change)
            if drive := self._drives.get(cover.name):
                drive.changed(change)

    def synchronize(self) -> None:
        """Follow pins that became unavailable, or available again."""
        for cover in self:
            cover.synchronize()

    def prepare(self, config: Config) -> None:
        """Stop the covers that another configuration changes or has not, before their pins go."""
        wanted = _by_keys(config)
        for name, keys in list(self._keys.items()):
            if wanted.get(name) != keys:
                self._remove(name)

    def apply(self, config: Config, board: Board) -> None:
        """Change to another configuration. A cover whose drive is the same is not touched."""
        if board is not self._board:
            self.close()
            self._board = board
        self.prepare(config)
        board.cover_of = {output: cover for cover in config.covers for output in cover.outputs}
        environment = CoverEnvironment(board, self._loop, self._memory, self._when_changed)
        covers: dict[str, Cover] = {}
        for cover in config.covers:
            if cover.name in self._covers:
                covers[cover.name] = self._covers[cover.name]
                covers[cover.name].adopt(cover)
                covers[cover.name].synchronize()
                continue
            if board.simulated and self._has_drives:
                self._drives[cover.name] = SimulatedDrive(cover, board, self._loop)
            covers[cover.name] = (OneButton if cover.button else TwoOutputs)(cover, environment)
        self._covers, self._keys = covers, _by_keys(config)
        self._by_pin = {pin: each for each in self for pin in each.config.pins}
        self._memory.keep_only([cover.key for cover in self], self._loop)

    def close(self) -> None:
        """Stop all covers, and keep their positions."""
        for name in list(self._covers):
            self._remove(name)
        self._memory.flush()

    def _remove(self, name: str) -> None:
        self._covers.pop(name).close()
        del self._keys[name]
        self._by_pin = {pin: each for each in self for pin in each.config.pins}
        if drive := self._drives.pop(name, None):
            drive.close()


def _by_keys(config: Config) -> dict[str, Any]:
    """Return the keys of each cover that affect its drive, with those of its pins."""
    pins = {pin.name: pin for pin in config.pins}
    return {
        cover.name: (_keys(cover), *(_keys(pins[name]) for name in cover.pins))
        for cover in config.covers
    }


def _keys(config: CoverConfig | PinConfig) -> Any:
    keys = msgspec.structs.asdict(config)
    if not isinstance(config, InputConfig):
        del keys["kind"]  # that of an input says which of its values means closed
    return {key: value for key, value in keys.items() if key not in _KEYS_OFF_THE_DRIVE}
