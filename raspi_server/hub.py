"""The open sockets: a message is encoded and framed once, whoever listens, and written at once to
all who can take it; nobody waits for a slow one, and what a slow one costs is bounded."""

import asyncio
import contextlib
import select
import socket
import ssl
import struct
from collections.abc import Callable, Iterator
from typing import Any

from tornado.websocket import WebSocketProtocol

from .messages import encode

SEND_BUFFER = 16384
"""Bytes of kernel buffer for each socket. The default swallows 2.7 MB, thousands of states that a
phone would read when it wakes; this is what may be on its way, at no measurable cost."""

MOST_BEHIND = 256 * 1024
LONGEST_BEHIND = 5.0
"""Bytes and seconds after which a socket that does not read is closed: reconnecting is cheaper."""

PING_EVERY = 20.0
"""Seconds. A phone that does not answer one ping before the next is gone; mobile networks forget a
silent connection after 30 s at the earliest."""
PING = b"\x89\x00"
"""An empty ping frame (RFC 6455, 5.5.2)."""

UNSENT = 1
WHOLE = socket.MSG_EOR
"""Bytes that may wait in the kernel before it takes no more, each frame in a segment of its own,
since it would go on filling the last one (tcp(7); net/ipv4/tcp.c): of what a phone's own buffer has
no room for, one state waits for it, not fifty."""

TRY_AGAIN_LATER = 1013


class Viewer:
    """One open socket. Only this class writes to it, but for Tornado's pongs and last goodbyes."""

    def __init__(
        self,
        connection: WebSocketProtocol,
        loop: asyncio.AbstractEventLoop,
        caller: Any = None,
    ) -> None:
        self.caller = caller
        """Who it is; not our business."""
        stream = connection.stream
        assert stream is not None  # it is open
        stream.set_nodelay(True)  # small messages would wait 200 ms for Nagle
        stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        stream.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT)
        self._connection = connection
        self._stream = stream
        self._loop = loop
        self._backlog = 0  # bytes given to the stream that are not yet with the kernel
        self._behind_since: float | None = None
        self._said_goodbye = False
        self._heard = self._pinged = loop.time()
        self.is_secure = isinstance(stream.socket, ssl.SSLSocket)
        self.descriptor = stream.socket.fileno()
        self.write_now = stream.socket.send
        """Bound once: what IOStream.write_to_fd calls, without the way there."""
        self.how = 0 if self.is_secure else WHOLE
        """The flags to call it with; a socket under TLS takes none."""
        self.is_free = True
        """Whether a frame may go straight to the kernel: nothing is queued before it."""
        self.was_written_to()  # the answer to the handshake may still be on its way

    def send_message(self, message: Any) -> None:
        """One message for this viewer alone."""
        self.send(frame(message))

    def send(self, data: bytes) -> None:
        """Writes a whole frame, or queues what the kernel does not take. Never waits."""
        if not self.is_free:
            self.queue(data)
            return
        try:
            sent = self.write_now(data, self.how)
        except OSError as error:
            self.refused(error, data)
        else:
            if sent != len(data):
                self.queue(data[sent:])

    def refused(self, error: OSError, data: bytes) -> None:
        """What to do with a whole frame that the kernel did not take."""
        if isinstance(error, BlockingIOError | ssl.SSLWantWriteError):
            # OpenSSL holds the record and wants the same bytes again; the stream gives it them.
            self.queue(data)
        else:
            self._stream.close(exc_info=error)  # Tornado tells the handler

    def queue(self, data: bytes) -> None:
        """Leaves the rest to the stream, within bounds."""
        if self._said_goodbye or self._stream.closed():
            return
        if self._backlog + len(data) > MOST_BEHIND:
            self.close(TRY_AGAIN_LATER, "too slow")
            return
        if self._behind_since is None:
            self._behind_since = self._loop.time()
        self.is_free = False
        self._backlog += len(data)
        self._stream.write(data).add_done_callback(lambda _: self._caught_up(len(data)))

    def was_written_to(self) -> None:
        """Tornado wrote something of its own: nothing may come between its bytes, either. Where
        something is queued already, that will see to it."""
        if self.is_free and self._stream.writing():
            self.queue(b"")

    def heard(self) -> None:
        """The other end answered a ping."""
        self._heard = self._loop.time()

    def look_after(self, now: float) -> None:
        """Pings it now and then; says goodbye if it does not answer, or has fallen behind."""
        if self._behind_since is not None and now - self._behind_since > LONGEST_BEHIND:
            self.close(TRY_AGAIN_LATER, "too slow")
        elif now - self._pinged >= PING_EVERY:
            if self._heard < self._pinged:
                self.close(TRY_AGAIN_LATER, "no answer to a ping")
            else:
                self._pinged = now
                self.send(PING)

    def close(self, code: int, reason: str) -> None:
        """Says goodbye; nothing is sent after it."""
        self.is_free = False
        self._said_goodbye = True
        self._connection.close(code, reason)

    def _caught_up(self, count: int) -> None:
        self._backlog -= count
        if not self._stream.writing():
            self._behind_since = None
            self.is_free = not self._said_goodbye
        elif not self._backlog:
            self.queue(b"")  # a pong of Tornado's still waits


class _Readiness:
    """Which viewers under TLS the kernel has nothing unsent of. To be asked before: a plain socket
    refuses a frame as a whole, OpenSSL only after it has made a record of it, which must then go
    out. Asking for all in one epoll_wait took 0.4 µs for each, one ioctl(SIOCOUTQNSD) for each 2 to
    3 µs, a sixth of what it costs to send."""

    def __init__(self) -> None:
        self._poll = select.epoll()
        self._viewers: set[Viewer] = set()

    def add(self, viewer: Viewer) -> None:
        with contextlib.suppress(OSError):  # it is closed already, and will not be ready any more
            self._poll.register(viewer.descriptor, select.EPOLLOUT)
        self._viewers.add(viewer)

    def remove(self, viewer: Viewer) -> None:
        """The kernel forgot the socket when it was closed; its number may be another's by now."""
        self._viewers.discard(viewer)

    def busy(self) -> set[Viewer]:
        """Those who cannot take a frame now. With UNSENT, writable means that nothing waits."""
        if not self._viewers:
            return set()
        ready = self._poll.poll(0, len(self._viewers))
        if len(ready) == len(self._viewers):
            return set()
        free = {descriptor for descriptor, _ in ready}
        return {viewer for viewer in self._viewers if viewer.descriptor not in free}


class Hub:
    """All viewers. `when_watched(True)` is called with the first, `when_watched(False)` after the
    last; all methods belong to the loop's thread."""

    def __init__(self, when_watched: Callable[[bool], None]) -> None:
        self._when_watched = when_watched
        self._viewers: set[Viewer] = set()
        self._readiness = _Readiness()
        self.sent = 0
        self.skipped = 0
        """Frames to all viewers, one for each, that were sent, and that one was spared."""
        self._empty = asyncio.Event()
        self._empty.set()

    def __len__(self) -> int:
        return len(self._viewers)

    def __iter__(self) -> Iterator[Viewer]:
        return iter(tuple(self._viewers))

    def add(self, viewer: Viewer) -> None:
        self._viewers.add(viewer)
        if viewer.is_secure:
            self._readiness.add(viewer)
        if len(self._viewers) == 1:
            self._empty.clear()
            self._when_watched(True)

    def remove(self, viewer: Viewer) -> None:
        if viewer in self._viewers:
            self._viewers.remove(viewer)
            self._readiness.remove(viewer)
            if not self._viewers:
                self._empty.set()
                self._when_watched(False)

    async def empty(self) -> None:
        """Waits until the last viewer is gone."""
        await self._empty.wait()

    def show(self, message: Any) -> None:
        """To all who can take it now: the next one will say it all again."""
        # The fast path: for each viewer one system call and little else. Its shape (no call but
        # the one to send, every name local) brings it from 1.4 to 1.1 times a bare loop of
        # socket.send; scripts/bench.sh shows it.
        data = frame(message)
        size = len(data)
        busy = self._readiness.busy()
        viewers = tuple(self._viewers - busy if busy else self._viewers)
        skipped = len(self._viewers) - len(viewers)
        # From here on counted where one is, so that the others cost nothing.
        for viewer in viewers:
            if viewer.is_free:
                try:
                    sent = viewer.write_now(data, viewer.how)
                except BlockingIOError:  # never under TLS, where a record would be begun by now
                    skipped += 1
                    continue
                except OSError as error:
                    viewer.refused(error, data)
                    continue
                if sent != size:
                    viewer.queue(data[sent:])
            else:
                skipped += 1
        self.skipped += skipped
        self.sent += len(self._viewers) - skipped

    def send(self, message: Any) -> None:
        """To all, in order, none skipped."""
        if not self._viewers:
            return
        data = frame(message)
        self.sent += len(self._viewers)
        for viewer in self:
            viewer.send(data)

    def look_after(self, now: float) -> None:
        """To be called about once a second: ends those that are gone or too slow."""
        for viewer in self:
            viewer.look_after(now)

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
