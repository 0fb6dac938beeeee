"""Schedules and rules on real lines: a button without a network, a start in a window, a power cut,
a boot without the time."""

import json
import time
from collections.abc import Iterator

import pytest

from tests.gpio.virtual_pi.pi import EVERYONE, Pi

BUTTON, LAMP, LOW, ZONE = 27, 17, 18, 22
SYNCHRONIZED = "/run/systemd/timesync/synchronized"
BOOT_ID = "/proc/sys/kernel/random/boot_id"
LINES = f"""
  lamp: {{gpio: {LAMP}, mode: output}}
  low: {{gpio: {LOW}, mode: output, active: low, on_stop: keep, on_failure: keep}}
  zone: {{gpio: {ZONE}, mode: output, max_on: 30min}}
"""
ALL_DAY = """
schedules:
  day: {pin: lamp, from: 00:00, to: 24:00}
  low: {pin: low, from: 00:00, to: 24:00}
"""
WATERING = """
schedules:
  watering: {pin: zone, at: 06:00, pulse: 600}
"""
WHILE_AWAY = """
schedules:
  evening: {pin: lamp, from: 18:00, to: 23:00}
  dawn: {pin: low, from: 00:00, to: 06:00}
  bath: {pin: zone, at: 18:59, pulse: 600}
"""
PRESS = f"""
import json, os, subprocess, sys, time
def level(gpio): return open(f"/run/gpio-sim/sim_gpio{{gpio}}/value").read().strip()
subprocess.run(["ip", "link", "set", "eth0", "down"], check=True)
try:
    seen = [level({LAMP})]
    for wanted in "10":
        for pull in ("pull-up", "pull-down"):
            open("/run/gpio-sim/sim_gpio{BUTTON}/pull", "w").write(pull)
            time.sleep(0.2)  # longer than its debounce
        until = time.monotonic() + 60
        while level({LAMP}) != wanted and time.monotonic() < until:
            time.sleep(0.01)
        seen.append(level({LAMP}))
finally:
    subprocess.run(["ip", "link", "set", "eth0", "up"], check=True)
open("/tmp/seen", "w").write("".join(seen))
"""


@pytest.fixture
def home(pi: Pi) -> Iterator[Pi]:
    """The Pi, whose clock is right, as the system says."""
    pi.run(f"mkdir -p /run/systemd/timesync; touch {SYNCHRONIZED}")
    try:
        yield pi
    finally:
        pi.run(f"systemctl stop raspi-server; date -s @{time.time()}; rm -f {SYNCHRONIZED}")
        pi.attempt(f"umount {BOOT_ID}")


def test_a_wall_button_needs_no_network(home: Pi) -> None:
    """A button toggles a lamp while the network is down, and nobody is connected."""
    button = f"  button: {{gpio: {BUTTON}, mode: input, kind: button}}\n"
    rule = "rules:\n  wall: {when: button, press: short, toggle: lamp}\n"
    home.start(LINES + button, EVERYONE + rule)
    home.write("/tmp/press.py", PRESS)
    home.run("systemd-run --quiet python3 /tmp/press.py")
    home.wait_for(lambda: home.attempt("cat /tmp/seen")[1] == "010", "it was on, and off again")
    assert "lamp (GPIO17): on, by rule wall" in home.journal


def test_a_start_in_a_window_makes_no_pulse(home: Pi) -> None:
    """The first level of a line is that of its window. A reload does not touch it, nor does a
    restart where `on_stop` keeps it; a failure brings it to its `on_failure`."""
    with home.record() as record:
        home.start(LINES, EVERYONE + ALL_DAY)
    assert record.of(LAMP) == ["set 1", "out"]
    assert record.of(LOW) == ["set 0", "out"]
    assert set(record.of(ZONE)) == {"set 0", "out"}
    with home.record() as record:
        home.systemctl("reload")
        home.systemctl("restart")
        record.mark("killed")
        home.kill()
        record.mark("ended")
        home.systemctl("restart")
    assert {what for what in record.of(LOW) if what != "out"} == {"set 0", "killed", "ended"}
    lamp = [what for what in record.of(LAMP) if what != "out"]
    assert lamp == ["set 0", "set 1", "killed", "set 0", "ended", "set 1"]
    assert home.pins["lamp"]["source"] == {"level": "schedule", "name": "day"}


def test_a_power_cut_ends_a_watering(home: Pi) -> None:
    """A watering goes on to its end over a restart of the server. After a power cut it is over, and
    it does not begin again, although it is not late yet."""
    home.run("date -s '2026-06-10 05:59:50'")
    home.start(LINES, EVERYONE + WATERING)
    home.wait_for(lambda: home.level(ZONE) == 1, "the watering has begun")
    end = home.pins["zone"]["until"]
    home.systemctl("restart")
    home.wait_for(lambda: home.level(ZONE) == 1, "the watering goes on")
    assert home.pins["zone"]["until"] == pytest.approx(end, abs=1)
    home.kill()
    home.run("rm -rf /run/raspi-server; cat /proc/sys/kernel/random/uuid >/tmp/boot")
    home.run(f"mount --bind /tmp/boot {BOOT_ID}")
    home.run(f"date -s '2026-06-10 06:00:20'; echo pull-down >/run/gpio-sim/sim_gpio{ZONE}/pull")
    with home.record() as record:
        home.systemctl("restart")
        home.run("date -s '2026-06-10 06:00:30'")  # which wakes the schedules
    assert set(record.of(ZONE)) == {"set 0", "out"}
    ((watering,),) = [home.get("/api/schedules")[1]["schedules"]]
    assert (watering["until"], watering["runs"]) == (None, 0)


def test_a_boot_without_the_time(home: Pi) -> None:
    """A Pi without a battery begins in 1970. Schedules rest, and people are told. When the system
    has set the clock, windows are as they should be then, and nothing is made up for."""
    home.run(f"rm {SYNCHRONIZED}; date -s '1970-01-02 00:00:50'")
    home.start(LINES, EVERYONE + WHILE_AWAY)
    assert home.get("/api/schedules")[1]["clock_known"] is False
    with home.viewer() as viewer:
        notices = viewer.receive("hello")["server"]["notices"]
    assert "1970-01-02" in json.dumps(notices)
    with home.record() as record:
        home.run(f"date -s '2026-06-10 19:00:10'; touch {SYNCHRONIZED}")
        home.wait_for(lambda: home.level(LAMP) == 1, "the evening has begun")
    assert record.of(LAMP) == ["set 1"]
    assert record.of(LOW) == record.of(ZONE) == []
    assert home.get("/api/schedules")[1]["clock_known"] is True
