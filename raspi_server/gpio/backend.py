"""Backends of the pins: the lines of a Raspberry Pi, simulated lines, or, where a Pi's lines cannot
be opened, lines that fail with the reason. gpiozero's own fallback chain is not used."""

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
    """A GPIO line as inputs and outputs use it: gpiozero's Pin, whose levels are 0 and 1 (0 to 1
    for pwm)."""

    state: Any
    frequency: Any
    edges: str
    when_changed: Any

    def output_with_state(self, state: float) -> None: ...
    def pwm_with_state(self, frequency: float, state: float) -> None: ...
    def input_with_pull(self, pull: str) -> None: ...


class PinFactory(Protocol):
    """The backend as the board uses it. `simulated`: nothing real is read or switched."""

    @property
    def simulated(self) -> bool: ...
    @property
    def board_info(self) -> Any: ...
    @property
    def is_listening(self) -> bool:
        """True while edges still arrive: the thread that delivers them is alive."""

    def pin(self, name: int) -> Any: ...
    def release(self, pin: Any) -> None:
        """Release a line and leave it as it is."""

    def level(self, gpio: int) -> int | None:
        """Return the level of a line that we do not hold, or None. The line is not disturbed."""

    def holder(self, gpio: int) -> str | None:
        """Return the program that holds a line, if it is another one, or None. The line is not
        disturbed."""

    def close(self) -> None: ...


def open_factory(kind: Literal["auto", "real", "simulated"]) -> PinFactory:
    """Return the factory for the config's `gpio` key: `auto` is real on a Raspberry Pi only. Where
    real lines cannot be opened, its pins fail with the reason; they are never simulated instead."""
    if not are_real(kind):
        return SimulatedFactory()
    try:
        return _real_factory()
    except Exception as error:  # lgpio and gpiozero raise errors of any kind, also ImportError
        return UnavailableFactory(f"GPIO cannot be opened: {error} ({_advice(error)})")


def _advice(error: Exception) -> str:
    if isinstance(error, PermissionError):
        return "be a member of the group gpio: sudo usermod -aG gpio NAME, then log in again"
    if isinstance(error, ImportError | AttributeError):  # lgpio 0.0.0.2 is an empty stub
        return "sudo apt install python3-lgpio, then install raspi-server again"
    return "raspi-server doctor says more; without a Raspberry Pi: gpio: simulated"


def _real_factory() -> PinFactory:
    """Return the factory of lgpio. lgpio makes its FIFO in the working directory, or changes to
    $LG_WD for good."""
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
    """A simulated line, which can be driven like a real one and remembers only its last states."""

    _frequency: float | None

    def close(self) -> None:
        """Release the line and leave it as it is."""
        self.when_changed = None

    def pwm_with_state(self, frequency: float, state: float) -> None:
        self.function = "output"
        self.frequency = frequency
        self.state = state

    def output_with_state(self, state: float) -> None:
        self.function = "output"
        self._frequency = None
        self.state = state

    def _change_state(self, value: float) -> bool:
        changed: bool = super()._change_state(value)
        if len(self.states) > 2 * _MAX_SIMULATED_STATES:
            del self.states[:-_MAX_SIMULATED_STATES]
        return changed

    def _set_frequency(self, value: float | None) -> None:
        # gpiozero's mock would also drive the line low.
        self._frequency = value


class SimulatedFactory(MockFactory):
    """Simulated lines."""

    simulated = True
    is_listening = True

    def __init__(self) -> None:
        # Without a revision MockFactory asks the environment; a02082 is a Pi 3B.
        super().__init__(revision="a02082", pin_class=SimulatedPin)

    def release(self, pin: SimulatedPin) -> None:
        pin.close()

    def level(self, gpio: int) -> int | None:
        return None

    def holder(self, gpio: int) -> str | None:
        return None


class UnavailableFactory:
    """Real lines that could not be opened: every pin fails with the reason."""

    simulated = False
    is_listening = True  # to nothing

    def __init__(self, reason: str) -> None:
        self.reason = reason

    @property
    def board_info(self) -> Any:
        return SimulatedFactory().board_info

    def pin(self, name: int) -> Any:
        raise PinError(self.reason)

    def release(self, pin: Any) -> None:
        pass

    def level(self, gpio: int) -> int | None:
        return None

    def holder(self, gpio: int) -> str | None:
        return None

    def close(self) -> None:
        pass
