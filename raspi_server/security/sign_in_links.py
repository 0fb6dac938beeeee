"""Links that sign one phone in, once: the token in each, kept as a hash until it is exchanged."""

import hashlib
import logging
import secrets
import time
from pathlib import Path

import msgspec
from msgspec import Struct

from ..system import storage

LIFE = 15 * 60.0
"""Seconds for which a link is good."""
MOST = 32
"""Links that are good at once: the oldest go first."""
_LARGEST_FILE = 64 * 1024
_PATIENCE = 5.0
_PATIENCE_OF_LOOP = 0.2
"""Seconds to wait for another process that changes the file; a command holds it some ms."""

log = logging.getLogger(__name__)


class _Link(Struct, frozen=True):
    """`hash` is that of the token, `code` the id of the code it stands for, `until` a moment of
    CLOCK_BOOTTIME, which no setting of the clock moves."""

    hash: str
    code: str
    until: float


class Links:
    """The links in `folder`, which a restart of the machine empties; none where it is None. The
    command `raspi-server code` makes them, the server takes them."""

    def __init__(self, folder: Path | None) -> None:
        self._file = folder / "links.json" if folder else None
        self._said = ""

    def make(self, code: str) -> str:
        """Make the token of a new link for the code with this id. Raises OSError."""
        assert self._file is not None, "there is nowhere to keep it"
        token = secrets.token_urlsafe(16)
        now = _now()
        with storage.locked(self._file.parent, _PATIENCE):
            links = [*self._read(self._file, now), _Link(_hash(token), code, now + LIFE)]
            self._write(self._file, links[-MOST:])
        return token

    def take(self, token: str) -> str | None:
        """Return the id of the code that a token stands for, for this one time; else None. Raises
        OSError where that cannot be written, and so is not done."""
        if self._file is None:
            return None
        wanted = _hash(token)
        if not any(each.hash == wanted for each in self._read(self._file, _now())):
            return None  # and nobody makes us wait for a lock who has no token
        with storage.locked(self._file.parent, _PATIENCE_OF_LOOP):
            links = self._read(self._file, _now())
            found = next((each.code for each in links if each.hash == wanted), None)
            if found:
                self._write(self._file, [each for each in links if each.hash != wanted])
        return found

    def _read(self, file: Path, now: float) -> list[_Link]:
        """Return the links that are still good."""
        try:
            links = msgspec.json.decode(storage.read(file, _LARGEST_FILE), type=list[_Link])
        except FileNotFoundError:
            return []
        except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
            if str(error) != self._said:  # once, since anybody may ask
                self._said = str(error)
                log.error("%s: %s; a new link mends it: sudo raspi-server code --qr", file, error)
            return []
        return [each for each in links if 0 < each.until - now <= LIFE]

    def _write(self, file: Path, links: list[_Link]) -> None:
        storage.replace(file, msgspec.json.encode(links), lasting=False, secret=True)


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _now() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)
