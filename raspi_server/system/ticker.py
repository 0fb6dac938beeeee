"""Periodic callback at a steady rate. It costs half as much as Tornado's PeriodicCallback, which
creates a task for each call; and after a late call it continues, instead of skipping whole
intervals or calling several times."""

import asyncio
import math
from collections.abc import Callable


class Ticker:
    """Periodic call of `tick` every `interval_s` seconds, from `start` to `stop`, the first at most
    one interval after the start. All tickers are due at whole multiples of their interval on the
    loop's clock, so that those due together wake the process once. Of these, one that `yields` is
    called after those that do not."""

    def __init__(self, tick: Callable[[], object], interval_s: float, yields: bool = False) -> None:
        self._tick = tick
        self._interval_s = interval_s
        self._yields = yields
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.Handle | None = None

    def start(self) -> None:
        """Start, unless started already."""
        if self._timer is None:
            self._wait(math.floor(self._loop.time() / self._interval_s))

    def stop(self) -> None:
        """Stop; `start` starts again."""
        if self._timer:
            self._timer.cancel()
            self._timer = None

    def _wait(self, beats: int) -> None:
        """Wait for the multiple of the interval after number `beats`."""
        due = self._yield if self._yields else self._run
        self._timer = self._loop.call_at((beats + 1) * self._interval_s, due)

    def _yield(self) -> None:
        self._timer = self._loop.call_soon(self._run)  # the loop's next round

    def _run(self) -> None:
        timer = self._timer
        # A late call replaces the one that was due nearest to now, or the next would come right
        # after it.
        beats = round(self._loop.time() / self._interval_s)
        try:
            self._tick()
        finally:  # continue after a tick that fails, which the loop logs
            if self._timer is timer:  # it was not stopped meanwhile
                self._wait(beats)
