"""Nobody connected, under what looks like systemd with a watchdog of 30 s."""

from __future__ import annotations

import time

from ..contenders import Rig
from ..process import Command, Systemd
from ..table import Findings, Row, Spread

SECONDS = 8.0


def measure(rig: Rig, rounds: int) -> Findings:
    spent = []
    with Systemd(rig.folder) as systemd:
        command = Command(rig.ours().arguments, systemd.environment)
        with rig.running(command) as server:
            systemd.is_ready.wait(30)
            time.sleep(2)  # the first beat, and what it finds new
            for _ in range(rounds):
                before, began = server.cpu_seconds(), time.monotonic()
                time.sleep(rig.seconds or SECONDS)
                cpu, lasted = server.cpu_seconds() - before, time.monotonic() - began
                spent.append(cpu / lasted * 1000)
    row = Row(
        "nobody connected, heartbeat included",
        f"{Spread(spent).text(2, ' ms')} of CPU a second",
        "under 1 ms",
        Spread(spent).median < 1,
    )
    return Findings([row])
