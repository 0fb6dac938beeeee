"""PWM in software: a thread of lgpio switches a line on and off.

The kernel's character device has no PWM. Importing lgpio opens a FIFO and starts another thread, so
it is imported only for the first pwm pin.
"""

import atexit
import functools
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from gpiozero.exc import PinError

_RASPBERRY_PI_OS = Path("/etc/rpi-issue")
_FIRST_WITHOUT_WHEEL = 3, 13
"""The release of Python from which lgpio has no wheel. It has none for 32 bits at all."""


class SoftwarePwm:
    """A line that lgpio holds and dims. `duty_cycle` is from 0 to 1.

    The constructor claims the line at the level that is nearer to the duty cycle. All methods raise
    PinError if lgpio cannot do it, or is not there.
    """

    def __init__(self, chip: int, gpio: int, frequency: float, duty_cycle: float) -> None:
        """Dim the line of a chip, by its number, with a frequency in hertz."""
        self._gpio = gpio
        self._frequency = frequency
        self._lgpio = _import_lgpio()
        self._handle = self._call("gpiochip_open", chip)
        try:
            self._call("gpio_claim_output", self._handle, gpio, int(duty_cycle >= 0.5))
            self.dim(duty_cycle)
        except PinError:
            self.release()
            raise

    def dim(self, duty_cycle: float) -> None:
        """Change the duty cycle."""
        # lgpio takes a fraction of a percent; gpiozero's own code would cut it off.
        self._call("tx_pwm", self._handle, self._gpio, self._frequency, duty_cycle * 100)
        self.duty_cycle = duty_cycle

    def leave(self, level: int | None) -> None:
        """End the PWM with a level, 0 or 1, or with None as an input."""
        self._call("tx_pwm", self._handle, self._gpio, 0, 0)
        if level is None:
            no_pull = self._lgpio.SET_PULL_NONE
            self._call("gpio_claim_input", self._handle, self._gpio, no_pull)
        else:
            self._call("gpio_write", self._handle, self._gpio, level)

    def release(self) -> None:
        """Release the line without changing its direction or level."""
        self._call("gpiochip_close", self._handle)

    def _call(self, name: str, *arguments: float) -> Any:
        try:
            return getattr(self._lgpio, name)(*arguments)
        except self._lgpio.error as error:
            raise PinError(f"GPIO{self._gpio}: {error}") from error


def remedy() -> str:
    """Return what to do on this system where lgpio is missing."""
    if _RASPBERRY_PI_OS.exists():
        return "sudo apt install python3-lgpio && sudo scripts/install.sh"
    if sys.version_info < _FIRST_WITHOUT_WHEEL and sys.maxsize > 2**32:
        return "sudo scripts/install.sh"
    return "write mode: output in place of pwm; Raspberry Pi OS has lgpio, this system has not"


@functools.cache
def _import_lgpio() -> Any:
    """Return the module lgpio. Raises PinError if it is not installed.

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
        import lgpio

        lgpio.tx_pwm  # noqa: B018  # 0.0.0.2 is an empty stub
    except (ImportError, AttributeError) as error:
        raise PinError(f"a pwm pin needs lgpio: {error} ({remedy()})") from error
    finally:
        os.chdir(here)
    return lgpio
