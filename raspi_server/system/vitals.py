"""Vital signs of the machine: temperature, throttling, load, memory, disk, uptime.

A value that the machine does not provide is None.
"""

import contextlib
import os
from pathlib import Path

_TEMPERATURE = Path("/sys/class/thermal/thermal_zone0/temp")
_THROTTLED = Path("/sys/devices/platform/soc/soc:firmware/get_throttled")
_MEMORY = Path("/proc/meminfo")
_UPTIME = Path("/proc/uptime")

THROTTLING = {
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
    """Return the temperature of the processor, in degrees Celsius."""
    with contextlib.suppress(OSError, ValueError):
        return round(int(_TEMPERATURE.read_text()) / 1000, 1)
    return None


def throttled() -> list[str] | None:
    """Return the firmware's warnings in words; an empty list if there are none."""
    with contextlib.suppress(OSError, ValueError):
        bits = int(_THROTTLED.read_text(), 16)
        return [words for bit, words in THROTTLING.items() if bits & 1 << bit]
    return None


def load() -> float | None:
    """Return the number of runnable processes for each core, over the last minute."""
    with contextlib.suppress(OSError):
        return round(os.getloadavg()[0] / (os.cpu_count() or 1), 2)
    return None


def memory() -> float | None:
    """Return the used share, 0 to 1, of the memory."""
    with contextlib.suppress(OSError, ValueError, KeyError):
        lines = (line.split(":") for line in _MEMORY.read_text().splitlines())
        sizes = {name: int(rest.split()[0]) for name, rest in lines}
        return round(1 - sizes["MemAvailable"] / sizes["MemTotal"], 3)
    return None


def disk() -> float | None:
    """Return the used share, 0 to 1, of the root file system."""
    with contextlib.suppress(OSError, ZeroDivisionError):
        found = os.statvfs("/")
        return round(1 - found.f_bavail / found.f_blocks, 3)
    return None


def uptime() -> float | None:
    """Return the seconds since the machine started."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        return float(_UPTIME.read_text().split()[0])
    return None
