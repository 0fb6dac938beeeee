"""An output, switched or dimmed: its first and last level, and when it goes off by itself.

The deadlines are kept here, in the server: a phone that disconnects leaves no pulse running.
"""

import asyncio
import math
from collections.abc import Callable

from ..config.schema import DrivenConfig, OutputConfig, PwmConfig
from ..errors import RequestError
from ..system import busy
from .backend import LINE_ERRORS, Line
from .output_state import OutputState


class Output:
    """An open output.

    `value` is 0 or 1, for pwm the duty cycle from 0 to 1; `since` is the moment of the last change
    in monotonic seconds, or None; `name` is its name in the log.

    `driven(before, by)` is called after each `switch`, also to the same value; `failed(error)` when
    the line cannot be driven; `limit_ended(by)` at the end of a pulse or of `max_on`, and has to
    switch it off. The constructor and `leave` raise LINE_ERRORS.
    """

    def __init__(
        self,
        config: DrivenConfig,
        line: Line,
        loop: asyncio.AbstractEventLoop,
        driven: Callable[[float, str | None], None],
        failed: Callable[[Exception], None],
        limit_ended: Callable[[str], None],
        initial: OutputState,
    ) -> None:
        """Drive the value of `initial` until its deadlines, or 0 if one has passed."""
        self.name = str(config)
        self._line = line
        self._loop = loop
        self._driven = driven
        self._failed = failed
        self._limit_ended = limit_ended
        self._high_is_on = config.active == "high"
        self._max_on = config.max_on
        self._pulse = config.pulse if isinstance(config, OutputConfig) else None
        self._frequency = config.frequency if isinstance(config, PwmConfig) else None
        self._timer: asyncio.TimerHandle | None = None
        self._pulse_at: float | None = None
        self._max_at: float | None = None
        now = loop.time()
        is_overdue = initial.off_at is not None and initial.off_at <= now
        self.value = self._logical(0 if is_overdue else initial.value)
        self.since: float | None = None
        self.went_off = now
        """Last moment at which it may have been on. The pause of an interlock starts there."""
        configured = config.initial if isinstance(config.initial, int | float) else 0
        self._on_value = self.value or configured or 1
        if self._frequency is None:
            line.output_with_state(self._level(self.value))
        else:
            line.pwm_with_state(self._frequency, self._level(self.value))
        if self.value:
            self._max_at = initial.max_at if self._max_on else None
            self._limit(now, initial.pulse_at - now if initial.pulse_at is not None else None)

    @property
    def state(self) -> OutputState:
        """The value and deadlines to keep over a restart."""
        return OutputState(self.value, self._pulse_at, self._max_at)

    @property
    def is_on(self) -> bool:
        """True if the value is above 0."""
        return self.value > 0

    @property
    def on_value(self) -> float:
        """The value that `toggle` switches on to: 1, for pwm the last value above 0."""
        return 1 if self._frequency is None else self._on_value

    def switch(self, value: float, by: str | None, seconds: float | None = None) -> None:
        """Drive `value`, and set the timer that switches it off again.

        An output that is on goes off after `seconds`, or else after its own `pulse`, and at the
        latest `max_on` after it went on. If the line cannot be driven, call `failed` and raise
        RequestError.
        """
        now = self._loop.time()
        value = self._logical(value)
        if value != self.value:
            try:
                with busy.on(self.name):
                    self._line.state = self._level(value)
            except LINE_ERRORS as error:
                self._stop_timer()
                self._failed(error)
                raise RequestError("unavailable", str(error)) from error
        was_on, before = self.is_on, self.value
        self.value = value
        if value:
            self._on_value = value
            if not was_on:
                self._max_at = None
            self._limit(now, seconds)
        else:
            self._stop_timer()
            self._max_at = None
            if was_on:
                self.went_off = now
        if value != before:
            self.since = now
        self._driven(before, by)

    def forget_pulse(self) -> None:
        """Stay on after a pulse that a command asked for, unless the output has its own `pulse`."""
        if self._pulse is None and self._pulse_at is not None:
            self._stop_timer()
            self._set_timer()

    def leave(self, how: str) -> None:
        """Drive the line for the last time: `off`, `on`, `input` (release), `keep` (no change)."""
        if self._timer:
            self._timer.cancel()
        if how in ("off", "on"):
            self._line.output_with_state(self._level(how == "on"))
        elif how == "input":
            self._line.input_with_pull("floating")

    def _logical(self, value: float) -> float:
        return value if self._frequency is not None else int(value > 0)

    def _level(self, value: float) -> float:
        return value if self._high_is_on else 1 - value

    def _limit(self, now: float, seconds: float | None) -> None:
        """Set the timer for the earlier deadline: the end of the pulse, or of `max_on`.

        The pulse lasts `seconds`, or else the pin's own `pulse`, from now. A `max_on` that is
        already counting goes on.
        """
        if self._max_on:
            self._max_at = min(self._max_at or math.inf, now + self._max_on)
        length = seconds or self._pulse
        self._stop_timer()
        self._pulse_at = now + length if length else None
        self._set_timer()

    def _set_timer(self) -> None:
        ends = [(self._pulse_at, "pulse"), (self._max_at, "max_on")]
        off_at, by = min(((at, by) for at, by in ends if at is not None), default=(None, ""))
        if off_at is not None:
            self._timer = self._loop.call_at(off_at, self._limit_ended, by)

    def _stop_timer(self) -> None:
        self._pulse_at = None
        if self._timer:
            self._timer.cancel()
            self._timer = None
