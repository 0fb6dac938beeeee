"""Memory of the positions of covers, over a restart and a power cut.

A file in /run is for a restart of the service, a file in /var/lib for a power cut. While a drive
moves, both have no position for it.
"""

import asyncio
import logging
import threading
from pathlib import Path

import msgspec
from msgspec import Struct

from ..system import storage
from ..system.clock import boot_id
from ..system.logs import LIMITED

_FILE_NAME = "covers.json"
_MAX_FILE_BYTES = 64 * 1024

log = logging.getLogger(__name__)


class _File(Struct):
    boot: str = ""
    positions: dict[str, float | None] = {}


class CoverMemory:
    """The positions of covers by the lines of their outputs. `run` and `state` are folders or None.

    A change is written to `run` at once, and to `state` in a thread, one after the other.
    """

    def __init__(self, run: Path | None, state: Path | None) -> None:
        self._run = run / _FILE_NAME if run else None
        self._state = state / _FILE_NAME if state else None
        self._boot = boot_id()
        before = _read(self._run)
        if self._run is None or before.boot != self._boot:
            before = _read(self._state)
        self._positions = before.positions
        self._number = self._written = 0
        self._writing = threading.Lock()

    @classmethod
    def from_environment(cls) -> "CoverMemory":
        """Return the memory in systemd's folders. Without systemd nothing is kept."""
        return cls(storage.run_folder(), storage.state_folder())

    def position(self, key: str) -> float | None:
        """Return the last position, None if it is not known."""
        return self._positions.get(key)

    def remember(self, key: str, position: float | None, loop: asyncio.AbstractEventLoop) -> None:
        """Keep a position, None while the drive moves."""
        if key in self._positions and self._positions[key] == position:
            return
        self._positions[key] = position
        self._number += 1
        content = msgspec.json.encode(_File(self._boot, self._positions))
        _write(self._run, content, durable=False)
        if self._state:
            loop.run_in_executor(None, self._save, self._number, content)

    def flush(self) -> None:
        """Wait until all is on the disk."""
        self._save(self._number, msgspec.json.encode(_File(self._boot, self._positions)))

    def _save(self, number: int, content: bytes) -> None:
        with self._writing:
            if number > self._written and _write(self._state, content, durable=True):
                self._written = number


def _read(file: Path | None) -> _File:
    """Return what a file has, nothing if it is missing or damaged."""
    if file is None:
        return _File()
    try:
        found = msgspec.json.decode(storage.read(file, _MAX_FILE_BYTES), type=_File)
    except FileNotFoundError:
        return _File()
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        log.warning("%s: %s; the positions of covers are not known", file, error)
        return _File()
    return found


def _write(file: Path | None, content: bytes, durable: bool) -> bool:
    """Write a file. If that fails, log the reason and return False."""
    try:
        if file:
            storage.replace(file, content, durable)
        return True
    except OSError as error:
        words = "%s: %s; the positions of covers were not saved"
        log.warning(words, file, error.strerror, extra=LIMITED)
        return False
