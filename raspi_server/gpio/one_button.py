"""A cover whose drive has one button: each press starts, stops or reverses it.

A press is made only if it cannot move the cover the wrong way. At an end it moves the cover to the
other one. While the drive moves, and at rest in between, what a press does is known by the key
`presses`, or from the direction in which the drive moved last.
"""

import asyncio

from ..config.schema import CoverConfig, OutputConfig
from ..errors import Reason, RequestError, refusal
from ..messages import CoverGoal, CoverState, Pulse
from .cover import DOWN, OVER_RUN, UP, Cover, CoverEnvironment, Ends, goal_direction

_GAP_S = 0.5
"""Time after a press before the next one, so that the drive sees two."""
_SETTLE_S = 0.5
"""Time after the arrival at an end before a press: the contact bounces, the drive stands still."""
_SURELY_MOVING = 0.8
"""The share of its travel after which a drive may have reached an end that has no contact."""


class OneButton(Cover):
    """A cover with one button and one or two contacts."""

    def __init__(self, config: CoverConfig, environment: CoverEnvironment) -> None:
        super().__init__(config, environment)
        self._heading = 0
        """The direction in which the drive moves, 0 at rest."""
        self._last = 0
        """The direction in which it moved before it came to rest in between, 0 if not known."""
        self._began = 0.0
        self._is_tried = False
        """True if nothing more is done for the goal than to wait for it."""
        self._is_stopping = False
        self._quiet_until = 0.0
        """The moment before which no press is made."""
        self._by = ""
        self._motion: asyncio.TimerHandle | None = None
        """The end of a motion that no contact ends, or of the time for a goal."""
        self._waiting: asyncio.TimerHandle | None = None
        """The next try to act for the goal."""
        with self._reporting(None):
            self._rest()
            self._check_outputs()

    def close(self) -> None:
        """End all that it does. The drive does what it began."""
        super().close()
        self._end_timers()
        if self.config.button in self._board.cover_of:
            self._release(str(self.config.button), str(self.config))

    # Commands

    def _begin(self, goal: CoverGoal, by: str) -> None:
        direction = goal_direction(goal)
        self._is_stopping = False
        if self._heading == 0 and self._is_at(direction):
            self._drop_goal()
            return
        if self._heading == direction:
            self.goal, self._is_tried = goal, True
            return
        if self._heading == 0 and not self._goes(direction):
            raise refusal("cover-direction-unknown", label=self.config.label)
        self._board[str(self.config.button)].output  # noqa: B018  # raises if unavailable
        self.goal, self._is_tried, self._by = goal, False, by
        self._act()

    def _stop(self, by: str) -> None:
        if self._ends.fault:
            raise refusal("cover-state-unknown", label=self.config.label)
        if not self._is_tried or self._heading == 0:
            self._drop_goal()
        if self._heading == 0:
            return
        if self._effect() != "stop" or not self._is_surely_moving():
            raise refusal("cover-cannot-stop", label=self.config.label)
        self.goal, self._is_stopping, self._by = None, True, by
        self._act()

    def _act(self) -> None:
        """Press the button if that brings the cover nearer to its goal, now or later."""
        if self._waiting:
            self._waiting.cancel()
            self._waiting = None
        if not self._is_stopping and (self.goal is None or self._is_tried):
            return
        if self._loop.time() < self._quiet_until:
            self._waiting = self._loop.call_at(self._quiet_until, self._act_later)
            return
        if self._is_stopping:
            self._is_stopping = False
            if self._effect() == "stop" and self._is_surely_moving():
                self._press_to_stop()
            return
        direction = goal_direction(self.goal)
        if self._heading:
            self._turn(direction)
        elif self._is_at(direction):
            self._drop_goal()
        elif self._goes(direction):
            self._press()
            self._is_tried = True
            self._move(direction)
        else:
            self._drop_goal()
            error = refusal("cover-direction-unknown", label=self.config.label)
            self.problem = Reason(error.reason, error.message, error.values)

    def _act_later(self) -> None:
        with self._reporting(self._by):
            self._try_to_act()

    def _turn(self, direction: int) -> None:
        """Press while the drive moves the other way, if that is known to turn it or to stop it."""
        if self._ends.reached(direction):  # it has not left yet, and may never
            return
        effect = self._effect()
        if effect == "reverse":
            self._press()
            self._is_tried = True
            self._move(direction)
        elif effect == "stop" and self._is_surely_moving() and self._goes_after_stop(direction):
            self._press_to_stop()
            self._act()

    def _press_to_stop(self) -> None:
        self._press()
        self._last, self._heading = self._heading, 0
        self._end_motion()
        self._set_state("stopped")

    def _press(self) -> None:
        """Press the button. Raises RequestError, with no goal any more."""
        button = str(self.config.button)
        try:
            self._board.carry_out(Pulse(pin=button), self._by, is_of_cover=True)
        except RequestError:
            self._drop_goal()
            raise
        config = self._board[button].config
        assert isinstance(config, OutputConfig) and config.pulse
        self._quiet_until = self._loop.time() + config.pulse + _GAP_S

    # Knowledge

    def _is_at(self, direction: int) -> bool:
        """Return True if the cover rests at the end in a direction."""
        return self.state == ("open" if direction == UP else "closed")

    def _goes(self, direction: int) -> bool:
        """Return True if a press at rest is known to move the cover in a direction."""
        if self.state in ("open", "closed"):
            return not self._is_at(direction)
        presses = self.config.presses
        if presses and presses.stopped != "opposite":
            return presses.stopped == ("open" if direction == UP else "close")
        return self._last == -direction

    def _goes_after_stop(self, direction: int) -> bool:
        """Return True if a press right after one that stopped the drive goes in a direction."""
        presses, wanted = self.config.presses, "open" if direction == UP else "close"
        return presses is not None and presses.stopped in ("opposite", wanted)

    def _effect(self) -> str | None:
        """Return what a press does to the motion, None if that is not known."""
        presses = self.config.presses
        if presses is None:
            return None
        return presses.opening if self._heading == UP else presses.closing

    def _is_surely_moving(self) -> bool:
        """Return True if the drive cannot have come to rest at an end."""
        if not self._heading or not self._ends.is_between:
            return False
        has_contact = self.config.opened if self._heading == UP else self.config.closed
        span = _SURELY_MOVING * self._travel(self._heading)
        return bool(has_contact) or self._loop.time() - self._began < span

    def _travel(self, direction: int) -> float:
        return self.config.travel.up if direction == UP else self.config.travel.down

    # Motions

    def _move(self, direction: int) -> None:
        """Take the drive as moving from now on."""
        self._heading, self._last, self._began = direction, 0, self._loop.time()
        self._set_state("opening" if direction == UP else "closing")
        self._end_motion()
        span = (1 + OVER_RUN) * self._travel(direction)
        self._motion = self._loop.call_later(span, self._motion_timed_out, direction)

    def _ends_changed(self, before: Ends) -> None:
        ends = self._ends
        if ends.fault:
            self._drop_goal()
            self._end_timers()
            self._heading = self._last = 0
            self.problem = ends.fault
            self._set_state("unknown")
        elif before.fault:
            self.problem = None
            self._rest()
            self._check_outputs()
        elif not ends.is_between:
            self._arrive(UP if ends.opened else DOWN)
        else:
            self._move(UP if before.closed else DOWN)
            if goal_direction(self.goal) == self._heading:
                self._is_tried = True
            self._try_to_act()

    def _arrive(self, end: int) -> None:
        """Come to rest at an end, which a contact says is reached."""
        self._heading = self._last = 0
        self._quiet_until = max(self._quiet_until, self._loop.time() + _SETTLE_S)
        self.problem = self._failed_output()
        self._set_state("open" if end == UP else "closed")
        if goal_direction(self.goal) == end:
            self._drop_goal()
        if self.goal is None or not self._is_tried:  # else the time for the goal goes on
            self._end_motion()
        self._try_to_act()

    def _motion_timed_out(self, direction: int) -> None:
        self._motion = None
        with self._reporting(None):
            was_moving, self._heading = self._heading, 0
            if was_moving:
                self._rest()
                self._last = was_moving if self.state == "stopped" else 0
            goal, is_tried = goal_direction(self.goal), self._is_tried
            if goal and self._is_at(goal):
                self._drop_goal()
                self.problem = self._failed_output()
            elif goal and is_tried:
                self._drop_goal()
                self.problem = self._not_confirmed(goal, (1 + OVER_RUN) * self._travel(direction))
            self._try_to_act()

    def _try_to_act(self) -> None:
        """Act for a goal that has waited. An error becomes the problem."""
        try:
            self._act()
        except RequestError as error:
            self.problem = Reason(error.reason, error.message, error.values)

    def _rest(self) -> None:
        """Take the state at rest from the contacts alone."""
        ends, self._heading, self._last = self._ends, 0, 0
        state: CoverState = "unknown"
        if ends.fault:
            self.problem = ends.fault
        elif ends.is_between:
            state = "stopped" if self.config.opened else "open"
        else:
            state = "open" if ends.opened else "closed"
        self._set_state(state)

    def _check_outputs(self) -> None:
        failed = self._failed_output()
        if failed and not self._ends.fault:
            self.problem = failed
            if self.goal is not None and not self._is_tried:
                self._drop_goal()
        elif self.problem and self.problem.name == "cover-output-unavailable":
            self.problem = None

    def _drop_goal(self) -> None:
        self.goal, self._is_tried, self._is_stopping = None, False, False
        if self._waiting:
            self._waiting.cancel()
            self._waiting = None

    def _end_motion(self) -> None:
        if self._motion:
            self._motion.cancel()
            self._motion = None

    def _end_timers(self) -> None:
        self._end_motion()
        if self._waiting:
            self._waiting.cancel()
            self._waiting = None
