"""Sessions of browsers that presented an access code.

A cookie is a random id. Only its hash is stored, with the id of the code, until the browser signs
out."""

import asyncio
import hashlib
import logging
import secrets
import threading
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
from msgspec import Struct

from ..limits import DEFAULT, Limits
from ..system import storage
from ..system.logs import LIMITED

_MAX_FILE_BYTES = 256 * 1024
_DAY_S = 86400

log = logging.getLogger(__name__)


class Session(Struct, frozen=True):
    """A session.

    `key` is the hash of the cookie, `code` the id of the code that was presented, `scheme` the one
    over which the cookie was set, `used` the Unix time of the last use, exact to a day."""

    key: str
    code: str
    scheme: str
    used: int


class Sessions:
    """The sessions in `folder`, or in memory only if that is None.

    All methods belong to the loop's thread."""

    def __init__(self, folder: Path | None, limits: Limits = DEFAULT) -> None:
        self._max_per_code = limits.max_sessions_per_code
        self._file = folder / "sessions.json" if folder else None
        self._sessions = {each.key: each for each in _read(self._file)}
        """Sessions by key, the least recently used first."""
        self._day = max((each.used // _DAY_S for each in self._sessions.values()), default=0)
        """The day on which uses were last written."""
        self._number = self._written = 0
        self._writing = threading.Lock()

    def code(self, key: str) -> str | None:
        """Return the id of the code of a session, or None once the session has ended."""
        session = self._sessions.get(key)
        return session.code if session else None

    def find(self, cookie: str, scheme: str) -> str | None:
        """Return the key of the session of a cookie that was set over this scheme, or None."""
        key = _key(cookie)
        session = self._sessions.get(key)
        if session is None or session.scheme != scheme:
            return None
        del self._sessions[key]
        self._sessions[key] = msgspec.structs.replace(session, used=int(time.time()))
        if self._day != self._sessions[key].used // _DAY_S:
            self.save()
        return key

    def begin(self, code: str, scheme: str) -> tuple[str, str]:
        """Begin a session; return its cookie and its key. Call `save` afterwards."""
        cookie = secrets.token_urlsafe(32)
        key = _key(cookie)
        same = [each.key for each in self._sessions.values() if each.code == code]
        if len(same) >= self._max_per_code:
            del self._sessions[same[0]]
        self._sessions[key] = Session(key, code, scheme, int(time.time()))
        return cookie, key

    def end(self, key: str) -> None:
        """End a session, if there is one. Call `save` afterwards."""
        self._sessions.pop(key, None)

    def keep(self, is_good: Callable[[Session], bool]) -> None:
        """End all sessions except those that `is_good` accepts."""
        kept = {key: each for key, each in self._sessions.items() if is_good(each)}
        if len(kept) != len(self._sessions):
            self._sessions = kept
            self.save()

    def save(self) -> asyncio.Future[None]:
        """Write the sessions as they are now, off the loop.

        Return a future that is done when a power cut cannot undo it, or when the failure is
        logged."""
        self._day = int(time.time()) // _DAY_S
        self._number += 1
        data = msgspec.json.encode(list(self._sessions.values()))
        loop = asyncio.get_running_loop()
        return loop.run_in_executor(None, self._write, self._number, data)

    def _write(self, number: int, data: bytes) -> None:
        if self._file is None:
            return
        with self._writing:
            if number < self._written:
                return  # a later state is written already
            self._written = number
            try:
                storage.replace(self._file, data, durable=True, secret=True)
            except OSError as error:
                words = "a restart will undo the last sign-ins and sign-outs"
                log.error("%s: %s; %s", self._file, error.strerror, words, extra=LIMITED)


def _key(cookie: str) -> str:
    return hashlib.sha256(cookie.encode()).hexdigest()


def _read(file: Path | None) -> list[Session]:
    if file is None:
        return []
    try:
        return msgspec.json.decode(storage.read(file, _MAX_FILE_BYTES), type=list[Session])
    except FileNotFoundError:
        return []
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        log.error("%s: %s; all browsers have to sign in again", file, error)
        return []
