"""Hooks: secret addresses, each of which switches one pin or moves one cover for whoever knows it.

Only the hash of a secret is stored. A secret has 256 random bits, so a plain hash is enough."""

import asyncio
import hashlib
import hmac
import logging
import math
import secrets
from collections.abc import Container
from pathlib import Path

import msgspec

from ..errors import RequestError
from ..limits import DEFAULT, Limits
from ..system import storage
from ..system.logs import LIMITED
from .login import AttemptLimiter, network_of

PATH = "/hook/"
_SECRET_BYTES = 32
_MAX_FILE_BYTES = 64 * 1024

log = logging.getLogger(__name__)


class Hooks:
    """The secrets in `folder`, by the name of their hook, or no secrets if it is None.

    The command `raspi-server hook` makes them, the server takes them. Call all methods of the
    server in the loop's thread."""

    def __init__(self, folder: Path | None, limits: Limits = DEFAULT) -> None:
        self._limits = limits
        self._file = folder / "hooks.json" if folder else None
        self._hashes: dict[str, str] = {}
        self._requests = AttemptLimiter(
            limits.hook_burst, limits.hook_interval_s, limits.max_code_networks
        )
        self.read()

    def read(self) -> None:
        """Read the secrets from the file. If that fails, log it and keep those read before."""
        if self._file is None:
            return
        try:
            self._hashes = self._read(self._file)
        except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
            log.error("%s: %s; make new ones: sudo raspi-server hook", self._file, error)

    def has(self, name: str) -> bool:
        """Return True if there is an address for the hook."""
        return name in self._hashes

    def make(self, name: str) -> str:
        """Return a new secret for the hook, in place of its old one. Raise OSError."""
        assert self._file is not None, "there is nowhere to store it"
        secret = secrets.token_hex(_SECRET_BYTES)
        with storage.locked(self._file.parent, self._limits.file_lock_timeout_s):
            self._write(self._file, self._read(self._file) | {name: _hash(secret)})
        return secret

    def keep(self, names: Container[str]) -> None:
        """Forget the secrets of all other hooks, for good."""
        if self._file is None or all(name in names for name in self._hashes):
            return
        try:
            with storage.locked(self._file.parent, self._limits.loop_file_lock_timeout_s):
                kept = self._read(self._file).items()
                self._write(self._file, {name: each for name, each in kept if name in names})
        except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
            log.error("%s: %s; a hook that comes back has its old address", self._file, error)

    def take(self, secret: str, address: str) -> str:
        """Return the name of the hook with this secret, which is asked for from `address`.

        Raise RequestError for a wrong secret, after too many wrong ones from that network, and
        after too many right ones from that network or of that hook."""
        wanted = _hash(secret)
        found = None
        for name, each in self._hashes.items():
            if hmac.compare_digest(each, wanted):
                found = name
        network = network_of(address)
        if found is None:
            self._count(f"wrong {network}")
            log.warning("%s: a wrong address of a hook", address, extra=LIMITED)
            raise RequestError("not-found", "there is no such hook")
        self._count(f"network {network}", f"hook {found}")
        return found

    def _count(self, *keys: str) -> None:
        now = asyncio.get_running_loop().time()
        wait = max(self._requests.wait(key, now) for key in keys)
        if wait > 0:
            raise RequestError("too-fast", f"too many requests: try again in {math.ceil(wait)} s")
        for key in keys:
            self._requests.take(key, now)

    def _read(self, file: Path) -> dict[str, str]:
        try:
            return msgspec.json.decode(storage.read(file, _MAX_FILE_BYTES), type=dict[str, str])
        except FileNotFoundError:
            return {}

    def _write(self, file: Path, hashes: dict[str, str]) -> None:
        storage.replace(file, msgspec.json.encode(hashes), durable=True, secret=True)
        self._hashes = hashes


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
