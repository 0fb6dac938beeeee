"""Outputs with a time limit are never left on: keys that would do so together are rejected, by
`check` and by a reload of a running server."""

import json
import os
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

from tests.cli.test_command_line import run as command
from tests.cli.test_command_line import write
from tests.support.server import check_end, free_port
from tests.test_reload import Pi

WHILE_STOPPED = "could not switch it off while the server is stopped; write on_stop: off"
AFTER_A_CRASH = "could not switch it off after a crash; write on_failure: off"
ALONE = "expected a name that two outputs or more have, got"

REFUSED = {
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
    "mode: output, group: motors": (
        "group",
        f"{ALONE} motors here only (did you mean motor?)",
    ),
    "mode: output, group_pause: 2": (
        "group_pause",
        "expected only beside group, got no group; write both or none",
    ),
}
"""Rejected pins, the key that the error names, and its words."""

ALLOWED = [
    f"mode: output, {limit}: 4, on_stop: {how}, on_failure: {how}"
    for limit in ("pulse", "max_on")
    for how in ("off", "input")
] + [
    "mode: output, on_stop: keep, on_failure: keep, initial: keep",
    "mode: output, on_stop: on, on_failure: on, initial: on",
    "mode: output, pulse: 4, initial: keep",
    "mode: output, pulse: 60, initial: restore",
    "mode: output, max_on: 4, initial: on",
    "mode: pwm, max_on: 4, initial: 0.5, on_stop: input",
    "mode: pwm, on_stop: on, on_failure: on, initial: on",
    "mode: output, group: motor, initial: on, on_stop: keep, on_failure: keep",
    "mode: output, group: motor, group_pause: 2",
]


MOTOR = """
pins:
  up: {gpio: 26, mode: output, group: motor}
  down: {gpio: 27, mode: output, group: motor}
"""
FIRST_LINE = 5


def pins(entries: Iterable[str]) -> str:
    return MOTOR + "".join(f"  p{n}: {{gpio: {n}, {keys}}}\n" for n, keys in enumerate(entries))


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Callable[..., Pi]]:
    """`run(text, **environment)`: a server whose configuration can be edited and reloaded."""
    pis: list[Pi] = []

    def run(text: str, **environment: str) -> Pi:
        pis.append(Pi(tmp_path, f"port: {free_port()}\n{text}", **environment))
        return pis[-1]

    yield run
    for pi in pis:
        check_end(pi.server)


def test_check_refuses_each_in_words(tmp_path: Path) -> None:
    """Each fault stands in its line, with what was expected, why, and what to write instead."""
    file = write(tmp_path, pins(REFUSED))
    done = command("check", file)
    assert (done.returncode, done.stdout) == (78, "")
    assert done.stderr.splitlines() == [
        f"{file}:{FIRST_LINE + n}: pins.p{n}.{key}: {words}"
        for n, (key, words) in enumerate(REFUSED.values())
    ]


def test_check_allows_what_stands_beside_it(tmp_path: Path) -> None:
    """The same keys with other values, or without each other, are a configuration."""
    done = command("check", write(tmp_path, pins(ALLOWED)))
    assert (done.returncode, done.stderr) == (0, "")


def test_a_reload_refuses_it_and_what_ran_runs_on(run):
    """A running server takes none of it, keeps its pins, and takes what is allowed."""
    pi = run(pins(["mode: output"]))
    first = pi.file.read_text().partition("\n")[0]
    for number, (keys, (key, words)) in enumerate(REFUSED.items()):
        pi.reload(first + pins(["mode: output", keys]))
        pi.server.wait_for_log(re.escape(f"pins.p1.{key}: {words}"))
        pi.server.wait_for_log("the running configuration stays active", again=number)
        assert len(pi.get("/api/pins")["pins"]) == 3
    pi.reload(first + pins(ALLOWED))
    pi.server.wait_for_log(f"{2 + len(ALLOWED)} pins, serving")
    assert len(pi.get("/api/pins")["pins"]) == 2 + len(ALLOWED)
    assert pi.get("/api/health")["status"] == "ok"


def test_a_pin_with_another_fault_still_counts_in_its_group(tmp_path: Path) -> None:
    """A fault of one motor relay is no fault of the other."""
    file = write(tmp_path, MOTOR.replace("gpio: 27", "gpio: 28"))
    (fault,) = command("check", file).stderr.splitlines()
    assert "pins.down.gpio" in fault


LONG = """pins:
  gate: {gpio: 2, mode: output, pulse: 60}
  tap: {gpio: 3, mode: output, pulse: 500}
"""
WARNING = (
    "3: pins.tap.pulse: 500 seconds are long for a press (half a second is 0.5);"
    " a switch that goes off by itself has max_on: 500 instead"
)


def test_a_long_pulse_is_warned_of(tmp_path: Path, run) -> None:
    """A pulse that may be meant in milliseconds gets a warning, no error: from `check`, at the
    start, at a reload and from the doctor. Up to a minute nothing is said."""
    file = write(tmp_path, LONG)
    done = command("check", file)
    assert (done.returncode, done.stderr) == (0, f"warning: {file}:{WARNING}\n")
    assert "ok: " in done.stdout
    assert f"{file}:{WARNING}" in command("doctor", "--config", file).stdout
    pi = run(LONG)
    said = re.escape(WARNING.replace("3:", f"{pi.file}:4:", 1))
    pi.server.wait_for_log(f"WARNING {said}")
    pi.reload(pi.file.read_text().replace("gate", "door"))
    pi.server.wait_for_log(f"WARNING {said}", again=True)
    assert "gate.pulse" not in pi.server.log
    assert pi.get("/api/health")["status"] == "ok"


OLD = """
access: {control: everyone}
pins:
  heater: {gpio: 17, mode: output, max_on: 4, on_stop: keep}
  gate: {gpio: 22, mode: output, pulse: 1, initial: on}
  up: {gpio: 5, mode: output, group: blind, group_pause: 1}
  down: {gpio: 6, mode: output, group_pause: 1}
"""


def test_a_last_good_configuration_of_an_older_release_runs(run, tmp_path: Path) -> None:
    """A configuration that an older release allowed, and this one rejects, still runs when the file
    is invalid: the rejected keys are ignored, and named in the log and by `check`. The server does
    not end with status 78."""
    state = tmp_path / "state"
    state.mkdir()
    pi = run(OLD.partition("pins:")[0], STATE_DIRECTORY=str(state))
    pi.server.stop()
    port = pi.file.read_text().partition("\n")[0]
    kept = {"folder": str(tmp_path), "text": f"{port}{OLD}"}
    (state / "last-good.json").write_text(json.dumps(kept))
    done = command("check", str(pi.file), env={**os.environ, "STATE_DIRECTORY": str(state)})
    assert done.returncode == 0
    pi.file.write_text("pins: [lamp]\n")
    pi.start()
    pi.server.wait_for_log("the last good configuration runs")
    for key in ("heater.on_stop", "gate.initial", "up.group", "down.group_pause"):
        ignored = rf"last-good.json:\d: pins.{key}: expected .* \(the last good .* runs without"
        pi.server.wait_for_log(ignored)
        assert re.search(f"^warning: .*{ignored}", done.stderr, re.MULTILINE)
    found = {pin["name"]: pin for pin in pi.get("/api/pins")["pins"]}
    assert found["gate"]["value"] == 0
    assert found["up"]["group"] is None
    assert found["heater"]["max_on"] == 4
