"""Backends of the pins. Real lines are tested on a virtual Pi (tests/gpio/virtual_pi)."""

from unittest.mock import Mock

import pytest
from gpiozero.exc import PinError

from raspi_server.gpio import kernel_backend, raspberry_pi
from raspi_server.gpio.backend import SimulatedFactory, UnavailableFactory, open_factory


def test_the_kind_of_lines(tmp_path, monkeypatch):
    """`auto` is real on a Raspberry Pi only. `simulated` is never real."""
    model = tmp_path / "model"
    monkeypatch.setattr(raspberry_pi, "_MODEL", model)
    assert not raspberry_pi.are_real("auto")
    for text, is_pi in (("Some Other Board\0", False), ("Raspberry Pi 4 Model B Rev 1.4\0", True)):
        model.write_text(text)
        assert raspberry_pi.are_real("auto") is is_pi
        assert raspberry_pi.are_real("real") and not raspberry_pi.are_real("simulated")
        assert isinstance(open_factory("simulated"), SimulatedFactory)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            ImportError("No module named 'gpiod'"),
            r"named 'gpiod' \(.* scripts/install.sh",
        ),
        (PermissionError(13, "Permission denied"), r"Permission denied \(.* usermod -aG gpio "),
        (FileNotFoundError("no chip"), r"no chip \(.* raspi-server doctor; .* gpio: simulated\)"),
    ],
)
def test_gpio_that_cannot_be_opened(monkeypatch, error, message):
    """If real lines cannot be opened, they are not simulated: each pin fails with the reason and
    the remedy. The header is known nevertheless."""
    monkeypatch.setattr(kernel_backend, "KernelFactory", Mock(side_effect=error))
    factory = open_factory("real")
    assert isinstance(factory, UnavailableFactory) and not factory.simulated
    with pytest.raises(PinError, match=message):
        factory.pin(17)
    assert len(factory.board_info.headers["J8"].pins) == 40
    assert factory.holder(17) is None and factory.level(17) is None


def test_simulated_pins():
    """A simulated pin keeps at most 200 states, so that its memory is limited. A released output
    keeps its level, as on a Raspberry Pi."""
    factory = SimulatedFactory()
    pin = factory.pin(17)
    pin.output_with_state(0)
    for number in range(500):
        pin.state = number % 2
    assert len(pin.states) <= 200
    factory.release(pin)
    assert (pin.function, pin.state) == ("output", 1)
