"""A configured pin and what became of it: an open device, or the reason why there is none."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any, NamedTuple

from ..config import schema
from ..errors import RequestError
from ..messages import Value
from ..system.clock import wall_time
from .backend import LineErrors, PinFactory
from .input import Input
from .interlock import Group
from .output import Output
from .output_state import Level, Levels

log = logging.getLogger(__name__)


class Changed(NamedTuple):
    """A pin's new value. `moment` is of the monotonic clock; `by` says who, None for an input."""

    pin: str
    value: Value
    moment: float
    by: str | None


class Slot:
    """`error` says why the pin is not open, or is None. `when_changed` is called for each new
    value, `when_remade` after the pin was lost."""

    def __init__(
        self,
        pin: schema.Pin,
        group: Group | None,
        factory: PinFactory,
        levels: Levels,
        loop: asyncio.AbstractEventLoop,
        when_changed: Callable[[Changed], None],
        when_remade: Callable[[], None],
    ) -> None:
        self.config = pin
        self.group = group
        self.error: str | None = None
        self.device: Input | Output | None = None
        self._factory = factory
        self._levels = levels
        self._loop = loop
        self._when_changed = when_changed
        self._when_remade = when_remade
        self._was_open = False
        self.waiting_value = 0.0
        """What an output of a group is to start with, once the others are known to be off."""

    def __str__(self) -> str:
        return str(self.config)

    @property
    def value(self) -> Value:
        return self.device.value if self.device else None

    @property
    def since(self) -> float | None:
        """Unix time of the last change."""
        moment = self.device.since if self.device else None
        return None if moment is None else wall_time(moment)

    @property
    def output(self) -> Output:
        """The open output. Raises RequestError for an input and where there is none."""
        if isinstance(self.config, schema.InputPin):
            raise RequestError("not-writable", f"{self} is an input")
        if not isinstance(self.device, Output):
            raise RequestError("unavailable", f"{self}: {self.error}")
        return self.device

    def open(self, was_held: bool = False) -> bool:
        """Opens the pin, or notes why it cannot be and says so, once. `was_held`: since we last
        drove it, nothing else of its group can have gone on, so that what is on may stay on."""
        pin = self.config
        try:
            line = self._factory.pin(pin.gpio)
            if isinstance(pin, schema.InputPin):
                self.device = Input(pin, line, self._loop, self._input_changed, self._lose)
            else:
                self.device = self._open_output(pin, line, was_held)
        except LineErrors as error:
            if self.error != str(error):
                log.error("%s: %s; shown as unavailable", self, error)
            self.error = str(error)
            return False
        self.error = None
        self._was_open = True
        return True

    def look(self) -> None:
        """Reads an input again, for the edges that got lost."""
        if isinstance(self.device, Input):
            self.device.look()

    def adopt(self, pin: schema.Pin) -> bool:
        """Takes on another configuration of the pin, if that asks nothing else of its line, which
        is then not touched."""
        if not _asks_the_same(self.config, pin):
            return False
        self.config = pin
        if self.device:
            self.device.name = str(pin)
        if isinstance(self.device, Output):
            assert isinstance(pin, schema.DrivenPin)
            self._remember(pin, self.device.level)
        return True

    def close(self, how: str | None = None) -> None:
        """Leaves an output as `how` or else its `on_stop` says, and lets go of the line."""
        device, self.device = self.device, None
        if device is None:
            return
        self.error = "the server is stopping"
        pin = self.config
        try:
            if isinstance(device, Output):
                assert isinstance(pin, schema.DrivenPin)
                if self.group:
                    self.group.remove(device)
                if how is None:  # what is to go off soon stays on only while somebody sees to it
                    runs_out = device.level.off_at is not None
                    how = "off" if runs_out and pin.on_stop == "keep" else pin.on_stop
                device.leave(how)
                # What is to outlive the stop is what was chosen, not what the stop left.
                if pin.initial not in ("keep", "restore") and how != "keep":
                    self._remember(pin, Level(int(how == "on")))
            else:
                device.close()
            self._factory.release(self._factory.pin(pin.gpio))
        except LineErrors as error:
            log.error("%s: could not be left as on_stop says: %s", self, error)

    @property
    def is_driven(self) -> bool:
        """Whether an output is open here, so that nobody else has changed its line."""
        return isinstance(self.device, Output)

    @property
    def starts_on(self) -> bool:
        """Whether opening it switches something on, or leaves it on."""
        pin = self.config
        return isinstance(pin, schema.DrivenPin) and self._first_level(pin).value > 0

    def _open_output(self, pin: schema.DrivenPin, line: Any, was_held: bool) -> Output:
        first = self._first_level(pin)
        self.waiting_value = 0.0
        if first.value and self.group:
            if self.group.somebody_is_on:
                log.warning("%s: starts off, since another output of its group is on", self)
                first = Level(0)
            elif not (was_held and self._was_on()):
                # What was to go off soon does not go on late.
                self.waiting_value = first.value if first.off_at is None else 0
                first = Level(0)
        output = Output(pin, line, self._loop, self._output_driven, self._lose, first)
        if self.group:
            self.group.add(output)
        self._remember(pin, output.level)
        return output

    def _was_on(self) -> bool:
        """Whether we drove it on last, before a restart or now."""
        last = self._levels.before_restart(self.config.gpio)
        return last is not None and last.value > 0

    def _first_level(self, pin: schema.DrivenPin) -> Level:
        """What to drive the line to when it is opened, and within which limits."""
        if self._was_open:  # lost and found: nothing goes on behind anyone's back
            return Level(0)
        last = self._levels.before_restart(pin.gpio)
        if pin.initial == "off":
            return Level(0)
        if pin.initial not in ("keep", "restore"):
            value = 1 if pin.initial == "on" else float(pin.initial)
            # What is on already has used up some of its time.
            return Level(value, last.pulse_at, last.max_at) if last and last.value else Level(value)
        if pin.initial == "restore":
            last = self._levels.before_power_cut(pin.gpio)
        has_pulse = isinstance(pin, schema.OutputPin) and pin.pulse
        if has_pulse and (last is None or last.pulse_at is None):
            return Level(0)  # a pulse of which the end is not known is over
        if last is None:
            shown = self._factory.level(pin.gpio) if pin.initial == "keep" else None
            return Level(int(shown is not None and bool(shown) == (pin.active == "high")))
        return Level(min(1, max(0, last.value)), last.pulse_at, last.max_at)

    def _lose(self, error: Exception) -> None:
        """The line does not obey: shown as such, and tried again later."""
        log.error("%s: %s; shown as unavailable", self, error)
        device, self.device, self.error = self.device, None, str(error)
        if isinstance(device, Output) and self.group:
            self.group.remove(device)
        try:
            if isinstance(device, Input):
                device.close()
            self._factory.release(self._factory.pin(self.config.gpio))
        except LineErrors as again:
            log.debug("%s: could not be released: %s", self, again)
        self._when_remade()

    def _input_changed(self, value: int, moment: float) -> None:
        self._when_changed(Changed(self.config.name, value, moment, None))

    def _output_driven(self, before: float, by: str | None) -> None:
        pin, output = self.config, self.output
        assert isinstance(pin, schema.DrivenPin)
        self._remember(pin, output.level)
        if output.value == before:
            return
        level = logging.DEBUG if before and output.value else logging.INFO  # a slider moves a lot
        words = "off" if not output.value else "on" if output.value == 1 else f"{output.value:.0%}"
        log.log(level, "%s: %s, by %s", self, words, by)
        moment = self._loop.time() if output.since is None else output.since
        self._when_changed(Changed(pin.name, output.value, moment, by))

    def _remember(self, pin: schema.DrivenPin, level: Level) -> None:
        self._levels.remember(pin.gpio, level, pin.initial == "restore")


_BESIDE_THE_LINE = {"name", "label", "confirm", "control", "initial", "on_stop", "on_failure"}
"""Keys that ask nothing of a line that is open."""


def _asks_the_same(one: schema.Pin, other: schema.Pin) -> bool:
    """Whether two configurations mean the same line, read or driven alike."""
    keys = set(one.__struct_fields__) - _BESIDE_THE_LINE
    return type(one) is type(other) and all(getattr(one, k) == getattr(other, k) for k in keys)
