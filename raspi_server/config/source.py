"""The source of the configuration: the file and the overrides of the command line. Where the file
has errors at a start under systemd, the last configuration that ran: people who switch lamps with
a phone cannot repair a file."""

import contextlib
import logging
import os
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from ..system import storage
from .errors import ConfigError, Diagnostic
from .parser import parse
from .schema import Config

SYSTEM_FILE = Path("/etc/raspi-server/config.yaml")
LOCAL_FILE = Path("config.yaml")

_MAX_LAST_GOOD_BYTES = 1024 * 1024
"""Limit of last-good.json."""

log = logging.getLogger(__name__)


def default_file() -> Path:
    """Return /etc/raspi-server/config.yaml where it exists, else config.yaml in the working
    directory. Raises ConfigError where root would read a file of another user."""
    if SYSTEM_FILE.exists():
        return SYSTEM_FILE
    with contextlib.suppress(FileNotFoundError):
        if os.geteuid() == 0 != LOCAL_FILE.stat().st_uid:
            message = "it belongs to another user: root reads it only where the command names it"
            raise ConfigError([Diagnostic(str(LOCAL_FILE.absolute()), None, "", message)])
    return LOCAL_FILE


def load(file: Path) -> Config:
    """Return the configuration in `file`. Raises ConfigError with all its errors."""
    return parse(read(file), str(file), file.absolute().parent)


def read(file: Path) -> bytes:
    """Return the text of a configuration. Raises ConfigError where it cannot be read."""
    name = str(file)
    try:
        return file.read_bytes()
    except FileNotFoundError:
        message = "expected a file, found none"
    except IsADirectoryError:
        message = "expected a file, found a folder"
    except OSError as error:
        message = f"cannot be read: {error.strerror}"
    raise ConfigError([Diagnostic(name, None, "", message)])


class _LastGood(Struct):
    """A configuration's text, and the folder at which its relative paths begin."""

    folder: str
    text: str


class ConfigSource:
    """The configuration in `file`. `overrides` are keys that the command line sets, whatever the
    file has; `state` is the folder of the last good one, by default the folder that systemd
    names."""

    def __init__(self, file: Path, overrides: dict[str, Any], state: Path | None = None) -> None:
        self.file = file
        self._folder = file.absolute().parent
        self._overrides = overrides
        state = state or storage.state_folder()
        self._last_good_file = state / "last-good.json" if state else None
        self._data = b""
        self.warnings: list[Diagnostic] = []
        """Warnings about the configuration that was read last: allowed, but maybe not intended."""

    def load(self) -> Config:
        """Return the configuration in the file. Raises ConfigError."""
        self.warnings = []
        self._data = read(self.file)
        found = parse(self._data, str(self.file), self._folder, self.warnings)
        return msgspec.structs.replace(found, **self._overrides)

    def last_good(self) -> Config | None:
        """Return the configuration that ran last, or None where it was not kept. A stricter release
        runs it, too: of keys that do not go together the wrong one is ignored, and `warnings` names
        it."""
        if self._last_good_file is None:
            return None
        name = str(self._last_good_file)
        try:
            kept = self._read_last_good(self._last_good_file)
            data, folder = kept.text.encode(), Path(kept.folder)
            self.warnings = []
            found = parse(data, name, folder, self.warnings, has_run=True)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.DecodeError, UnicodeError, ConfigError) as error:
            log.warning("%s: %s", name, error)
            return None
        return msgspec.structs.replace(found, **self._overrides)

    def is_in_force(self) -> bool | None:
        """Tell whether the server runs with the file as it is now; None where that is not known."""
        if self._last_good_file is None:
            return None
        try:
            kept = self._read_last_good(self._last_good_file)
            text = read(self.file).decode("utf-8-sig", "replace")
        except (OSError, msgspec.DecodeError, ConfigError):
            return None
        return kept.text == text if kept.folder == str(self._folder) else None

    def keep(self) -> None:
        """Keep the configuration that was loaded last as the last good one. Write only what has
        changed."""
        file = self._last_good_file
        if file is None:
            return
        kept = _LastGood(str(self._folder), self._data.decode("utf-8-sig"))
        data = msgspec.json.encode(kept)
        try:
            if storage.read(file, _MAX_LAST_GOOD_BYTES) == data:
                return
        except FileNotFoundError:
            pass  # the first start
        except OSError as error:
            log.warning("%s: %s", file, error)
        try:
            storage.replace(file, data, durable=True)
        except OSError as error:
            log.warning("%s: %s; it is not kept", file, error.strerror)

    def _read_last_good(self, file: Path) -> _LastGood:
        """Read last-good.json. Raises OSError and msgspec.DecodeError."""
        return msgspec.json.decode(storage.read(file, _MAX_LAST_GOOD_BYTES), type=_LastGood)
