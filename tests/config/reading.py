"""Reading of a configuration in a text, for the tests in this folder."""

from pathlib import Path

import pytest

from raspi_server.config.errors import ConfigError
from raspi_server.config.parser import parse
from raspi_server.config.schema import InputConfig, OutputConfig, PwmConfig

HERE = Path("/etc/raspi-server")
MODES = {"input": InputConfig, "output": OutputConfig, "pwm": PwmConfig}

GPIO = "a pin from GPIO0 to GPIO27"
NAME = "a name of at most 32 characters from a-z, 0-9, _ and -, a letter first"
TOP_KEYS = (
    "port, address, ssl, interval, www, gpio, access, mqtt, hooks, location, schedules, rules,"
    " metrics, log_level, pins, covers"
)


def read(text, **options):
    """Return the configuration in a text or in bytes."""
    data = text if isinstance(text, bytes) else text.encode()
    return parse(data, "config.yaml", HERE, **options)


def errors(text):
    """Return the errors of a text as people read them, line by line."""
    with pytest.raises(ConfigError) as caught:
        read(text)
    lines = [str(error) for error in caught.value.errors]
    assert str(caught.value).split("\n") == lines
    return lines


def pin_text(mode, *entries, gpio=17, name="lamp"):
    """Return one pin as YAML; the first of its entries is in line 5."""
    start = ["pins:", f"  {name}:", f"    gpio: {gpio}", f"    mode: {mode}"]
    return "\n".join([*start, *(f"    {entry}" for entry in entries), ""])


def one_pin(mode, *entries, **more):
    (pin,) = read(pin_text(mode, *entries, **more)).pins
    return pin
