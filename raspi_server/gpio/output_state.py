"""Output state: the last value of each output, with its deadlines and claims, kept on disk.

A file in /run is for a restart of the service (`initial: keep`), a file in /var/lib for a power cut
(`initial: restore`).
"""

import logging
import threading
from collections.abc import Callable
from pathlib import Path

import msgspec
from msgspec import Struct

from ..limits import DEFAULT, Limits
from ..system import storage
from ..system.clock import boot_id
from ..system.logs import LIMITED
from .claims import KeptClaims

_FILE_NAME = "levels.json"
"""The name in all releases. After an upgrade or a rollback the file must be found."""
_MAX_FILE_BYTES = 64 * 1024

log = logging.getLogger(__name__)


class OutputState(Struct, frozen=True):
    """The state of an output.

    `value` is 0 (off) to 1 (on), whatever the level. `pulse_at` and `max_at` are the moments at
    which its pulse and its `max_on` end, or None: seconds of the monotonic clock, which goes on
    over a restart of the service. With `ends_claim` the end in `pulse_at` is that of the claim that
    decides: for `safe-state` and older releases it is as good as that of a pulse.
    """

    value: float
    pulse_at: float | None = None
    max_at: float | None = None
    ends_claim: bool = False

    def until(self, end: float | None) -> "OutputState":
        """Return the state with the end of the claim that decides, if that comes before a pulse's.

        A value of 0 has no end."""
        if end is None or not self.value or (self.pulse_at is not None and self.pulse_at <= end):
            return self
        return OutputState(self.value, end, self.max_at, ends_claim=True)

    @property
    def off_at(self) -> float | None:
        """Moment at which it goes off by itself, or None."""
        return min((at for at in (self.pulse_at, self.max_at) if at is not None), default=None)


class _File(Struct):
    boot: str
    levels: dict[int, OutputState]
    claims: dict[int, KeptClaims] = {}
    """Older releases do not read them, and leave them out when they write."""


class OutputStateStore:
    """The output states by GPIO number. `run` and `state` are folders, or None to keep nothing.

    `defer` calls a function soon: the file in /run is written then, once for all that has changed,
    so that no output waits for it.
    """

    def __init__(
        self,
        run: Path | None,
        state: Path | None,
        limits: Limits = DEFAULT,
        defer: Callable[[Callable[[], None]], object] = lambda write: write(),
    ) -> None:
        self._defer = defer
        self._is_unwritten = False
        self._run = run / _FILE_NAME if run else None
        self._state = state / _FILE_NAME if state else None
        self._boot = boot_id()
        self._save_interval_s = limits.output_state_save_interval_s
        before = _read(self._run, self._boot)
        self._states, self._claims = before.levels, before.claims
        self._restored = _read(self._state).levels
        self._written = dict(self._restored)
        self._save_after = 0.0
        self._saving = threading.Lock()  # the last save, at a stop, waits for one in progress

    @classmethod
    def from_environment(
        cls, limits: Limits, defer: Callable[[Callable[[], None]], object]
    ) -> "OutputStateStore":
        """Return the store in systemd's folders. Without systemd nothing is kept."""
        return cls(storage.run_folder(), storage.state_folder(), limits, defer)

    def before_restart(self, gpio: int) -> OutputState | None:
        """Return the last state since the Pi was started, also by an earlier process."""
        return self._states.get(gpio)

    def claims(self, gpio: int) -> KeptClaims | None:
        """Return the last claims since the Pi was started, None if they are not known."""
        return self._claims.get(gpio)

    def before_power_cut(self, gpio: int) -> OutputState | None:
        """Return the last state since the Pi was started, else the one kept over a power cut."""
        return self._states.get(gpio) or self._restored.get(gpio)

    def driven(self) -> set[int]:
        """Return the lines driven since the Pi was started; empty also if that is not known."""
        return set(self._states)

    def remember(
        self, gpio: int, state: OutputState, claims: KeptClaims, over_power_cut: float | None
    ) -> None:
        """Keep a state and the claims on it, and write them to /run soon.

        The next `save` also writes the value `over_power_cut`, if there is one.
        """
        self._states[gpio] = state
        self._claims[gpio] = claims
        if over_power_cut is not None:
            self._restored[gpio] = OutputState(over_power_cut)
        if self._run and not self._is_unwritten:
            self._is_unwritten = True
            self._defer(self.flush)

    def flush(self) -> None:
        """Write to /run what has changed."""
        if self._run and self._is_unwritten:
            self._is_unwritten = False
            _write(self._run, _File(self._boot, self._states, self._claims), durable=False)

    def is_due(self, now: float) -> bool:
        """Return True if there is a change to save, and the last save is long enough ago."""
        return bool(self._state) and self._restored != self._written and now >= self._save_after

    def save(self, now: float) -> None:
        """Write the states kept over a power cut. It waits for the disk: call it in a thread."""
        with self._saving:
            states = dict(self._restored)
            if self._state and states != self._written:
                self._save_after = now + self._save_interval_s
                if _write(self._state, _File(self._boot, states), durable=True):
                    self._written = states


def _read(file: Path | None, boot: str | None = None) -> _File:
    """Return the states in a file, none if it is missing, damaged, or of another boot."""
    nothing = _File("", {})
    if file is None:
        return nothing
    try:
        found = msgspec.json.decode(storage.read(file, _MAX_FILE_BYTES), type=_File)
    except FileNotFoundError:
        return nothing
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        log.warning("%s: %s; no output state is restored", file, error)
        return nothing
    return found if boot in (None, found.boot) else nothing


def _write(file: Path, content: _File, durable: bool) -> bool:
    """Write a file. If that fails, log the reason and return False."""
    try:
        storage.replace(file, msgspec.json.encode(content), durable)
        return True
    except OSError as error:
        words = "%s: %s; the output state was not saved"
        log.warning(words, file, error.strerror, extra=LIMITED)
        return False
