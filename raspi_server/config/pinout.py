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

_WIRINGPI = "WPI0 to WPI16 and WPI21 to WPI31"

_POWER = {1: "3.3 V", 17: "3.3 V", 2: "5 V", 4: "5 V"}
"""The header positions with a supply voltage. Those that are neither here nor a GPIO are ground."""

_NAME = re.compile(
    r"(?:(0|[1-9][0-9]?)|(GPIO|BCM|BOARD|J8:|WPI) ?(0?[0-9]|[1-9][0-9]))", re.ASCII | re.IGNORECASE
)
_GPIO_IN_TEXT = re.compile(r"(?:GPIO|BCM)[ _.:-]*0?([0-9]{1,2})(?![0-9])", re.IGNORECASE)
_NUMBER_IN_TEXT = re.compile(r"(?<![-0-9])0?([0-9]{1,2})(?![0-9])")


def gpio_number(name: int | str) -> int | None:
    """Return the BCM number, 0-27, of a pin's name, or None if there is no such pin.

    All names that gpiozero takes are allowed: `17`, `GPIO17`, `BCM17`, `BOARD11`, `J8:11`, `WPI0`;
    also `GPIO 17` and `GPIO04`.
    """
    kind, number = _parts(name)
    if kind in ("BOARD", "J8:"):
        return GPIO_BY_POSITION.get(number)
    if kind == "WPI":
        return GPIO_BY_POSITION.get(_POSITION_BY_WIRINGPI.get(number, 0))
    return number if number in POSITION_BY_GPIO else None


def gpio_advice(name: int | str) -> str:
    """Return what a name that is no GPIO may have meant, or an empty text."""
    kind, number = _parts(name)
    if kind == "WPI":
        return f"WPI{number} is a number of wiringPi, but the header has only {_WIRINGPI}"
    if kind in ("BOARD", "J8:"):
        return _about_position(number)
    if 28 <= number <= 40:
        is_gpio = number in GPIO_BY_POSITION
        end = f"write BOARD{number}" if is_gpio else _about_position(number)
        return f"header position? {end}"
    if kind is not None:
        return ""
    text = str(name)
    if re.search("wiring|wpi", text, re.IGNORECASE):
        found = re.search(r"(?<!\d)([0-9]{1,2})(?!\d)", text)
        wiring_pi = f"WPI{int(found[1])}" if found else ""
        is_pin = gpio_number(wiring_pi) is not None
        return f"write {wiring_pi}" if is_pin else gpio_advice(wiring_pi) if found else ""
    found = _GPIO_IN_TEXT.search(text) or _NUMBER_IN_TEXT.search(text)
    if found:
        number = int(found[1])
        if found.re is _GPIO_IN_TEXT and number in POSITION_BY_GPIO:
            return f"write {number} for GPIO{number}"
        if number in POSITION_BY_GPIO:
            by_position = f", or BOARD{number} for header position {number}"
            also = by_position if number in GPIO_BY_POSITION else ""
            return f"write {number} for GPIO{number}{also}"
    return ""


def _parts(name: int | str) -> tuple[str | None, int]:
    """Return the kind of a pin's name, empty for a bare number, and its number.

    Text of any other form has None and -1.
    """
    match = _NAME.fullmatch(str(name).strip(" "))
    if match is None:
        return None, -1
    return (match[2] or "").upper(), int(match[1] or match[3])


def _about_position(position: int) -> str:
    if not 1 <= position <= 40:
        return "the header has positions 1 to 40"
    return f"position {position} is {_POWER.get(position, 'ground')}, not a GPIO"
