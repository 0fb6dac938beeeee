"""Moments are kept on the monotonic clock, the kernel's for edges too, and told as Unix time."""

import time
from collections.abc import Iterable

_JITTER = 0.0005
"""Seconds by which two readings of two clocks may differ without a clock having been set."""
_TRIES = 10
"""Readings before one is taken during which the machine was busy with others."""

_offset = 0.0


def wall_time(moment: float) -> float:
    """A moment of the monotonic clock, in seconds, as Unix time by the clock as it is set now.

    The offset is looked at anew each time: a Pi has no real-time clock, and jumps when NTP answers.
    It is the same as before within half a millisecond, so that one moment is told as one time."""
    return wall_times((moment,))[0]


def wall_times(moments: Iterable[float]) -> list[float]:
    """The same for many, with one look at the clocks."""
    global _offset
    offset = _read_offset()
    if abs(offset - _offset) > _JITTER:
        _offset = offset
    return [round(_offset + moment, 6) for moment in moments]


def _read_offset() -> float:
    """Unix time less the monotonic clock, from readings between which nothing held us up."""
    for _ in range(_TRIES):
        before, now, after = time.monotonic(), time.time(), time.monotonic()
        if after - before < _JITTER:
            break
    return now - (before + after) / 2
