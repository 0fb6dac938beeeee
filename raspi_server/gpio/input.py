"""One input: its edges from lgpio's thread to the loop, its debounce, and a second look at the line
for the edges that got lost on the way."""

import asyncio
import contextlib
from collections.abc import Callable

from ..config.schema import InputConfig
from .backend import LineErrors, Pin

_EDGE_ON_ITS_WAY = 0.02
"""Seconds an edge may take from the kernel through lgpio's thread to the loop, before what `look`
saw counts as an edge that was lost."""

_PULLS = {"up": "up", "down": "down", "none": "floating"}


class Input:
    """`value` is 1 while active, `since` the moment (monotonic seconds) of the last change or None.

    `changed(value, moment)` is called on the loop for each change, `failed(error)` when the line
    cannot be read. All state belongs to the loop; only `_edge` runs on lgpio's thread. Opening
    raises LineErrors."""

    def __init__(
        self,
        config: InputConfig,
        pin: Pin,
        loop: asyncio.AbstractEventLoop,
        changed: Callable[[int, float], None],
        failed: Callable[[Exception], None],
    ) -> None:
        self.name = str(config)
        self._pin = pin
        self._loop = loop
        self._changed = changed
        self._failed = failed
        self._is_open = True
        self._debounce = config.debounce
        self._active = config.active == "high"
        self._burst: float | None = None  # the moment of the first edge that has not settled
        self._settling: asyncio.TimerHandle | None = None
        self._doubt: asyncio.TimerHandle | None = None
        pin.input_with_pull(_PULLS[config.pull])
        pin.edges = "both"
        pin.when_changed = self._edge
        self.since: float | None = None
        self.value = self._line = self._read()

    def __str__(self) -> str:
        return self.name

    def look(self) -> None:
        """Reads the line and, if no edge explains what it shows, takes that for one."""
        if self._doubt is None and self._differs():
            self._doubt = self._loop.call_later(_EDGE_ON_ITS_WAY, self._look_again)

    def drive(self, value: int) -> None:
        """Makes a simulated input active or not."""
        high = bool(value) == self._active
        (self._pin.drive_high if high else self._pin.drive_low)()  # type: ignore[attr-defined]

    def close(self) -> None:
        """Tells no more, not even of edges that are on their way."""
        self._is_open = False
        for timer in (self._settling, self._doubt):
            if timer:
                timer.cancel()
        self._pin.when_changed = None

    def _read(self) -> int:
        return int(bool(self._pin.state) == self._active)

    def _edge(self, ticks: float, state: int) -> None:
        """Here lgpio's thread meets the loop. An exception would silence every pin for ever."""
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is left to tell
            self._loop.call_soon_threadsafe(self._seen, int(bool(state) == self._active), ticks)

    def _seen(self, line: int, moment: float) -> None:
        if line == self._line or not self._is_open:
            return
        if self._settling and moment >= self._settling.when():
            # The loop was busy: what had held until this edge, had settled.
            self._settling.cancel()
            self._settle(self._burst or moment)
        self._line = line
        if not self._debounce:
            self._settle(moment)
            return
        if self._burst is None:
            self._burst = moment
        if self._settling:
            self._settling.cancel()
        self._settling = self._loop.call_at(moment + self._debounce, self._settle, self._burst)

    def _settle(self, moment: float) -> None:
        self._burst = self._settling = None
        if self._line != self.value:
            self.value, self.since = self._line, moment
            self._changed(self.value, moment)

    def _differs(self) -> bool:
        try:
            return self._read() != self._line
        except LineErrors as error:
            self._failed(error)
            return False

    def _look_again(self) -> None:
        self._doubt = None
        if self._differs():
            self._seen(1 - self._line, self._loop.time())
