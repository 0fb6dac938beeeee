"""Outputs start without a pulse, switched and dimmed, in the kernel's trace of their lines."""

from itertools import pairwise
from statistics import median

import pytest

from tests.gpio.virtual_pi.pi import Pi, Record

STOCK = """
import os
os.chdir("/run")
from gpiozero import Device, OutputDevice
from gpiozero.pins.lgpio import LGPIOFactory
Device.pin_factory = LGPIOFactory()
OutputDevice(17, active_high=False)
"""


def test_gpiozeros_own_factory_makes_a_pulse(pi: Pi) -> None:
    """The trace shows the pulse of gpiozero's own factory: it switches an active-low relay that
    starts off on for a moment."""
    pi.write("/tmp/stock.py", STOCK)
    with pi.record() as record:
        pi.run("python3 /tmp/stock.py")
    assert record.of(17)[:4] == ["in", "set 0", "out", "set 1"]


@pytest.mark.parametrize("active", ["high", "low"])
def test_an_output_starts_at_its_level(pi: Pi, active: str) -> None:
    """An output is driven once, to its level, active high or low."""
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


DIMMED = """
  dark: {gpio: 4, mode: pwm}
  bright: {gpio: 5, mode: pwm, initial: on}
  dark-low: {gpio: 6, mode: pwm, active: low}
  bright-low: {gpio: 12, mode: pwm, active: low, initial: on}
  third: {gpio: 13, mode: pwm, initial: 0.339, frequency: 0.1}
"""
OTHER = "  other: {gpio: 24, mode: output, initial: on}\n"
THIRD = 13


def pulses(record: Record, gpio: int) -> list[float]:
    """Return the times, in seconds, for which the line was high."""
    events = [event for event in record.events if event.gpio == gpio]
    return [b.moment - a.moment for a, b in pairwise(events) if a.what == "set 1"]


def wait_for_level(pi: Pi, level: int) -> None:
    pi.wait_for(lambda: pi.level(THIRD) == level, f"the line shows {level}")


def test_dimmed_outputs(pi: Pi) -> None:
    """A dimmed output starts dark or bright without a pulse, active high or low. 33.9 percent are
    not rounded to 33. A reload that changes another pin does not touch them."""
    with pi.record() as record:
        pi.start(DIMMED)
        wait_for_level(pi, 1)
    steady = {4: 0, 5: 1, 6: 1, 12: 0}
    for gpio, level in steady.items():
        assert set(record.of(gpio)) == {f"set {level}", "out"}, gpio
    assert record.of(THIRD)[:2] == ["set 0", "out"]
    with pi.record() as record:
        pi.reload(DIMMED + OTHER)
        assert pi.level(24) == 1
        first = pi.level(THIRD)
        for level in (1 - first, first, 1 - first):
            wait_for_level(pi, level)
    assert not {"in", "out"} & set(record.of(THIRD))
    assert all(a != b for a, b in pairwise(record.of(THIRD)))
    # 33 percent would be 3.3 s; a busy machine is late by tens of milliseconds.
    assert median(pulses(record, THIRD)) == pytest.approx(3.39, abs=0.045)
    for gpio, level in steady.items():
        assert set(record.of(gpio)) == {f"set {level}"}
