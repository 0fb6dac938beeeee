"""A cover whose drive has two outputs of one group: one opens it, one closes it.

Its position is counted in the time for which it travels, and corrected at the contacts.
"""

import asyncio
from functools import partial

from ..config.schema import CoverConfig
from ..errors import Reason, RequestError
from ..messages import CoverGoal, CoverState, Set, Value
from .cover import DOWN, OVER_RUN, UP, Cover, CoverEnvironment, Ends, goal_direction
from .pin import PinChange

_MIN_MOVE = 2
"""The least move in percent."""
_NEWS_INTERVAL_S = 0.25
"""Time between two reports of the position while it moves."""


class TwoOutputs(Cover):
    """A cover with two outputs, and contacts at none, one or both of its ends."""

    def __init__(self, config: CoverConfig, environment: CoverEnvironment) -> None:
        super().__init__(config, environment)
        self._heading = 0
        """The direction in which it is to move, also while the pause of the group waits."""
        self._running = 0
        """The direction of the output that is on."""
        self._began = 0.0
        self._outputs = {UP: str(config.up), DOWN: str(config.down)}
        gpios = [self._board[name].config.gpio for name in self._outputs.values()]
        self._key = "-".join(map(str, gpios))
        self._position = self._memory.position(self._key)
        """The position, while it moves that at the moment `_began`."""
        self._by = ""
        self._end: asyncio.TimerHandle | None = None
        self._news: asyncio.TimerHandle | None = None
        with self._reporting(None):
            self._correct()
            self._rest()
            self._check_outputs()

    @property
    def position(self) -> int | None:
        """The position in percent, 100 is open. None if it is not known."""
        found = self._position_at(self._loop.time())
        if found is None or found <= 0 or found >= 100:
            return None if found is None else 0 if found <= 0 else 100
        return min(99, max(1, round(found)))

    def close(self) -> None:
        """Stop, and keep the position."""
        super().close()
        self._halt(str(self.config))
        self._remember()

    # Commands

    def _begin(self, goal: CoverGoal, by: str) -> None:
        direction = goal_direction(goal)
        position = self._position_at(self._loop.time())
        if direction and self._ends.reached(direction):
            is_there = True
        elif direction:
            is_there = False
        else:
            assert isinstance(goal, int)
            is_there = position is not None and abs(goal - position) < _MIN_MOVE
        if is_there:
            self.goal = None
            self._halt(by)
            return
        if goal == self.goal and self._heading:
            return
        self.goal, self._by = goal, by
        try:
            self._go()
        except RequestError:
            self.goal = None
            self._halt(by)
            raise

    def _stop(self, by: str) -> None:
        self.goal = None
        self._halt(by)

    def _go(self) -> None:
        """Move towards the goal. Raises RequestError."""
        direction = goal_direction(self.goal)
        if not direction:
            position = self._position_at(self._loop.time())
            assert isinstance(self.goal, int)
            direction = UP if position is None or position < self.goal else DOWN
        if self._heading == direction:
            self._set_end()
            return
        self._heading = direction
        self._end_timer()
        done = self._board.carry_out(
            Set(pin=self._outputs[direction], value=1), self._by, is_of_cover=True
        )
        done.add_done_callback(partial(self._switched, direction))
        self._set_state("opening" if direction == UP else "closing")

    def _switched(self, direction: int, done: asyncio.Future[Value]) -> None:
        """Take note of a command to an output that waited for the pause of the group."""
        if done.exception() and self._heading == direction and not self._running:
            self._ended_from_outside(direction)

    def _halt(self, by: str) -> None:
        """Let both outputs go off, and rest."""
        self._heading = 0
        self._end_timer()
        for output in self._outputs.values():
            if output in self._board.cover_of:
                self._release(output, by)
        self._rest()

    # Motions

    def _output_changed(self, change: PinChange) -> None:
        direction = UP if change.pin == self.config.up else DOWN
        if change.value:
            self._running, self._began = direction, change.moment
            self._memory.remember(self._key, None, self._loop)
            self._set_end()
            self._tell_position()
        elif self._running == direction:
            self._position = self._position_at(change.moment)
            self._running = 0
            if self._heading == direction:
                self._loop.call_soon(self._ended_from_outside, direction)

    def _ended_from_outside(self, direction: int) -> None:
        """Rest, after a limit or another cover of the group has switched the output off."""
        if self._heading == direction and not self._running and not self._is_closed:
            with self._reporting(None):
                self.goal = None
                self._halt(str(self.config))

    def _position_at(self, moment: float) -> float | None:
        """Return the position at a moment. Only a contact says that an end with one is reached."""
        if self._position is None or not self._running:
            return self._position
        way = 100 * self._running * (moment - self._began) / self._travel(self._running)
        least = 1 if self.config.closed and not self._ends.closed else 0
        most = 99 if self.config.opened and not self._ends.opened else 100
        return min(most, max(least, self._position + way))

    def _set_end(self) -> None:
        """Set the timer for the end of a motion that no contact ends."""
        if not self._running or self._running != self._heading:
            return
        direction, now = self._running, self._loop.time()
        travel, position = self._travel(direction), self._position_at(now)
        is_to_end = goal_direction(self.goal) == direction
        has_contact = self.config.opened if direction == UP else self.config.closed
        if position is None or (is_to_end and has_contact):
            at = self._began + (1 + OVER_RUN) * travel
        else:
            target = (100 if direction == UP else 0) if is_to_end else self.goal
            assert isinstance(target, int)
            at = now + abs(target - position) / 100 * travel + OVER_RUN * travel * is_to_end
        self._end_timer()
        self._end = self._loop.call_at(at, self._arrived)

    def _arrived(self) -> None:
        """End a motion after its time."""
        with self._reporting(None):
            direction, self._end = self._heading, None
            has_contact = self.config.opened if direction == UP else self.config.closed
            was_known = self._position_at(self._loop.time()) is not None
            is_to_end = goal_direction(self.goal) == direction or not was_known
            goal, self.goal = self.goal, None
            self._halt(str(self.config))
            if is_to_end and has_contact:  # which would have ended it
                span = (1 + OVER_RUN) * self._travel(direction)
                self.problem, self._position = self._not_confirmed(direction, span), None
                self._correct()
            elif is_to_end:
                self._reach(direction, goal)
            else:
                assert isinstance(goal, int)
                self._position = goal
                self.problem = self._failed_output()
            self._rest()

    def _reach(self, direction: int, goal: CoverGoal | None) -> None:
        """Rest at an end, and go on to a position that needs this end first."""
        was_known = self._position is not None
        self._position = 100 if direction == UP else 0
        self.problem = self._failed_output()
        if isinstance(goal, int) and not was_known:
            self.goal = goal
            try:
                self._go()
            except RequestError as error:
                self.goal = None
                self._halt(self._by)
                self.problem = Reason(error.reason, error.message, error.values)

    # Contacts and outputs

    def _ends_changed(self, before: Ends) -> None:
        ends = self._ends
        if ends.fault:
            self.problem = ends.fault
            if self._heading:
                self.goal = None
                self._halt(str(self.config))
                self._position = None
            self._rest()
            return
        if before.fault:
            self.problem = self._failed_output()
        if self._heading and ends.reached(self._heading):
            goal, direction = self.goal, self._heading
            was_known = self._position_at(self._loop.time()) is not None
            self.goal = None
            self._halt(str(self.config))
            self._position = self._position if was_known else None
            self._reach(direction, goal)
        elif not self._heading:
            if ends.is_between and not before.fault:  # moved by hand
                self._position = None
            self._correct()
            if not ends.is_between:
                self.problem = self._failed_output()
        self._rest()

    def _correct(self) -> None:
        """Take the position from a contact, if one says that its end is reached."""
        for contact, is_reached, end in (
            (self.config.closed, self._ends.closed, 0),
            (self.config.opened, self._ends.opened, 100),
        ):
            if is_reached:
                self._position = end
            elif contact and self._position == end:
                self._position = None

    def _check_outputs(self) -> None:
        failed = self._failed_output()
        if failed:
            if self._heading:
                self._running = 0
                self.goal = None
                self._halt(str(self.config))
                self._position = None
                self._rest()
            self.problem = self.problem or failed
        elif self.problem and self.problem.name == "cover-output-unavailable":
            self.problem = self._ends.fault

    # Parts

    def _rest(self) -> None:
        """Take the state at rest from the position, and keep that."""
        if self._heading:
            return
        position = self._position
        state: CoverState = "stopped"
        if self._ends.fault:
            state = "unknown"
        elif position is not None and (position <= 0 or position >= 100):
            state = "closed" if position <= 0 else "open"
        self._set_state(state)
        self._remember()

    def _remember(self) -> None:
        if not self._running:
            self._memory.remember(self._key, self._position, self._loop)

    def _travel(self, direction: int) -> float:
        return self.config.travel.up if direction == UP else self.config.travel.down

    def _end_timer(self) -> None:
        for timer in (self._end, self._news):
            if timer:
                timer.cancel()
        self._end = self._news = None

    def _tell_position(self) -> None:
        """Report the position while it moves, now and then."""
        if self._running and self._position is not None and not self._is_closed:
            self._news = self._loop.call_later(_NEWS_INTERVAL_S, self._tell_position)
            with self._reporting(self._by):
                pass  # the time alone has changed the position
