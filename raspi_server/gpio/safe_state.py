"""Safe state: bring each output that the server drove to the state of its `on_failure`.

systemd runs `raspi-server safe-state` after the server has ended. It imports little and depends on
little, since it runs after a failure.
"""

import errno
import logging
import os
from typing import TYPE_CHECKING

from ..config.errors import ConfigError
from ..config.schema import Config, DrivenConfig
from ..config.source import ConfigSource
from .output_state import OutputState, OutputStateStore
from .raspberry_pi import are_real

if TYPE_CHECKING:
    import gpiod

log = logging.getLogger(__name__)

_CLEAN_STATUSES = {"0", "75", "78"}
"""Exit statuses after which nothing is to be done: 0 is a clean stop, which applied `on_stop`; with
75 or 78 a start failed before it opened any pin."""


def apply_safe_state(source: ConfigSource) -> bool:
    """Bring the outputs to their safe state, unless the server ended cleanly.

    Return False if a line could not be brought there. Raises ConfigError if neither config.yaml nor
    the last good configuration can be read.
    """
    ended = os.environ.get("EXIT_CODE"), os.environ.get("EXIT_STATUS")
    if ended[0] == "exited" and ended[1] in _CLEAN_STATUSES:
        return True
    states = OutputStateStore.from_environment()
    pins = _pins(source, states)
    if not pins:
        return True
    log.warning("the server has ended (%s): its outputs get their on_failure state", _why())
    pins.sort(key=lambda pin: pin.on_failure == "on")  # those that go off first
    try:
        from . import chardev

        chip = chardev.open_chip()
    except (OSError, ImportError) as error:
        log.error("GPIO cannot be opened: %s", error)
        return False
    with chip:
        return all([_leave(chip, pin, states) for pin in pins])


def _why() -> str:
    """Return how the server ended, in systemd's terms (systemd.exec(5), $SERVICE_RESULT)."""
    words = [os.environ.get(name) for name in ("SERVICE_RESULT", "EXIT_CODE", "EXIT_STATUS")]
    return ", ".join(word for word in words if word) or "run by hand"


def _pins(source: ConfigSource, states: OutputStateStore) -> list[DrivenConfig]:
    """Return the real outputs that the server has driven since the Pi was started.

    If that is not known, return all. Each is taken from the last good configuration, which was
    running, or else from config.yaml as it is now. Raises ConfigError if neither can be read.
    """
    configs: list[Config] = []
    failure: ConfigError | None = None
    try:
        configs.append(source.load())
    except ConfigError as error:
        failure = error
    if last_good := source.last_good():
        configs.append(last_good)
    if not configs:
        assert failure
        raise failure
    pins: dict[int, DrivenConfig] = {}
    for config in configs:
        if are_real(config.gpio):
            pins |= {pin.gpio: pin for pin in config.pins if isinstance(pin, DrivenConfig)}
    driven = states.driven()
    return [pin for gpio, pin in pins.items() if not driven or gpio in driven]


def _leave(chip: "gpiod.Chip", pin: DrivenConfig, states: OutputStateStore) -> bool:
    """Bring one line to its safe state. If that fails, log the reason and return False."""
    from . import chardev

    last = states.before_restart(pin.gpio)
    has_deadline = last is not None and last.off_at is not None
    if pin.on_failure == "keep" and not has_deadline:
        log.info("%s: kept as it is", pin)
        return True
    on = int(pin.on_failure == "on")
    level = None if pin.on_failure == "input" else on if pin.active == "high" else 1 - on
    try:
        chardev.leave(chip, pin.gpio, level)
        shown = chardev.read(chip, pin.gpio)
    except OSError as error:
        holder = chardev.holder(chip, pin.gpio) if error.errno == errno.EBUSY else None
        log.error("%s: left as it is: %s", pin, f"in use by {holder}" if holder else error)
        return False
    if pin.initial not in ("keep", "restore"):
        states.remember(pin.gpio, OutputState(on), over_power_cut=False)
    log.warning("%s: %s", pin, "released" if level is None else "on" if on else "off")
    if level not in (None, shown):
        log.error("%s: this kernel releases a line that no program holds; it shows %d", pin, shown)
        return False
    return True
