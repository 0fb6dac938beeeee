"""Pins on the board: switching, deadlines, interlocks, edges, debounce, pins that fail."""

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from gpiozero.exc import GPIOPinInUse, PinError

from raspi_server.errors import RequestError
from raspi_server.gpio.backend import SimulatedFactory, SimulatedPin
from raspi_server.gpio.output_state import OutputState, OutputStateStore
from raspi_server.messages import Drive, Pulse, Set
from raspi_server.system import busy
from raspi_server.system.clock import wall_time
from tests.support.board import SimulatedBoard

LAMP = "  lamp: {gpio: 17, mode: output}\n"
GATE = "  gate: {gpio: 17, mode: output, pulse: 0.5}\n"
FAN = "  fan: {gpio: 18, mode: pwm}\n"
DOOR = "  door: {gpio: 4, mode: input}\n"
MOTOR = """
  up: {gpio: 5, mode: output, group: shutter, group_pause: 0.5}
  down: {gpio: 6, mode: output, group: shutter, group_pause: 0.5}
"""

Simulate = Callable[..., SimulatedBoard]


@pytest.fixture
def simulate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Simulate]:
    """`simulate(pins)`: a board on simulated pins."""
    boards: list[SimulatedBoard] = []

    def simulate(pins: str, **options: Any) -> SimulatedBoard:
        board = SimulatedBoard(pins, **options)
        # Simulated edges carry the time of the loop, as real ones carry the kernel's.
        monkeypatch.setattr("gpiozero.pins.mock.monotonic", board.loop.time)
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


def raising(error: Exception) -> Callable[..., Any]:
    def fail(*_: object) -> None:
        raise error

    return fail


@pytest.mark.parametrize(
    ("command", "code", "message"),
    [
        (Set(pin="p" * 50, value=1), "unknown-pin", f"^there is no pin '{'p' * 40}'$"),
        (Set(pin="door", value=1), "not-writable", "is an input"),
        (Set(pin="lamp", value=0.5), "bad-value", "lamp: expected 0 or 1, got 0.5"),
        (Set(pin="lamp", value=-1), "bad-value", "lamp: expected 0 or 1, got -1"),
        (Set(pin="fan", value=-0.01), "bad-value", "expected a value from 0 to 1, got -0.01"),
        (Set(pin="fan", value=1.01), "bad-value", "expected a value from 0 to 1, got 1.01"),
        (Set(pin="fan", value=float("nan")), "bad-value", "expected a value from 0 to 1, got nan"),
        (Pulse(pin="fan", seconds=1), "bad-value", "a pwm pin has no pulse"),
        (Pulse(pin="lamp"), "bad-value", "expected seconds, since the pin has no pulse"),
        (Pulse(pin="lamp", seconds=0.009), "bad-value", "expected 0.01 to 86400 seconds"),
        (Pulse(pin="lamp", seconds=float("nan")), "bad-value", "expected 0.01 to 86400 seconds"),
        (Pulse(pin="lamp", seconds=86401), "bad-value", "expected 0.01 to 86400 seconds"),
        (Pulse(pin="gate", seconds=0.6), "bad-value", "expected 0.01 to 0.5 seconds, got 0.6"),
        (Pulse(pin="heat", seconds=11), "bad-value", "expected 0.01 to 10 seconds, got 11"),
        (Drive(pin="lamp", value=1), "bad-value", "lamp .* is not an input: expected set"),
        (Drive(pin="door", value=2), "bad-value", "door: expected 0 or 1, got 2"),
    ],
)
def test_commands_that_are_rejected(simulate, command, code, message):
    """A command that a pin cannot carry out is rejected with the reason, and changes nothing."""
    gate = GATE.replace("17", "22")
    heat = "  heat: {gpio: 23, mode: output, max_on: 10}\n"
    pi = simulate(LAMP + FAN + DOOR + gate + heat)
    with pytest.raises(RequestError, match=message) as rejected:
        pi.carry_out(command)
    assert rejected.value.code == code
    pi.settle()
    assert pi.changes == []


class TestOutputs:
    def test_switching_drives_the_line_and_is_reported_once(self, simulate):
        """A change is reported once, with its caller. The same value again is no change."""
        pi = simulate(LAMP)
        assert pi.board["lamp"].since is None
        now = pi.loop.time()
        assert pi.set("lamp", 1).result() == 1
        pi.wait(5)
        assert pi.set("lamp", 1).result() == 1
        assert pi.line(17).state == 1
        assert pi.board["lamp"].since == wall_time(now)
        assert pi.new_changes() == [("lamp", 1, "me")]

    def test_active_low(self, simulate):
        """An active-low relay that starts off has a high level from the first moment."""
        pi = simulate("  relay: {gpio: 17, mode: output, active: low}\n")
        assert pi.value("relay") == 0
        pi.set("relay", 1)
        pi.set("relay", 0)
        assert pi.levels_of(17) == [0, 1, 0, 1]  # the first 0 is the mock's floating line
        pi.set("relay", 1)
        line = pi.line(17)
        pi.board.close()
        assert line.state == 1

    def test_initial(self, simulate):
        """An output starts as its `initial` says, and that is kept for a restart."""
        pins = "  bell: {gpio: 27, mode: output, initial: on}\n"
        pi = simulate(LAMP + pins + "  fan: {gpio: 18, mode: pwm, initial: on}\n")
        assert pi.board.values() == {"lamp": 0, "bell": 1, "fan": 1}
        assert [pi.line(gpio).state for gpio in (17, 27, 18)] == [0, 1, 1]
        assert [pi.states.before_restart(gpio).value for gpio in (17, 27, 18)] == [0, 1, 1]

    def test_pwm_toggles_to_its_last_value(self, simulate):
        """A dimmed output is toggled on fully at first, later to its last value."""
        pi = simulate(FAN)
        assert pi.toggle("fan").result() == 1
        assert pi.set("fan", 0.35).result() == 0.35
        assert pi.line(18).state == 0.35
        assert pi.toggle("fan").result() == 0
        assert pi.toggle("fan").result() == 0.35

    def test_pwm_active_low(self, simulate):
        """An active-low output at 30% is low for 30% of the time."""
        pi = simulate("  fan: {gpio: 18, mode: pwm, active: low, initial: 0.3, frequency: 50}\n")
        assert (pi.line(18).state, pi.line(18).frequency) == (pytest.approx(0.7), 50)
        assert pi.toggle("fan").result() == 0
        assert pi.line(18).state == 1
        assert pi.toggle("fan").result() == 0.3

    @pytest.mark.parametrize(
        ("on_stop", "function", "state"),
        [("off", "output", 0), ("on", "output", 1), ("keep", "output", 1), ("input", "input", 1)],
    )
    def test_on_stop(self, simulate, on_stop, function, state):
        """A clean stop brings an output to the state of its `on_stop`."""
        pi = simulate(f"  lamp: {{gpio: 17, mode: output, on_stop: {on_stop}}}\n")
        pi.set("lamp", 1)
        line = pi.line(17)
        pi.board.close()
        assert (line.function, line.state) == (function, state)
        assert pi.factory.pins == {}


class TestDeadlines:
    def test_a_pulse_ends_by_itself(self, simulate):
        """A pin with `pulse` goes off after that time. A command can shorten it."""
        pi = simulate(GATE)
        pi.set("gate", 1)
        pi.wait(0.49)
        assert pi.line(17).state == 1
        pi.wait(0.02)
        assert pi.line(17).state == 0
        assert pi.new_changes() == [("gate", 1, "me"), ("gate", 0, "pulse")]
        pi.pulse("gate", 0.2)
        pi.wait(0.21)
        assert pi.value("gate") == 0
        pi.pulse("gate")
        pi.wait(0.49)
        assert pi.value("gate") == 1

    def test_a_pulse_starts_again_with_each_command(self, simulate):
        """Switching on again, with or without switching off before, gives the whole time."""
        pi = simulate("  light: {gpio: 17, mode: output, pulse: 60}\n")
        pi.set("light", 1)
        pi.wait(50)
        pi.set("light", 1)
        pi.wait(50)
        pi.set("light", 0)
        pi.set("light", 1)
        pi.wait(50)
        assert pi.value("light") == 1
        pi.wait(11)
        assert pi.value("light") == 0

    def test_a_pulse_of_a_plain_output(self, simulate):
        """Any output can be switched on for some seconds; `set` makes it stay on."""
        pi = simulate(LAMP)
        pi.pulse("lamp", 2)
        pi.wait(2.1)
        assert pi.new_changes() == [("lamp", 1, "me"), ("lamp", 0, "pulse")]
        pi.pulse("lamp", 2)
        pi.set("lamp", 1)
        pi.wait(10)
        assert pi.value("lamp") == 1

    @pytest.mark.parametrize("mode", ["output", "pwm"])
    def test_max_on_is_not_extended(self, simulate, mode):
        """An output goes off after `max_on`, even if it is switched on or dimmed meanwhile. After
        it has been off, the time starts again."""
        pi = simulate(f"  heat: {{gpio: 18, mode: {mode}, max_on: 10}}\n")
        for step in range(1, 10):
            pi.set("heat", step / 10 if mode == "pwm" else 1)
            pi.wait(1)
        assert pi.value("heat")
        pi.wait(1.1)
        assert pi.new_changes()[-1] == ("heat", 0, "max_on")
        pi.set("heat", 1)
        pi.wait(9)
        pi.set("heat", 0)
        pi.set("heat", 1)
        pi.wait(9)
        assert pi.value("heat") == 1

    def test_the_shorter_of_pulse_and_max_on_counts(self, simulate):
        """`max_on` ends a pulse that is longer."""
        pi = simulate("  gate: {gpio: 17, mode: output, pulse: 60, max_on: 10}\n")
        pi.set("gate", 1)
        pi.wait(10.1)
        assert pi.new_changes()[-1] == ("gate", 0, "max_on")

    def test_max_on_of_an_output_that_starts_on(self, simulate):
        """`max_on` also counts from the start."""
        pi = simulate("  fan: {gpio: 17, mode: output, max_on: 1, initial: on}\n")
        pi.wait(1.1)
        assert pi.new_changes() == [("fan", 0, "max_on")]


class TestInterlocks:
    def test_the_other_goes_off_first_and_the_pause_passes(self, motor):
        """Two outputs of a group are never on together; the second waits for the pause. The same
        command twice succeeds twice."""
        assert motor.set("up", 1).done()
        first, second = motor.set("down", 1), motor.set("down", 1)
        assert motor.board.values() == {"up": 0, "down": 0}
        motor.wait(0.49)
        assert (motor.value("down"), first.done()) == (0, False)
        motor.wait(0.02)
        assert first.result() == second.result() == 1
        assert motor.new_changes() == [("up", 1, "me"), ("up", 0, "group"), ("down", 1, "me")]

    def test_the_pause_counts_from_switching_off(self, motor):
        """The pause also follows an output that was switched off. The same one needs no pause."""
        motor.set("up", 1)
        motor.set("up", 0)
        assert motor.set("up", 1).done()
        motor.set("up", 0)
        motor.wait(0.3)
        future = motor.set("down", 1)
        assert not future.done()
        motor.wait(0.21)
        assert future.result() == 1

    def test_the_pause_passes_after_a_start(self, simulate):
        """How the motor ran before the start is not known, so the pause passes first."""
        pi = simulate(MOTOR)
        future = pi.set("up", 1)
        assert not future.done()
        pi.wait(0.51)
        assert future.result() == 1

    def test_a_newer_command_supersedes_one_that_waits(self, motor):
        """During the pause the last command counts. The earlier one fails with the reason."""
        motor.set("up", 1)
        first = motor.set("down", 1)
        motor.wait(0.2)
        second = motor.set("up", 1)
        with pytest.raises(RequestError, match="another output of its group") as rejected:
            first.result()
        assert rejected.value.code == "superseded"
        assert second.result() == 1
        motor.wait(1)
        assert motor.board.values() == {"up": 1, "down": 0}

    @pytest.mark.parametrize("command", ["set", "toggle"])
    def test_switching_off_during_the_pause(self, motor, command):
        """An output that is switched off during the pause is off afterwards."""
        motor.set("up", 1)
        future = motor.set("down", 1)
        off = motor.set("down", 0) if command == "set" else motor.toggle("down")
        assert off.result() == 0
        with pytest.raises(RequestError, match="it was switched off"):
            future.result()
        motor.wait(1)
        assert motor.board.values() == {"up": 0, "down": 0}

    def test_two_that_were_on(self, simulate):
        """If the kept state has both on, only the first goes on."""
        states = OutputStateStore(None, None)
        for gpio in (5, 6):
            states.remember(gpio, OutputState(1), over_power_cut=False)
        pi = simulate(MOTOR.replace("group:", "initial: keep, group:"), states=states)
        assert pi.board.values() == {"up": 1, "down": 0}

    def test_initial_on_waits_for_the_pause(self, simulate):
        """An output with `initial: on` goes on after the pause, unless another one does before."""
        starts_on = MOTOR.replace("up: {", "up: {initial: on, ")
        pi = simulate(starts_on)
        assert pi.value("up") == 0
        pi.wait(0.51)
        assert pi.new_changes() == [("up", 1, "initial")]
        pi = simulate(starts_on)
        pi.set("down", 1)
        pi.wait(0.51)
        assert pi.new_changes() == [("down", 1, "me")]

    def test_a_reload_does_not_reverse_a_motor_without_the_pause(self, motor):
        """An output that comes with a reload waits for the pause since the other one was on."""
        motor.set("down", 1)
        changed = MOTOR.replace("up: {", "up: {initial: on, active: low, ")
        motor.reconfigure(changed.replace("down: {gpio: 6", "down: {gpio: 7"))
        assert motor.board.values() == {"up": 0, "down": 0}
        motor.wait(0.49)
        assert motor.value("up") == 0
        motor.wait(0.02)
        assert motor.value("up") == 1

    def test_a_stop_during_the_pause(self, simulate):
        """A stop during the pause leaves both off. The command that waits fails."""
        pi = simulate(MOTOR)
        future = pi.set("up", 1)
        pi.board.close()
        with pytest.raises(RequestError, match="the server is stopping"):
            future.result()

    def test_a_reload_during_the_pause(self, motor):
        """A command that waits fails if its pin is removed, or another one joins the group."""
        motor.set("up", 1)
        future = motor.set("down", 1)
        third = "  third: {gpio: 13, mode: output, group: shutter, group_pause: 0.5}\n"
        motor.reconfigure(MOTOR + third)
        with pytest.raises(RequestError, match="another output joined its group"):
            future.result()
        future = motor.set("down", 1)
        motor.reconfigure(MOTOR.replace("down: {gpio: 6", "down: {gpio: 7") + third)
        with pytest.raises(RequestError, match="became unavailable or was removed"):
            future.result()
        motor.wait(1)
        assert motor.board.values() == {"up": 0, "down": 0, "third": 0}

    def test_a_reload_keeps_an_output_on(self, simulate):
        """An output with `keep` that was on stays on while it is opened again."""
        pins = MOTOR.replace("group:", "initial: keep, group:")
        pi = simulate(pins)
        pi.set("up", 1)
        pi.wait(1)
        levels = pi.levels_of(5)
        pi.reconfigure(pins.replace("up: {", "up: {max_on: 10, "))
        pi.wait(1)
        assert (pi.levels_of(5), pi.board.values()) == (levels, {"up": 1, "down": 0})

    def test_a_group_with_an_unavailable_output(self, simulate, monkeypatch):
        """While one output of a group cannot be controlled, the other does not go on."""
        factory = SimulatedFactory()
        in_use = GPIOPinInUse("GPIO6 is in use by lg")
        monkeypatch.setattr(factory.pin(6), "output_with_state", raising(in_use))
        pi = simulate(MOTOR, factory=factory)
        with pytest.raises(RequestError, match=r"down \(GPIO6\) of the same group is unavailable"):
            pi.set("up", 1)
        assert pi.value("up") == 0


class TestInputs:
    def test_an_edge_has_its_own_time(self, simulate):
        """A change has the time of its edge, not the time at which the loop handled it."""
        pi = simulate(DOOR)
        opened = pi.loop.time()
        pi.line(4).drive_high()
        pi.wait(3)
        assert pi.new_changes() == [("door", 1, None)]
        assert pi.board["door"].device.since == opened

    def test_active_low(self, simulate):
        """An active-low input is 1 while its level is low. `drive` takes the value."""
        pi = simulate("  door: {gpio: 4, mode: input, pull: up}\n")
        assert pi.value("door") == 0
        pi.line(4).drive_low()
        pi.settle()
        assert pi.drive("door", 0).result() == 0
        pi.settle()
        assert pi.line(4).state == 1
        assert pi.new_changes() == [("door", 1, None), ("door", 0, None)]

    def test_edges_from_another_thread(self, simulate):
        """Edges from lgpio's thread arrive in order, none is left out, however short."""
        pi = simulate(DOOR)

        def bounce() -> None:
            for _ in range(50):
                pi.line(4).drive_high()
                pi.line(4).drive_low()

        thread = threading.Thread(target=bounce)
        thread.start()
        thread.join()
        pi.settle()
        assert pi.new_changes() == [("door", 1, None), ("door", 0, None)] * 50

    def test_an_edge_after_the_end(self, simulate):
        """An edge that comes after the loop was closed raises nothing in lgpio's thread."""
        pi = simulate(DOOR)
        device = pi.board["door"].device
        pi.loop.close()
        device._edge(0.0, 1)

    def test_a_refresh_finds_a_lost_edge(self, simulate):
        """A refresh finds a level that no edge reported. If the edge is only late, the change has
        the time of the edge."""
        pi = simulate(DOOR)
        pi.line(4)._state = 1  # without an edge
        pi.board.refresh()
        pi.wait(0.05)
        assert pi.new_changes() == [("door", 1, None)]
        pi.line(4)._state = 0
        pi.board.refresh()
        edge = pi.loop.time()
        pi.wait(0.01)
        pi.board["door"].device._edge(edge, 0)
        pi.wait(0.05)
        assert [change.moment for change in pi.changes] == [edge]

    def test_real_pins_cannot_be_driven(self, simulate):
        """`drive` is rejected for a real input: its value is the truth."""
        pi = simulate(DOOR)
        pi.factory.simulated = False
        with pytest.raises(RequestError, match="is a real pin") as rejected:
            pi.drive("door", 1)
        assert rejected.value.code == "not-simulated"


class TestDebounce:
    BUTTON = "  button: {gpio: 4, mode: input, debounce: 0.05}\n"

    def bounce(self, pi: SimulatedBoard, *levels: int) -> None:
        """Give the line these levels, 5 ms apart, with a refresh after each."""
        for level in levels:
            line = pi.line(4)
            (line.drive_high if level else line.drive_low)()
            pi.wait(0.005)
            pi.board.refresh()

    def test_a_bouncing_press_is_one_change(self, simulate):
        """A bouncing button gives one press and one release, each with the time of its first
        edge. A refresh meanwhile changes nothing."""
        pi = simulate(self.BUTTON)
        pressed = pi.loop.time()
        self.bounce(pi, 1, 0, 1, 0, 1)
        pi.wait(0.2)
        released = pi.loop.time()
        self.bounce(pi, 0, 1, 0)
        pi.wait(0.2)
        assert [(c.value, c.moment) for c in pi.changes] == [(1, pressed), (0, released)]

    def test_a_level_counts_after_it_has_held(self, simulate):
        """A level counts after it has held for the debounce time, with the time of its edge. A
        shorter spike is ignored."""
        pi = simulate(self.BUTTON)
        self.bounce(pi, 1, 0)
        pi.wait(0.2)
        pressed = pi.loop.time()
        self.bounce(pi, 1)
        pi.wait(0.044)
        assert pi.changes == []
        pi.wait(0.002)
        assert [(c.value, c.moment) for c in pi.changes] == [(1, pressed)]

    def test_a_busy_loop(self, simulate):
        """A level that held for the debounce time counts, although the loop handles its edge
        together with the next one."""
        pi = simulate(self.BUTTON)
        pressed = pi.loop.time()
        for level, seconds in ((1, 0), (0, 0.05), (1, 0.099)):
            pi.board["button"].device._edge(pressed + seconds, level)
        pi.loop._clock.now += 0.2
        pi.wait(0.1)
        assert [(c.value, c.moment) for c in pi.changes] == [(1, pressed)]
        assert pi.value("button") == 1


class TestReload:
    def test_a_pin_whose_line_keys_are_the_same(self, simulate):
        """A new name, label, `initial` or `on_stop` does not touch a line; a running pulse goes on.
        Changes have the new name."""
        lamp = "  lamp: {gpio: 27, mode: output"
        pi = simulate(GATE + lamp + "}")
        pi.set("gate", 1)
        pi.set("lamp", 1)
        levels = pi.levels_of(17), pi.levels_of(27)
        more = ", label: Lamp, initial: keep, on_stop: on}"
        pi.reconfigure(GATE.replace("gate:", "bell:") + lamp + more)
        assert (pi.levels_of(17), pi.levels_of(27)) == levels
        assert pi.board.values() == {"bell": 1, "lamp": 1}
        pi.wait(0.51)
        assert pi.new_changes()[2:] == [("bell", 0, "pulse")]

    def test_other_pins_are_closed_and_opened(self, simulate):
        """A pin with another key of its line is opened again, with `keep` at its value. A removed
        output gets its `on_stop`, a removed input reports nothing more."""
        lamp = "  lamp: {gpio: 17, mode: output, initial: keep}\n"
        pi = simulate(lamp + "  bell: {gpio: 27, mode: output, on_stop: on}\n" + DOOR)
        pi.set("lamp", 1)
        bell, door = pi.line(27), pi.line(4)
        door.drive_high()
        levels = pi.levels_of(17)
        pi.reconfigure(lamp.replace("output,", "output, max_on: 10,"))
        pi.settle()
        assert pi.new_changes() == [("lamp", 1, "me")]
        assert (pi.levels_of(17), pi.value("lamp"), bell.state) == (levels, 1, 1)
        assert door.when_changed is None
        assert pi.availability_changes == 0


def test_the_header(simulate, monkeypatch):
    """The header has all positions, with the pins and holders of its lines."""
    holder = {8: "spi0 CS0"}
    monkeypatch.setattr(SimulatedFactory, "holder", lambda _, gpio: holder.get(gpio))
    pi = simulate(LAMP + DOOR)
    pi.set("lamp", 1)
    found = {pin.position: pin for pin in pi.board.header()}
    assert list(found) == list(range(1, 41))
    assert [(found[at].gpio, found[at].holder) for at in (1, 3, 24)] == [
        (None, None),
        (2, None),
        (8, "spi0 CS0"),
    ]
    lamp = found[11]
    assert (lamp.gpio, lamp.holder, lamp.pin, lamp.value) == (17, "raspi-server", "lamp", 1)
    assert (found[24].pin, found[24].value) == (None, None)
    assert pi.board.model.startswith("Raspberry Pi 3B") and pi.board.simulated


class TestFailures:
    def test_a_pin_in_use_does_not_affect_the_others(self, simulate, monkeypatch, caplog):
        """A pin that another program holds is unavailable until it is free. The reason is logged
        once."""
        factory = SimulatedFactory()
        in_use = GPIOPinInUse("GPIO17 is in use by w1")
        monkeypatch.setattr(factory.pin(17), "output_with_state", raising(in_use))
        pi = simulate(LAMP + FAN, factory=factory)
        assert pi.board.values() == {"lamp": None, "fan": 0}
        assert pi.board["lamp"].error == "GPIO17 is in use by w1"
        with pytest.raises(RequestError, match="in use by w1") as rejected:
            pi.set("lamp", 1)
        assert rejected.value.code == "unavailable"
        assert pi.set("fan", 1).result() == 1
        assert caplog.text.count("in use by w1") == 1
        pi.board.reopen_failed()
        assert (pi.availability_changes, caplog.text.count("in use by w1")) == (0, 1)

        monkeypatch.undo()
        pi.board.reopen_failed()
        assert pi.board["lamp"].error is None
        assert pi.set("lamp", 1).result() == 1
        assert pi.availability_changes == 1

    def test_a_line_that_fails_when_switched(self, simulate, monkeypatch):
        """A pin whose line fails is unavailable. When it is available again, it is off."""
        pi = simulate("  lamp: {gpio: 17, mode: output, initial: on}\n")
        with monkeypatch.context() as broken:
            broken.setattr(SimulatedPin, "_set_state", raising(PinError("GPIO17: I/O error")))
            with pytest.raises(RequestError, match="I/O error"):
                pi.set("lamp", 0)
        assert (pi.value("lamp"), pi.availability_changes) == (None, 1)
        pi.board.reopen_failed()
        assert (pi.value("lamp"), pi.line(17).state, pi.availability_changes) == (0, 0, 2)

    def test_a_pulse_that_cannot_end(self, simulate, monkeypatch):
        """A pulse whose line fails at its end is ended as soon as the line works again."""
        pi = simulate(GATE)
        pi.set("gate", 1)
        with monkeypatch.context() as broken:
            broken.setattr(SimulatedPin, "_set_state", raising(PinError("GPIO17: I/O error")))
            pi.wait(0.6)
        assert pi.board["gate"].error == "GPIO17: I/O error"
        pi.board.reopen_failed()
        assert pi.line(17).state == 0

    def test_an_input_that_cannot_be_read(self, simulate, monkeypatch):
        """An input whose line fails is unavailable, and is read again when it works."""
        pi = simulate(DOOR)
        with monkeypatch.context() as broken:
            broken.setattr(SimulatedPin, "_get_state", raising(PinError("GPIO4: I/O error")))
            pi.board.refresh()
        assert pi.board["door"].error == "GPIO4: I/O error"
        pi.line(4)._state = 1
        pi.board.reopen_failed()
        assert (pi.value("door"), pi.availability_changes) == (1, 2)


def test_work_on_a_line_names_its_pin(simulate, monkeypatch):
    """While a line is opened, read, switched or released, `busy` names its pin, also after a reload
    has renamed it. Afterwards it names nothing."""
    seen = []

    def watch(method: str) -> None:
        original = getattr(SimulatedPin, method)

        def watched(pin: SimulatedPin, *values: Any) -> Any:
            seen.append((method, busy.describe()))
            return original(pin, *values)

        monkeypatch.setattr(SimulatedPin, method, watched)

    for method in ("output_with_state", "input_with_pull", "_change_state", "_get_state"):
        watch(method)

    def names(method: str) -> set[str]:
        found = {name for each, name in seen if each == method}
        seen.clear()
        return found

    pi = simulate(LAMP + DOOR)
    assert names("output_with_state") == {"lamp (GPIO17)"}
    pi.set("lamp", 1)
    assert names("_change_state") == {"lamp (GPIO17)"}
    pi.board.refresh()
    assert names("_get_state") == {"door (GPIO4)"}
    pi.reconfigure("  light: {gpio: 17, mode: output}\n" + DOOR)
    pi.set("light", 0)
    assert names("_change_state") == {"light (GPIO17)"}
    pi.board.close()
    assert names("output_with_state") == {"light (GPIO17)"}
    assert busy.describe() == ""
