"""The engine beside a model: random schedules around changes of the clocks of many zones, under
clocks that are set, restarts, power cuts, reloads and commands of people."""

import random
import zoneinfo
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from tests.automation.house import House, config
from tests.automation.oracle import DAY, Almanac, Span, transitions
from tests.automation.test_times import PLACES, SINCE, ZONES, random_clock, random_schedule

LATE_S = 60
FUTURE_S = 25 * 3600
PAST_S = 3 * DAY
GUARD_S = 130
"""Time around the ends of windows of the sun in which the oracle and we may differ."""
WINDOW_PINS, PULSE_PINS = ("lamp", "porch"), ("zone1", "zone2")


class Model:
    """What the outputs should be, from the spans of an oracle and from all that happened."""

    def __init__(self, almanac: Almanac) -> None:
        self._almanac = almanac
        self.schedules: dict[str, dict] = {}
        self._spans: dict[str, list[Span]] = {}
        self.paused: set[str] = set()
        self.skipped: dict[str, set[object]] = {}
        self.ran: dict[tuple[str, str], float] = {}
        self.pulses: dict[str, tuple[str, float, float]] = {}
        """By schedule: the pin, and the beginning and end in seconds of uptime."""
        self.moves: list[tuple[str, object, str]] = []

    def load(self, schedules: dict[str, dict], now: float | None) -> None:
        """Use schedules; `now` is the time of a reload, None at a start."""
        for name in self.schedules.keys() | schedules.keys():
            if self.schedules.get(name) != schedules.get(name):
                self.pulses.pop(name, None)
        before, self.schedules = self.schedules, schedules
        self._spans = {name: self._almanac.spans(keys) for name, keys in schedules.items()}
        for name in schedules if now is not None else ():
            if before.get(name) != schedules[name]:
                for span in self._due(name, now):
                    self.ran[name, self._written(name, span)] = span.begin
        self.paused &= schedules.keys()
        self.skipped = {name: days for name, days in self.skipped.items() if name in schedules}

    def _written(self, name: str, span: Span) -> str:
        return f"{span.day} {self.schedules[name]['at']}"

    def _due(self, name: str, now: float) -> list[Span]:
        return [
            span
            for span in self._spans[name]
            if span.end is None and now - LATE_S <= span.begin <= now
        ]

    def look(self, now: float, uptime: float, since: float) -> None:
        """Run what is due: called at each minute, and whenever something happened.

        The engine was awake, and its clock was not set, after `since`.
        """
        for name, keys in self.schedules.items():
            for span in self._due(name, now):
                key = name, self._written(name, span)
                skip = span.day in self.skipped.get(name, ())
                if name not in self.paused and not skip and key not in self.ran:
                    self.ran[key] = span.begin
                    if "cover" in keys:
                        self.moves.append((keys["cover"], keys["goal"], f"schedule {name}"))
                        continue
                    began = uptime - (now - span.begin if span.begin > since else 0)
                    self.pulses[name] = keys["pin"], began, began + keys["pulse"]
        self.pulses = {name: each for name, each in self.pulses.items() if each[2] > uptime - 0.1}

    def forget(self, now: float) -> None:
        self.ran = {key: at for key, at in self.ran.items() if now - PAST_S <= at <= now + FUTURE_S}

    def next(self, name: str, now: float) -> Span | None:
        return next((span for span in self._spans[name] if span.begin > now), None)

    def pause(self, name: str) -> None:
        self.paused.add(name)
        self.pulses.pop(name, None)

    def undo_skip(self, name: str, now: float) -> None:
        coming = {span.day for span in self._spans[name] if span.begin > now}
        days = self.skipped.pop(name, set())
        if days & coming and days - coming:
            self.skipped[name] = days - coming

    def value(self, pin: str, now: float, uptime: float) -> float | None:
        """Return the value of a pin, or None close to the end of a window of the sun."""
        best, found = (float("-inf"), 0), 0
        for place, (name, keys) in enumerate(self.schedules.items()):
            if keys.get("pin") != pin or name in self.paused:
                continue
            for span in self._spans[name]:
                if span.end is None or span.day in self.skipped.get(name, ()):
                    continue
                is_sun = "sun" in keys["from"] + keys["to"]
                ends = (span.begin, span.end)
                if is_sun and min(abs(now - each) for each in ends) < GUARD_S:
                    return None
                if span.begin <= now < span.end:
                    if is_sun and abs(span.begin - best[0]) < GUARD_S:
                        return None  # which began last is not known to the second
                    if (span.begin, place) > best:
                        best, found = (span.begin, place), keys["value"]
        pulses = [each for each in self.pulses.values() if each[0] == pin]
        if any(abs(end - uptime) < 0.1 for _, _, end in pulses):
            return None  # it ends now
        return 1 if pulses else found


class Story:
    """One random story, told to the engine and to the model."""

    def __init__(self, name: str, seed: int, folder) -> None:
        self.rng = random.Random(f"{name} {seed}")
        zone, place = ZoneInfo(name), PLACES.get(name)
        changes = list(transitions(zone, SINCE, SINCE + 3 * 366 * DAY)) or [SINCE]
        self.around = self.rng.choice(changes)
        self.place = place
        self.model = Model(Almanac(zone, place, self.around, 5))
        self.schedules = {f"s{each}": self.schedule() for each in range(self.rng.randint(2, 5))}
        start = self.around + self.rng.randint(-DAY, DAY) // 60 * 60 + self.rng.choice([0, 7])
        self.house = House(folder, name, float(start), self.config())
        self.model.load(self.schedules, None)
        self.told: list[str] = []
        self.awake_since = float("inf")
        self.look()

    def schedule(self) -> dict:
        """Return a random schedule: windows on some pins, pulses on others, or goals of a cover."""
        keys = random_schedule(self.rng, with_sun=self.place is not None)
        if "at" in keys and self.rng.random() < 0.3:
            goal = self.rng.choice(["open", "close", 40])
            return {**keys, "at": random_clock(self.rng), "cover": "shutter", "goal": goal}
        if "at" in keys:
            pin, pulse = self.rng.choice(PULSE_PINS), self.rng.choice([30, 600, 7200])
            return {**keys, "at": random_clock(self.rng), "pin": pin, "pulse": pulse}
        pin = self.rng.choice(WINDOW_PINS)
        value = 1 if pin == "lamp" else self.rng.choice([0.2, 0.5, 0.7, 1])
        return {**keys, "pin": pin, "value": value}

    def config(self):
        lines = [
            f"  {name}: {{{', '.join(f'{key}: {value}' for key, value in keys.items())}}}"
            for name, keys in self.schedules.items()
        ]
        place = self.place or (0, 0)
        where = f"location: {{latitude: {place[0]}, longitude: {place[1]}}}"
        return config("\n".join(lines).replace("'", ""), where)

    def look(self) -> None:
        house, model = self.house, self.model
        model.look(house.now, house.clock.uptime, self.awake_since)
        self.awake_since = house.now
        moments = [(pin, uptime) for pin, _, uptime in house.outputs.changes]
        assert len(moments) == len(set(moments)), ("another value in between", self.told)
        assert sorted(house.moves, key=str) == sorted(model.moves, key=str), self.told
        for pin in WINDOW_PINS + PULSE_PINS:
            wanted = model.value(pin, house.now, house.clock.uptime)
            assert wanted is None or house.value(pin) == wanted, (
                f"{pin} is {house.value(pin)}, not {wanted}, at {house.local} ({house.now:.0f})",
                self.told,
                self.schedules,
            )

    def tell(self) -> None:
        """Let one more thing happen."""
        acts = [self.sleep] * 6 + [self.step, self.restart, self.cut, self.reload]
        acts += [self.pause, self.resume, self.skip, self.undo_skip]
        act = self.rng.choice(acts)
        self.told.append(f"{self.house.local} {act.__name__}")
        self.house.clock.uptime += 2**-7  # no time is lost to rounding
        act()
        self.look()

    def sleep(self) -> None:
        for _ in range(self.rng.choice([3, 90, 400])):
            self.house.sleep(60 - self.house.now % 60 + self.rng.choice([0, 0, 0, 11]))
            self.look()
        self.house.clock.uptime += 2**-7
        if self.house.now > self.around + 2 * DAY:
            self.set(self.around - DAY + self.rng.randint(0, DAY))

    def step(self) -> None:
        now = self.house.now
        near = [-7200, -3600, -90, -30, 30, 90, 1800, 3600, 10000, -DAY, DAY]
        self.set(
            min(max(now + self.rng.choice(near), self.around - 3 * DAY), self.around + 2 * DAY)
        )

    def set(self, now: float) -> None:
        self.awake_since = float("inf")
        if now < self.house.now:
            self.model.forget(now)
        self.house.set_clock(now)

    def restart(self) -> None:
        self.awake_since = float("inf")
        self.house.restart(down_s=self.rng.choice([1, 20, 59, 3000]))
        self.model.forget(self.house.now)

    def cut(self) -> None:
        self.awake_since = float("inf")
        self.house.restart(down_s=self.rng.choice([25, 59, 3000]), power_cut=True)
        self.model.pulses.clear()
        self.model.forget(self.house.now)

    def reload(self) -> None:
        name = self.rng.choice([*self.schedules, "new"])
        if name != "new" and len(self.schedules) > 1 and self.rng.random() < 0.4:
            self.schedules = {key: keys for key, keys in self.schedules.items() if key != name}
        else:
            self.schedules = {**self.schedules, name: self.schedule()}
        self.model.load(self.schedules, self.house.now)
        self.house.reload(self.config())

    def pause(self) -> None:
        name = self.rng.choice(list(self.schedules))
        self.model.pause(name)
        self.house.engine.pause(name)

    def resume(self) -> None:
        name = self.rng.choice(list(self.schedules))
        self.model.paused.discard(name)
        self.house.engine.resume(name)
        self.house.step()

    def skip(self) -> None:
        name = self.rng.choice(list(self.schedules))
        wanted, found = self.model.next(name, self.house.now), self.house.engine.skip(name)
        if found:  # the almanac of the model ends before a year does
            assert wanted is None or found.day == wanted.day or "sun" in str(self.schedules[name])
            self.model.skipped.setdefault(name, set()).add(found.day)

    def undo_skip(self) -> None:
        name = self.rng.choice(list(self.schedules))
        self.model.undo_skip(name, self.house.now)
        self.house.engine.undo_skip(name)
        self.house.step()


def tell_story(zone: str, seed: int, folder, acts: int) -> None:
    story = Story(zone, seed, folder)
    for _ in range(acts):
        story.tell()


@pytest.mark.parametrize("zone", ZONES)
def test_engine_does_as_the_model(zone, tmp_path):
    """Whatever happens around a change of the clocks, each output has at each minute the value that
    a model gives it, which knows the definitions and an oracle of windows."""
    for seed in range(2):
        tell_story(zone, seed, tmp_path, acts=20)
        (tmp_path / "automation.json").unlink(missing_ok=True)


@pytest.mark.long
@pytest.mark.parametrize("zone", sorted(zoneinfo.available_timezones() - {"localtime"}))
def test_engine_does_as_the_model_in_all_zones(zone, tmp_path):
    """The same in all zones, for longer."""
    for seed in range(100, 103):
        tell_story(zone, seed, tmp_path, acts=60)
        (tmp_path / "automation.json").unlink(missing_ok=True)


def test_start_is_a_time_with_a_transition():
    """The stories are around changes of the clocks: all zones but those without any have them."""
    without = [
        name
        for name in ZONES
        if not list(transitions(ZoneInfo(name), SINCE, SINCE + 2 * 366 * DAY))
    ]
    assert without == ["America/Asuncion", "Pacific/Apia", "Asia/Kolkata", "UTC"]
    assert datetime.fromtimestamp(SINCE).year == 2025
