"""A cover whose drive has one button: each press starts, stops or reverses it.

A press is made only if it cannot move the cover the wrong way. At an end it moves the cover to the
other one. While the drive moves, the key `presses` says what a press does. At rest in between, that
key or the direction of the last motion says it.
"""

import asyncio

from ..config.schema import CoverConfig, OutputConfig
from ..errors import RequestError, refusal
from ..messages import CoverGoal, Pulse
from .cover import DOWN, UP, Cover, CoverEnvironment, Ends, goal_direction
from .cover_memory import Kept

_GAP_S = 0.5
"""Time after a press before the next one, so that the drive sees two."""
_SETTLE_S = 0.5
"""Time after the arrival at an end before a press: the contact bounces, the drive stands still."""
_SURELY_MOVING = 0.8
"""The share of its travel after which a drive may have reached an end that has no contact."""


class OneButton(Cover):
    """A cover with one button, and contacts at the closed end or at both."""

    def __init__(self, config: CoverConfig, environment: CoverEnvironment) -> None:
        super().__init__(config, environment)
        self._button = str(config.button)
        self.key = str(self._board[self._button].config.gpio)
        self._heading = 0
        """The direction in which the drive moves, 0 at rest."""
        self._last = 0
        """The direction before a rest in between, 0 if it is not known."""
        self._end_reached = 0
        """The end at which contacts saw it last, 0 if it has left that."""
        self._began = 0.0
        self._is_whole = False
        """True if the motion began at the other end."""
        self._may_move_until = 0.0
        """The moment up to which a motion may go on of which no contact tells: one that began
        before the start, or that an obstacle has turned."""
        self._is_tried = False
        """True if nothing more is done for the goal than to wait for it."""
        self._is_stopping = False
        self._quiet_until = 0.0
        """The moment before which no press is made."""
        self._gap_until = 0.0
        """That moment as far as the last press is concerned."""
        self._by = ""
        self._motion: asyncio.TimerHandle | None = None
        """The end of a motion that no contact ends, or of the time for a goal."""
        self._try: asyncio.TimerHandle | None = None
        """The next try to act."""
        with self._reporting(None):
            self._release(str(config))
            self._start()
            self._check_outputs()

    def _start(self) -> None:
        """Take the state from the contacts. A motion that may still go on is waited for."""
        kept, now = self._memory[self.key], self._loop.time()
        self._rest()
        self._quiet_until = self._may_move_until = kept.moves_until
        if self._ends.fault:
            self._end_reached, self._last = kept.end, kept.last
        elif not self._ends.is_between:
            self._remember()
        elif kept.end:  # it has left that end since
            self._quiet_until = now + self._longest_turned(-kept.end)
        elif kept.last:
            self._last = kept.last
            self._set_state("stopped")

    def _end(self) -> None:
        """End all that it does. The drive does what it began."""
        self._drop_goal()
        self._end_motion()
        self._release(str(self.config))

    # Commands

    def _begin(self, goal: CoverGoal, by: str) -> None:
        direction = goal_direction(goal)
        if not self._heading:
            if self._is_at(direction):
                self._drop_goal()
                self.problem = self._failed_output()
                return
            if not self._goes(direction):
                raise refusal("cover-direction-unknown", label=self.config.label)
        failed = self._board[self._button]
        if failed.error:
            raise failed.unavailable()
        self.goal, self._is_tried, self._is_stopping, self._by = goal, False, False, by
        self._act()

    def _stop(self, by: str) -> None:
        if self._ends.fault:
            raise refusal("cover-state-unknown", label=self.config.label)
        if not self._heading:
            self._drop_goal()
            self._end_motion()
            return
        had_goal = self.goal is not None
        if goal_direction(self.goal) != self._heading:
            self._drop_goal()
        if self._effect() != "stop" or self._may_be_over:
            if had_goal and self.goal is None:  # it waited, and was all that could be stopped
                return
            raise refusal("cover-cannot-stop", label=self.config.label)
        self.goal, self._is_stopping, self._by = None, True, by
        self._act()

    def _act(self) -> None:
        """Press the button if that brings the cover nearer to what is wanted, now or later."""
        if self._try:
            self._try.cancel()
            self._try = None
        if not self._is_stopping and (self.goal is None or self._is_tried):
            return
        if self._loop.time() < self._quiet_until:
            self._try = self._loop.call_at(self._quiet_until, self._act_later)
        elif self._is_stopping:
            if not self._heading or self._may_be_over:
                self._is_stopping = False
            elif self._ends.is_between:  # else it begins to move, or never will
                self._press_to_stop()
        elif not self._heading:
            self._set_out()
        elif self._heading == goal_direction(self.goal):
            self._is_tried = True
        else:
            self._turn()

    def _act_later(self) -> None:
        with self._reporting(self._by):
            self._try_to_act()

    def _try_to_act(self) -> None:
        """Act for a goal that has waited. An error becomes the problem."""
        try:
            self._act()
        except RequestError as error:
            self._drop_goal()
            self.problem = self._as_problem(error)

    def _set_out(self) -> None:
        """Begin to move from a rest. Raises RequestError."""
        direction = goal_direction(self.goal)
        if self._is_at(direction):
            self._drop_goal()
        elif self._goes(direction):
            self._press()
            self._is_tried = True
            self._move(direction, self._ends)
        else:
            raise refusal("cover-direction-unknown", label=self.config.label)

    def _turn(self) -> None:
        """Press while the drive moves away from the goal, if that is known to turn or to stop it.

        Else the goal waits for the end of the motion.
        """
        direction = -self._heading
        if self._ends.reached(direction):  # it has not left yet, and may never
            return
        effect = self._effect()
        if effect == "reverse":
            self._press()
            self._is_tried = True
            self._move(direction, self._ends)
        elif effect == "stop" and not self._may_be_over and self._goes_after_stop(direction):
            self._press_to_stop()
            self._act()

    def _press_to_stop(self) -> None:
        self._press()
        self._is_stopping = False
        self._last, self._heading = self._heading, 0
        self._end_motion()
        self._set_state("stopped")
        self._remember()

    def _press(self) -> None:
        """Press the button. Raises RequestError, with no goal any more."""
        try:
            self._board.carry_out(Pulse(pin=self._button), self._by, is_of_cover=True)
        except RequestError:
            self._drop_goal()
            raise
        config = self._board[self._button].config
        assert isinstance(config, OutputConfig) and config.pulse
        self._quiet_until = self._gap_until = self._loop.time() + config.pulse + _GAP_S

    # What is known

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
        """Return True if a press goes in a direction after one that stopped the drive."""
        presses, wanted = self.config.presses, "open" if direction == UP else "close"
        return presses is not None and presses.stopped in ("opposite", wanted)

    def _effect(self) -> str | None:
        """Return what a press does to the motion, None if that is not known."""
        presses = self.config.presses
        if presses is None:
            return None
        return presses.opening if self._heading == UP else presses.closing

    @property
    def _may_be_over(self) -> bool:
        """True if the drive may rest at an end that has no contact: a press would start it.

        A motion that began in between may be over at any time.
        """
        if self._contact_of(self._heading) is not None:
            return False
        span = self._loop.time() - self._began
        return not self._is_whole or span >= _SURELY_MOVING * self._travel(self._heading)

    def _longest_turned(self, direction: int) -> float:
        """Return the seconds after which a motion is over, also if an obstacle has turned it."""
        return self._longest(direction) + (self._longest(UP) if direction == DOWN else 0)

    # Motions

    def _move(self, direction: int, before: Ends) -> None:
        """Take the drive as moving from now on, from where the contacts said `before`."""
        self._heading, self._last, self._began = direction, 0, self._loop.time()
        self._is_whole = before.reached(-direction)
        self._may_move_until = 0
        self._end_motion()
        self._motion = self._loop.call_later(self._longest(direction), self._motion_ended)
        self._set_state("opening" if direction == UP else "closing")
        self._remember()

    def _motion_ended(self) -> None:
        """End a motion that no contact has ended in time."""
        with self._reporting(None):
            self._motion = None
            heading, goal = self._heading, goal_direction(self.goal)
            if heading:
                self._rest()
                if heading == DOWN:  # it may have met an obstacle, and open again
                    self._may_move_until = self._loop.time() + self._longest(UP)
                    self._quiet_until = max(self._gap_until, self._may_move_until)
                elif self.state == "stopped":
                    self._last = UP
            if goal and self._is_at(goal):
                self._drop_goal()
                self.problem = self._failed_output()
            elif goal and self._is_tried:
                self._drop_goal()
                self.problem = self._not_confirmed(goal)
            self._remember()
            self._try_to_act()

    def _ends_changed(self, before: Ends) -> None:
        ends = self._ends
        if ends.fault:
            self._drop_goal()
            self.problem = ends.fault
            self._set_state("unknown")
            return
        if before.fault:
            self.problem = self._failed_output()
        is_setting_out = self._heading and self._end_reached == -self._heading
        if before.fault and is_setting_out and ends.reached(-self._heading):
            self._set_state("opening" if self._heading == UP else "closing")
        elif not ends.is_between:
            self._arrive(UP if ends.opened else DOWN)
        elif self._end_reached:
            self._move(-self._end_reached, before)
            self._end_reached = 0
            self._remember()
        elif self._heading:  # after a fault
            self._set_state("opening" if self._heading == UP else "closing")
        elif self._last and not self.config.opened:  # after a fault
            self._set_state("stopped")
        else:
            self._rest()
        self._try_to_act()

    def _arrive(self, end: int) -> None:
        """Come to rest at an end, which a contact says is reached."""
        self._quiet_until = max(self._gap_until, self._loop.time() + _SETTLE_S)
        self._may_move_until = 0
        self._is_stopping = False
        self.problem = self._failed_output()
        self._rest()
        if goal_direction(self.goal) == end:
            self._drop_goal()
        if self.goal is None or not self._is_tried:  # else the time for the goal goes on
            self._end_motion()
        self._remember()

    def _rest(self) -> None:
        """Take the state from the contacts alone, at rest."""
        ends, self._heading, self._last = self._ends, 0, 0
        self._end_reached = UP if ends.opened else DOWN if ends.closed else 0
        if ends.fault:
            self.problem = ends.fault
            self._set_state("unknown")
        elif ends.is_between:
            self._set_state("stopped" if self.config.opened else "open")
        else:
            self._set_state("open" if ends.opened else "closed")

    def _check_outputs(self) -> None:
        failed = self._failed_output()
        if failed and not self._ends.fault:
            self.problem = failed
            if not self._is_tried:
                self._drop_goal()
        elif self.problem and self.problem.name == "cover-output-unavailable":
            self.problem = None

    # Parts

    def _remember(self) -> None:
        """Keep what a restart must know: no press may meet a motion."""
        moves = self._motion if self._heading else None
        until = moves.when() if moves else self._may_move_until
        if moves:
            until += self._longest_turned(self._heading) - self._longest(self._heading)
        kept = Kept(end=self._end_reached, moves_until=until, last=self._last)
        self._memory.remember(self.key, kept, self._loop)

    def _drop_goal(self) -> None:
        self.goal, self._is_tried, self._is_stopping = None, False, False
        if self._try:
            self._try.cancel()
            self._try = None

    def _end_motion(self) -> None:
        if self._motion:
            self._motion.cancel()
            self._motion = None
