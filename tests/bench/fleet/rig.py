"""What every measurement stands on: the broker, the Pis, and an ear that hears them all."""

from __future__ import annotations

import asyncio
import itertools
import os
import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from ..process import Running
from .crowd import Crowd
from .ear import Ear
from .programs import Mosquitto, raspi_server

SETTLE = 1.0
"""Seconds after a beginning that are not measured."""
PAGE = """
address: 127.0.0.1
access: {{view: everyone, control: everyone}}
mqtt: {{url: "mqtt://127.0.0.1:{port}", topic: farm/hall/desk, fleet: true}}
"""


@dataclass(frozen=True)
class Rig:
    folder: Path
    broker: Mosquitto
    crowd: Crowd
    ear: Ear
    pins: int
    _numbers: itertools.count[int] = field(default_factory=itertools.count)

    def page_server(self) -> AbstractAsyncContextManager[Running]:
        """A raspi-server without pins that serves the fleet page."""
        folder = self.folder / f"desk-{next(self._numbers)}"
        return raspi_server(folder, PAGE.format(port=self.broker.plain_port))


@asynccontextmanager
async def rig(
    folder: Path, pins: int, processes: int, broker_lines: list[str], with_tls: bool
) -> AsyncIterator[Rig]:
    """A broker, and nobody there yet but the ear."""
    broker = Mosquitto(folder, broker_lines, with_tls)
    await broker.start()
    ear = Ear(broker.plain_port, "farm/#", "$SYS/#")
    try:
        await ear.is_listening.wait()
        async with Crowd(broker.port, pins, processes, broker.certificate) as crowd:
            yield Rig(folder, broker, crowd, ear, pins)
    finally:
        await ear.close()
        await broker.stop()


@dataclass(frozen=True)
class Costs:
    """CPU seconds within so many seconds, and what the broker counted. `watcher` is this process:
    the plain client and the viewer of the page; `busy` the whole machine."""

    seconds: float
    pis: float
    broker: float
    watcher: float
    page: float
    busy: float
    received: float
    sent: float

    @property
    def others(self) -> float:
        """CPU seconds that went to what has nothing to do with us."""
        return max(self.busy - self.pis - self.broker - self.watcher - self.page, 0)


async def costs(found: Rig, seconds: float, page: Running | None = None) -> Costs:
    """What so many seconds from now on cost each."""

    def look() -> list[float]:
        page_cpu = page.cpu_seconds() if page else 0.0
        system = found.ear.system
        counted = [system.get(f"bytes/{name}", 0.0) for name in ("received", "sent")]
        cpu = [found.crowd.cpu_seconds(), found.broker.running.cpu_seconds(), time.process_time()]
        return [time.monotonic(), *cpu, page_cpu, _busy(), *counted]

    before = look()
    await asyncio.sleep(seconds)
    return Costs(*(now - then for now, then in zip(look(), before, strict=True)))


def _busy() -> float:
    """CPU seconds in which this machine was not idle, since it started (proc_stat(5))."""
    with open("/proc/stat", encoding="ascii") as told:
        user, nice, system, _idle, _waiting, *rest = map(int, told.readline().split()[1:9])
    return (user + nice + system + sum(rest)) / os.sysconf("SC_CLK_TCK")
