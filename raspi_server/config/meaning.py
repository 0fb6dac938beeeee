"""Meaning of the levels of inputs, in words for the owner of config.yaml."""

from .kinds import in_words
from .schema import InputConfig


def meaning(pin: InputConfig) -> str:
    """Return what 1 means, such as `front: 1 = open = GPIO17 high (contact open)`.

    With a pull, a contact gives the pin the other level while it is closed.
    """
    word = pin.words.on if pin.words else in_words(pin.kind, "input")[0]
    text = f"{pin.name}: 1 = {word} = GPIO{pin.gpio} {pin.active}"
    if pin.pull == "none":
        return text
    is_open = (pin.active == "high") == (pin.pull == "up")
    return f"{text} (contact {'open' if is_open else 'closed'})"
