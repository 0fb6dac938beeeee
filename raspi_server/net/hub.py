"""Broadcast hub.

A message is encoded and framed once for all viewers, and written directly to those that can take
it. No viewer waits for a slow one, and the cost of a slow one is bounded (backpressure.py)."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

from ..limits import DEFAULT, Limits
from .backpressure import Fanout, Viewer
from .frames import frame


class Hub:
    """All viewers.

    `encode` returns the bytes of a message on the wire. `on_active(True)` is called when the first
    viewer is added, `on_active(False)` when the last is removed. All methods belong to the loop's
    thread."""

    def __init__(
        self,
        on_active: Callable[[bool], None],
        limits: Limits = DEFAULT,
        encode: Callable[[Any], bytes] = frame,
    ) -> None:
        self.limits = limits
        self._encode = encode
        self._on_active = on_active
        self._viewers: set[Viewer] = set()
        self._waiting: set[Viewer] = set()
        """Those that may not view yet. They are sent nothing, and are closed with the others."""
        self._fanout = Fanout(limits)
        self.sent = 0
        self.skipped = 0
        """Frames to all viewers, sent and skipped, counted for each viewer."""
        self._empty = asyncio.Event()
        self._empty.set()

    def __len__(self) -> int:
        return len(self._viewers)

    def __iter__(self) -> Iterator[Viewer]:
        return iter(tuple(self._viewers))

    def add_waiting(self, viewer: Viewer) -> None:
        """Add a client that may become a viewer once it has signed in."""
        self._waiting.add(viewer)

    def add(self, viewer: Viewer) -> None:
        """Add a viewer, whose connection may be closed already."""
        self._waiting.discard(viewer)
        self._viewers.add(viewer)
        self._fanout.add(viewer)
        if len(self._viewers) == 1:
            self._empty.clear()
            self._on_active(True)

    def remove(self, viewer: Viewer) -> None:
        """Remove a viewer, if it is here."""
        self._waiting.discard(viewer)
        if viewer in self._viewers:
            self._viewers.remove(viewer)
            self._fanout.remove(viewer)
            if not self._viewers:
                self._empty.set()
                self._on_active(False)

    async def empty(self) -> None:
        """Wait until there is no viewer."""
        await self._empty.wait()

    def send_or_skip(self, message: Any) -> None:
        """Send a message to all viewers that can take it now, and skip the others.

        Use it for messages whose values are all repeated by the next one."""
        sent = self._fanout.send(self._encode(message))
        self.sent += sent
        self.skipped += len(self._viewers) - sent

    def send(self, message: Any) -> None:
        """Send a message to all viewers, in order, and skip none."""
        if not self._viewers:
            return
        data = self._encode(message)
        self.sent += len(self._viewers)
        for viewer in self:
            viewer.send(data)

    def check(self, now: float) -> None:
        """Ping the viewers, and close those that do not answer or are too slow.

        Call this about once a second. `now` is a time of the loop, in seconds."""
        for viewer in self:
            viewer.check(now)

    def close(self, code: int, reason: str) -> None:
        """Send a close frame to all viewers."""
        for viewer in (*self._viewers, *self._waiting):
            viewer.close(code, reason)

    def cut(self, code: int, reason: str) -> None:
        """Send a close frame to all viewers and close their connections at once.

        Nothing more is received from them."""
        for viewer in (*self._viewers, *self._waiting):
            viewer.close(code, reason)
            viewer.cut()
