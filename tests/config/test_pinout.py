"""Our table of the header against gpiozero's, for one board of each kind that we support."""

import pytest
from gpiozero import PiBoardInfo

from raspi_server.config.pinout import (
    GPIO_BY_POSITION,
    POSITION_BY_GPIO,
    gpio_advice,
    gpio_number,
)

BOARDS = {"Zero-W": 0x9000C1, "3B": 0xA02082, "4B": 0xC03111, "5B": 0xC04170, "Zero-2W": 0x902120}


@pytest.mark.parametrize("revision", BOARDS.values(), ids=BOARDS)
def test_pins_have_the_names_and_positions_of_gpiozero(revision):
    """Each of gpiozero's names of a header pin means the same pin here. Power, ground and contacts
    of another header, such as RUN, are no GPIO. Each GPIO has its position on the board."""
    table = {}
    for header in PiBoardInfo.from_revision(revision).headers.values():
        for position, pin in header.pins.items():
            numbers = [name for name in pin.names if isinstance(name, int)]
            is_gpio = header.name == "J8" and "gpio" in pin.interfaces and numbers
            gpio = numbers[0] if is_gpio else None
            for name in pin.names:
                assert gpio_number(name) == gpio, name
            if header.name == "J8":
                assert gpio_number(f"BOARD{position}") == gpio_number(f"J8:{position}") == gpio
            if is_gpio:
                table[position] = gpio
    assert sorted(table.values()) == list(range(28))
    assert table == GPIO_BY_POSITION
    assert {gpio: position for position, gpio in table.items()} == POSITION_BY_GPIO


def test_usual_names_of_a_pin():
    """Each usual name of a pin is accepted. A name that gpiozero does not know is no pin."""
    for name in (17, "17", "gpio17", " GPIO17 ", "BCM17", "Board11", "j8:11", "wpi0"):
        assert gpio_number(name) == 17
    for name, number in (("GPIO 17", 17), ("BCM 17", 17), ("GPIO04", 4), ("board 03", 2)):
        assert gpio_number(name) == number
    for name in (28, -1, "", "GPIO", "GPIO28", "GPIO017", "17.0", "04", "seventeen", "GPIO१७"):
        assert gpio_number(name) is None
    for name in ("BOARD0", "BOARD1", "BOARD41", "J9:11", "WPI17", "WPI20", "WPI32", "17\n18"):
        assert gpio_number(name) is None


def test_advice_for_a_name_that_is_no_gpio():
    """A number or name that is no GPIO gets what was probably meant, or what is at its position."""
    for name, words in (
        (31, "header position? write BOARD31"),
        ("GPIO40", "header position? write BOARD40"),
        (30, "header position? position 30 is ground, not a GPIO"),
        ("BOARD1", "position 1 is 3.3 V, not a GPIO"),
        ("J8:4", "position 4 is 5 V, not a GPIO"),
        ("BOARD41", "the header has positions 1 to 40"),
        ("WPI17", "WPI17 is a number of wiringPi, but the header has only WPI0 to WPI16 and"
         " WPI21 to WPI31"),
        ("GP22", "write 22 for GPIO22, or BOARD22 for header position 22"),
        ("pin 20", "write 20 for GPIO20"),
        ("Pin 12 (GPIO18)", "write 18 for GPIO18"), ("12 (BCM 18)", "write 18 for GPIO18"),
        ("wiringPi 0", "write WPI0"), ("WiringPi3", "write WPI3"), ("wpi pin 3", "write WPI3"),
        ("wiringPi 17", "WPI17 is a number of wiringPi, but the header has only WPI0 to WPI16 and"
         " WPI21 to WPI31"),
        ("wiring", ""),
        (41, ""), (-1, ""), ("seventeen", ""),
    ):  # fmt: skip
        assert gpio_advice(name) == words
