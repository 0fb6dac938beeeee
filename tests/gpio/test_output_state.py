"""Output states that are kept over a restart and over a power cut."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from msgspec import Struct

from raspi_server.gpio.backend import SimulatedFactory
from raspi_server.gpio.claims import Level
from raspi_server.gpio.output_state import OutputStateStore
from raspi_server.messages import Set
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


def test_keep_over_a_restart(start):
    """A lamp with `initial: keep` is as it was before a stop, also if that switched it off or made
    it an input, and after a crash, whatever its name. Without `keep` it starts off."""
    ends = {"keep": ("output", 1), "off": ("output", 0), "input": ("input", 1), None: ("output", 1)}
    for on_stop, end in ends.items():
        pi = start(lamp(initial="keep", on_stop=on_stop or "off"))
        assert pi.value("lamp") == 0
        pi.set("lamp", 1)
        line = pi.line(17)
        if on_stop:
            pi.board.close()
        assert (line.function, line.state) == end
        assert start(lamp(initial="keep").replace("lamp", "light")).value("light") == 1
        assert start(lamp()).value("lamp") == 0


@pytest.mark.parametrize("boot", [None, "another"])
def test_power_cut(start, folders, boot):
    """After a power cut, outputs with `initial: restore` are as they were, dimmed ones too, also if
    a reload added that key. Others start off. A pulse or `max_on` is over: how long the power was
    away is not known. The file in /run is lost then, or is one of another boot."""
    others = """
  kept: {gpio: 5, mode: output, initial: keep}
  fan: {gpio: 18, mode: pwm, initial: restore}
  gate: {gpio: 22, mode: output, initial: restore, pulse: 60}
  heat: {gpio: 23, mode: output, initial: restore, max_on: 3600}
"""
    pi = start(others + lamp())
    for pin in ("kept", "lamp", "gate", "heat"):
        pi.set(pin, 1)
    pi.set("fan", 0.35)
    pi.reconfigure(others + lamp(initial="restore"))
    pi.states.save(0)
    file = folders[0] / "levels.json"
    kept = json.loads(file.read_text())
    file.unlink()
    if boot:
        file.write_text(json.dumps({**kept, "boot": boot}))
    expected = {"kept": 0, "fan": 0.35, "gate": 0, "heat": 0, "lamp": 1}
    assert start(others + lamp(initial="restore")).board.values() == expected


def test_the_card_is_written_rarely(start, folders):
    """The SD card is written every 5 s at most, and only for changes of pins with `restore`."""
    pi = start(lamp(initial="keep"))
    pi.set("lamp", 1)
    assert not pi.states.is_due(1e9)
    pi.states.save(0)
    assert list(folders[1].iterdir()) == []
    pi = start(lamp(initial="restore"))
    assert pi.states.is_due(0.0)
    pi.states.save(100.0)
    assert not pi.states.is_due(200.0)
    pi.set("lamp", 0)
    pi.states.save(200.0)
    pi.set("lamp", 1)
    assert [pi.states.is_due(now) for now in (204.9, 205.0)] == [False, True]


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe", b'{"boot":1}'])
def test_files_that_cannot_be_used(start, folders, caplog, content):
    """With damaged files outputs start as if there were none. The next change repairs them. If they
    cannot be written, the lamp can still be switched, and a later save tries again."""
    for folder in folders:
        (folder / "levels.json").write_bytes(content)
    pins = lamp(initial="keep") + "  bell: {gpio: 27, mode: output, initial: restore}\n"
    pi = start(pins)
    assert caplog.text.count("no output state is restored") == 2
    assert pi.board.values() == {"lamp": 0, "bell": 0}
    pi.set("lamp", 1)
    pi.set("bell", 1)
    pi.states.save(0)
    pi = start(pins)
    assert pi.board.values() == {"lamp": 1, "bell": 1}
    for folder in folders:
        (folder / "levels.json").unlink()
        folder.rmdir()
    pi.set("bell", 0)
    assert "the output state was not saved" in caplog.text
    pi.states.save(0)
    assert pi.states.is_due(5)


def test_time_limits_go_on_over_a_restart(start):
    """A pulse or `max_on` that began before a restart ends when it would have. One that is overdue
    never goes on. `on_stop: keep` does not keep a pulse on while nothing would end it."""
    for limit, initial in (("pulse", "keep"), ("max_on", "keep"), ("max_on", "on")):
        keys = {limit: 60, "initial": initial}
        start(lamp(**keys)).set("lamp", 1)
        pi = start(lamp(**keys), later=20)
        pi.wait(39.9)
        assert pi.value("lamp") == 1
        pi.wait(0.2)
        assert pi.new_changes() == [("lamp", 0, limit)]
        pi.set("lamp", 1)
        pi = start(lamp(**keys), later=121)
        assert pi.value("lamp") == 0
        assert 1 not in pi.levels_of(17)
    pi = start(lamp(on_stop="keep"))
    pi.pulse("lamp", 5)
    line = pi.line(17)
    pi.board.close()
    assert line.state == 0


def test_the_level_of_a_line_starts_no_pulse(start, monkeypatch):
    """Without a kept state, `keep` takes over the level of the line, but starts no pulse."""
    monkeypatch.setattr(SimulatedFactory, "level", lambda *_: 0)
    more = "mode: output, active: low, initial: keep"
    pi = start(f"  gate: {{gpio: 17, pulse: 1, {more}}}\n  lamp: {{gpio: 18, {more}}}\n")
    assert pi.board.values() == {"gate": 0, "lamp": 1}


class StateOf070(Struct, frozen=True):
    """The state of an output as release 0.7.0 reads and writes it."""

    value: float
    pulse_at: float | None = None
    max_at: float | None = None


class FileOf070(Struct):
    """The file as release 0.7.0 reads and writes it."""

    boot: str
    levels: dict[int, StateOf070]


def test_rollback_to_a_release_without_claims(start, folders):
    """Release 0.7.0 reads the file: a value is there, without what claims it; the end of a command
    for a time, or of a schedule's pulse, is that of a pulse. What 0.7.0 writes is read here."""
    pins = lamp(initial="keep") + "  fan: {gpio: 18, mode: output, initial: keep}\n"
    pi = start(pins + "  zone: {gpio: 22, mode: output}\n")
    pi.set("lamp", 1)
    pi.carry_out(Set(pin="fan", value=1, seconds=600))
    pi.board.claim("zone", "watering", Level.SCHEDULE, 1, pi.loop.time(), 300)
    pi.settle()
    file = folders[0] / "levels.json"
    found = msgspec.json.decode(file.read_bytes(), type=FileOf070)
    assert found.levels == {
        17: StateOf070(1),
        18: StateOf070(1, pulse_at=1600),
        22: StateOf070(1, pulse_at=1300),
    }
    file.write_bytes(msgspec.json.encode(found))
    again = start(pins, later=60)
    assert (again.value("lamp"), again.value("fan")) == (1, 1)
    again.wait(600)
    assert (again.value("lamp"), again.value("fan")) == (1, 0)


def test_over_http(start_server: Callable[..., Server], folders: Folders) -> None:
    """The server keeps its outputs over a power cut, in systemd's folders."""
    names = ("RUNTIME_DIRECTORY", "STATE_DIRECTORY")
    environment = {**os.environ, **{n: str(f) for n, f in zip(names, folders, strict=True)}}
    config = "access: {control: everyone}\npins:\n" + lamp(initial="restore")
    server = start_server(config, env=environment)
    assert ask(server, "PUT", "/api/pins/lamp", {"value": 1}).status == 200
    server.stop()
    (folders[0] / "levels.json").unlink()
    server = start_server(config, env=environment)
    assert ask(server, "GET", "/api/pins/lamp").json["value"] == 1
