"""Outputs without a blip, by the kernel's own record of every line."""

import pytest

from tests.gpio.virtual_pi.pi import Pi

STOCK = """
import os
os.chdir("/run")
from gpiozero import Device, OutputDevice
from gpiozero.pins.lgpio import LGPIOFactory
Device.pin_factory = LGPIOFactory()
OutputDevice(17, active_high=False)
"""


def test_the_judge_sees_the_blip_of_the_stock_factory(pi: Pi) -> None:
    """Other programs' pulse on an active-low relay that starts off, which this record shows,
    ours does not: switch it on for a moment."""
    pi.write("/tmp/stock.py", STOCK)
    with pi.record() as record:
        pi.run("python3 /tmp/stock.py")
    assert record.of(17)[:4] == ["in", "set 0", "out", "set 1"]


@pytest.mark.parametrize("active", ["high", "low"])
def test_an_output_starts_at_its_level_and_nowhere_else(pi: Pi, active: str) -> None:
    """Whichever level means on: an output is driven once, to the level it is to have."""
    starts = {17: "off", 22: "on", 23: "keep", 24: "restore"}
    pins = "".join(
        f"  {initial}: {{gpio: {gpio}, mode: output, active: {active}, initial: '{initial}'}}\n"
        for gpio, initial in starts.items()
    )
    for gpio in starts:
        pi.pull(gpio, up=active == "low")
    on = int(active == "high")
    with pi.record() as record:
        pi.start(pins)
    levels = {17: 1 - on, 22: on, 23: 1 - on, 24: 1 - on}
    assert {gpio: record.of(gpio) for gpio in starts} == {
        gpio: [f"set {level}", "out"] for gpio, level in levels.items()
    }
    assert {gpio: pi.level(gpio) for gpio in starts} == levels
