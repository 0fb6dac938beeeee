"""The fleet page is opened: what its server needs for so many Pis, and how long until all are
shown."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass

from .figures import Row
from .page import Page
from .programs import memory
from .rig import Rig

LIMIT = 60.0
BUSY = 3.0
"""Seconds of changes before its memory is looked at, at most."""


@dataclass(frozen=True)
class Opening:
    """Of a server that serves the page of so many Pis for the first time; memory in MB."""

    pis: int
    before: float
    after: float
    shown: float | None


async def measure(rig: Rig, rate: float, seconds: float) -> Opening:
    """A server of its own, with one viewer, and some seconds of changes; `rate` is of each Pi."""
    async with rig.page_server() as server:
        before = memory(server.pid)[0]
        truth = await rig.crowd.truth()
        began = time.monotonic()
        async with Page(server.port) as page:
            right = await page.view.right(truth, LIMIT)
            await rig.crowd.edges(rate * rig.crowd.size)
            await asyncio.sleep(min(BUSY, seconds))
            await rig.crowd.edges(0)
            after = memory(server.pid)[0]
    return Opening(rig.crowd.size, before, after, right and right - began)


def rows(openings: list[Opening]) -> Iterator[Row]:
    for each in openings:
        what = f"the fleet page's server with {each.pis:,} Pis"
        yield Row(f"{what}: memory", f"{each.after:.1f} MB, {each.before:.1f} without a viewer")
        shown = f"never within {LIMIT:g} s" if each.shown is None else f"{each.shown:.2f} s"
        yield Row(f"{what}: opened, all are shown after", shown)
