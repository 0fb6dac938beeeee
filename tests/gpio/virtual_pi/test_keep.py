"""Outputs that stay as they are: over reloads, restarts and upgrades, and over power cuts."""

import json
import re
from pathlib import Path

from tests.gpio.virtual_pi.pi import Pi

CHECKOUT = Path(__file__).parents[3]
CONFIG = """
  lamp: {gpio: 17, mode: output, initial: keep, on_stop: keep, on_failure: keep}
  relay: {gpio: 22, mode: output, active: low, initial: keep, on_stop: keep, on_failure: keep}
"""
OTHER = "  other: {{gpio: 24, mode: output, active: {}}}\n"
LAMP, RELAY, OTHERS, EXAMPLE = 17, 22, 24, 5
HELD_BY_NOBODY = """
import os
os.chdir("/run")
import lgpio
chip = lgpio.gpiochip_open(0)
lgpio.gpio_claim_output(chip, 17, 1)
lgpio.gpio_claim_output(chip, 22, 0)
"""
STATE = "/var/lib/raspi-server/levels.json"


def test_what_is_kept_is_not_touched(pi: Pi) -> None:
    """An output that is on goes through reload, restart, stop, start and upgrade without any
    change of its level or direction, however short. A reload does not touch its line at all; a new
    process must claim it, as what it is already."""
    pi.start(CONFIG + OTHER.format("high"))
    pi.set("lamp", 1)
    pi.set("relay", 1)
    with pi.record() as record:
        pi.reload(CONFIG + OTHER.format("low"))
        record.mark("restart")
        pi.restart()
        record.mark("upgrade")
        pi.stop()
        pi.upgrade()
        pi.start()
    high, low = ["set 1", "out"], ["set 0", "out"]
    assert record.of(LAMP) == ["restart", *high, "upgrade", *high]
    assert record.of(RELAY) == ["restart", *low, "upgrade", *low]
    assert record.of(OTHERS)[:3] == ["set 0", "set 1", "out"]
    assert (pi.level(LAMP), pi.level(RELAY)) == (1, 0)
    assert pi.get("/api/pins/lamp")[1]["value"] == pi.get("/api/pins/relay")[1]["value"] == 1


def test_no_flicker_over_a_failure_for_who_says_so(pi: Pi) -> None:
    """`on_failure: keep` with `initial: keep`: a kill -9 and the start after it change
    nothing."""
    pi.start(CONFIG)
    pi.set("lamp", 1)
    pi.set("relay", 1)
    with pi.record() as record:
        pi.kill()
        pi.start()
    assert record.of(LAMP) == ["set 1", "out"]
    assert record.of(RELAY) == ["set 0", "out"]


def test_the_example_we_ship_stays_as_it_is(pi: Pi) -> None:
    """The lamp in config.yaml, taken over as it stands there, flickers neither at a restart nor
    after a kill -9. On its line an active-low relay is off when the Pi has just started."""
    pins = (CHECKOUT / "config.yaml").read_text().partition("\npins:\n")[2]
    pi.pull(EXAMPLE, up=True)  # as the chip has it from the start
    pi.start(re.sub("^#", "", pins, flags=re.MULTILINE))
    assert pi.level(EXAMPLE) == 1
    pi.set("lamp", 1)
    with pi.record() as record:
        pi.restart()
        pi.kill()
        pi.start()
    assert record.of(EXAMPLE) == ["set 0", "out"] * 2


def test_a_kernel_that_lets_go(pi: Pi) -> None:
    """On a strict kernel a line shows its pull while no program drives it; no program can help
    that. What was on comes back on with the service, at once and never otherwise."""
    pi.write("/sys/module/gpio_sim/parameters/strict", "1")
    pi.pull(RELAY, up=True)
    pi.start(CONFIG)
    pi.set("lamp", 1)
    pi.set("relay", 1)
    with pi.record() as record:
        pi.stop()
        assert (pi.level(LAMP), pi.level(RELAY)) == (0, 1)
        record.mark("start")
        pi.start()
    assert record.of(LAMP) == ["start", "set 1", "out"]
    assert record.of(RELAY) == ["start", "set 0", "out"]
    assert (pi.level(LAMP), pi.level(RELAY)) == (1, 0)


def test_keep_takes_over_what_another_program_left_on(pi: Pi) -> None:
    """Without a kept state, `keep` takes over the level of the line, and changes nothing."""
    pi.write("/tmp/other.py", HELD_BY_NOBODY)
    pi.run("python3 /tmp/other.py")
    assert (pi.level(LAMP), pi.level(RELAY)) == (1, 0)
    with pi.record() as record:
        pi.start(CONFIG)
    assert record.of(LAMP) == ["set 1", "out"]
    assert record.of(RELAY) == ["set 0", "out"]
    assert pi.get("/api/pins/lamp")[1]["value"] == pi.get("/api/pins/relay")[1]["value"] == 1


def test_keep_takes_over_what_an_undriven_line_shows(pi: Pi) -> None:
    """A line that nobody ever drove is driven to the level its pull gives it."""
    pi.pull(LAMP, up=True)
    pi.pull(RELAY, up=True)
    with pi.record() as record:
        pi.start(CONFIG)
    assert record.of(LAMP) == record.of(RELAY) == ["set 1", "out"]


def cut_the_power(pi: Pi, boot: str) -> None:
    """Leave only the files that are on the disk now, as from another boot."""
    kept = pi.read(STATE)
    pi.kill()
    pi.begin()
    pi.run("install -d -o raspi-server /var/lib/raspi-server")
    now = pi.read("/proc/sys/kernel/random/boot_id").strip()
    pi.write(STATE, kept.replace(now, boot))


RESTORED = """
  lamp: {gpio: 17, mode: output, initial: restore}
  relay: {gpio: 22, mode: output, active: low, initial: restore}
  kept: {gpio: 23, mode: output, initial: keep}
"""


def test_restore_outlives_a_power_cut(pi: Pi) -> None:
    """An output that was on is on again after a power cut, from the first moment; `keep` is for
    restarts only. A torn file is harmless: everything starts off."""
    pi.start(RESTORED)
    for pin in ("lamp", "relay", "kept"):
        pi.set(pin, 1)
    expected = {str(LAMP): 1, str(RELAY): 1}
    pi.wait_for(lambda: shown(pi.attempt(f"cat {STATE}")[1]) == expected, "levels on the disk")
    cut_the_power(pi, "a-boot-long-ago")
    with pi.record() as record:
        pi.start(RESTORED)
    assert record.of(LAMP) == ["set 1", "out"]
    assert record.of(RELAY) == ["set 0", "out"]
    assert record.of(23) == ["set 0", "out"]

    whole = pi.read(STATE)
    pi.begin()
    pi.run("install -d -o raspi-server /var/lib/raspi-server")
    pi.write(STATE, whole[: len(whole) // 2])
    with pi.record() as record:
        pi.start(RESTORED)
    assert record.of(LAMP) == ["set 0", "out"]
    assert record.of(RELAY) == ["set 1", "out"]
    assert "outputs start as if nothing had been kept" in pi.journal


def shown(text: str) -> dict[str, float]:
    try:
        return {gpio: level["value"] for gpio, level in json.loads(text)["levels"].items()}
    except ValueError:
        return {}
