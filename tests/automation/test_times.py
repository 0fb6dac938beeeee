"""Windows and moments as instants, beside an oracle that works them out by brute force."""

import random
import zoneinfo
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pytest

from raspi_server.automation.sun import Sky
from raspi_server.automation.times import Calendar
from raspi_server.config.errors import ConfigError
from raspi_server.config.schema import Location
from tests.automation.house import config
from tests.automation.oracle import DAY, Almanac, transitions

ZONES = (
    "Australia/Lord_Howe", "Antarctica/Troll", "America/Nuuk", "Europe/Berlin", "Europe/London",
    "Europe/Dublin", "America/New_York", "America/St_Johns", "America/Havana", "America/Santiago",
    "America/Asuncion", "Africa/Cairo", "Africa/Casablanca", "Asia/Beirut", "Asia/Gaza",
    "Pacific/Chatham", "Pacific/Apia", "Pacific/Norfolk", "Asia/Kolkata", "UTC",
)  # fmt: skip
SINCE = datetime(2025, 1, 1).timestamp()
PLACES = {
    "Europe/Berlin": (52.5, 13.4),
    "Antarctica/Troll": (-72.0, 2.5),
    "America/Nuuk": (64.2, -51.7),
    "Australia/Lord_Howe": (-31.5, 159.1),
    "Pacific/Apia": (-13.8, -171.8),
    "Pacific/Chatham": (-43.9, -176.5),
}
SUN_ERROR_S = 5
"""Difference of our times of the sun from those of the oracle, which has no shortcut."""
POLAR_ERROR_S = 120
"""The same inside the polar circles, where a sunset is flat, and the highest sun is not at noon."""


def random_clock(rng: random.Random, until: bool = False) -> str:
    """Return a time of the day, often one that a change of the clocks leaves out or doubles."""
    hour = rng.choice([0, 0, 1, 1, 2, 2, 3, 3, 22, 23, rng.randrange(24)])
    text = f"{hour:02}:{rng.choice([0, 0, 15, 30, 45, 59, rng.randrange(60)]):02}"
    return "24:00" if until and rng.random() < 0.1 else text


def random_time(rng: random.Random, with_sun: bool, until: bool = False) -> str:
    if not with_sun or rng.random() < 0.4:
        return random_clock(rng, until)
    event = rng.choice(["sunset", "sunrise"])
    return event + rng.choice(["", "", "+00:20", "-00:45", "+03:10", "-11:00", "+23:59"])


def random_schedule(rng: random.Random, with_sun: bool) -> dict:
    """Return the times of a schedule that config.yaml may have."""
    days = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
    keys = {"days": rng.sample(days, rng.randint(1, 6))} if rng.random() < 0.3 else {}
    if rng.random() < 0.3:
        return {"at": random_time(rng, with_sun), **keys}
    while True:
        begin, end = random_time(rng, with_sun), random_time(rng, with_sun, until=True)
        try:
            as_config({"from": begin, "to": end})
        except ConfigError:
            continue
        return {"from": begin, "to": end, **keys}


def as_config(schedule: dict, extra: str = ""):
    keys = ", ".join(f"{key}: {value}" for key, value in schedule.items()).replace("'", "")
    extra = extra or (", pin: lamp" + (", pulse: 5" if "at" in schedule else ""))
    text = f"  one: {{{keys}{extra}}}"
    return config(text, "location: {latitude: 1, longitude: 1}").schedules["one"]


def check_zone(name: str, seed: int, cases: int) -> None:
    """Compare the calendar with the oracle around a change of the clocks."""
    rng, zone, place = random.Random(f"{name} {seed}"), ZoneInfo(name), PLACES.get(name)
    changes = list(transitions(zone, SINCE, SINCE + 3 * 366 * DAY)) or [SINCE]
    around = rng.choice(changes)
    sky = Sky(Location(latitude=place[0], longitude=place[1])) if place else None
    almanac, calendar = Almanac(zone, place, around, 3), Calendar(zone, sky)
    since, until = around - 3 * DAY, around + 3 * DAY
    for _ in range(cases):
        schedule = random_schedule(rng, with_sun=bool(place))
        wanted = [
            each
            for each in almanac.spans(schedule)
            if each.begin < until and since < (each.end or each.begin + 1)
        ]
        found = list(calendar.occurrences(as_config(schedule), since, until))
        error = 0
        if "sun" in str({**schedule, "days": 0}):
            error = POLAR_ERROR_S if abs(place[0]) > 60 else SUN_ERROR_S
        assert agree(found, wanted, error, since, until), (name, around, schedule, found, wanted)


def agree(found: list, wanted: list, error: float, since: float, until: float) -> bool:
    """Tell if windows are the same but for the error of the sun, and those at the edges."""
    inner = [
        {each.day: each for each in spans if each.begin > since + 900 and each.begin < until - 900}
        for spans in (found, wanted)
    ]
    if error == 0:
        return [tuple(each) for each in found] == [tuple(each) for each in wanted]
    short = {
        day
        for spans in inner
        for day, each in spans.items()
        if each.end and each.end - each.begin <= 2 * error
    }
    mine, its = ({day: each for day, each in spans.items() if day not in short} for spans in inner)
    return mine.keys() == its.keys() and all(
        abs(mine[day].begin - its[day].begin) <= error
        and abs((mine[day].end or 0) - (its[day].end or 0)) <= error
        for day in mine
    )


@pytest.mark.parametrize("zone", ZONES)
def test_windows_and_moments_around_a_change_of_the_clocks(zone):
    """Around changes of the clocks of twenty zones, all windows and moments are where an oracle
    finds them that asks every minute what the clock shows."""
    for seed in range(2):
        check_zone(zone, seed, cases=30)


@pytest.mark.long
@pytest.mark.parametrize("zone", sorted(zoneinfo.available_timezones() - {"localtime"}))
def test_windows_and_moments_in_all_zones(zone):
    """The same in all zones."""
    for seed in range(10, 14):
        check_zone(zone, seed, cases=25)


EXAMPLES = [
    # schedule, zone, day, begin and end as UTC or None for no window
    ("from: 02:30, to: 04:00", "Europe/Berlin", "2026-03-29", "01:30 02:00"),  # the gap: 03:30
    ("from: 02:30, to: 03:15", "Europe/Berlin", "2026-03-29", None),  # ends before that
    ("from: 02:30, to: 03:30", "Europe/Berlin", "2026-03-29", None),  # both are one instant
    ("from: 02:10, to: 02:40", "Europe/Berlin", "2026-03-29", "01:10 01:40"),
    ("from: 01:30, to: 03:30", "Europe/Berlin", "2026-10-25", "23:30 02:30"),  # four hours
    ("from: 02:30, to: 02:45", "Europe/Berlin", "2026-10-25", "00:30 00:45"),  # the first of two
    ("at: 02:15, pulse: 1", "Australia/Lord_Howe", "2026-10-04", "15:45"),  # half an hour later
    ("at: 01:30, pulse: 1", "Antarctica/Troll", "2026-03-29", "01:30"),  # two hours later: 03:30
    ("from: 22:00, to: 24:00", "Africa/Cairo", "2026-04-23", "20:00 22:00"),  # midnight is 01:00
    ("from: 22:00, to: 06:00", "UTC", "2026-06-01", "22:00 06:00"),
]


@pytest.mark.parametrize(("keys", "zone", "day", "wanted"), EXAMPLES)
def test_days_on_which_the_clocks_change(keys, zone, day, wanted):
    """A time in a gap is later by its length, a doubled one is the first; the day is the written
    one. A window that ends before it begins is none."""
    schedule = config(f"  one: {{pin: lamp, {keys}}}").schedules["one"]
    found = Calendar(ZoneInfo(zone)).occurrence(schedule, date.fromisoformat(day))
    times = [datetime.fromtimestamp(each, UTC) for each in (found or ())[1:] if each]
    assert (" ".join(f"{each:%H:%M}" for each in times) or None) == wanted


SUN_EXAMPLES = [
    # AUTOMATION 9: beside the sun a clock time before noon is the morning, after noon the evening
    ("Europe/Berlin", (52.5, 13.4), "sunset+00:20", "23:00", "2026-06-21", "21:53 23:00"),
    ("Europe/London", (57.15, -2.1), "sunset+01:00", "23:00", "2026-06-21", None),  # 22:09 + 1 h
    ("Europe/Berlin", (52.5, 13.4), "sunset", "01:00", "2026-06-21", "21:33 01:00"),
    ("Europe/Berlin", (52.5, 13.4), "22:00", "sunrise", "2026-06-21", "22:00 04:43"),
    ("Europe/Berlin", (52.5, 13.4), "03:00", "sunrise", "2026-06-21", "03:00 04:43"),
    ("Europe/Berlin", (52.5, 13.4), "sunrise", "09:00", "2026-12-21", "08:14 09:00"),
    ("Europe/Berlin", (52.5, 13.4), "12:00", "sunset", "2026-12-21", "12:00 15:54"),
    # noon is after noon
    ("Europe/Berlin", (52.5, 13.4), "sunset", "12:00", "2026-12-21", None),
    ("Europe/Berlin", (52.5, 13.4), "sunset", "11:59", "2026-12-21", "15:54 11:59"),
    ("Europe/Berlin", (52.5, 13.4), "12:00", "sunrise", "2026-12-21", "12:00 08:15"),
    ("Europe/Berlin", (52.5, 13.4), "11:59", "sunrise", "2026-12-21", None),
    # the sunset of an evening in Iceland comes after midnight
    ("Atlantic/Reykjavik", (65.7, -18.1), "sunset", "sunrise", "2026-06-21", "01:02 01:26"),
    # Tromsø: polar day, polar night, and no sunset beside a clock time
    ("Europe/Oslo", (69.65, 18.96), "sunset", "sunrise", "2026-06-21", None),
    ("Europe/Oslo", (69.65, 18.96), "sunset", "sunrise", "2026-12-21", "11:42 11:42"),
    ("Europe/Oslo", (69.65, 18.96), "sunset", "23:00", "2026-12-21", None),
    ("Europe/Oslo", (69.65, 18.96), "sunrise", "sunset", "2026-12-21", None),
    ("Europe/Oslo", (69.65, 18.96), "sunrise", "sunset", "2026-06-21", "00:45 00:46"),
]


@pytest.mark.parametrize(("zone", "place", "begin", "end", "day", "wanted"), SUN_EXAMPLES)
def test_times_of_the_sun(zone, place, begin, end, day, wanted):
    """Windows of the sun are of the night or day that is meant, and in the polar circles they
    follow whether the sun is up."""
    sky = Sky(Location(latitude=place[0], longitude=place[1]))
    schedule = as_config({"from": begin, "to": end})
    found = Calendar(ZoneInfo(zone), sky).occurrence(schedule, date.fromisoformat(day))
    times = [datetime.fromtimestamp(each, ZoneInfo(zone)) for each in (found or ())[1:]]
    assert (" ".join(f"{each:%H:%M}" for each in times) or None) == wanted


@pytest.mark.parametrize("zone", PLACES)
def test_windows_at_an_instant_are_those_of_a_month(zone):
    """However far an offset moves a window from its day, it is found at each instant in it."""
    rng, (latitude, longitude) = random.Random(zone), PLACES[zone]
    calendar = Calendar(ZoneInfo(zone), Sky(Location(latitude=latitude, longitude=longitude)))
    begins = ["sunset-23:59", "sunrise+23:59", "sunset+23:59", "23:59", "sunrise-23:59", "00:00"]
    ends = ["sunset+23:59", "sunrise+23:59", "24:00", "sunset-12:00", "sunrise-23:00"]
    for begin in begins:
        for end in ends:
            try:
                schedule = as_config({"from": begin, "to": end})
            except ConfigError:  # the same time of the sun for both
                continue
            every = list(calendar.occurrences(schedule, SINCE, SINCE + 30 * DAY))
            for _ in range(30):
                at = SINCE + rng.randint(0, 30 * DAY)
                found = list(calendar.occurrences(schedule, at, at + 1))
                assert found == [each for each in every if each.begin <= at < each.end]
                assert calendar.is_open(schedule.begin, schedule.end, at) == bool(found)


def test_polar_night_is_one_window_without_a_gap():
    """From sunset to sunrise it is dark all polar night: each day's window begins where the last
    one ended, and none is there in polar day."""
    zone = ZoneInfo("Europe/Oslo")
    calendar = Calendar(zone, Sky(Location(latitude=69.65, longitude=18.96)))
    schedule = as_config({"from": "sunset+01:00", "to": "sunrise-01:00"})
    dark = [datetime(2026, 12, 5, tzinfo=zone).timestamp() + each * DAY for each in (0, 20)]
    windows = list(calendar.occurrences(schedule, *dark))
    assert (len(windows), windows[0].begin <= dark[0]) == (21, True)
    assert all(a.end == b.begin for a, b in zip(windows, windows[1:], strict=False))
    light = [datetime(2026, 6, 5, tzinfo=zone).timestamp() + each * DAY for each in (0, 20)]
    assert list(calendar.occurrences(schedule, *light)) == []
    moment = as_config({"at": "sunset"})
    assert list(calendar.occurrences(moment, *dark)) == []


def test_open_windows_of_a_rule():
    """`is_open` tells if a moment is in a window, whose days are those on which it begins."""
    calendar = Calendar(ZoneInfo("UTC"))
    begin, end = as_config({"from": "22:00", "to": "06:00"}).times
    for text, is_open in (("21:59", False), ("22:00", True), ("05:59", True), ("06:00", False)):
        moment = datetime.fromisoformat(f"2026-06-02T{text}+00:00").timestamp()  # a Tuesday
        assert calendar.is_open(begin, end, moment) == is_open
        assert calendar.is_open(begin, end, moment, ["mon"]) == (text == "05:59")
