"""The lines of a Raspberry Pi through the kernel's GPIO character device.

gpiozero names the pins and knows the boards; gpiod, the library of the kernel's developers, reads
and drives the lines. An edge wakes the event loop directly: no thread is on its way. Importing this
module imports gpiod. Only `backend` imports it, for real lines.
"""

import asyncio
import contextlib
import errno
import functools
import logging
from collections.abc import Callable

import gpiod
from gpiod.edge_event import EdgeEvent
from gpiod.line import Bias, Direction, Edge, Value
from gpiozero.exc import PinError, PinUnknownPi
from gpiozero.pins.local import LocalPiFactory, LocalPiPin

from ..system.logs import LIMITED
from . import chardev, device_tree
from .faults import LineInUse
from .software_pwm import SoftwarePwm

log = logging.getLogger(__name__)

_PULLS = {"up": Bias.PULL_UP, "down": Bias.PULL_DOWN, "floating": Bias.DISABLED}
_MAX_QUEUED_EDGES = 1024
"""Edges of one line that the kernel keeps until they are read; 16 by default."""
_MAX_EDGES_AT_ONCE = 64
"""Edges of one line that are handled in one turn of the loop."""
_REVISION_OF_3B = 0xA02082
"""All models with 40 pins have the header of this one."""


class KernelPin(LocalPiPin):
    """A line. It is not requested before its direction is known, and then in one request."""

    def __init__(self, factory: "KernelFactory", info: object) -> None:
        super().__init__(factory, info)
        self._request: gpiod.LineRequest | None = None
        self._pwm: SoftwarePwm | None = None
        self._is_driven = False
        self._watching: tuple[asyncio.AbstractEventLoop, int] | None = None

    def output_with_state(self, state: float) -> None:
        """Drive `state`, 0 or 1, from the first moment: one request sets level and direction."""
        if self._pwm:
            self._pwm.leave(int(state))
        elif self._is_driven:
            self._set_state(state)
        else:
            self._configure(chardev.settings_of(int(state)))
            self._is_driven = True

    def pwm_with_state(self, frequency: float, state: float) -> None:
        """Drive a duty cycle of `state`, 0 to 1, at `frequency` hertz."""
        if holder := chardev.holder(self.factory.chip, self._number):
            raise LineInUse(self._number, holder)
        chip = int(self.factory.chip.path.rpartition("gpiochip")[2])
        self._pwm = SoftwarePwm(chip, self._number, frequency, state)

    def input_with_pull(self, pull: str) -> None:
        """Make the line an input with a pull: up, down or floating."""
        if self._pwm:
            self._pwm.leave(None)
            return
        self._configure(
            gpiod.LineSettings(
                direction=Direction.INPUT, bias=_PULLS[pull], edge_detection=Edge.BOTH
            )
        )
        self._is_driven = False

    def watch(
        self,
        loop: asyncio.AbstractEventLoop,
        changed: Callable[[float, int], None],
        lost: Callable[[], None],
        failed: Callable[[Exception], None],
    ) -> None:
        """Call `changed(moment, level)` on the loop for each edge of this input.

        `moment` is the kernel's, in seconds of the monotonic clock. `lost()` is called if edges
        came faster than they were read, `failed(error)` if the line cannot be read any more.
        """
        assert self._request
        request, last = self._request, 0

        def read() -> None:
            nonlocal last
            try:
                events = request.read_edge_events(_MAX_EDGES_AT_ONCE)
            except OSError as error:
                self.unwatch()
                failed(self._error(error))
                return
            missing = events[-1].line_seqno - last - len(events)
            last = events[-1].line_seqno
            for event in events:
                is_high = event.event_type is EdgeEvent.Type.RISING_EDGE
                changed(event.timestamp_ns / 1e9, int(is_high))
            if missing:
                log.warning(
                    "%r: %d edges came too fast and were lost", self, missing, extra=LIMITED
                )
                lost()

        loop.add_reader(request.fd, read)
        self._watching = loop, request.fd

    def unwatch(self) -> None:
        """Call nothing for edges any more."""
        if self._watching:
            loop, descriptor = self._watching
            self._watching = None
            loop.remove_reader(descriptor)

    def close(self) -> None:
        """Release the line without changing its direction or level."""
        self.unwatch()
        pwm, self._pwm = self._pwm, None
        request, self._request = self._request, None
        self._is_driven = False
        if pwm:
            pwm.release()
        if request:
            request.release()

    def _configure(self, settings: gpiod.LineSettings) -> None:
        try:
            if self._request:
                self._request.reconfigure_lines({self._number: settings})
            else:
                self._request = self.factory.request(self._number, settings)
        except OSError as error:
            raise self._error(error) from error

    def _error(self, error: OSError) -> PinError:
        if error.errno == errno.EBUSY and (holder := self.factory.holder(self._number)):
            return LineInUse(self._number, holder)
        return PinError(f"{self!r}: {error.strerror or error}")

    def _get_state(self) -> float:
        if self._pwm:
            return self._pwm.duty_cycle
        assert self._request
        try:
            return int(self._request.get_value(self._number) is Value.ACTIVE)
        except OSError as error:
            raise self._error(error) from error

    def _set_state(self, value: float) -> None:
        if self._pwm:
            self._pwm.dim(value)
            return
        assert self._request
        try:
            self._request.set_value(self._number, Value(int(value)))
        except OSError as error:
            raise self._error(error) from error


class KernelFactory(LocalPiFactory):
    """The lines of a Raspberry Pi."""

    simulated = False

    def __init__(self) -> None:
        """Open the chip of the header. Raises OSError."""
        super().__init__()
        self.pin_class = KernelPin
        self.chip = chardev.open_chip()
        self._is_known = True

    @property
    def model(self) -> str:
        """Name of the Raspberry Pi, such as `Raspberry Pi 3B rev 1.2`."""
        name = str(self.board_info.description)
        return name if self._is_known else "unknown board: the firmware told no revision"

    def request(self, gpio: int, settings: gpiod.LineSettings) -> gpiod.LineRequest:
        """Request a line. If the chip was unplugged, look for it again. Raises OSError."""
        try:
            return self._request(gpio, settings)
        except OSError as error:
            if error.errno != errno.ENODEV:
                raise
        chip = chardev.open_chip()
        self.chip.close()
        self.chip = chip
        return self._request(gpio, settings)

    def _request(self, gpio: int, settings: gpiod.LineSettings) -> gpiod.LineRequest:
        return self.chip.request_lines({gpio: settings}, chardev.CONSUMER, _MAX_QUEUED_EDGES)

    def release(self, pin: KernelPin) -> None:
        """Release a line without changing it, so that it can be requested again."""
        pin.close()
        self.pins.pop(pin.info, None)

    def holder(self, gpio: int) -> str | None:
        """Return the consumer name of the program that holds a line, or None.

        A UART that uses the pin counts as a program. The line is not changed.
        """
        with contextlib.suppress(OSError):
            if holder := chardev.holder(self.chip, gpio):
                return holder
        return "the serial port (UART)" if gpio in self._uart_pins else None

    @functools.cached_property
    def _uart_pins(self) -> frozenset[int]:
        return device_tree.uart_pins()

    def level(self, gpio: int) -> int | None:
        """Return the level of a line without changing it, or None if it cannot be read.

        If another program holds it, the error of requesting it names that program.
        """
        with contextlib.suppress(OSError):
            return chardev.read(self.chip, gpio)
        return None

    def close(self) -> None:
        """Release all lines, and the chip."""
        super().close()
        self.chip.close()

    def _get_revision(self) -> int:
        """Return the board's revision, or without the firmware's device tree that of a Pi 3B."""
        try:
            return int(super()._get_revision())
        except PinUnknownPi:
            self._is_known = False
            return _REVISION_OF_3B
