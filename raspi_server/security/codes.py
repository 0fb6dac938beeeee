"""Access codes, one to view and one to control, of which a salted and keyed hash is kept."""

import contextlib
import hashlib
import hmac
import logging
import secrets
from pathlib import Path

import msgspec
from msgspec import Struct

from ..messages import Right
from ..system import storage
from ..system.logs import LIMITED

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
"""Crockford's base 32: no i, l, o, u, which are taken for others."""
_LOOKS_LIKE = str.maketrans({"o": "0", "i": "1", "l": "1", "-": None, " ": None})
_GROUPS, _GROUP = 3, 5
"""15 letters are 75 bits: nobody tries them all, however fast the hash."""
_LONGEST = 100
"""Letters of a code that anybody may make us look at."""
_SCRYPT = {"n": 2**13, "r": 8, "p": 1}
_LARGEST_FILE = 64 * 1024
_PATIENCE = 5.0
"""Seconds to wait for another process that changes the file."""

log = logging.getLogger(__name__)


class _Code(Struct, frozen=True, omit_defaults=True):
    """A code as it is kept. `id` is another for each new code, so that uses of an old one can be
    told apart.

    `hash` (scrypt) is all that the releases before `mac` read and wrote. It is still written with
    each new code, so that install.sh --rollback keeps the codes; it and `Codes.find_old` can go as
    soon as no such release can be the one before. An old code gets its `mac` at its first use."""

    id: str
    salt: bytes
    hash: bytes
    mac: bytes | None = None


class _File(Struct, frozen=True):
    """The content of access.json; `secret` is the key of each `mac`."""

    secret: bytes
    codes: dict[Right, _Code] = {}


class Codes:
    """The codes in `folder`, or where that is None no codes at all. Others may write the file, too:
    `read` takes it as it is now."""

    def __init__(self, folder: Path | None) -> None:
        self._file = folder / "access.json" if folder else None
        self._kept = _File(secrets.token_bytes(32))
        self.read()

    def read(self) -> None:
        """Take the codes as they stand in the file; if it cannot be read, keep what was read
        before."""
        if self._file is None:
            return
        try:
            self._kept = self._read(self._file)
        except FileNotFoundError:
            self._kept = _File(self._kept.secret)
        except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
            log.error("%s: %s; make new codes: sudo raspi-server code", self._file, error)

    def exists(self, right: Right) -> bool:
        return right in self._kept.codes

    def id(self, right: Right) -> str | None:
        """Return the id of the code for `right`, or None where there is none."""
        code = self._kept.codes.get(right)
        return code.id if code else None

    def right(self, id: str | None) -> Right | None:
        """Return what the code with this `id` is for, or None once it has been replaced."""
        for right, code in self._kept.codes.items():
            if id is not None and hmac.compare_digest(code.id, id):
                return right
        return None

    def find(self, text: str) -> str | None:
        """Return the `id` of the code somebody typed, or None. It takes no time worth a word; the
        codes of `has_old` are not looked at."""
        found = None
        for code in self._kept.codes.values():
            if code.mac and hmac.compare_digest(_mac(self._kept.secret, code.salt, text), code.mac):
                found = code.id
        return found

    @property
    def has_old(self) -> bool:
        """Whether a code is known by its scrypt hash alone."""
        return any(code.mac is None for code in self._kept.codes.values())

    def find_old(self, text: str) -> str | None:
        """Look at the codes of `has_old`, and give the one that was typed its `mac` in the file, so
        that it is none of them after a `read`. Return its `id`, or None. One look takes a second on
        a Pi Zero: call it off the loop, and seldom."""
        typed = _normal(text).encode()
        for code in self._kept.codes.values():
            if code.mac is None and hmac.compare_digest(_scrypt(typed, code.salt), code.hash):
                self._convert(code.id, text)
                return code.id
        return None

    def _convert(self, id: str, text: str) -> None:
        assert self._file is not None, "there would be no codes"
        try:
            with storage.locked(self._file.parent, _PATIENCE):
                kept = self._read(self._file)
                for right, code in kept.codes.items():
                    if code.id == id:
                        mac = _mac(kept.secret, code.salt, text)
                        self._write(kept, right, msgspec.structs.replace(code, mac=mac))
        except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
            words = "%s: %s; the next use of the code converts it"
            log.warning(words, self._file, error, extra=LIMITED)

    def renew(self, right: Right) -> str:
        """Make a new code in the place of the old one, and return it: it can be shown only now.
        Raises OSError."""
        assert self._file is not None, "there is nowhere to keep it"
        letters = [secrets.choice(_ALPHABET) for _ in range(_GROUPS * _GROUP)]
        text = "-".join("".join(letters[at : at + _GROUP]) for at in range(0, len(letters), _GROUP))
        id, salt = secrets.token_hex(8), secrets.token_bytes(16)
        old_hash = _scrypt(_normal(text).encode(), salt)
        with storage.locked(self._file.parent, _PATIENCE):
            kept = self._kept
            with contextlib.suppress(OSError, msgspec.DecodeError, UnicodeDecodeError):
                kept = self._read(self._file)  # where that fails, `read` has said so
            code = _Code(id, salt, old_hash, _mac(kept.secret, salt, text))
            self._kept = self._write(kept, right, code)
        return text

    def _read(self, file: Path) -> _File:
        return msgspec.json.decode(storage.read(file, _LARGEST_FILE), type=_File)

    def _write(self, kept: _File, right: Right, code: _Code) -> _File:
        assert self._file is not None, "there is nowhere to keep it"
        kept = _File(kept.secret, kept.codes | {right: code})
        storage.replace(self._file, msgspec.json.encode(kept), lasting=True, secret=True)
        return kept


def _normal(text: str) -> str:
    """Return a code as it was meant, however it was typed."""
    return text[:_LONGEST].strip().lower().translate(_LOOKS_LIKE)


def _mac(secret: bytes, salt: bytes, text: str) -> bytes:
    return hmac.digest(secret, salt + _normal(text).encode(), "sha256")


def _scrypt(typed: bytes, salt: bytes) -> bytes:
    return hashlib.scrypt(typed, salt=salt, **_SCRYPT)
