"""The history of each pin: its last changes, short pulses included.

It is kept in memory only. A page shows it as soon as it is opened.
"""

import math
from array import array
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from sys import intern

from ..limits import DEFAULT, Limits
from ..messages import HistoryChange, PinHistory, Value
from ..system.clock import wall_times


class History:
    """The last changes of all pins.

    Moments are kept in seconds of the monotonic clock and converted to Unix time when they are
    read. So a lamp that was on for a minute shows a minute, even if NTP has set the Pi's clock
    forward by years meanwhile. All methods run on the loop's thread.
    """

    def __init__(self, limits: Limits = DEFAULT) -> None:
        self._limits = limits
        self._tracks: dict[str, _Track] = {}

    def record(self, pin: str, value: Value, moment: float, by: str | None) -> None:
        """Record a pin's new value."""
        self._track(pin).add(value, moment, by)

    def synchronize(self, values: Mapping[str, Value], moment: float) -> None:
        """Compare with the current values of all pins.

        Add new pins, drop pins that are gone, and record changes that `record` was not called for:
        a pin that became unavailable.
        """
        self._tracks = {pin: self._track(pin) for pin in values}
        for pin, value in values.items():
            if self._tracks[pin].is_news(value):
                self._tracks[pin].add(value, moment, None)

    def of(self, pin: str, now: float, seconds: float | None = None) -> PinHistory:
        """Return the last `seconds` of one pin, or with None all that is kept of it."""
        return self._tracks[pin].between(-math.inf if seconds is None else now - seconds, now)

    def of_all(self, now: float, seconds: float) -> Iterator[tuple[str, PinHistory]]:
        """Yield the name and the last `seconds` of every pin, one by one."""
        for pin, track in tuple(self._tracks.items()):
            yield pin, track.between(now - seconds, now)

    def _track(self, pin: str) -> "_Track":
        return self._tracks.setdefault(pin, _Track(self._limits))


class _Track:
    """The values of one pin, the oldest first: its starting value, then its changes."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._moments = array("d")
        self._values = array("d")
        self._by: list[str | None] = []
        self._drag_began = -math.inf

    def is_news(self, value: Value) -> bool:
        return not self._values or _to_value(self._values[-1]) != value

    def add(self, value: Value, moment: float, by: str | None) -> None:
        # An edge may arrive after `refresh` has found a later one. The order must be kept.
        moment = max(moment, self._moments[-1]) if self._moments else moment
        if value and self._is_dragged(moment, by):
            self._moments[-1], self._values[-1] = moment, value
            return
        self._drag_began = moment
        self._moments.append(moment)
        self._values.append(math.nan if value is None else value)
        self._by.append(by and intern(by))
        if len(self._values) > 1 + self._limits.history_changes_per_pin:
            del self._moments[0], self._values[0], self._by[0]

    def _is_dragged(self, moment: float, by: str | None) -> bool:
        """Return True if a value continues a drag of a slider by the same caller.

        Only levels above 0 are dragged: going on or off is always a change of its own.
        """
        return (
            by is not None
            and len(self._by) > 1
            and self._by[-1] == by
            and self._values[-1] > 0
            and moment - self._moments[-1] <= self._limits.drag_gap_s
            and moment - self._drag_began <= self._limits.drag_length_s
        )

    def between(self, start: float, end: float) -> PinHistory:
        first = max(0, bisect_right(self._moments, start) - 1)
        last = max(first + 1, bisect_right(self._moments, end))
        since, *times = wall_times(
            [max(start, self._moments[first]), *self._moments[first + 1 : last]]
        )
        values = map(_to_value, self._values[first:last])
        value = next(values)
        changes = map(HistoryChange, times, values, self._by[first + 1 : last])
        return PinHistory(since, value, list(changes))


def _to_value(value: float) -> Value:
    """Return a stored value as clients get it: an int for on and off, None for unavailable."""
    return None if math.isnan(value) else int(value) if value in (0, 1) else value
