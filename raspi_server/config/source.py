"""Source of the configuration: the file, and the overrides of the command line.

If the file has errors when systemd starts the server, the last configuration that ran is used:
people who switch lamps with a phone cannot repair a file.
"""

import contextlib
import logging
import os
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from ..system import storage
from . import schema
from .errors import ConfigError, Diagnostic
from .schema import Config

SYSTEM_FILE = Path("/etc/raspi-server/config.yaml")
LOCAL_FILE = Path("config.yaml")

_MAX_LAST_GOOD_BYTES = 1024 * 1024
"""Limit of the size of last-good.json."""

log = logging.getLogger(__name__)


def default_file() -> Path:
    """Return /etc/raspi-server/config.yaml if it exists, else config.yaml in the working directory.

    Raise ConfigError if root would read a file of another user.
    """
    if SYSTEM_FILE.exists():
        return SYSTEM_FILE
    with contextlib.suppress(FileNotFoundError):
        if os.geteuid() == 0 != LOCAL_FILE.stat().st_uid:
            message = "it belongs to another user: root reads it only if the command names it"
            raise ConfigError([Diagnostic(str(LOCAL_FILE.absolute()), None, "", message)])
    return LOCAL_FILE


def load(file: Path) -> Config:
    """Return the configuration in `file`. Raise ConfigError with all its errors."""
    from .parser import parse

    return parse(read(file), str(file), file.absolute().parent)


def read(file: Path) -> bytes:
    """Return the text of a configuration. Raise ConfigError if it cannot be read."""
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
    """Text of a configuration, and the folder that its relative paths are relative to.

    `parsed` is the configuration as the release of the id `release` has parsed the text.
    """

    folder: str
    text: str
    release: str = ""
    parsed: msgspec.Raw = msgspec.Raw()


class ConfigSource:
    """Source of the configuration in `file`.

    `overrides` are keys that the command line sets; they replace those of the file. `state` is the
    folder of the last good configuration, by default the state folder that systemd names.
    """

    def __init__(self, file: Path, overrides: dict[str, Any], state: Path | None = None) -> None:
        self.file = file
        self._folder = file.absolute().parent
        self._overrides = overrides
        state = state or storage.state_folder()
        self._last_good_file = state / "last-good.json" if state else None
        self._data = b""
        self._parsed: Config | None = None
        self.warnings: list[Diagnostic] = []
        """Warnings about the configuration that was read last."""
        self.lines: dict[str, int] = {}
        """The lines of its schedules and rules and their keys, by their dotted paths."""

    def load(self) -> Config:
        """Return the configuration in the file. Raise ConfigError if it has errors."""
        from .parser import parse

        self.warnings, self.lines = [], {}
        self._data = read(self.file)
        self._parsed = parse(
            self._data, str(self.file), self._folder, self.warnings, lines=self.lines
        )
        return msgspec.structs.replace(self._parsed, **self._overrides)

    def load_unchanged(self) -> Config | None:
        """Return the configuration in the file as it was parsed when it ran last, to start fast.

        The parser of YAML is not imported. Return None if the file has changed, or was parsed by
        another release. Only the server may trust this: it is its own user's file.
        """
        if self._last_good_file is None:
            return None
        try:
            kept = self._read_last_good(self._last_good_file)
            data = read(self.file)
            text = data.decode("utf-8-sig")
            if (kept.folder, kept.text, kept.release) != (str(self._folder), text, _release()):
                return None
            found = msgspec.json.decode(kept.parsed, type=Config, dec_hook=_from_text)
        except (OSError, msgspec.MsgspecError, UnicodeError, ConfigError):
            return None  # load() tells what is wrong
        self._data, self._parsed = data, found
        return msgspec.structs.replace(found, **self._overrides)

    def last_good(self) -> Config | None:
        """Return the configuration that ran last, or None if there is none.

        A release with stricter rules runs it, too: if two keys conflict, the wrong one is ignored,
        with one of the `warnings`.
        """
        if self._last_good_file is None:
            return None
        from .parser import parse

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
        """Return True if the server runs with the file as it is now, None if that is not known."""
        if self._last_good_file is None:
            return None
        try:
            kept = self._read_last_good(self._last_good_file)
            text = read(self.file).decode("utf-8-sig", "replace")
        except (OSError, msgspec.DecodeError, ConfigError):
            return None
        return kept.text == text if kept.folder == str(self._folder) else None

    def keep(self) -> None:
        """Keep the configuration that was loaded last as the last good one.

        The file is written only if it changes. An error goes to the log.
        """
        file = self._last_good_file
        if file is None:
            return
        # With warnings it is parsed at each start, which tells them. str: of a Path.
        parsed = None if self.warnings else self._parsed
        encoded = msgspec.Raw(msgspec.json.encode(parsed, enc_hook=str))
        text = self._data.decode("utf-8-sig")
        data = msgspec.json.encode(_LastGood(str(self._folder), text, _release(), encoded))
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
        """Return what last-good.json has. Raise OSError or msgspec.DecodeError."""
        return msgspec.json.decode(storage.read(file, _MAX_LAST_GOOD_BYTES), type=_LastGood)


def _release() -> str:
    """Return an id of this installation of the schema, on which the parsing depends."""
    return f"{schema.__file__} {os.stat(schema.__file__).st_mtime_ns}"


def _from_text(kind: type, text: Any) -> Any:
    """Return a Path for its text; msgspec calls this for types that are not its own."""
    return kind(text)
