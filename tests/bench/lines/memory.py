"""Resident memory: ours above a process that has only imported the same, and for each viewer."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterator

from ..contenders import Rig
from ..process import Command
from ..reader import Reader
from ..table import Findings, Row, Spread

IMPORTING = """import contextlib, importlib, signal, sys
for name in sys.argv[1].split(","):
    with contextlib.suppress(ImportError):
        importlib.import_module(name)
print("http://127.0.0.1:0/", file=sys.stderr, flush=True)
signal.pause()
"""


def measure(rig: Rig, viewers: int, rounds: int) -> Findings:
    imports = ",".join(imported(rig))
    above, each = [], {False: [], True: []}
    for _ in range(rounds):
        with rig.running(Command([sys.executable, "-c", IMPORTING, imports])) as bare:
            base = bare.resident()
        with rig.running(rig.ours()) as server:
            time.sleep(1.5)  # one read of all pins, one report of the heartbeat
            above.append((server.resident() - base) / 1e6)
        for tls, found in each.items():
            found.append(_of_each(rig, tls, viewers))
    rows = [
        Row(
            "memory above a process with the same imports, 28 pins",
            Spread(above).text(1, " MB"),
            "at most 5 MB",
            Spread(above).median <= 5,
        )
    ]
    for tls, most in ((False, 16), (True, 32)):
        spread = Spread(each[tls])
        what = f"memory of each viewer, {'TLS' if tls else 'plain'}"
        rows.append(Row(what, spread.text(1, " kB"), f"at most {most} kB", spread.median <= most))
    return Findings(rows)


def _of_each(rig: Rig, tls: bool, viewers: int) -> float:
    """Return kilobytes for each viewer, without the first few, which add what all share."""
    few = max(1, viewers // 10)
    with (
        rig.running(rig.ours(tls)) as server,
        Reader(server.port, few, rig.trusting(tls)) as reader,
    ):
        reader.read_for(0.5)
        before = server.resident()
        reader.grow_to(few + viewers)
        reader.read_for(1)
        return (server.resident() - before) / viewers / 1000


def imported(rig: Rig) -> Iterator[str]:
    """Every module that our server imports until it is ready, in order."""
    command = rig.ours(False, "-X", "importtime")
    with rig.running(command):
        time.sleep(1)
    for line in (rig.folder / "stderr").read_text().splitlines():
        found = re.match(r"import time: +\d+ \| +\d+ \| +(\S+)$", line)
        if found:
            yield found[1]
