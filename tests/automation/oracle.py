"""An oracle of windows and moments: it works out by brute force what schedules mean.

It shares no code with the package. It asks the zone of every minute what the clock shows, and never
the other way round; and it asks astral of moments how high the sun is, never for a sunset.
"""

import math
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import NamedTuple

from astral import Observer
from astral.sun import elevation

DAY = 86400
MINUTE = timedelta(minutes=1)
WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
HORIZON = -50 / 60
UTC_EPOCH = datetime(1970, 1, 1)


class Span(NamedTuple):
    """A window; the end of a moment is None. `day` is the day that it belongs to."""

    day: date
    begin: float
    end: float | None


class Dial:
    """The clock of a zone from one instant to another: what it shows at every minute."""

    def __init__(self, zone: tzinfo, since: float, until: float) -> None:
        self._first: dict[datetime, int] = {}
        self._gaps: list[tuple[datetime, datetime]] = []
        begin = int(since) // 60 * 60
        before = None
        for moment in range(begin, int(until), 60):
            shown = datetime.fromtimestamp(moment, zone).replace(tzinfo=None)
            self._first.setdefault(shown, moment)
            if before is not None and shown > before + MINUTE:
                self._gaps.append((before + MINUTE, shown))
            before = shown

    def moment(self, shown: datetime) -> int | None:
        """Return the first moment at which the clock shows this time, or would after its gap."""
        if shown in self._first:
            return self._first[shown]
        for first, after in self._gaps:
            if first <= shown < after:
                return self._first[shown + (after - first)]
        return None


class Heaven:
    """The ups and downs of the sun at a place from one instant to another."""

    def __init__(self, latitude: float, longitude: float, since: float, until: float) -> None:
        self._observer = Observer(latitude, longitude)
        step = 600
        grid = [(at, self._height(at)) for at in range(int(since), int(until) + step, step)]
        triples = list(zip(grid, grid[1:], grid[2:], strict=False))
        self.tops = [self._extreme(b[0], 1) for a, b, c in triples if a[1] < b[1] >= c[1]]
        self.bottoms = [self._extreme(b[0], -1) for a, b, c in triples if a[1] > b[1] <= c[1]]
        pairs = list(zip(grid, grid[1:], strict=False))
        self.rises = [self._cross(a, b) for (a, x), (b, y) in pairs if x <= HORIZON < y]
        self.sets = [self._cross(a, b) for (a, x), (b, y) in pairs if x > HORIZON >= y]

    def _extreme(self, near: float, sign: int) -> float:
        low, high = near - 600, near + 600
        while high - low > 1:
            third = (high - low) / 3
            if sign * self._height(low + third) < sign * self._height(high - third):
                low += third
            else:
                high -= third
        return low

    def _height(self, moment: float) -> float:
        when = UTC_EPOCH + timedelta(seconds=moment)
        return elevation(self._observer, when.replace(tzinfo=UTC), with_refraction=False)

    def is_up(self, moment: float) -> bool:
        return self._height(moment) > HORIZON

    def _cross(self, low: float, high: float) -> float:
        begins_up = self.is_up(low)
        while high - low > 1:
            middle = (low + high) / 2
            if self.is_up(middle) == begins_up:
                low = middle
            else:
                high = middle
        return high

    def evening(self, noon: float) -> float | None:
        """Return the sunset between a noon and the next midnight."""
        end = min(each for each in self.bottoms if each > noon)
        return next((each for each in self.sets if noon <= each <= end), None)

    def morning(self, noon: float) -> float | None:
        """Return the sunrise between the last midnight before a noon, and it."""
        begin = max(each for each in self.bottoms if each < noon)
        return next((each for each in self.rises if begin <= each <= noon), None)


class Almanac:
    """All of it, for some days around an instant."""

    def __init__(self, zone: tzinfo, place: tuple[float, float] | None, around: float, days: int):
        since, until = around - (days + 6) * DAY, around + (days + 6) * DAY
        self._zone = zone
        self._dial = Dial(zone, since, until)
        self._heaven = Heaven(*place, since, until) if place else None
        first = datetime.fromtimestamp(around, zone).date() - timedelta(days=days + 4)
        self._days = [first + timedelta(days=each) for each in range(2 * days + 9)]

    def spans(self, schedule: dict) -> list[Span]:
        """Return the windows, or moments, of a schedule with the keys of config.yaml."""
        found = []
        for day in self._days:
            if WEEKDAYS[day.weekday()] not in schedule.get("days", WEEKDAYS):
                continue
            if "at" in schedule:
                at = self._at(day, schedule["at"])
                found += [Span(day, at, None)] if at is not None else []
            else:
                begin, end = self._window(day, schedule["from"], schedule["to"])
                if begin is not None and end is not None and begin < end:
                    found.append(Span(day, begin, end))
        return found

    def _clock(self, day: date, text: str) -> float | None:
        hours, minutes = (int(each) for each in text.split(":"))
        midnight = datetime(day.year, day.month, day.day)
        return self._dial.moment(midnight + timedelta(hours=hours, minutes=minutes))

    def _noon(self, day: date) -> float:
        clock = self._clock(day, "12:00")
        return min(self._heaven.tops, key=lambda top: abs(top - clock))

    def _next_noon(self, day: date) -> float:
        return min(top for top in self._heaven.tops if top > self._noon(day))

    def _at(self, day: date, text: str, noon: float | None = None) -> float | None:
        if not text.startswith("sun"):
            return self._clock(day, text)
        noon = self._noon(day) if noon is None else noon
        event = self._heaven.evening(noon) if "set" in text else self._heaven.morning(noon)
        return None if event is None else event + offset(text)

    def _window(self, day: date, begin: str, end: str) -> tuple[float | None, float | None]:
        tomorrow = day + timedelta(days=1)
        from_sun, to_sun = begin[:6], end[:6]
        if (from_sun, to_sun) == ("sunset", "sunris"):
            return self._dark(day, begin, end)
        if (from_sun, to_sun) == ("sunris", "sunset"):
            return self._light(day, begin, end)
        if begin.startswith("sun") and end.startswith("sun"):  # of one evening, or one morning
            return self._at(day, begin), self._at(day, end)
        if begin.startswith("sunset"):
            is_morning = end < "12:00"
            return self._at(day, begin), self._clock(tomorrow if is_morning else day, end)
        if begin.startswith("sunrise"):
            return self._at(day, begin), self._clock(day, end)
        if end.startswith("sunrise") and begin >= "12:00":
            return self._clock(day, begin), self._at(day, end, self._next_noon(day))
        if end.startswith("sun"):
            return self._clock(day, begin), self._at(day, end)
        return self._clock(day, begin), self._clock(day if end > begin else tomorrow, end)

    def _dark(self, day: date, begin: str, end: str) -> tuple[float | None, float | None]:
        """Return the darkness between the noon of a day and the next."""
        noon, next_noon = self._noon(day), self._next_noon(day)
        first, last = self._at(day, begin), self._at(day, end, next_noon)
        if first is None and not self._heaven.is_up(noon):
            first = noon
        if last is None and not self._heaven.is_up(next_noon):
            last = next_noon
        return first, last

    def _light(self, day: date, begin: str, end: str) -> tuple[float | None, float | None]:
        noon = self._noon(day)
        midnight = max(each for each in self._heaven.bottoms if each < noon)
        next_midnight = min(each for each in self._heaven.bottoms if each > noon)
        first, last = self._at(day, begin), self._at(day, end)
        if first is None and self._heaven.is_up(midnight):
            first = midnight
        if last is None and self._heaven.is_up(next_midnight):
            last = next_midnight
        return first, last


def offset(text: str) -> int:
    """Return the seconds in `+00:20` at the end of a time of the sun."""
    for sign in "+-":
        if sign in text:
            hours, minutes = text.partition(sign)[2].split(":")
            seconds = int(hours) * 3600 + int(minutes) * 60
            return seconds if sign == "+" else -seconds
    return 0


def transitions(zone: tzinfo, since: float, until: float) -> Iterator[int]:
    """Yield the moments at which the clocks of a zone change."""

    def shown(moment: int) -> timedelta:
        return datetime.fromtimestamp(moment, zone).utcoffset() or timedelta()

    step = 6 * 3600
    for begin in range(math.ceil(since / step) * step, int(until), step):
        if shown(begin) == shown(begin + step):
            continue
        low, high = begin, begin + step
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if shown(middle) == shown(low) else (low, middle)
        yield high
