"""The state that each output was last driven to, with its deadlines, kept on disk: in /run over a
restart of the service (`initial: keep`), in /var/lib over a power cut (`initial: restore`)."""

import contextlib
import logging
import threading
from pathlib import Path

import msgspec
from msgspec import Struct

from ..limits import DEFAULT, Limits
from ..system import storage
from ..system.logs import LIMITED

_BOOT = Path("/proc/sys/kernel/random/boot_id")
_FILE_NAME = "levels.json"
"""The name that earlier releases gave it, which an upgrade or a rollback must find."""
_MAX_FILE_BYTES = 64 * 1024

log = logging.getLogger(__name__)


class OutputState(Struct, frozen=True):
    """An output's state. `value` is logical, 0-1; `pulse_at` is the moment at which its pulse ends,
    `max_at` the one at which max_on does, or None. Both are of the monotonic clock, which goes on
    over a restart of the service."""

    value: float
    pulse_at: float | None = None
    max_at: float | None = None

    @property
    def off_at(self) -> float | None:
        """The moment at which it goes off by itself, or None."""
        return min((at for at in (self.pulse_at, self.max_at) if at is not None), default=None)


class _File(Struct):
    boot: str
    levels: dict[int, OutputState]


class OutputStateStore:
    """Output states by GPIO number. `run` and `state` are folders, or None to keep nothing."""

    def __init__(self, run: Path | None, state: Path | None, limits: Limits = DEFAULT) -> None:
        self._run = run / _FILE_NAME if run else None
        self._state = state / _FILE_NAME if state else None
        self._boot = _boot_id()
        self._save_interval_s = limits.output_state_save_interval_s
        self._states = _read(self._run, self._boot)
        self._restored = _read(self._state)
        self._written = dict(self._restored)
        self._save_after = 0.0
        self._saving = threading.Lock()  # the last save of a stop waits for one under way

    @classmethod
    def from_environment(cls, limits: Limits = DEFAULT) -> "OutputStateStore":
        """Return the store in the folders that systemd names; off systemd nothing is kept."""
        return cls(storage.run_folder(), storage.state_folder(), limits)

    def before_restart(self, gpio: int) -> OutputState | None:
        """Return the state last driven in this boot, also by an earlier process."""
        return self._states.get(gpio)

    def before_power_cut(self, gpio: int) -> OutputState | None:
        """Return the state last driven in this boot, else the one written in an earlier boot."""
        return self._states.get(gpio) or self._restored.get(gpio)

    def driven(self) -> set[int]:
        """Return the lines that were driven in this boot; empty also where that is not known."""
        return set(self._states)

    def remember(self, gpio: int, state: OutputState, over_power_cut: bool) -> None:
        """Keep a state: write it at once for a restart; `save` writes it for a power cut."""
        self._states[gpio] = state
        if over_power_cut:
            # The length of a power cut is unknown: an output with a deadline is off after it.
            self._restored[gpio] = OutputState(state.value if state.off_at is None else 0)
        if self._run:
            _write(self._run, _File(self._boot, self._states), durable=False)

    def is_due(self, now: float) -> bool:
        """Tell whether `save` has something to write, and the last save is long enough ago."""
        return bool(self._state) and self._restored != self._written and now >= self._save_after

    def save(self, now: float) -> None:
        """Write what is kept over a power cut. It waits for the disk: call it off the loop."""
        with self._saving:
            states = dict(self._restored)
            if self._state and states != self._written:
                self._save_after = now + self._save_interval_s
                if _write(self._state, _File(self._boot, states), durable=True):
                    self._written = states


def _boot_id() -> str:
    with contextlib.suppress(OSError):
        return _BOOT.read_text().strip()
    return ""


def _read(file: Path | None, boot: str | None = None) -> dict[int, OutputState]:
    """Return the states in a file; none if it is missing, incomplete, or of another boot."""
    if file is None:
        return {}
    try:
        found = msgspec.json.decode(storage.read(file, _MAX_FILE_BYTES), type=_File)
    except FileNotFoundError:
        return {}
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        log.warning("%s: %s; outputs start as if nothing had been kept", file, error)
        return {}
    return found.levels if boot in (None, found.boot) else {}


def _write(file: Path, content: _File, durable: bool) -> bool:
    """Write a file; return False, and log the reason, where that fails."""
    try:
        storage.replace(file, msgspec.json.encode(content), durable)
        return True
    except OSError as error:
        words = "%s: %s; outputs will not be kept as they are"
        log.warning(words, file, error.strerror, extra=LIMITED)
        return False
