"""Output states that are kept over a restart and over a power cut."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from raspi_server.gpio.backend import SimulatedFactory
from raspi_server.gpio.output_state import OutputState, OutputStateStore
from tests.support.board import Rig
from tests.support.server import Server
from tests.web.test_websocket import Browser


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Return the folders that systemd makes: /run/raspi-server and /var/lib/raspi-server."""
    for name in ("run", "state"):
        (tmp_path / name).mkdir()
    return tmp_path / "run", tmp_path / "state"


@pytest.fixture
def start(folders: tuple[Path, Path]) -> Iterator[Callable[..., Rig]]:
    """Start the service again, on the same machine or after a power cut."""
    rigs: list[Rig] = []

    def start(pins: str, later: float = 0) -> Rig:
        rig = Rig(pins, states=OutputStateStore(*folders), at=1000 + later)
        rigs.append(rig)
        return rig

    yield start
    for rig in rigs:
        rig.loop.close()


def lamp(**keys: Any) -> str:
    more = "".join(f", {key}: {value}" for key, value in keys.items())
    return f"  lamp: {{gpio: 17, mode: output{more}}}\n"


def cut_power(folders: tuple[Path, Path]) -> None:
    """/run is gone."""
    for file in folders[0].iterdir():
        file.unlink()


@pytest.mark.parametrize("ends_well", [True, False])
def test_keep_over_a_restart(start, ends_well):
    """A lamp with `initial: keep` is as it was after a restart, a clean one or a crash."""
    pi = start(lamp(initial="keep", on_stop="keep"))
    assert pi.board["lamp"].value == 0
    pi.set("lamp", 1)
    if ends_well:
        pi.board.close()
    assert start(lamp(initial="keep")).board["lamp"].value == 1


def test_keep_is_what_was_chosen_not_what_the_stop_left(start):
    """A lamp that the stop switched off comes back as its owner left it."""
    pi = start(lamp(initial="keep", on_stop="off"))
    pi.set("lamp", 1)
    line = pi.line(17)
    pi.board.close()
    assert line.state == 0
    assert start(lamp(initial="keep")).board["lamp"].value == 1


def test_off_stays_off(start):
    """Without `keep` a lamp starts off, however it was."""
    start(lamp()).set("lamp", 1)
    assert start(lamp()).board["lamp"].value == 0


def test_keep_does_not_outlive_a_power_cut(start, folders):
    """`keep` is over restarts only: after a power cut the line decides, which shows nothing."""
    start(lamp(initial="keep")).set("lamp", 1)
    cut_power(folders)
    assert start(lamp(initial="keep")).board["lamp"].value == 0


def test_another_boot_is_a_power_cut(start, folders):
    """A file of another boot in /run is not believed."""
    start(lamp(initial="keep")).set("lamp", 1)
    file = folders[0] / "levels.json"
    content = json.loads(file.read_text())
    file.write_text(json.dumps({**content, "boot": "another"}))
    assert start(lamp(initial="keep")).board["lamp"].value == 0


def test_restore_over_a_power_cut(start, folders):
    """A lamp with `initial: restore` is as it was even after a power cut."""
    pi = start(lamp(initial="restore"))
    pi.set("lamp", 1)
    assert pi.states.is_due(0)
    pi.states.save(0)
    cut_power(folders)
    assert start(lamp(initial="restore")).board["lamp"].value == 1


def test_restore_of_pwm(start, folders):
    """A dimmed fan comes back at its speed."""
    fan = "  fan: {gpio: 18, mode: pwm, initial: restore}\n"
    pi = start(fan)
    pi.set("fan", 0.35)
    pi.states.save(0)
    cut_power(folders)
    assert start(fan).board["fan"].value == 0.35


def test_the_card_is_written_rarely(start):
    """However much is switched, the SD card is written every 5 s at most, and not without need."""
    pi = start(lamp(initial="restore"))
    pi.states.save(100.0)
    assert not pi.states.is_due(200.0)
    pi.set("lamp", 1)
    assert pi.states.is_due(200.0)
    pi.states.save(200.0)
    pi.set("lamp", 0)
    assert not pi.states.is_due(204.9)
    assert pi.states.is_due(205.0)


def test_a_pin_without_restore_is_never_written_to_the_card(start, folders):
    """Only pins with `restore` cost the SD card anything."""
    pi = start(lamp(initial="keep"))
    pi.set("lamp", 1)
    assert not pi.states.is_due(1e9)
    pi.states.save(0)
    assert list(folders[1].iterdir()) == []


@pytest.mark.parametrize("torn", [b"", b"{", b"\xff\xfe", b'{"boot":1}', b"[]", b"null"])
@pytest.mark.parametrize("initial", ["keep", "restore"])
def test_a_torn_file_is_harmless(start, folders, torn, initial):
    """A torn file means a start as if nothing had been kept, and the next switching mends it."""
    for folder in folders:
        (folder / "levels.json").write_bytes(torn)
    pi = start(lamp(initial=initial))
    assert pi.board["lamp"].value == 0
    pi.set("lamp", 1)
    pi.states.save(0)
    assert start(lamp(initial=initial)).board["lamp"].value == 1


def test_a_full_disk_is_said_and_switching_goes_on(start, folders, caplog):
    """If nothing can be kept, the lamp can still be switched, and the log says why."""
    pi = start(lamp(initial="keep"))
    (folders[0] / "levels.json").unlink()
    folders[0].rmdir()
    pi.set("lamp", 1)
    assert pi.board["lamp"].value == 1
    assert "outputs will not be kept" in caplog.text


class TestDeadlines:
    GATE = "  gate: {gpio: 17, mode: output, pulse: 60, initial: keep}\n"

    def test_a_pulse_goes_on_over_a_restart(self, start):
        """A pulse that outlives a restart ends when it should have."""
        start(self.GATE).set("gate", 1)
        pi = start(self.GATE, later=20)
        assert pi.board["gate"].value == 1
        pi.wait(39.9)
        assert pi.board["gate"].value == 1
        pi.wait(0.2)
        assert pi.told() == [("gate", 0, "pulse")]

    def test_what_is_overdue_is_never_switched_on(self, start):
        """A pulse that ended while the service was down does not begin again."""
        start(self.GATE).set("gate", 1)
        pi = start(self.GATE, later=61)
        assert pi.board["gate"].value == 0
        assert 1 not in pi.levels_of(17)

    def test_max_on_goes_on_over_a_restart(self, start):
        """Restarting the service does not give a heater more time."""
        heater = "  heater: {gpio: 17, mode: output, max_on: 60, initial: keep}\n"
        start(heater).set("heater", 1)
        pi = start(heater, later=50)
        pi.wait(10.1)
        assert pi.told() == [("heater", 0, "max_on")]

    def test_a_pulse_does_not_outlive_a_power_cut(self, start, folders):
        """Nobody knows how long the power was away, so a pulse is over."""
        gate = self.GATE.replace("keep", "restore")
        pi = start(gate)
        pi.set("gate", 1)
        pi.states.save(0)
        cut_power(folders)
        assert start(gate).board["gate"].value == 0

    def test_max_on_does_not_begin_again_after_a_power_cut(self, start, folders):
        """A heater whose hour passed while the power was away does not get another one."""
        heater = "  heater: {gpio: 17, mode: output, max_on: 3600, initial: restore}\n"
        pi = start(heater)
        pi.set("heater", 1)
        pi.states.save(0)
        cut_power(folders)
        assert start(heater).board["heater"].value == 0

    @pytest.mark.parametrize(("on_stop", "state"), [("keep", 0), ("on", 1), ("off", 0)])
    def test_a_stop_does_not_keep_a_pulse_on(self, start, on_stop, state):
        """A lamp that somebody pulsed is not on for ever if the service stops in the meantime; what
        is on without an end is kept."""
        pi = start(lamp(on_stop=on_stop, initial="keep"))
        pi.pulse("lamp", 5)
        line = pi.line(17)
        pi.board.close()
        assert line.state == state
        pi = start(lamp(on_stop="keep", initial="keep"), later=4)
        assert pi.board["lamp"].value == 1
        pi.wait(1.1)
        assert pi.told() == [("lamp", 0, "pulse")]
        pi.set("lamp", 1)
        line = pi.line(17)
        pi.board.close()
        assert line.state == 1

    def test_a_line_that_shows_on_begins_no_pulse(self, start, monkeypatch):
        """A gate's relay that is active low, on a line that nobody drives yet, is not pressed by a
        start; a lamp there is kept."""
        monkeypatch.setattr(SimulatedFactory, "level", lambda *_: 0)
        more = "mode: output, active: low, initial: keep"
        pi = start(f"  gate: {{gpio: 17, pulse: 1, {more}}}\n  lamp: {{gpio: 18, {more}}}\n")
        assert pi.board.values() == {"gate": 0, "lamp": 1}


def test_levels_by_gpio(folders):
    """A state belongs to the line: renaming a pin changes nothing."""
    OutputStateStore(*folders).remember(17, OutputState(1), over_power_cut=False)
    assert OutputStateStore(*folders).before_restart(17) == OutputState(1)
    assert OutputStateStore(*folders).before_restart(18) is None


def test_through_the_front_door(start_server: Callable[..., Server], folders) -> None:
    """A real service with systemd's folders keeps its lamp over a restart and a power cut."""
    names = ("RUNTIME_DIRECTORY", "STATE_DIRECTORY")
    environment = {**os.environ, **{n: str(f) for n, f in zip(names, folders, strict=True)}}
    config = "access: {control: everyone}\npins:\n" + lamp(initial="restore")
    server = start_server(config, env=environment)
    with Browser(server) as browser:
        assert browser.ask(type="set", pin="lamp", value=1)["value"] == 1
    server.restart()
    with Browser(server) as browser:
        assert browser.read()["state"] == {"lamp": 1}
    server.stop()
    cut_power(folders)
    server = start_server(config, env=environment)
    with Browser(server) as browser:
        assert browser.read()["state"] == {"lamp": 1}
