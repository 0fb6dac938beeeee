"""Proof that covers move as docs/architecture.md says in any sequence of events: goals that change,
presses at the wall, moves by hand, obstacles, contacts that stick, outputs that fail, power cuts,
crashes, restarts and reloads. The drives in tests/support/drives.py know where the door is."""

import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from raspi_server.errors import RequestError
from raspi_server.gpio.backend import SimulatedFactory
from raspi_server.gpio.cover import Cover
from raspi_server.gpio.cover_memory import CoverMemory
from raspi_server.gpio.output_state import OutputStateStore
from raspi_server.messages import Close, CoverCommand, Open, Position, Stop
from tests.support.board import SimulatedBoard
from tests.support.drives import DOWN, UP, ButtonDrive, MotorDrive, Presses
from tests.support.model_configs import run

WAITS = st.sampled_from([0.01, 0.3, 0.6, 1, 2, 4, 8, 13, 30])
SHUT, TOP = 22, 24
LONGEST_S = 60
"""Time after which no motion, no goal and no wait is left."""


class House(RuleBasedStateMachine):
    """A house with one cover, its drive, and a server that may be gone for a while."""

    pins: str
    keys: str
    drive: Any

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="raspi-server-test-"))
        for name in ("run", "state"):
            (self.folder / name).mkdir()
        self.factory = SimulatedFactory()
        self.wanted: int | str | None = None
        """The direction or the position that was accepted last and is not done yet, or `stop`."""

    def teardown(self) -> None:
        if hasattr(self, "pi"):
            self.pi.wait(LONGEST_S)
            self.check()
            assert (self.it.goal, self.is_moving) == (None, False)
            assert self.it.state not in ("opening", "closing")
            self.pi.close()
        shutil.rmtree(self.folder)

    @property
    def it(self) -> Cover:
        return self.pi.covers["it"]

    @property
    def is_moving(self) -> bool:
        """True while something that the server did moves it."""
        raise NotImplementedError

    def board(self, at: float) -> SimulatedBoard:
        """Start the server."""
        for line in self.factory.pins.values():
            line.unwatch()
        folders = self.folder / "run", self.folder / "state"
        return SimulatedBoard(
            self.pins, OutputStateStore(*folders), self.factory, at,
            covers=f"  it: {{{self.keys}}}\n", memory=CoverMemory(*folders),
        )  # fmt: skip

    def contacts(self, closed: bool, opened: bool) -> None:
        for gpio, is_reached in ((SHUT, closed), (TOP, opened)):
            line = self.factory.pin(gpio)
            (line.drive_low if is_reached else line.drive_high)()

    def command(self, command: CoverCommand, wanted: int | str) -> None:
        before = self.it.state, self.it.goal, self.pi.board.values()
        try:
            self.pi.covers.carry_out(command, "me")
            self.wanted = wanted
        except RequestError as error:
            assert before == (self.it.state, self.it.goal, self.pi.board.values()), error

    @rule()
    def open(self) -> None:
        self.command(Open(cover="it"), UP)

    @rule()
    def close(self) -> None:
        self.command(Close(cover="it"), DOWN)

    @rule()
    def stop(self) -> None:
        self.command(Stop(cover="it"), "stop")

    @rule(seconds=WAITS)
    def wait(self, seconds: float) -> None:
        self.pi.wait(seconds)

    @rule(label=st.sampled_from(["Door", "Tor"]))
    def reload_without_a_change(self, label: str) -> None:
        before = self.it.state, self.it.goal, self.pi.board.values()
        self.pi.reconfigure(self.pins, f"  it: {{{self.keys}, label: {label}}}\n")
        assert before == (self.it.state, self.it.goal, self.pi.board.values())

    @rule(travel=st.sampled_from([10, 10.5]))
    def reload(self, travel: float) -> None:
        keys = re.sub("travel: [0-9.]+", f"travel: {travel}", self.keys)
        is_changed = keys != self.keys
        self.pi.reconfigure(self.pins, f"  it: {{{keys}}}\n")
        self.keys = keys
        if is_changed:
            self.wanted = None
            assert self.it.goal is None

    @rule(is_crash=st.booleans(), seconds=st.sampled_from([0.1, 1, 5]))
    def restart(self, is_crash: bool, seconds: float) -> None:
        at = self.pi.loop.time() + seconds
        if is_crash:
            self.pi.crash()
        else:
            self.pi.close()
        self.outputs_go_off()
        self.start_again(at)

    def outputs_go_off(self) -> None:
        """The outputs go off with the server."""

    def start_again(self, at: float) -> None:
        self.wanted = None
        self.contacts(self.drive.shown[DOWN], self.drive.shown[UP])
        self.pi = self.board(at)
        self.drive.attach(self.pi)
        self.pi.settle()

    @invariant()
    def check(self) -> None:
        self.pi.settle()
        assert self.pi.errors == []
        if self.it.goal is None and self.wanted != "stop":
            self.wanted = None
        assert self.it.position is None or 0 <= self.it.position <= 100
        if self.it.state == "unknown":
            assert self.it.problem and self.it.goal is None and self.it.value is None


class Garage(House):
    """A door with one button. What a press does wrong is an error, unless nobody can know: the door
    was moved where no contact sees it."""

    pins = """
  opener: {gpio: 17, mode: output, pulse: 0.5}
  shut:   {gpio: 22, mode: input, kind: garage_door}
  top:    {gpio: 24, mode: input, active: low}
"""
    is_blind = False

    @initialize(
        has_top=st.booleans(),
        presses=st.builds(
            Presses,
            st.sampled_from(["stop", "reverse"]),
            st.sampled_from(["stop", "reverse"]),
            st.sampled_from(["opposite", "open", "close"]),
        ),
        are_known=st.booleans(),
        delay=st.sampled_from([0, 0.25, 2]),
    )
    def begin(self, has_top: bool, presses: Presses, are_known: bool, delay: float) -> None:
        self.has_top, self.are_known = has_top, are_known
        if are_known and not has_top and presses.closing == "stop":
            delay = min(delay, 0.25)  # no contact tells that a door told to close has not left yet
        if not are_known:
            # A drive that always opens or closes at rest in between has to be known.
            presses = presses._replace(stopped="opposite")
        top = "opened: top, " if has_top else ""
        known = f", presses: {{opening: {presses.opening}, closing: {presses.closing}, "
        known += f"stopped: {presses.stopped}}}"
        self.keys = f"button: opener, closed: shut, {top}travel: 10, kind: gate{known * are_known}"
        self.contacts(True, False)
        self.pi = self.board(1000)
        self.drive = ButtonDrive(
            self.pi, "opener", presses, travel=(9, 9.5), delay=delay,
            closed=SHUT, opened=TOP if has_top else None,
        )  # fmt: skip
        self.drive.pressed = self.pressed
        self.pressed_for_goal = 0

    def pressed(self, before: int, after: int) -> None:
        """Check a press of the server."""
        wanted, position = self.wanted, self.drive.position
        assert wanted is not None, "nobody asked for a press"
        assert self.it.state != "unknown"
        self.pressed_for_goal += 1
        assert self.pressed_for_goal <= 2, "a goal was tried again"
        if self.is_blind:
            return
        if not self.has_top and not before and 0 < position < 100:
            self.is_blind = True  # not closed and at rest counts as open
            return
        assert not before or self.are_known, "pressed while it moves"
        if wanted == "stop":
            assert after == 0, "the press for a stop moved it"
            return
        assert after != -int(wanted), "the press went the wrong way"
        assert after or before == -int(wanted), "the press stopped the right way"
        assert position != (100 if wanted == UP else 0), "it was there"

    @property
    def is_moving(self) -> bool:
        return bool(self.pi.board.values()["opener"])

    def command(self, command: CoverCommand, wanted: int | str) -> None:
        self.wanted, self.pressed_for_goal = wanted, 0
        super().command(command, wanted)
        if self.it.goal is None and wanted != "stop":
            self.wanted = None

    # What happens in the house

    @rule(how=st.sampled_from(["stop", "turn", "back off"]))
    def meet_obstacle(self, how: Any) -> None:
        if self.drive.direction:
            self.is_blind |= self.are_known
            self.drive.meet_obstacle(how)

    @rule(seconds=st.sampled_from([1, 13, 30]))
    def wait_longer(self, seconds: float) -> None:
        self.pi.wait(seconds)

    @rule(what=st.sampled_from(["press", "push", "cut its power", "stick"]), data=st.data())
    def move_it_unseen(self, what: str, data: st.DataObject) -> None:
        """Do what contacts do not see: after that, nobody can know what a press does."""
        before = self.drive.direction
        if what == "press":
            self.drive.press()
            if before and not self.drive.direction and not self.are_known:
                return
        elif what == "push":
            self.drive.push(data.draw(st.sampled_from([0, 3, 50, 100])))
        elif what == "stick":
            self.drive.stuck.add(data.draw(st.sampled_from([UP, DOWN])))
        else:  # it forgets where it went
            self.drive.run(0)
            self.drive.last = DOWN
        self.is_blind = True

    @precondition(lambda self: self.drive.stuck)
    @rule()
    def free(self) -> None:
        self.drive.stuck.clear()
        self.drive.show()

    @invariant()
    def see_again(self) -> None:
        """Where door and server are at rest at the same end, what follows can be known."""
        at = {0.0: "closed", 100.0: "open"}.get(self.drive.position)
        is_known = not self.drive.stuck and not self.drive.direction and self.it.state == at
        self.is_blind &= not is_known

    @invariant()
    def check_contacts(self) -> None:
        if self.drive.stuck:
            return
        if self.drive.position == 0 and not self.drive.direction:
            assert self.it.state in ("closed", "opening")
            assert self.it.state == "closed" or self.it.goal or self.wanted == "stop"


class Shutter(House):
    """A shutter with two outputs. Its position is right unless it was moved by hand."""

    pins = """
  up:   {gpio: 23, mode: output, group: shutter, group_pause: 0.5}
  down: {gpio: 25, mode: output, group: shutter, group_pause: 0.5}
  shut: {gpio: 22, mode: input, active: low}
  top:  {gpio: 24, mode: input, active: low}
"""
    is_right = True
    """True as long as nothing happened that no contact sees."""

    @initialize(
        contacts=st.sampled_from(
            ["", "closed: shut,", "opened: top,", "closed: shut, opened: top,"]
        )
    )
    def begin(self, contacts: str) -> None:
        self.has = {DOWN: "shut" in contacts, UP: "top" in contacts}
        self.keys = f"up: up, down: down, {contacts} travel: 10, kind: awning"
        self.contacts(True, False)
        self.pi = self.board(1000)
        self.drive = MotorDrive(
            self.pi, "up", "down", travel=(10, 10),
            closed=SHUT if self.has[DOWN] else None, opened=TOP if self.has[UP] else None,
        )  # fmt: skip
        self.pi.settle()

    @property
    def is_moving(self) -> bool:
        return bool(self.drive.on)

    @rule(travel=st.sampled_from([10, 10.5]))
    def reload(self, travel: float) -> None:
        super().reload(travel)
        self.drive.set_travel(travel)

    @rule(position=st.integers(0, 100))
    def move_to(self, position: int) -> None:
        self.command(Position(cover="it", position=position), position)

    @rule(seconds=st.floats(0.05, 3))
    def wait_a_little(self, seconds: float) -> None:
        self.pi.wait(round(seconds * 32) / 32)

    @rule(position=st.sampled_from([0, 30, 100]))
    def push(self, position: float) -> None:
        if not self.drive.on:
            self.is_right = False
            self.drive.push(position)

    @rule()
    def stall(self) -> None:
        if self.drive.on:
            self.is_right = False
            self.drive.stall()

    @rule(end=st.sampled_from([UP, DOWN]))
    def stick(self, end: int) -> None:
        self.is_right = False
        self.drive.stuck.add(end)

    @precondition(lambda self: self.drive.stuck)
    @rule()
    def free(self) -> None:
        self.drive.stuck.clear()
        self.drive.show()

    @rule(output=st.sampled_from(["up", "down"]))
    def fail(self, output: str) -> None:
        """A line fails: nobody knows its level, and the other one goes off."""
        pin = self.pi.board[output]
        if pin.device is None:
            return
        was_moving = self.it.state in ("opening", "closing")
        pin._fail(OSError(5, "it is gone"))
        self.drive.on.discard(output)
        self.drive.off_at[self.drive.outputs[output]] = self.pi.loop.time()
        self.drive.run(0)
        self.pi.settle()
        assert (self.drive.on, self.it.goal) == (set(), None)
        assert self.it.problem
        if was_moving:
            assert self.it.position in (None, 0, 100)

    @rule()
    def open_again(self) -> None:
        self.pi.board.reopen_failed()

    def outputs_go_off(self) -> None:
        for output in list(self.drive.on):  # after a crash safe-state does it
            self.drive.on.discard(output)
            self.drive.off_at[self.drive.outputs[output]] = self.pi.loop.time()
            self.drive.run(0)

    @rule(is_crash=st.booleans(), seconds=st.sampled_from([0.1, 1, 5]))
    def restart(self, is_crash: bool, seconds: float) -> None:
        was_moving, before = self.it.state in ("opening", "closing"), self.it.position
        super().restart(is_crash, seconds)
        at_contact = self.it.state in ("closed", "open") and any(self.has.values())
        if at_contact or self.drive.stuck:
            return
        if was_moving and is_crash:
            assert self.it.position in (None, before)
        elif not was_moving:
            assert self.it.position == before

    @rule()
    def cut_power(self) -> None:
        was_moving, before = bool(self.drive.on), self.it.position
        waits = self.it.state in ("opening", "closing") and not was_moving
        self.outputs_go_off()
        self.drive.off_at = {UP: 0.0, DOWN: 0.0}
        position = self.drive.position
        self.pi.crash()
        for file in (self.folder / "run").iterdir():
            file.unlink()
        self.drive._began = self.drive._position = 0
        self.drive._position = position
        self.start_again(1000)
        if not self.drive.stuck and self.it.state == "stopped":
            assert self.it.position == (None if was_moving else before) or waits

    @invariant()
    def check_outputs(self) -> None:
        on = {name for name in ("up", "down") if self.pi.board[name].value}
        assert on == self.drive.on
        for name in ("up", "down"):
            pin = self.pi.board[name]
            assert pin.value in (None, self.pi.line(pin.config.gpio).state)
        state = {"up": "opening", "down": "closing"}
        for name in on:
            assert self.it.state == state[name], "an output is on in another direction"
            assert self.it.goal is not None and self.wanted is not None, "nobody asked for a motion"

    @invariant()
    def check_position(self) -> None:
        """Without anything unseen the position is that of the shutter, as far as it is known."""
        is_sure = not self.drive.stuck and not self.drive.on and self.it.state in ("closed", "open")
        for end, state, position in ((DOWN, "closed", 0), (UP, "open", 100)):
            if self.it.state != state:
                continue
            if is_sure and self.has[end]:
                assert self.drive.position == position
                self.is_right = True
        if self.is_right and self.it.position is not None:
            assert abs(self.it.position - self.drive.position) <= 1.5


@pytest.mark.slow
@pytest.mark.parametrize("examples", [150, pytest.param(2400, marks=pytest.mark.long)])
@pytest.mark.parametrize("house", [Garage, Shutter])
def test_random_events(caplog: pytest.LogCaptureFixture, house: type[House], examples: int) -> None:
    """In any sequence of events no press goes the wrong way, nothing moves without a command, and
    the state is true as far as it can be known."""
    caplog.set_level("CRITICAL", logger="raspi_server")
    run(house, examples, steps=30)
