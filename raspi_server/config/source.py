"""Where the configuration comes from: the file, what the command line says instead, and, when the
file is faulty at a start under systemd, the last one that ran: an appliance that does not start
cannot be mended from the sofa."""

import logging
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from ..system import storage
from . import schema
from .schema import Config, ConfigError, Fault

_MOST = 1024 * 1024
"""Bytes of the file in which the last good configuration is kept."""

log = logging.getLogger(__name__)


class _Kept(Struct):
    """A configuration's text, and the folder its relative paths begin at."""

    folder: str
    text: str


class Source:
    """`overrides` are keys that the command line sets, whatever the file says; `state` is where the
    last good one is kept, if it is not the folder that systemd names."""

    def __init__(self, file: Path, overrides: dict[str, Any], state: Path | None = None) -> None:
        self.file = file
        self._folder = file.absolute().parent
        self._overrides = overrides
        state = state or storage.state_folder()
        self._last_good = state / "last-good.json" if state else None
        self._data = b""
        self.warnings: list[Fault] = []
        """What is allowed but may not be meant in the configuration that was read last."""

    def load(self) -> Config:
        """The configuration as it stands in the file. Raises ConfigError."""
        self.warnings = []
        self._data = schema.read(self.file)
        found = schema.parse(self._data, str(self.file), self._folder, self.warnings)
        return msgspec.structs.replace(found, **self._overrides)

    def last_good(self) -> Config | None:
        """The configuration that ran last, if it was kept. It runs although this release is the
        stricter one: keys it refuses together are ignored, and stand in `warnings`."""
        if self._last_good is None:
            return None
        try:
            kept = msgspec.json.decode(storage.read(self._last_good, _MOST), type=_Kept)
            data, folder = kept.text.encode(), Path(kept.folder)
            self.warnings = []
            found = schema.parse(data, str(self._last_good), folder, self.warnings, has_run=True)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.DecodeError, UnicodeError, ConfigError) as error:
            log.warning("%s: %s", self._last_good, error)
            return None
        return msgspec.structs.replace(found, **self._overrides)

    def is_in_force(self) -> bool | None:
        """Return whether the server has taken the file as it stands; None where nothing tells."""
        if self._last_good is None:
            return None
        try:
            kept = msgspec.json.decode(storage.read(self._last_good, _MOST), type=_Kept)
            text = schema.read(self.file).decode("utf-8-sig", "replace")
        except (OSError, msgspec.DecodeError, ConfigError):
            return None
        return kept.text == text if kept.folder == str(self._folder) else None

    def keep(self) -> None:
        """Keeps what was loaded last as the last good one; writes only what changed."""
        if self._last_good is None:
            return
        kept = _Kept(str(self._folder), self._data.decode("utf-8-sig"))
        data = msgspec.json.encode(kept)
        try:
            if storage.read(self._last_good, _MOST) == data:
                return
        except FileNotFoundError:
            pass  # the first start
        except OSError as error:
            log.warning("%s: %s", self._last_good, error)
        try:
            storage.replace(self._last_good, data, durable=True)
        except OSError as error:
            log.warning("%s: %s; it is not kept", self._last_good, error.strerror)
