"""The plan of the outputs, beside a brute-force oracle: what is wanted at each minute."""

import random
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from raspi_server.automation.plan import Segment, next_change
from tests.automation.house import House, config
from tests.automation.oracle import WEEKDAYS, Almanac

HOURS = 24
ZONES = ("Europe/Berlin", "Australia/Lord_Howe", "Asia/Jakarta")
DAYS = ("2026-03-28", "2026-03-29", "2026-04-04", "2026-04-05", "2026-10-24", "2026-10-25")
TIMES = ("00:00", "01:45", "02:15", "02:30", "06:00", "06:10", "12:00", "18:00", "23:00")
PINS = ("lamp", "porch")


class Wishes:
    """What schedules want, worked out from the spans of the oracle minute by minute."""

    def __init__(self, schedules: dict[str, dict], almanac: Almanac, now: float) -> None:
        self._schedules, self._now = schedules, now
        self._spans = {name: almanac.spans(keys) for name, keys in schedules.items()}
        self.paused: set[str] = set()
        self.skipped: dict[str, object] = {}

    def next_day(self, name: str) -> object:
        return next((span.day for span in self._spans[name] if span.begin > self._now), None)

    def _awake(self):
        for place, (name, keys) in enumerate(self._schedules.items()):
            for span in self._spans[name] if name not in self.paused else ():
                if span.day != self.skipped.get(name):
                    yield place, name, keys, span

    def wanted(self, pin: str, moment: float) -> tuple[str, float] | None:
        """Return the schedule that decides, and its value. A pulse that has begun is none."""
        found = []
        for place, name, keys, span in self._awake():
            if keys.get("pin") != pin:
                continue
            end = span.begin + keys["pulse"] if span.end is None else span.end
            is_old = span.end is None and span.begin < self._now
            if span.begin <= moment < end and not is_old:
                value = 1 if span.end is None else keys["value"]
                found.append((span.begin, place, name, value))
        return max(found)[2:] if found else None

    def next(self, pin: str, minutes: list[int]) -> float | None:
        """Return the first minute with another wish, or at which a moment turns the pin off."""
        off = [
            span.begin
            for _, _, keys, span in self._awake()
            if pin in keys.get("turn_off", ()) and minutes[0] <= span.begin <= minutes[-1]
        ]
        values = [found and found[1] for found in (self.wanted(pin, each) for each in minutes)]
        now = self.wanted(pin, self._now)
        changes = [
            minute
            for minute, value in zip(minutes, values, strict=True)
            if value != (now and now[1])
        ]
        return min(off + changes, default=None)


def random_schedule(rng: random.Random) -> dict:
    days = rng.sample(WEEKDAYS, rng.randint(3, 7))
    pin, begin, end = rng.choice(PINS), *rng.sample(TIMES, 2)
    if rng.random() < 0.15:
        return {"at": begin, "turn_off": list(PINS), "days": days}
    if rng.random() < 0.3:
        return {"pin": "lamp", "at": begin, "pulse": rng.choice([60, 600, 7200]), "days": days}
    value = rng.choice([0, 1] if pin == "lamp" else [0, 0.4, 1])
    return {"pin": pin, "from": begin, "to": end, "value": value, "days": days}


def written(keys: dict) -> str:
    parts = {key: f"[{', '.join(value)}]" if isinstance(value, list) else value
             for key, value in keys.items()}  # fmt: skip
    return "{" + ", ".join(f"{key}: {value}" for key, value in parts.items()) + "}"


@pytest.mark.parametrize("seed", range(60))
def test_plan_beside_the_oracle(seed):
    """The segments of a day are what the oracle finds at each minute, around changes of the clock,
    with overlaps, pulses, paused and skipped schedules. So are the next changes."""
    rng = random.Random(seed)
    zone = rng.choice(ZONES)
    schedules = {f"s{each}": random_schedule(rng) for each in range(rng.randint(1, 5))}
    text = "\n".join(f"  {name}: {written(keys)}" for name, keys in schedules.items())
    start = datetime.fromisoformat(f"{rng.choice(DAYS)} {rng.randrange(24):02}:10:30")
    now = start.replace(tzinfo=ZoneInfo(zone)).timestamp()
    house = House(None, zone, now, config(text))
    wishes = Wishes(schedules, Almanac(ZoneInfo(zone), None, now, 9), now)
    for name in schedules:
        if rng.random() < 0.2:
            house.engine.pause(name)
            wishes.paused.add(name)
        if rng.random() < 0.3:
            found = house.engine.skip(name)
            wishes.skipped[name] = wishes.next_day(name)
            assert (found and found.day) == wishes.skipped[name]
    until = now + HOURS * 3600
    plan, changes = house.engine.plan(now, until), house.engine.next_changes()
    minutes = list(range(int(now) + 30, int(until), 60))
    for pin in PINS:
        segments = plan.get(pin, [])
        assert all(a.end <= b.begin for a, b in zip(segments, segments[1:], strict=False))
        assert all(now <= each.begin < each.end <= until for each in segments)
        for minute in [now, *minutes]:
            found = [(s.schedule, s.value) for s in segments if s.begin <= minute < s.end]
            wanted = wishes.wanted(pin, minute)
            assert found == ([wanted] if wanted else []), (pin, minute - now)
        assert changes.get(pin) == wishes.next(pin, minutes), pin


def test_plan_without_a_clock():
    """While the clock is not known, nothing is planned."""
    house = House(
        None, "UTC", "2026-06-01 12:00", config("  one: {pin: lamp, from: 1:00, to: 23:00}")
    )
    assert house.engine.plan(house.now, house.now + 3600)
    house.engine.is_known = False
    house.step()
    assert (house.engine.plan(house.now, house.now + 3600), house.engine.next_changes()) == ({}, {})


SEGMENTS = [
    ([], None),
    ([Segment(0, 50, 1, "a")], 50),
    ([Segment(0, 100, 1, "a")], None),
    ([Segment(20, 50, 0, "a")], 20),
    ([Segment(0, 50, 1, "a"), Segment(50, 100, 1, "b")], None),
    ([Segment(0, 50, 1, "a"), Segment(50, 70, 1, "b"), Segment(70, 80, 0.4, "a")], 70),
    ([Segment(0, 50, 1, "a"), Segment(60, 70, 1, "b")], 50),
]


@pytest.mark.parametrize(("segments", "wanted"), SEGMENTS)
def test_next_change(segments, wanted):
    """The next change is where another value begins, or none is wanted, not where another schedule
    goes on with the same value; the end of the plan is none."""
    assert next_change(segments, 0, 100) == wanted
