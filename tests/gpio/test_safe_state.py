"""The safe state after a failure. Real lines are tested on a virtual Pi (tests/gpio/virtual_pi)."""

import contextlib
import errno
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from raspi_server.cli.main import main
from raspi_server.config import parser
from raspi_server.gpio import chardev, failure_plan, safe_state
from raspi_server.system.clock import boot_id
from tests.support.server import LIMIT

CONFIG = """
gpio: real
pins:
  door: {gpio: 4, mode: input}
  pump: {gpio: 5, mode: output, active: low, initial: on}
  vent: {gpio: 6, mode: output, on_failure: on}
  lamp: {gpio: 17, mode: output, initial: keep}
  light: {gpio: 18, mode: pwm, on_failure: input}
  bell: {gpio: 27, mode: output, initial: keep, on_failure: keep}
"""
KILLED = {"SERVICE_RESULT": "signal", "EXIT_CODE": "killed", "EXIT_STATUS": "KILL"}


class Service:
    """A service that has failed: its configuration, systemd's folders and variables, and a chip
    that records the requests for its lines, in order."""

    def __init__(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
    ) -> None:
        self.file = folder / "config.yaml"
        self.file.write_text(CONFIG)
        self._states = folder / "run" / "levels.json"
        self._monkeypatch, self._capfd = monkeypatch, capfd
        for variable, name in (("RUNTIME_DIRECTORY", "run"), ("STATE_DIRECTORY", "state")):
            (folder / name).mkdir()
            monkeypatch.setenv(variable, str(folder / name))
        self.requests: list[tuple[int, int | None]] = []
        self.busy: set[int] = set()
        self.is_strict = False
        for name, function in (
            ("open_chip", contextlib.nullcontext),
            ("leave", self._leave),
            ("read", lambda _, gpio: 0 if self.is_strict else dict(self.requests)[gpio] or 0),
            ("holder", lambda *_: "another"),
        ):
            monkeypatch.setattr(chardev, name, function)

    def _leave(self, _: None, gpio: int, level: int | None) -> None:
        if gpio in self.busy:
            raise OSError(errno.EBUSY, "Device or resource busy")
        self.requests.append((gpio, level))

    def safe_state(self, ended: dict[str, str] = KILLED) -> tuple[int, str]:
        """Run the command after the server has `ended`; return its status and its output."""
        for name, value in ended.items():
            self._monkeypatch.setenv(name, value)
        self.requests.clear()
        status = main(["safe-state", "--config", str(self.file)])
        return status, self._capfd.readouterr().err

    def drove(self, values: dict[int, float], pulse_at: float | None = None) -> None:
        """Write the states that the server had driven, by GPIO."""
        levels = {gpio: {"value": value, "pulse_at": pulse_at} for gpio, value in values.items()}
        self._states.write_text(json.dumps({"boot": boot_id(), "levels": levels}))

    def kept(self) -> list[Any]:
        """Return the values that are kept, in the order of their GPIOs."""
        return [state["value"] for state in json.loads(self._states.read_text())["levels"].values()]


@pytest.fixture
def service(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Service:
    return Service(tmp_path, monkeypatch, capfd)


def test_after_a_kill(service):
    """Each output gets the state of its `on_failure`, those that go off first, and the log names
    each. The kept state of outputs with `initial: keep` is not changed. `on_failure: keep` does not
    keep one with a deadline on: the server may not come back."""
    service.drove({5: 1, 6: 0, 17: 1, 18: 0.5, 27: 1})
    status, output = service.safe_state()
    assert status == 0
    assert service.requests == [(5, 1), (17, 0), (18, None), (6, 1)]
    assert "the server has ended (signal, killed, KILL): its outputs get their" in output
    assert "pump (GPIO5): off" in output and "vent (GPIO6): on" in output
    assert "light (GPIO18): released" in output and "bell (GPIO27): kept as it is" in output
    assert service.kept() == [0, 1, 1, 0, 1]
    kept = json.loads(service._states.read_text()) | {"claims": {"5": {"value": 1}}}
    kept["levels"]["5"]["value"] = 1
    service._states.write_text(json.dumps(kept))
    service.safe_state()
    assert service.kept()[0] == 0
    assert json.loads(service._states.read_text())["claims"] == kept["claims"]
    service.drove({27: 1}, pulse_at=1e9)
    assert "bell (GPIO27): off" in service.safe_state()[1]
    assert (service.requests, service.kept()) == ([(27, 0)], [1])


def test_which_ends_are_failures(service):
    """After a clean stop (status 0), or a start that failed before it opened a pin (75, 78), no
    line is touched. Any other end is a failure, also SIGTERM, which systemd counts as a success."""
    service.drove({5: 1})
    clean, failures = [("exited", "0"), ("exited", "75"), ("exited", "78")], [("exited", "1")]
    failures += [("killed", "TERM"), ("killed", "0")]
    for code, status in clean + failures:
        ended = {"SERVICE_RESULT": "success", "EXIT_CODE": code, "EXIT_STATUS": status}
        assert service.safe_state(ended)[0] == 0
        assert service.requests == ([] if (code, status) in clean else [(5, 1)])


def test_run_by_hand(service):
    """Without systemd's variables, and if it is not known which outputs were driven, all are
    brought to their safe state. With simulated pins there is nothing to do."""
    status, output = service.safe_state({})
    assert status == 0
    assert [gpio for gpio, _ in service.requests] == [5, 17, 18, 6]
    assert "run by hand" in output
    service.file.write_text(CONFIG.replace("real", "simulated"))
    assert service.safe_state({}) == (0, "")


def test_the_last_good_configuration_counts(service, tmp_path):
    """The configuration that ran last counts, even if the file is invalid, another or missing now.
    Pins that were never driven are not touched. If there is no configuration, the errors are shown
    (status 78)."""
    last_good = tmp_path / "state" / "last-good.json"
    last_good.write_text(json.dumps({"folder": str(tmp_path), "text": CONFIG}))
    for edited in (CONFIG.replace("lamp: {gpio: 17", "lamp: {gpio: 22"), None, "pins: 1\n"):
        if edited is None:
            service.file.unlink()
        else:
            service.file.write_text(edited)
        service.drove({17: 1})
        assert service.safe_state()[0] == 0
        assert service.requests == [(17, 0)]
    last_good.unlink()
    status, output = service.safe_state()
    assert (status, service.requests) == (78, [])
    assert f"{service.file}:1: pins: expected" in output


def test_lines_that_do_not_obey(service):
    """A line that another program holds is left, and the log names that program. The other lines
    are brought to their safe state. A line that does not keep its level is reported."""
    service.busy = {5}
    service.drove({5: 1, 17: 1})
    status, output = service.safe_state()
    assert (status, service.requests) == (1, [(17, 0)])
    assert "pump (GPIO5): left as it is: in use by another" in output
    assert service.kept() == [1, 1]
    service.busy, service.is_strict = set(), True
    status, output = service.safe_state()
    assert status == 1
    assert "pump (GPIO5): this kernel releases a line that no program holds; it shows 0" in output


def test_what_the_server_left(service):
    """The server leaves the safe state of its outputs. With that, no configuration is read, and
    little imported. Without the chip of the header it fails with the reason."""
    config = parser.parse(CONFIG.encode(), "config.yaml", service.file.parent)
    failure_plan.write(service.file.parent / "run", config)
    service.file.unlink()
    service.drove({5: 1, 27: 1})
    assert safe_state.run() == 0
    assert (service.requests, service.kept()) == ([(5, 1)], [0, 1])
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "raspi_server", "safe-state"],
        env={"PYTHONPATH": str(Path(__file__).parents[2]), **os.environ, **KILLED},
        capture_output=True,
        text=True,
        timeout=LIMIT,
    )
    assert done.returncode == 1
    assert "GPIO cannot be opened: expected a gpiochip labelled pinctrl-bcm2835" in done.stderr
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    ours = {name for name in imported if name.startswith("raspi_server.")}
    assert ours == {f"raspi_server.gpio{name}" for name in ("", ".safe_state", ".chardev")}
    assert "gpiod" in imported and not imported & {"yaml", "msgspec", "logging", "argparse"}
