"""Sign-in links: each signs one phone in, once.

The token of a link is stored as a hash until it is exchanged for a session."""

import hashlib
import logging
import secrets
import time
from pathlib import Path

import msgspec
from msgspec import Struct

from ..limits import DEFAULT, Limits
from ..system import storage

_MAX_FILE_BYTES = 64 * 1024

log = logging.getLogger(__name__)


class _Link(Struct, frozen=True):
    """A link.

    `hash` is that of the token, `code` the id of the code that it was made for, `until` a time of
    CLOCK_BOOTTIME in seconds. Setting the clock does not change that."""

    hash: str
    code: str
    until: float


class Links:
    """The links in `folder`, which a restart of the machine empties, or no links if it is None.

    The command `raspi-server code` makes them, the server takes them."""

    def __init__(self, folder: Path | None, limits: Limits = DEFAULT) -> None:
        self._limits = limits
        self._file = folder / "links.json" if folder else None
        self._last_error = ""

    def make(self, code: str) -> str:
        """Return the token of a new link for the code with this id.

        Raise OSError if it cannot be stored."""
        assert self._file is not None, "there is nowhere to store it"
        limits = self._limits
        token = secrets.token_urlsafe(16)
        now = _now()
        new = _Link(_hash(token), code, now + limits.link_lifetime_s)
        with storage.locked(self._file.parent, limits.file_lock_timeout_s):
            links = [*self._read(self._file, now), new]
            self._write(self._file, links[-limits.max_links :])
        return token

    def take(self, token: str) -> str | None:
        """Use a token up, and return the id of the code that it was made for.

        Return None for an unknown token. Raise OSError, and do not use the token up, if that cannot
        be written."""
        if self._file is None:
            return None
        wanted = _hash(token)
        if not any(each.hash == wanted for each in self._read(self._file, _now())):
            return None  # a client without a token must not make us wait for the lock
        with storage.locked(self._file.parent, self._limits.loop_file_lock_timeout_s):
            links = self._read(self._file, _now())
            found = next((each.code for each in links if each.hash == wanted), None)
            if found:
                self._write(self._file, [each for each in links if each.hash != wanted])
        return found

    def _read(self, file: Path, now: float) -> list[_Link]:
        """Return the links that are still valid."""
        try:
            links = msgspec.json.decode(storage.read(file, _MAX_FILE_BYTES), type=list[_Link])
        except FileNotFoundError:
            return []
        except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
            if str(error) != self._last_error:  # once, since any client can cause it
                self._last_error = str(error)
                log.error("%s: %s; a new link mends it: sudo raspi-server code --qr", file, error)
            return []
        return [each for each in links if 0 < each.until - now <= self._limits.link_lifetime_s]

    def _write(self, file: Path, links: list[_Link]) -> None:
        storage.replace(file, msgspec.json.encode(links), durable=False, secret=True)


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _now() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)
