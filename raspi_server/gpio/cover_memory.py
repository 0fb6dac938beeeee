"""Memory of covers over a restart and a power cut.

A file in /run is for a restart of the service, a file in /var/lib for a power cut. While a drive
with two outputs moves, both say that its position is not known.
"""

import asyncio
import logging
import threading
from collections.abc import Iterable
from pathlib import Path

import msgspec
from msgspec import Struct

from ..system import storage
from ..system.clock import boot_id
from ..system.logs import LIMITED

_FILE_NAME = "covers.json"
_MAX_FILE_BYTES = 64 * 1024

log = logging.getLogger(__name__)


class Kept(Struct, frozen=True, omit_defaults=True):
    """What is kept of one cover.

    `position` is that of a drive with two outputs. The rest is about one button, and counts until
    the next boot only: the `end` that a contact confirmed (1 open, -1 closed, 0 none), the moment
    `moves_until` up to which the drive may move, and the direction of its `last` motion, 0 if that
    is not known.
    """

    position: float | None = None
    end: int = 0
    moves_until: float = 0
    last: int = 0


class _File(Struct):
    boot: str = ""
    covers: dict[str, Kept] = {}


class CoverMemory:
    """What is kept of covers, by the lines of their outputs. `run` and `state` are folders or None.

    A change is written to `run` at once, so that a crash in the next moment does not matter. A
    change of a position is written to `state`, too, in a thread.
    """

    def __init__(self, run: Path | None, state: Path | None) -> None:
        self._run = run / _FILE_NAME if run else None
        self._state = state / _FILE_NAME if state else None
        self._boot = boot_id()
        before = _read(self._run)
        if before.boot and before.boot == self._boot:
            self._covers = before.covers
        else:
            kept = _read(self._state).covers
            self._covers = {key: Kept(each.position) for key, each in kept.items()}
        self._number = self._written = 0
        self._writing = threading.Lock()

    @classmethod
    def from_environment(cls) -> "CoverMemory":
        """Return the memory in systemd's folders. Without systemd nothing is kept."""
        return cls(storage.run_folder(), storage.state_folder())

    def __getitem__(self, key: str) -> Kept:
        """Return what is kept of a cover."""
        return self._covers.get(key, Kept())

    def remember(self, key: str, kept: Kept, loop: asyncio.AbstractEventLoop) -> None:
        """Keep something of a cover."""
        before = self[key]
        if kept == before:
            return
        self._covers[key] = kept
        self._write(loop, durable=kept.position != before.position)

    def keep_only(self, keys: Iterable[str], loop: asyncio.AbstractEventLoop) -> None:
        """Forget all other covers: what moves them from now on is not known here."""
        gone = self._covers.keys() - set(keys)
        if gone:
            self._covers = {key: kept for key, kept in self._covers.items() if key not in gone}
            self._write(loop, durable=True)

    def flush(self) -> None:
        """Wait until all positions are on the disk."""
        self._save(self._number, self._content())

    def _write(self, loop: asyncio.AbstractEventLoop, durable: bool) -> None:
        content = self._content()
        _write(self._run, content, durable=False)
        if durable:
            self._number += 1
            if self._state:
                loop.run_in_executor(None, self._save, self._number, content)

    def _content(self) -> bytes:
        return msgspec.json.encode(_File(self._boot, self._covers))

    def _save(self, number: int, content: bytes) -> None:
        with self._writing:
            if number > self._written and _write(self._state, content, durable=True):
                self._written = number


def _read(file: Path | None) -> _File:
    """Return what a file has, nothing if it is missing or damaged."""
    if file is None:
        return _File()
    try:
        return msgspec.json.decode(storage.read(file, _MAX_FILE_BYTES), type=_File)
    except FileNotFoundError:
        return _File()
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        log.warning("%s: %s; the positions of covers are not known", file, error)
        return _File()


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
