"""Set-up of every measurement: the broker, the Pis, and a subscriber to all of them."""

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
from .pi_processes import PiProcesses
from .programs import Mosquitto, raspi_server
from .subscriber import Subscriber

SETTLE_S = 1.0
"""Seconds at the start that are not measured."""
CONFIG = """
address: 127.0.0.1
access: {{view: everyone, control: everyone}}
mqtt: {{url: "mqtt://127.0.0.1:{port}", topic: farm/hall/desk, fleet: true}}
"""


@dataclass(frozen=True)
class Rig:
    folder: Path
    broker: Mosquitto
    pis: PiProcesses
    subscriber: Subscriber
    pins: int
    _numbers: itertools.count[int] = field(default_factory=itertools.count)

    def page_server(self) -> AbstractAsyncContextManager[Running]:
        """Start a raspi-server without pins that serves the fleet page."""
        folder = self.folder / f"desk-{next(self._numbers)}"
        return raspi_server(folder, CONFIG.format(port=self.broker.plain_port))


@asynccontextmanager
async def rig(
    folder: Path, pins: int, processes: int, broker_lines: list[str], with_tls: bool
) -> AsyncIterator[Rig]:
    """Start a broker and a subscriber, without Pis."""
    broker = Mosquitto(folder, broker_lines, with_tls)
    await broker.start()
    subscriber = Subscriber(broker.plain_port, "farm/#", "$SYS/#")
    try:
        await subscriber.is_listening.wait()
        async with PiProcesses(broker.port, pins, processes, broker.certificate) as pis:
            yield Rig(folder, broker, pis, subscriber, pins)
    finally:
        await subscriber.close()
        await broker.stop()


@dataclass(frozen=True)
class Costs:
    """CPU seconds within so many seconds, and the broker's own counts. `viewer` is this process:
    the subscriber and the viewer of the page. `busy` is the whole machine."""

    seconds: float
    pis: float
    broker: float
    viewer: float
    page: float
    busy: float
    received: float
    sent: float

    @property
    def others(self) -> float:
        """CPU seconds of programs that are not part of the measurement."""
        return max(self.busy - self.pis - self.broker - self.viewer - self.page, 0)


async def costs(found: Rig, seconds: float, page: Running | None = None) -> Costs:
    """Return the costs of so many seconds from now on."""

    def look() -> list[float]:
        page_cpu = page.cpu_seconds() if page else 0.0
        system = found.subscriber.system
        counted = [system.get(f"bytes/{name}", 0.0) for name in ("received", "sent")]
        cpu = [found.pis.cpu_seconds(), found.broker.running.cpu_seconds(), time.process_time()]
        return [time.monotonic(), *cpu, page_cpu, _busy(), *counted]

    before = look()
    await asyncio.sleep(seconds)
    return Costs(*(now - then for now, then in zip(look(), before, strict=True)))


def _busy() -> float:
    """Return the CPU seconds in which this machine was not idle since it started (proc_stat(5))."""
    with open("/proc/stat", encoding="ascii") as file:
        user, nice, system, _idle, _waiting, *rest = map(int, file.readline().split()[1:9])
    return (user + nice + system + sum(rest)) / os.sysconf("SC_CLK_TCK")
