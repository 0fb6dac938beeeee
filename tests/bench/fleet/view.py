"""What somebody who watches the house has been told of it, when, and whether it is right."""

from __future__ import annotations

import asyncio
import math
import time
from array import array

from .crowd import Truth

CLOCK = 0.001
"""Seconds by which two tellings of one moment may differ: clocks are read apart (clock.py)."""


class View:
    """All that one watcher was told."""

    def __init__(self) -> None:
        self.states: dict[str, dict[str, tuple[float | None, float | None]]] = {}
        self.online: dict[str, bool] = {}
        self.delays = array("d")
        """Seconds from the edge to here of each change since `count_from`, in order of arrival."""
        self.since = math.inf
        self.more = asyncio.Event()

    def count_from(self, moment: float) -> None:
        """Forgets the delays, and counts those of edges after this Unix time."""
        self.delays = array("d")
        self.since = moment

    def told(self, topic: str, pin: str, value: float | None, edge: float | None) -> None:
        """A pin's state, now."""
        self.states.setdefault(topic, {})[pin] = value, edge
        if edge is not None and edge >= self.since:
            self.delays.append(time.time() - edge)
        self.more.set()

    def status(self, topic: str, is_online: bool) -> None:
        self.online[topic] = is_online
        self.more.set()

    def forget(self) -> None:
        """Nothing that was told before is known any more."""
        self.states.clear()
        self.online.clear()

    def wrong(self, truth: Truth) -> int:
        """How many pins are not known as they were then or became later; those of a Pi that is not
        known to be online are not either."""
        return sum(
            not self._knows(topic, pin, *state)
            for topic, pins in truth.items()
            for pin, state in pins.items()
        )

    def _knows(self, topic: str, pin: str, value: float, edge: float | None) -> bool:
        known, since = self.states.get(topic, {}).get(pin, (None, None))
        if not self.online.get(topic) or known is None:
            return False
        if edge is None or since is None:
            return since is not None or (edge is None and known == value)
        return since > edge + CLOCK or (abs(since - edge) <= CLOCK and known == value)

    async def right(self, truth: Truth, limit: float) -> float | None:
        """Waits until nothing of this is wrong; at which moment it was so, or None if never."""
        until = time.monotonic() + limit
        while self.wrong(truth):
            self.more.clear()
            left = until - time.monotonic()
            if left <= 0:
                return None
            try:
                await asyncio.wait_for(self.more.wait(), left)
            except TimeoutError:
                return None
            await asyncio.sleep(0.05)  # of many in one moment one look is enough
        return time.monotonic()
