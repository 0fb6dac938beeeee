"""First opening of the fleet page: memory of its server, and time until all Pis are shown."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass

from .figures import Row
from .page import Page
from .programs import memory
from .rig import Rig

TIMEOUT_S = 60.0
MAX_CHANGES_S = 3.0
"""Most seconds of changes before the memory is read."""


@dataclass(frozen=True)
class Opening:
    """Figures of a server that serves the page for the first time. Memory is in MB."""

    pis: int
    before: float
    after: float
    shown: float | None


async def measure(rig: Rig, rate: float, seconds: float) -> Opening:
    """Start a server with one viewer and some seconds of changes; `rate` is that of each Pi."""
    async with rig.page_server() as server:
        before = memory(server.pid)[0]
        truth = await rig.pis.truth()
        began = time.monotonic()
        async with Page(server.port) as page:
            right = await page.view.right(truth, TIMEOUT_S)
            await rig.pis.edges(rate * rig.pis.size)
            await asyncio.sleep(min(MAX_CHANGES_S, seconds))
            await rig.pis.edges(0)
            after = memory(server.pid)[0]
    return Opening(rig.pis.size, before, after, right and right - began)


def rows(openings: list[Opening]) -> Iterator[Row]:
    for each in openings:
        what = f"the fleet page's server with {each.pis:,} Pis"
        yield Row(f"{what}: memory", f"{each.after:.1f} MB, {each.before:.1f} without a viewer")
        shown = f"never within {TIMEOUT_S:g} s" if each.shown is None else f"{each.shown:.2f} s"
        yield Row(f"{what}: opened, all are shown after", shown)
