"""Forecast for `raspi-server check`: the next times of schedules, and what a year of them shows."""

import time
from collections.abc import Iterator, Sequence
from datetime import date, datetime, tzinfo
from itertools import islice
from typing import NamedTuple

from ..config.errors import Diagnostic
from ..config.schema import Config, DrivenConfig, OutputConfig, ScheduleConfig
from .schedules import Schedule
from .sun import Sky
from .times import Calendar, Occurrence
from .zone import SystemZone

_YEAR_S = 366 * 86400
_SHOWN = 3
_MAX_DATES = 5


class Problem(NamedTuple):
    """What is wrong with a key of a schedule, or of a rule, in words."""

    name: str
    key: str
    message: str
    is_error: bool = True
    section: str = "schedules"

    def at(self, file: str, lines: dict[str, int]) -> Diagnostic:
        """Return it with its line: that of the key, else that of the schedule or rule."""
        path = f"{self.section}.{self.name}"
        line = lines.get(f"{path}.{self.key}", lines.get(path))
        return Diagnostic(file, line, f"{path}.{self.key}", self.message)


class _Span(NamedTuple):
    """Time for which a schedule has its pin on: a window, or the pulse of a moment."""

    begin: float
    end: float
    name: str
    pin: str


class Forecast:
    """The schedules of a configuration from `now` on, in the time zone of the system."""

    def __init__(
        self, config: Config, now: float | None = None, zone: SystemZone | None = None
    ) -> None:
        self._config = config
        self._zone = zone or SystemZone()
        self._now = time.time() if now is None else now
        sky = Sky(config.location) if config.location else None
        self._calendar = Calendar(self._zone.zone, sky)
        self._pins = {pin.name: pin for pin in config.pins}

    def next_times(self) -> Iterator[str]:
        """Yield a line for each schedule, with its next times."""
        if self._config.schedules:
            yield f"schedules, in the time of {self._zone.name}:"
        for place, (name, config) in enumerate(self._config.schedules.items()):
            coming = Schedule(name, place, config, self._calendar).coming(self._now)
            times = [self._show(each) for each in islice(coming, _SHOWN)]
            yield f"  {name}: {', '.join(times) or 'never in the next 366 days'}"

    def problems(self) -> Iterator[Problem]:
        """Yield what the next 366 days show."""
        spans: list[_Span] = []
        for name, config in self._config.schedules.items():
            found = list(self._calendar.occurrences(config, self._now, self._now + _YEAR_S))
            yield from self._missing(name, config)
            yield from self._too_long(name, config, found)
            spans += self._spans(name, config, found)
        yield from self._overlaps(sorted(spans))
        yield from self._joined(sorted(spans))
        for name, rule in self._config.rules.items():
            if rule.only:
                window = ScheduleConfig(begin=rule.only.begin, end=rule.only.end)
                for each in self._missing(name, window):
                    yield each._replace(key="only.to", section="rules")

    def _missing(self, name: str, config: ScheduleConfig) -> Iterator[Problem]:
        first = self._calendar.local_date(self._now)
        last = self._calendar.local_date(self._now + _YEAR_S)
        days = [
            day
            for day in self._calendar.days(config, self._now, self._now + _YEAR_S)
            if first <= day < last and self._calendar.occurrence(config, day) is None
        ]
        if not days:
            return
        key, what = ("at", "moment") if config.at else ("to", "window")
        message = f"no {what} on {_dates(days)}: {_reason(config)}"
        yield Problem(name, key, message, is_error=False)

    def _too_long(
        self, name: str, config: ScheduleConfig, found: Sequence[Occurrence]
    ) -> Iterator[Problem]:
        pin = self._pins.get(config.pin or "")
        windows = [(each.end - each.begin, each.day) for each in found if each.end]
        if not isinstance(pin, DrivenConfig) or not windows or not config.value:
            return
        longest, day = max(windows, key=lambda window: window[0])
        for limit, key in self._limits(pin):
            if longest > limit:
                message = f"expected at most {_length(limit)}, the {key} of {pin.name}"
                yield Problem(name, "to", f"{message}, got {_length(longest)} on {day}")

    def _limits(self, pin: DrivenConfig) -> Iterator[tuple[float, str]]:
        pulse = pin.pulse if isinstance(pin, OutputConfig) else None
        for limit, key in ((pulse, "pulse"), (pin.max_on, "max_on")):
            if limit is not None:
                yield limit, key

    def _joined(self, spans: Sequence[_Span]) -> Iterator[Problem]:
        """Yield when a limit first cuts each schedule that follows another one without a gap."""
        told = set()
        begins: dict[str, tuple[float, float]] = {}
        for span in spans:
            pin = self._pins.get(span.pin)
            begin, end = begins.get(span.pin, (0, 0))
            if span.begin > end:
                begin = span.begin
            begins[span.pin] = begin, max(end, span.end)
            for limit, key in self._limits(pin) if isinstance(pin, DrivenConfig) else ():
                is_cut = begin < span.begin and span.end - begin > limit
                if is_cut and span.end - span.begin <= limit and span.name not in told:
                    told.add(span.name)
                    when = _local(begin + limit, self._zone.zone)
                    message = f"{span.pin} is on before it, so its {key} switches it off at {when}"
                    yield Problem(span.name, self._first_key(span.name), message, is_error=False)

    def _spans(
        self, name: str, config: ScheduleConfig, found: Sequence[Occurrence]
    ) -> Iterator[_Span]:
        if config.pin and config.value:
            for each in found:
                end = each.end or each.begin + (config.pulse or 0)
                yield _Span(each.begin, end, name, config.pin)

    def _overlaps(self, spans: Sequence[_Span]) -> Iterator[Problem]:
        """Yield the first overlap of each two schedules on one pin, or on one group."""
        told = set()
        still: list[_Span] = []
        for span in spans:
            still = [each for each in still if each.end > span.begin]
            for other in still:
                names = frozenset((span.name, other.name))
                if len(names) == 2 and names not in told and self._share(span, other):
                    told.add(names)
                    yield self._overlap(span, other)
            still.append(span)

    def _share(self, span: _Span, other: _Span) -> bool:
        group = self._group(span.pin)
        return span.pin == other.pin or (group is not None and group == self._group(other.pin))

    def _overlap(self, span: _Span, other: _Span) -> Problem:
        key = self._first_key(span.name)
        when = _local(span.begin, self._zone.zone)
        if span.pin == other.pin:
            message = f"overlaps {other.name} on {span.pin} from {when}: the later one decides"
            return Problem(span.name, key, message, is_error=False)
        group = self._group(span.pin)
        message = f"expected one output of group {group} on at a time, got {span.pin} from {when}"
        return Problem(span.name, key, f"{message}, when {other.name} has {other.pin} on")

    def _first_key(self, name: str) -> str:
        return "at" if self._config.schedules[name].at else "from"

    def _group(self, name: str) -> str | None:
        pin = self._pins.get(name)
        return pin.group if isinstance(pin, OutputConfig) else None

    def _show(self, each: Occurrence) -> str:
        begin = _local(each.begin, self._zone.zone)
        if each.end is None:
            return begin
        end = _local(each.end, self._zone.zone)
        return f"{begin} to {end[-5:] if each.end - each.begin < 86400 else end}"


def _local(moment: float, zone: tzinfo) -> str:
    return datetime.fromtimestamp(moment, zone).strftime("%a %Y-%m-%d %H:%M")


def _dates(days: Sequence[date]) -> str:
    """Return days as text: all of a few, else how many and from when to when."""
    if len(days) <= _MAX_DATES:
        return ", ".join(day.isoformat() for day in days)
    return f"{len(days)} dates from {days[0]} to {days[-1]}"


def _reason(config: ScheduleConfig) -> str:
    if config.at:
        return f"the sun has no {config.at.sun} then"
    suns = {time.sun for time in config.times if time.sun}
    polar = f", or the sun has no {' or '.join(sorted(suns))} then" if suns else ""
    return f"its end ({config.end}) is not after its beginning ({config.begin}){polar}"


def _length(seconds: float) -> str:
    """Return a length of time, such as `90 s`, `10 min` or `16 h 30 min`."""
    if seconds < 120:
        return f"{seconds:g} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    parts = [f"{hours} h"] * (hours > 0) + [f"{minutes} min"] * (minutes > 0)
    return " ".join(parts)
