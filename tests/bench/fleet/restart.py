"""Outage of the broker: its cost, and the time until everything is right again."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass

from .figures import Row
from .page import Page
from .programs import memory
from .rig import Rig

CHANGES_BEFORE_S = 3.0
"""Seconds of changes before the broker stops."""
TIMEOUT_S = 90.0
SAMPLE_S = 0.5
"""Seconds of one sample. The highest sample is reported."""


@dataclass(frozen=True)
class Restart:
    """Seconds from the moment at which the broker accepted connections again, None for never within
    `TIMEOUT_S`. `shares` are shares of a core in each half second."""

    outage: float
    connected: float
    known: float | None
    shown: float | None
    kept: int
    caught_up: float | None
    lost: int
    shares: list[float]
    memory: float
    wrong: int


async def restart(
    rig: Rig, page: Page, rate: float, outage: float, how: int = signal.SIGTERM
) -> Restart:
    """Stop the broker and start it `outage` seconds later, while pins change. Its retained messages
    are lost."""
    await rig.pis.edges(rate)
    await asyncio.sleep(CHANGES_BEFORE_S)
    await rig.broker.stop(how)
    await asyncio.sleep(outage)
    rig.subscriber.view.forget()
    await rig.broker.start()
    began = time.monotonic()
    shares: list[float] = []
    watching = asyncio.create_task(_sample(rig, shares))
    kept = (await rig.pis.count()).kept
    truth = await rig.pis.truth()
    views = [rig.subscriber.view, page.view]
    waiting = asyncio.gather(*(view.right(truth, TIMEOUT_S) for view in views))
    connected = await rig.pis.all_connected(TIMEOUT_S)
    right = await waiting
    caught_up = await _caught_up(rig, began + TIMEOUT_S)
    watching.cancel()
    await asyncio.wait([watching])
    most = memory(rig.broker.running.pid)[1]
    await rig.pis.edges(0)
    truth = await rig.pis.truth()
    for view in views:
        await view.right(truth, TIMEOUT_S)
    known, shown = (None if moment is None else moment - began for moment in right)
    return Restart(
        outage=outage,
        connected=connected - began,
        known=known,
        shown=shown,
        kept=kept,
        caught_up=None if caught_up is None else caught_up - began,
        lost=(await rig.pis.count()).lost,
        shares=shares,
        memory=most,
        wrong=sum(view.wrong(truth) for view in views),
    )


async def _sample(rig: Rig, shares: list[float]) -> None:
    running = rig.broker.running
    cpu, moment = running.cpu_seconds(), time.monotonic()
    while True:
        await asyncio.sleep(SAMPLE_S)
        cpu_now, now = running.cpu_seconds(), time.monotonic()
        shares.append((cpu_now - cpu) / (now - moment))
        cpu, moment = cpu_now, now


async def _caught_up(rig: Rig, until: float) -> float | None:
    """Return the moment at which no kept change waits any more."""
    while (await rig.pis.count()).kept > rig.pis.size // 10:
        if time.monotonic() > until:
            return None
        await asyncio.sleep(0.1)
    return time.monotonic()


def rows(found: Restart) -> Iterator[Row]:
    what = f"broker away for {found.outage:g} s"
    yield Row(f"{what}: all Pis connected again after", f"{found.connected:.1f} s")
    yield Row(f"{what}: all states right at a plain client", _after(found.known), "< 30 s")
    yield Row(f"{what}: all states right on the fleet page", _after(found.shown), "< 30 s")
    late = f"{_after(found.caught_up)} ({found.kept:,} were kept, {found.lost} lost)"
    yield Row(f"{what}: all kept changes known", late, "none lost")
    peak = f"{max(found.shares, default=0) * 100:.0f} % of a core, {found.memory:.0f} MB"
    yield Row(f"{what}: the broker's peak", peak)
    yield Row(f"{what}: pins not known as they are, afterwards", str(found.wrong), "0")


def _after(seconds: float | None) -> str:
    return f"never within {TIMEOUT_S:g} s" if seconds is None else f"{seconds:.1f} s"
