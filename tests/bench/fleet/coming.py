"""Pis come to the broker: what each of them costs, until it has said all there is to say."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass

from .figures import Row
from .programs import memory
from .rig import SETTLE, Rig

COUNTED_EVERY = 1.0
"""Seconds between two countings of the broker's own (sys_interval)."""


@dataclass(frozen=True)
class Coming:
    """Of one Pi: seconds of CPU, bytes, and kilobytes of the broker's memory."""

    how: str
    room: float
    broker: float
    received: float
    memory: float


async def measure(rig: Rig, size: int) -> Coming:
    """More Pis come, until there are so many."""
    count = size - rig.crowd.size
    broker = rig.broker.running
    room_cpu, broker_cpu, received = rig.crowd.cpu_seconds(), broker.cpu_seconds(), _received(rig)
    space = memory(broker.pid)[0]
    await rig.crowd.grow(size)
    await asyncio.sleep(SETTLE + 2 * COUNTED_EVERY)
    return Coming(
        how="over TLS" if rig.broker.certificate else "without TLS",
        room=(rig.crowd.cpu_seconds() - room_cpu) / count,
        broker=(broker.cpu_seconds() - broker_cpu) / count,
        received=(_received(rig) - received) / count,
        memory=(memory(broker.pid)[0] - space) * 1000 / count,
    )


def _received(rig: Rig) -> float:
    return rig.ear.system.get("bytes/received", 0.0)


def rows(found: Coming) -> Iterator[Row]:
    what = f"a Pi that comes {found.how}"
    yield Row(f"{what}: CPU of its room", f"{found.room * 1e3:.1f} ms")
    broker = f"{found.broker * 1e3:.2f} ms, {found.memory:.0f} kB, {found.received:,.0f} bytes in"
    yield Row(f"{what}: the broker", broker)
