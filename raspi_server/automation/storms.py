"""Storms: too many changes of one output in a short time."""

from collections import deque

STORM_CHANGES = 20
STORM_S = 10.0
"""Most changes of one output by rules in so many seconds. A relay wears out with more."""


class Storms:
    """The last changes of each output by rules."""

    def __init__(self) -> None:
        self._moments: dict[str, deque[float]] = {}

    def count(self, pin: str, now: float) -> bool:
        """Count a change of an output; return True if there are too many now."""
        moments = self._moments.setdefault(pin, deque(maxlen=STORM_CHANGES + 1))
        moments.append(now)
        return len(moments) > STORM_CHANGES and now - moments[0] < STORM_S

    def forget(self, pin: str) -> None:
        """Begin to count the changes of an output anew."""
        self._moments.pop(pin, None)
