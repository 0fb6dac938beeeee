"""Detection of a Raspberry Pi. It needs no GPIO library."""

from pathlib import Path
from typing import Literal

_MODEL = Path("/proc/device-tree/model")


def model() -> str:
    """Return the model in the device tree, or an empty text on other machines."""
    try:
        return _MODEL.read_text().rstrip("\0")
    except OSError:
        return ""


def on_raspberry_pi() -> bool:
    """Return True on a Raspberry Pi, by the model in the device tree."""
    return model().startswith("Raspberry Pi")


def are_real(kind: Literal["auto", "real", "simulated"]) -> bool:
    """Return True if the config's `gpio` key means real lines: `auto` does on a Raspberry Pi."""
    return kind == "real" or (kind == "auto" and on_raspberry_pi())
