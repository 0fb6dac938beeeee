"""The safe state after a failure. Real lines are tested on a virtual Pi (tests/gpio/virtual_pi)."""

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from raspi_server.cli.main import main
from raspi_server.gpio import chardev, output_state
from tests.cli.test_command_line import ANYWHERE
from tests.support.server import LIMIT, Server

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


class Chip:
    """A chip that records the requests for its lines, in order."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.left: list[tuple[int, int | None]] = []
        self.busy: set[int] = set()
        self.forgets = False
        monkeypatch.setattr(chardev, "find", lambda: Path("/dev/gpiochip0"))
        monkeypatch.setattr(chardev, "leave", self.leave)
        monkeypatch.setattr(chardev, "read", self.read)
        monkeypatch.setattr(chardev, "holder", lambda *_: "another")

    def leave(self, _: Path, gpio: int, level: int | None) -> None:
        if gpio in self.busy:
            raise OSError(errno.EBUSY, "Device or resource busy")
        self.left.append((gpio, level))

    def read(self, _: Path, gpio: int) -> int:
        return 0 if self.forgets else dict(self.left)[gpio] or 0


class Home:
    """A configuration, the folders systemd gives, and what was said."""

    def __init__(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
    ) -> None:
        self.file = folder / "config.yaml"
        self.file.write_text(CONFIG)
        self._levels = folder / "run" / "levels.json"
        self._capfd = capfd
        for variable, name in (("RUNTIME_DIRECTORY", "run"), ("STATE_DIRECTORY", "state")):
            (folder / name).mkdir()
            monkeypatch.setenv(variable, str(folder / name))

    def safe_state(self) -> tuple[int, str]:
        status = main(["safe-state", "--config", str(self.file)])
        return status, self._capfd.readouterr().err

    def drove(self, pulse_at: float | None = None, **values: float) -> None:
        """Write the states that the server had driven, by GPIO."""
        known = {
            name.removeprefix("gpio"): {"value": value, "pulse_at": pulse_at}
            for name, value in values.items()
        }
        content = {"boot": output_state._boot_id(), "levels": known}
        self._levels.write_bytes(msgspec.json.encode(content))

    def remembered(self) -> dict[str, Any]:
        found: dict[str, Any] = msgspec.json.decode(self._levels.read_bytes())["levels"]
        return {gpio: level["value"] for gpio, level in found.items()}


@pytest.fixture
def home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Home:
    return Home(tmp_path, monkeypatch, capfd)


@pytest.fixture
def chip(monkeypatch: pytest.MonkeyPatch) -> Chip:
    return Chip(monkeypatch)


def ended(monkeypatch: pytest.MonkeyPatch, **how: str) -> None:
    for name, value in how.items():
        monkeypatch.setenv(name, value)


def test_after_a_kill(home, chip, monkeypatch):
    """Every output goes where its on_failure says, those first that go off, and the journal says
    so; what keeps its level over restarts is remembered as it was."""
    ended(monkeypatch, **KILLED)
    home.drove(gpio5=1, gpio6=0, gpio17=1, gpio18=0.5, gpio27=1)
    status, said = home.safe_state()
    assert status == 0
    assert chip.left == [(5, 1), (17, 0), (18, None), (6, 1)]
    assert "the server has ended (signal, killed, KILL): its outputs are left as" in said
    lines = ["pump (GPIO5): off", "vent (GPIO6): on", "light (GPIO18): let go"]
    assert all(line in said for line in [*lines, "bell (GPIO27): kept as it is"])
    assert home.remembered() == {"5": 0, "6": 1, "17": 1, "18": 0, "27": 1}


def test_a_pulse_that_runs_is_not_kept(home, chip, monkeypatch):
    """An output with a deadline goes off with the server, even with `keep`: it may not come back.
    The deadline is kept."""
    ended(monkeypatch, **KILLED)
    home.drove(pulse_at=1e9, gpio27=1)
    status, said = home.safe_state()
    assert status == 0
    assert chip.left == [(27, 0)]
    assert "bell (GPIO27): off" in said
    assert home.remembered() == {"27": 1}


@pytest.mark.parametrize("status", ["0", "75", "78"])
def test_after_a_good_end(home, chip, monkeypatch, status):
    """After a clean stop, or a start that touched nothing, nothing is touched or said."""
    ended(monkeypatch, SERVICE_RESULT="success", EXIT_CODE="exited", EXIT_STATUS=status)
    home.drove(gpio5=1)
    assert home.safe_state() == (0, "")
    assert chip.left == []


def test_a_signal_that_systemd_calls_clean(home, chip, monkeypatch):
    """A server that SIGTERM killed has not left its pins as on_stop says, whatever systemd says."""
    ended(monkeypatch, SERVICE_RESULT="success", EXIT_CODE="killed", EXIT_STATUS="TERM")
    home.drove(gpio5=1)
    assert home.safe_state()[0] == 0
    assert chip.left == [(5, 1)]


def test_by_hand(home, chip):
    """Called by hand, it acts on all outputs if it is not known which were driven."""
    status, said = home.safe_state()
    assert status == 0
    assert [gpio for gpio, _ in chip.left] == [5, 17, 18, 6]
    assert "asked by hand" in said


def test_a_pin_that_was_never_driven(home, chip, monkeypatch):
    """A pin that is only in the edited file, which never ran, is not touched."""
    ended(monkeypatch, **KILLED)
    home.drove(gpio17=1)
    home.safe_state()
    assert chip.left == [(17, 0)]


@pytest.mark.parametrize(
    "edited",
    ["pins: 1\n", CONFIG.replace("lamp: {gpio: 17", "lamp: {gpio: 22"), None],
    ids=["invalid", "another", "gone"],
)
def test_the_configuration_that_ran(home, chip, monkeypatch, edited):
    """The configuration that ran last counts, whatever has become of the file."""
    started = Server(["run", "--simulate", "--config", str(home.file)])
    assert started.stop() == 0
    if edited is None:
        home.file.unlink()
    else:
        home.file.write_text(edited)
    ended(monkeypatch, **KILLED)
    home.drove(gpio17=1)
    assert home.safe_state()[0] == 0
    assert chip.left == [(17, 0)]


def test_without_a_configuration(home, chip, monkeypatch):
    """With an invalid file and none that ran, the errors are shown, with status 78."""
    ended(monkeypatch, **KILLED)
    home.file.write_text("pins: 1\n")
    status, said = home.safe_state()
    assert (status, chip.left) == (78, [])
    assert f"{home.file}:1: pins: expected" in said


def test_a_line_that_is_in_use(home, chip, monkeypatch):
    """A line somebody holds is left, named with its holder; the others are still brought home."""
    ended(monkeypatch, **KILLED)
    chip.busy = {5}
    home.drove(gpio5=1, gpio17=1)
    status, said = home.safe_state()
    assert (status, chip.left) == (1, [(17, 0)])
    assert "pump (GPIO5): left as it is: in use by another" in said
    assert home.remembered() == {"5": 1, "17": 1}


def test_a_kernel_that_forgets(home, chip, monkeypatch):
    """A line that does not keep its level is reported."""
    ended(monkeypatch, **KILLED)
    chip.forgets = True
    home.drove(gpio5=1)
    status, said = home.safe_state()
    assert status == 1
    assert "pump (GPIO5): this kernel releases a line that no program holds; it shows 0" in said


def test_simulated_pins(home, chip, monkeypatch):
    """With simulated pins there is nothing to do."""
    ended(monkeypatch, **KILLED)
    home.file.write_text(CONFIG.replace("real", "simulated"))
    assert home.safe_state() == (0, "")


def test_it_is_quick_and_says_what_is_missing(home):
    """It imports neither Tornado nor gpiozero; where there is no header's chip, it says so."""
    command = [sys.executable, "-X", "importtime", "-m", "raspi_server", "safe-state"]
    done = subprocess.run(
        [*command, "--config", str(home.file)],
        env={**ANYWHERE, **os.environ, **KILLED},
        capture_output=True,
        text=True,
        timeout=LIMIT,
    )
    assert done.returncode == 1
    assert "GPIO cannot be opened: expected a gpiochip labelled pinctrl-bcm2835" in done.stderr
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "raspi_server.gpio.safe_state" in imported
    assert not imported & {"tornado", "gpiozero", "lgpio", "asyncio", "ssl"}
