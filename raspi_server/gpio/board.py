"""The pins of one configuration: reads them, carries out commands, and tells of each change. Which
viewer may command what is not known here."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator

from ..config import schema
from ..config.pinout import GPIO_BY_POSITION
from ..errors import RequestError
from ..messages import Command, Drive, HeaderPin, Pulse, Set, Value
from .backend import PinFactory
from .input import Input
from .interlock import Group
from .output import Output
from .output_state import Levels
from .pin import Changed, Slot

log = logging.getLogger(__name__)

LONGEST_PULSE = 86400.0
"""Seconds; as in the configuration."""


class Board:
    """All methods belong to the loop's thread. `when_changed` is called for each new value,
    `when_remade` after a pin was lost or came back, but for `reconfigure`, after which all is
    new."""

    def __init__(
        self,
        pins: Iterable[schema.Pin],
        factory: PinFactory,
        levels: Levels,
        loop: asyncio.AbstractEventLoop,
        when_changed: Callable[[Changed], None],
        when_remade: Callable[[], None],
    ) -> None:
        self._factory = factory
        self._levels = levels
        self._loop = loop
        self._when_changed = when_changed
        self._when_remade = when_remade
        self._groups: dict[str, Group] = {}
        self._slots: dict[str, Slot] = {}
        self._is_new = True
        self._is_changing = False
        self.reconfigure(pins)

    def __iter__(self) -> Iterator[Slot]:
        """The pins in the order of the configuration."""
        return iter(self._slots.values())

    def __getitem__(self, name: str) -> Slot:
        """One pin. Raises RequestError for a name that is none."""
        try:
            return self._slots[name]
        except KeyError:
            raise RequestError("unknown-pin", f"there is no pin {name[:40]!r}") from None

    @property
    def simulated(self) -> bool:
        return self._factory.simulated

    @property
    def is_listening(self) -> bool:
        """Whether edges still arrive."""
        return self._factory.is_listening

    @property
    def model(self) -> str:
        """The board's name, such as `Raspberry Pi 3B rev 1.2`."""
        return str(self._factory.board_info.description)

    def values(self) -> dict[str, Value]:
        return {name: slot.value for name, slot in self._slots.items()}

    def look(self) -> None:
        """Reads the inputs again, for the edges that got lost."""
        for slot in self:
            slot.look()

    def try_again(self) -> None:
        """Tries to open the pins in error."""
        if self._open((slot for slot in self if slot.error), held=set()):
            self._when_remade()

    def _open(self, slots: Iterable[Slot], held: set[int]) -> bool:
        """Opens pins, those first that start off; whether any could be. Of a group nothing goes on
        before the others are known to be off, and have been for the pause; but a line that was
        `held` all the time stays on."""
        ordered = sorted(slots, key=lambda slot: slot.starts_on)
        opened = [slot for slot in ordered if slot.open(slot.config.gpio in held)]
        for slot in opened:
            if slot.waiting_value:
                try:
                    done = self._switch(slot, slot.output, slot.waiting_value, "initial", None)
                except RequestError as refused:
                    log.warning("%s: starts off: %s", slot, refused.message)
                else:
                    done.add_done_callback(lambda done: done.exception())  # nobody asks
        return bool(opened)

    def carry_out(self, command: Command, by: str) -> asyncio.Future[Value]:
        """Carries out a command for `by`. The future holds the pin's value once it is done; it, or
        this call, raises RequestError."""
        slot = self[command.pin]
        if isinstance(command, Drive):
            return self._done(self._drive(slot, command.value))
        output = slot.output
        seconds = None
        if isinstance(command, Set):
            value = _checked(slot.config, command.value)
        elif isinstance(command, Pulse):
            value, seconds = 1, _checked_pulse(slot.config, command.seconds)
        else:
            is_on = output.is_on or (slot.group is not None and slot.group.is_waiting(output))
            value = 0 if is_on else output.on_value
        return self._switch(slot, output, value, by, seconds)

    def _switch(
        self, slot: Slot, output: Output, value: float, by: str, seconds: float | None
    ) -> asyncio.Future[Value]:
        if slot.group and value:
            self._check_others(slot)
            pause = slot.config.group_pause if isinstance(slot.config, schema.OutputPin) else 0
            return slot.group.switch_on(output, pause, lambda: output.switch(value, by, seconds))
        if slot.group and slot.group.is_waiting(output):
            slot.group.give_up("it was switched off")
        output.switch(value, by, seconds)
        return self._done(output.value)

    def header(self) -> list[HeaderPin]:
        """Every position of the board's 40-pin header, and who holds it."""
        ours = {slot.config.gpio: slot for slot in self}
        found = []
        for position, info in sorted(self._factory.board_info.headers["J8"].pins.items()):
            gpio = GPIO_BY_POSITION.get(position)
            slot = None if gpio is None else ours.get(gpio)
            if slot and slot.device:
                holder: str | None = "raspi-server"
            else:
                holder = None if gpio is None else self._factory.holder(gpio)
            found.append(
                HeaderPin(
                    position=position,
                    function=info.name,
                    gpio=gpio,
                    holder=holder,
                    pin=slot.config.name if slot else None,
                    value=slot.value if slot else None,
                )
            )
        return found

    def reconfigure(self, pins: Iterable[schema.Pin]) -> None:
        """Brings the board to another configuration. A pin of which nothing else is asked stays
        untouched, a pulse that runs included; others are closed and opened anew, those that went
        left as their `on_stop` says."""
        self._is_changing = True
        pins = tuple(pins)
        wanted = {pin.gpio: pin for pin in pins}
        staying: dict[int, Slot] = {}
        held = set(wanted) if self._is_new else set()
        self._is_new = False
        # First all that go, so that lines and groups are free for those who come.
        for slot in self:
            pin = wanted.get(slot.config.gpio)
            if pin is not None and slot.adopt(pin):
                staying[pin.gpio] = slot
            else:
                is_kept = isinstance(pin, schema.DrivenPin) and pin.initial in ("keep", "restore")
                held |= {slot.config.gpio} if is_kept and slot.is_driven else set()
                slot.close("keep" if is_kept else None)
        names = {pin.group for pin in pins if isinstance(pin, schema.OutputPin) and pin.group}
        self._groups = {name: self._groups.get(name) or Group(self._loop) for name in names}
        self._slots = {pin.name: staying.get(pin.gpio) or self._slot(pin) for pin in pins}
        self._open((slot for slot in self if slot.device is None and slot.error is None), held)
        self._is_changing = False

    def _slot(self, pin: schema.Pin) -> Slot:
        group = None
        if isinstance(pin, schema.OutputPin) and pin.group:
            group = self._groups[pin.group]
        return Slot(
            pin,
            group,
            self._factory,
            self._levels,
            self._loop,
            self._when_changed,
            self._lost,
        )

    def _lost(self) -> None:
        if not self._is_changing:
            self._when_remade()

    def close(self) -> None:
        """Leaves every output as its `on_stop` says, and lets go of all pins."""
        for group in self._groups.values():
            group.give_up("the server is stopping")
        for slot in self:
            slot.close()
        self._factory.close()

    def _check_others(self, slot: Slot) -> None:
        """Nothing of a group goes on while it is not known that the others are off."""
        for other in self:
            if other.error and other.group is slot.group and other is not slot:
                message = f"{other}, of the same group, is not available: {other.error}"
                raise RequestError("unavailable", message)

    def _drive(self, slot: Slot, value: float) -> Value:
        if not self.simulated:
            raise RequestError("not-simulated", f"{slot} is a real pin")
        if not isinstance(slot.config, schema.InputPin):
            raise RequestError("bad-value", f"{slot} is no input: expected set, toggle or pulse")
        if not isinstance(slot.device, Input):
            raise RequestError("unavailable", f"{slot}: {slot.error}")
        slot.device.drive(int(_checked(slot.config, value)))
        return int(value)

    def _done(self, value: Value) -> asyncio.Future[Value]:
        future: asyncio.Future[Value] = self._loop.create_future()
        future.set_result(value)
        return future


def _checked(pin: schema.Pin, value: float) -> float:
    """A value from outside, if the pin can take it."""
    if isinstance(pin, schema.PwmPin):
        if not 0 <= value <= 1:
            raise RequestError(
                "bad-value", f"{pin.name}: expected a value from 0 to 1, got {value:g}"
            )
    elif value not in (0, 1):
        raise RequestError("bad-value", f"{pin.name}: expected 0 or 1, got {value:g}")
    return value


def _checked_pulse(pin: schema.Pin, seconds: float | None) -> float:
    """The length of a pulse asked for. A pin's own pulse and max_on may be cut, not stretched."""
    if not isinstance(pin, schema.OutputPin):
        raise RequestError("bad-value", f"{pin.name}: expected an output; a pwm pin has no pulse")
    if seconds is None:
        if pin.pulse is None:
            message = f"{pin.name}: expected seconds, since it has no pulse of its own"
            raise RequestError("bad-value", message)
        return pin.pulse
    longest = min(pin.pulse or LONGEST_PULSE, pin.max_on or LONGEST_PULSE)
    if not 0.01 <= seconds <= longest:
        message = f"{pin.name}: expected 0.01 to {longest:g} seconds, got {seconds:g}"
        raise RequestError("bad-value", message)
    return seconds
