"""Sunrise and sunset at a place.

astral has the position of the sun. Its own functions for sunrise and sunset are not used: they take
a date, and lose those evenings and mornings that fall on another date than the noon between them.
Here noons are numbered, and each has the sunrise before it and the sunset after it.
"""

from math import cos, radians, sin
from typing import NamedTuple

from ..config.schema import Location

_DAY_S = 86400
_HORIZON = sin(radians(-50 / 60))
"""Height of the sun's centre when its upper edge is at the horizon: 16' of radius, and 34' by which
the air lifts it."""
_STEPS = 17
"""Halvings of half a day, down to a third of a second."""
_MAX_KEPT = 1000
"""Days kept in memory: a walk over a year has no need to compute one twice."""


class SunDay(NamedTuple):
    """The day around one solar noon, in Unix time: from one solar midnight to the next.

    `sunrise` and `sunset` are None on a day without. The others tell if the sun is up at a moment.
    """

    begin: float
    noon: float
    end: float
    sunrise: int | None
    sunset: int | None
    is_up_at_begin: bool
    is_up_at_noon: bool
    is_up_at_end: bool


class Sky:
    """The sun above a place."""

    def __init__(self, location: Location) -> None:
        self._latitude = radians(location.latitude)
        self._east_s = location.longitude * 240
        self._days: dict[int, SunDay] = {}

    def number(self, moment: float) -> int:
        """Return the number of the solar noon nearest to a moment."""
        return round((moment + self._east_s) / _DAY_S - 0.5)

    def day(self, number: int) -> SunDay:
        """Return the day around the solar noon of this number."""
        if number not in self._days:
            if len(self._days) >= _MAX_KEPT:
                self._days.clear()
            self._days[number] = self._compute(number)
        return self._days[number]

    def _compute(self, number: int) -> SunDay:
        noon = self._noon(number)
        begin, end = (self._noon(number - 1) + noon) / 2, (noon + self._noon(number + 1)) / 2
        first, middle, last = (_declination(moment) for moment in (begin, noon, end))
        return SunDay(
            begin,
            noon,
            end,
            self._crossing(noon, middle, begin, first, is_rising=True),
            self._crossing(noon, middle, end, last, is_rising=False),
            self._is_up(first, 180),
            self._is_up(middle, 0),
            self._is_up(last, 180),
        )

    def _noon(self, number: int) -> float:
        from astral.sun import eq_of_time

        mean = (number + 0.5) * _DAY_S - self._east_s
        return mean - eq_of_time(_centuries(mean)) * 60

    def _is_up(self, declination: float, angle: float) -> bool:
        """Tell if the sun is up when it is `angle` degrees from its noon."""
        height = sin(self._latitude) * sin(declination) + (
            cos(self._latitude) * cos(declination) * cos(radians(angle))
        )
        return height > _HORIZON

    def _crossing(
        self, noon: float, at_noon: float, midnight: float, at_midnight: float, is_rising: bool
    ) -> int | None:
        """Return the moment between noon and midnight at which the sun crosses the horizon.

        Between the two, declination and angle change evenly enough: the error is below a second.
        """
        if not self._is_up(at_noon, 0) or self._is_up(at_midnight, 180):
            return None
        up, down = 0.0, 1.0
        for _ in range(_STEPS):
            part = (up + down) / 2
            if self._is_up(at_noon + (at_midnight - at_noon) * part, 180 * part):
                up = part
            else:
                down = part
        return round(noon + (midnight - noon) * up)


def _declination(moment: float) -> float:
    from astral.sun import sun_declination

    return radians(sun_declination(_centuries(moment)))


def _centuries(moment: float) -> float:
    """Return Julian centuries since noon of 2000-01-01, UTC."""
    return (moment / _DAY_S - 10957.5) / 36525
