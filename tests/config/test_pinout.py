"""Our table of the header against gpiozero's own, for one board of each kind we serve."""

import pytest
from gpiozero import PiBoardInfo

from raspi_server.config.pinout import GPIO_BY_POSITION, POSITION_BY_GPIO, gpio_number

BOARDS = {
    "Zero-W": 0x9000C1,
    "3B": 0xA02082,
    "4B": 0xC03111,
    "5B": 0xC04170,
    "Zero-2W": 0x902120,
}


@pytest.fixture(params=BOARDS.values(), ids=BOARDS)
def board(request):
    return PiBoardInfo.from_revision(request.param)


def gpio_of(pin):
    """The BCM number gpiozero gives a header pin, or None for power, ground and the like."""
    numbers = [name for name in pin.names if isinstance(name, int)]
    return numbers[0] if "gpio" in pin.interfaces and numbers else None


def test_every_name_gpiozero_has_for_a_header_pin_means_the_same_pin_here(board):
    """Each of gpiozero's names of a pin of the header means in config.yaml the same
    pin, and power and ground are no pins."""
    seen = set()
    for position, pin in board.headers["J8"].pins.items():
        gpio = gpio_of(pin)
        seen.add(gpio)
        for name in {f"BOARD{position}", f"J8:{position}", *pin.names}:
            assert gpio_number(name) == gpio, name
    assert seen == {None, *range(28)}


def test_every_position_of_the_header_is_where_gpiozero_has_it(board):
    """The header on the page has every GPIO at the position where it is on the board."""
    table = {position: gpio_of(pin) for position, pin in board.headers["J8"].pins.items()}
    assert {position: gpio for position, gpio in table.items() if gpio is not None} == (
        GPIO_BY_POSITION
    )
    assert {gpio: position for position, gpio in GPIO_BY_POSITION.items()} == POSITION_BY_GPIO


def test_a_pin_of_another_header_is_no_pin(board):
    """A contact beside the 40-pin header, such as RUN, cannot be taken for a GPIO."""
    for header in set(board.headers) - {"J8"}:
        for pin in board.headers[header].pins.values():
            for name in pin.names:
                assert gpio_number(name) is None, name


@pytest.mark.parametrize(
    "name",
    [17, "17", "GPIO17", "gpio17", " GPIO17 ", "BCM17", "BOARD11", "Board11", "J8:11", "j8:11"]
    + ["WPI0", "wpi0"],
)
def test_people_may_write_a_pin_as_they_are_used_to(name):
    """Every usual name of a pin, in capitals or not, is understood."""
    assert gpio_number(name) == 17


@pytest.mark.parametrize(
    "name",
    [28, -1, 170, "", " ", "GPIO", "GPIO28", "GPIO-1", "GPIO017", "017", "17.0", "1e1", "GPIO 17"]
    + ["BOARD0", "BOARD1", "BOARD6", "BOARD41", "BOARD011", "J8:1", "J8:41", "J8:", "J9:11"]
    + ["WPI17", "WPI20", "WPI32", "WPI-1", "seventeen", "GPIO१७", "GPIO17\nGPIO18", "3V3", "GND"],
)
def test_a_name_of_no_pin_is_no_pin(name):
    """A name that gpiozero does not know, or that says two things, is never guessed at."""
    assert gpio_number(name) is None
