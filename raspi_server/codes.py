"""Access codes, one to view and one to control, kept as scrypt hashes; and the secret that signs
the cookies of those who showed one."""

import hashlib
import hmac
import logging
import secrets
from pathlib import Path

import msgspec
from msgspec import Struct

from . import storage
from .messages import Right

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
"""Crockford's base 32: no i, l, o, u, which are taken for others."""
_LOOKS_LIKE = str.maketrans({"o": "0", "i": "1", "l": "1", "-": None, " ": None})
_GROUPS, _GROUP = 3, 5
"""15 letters are 75 bits."""
_MOST = 64 * 1024
"""Bytes of the file."""
_LONGEST = 100
"""Letters of a code that anybody may make us look at."""
_SCRYPT = {"n": 2**13, "r": 8, "p": 1}
"""8 MB, and some 25 ms on a PC: with 75 bits to guess, a slower hash would only slow a Pi Zero."""

log = logging.getLogger(__name__)


class _Code(Struct, frozen=True):
    """`id` is another for each new code, so that who used the old one can be told apart."""

    id: str
    salt: bytes
    hash: bytes


class _File(Struct, frozen=True):
    secret: bytes
    codes: dict[Right, _Code] = {}


class Codes:
    """The codes in `folder`, or where that is None no codes at all. `read` looks at them anew."""

    def __init__(self, folder: Path | None) -> None:
        self._file = folder / "access.json" if folder else None
        self._kept = _File(secrets.token_bytes(32))
        self.read()

    def read(self) -> None:
        """Takes the codes as they stand in the file; if it cannot be read, what was read before."""
        if self._file is None:
            return
        try:
            self._kept = msgspec.json.decode(storage.read(self._file, _MOST), type=_File)
        except FileNotFoundError:
            self._kept = _File(self._kept.secret)
        except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
            log.error("%s: %s; make new codes: sudo raspi-server code", self._file, error)

    @property
    def secret(self) -> bytes:
        """Signs the cookies; it stays when a code is replaced."""
        return self._kept.secret

    def exists(self, right: Right) -> bool:
        return right in self._kept.codes

    def right(self, id: str | None) -> Right | None:
        """What the code with this `id` is for, or None once it has been replaced."""
        for right, code in self._kept.codes.items():
            if id is not None and hmac.compare_digest(code.id, id):
                return right
        return None

    def find(self, text: str) -> str | None:
        """The `id` of the code somebody typed, or None. Takes as long whichever it is: some time on
        a Pi Zero, so call it off the loop."""
        typed = _normal(text).encode()
        found = None
        for code in self._kept.codes.values():
            hashed = hashlib.scrypt(typed, salt=code.salt, **_SCRYPT)
            if hmac.compare_digest(hashed, code.hash):
                found = code.id
        return found

    def renew(self, right: Right) -> str:
        """Makes a new code in the place of the old one, and returns it: it can be shown only now.
        Raises OSError."""
        assert self._file is not None, "there is nowhere to keep it"
        letters = [secrets.choice(_ALPHABET) for _ in range(_GROUPS * _GROUP)]
        text = "-".join("".join(letters[at : at + _GROUP]) for at in range(0, len(letters), _GROUP))
        salt = secrets.token_bytes(16)
        hashed = hashlib.scrypt(_normal(text).encode(), salt=salt, **_SCRYPT)
        code = _Code(secrets.token_hex(8), salt, hashed)
        self._kept = _File(self._kept.secret, self._kept.codes | {right: code})
        storage.replace(self._file, msgspec.json.encode(self._kept), lasting=True, secret=True)
        return text


def _normal(text: str) -> str:
    """A code as it was meant, however it was typed."""
    return text[:_LONGEST].strip().lower().translate(_LOOKS_LIKE)
