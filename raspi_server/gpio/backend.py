"""Backends of the pins: real lines, simulated lines, or lines that fail with a reason.

Lines of the last kind are for a Raspberry Pi whose GPIO cannot be opened. gpiozero's own chain of
fallback factories is not used.
"""

import atexit
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any, Literal, Protocol

from gpiozero.exc import GPIOZeroError, PinError
from gpiozero.pins.mock import MockFactory, MockPWMPin

from .chardev import are_real

_MAX_SIMULATED_STATES = 100
LINE_ERRORS = (GPIOZeroError, OSError)
"""The errors that reading or driving a line may raise."""


class Line(Protocol):
    """A GPIO line as inputs and outputs use it: a part of gpiozero's Pin.

    `state` is the level, 0 or 1; for pwm the duty cycle from 0 to 1.
    """

    state: Any
    frequency: Any
    edges: str
    when_changed: Any

    def output_with_state(self, state: float) -> None:
        """Make the line an output with this level. Raises LINE_ERRORS."""

    def pwm_with_state(self, frequency: float, state: float) -> None:
        """Make the line an output with a frequency in hertz and a duty cycle.

        Raises LINE_ERRORS.
        """

    def input_with_pull(self, pull: str) -> None:
        """Make the line an input with a pull: up, down or floating. Raises LINE_ERRORS."""


class PinFactory(Protocol):
    """The backend as the board uses it."""

    @property
    def simulated(self) -> bool:
        """True if no real line is read or driven."""

    @property
    def board_info(self) -> Any:
        """The model of the Raspberry Pi and its header, as gpiozero's PiBoardInfo."""

    @property
    def is_listening(self) -> bool:
        """True while edges still arrive: the thread that delivers them is alive."""

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
        return _real_factory()
    except Exception as error:  # lgpio and gpiozero raise errors of any kind, also ImportError
        return UnavailableFactory(f"GPIO cannot be opened: {error} ({_advice(error)})")


def _advice(error: Exception) -> str:
    if isinstance(error, PermissionError):
        return "add the user to the group gpio: sudo usermod -aG gpio NAME, then log in again"
    if isinstance(error, ImportError | AttributeError):  # lgpio 0.0.0.2 is an empty stub
        return "sudo apt install python3-lgpio, then install raspi-server again"
    return "for details: raspi-server doctor; without a Raspberry Pi, write gpio: simulated"


def _real_factory() -> PinFactory:
    """Return the factory of lgpio.

    lgpio creates its FIFO in the working directory. If $LG_WD is set it changes to that directory
    and stays there, so the working directory is restored here.
    """
    if "LG_WD" not in os.environ:
        folder = os.environ.get("RUNTIME_DIRECTORY")
        if not folder:
            folder = tempfile.mkdtemp(prefix="raspi-server-")
            atexit.register(shutil.rmtree, folder, ignore_errors=True)
        os.environ["LG_WD"] = folder
    here = Path.cwd()
    try:
        from .lgpio_backend import BlipFreeFactory
    finally:
        os.chdir(here)
    return BlipFreeFactory()


class SimulatedPin(MockPWMPin):
    """A simulated line with the interface of a real one. It keeps only its last states."""

    _frequency: float | None

    def close(self) -> None:
        """Release the line without changing its direction or level."""
        self.when_changed = None

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
    is_listening = True

    def __init__(self) -> None:
        # Without a revision MockFactory reads $GPIOZERO_MOCK_REVISION; a02082 is a Pi 3B.
        super().__init__(revision="a02082", pin_class=SimulatedPin)

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
    is_listening = True  # no line is open, so no edge can get lost

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
