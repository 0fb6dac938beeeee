"""The plan of the outputs: what schedules want for each of them in the time to come."""

from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from .schedules import Schedule


class Segment(NamedTuple):
    """A time in which a schedule wants a value for an output. Times are Unix time."""

    begin: float
    end: float
    value: float
    schedule: str


class _Wish(NamedTuple):
    """What one window or pulse wants. Of several the one that began last decides."""

    begin: float
    place: int
    end: float
    value: float
    schedule: str


def plan(
    schedules: Iterable[Schedule], skipped: Mapping[str, Collection[str]], now: float, until: float
) -> dict[str, list[Segment]]:
    """Return what schedules want from `now` to `until`, by the names of outputs.

    `skipped` has the days that a schedule leaves out. Pulses that have begun are left to their pin.
    """
    wishes: dict[str, list[_Wish]] = {}
    for schedule in schedules:
        config = schedule.config
        if config.pin is None:
            continue
        for each in schedule.between(now, until, skipped.get(schedule.name, ())):
            end = each.end if each.end is not None else each.begin + (config.pulse or 0)
            if end > max(now, each.begin):
                value = config.value if each.end is not None else 1
                wish = _Wish(each.begin, schedule.place, end, value, schedule.name)
                wishes.setdefault(config.pin, []).append(wish)
    return {pin: _segments(found, now, until) for pin, found in wishes.items()}


def _segments(wishes: list[_Wish], now: float, until: float) -> list[Segment]:
    """Return the wishes that decide, in order, without those that have no time of their own."""
    bounds = sorted({now, until, *(w.begin for w in wishes), *(w.end for w in wishes)})
    bounds = [bound for bound in bounds if now <= bound <= until]
    found: list[Segment] = []
    for begin, end in zip(bounds, bounds[1:], strict=False):
        open_now = [wish for wish in wishes if wish.begin <= begin < wish.end]
        if not open_now:
            continue
        best = max(open_now)
        if found and (found[-1].end, found[-1].schedule) == (begin, best.schedule):
            found[-1] = found[-1]._replace(end=end)
        else:
            found.append(Segment(begin, end, best.value, best.schedule))
    return found


def next_change(segments: list[Segment], now: float, until: float) -> float | None:
    """Return the next time at which segments want another value, None if there is none."""
    at, value = now, None
    for segment in segments:
        if segment.begin > at and value is not None:
            return at  # nothing is wanted in between
        if segment.begin > now and segment.value != value:
            return segment.begin
        at, value = segment.end, segment.value
    return at if value is not None and at < until else None
