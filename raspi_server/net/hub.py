"""The open sockets: a message is encoded and framed once, whoever listens, and written at once to
all who can take it; nobody waits for a slow one, and what a slow one costs is bounded."""

import asyncio
import contextlib
import select
import socket
import ssl
import struct
from collections.abc import Callable, Collection, Iterator
from typing import Any

from tornado.websocket import WebSocketProtocol

from ..messages import encode

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

ASK_EVERY = 4
"""Frames to all for each time that the kernel is asked who under TLS can take one."""

TRY_AGAIN_LATER = 1013

Free = dict[socket.socket, "Viewer"]
"""Those to whom a frame may go straight, in the order in which that became so."""


class Viewer:
    """One open socket. Only this class and its hub write to it, but for Tornado's pongs and last
    goodbyes."""

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
        self.socket = stream.socket
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT)
        self.is_secure = isinstance(self.socket, ssl.SSLSocket)
        self._how = 0 if self.is_secure else WHOLE  # a socket under TLS takes no flags
        self._connection = connection
        self._stream = stream
        self._loop = loop
        self._backlog = 0  # bytes given to the stream that are not yet with the kernel
        self._behind_since: float | None = None
        self._said_goodbye = False
        self._heard = self._pinged = loop.time()
        self._free: Free = {self.socket: self}
        self.was_written_to()  # the answer to the handshake may still be on its way

    @property
    def is_free(self) -> bool:
        """Whether a frame may go straight to the kernel: nothing is queued before it."""
        return self.socket in self._free

    @property
    def was_sent_away(self) -> bool:
        """Whether it was bidden goodbye, which the other end may take its time to answer."""
        return self._said_goodbye

    def join(self, free: Free) -> None:
        """Stands in `free` from now on while it is so."""
        if self.is_free:
            free[self.socket] = self
        self._free = free

    def leave(self) -> None:
        """Stands there no longer."""
        self._free.pop(self.socket, None)
        self._free = {}

    def send_message(self, message: Any) -> None:
        """One message for this viewer alone."""
        self.send(frame(message))

    def send(self, data: bytes) -> None:
        """Writes a whole frame, or queues what the kernel does not take. Never waits."""
        if not self.is_free:
            self.queue(data)
            return
        try:
            sent = self.socket.send(data, self._how)
        except (BlockingIOError, ssl.SSLWantWriteError):
            # OpenSSL holds the record and wants the same bytes again; the stream gives it them.
            self.queue(data)
        except OSError as error:
            self.fail(error)
        else:
            if sent != len(data):
                self.queue(data[sent:])

    def fail(self, error: OSError) -> None:
        """The connection broke; Tornado tells the handler."""
        self._stream.close(exc_info=error)

    def queue(self, data: bytes) -> None:
        """Leaves the rest to the stream, within bounds."""
        if self._said_goodbye or self._stream.closed():
            return
        if self._backlog + len(data) > MOST_BEHIND:
            self.close(TRY_AGAIN_LATER, "too slow")
            return
        if self._behind_since is None:
            self._behind_since = self._loop.time()
        self._free.pop(self.socket, None)
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
        self._free.pop(self.socket, None)
        self._said_goodbye = True
        self._connection.close(code, reason)

    def cut(self) -> None:
        """Close the connection at once, without waiting for the other end to agree."""
        self._stream.close()

    def _caught_up(self, count: int) -> None:
        self._backlog -= count
        if not self._stream.writing():
            self._behind_since = None
            if not self._said_goodbye:
                self._free[self.socket] = self
        elif not self._backlog:
            self.queue(b"")  # a pong of Tornado's still waits


class _Readiness:
    """Which of some sockets the kernel has nothing unsent of, asked for all of them at once."""

    def __init__(self, ask_every: int = 1) -> None:
        self._poll = select.epoll()
        self._sockets: dict[socket.socket, int] = {}
        self._ask_every = ask_every
        self._turn = 0
        self._is_any_full = False

    def add(self, each: socket.socket) -> None:
        if each in self._sockets:
            return
        self._sockets[each] = each.fileno()
        with contextlib.suppress(ValueError):  # closed already: it will not be ready any more
            self._poll.register(each, select.EPOLLOUT)

    def remove(self, each: socket.socket) -> None:
        """The kernel forgot the socket when it was closed; its number may be another's by now."""
        self._sockets.pop(each, None)

    def clear(self) -> None:
        """To be called only when all can take a frame: then none is closed."""
        for each in self._sockets:
            self._poll.unregister(each)
        self._sockets.clear()

    def of(self, free: Free) -> Collection[socket.socket]:
        """`free`, without those that were added and are known to be full. While none of these is,
        the kernel is asked now and then only."""
        self._turn = (self._turn + 1) % self._ask_every
        if not self._sockets or (self._turn and not self._is_any_full):
            return free
        # With UNSENT, writable means that nothing waits.
        ready = {number for number, _ in self._poll.poll(0, len(self._sockets))}
        self._is_any_full = len(ready) < len(self._sockets)
        if not self._is_any_full:
            return free
        full = {each for each, number in self._sockets.items() if number not in ready}
        return [each for each in free if each not in full]


class Hub:
    """All viewers. `when_watched(True)` is called with the first, `when_watched(False)` after the
    last; all methods belong to the loop's thread."""

    def __init__(self, when_watched: Callable[[bool], None]) -> None:
        self._when_watched = when_watched
        self._viewers: set[Viewer] = set()
        self._plain: Free = {}
        self._secure: Free = {}
        self._refused = _Readiness()
        """Of the plain ones those that took nothing last time: asking all at once whether they do
        again costs nothing, a send that is refused half as much as one that is not."""
        self._encrypted = _Readiness(ASK_EVERY)
        """All under TLS, and asked before: a plain socket refuses a frame as a whole, OpenSSL only
        after it has made a record of it, which must then go out. Asking for all took 0.4 to 0.7 µs
        for each, one ioctl(SIOCOUTQNSD) for each 2 to 3 µs, a sixth of what it costs to send. Not
        each time, so that who falls asleep finds a few states more."""
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
            self._encrypted.add(viewer.socket)
        viewer.join(self._secure if viewer.is_secure else self._plain)
        if len(self._viewers) == 1:
            self._empty.clear()
            self._when_watched(True)

    def remove(self, viewer: Viewer) -> None:
        if viewer in self._viewers:
            self._viewers.remove(viewer)
            viewer.leave()
            self._refused.remove(viewer.socket)
            self._encrypted.remove(viewer.socket)
            if not self._viewers:
                self._empty.set()
                self._when_watched(False)

    async def empty(self) -> None:
        """Waits until the last viewer is gone."""
        await self._empty.wait()

    def show(self, message: Any) -> None:
        """To all who can take it now: the next one will say it all again."""
        # The fast path: for each viewer one system call and little else. Of a viewer nothing is
        # looked at but its socket, and of those one after the other in the order in which they
        # were made: what is not in the processor's cache costs most. It brings this from 1.2 to
        # 1.05 times a bare loop of socket.send, and from 1.3 to 1.1 under TLS; scripts/bench.sh
        # shows it.
        data = frame(message)
        size = len(data)
        plain, secure = self._refused.of(self._plain), self._encrypted.of(self._secure)
        if plain is self._plain:  # nobody is full any more
            self._refused.clear()
        skipped = len(self._viewers) - len(plain) - len(secure)
        begun: list[tuple[Viewer, bytes]] = []
        for free, sockets, flags in ((self._plain, plain, WHOLE), (self._secure, secure, 0)):
            for each in sockets:
                try:
                    count = each.send(data, flags)
                except BlockingIOError:  # never under TLS, where a record would be begun by now
                    skipped += 1
                    self._refused.add(each)
                except ssl.SSLWantWriteError:
                    begun.append((free[each], data))
                except OSError as error:
                    free[each].fail(error)
                else:
                    if count != size:
                        begun.append((free[each], data[count:]))
        # Only now, since it changes who is free.
        for viewer, rest in begun:
            viewer.queue(rest)
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

    def cut(self, code: int, reason: str) -> None:
        """Say goodbye and hang up: from now on nothing is heard of those who are here."""
        for viewer in self:
            viewer.close(code, reason)
            viewer.cut()


def frame(message: Any) -> bytes:
    """A message as one whole, unmasked WebSocket text frame (RFC 6455, 5.2)."""
    data = encode(message)
    size = len(data)
    if size < 126:
        return struct.pack("!BB", 0x81, size) + data
    if size < 1 << 16:
        return struct.pack("!BBH", 0x81, 126, size) + data
    return struct.pack("!BBQ", 0x81, 127, size) + data
