"""Cost of a Pi that connects to the broker, until it has published everything."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass

from .figures import Row
from .programs import memory
from .rig import SETTLE_S, Rig

SYS_INTERVAL_S = 1.0
"""Seconds between two counts that the broker publishes (sys_interval)."""


@dataclass(frozen=True)
class Connecting:
    """Cost of one Pi: seconds of CPU, bytes, and kilobytes of the broker's memory."""

    how: str
    bridge: float
    broker: float
    received: float
    memory: float


async def measure(rig: Rig, size: int) -> Connecting:
    """Add Pis until there are `size`, and return the cost of one."""
    count = size - rig.pis.size
    broker = rig.broker.running
    bridge_cpu, broker_cpu, received = rig.pis.cpu_seconds(), broker.cpu_seconds(), _received(rig)
    space = memory(broker.pid)[0]
    await rig.pis.grow(size)
    await asyncio.sleep(SETTLE_S + 2 * SYS_INTERVAL_S)
    return Connecting(
        how="over TLS" if rig.broker.certificate else "without TLS",
        bridge=(rig.pis.cpu_seconds() - bridge_cpu) / count,
        broker=(broker.cpu_seconds() - broker_cpu) / count,
        received=(_received(rig) - received) / count,
        memory=(memory(broker.pid)[0] - space) * 1000 / count,
    )


def _received(rig: Rig) -> float:
    return rig.subscriber.system.get("bytes/received", 0.0)


def rows(found: Connecting) -> Iterator[Row]:
    what = f"a Pi that comes {found.how}"
    yield Row(f"{what}: CPU of its bridge", f"{found.bridge * 1e3:.1f} ms")
    broker = f"{found.broker * 1e3:.2f} ms, {found.memory:.0f} kB, {found.received:,.0f} bytes in"
    yield Row(f"{what}: the broker", broker)
