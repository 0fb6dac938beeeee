"""Periodic callback at a steady rate.

It costs half as much as Tornado's PeriodicCallback, which creates a task for each call. After a
late call it goes on at the next interval; it neither skips intervals nor makes up for them.
"""

import asyncio
import math
from collections.abc import Callable


class Ticker:
    """Periodic call of `tick` every `interval_s` seconds, from `start` to `stop`.

    The first call comes at most one interval after the start. All tickers are due at whole
    multiples of their interval on the loop's clock, so that those due at the same time wake the
    process once. Of these, a ticker with `yields` is called last. Create it on the running loop.
    """

    def __init__(self, tick: Callable[[], object], interval_s: float, yields: bool = False) -> None:
        self._tick = tick
        self._interval_s = interval_s
        self._yields = yields
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.Handle | None = None

    def start(self) -> None:
        """Start, unless it is running."""
        if self._timer is None:
            self._wait(math.floor(self._loop.time() / self._interval_s))

    def stop(self) -> None:
        """Stop. `start` starts it again."""
        if self._timer:
            self._timer.cancel()
            self._timer = None

    def _wait(self, beats: int) -> None:
        """Wait for the multiple of the interval that follows number `beats`."""
        due = self._yield if self._yields else self._run
        self._timer = self._loop.call_at((beats + 1) * self._interval_s, due)

    def _yield(self) -> None:
        self._timer = self._loop.call_soon(self._run)  # the loop's next round

    def _run(self) -> None:
        timer = self._timer
        # A late call counts as the one whose time is nearest to now. Else the next call would
        # follow it immediately.
        beats = round(self._loop.time() / self._interval_s)
        try:
            self._tick()
        finally:  # go on after a tick that fails; the loop logs the exception
            if self._timer is timer:  # the tick did not stop or restart it
                self._wait(beats)
