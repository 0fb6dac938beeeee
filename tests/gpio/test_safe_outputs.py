"""Outputs with a time limit are never left on: keys that would do so together are rejected.

tests/test_reload.py shows that a reload reports the same errors and keeps what runs."""

import json
import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from raspi_server.cli.main import main
from tests.support.http import ask
from tests.support.server import Server

WHILE_STOPPED = "could not switch it off while the server is stopped; write on_stop: off"
AFTER_A_CRASH = "could not switch it off after a crash; write on_failure: off"
ALONE = "expected a name that two outputs or more have, got"

REJECTED = {
    f"mode: {mode}, {limit}: 4, {key}: {how}": (
        key,
        f"expected off or input, got {how}: {limit} {why}",
    )
    for mode, limit, hows in (
        ("output", "pulse", ("keep", "on")),
        ("output", "max_on", ("keep", "on")),
        ("pwm", "max_on", ("on",)),
    )
    for key, why in (("on_stop", WHILE_STOPPED), ("on_failure", AFTER_A_CRASH))
    for how in hows
} | {
    "mode: output, group: motor, on_failure: on, max_on: 4": (
        "on_failure",
        f"expected off or input, got on: max_on {AFTER_A_CRASH}",
    ),
    "mode: output, pulse: 4, initial: on": (
        "initial",
        "expected off, keep or restore, got on: every start would press it; write initial: off",
    ),
    "mode: output, group: blind": (
        "group",
        f"{ALONE} blind here only (one output alone needs no group)",
    ),
    "mode: output, group: motors": ("group", f"{ALONE} motors here only (did you mean motor?)"),
    "mode: output, group_pause: 2": (
        "group_pause",
        "expected only beside group, got no group; write both or none",
    ),
}
"""Rejected pins, the key that the error names, and its message."""

ALLOWED = [
    f"mode: output, {limit}: 4, on_stop: {how}, on_failure: {how}"
    for limit in ("pulse", "max_on")
    for how in ("off", "input")
] + [
    "mode: output, on_stop: keep, on_failure: keep, initial: keep",
    "mode: output, on_stop: on, on_failure: on, initial: on",
    "mode: output, pulse: 60, initial: restore",
    "mode: output, max_on: 4, initial: on",
    "mode: pwm, max_on: 4, initial: 0.5, on_stop: input",
    "mode: pwm, on_stop: on, on_failure: on, initial: on",
    "mode: output, group: motor, initial: on, on_stop: keep, on_failure: keep",
    "mode: output, group: motor, group_pause: 2",
]

MOTOR = """pins:
  up: {gpio: 26, mode: output, group: motor}
  down: {gpio: 27, mode: output, group: motor}
"""
FIRST_LINE = 4
Check = Callable[..., tuple[int, str]]


def pins(entries: Iterable[str]) -> str:
    return MOTOR + "".join(f"  p{n}: {{gpio: {n}, {keys}}}\n" for n, keys in enumerate(entries))


@pytest.fixture
def check(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Check:
    """`check(text)`: status and output of `raspi-server check`, or of another command."""

    def check(text: str, *command: str) -> tuple[int, str]:
        file = tmp_path / "config.yaml"
        file.write_text(text)
        status = main([*(command or ["check"]), str(file)])
        return status, "".join(capfd.readouterr()).replace(f"{tmp_path}/", "")

    return check


def test_check_names_each_line_and_the_way_out(check: Check) -> None:
    """Each error is in its line, with what was expected, why, and what to write instead. The same
    keys with other values, or without each other, are allowed."""
    status, output = check(pins(REJECTED))
    assert status == 78
    assert output.splitlines() == [
        f"config.yaml:{FIRST_LINE + n}: pins.p{n}.{key}: {message}"
        for n, (key, message) in enumerate(REJECTED.values())
    ]
    status, output = check(pins(ALLOWED))
    assert status == 0
    assert output.startswith("ok: ") and "warning" not in output


def test_a_pin_with_another_error_still_counts_in_its_group(check: Check) -> None:
    """If one output of a group has an error, the other one gets none."""
    _, output = check(MOTOR.replace("gpio: 27", "gpio: 28"))
    (error,) = output.splitlines()
    assert "pins.down.gpio" in error


LONG = """pins:
  gate: {gpio: 2, mode: output, pulse: 60}
  tap: {gpio: 3, mode: output, pulse: 500}
"""
WARNING = (
    "3: pins.tap.pulse: 500 seconds are long for a press (half a second is 0.5);"
    " a switch that goes off by itself has max_on: 500 instead"
)


def test_a_long_pulse_gets_a_warning(check: Check, start_server: Callable[..., Server]) -> None:
    """A pulse of more than a minute may be meant in milliseconds. `check`, `doctor`, a start and a
    reload warn of it."""
    status, output = check(LONG)
    assert status == 0
    assert f"warning: config.yaml:{WARNING}\n" in output
    assert "gate" not in output and "ok: " in output
    assert f"config.yaml:{WARNING}" in check(LONG, "doctor", "--config")[1]
    server = start_server(LONG)
    expected = rf"WARNING .*config-0.yaml:{re.escape(WARNING)}"
    server.wait_for_log(expected)
    server.reload(LONG.replace("gate", "door"))
    server.wait_for_log(expected, again=True)
    assert "gate.pulse" not in server.log
    assert ask(server, "GET", "/api/health").json["status"] == "ok"


OLD = """
access: {control: everyone}
pins:
  heater: {gpio: 17, mode: output, max_on: 4, on_stop: keep}
  gate: {gpio: 22, mode: output, pulse: 1, initial: on}
  up: {gpio: 5, mode: output, group: blind, group_pause: 1}
  down: {gpio: 6, mode: output, group_pause: 1}
"""


def test_a_last_good_configuration_of_an_older_release(
    check: Check,
    start_server: Callable[..., Server],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """If the file is invalid, a last good configuration that an older release allowed still runs:
    without the keys that are rejected now, which the log and `check` name."""
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path))
    kept = {"folder": str(tmp_path), "text": OLD}
    (tmp_path / "last-good.json").write_text(json.dumps(kept))
    status, output = check(MOTOR)
    assert status == 0
    server = start_server("pins: [lamp]\n", env=dict(os.environ))
    server.wait_for_log("the last good configuration runs")
    for key in ("heater.on_stop", "gate.initial", "up.group", "down.group_pause"):
        ignored = rf"last-good.json:\d: pins.{key}: expected .* \(the last good .* runs without"
        server.wait_for_log(ignored)
        assert re.search(f"^warning: .*{ignored}", output, re.MULTILINE)
    found = {pin["name"]: pin for pin in ask(server, "GET", "/api/pins").json["pins"]}
    assert found["gate"]["value"] == 0
    assert found["up"]["group"] is None
    assert found["heater"]["max_on"] == 4
