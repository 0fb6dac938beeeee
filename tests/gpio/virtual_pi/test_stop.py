"""Outputs at their end: on a clean stop, after a failure, and by their deadlines."""

from collections.abc import Callable

import pytest

from tests.gpio.virtual_pi.pi import Pi

WAYS = ("off", "on", "keep", "input")
LINES = {"high": (4, 5, 6, 12), "low": (13, 16, 19, 20)}


def config(key: str) -> str:
    """Outputs that are on, but for those that are to end on, one for each way to be left and for
    both levels."""
    return "".join(
        f"  {active}-{way}: {{gpio: {gpio}, mode: output, active: {active}, {key}: '{way}',"
        f" initial: '{'off' if way == 'on' else 'on'}'}}\n"
        for active, gpios in LINES.items()
        for way, gpio in zip(WAYS, gpios, strict=True)
    )


def left(off: list[str], on: list[str], let_go: list[str]) -> dict[int, list[str]]:
    """Expected end of each line; `off` and `on` are those of an output that is
    active high."""
    ways: dict[str, tuple[list[str], ...]] = {
        "high": (off, on, [], let_go),
        "low": (on, off, [], let_go),
    }
    return {
        gpio: what
        for active, gpios in LINES.items()
        for gpio, what in zip(gpios, ways[active], strict=True)
    }


def test_on_stop(pi: Pi) -> None:
    """On a clean stop each output goes straight to what its `on_stop` says."""
    pi.start(config("on_stop"))
    with pi.record() as record:
        pi.stop()
    assert {gpio: record.of(gpio) for gpios in LINES.values() for gpio in gpios} == left(
        ["set 0"], ["set 1"], ["in"]
    )


def stop_answering(pi: Pi) -> None:
    pi.signal("STOP")
    pi.wait_until_failed()


def run_out_of_memory(pi: Pi) -> None:
    """The kernel's own choice of a victim, made easy."""
    main = pi.run("systemctl show -P MainPID raspi-server").strip()
    pi.run(f"echo 1000 >/proc/{main}/oom_score_adj; echo f >/proc/sysrq-trigger")
    pi.wait_until_failed()


@pytest.mark.parametrize(
    ("fail", "result"),
    [(Pi.kill, "signal"), (stop_answering, "watchdog"), (run_out_of_memory, "oom-kill")],
    ids=["kill", "watchdog", "memory"],
)
def test_on_failure(pi: Pi, fail: Callable[[Pi], None], result: str) -> None:
    """After a kill -9, a watchdog's stroke or an out-of-memory kill each output goes straight to
    what its `on_failure` says, and the journal says so."""
    pi.start(config("on_failure"))
    with pi.record() as record:
        fail(pi)
    assert pi.run("systemctl show -P Result raspi-server").strip() == result
    assert {gpio: record.of(gpio) for gpios in LINES.values() for gpio in gpios} == left(
        ["set 0", "out"], ["set 1", "out"], ["in"]
    )
    for name in ("high-off", "low-on"):
        assert name in pi.journal


def test_on_failure_is_not_for_a_clean_stop(pi: Pi) -> None:
    """A clean stop leaves outputs off that a failure would leave on; nothing follows it."""
    pi.start("  lamp: {gpio: 17, mode: output, initial: on, on_failure: on}\n")
    with pi.record() as record:
        pi.stop()
    assert record.of(17) == ["set 0"]


def test_a_safe_state_with_a_broken_configuration(pi: Pi) -> None:
    """After the configuration was broken, and the server died, the last good one still says what is
    safe."""
    pi.start("  lamp: {gpio: 17, mode: output, initial: on}\n")
    pi.configure("  lamp: {gpio: seventeen\n")
    with pi.record() as record:
        pi.kill()
    assert record.of(17) == ["set 0", "out"]


def test_a_kernel_that_lets_go(pi: Pi) -> None:
    """On a strict kernel every line has its pull again after a failure, whatever `on_failure`
    says; the journal does not pretend otherwise."""
    pi.write("/sys/module/gpio_sim/parameters/strict", "1")
    pi.start(config("on_failure"))
    pi.kill()
    assert {pi.level(gpio) for gpio in (12, 13, 16, 19, 20)} == {0}
    assert {pi.level(gpio) for gpio in (4, 5, 6)} == {1}
    lets_go = "this kernel releases a line that no program holds; it shows"
    assert f"high-off (GPIO4): {lets_go} 1" in pi.journal
    assert f"low-off (GPIO13): {lets_go} 0" in pi.journal


DEADLINES = """
  gate: {gpio: 17, mode: output, pulse: 16, initial: keep}
  pump: {gpio: 22, mode: output, max_on: 17, initial: keep}
  horn: {gpio: 23, mode: output, active: low, pulse: 2, initial: keep}
  fan: {gpio: 24, mode: output, max_on: 2, initial: keep}
  lamp: {gpio: 25, mode: output, initial: keep, on_stop: keep, on_failure: keep}
"""


def test_deadlines_outlive_a_crash(pi: Pi) -> None:
    """A pulse and a `max_on` that run while the server is killed are off until it is back, and end
    when they should have, a pulse of what is kept otherwise among them; what is overdue by then
    stays off. A horn that is active low does not sound because its line was never driven."""
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
    """Seconds since the boot."""
    return float(pi.read("/proc/uptime").split()[0])
