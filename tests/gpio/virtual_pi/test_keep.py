"""Outputs that keep their state over reloads, restarts, upgrades, failures and power cuts."""

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
OTHER_PROGRAM = """
import os
os.chdir("/run")
import lgpio
chip = lgpio.gpiochip_open(0)
lgpio.gpio_claim_output(chip, 17, 1)
lgpio.gpio_claim_output(chip, 22, 0)
"""
STATE = "/var/lib/raspi-server/levels.json"


def test_what_is_kept_is_not_touched(pi: Pi) -> None:
    """An output that is on keeps its level and direction over a reload, a restart and an upgrade. A
    reload does not touch its line. A new process claims it with the same level and direction."""
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
    assert pi.pins["lamp"]["value"] == pi.pins["relay"]["value"] == 1


def test_keep_over_a_failure(pi: Pi) -> None:
    """With `on_failure: keep` and `initial: keep`, a kill -9 and the next start change nothing."""
    pi.start(CONFIG)
    pi.set("lamp", 1)
    pi.set("relay", 1)
    with pi.record() as record:
        pi.kill()
        pi.start()
    assert record.of(LAMP) == ["set 1", "out"]
    assert record.of(RELAY) == ["set 0", "out"]


def test_the_shipped_example(pi: Pi) -> None:
    """The lamp in config.yaml flickers neither at a restart nor after a kill -9. An active-low
    relay on its line is off when the Pi has just started."""
    pins = (CHECKOUT / "config.yaml").read_text().partition("\npins:\n")[2]
    pi.pull(EXAMPLE, up=True)  # its pull at power-on
    pi.start(re.sub("^#", "", pins, flags=re.MULTILINE))
    assert pi.level(EXAMPLE) == 1
    pi.set("lamp", 1)
    with pi.record() as record:
        pi.restart()
        pi.kill()
        pi.start()
    assert record.of(EXAMPLE) == ["set 0", "out"] * 2


def test_a_strict_kernel(pi: Pi) -> None:
    """On a strict kernel a line has the level of its pull while no program holds it. An output that
    was on is on again with the service, without a pulse."""
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


def test_keep_takes_over_the_level_of_a_line(pi: Pi) -> None:
    """Without a kept state, `keep` takes over the level that another program has left, or that the
    pull gives, and changes nothing."""
    pi.write("/tmp/other.py", OTHER_PROGRAM)
    pi.run("python3 /tmp/other.py")
    assert (pi.level(LAMP), pi.level(RELAY)) == (1, 0)
    with pi.record() as record:
        pi.start(CONFIG)
    assert record.of(LAMP) == ["set 1", "out"]
    assert record.of(RELAY) == ["set 0", "out"]
    assert pi.pins["lamp"]["value"] == pi.pins["relay"]["value"] == 1
    pi.reset()
    pi.pull(LAMP, up=True)
    pi.pull(RELAY, up=True)
    with pi.record() as record:
        pi.start(CONFIG)
    assert record.of(LAMP) == record.of(RELAY) == ["set 1", "out"]


def cut_the_power(pi: Pi, boot: str) -> None:
    """Reset the Pi, except for the file on the disk, which becomes one of another boot."""
    kept = pi.read(STATE)
    pi.kill()
    pi.reset()
    pi.run("install -d -o raspi-server /var/lib/raspi-server")
    now = pi.read("/proc/sys/kernel/random/boot_id").strip()
    pi.write(STATE, kept.replace(now, boot))


RESTORED = """
  lamp: {gpio: 17, mode: output, initial: restore}
  relay: {gpio: 22, mode: output, active: low, initial: restore}
  kept: {gpio: 23, mode: output, initial: keep}
"""


def test_restore_outlives_a_power_cut(pi: Pi) -> None:
    """After a power cut, an output with `restore` is on again without a pulse, and one with `keep`
    is off. If the file is damaged, all start off."""
    pi.start(RESTORED)
    for pin in ("lamp", "relay", "kept"):
        pi.set(pin, 1)
    expected = {str(LAMP): 1, str(RELAY): 1}
    pi.wait_for(
        lambda: values(pi.attempt(f"cat {STATE}")[1]) == expected, "the states are on the disk"
    )
    cut_the_power(pi, "a-boot-long-ago")
    with pi.record() as record:
        pi.start(RESTORED)
    assert record.of(LAMP) == ["set 1", "out"]
    assert record.of(RELAY) == ["set 0", "out"]
    assert record.of(23) == ["set 0", "out"]

    whole = pi.read(STATE)
    pi.reset()
    pi.run("install -d -o raspi-server /var/lib/raspi-server")
    pi.write(STATE, whole[: len(whole) // 2])
    with pi.record() as record:
        pi.start(RESTORED)
    assert record.of(LAMP) == ["set 0", "out"]
    assert record.of(RELAY) == ["set 1", "out"]
    assert "no output state is restored" in pi.journal


def values(text: str) -> dict[str, float]:
    """Return the values in a state file, none if it is missing or incomplete."""
    try:
        return {gpio: level["value"] for gpio, level in json.loads(text)["levels"].items()}
    except ValueError:
        return {}
