"""The safe state of the outputs of a configuration, as `safe_state` needs it."""

import logging
from pathlib import Path

import msgspec

from ..config.errors import ConfigError
from ..config.schema import Config, DrivenConfig
from ..config.source import ConfigSource
from ..system import storage
from .raspberry_pi import are_real
from .safe_state import FILE_NAME, Output

log = logging.getLogger(__name__)


def outputs_of(config: Config) -> list[Output]:
    """Return the real outputs of a configuration, none if its pins are simulated."""
    pins = config.pins if are_real(config.gpio) else ()
    return [
        {
            "gpio": pin.gpio,
            "name": str(pin),
            "on_failure": pin.on_failure,
            "is_active_low": pin.active == "low",
            "is_kept": pin.initial in ("keep", "restore"),
        }
        for pin in pins
        if isinstance(pin, DrivenConfig)
    ]


def write(folder: Path | None, config: Config) -> None:
    """Write the outputs into the run folder, for `safe-state`. If that fails, log the reason.

    Call this before any of them is driven. Without a run folder nothing is written: systemd makes
    it, and runs `safe-state`.
    """
    if folder is None:
        return
    try:
        data = msgspec.json.encode(outputs_of(config))
        storage.replace(folder / FILE_NAME, data, durable=False)
    except OSError as error:
        words = "%s: %s; after a failure the outputs are taken from config.yaml"
        log.warning(words, folder / FILE_NAME, error.strerror)


def from_configuration(source: ConfigSource) -> list[Output]:
    """Return the outputs of config.yaml and of the last good configuration, which was running.

    If they differ on a line, the last good one counts. Raises ConfigError if neither can be read.
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
    found = {output["gpio"]: output for config in configs for output in outputs_of(config)}
    return list(found.values())
