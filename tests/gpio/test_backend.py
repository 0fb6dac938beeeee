"""Backends of the pins. Real lines are tested on a virtual Pi (tests/gpio/virtual_pi)."""

import sys

import pytest
from gpiozero.exc import PinError

from raspi_server.gpio import backend, chardev
from raspi_server.gpio.backend import SimulatedFactory, UnavailableFactory, open_factory


def test_simulated_when_asked_for():
    """`gpio: simulated` is simulated, also on a Pi, and lgpio is not even imported."""
    assert isinstance(open_factory("simulated"), SimulatedFactory)
    assert "lgpio" not in sys.modules


def test_auto_is_simulated_where_there_is_no_pi(tmp_path, monkeypatch):
    """`gpio: auto` is simulated on any other machine."""
    monkeypatch.setattr(chardev, "_MODEL", tmp_path / "model")
    assert isinstance(open_factory("auto"), SimulatedFactory)
    (tmp_path / "model").write_text("Some Other Board\0")
    assert isinstance(open_factory("auto"), SimulatedFactory)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ImportError("No module named 'lgpio'"), r"No module named 'lgpio' \(sudo apt install "),
        (AttributeError("SET_PULL_UP"), r"SET_PULL_UP \(sudo apt install python3-lgpio"),
        (PermissionError(13, "Permission denied"), r"Permission denied \(.* usermod -aG gpio "),
        (FileNotFoundError("no chip"), r"no chip \(.* raspi-server doctor; .* gpio: simulated\)"),
    ],
)
def test_a_pi_without_gpio_is_never_quietly_simulated(tmp_path, monkeypatch, error, words):
    """On a Pi whose lines cannot be opened every pin says why and what to do about it."""
    (tmp_path / "model").write_text("Raspberry Pi 4 Model B Rev 1.4\0")
    monkeypatch.setattr(chardev, "_MODEL", tmp_path / "model")

    def fail() -> None:
        raise error

    monkeypatch.setattr(backend, "_real_factory", fail)
    factory = open_factory("auto")
    assert not factory.simulated
    with pytest.raises(PinError, match=words):
        factory.pin(17)


def test_a_closed_factory_still_knows_the_header():
    """Also where no pin can be opened the header can be shown."""
    factory = UnavailableFactory("broken")
    assert len(factory.board_info.headers["J8"].pins) == 40
    assert factory.holder(17) is None and factory.level(17) is None


def test_simulated_pins_forget_old_states():
    """A simulated pin that is switched a million times does not fill the memory."""
    pin = SimulatedFactory().pin(17)
    pin.output_with_state(0)
    for number in range(2000):
        pin.state = number % 2
    assert len(pin.states) <= 200


def test_simulated_pins_are_left_as_they_are():
    """Letting go of a simulated output leaves its level, as a Pi's kernel does."""
    factory = SimulatedFactory()
    pin = factory.pin(17)
    pin.output_with_state(1)
    factory.release(pin)
    assert (pin.function, pin.state) == ("output", 1)
