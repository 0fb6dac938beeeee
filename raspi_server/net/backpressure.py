"""Back-pressure: viewers that can take a frame now, and those that cannot.

A state of all pins may be skipped, since the next one repeats everything. Changes, results and
errors may not: they are queued, within limits. The states of one viewer:

     Hub.add
        |
        v          frame taken in part
      READY  ------------------------------->  BEHIND
      |   ^  <-------------------------------   ^  |
      |   |        queue written                |  | more than max_viewer_backlog_bytes wait,
      |   |                                     |  | or bytes for more than max_viewer_behind_s
      |   | kernel has sent all bytes           |  v
      |   |                                     | CLOSING ---------------------->  CLOSED
      v   |                                     |  ^       client agrees, or
      FULL  ------------------------------------+  |       Tornado's timeout
                   message not taken               |
                                                   |
      from any state: no pong before the next ping (a phone asleep), the server stops, signed out
      from any state to CLOSED: the connection breaks, or the server cuts it

  READY    Frames go directly to the kernel.
  FULL     The kernel has unsent bytes. States are skipped; a message that may not be is tried.
  BEHIND   Bytes wait in the stream's queue. States are skipped; other messages join the queue.
  CLOSING  The close frame is sent, and nothing after it.
  CLOSED   The hub removes the viewer.

READY and FULL viewers are in the tables of `Fanout`. Only the kernel knows which of them are FULL.
`Readiness` asks it for all of them with one call. BEHIND and CLOSING viewers are in no table."""

import asyncio
import contextlib
import select
import socket
import ssl
from collections.abc import Collection
from typing import Any, Protocol

from tornado.iostream import IOStream

from ..limits import DEFAULT, Limits
from .frames import PING, frame

_NOTSENT_LOWAT_BYTES = 1
_PLAIN_FLAGS = socket.MSG_EOR
_TLS_FLAGS = 0
"""With TCP_NOTSENT_LOWAT, a socket counts as writable only while its send buffer has no unsent
bytes. MSG_EOR gives each frame a segment of its own; else the kernel would go on filling the last
one (tcp(7); net/ipv4/tcp.c). So one state waits for a phone whose buffer is full, not fifty. A TLS
socket takes no flags."""

TRY_AGAIN_LATER = 1013
"""The close code for a viewer that is too slow (IANA, WebSocket Close Code Number Registry)."""

ReadyViewers = dict[socket.socket, "Viewer"]
"""Viewers that take a frame directly, by socket, in the order in which they became ready."""


class Closable(Protocol):
    """An open connection: Tornado's WebSocket, or a stream of events."""

    @property
    def stream(self) -> IOStream | None:
        """The stream, None once the connection has ended."""

    def close(self, code: int | None = None, reason: str | None = None) -> None:
        """End the connection, with a code and a reason if it can tell them."""


class Viewer:
    """One open WebSocket, or stream of events, and its back-pressure.

    Only this class and `Fanout` write to the socket, except for Tornado's pongs and close frames.
    All methods belong to the loop's thread."""

    encode = staticmethod(frame)
    keep_alive = PING

    def __init__(
        self,
        connection: Closable,
        loop: asyncio.AbstractEventLoop,
        caller: Any = None,
        limits: Limits = DEFAULT,
    ) -> None:
        self.caller = caller
        """The client's identity, for the access policy. This class does not use it."""
        stream = connection.stream
        assert stream is not None  # it is open
        stream.set_nodelay(True)  # small messages would wait 200 ms for Nagle
        self.socket = stream.socket
        send_buffer = limits.viewer_send_buffer_bytes
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _NOTSENT_LOWAT_BYTES)
        self.is_secure = isinstance(self.socket, ssl.SSLSocket)
        self._flags = _TLS_FLAGS if self.is_secure else _PLAIN_FLAGS
        self._limits = limits
        self._connection = connection
        self._stream = stream
        self._loop = loop
        self._backlog = 0  # bytes given to the stream that the kernel has not taken yet
        self._behind_since: float | None = None
        self._is_closing = False
        self._pong_at = self._ping_at = loop.time()
        self._ready: ReadyViewers = {self.socket: self}
        self.stream_was_written()  # the answer to the handshake may still be queued

    @property
    def is_ready(self) -> bool:
        """True while a frame may go directly to the kernel: nothing is queued before it."""
        return self.socket in self._ready

    @property
    def is_closing(self) -> bool:
        """True once the close frame is sent. The client may not have answered it yet."""
        return self._is_closing

    def join(self, ready: ReadyViewers) -> None:
        """Keep this viewer in the table `ready` whenever it is ready, from now on."""
        if self.is_ready:
            ready[self.socket] = self
        self._ready = ready

    def leave(self) -> None:
        """Remove this viewer from the table that it joined."""
        self._ready.pop(self.socket, None)
        self._ready = {}

    def send_message(self, message: Any) -> None:
        """Send a message to this viewer alone."""
        self.send(self.encode(message))

    def send(self, data: bytes) -> None:
        """Send a whole frame without waiting; queue what the kernel does not take."""
        if not self.is_ready:
            self.queue(data)
            return
        try:
            sent = self.socket.send(data, self._flags)
        except (BlockingIOError, ssl.SSLWantWriteError):
            # OpenSSL holds the record and expects the same bytes again; the stream sends them.
            self.queue(data)
        except OSError as error:
            self.fail(error)
        else:
            if sent != len(data):
                self.queue(data[sent:])

    def fail(self, error: OSError) -> None:
        """Close a broken connection; Tornado then notifies the handler."""
        self._stream.close(exc_info=error)

    def queue(self, data: bytes) -> None:
        """Give bytes to the stream, which sends them when the kernel takes more.

        If more than `max_viewer_backlog_bytes` would wait, close the viewer with 1013 instead."""
        if self._is_closing or self._stream.closed():
            return
        if self._backlog + len(data) > self._limits.max_viewer_backlog_bytes:
            self.close(TRY_AGAIN_LATER, "too slow")
            return
        if self._behind_since is None:
            self._behind_since = self._loop.time()
        self._ready.pop(self.socket, None)
        self._backlog += len(data)
        self._stream.write(data).add_done_callback(lambda _: self._was_written(len(data)))

    def stream_was_written(self) -> None:
        """Hold frames back until Tornado's own bytes (a pong) are written.

        A frame in the middle of them would break the protocol. If bytes of ours are queued already,
        frames wait for the end of that queue anyway."""
        if self.is_ready and self._stream.writing():
            self.queue(b"")

    def pong_received(self) -> None:
        """Note that the client answered a ping."""
        self._pong_at = self._loop.time()

    def check(self, now: float) -> None:
        """Ping the client every `ping_interval_s`.

        Close the viewer with 1013 if it has not answered the last ping, or has been behind for more
        than `max_viewer_behind_s`. `now` is a time of the loop, in seconds."""
        limits = self._limits
        since = self._behind_since
        if since is not None and now - since > limits.max_viewer_behind_s:
            self.close(TRY_AGAIN_LATER, "too slow")
        elif now - self._ping_at >= limits.ping_interval_s:
            if self._pong_at < self._ping_at:
                self.close(TRY_AGAIN_LATER, "no answer to a ping")
            else:
                self._ping_at = now
                self.send(self.keep_alive)

    def close(self, code: int, reason: str) -> None:
        """Send a close frame, and nothing after it."""
        self._ready.pop(self.socket, None)
        self._is_closing = True
        self._connection.close(code, reason)

    def cut(self) -> None:
        """Close the connection at once, without waiting for the client's close frame."""
        self._stream.close()

    def _was_written(self, count: int) -> None:
        self._backlog -= count
        if not self._stream.writing():
            self._behind_since = None
            if not self._is_closing:
                self._ready[self.socket] = self
        elif not self._backlog:
            self.queue(b"")  # a pong of Tornado's still waits


class Readiness:
    """Sockets that may be full; one epoll call finds those with an empty send buffer."""

    def __init__(self, check_frames: int = 1) -> None:
        """Ask the kernel only once in `check_frames` frames while no socket is full."""
        self._poll = select.epoll()
        self._sockets: dict[socket.socket, int] = {}
        self._check_frames = check_frames
        self._turn = 0
        self._is_any_full = False

    def add(self, each: socket.socket) -> None:
        """Add a socket, unless it is here already."""
        if each in self._sockets:
            return
        self._sockets[each] = each.fileno()
        with contextlib.suppress(ValueError):  # closed already: it is never ready again
            self._poll.register(each, select.EPOLLOUT)

    def remove(self, each: socket.socket) -> None:
        """Remove a closed socket.

        The kernel removed it from the poll at its close. Another socket may have its number now."""
        self._sockets.pop(each, None)

    def clear(self) -> None:
        """Remove all sockets. Call this only when all of them are ready: then none is closed."""
        for each in self._sockets:
            self._poll.unregister(each)
        self._sockets.clear()

    def of(self, ready: ReadyViewers) -> Collection[socket.socket]:
        """Return `ready` itself, or a list of its sockets without those that are full."""
        self._turn = (self._turn + 1) % self._check_frames
        if not self._sockets or (self._turn and not self._is_any_full):
            return ready
        # With TCP_NOTSENT_LOWAT, writable means that nothing waits.
        writable = {number for number, _ in self._poll.poll(0, len(self._sockets))}
        self._is_any_full = len(writable) < len(self._sockets)
        if not self._is_any_full:
            return ready
        full = {each for each, number in self._sockets.items() if number not in writable}
        return [each for each in ready if each not in full]


class Fanout:
    """The viewers that are READY or FULL, and the fast way to send one frame to all of them."""

    def __init__(self, limits: Limits = DEFAULT) -> None:
        self._plain: ReadyViewers = {}
        self._secure: ReadyViewers = {}
        self._full_plain = Readiness()
        """The plain sockets that took nothing last time. One call checks all of them. A send that
        fails would cost half as much as one that succeeds."""
        self._tls_sockets = Readiness(limits.tls_readiness_check_frames)
        """All TLS sockets, checked before a frame is sent. A full plain socket rejects the whole
        frame. OpenSSL first makes a record of it, which must then be sent. One epoll call took 0.4
        to 0.7 µs for each socket, an ioctl(SIOCOUTQNSD) 2 to 3 µs, a sixth of a send. Not every
        frame is preceded by a check, so a client that falls asleep gets a few more states."""

    def add(self, viewer: Viewer) -> None:
        """Add a viewer. It is in a table while it is ready."""
        if viewer.is_secure:
            self._tls_sockets.add(viewer.socket)
        viewer.join(self._secure if viewer.is_secure else self._plain)

    def remove(self, viewer: Viewer) -> None:
        """Remove a viewer whose connection has ended."""
        viewer.leave()
        self._full_plain.remove(viewer.socket)
        self._tls_sockets.remove(viewer.socket)

    def send(self, data: bytes) -> int:
        """Send a frame to all viewers that are ready, and return their number.

        The others are skipped. A frame that was taken in part counts as sent."""
        # The fast path: for each viewer one system call and little else. Only the viewer's socket
        # is read, in the order in which the sockets were made: misses of the processor's cache
        # cost most. This costs 1.05 times as much as a bare loop of socket.send (1.2 before), and
        # 1.1 times under TLS (1.3 before); scripts/bench.sh measures it.
        size = len(data)
        plain, secure = self._full_plain.of(self._plain), self._tls_sockets.of(self._secure)
        if plain is self._plain:  # no socket is full any more
            self._full_plain.clear()
        sent = len(plain) + len(secure)
        begun: list[tuple[Viewer, bytes]] = []
        tables = ((self._plain, plain, _PLAIN_FLAGS), (self._secure, secure, _TLS_FLAGS))
        for ready, sockets, flags in tables:
            for each in sockets:
                try:
                    count = each.send(data, flags)
                except BlockingIOError:  # never under TLS, where a record would be begun by now
                    sent -= 1
                    self._full_plain.add(each)
                except ssl.SSLWantWriteError:
                    begun.append((ready[each], data))
                except OSError as error:
                    ready[each].fail(error)
                else:
                    if count != size:
                        begun.append((ready[each], data[count:]))
        # Not in the loop above: queueing changes the tables.
        for viewer, rest in begun:
            viewer.queue(rest)
        return sent
