"""Calendar: the windows and moments of a schedule as instants, in Unix time.

It knows no clock and no state: the same schedule, zone and place always have the same instants.
"""

from collections.abc import Container, Iterator
from datetime import date, datetime, timedelta, tzinfo
from typing import NamedTuple

from ..config.schema import DAYS, ScheduleConfig, TimeOfDay
from .sun import Sky, SunDay

_EPOCH = datetime(1970, 1, 1)
_NOON = 12 * 60
"""Minutes after midnight from which a time means the evening, beside a time of the sun."""
_CLOCK_DAYS = range(-2, 3)
"""Days around a date on which a window of clock times may begin that is open on it. A zone can move
by a day."""
_SUN_DAYS = range(-4, 3)
"""The same for times of the sun, with offsets of up to a day."""


class Occurrence(NamedTuple):
    """A window `[begin, end)`, or a moment at `begin`, whose `end` is None.

    `day` is the day that is written for it: the date of a clock time, also if that does not exist,
    and the evening or morning that is meant by a time of the sun.
    """

    day: date
    begin: int
    end: int | None

    def overlaps(self, since: float, until: float) -> bool:
        """Tell if it is, in part, in `[since, until)`."""
        return self.begin < until and since < (self.end or self.begin + 1)


class Calendar:
    """Instants in a time zone, and at a place if there is one."""

    def __init__(self, zone: tzinfo, sky: Sky | None = None) -> None:
        self.zone = zone
        self._sky = sky

    def local_date(self, moment: float) -> date:
        """Return the local date of a moment."""
        return datetime.fromtimestamp(moment, self.zone).date()

    def instant(self, day: date, minutes: int) -> int:
        """Return the instant of a local time, given in minutes after the midnight before it.

        A time that does not exist is later by the length of the gap. A doubled one is the first.
        """
        local = datetime(day.year, day.month, day.day) + timedelta(minutes=minutes)
        offset = local.replace(tzinfo=self.zone).utcoffset() or timedelta()
        return round((local - _EPOCH - offset).total_seconds())

    def occurrences(
        self, schedule: ScheduleConfig, since: float, until: float
    ) -> Iterator[Occurrence]:
        """Yield the windows that overlap `[since, until)`, or the moments in it, in their order."""
        for day in self.days(schedule, since, until):
            found = self.occurrence(schedule, day)
            if found and found.overlaps(since, until):
                yield found

    def days(self, schedule: ScheduleConfig, since: float, until: float) -> Iterator[date]:
        """Yield the days of a schedule whose windows or moments may be between two instants."""
        around = _SUN_DAYS if any(time.sun for time in schedule.times) else _CLOCK_DAYS
        return self._days(schedule.days, since, until, around)

    def occurrence(self, schedule: ScheduleConfig, day: date) -> Occurrence | None:
        """Return the window or the moment of a day, or None if that day has none."""
        if schedule.at:
            at = self._point(day, schedule.at)
            return None if at is None else Occurrence(day, at, None)
        if schedule.begin and schedule.end:
            return self.window(schedule.begin, schedule.end, day)
        return None

    def is_open(
        self, begin: TimeOfDay, end: TimeOfDay, moment: float, days: Container[str] = DAYS
    ) -> bool:
        """Tell if a moment is in one of the windows from `begin` to `end`."""
        return any(
            (found := self.window(begin, end, day)) and found.begin <= moment < (found.end or 0)
            for day in self._days(days, moment, moment, _SUN_DAYS)
        )

    def window(self, begin: TimeOfDay, end: TimeOfDay, day: date) -> Occurrence | None:
        """Return the window of a day, or None if there is none."""
        first: int | None
        last: int | None
        if begin.sun == "sunset" and end.sun == "sunrise":
            first, last = self._night(day, begin.minutes * 60, end.minutes * 60)
        elif begin.sun == "sunrise" and end.sun == "sunset":
            first, last = self._daylight(day, begin.minutes * 60, end.minutes * 60)
        else:
            first = self._point(day, begin)
            last = self._point(day, end, self._ends_tomorrow(begin, end))
        if first is None or last is None or last <= first:
            return None
        return Occurrence(day, first, last)

    def _ends_tomorrow(self, begin: TimeOfDay, end: TimeOfDay) -> bool:
        """Tell if a window ends on the day after the one on which it begins.

        Beside a time of the sun, a clock time before noon is in the morning of the same night.
        """
        if begin.sun == end.sun:
            return begin.sun is None and end.minutes < begin.minutes
        if begin.sun == "sunset":
            return end.minutes < _NOON
        return end.sun == "sunrise" and begin.minutes >= _NOON

    def _night(self, day: date, after: int, before: int) -> tuple[int | None, int | None]:
        """Return the part of a night without sun, from noon to noon in polar night."""
        today, tomorrow = self._sun(day), self._sun(day, 1)
        return (
            _shifted(today.sunset, after, today.noon, not today.is_up_at_noon),
            _shifted(tomorrow.sunrise, before, tomorrow.noon, not tomorrow.is_up_at_noon),
        )

    def _daylight(self, day: date, after: int, before: int) -> tuple[int | None, int | None]:
        """Return the part of a day with sun, from midnight to midnight in polar day."""
        today = self._sun(day)
        return (
            _shifted(today.sunrise, after, today.begin, today.is_up_at_begin),
            _shifted(today.sunset, before, today.end, today.is_up_at_end),
        )

    def _days(
        self, days: Container[str], since: float, until: float, around: range
    ) -> Iterator[date]:
        day = self.local_date(since) + timedelta(days=around.start)
        last = self.local_date(until) + timedelta(days=around.stop - 1)
        while day <= last:
            if DAYS[day.weekday()] in days:
                yield day
            day += timedelta(days=1)

    def _point(self, day: date, time: TimeOfDay, is_tomorrow: bool = False) -> int | None:
        """Return the instant of a time of a day, or of the next; None without such an event."""
        if time.sun is None:
            return self.instant(day, time.minutes + is_tomorrow * 24 * 60)
        sun = self._sun(day, int(is_tomorrow))
        event = sun.sunrise if time.sun == "sunrise" else sun.sunset
        return _shifted(event, time.minutes * 60)

    def _sun(self, day: date, later: int = 0) -> SunDay:
        """Return the sun of the day whose noon is nearest to noon by the clock, or `later`."""
        if self._sky is None:
            raise ValueError("a time of the sun needs a location")
        return self._sky.day(self._sky.number(self.instant(day, _NOON)) + later)


def _shifted(
    event: int | None, seconds: int, otherwise: float = 0, has_other: bool = False
) -> int | None:
    """Return the instant of an event with its offset; without an event the other one, or None."""
    if event is not None:
        return event + seconds
    return round(otherwise) if has_other else None
