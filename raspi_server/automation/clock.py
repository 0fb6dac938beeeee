"""The clock of the system: whether it can be trusted, and notice of its being set.

A Pi has no clock of its own that runs without power. Until it has learnt the time, windows and
moments rest.
"""

import asyncio
import contextlib
import ctypes
import errno
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from ..system import storage

SYNCHRONIZED = Path("/run/systemd/timesync/synchronized")
HARDWARE_CLOCK = Path("/sys/class/rtc/rtc0/since_epoch")
ASK = ("timedatectl", "show", "-p", "NTPSynchronized", "--value")
_ASK_TIMEOUT_S = 10
_MAX_ANSWER_BYTES = 100
_NO_EARLIER = 1767225600
"""2026-01-01: an earlier clock is wrong, whatever else says that it is right."""

_TFD_FLAGS = os.O_NONBLOCK | os.O_CLOEXEC
_ABSOLUTE_CANCEL_ON_SET = 1 | 2
_NEVER_S = 2**31 - 1 if ctypes.sizeof(ctypes.c_long) == 4 else 2**40
"""Unix time at which the timer would run out: as late as the type can hold, or in 35,000 years."""


class Evidence:
    """Evidence that the clock is right. Paths and command are those of the system."""

    def __init__(
        self,
        synchronized: Path = SYNCHRONIZED,
        hardware_clock: Path = HARDWARE_CLOCK,
        ask: tuple[str, ...] = ASK,
    ) -> None:
        self._synchronized = synchronized
        self._hardware_clock = hardware_clock
        self._ask = ask

    def is_there(self, saved: float) -> bool:
        """Return True if files say so.

        A hardware clock counts if it, and the system's clock, which took its time, are later than
        `saved`, the Unix time at which the server wrote last.
        """
        if self._synchronized.exists():
            return True
        with contextlib.suppress(OSError, ValueError):
            now = int(storage.read(self._hardware_clock, 4096))
            return min(now, time.time()) > max(saved, _NO_EARLIER)
        return False

    async def ask(self) -> bool:
        """Return True if the system says that a time server has set its clock.

        asyncio's own subprocesses are not used: one that was begun just before all tasks are
        cancelled never ends, nor does the server then.
        """
        loop = asyncio.get_running_loop()
        has_answer = asyncio.Event()
        null = subprocess.DEVNULL
        try:
            asked = subprocess.Popen(self._ask, stdin=null, stdout=subprocess.PIPE, stderr=null)
        except OSError:  # without systemd there is no such program
            return False
        with asked:
            assert asked.stdout
            pipe = asked.stdout.fileno()
            loop.add_reader(pipe, has_answer.set)
            try:
                await asyncio.wait_for(has_answer.wait(), _ASK_TIMEOUT_S)
                return os.read(pipe, _MAX_ANSWER_BYTES).strip() == b"yes"
            except TimeoutError:
                return False
            finally:
                loop.remove_reader(pipe)
                asked.kill()


class StepWatch:
    """Watch that calls `when_set` after the system's clock was set.

    It is a timer of the kernel that is cancelled by that. Where there is none, nothing is called.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, when_set: Callable[[], None]) -> None:
        self._loop = loop
        self._when_set = when_set
        self._descriptor = _new_timer()
        if self._descriptor is not None:
            _arm(self._descriptor)
            loop.add_reader(self._descriptor, self._read)

    def close(self) -> None:
        """Stop watching."""
        if self._descriptor is not None:
            self._loop.remove_reader(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = None

    def _read(self) -> None:
        descriptor = self._descriptor
        if descriptor is None:
            return
        try:
            os.read(descriptor, 8)  # it never runs out; a clock that is set ends it
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno != errno.ECANCELED:
                self.close()
                return
        _arm(descriptor)
        self._when_set()


def _new_timer() -> int | None:
    """Return a timer of the kernel for the time of the day, or None if there is none."""
    try:
        descriptor = int(_libc().timerfd_create(time.CLOCK_REALTIME, _TFD_FLAGS))
    except (OSError, AttributeError):
        return None
    return descriptor if descriptor >= 0 else None


def _arm(descriptor: int) -> None:
    """Set the timer. From Python 3.13 on `os` could do it."""
    setting = (ctypes.c_long * 4)(0, 0, _NEVER_S, 0)
    _libc().timerfd_settime(descriptor, _ABSOLUTE_CANCEL_ON_SET, setting, None)


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None)
