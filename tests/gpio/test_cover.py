"""Covers: which press is made and which is not, positions, problems, restarts and reloads.

tests/test_stateful_covers.py does the same to doors with minds of their own."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from raspi_server.errors import RequestError
from raspi_server.gpio.backend import LINE_ERRORS, SimulatedFactory
from raspi_server.gpio.cover import Cover
from raspi_server.gpio.cover_memory import CoverMemory
from raspi_server.gpio.output_state import OutputStateStore
from raspi_server.messages import Auto, Close, Open, Position, Pulse, Set, Stop, Toggle
from tests.support.board import SimulatedBoard
from tests.support.drives import ButtonDrive, MotorDrive, Presses

OPENER, SHUT, UP, TOP, DOWN = 17, 22, 23, 24, 25
GARAGE_PINS = """
  opener: {gpio: 17, mode: output, pulse: 0.5, label: Opener}
  shut:   {gpio: 22, mode: input, kind: garage_door, label: Contact below}
  top:    {gpio: 24, mode: input, active: low, label: Contact above}
"""
SHUTTER_PINS = """
  up:   {gpio: 23, mode: output, group: shutter, group_pause: 0.5}
  down: {gpio: 25, mode: output, group: shutter, group_pause: 0.5}
  shut: {gpio: 22, mode: input, active: low, label: Contact below}
  top:  {gpio: 24, mode: input, active: low, label: Contact above}
"""
PRESSES = "presses: {opening: stop, closing: reverse, stopped: opposite}"
WRONG = (Set(pin="opener", value=1), Toggle(pin="opener"), Pulse(pin="opener"), Auto(pin="opener"))


class House(SimulatedBoard):
    """A house with one cover, named `it`."""

    drive: Any

    @property
    def it(self) -> Cover:
        return self.covers["it"]

    @property
    def seen(self) -> tuple[str, int | None]:
        return self.it.state, self.it.position

    def open(self, by: str = "me") -> None:
        self.covers.carry_out(Open(cover="it"), by)

    def close_it(self, by: str = "me") -> None:
        self.covers.carry_out(Close(cover="it"), by)

    def stop(self) -> None:
        self.covers.carry_out(Stop(cover="it"), "me")

    def move_to(self, position: float) -> None:
        self.covers.carry_out(Position(cover="it", position=position), "me")

    def refused(self, call: Callable[..., None], *arguments: Any) -> str:
        """Return the reason for which a command was refused. Nothing has changed by it."""
        before, count = (self.it.state, self.it.goal), len(self.changes)
        with pytest.raises(RequestError) as caught:
            call(*arguments)
        assert ((self.it.state, self.it.goal), len(self.changes)) == (before, count)
        return caught.value.reason

    @property
    def problem(self) -> str | None:
        return self.it.problem and self.it.problem.name

    def presses(self) -> int:
        """Return how often the button was pressed since the last call."""
        found = [change for change in self.changes if change.pin == "opener" and change.value]
        self.changes.clear()
        return len(found)


class Factory:
    """Makes houses, with folders that outlast a restart."""

    def __init__(self, folder: Path) -> None:
        self.run, self.state = folder / "run", folder / "state"
        for each in (self.run, self.state):
            each.mkdir()
        self.houses: list[House] = []

    def house(
        self, pins: str, cover: str, position: float | None = 0, at: float = 1000, **options: Any
    ) -> House:
        """Start a server in a house, whose door stands at `position` if it has none yet."""
        factory = options.pop("factory", None) or SimulatedFactory()
        if position is not None:
            for gpio, end in ((SHUT, 0), (TOP, 100)):
                line = factory.pin(gpio)
                (line.drive_low if position == end else line.drive_high)()
        states = OutputStateStore(self.run, self.state)
        memory = CoverMemory(self.run, self.state)
        house = House(
            pins, states, factory, at, covers=f"  it: {{{cover}}}\n", memory=memory, **options
        )
        self.houses.append(house)
        return house

    def garage(
        self,
        keys: str = "",
        has_top: bool = True,
        position: float = 0,
        presses: Presses = Presses(),  # noqa: B008
        travel: tuple[float, float] = (9, 9),
        **options: Any,
    ) -> House:
        top = "opened: top, " if has_top else ""
        cover = f"button: opener, closed: shut, {top}travel: 10, label: Door, {keys}"
        house = self.house(GARAGE_PINS, cover, position)
        contacts = {"closed": SHUT, "opened": TOP if has_top else None}
        more: dict[str, Any] = {"travel": travel, "position": position, **contacts, **options}
        house.drive = ButtonDrive(house, "opener", presses, **more)
        return house

    def shutter(self, contacts: str = "", position: float = 0, **options: Any) -> House:
        cover = f"up: up, down: down, travel: {{up: 20, down: 10}}, label: Shutter, {contacts}"
        house = self.house(SHUTTER_PINS, cover, position, **options)
        known = {"closed": SHUT, "opened": TOP}
        lines = {name: gpio if name in contacts else None for name, gpio in known.items()}
        house.drive = MotorDrive(house, "up", "down", travel=(20, 10), position=position, **lines)
        house.wait(1)
        return house


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Factory]:
    factory = Factory(tmp_path)
    yield factory
    for house in factory.houses:
        if not house.loop.is_closed():
            house.close()


class TestOneButton:
    @pytest.mark.parametrize("has_top", [True, False])
    def test_a_door_opens_and_closes(self, make: Factory, has_top: bool) -> None:
        """A goal is one press. The state says what the door does, and then where it is. A goal that
        is reached is no press."""
        pi = make.garage(has_top=has_top)
        assert pi.seen == ("closed", None)
        pi.close_it()
        assert (pi.presses(), pi.it.goal, pi.it.value) == (0, None, 0)
        pi.open("kitchen")
        assert (pi.it.state, pi.it.goal, pi.it.value, pi.presses()) == ("opening", "open", 1, 1)
        assert pi.new_moves() == [("opening", None, "kitchen")]
        pi.wait(12.1)
        assert (pi.it.state, pi.it.goal, pi.problem) == ("open", None, None)
        pi.open()
        pi.wait(1)
        assert pi.presses() == 0
        pi.close_it()
        assert (pi.it.state, pi.presses()) == ("closing", 1)
        pi.wait(9.1)
        assert (pi.it.state, pi.it.goal, pi.problem, pi.presses()) == ("closed", None, None, 0)
        assert pi.drive.position == 0

    def test_nobody_switches_the_button_beside_it(self, make: Factory) -> None:
        """The output of a cover takes no other command; its contacts can be moved by hand."""
        pi = make.garage()
        for command in WRONG:
            with pytest.raises(RequestError, match="Opener belongs to Door") as refused:
                pi.carry_out(command)
            assert (refused.value.code, refused.value.reason) == ("conflict", "cover-output")
        assert pi.presses() == 0
        pi.drive.push(50)
        pi.settle()
        assert pi.it.state == "opening"

    @pytest.mark.parametrize("has_top", [True, False])
    def test_moved_by_hand(self, make: Factory, has_top: bool) -> None:
        """The state follows the contacts. That is no problem, and no press."""
        pi = make.garage(has_top=has_top)
        pi.drive.press()
        pi.wait(1)
        assert (pi.it.state, pi.it.goal) == ("opening", None)
        pi.wait(3)
        pi.drive.press()  # which stops it
        pi.wait(12)
        assert pi.it.state == ("stopped" if has_top else "open")
        pi.drive.push(0)
        pi.settle()
        assert (pi.it.state, pi.problem, pi.presses()) == ("closed", None, 0)

    def test_an_opposite_goal_waits_for_the_end_of_the_motion(self, make: Factory) -> None:
        """Without `presses` no press is made while the door moves. The newest goal wins."""
        pi = make.garage()
        pi.open()
        pi.wait(3)
        pi.close_it()
        assert (pi.it.state, pi.it.goal, pi.presses()) == ("opening", "close", 1)
        pi.open()
        pi.close_it()
        pi.wait(6.1)
        assert (pi.it.state, pi.it.goal, pi.presses()) == ("open", "close", 0)
        pi.wait(0.5)
        assert (pi.it.state, pi.presses()) == ("closing", 1)
        pi.open()
        pi.close_it()
        pi.wait(12)
        assert (pi.it.state, pi.presses()) == ("closed", 0)

    def test_a_hand_ends_a_waiting_goal(self, make: Factory) -> None:
        """A goal that a person reached at the wall is reached."""
        pi = make.garage(presses=Presses("reverse"))
        pi.open()
        pi.wait(3)
        pi.close_it()
        pi.drive.press()
        pi.wait(3.1)
        assert (pi.it.state, pi.it.goal, pi.presses()) == ("closed", None, 1)
        pi.wait(20)
        assert (pi.it.state, pi.problem, pi.presses()) == ("closed", None, 0)

    def test_a_goal_that_is_not_confirmed(self, make: Factory) -> None:
        """After the travel and a fifth the problem names the contact, and the goal ends. It is not
        tried again. The next contact clears the problem."""
        pi = make.garage()
        pi.drive.stuck.add(1)
        pi.open()
        pi.wait(12)
        assert (pi.it.state, pi.it.goal, pi.problem) == ("opening", "open", None)
        pi.wait(0.1)
        assert (pi.it.state, pi.it.goal, pi.problem) == ("stopped", None, "cover-not-confirmed")
        assert str(pi.it.problem) == "Contact above did not confirm it within 12 s"
        pi.wait(60)
        assert pi.presses() == 1
        pi.drive.stuck.clear()
        pi.drive.show()
        assert (pi.it.state, pi.problem) == ("open", None)

    def test_a_door_that_does_not_move(self, make: Factory) -> None:
        """With one contact the closed end says that nothing happened."""
        pi = make.garage(has_top=False)
        pi.drive.press = lambda: None
        pi.open()
        pi.wait(12.1)
        assert (pi.it.state, pi.problem, pi.presses()) == ("closed", "cover-not-confirmed", 1)
        assert "Contact below" in str(pi.it.problem)
        pi.close_it()  # it is there: reached
        assert (pi.problem, pi.presses()) == (None, 0)

    def test_at_rest_in_between(self, make: Factory) -> None:
        """A door that stopped while it opened is closed by the next press, and not opened by it.
        One that stopped while it closed may have turned at an obstacle."""
        pi = make.garage()
        pi.open()
        pi.wait(3)
        pi.drive.meet_obstacle("stop")
        pi.wait(10)
        assert (pi.it.state, pi.problem) == ("stopped", "cover-not-confirmed")
        assert pi.refused(pi.open) == "cover-direction-unknown"
        pi.close_it()
        assert (pi.it.state, pi.presses()) == ("closing", 2)
        pi.wait(9)
        assert (pi.it.state, pi.problem) == ("closed", None)
        pi.open()
        pi.wait(10)
        pi.close_it()
        pi.wait(3)
        pi.drive.meet_obstacle("back off")
        pi.wait(30)
        assert (pi.it.state, pi.problem) == ("stopped", "cover-not-confirmed")
        assert {pi.refused(pi.open), pi.refused(pi.close_it)} == {"cover-direction-unknown"}

    def test_a_waiting_goal_that_cannot_be_reached(self, make: Factory) -> None:
        """A goal whose press could go the wrong way after all becomes a problem, in words."""
        pi = make.garage()
        pi.open()
        pi.wait(10)
        pi.close_it()
        pi.wait(1)
        pi.open()
        pi.drive.meet_obstacle("back off")
        pi.wait(40)
        assert (pi.it.state, pi.it.goal, pi.presses()) == ("stopped", None, 2)
        assert pi.problem == "cover-direction-unknown"

    def test_one_contact_and_an_obstacle(self, make: Factory) -> None:
        """A door that met an obstacle may be opening again: a press waits until that is over."""
        pi = make.garage(has_top=False)
        pi.open()
        pi.wait(13)
        pi.close_it()
        pi.wait(8)
        pi.drive.meet_obstacle("turn")
        pi.wait(4.1)
        assert (pi.it.state, pi.problem, pi.drive.direction) == ("open", "cover-not-confirmed", 1)
        pi.close_it()
        assert (pi.it.goal, pi.presses()) == ("close", 2)
        pi.wait(12.1)
        assert (pi.it.state, pi.drive.direction, pi.presses()) == ("closing", -1, 1)
        pi.wait(9)
        assert (pi.it.state, pi.problem) == ("closed", None)

    def test_stop_needs_to_know_what_a_press_does(self, make: Factory) -> None:
        """Without `presses`, and where a press reverses, nothing stops it. At rest there is nothing
        to stop. A stop that drops a goal that waits is a success, once."""
        pi = make.garage()
        pi.stop()
        pi.open()
        pi.wait(2)
        assert pi.refused(pi.stop) == "cover-cannot-stop"
        pi.close_it()
        pi.new_moves()
        pi.stop()
        assert (pi.it.state, pi.it.goal) == ("opening", None)
        assert pi.new_moves() == [("opening", None, "me")]
        assert pi.refused(pi.stop) == "cover-cannot-stop"
        pi.wait(30)
        assert (pi.it.state, pi.it.goal, pi.presses()) == ("open", None, 1)
        pi = make.garage(PRESSES)
        pi.drive.push(100)
        pi.wait(1)
        pi.close_it()
        pi.wait(2)
        assert pi.refused(pi.stop) == "cover-cannot-stop"

    def test_stop(self, make: Factory) -> None:
        """With `presses` it stops, and goes on in the direction that is known."""
        pi = make.garage(PRESSES)
        pi.open()
        pi.wait(4)
        pi.stop()
        assert (pi.it.state, pi.it.goal, pi.drive.direction, pi.presses()) == (
            "stopped",
            None,
            0,
            2,
        )
        assert pi.refused(pi.open) == "cover-direction-unknown"
        pi.close_it()
        pi.wait(1.1)
        assert (pi.it.state, pi.drive.direction, pi.presses()) == ("closing", -1, 1)
        pi.wait(5)
        assert (pi.it.state, pi.presses()) == ("closed", 0)

    def test_stop_right_after_the_start(self, make: Factory) -> None:
        """A stop waits until the first press is over, and until the door has left its end: before
        that, a press might start it."""
        pi = make.garage(PRESSES, delay=2)
        pi.open()
        pi.stop()
        assert (pi.it.state, pi.presses()) == ("opening", 1)
        pi.wait(1.9)
        assert pi.presses() == 0
        pi.wait(0.2)
        assert (pi.it.state, pi.drive.direction, pi.presses()) == ("stopped", 0, 1)
        pi = make.garage(PRESSES)
        pi.drive.press = lambda: None
        pi.open()
        pi.stop()
        pi.wait(30)
        assert (pi.it.state, pi.presses()) == ("closed", 1)

    def test_stop_without_a_contact_above(self, make: Factory) -> None:
        """Where no contact says that the door has arrived, it is stopped only while it cannot have:
        a press at the end would close it."""
        pi = make.garage(PRESSES, has_top=False)
        pi.open()
        pi.wait(7.9)
        pi.stop()
        assert pi.it.state == "stopped"
        pi = make.garage(PRESSES, has_top=False)
        pi.open()
        pi.wait(8.2)
        assert pi.refused(pi.stop) == "cover-cannot-stop"

    def test_a_motion_from_in_between_without_a_contact_above(self, make: Factory) -> None:
        """It may be over at any time, so no press is made to stop it: that would start the door."""
        pi = make.garage(PRESSES, has_top=False)
        pi.open()
        pi.wait(13)
        pi.close_it()
        pi.wait(1.5)
        pi.open()  # it turns at once, and soon is open
        pi.wait(4)
        assert (pi.it.state, pi.drive.position, pi.presses()) == ("opening", 100, 3)
        assert pi.refused(pi.stop) == "cover-cannot-stop"
        pi.close_it()
        assert (pi.it.goal, pi.presses()) == ("close", 0)
        pi.wait(20)
        assert (pi.it.state, pi.problem, pi.presses()) == ("closed", None, 1)

    def test_stop_after_a_contact_had_failed(self, make: Factory) -> None:
        """A door that had left its end before the contact was back may be open already."""
        pi = make.garage(PRESSES, has_top=False)
        fail(pi, "shut")
        pi.drive.push(100)
        pi.board.reopen_failed()
        pi.covers.synchronize()
        assert pi.it.state == "opening"
        assert pi.refused(pi.stop) == "cover-cannot-stop"

    def test_turning_with_presses(self, make: Factory) -> None:
        """A press that reverses is made at once; where it stops, a second one follows."""
        pi = make.garage(PRESSES)
        pi.open()
        pi.wait(4)
        pi.close_it()
        assert (pi.it.state, pi.it.goal, pi.presses()) == ("stopped", "close", 2)
        pi.wait(1.1)
        assert (pi.it.state, pi.drive.direction, pi.presses()) == ("closing", -1, 1)
        pi.wait(1)
        pi.open()
        assert (pi.it.state, pi.drive.direction, pi.presses()) == ("opening", 1, 1)
        pi.wait(12)
        assert (pi.it.state, pi.problem, pi.drive.position) == ("open", None, 100)
        pi = make.garage(PRESSES.replace("opposite", "open"), presses=Presses(stopped="open"))
        pi.open()
        pi.wait(4)
        pi.close_it()  # after a stop it would open
        assert (pi.it.goal, pi.presses()) == ("close", 1)
        pi.wait(18)
        assert (pi.it.state, pi.presses()) == ("closed", 1)

    def test_presses_are_apart(self, make: Factory) -> None:
        """A press waits until the one before it is over, and a moment longer."""
        pi = make.garage(PRESSES.replace("stop,", "reverse,"), presses=Presses("reverse"))
        pi.open()
        pi.wait(0.2)
        pi.close_it()
        assert pi.presses() == 1
        pi.wait(0.7)
        assert pi.presses() == 0
        pi.wait(0.2)
        assert (pi.presses(), pi.it.state, pi.drive.direction) == (1, "closing", -1)

    def test_presses_are_apart_with_a_short_travel(self, make: Factory) -> None:
        """A motion that is over sooner than the press does not bring the next one forward."""
        cover = "button: opener, closed: shut, travel: 0.1, label: Door"
        pi = make.house(GARAGE_PINS, cover, position=50)
        pi.close_it()
        pi.wait(0.2)
        assert (pi.problem, pi.presses()) == ("cover-not-confirmed", 1)
        pi.close_it()
        pi.wait(0.7)
        assert pi.presses() == 0
        pi.wait(0.2)
        assert pi.presses() == 1

    def test_bouncing_contacts(self, make: Factory) -> None:
        """A contact that bounces at an end ends no goal that waits, and causes no press."""
        pi = make.garage()
        pi.open()
        pi.wait(3)
        pi.close_it()
        pi.wait(6.1)
        for _ in range(3):
            pi.line(TOP).drive_high()
            pi.wait(0.01)
            pi.line(TOP).drive_low()
            pi.wait(0.01)
        assert (pi.it.state, pi.it.goal, pi.presses()) == ("open", "close", 1)
        pi.wait(0.6)
        assert (pi.it.state, pi.presses()) == ("closing", 1)
        pi.wait(9)
        pi.open()  # within the bounces of the arrival
        pi.line(SHUT).drive_high()
        pi.wait(0.01)
        pi.line(SHUT).drive_low()
        pi.wait(0.4)
        assert pi.presses() == 0
        pi.wait(0.2)
        assert (pi.it.state, pi.presses()) == ("opening", 1)

    def test_contacts_that_fail(self, make: Factory) -> None:
        """Both contacts at once, or one that is unavailable: the state is unknown, and no command
        is taken. Then the contacts count again."""
        pi = make.garage()
        pi.line(TOP).drive_low()
        assert (pi.seen, pi.problem) == (("unknown", None), "cover-contacts-both")
        assert {pi.refused(call) for call in (pi.open, pi.close_it, pi.stop)} == {
            "cover-state-unknown"
        }
        assert pi.it.value is None
        pi.line(TOP).drive_high()
        assert (pi.it.state, pi.problem) == ("closed", None)
        pi.wait(1)
        pi.open()
        pi.wait(2)
        pi.close_it()
        fail(pi, "top")
        assert (pi.it.state, pi.it.goal, pi.problem) == (
            "unknown", None, "cover-contact-unavailable"
        )  # fmt: skip
        assert str(pi.it.problem) == "the contact Contact above is unavailable"
        pi.wait(1)
        pi.board.reopen_failed()
        pi.covers.synchronize()
        assert (pi.it.state, pi.problem) == ("opening", None)
        pi.wait(9)
        assert (pi.it.state, pi.presses()) == ("open", 1)

    def test_a_contact_that_fails_before_the_door_has_left(self, make: Factory) -> None:
        """The door that was told to open does so all the same, and is not pressed again."""
        pi = make.garage(has_top=False, delay=2)
        pi.open()
        fail(pi, "shut")
        pi.wait(1)
        pi.board.reopen_failed()
        pi.covers.synchronize()
        assert (pi.it.state, pi.problem, pi.presses()) == ("opening", None, 1)
        pi.open()
        pi.wait(15)
        assert (pi.it.state, pi.presses(), pi.drive.position) == ("open", 0, 100)

    def test_a_contact_that_fails_while_the_door_is_stopped(self, make: Factory) -> None:
        """With one contact it is known afterwards that a press stopped it, and in which way."""
        keys = "presses: {opening: stop, closing: stop, stopped: opposite}"
        pi = make.garage(keys, has_top=False, presses=Presses("stop", "stop"))
        pi.open()
        pi.wait(13)
        pi.close_it()
        pi.wait(4)
        pi.stop()
        fail(pi, "shut")
        assert pi.it.state == "unknown"
        pi.board.reopen_failed()
        pi.covers.synchronize()
        assert pi.it.state == "stopped"
        assert pi.refused(pi.close_it) == "cover-direction-unknown"

    def test_a_button_that_fails(self, make: Factory) -> None:
        """Without its output no goal is taken. It comes back off, and nothing is pressed late."""
        pi = make.garage()
        fail(pi, "opener")
        assert (pi.it.state, pi.problem) == ("closed", "cover-output-unavailable")
        with pytest.raises(RequestError) as refused:
            pi.open()
        assert (refused.value.code, pi.it.goal) == ("unavailable", None)
        pi.board.reopen_failed()
        pi.covers.synchronize()
        pi.wait(5)
        assert (pi.it.state, pi.problem, pi.presses()) == ("closed", None, 0)

    @pytest.mark.parametrize(
        ("has_top", "position", "state"),
        [(True, 50, "stopped"), (False, 50, "open"), (True, 100, "open"), (True, 0, "closed")],
    )
    def test_start(self, make: Factory, has_top: bool, position: float, state: str) -> None:
        """A start reads the contacts, and presses nothing."""
        pi = make.garage(has_top=has_top, position=position)
        pi.wait(60)
        assert (pi.it.state, pi.problem, pi.presses(), pi.new_moves()) == (state, None, 0, [])
        if has_top and position == 50:
            assert {pi.refused(pi.open), pi.refused(pi.close_it)} == {"cover-direction-unknown"}

    def test_known_press_at_rest(self, make: Factory) -> None:
        """Where a press at rest always opens, a door in between can be opened, and not closed."""
        keys = "presses: {opening: stop, closing: stop, stopped: open}"
        pi = make.garage(keys, position=50, presses=Presses("stop", "stop", "open"))
        assert pi.refused(pi.close_it) == "cover-direction-unknown"
        pi.open()
        pi.wait(6)
        assert (pi.it.state, pi.drive.position, pi.presses()) == ("open", 100, 1)

    @pytest.mark.parametrize("is_crash", [True, False])
    @pytest.mark.parametrize("has_top", [True, False])
    def test_restart_in_a_motion(self, make: Factory, has_top: bool, is_crash: bool) -> None:
        """After a restart nothing is pressed by itself, and by a command only when the motion is
        over that was going on. With a contact that is sooner."""
        pi = make.garage(has_top=has_top)
        pi.open()
        pi.wait(4)
        position = pi.drive.position
        again = restarted(make, pi, is_crash, position, has_top)
        assert again.it.state == ("stopped" if has_top else "open")
        if has_top:
            assert again.refused(again.close_it) == "cover-direction-unknown"
            return
        again.drive = ButtonDrive(
            again, "opener", Presses(), travel=(9, 9), closed=SHUT, position=position
        )
        again.drive.run(1)
        again.close_it()
        assert (again.it.goal, again.presses()) == ("close", 0)
        again.wait(7)
        assert again.presses() == 0
        again.wait(1.1)
        assert (again.it.state, again.drive.direction, again.presses()) == ("closing", -1, 1)

    def test_a_door_that_left_its_end_during_a_restart(self, make: Factory) -> None:
        """It may still move: a press waits."""
        pi = make.garage(has_top=False)
        again = restarted(make, pi, True, 10, has_top=False)
        again.close_it()
        again.wait(11.9)
        assert (again.it.state, again.it.goal, again.presses()) == ("open", "close", 0)
        again.wait(0.2)
        assert again.presses() == 1

    @pytest.mark.parametrize("after", [2, 4.1])
    def test_restart_after_an_obstacle(self, make: Factory, after: float) -> None:
        """A door that was closing, or has not closed in time, may be opening again: a press waits
        for that after a restart, too."""
        pi = make.garage(has_top=False)
        pi.open()
        pi.wait(13)
        pi.close_it()
        pi.wait(8)
        pi.drive.meet_obstacle("turn")
        pi.wait(after)
        again = restarted(make, pi, True, pi.drive.position, False)
        again.close_it()
        again.wait(24 - 8 - after - 0.1)
        assert (again.it.goal, again.presses()) == ("close", 0)
        again.wait(0.3)
        assert (again.it.state, again.presses()) == ("closing", 1)

    def test_a_stopped_door_after_a_restart(self, make: Factory) -> None:
        """With one contact a door that was stopped in between is known to be so, until a boot."""
        keys = "presses: {opening: stop, closing: stop, stopped: opposite}"
        pi = make.garage(keys, has_top=False, presses=Presses("stop", "stop"))
        pi.open()
        pi.wait(12.1)
        pi.close_it()
        pi.wait(4)
        pi.stop()
        again = restarted(make, pi, True, 50, False, keys)
        assert again.it.state == "stopped"
        assert again.refused(again.close_it) == "cover-direction-unknown"
        again.close()
        (make.run / "covers.json").unlink()
        assert restarted(make, again, True, 50, False, keys).it.state == "open"


def restarted(
    make: Factory, pi: House, is_crash: bool, position: float, has_top: bool, keys: str = ""
) -> House:
    """Return the house after a restart of the server, while the door went to `position`."""
    if pi.loop.is_closed():
        pass
    elif is_crash:
        pi.crash()
    else:
        pi.close()
    top = "opened: top, " if has_top else ""
    cover = f"button: opener, closed: shut, {top}travel: 10, label: Door, {keys}"
    return make.house(GARAGE_PINS, cover, position, at=pi.loop.time())


def fail(pi: House, pin: str) -> None:
    """Let the line of a pin fail until it is opened again."""
    pi.board[pin]._fail(LINE_ERRORS[1](5, "it is gone"))


class TestTwoOutputs:
    def test_the_whole_way(self, make: Factory) -> None:
        """Without contacts an end takes its travel and a fifth more, also if it is believed to be
        there. Then the position is known."""
        pi = make.shutter(position=60)
        assert (pi.seen, pi.it.value) == (("stopped", None), None)
        pi.close_it()
        assert (pi.seen, pi.it.value, pi.board.values()["down"]) == (("closing", None), 1, 1)
        pi.wait(11.9)
        assert pi.it.state == "closing"
        pi.wait(0.2)
        assert (pi.seen, pi.it.value, pi.board.values()["down"]) == (("closed", 0), 0, 0)
        pi.new_moves()
        pi.close_it()
        pi.wait(2.1)
        assert pi.new_moves()[0] == ("closing", 0, "me")
        assert (pi.seen, pi.drive.position) == (("closed", 0), 0)
        pi.open()
        pi.wait(10)
        assert pi.seen == ("opening", pytest.approx(48, abs=2))
        pi.wait(14.5)
        assert (pi.seen, pi.it.goal) == (("open", 100), None)

    def test_positions(self, make: Factory) -> None:
        """A position is reached in the time that its way takes, and a move of less than 2 percent
        is not made. The pause of the group is no travel."""
        pi = make.shutter()
        pi.move_to(40)  # not known: first to the open end
        pi.wait(24.1)
        assert pi.seen == ("closing", 100)
        pi.wait(0.5 + 6)
        assert (pi.seen, pi.drive.position) == (("stopped", 40), pytest.approx(40, abs=0.5))
        pi.changes.clear()
        pi.move_to(41.4)
        assert (pi.it.state, pi.changes) == ("stopped", [])
        pi.move_to(60)
        pi.wait(1)
        pi.move_to(30)  # it turns: the other output after the pause
        assert pi.it.state == "closing"
        pi.wait(0.45)
        assert pi.drive.direction == 0
        pi.wait(4)
        assert (pi.seen, pi.drive.position) == (("stopped", 30), pytest.approx(30, abs=0.5))
        pi.move_to(80)
        pi.wait(2)
        pi.move_to(50)  # shorter, the same way
        pi.wait(2.6)
        assert (pi.seen, pi.drive.position) == (("stopped", 50), pytest.approx(50, abs=0.5))
        for wrong in (-1, 101):
            assert pi.refused(pi.move_to, wrong) == "cover-position-range"
        pi.move_to(0)
        assert pi.it.goal == "close"

    def test_stop(self, make: Factory) -> None:
        """It stops at once, also while the pause of the group waits."""
        pi = make.shutter()
        pi.close_it()
        pi.wait(12.1)
        pi.open()
        pi.wait(5.6)
        pi.stop()
        assert (pi.it.state, pi.drive.direction, pi.it.goal) == ("stopped", 0, None)
        assert pi.it.position == pytest.approx(pi.drive.position, abs=1)
        pi.open()
        pi.wait(1)
        pi.close_it()
        pi.stop()
        pi.open()
        pi.stop()
        pi.changes.clear()
        pi.wait(30)
        assert (pi.it.state, pi.changes, pi.drive.direction) == ("stopped", [], 0)
        pi.close_it()
        pi.stop()
        pi.close_it()  # the answer to the first one, which was cancelled, ends nothing
        pi.wait(0.6)
        assert (pi.it.state, pi.drive.direction) == ("closing", -1)

    def test_a_server_that_was_held_up(self, make: Factory) -> None:
        """It says how far the shutter has gone meanwhile, not where it was to stop."""
        pi = make.shutter()
        pi.close_it()
        pi.wait(13)
        pi.move_to(20)
        pi.wait(3.9)
        clock: Any = pi.loop._clock
        clock.now += 4
        pi.wait(1)
        assert (pi.it.state, pi.it.goal, pi.drive.direction) == ("stopped", None, 0)
        assert 39 <= pi.it.position == round(pi.drive.position) <= 41

    def test_reports_while_it_moves(self, make: Factory) -> None:
        """The position is told at most four times a second."""
        pi = make.shutter()
        pi.close_it()
        pi.wait(13)
        pi.new_moves()
        pi.open()
        pi.wait(5)
        moves = pi.new_moves()
        assert 10 < len(moves) <= 21
        assert [each[1] for each in moves] == sorted(each[1] or 0 for each in moves)

    def test_contacts_end_motions_and_correct_positions(self, make: Factory) -> None:
        """A contact ends the motion to its end, whatever the time says."""
        pi = make.shutter("closed: shut, opened: top")
        assert pi.seen == ("closed", 0)
        pi.drive.travel[1] = 15
        pi.open()
        pi.wait(15.2)
        assert (pi.seen, pi.drive.direction, pi.it.goal) == (("open", 100), 0, None)
        pi.open()
        pi.wait(1)
        assert pi.drive.direction == 0
        pi.drive.travel[-1] = 11.5
        pi.close_it()
        pi.wait(11)
        assert pi.seen == ("closing", 1)  # only the contact says that it is closed
        pi.wait(1)
        assert (pi.seen, pi.problem) == (("closed", 0), None)
        pi.drive.travel[1] = 10
        pi.move_to(90)  # the contact is reached before, so the count was wrong
        pi.wait(10.1)
        assert (pi.it.state, pi.it.goal) == ("closing", 90)
        pi.wait(2)
        assert pi.seen == ("stopped", 90)

    def test_an_end_that_is_not_confirmed(self, make: Factory) -> None:
        """The problem names the contact, and the position is not known."""
        pi = make.shutter("closed: shut, opened: top")
        pi.drive.stuck.add(1)
        pi.open()
        pi.wait(24.1)
        assert (pi.seen, pi.problem) == (("stopped", None), "cover-not-confirmed")
        assert "Contact above" in str(pi.it.problem)
        assert pi.drive.direction == 0
        pi.close_it()
        pi.wait(11)
        assert (pi.seen, pi.problem) == (("closed", 0), None)
        pi.drive.stuck.add(-1)  # the contact below stays, so it has not moved
        pi.move_to(50)
        pi.wait(12)
        assert (pi.seen, pi.problem) == (("closed", 0), "cover-not-confirmed")

    def test_moved_by_hand(self, make: Factory) -> None:
        """Off a contact by hand, the position is not known; at a contact it is."""
        pi = make.shutter("closed: shut, opened: top")
        pi.drive.push(30)
        assert (pi.seen, pi.it.value, pi.problem) == (("stopped", None), 1, None)
        pi.drive.push(100)
        assert pi.seen == ("open", 100)

    def test_leaving_a_contact_after_a_stop(self, make: Factory) -> None:
        """A shutter that runs on, off its contact, has not been moved by hand."""
        pi = make.shutter("closed: shut")
        pi.drive.stuck.add(-1)
        pi.open()
        pi.wait(1)
        pi.stop()
        assert pi.seen == ("closed", 0)
        pi.drive.stuck.clear()
        pi.drive.show()
        assert pi.seen == ("stopped", 5)

    def test_contacts_that_fail(self, make: Factory) -> None:
        """Both contacts at once: it stops, and takes no goal. A contact that fails is the same."""
        pi = make.shutter("closed: shut, opened: top")
        pi.open()
        pi.wait(3)
        pi.line(SHUT).drive_low()
        pi.line(TOP).drive_low()
        assert (pi.it.state, pi.problem) == ("unknown", "cover-contacts-both")
        assert (pi.drive.direction, pi.it.value) == (0, None)
        assert {pi.refused(pi.open), pi.refused(pi.move_to, 40)} == {"cover-state-unknown"}
        pi.stop()
        pi.drive.show()
        assert (pi.seen, pi.problem) == (("stopped", None), None)
        pi.close_it()
        fail(pi, "shut")
        assert (pi.it.state, pi.problem) == ("unknown", "cover-contact-unavailable")
        assert pi.drive.direction == 0

    def test_an_output_that_fails_while_it_moves(self, make: Factory) -> None:
        """Both outputs go off, and the position is not known. The problem stays until a goal is
        reached, also when the output is back. Nothing moves by itself."""
        pi = make.shutter()
        pi.close_it()
        pi.wait(12.1)
        pi.open()
        pi.wait(3)
        fail(pi, "up")
        assert (pi.it.state, pi.it.position, pi.it.goal) == ("stopped", None, None)
        assert pi.problem == "cover-output-failed"
        with pytest.raises(RequestError):
            pi.close_it()
        assert pi.it.goal is None
        pi.drive.run(0)
        pi.drive.on.clear()
        pi.board.reopen_failed()
        pi.covers.synchronize()
        pi.changes.clear()
        pi.wait(10)
        assert (pi.changes, pi.problem) == ([], "cover-output-failed")
        pi.close_it()
        pi.wait(13)
        assert (pi.seen, pi.problem) == (("closed", 0), None)

    def test_a_limit_ends_a_motion(self, make: Factory) -> None:
        """`max_on` is never weakened. What was run counts."""
        pins = SHUTTER_PINS.replace("{gpio: 23,", "{gpio: 23, max_on: 21,")
        cover = "up: up, down: down, travel: {up: 20, down: 10}"
        pi = make.house(pins, cover, None)
        pi.wait(1)
        pi.open()
        pi.wait(21.1)
        assert (pi.seen, pi.it.goal, pi.board.values()["up"]) == (("open", 100), None, 0)

    @pytest.mark.parametrize(("is_crash", "position"), [(False, 50), (True, None)])
    def test_restart_in_a_motion(self, make: Factory, is_crash: bool, position: int | None) -> None:
        """A stop saves the position that was counted. After a crash it is not known, and the
        outputs are off in any case."""
        pi = make.shutter()
        pi.close_it()
        pi.wait(13)
        pi.open()
        pi.wait(10)
        at = pi.loop.time()
        if is_crash:
            pi.crash()
        else:
            pi.close()
        again = make.shutter(at=at)
        assert (again.it.state, again.it.position) == ("stopped", position)
        assert {again.board.values()[name] for name in ("up", "down")} == {0}
        assert again.changes == []

    @pytest.mark.parametrize(("is_moving", "position"), [(False, 30), (True, None)])
    def test_power_cut(self, make: Factory, is_moving: bool, position: int | None) -> None:
        """The position outlasts a power cut at rest. In a motion it is lost: a position then takes
        the way to the open end first."""
        pi = make.shutter()
        pi.close_it()
        pi.wait(13)
        pi.move_to(30)
        pi.wait(8)
        if is_moving:
            pi.open()
            pi.wait(0.1)
        pi.crash()
        (make.run / "covers.json").unlink()
        again = make.shutter(at=10)
        assert again.it.position == position
        if is_moving:
            again.move_to(40)
            again.wait(24.4)
            assert again.seen == ("closing", 100)

    def test_a_changed_file(self, make: Factory) -> None:
        """A damaged file is no position, and no failure."""
        for folder in (make.run, make.state):
            (folder / "covers.json").write_bytes(b'{"covers": 7')
        assert make.shutter().it.position is None


class TestReload:
    COVER = "  it: {up: up, down: down, travel: {up: 20, down: 10}, label: Shutter}\n"
    GARAGE = "  it: {button: opener, closed: shut, travel: 10, opened: top}\n"

    def test_what_did_not_change_is_not_touched(self, make: Factory) -> None:
        """A motion goes on over a reload that changes other things, such as its label."""
        pi = make.shutter()
        pi.close_it()
        pi.wait(13)
        pi.open()
        pi.wait(1)
        pi.changes.clear()
        renamed = self.COVER.replace("Shutter", "Blind, control: nobody")
        pi.reconfigure(SHUTTER_PINS + "  lamp: {gpio: 4, mode: output}\n", renamed)
        assert (pi.changes, pi.it.state, pi.it.config.label) == ([], "opening", "Blind")
        pi.wait(30)
        assert pi.seen == ("open", 100)

    def test_a_motion_that_a_reload_ends(self, make: Factory) -> None:
        """A cover that is changed stops, and its position stays. One that is gone stops, too, and
        its outputs can be switched again."""
        pi = make.shutter()
        pi.close_it()
        pi.wait(13)
        pi.open()
        pi.wait(10)
        pi.reconfigure(SHUTTER_PINS, self.COVER.replace("20", "30"))
        assert (pi.seen, pi.drive.direction) == (("stopped", 50), 0)
        pi.open()
        pi.wait(1)
        pi.reconfigure(SHUTTER_PINS)
        assert (len(pi.covers), pi.drive.direction) == (0, 0)
        pi.set("up", 1)
        pi.wait(60)
        assert pi.board.values()["up"] == 1
        pi.reconfigure(SHUTTER_PINS, self.COVER)  # which begins at rest
        assert (pi.board.values()["up"], pi.it.state) == (0, "stopped")

    def test_a_cover_that_a_reload_removes_is_forgotten(self, make: Factory) -> None:
        """Another name changes nothing, but what people do with its outputs alone is not known."""
        pi = make.shutter()
        pi.close_it()
        pi.wait(13)
        assert pi.seen == ("closed", 0)
        pi.reconfigure(SHUTTER_PINS, self.COVER.replace("it:", "other:"))
        pi.reconfigure(SHUTTER_PINS, self.COVER)
        assert pi.seen == ("closed", 0)
        pi.reconfigure(SHUTTER_PINS)
        pi.set("up", 1)
        pi.wait(30)
        pi.reconfigure(SHUTTER_PINS, self.COVER)
        assert (pi.seen, pi.drive.position) == (("stopped", None), 100)
        pi.crash()
        for each in (make.run, make.state):
            assert b"23-25" not in (each / "covers.json").read_bytes()

    def test_a_door_that_was_pressed_without_its_cover(self, make: Factory) -> None:
        """Then nobody knows what the next press does."""
        pi = make.garage(PRESSES)
        cover = f"  it: {{button: opener, closed: shut, travel: 10, opened: top, {PRESSES}}}\n"
        pi.open()
        pi.wait(4)
        pi.stop()
        pi.wait(1)
        pi.reconfigure(GARAGE_PINS)
        for _ in range(2):
            pi.pulse("opener")
            pi.wait(1)
        pi.reconfigure(GARAGE_PINS, cover)
        assert pi.it.state == "stopped"
        assert pi.refused(pi.close_it) == "cover-direction-unknown"

    def test_a_goal_that_a_reload_removes(self, make: Factory) -> None:
        """A goal that waits is pressed for no more."""
        pi = make.garage()
        pi.open()
        pi.wait(3)
        pi.close_it()
        pi.reconfigure(GARAGE_PINS, self.GARAGE.replace("10", "11"))
        assert (pi.it.state, pi.it.goal) == ("stopped", None)
        pi.wait(60)
        assert (pi.it.state, pi.presses()) == ("open", 1)
        pi.close_it()
        pi.wait(3)
        pi.open()
        pi.reconfigure(GARAGE_PINS)
        pi.wait(60)
        assert pi.presses() == 1

    def test_another_output_of_the_group_ends_a_motion(self, make: Factory) -> None:
        """Two shutters in one group: what moves one stops the other, where it then is."""
        more = SHUTTER_PINS + "  tilt: {gpio: 6, mode: output, group: shutter, group_pause: 0.5}\n"
        pi = make.shutter()
        pi.reconfigure(more, self.COVER)
        pi.close_it()
        pi.wait(13)
        pi.open()
        pi.wait(10)
        pi.set("tilt", 1)
        pi.wait(1)
        assert (pi.seen, pi.it.goal) == (("stopped", 50), None)
        assert pi.board.values()["tilt"] == 1


def test_names(make: Factory) -> None:
    """A cover is found by its name. One that does not exist is an error."""
    pi = make.garage()
    assert [cover.name for cover in pi.covers] == ["it"]
    with pytest.raises(RequestError, match="there is no cover 'shed'") as refused:
        pi.covers["shed"]
    assert refused.value.code == "not-found"
    assert pi.refused(pi.move_to, 40) == "cover-no-position"
