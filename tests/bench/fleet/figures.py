"""Numbers as people read them, each beside what was to be reached."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from typing import NamedTuple

from ..process import CHECKOUT
from .programs import MOSQUITTO

HEADINGS = ("what", "measured", "to reach")


class Row(NamedTuple):
    what: str
    measured: str
    to_reach: str = ""


def spread(values: Sequence[float], digits: int = 0) -> str:
    """The median, and the range in brackets where there is one."""
    middle = f"{statistics.median(values):,.{digits}f}"
    low, high = (f"{each:,.{digits}f}" for each in (min(values), max(values)))
    return middle if low == high else f"{middle} ({low}–{high})"


def quantile(values: Sequence[float], share: float) -> float:
    """Of sorted values the one below which this share lies."""
    return values[min(int(len(values) * share), len(values) - 1)]


def table(rows: list[Row]) -> Iterator[str]:
    """As Markdown, and in columns for whoever reads it in a terminal."""
    lines = [HEADINGS, *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for number, line in enumerate(lines):
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        yield f"| {' | '.join(cells)} |"
        if number == 0:
            yield f"| {' | '.join('-' * width for width in widths)} |"


def circumstances() -> Iterator[str]:
    """On what it was measured."""
    names = ("raspi-server", "paho-mqtt", "tornado", "msgspec", "websockets")
    packages = ", ".join(f"{name} {version(name)}" for name in names)
    yield f"Python {platform.python_version()}, {packages}; {_mosquitto()}; commit {_commit()}."
    cores = len(os.sched_getaffinity(0))
    load = ", ".join(f"{each:.1f}" for each in os.getloadavg())
    yield f"{_machine()}, {cores} cores, Linux {platform.release()}; load {load} at the end."


def _mosquitto() -> str:
    said = subprocess.run([MOSQUITTO, "-h"], capture_output=True, text=True).stdout
    return said.partition("\n")[0].replace("version ", "")


def _commit() -> str:
    asked = ["git", "-C", str(CHECKOUT), "describe", "--always", "--dirty"]
    try:
        return subprocess.run(asked, check=True, capture_output=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _machine() -> str:
    with open("/proc/cpuinfo", encoding="utf-8") as told:
        for line in told:
            if line.startswith("model name"):
                return f"{line.partition(':')[2].strip()} ({platform.machine()})"
    return platform.machine()
