"""gpiozero's lgpio factory without its start-up blips: a line is claimed once, with its direction
and its first level, and released as it is. Importing this module imports lgpio, which opens a FIFO
and starts its notification thread; only `backend` does so, for real lines."""

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
    """A line that is touched only once its direction is known."""

    def __init__(self, factory: "BlipFreeFactory", info: object) -> None:
        # Not LGPIOPin's: that claims the line as an input, which releases a driven output.
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
        self._claim(lgpio.gpio_claim_input, _PULLS[pull])
        self._is_driven = False

    def close(self) -> None:
        """Release the line and leave it as it is."""
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
        """Call a function of lgpio for this line. Raises PinError where it fails."""
        try:
            return request(self.factory._handle, self._number, *arguments)
        except lgpio.error as error:
            raise PinError(f"{self!r}: {error}") from error

    def _call_when_changed(self, *edge: int) -> None:
        """Pass an edge on. lgpio has one thread for all lines, which an exception would end;
        gpiozero's own code raises one where the line is closed meanwhile."""
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
        """True while the one thread that delivers all edges is alive: an exception ends it."""
        return bool(lgpio._notify_thread.is_alive())

    def release(self, pin: BlipFreePin) -> None:
        """Release the line of `pin` as it is, so that it can be claimed again."""
        pin.close()
        self.pins.pop(pin.info, None)

    def holder(self, gpio: int) -> str | None:
        """Return the consumer name of the program that holds the line, or None. The line is not
        disturbed."""
        with contextlib.suppress(OSError):
            return chardev.holder(self._device, gpio)
        return None

    def level(self, gpio: int) -> int | None:
        """Return the level of a line, read without driving or releasing it, or None where it is in
        use: the error of claiming it names the holder."""
        with contextlib.suppress(OSError):
            return chardev.read(self._device, gpio)
        return None
