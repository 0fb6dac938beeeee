"""What each output was last driven to and until when, kept on disk: in /run over a restart of the
service (`initial: keep`), in /var/lib over a power cut (`initial: restore`)."""

import contextlib
import logging
import threading
from pathlib import Path

import msgspec
from msgspec import Struct

from ..system import storage
from ..system.logs import LIMITED

_BOOT = Path("/proc/sys/kernel/random/boot_id")
_MOST = 64 * 1024
"""Bytes of a file."""
_REST = 5.0
"""Seconds between two writes for `restore`: an SD card wears, a household switches in bursts."""

log = logging.getLogger(__name__)


class Level(Struct, frozen=True):
    """`value` is logical, 0-1; `pulse_at` the moment at which its pulse ends, `max_at` the one that
    max_on sets, both of the monotonic clock, which goes on over a restart, or None."""

    value: float
    pulse_at: float | None = None
    max_at: float | None = None

    @property
    def off_at(self) -> float | None:
        """When it goes off by itself, if it does."""
        return min((at for at in (self.pulse_at, self.max_at) if at is not None), default=None)


class _File(Struct):
    boot: str
    levels: dict[int, Level]


class Levels:
    """Levels by GPIO number. `run` and `state` are folders, or None where nothing is to be kept."""

    def __init__(self, run: Path | None, state: Path | None) -> None:
        self._run = run / "levels.json" if run else None
        self._state = state / "levels.json" if state else None
        self._boot = _boot_id()
        self._levels = _read(self._run, self._boot)
        self._restored = _read(self._state)
        self._written = dict(self._restored)
        self._save_after = 0.0
        self._saving = threading.Lock()  # the last save of a stop waits for one under way

    @classmethod
    def from_environment(cls) -> "Levels":
        """In the folders systemd names; off systemd nothing is kept."""
        return cls(storage.run_folder(), storage.state_folder())

    def before_restart(self, gpio: int) -> Level | None:
        """What we last drove in this boot, be it before this process."""
        return self._levels.get(gpio)

    def before_power_cut(self, gpio: int) -> Level | None:
        """What we last drove in this boot or, as far as it was written, an earlier one."""
        return self._levels.get(gpio) or self._restored.get(gpio)

    def driven(self) -> set[int]:
        """The lines that were driven in this boot; empty also where that is not known."""
        return set(self._levels)

    def remember(self, gpio: int, level: Level, over_power_cut: bool) -> None:
        """Writes at once for a restart; `save` writes for a power cut."""
        self._levels[gpio] = level
        if over_power_cut:
            # How long the power will be away nobody knows: what runs out has run out then.
            self._restored[gpio] = Level(level.value if level.off_at is None else 0)
        if self._run:
            _write(self._run, _File(self._boot, self._levels), lasting=False)

    def is_due(self, now: float) -> bool:
        """Whether `save` has something to write, and the last time is long enough ago."""
        return bool(self._state) and self._restored != self._written and now >= self._save_after

    def save(self, now: float) -> None:
        """Writes what is to outlive a power cut. It waits for the disk: call it off the loop."""
        with self._saving:
            levels = dict(self._restored)
            if self._state and levels != self._written:
                self._save_after = now + _REST
                if _write(self._state, _File(self._boot, levels), lasting=True):
                    self._written = levels


def _boot_id() -> str:
    with contextlib.suppress(OSError):
        return _BOOT.read_text().strip()
    return ""


def _read(file: Path | None, boot: str | None = None) -> dict[int, Level]:
    """The levels in a file; none where it is missing, torn, or from another boot than `boot`."""
    if file is None:
        return {}
    try:
        found = msgspec.json.decode(storage.read(file, _MOST), type=_File)
    except FileNotFoundError:
        return {}
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        log.warning("%s: %s; outputs start as if nothing had been kept", file, error)
        return {}
    return found.levels if boot in (None, found.boot) else {}


def _write(file: Path, content: _File, lasting: bool) -> bool:
    """Whether it could be written; the log says why not."""
    try:
        storage.replace(file, msgspec.json.encode(content), lasting)
        return True
    except OSError as error:
        words = "%s: %s; outputs will not be kept as they are"
        log.warning(words, file, error.strerror, extra=LIMITED)
        return False
