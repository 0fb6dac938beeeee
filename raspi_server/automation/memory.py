"""Memory of the automation over restarts and power cuts: one small file in the state folder."""

import logging
import threading
from datetime import date
from pathlib import Path
from typing import NamedTuple

import msgspec
from msgspec import Struct, field

from ..system import storage
from ..system.logs import LIMITED

_FILE_NAME = "automation.json"
_MAX_FILE_BYTES = 1024 * 1024
_FUTURE_S = 25 * 3600
"""Age, in the future, of moments that are forgotten: the clock was wrong when they were run."""
_PAST_S = 3 * 86400
"""Age of moments that are forgotten. A clock that goes back by more may run one twice. It is longer
than any `late`."""

log = logging.getLogger(__name__)


class Pulse(Struct, frozen=True):
    """A pulse that a schedule began at `began`, in monotonic seconds of the boot `boot`."""

    pin: str
    seconds: float
    began: float
    boot: str

    @property
    def end(self) -> float:
        """The monotonic time of its end."""
        return self.began + self.seconds


class _File(Struct):
    saved: float = 0
    """Unix time of the last write. A hardware clock that is later knows the time."""
    known_boot: str = ""
    """The boot in which the clock became known, so that a restart in it need not ask again."""
    paused: set[str] = field(default_factory=set)
    paused_rules: set[str] = field(default_factory=set)
    skipped: dict[str, str] = field(default_factory=dict)
    """The newest day that each schedule leaves out: all that releases up to 0.8.0 read."""
    skipped_days: dict[str, set[str]] = field(default_factory=dict)
    """All days that each schedule leaves out."""
    moments: dict[str, dict[str, float]] = field(default_factory=dict)
    """The moments that each schedule has run: the written time, and its instant."""
    pulses: dict[str, Pulse] = field(default_factory=dict)


class Snapshot(NamedTuple):
    """Content of the file, and its number: a later one has a higher number."""

    number: int
    data: bytes


class Memory:
    """Facts that a restart must find. `folder` None keeps them in this process only.

    The methods change them here; `snapshot` and `write` bring them to the disk.
    """

    def __init__(self, folder: Path | None, boot: str) -> None:
        self._path = folder / _FILE_NAME if folder else None
        self.boot = boot
        self._file = _read(self._path)
        self._skipped = _skipped(self._file)
        self._number = self._written = 0
        self._writing = threading.Lock()

    @property
    def saved(self) -> float:
        """Unix time of the last write, or 0."""
        return self._file.saved

    @property
    def clock_was_known(self) -> bool:
        """True if the clock became known since the Pi was started."""
        return bool(self.boot) and self._file.known_boot == self.boot

    def clock_is_known(self) -> None:
        """Note that the clock is known, until the next boot."""
        self._file.known_boot = self.boot

    @property
    def paused(self) -> set[str]:
        """The names of paused schedules."""
        return self._file.paused

    @property
    def paused_rules(self) -> set[str]:
        """The names of paused rules."""
        return self._file.paused_rules

    @property
    def skipped(self) -> dict[str, set[str]]:
        """The days that a schedule leaves out, by its name."""
        return self._skipped

    @property
    def pulses(self) -> dict[str, Pulse]:
        """The last pulse of each schedule, by its name."""
        return self._file.pulses

    def has_run(self, name: str, written: str) -> bool:
        """Return True if a schedule has run the moment with this written time."""
        return written in self._file.moments.get(name, ())

    def add_moment(self, name: str, written: str, instant: float) -> None:
        """Remember a moment as run."""
        self._file.moments.setdefault(name, {})[written] = instant

    def forget(self, now: float) -> bool:
        """Forget moments that are too far from `now`. Return True if there were any."""
        has_forgotten = False
        for name, moments in list(self._file.moments.items()):
            for written, instant in list(moments.items()):
                if not now - _PAST_S <= instant <= now + _FUTURE_S:
                    del moments[written]
                    has_forgotten = True
            if not moments:
                del self._file.moments[name]
        return has_forgotten

    def keep_only(self, names: set[str]) -> None:
        """Forget the pauses, skips and pulses of schedules that do not exist any more."""
        self._file.paused &= names
        for entries in (self._skipped, self._file.pulses):
            for name in entries.keys() - names:
                del entries[name]

    @property
    def is_kept(self) -> bool:
        """True if there is a folder for the file."""
        return self._path is not None

    def snapshot(self, now: float | None) -> Snapshot:
        """Return the content of the file, as of the Unix time `now`, or None if that is unknown."""
        if now is not None:
            self._file.saved = now
        self._file.skipped = {name: max(days) for name, days in self._skipped.items()}
        self._file.skipped_days = self._skipped
        self._number += 1
        return Snapshot(self._number, msgspec.json.encode(self._file))

    def write(self, snapshot: Snapshot) -> None:
        """Replace the file, unless a later snapshot was written. Wait for the disk.

        An error goes to the log. Any thread may call this.
        """
        with self._writing:
            if self._path is None or snapshot.number < self._written:
                return
            try:
                storage.replace(self._path, snapshot.data, durable=True)
            except OSError as error:
                words = "%s: %s; a restart may repeat or forget what schedules did"
                log.warning(words, self._path, error.strerror, extra=LIMITED)
            else:
                self._written = snapshot.number


def _read(path: Path | None) -> _File:
    if path is None:
        return _File()
    try:
        return msgspec.json.decode(storage.read(path, _MAX_FILE_BYTES), type=_File)
    except FileNotFoundError:
        return _File()
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        log.warning("%s: %s; pauses and past moments of schedules are forgotten", path, error)
        return _File()


def _skipped(file: _File) -> dict[str, set[str]]:
    """Return the days that each schedule leaves out. Those that are no date are forgotten."""
    found = dict(file.skipped_days)
    for name, day in file.skipped.items():
        found[name] = found.get(name, set()) | {day}
    dates = {name: {day for day in days if _is_day(name, day)} for name, days in found.items()}
    return {name: days for name, days in dates.items() if days}


def _is_day(name: str, text: str) -> bool:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        day = date.max
    if day.isoformat() == text and 1970 < day.year < date.max.year:
        return True
    log.warning("schedule %s: it cannot leave out %r, which is no date of a window", name, text)
    return False
