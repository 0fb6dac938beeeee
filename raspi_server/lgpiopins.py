"""gpiozero's lgpio factory without its start-up blips: a line is claimed once, as what it shall be
and with the level it shall have, and let go as it is. Importing this room imports lgpio, which
opens a FIFO and starts its notification thread; only `pinfactory` does so, for real pins."""

import fcntl
import os
import struct
from collections.abc import Callable

import lgpio
from gpiozero.exc import GPIOPinInUse, PinError
from gpiozero.pins.lgpio import LGPIOFactory, LGPIOPin
from gpiozero.pins.local import LocalPiPin

_PULLS = {
    "up": lgpio.SET_PULL_UP,
    "down": lgpio.SET_PULL_DOWN,
    "floating": lgpio.SET_PULL_NONE,
}
_IN_USE = 1
"""Bit of gpio_get_line_info's flags: the kernel or some program holds the line."""

# linux/gpio.h: struct gpio_v2_line_request is 592 bytes, its one offset first, its consumer at 256,
# the number of lines at 560, the descriptor we are given at 588; struct gpio_v2_line_values is
# bits and mask. Neither direction flag in the request means: as the line is.
_GET_LINE = 0xC250B407
_GET_VALUES = 0xC010B40E


class BlipFreePin(LGPIOPin):
    """A pin that touches its line only when told what to be."""

    def __init__(self, factory: "BlipFreeFactory", info: object) -> None:
        # Not LGPIOPin's: that claims the line as an input, which lets go of a driven output.
        LocalPiPin.__init__(self, factory, info)
        self._pwm: tuple[float, float] | None = None  # hertz, percent
        self._bounce = None
        self._callback = None
        self._edges = lgpio.BOTH_EDGES
        self._is_driven = False

    def output_with_state(self, state: float) -> None:
        """Drives `state`, 0 or 1, from the first moment: one request sets level and direction."""
        if self._pwm:
            lgpio.tx_pwm(self.factory._handle, self._number, 0, 0)
            self._pwm = None
        if self._is_driven:  # claiming it again would leave the level as it is
            self._ask(lgpio.gpio_write, int(state))
        else:
            self._claim(lgpio.gpio_claim_output, int(state))
            self._is_driven = True

    def pwm_with_state(self, frequency: float, state: float) -> None:
        """Drives a duty cycle of `state`, 0 to 1, at `frequency` hertz from the first cycle."""
        self._claim(lgpio.gpio_claim_output, int(state >= 0.5))
        self._is_driven = True
        self._pwm = (frequency, state * 100)
        self._ask(lgpio.tx_pwm, *self._pwm)

    def input_with_pull(self, pull: str) -> None:
        self._claim(lgpio.gpio_claim_input, _PULLS[pull])
        self._is_driven = False

    def close(self) -> None:
        """Lets go of the line and leaves it as it is."""
        if self.factory._handle is not None:
            self.when_changed = None
            lgpio.gpio_free(self.factory._handle, self._number)

    def _claim(self, request: Callable[..., int], argument: int) -> None:
        try:
            self._ask(request, argument)
        except PinError as error:
            holder = self.factory.holder(self._number)
            if holder:
                raise GPIOPinInUse(f"{self!r} is in use by {holder}") from error
            raise

    def _ask(self, request: Callable[..., int], *arguments: float) -> int:
        """One of lgpio's calls for this line, with gpiozero's error where it fails."""
        try:
            return request(self.factory._handle, self._number, *arguments)
        except lgpio.error as error:
            raise PinError(f"{self!r}: {error}") from error

    def _get_state(self) -> float:
        return self._pwm[1] / 100 if self._pwm else self._ask(lgpio.gpio_read)

    def _disable_event_detect(self) -> None:
        # gpiozero claims the line anew as an input here; it is one already.
        if self._callback is not None:
            self._callback.cancel()
            self._callback = None

    def _set_state(self, value: float) -> None:
        if self._pwm:
            # gpiozero cuts the duty cycle to whole percent; tx_pwm takes a fraction.
            self._pwm = (self._pwm[0], value * 100)
            self._ask(lgpio.tx_pwm, *self._pwm)
        else:
            self._ask(lgpio.gpio_write, int(value))


class BlipFreeFactory(LGPIOFactory):
    """The lines of a Raspberry Pi through lgpio."""

    simulated = False

    def __init__(self) -> None:
        super().__init__()
        self.pin_class = BlipFreePin

    @property
    def is_listening(self) -> bool:
        """Whether the one thread that brings all edges is alive: an exception in it ends it."""
        return bool(lgpio._notify_thread.is_alive())

    def release(self, pin: BlipFreePin) -> None:
        """Lets go of the line behind `pin` as it is, so that it can be claimed anew."""
        pin.close()
        self.pins.pop(pin.info, None)

    def holder(self, gpio: int) -> str | None:
        """Who holds the line, by consumer name, or None; looking disturbs nothing."""
        status, _, flags, name, user = lgpio.gpio_get_line_info(self._handle, gpio)
        return (user or name or "another program") if status == 0 and flags & _IN_USE else None

    def level(self, gpio: int) -> int | None:
        """The level a line shows, asked for in the way that neither drives nor lets go of it."""
        request = bytearray(592)
        struct.pack_into("=I", request, 0, gpio)
        struct.pack_into("=12s", request, 256, b"raspi-server")
        struct.pack_into("=I", request, 560, 1)
        try:
            chip = os.open(f"/dev/gpiochip{self.chip}", os.O_RDWR | os.O_CLOEXEC)
            try:
                fcntl.ioctl(chip, _GET_LINE, request)
            finally:
                os.close(chip)
            (line,) = struct.unpack_from("=i", request, 588)
            values = bytearray(struct.pack("=QQ", 0, 1))
            try:
                fcntl.ioctl(line, _GET_VALUES, values)
            finally:
                os.close(line)
        except OSError:
            return None  # in use: claiming it will say by whom
        return values[0] & 1
