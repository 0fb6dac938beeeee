"""The command `raspi-server doctor --report`: facts about this Pi for an issue of the project.

It prints no name, no address, no label of a pin, no code and no path of a person.
"""

import contextlib
import importlib.metadata
import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from .. import __version__
from ..gpio.raspberry_pi import on_raspberry_pi
from ..system import vitals
from ..system.logs import legible
from ..system.storage import SERVICE

_LIBRARIES = ("gpiod", "gpiozero", "lgpio", "tornado", "msgspec", "PyYAML")
_PARAMETERS = Path("/sys/module")
_ROUNDS = 3
_TIMEOUT_S = 60


def lines() -> Iterator[str]:
    """Yield the report, a line for each fact, as a list in Markdown."""
    for name, value in _facts():
        yield f"- {name}: {legible(value)}"


def _facts() -> Iterator[tuple[str, str]]:
    yield "raspi-server", __version__
    model = _read("/proc/device-tree/model") if on_raspberry_pi() else ""
    yield "board", model or "no Raspberry Pi"
    yield "memory", f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') >> 20} MiB"
    system = "?"
    with contextlib.suppress(OSError):
        system = platform.freedesktop_os_release().get("PRETTY_NAME", "?")
    raspberry = ", Raspberry Pi OS" if Path("/etc/rpi-issue").exists() else ""
    yield "system", f"{system}{raspberry}, {platform.machine()}"
    yield "kernel", platform.release()
    for file in sorted(_PARAMETERS.glob("pinctrl_*/parameters/persist_gpio_outputs")):
        yield f"{file.parts[-3]}.persist_gpio_outputs", _read(str(file))
    yield "Python", platform.python_version()
    yield "libraries", ", ".join(f"{name} {_version(name)}" for name in _LIBRARIES)
    yield from _chips()
    throttled = vitals.throttled()
    yield "power", "unknown" if throttled is None else ", ".join(throttled) or "good"
    yield "python3 -c pass", _milliseconds("pass")
    yield "import of Tornado and gpiozero", _milliseconds("import tornado.web, gpiozero")
    yield "import of the server", _milliseconds("import raspi_server.server")
    if started := _start_to_ready():
        yield "start of the service, to READY", started


def _chips() -> Iterator[tuple[str, str]]:
    try:
        import gpiod
    except ImportError as error:
        yield "GPIO chips", str(error)
        return
    for device in sorted(Path("/dev").glob("gpiochip*")):
        try:
            with gpiod.Chip(str(device)) as chip:
                info = chip.get_info()
                yield device.name, f"{info.label}, {info.num_lines} lines"
        except OSError as error:
            yield device.name, str(error.strerror)


def _read(file: str) -> str:
    try:
        return Path(file).read_text().strip("\0\n ")
    except OSError:
        return ""


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "missing"


def _milliseconds(code: str) -> str:
    """Return how long Python takes for this code: the best of some runs, in words."""
    best = float("inf")
    for _ in range(_ROUNDS):
        began = time.monotonic()
        command = [sys.executable, "-I", "-c", code]
        subprocess.run(command, check=False, timeout=_TIMEOUT_S, stderr=subprocess.DEVNULL)
        best = min(best, time.monotonic() - began)
    return f"{best * 1000:.0f} ms"


def _start_to_ready() -> str:
    """Return how long the last start of the service took, in words, or nothing."""
    names = ("ExecMainStartTimestampMonotonic", "ActiveEnterTimestampMonotonic")
    command = ["systemctl", "show", SERVICE, *(f"--property={name}" for name in names)]
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        said = subprocess.run(
            command, check=False, timeout=_TIMEOUT_S, capture_output=True, text=True
        ).stdout
        moments = {name: int(value) for name, value in re.findall(r"(\w+)=(\d+)", said)}
        begin, end = (moments.get(name, 0) for name in names)
        if 0 < begin < end:
            return f"{(end - begin) / 1e6:.1f} s"
    return ""
