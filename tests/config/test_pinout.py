"""Our table of the header against gpiozero's, for one board of each kind that we support."""

import pytest
from gpiozero import PiBoardInfo

from raspi_server.config.pinout import GPIO_BY_POSITION, POSITION_BY_GPIO, gpio_number

BOARDS = {"Zero-W": 0x9000C1, "3B": 0xA02082, "4B": 0xC03111, "5B": 0xC04170, "Zero-2W": 0x902120}


@pytest.fixture(params=BOARDS.values(), ids=BOARDS)
def board(request):
    return PiBoardInfo.from_revision(request.param)


def gpio_of(pin):
    """Return gpiozero's BCM number of a header pin, or None for power, ground and the like."""
    numbers = [name for name in pin.names if isinstance(name, int)]
    return numbers[0] if "gpio" in pin.interfaces and numbers else None


def test_header_pins_have_the_names_and_positions_of_gpiozero(board):
    """Each of gpiozero's names of a header pin means the same pin here; power and ground mean
    none. Each GPIO has the position that it has on the board."""
    table = {position: gpio_of(pin) for position, pin in board.headers["J8"].pins.items()}
    assert set(table.values()) == {None, *range(28)}
    for position, pin in board.headers["J8"].pins.items():
        for name in {f"BOARD{position}", f"J8:{position}", *pin.names}:
            assert gpio_number(name) == table[position], name
    by_position = {position: gpio for position, gpio in table.items() if gpio is not None}
    assert by_position == GPIO_BY_POSITION
    assert {gpio: position for position, gpio in by_position.items()} == POSITION_BY_GPIO


def test_pin_of_another_header_is_no_pin(board):
    """A contact of another header than the one with 40 pins, such as RUN, is no GPIO."""
    for header in set(board.headers) - {"J8"}:
        for pin in board.headers[header].pins.values():
            for name in pin.names:
                assert gpio_number(name) is None, name


@pytest.mark.parametrize(
    "name", [17, "17", "GPIO17", "gpio17", " GPIO17 ", "BCM17", "Board11", "j8:11", "WPI0", "wpi0"]
)
def test_usual_names_of_a_pin_are_accepted(name):
    """Each usual name of a pin is accepted, in capitals or not."""
    assert gpio_number(name) == 17


@pytest.mark.parametrize(
    "name",
    [28, -1, 170, "", "GPIO", "GPIO28", "GPIO017", "017", "17.0", "GPIO 17", "BOARD0", "BOARD1"]
    + ["BOARD41", "BOARD011", "J8:1", "J9:11", "WPI17", "WPI20", "WPI32", "WPI-1", "seventeen"]
    + ["GPIO१७", "GPIO17\nGPIO18", "3V3"],
)
def test_other_names_are_no_pin(name):
    """A name that gpiozero does not know is no pin."""
    assert gpio_number(name) is None
