"""The chip of the 40-pin header: the kernel's GPIO character device, through gpiod.

Importing this module imports gpiod, so only code for real lines does. `safe-state` uses nothing
else: each function here releases its line before it returns.
"""

import os

import gpiod
from gpiod.line import Direction, Value

_DEVICES = "/dev"
_LABELS = ("pinctrl-bcm2835", "pinctrl-bcm2711", "pinctrl-rp1")
"""Labels of the chip of the 40-pin header: on a Pi Zero to 3, a Pi 4, and a Pi 5, where
it is gpiochip0 or, on earlier kernels, gpiochip4."""
CONSUMER = "raspi-server"
"""Name under which the kernel lists the lines that we hold."""


def open_chip() -> gpiod.Chip:
    """Open the chip of the 40-pin header, found by its label.

    Raises OSError with the chips found instead, or with the device that could not be opened.
    """
    found = []
    open_error: OSError | None = None
    for name in sorted(os.listdir(_DEVICES)):
        if not name.startswith("gpiochip"):
            continue
        device = f"{_DEVICES}/{name}"
        try:
            chip = gpiod.Chip(device)
        except OSError as error:
            open_error = type(error)(error.errno, error.strerror, device)
            continue
        if (label := chip.get_info().label) in _LABELS:
            return chip
        chip.close()
        found.append(f"{name} is {label}")
    if open_error:
        raise open_error
    there = ", ".join(found) or "there is no gpiochip"
    raise FileNotFoundError(f"expected a gpiochip labelled {' or '.join(_LABELS)}, but {there}")


def holder(chip: gpiod.Chip, gpio: int) -> str | None:
    """Return the consumer name of the program that holds a line, or None.

    The line is not changed. Raises OSError.
    """
    line = chip.get_line_info(gpio)
    return (line.consumer or line.name or "another program") if line.used else None


def read(chip: gpiod.Chip, gpio: int) -> int:
    """Return the level of a line, 0 or 1, without changing its direction.

    Raises OSError; EBUSY if another program holds the line.
    """
    with chip.request_lines({gpio: gpiod.LineSettings()}, CONSUMER) as line:  # as it is
        return int(line.get_value(gpio) is Value.ACTIVE)


def leave(chip: gpiod.Chip, gpio: int, level: int | None) -> None:
    """Drive a line to a level, 0 or 1, or with None make it an input; then release it.

    One request sets direction and level together. Raises OSError; EBUSY if another program holds
    the line.
    """
    with chip.request_lines({gpio: settings_of(level)}, CONSUMER):
        pass


def settings_of(level: int | None) -> gpiod.LineSettings:
    """Return the settings of an output with a level, 0 or 1, or with None those of an input."""
    if level is None:
        return gpiod.LineSettings(direction=Direction.INPUT)
    return gpiod.LineSettings(direction=Direction.OUTPUT, output_value=Value(level))
