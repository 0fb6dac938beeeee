"""From nothing to READY, in CPU time; and what is imported on the way."""

from __future__ import annotations

import os
import subprocess
import sys

from ..contenders import Rig
from ..process import Command, Running, ServerFailedError, Systemd, launched
from ..table import Findings, Row, Spread
from .memory import imported

UNASKED = ("paho", "prometheus_client", "segno", "lgpio", "argcomplete", "unittest")
"""Modules that simulated pins without broker and metrics do not need."""

BARE = "import tornado.web, gpiozero"


def measure(rig: Rig, rounds: int) -> Findings:
    spent, ratios = [], []
    for _ in range(rounds):
        bare = _cpu_seconds(rig.core, BARE)
        with Systemd(rig.folder) as systemd:
            command = Command(rig.ours().arguments, systemd.environment)
            with launched(command, rig.folder, rig.core, 60) as process:
                if not systemd.is_ready.wait(30):
                    raise ServerFailedError("it was not ready within 30 s")
                spent.append(Running(process.pid, 0).cpu_seconds())
        ratios.append(spent[-1] / bare)
    modules = set(imported(rig))
    needless = sorted(name for name in UNASKED if name in modules)
    return Findings(
        [
            Row(
                "start to READY",
                f"{Spread(ratios).text(2)} × an import of Tornado and gpiozero;"
                f" {Spread(spent).text(2, ' s')} of CPU",
                "at most 1.4 ×",
                Spread(ratios).median <= 1.4,
            ),
            Row(
                "imports that the configuration does not need",
                ", ".join(needless) or f"none of {', '.join(UNASKED)}",
                "none",
                not needless,
            ),
        ]
    )


def _cpu_seconds(core: int, code: str) -> float:
    """Return the CPU time that Python takes for this code on a core."""
    process = subprocess.Popen(
        [sys.executable, "-c", code], preexec_fn=lambda: os.sched_setaffinity(0, {core})
    )
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise ServerFailedError(f"python -c {code!r} failed")
    return used.ru_utime + used.ru_stime
