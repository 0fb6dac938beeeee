"""Windows and moments as instants, beside an oracle that works them out by brute force."""

import random
import zoneinfo
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from raspi_server.automation.sun import Sky
from raspi_server.automation.times import Calendar
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
        except ValueError:
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
    """Tell if windows are the same but for the error of the sun; at the edges one may be missing."""
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
    for seed in range(3):
        check_zone(zone, seed, cases=25)


@pytest.mark.long
@pytest.mark.parametrize("zone", sorted(zoneinfo.available_timezones() - {"localtime"}))
def test_windows_and_moments_in_all_zones(zone):
    """The same in all zones."""
    for seed in range(10, 14):
        check_zone(zone, seed, cases=25)
