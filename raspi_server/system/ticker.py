"""A tick at a steady rate, at half the price of Tornado's PeriodicCallback, which makes a task for
each; and after a late one it goes on, instead of skipping whole intervals or making up for them."""

import asyncio
import math
from collections.abc import Callable


class Ticker:
    """Calls `tick` every `interval` seconds from `start` to `stop`, the first time at most one
    interval after the start. All tickers beat on one grid, the whole multiples of their intervals
    on the loop's clock, so that those who are due together wake the process once; among them one
    that `yields` comes after those that do not."""

    def __init__(self, tick: Callable[[], object], interval: float, yields: bool = False) -> None:
        self._tick = tick
        self._interval = interval
        self._yields = yields
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.Handle | None = None

    def start(self) -> None:
        if self._timer is None:
            self._wait(math.floor(self._loop.time() / self._interval))

    def stop(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None

    def _wait(self, beats: int) -> None:
        """For the next one after so many."""
        due = self._yield if self._yields else self._run
        self._timer = self._loop.call_at((beats + 1) * self._interval, due)

    def _yield(self) -> None:
        self._timer = self._loop.call_soon(self._run)  # the loop's next round

    def _run(self) -> None:
        timer = self._timer
        # A late one takes the place of the one that it is nearest to, or the next would come right
        # after it.
        beats = round(self._loop.time() / self._interval)
        try:
            self._tick()
        finally:  # a tick that fails, which the loop logs, is not the last
            if self._timer is timer:  # nor was it stopped meanwhile
                self._wait(beats)
