"""Conversion of monotonic times to Unix time.

Times are kept on the monotonic clock, which the kernel also uses for edges, and sent as Unix time.
"""

import contextlib
import time
from collections.abc import Iterable
from pathlib import Path

_BOOT = Path("/proc/sys/kernel/random/boot_id")

_JITTER_S = 0.0005
"""Largest difference between two readings of the clocks that does not mean that one was set."""
_MAX_READINGS = 10
"""Number of readings after which one is used although other work interrupted it."""

_offset = 0.0


def wall_time(moment: float) -> float:
    """Convert a time of the monotonic clock, in seconds, to Unix time by the clock as set now.

    The offset is read each time: a Pi has no real-time clock, and its time jumps when NTP answers.
    An offset within half a millisecond of the last one counts as the same, so that one monotonic
    time always has the same Unix time.
    """
    return wall_times((moment,))[0]


def wall_times(moments: Iterable[float]) -> list[float]:
    """Convert many times like `wall_time`, with one reading of the clocks."""
    global _offset
    offset = _read_offset()
    if abs(offset - _offset) > _JITTER_S:
        _offset = offset
    return [round(_offset + moment, 6) for moment in moments]


def _read_offset() -> float:
    """Return Unix time minus monotonic time, from readings in quick succession."""
    for _ in range(_MAX_READINGS):
        before, now, after = time.monotonic(), time.time(), time.monotonic()
        if after - before < _JITTER_S:
            break
    return now - (before + after) / 2


def boot_id() -> str:
    """Return what names this run of the kernel, or an empty text. Monotonic times are its own."""
    with contextlib.suppress(OSError):
        return _BOOT.read_text().strip()
    return ""
