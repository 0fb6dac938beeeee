"""The broker is gone for a while: how long until everything is right again, and what it costs."""

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

BEFORE = 3.0
"""Seconds of changes before the broker goes."""
LIMIT = 90.0
SAMPLE = 0.5
"""Seconds of which the most expensive ones are told."""


@dataclass(frozen=True)
class Restart:
    """Seconds from the moment at which the broker took connections again, or None for never within
    `LIMIT`; `shares` of a core, each half second."""

    outage: float
    connected: float
    told: float | None
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
    """Ends the broker and starts it `outage` seconds later, while pins go on changing. What it had
    kept is gone."""
    await rig.crowd.edges(rate)
    await asyncio.sleep(BEFORE)
    await rig.broker.stop(how)
    await asyncio.sleep(outage)
    rig.ear.view.forget()
    await rig.broker.start()
    began = time.monotonic()
    shares: list[float] = []
    watching = asyncio.create_task(_sample(rig, shares))
    kept = (await rig.crowd.count()).kept
    truth = await rig.crowd.truth()
    views = [rig.ear.view, page.view]
    waiting = asyncio.gather(*(view.right(truth, LIMIT) for view in views))
    connected = await rig.crowd.all_connected(LIMIT)
    right = await waiting
    caught_up = await _caught_up(rig, began + LIMIT)
    watching.cancel()
    await asyncio.wait([watching])
    most = memory(rig.broker.running.pid)[1]
    await rig.crowd.edges(0)
    truth = await rig.crowd.truth()
    for view in views:
        await view.right(truth, LIMIT)
    told, shown = (None if moment is None else moment - began for moment in right)
    return Restart(
        outage=outage,
        connected=connected - began,
        told=told,
        shown=shown,
        kept=kept,
        caught_up=None if caught_up is None else caught_up - began,
        lost=(await rig.crowd.count()).lost,
        shares=shares,
        memory=most,
        wrong=sum(view.wrong(truth) for view in views),
    )


async def _sample(rig: Rig, shares: list[float]) -> None:
    running = rig.broker.running
    cpu, moment = running.cpu_seconds(), time.monotonic()
    while True:
        await asyncio.sleep(SAMPLE)
        cpu_now, now = running.cpu_seconds(), time.monotonic()
        shares.append((cpu_now - cpu) / (now - moment))
        cpu, moment = cpu_now, now


async def _caught_up(rig: Rig, until: float) -> float | None:
    """The moment at which nothing of what was kept waits any more."""
    while (await rig.crowd.count()).kept > rig.crowd.size // 10:
        if time.monotonic() > until:
            return None
        await asyncio.sleep(0.1)
    return time.monotonic()


def rows(found: Restart) -> Iterator[Row]:
    what = f"broker away for {found.outage:g} s"
    yield Row(f"{what}: all Pis connected again after", f"{found.connected:.1f} s")
    yield Row(f"{what}: all states right at a plain client", _after(found.told), "< 30 s")
    yield Row(f"{what}: all states right on the fleet page", _after(found.shown), "< 30 s")
    late = f"{_after(found.caught_up)} ({found.kept:,} were kept, {found.lost} lost)"
    yield Row(f"{what}: all kept changes told", late, "none lost")
    peak = f"{max(found.shares, default=0) * 100:.0f} % of a core, {found.memory:.0f} MB"
    yield Row(f"{what}: the broker's peak", peak)
    yield Row(f"{what}: pins not known as they are, afterwards", str(found.wrong), "0")


def _after(seconds: float | None) -> str:
    return f"never within {LIMIT:g} s" if seconds is None else f"{seconds:.1f} s"
