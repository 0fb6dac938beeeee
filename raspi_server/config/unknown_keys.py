"""Keys that a section of config.yaml does not have, and what was probably meant by them."""

import re
from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec import Struct

from .converters import choice
from .errors import nearest
from .schema import (
    MODES,
    PIN_KEYS,
    AccessConfig,
    Config,
    CoverConfig,
    InputConfig,
    MqttConfig,
    OutputConfig,
    RuleConfig,
    ScheduleConfig,
)

_SYNONYMS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("pin", "input", "sensor"), ("gpio: NUMBER", "when: NAME")),
    **dict.fromkeys(("bcm", "number"), ("gpio: NUMBER",)),
    **dict.fromkeys(("name", "title", "description"), ("label: TEXT",)),
    **dict.fromkeys(("type", "direction"), ("mode: input, output or pwm",)),
    **dict.fromkeys(("invert", "inverted", "activelow", "inverting"), ("active: low",)),
    **dict.fromkeys(("activehigh",), ("active: high",)),
    **dict.fromkeys(("pullup", "pud"), ("pull: up",)),
    **dict.fromkeys(("pulldown",), ("pull: down",)),
    **dict.fromkeys(("bouncetime", "bounce"), ("debounce: 20ms",)),
    **dict.fromkeys(("default", "state"), ("initial: off, on or keep", "value: 0 or 1")),
    **dict.fromkeys(("value",), ("initial: off, on or keep", "set: {NAME: 0.4}")),
    **dict.fromkeys(("deviceclass", "class", "category"), ("kind: door, for example",)),
    **dict.fromkeys(("area", "location", "zone", "floor"), ("room: TEXT",)),
    **dict.fromkeys(("symbol", "picture", "image"), ("icon: NAME",)),
    **dict.fromkeys(("hide", "invisible"), ("hidden: true",)),
    **dict.fromkeys(("broker", "host", "server", "port"), ("url: mqtt://HOST:PORT",)),
    **dict.fromkeys(("username", "login"), ("user: NAME",)),
    **dict.fromkeys(("if", "trigger", "event"), ("when: NAME",)),
    **dict.fromkeys(("then", "do", "action", "actions", "switchon"), ("turn_on: NAME",)),
    **dict.fromkeys(("on",), ("from: 18:00", "turn_on: NAME")),
    **dict.fromkeys(("off",), ("to: 23:00", "turn_off: NAME")),
    **dict.fromkeys(("start", "starts", "begin", "begins", "after"), ("from: 18:00",)),
    **dict.fromkeys(("stop", "stops", "end", "ends", "until", "before"), ("to: 23:00",)),
    **dict.fromkeys(("time", "moment", "when"), ("at: 06:30",)),
    **dict.fromkeys(("duration", "length", "seconds"), ("pulse: SECONDS", "hold: SECONDS")),
    **dict.fromkeys(("output", "outputs", "device"), ("pin: NAME", "turn_on: NAME")),
    **dict.fromkeys(("cron", "crontab"), ("at: 06:30 and days: [mon, fri]",)),
    **dict.fromkeys(("lat",), ("latitude: DEGREES",)),
    **dict.fromkeys(("lon", "lng", "long"), ("longitude: DEGREES",)),
    **dict.fromkeys(("weekday", "weekdays", "day"), ("days: [mon, fri]",)),
    **dict.fromkeys(("delay", "hysteresis"), ("for: SECONDS",)),
    **dict.fromkeys(("condition", "conditions"), ("only: {from: 18:00, to: 23:00}",)),
}
"""What to write for keys of other programs, without _ and -. The first whose key is there."""


def has_alike(keys: Iterable[str], key: str) -> bool:
    """Tell if one of the keys is `key`, or may be meant to be."""
    return any(
        nearest(each.lower(), [key]) or _synonym(each, (key,))
        for each in keys
        if each == key or each not in PIN_KEYS
    )


def unknown(key: str, keys: Iterable[str]) -> str:
    """Return the message for a `key` that is none of the `keys` of its section."""
    from .masking import is_secret  # only for a key that is an error: a start is slow on a small Pi

    keys = tuple(keys)
    near = nearest(key.lower(), keys)
    if synonym := _synonym(key, keys):
        hint = f" (write {synonym})"
    else:
        hint = f" (did you mean {near}?)" if near else _place_of(key)
    if is_secret(key):
        broker = "" if "password_file" in keys else "below mqtt, "
        hint = f" (write {broker}password_file: FILE, with the password alone in that file)"
        if "view" in keys or key.lower().endswith("code"):  # that of phones
            hint = " (no code is in this file: sudo raspi-server code --new control makes one)"
    return f"expected one of the keys {', '.join(keys)}{hint}"


def _synonym(key: str, keys: Iterable[str]) -> str:
    """Return what to write for a key of another program, or an empty text."""
    known = _SYNONYMS.get(re.sub("[_-]", "", key.lower()), ())
    return next((each for each in known if each.partition(":")[0] in keys), "")


def _place_of(key: str) -> str:
    """Return where a key belongs that is at a wrong place, or an empty text."""
    places: dict[str, type[Struct]] = {
        "at the beginning of a line": Config,
        "below access": AccessConfig,
    }
    places |= {"below mqtt": MqttConfig, "below the name of a pin": OutputConfig}
    places |= {"below the name of a pin with mode: input": InputConfig}
    others: dict[str, type[Struct]] = {
        "below the name of a schedule": ScheduleConfig,
        "below the name of a rule": RuleConfig,
        "below the name of a cover": CoverConfig,
    }
    found = [
        place
        for place, struct in places.items()
        if key in {field.encode_name for field in msgspec.structs.fields(struct)} - {"name"}
    ] or [
        place
        for place, struct in others.items()
        if key in {field.encode_name for field in msgspec.structs.fields(struct)} - {"name"}
    ]
    return f" ({key} belongs {choice(found)})" if found else ""


def misplaced(key: str, mode: str | None, fields: dict[str, Any]) -> str:
    """Return the message for a `key` that a pin of this `mode` does not have."""
    owners = [
        name
        for name, struct in MODES.items()
        if key in {field.encode_name for field in msgspec.structs.fields(struct)} - {"name"}
    ]
    if owners:
        return f"expected only with mode: {' or '.join(owners)}, got it with mode: {mode}"
    return unknown(key, ["mode", *fields])
