"""gpiozero's lgpio factory without pulses at the start.

A line is claimed once, with its direction and first level together, and released without a change.
Importing this module imports lgpio, which opens a FIFO and starts its notification thread. Only
`backend` imports it, for real lines.
"""

import contextlib
import logging
from collections.abc import Callable

import lgpio
from gpiozero.exc import GPIOPinInUse, PinError
from gpiozero.pins.lgpio import LGPIOFactory, LGPIOPin
from gpiozero.pins.local import LocalPiPin

from . import chardev

log = logging.getLogger(__name__)

_PULLS = {
    "up": lgpio.SET_PULL_UP,
    "down": lgpio.SET_PULL_DOWN,
    "floating": lgpio.SET_PULL_NONE,
}


class BlipFreePin(LGPIOPin):
    """A line that is not claimed before its direction is known."""

    def __init__(self, factory: "BlipFreeFactory", info: object) -> None:
        # Not LGPIOPin.__init__: it claims the line as an input, which releases a driven output.
        LocalPiPin.__init__(self, factory, info)
        self._pwm: tuple[float, float] | None = None  # hertz, percent
        self._bounce = None
        self._callback = None
        self._edges = lgpio.BOTH_EDGES
        self._is_driven = False

    def output_with_state(self, state: float) -> None:
        """Drive `state`, 0 or 1, from the first moment: one request sets level and direction."""
        if self._pwm:
            lgpio.tx_pwm(self.factory._handle, self._number, 0, 0)
            self._pwm = None
        if self._is_driven:  # claiming it again would leave the level as it is
            self._call(lgpio.gpio_write, int(state))
        else:
            self._claim(lgpio.gpio_claim_output, int(state))
            self._is_driven = True

    def pwm_with_state(self, frequency: float, state: float) -> None:
        """Drive a duty cycle of `state`, 0 to 1, at `frequency` hertz from the first cycle."""
        self._claim(lgpio.gpio_claim_output, int(state >= 0.5))
        self._is_driven = True
        self._pwm = (frequency, state * 100)
        self._call(lgpio.tx_pwm, *self._pwm)

    def input_with_pull(self, pull: str) -> None:
        """Make the line an input with a pull: up, down or floating."""
        self._claim(lgpio.gpio_claim_input, _PULLS[pull])
        self._is_driven = False

    def close(self) -> None:
        """Release the line without changing its direction or level."""
        if self.factory._handle is not None:
            self.when_changed = None
            lgpio.gpio_free(self.factory._handle, self._number)

    def _claim(self, request: Callable[..., int], argument: int) -> None:
        try:
            self._call(request, argument)
        except PinError as error:
            holder = self.factory.holder(self._number)
            if holder:
                raise GPIOPinInUse(f"{self!r} is in use by {holder}") from error
            raise

    def _call(self, request: Callable[..., int], *arguments: float) -> int:
        """Call a function of lgpio for this line. Raises PinError if it fails."""
        try:
            return request(self.factory._handle, self._number, *arguments)
        except lgpio.error as error:
            raise PinError(f"{self!r}: {error}") from error

    def _call_when_changed(self, *edge: int) -> None:
        """Pass an edge on, and log an exception instead of raising it.

        lgpio has one thread for all lines; an exception would end it. gpiozero's code raises one if
        the line was closed meanwhile.
        """
        try:
            super()._call_when_changed(*edge)
        except Exception:
            log.exception("%r: an edge could not be delivered", self)

    def _get_state(self) -> float:
        return self._pwm[1] / 100 if self._pwm else self._call(lgpio.gpio_read)

    def _disable_event_detect(self) -> None:
        # gpiozero claims the line again as an input here; it is one already.
        if self._callback is not None:
            self._callback.cancel()
            self._callback = None

    def _set_state(self, value: float) -> None:
        if self._pwm:
            # gpiozero cuts the duty cycle to whole percent; tx_pwm takes a fraction.
            self._pwm = (self._pwm[0], value * 100)
            self._call(lgpio.tx_pwm, *self._pwm)
        else:
            self._call(lgpio.gpio_write, int(value))


class BlipFreeFactory(LGPIOFactory):
    """The lines of a Raspberry Pi through lgpio."""

    simulated = False

    def __init__(self) -> None:
        self._device = chardev.find()
        super().__init__(chip=int(self._device.name.removeprefix("gpiochip")))
        self.pin_class = BlipFreePin

    @property
    def is_listening(self) -> bool:
        """True while edges still arrive: lgpio's only thread is alive. An exception ends it."""
        return bool(lgpio._notify_thread.is_alive())

    def release(self, pin: BlipFreePin) -> None:
        """Release a line without changing it, so that it can be claimed again."""
        pin.close()
        self.pins.pop(pin.info, None)

    def holder(self, gpio: int) -> str | None:
        """Return the consumer name of the program that holds a line, or None.

        The line is not changed.
        """
        with contextlib.suppress(OSError):
            return chardev.holder(self._device, gpio)
        return None

    def level(self, gpio: int) -> int | None:
        """Return the level of a line without changing it, or None if it cannot be read.

        If another program holds it, the error of claiming it names that program.
        """
        with contextlib.suppress(OSError):
            return chardev.read(self._device, gpio)
        return None
