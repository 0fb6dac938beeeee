"""Meaning of the levels of inputs, in words for the owner of config.yaml."""

from collections.abc import Iterator, Mapping

from .cover_rules import is_reached
from .kinds import in_words
from .schema import CoverConfig, InputConfig, PinConfig


def meaning(pin: InputConfig) -> str:
    """Return what 1 means, such as `front: 1 = open = GPIO17 high (contact open)`.

    With a pull, a contact gives the pin the other level while it is closed.
    """
    word = pin.words.on if pin.words else in_words(pin.kind, "input")[0]
    return f"{pin.name}: 1 = {word} = {_level(pin, 1)}"


def meaning_of_cover(cover: CoverConfig, pins: Mapping[str, PinConfig]) -> str:
    """Return what the contacts of a cover mean, and what its outputs do."""
    return f"{cover.name}: {'; '.join((*_ends(cover, pins), _drive(cover, pins)))}"


def _ends(cover: CoverConfig, pins: Mapping[str, PinConfig]) -> Iterator[str]:
    for word, name in (("closed", cover.closed), ("open", cover.opened)):
        contact = pins[name] if name else None
        if isinstance(contact, InputConfig):
            value = int(is_reached(cover, contact, 1))
            yield f"{word} = {name} {value} = {_level(contact, value)}"
    if not cover.contacts:
        yield "no contacts, so its position is what it has travelled"


def _drive(cover: CoverConfig, pins: Mapping[str, PinConfig]) -> str:
    if cover.button:
        return f"{pins[cover.button]} starts, stops or reverses it"
    return f"{pins[cover.up or '']} opens it, {pins[cover.down or '']} closes it"


def _level(pin: InputConfig, value: int) -> str:
    """Return the level of a line that means a value, such as `GPIO17 high (contact open)`."""
    is_high = (pin.active == "high") == bool(value)
    text = f"GPIO{pin.gpio} {'high' if is_high else 'low'}"
    if pin.pull == "none":
        return text
    return f"{text} (contact {'open' if is_high == (pin.pull == 'up') else 'closed'})"
