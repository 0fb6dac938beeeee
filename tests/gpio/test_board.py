"""Pins on the board: switching, deadlines, groups, edges, debounce, lost pins."""

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from gpiozero.exc import GPIOPinInUse, PinError

from raspi_server.errors import RequestError
from raspi_server.gpio.backend import SimulatedPin
from raspi_server.system import busy
from tests.support.board import Rig, parse


@pytest.fixture
def rig(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Rig]]:
    rigs: list[Rig] = []

    def make(pins: str, **options: Any) -> Rig:
        rig = Rig(pins, **options)
        # Simulated edges carry the time of the loop, as real ones carry the kernel's.
        monkeypatch.setattr("gpiozero.pins.mock.monotonic", rig.loop.time)
        rigs.append(rig)
        return rig

    yield make
    for each in rigs:
        each.board.close()
        each.loop.close()


LAMP = "  lamp: {gpio: 17, mode: output}\n"
FAN = "  fan: {gpio: 18, mode: pwm}\n"
DOOR = "  door: {gpio: 4, mode: input}\n"
MOTOR = """
  up: {gpio: 5, mode: output, group: shutter, group_pause: 0.5}
  down: {gpio: 6, mode: output, group: shutter, group_pause: 0.5}
"""


class TestOutputs:
    def test_switching_drives_the_line_and_tells_everyone_once(self, rig):
        """A lamp that is switched on is on, and everyone hears it once, with who did it."""
        pi = rig(LAMP)
        assert pi.set("lamp", 1).result() == 1
        assert pi.set("lamp", 1).result() == 1
        assert pi.line(17).state == 1
        assert pi.told() == [("lamp", 1, "me")]

    def test_active_low_never_shows_the_wrong_level(self, rig):
        """An active-low relay that starts off sees a high level from the first moment."""
        pi = rig("  relay: {gpio: 17, mode: output, active: low}\n")
        assert pi.board["relay"].value == 0
        pi.set("relay", 1)
        pi.set("relay", 0)
        assert pi.levels_of(17) == [0, 1, 0, 1]  # 0 is the mock's floating line before us

    @pytest.mark.parametrize(("initial", "value"), [("off", 0), ("on", 1)])
    def test_initial(self, rig, initial, value):
        """An output starts as its configuration says."""
        pi = rig(f"  lamp: {{gpio: 17, mode: output, initial: {initial}}}\n")
        assert pi.board.values() == {"lamp": value}
        assert pi.line(17).state == value

    def test_pwm_takes_a_share_and_toggles_to_the_last_one(self, rig):
        """A dimmed fan that is toggled off and on comes back at its last speed."""
        pi = rig(FAN)
        assert pi.set("fan", 0.35).result() == 0.35
        assert pi.line(18).state == 0.35
        assert pi.toggle("fan").result() == 0
        assert pi.toggle("fan").result() == 0.35

    def test_pwm_active_low_is_turned_round(self, rig):
        """An active-low dimmer at 30% keeps its line low for 30% of the time."""
        pi = rig("  fan: {gpio: 18, mode: pwm, active: low, initial: 0.3}\n")
        assert pi.line(18).state == pytest.approx(0.7)
        assert pi.toggle("fan").result() == 0
        assert pi.line(18).state == 1
        assert pi.toggle("fan").result() == 0.3

    def test_a_fresh_pwm_toggles_to_full(self, rig):
        """A dimmable lamp that was never on goes fully on when toggled."""
        assert rig(FAN).toggle("fan").result() == 1

    @pytest.mark.parametrize(
        ("pin", "value", "expected"),
        [
            ("lamp", 0.5, "expected 0 or 1, got 0.5"),
            ("lamp", -1, "expected 0 or 1, got -1"),
            ("fan", 1.01, "expected a value from 0 to 1, got 1.01"),
            ("fan", float("nan"), "expected a value from 0 to 1, got nan"),
        ],
    )
    def test_values_a_pin_cannot_take(self, rig, pin, value, expected):
        """A value a pin cannot take is refused in words, and nothing moves."""
        pi = rig(LAMP + FAN)
        with pytest.raises(RequestError, match=expected) as refused:
            pi.set(pin, value)
        assert refused.value.code == "bad-value"
        assert pi.told() == []

    def test_inputs_are_not_switched(self, rig):
        """Nobody can switch an input."""
        with pytest.raises(RequestError, match="is an input") as refused:
            rig(DOOR).set("door", 1)
        assert refused.value.code == "not-writable"

    def test_unknown_pin(self, rig):
        """A name that is no pin is refused as such."""
        with pytest.raises(RequestError, match="there is no pin 'nope'") as refused:
            rig(LAMP).set("nope", 1)
        assert refused.value.code == "unknown-pin"

    @pytest.mark.parametrize(
        ("on_stop", "function", "state"),
        [("off", "output", 0), ("on", "output", 1), ("keep", "output", 1), ("input", "input", 1)],
    )
    def test_on_stop(self, rig, on_stop, function, state):
        """A clean stop leaves an output as on_stop says."""
        pi = rig(f"  lamp: {{gpio: 17, mode: output, on_stop: {on_stop}}}\n")
        pi.set("lamp", 1)
        line = pi.line(17)
        pi.board.close()
        assert line.function == function
        assert line.state == state

    def test_on_stop_of_active_low(self, rig):
        """An active-low relay that is to be off after a stop is left high."""
        pi = rig("  relay: {gpio: 17, mode: output, active: low, initial: on}\n")
        line = pi.line(17)
        pi.board.close()
        assert line.state == 1


class TestDeadlines:
    def test_pulse_ends_by_itself(self, rig):
        """A garage button is pressed for half a second, whatever becomes of the phone."""
        pi = rig("  gate: {gpio: 17, mode: output, pulse: 0.5}\n")
        pi.set("gate", 1)
        pi.wait(0.49)
        assert pi.line(17).state == 1
        pi.wait(0.02)
        assert pi.line(17).state == 0
        assert pi.told() == [("gate", 1, "me"), ("gate", 0, "pulse")]

    def test_pressing_again_starts_the_pulse_anew(self, rig):
        """A stair light that is pressed again burns its whole time again."""
        pi = rig("  light: {gpio: 17, mode: output, pulse: 60}\n")
        pi.set("light", 1)
        pi.wait(50)
        pi.set("light", 1)
        pi.wait(50)
        assert pi.board["light"].value == 1
        pi.wait(11)
        assert pi.board["light"].value == 0

    def test_switching_off_ends_the_pulse(self, rig):
        """A pulse that was cut short is not cut again later."""
        pi = rig("  light: {gpio: 17, mode: output, pulse: 60}\n")
        pi.set("light", 1)
        pi.wait(59)
        pi.set("light", 0)
        pi.set("light", 1)
        pi.wait(2)
        assert pi.board["light"].value == 1

    def test_pulse_with_seconds_on_a_plain_output(self, rig):
        """Any output can be switched on for a moment."""
        pi = rig(LAMP)
        pi.pulse("lamp", 2)
        pi.wait(2.1)
        assert pi.told() == [("lamp", 1, "me"), ("lamp", 0, "pulse")]

    def test_set_after_a_pulse_means_for_good(self, rig):
        """Switching on a plain output during a pulse makes it stay on."""
        pi = rig(LAMP)
        pi.pulse("lamp", 2)
        pi.set("lamp", 1)
        pi.wait(10)
        assert pi.board["lamp"].value == 1

    def test_pulse_can_be_cut_not_stretched(self, rig):
        """Nobody can hold down a garage button for longer than its owner said."""
        pi = rig("  gate: {gpio: 17, mode: output, pulse: 0.5}\n")
        with pytest.raises(RequestError, match="expected 0.01 to 0.5 seconds, got 3600"):
            pi.pulse("gate", 3600)
        pi.pulse("gate", 0.2)
        pi.wait(0.21)
        assert pi.board["gate"].value == 0

    @pytest.mark.parametrize("seconds", [0, -1, float("nan"), 86401])
    def test_pulse_of_a_silly_length(self, rig, seconds):
        """A pulse lasts from 10 ms to a day."""
        with pytest.raises(RequestError, match="expected 0.01 to 86400 seconds"):
            rig(LAMP).pulse("lamp", seconds)

    def test_pulse_without_any_length(self, rig):
        """A pulse needs a length from the caller or the configuration."""
        with pytest.raises(RequestError, match="expected seconds"):
            rig(LAMP).pulse("lamp")

    def test_pwm_has_no_pulse(self, rig):
        """A dimmable output refuses a pulse with words."""
        with pytest.raises(RequestError, match="a pwm pin has no pulse"):
            rig(FAN).pulse("fan", 1)

    def test_max_on(self, rig):
        """A heater goes off after max_on, whoever keeps switching it on in between."""
        pi = rig("  heater: {gpio: 17, mode: output, max_on: 10}\n")
        pi.set("heater", 1)
        for _ in range(9):
            pi.wait(1)
            pi.set("heater", 1)
        pi.wait(1.1)
        assert pi.told() == [("heater", 1, "me"), ("heater", 0, "max_on")]

    def test_max_on_counts_anew_after_off(self, rig):
        """After it has been off, a heater may be on for all of max_on again."""
        pi = rig("  heater: {gpio: 17, mode: output, max_on: 10}\n")
        pi.set("heater", 1)
        pi.wait(9)
        pi.set("heater", 0)
        pi.set("heater", 1)
        pi.wait(9)
        assert pi.board["heater"].value == 1

    def test_max_on_of_pwm_is_not_reset_by_dimming(self, rig):
        """A slider that is moved all the time does not outwit max_on."""
        pi = rig("  fan: {gpio: 18, mode: pwm, max_on: 10}\n")
        for step in range(1, 10):
            pi.set("fan", step / 10)
            pi.wait(1)
        pi.wait(1.1)
        assert pi.board["fan"].value == 0

    def test_max_on_caps_a_pulse(self, rig):
        """The shorter of pulse and max_on wins."""
        pi = rig("  gate: {gpio: 17, mode: output, pulse: 60, max_on: 10}\n")
        pi.set("gate", 1)
        pi.wait(10.1)
        assert pi.told()[-1] == ("gate", 0, "max_on")

    def test_initial_on_is_limited_too(self, rig):
        """An output that starts on goes off in time, as one that was switched on."""
        pi = rig("  fan: {gpio: 17, mode: output, max_on: 1, initial: on}\n")
        pi.wait(1.1)
        assert pi.told() == [("fan", 0, "max_on")]


class TestGroups:
    def test_the_other_goes_off_first_and_the_pause_passes(self, rig):
        """A motor's two directions are never on together, and rest between one and the other."""
        pi = rig(MOTOR)
        pi.wait(1)
        assert pi.set("up", 1).done()
        future = pi.set("down", 1)
        assert pi.board.values() == {"up": 0, "down": 0}
        assert not future.done()
        pi.wait(0.49)
        assert pi.board["down"].value == 0
        pi.wait(0.02)
        assert future.result() == 1
        assert pi.told() == [("up", 1, "me"), ("up", 0, "group"), ("down", 1, "me")]

    def test_the_pause_counts_from_any_way_of_going_off(self, rig):
        """Also a motor that was switched off by hand rests before it turns the other way."""
        pi = rig(MOTOR)
        pi.wait(1)
        pi.set("up", 1)
        pi.set("up", 0)
        pi.wait(0.3)
        future = pi.set("down", 1)
        assert not future.done()
        pi.wait(0.21)
        assert future.result() == 1

    def test_no_pause_for_the_same_output(self, rig):
        """The same direction may go on again at once."""
        pi = rig(MOTOR)
        pi.wait(1)
        pi.set("up", 1)
        pi.set("up", 0)
        assert pi.set("up", 1).done()

    def test_after_a_start_the_pause_passes_too(self, rig):
        """Nobody knows how the motor ran before the start, so it rests first."""
        pi = rig(MOTOR)
        future = pi.set("up", 1)
        assert not future.done()
        pi.wait(0.51)
        assert future.result() == 1

    def test_a_newer_command_takes_the_place(self, rig):
        """Of two commands during a pause the last one wins, and the first is told so."""
        pi = rig(MOTOR)
        pi.wait(1)
        pi.set("up", 1)
        first = pi.set("down", 1)
        pi.wait(0.2)
        second = pi.set("up", 1)
        with pytest.raises(RequestError, match="another output of its group") as refused:
            first.result()
        assert refused.value.code == "superseded"
        assert second.result() == 1
        pi.wait(1)
        assert pi.board.values() == {"up": 1, "down": 0}

    def test_the_same_command_twice_succeeds_twice(self, rig):
        """A double tap is no error."""
        pi = rig(MOTOR)
        pi.wait(1)
        pi.set("up", 1)
        first, second = pi.set("down", 1), pi.set("down", 1)
        pi.wait(0.51)
        assert first.result() == second.result() == 1

    @pytest.mark.parametrize("command", ["set", "toggle"])
    def test_off_during_the_pause(self, rig, command):
        """An output that is switched off during the pause is off afterwards."""
        pi = rig(MOTOR)
        pi.wait(1)
        pi.set("up", 1)
        future = pi.set("down", 1)
        assert (pi.set("down", 0) if command == "set" else pi.toggle("down")).result() == 0
        with pytest.raises(RequestError, match="it was switched off"):
            future.result()
        pi.wait(1)
        assert pi.board.values() == {"up": 0, "down": 0}

    def test_two_that_start_on(self, rig):
        """Even if both were kept on, only the first of a group starts on."""
        from raspi_server.gpio.output_state import OutputState, OutputStateStore

        states = OutputStateStore(None, None)
        for gpio in (5, 6):
            states.remember(gpio, OutputState(1), over_power_cut=False)
        pi = rig(MOTOR.replace("group:", "initial: keep, group:"), states=states)
        assert pi.board.values() == {"up": 1, "down": 0}

    def test_one_that_starts_on_waits_for_the_pause(self, rig):
        """A motor that is to run from the start begins after the pause: who knows how it ran."""
        pi = rig(MOTOR.replace("up: {", "up: {initial: on, "))
        assert pi.board["up"].value == 0
        pi.wait(0.51)
        assert pi.told() == [("up", 1, "initial")]

    def test_a_reload_does_not_reverse_a_motor_at_once(self, rig):
        """A direction that comes with a reload waits for the pause since the other one ran."""
        pi = rig(MOTOR)
        pi.wait(1)
        pi.set("down", 1)
        changed = MOTOR.replace("up: {", "up: {initial: on, active: low, ")
        pi.board.reconfigure(parse(changed.replace("down: {gpio: 6", "down: {gpio: 7")).pins)
        assert pi.board.values() == {"up": 0, "down": 0}
        pi.wait(0.49)
        assert pi.board["up"].value == 0
        pi.wait(0.02)
        assert pi.board["up"].value == 1

    def test_stop_during_the_pause(self, rig):
        """A stop during the pause leaves both off, and says so to who waits."""
        pi = rig(MOTOR)
        future = pi.set("up", 1)
        pi.board.close()
        with pytest.raises(RequestError, match="the server is stopping"):
            future.result()


class TestInputs:
    def test_an_edge_is_told_at_once_with_its_own_time(self, rig):
        """A door that opens is told with the moment it opened, not the moment it was noticed."""
        pi = rig(DOOR)
        opened = pi.loop.time()
        pi.line(4).drive_high()
        pi.wait(3)
        assert pi.told() == [("door", 1, None)]
        assert pi.board["door"].device.since == opened

    def test_active_low(self, rig):
        """A contact to ground with a pull-up reads 1 when it is closed."""
        pi = rig("  door: {gpio: 4, mode: input, pull: up}\n")
        assert pi.board["door"].value == 0
        pi.line(4).drive_low()
        pi.settle()
        assert pi.told() == [("door", 1, None)]

    def test_a_short_press_is_two_changes(self, rig):
        """A press shorter than any interval is seen, and so is its end."""
        pi = rig(DOOR)
        pi.line(4).drive_high()
        pi.line(4).drive_low()
        pi.settle()
        assert pi.told() == [("door", 1, None), ("door", 0, None)]

    def test_edges_from_another_thread(self, rig):
        """Edges come from lgpio's own thread and arrive in order."""
        pi = rig(DOOR)

        def bounce():
            for _ in range(50):
                pi.line(4).drive_high()
                pi.line(4).drive_low()

        thread = threading.Thread(target=bounce)
        thread.start()
        thread.join()
        pi.settle()
        assert pi.told() == [("door", 1, None), ("door", 0, None)] * 50

    def test_an_edge_after_the_end_does_no_harm(self, rig):
        """An edge that comes when the loop is closed raises nothing in lgpio's thread."""
        pi = rig(DOOR)
        device = pi.board["door"].device
        pi.loop.close()
        device._edge(0.0, 1)

    def test_a_lost_edge_is_corrected_by_a_look(self, rig):
        """The next refresh finds an edge that was lost."""
        pi = rig(DOOR)
        pi.line(4)._state = 1  # no edge comes of this
        pi.board.refresh()
        pi.wait(0.05)
        assert pi.told() == [("door", 1, None)]

    def test_a_look_waits_for_an_edge_on_its_way(self, rig):
        """A look that sees the new level before its edge arrives leaves the edge its own time."""
        pi = rig(DOOR)
        pi.line(4)._state = 1
        pi.board.refresh()
        edge = pi.loop.time()
        pi.wait(0.01)
        pi.board["door"].device._edge(edge, 1)
        pi.wait(0.05)
        assert [change.moment for change in pi.changes] == [edge]

    def test_drive_is_in_the_terms_of_the_state(self, rig):
        """Driving a simulated input to 1 makes it active, whatever its pull."""
        pi = rig("  door: {gpio: 4, mode: input, pull: up}\n")
        assert pi.drive("door", 1).result() == 1
        pi.settle()
        assert pi.line(4).state == 0
        assert pi.told() == [("door", 1, None)]

    def test_only_inputs_are_driven(self, rig):
        """An output is switched, not driven from outside."""
        with pytest.raises(RequestError, match="is no input"):
            rig(LAMP).drive("lamp", 1)

    def test_real_pins_are_not_driven(self, rig):
        """On real pins nobody can pretend that the door is open."""
        pi = rig(DOOR)
        pi.factory.simulated = False
        with pytest.raises(RequestError, match="is a real pin") as refused:
            pi.drive("door", 1)
        assert refused.value.code == "not-simulated"


class TestDebounce:
    BUTTON = "  button: {gpio: 4, mode: input, debounce: 0.05}\n"

    def bounce(self, pi: Rig, *levels: int) -> None:
        """Edges 5 ms apart."""
        for level in levels:
            line = pi.line(4)
            (line.drive_high if level else line.drive_low)()
            pi.wait(0.005)

    def test_a_bouncing_press_is_one_change_with_the_time_of_its_first_edge(self, rig):
        """A bouncing button gives one press and one release, each stamped with its first edge."""
        pi = rig(self.BUTTON)
        pressed = pi.loop.time()
        self.bounce(pi, 1, 0, 1, 0, 1)
        pi.wait(0.2)
        released = pi.loop.time()
        self.bounce(pi, 0, 1, 0)
        pi.wait(0.2)
        assert [(c.value, c.moment) for c in pi.changes] == [(1, pressed), (0, released)]

    def test_it_counts_only_after_it_has_held(self, rig):
        """A level counts once it has held for the debounce time, and not before."""
        pi = rig(self.BUTTON)
        self.bounce(pi, 1)
        pi.wait(0.044)
        assert pi.told() == []
        pi.wait(0.002)
        assert pi.told() == [("button", 1, None)]

    def test_a_glitch_is_nothing(self, rig):
        """A spike shorter than the debounce time is no press, and the next press has its own."""
        pi = rig(self.BUTTON)
        self.bounce(pi, 1, 0)
        pi.wait(0.2)
        assert pi.told() == []
        pressed = pi.loop.time()
        self.bounce(pi, 1)
        pi.wait(0.1)
        assert [change.moment for change in pi.changes] == [pressed]

    def test_a_look_does_not_undo_it(self, rig):
        """Looking while the contact bounces changes nothing."""
        pi = rig(self.BUTTON)
        for level in (1, 0, 1, 0, 1):
            self.bounce(pi, level)
            pi.board.refresh()
        pi.wait(0.2)
        assert pi.told() == [("button", 1, None)]


class TestLostPins:
    def test_a_pin_in_use_is_shown_and_the_others_work(self, rig, monkeypatch):
        """A pin that another program holds is shown with its reason; the others work."""
        from raspi_server.gpio.backend import SimulatedFactory

        factory = SimulatedFactory()
        held = factory.pin(17)

        def refuse(state):
            raise GPIOPinInUse("GPIO17 is in use by w1")

        monkeypatch.setattr(held, "output_with_state", refuse)
        pi = rig(LAMP + FAN, factory=factory)
        assert pi.board.values() == {"lamp": None, "fan": 0}
        assert pi.board["lamp"].error == "GPIO17 is in use by w1"
        with pytest.raises(RequestError, match="in use by w1") as refused:
            pi.set("lamp", 1)
        assert refused.value.code == "unavailable"
        assert pi.set("fan", 1).result() == 1

        monkeypatch.undo()
        pi.board.reopen_failed()
        assert pi.board["lamp"].error is None
        assert pi.set("lamp", 1).result() == 1
        assert pi.remade == 1

    def test_a_line_that_fails_later(self, rig, monkeypatch):
        """A pin whose line fails while it runs is shown so, and comes back switched off."""
        pi = rig("  lamp: {gpio: 17, mode: output, initial: on}\n")

        def fail(pin, value):
            raise PinError("GPIO17: I/O error")

        with monkeypatch.context() as broken:
            broken.setattr(type(pi.line(17)), "_set_state", fail)
            with pytest.raises(RequestError, match="I/O error"):
                pi.set("lamp", 0)
        assert (pi.board["lamp"].value, pi.remade) == (None, 1)
        pi.board.reopen_failed()
        assert (pi.board["lamp"].value, pi.line(17).state, pi.remade) == (0, 0, 2)

    def test_going_off_by_itself_fails(self, rig, monkeypatch):
        """A pulse that could not end is ended as soon as the line obeys again."""
        pi = rig("  gate: {gpio: 17, mode: output, pulse: 1}\n")
        pi.set("gate", 1)

        def fail(pin, value):
            raise PinError("GPIO17: I/O error")

        with monkeypatch.context() as broken:
            broken.setattr(type(pi.line(17)), "_set_state", fail)
            pi.wait(1.1)
        assert pi.board["gate"].error == "GPIO17: I/O error"
        pi.board.reopen_failed()
        assert pi.line(17).state == 0

    def test_an_input_that_cannot_be_read(self, rig, monkeypatch):
        """An input whose line fails is shown so, and comes back with the truth."""
        pi = rig(DOOR)

        def fail(pin):
            raise PinError("GPIO4: I/O error")

        with monkeypatch.context() as broken:
            broken.setattr(type(pi.line(4)), "_get_state", fail)
            pi.board.refresh()
        assert pi.board["door"].error == "GPIO4: I/O error"
        pi.line(4)._state = 1
        pi.board.reopen_failed()
        assert (pi.board["door"].value, pi.remade) == (1, 2)

    def test_a_group_with_an_unknown_member_stays_off(self, rig, monkeypatch):
        """While one direction of a motor cannot be controlled, the other does not start."""
        from raspi_server.gpio.backend import SimulatedFactory

        factory = SimulatedFactory()

        def refuse(state):
            raise GPIOPinInUse("GPIO6 is in use by lg")

        monkeypatch.setattr(factory.pin(6), "output_with_state", refuse)
        pi = rig(MOTOR, factory=factory)
        with pytest.raises(RequestError, match=r"down \(GPIO6\), of the same group"):
            pi.set("up", 1)
        assert pi.board["up"].value == 0


def test_touching_a_line_names_its_pin(rig, monkeypatch):
    """While a line is opened, read, switched or released, its pin is the work in hand, also after a
    reload has renamed it; afterwards nothing is."""
    seen = []

    def watch(method):
        well = getattr(SimulatedPin, method)

        def watched(pin, *values):
            seen.append((method, busy.describe()))
            return well(pin, *values)

        monkeypatch.setattr(SimulatedPin, method, watched)

    for method in ("output_with_state", "input_with_pull", "_change_state", "_get_state"):
        watch(method)

    def names(method):
        found = {name for each, name in seen if each == method}
        seen.clear()
        return found

    pi = rig(LAMP + DOOR)
    assert names("output_with_state") == {"lamp (GPIO17)"}
    pi.set("lamp", 1)
    assert names("_change_state") == {"lamp (GPIO17)"}
    pi.board.refresh()
    assert names("_get_state") == {"door (GPIO4)"}
    pi.board.reconfigure(parse("  light: {gpio: 17, mode: output}\n" + DOOR).pins)
    pi.set("light", 0)
    assert names("_change_state") == {"light (GPIO17)"}
    pi.board.close()
    assert names("output_with_state") == {"light (GPIO17)"}
    assert busy.describe() == ""
