"""A tick at a steady rate, at half the price of Tornado's PeriodicCallback, which makes a task for
each; and after a late one it goes on, instead of skipping whole intervals or making up for them."""

import asyncio
from collections.abc import Callable


class Ticker:
    """Calls `tick` every `interval` seconds from `start` to `stop`, the first time one interval
    after the start."""

    def __init__(self, tick: Callable[[], object], interval: float) -> None:
        self._tick = tick
        self._interval = interval
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0

    def start(self) -> None:
        if self._timer is None:
            self._due = self._loop.time()
            self._wait()

    def stop(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None

    def _wait(self) -> None:
        self._due = max(self._due + self._interval, self._loop.time())
        self._timer = self._loop.call_at(self._due, self._run)

    def _run(self) -> None:
        timer = self._timer
        now = self._loop.time()
        if now - self._due > self._interval / 2:
            self._due = now  # else the next tick would come right after this late one
        try:
            self._tick()
        finally:  # a tick that fails, which the loop logs, is not the last
            if self._timer is timer:  # nor was it stopped meanwhile
                self._wait()
