"""Command that measures CPU time, memory and delays of raspi-server beside similar servers.

The servers take turns on the first core, and all clients are on the last. CPU time from the
scheduler and not wall time, medians (and ranges) of interleaved rounds, ratios within a round: so
a busy machine hardly changes the figures.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from .contenders import CONTENDERS, Rig
from .lines import (
    automation,
    cost,
    edges,
    idle,
    memory,
    page,
    pages,
    real_lines,
    single,
    sleepers,
    start,
    ticks,
)
from .machine import circumstances, raise_file_limit
from .process import ServerFailedError
from .reader import ProtocolError
from .results import write
from .table import Findings, lined_up, main_table

Asked = argparse.Namespace

PARTS: dict[str, Callable[[Rig, Asked], Findings]] = {
    "cost": lambda rig, asked: cost.measure(
        rig, asked.servers, asked.clients, asked.over, asked.rounds, asked.bare_rounds
    ),
    "ticks": lambda rig, asked: ticks.measure(rig, max(asked.clients), asked.rounds),
    "edges": lambda rig, asked: edges.measure(rig, asked.viewers, asked.rounds),
    "idle": lambda rig, asked: idle.measure(rig, asked.rounds),
    "single": lambda rig, asked: single.measure(rig, asked.rounds),
    "memory": lambda rig, asked: memory.measure(rig, asked.viewers, asked.rounds),
    "start": lambda rig, asked: start.measure(rig, asked.bare_rounds),
    "sleepers": lambda rig, asked: sleepers.measure(
        rig, asked.viewers, max(1, asked.viewers // 10), asked.rounds
    ),
    "page": lambda rig, asked: page.measure(rig, asked.rounds),
    "pages": lambda rig, asked: pages.measure(rig, asked.rounds),
    "automation": lambda rig, asked: automation.measure(rig, asked.rounds),
    "lines": lambda rig, asked: real_lines.measure(asked.rounds),
}


def main() -> None:
    asked = _parse()
    began = time.monotonic()
    signal.signal(signal.SIGTERM, _leave)  # as SystemExit, so that servers are ended
    raise_file_limit(max(*asked.clients, 2 * asked.viewers) + 100)
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[-1]})
    found = Findings()
    with tempfile.TemporaryDirectory(prefix="raspi-bench-") as folder:
        try:
            rig = Rig(Path(folder), cores[0], asked.seconds)
            for part in asked.parts:
                print(f"== {part}", file=sys.stderr, flush=True)
                more = PARTS[part](rig, asked)
                found.rows += more.rows
                found.details += more.details
                found.notes += more.notes
        except (ServerFailedError, ProtocolError, OSError) as error:
            sys.exit(f"bench: {error}")
    text = [*main_table(found.rows), ""]
    if found.details:
        text += [*lined_up(found.details, to_the_right=5), ""]
    minutes = (time.monotonic() - began) / 60
    text += [f"Median (range) of {asked.rounds} rounds, against the bare loop {asked.bare_rounds}."]
    text += [*found.notes, *circumstances(cores), f"It took {minutes:.1f} minutes."]
    print("\n".join(text))
    if asked.write:
        write(text)


def _parse() -> Asked:
    def numbers(text: str) -> list[int]:
        values = [int(part) for part in text.split(",")]
        if min(values) < 1:
            raise ValueError
        return values

    def names(text: str) -> list[str]:
        values = text.split(",")
        for value in values:
            if value not in CONTENDERS:
                raise argparse.ArgumentTypeError(f"{value}: expected {', '.join(CONTENDERS)}")
        return values

    def transports(text: str) -> list[bool]:
        return [("plain", "tls").index(part) == 1 for part in text.split(",")]

    parser = argparse.ArgumentParser(prog="scripts/bench.sh", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}")
    parser.add_argument("--write", action="store_true", help="into tests/bench/RESULTS.md")
    parser.add_argument("--clients", type=numbers, default=[100, 1000, 3000])
    parser.add_argument("--viewers", type=int, default=1000, help="of edges, memory and sleepers")
    parser.add_argument("--servers", type=names, default=list(CONTENDERS))
    parser.add_argument("--over", type=transports, default=[False, True], help="plain,tls")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--bare-rounds", type=int, default=5, help="against the bare loop")
    parser.add_argument("--seconds", type=float, help="of each measurement")
    asked = parser.parse_args()
    for part in asked.parts:
        if part not in PARTS:
            parser.error(f"{part}: expected {', '.join(PARTS)}")
    if asked.write and asked.parts:
        parser.error("--write is for a run of all parts")
    asked.parts = asked.parts or list(PARTS)
    return asked


def _leave(number: int, frame: object) -> NoReturn:
    sys.exit(128 + number)


if __name__ == "__main__":
    main()
