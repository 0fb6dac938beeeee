"""Sunrise and sunset beside a published table, and beside astral's own."""

from datetime import UTC, date, datetime, timedelta, timezone

import astral
import astral.sun
import pytest

from raspi_server.automation.sun import Sky
from raspi_server.config.schema import Location

DAY_S = 86400
ROUNDING_S = 60
"""The table has whole minutes, rounded, and its refraction near the poles is its own."""

TABLE = {
    # place, latitude, longitude, hours of its clock after UTC: date, sunrise, sunset
    ("Longyearbyen", 78.2167, 15.6333, 0): """2020-01-15 - - 2020-03-15 05:27 16:49
        2020-04-15 00:38 21:33 2020-06-15 - - 2020-08-15 - - 2020-10-15 07:29 13:54""",
    ("Anchorage", 61.2167, -149.8667, 0): """2020-01-15 18:57 01:19 2020-03-15 16:14 04:01
        2020-06-15 12:21 07:40 2020-09-15 15:28 04:22 2020-12-15 19:10 00:40""",
    ("60° N", 60.0, 0.0, 0): """2019-01-15 08:48 15:31 2019-03-15 06:18 18:01
        2019-06-15 02:36 21:25 2019-09-15 05:27 18:22 2019-12-15 08:57 14:53""",
    ("San Francisco", 37.7667, -122.4333, -8): """2012-01-15 07:24 17:14 2012-03-15 06:20 18:18
        2012-06-15 04:47 19:33 2012-09-15 05:52 18:17 2012-12-15 07:18 16:52""",
    ("Fredonia", 36.95, -112.52, -7): """2023-01-15 07:42 17:37 2023-03-15 06:41 18:37
        2023-06-15 05:10 19:51 2023-09-15 06:12 18:38 2023-12-15 07:36 17:15""",
    ("Buford", 34.1167, -84.0, -5): """2016-01-15 07:42 17:49 2016-03-15 06:46 18:44
        2016-06-15 05:24 19:49 2016-09-15 06:20 18:42 2016-12-15 07:35 17:28""",
    ("29° N", 29.0, -81.0, 0): """2019-01-15 12:19 22:48 2019-03-15 11:34 23:32
        2019-06-15 10:25 00:24 2019-09-15 11:09 23:29 2019-12-15 12:10 22:28""",
    ("Singapore", 1.2833, 103.8333, 0): """2020-01-15 23:12 11:15 2020-03-15 23:10 11:17
        2020-06-15 23:00 11:11 2020-09-15 22:56 11:03 2020-12-15 22:59 11:01""",
    ("Brasilia", -15.8, -47.85, 0): """2020-01-15 08:52 21:50 2020-03-15 09:15 21:25
        2020-06-15 09:36 20:48 2020-09-15 09:06 21:07 2020-12-15 08:35 21:39""",
    ("Auckland", -36.8333, 174.8, 0): """2020-01-15 17:18 07:42 2020-03-15 18:20 06:40
        2020-06-15 19:32 05:11 2020-09-15 18:19 06:12 2020-12-15 16:56 07:36""",
    ("60° S", -60.0, -150.0, 0): """2019-01-15 13:12 07:07 2019-03-15 15:48 04:31
        2019-06-15 19:03 00:58 2019-09-15 16:09 03:40 2019-12-15 12:31 07:18""",
    ("McMurdo", -77.85, 166.6667, 0): """2020-01-15 - - 2020-03-15 18:13 07:54
        2020-06-15 - - 2020-09-15 19:21 06:11 2020-10-15 15:09 10:06 2020-12-15 - -""",
}
"""Rise and set of the sun as the U.S. Naval Observatory published them for a year and place. The
dates are those of the clock: a sunset in the early hours is the one of the evening before."""

CITIES = {
    "Tromsø": (69.65, 18.96), "Reykjavik": (64.15, -21.94), "Edinburgh": (55.95, -3.19),
    "Munich": (48.14, 11.58), "Tokyo": (35.68, 139.69), "Honolulu": (21.31, -157.86),
    "Quito": (-0.18, -78.47), "Jakarta": (-6.2, 106.8), "Windhoek": (-22.56, 17.08),
    "Sydney": (-33.87, 151.21), "Dunedin": (-45.87, 170.5), "Ushuaia": (-54.8, -68.3),
}  # fmt: skip


def sky_at(latitude, longitude):
    return Sky(Location(latitude=latitude, longitude=longitude))


@pytest.mark.parametrize("place", TABLE, ids=lambda place: place[0])
def test_published_table(place):
    """At twelve places from 78° N to 78° S, on days of all seasons, the sun rises and sets within
    a minute of the published times, and neither where the table has none."""
    _, latitude, longitude, hours = place
    sky, zone = sky_at(latitude, longitude), timezone(timedelta(hours=hours))
    words = TABLE[place].split()
    for day, *times in zip(words[::3], words[1::3], words[2::3], strict=True):
        noon = datetime.fromisoformat(f"{day}T12:00").replace(tzinfo=zone)
        around = [sky.day(sky.number(noon.timestamp()) + each) for each in (-1, 0, 1)]
        for wanted, events in zip(
            times,
            ([each.sunrise for each in around], [each.sunset for each in around]),
            strict=True,
        ):
            moments = [datetime.fromtimestamp(each, zone) for each in events if each]
            found = [each for each in moments if each.date() == noon.date()]
            if wanted == "-":
                assert found == [], day
                continue
            published = datetime.fromisoformat(f"{day}T{wanted}").replace(tzinfo=zone)
            errors = [abs((each - published).total_seconds()) for each in found]
            assert min(errors, default=1e9) <= ROUNDING_S, (day, wanted, found)


@pytest.mark.parametrize("city", CITIES)
def test_astral_itself(city):
    """At twelve places from 69° N to 55° S our sunrises and sunsets are those of astral itself, but
    for those that it loses: its refraction is a little stronger, so they differ by up to a minute,
    or by more where the sun is low for long."""
    latitude, longitude = CITIES[city]
    sky, observer = sky_at(latitude, longitude), astral.Observer(latitude, longitude)
    first = datetime(2026, 1, 1, 12, tzinfo=UTC).timestamp()
    compared, lost = 0, []
    for each in range(0, 365, 3):
        day = sky.day(sky.number(first + each * 86400))
        steepness = (day.sunset or 0) - (day.sunrise or 0)
        for event, ask in ((day.sunrise, astral.sun.sunrise), (day.sunset, astral.sun.sunset)):
            theirs = list(asked(ask, observer, first + each * 86400))
            if event is None:
                continue
            error = min((abs(event - one) for one in theirs), default=DAY_S)
            if error > DAY_S / 2:
                lost.append(event)
                continue
            compared += 1
            assert error <= (90 if 4 * 3600 < steepness < 20 * 3600 else 240), (each, error)
    assert compared > 150
    assert not lost or city in ("Reykjavik", "Tromsø"), lost


def asked(ask, observer, around):
    """Yield the moments that astral has for the dates around; it raises an error for some."""
    for each in (-1, 0, 1):
        day: date = datetime.fromtimestamp(around + each * 86400, UTC).date()
        try:
            yield ask(observer, day).timestamp()
        except ValueError:
            continue


def test_evenings_after_midnight_are_not_lost():
    """Each evening of a year has its sunset, also those in June whose sun sets after midnight: on
    two dates then there are none, or two, and asked by date they were lost."""
    sky = sky_at(65.7, -18.1)  # Akureyri, whose clock is that of UTC
    first = sky.number(datetime(2026, 5, 1, 12, tzinfo=UTC).timestamp())
    sunsets = [sky.day(first + each).sunset for each in range(120)]
    assert None not in sunsets
    dates = [datetime.fromtimestamp(each, UTC).date() for each in sunsets]
    assert len(set(dates)) < len(dates) or (dates[-1] - dates[0]).days > len(dates) - 1


def test_polar_night_and_day():
    """In polar night the sun is up at no time, in polar day at all times, and between the two each
    day has both events or the last of them."""
    sky = sky_at(69.65, 18.96)
    december, june = (
        sky.day(sky.number(datetime(2026, month, 21, 12, tzinfo=UTC).timestamp()))
        for month in (12, 6)
    )
    assert (december.sunrise, december.sunset, *december[5:]) == (None, None, False, False, False)
    assert (june.sunrise, june.sunset, *june[5:]) == (None, None, True, True, True)
    first = sky.number(datetime(2026, 1, 1, 12, tzinfo=UTC).timestamp())
    for day in (sky.day(first + each) for each in range(400)):
        assert day.begin < day.noon < day.end
        assert (day.sunrise is not None) == (day.is_up_at_noon and not day.is_up_at_begin)
        assert (day.sunset is not None) == (day.is_up_at_noon and not day.is_up_at_end)
    assert sky.day(first) == sky.day(first)
