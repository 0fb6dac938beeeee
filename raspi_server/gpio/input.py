"""An input: its edges, debounce, and a second read to find lost edges."""

import asyncio
from collections.abc import Callable

from ..config.schema import InputConfig
from ..limits import DEFAULT, Limits
from ..system import busy
from .backend import LINE_ERRORS, Line

_PULLS = {"up": "up", "down": "down", "none": "floating"}


class Input:
    """An open input.

    `value` is 1 while active; `since` is the moment of the last change in monotonic seconds, or
    None; `name` is its name in the log.

    `changed(value, moment)` is called on the loop for each change, `failed(error)` when the line
    cannot be read. The constructor raises LINE_ERRORS.
    """

    def __init__(
        self,
        config: InputConfig,
        line: Line,
        loop: asyncio.AbstractEventLoop,
        changed: Callable[[int, float], None],
        failed: Callable[[Exception], None],
        limits: Limits = DEFAULT,
    ) -> None:
        self.name = str(config)
        self._line = line
        self._loop = loop
        self._changed = changed
        self._failed = failed
        self._limits = limits
        self._is_open = True
        self._debounce = config.debounce
        self._active = config.active == "high"
        self._burst: float | None = None  # moment of the first edge that has not settled
        self._settling: asyncio.TimerHandle | None = None
        self._doubt: asyncio.TimerHandle | None = None
        line.input_with_pull(_PULLS[config.pull])
        self.since: float | None = None
        self.value = self._level = self._read()
        line.watch(loop, self._edge, self.refresh, failed)

    def refresh(self) -> None:
        """Read the line again, to find an edge that was lost.

        If the level is new, and no edge arrives within `Limits.edge_latency_s`, it counts as an
        edge.
        """
        if self._doubt is None and self._differs():
            self._doubt = self._loop.call_later(self._limits.edge_latency_s, self._refresh_again)

    def drive(self, value: int) -> None:
        """Make a simulated input active (1) or inactive (0)."""
        high = bool(value) == self._active
        (self._line.drive_high if high else self._line.drive_low)()  # type: ignore[attr-defined]

    def close(self) -> None:
        """Stop reporting changes."""
        self._is_open = False
        for timer in (self._settling, self._doubt):
            if timer:
                timer.cancel()
        self._line.unwatch()

    def _read(self) -> int:
        with busy.on(self.name):
            return int(bool(self._line.state) == self._active)

    def _edge(self, moment: float, level: int) -> None:
        self._seen(int(bool(level) == self._active), moment)

    def _seen(self, level: int, moment: float) -> None:
        if level == self._level or not self._is_open:
            return
        if self._settling and moment >= self._settling.when():
            # The loop was late: the level before this edge had held for the debounce time.
            self._settling.cancel()
            self._settle(self._burst or moment)
        self._level = level
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
        if self._level != self.value:
            self.value, self.since = self._level, moment
            self._changed(self.value, moment)

    def _differs(self) -> bool:
        try:
            return self._read() != self._level
        except LINE_ERRORS as error:
            self._failed(error)
            return False

    def _refresh_again(self) -> None:
        self._doubt = None
        if self._differs():
            self._seen(1 - self._level, self._loop.time())
