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
    InputConfig,
    MqttConfig,
    OutputConfig,
)

_SYNONYMS = {
    **dict.fromkeys(("pin", "bcm", "number"), "gpio: NUMBER"),
    **dict.fromkeys(("name", "title", "description"), "label: TEXT"),
    **dict.fromkeys(("type", "direction"), "mode: input, output or pwm"),
    **dict.fromkeys(("invert", "inverted", "activelow", "inverting"), "active: low"),
    **dict.fromkeys(("activehigh",), "active: high"),
    **dict.fromkeys(("pullup", "pud"), "pull: up"),
    **dict.fromkeys(("pulldown",), "pull: down"),
    **dict.fromkeys(("bouncetime", "bounce"), "debounce: 20ms"),
    **dict.fromkeys(("default", "state", "value"), "initial: off, on or keep"),
    **dict.fromkeys(("deviceclass", "class", "category"), "kind: door, for example"),
    **dict.fromkeys(("area", "location", "zone", "floor"), "room: TEXT"),
    **dict.fromkeys(("symbol", "picture", "image"), "icon: NAME"),
    **dict.fromkeys(("hide", "invisible"), "hidden: true"),
    **dict.fromkeys(("broker", "host", "server", "port"), "url: mqtt://HOST:PORT"),
    **dict.fromkeys(("username", "login"), "user: NAME"),
}
"""What to write for keys of other programs, without _ and -."""


def has_alike(keys: Iterable[str], key: str) -> bool:
    """Tell if one of the keys is `key`, or may be meant to be."""
    return any(
        nearest(each.lower(), [key]) or _SYNONYMS.get(each.lower(), "").startswith(f"{key}:")
        for each in keys
        if each == key or each not in PIN_KEYS
    )


def unknown(key: str, keys: Iterable[str]) -> str:
    """Return the message for a `key` that is none of the `keys` of its section."""
    keys = tuple(keys)
    near = nearest(key.lower(), keys)
    synonym = _SYNONYMS.get(re.sub("[_-]", "", key.lower()), "")
    if synonym.partition(":")[0] in keys:
        hint = f" (write {synonym})"
    else:
        hint = f" (did you mean {near}?)" if near else _place_of(key)
    if key.lower().startswith(("pass", "pwd")):  # its value is a secret, and no error shows it
        broker = "" if "password_file" in keys else "below mqtt, "
        hint = f" (write {broker}password_file: FILE, with the password alone in that file)"
    return f"expected one of the keys {', '.join(keys)}{hint}"


def _place_of(key: str) -> str:
    """Return where a key belongs that is at a wrong place, or an empty text."""
    places: dict[str, type[Struct]] = {
        "at the beginning of a line": Config,
        "below access": AccessConfig,
    }
    places |= {"below mqtt": MqttConfig, "below the name of a pin": OutputConfig}
    places |= {"below the name of a pin with mode: input": InputConfig}
    found = [
        place
        for place, struct in places.items()
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
