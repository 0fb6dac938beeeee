"""From nothing to READY, in CPU time; and what is imported on the way."""

from __future__ import annotations

from ..contenders import Rig
from ..process import Command, Running, ServerFailedError, Systemd, launched
from ..table import Findings, Row, Spread
from .memory import imported

UNASKED = ("paho", "prometheus_client", "segno", "lgpio", "argcomplete", "unittest")
"""Modules that simulated pins without broker and metrics do not need."""


def measure(rig: Rig, rounds: int) -> Findings:
    spent = []
    for _ in range(rounds):
        with Systemd(rig.folder) as systemd:
            command = Command(rig.ours().arguments, systemd.environment)
            with launched(command, rig.folder, rig.core, 60) as process:
                if not systemd.is_ready.wait(30):
                    raise ServerFailedError("it was not ready within 30 s")
                spent.append(Running(process.pid, 0).cpu_seconds())
    modules = set(imported(rig))
    needless = sorted(name for name in UNASKED if name in modules)
    return Findings(
        [
            Row(
                "start to READY",
                f"{Spread(spent).text(2, ' s')} of CPU",
                "at most 0.6 s",
                Spread(spent).median <= 0.6,
            ),
            Row(
                "imports that the configuration does not need",
                ", ".join(needless) or f"none of {', '.join(UNASKED)}",
                "none",
                not needless,
            ),
        ]
    )
