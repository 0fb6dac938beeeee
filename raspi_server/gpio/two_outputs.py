"""A cover whose drive has two outputs of one group: one opens it, one closes it.

Its position is counted in the time for which it travels, and corrected at the contacts.
"""

import asyncio
from functools import partial

from ..config.schema import CoverConfig
from ..errors import RequestError, reason
from ..messages import CoverGoal, CoverState, Set, Value
from .cover import DOWN, OVER_RUN, UP, Cover, CoverEnvironment, Ends, goal_direction
from .cover_memory import Kept
from .pin import PinChange

_MIN_MOVE = 2
"""The least move in percent."""
_NEWS_INTERVAL_S = 0.25
"""Time between two reports of the position while it moves."""
_COAST_S = 1.0
"""Time after a motion in which it may still leave a contact."""


class TwoOutputs(Cover):
    """A cover with two outputs, and contacts at none, one or both of its ends."""

    def __init__(self, config: CoverConfig, environment: CoverEnvironment) -> None:
        super().__init__(config, environment)
        self._outputs = {UP: str(config.up), DOWN: str(config.down)}
        gpios = [self._board[name].config.gpio for name in self._outputs.values()]
        self.key = "-".join(map(str, gpios))
        self._heading = 0
        """The direction in which it is to move, also while the pause of the group waits."""
        self._running = 0
        """The direction of the output that is on."""
        self._began = self._ended = 0.0
        """The moments at which the last motion began and ended."""
        self._start = self._position = self._memory[self.key].position
        """Where the last motion began, and the position after it; None if not known."""
        self._counted: float | None = None
        """The position after the last motion, as counted without contacts."""
        self._by = ""
        self._commands = 0
        self._timer: asyncio.TimerHandle | None = None
        self._news: asyncio.TimerHandle | None = None
        with self._reporting(None):
            self._release(str(config))
            self._rest()
            self._check_outputs()

    @property
    def position(self) -> int | None:
        """The position in percent, 100 is open. None if it is not known."""
        found = self._position_now()
        if found is None or found in (0, 100):
            return None if found is None else int(found)
        return min(99, max(1, round(found)))

    @property
    def value(self) -> int | None:
        """What the cover is to rules: 0 closed, 1 not closed, None if that is not known."""
        is_known = self._heading or self.config.closed or self._position is not None
        return super().value if is_known else None

    def _end(self) -> None:
        """End all that it does: stop, and keep the position."""
        self._halt(str(self.config))

    # Commands

    def _begin(self, goal: CoverGoal, by: str) -> None:
        if self._is_at(goal):
            self._halt(by)
            self.problem = self._failed_output()
        elif goal != self.goal or not self._heading:
            self._by = by
            self._go(goal)

    def _stop(self, by: str) -> None:
        self._halt(by)

    def _is_at(self, goal: CoverGoal) -> bool:
        """Return True if no move is needed. Without a contact an end needs one in any case."""
        if isinstance(goal, int):
            position = self._position_now()
            return position is not None and abs(goal - position) < _MIN_MOVE
        return self._ends.reached(goal_direction(goal))

    def _go(self, goal: CoverGoal) -> None:
        """Move towards a goal. Raises RequestError, at rest and without a goal."""
        self.goal = goal
        direction = goal_direction(goal)
        if isinstance(goal, int):
            position = self._position_now()
            direction = UP if position is None or position < goal else DOWN
        if self._heading == direction:
            self._set_timer()
            return
        self._stop_timers()
        self._heading = direction
        self._commands += 1
        try:
            command = Set(pin=self._outputs[direction], value=1)
            done = self._board.carry_out(command, self._by, is_of_cover=True)
        except RequestError:
            self._halt(self._by)
            raise
        done.add_done_callback(partial(self._answered, self._commands))
        self._set_state("opening" if direction == UP else "closing")

    def _answered(self, command: int, done: asyncio.Future[Value]) -> None:
        """Rest if a command that waited for the pause of the group was cancelled."""
        if done.exception() and command == self._commands:
            self._cut(command)

    def _halt(self, by: str) -> None:
        """Let both outputs go off, and rest without a goal."""
        self.goal = None
        self._heading = 0
        self._commands += 1
        self._stop_timers()
        self._release(by)
        self._rest()

    # Motions

    def _output_changed(self, change: PinChange) -> None:
        direction = UP if change.pin == self.config.up else DOWN
        if change.value:
            self._running, self._began, self._start = direction, change.moment, self._position
            self._remember()
            self._set_timer()
            self._tell_position()
        elif self._running == direction:
            self._end_motion(change.moment)
            if self._heading == direction:  # a limit, or another output of the group
                self._loop.call_soon(self._cut, self._commands)

    def _end_motion(self, moment: float) -> None:
        """Count the way of a motion that has just ended."""
        direction, self._running = self._running, 0
        self._ended = moment
        self._position = self._counted = self._position_at(moment, direction)
        if self._position is None and moment - self._began >= self._travel(direction):
            self._position = 100 if direction == UP else 0

    def _cut(self, command: int) -> None:
        """Rest after something else than a goal or a person has ended a motion."""
        if command == self._commands and self._heading and not self._is_closed:
            with self._reporting(None):
                self._halt(str(self.config))

    def _position_now(self) -> float | None:
        if not self._running:
            return self._position
        return self._position_at(self._loop.time(), self._running)

    def _position_at(self, moment: float, direction: int) -> float | None:
        """Return the position in a motion. Only a contact says that an end with one is reached."""
        if self._start is None:
            return None
        way = 100 * direction * (moment - self._began) / self._travel(direction)
        least = 1 if self.config.closed and not self._ends.closed else 0
        most = 99 if self.config.opened and not self._ends.opened else 100
        return min(most, max(least, self._start + way))

    def _set_timer(self) -> None:
        """Set the timer for the end of a motion that no contact ends."""
        direction, goal = self._running, self.goal
        if not direction or direction != self._heading or goal is None:
            return
        travel, position = self._travel(direction), self._position_now()
        if position is None or (goal_direction(goal) and self._contact_of(direction)):
            at = self._began + self._longest(direction)
        elif isinstance(goal, int):
            at = self._loop.time() + abs(goal - position) / 100 * travel
        else:
            left = 100 - position if direction == UP else position
            at = self._loop.time() + (left / 100 + OVER_RUN) * travel
        if self._timer:
            self._timer.cancel()
        self._timer = self._loop.call_at(at, self._time_is_over)

    def _time_is_over(self) -> None:
        """End a motion that no contact has ended."""
        with self._reporting(None):
            goal, direction = self.goal, self._heading
            is_counted = isinstance(goal, int) and self._start is not None
            assert goal is not None
            self._halt(str(self.config))
            if is_counted and not self._ends.reached(-direction):
                assert isinstance(goal, int)
                counted = self._position
                if counted is None or abs(goal - counted) < _MIN_MOVE:
                    counted = goal
                self._arrive(counted)  # farther than the goal, if the server was held up
            elif is_counted or self._contact_of(direction) or self._ends.reached(-direction):
                self._position = None
                self.problem = self._not_confirmed(direction)
                self._rest()
            else:
                self._arrive_at_end(direction, goal)

    def _arrive(self, position: float) -> None:
        """Rest at a position that was a goal, or that a contact confirms."""
        self._position = position
        self.problem = self._failed_output()
        self._rest()

    def _arrive_at_end(self, direction: int, goal: CoverGoal | None) -> None:
        """Rest at an end. Go on to a position that was the goal, now that the count is right."""
        self._arrive(100 if direction == UP else 0)
        if isinstance(goal, int) and not self._is_at(goal):
            try:
                self._go(goal)
            except RequestError as error:
                self.problem = self._as_problem(error)

    # Contacts and outputs

    def _ends_changed(self, before: Ends) -> None:
        ends, goal, direction = self._ends, self.goal, self._heading
        if ends.fault:
            self._halt(str(self.config))
            if direction:
                self._position = self._counted = None
            self.problem = ends.fault
        elif before.fault:
            self.problem = self._failed_output()
        elif direction and ends.reached(direction):
            self._halt(str(self.config))
            self._arrive_at_end(direction, goal)
        elif not self._running and ends.is_between:  # by hand, or it runs on
            is_near = self._loop.time() - self._ended < _COAST_S
            self._position = self._counted if is_near else None
            self._remember()
        elif not direction:
            self.problem = self._failed_output()
        if not self._heading:
            self._rest()

    def _check_outputs(self) -> None:
        failed = self._failed_output()
        if failed and self._heading:
            self._running = 0
            self._halt(str(self.config))
            self._position = None
            self.problem = reason("cover-output-failed", **failed.values)
            self._rest()
        elif failed:
            self.problem = self.problem or failed
        elif self.problem and self.problem.name == "cover-output-unavailable":
            self.problem = self._ends.fault

    # Parts

    def _rest(self) -> None:
        """Take the state at rest from contacts and position, and keep the position."""
        for contact, is_reached, end in (
            (self.config.closed, self._ends.closed, 0),
            (self.config.opened, self._ends.opened, 100),
        ):
            if is_reached:
                self._position = end
            elif contact and self._position == end and not self._ends.fault:
                self._position = None
        states: dict[float | None, CoverState] = {0: "closed", 100: "open"}
        self._set_state("unknown" if self._ends.fault else states.get(self._position, "stopped"))
        self._remember()

    def _remember(self) -> None:
        position = None if self._running else self._position
        self._memory.remember(self.key, Kept(position), self._loop)

    def _stop_timers(self) -> None:
        for timer in (self._timer, self._news):
            if timer:
                timer.cancel()
        self._timer = self._news = None

    def _tell_position(self) -> None:
        """Report the position while it moves, now and then."""
        if self._running and self._start is not None:
            self._news = self._loop.call_later(_NEWS_INTERVAL_S, self._tell_position)
            with self._reporting(self._by):
                pass  # the time alone has changed the position
