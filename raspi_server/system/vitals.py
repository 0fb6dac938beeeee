"""The Pi's own pulse: temperature, throttling, load, memory, disk, uptime. What a machine does not
tell is None."""

import contextlib
import os
from pathlib import Path

_TEMPERATURE = Path("/sys/class/thermal/thermal_zone0/temp")
_THROTTLED = Path("/sys/devices/platform/soc/soc:firmware/get_throttled")
_MEMORY = Path("/proc/meminfo")
_UPTIME = Path("/proc/uptime")

_COMPLAINTS = {
    0: "under-voltage now",
    1: "frequency capped now",
    2: "throttled now",
    3: "too hot now",
    16: "under-voltage since boot",
    17: "frequency capped since boot",
    18: "throttled since boot",
    19: "too hot since boot",
}
"""Bits of the firmware's get_throttled (Raspberry Pi documentation, vcgencmd)."""


def temperature() -> float | None:
    """Degrees Celsius of the processor."""
    with contextlib.suppress(OSError, ValueError):
        return round(int(_TEMPERATURE.read_text()) / 1000, 1)
    return None


def throttled() -> list[str] | None:
    """What the firmware complains of, in words; an empty list where all is well."""
    with contextlib.suppress(OSError, ValueError):
        bits = int(_THROTTLED.read_text(), 16)
        return [words for bit, words in _COMPLAINTS.items() if bits & 1 << bit]
    return None


def load() -> float | None:
    """Processes that want to run, for each core, over the last minute."""
    with contextlib.suppress(OSError):
        return round(os.getloadavg()[0] / (os.cpu_count() or 1), 2)
    return None


def memory() -> float | None:
    """The used share, 0 to 1, of what could be had."""
    with contextlib.suppress(OSError, ValueError, KeyError):
        lines = (line.split(":") for line in _MEMORY.read_text().splitlines())
        sizes = {name: int(rest.split()[0]) for name, rest in lines}
        return round(1 - sizes["MemAvailable"] / sizes["MemTotal"], 3)
    return None


def disk() -> float | None:
    """The used share, 0 to 1, of the root file system."""
    with contextlib.suppress(OSError, ZeroDivisionError):
        found = os.statvfs("/")
        return round(1 - found.f_bavail / found.f_blocks, 3)
    return None


def uptime() -> float | None:
    """Seconds since the machine started."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        return float(_UPTIME.read_text().split()[0])
    return None
