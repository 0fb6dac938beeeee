"""One output, switched or dimmed: which level it starts and ends with, and when it goes off again.

Deadlines are kept here, by the server: a phone that vanishes leaves nothing on."""

import asyncio
import contextlib
import math
from collections.abc import Callable

from ..config.schema import DrivenPin, OutputPin, PwmPin
from ..errors import RequestError
from .backend import LineErrors, Pin
from .output_state import Level


class Output:
    """`value` is 0 or 1, for pwm the duty cycle 0-1; `since` the moment (monotonic seconds) of the
    last change or None.

    `driven(before, by)` is called whenever it was switched, to the value before or another;
    `failed(error)` when its line refused. Opening and leaving raise LineErrors."""

    def __init__(
        self,
        config: DrivenPin,
        pin: Pin,
        loop: asyncio.AbstractEventLoop,
        driven: Callable[[float, str | None], None],
        failed: Callable[[Exception], None],
        first: Level,
    ) -> None:
        """Drives `first` from the first moment, within the limits that it brings along."""
        self.name = str(config)
        self._pin = pin
        self._loop = loop
        self._driven = driven
        self._failed = failed
        self._high_is_on = config.active == "high"
        self._max_on = config.max_on
        self._pulse = config.pulse if isinstance(config, OutputPin) else None
        self._frequency = config.frequency if isinstance(config, PwmPin) else None
        self._timer: asyncio.TimerHandle | None = None
        self._pulse_at: float | None = None
        self._max_at: float | None = None
        now = loop.time()
        is_overdue = first.off_at is not None and first.off_at <= now
        self.value = self._logical(0 if is_overdue else first.value)
        self.since: float | None = None
        self.went_off = now
        """The last moment it may have been on: a group's pause counts from here."""
        initial = config.initial if isinstance(config.initial, int | float) else 0
        self._on_value = self.value or initial or 1
        if self._frequency is None:
            pin.output_with_state(self._level(self.value))
        else:
            pin.pwm_with_state(self._frequency, self._level(self.value))
        if self.value:
            self._max_at = first.max_at if self._max_on else None
            self._limit(now, first.pulse_at - now if first.pulse_at is not None else None)

    def __str__(self) -> str:
        return self.name

    @property
    def level(self) -> Level:
        """What is to be kept over a restart."""
        return Level(self.value, self._pulse_at, self._max_at)

    @property
    def is_on(self) -> bool:
        return self.value > 0

    @property
    def on_value(self) -> float:
        """What `toggle` switches on to: 1, for pwm the last value above 0."""
        return 1 if self._frequency is None else self._on_value

    def switch(self, value: float, by: str | None, seconds: float | None = None) -> None:
        """Drives `value`; if that is on, then for `seconds` or the pin's own pulse at most, and
        never beyond max_on, which counts from the moment it went on. Raises RequestError where the
        line does not obey, after `failed`."""
        now = self._loop.time()
        value = self._logical(value)
        if value != self.value:
            try:
                self._pin.state = self._level(value)
            except LineErrors as error:
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

    def leave(self, how: str) -> None:
        """The last act: `off`, `on`, `input` (let go), or `keep` (as it is)."""
        if self._timer:
            self._timer.cancel()
        if how in ("off", "on"):
            self._pin.output_with_state(self._level(how == "on"))
        elif how == "input":
            self._pin.input_with_pull("floating")

    def _logical(self, value: float) -> float:
        return value if self._frequency is not None else int(value > 0)

    def _level(self, value: float) -> float:
        return value if self._high_is_on else 1 - value

    def _limit(self, now: float, seconds: float | None) -> None:
        """Sets the timer for the earliest of all limits, a pulse of `seconds` or of its own among
        them; max_on goes on counting where it does already."""
        if self._max_on:
            self._max_at = min(self._max_at or math.inf, now + self._max_on)
        length = seconds or self._pulse
        self._stop_timer()
        self._pulse_at = now + length if length else None
        ends = [(self._pulse_at, "pulse"), (self._max_at, "max_on")]
        off_at, by = min(((at, by) for at, by in ends if at is not None), default=(None, ""))
        if off_at is not None:
            self._timer = self._loop.call_at(off_at, self._expire, by)

    def _stop_timer(self) -> None:
        self._pulse_at = None
        if self._timer:
            self._timer.cancel()
            self._timer = None

    def _expire(self, by: str) -> None:
        with contextlib.suppress(RequestError):  # `failed` knows
            self.switch(0, by)
