"""One viewer, 28 pins, 10 Hz: our whole server against a bare Tornado handler that sends the same
bytes the same way."""

from __future__ import annotations

import time

from ..contenders import BARE_HANDLER, Rig
from ..process import Command
from ..reader import Reader
from ..table import Findings, Row, Spread

SECONDS = 4.0


def measure(rig: Rig, rounds: int) -> Findings:
    ours, ratios = [], []
    for _ in range(rounds):
        ours.append(_cpu(rig, rig.ours()))
        ratios.append(ours[-1] / _cpu(rig, BARE_HANDLER(rig, False)))
    row = Row(
        "one viewer, 28 pins, 10 Hz",
        f"{Spread(ratios).text(2)} × a bare handler; {Spread(ours).median:.1f} ms of CPU a second",
        "at most 1.3 ×",
        Spread(ratios).median <= 1.3,
    )
    return Findings([row])


def _cpu(rig: Rig, command: Command) -> float:
    """Milliseconds of CPU a second."""
    with rig.running(command) as server, Reader(server.port, 1, fully_read=0) as reader:
        reader.read_for(1)
        before, began = server.cpu_seconds(), time.monotonic()
        reader.read_for(rig.seconds or SECONDS)
        return (server.cpu_seconds() - before) / (time.monotonic() - began) * 1000
