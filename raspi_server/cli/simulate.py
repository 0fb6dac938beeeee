"""The command `raspi-server simulate`: what would switch when and why, over a stretch of time."""

import logging
import sys
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

from ..automation.given import Given, local_time, read
from ..automation.simulation import play
from ..automation.zone import SystemZone
from ..config.schema import Config
from ..config.source import load

_MAX_DAYS = 366


def show(file: Path, begin: str | None, end: str | None, inputs: Path | None) -> bool:
    """Print what the schedules and rules in `file` switch between two local times.

    Without them it is the next day. `inputs` is a file of what the inputs do, and people. Return
    False after printing an error; raise ConfigError.
    """
    config = load(file)
    zone = SystemZone()
    # What happens is in the answer. The log is for a server.
    logging.getLogger("raspi_server").setLevel(logging.ERROR)
    try:
        first = _option("--from", begin) if begin else datetime.now()
        last = _option("--to", end) if end else first + timedelta(days=1)
        given = _read(inputs, config, zone) if inputs else []
    except ValueError as error:
        return _fail(str(error))
    since, until = (each.replace(tzinfo=zone.zone).timestamp() for each in (first, last))
    if not 0 < until - since <= _MAX_DAYS * 86400:
        words = f"--to: expected a time after --from, and within {_MAX_DAYS} days, got {last}"
        return _fail(words)
    if not config.schedules and not config.rules:
        words = "has no schedules and no rules. The comments of config.yaml show examples."
        return _fail(f"{file} {words}")
    _print(config, since, until, zone, given)
    return True


def _print(
    config: Config, since: float, until: float, zone: SystemZone, given: Sequence[Given]
) -> None:
    width = max((len(each.name) for each in (*config.pins, *config.covers)), default=0)
    value_width = 7 if config.covers else 4
    print(f"in the time of {zone.name}:")
    events = play(config, since, until, zone, given)
    for each in events:
        when = datetime.fromtimestamp(each.moment, zone.zone).strftime("%a %Y-%m-%d %H:%M:%S")
        print(f"{when}  {each.pin:{width}}  {_shown(each.value):{value_width}} {each.why}")
    if not events:
        print("nothing switches in that time")
    if config.rules and not given:
        print("the inputs were off all the time; --inputs FILE says what they do, for the rules")


def _shown(value: float | str | None) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    return f"{value:g}" if 0 < value < 1 else "on" if value else "off"


def _read(file: Path, config: Config, zone: SystemZone) -> list[Given]:
    """Return what a file gives. Raise ValueError, which says why it cannot be read."""
    pins = {each.name: each for each in (*config.pins, *config.covers)}
    try:
        return read(file.read_text("utf-8"), str(file), pins, zone.zone)
    except OSError as error:
        raise ValueError(f"--inputs: {file}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"--inputs: {file}: expected text in UTF-8, got other bytes") from error


def _option(option: str, text: str) -> datetime:
    try:
        return local_time(text)
    except ValueError as error:
        raise ValueError(f"{option}: {error}") from error


def _fail(words: str) -> bool:
    print(words, file=sys.stderr)
    return False
