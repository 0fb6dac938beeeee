"""The 40-pin header of every Raspberry Pi from the B+ to the Pi 5, and the names of its pins."""

import re

GPIO_BY_POSITION = {
    3: 2, 5: 3, 7: 4, 8: 14, 10: 15, 11: 17, 12: 18, 13: 27, 15: 22, 16: 23, 18: 24, 19: 10, 21: 9,
    22: 25, 23: 11, 24: 8, 26: 7, 27: 0, 28: 1, 29: 5, 31: 6, 32: 12, 33: 13, 35: 19, 36: 16,
    37: 26, 38: 20, 40: 21,
}  # fmt: skip
"""BCM GPIO number by header position, 1-40. The other positions are power and ground."""

POSITION_BY_GPIO = {gpio: position for position, gpio in GPIO_BY_POSITION.items()}

_POSITION_BY_WIRINGPI = dict(
    enumerate(
        (11, 12, 13, 15, 16, 18, 22, 7, 3, 5, 24, 26, 19, 21, 23, 8, 10)  # WPI0 to WPI16
    )
) | dict(enumerate((29, 31, 33, 35, 37, 32, 36, 38, 40, 27, 28), start=21))

_NAME = re.compile(r"(GPIO|BCM|BOARD|J8:|WPI|)(0|[1-9][0-9]?)", re.ASCII | re.IGNORECASE)


def gpio_number(name: int | str) -> int | None:
    """Return the BCM number, 0-27, of a pin's name, or None if there is no such pin.

    All names that gpiozero takes are allowed: `17`, `GPIO17`, `BCM17`, `BOARD11`, `J8:11`, `WPI0`.
    """
    match = _NAME.fullmatch(str(name).strip())
    if not match:
        return None
    kind, number = match[1].upper(), int(match[2])
    if kind in ("BOARD", "J8:"):
        return GPIO_BY_POSITION.get(number)
    if kind == "WPI":
        return GPIO_BY_POSITION.get(_POSITION_BY_WIRINGPI.get(number, 0))
    return number if number in POSITION_BY_GPIO else None
