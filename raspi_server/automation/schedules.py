"""One schedule at an instant: its open window, its moments that are due, and what comes next."""

from collections.abc import Collection, Iterator
from datetime import date

from ..config.schema import ScheduleConfig
from .times import Calendar, Occurrence

_AHEAD_S = 36 * 3600
_PLAN_LIFETIME_S = 24 * 3600
"""A plan reaches 36 hours ahead, and is made anew after a day: so it always has what comes next,
if that comes within half a day."""
_SEARCH_S = 366 * 86400
"""Time ahead in which the next windows and moments are looked for."""


class Schedule:
    """A schedule of config.yaml, by the clock of a calendar. `place` is its place in the file.

    `skipped` has the days whose windows or moments are left out, as text.
    """

    def __init__(self, name: str, place: int, config: ScheduleConfig, calendar: Calendar) -> None:
        self.name = name
        self.place = place
        self.config = config
        self.missing: list[date] = []
        """Days of the plan without the window or moment that they should have."""
        self._calendar = calendar
        self._plan: list[Occurrence] = []
        self._found: dict[date, Occurrence | None] = {}
        """What each day of the plan has."""
        self._planned_at: float | None = None
        self._next: tuple[float, frozenset[str], Occurrence | None] | None = None
        """When and for which skipped days `coming_next` was worked out, and what it was."""

    def use(self, calendar: Calendar) -> None:
        """Go by another calendar from now on."""
        self._calendar = calendar
        self._planned_at = self._next = None
        self._found.clear()

    def open_window(self, now: float, skipped: Collection[str]) -> Occurrence | None:
        """Return the window that is open now: of several the one that began last."""
        found = None
        for each in self._planned(now):
            if each.end and each.begin <= now < each.end and each.day.isoformat() not in skipped:
                found = each
        return found

    def due(self, now: float, skipped: Collection[str]) -> list[Occurrence]:
        """Return the moments that are now, or past by no more than `late`."""
        return [
            each
            for each in self._planned(now)
            if each.end is None
            and now - self.config.late <= each.begin <= now
            and each.day.isoformat() not in skipped
        ]

    def next_change(self, now: float) -> float:
        """Return the next time at which there may be something to do, at most a day ahead."""
        times = [time for each in self._planned(now) for time in each[1:] if time and time > now]
        return min(times + [(self._planned_at or now) + _PLAN_LIFETIME_S])

    def coming(self, now: float, skipped: Collection[str] = ()) -> Iterator[Occurrence]:
        """Yield the windows and moments of the next 366 days that have not begun."""
        for each in self._calendar.occurrences(self.config, now, now + _SEARCH_S):
            if each.begin > now and each.day.isoformat() not in skipped:
                yield each

    def coming_next(self, now: float, skipped: Collection[str]) -> Occurrence | None:
        """Return the first one of `coming`. It is worked out once, as a year may have none."""
        if self._next:
            at, days, found = self._next
            until = found.begin if found else at + _PLAN_LIFETIME_S
            if at <= now < until and days == frozenset(skipped):
                return found
        found = next(self.coming(now, skipped), None)
        self._next = now, frozenset(skipped), found
        return found

    def between(self, since: float, until: float, skipped: Collection[str]) -> Iterator[Occurrence]:
        """Yield the windows that overlap a time of at most a year, and the moments in it."""
        for each in self._calendar.occurrences(self.config, since, until):
            if each.day.isoformat() not in skipped:
                yield each

    def has_begun(self, day: str, now: float) -> bool:
        """Return True if the window or moment of a day has begun, or there is none."""
        found = self._calendar.occurrence(self.config, date.fromisoformat(day))
        return found is None or found.begin <= now

    def written(self, moment: Occurrence) -> str:
        """Return the written time of a moment, which is the same in every time zone."""
        return f"{moment.day.isoformat()} {self.config.at}"

    def _planned(self, now: float) -> list[Occurrence]:
        at = self._planned_at
        if at is None or not at <= now < at + _PLAN_LIFETIME_S:
            self._planned_at = now
            since, until = now - self.config.late - 1, now + _AHEAD_S
            calendar, config, known = self._calendar, self.config, self._found
            self._found = {
                day: known[day] if day in known else calendar.occurrence(config, day)
                for day in calendar.days(config, since, until)
            }
            found = [each for each in self._found.values() if each]
            self._plan = [each for each in found if each.overlaps(since, until)]
            next_days = calendar.days(config, now, now + _PLAN_LIFETIME_S)
            self.missing = [day for day in next_days if self._found.get(day) is None]
        return self._plan
