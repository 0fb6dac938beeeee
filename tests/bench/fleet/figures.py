"""Figures for people, each beside its target."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from .. import machine
from .programs import MOSQUITTO

HEADINGS = ("what", "measured", "to reach")


class Row(NamedTuple):
    what: str
    measured: str
    to_reach: str = ""


def spread(values: Sequence[float], digits: int = 0) -> str:
    """Return the median, and the range in brackets if there is one."""
    middle = f"{statistics.median(values):,.{digits}f}"
    low, high = (f"{each:,.{digits}f}" for each in (min(values), max(values)))
    return middle if low == high else f"{middle} ({low}–{high})"


def quantile(values: Sequence[float], share: float) -> float:
    """Return the value below which this share of the sorted values lies."""
    return values[min(int(len(values) * share), len(values) - 1)]


def table(rows: list[Row]) -> Iterator[str]:
    """Yield the lines of a Markdown table, in columns for the terminal."""
    lines = [HEADINGS, *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for number, line in enumerate(lines):
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        yield f"| {' | '.join(cells)} |"
        if number == 0:
            yield f"| {' | '.join('-' * width for width in widths)} |"


def circumstances() -> Iterator[str]:
    """Yield the versions and the machine of the measurement."""
    packages = machine.versions("raspi-server", "paho-mqtt", "tornado", "msgspec", "websockets")
    broker = machine.said([MOSQUITTO, "-h"]).partition("\n")[0].replace("version ", "")
    yield f"{packages}; {broker}; commit {machine.commit()}."
    cores = len(os.sched_getaffinity(0))
    load = ", ".join(f"{each:.1f}" for each in os.getloadavg())
    yield f"{machine.name()}, {cores} cores, Linux {platform.release()}; load {load} at the end."
