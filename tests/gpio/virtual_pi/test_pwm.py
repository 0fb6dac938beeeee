"""Dimmed outputs: no jump at the start, fine steps, and steady through a reload."""

from itertools import pairwise
from statistics import median

import pytest

from tests.gpio.virtual_pi.pi import Pi, Record

CONFIG = """
  dark: {gpio: 4, mode: pwm}
  bright: {gpio: 5, mode: pwm, initial: on}
  dark-low: {gpio: 6, mode: pwm, active: low}
  bright-low: {gpio: 12, mode: pwm, active: low, initial: on}
  third: {gpio: 13, mode: pwm, initial: 0.339, frequency: 0.1}
"""
OTHER = "  other: {gpio: 24, mode: output, initial: on}\n"
THIRD = 13


def pulses(record: Record, gpio: int) -> list[float]:
    """The lengths, in seconds, for which the line was high."""
    events = [event for event in record.events if event.gpio == gpio]
    return [b.moment - a.moment for a, b in pairwise(events) if a.what == "set 1"]


def wait_for_level(pi: Pi, level: int) -> None:
    pi.wait_for(lambda: pi.level(THIRD) == level, f"the line shows {level}")


def test_pwm(pi: Pi) -> None:
    """A pin that starts dark or bright is so from the first moment, whichever level means on; 33.9
    percent are not 33; and a reload for another pin's sake touches nothing."""
    with pi.record() as record:
        pi.start(CONFIG)
        wait_for_level(pi, 1)
    steady = {4: 0, 5: 1, 6: 1, 12: 0}
    for gpio, level in steady.items():
        assert set(record.of(gpio)) == {f"set {level}", "out"}, gpio
    assert record.of(THIRD)[:2] == ["set 0", "out"]
    with pi.record() as record:
        pi.reload(CONFIG + OTHER)
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
