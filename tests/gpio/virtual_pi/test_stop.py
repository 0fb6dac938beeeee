"""Outputs at a clean stop, after a failure, and at their deadlines."""

from collections.abc import Callable

import pytest

from tests.gpio.virtual_pi.pi import Pi

WAYS = ("off", "on", "keep", "input")
LINES = {"high": (4, 5, 6, 12), "low": (13, 16, 19, 20)}


def config(key: str) -> str:
    """Return outputs for each value of `key` and both levels; those that end on start off, the
    others on."""
    return "".join(
        f"  {active}-{way}: {{gpio: {gpio}, mode: output, active: {active}, {key}: '{way}',"
        f" initial: '{'off' if way == 'on' else 'on'}'}}\n"
        for active, gpios in LINES.items()
        for way, gpio in zip(WAYS, gpios, strict=True)
    )


def expected(off: list[str], on: list[str], released: list[str]) -> dict[int, list[str]]:
    """Return the expected events of each line. `off` and `on` are those of an active-high one."""
    ways: dict[str, tuple[list[str], ...]] = {
        "high": (off, on, [], released),
        "low": (on, off, [], released),
    }
    return {
        gpio: what
        for active, gpios in LINES.items()
        for gpio, what in zip(gpios, ways[active], strict=True)
    }


def test_on_stop(pi: Pi) -> None:
    """A clean stop brings each output to the state of its `on_stop`, and `on_failure` does
    nothing."""
    pi.start(config("on_stop"))
    with pi.record() as record:
        pi.stop()
    assert {gpio: record.of(gpio) for gpios in LINES.values() for gpio in gpios} == expected(
        ["set 0"], ["set 1"], ["in"]
    )


def stop_answering(pi: Pi) -> None:
    pi.signal("STOP")
    pi.wait_until_failed()


def run_out_of_memory(pi: Pi) -> None:
    pi.run_out_of_memory()
    pi.wait_until_failed()


@pytest.mark.parametrize(
    ("fail", "result"),
    [(Pi.kill, "signal"), (stop_answering, "watchdog"), (run_out_of_memory, "oom-kill")],
    ids=["kill", "watchdog", "memory"],
)
def test_on_failure(pi: Pi, fail: Callable[[Pi], None], result: str) -> None:
    """After a kill -9, a kill by the watchdog or for lack of memory, each output gets the state of
    its `on_failure`, without a pulse, and the journal names it."""
    pi.start(config("on_failure"))
    with pi.record() as record:
        fail(pi)
    assert pi.run("systemctl show -P Result raspi-server").strip() == result
    assert {gpio: record.of(gpio) for gpios in LINES.values() for gpio in gpios} == expected(
        ["set 0", "out"], ["set 1", "out"], ["in"]
    )
    for name in ("high-off", "low-on"):
        assert name in pi.journal


def test_a_strict_kernel(pi: Pi) -> None:
    """On a strict kernel each line has the level of its pull after a failure, and the journal says
    so."""
    pi.write("/sys/module/gpio_sim/parameters/strict", "1")
    pi.start(config("on_failure"))
    pi.kill()
    assert {pi.level(gpio) for gpio in (12, 13, 16, 19, 20)} == {0}
    assert {pi.level(gpio) for gpio in (4, 5, 6)} == {1}
    message = "this kernel releases a line that no program holds; it shows"
    assert f"high-off (GPIO4): {message} 1" in pi.journal
    assert f"low-off (GPIO13): {message} 0" in pi.journal


DEADLINES = """
  gate: {gpio: 17, mode: output, pulse: 16, initial: keep}
  pump: {gpio: 22, mode: output, max_on: 17, initial: keep}
  horn: {gpio: 23, mode: output, active: low, pulse: 2, initial: keep}
  fan: {gpio: 24, mode: output, max_on: 2, initial: keep}
  lamp: {gpio: 25, mode: output, initial: keep, on_stop: keep, on_failure: keep}
"""


def test_deadlines_outlive_a_crash(pi: Pi) -> None:
    """Outputs with a running deadline are off from a kill until the next start, and end at their
    deadline; those that are overdue stay off. An active-low output with `keep` does not start a
    pulse because of the low level of its line."""
    pi.start(DEADLINES)
    assert pi.level(23) == 1
    with pi.record() as record:
        for pin in ("gate", "pump", "horn", "fan"):
            pi.set(pin, 1)
        pi.pulse("lamp", 2)
        overdue_at = uptime(pi) + 2
        pi.kill()
        pi.wait_for(lambda: uptime(pi) > overdue_at, "two seconds")
        record.mark("start")
        pi.start()
        pi.wait_for(lambda: pi.level(17) == pi.level(22) == 0, "both are off")
    on, off = ["set 1", "out"], ["set 0", "out"]
    assert record.of(17) == record.of(22) == ["set 1", *off, "start", *on, "set 0"]
    assert record.of(23) == ["set 0", *on, "start", *on]
    assert record.of(24) == record.of(25) == ["set 1", *off, "start", *off]
    for gpio, seconds in ((17, 16), (22, 17)):
        moments = record.moments(gpio)
        assert moments[-1] - moments[0] == pytest.approx(seconds, abs=0.1)


def uptime(pi: Pi) -> float:
    """Return the seconds since the boot."""
    return float(pi.read("/proc/uptime").split()[0])
