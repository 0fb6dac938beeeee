"""Processes full of simulated Pis, controlled over pipes."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..process import CHECKOUT, Running, ServerFailedError
from .programs import settle

MAX_LINE_BYTES = 1 << 24
"""Bytes of the longest answer: all states of all Pis."""
POLL_INTERVAL_S = 0.1

Truth = dict[str, dict[str, tuple[float, float | None]]]
"""The state of each pin, and the time of its edge, by the topic of its Pi and its name."""


@dataclass(frozen=True)
class Count:
    """Counts of all Pis together: changes since the start, connected Pis, and changes that wait or
    are lost."""

    changes: int
    connected: int
    kept: int
    lost: int


class PiProcesses:
    """Simulated Pis, shared out evenly among processes. `async with` ends the processes."""

    def __init__(self, port: int, pins: int, processes: int, ca: Path | None) -> None:
        self.size = 0
        self._arguments = ["--port", str(port), "--pins", str(pins)]
        if ca:
            self._arguments += ["--ca", str(ca)]
        self._wanted = processes
        self._processes: list[asyncio.subprocess.Process] = []

    async def __aenter__(self) -> PiProcesses:
        for _ in range(self._wanted):
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "tests.bench.fleet.pis", *self._arguments, cwd=CHECKOUT,
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=MAX_LINE_BYTES,
                preexec_fn=settle,
            )  # fmt: skip
            self._processes.append(process)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        for process in self._processes:
            if process.returncode is None:
                process.kill()
            await process.wait()

    async def grow(self, size: int) -> None:
        """Add Pis until there are `size`, and wait until all are connected."""
        new = range(self.size, size)
        share = -(-len(new) // len(self._processes))
        commands = []
        for process in self._processes:
            mine, new = new[:share], new[share:]
            if mine:
                commands.append(_ask(process, do="add", first=mine.start, count=len(mine)))
        await asyncio.gather(*commands)
        self.size = size
        await self.all_connected(60)

    async def edges(self, rate: float) -> None:
        """Make so many changes a second from now on, of all Pis together."""
        await self._ask_all(do="edges", rate=rate / len(self._processes))

    async def count(self) -> Count:
        answers = await self._ask_all(do="count")
        return Count(**{key: sum(each[key] for each in answers) for key in answers[0]})

    async def truth(self) -> Truth:
        found: Truth = {}
        for states in await self._ask_all(do="truth"):
            found.update(states)
        return found

    async def all_connected(self, limit: float) -> float:
        """Wait until all are connected, and return that moment. Raises ServerFailedError."""
        until = time.monotonic() + limit
        while (await self.count()).connected < self.size:
            if time.monotonic() > until:
                raise ServerFailedError(
                    f"{await self.count()} of {self.size} Pis after {limit:g} s"
                )
            await asyncio.sleep(POLL_INTERVAL_S)
        return time.monotonic()

    def cpu_seconds(self) -> float:
        return sum(Running(process.pid, 0).cpu_seconds() for process in self._processes)

    async def _ask_all(self, **command: Any) -> list[Any]:
        return await asyncio.gather(*(_ask(process, **command) for process in self._processes))


async def _ask(process: asyncio.subprocess.Process, **command: Any) -> Any:
    assert process.stdin and process.stdout
    process.stdin.write(json.dumps(command).encode() + b"\n")
    line = await process.stdout.readline()
    if not line:
        raise ServerFailedError("a process full of Pis has ended")
    return json.loads(line)
