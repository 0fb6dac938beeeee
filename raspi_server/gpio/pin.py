"""A pin at runtime: its open device, or the reason why it is unavailable."""

import asyncio
import logging
from collections.abc import Callable
from typing import NamedTuple

from ..config import schema
from ..errors import Reason, RequestError, reason, refusal
from ..limits import Limits
from ..messages import Value
from ..system import busy
from ..system.clock import wall_time
from .backend import LINE_ERRORS, Line, PinFactory
from .faults import why
from .input import Input
from .interlock import Interlock
from .output import Output
from .output_state import OutputState, OutputStateStore

log = logging.getLogger(__name__)


class PinChange(NamedTuple):
    """A new value of a pin.

    `moment` is in seconds of the monotonic clock; `by` is the caller or the cause, None for an
    input.
    """

    pin: str
    value: Value
    moment: float
    by: str | None


class PinEnvironment(NamedTuple):
    """The parts that all pins of a board share.

    `when_changed` is called for each new value, `when_lost` after a line has failed.
    """

    factory: PinFactory
    states: OutputStateStore
    loop: asyncio.AbstractEventLoop
    limits: Limits
    when_changed: Callable[[PinChange], None]
    when_lost: Callable[[], None]


class Pin:
    """A pin of the board.

    `device` is its open input or output, or None; `error` is then the reason. Its `str` is that of
    its configuration: `lamp (GPIO17)`.
    """

    def __init__(
        self,
        config: schema.PinConfig,
        interlock: Interlock | None,
        environment: PinEnvironment,
    ) -> None:
        self.config = config
        self.interlock = interlock
        self.error: Reason | None = None
        self.device: Input | Output | None = None
        self._environment = environment
        self._factory = environment.factory
        self._states = environment.states
        self._was_open = False
        self.deferred_value = 0.0
        """Value that an output of an interlock gets as soon as the others are known to be off."""

    def __str__(self) -> str:
        return str(self.config)

    @property
    def value(self) -> Value:
        """The value of the input or output, None while the pin is unavailable."""
        return self.device.value if self.device else None

    @property
    def since(self) -> float | None:
        """Unix time of the last change, or None."""
        moment = self.device.since if self.device else None
        return None if moment is None else wall_time(moment)

    @property
    def output(self) -> Output:
        """The open output. Raises RequestError for an input, and for an unavailable pin."""
        if isinstance(self.config, schema.InputConfig):
            raise refusal("not-writable", label=self.config.label)
        if not isinstance(self.device, Output):
            raise self.unavailable()
        return self.device

    def unavailable(self) -> RequestError:
        """Return the error for a command to the pin while it is unavailable."""
        error = self.error or Reason("unavailable", "unavailable")
        message = f"{self.config.label}: {error}"
        return RequestError("unavailable", message, reason=error.name, values=error.values)

    def open(self, was_held: bool = False) -> bool:
        """Open the pin. If that fails, log the reason once and return False.

        `was_held` means that no other output of its interlock can have gone on since the server
        last drove this line, so that an output that is on may stay on.
        """
        try:
            with busy.on(str(self)):
                self.device = self._open_device(was_held)
        except LINE_ERRORS as error:
            found = why(error)
            if self.error != found:
                log.error("%s: %s; shown as unavailable", self, error)
            self.error = found
            return False
        if self.error:
            log.info("%s: available again", self)
        self.error = None
        self._was_open = True
        return True

    def refresh(self) -> None:
        """Read an input again, to find edges that were lost."""
        if isinstance(self.device, Input):
            self.device.refresh()

    def adopt(self, config: schema.PinConfig) -> bool:
        """Take another configuration, if the line can stay as it is.

        Return False if it reads or drives the line in another way; then nothing has changed.
        """
        if not _drives_alike(self.config, config):
            return False
        self.config = config
        if self.device:
            self.device.name = str(config)
        if isinstance(self.device, Output):
            assert isinstance(config, schema.DrivenConfig)
            self._keep(config, self.device.state)
        return True

    def close(self, how: str | None = None) -> None:
        """Bring an output to the state `how`, or else its `on_stop`, and release the line."""
        device, self.device = self.device, None
        if device is None:
            return
        self.error = reason("server-stopping")
        try:
            with busy.on(str(self)):
                if isinstance(device, Output):
                    self._leave(device, how)
                else:
                    device.close()
                self._factory.release(self._factory.pin(self.config.gpio))
        except LINE_ERRORS as error:
            log.error("%s: could not be brought to its on_stop state: %s", self, error)

    @property
    def is_driven(self) -> bool:
        """True while it is an open output: no other program can have changed its line."""
        return isinstance(self.device, Output)

    @property
    def starts_on(self) -> bool:
        """True if it is an output that will be on after `open`."""
        config = self.config
        return isinstance(config, schema.DrivenConfig) and self._initial_state(config).value > 0

    def _open_device(self, was_held: bool) -> Input | Output:
        config, environment = self.config, self._environment
        line = self._factory.pin(config.gpio)
        if isinstance(config, schema.InputConfig):
            changed, failed = self._input_changed, self._fail
            return Input(config, line, environment.loop, changed, failed, environment.limits)
        assert isinstance(config, schema.DrivenConfig)
        return self._open_output(config, line, was_held)

    def _open_output(self, config: schema.DrivenConfig, line: Line, was_held: bool) -> Output:
        initial = self._initial_state(config)
        self.deferred_value = 0.0
        if initial.value and self.interlock:
            if self.interlock.is_any_on:
                log.warning("%s: starts off, since another output of its group is on", self)
                initial = OutputState(0)
            elif not (was_held and self._was_on()):
                # An output with a deadline is not switched on late.
                self.deferred_value = initial.value if initial.off_at is None else 0
                initial = OutputState(0)
        loop = self._environment.loop
        output = Output(config, line, loop, self._output_driven, self._fail, initial)
        if self.interlock:
            self.interlock.add(output)
        self._keep(config, output.state)
        return output

    def _leave(self, output: Output, how: str | None) -> None:
        config = self.config
        assert isinstance(config, schema.DrivenConfig)
        if self.interlock:
            self.interlock.remove(output)
        if how is None:  # an output with a deadline must not stay on without a server to end it
            has_deadline = output.state.off_at is not None
            how = "off" if has_deadline and config.on_stop == "keep" else config.on_stop
        output.leave(how)
        # With keep or restore, the state before the stop is kept, not the one of on_stop.
        if config.initial not in ("keep", "restore") and how != "keep":
            self._keep(config, OutputState(int(how == "on")))

    def _was_on(self) -> bool:
        """Return True if the server, or one before a restart, last switched it on."""
        last = self._states.before_restart(self.config.gpio)
        return last is not None and last.value > 0

    def _initial_state(self, config: schema.DrivenConfig) -> OutputState:
        """Return the state for `open`, with its deadlines."""
        if self._was_open:  # available again after a failure: off until a command
            return OutputState(0)
        last = self._states.before_restart(config.gpio)
        if config.initial == "off":
            return OutputState(0)
        if config.initial not in ("keep", "restore"):
            value = 1 if config.initial == "on" else float(config.initial)
            # An output that is on already has used up some of its time.
            if last and last.value:
                return OutputState(value, last.pulse_at, last.max_at)
            return OutputState(value)
        if config.initial == "restore":
            last = self._states.before_power_cut(config.gpio)
        has_pulse = isinstance(config, schema.OutputConfig) and config.pulse
        if has_pulse and (last is None or last.pulse_at is None):
            return OutputState(0)  # the end of the pulse is not known, so it counts as over
        if last is None:
            level = self._factory.level(config.gpio) if config.initial == "keep" else None
            is_on = level is not None and bool(level) == (config.active == "high")
            return OutputState(int(is_on))
        return OutputState(min(1, max(0, last.value)), last.pulse_at, last.max_at)

    def _fail(self, error: Exception) -> None:
        """Make the pin unavailable after its line has failed. The board opens it again later."""
        log.error("%s: %s; shown as unavailable", self, error)
        device, self.device, self.error = self.device, None, why(error)
        if isinstance(device, Output) and self.interlock:
            self.interlock.remove(device)
        try:
            if isinstance(device, Input):
                device.close()
            self._factory.release(self._factory.pin(self.config.gpio))
        except LINE_ERRORS as again:
            log.debug("%s: could not be released: %s", self, again)
        self._environment.when_lost()

    def _input_changed(self, value: int, moment: float) -> None:
        self._environment.when_changed(PinChange(self.config.name, value, moment, None))

    def _output_driven(self, before: float, by: str | None) -> None:
        config, output = self.config, self.output
        assert isinstance(config, schema.DrivenConfig)
        self._keep(config, output.state)
        if output.value == before:
            return
        level = logging.DEBUG if before and output.value else logging.INFO  # sliders send many
        words = "off" if not output.value else "on" if output.value == 1 else f"{output.value:.0%}"
        log.log(level, "%s: %s, by %s", self, words, by)
        moment = self._environment.loop.time() if output.since is None else output.since
        self._environment.when_changed(PinChange(config.name, output.value, moment, by))

    def _keep(self, config: schema.DrivenConfig, state: OutputState) -> None:
        self._states.remember(config.gpio, state, config.initial == "restore")


_KEYS_OFF_THE_LINE = {
    *("name", "label", "kind", "room", "icon", "words", "hidden"),
    *("confirm", "control", "initial", "on_stop", "on_failure"),
}
"""Keys that do not affect a line while it is open."""


def _drives_alike(one: schema.PinConfig, other: schema.PinConfig) -> bool:
    """Return True if two configurations of a line read or drive it in the same way."""
    keys = set(one.__struct_fields__) - _KEYS_OFF_THE_LINE
    return type(one) is type(other) and all(getattr(one, k) == getattr(other, k) for k in keys)
