"""Received states of all pins: when they came, and whether they are right."""

from __future__ import annotations

import asyncio
import math
import time
from array import array

from .pi_processes import Truth

CLOCK_TOLERANCE_S = 0.001
"""Seconds by which two messages about one moment may differ: two clocks are read (clock.py)."""


class View:
    """All states that one subscriber or viewer received."""

    def __init__(self) -> None:
        self.states: dict[str, dict[str, tuple[float | None, float | None]]] = {}
        self.online: dict[str, bool] = {}
        self.delays = array("d")
        """Seconds from the edge to here of each change since `count_from`, in order of arrival."""
        self.since = math.inf
        self.more = asyncio.Event()

    def count_from(self, moment: float) -> None:
        """Forget the delays, and count those of edges after this Unix time."""
        self.delays = array("d")
        self.since = moment

    def note_pin(self, topic: str, pin: str, value: float | None, edge: float | None) -> None:
        """Note the state of a pin, received now."""
        self.states.setdefault(topic, {})[pin] = value, edge
        if edge is not None and edge >= self.since:
            self.delays.append(time.time() - edge)
        self.more.set()

    def note_status(self, topic: str, is_online: bool) -> None:
        self.online[topic] = is_online
        self.more.set()

    def forget(self) -> None:
        """Forget all states."""
        self.states.clear()
        self.online.clear()

    def wrong(self, truth: Truth) -> int:
        """Return how many pins are not known in this state or a later one. Pins of a Pi that is not
        known to be online count."""
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
        return since > edge + CLOCK_TOLERANCE_S or (
            abs(since - edge) <= CLOCK_TOLERANCE_S and known == value
        )

    async def right(self, truth: Truth, limit: float) -> float | None:
        """Wait until no pin is wrong and return that moment, None if it takes longer than `limit`
        seconds."""
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
            await asyncio.sleep(0.05)  # one check for many messages
        return time.monotonic()
