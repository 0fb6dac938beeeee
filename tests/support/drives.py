"""Drives of covers as they are in a house: what presses and outputs do to a door, and what its
contacts then say. They know nothing of `raspi_server/gpio/`, and have minds of their own: they meet
obstacles, lose power, and are moved by hand."""

import asyncio
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

from raspi_server.gpio.pin import PinChange
from tests.support.board import SimulatedBoard

UP, DOWN = 1, -1


class Presses(NamedTuple):
    """What a press does, as in config.yaml."""

    opening: str = "stop"
    closing: str = "reverse"
    stopped: str = "opposite"


class Drive:
    """A drive with contacts to ground at its ends, which are closed there: `closed` and `opened`
    are their GPIOs. `travel` is the time from one end to the other, and it begins to move `delay`
    after it was told to."""

    def __init__(
        self,
        pi: SimulatedBoard,
        travel: tuple[float, float],
        closed: int | None = None,
        opened: int | None = None,
        delay: float = 0,
        position: float = 0,
    ) -> None:
        self.pi = pi
        self.travel = {UP: travel[0], DOWN: travel[1]}
        self.delay = delay
        self.contacts = {DOWN: closed, UP: opened}
        self.stuck: set[int] = set()
        """Contacts that show nothing new."""
        self.shown = {DOWN: False, UP: False}
        self.direction = 0
        self.last = DOWN
        self._position = position
        self._began = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self.show()
        pi.listeners.append(self.hear)

    def hear(self, change: PinChange) -> None:
        raise NotImplementedError

    @property
    def position(self) -> float:
        """Where it stands, in percent; 100 is open."""
        span = max(0, self.pi.loop.time() - self._began)
        way = 100 * self.direction * span / self.travel[self.direction] if self.direction else 0
        return min(100.0, max(0.0, self._position + way))

    def run(self, direction: int) -> None:
        """Move in a direction from now on, or stand still."""
        loop = self.pi.loop
        self._position = self.position
        if self.direction:
            self.last = self.direction
        if self._timer:
            self._timer.cancel()
        if direction and self._position == (100 if direction == UP else 0):
            direction = 0
        self.direction, self._began = direction, loop.time() + self.delay
        if direction:
            self._timer = loop.call_at(self._began + 1 / 32, self._leave)

    def attach(self, pi: SimulatedBoard) -> None:
        """Go on in the same house after a restart of its server."""
        self.pi = pi
        pi.listeners.append(self.hear)
        if self.direction:
            end = 100.0 if self.direction == UP else 0.0
            left = abs(end - self.position) / 100 * self.travel[self.direction]
            self._timer = pi.loop.call_later(left, self._arrive)
        self.show()

    def push(self, position: float) -> None:
        """Move it by hand to another place, as with the rope of a garage door."""
        self.run(0)
        self._position = position
        self.show()

    def show(self) -> None:
        """Let the contacts show where it stands."""
        for end, at in ((DOWN, 0.0), (UP, 100.0)):
            gpio = self.contacts[end]
            if gpio is not None and end not in self.stuck:
                self.shown[end] = self.position == at
                line = self.pi.line(gpio)
                (line.drive_low if self.shown[end] else line.drive_high)()

    def _leave(self) -> None:
        left = 100 - self.position if self.direction == UP else self.position
        after = left / 100 * self.travel[self.direction]
        self._timer = self.pi.loop.call_later(after, self._arrive)
        self.show()

    def _arrive(self) -> None:
        end = 100.0 if self.direction == UP else 0.0
        self.last, self.direction, self._position = self.direction, 0, end
        self.show()


class ButtonDrive(Drive):
    """A drive with one button, in a house with another one on the wall. `pressed` is called with
    the direction before and after each press by the server."""

    def __init__(self, pi: SimulatedBoard, button: str, presses: Presses, **more: Any) -> None:
        self.button = button
        self.presses = presses
        self.pressed: Callable[[int, int], None] = lambda before, after: None
        super().__init__(pi, **more)

    def hear(self, change: PinChange) -> None:
        if change.pin == self.button and change.value:
            before = self.direction
            self.press()
            self.pressed(before, self.direction)

    def press(self) -> None:
        """Press the button."""
        moving, position = self.direction, self.position
        if moving:
            effect = self.presses.opening if moving == UP else self.presses.closing
            self.run(-moving if effect == "reverse" else 0)
        elif position in (0, 100):
            self.run(UP if position == 0 else DOWN)
        elif self.presses.stopped == "opposite":
            self.run(-self.last)
        else:
            self.run(UP if self.presses.stopped == "open" else DOWN)

    def meet_obstacle(self, how: Literal["stop", "turn", "back off"]) -> None:
        """Meet an obstacle: stop, open again, or open a little."""
        if self.direction == UP or how == "stop":
            self.run(0)
        elif self.direction:
            self.run(UP)
            if how == "back off":
                self.pi.loop.call_later(self.delay + 0.5, self._end_back_off, self._timer)

    def _end_back_off(self, timer: object) -> None:
        if self.direction == UP:
            self.run(0)


class MotorDrive(Drive):
    """A motor with an output for each direction, which never may be on together."""

    def __init__(self, pi: SimulatedBoard, up: str, down: str, **more: Any) -> None:
        self.outputs = {up: UP, down: DOWN}
        self.on: set[str] = set()
        self.off_at = {UP: 0.0, DOWN: 0.0}
        super().__init__(pi, **more)

    def hear(self, change: PinChange) -> None:
        if change.pin in self.outputs:
            (self.on.add if change.value else self.on.discard)(change.pin)
            assert len(self.on) < 2, "both outputs are on"
            if change.value:
                since = self.pi.loop.time() - self.off_at[-self.outputs[change.pin]]
                assert since >= 0.5 - 1e-6, "the pause was too short"
            else:
                self.off_at[self.outputs[change.pin]] = self.pi.loop.time()
            self.run(self.outputs[change.pin] if change.value else 0)

    def set_travel(self, seconds: float) -> None:
        """Become as slow as config.yaml says, from here on."""
        if self.travel[UP] != seconds:
            assert not self.direction
            self.travel = {UP: seconds, DOWN: seconds}

    def stall(self) -> None:
        """Stand still at an obstacle, or behind a switch that is off, with an output on."""
        self.run(0)
