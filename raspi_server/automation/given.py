"""What a simulation is given: a file of lines `time,pin,value`, such as a spreadsheet writes."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, tzinfo
from typing import NamedTuple

from ..config.errors import Diagnostic, nearest
from ..config.schema import CoverConfig, InputConfig, PinConfig, PwmConfig
from ..config.strict_yaml import quote

_COLUMNS = ["time", "pin", "value"]
_EXAMPLE = "2026-06-21T18:00,door,on"
_AUTO = "auto"
_MOVES = ("open", "close", "stop")
Pins = Mapping[str, PinConfig | CoverConfig]
"""What a line may name: the pins and covers of a configuration."""
_YEARS = range(1970, 3000)


class Given(NamedTuple):
    """The value that an input has from a Unix time on, or an output that is switched by hand then.

    The value None ends what was switched by hand. For a cover it is a word, or a position.
    """

    moment: float
    pin: str
    value: float | str | None


def local_time(text: str) -> datetime:
    """Return a local time. Raise ValueError, which says what was expected."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or found.tzinfo is not None:
        words = "expected a date or a local time such as 2026-06-21 or 2026-06-21T18:00"
        raise ValueError(f"{words}, got {quote(text)}")
    if found.year not in _YEARS:
        raise ValueError(f"expected a year from 1970 to {_YEARS[-1]}, got {quote(text)}")
    return found


def read(text: str, file: str, pins: Pins, zone: tzinfo) -> list[Given]:
    """Return what the text of a file gives, in the order of time.

    A first line with the names of the columns is left out. Semicolons may separate, too. Raise
    ValueError, whose message has a line for each wrong line.
    """
    lines = text.removeprefix("\ufeff").splitlines()
    separator = ";" if lines and ";" in lines[0] and "," not in lines[0] else ","
    found: list[Given] = []
    errors: list[Diagnostic] = []
    for number, fields in _fields(lines, separator):
        try:
            found.append(_given(fields, pins, zone))
        except ValueError as error:
            errors.append(Diagnostic(file, number, "", str(error)))
    if errors:
        raise ValueError("\n".join(str(error) for error in errors))
    return sorted(found, key=lambda each: each.moment)


def _fields(lines: Sequence[str], separator: str) -> Iterator[tuple[int, list[str]]]:
    """Yield each line that has something, with its number, but not the names of the columns."""
    for number, line in enumerate(lines, 1):
        fields = [field.strip() for field in next(csv.reader([line], delimiter=separator), [])]
        is_header = number == 1 and [field.lower() for field in fields] == _COLUMNS
        if any(fields) and not is_header:
            yield number, fields


def _given(fields: list[str], pins: Pins, zone: tzinfo) -> Given:
    """Return what a line gives. Raise ValueError, which says what was expected."""
    if len(fields) != len(_COLUMNS):
        got = quote(",".join(fields))
        raise ValueError(f"expected time,pin,value, such as {_EXAMPLE}, got {got}")
    time, name, value = fields
    moment = local_time(time).replace(tzinfo=zone).timestamp()
    if name not in pins:
        near = nearest(name, pins)
        hint = f" (did you mean {near}?)" if near else ""
        raise ValueError(f"expected the name of a pin or a cover, got {quote(name)}{hint}")
    found = pins[name]
    for cover in pins.values():
        if isinstance(cover, CoverConfig) and name in cover.outputs:
            words = f"expected an output of no cover, got {name}; write {cover.name},open"
            raise ValueError(words)
    if isinstance(found, CoverConfig):
        return Given(moment, name, _move(value.lower(), found))
    return Given(moment, name, _value(value.lower(), found))


def _move(text: str, cover: CoverConfig) -> float | str:
    if text in _MOVES:
        return text
    try:
        value = float(text) if cover.has_position else -1
    except ValueError:
        value = -1
    if 0 <= value <= 100:
        return value
    choices = "open, close or stop"
    if cover.has_position:
        choices = "open, close, stop or a number from 0 to 100"
    raise ValueError(f"expected {choices} for {cover.name}, got {quote(text)}")


def _value(text: str, pin: PinConfig) -> float | None:
    if text == _AUTO and not isinstance(pin, InputConfig):
        return None
    try:
        value = {"on": 1.0, "off": 0.0}[text] if text in ("on", "off") else float(text)
    except ValueError:
        value = -1
    if value in (0, 1) or (isinstance(pin, PwmConfig) and 0 < value < 1):
        return value
    choices = "on or off" if isinstance(pin, InputConfig) else "on, off or auto"
    if isinstance(pin, PwmConfig):
        choices = "on, off, auto or a number from 0 to 1"
    raise ValueError(f"expected {choices} for {pin.name}, got {quote(text)}")
