"""Outputs in the kernel's trace of their lines: at a start, a reload, a stop, and after a kill."""

import json
import re
from itertools import pairwise

import pytest

from tests.gpio.virtual_pi.pi import CHECKOUT, Pi, Record

STARTS = {
    17: ("off", "high", 0),
    18: ("off", "low", 1),
    19: ("on", "high", 1),
    22: ("on", "low", 0),
    23: ("restore", "high", 1),
    24: ("restore", "low", 0),
    4: ("keep", "high", 1),
    5: ("keep", "low", 1),
    25: ("keep", "high", 1),
    6: ("keep", "low", 0),
}
"""Outputs with their `initial`, `active` and first level. GPIO4 to 6 have a pull-up. Another
program has left GPIO25 high and GPIO6 low."""
DIMMED = """
  dark: {gpio: 12, mode: pwm}
  bright: {gpio: 13, mode: pwm, initial: on}
  dark-low: {gpio: 16, mode: pwm, active: low}
  bright-low: {gpio: 20, mode: pwm, active: low, initial: on}
  quarter: {gpio: 21, mode: pwm, initial: 0.25, frequency: 1}
  glow: {gpio: 26, mode: pwm, initial: 0.009, frequency: 1}
"""
STEADY = {12: 0, 13: 1, 16: 1, 20: 0}
QUARTER, GLOW = 21, 26
STATE = "/var/lib/raspi-server/levels.json"
OTHER = "  other: {{gpio: 27, mode: output, active: {}}}\n"


def pulses(record: Record, gpio: int) -> list[float]:
    """Return the times, in seconds, for which the line was high."""
    events = [event for event in record.events if event.gpio == gpio]
    return [b.moment - a.moment for a, b in pairwise(events) if a.what == "set 1"]


def is_quarter(record: Record) -> bool:
    """Return whether a pulse lasted a quarter of a second, which a busy host makes longer."""
    return any(seconds == pytest.approx(0.25, abs=0.05) for seconds in pulses(record, QUARTER))


def test_a_start_makes_no_pulse(pi: Pi) -> None:
    """An output is driven once, to its level, switched or dimmed, active high or low. `keep` takes
    over the level of a line without a kept state, `restore` the value before a power cut. 0.9
    percent are not rounded to 0. A reload that changes another pin touches none of them."""
    switched = "".join(
        f"  p{gpio}: {{gpio: {gpio}, mode: output, active: {active}, initial: '{initial}'}}\n"
        for gpio, (initial, active, _) in STARTS.items()
    )
    kept = {"boot": "long ago", "levels": {gpio: {"value": 1} for gpio in (23, 24, 4, 5)}}
    pi.run("gpioset gpiochip0 25=1 6=0; install -d -o raspi-server /var/lib/raspi-server")
    pi.write(STATE, json.dumps(kept))
    with pi.record() as record:
        pi.start(switched + DIMMED + OTHER.format("high"))
        for pin in (QUARTER, GLOW):
            pi.wait_for(lambda pin=pin: record.read() and pulses(record, pin) != [], "a pulse")
    assert {gpio: record.of(gpio) for gpio in STARTS} == {
        gpio: [f"set {level}", "out"] for gpio, (_, _, level) in STARTS.items()
    }
    for gpio, level in STEADY.items():
        assert set(record.of(gpio)) == {f"set {level}", "out"}, gpio
    assert record.of(QUARTER)[:2] == record.of(GLOW)[:2] == ["set 0", "out"]
    with pi.record() as record:
        pi.reload(switched + DIMMED + OTHER.format("low"))
        pi.wait_for(lambda: record.read() and is_quarter(record), "a pulse of a quarter second")
    assert record.of(27)[:3] == ["set 0", "set 1", "out"]
    pi.set("p24", 0)
    pi.wait_for(lambda: '"24":{"value":0' in pi.read(STATE), "it is saved")
    assert [event for event in record.events if event.gpio in STARTS] == []
    for gpio, level in STEADY.items():
        assert set(record.of(gpio)) == {f"set {level}"}
    # The FIFO of lgpio is in the runtime folder; the working directory does not change.
    assert pi.run("readlink /proc/$(systemctl show -P MainPID raspi-server)/cwd").strip() == "/"
    assert ".lgd-nfy" in pi.run("ls -A /run/raspi-server")
    assert ".lgd-nfy" not in pi.run("ls -A / /opt/raspi-server /etc/raspi-server")
    assert all(a != b and a.startswith("set") for a, b in pairwise(record.of(QUARTER)))


ENDS = [
    (4, "high", "off", "input"),
    (6, "high", "on", "keep"),
    (12, "high", "keep", "on"),
    (13, "high", "input", "off"),
    (16, "low", "off", "input"),
    (19, "low", "on", "keep"),
    (20, "low", "keep", "on"),
    (21, "low", "input", "off"),
]
"""Outputs with their `active`, `on_stop` and `on_failure`."""
LAMP, TAP = 5, 22


def end(active: str, how: str) -> list[str]:
    """Return the events of a line that another process claims to end it."""
    level = int((how == "on") == (active == "high"))
    return {"keep": [], "input": ["in"]}.get(how, [f"set {level}", "out"])


def test_a_stop_and_a_failure(pi: Pi) -> None:
    """A stop brings each output to its `on_stop`, a kill -9 to its `on_failure`, without a pulse.
    The lamp of the shipped example is off when the Pi has just started; once on, it flickers at
    neither. A pulse is off meanwhile, and goes on after the start. On a strict kernel a line has
    the level of its pull while no program holds it, and the journal says so."""
    text = (CHECKOUT / "config.yaml").read_text()
    example = re.search(r"^#  lamp:\n(#    .*\n)+", text, re.MULTILINE)
    assert example
    keep = "initial: keep, on_stop: keep, on_failure: keep"
    pins = f"  tap: {{gpio: {TAP}, mode: output, {keep}}}\n"
    pins += re.sub("^#", "", example[0], flags=re.MULTILINE)
    for gpio, active, on_stop, on_failure in ENDS:
        keys = f"on_stop: '{on_stop}', on_failure: '{on_failure}', initial: 'on'"
        pins += f"  p{gpio}: {{gpio: {gpio}, mode: output, active: {active}, {keys}}}\n"
    pi.start(pins)
    assert pi.level(LAMP) == 1
    pi.set("lamp", 1)
    with pi.record() as record:
        with pi.viewer() as viewer:
            viewer.command(type="pulse", pin="tap", seconds=3600)
        record.mark("stop")
        pi.systemctl("stop")
        record.mark("start")
        pi.start(pins)
        record.mark("kill")
        pi.kill()
        record.mark("strict")
        pi.write("/sys/module/gpio_sim/parameters/strict", "1")
        pi.start(pins)
        record.mark("end")
        pi.kill()
    high, low = ["set 1", "out"], ["set 0", "out"]
    assert record.of(LAMP) == ["stop", "start", *low, "kill", "strict", *low, "end"]
    taps = ["set 1", "stop", "set 0", "start", *high, "kill", *low, "strict", *high, "end", *low]
    assert record.of(TAP) == taps
    for gpio, active, on_stop, on_failure in ENDS:
        assert record.between(gpio, "stop", "start") == end(active, on_stop)[:1]
        assert record.between(gpio, "kill", "strict") == end(active, on_failure)
    assert [pi.level(gpio) for gpio, *_ in ENDS] == [1, 1, 0, 0, 0, 0, 0, 0]
    message = "this kernel releases a line that no program holds; it shows"
    assert f"p12 (GPIO12): {message} 0" in pi.journal
    assert f"p21 (GPIO21): {message} 0" in pi.journal
