"""The last changes of every pin, in memory only, so that a page shows the past as soon as it is
opened; short pulses are in it."""

import math
from array import array
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from sys import intern

from ..messages import HistoryChange, PinHistory, Value
from ..system.clock import wall_times

MOST = 1000
"""Changes kept of each pin. One takes 24 bytes: its moment, its value and a reference to who did
it. For 28 pins that is 0.7 MB at most, and each address that switched something 70 bytes more."""

DRAG_GAP_S = 1.0
DRAG_LENGTH_S = 10.0
"""Levels that one caller sets of one pin, each at most so long after the one before and all within
so long, count as one change, the last: a slider that is dragged sets dozens.
www/dashboard/history.js does the same with what it hears live."""


class History:
    """Moments are kept on the monotonic clock and told as Unix time by the clock as it is set when
    somebody asks: a Pi's clock jumps by years when NTP answers, and a lamp that was on for a
    minute was not on for years. All methods belong to the loop's thread."""

    def __init__(self) -> None:
        self._tracks: dict[str, _Track] = {}

    def note(self, pin: str, value: Value, moment: float, by: str | None) -> None:
        """A pin's new value."""
        self._tracks.setdefault(pin, _Track()).add(value, moment, by)

    def take_stock(self, values: Mapping[str, Value], moment: float) -> None:
        """What all pins are now: begins with those that are new, ends with those that are gone,
        and notes what nobody told, such as a pin that was lost."""
        tracks = {pin: self._tracks.get(pin) or _Track() for pin in values}
        for pin, value in values.items():
            if tracks[pin].is_news(value):
                tracks[pin].add(value, moment, None)
        self._tracks = tracks

    def of(self, pin: str, now: float, seconds: float | None = None) -> PinHistory:
        """The last `seconds` of one pin, or all that is kept of it."""
        return self._tracks[pin].past(-math.inf if seconds is None else now - seconds, now)

    def of_all(self, now: float, seconds: float) -> Iterator[tuple[str, PinHistory]]:
        """The same of every pin there is now, one by one."""
        for pin, track in tuple(self._tracks.items()):
            yield pin, track.past(now - seconds, now)


class _Track:
    """One pin's values, the oldest first. The first is where it begins, the others are changes."""

    def __init__(self) -> None:
        self._moments = array("d")
        self._values = array("d")
        self._by: list[str | None] = []
        self._drag_began = -math.inf

    def is_news(self, value: Value) -> bool:
        return not self._values or _told(self._values[-1]) != value

    def add(self, value: Value, moment: float, by: str | None) -> None:
        # Where an edge was lost and found, an older one may come late; order holds all the same.
        moment = max(moment, self._moments[-1]) if self._moments else moment
        if value and self._is_dragged(moment, by):
            self._moments[-1], self._values[-1] = moment, value
            return
        self._drag_began = moment
        self._moments.append(moment)
        self._values.append(math.nan if value is None else value)
        self._by.append(by and intern(by))
        if len(self._values) > 1 + MOST:
            del self._moments[0], self._values[0], self._by[0]

    def _is_dragged(self, moment: float, by: str | None) -> bool:
        """Tell whether `by` goes on with a drag: with levels only, so that going on or off stays a
        change of its own."""
        return (
            by is not None
            and len(self._by) > 1
            and self._by[-1] == by
            and self._values[-1] > 0
            and moment - self._moments[-1] <= DRAG_GAP_S
            and moment - self._drag_began <= DRAG_LENGTH_S
        )

    def past(self, start: float, end: float) -> PinHistory:
        first = max(0, bisect_right(self._moments, start) - 1)
        last = max(first + 1, bisect_right(self._moments, end))
        since, *times = wall_times(
            [max(start, self._moments[first]), *self._moments[first + 1 : last]]
        )
        values = map(_told, self._values[first:last])
        value = next(values)
        changes = map(HistoryChange, times, values, self._by[first + 1 : last])
        return PinHistory(since, value, list(changes))


def _told(value: float) -> Value:
    """A kept value as it is told: whole numbers for what is on or off."""
    return None if math.isnan(value) else int(value) if value in (0, 1) else value
