"""Where pins come from: the lines of a Raspberry Pi, simulated ones, or, where a Pi does not let us
at its lines, pins that say why. A factory is chosen by us, never by gpiozero's fallback chain."""

import atexit
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any, Literal, Protocol

from gpiozero.exc import GPIOZeroError, PinError
from gpiozero.pins.mock import MockFactory, MockPWMPin

from .chardev import are_real

_STATES_KEPT = 100
LineErrors = (GPIOZeroError, OSError)
"""What touching a line may raise."""


class Pin(Protocol):
    """What the board asks of a pin: gpiozero's Pin, whose levels are 0 and 1 (0 to 1 for pwm)."""

    state: Any
    frequency: Any
    edges: str
    when_changed: Any

    def output_with_state(self, state: float) -> None: ...
    def pwm_with_state(self, frequency: float, state: float) -> None: ...
    def input_with_pull(self, pull: str) -> None: ...


class PinFactory(Protocol):
    """What the board asks of a factory. `simulated` says that nothing real is behind the pins."""

    @property
    def simulated(self) -> bool: ...
    @property
    def board_info(self) -> Any: ...
    @property
    def is_listening(self) -> bool:
        """Whether edges still arrive: the thread that brings them is alive."""

    def pin(self, name: int) -> Any: ...
    def release(self, pin: Any) -> None:
        """Lets go of a pin and leaves its line as it is."""

    def level(self, gpio: int) -> int | None:
        """The level a line shows that is not ours, or None; looking disturbs nothing."""

    def holder(self, gpio: int) -> str | None:
        """Who holds a line that is not ours, or None; looking disturbs nothing."""

    def close(self) -> None: ...


def open_factory(kind: Literal["auto", "real", "simulated"]) -> PinFactory:
    """The factory for the config's `gpio` key: `auto` is real on a Raspberry Pi only. Where real
    lines cannot be opened its pins fail with the reason; they are never quietly simulated."""
    if not are_real(kind):
        return SimulatedFactory()
    try:
        return _real_factory()
    except Exception as error:  # lgpio and gpiozero raise what they like, ImportError included
        return ClosedFactory(f"GPIO cannot be opened: {error} ({_advice(error)})")


def _advice(error: Exception) -> str:
    if isinstance(error, PermissionError):
        return "be a member of the group gpio: sudo usermod -aG gpio NAME, then log in again"
    if isinstance(error, ImportError | AttributeError):  # lgpio 0.0.0.2 is an empty stub
        return "sudo apt install python3-lgpio, then install raspi-server again"
    return "raspi-server doctor says more; without a Raspberry Pi: gpio: simulated"


def _real_factory() -> PinFactory:
    """lgpio makes its FIFO in the working directory, or changes to $LG_WD for good."""
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
    """A pin of thin air, which can be driven like a real one and remembers only its last states."""

    _frequency: float | None

    def close(self) -> None:
        """Lets go of the line and leaves it as it is."""
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
        if len(self.states) > 2 * _STATES_KEPT:
            del self.states[:-_STATES_KEPT]
        return changed

    def _set_frequency(self, value: float | None) -> None:
        # gpiozero's mock would also drive the line low.
        self._frequency = value


class SimulatedFactory(MockFactory):
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


class ClosedFactory:
    """Stands in for real lines that could not be opened: every pin fails with the reason."""

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
