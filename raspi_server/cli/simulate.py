"""The command `raspi-server simulate`: what would switch when and why, over a stretch of time."""

import sys
from datetime import datetime, timedelta
from pathlib import Path

from ..automation.simulation import play
from ..automation.zone import SystemZone
from ..config.schema import Config, DrivenConfig
from ..config.source import load

_MAX_DAYS = 366


def show(file: Path, begin: str | None, end: str | None) -> bool:
    """Print the switching of the schedules in `file` between two local times.

    Without them it is the next day. Return False after printing an error; raise ConfigError.
    """
    config = load(file)
    zone = SystemZone()
    try:
        first = _moment(begin, "--from") if begin else datetime.now()
        last = _moment(end, "--to") if end else first + timedelta(days=1)
    except ValueError as error:
        return _fail(str(error))
    since, until = (each.replace(tzinfo=zone.zone).timestamp() for each in (first, last))
    if not 0 < until - since <= _MAX_DAYS * 86400:
        words = f"--to: expected a time after --from, and within {_MAX_DAYS} days, got {last}"
        return _fail(words)
    if not config.schedules:
        return _fail(f"{file} has no schedules. The comments of config.yaml show an example.")
    _print(config, since, until, zone)
    return True


def _print(config: Config, since: float, until: float, zone: SystemZone) -> None:
    labels = {pin.name: pin for pin in config.pins if isinstance(pin, DrivenConfig)}
    width = max((len(name) for name in labels), default=0)
    print(f"in the time of {zone.name}:")
    switches = play(config, since, until, zone)
    for each in switches:
        when = datetime.fromtimestamp(each.moment, zone.zone).strftime("%a %Y-%m-%d %H:%M:%S")
        value = f"{each.value:g}" if 0 < each.value < 1 else "on" if each.value else "off"
        print(f"{when}  {each.pin:{width}}  {value:4} {each.why}")
    if not switches:
        print("nothing switches in that time")


def _moment(text: str, option: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
        if found.tzinfo is None:
            return found
    except ValueError:
        pass
    words = "a date or a local time such as 2026-06-21 or 2026-06-21T18:00"
    raise ValueError(f"{option}: expected {words}, got {text!r}")


def _fail(words: str) -> bool:
    print(words, file=sys.stderr)
    return False
