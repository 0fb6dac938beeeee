"""The board: all pins of a configuration, their commands and their changes.

Permissions are checked in `security/access.py`, before a command arrives here.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator

from ..config import schema
from ..config.pinout import GPIO_BY_POSITION
from ..decoding import shorten
from ..errors import RequestError, refusal
from ..limits import DEFAULT, Limits
from ..messages import Command, Drive, HeaderPin, Pulse, Set, Value
from .backend import PinFactory
from .input import Input
from .interlock import Interlock
from .output import Output
from .output_state import OutputStateStore
from .pin import Pin, PinChange, PinEnvironment

log = logging.getLogger(__name__)


class Board:
    """The pins, by name and in the order of the configuration.

    `when_changed` is called for each new value. `when_availability_changed` is called after a pin
    became unavailable or available again, but not by `reconfigure`: its caller reads all pins
    again. All methods run on the loop's thread.
    """

    def __init__(
        self,
        pins: Iterable[schema.PinConfig],
        factory: PinFactory,
        states: OutputStateStore,
        loop: asyncio.AbstractEventLoop,
        when_changed: Callable[[PinChange], None],
        when_availability_changed: Callable[[], None],
        limits: Limits = DEFAULT,
    ) -> None:
        self._factory = factory
        self._loop = loop
        self._when_availability_changed = when_availability_changed
        self._environment = PinEnvironment(
            factory, states, loop, limits, when_changed, self._pin_lost
        )
        self._interlocks: dict[str, Interlock] = {}
        self._pins: dict[str, Pin] = {}
        self._is_new = True
        self._is_changing = False
        self.reconfigure(pins)

    def __iter__(self) -> Iterator[Pin]:
        """Iterate over the pins in the order of the configuration."""
        return iter(self._pins.values())

    def __getitem__(self, name: str) -> Pin:
        """Return one pin. Raises RequestError for an unknown name."""
        try:
            return self._pins[name]
        except KeyError:
            raise refusal("unknown-pin", name=shorten(name)) from None

    @property
    def simulated(self) -> bool:
        """True if no real line is read or driven."""
        return self._factory.simulated

    @property
    def model(self) -> str:
        """Name of the Raspberry Pi, such as `Raspberry Pi 3B rev 1.2`."""
        return self._factory.model

    def values(self) -> dict[str, Value]:
        """Return the values of all pins by name."""
        return {name: pin.value for name, pin in self._pins.items()}

    def refresh(self) -> None:
        """Read all inputs again, to find edges that were lost."""
        for pin in self:
            pin.refresh()

    def reopen_failed(self) -> None:
        """Try again to open each unavailable pin."""
        if self._open((pin for pin in self if pin.error), held=set()):
            self._when_availability_changed()

    def _open(self, pins: Iterable[Pin], held: set[int]) -> bool:
        """Open pins; return True if any could be opened.

        Pins that start off are opened first. An output of an interlock goes on only after the
        others are known to be off and its pause has passed. A GPIO in `held` was driven by this
        server all the time, so its output may stay on.
        """
        ordered = sorted(pins, key=lambda pin: pin.starts_on)
        opened = [pin for pin in ordered if pin.open(pin.config.gpio in held)]
        for pin in opened:
            if pin.deferred_value:
                try:
                    done = self._switch(pin, pin.output, pin.deferred_value, "initial", None)
                except RequestError as error:
                    log.warning("%s: starts off: %s", pin, error.message)
                else:
                    done.add_done_callback(lambda done: done.exception())  # nothing awaits it
        return bool(opened)

    def carry_out(self, command: Command, by: str) -> asyncio.Future[Value]:
        """Carry out a command of the caller `by`.

        Return a future of the pin's value after the command. It waits while an interlock pauses.
        This call or the future raises RequestError.
        """
        pin = self[command.pin]
        if isinstance(command, Drive):
            return self._done(self._drive(pin, command.value))
        output = pin.output
        seconds = None
        if isinstance(command, Set):
            value = _checked_value(pin.config, command.value)
        elif isinstance(command, Pulse):
            value, seconds = 1, _checked_pulse(pin.config, command.seconds)
        else:
            is_waiting = pin.interlock is not None and pin.interlock.is_waiting(output)
            value = 0 if output.is_on or is_waiting else output.on_value
        return self._switch(pin, output, value, by, seconds)

    def _switch(
        self, pin: Pin, output: Output, value: float, by: str, seconds: float | None
    ) -> asyncio.Future[Value]:
        interlock, config = pin.interlock, pin.config
        if interlock and value:
            self._check_others(pin)
            pause = config.group_pause if isinstance(config, schema.OutputConfig) else 0
            return interlock.switch_on(output, pause, lambda: output.switch(value, by, seconds))
        if interlock and interlock.is_waiting(output):
            interlock.cancel("switched-off")
        output.switch(value, by, seconds)
        return self._done(output.value)

    def header(self) -> list[HeaderPin]:
        """Return each position of the 40-pin header, with the program that holds its line."""
        ours = {pin.config.gpio: pin for pin in self}
        found = []
        for position, info in sorted(self._factory.board_info.headers["J8"].pins.items()):
            gpio = GPIO_BY_POSITION.get(position)
            pin = None if gpio is None else ours.get(gpio)
            if pin and pin.device:
                holder: str | None = "raspi-server"
            else:
                holder = None if gpio is None else self._factory.holder(gpio)
            found.append(
                HeaderPin(
                    position=position,
                    function=info.name,
                    gpio=gpio,
                    holder=holder,
                    pin=pin.config.name if pin else None,
                    value=pin.value if pin else None,
                )
            )
        return found

    def reconfigure(self, configs: Iterable[schema.PinConfig]) -> None:
        """Change to another configuration.

        A pin whose keys do not affect its line differently is not touched; a running pulse goes on.
        Other pins are closed and opened again. Removed pins get the state of their `on_stop`.
        """
        self._is_changing = True
        configs = tuple(configs)
        wanted = {config.gpio: config for config in configs}
        staying: dict[int, Pin] = {}
        held = set(wanted) if self._is_new else set()
        self._is_new = False
        # First close all that change or go: new pins may need their lines and interlocks.
        for pin in self:
            config = wanted.get(pin.config.gpio)
            if config is not None and pin.adopt(config):
                staying[config.gpio] = pin
            else:
                is_kept = _is_kept(config)
                held |= {pin.config.gpio} if is_kept and pin.is_driven else set()
                pin.close("keep" if is_kept else None)
        names = {group for config in configs if (group := _group(config))}
        self._interlocks = {
            name: self._interlocks.get(name) or Interlock(self._loop) for name in names
        }
        self._pins = {
            config.name: staying.get(config.gpio) or self._new_pin(config) for config in configs
        }
        self._open((pin for pin in self if pin.device is None and pin.error is None), held)
        self._is_changing = False

    def _new_pin(self, config: schema.PinConfig) -> Pin:
        group = _group(config)
        return Pin(config, self._interlocks[group] if group else None, self._environment)

    def _pin_lost(self) -> None:
        if not self._is_changing:
            self._when_availability_changed()

    def close(self) -> None:
        """Bring each output to the state of its `on_stop`, and release all pins."""
        for interlock in self._interlocks.values():
            interlock.cancel("stopped")
        for pin in self:
            pin.close()
        self._factory.close()

    def _check_others(self, pin: Pin) -> None:
        """Raise RequestError if another output of the interlock is unavailable: it may be on."""
        for other in self:
            if other.error and other.interlock is pin.interlock and other is not pin:
                raise refusal("group-unavailable", other=other.config.label)

    def _drive(self, pin: Pin, value: float) -> Value:
        if not self.simulated:
            raise refusal("not-simulated", label=pin.config.label)
        if not isinstance(pin.config, schema.InputConfig):
            raise refusal("not-an-input", label=pin.config.label)
        if not isinstance(pin.device, Input):
            raise pin.unavailable()
        pin.device.drive(int(_checked_value(pin.config, value)))
        return int(value)

    def _done(self, value: Value) -> asyncio.Future[Value]:
        future: asyncio.Future[Value] = self._loop.create_future()
        future.set_result(value)
        return future


def _group(config: schema.PinConfig) -> str | None:
    return config.group if isinstance(config, schema.OutputConfig) else None


def _is_kept(config: schema.PinConfig | None) -> bool:
    return isinstance(config, schema.DrivenConfig) and config.initial in ("keep", "restore")


def _checked_value(pin: schema.PinConfig, value: float) -> float:
    """Return the value of a command. Raises RequestError if the pin cannot have that value."""
    if isinstance(pin, schema.PwmConfig):
        if not 0 <= value <= 1:
            raise refusal("out-of-range", label=pin.label, minimum=0, maximum=1, got=f"{value:g}")
    elif value not in (0, 1):
        raise refusal("not-0-or-1", label=pin.label, got=f"{value:g}")
    return value


def _checked_pulse(pin: schema.PinConfig, seconds: float | None) -> float:
    """Return the length of a pulse in seconds: that of the command, else that of the pin.

    Raises RequestError if the pin has no pulse, or the length is too short or too long. A command
    can shorten the pin's `pulse` and `max_on`, not lengthen them.
    """
    if not isinstance(pin, schema.OutputConfig):
        raise refusal("no-pulse", label=pin.label)
    if seconds is None:
        if pin.pulse is None:
            raise refusal("no-seconds", label=pin.label)
        return pin.pulse
    longest = min(pin.pulse or schema.MAX_PULSE_S, pin.max_on or schema.MAX_PULSE_S)
    if not schema.MIN_PULSE_S <= seconds <= longest:
        limits = {"minimum": f"{schema.MIN_PULSE_S:g}", "maximum": f"{longest:g}"}
        raise refusal("pulse-length", label=pin.label, got=f"{seconds:g}", **limits)
    return seconds
