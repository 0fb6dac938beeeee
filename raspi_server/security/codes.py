"""Access codes, one to view and one to control, stored as salted and keyed hashes."""

import contextlib
import hashlib
import hmac
import logging
import secrets
from pathlib import Path

import msgspec
from msgspec import Struct

from ..limits import DEFAULT, Limits
from ..messages import Right
from ..system import storage
from ..system.logs import LIMITED

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
"""Crockford's base 32: without i, l, o, u, which look like others."""
_LOOKALIKES = str.maketrans({"o": "0", "i": "1", "l": "1", "-": None, " ": None})
_GROUPS, _GROUP_LENGTH = 3, 5
"""15 letters are 75 bits: too many to try them all, however fast the hash is."""
_MAX_CODE_LENGTH = 100
"""Letters of a presented code that are read. The rest is ignored."""
_SCRYPT = {"n": 2**13, "r": 8, "p": 1}
_MAX_FILE_BYTES = 64 * 1024

log = logging.getLogger(__name__)


class _Code(Struct, frozen=True, omit_defaults=True):
    """A code as it is stored. Each new code gets a new `id`, which tells it from replaced ones.

    `hash` (scrypt) is all that the releases before `mac` read and wrote. It is still written with
    each new code, so that install.sh --rollback keeps the codes. It and `Codes.find_legacy` can be
    deleted as soon as the release before this one has `mac`. A legacy code gets its `mac` at its
    first use."""

    id: str
    salt: bytes
    hash: bytes
    mac: bytes | None = None


class _File(Struct, frozen=True):
    """The content of access.json; `secret` is the key of each `mac`."""

    secret: bytes
    codes: dict[Right, _Code] = {}


class Codes:
    """The codes in `folder`, or no codes if it is None.

    Other processes may write the file, too. `read` reads it again."""

    def __init__(self, folder: Path | None, limits: Limits = DEFAULT) -> None:
        self._limits = limits
        self._file = folder / "access.json" if folder else None
        self._kept = _File(secrets.token_bytes(32))
        self.read()

    def read(self) -> None:
        """Read the codes from the file. If that fails, log it and keep those read before."""
        if self._file is None:
            return
        try:
            self._kept = self._read(self._file)
        except FileNotFoundError:
            self._kept = _File(self._kept.secret)
        except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
            log.error("%s: %s; make new codes: sudo raspi-server code", self._file, error)

    def exists(self, right: Right) -> bool:
        """Return True if there is a code for `right`."""
        return right in self._kept.codes

    def id(self, right: Right) -> str | None:
        """Return the id of the code for `right`, or None if there is none."""
        code = self._kept.codes.get(right)
        return code.id if code else None

    def right(self, code_id: str | None) -> Right | None:
        """Return the right of the code with this id, or None once it has been replaced."""
        for right, code in self._kept.codes.items():
            if code_id is not None and hmac.compare_digest(code.id, code_id):
                return right
        return None

    def find(self, text: str) -> str | None:
        """Return the `id` of the code that was typed, or None.

        This is fast. It does not check legacy codes."""
        found = None
        for code in self._kept.codes.values():
            if code.mac and hmac.compare_digest(_mac(self._kept.secret, code.salt, text), code.mac):
                found = code.id
        return found

    @property
    def has_legacy(self) -> bool:
        """True if a code is stored with its scrypt hash alone."""
        return any(code.mac is None for code in self._kept.codes.values())

    def find_legacy(self, text: str) -> str | None:
        """Return the `id` of the legacy code that was typed, or None.

        Write its `mac` to the file, so that it is no legacy code after the next `read`. This takes
        a second on a Pi Zero: call it off the loop, and seldom."""
        typed = _normal(text).encode()
        for code in self._kept.codes.values():
            if code.mac is None and hmac.compare_digest(_scrypt(typed, code.salt), code.hash):
                self._convert(code.id, text)
                return code.id
        return None

    def _convert(self, code_id: str, text: str) -> None:
        assert self._file is not None, "there would be no codes"
        try:
            with storage.locked(self._file.parent, self._limits.file_lock_timeout_s):
                kept = self._read(self._file)
                for right, code in kept.codes.items():
                    if code.id == code_id:
                        mac = _mac(kept.secret, code.salt, text)
                        self._write(kept, right, msgspec.structs.replace(code, mac=mac))
        except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
            words = "%s: %s; the next use of the code converts it"
            log.warning(words, self._file, error, extra=LIMITED)

    def renew(self, right: Right) -> str:
        """Replace the code for `right` by a new one and return it, the only time it can be shown.

        Raise OSError if it cannot be stored."""
        assert self._file is not None, "there is nowhere to store it"
        letters = [secrets.choice(_ALPHABET) for _ in range(_GROUPS * _GROUP_LENGTH)]
        groups = (letters[n * _GROUP_LENGTH :][:_GROUP_LENGTH] for n in range(_GROUPS))
        text = "-".join("".join(group) for group in groups)
        code_id, salt = secrets.token_hex(8), secrets.token_bytes(16)
        legacy_hash = _scrypt(_normal(text).encode(), salt)
        with storage.locked(self._file.parent, self._limits.file_lock_timeout_s):
            kept = self._kept
            with contextlib.suppress(OSError, msgspec.DecodeError, UnicodeDecodeError):
                kept = self._read(self._file)  # if that fails, `read` has logged it
            code = _Code(code_id, salt, legacy_hash, _mac(kept.secret, salt, text))
            self._kept = self._write(kept, right, code)
        return text

    def _read(self, file: Path) -> _File:
        return msgspec.json.decode(storage.read(file, _MAX_FILE_BYTES), type=_File)

    def _write(self, kept: _File, right: Right, code: _Code) -> _File:
        assert self._file is not None, "there is nowhere to store it"
        kept = _File(kept.secret, kept.codes | {right: code})
        storage.replace(self._file, msgspec.json.encode(kept), durable=True, secret=True)
        return kept


def _normal(text: str) -> str:
    """Return a typed code in lower case, without separators, look-alike letters replaced."""
    return text[:_MAX_CODE_LENGTH].strip().lower().translate(_LOOKALIKES)


def _mac(secret: bytes, salt: bytes, text: str) -> bytes:
    return hmac.digest(secret, salt + _normal(text).encode(), "sha256")


def _scrypt(typed: bytes, salt: bytes) -> bytes:
    return hashlib.scrypt(typed, salt=salt, **_SCRYPT)
