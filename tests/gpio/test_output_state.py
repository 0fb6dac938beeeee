"""Output states that are kept over a restart and over a power cut."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from raspi_server.gpio.backend import SimulatedFactory
from raspi_server.gpio.output_state import OutputState, OutputStateStore
from tests.support.board import SimulatedBoard
from tests.support.http import ask
from tests.support.server import Server

Folders = tuple[Path, Path]
Start = Callable[..., SimulatedBoard]


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    """The folders that systemd makes: /run/raspi-server and /var/lib/raspi-server."""
    for name in ("run", "state"):
        (tmp_path / name).mkdir()
    return tmp_path / "run", tmp_path / "state"


@pytest.fixture
def start(folders: Folders) -> Iterator[Start]:
    """`start(pins, later)`: the service started again, `later` seconds after the first time."""
    boards: list[SimulatedBoard] = []

    def start(pins: str, later: float = 0) -> SimulatedBoard:
        board = SimulatedBoard(pins, states=OutputStateStore(*folders), at=1000 + later)
        boards.append(board)
        return board

    yield start
    for board in boards:
        board.loop.close()


def lamp(**keys: object) -> str:
    more = "".join(f", {key}: {value}" for key, value in keys.items())
    return f"  lamp: {{gpio: 17, mode: output{more}}}\n"


def lose_run(folders: Folders) -> None:
    """Empty /run, as a power cut does."""
    for file in folders[0].iterdir():
        file.unlink()


def change_boot(folders: Folders) -> None:
    """Make the file in /run one of another boot."""
    file = folders[0] / "levels.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "boot": "another"}))


@pytest.mark.parametrize(("on_stop", "left"), [("keep", 1), ("off", 0), (None, 1)])
def test_keep_over_a_restart(start, on_stop, left):
    """A lamp with `initial: keep` is as it was before the stop, also if the stop switched it off,
    and after a crash. Without `keep` it starts off."""
    pi = start(lamp(initial="keep", on_stop=on_stop or "off"))
    assert pi.value("lamp") == 0
    pi.set("lamp", 1)
    line = pi.line(17)
    if on_stop:
        pi.board.close()
    assert line.state == left
    assert start(lamp(initial="keep")).value("lamp") == 1
    assert start(lamp()).value("lamp") == 0


@pytest.mark.parametrize("cut_power", [lose_run, change_boot])
def test_power_cut(start, folders, cut_power):
    """After a power cut, outputs with `initial: restore` are as they were, dimmed ones too, and
    others start off. A pulse or `max_on` is over: how long the power was away is not known."""
    pins = """
  kept: {gpio: 5, mode: output, initial: keep}
  lamp: {gpio: 17, mode: output, initial: restore}
  fan: {gpio: 18, mode: pwm, initial: restore}
  gate: {gpio: 22, mode: output, initial: restore, pulse: 60}
  heat: {gpio: 23, mode: output, initial: restore, max_on: 3600}
"""
    pi = start(pins)
    for pin in ("kept", "lamp", "gate", "heat"):
        pi.set(pin, 1)
    pi.set("fan", 0.35)
    assert pi.states.is_due(0)
    pi.states.save(0)
    cut_power(folders)
    expected = {"kept": 0, "lamp": 1, "fan": 0.35, "gate": 0, "heat": 0}
    assert start(pins).board.values() == expected


def test_restore_from_a_reload_on(start, folders):
    """If a reload adds `initial: restore`, the present state is kept over a power cut."""
    pi = start(lamp(initial="keep"))
    pi.set("lamp", 1)
    pi.reconfigure(lamp(initial="restore"))
    pi.states.save(0)
    lose_run(folders)
    assert start(lamp(initial="restore")).value("lamp") == 1


def test_the_card_is_written_rarely(start, folders):
    """The SD card is written every 5 s at most, and only for changes of pins with `restore`."""
    pi = start(lamp(initial="keep"))
    pi.set("lamp", 1)
    assert not pi.states.is_due(1e9)
    pi.states.save(0)
    assert list(folders[1].iterdir()) == []
    pi = start(lamp(initial="restore"))
    pi.states.save(100.0)
    assert not pi.states.is_due(200.0)
    pi.set("lamp", 0)
    assert pi.states.is_due(200.0)
    pi.states.save(200.0)
    pi.set("lamp", 1)
    assert not pi.states.is_due(204.9)
    assert pi.states.is_due(205.0)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b'{"boot":1}', b"[]"])
def test_a_damaged_file_is_ignored(start, folders, caplog, content):
    """With damaged files outputs start as if there were none. The next change repairs them."""
    for folder in folders:
        (folder / "levels.json").write_bytes(content)
    pins = lamp(initial="keep") + "  bell: {gpio: 27, mode: output, initial: restore}\n"
    pi = start(pins)
    assert caplog.text.count("no output state is restored") == 2
    assert pi.board.values() == {"lamp": 0, "bell": 0}
    pi.set("lamp", 1)
    pi.set("bell", 1)
    pi.states.save(0)
    assert start(pins).board.values() == {"lamp": 1, "bell": 1}


def test_a_full_disk(start, folders, caplog):
    """If the state cannot be written, the lamp can still be switched, and the log has the reason.
    A later save tries again."""
    pi = start(lamp(initial="restore"))
    for folder in folders:
        lose_run((folder, folder))
        folder.rmdir()
    pi.set("lamp", 1)
    assert pi.value("lamp") == 1
    assert "the output state was not saved" in caplog.text
    pi.states.save(0)
    assert pi.states.is_due(5)


class TestDeadlines:
    GATE = "  gate: {gpio: 17, mode: output, pulse: 60, initial: keep}\n"

    def test_a_pulse_goes_on_over_a_restart(self, start):
        """A pulse that began before a restart ends when it would have. One that is overdue never
        goes on."""
        start(self.GATE).set("gate", 1)
        pi = start(self.GATE, later=20)
        assert pi.value("gate") == 1
        pi.wait(39.9)
        assert pi.value("gate") == 1
        pi.wait(0.2)
        assert pi.new_changes() == [("gate", 0, "pulse")]
        start(self.GATE).set("gate", 1)
        pi = start(self.GATE, later=61)
        assert pi.value("gate") == 0
        assert 1 not in pi.levels_of(17)

    @pytest.mark.parametrize("initial", ["keep", "on"])
    def test_max_on_goes_on_over_a_restart(self, start, initial):
        """A restart does not extend `max_on`."""
        heat = f"  heat: {{gpio: 17, mode: output, max_on: 60, initial: {initial}}}\n"
        start(heat).set("heat", 1)
        pi = start(heat, later=50)
        pi.wait(9.9)
        assert pi.value("heat") == 1
        pi.wait(0.2)
        assert pi.new_changes() == [("heat", 0, "max_on")]

    @pytest.mark.parametrize(("on_stop", "state"), [("keep", 0), ("on", 1), ("off", 0)])
    def test_a_stop_does_not_keep_a_pulse_on(self, start, on_stop, state):
        """`on_stop: keep` does not keep a pulse on, since nothing would end it. After the restart
        it goes on. An output without a deadline is kept on."""
        pi = start(lamp(on_stop=on_stop, initial="keep"))
        pi.pulse("lamp", 5)
        line = pi.line(17)
        pi.board.close()
        assert line.state == state
        pi = start(lamp(on_stop="keep", initial="keep"), later=4)
        assert pi.value("lamp") == 1
        pi.wait(1.1)
        assert pi.new_changes() == [("lamp", 0, "pulse")]
        pi.set("lamp", 1)
        line = pi.line(17)
        pi.board.close()
        assert line.state == 1

    def test_the_level_of_a_line_starts_no_pulse(self, start, monkeypatch):
        """Without a kept state, `keep` takes over the level of the line, but starts no pulse."""
        monkeypatch.setattr(SimulatedFactory, "level", lambda *_: 0)
        more = "mode: output, active: low, initial: keep"
        pi = start(f"  gate: {{gpio: 17, pulse: 1, {more}}}\n  lamp: {{gpio: 18, {more}}}\n")
        assert pi.board.values() == {"gate": 0, "lamp": 1}


def test_states_belong_to_gpios(folders):
    """A state is kept for a GPIO: renaming its pin changes nothing."""
    OutputStateStore(*folders).remember(17, OutputState(1), over_power_cut=False)
    assert OutputStateStore(*folders).before_restart(17) == OutputState(1)
    assert OutputStateStore(*folders).before_restart(18) is None


@pytest.mark.slow
def test_over_http(start_server: Callable[..., Server], folders: Folders) -> None:
    """The server keeps its outputs over a restart and a power cut, in systemd's folders."""
    names = ("RUNTIME_DIRECTORY", "STATE_DIRECTORY")
    environment = {**os.environ, **{n: str(f) for n, f in zip(names, folders, strict=True)}}
    config = "access: {control: everyone}\npins:\n" + lamp(initial="restore")
    server = start_server(config, env=environment)
    assert ask(server, "PUT", "/api/pins/lamp", {"value": 1}).status == 200
    server.restart()
    assert ask(server, "GET", "/api/pins/lamp").json["value"] == 1
    server.stop()
    lose_run(folders)
    server = start_server(config, env=environment)
    assert ask(server, "GET", "/api/pins/lamp").json["value"] == 1
