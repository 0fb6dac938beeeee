"""Rules for the keys of schedules. Each yields its violations; the parser adds the lines.

What depends on the calendar, such as windows that are too long, is in `automation/forecast.py`.
"""

from collections.abc import Container, Iterator, Mapping
from typing import Any

from .errors import nearest
from .rules import Violation, needs_unattended, no_cover, no_position, what_moves
from .schema import (
    CoverConfig,
    DrivenConfig,
    Location,
    OutputConfig,
    PinConfig,
    ScheduleConfig,
    TimeOfDay,
)

_MIDNIGHT = TimeOfDay(24 * 60)
_OF_MOMENTS = ("at", "pulse", "turn_off", "late")
_OF_PINS = ("pin", "value", "pulse", "turn_off")
_GOALS = "open, close or a number from 0 to 100"


def keys(present: Container[str], values: Mapping[str, Any]) -> Iterator[Violation]:
    """Check the keys of a schedule: those `present`, and the `values` of those that are valid."""
    if "cover" in present or "goal" in present:
        yield from _move(present, values)
    elif "at" in present:
        yield from _moment(present, values)
    elif "from" in present or "to" in present:
        yield from _window(present, values)
    else:
        message = "expected a window (from and to) or a moment (at), got neither"
        yield Violation("from", f"{message}; write from: 18:00 and to: 23:00, for example")
    if not any(key in present for key in ("pin", "turn_off", "cover", "goal")):
        yield Violation("pin", "expected the name of a pin, got nothing")
    if "days" in present and values.get("days") == ():
        yield Violation("days", "expected one day or more, got none; without days it is every day")


def _move(present: Container[str], values: Mapping[str, Any]) -> Iterator[Violation]:
    """Check a schedule that moves a cover, which has a moment and a goal."""
    if "cover" not in present:
        message = "expected only with cover, got no cover; write cover: NAME beside it"
        yield Violation("goal", message)
    if "goal" not in present:
        message = f"expected {_GOALS} beside cover, got nothing; write goal: close, for example"
        yield Violation("goal", message, "cover")
    for key in _OF_PINS:
        if key in present:
            hint = "; write goal in place of value" if key == "value" else ""
            message = f"expected a pin or a cover, got it with {_of_cover(present)}{hint}"
            yield Violation(key, message)
    for key in ("from", "to"):
        if key in present:
            message = f"expected at with {_of_cover(present)}, which moves at a moment, got {key}"
            yield Violation(key, f"{message}; write at: 18:00 for each move, for example")
    if not any(key in present for key in ("at", "from", "to")):
        message = "expected a time such as sunset or 18:00, got nothing"
        yield Violation("at", f"{message}; write at: sunset, for example", _of_cover(present))
    yield from _no_midnight("at", values)


def _of_cover(present: Container[str]) -> str:
    return "cover" if "cover" in present else "goal"


def _moment(present: Container[str], values: Mapping[str, Any]) -> Iterator[Violation]:
    for key in ("from", "to"):
        if key in present:
            yield Violation(key, "expected from and to, or at alone, got it beside at")
    if "value" in present:
        message = "expected only with from and to, got it with at"
        yield Violation("value", f"{message}; write from and to in place of at, for a state")
    elif "pulse" not in present and "turn_off" not in present:
        message = "expected pulse or turn_off beside at, got neither"
        yield Violation("at", f"{message}; write pulse: SECONDS, or for a state from and to")
    if "turn_off" in present:
        for key in ("pin", "pulse"):
            if key in present:
                yield Violation(key, "expected a pin with pulse, or turn_off, got it with turn_off")
    yield from _no_midnight("at", values)


def _window(present: Container[str], values: Mapping[str, Any]) -> Iterator[Violation]:
    for key, other in (("from", "to"), ("to", "from")):
        if key in present and other not in present:
            yield Violation(other, f"expected a time together with {key}, got nothing", key)
    for key in _OF_MOMENTS:
        if key in present:
            message = "expected only with at, got it with a window"
            hint = "; write turn_off: [PIN] and at" if key == "turn_off" else ""
            yield Violation(key, message + hint)
    yield from window(values)


def window(values: Mapping[str, Any]) -> Iterator[Violation]:
    """Check the two times of a window, as far as both are there."""
    yield from _no_midnight("from", values)
    begin, end = values.get("from"), values.get("to")
    if not begin or not end or begin.sun != end.sun:
        return
    if begin.minutes == end.minutes:
        yield Violation("to", f"expected another time than from, got {end} for both")
    elif begin.sun and begin.minutes > end.minutes:
        message = f"expected a time after from ({begin}), got {end} of the same {begin.sun}"
        yield Violation("to", message)


def _no_midnight(key: str, values: Mapping[str, Any]) -> Iterator[Violation]:
    if values.get(key) == _MIDNIGHT:
        yield Violation(key, "expected a time from 00:00 to 23:59, got 24:00; write 00:00")


def schedule(
    schedule: ScheduleConfig,
    pins: Mapping[str, PinConfig],
    covers: Mapping[str, CoverConfig],
    location: Location | None,
) -> Iterator[Violation]:
    """Check a schedule against its pins, its cover and the location."""
    key = "pin" if schedule.pin else "turn_off"
    for name in schedule.pins:
        pin = pins.get(name)
        if name in covers:
            message = f"expected an output or a pwm pin, got {name}, which is a cover"
            yield Violation(key, f"{message}; write cover: {name}, at and goal: close")
            continue
        if mover := what_moves(name, covers):
            message = f"expected an output of no cover, got {name}, which is one of {mover}"
            yield Violation(key, f"{message}; write cover: {mover}, at and goal: close")
            continue
        if not isinstance(pin, DrivenConfig):
            near = None if pin else nearest(name, pins)
            what = "an input" if pin else f"no pin (did you mean {near}?)" if near else "no pin"
            message = f"expected an output or a pwm pin, got {name}, which is {what}"
            yield Violation(key, message)
            continue
        if pin.confirm and not schedule.unattended:
            message = f"expected true, since {name} has confirm: true and a schedule asks nobody"
            yield Violation("unattended", f"{message}; write unattended: true", key)
        if isinstance(pin, OutputConfig):
            if schedule.value not in (0, 1):
                message = f"expected 0 or 1, got {schedule.value:g}: {name} cannot be dimmed"
                yield Violation("value", message)
        elif schedule.pulse:
            message = f"expected an output, got {name}, a pwm pin, which has no pulse"
            yield Violation("pin", f"{message}; write from and to, for a state")
    yield from _pulse(schedule, pins)
    yield from _cover(schedule, pins, covers)
    times = {"from": schedule.begin, "to": schedule.end, "at": schedule.at}
    yield from sun(times, location)


def _cover(
    schedule: ScheduleConfig, pins: Mapping[str, PinConfig], covers: Mapping[str, CoverConfig]
) -> Iterator[Violation]:
    """Check the cover of a schedule, and its goal."""
    if schedule.cover is None:
        return
    cover = covers.get(schedule.cover)
    if cover is None:
        yield Violation("cover", no_cover(schedule.cover, pins, covers))
        return
    if message := needs_unattended(cover, schedule.unattended, "a schedule"):
        yield Violation("unattended", message, "cover")
    if schedule.goal is not None and (message := no_position(cover, schedule.goal)):
        yield Violation("goal", message)


def sun(times: Mapping[str, TimeOfDay | None], location: Location | None) -> Iterator[Violation]:
    """Check that there is a location for times of the sun, each given by its key."""
    for key, time in times.items():
        if time and time.sun and not location:
            message = f"expected a location for {time}, got none"
            yield Violation(key, f"{message}; write location: {{latitude: …, longitude: …}}")


def _pulse(schedule: ScheduleConfig, pins: Mapping[str, PinConfig]) -> Iterator[Violation]:
    """Check that a pulse is no longer than the limits of its pin."""
    pin = pins.get(schedule.pin or "")
    if not schedule.pulse or not isinstance(pin, OutputConfig):
        return
    for limit, key in ((pin.pulse, "pulse"), (pin.max_on, "max_on")):
        if limit and schedule.pulse > limit:
            message = f"expected at most {limit:g} seconds, the {key} of {pin.name}"
            yield Violation("pulse", f"{message}, got {schedule.pulse:g}")
