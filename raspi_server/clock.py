"""Moments are kept on the monotonic clock, the kernel's for edges too, and told as Unix time."""

import time


def wall_time(moment: float) -> float:
    """A moment of the monotonic clock, in seconds, as Unix time by the clock as it is set now.

    The offset is taken anew each time: a Pi has no real-time clock, and jumps when NTP answers."""
    return round(time.time() - time.monotonic() + moment, 6)
