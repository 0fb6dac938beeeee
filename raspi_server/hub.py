"""The open sockets: a message is encoded and framed once, whoever listens, and written at once to
all who can take it; nobody waits for a slow one, and what a slow one costs is bounded."""

import asyncio
import socket
import struct
from collections.abc import Callable, Iterator
from typing import Any

from tornado.websocket import WebSocketProtocol

from .messages import encode

SEND_BUFFER = 16384
"""Bytes of kernel buffer for each socket. The default swallows 2.7 MB, thousands of states that a
sleeping phone would read when it wakes; this is some fifty, at no measurable cost."""

MOST_BEHIND = 256 * 1024
LONGEST_BEHIND = 5.0
"""Bytes and seconds after which a socket that does not read is closed: reconnecting is cheaper."""

TRY_AGAIN_LATER = 1013


class Viewer:
    """One open socket: `send` writes what must arrive, `show` what the next one replaces."""

    def __init__(self, connection: WebSocketProtocol, loop: asyncio.AbstractEventLoop) -> None:
        stream = connection.stream
        assert stream is not None  # it is open
        self._connection = connection
        self._stream = stream
        self._loop = loop
        self._backlog = 0  # bytes given to the stream that are not yet with the kernel
        self._behind_since: float | None = None
        stream.set_nodelay(True)  # small messages would wait 200 ms for Nagle
        stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)

    def send_message(self, message: Any) -> None:
        """One message for this viewer alone."""
        self.send(frame(message))

    def send(self, data: bytes) -> None:
        """Writes a whole frame, or queues what the kernel does not take. Never waits."""
        if self._connection.is_closing():
            return
        if not self._stream.writing():
            data = data[self._write(memoryview(data)) :]
        if data:
            self._queue(data)

    def show(self, data: bytes, view: memoryview) -> None:
        """Writes a whole frame, or none of it while the last one is not through."""
        # This is the fast path: per tick and viewer one system call and little else. Measured
        # beside write_message it costs a quarter.
        if self._stream.writing() or self._connection.is_closing():
            return
        try:
            sent = self._stream.write_to_fd(view)
        except BlockingIOError:
            return
        except OSError as error:
            self._stream.close(exc_info=error)
            return
        if sent != len(data):
            self._queue(data[sent:])

    def is_stalled(self, now: float) -> bool:
        """Whether it has fallen too far behind in time."""
        return self._behind_since is not None and now - self._behind_since > LONGEST_BEHIND

    def close(self, code: int, reason: str) -> None:
        """Says goodbye; nothing is sent after it."""
        self._connection.close(code, reason)

    def _write(self, view: memoryview) -> int:
        """How many bytes need no more care: the kernel has them, or the other end is gone."""
        try:
            return self._stream.write_to_fd(view)
        except BlockingIOError:
            return 0
        except OSError as error:
            self._stream.close(exc_info=error)  # Tornado tells the handler
            return len(view)

    def _queue(self, data: bytes) -> None:
        # Under TLS a return of 0 means that OpenSSL holds the record and wants the same bytes
        # again: that is what the stream does with them.
        if self._backlog + len(data) > MOST_BEHIND:
            self.close(TRY_AGAIN_LATER, "too slow")
            return
        written = self._stream.write(data)
        if self._behind_since is None:
            self._behind_since = self._loop.time()
        self._backlog += len(data)
        written.add_done_callback(lambda _: self._caught_up(len(data)))

    def _caught_up(self, count: int) -> None:
        self._backlog -= count
        if not self._backlog:
            self._behind_since = None


class Hub:
    """All viewers. `when_watched(True)` is called with the first, `when_watched(False)` after the
    last; all methods belong to the loop's thread."""

    def __init__(self, when_watched: Callable[[bool], None]) -> None:
        self._when_watched = when_watched
        self._viewers: set[Viewer] = set()
        self._empty = asyncio.Event()
        self._empty.set()

    def __len__(self) -> int:
        return len(self._viewers)

    def __iter__(self) -> Iterator[Viewer]:
        return iter(tuple(self._viewers))

    def add(self, viewer: Viewer) -> None:
        self._viewers.add(viewer)
        if len(self._viewers) == 1:
            self._empty.clear()
            self._when_watched(True)

    def remove(self, viewer: Viewer) -> None:
        if viewer in self._viewers:
            self._viewers.remove(viewer)
            if not self._viewers:
                self._empty.set()
                self._when_watched(False)

    async def empty(self) -> None:
        """Waits until the last viewer is gone."""
        await self._empty.wait()

    def show(self, message: Any) -> None:
        """To all who can take it now: the next one will say it all again."""
        data = frame(message)
        view = memoryview(data)
        for viewer in self:
            viewer.show(data, view)

    def send(self, message: Any) -> None:
        """To all, in order, none skipped."""
        if not self._viewers:
            return
        data = frame(message)
        for viewer in self:
            viewer.send(data)

    def close_stalled(self, now: float) -> None:
        for viewer in self:
            if viewer.is_stalled(now):
                viewer.close(TRY_AGAIN_LATER, "too slow")

    def close(self, code: int, reason: str) -> None:
        for viewer in self:
            viewer.close(code, reason)


def frame(message: Any) -> bytes:
    """A message as one whole, unmasked WebSocket text frame (RFC 6455, 5.2)."""
    data = encode(message)
    size = len(data)
    if size < 126:
        return struct.pack("!BB", 0x81, size) + data
    if size < 1 << 16:
        return struct.pack("!BBH", 0x81, 126, size) + data
    return struct.pack("!BBQ", 0x81, 127, size) + data
