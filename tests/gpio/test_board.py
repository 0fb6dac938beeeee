"""Pins on the board: switching, deadlines, interlocks, edges, debounce, pins that fail.

tests/test_stateful.py compares the board with a model over random sequences of events."""

from collections.abc import Callable, Iterator
from typing import Any
from unittest.mock import Mock

import pytest
from gpiozero.exc import PinError

from raspi_server.errors import RequestError
from raspi_server.gpio.backend import SimulatedFactory, SimulatedPin
from raspi_server.gpio.faults import LineInUse
from raspi_server.messages import Drive, Pulse, Set
from raspi_server.system.clock import wall_time
from tests.support.board import SimulatedBoard

LAMP = "  lamp: {gpio: 17, mode: output}\n"
GATE = "  gate: {gpio: 17, mode: output, pulse: 0.5}\n"
FAN = "  fan: {gpio: 18, mode: pwm}\n"
DOOR = "  door: {gpio: 4, mode: input}\n"
BUTTON = "  button: {gpio: 4, mode: input, debounce: 0.05}\n"
MOTOR = """
  up: {gpio: 5, mode: output, group: shutter, group_pause: 0.5}
  down: {gpio: 6, mode: output, group: shutter, group_pause: 0.5}
"""
BROKEN = Mock(side_effect=PinError("I/O error"))

Simulate = Callable[..., SimulatedBoard]


@pytest.fixture
def simulate() -> Iterator[Simulate]:
    """`simulate(pins)`: a board on simulated pins."""
    boards: list[SimulatedBoard] = []

    def simulate(pins: str, **options: Any) -> SimulatedBoard:
        board = SimulatedBoard(pins, **options)
        boards.append(board)
        return board

    yield simulate
    for board in boards:
        board.close()


@pytest.fixture
def motor(simulate: Simulate) -> SimulatedBoard:
    """A motor that has been off for its pause."""
    pi = simulate(MOTOR)
    pi.wait(1)
    return pi


@pytest.mark.parametrize(
    ("command", "code", "message"),
    [
        (Set(pin="p" * 50, value=1), "unknown-pin", f"^there is no pin '{'p' * 40}…'$"),
        (Set(pin="door", value=1), "not-writable", "is an input"),
        (Set(pin="lamp", value=0.5), "bad-value", "lamp: expected 0 or 1, got 0.5"),
        (Set(pin="fan", value=-0.01), "bad-value", "expected a number from 0 to 1, got -0.01"),
        (Set(pin="fan", value=1.01), "bad-value", "expected a number from 0 to 1, got 1.01"),
        (Pulse(pin="fan", seconds=1), "bad-value", "a pwm pin has no pulse"),
        (Pulse(pin="lamp"), "bad-value", "expected seconds, since the pin has no pulse"),
        (Pulse(pin="lamp", seconds=0.009), "bad-value", "expected 0.01 to 86400 seconds"),
        (Pulse(pin="lamp", seconds=86401), "bad-value", "expected 0.01 to 86400 seconds"),
        (Pulse(pin="gate", seconds=0.6), "bad-value", "expected 0.01 to 0.5 seconds, got 0.6"),
        (Pulse(pin="heat", seconds=11), "bad-value", "expected 0.01 to 10 seconds, got 11"),
        (Drive(pin="lamp", value=1), "bad-value", "lamp is not an input: expected set"),
    ],
)
def test_commands_that_are_rejected(simulate, command, code, message):
    """A command that a pin cannot carry out is rejected with the reason, and changes nothing."""
    heat = "  heat: {gpio: 23, mode: output, max_on: 10}\n"
    pi = simulate(LAMP + FAN + DOOR + GATE.replace("17", "22") + heat)
    with pytest.raises(RequestError, match=message) as rejected:
        pi.carry_out(command)
    assert rejected.value.code == code
    pi.settle()
    assert pi.changes == []


class TestOutputs:
    def test_switching_drives_the_line_and_is_reported_once(self, simulate):
        """A change is reported once, with its caller. The same value again is no change. An
        active-low relay that starts off has a high level from the first moment."""
        pi = simulate(LAMP + "  relay: {gpio: 22, mode: output, active: low}\n")
        assert pi.board["lamp"].since is None
        now = pi.loop.time()
        assert pi.set("lamp", 1).result() == 1
        pi.wait(5)
        assert pi.set("lamp", 1).result() == 1
        assert (pi.line(17).state, pi.board["lamp"].since) == (1, wall_time(now))
        assert pi.new_changes() == [("lamp", 1, "me")]
        pi.set("relay", 1)
        pi.set("relay", 0)
        assert pi.levels_of(22) == [0, 1, 0, 1]  # the first 0 is the mock's floating line

    def test_initial(self, simulate):
        """An output starts as its `initial` says, and that is kept for a restart. `max_on` counts
        from the start, too."""
        fan = "  fan: {gpio: 18, mode: pwm, initial: on, max_on: 1}\n"
        pi = simulate(LAMP + "  bell: {gpio: 27, mode: output, initial: on}\n" + fan)
        assert [pi.line(gpio).state for gpio in (17, 27, 18)] == [0, 1, 1]
        assert [pi.states.before_restart(gpio).value for gpio in (17, 27, 18)] == [0, 1, 1]
        assert pi.board.values() == {"lamp": 0, "bell": 1, "fan": 1}
        pi.wait(1.1)
        assert pi.new_changes() == [("fan", 0, "max_on")]

    def test_pwm(self, simulate):
        """A dimmed output is toggled on fully at first, later to its last value. An active-low one
        at 30% is low for 30% of the time."""
        low = "  low: {gpio: 19, mode: pwm, active: low, initial: 0.3, frequency: 50}\n"
        pi = simulate(FAN + low)
        assert pi.toggle("fan").result() == 1
        assert pi.set("fan", 0.35).result() == pi.line(18).state == 0.35
        assert [pi.toggle("fan").result() for _ in range(2)] == [0, 0.35]
        assert (pi.line(19).state, pi.line(19).frequency) == (pytest.approx(0.7), 50)
        assert (pi.toggle("low").result(), pi.line(19).state) == (0, 1)
        assert pi.toggle("low").result() == 0.3


class TestDeadlines:
    def test_a_pulse_ends_by_itself(self, simulate):
        """A pin with `pulse` goes off after that time. A command can shorten it. Each command gives
        the whole time again, with or without switching off before. Any output can be switched on
        for some seconds; `set` makes it stay on."""
        pi = simulate(GATE + "  lamp: {gpio: 27, mode: output}\n")
        pi.set("gate", 1)
        pi.wait(0.49)
        assert pi.line(17).state == 1
        pi.wait(0.02)
        assert pi.line(17).state == 0
        assert pi.new_changes() == [("gate", 1, "me"), ("gate", 0, "pulse")]
        pi.pulse("gate", 0.2)
        pi.wait(0.21)
        assert pi.value("gate") == 0
        for value in (1, 1, 0, 1):
            pi.set("gate", value)
            pi.wait(0.4 * value)
        assert pi.value("gate") == 1
        pi.pulse("gate")
        pi.pulse("lamp", 0.2)
        pi.wait(0.49)
        assert pi.board.values() == {"gate": 1, "lamp": 0}
        pi.pulse("lamp", 0.2)
        pi.set("lamp", 1)
        pi.wait(10)
        assert pi.board.values() == {"gate": 0, "lamp": 1}

    @pytest.mark.parametrize("keys", ["mode: output", "mode: output, pulse: 60", "mode: pwm"])
    def test_max_on_is_not_extended(self, simulate, keys):
        """An output goes off after `max_on`, even if it is switched on or dimmed meanwhile, or has
        a longer pulse. After it has been off, the time starts again."""
        pi = simulate(f"  heat: {{gpio: 18, {keys}, max_on: 10}}\n")
        for step in range(1, 10):
            pi.set("heat", step / 10 if "pwm" in keys else 1)
            pi.wait(1)
        assert pi.value("heat")
        pi.wait(1.1)
        assert pi.new_changes()[-1] == ("heat", 0, "max_on")
        for _ in range(2):
            pi.set("heat", 0)
            pi.set("heat", 1)
            pi.wait(9)
        assert pi.value("heat") == 1


class TestInterlocks:
    def test_the_other_goes_off_first_and_the_pause_passes(self, motor):
        """Two outputs of a group are never on together; the second waits for the pause. The same
        command twice succeeds twice. The same output needs no pause."""
        assert motor.set("up", 1).done()
        first, second = motor.set("down", 1), motor.set("down", 1)
        assert motor.board.values() == {"up": 0, "down": 0}
        motor.wait(0.49)
        assert (motor.value("down"), first.done()) == (0, False)
        motor.wait(0.02)
        assert first.result() == second.result() == 1
        assert motor.new_changes() == [("up", 1, "me"), ("up", 0, "group"), ("down", 1, "me")]
        motor.set("down", 0)
        assert motor.set("down", 1).done()
        motor.set("down", 0)
        motor.wait(0.3)
        future = motor.set("up", 1)
        assert not future.done()
        motor.wait(0.21)
        assert future.result() == 1

    def test_a_newer_command_cancels_one_that_waits(self, motor):
        """During the pause the last command counts, also one that switches off. The earlier one
        fails with the reason."""
        motor.set("up", 1)
        first = motor.set("down", 1)
        motor.wait(0.2)
        assert motor.set("up", 1).result() == 1
        with pytest.raises(RequestError, match="another output of its group") as rejected:
            first.result()
        assert rejected.value.code == "superseded"
        for switch_off in (lambda: motor.set("down", 0), lambda: motor.toggle("down")):
            motor.set("up", 1)
            future = motor.set("down", 1)
            assert switch_off().result() == 0
            with pytest.raises(RequestError, match="it was switched off"):
                future.result()
            motor.wait(1)
            assert motor.board.values() == {"up": 0, "down": 0}

    def test_a_start(self, simulate):
        """How a motor ran before the start is not known, so the pause passes first, also for
        `initial: on`, unless another one goes on before. A stop cancels what waits. If several
        were on, only the first comes back on."""
        pi = simulate(MOTOR)
        future = pi.set("up", 1)
        pi.wait(0.49)
        assert not future.done()
        pi.board.close()
        with pytest.raises(RequestError, match="the server is stopping"):
            future.result()
        starts_on = MOTOR.replace("up: {", "up: {initial: on, ")
        pi = simulate(starts_on)
        assert pi.value("up") == 0
        pi.wait(0.51)
        assert pi.new_changes() == [("up", 1, "initial")]
        pi = simulate(starts_on)
        pi.set("down", 1)
        pi.wait(0.51)
        assert pi.new_changes() == [("down", 1, "me")]
        pi = simulate(MOTOR.replace("group: shutter, group_pause: 0.5", "initial: keep"))
        pi.set("up", 1)
        pi.set("down", 1)
        pi.reconfigure(MOTOR.replace("group:", "initial: keep, group:"))
        assert pi.board.values() == {"up": 1, "down": 0}


class TestInputs:
    def test_an_edge(self, simulate):
        """A change has the time of its edge, not the time at which the loop handled it."""
        pi = simulate(DOOR)
        opened = pi.loop.time()
        pi.line(4).drive_high()
        pi.wait(3)
        assert [(c.value, c.moment, c.by) for c in pi.changes] == [(1, opened, None)]
        assert pi.board["door"].device.since == opened

    def test_drive(self, simulate):
        """An active-low input is 1 while its level is low. `drive` takes the value, and is rejected
        for a real input: its value is the truth."""
        pi = simulate("  door: {gpio: 4, mode: input, pull: up}\n")
        assert pi.value("door") == 0
        pi.line(4).drive_low()
        pi.settle()
        assert pi.carry_out(Drive(pin="door", value=0)).result() == 0
        pi.settle()
        assert pi.line(4).state == 1
        assert pi.new_changes() == [("door", 1, None), ("door", 0, None)]
        pi.factory.simulated = False
        with pytest.raises(RequestError, match="is a real pin") as rejected:
            pi.carry_out(Drive(pin="door", value=1))
        assert rejected.value.code == "not-simulated"

    def test_a_refresh_finds_a_lost_edge(self, simulate):
        """A refresh finds a level that no edge reported. If that is only late, its time counts."""
        pi = simulate(DOOR)
        pi.line(4)._state = 1  # without an edge
        pi.board.refresh()
        pi.wait(0.05)
        assert pi.new_changes() == [("door", 1, None)]
        pi.line(4)._state = 0
        pi.board.refresh()
        pi.wait(0.01)
        pi.board["door"].device._edge(1000.0, 0)
        pi.wait(0.05)
        assert [change.moment for change in pi.changes] == [1000.0]

    def test_debounce(self, simulate):
        """A level counts after it has held for the debounce time, with the time of the first edge
        of its burst. A shorter spike is ignored. A refresh meanwhile changes nothing."""
        pi = simulate(BUTTON)

        def bounce(*levels: int) -> float:
            """Give the line these levels, 5 ms apart; return the time of the first."""
            began = pi.loop.time()
            for level in levels:
                (pi.line(4).drive_high if level else pi.line(4).drive_low)()
                pi.wait(0.005)
                pi.board.refresh()
            return began

        bounce(1, 0)
        pi.wait(0.2)
        pressed = bounce(1, 0, 1, 0, 1)
        pi.wait(0.044)
        assert pi.changes == []
        pi.wait(0.002)
        assert [(c.value, c.moment) for c in pi.changes] == [(1, pressed)]
        released = bounce(0, 1, 0)
        pi.wait(0.2)
        assert [(c.value, c.moment) for c in pi.changes[1:]] == [(0, released)]


def test_a_reload(simulate):
    """A pin with another key of its line is opened again, with `keep` at its value. A removed
    output gets its `on_stop`, a removed input reports nothing more. Other pins are not touched: a
    running pulse goes on, and has the new name."""
    rest = "  rest: {gpio: 6, mode: output, group: one}\n"
    lamp = rest + "  lamp: {gpio: 27, mode: output, initial: keep, group: one}\n"
    pi = simulate(lamp + GATE + "  bell: {gpio: 5, mode: output, on_stop: on}\n" + DOOR)
    pi.wait(1)
    pi.set("lamp", 1)
    pi.set("gate", 1)
    bell, door = pi.line(5), pi.line(4)
    levels = pi.levels_of(17), pi.levels_of(27)
    lamp = lamp.replace("initial", "max_on: 10, initial")
    own = "label: Tap, kind: gate, room: Hall, icon: bell, words: {on: a, off: b}, hidden: true"
    pi.reconfigure(lamp + GATE.replace("gate: {", f"tap: {{{own}, on_stop: input, "))
    door.drive_high()
    pi.settle()
    assert pi.new_changes() == [("lamp", 1, "me"), ("gate", 1, "me")]
    assert (pi.levels_of(17), pi.levels_of(27)) == levels
    assert (pi.board.values(), bell.state) == ({"rest": 0, "lamp": 1, "tap": 1}, 1)
    assert (door.when_changed, pi.availability_changes) == (None, 0)
    pi.wait(0.51)
    assert pi.new_changes() == [("tap", 0, "pulse")]


def test_the_header(simulate, monkeypatch):
    """The header has all positions, with the pins and holders of its lines."""
    monkeypatch.setattr(SimulatedFactory, "holder", lambda _, gpio: {8: "spi0 CS0"}.get(gpio))
    pi = simulate(LAMP)
    pi.set("lamp", 1)
    found = {pin.position: (pin.gpio, pin.holder, pin.pin, pin.value) for pin in pi.board.header()}
    assert (list(found), found[1]) == (list(range(1, 41)), (None, None, None, None))
    assert found[24] == (8, "spi0 CS0", None, None)
    assert found[11] == (17, "raspi-server", "lamp", 1)


class TestFailures:
    def test_a_pin_in_use(self, simulate, monkeypatch, caplog):
        """A pin that another program holds is unavailable until it is free. The reason is logged
        once, and its return. Meanwhile another output of its group does not go on; other pins are
        not affected."""
        factory = SimulatedFactory()
        in_use = Mock(side_effect=LineInUse(6, "w1"))
        monkeypatch.setattr(factory.pin(6), "output_with_state", in_use)
        pi = simulate(MOTOR + FAN, factory=factory)
        assert pi.board.values() == {"up": 0, "down": None, "fan": 0}
        for pin, message in (
            ("down", "^down: GPIO6 is in use by w1$"),
            ("up", "^down of the same group is unavailable$"),
        ):
            with pytest.raises(RequestError, match=message) as rejected:
                pi.set(pin, 1)
            assert rejected.value.code == "unavailable"
        with pytest.raises(RequestError) as rejected:
            pi.set("down", 1)
        values = {"gpio": 6, "holder": "w1"}
        assert (rejected.value.reason, rejected.value.values) == ("line-in-use", values)
        assert pi.set("fan", 1).result() == 1
        pi.board.reopen_failed()
        assert (pi.availability_changes, caplog.text.count("in use by w1")) == (0, 1)
        monkeypatch.undo()
        with caplog.at_level("INFO"):
            pi.board.reopen_failed()
        assert caplog.text.count("down (GPIO6): available again") == 1
        assert pi.board.values() == {"up": 0, "down": 0, "fan": 1}
        assert pi.availability_changes == 1

    def test_a_line_that_fails(self, simulate, monkeypatch):
        """A pin whose line fails when it is switched, at the end of a pulse, or when it is read, is
        unavailable. An output is off when it is available again, an input is read."""
        pi = simulate(GATE + "  lamp: {gpio: 27, mode: output, initial: on}\n" + DOOR)
        pi.set("gate", 1)
        with monkeypatch.context() as broken:
            broken.setattr(SimulatedPin, "_set_state", BROKEN)
            with pytest.raises(RequestError, match="I/O error"):
                pi.set("lamp", 0)
            assert (pi.value("lamp"), pi.availability_changes) == (None, 1)
            pi.wait(0.6)
            broken.setattr(SimulatedPin, "_get_state", BROKEN)
            pi.board.refresh()
        assert {str(pin.error) for pin in pi.board} == {"I/O error"}
        assert pi.availability_changes == 3
        pi.line(4)._state = 1
        pi.board.reopen_failed()
        assert pi.board.values() == {"gate": 0, "lamp": 0, "door": 1}
        assert (pi.line(17).state, pi.line(27).state, pi.availability_changes) == (0, 0, 4)
