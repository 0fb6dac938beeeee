"""Backends of the pins: real lines, simulated lines, or lines that fail with a reason.

Lines of the last kind are for a Raspberry Pi whose GPIO cannot be opened. gpiozero's own chain of
fallback factories is not used.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Literal, Protocol

from gpiozero.exc import GPIOZeroError, PinError
from gpiozero.pins.mock import MockFactory, MockPWMPin

from .raspberry_pi import are_real

_MAX_SIMULATED_STATES = 100
LINE_ERRORS = (GPIOZeroError, OSError)
"""The errors that reading or driving a line may raise."""


class Line(Protocol):
    """A GPIO line as inputs and outputs use it: a part of gpiozero's Pin.

    `state` is the level, 0 or 1; for pwm the duty cycle from 0 to 1.
    """

    state: Any

    def output_with_state(self, state: float) -> None:
        """Make the line an output with this level. Raises LINE_ERRORS."""

    def pwm_with_state(self, frequency: float, state: float) -> None:
        """Make the line an output with a frequency in hertz and a duty cycle.

        Raises LINE_ERRORS.
        """

    def input_with_pull(self, pull: str) -> None:
        """Make the line an input with a pull: up, down or floating. Raises LINE_ERRORS."""

    def watch(
        self,
        loop: asyncio.AbstractEventLoop,
        changed: Callable[[float, int], None],
        lost: Callable[[], None],
        failed: Callable[[Exception], None],
    ) -> None:
        """Call `changed(moment, level)` on the loop for each edge of an input.

        `moment` is in seconds of the monotonic clock. `lost()` is called when edges were lost,
        `failed(error)` when the line cannot be read any more.
        """

    def unwatch(self) -> None:
        """Call nothing for edges any more."""


class PinFactory(Protocol):
    """The backend as the board uses it."""

    @property
    def simulated(self) -> bool:
        """True if no real line is read or driven."""

    @property
    def board_info(self) -> Any:
        """The header of the Raspberry Pi, as gpiozero's PiBoardInfo."""

    @property
    def model(self) -> str:
        """Name of the Raspberry Pi, such as `Raspberry Pi 3B rev 1.2`."""

    def pin(self, name: int) -> Any:
        """Return the Line of a GPIO number. Raises LINE_ERRORS."""

    def release(self, pin: Any) -> None:
        """Release a line without changing its direction or level. Raises LINE_ERRORS."""

    def level(self, gpio: int) -> int | None:
        """Return the level of a line that no program holds, else None. The line is not changed."""

    def holder(self, gpio: int) -> str | None:
        """Return the name of the program that holds a line, or None. The line is not changed."""

    def close(self) -> None:
        """Release all lines."""


def open_factory(kind: Literal["auto", "real", "simulated"]) -> PinFactory:
    """Return the factory for the config's `gpio` key.

    `auto` means real lines on a Raspberry Pi and simulated ones elsewhere. If real lines cannot be
    opened, each pin of the factory fails with the reason. They are never simulated instead.
    """
    if not are_real(kind):
        return SimulatedFactory()
    try:
        from .kernel_backend import KernelFactory

        return KernelFactory()
    except Exception as error:  # gpiozero raises errors of any kind, and gpiod may be missing
        return UnavailableFactory(f"GPIO cannot be opened: {error} ({_advice(error)})")


def _advice(error: Exception) -> str:
    if isinstance(error, PermissionError):
        return "add the user to the group gpio: sudo usermod -aG gpio NAME, then log in again"
    if isinstance(error, ImportError | AttributeError):  # gpiod 1.5 on PyPI is another library
        return "install raspi-server again: sudo scripts/install.sh"
    return "for details: raspi-server doctor; without a Raspberry Pi, write gpio: simulated"


class SimulatedPin(MockPWMPin):
    """A simulated line with the interface of a real one. It keeps only its last states."""

    _frequency: float | None
    when_changed: Any

    def close(self) -> None:
        """Release the line without changing its direction or level."""
        self.unwatch()

    def watch(
        self,
        loop: asyncio.AbstractEventLoop,
        changed: Callable[[float, int], None],
        lost: Callable[[], None],
        failed: Callable[[Exception], None],
    ) -> None:
        """Call `changed(moment, level)` for each change of the level, at the loop's time."""
        self._loop, self._changed = loop, changed
        self.when_changed = self._report  # gpiozero holds it weakly

    def unwatch(self) -> None:
        """Call nothing for edges any more."""
        self.when_changed = None

    def _report(self, ticks: float, state: int) -> None:
        self._changed(self._loop.time(), int(bool(state)))

    def pwm_with_state(self, frequency: float, state: float) -> None:
        """Make the line an output with a frequency in hertz and a duty cycle from 0 to 1."""
        self.function = "output"
        self.frequency = frequency
        self.state = state

    def output_with_state(self, state: float) -> None:
        """Make the line an output with a level, 0 or 1."""
        self.function = "output"
        self._frequency = None
        self.state = state

    def _change_state(self, value: float) -> bool:
        changed: bool = super()._change_state(value)
        if len(self.states) > 2 * _MAX_SIMULATED_STATES:
            del self.states[:-_MAX_SIMULATED_STATES]
        return changed

    def _set_frequency(self, value: float | None) -> None:
        # gpiozero's MockPWMPin would also drive the line low.
        self._frequency = value


class SimulatedFactory(MockFactory):
    """The simulated lines of a Raspberry Pi 3B. No other program holds one."""

    simulated = True

    def __init__(self) -> None:
        # Without a revision MockFactory reads $GPIOZERO_MOCK_REVISION; a02082 is a Pi 3B.
        super().__init__(revision="a02082", pin_class=SimulatedPin)

    @property
    def model(self) -> str:
        """Name of the Raspberry Pi."""
        return str(self.board_info.description)

    def release(self, pin: SimulatedPin) -> None:
        """Release a line without changing its direction or level."""
        pin.close()

    def level(self, gpio: int) -> int | None:
        """Return None: a simulated line has no level before it is opened."""
        return None

    def holder(self, gpio: int) -> str | None:
        """Return None: other programs do not hold simulated lines."""
        return None


class UnavailableFactory:
    """Real lines that could not be opened: `pin` raises PinError with the reason."""

    simulated = False
    model = "unknown board: its GPIO cannot be opened"

    def __init__(self, reason: str) -> None:
        self.reason = reason

    @property
    def board_info(self) -> Any:
        """The header of a Pi 3B, which all models with 40 pins share."""
        return SimulatedFactory().board_info

    def pin(self, name: int) -> Any:
        """Raise PinError with the reason."""
        raise PinError(self.reason)

    def release(self, pin: Any) -> None:
        """Do nothing: no line was opened."""

    def level(self, gpio: int) -> int | None:
        """Return None: the level cannot be read."""
        return None

    def holder(self, gpio: int) -> str | None:
        """Return None: the holder cannot be read."""
        return None

    def close(self) -> None:
        """Do nothing: no line was opened."""
