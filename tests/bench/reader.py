"""Many readers in one epoll loop: counts what arrives and checks every frame.

Written by hand, with nothing but the standard library, so that reading costs little and cannot
share a mistake with the server. It knows nothing of processes or of what a message costs.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import select
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Self

from .common import accept_key

LIMIT = 30.0  # seconds for an answer while connections are opened
BATCH = 64  # connections asked for at once: well within Tornado's backlog of 128
FULLY_READ = 10  # of the sockets, so many have every message parsed and its order checked
REGULAR = (b'{"type":"state",', b'{"id":"', b'{"id": "')  # the two last are the tutorial's
TEXT, CLOSE, PING, PONG = 0x81, 0x88, 0x89, 0x8A  # first bytes of whole frames


class ProtocolError(Exception):
    """The server sent what it should not have, or hung up."""


@dataclass(slots=True)
class Counts:
    """Counts of what has arrived."""

    told: int = 0  # the regular messages
    bytes: int = 0  # in their texts, the frames' headers not counted
    others: int = 0  # hello, change, health: sent by raspi-server alone

    def __sub__(self, earlier: Counts) -> Counts:
        return Counts(
            self.told - earlier.told, self.bytes - earlier.bytes, self.others - earlier.others
        )


@dataclass(slots=True, eq=False)
class Socket:
    socket: socket.socket
    number: int
    rest: bytes  # the beginning of a frame whose end has not come
    order: float = -1.0
    told: int = 0


class Reader:
    """`count` sockets open to one server; `with Reader(...)` closes them all. `fully_read` of them
    have every message parsed, and `on_text` sees what those see, with the socket's number. A
    `receive_buffer` in bytes makes them take no more than that while they are not read."""

    def __init__(
        self,
        port: int,
        count: int,
        tls: ssl.SSLContext | None = None,
        receive_buffer: int | None = None,
        fully_read: int = FULLY_READ,
    ) -> None:
        self.counts = Counts()
        self.on_text: Callable[[int, bytes], None] | None = None
        self._tls = tls
        self._port = port
        self._receive_buffer = receive_buffer
        self._fully_read = fully_read
        self._poll = select.epoll()
        self._sockets: dict[int, Socket] = {}
        try:
            self.grow_to(count)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __len__(self) -> int:
        return len(self._sockets)

    def close(self) -> None:
        for one in self._sockets.values():
            one.socket.close()
        self._sockets.clear()
        self._poll.close()

    def grow_to(self, count: int) -> None:
        """Opens more, up to so many; reads what comes meanwhile."""
        while len(self._sockets) < count:
            self._open(min(BATCH, count - len(self._sockets)))
            self._take(0)

    def read_for(self, seconds: float) -> None:
        """Reads what comes, for so long."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self._take(left)

    def read_until_quiet(self, quiet: float = 0.02, limit: float = 0.3) -> None:
        """Reads on to the pause between two ticks, where a measurement may begin or end."""
        end = time.monotonic() + limit
        while time.monotonic() < end and self._take(quiet):
            pass

    def send(self, text: str) -> None:
        """A message from the first socket."""
        payload = text.encode()
        assert len(payload) < 126
        # Masked as clients must, with a mask of zeros, which changes nothing.
        frame = bytes((TEXT, 0x80 | len(payload), 0, 0, 0, 0)) + payload
        first = next(iter(self._sockets.values()))
        if first.socket.send(frame) != len(frame):
            raise ProtocolError("the server does not read its commands")

    def snapshot(self) -> Counts:
        return replace(self.counts)

    def told_to_each(self) -> list[int]:
        """Return the number of regular messages of each socket."""
        return [one.told for one in self._sockets.values()]

    # Opening

    def _open(self, count: int) -> None:
        asked: list[tuple[socket.socket, bytes]] = []
        try:
            for connection in self._connect(count):
                asked.append((connection, self._ask(connection)))
            while asked:
                connection, key = asked[0]
                rest = self._welcomed(connection, key)
                connection.setblocking(False)
                one = Socket(connection, len(self._sockets), rest)
                self._sockets[connection.fileno()] = one
                self._poll.register(connection.fileno(), select.EPOLLIN)
                asked.pop(0)
                # Under TLS a record may wait inside the socket, where epoll does not see it.
                self._read(one)
        finally:
            for connection, _ in asked:
                connection.close()

    def _ask(self, connection: socket.socket) -> bytes:
        """Asks to hear; returns what proves the answer."""
        key = base64.b64encode(os.urandom(16))
        connection.sendall(
            b"GET /ws HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n"
            b"Upgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n\r\n" % (self._port, key)
        )
        return key

    def _connect(self, count: int) -> Iterator[socket.socket]:
        """New connections, each as soon as one may ask on it."""
        connections = []
        for _ in range(count):
            connection = socket.socket()
            if self._receive_buffer:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._receive_buffer)
            connection.settimeout(LIMIT)
            connection.connect(("127.0.0.1", self._port))
            connections.append(connection)
        yield from connections if self._tls is None else self._encrypted(connections, self._tls)

    def _encrypted(
        self, connections: list[socket.socket], tls: ssl.SSLContext
    ) -> Iterator[socket.socket]:
        """Shakes hands on all at once: one after the other, each would wait for a tick to all."""
        waiting: dict[int, ssl.SSLSocket] = {}
        poll = select.epoll()
        for connection in connections:
            connection.setblocking(False)
            encrypted = tls.wrap_socket(
                connection, server_hostname="127.0.0.1", do_handshake_on_connect=False
            )
            waiting[encrypted.fileno()] = encrypted
            poll.register(encrypted, select.EPOLLIN | select.EPOLLOUT | select.EPOLLET)
        while waiting:
            ready = poll.poll(LIMIT)
            if not ready:
                raise ProtocolError(f"{len(waiting)} waited too long for their handshake")
            for number, _ in ready:
                with contextlib.suppress(ssl.SSLWantReadError):
                    waiting[number].do_handshake()
                    poll.unregister(number)
                    done = waiting.pop(number)
                    done.settimeout(LIMIT)
                    yield done
        poll.close()

    def _welcomed(self, connection: socket.socket, key: bytes) -> bytes:
        """Reads the answer to the upgrade and returns what came after it."""
        answer = b""
        while b"\r\n\r\n" not in answer:
            chunk = connection.recv(65536)
            if not chunk:
                raise ProtocolError(f"the server hung up on the upgrade after {answer!r}")
            answer += chunk
        head, rest = answer.split(b"\r\n\r\n", 1)
        if not head.startswith(b"HTTP/1.1 101 ") or accept_key(key) not in head:
            raise ProtocolError(f"the upgrade was answered with {head!r}")
        return rest

    # Reading

    def _take(self, wait: float) -> int:
        """Wait at most this long for a readable socket; return the number of readable ones."""
        ready = self._poll.poll(wait, 4096)
        for number, _ in ready:
            self._read(self._sockets[number])
        return len(ready)

    def _read(self, one: Socket) -> None:
        while True:
            try:
                data = one.socket.recv(65536)
            except (BlockingIOError, ssl.SSLWantReadError):
                if one.rest:
                    self._take_apart(one, one.rest)
                return
            if not data:
                raise ProtocolError(f"socket {one.number}: hung up without a close frame")
            self._take_apart(one, one.rest + data if one.rest else data)
            if self._tls is None:
                return  # epoll says so if there is more

    def _take_apart(self, one: Socket, data: bytes) -> None:
        at, size = 0, len(data)
        while size - at >= 2:
            kind, length, start = data[at], data[at + 1], at + 2
            if length == 126:
                start += 2
                if size < start:
                    break
                length = int.from_bytes(data[at + 2 : start], "big")
            elif length > 126:  # 127 announces more than 64 KiB; from 128 on it would be masked
                raise ProtocolError(f"socket {one.number}: frame of length byte {length}")
            end = start + length
            if size < end:
                break
            if kind == TEXT:
                self._hear(one, data, start, end)
            elif kind == PING:
                pong = bytes((PONG, 0x80 | length, 0, 0, 0, 0)) + data[start:end]
                if one.socket.send(pong) != len(pong):
                    raise ProtocolError(f"socket {one.number}: the server does not read its pongs")
            elif kind == CLOSE:
                raise ProtocolError(f"socket {one.number}: closed: {data[start:end]!r}")
            else:
                raise ProtocolError(f"socket {one.number}: frame of first byte 0x{kind:02x}")
            at = end
        one.rest = data[at:]

    def _hear(self, one: Socket, data: bytes, start: int, end: int) -> None:
        """A whole text, from `start` to `end`."""
        if data[start] != 0x7B or data[end - 1] != 0x7D:  # { and }
            raise ProtocolError(f"socket {one.number}: not JSON: {data[start:end]!r}")
        counts = self.counts
        if data.startswith(REGULAR, start):
            counts.told += 1
            counts.bytes += end - start
            one.told += 1
        else:
            counts.others += 1
        if one.number < self._fully_read:
            self._check(one, data[start:end])

    def _check(self, one: Socket, payload: bytes) -> None:
        try:
            told = json.loads(payload)
        except ValueError as error:
            raise ProtocolError(f"socket {one.number}: {error} in {payload!r}") from error
        order = told.get("seq", told.get("msg"))  # the tutorial's `msg` is the time
        if order is not None:
            if order <= one.order:
                raise ProtocolError(f"socket {one.number}: {order} after {one.order}")
            one.order = order
        if self.on_text is not None:
            self.on_text(one.number, payload)


class Watcher(Reader):
    """Notes of every socket when each state came and which it was."""

    STATE = b'{"type":"state","seq":'

    def __init__(self, port: int, count: int, tls: ssl.SSLContext | None = None) -> None:
        self.gaps: list[float] = []  # seconds between two states of one socket
        self.lost = 0  # states whose number shows that one before them is missing
        self._last: dict[int, tuple[int, float]] = {}
        super().__init__(port, count, tls, fully_read=0)

    def begin(self) -> None:
        """Forgets what was, but for the last state of each."""
        self.gaps, self.lost = [], 0

    def _hear(self, one: Socket, data: bytes, start: int, end: int) -> None:
        super()._hear(one, data, start, end)
        if data.startswith(self.STATE, start):
            begin = start + len(self.STATE)
            seq = int(data[begin : data.index(b",", begin)])
            now = time.monotonic()
            last = self._last.get(one.number)
            if last is not None:
                if seq <= last[0]:
                    raise ProtocolError(f"socket {one.number}: {seq} after {last[0]}")
                self.lost += seq - last[0] - 1
                self.gaps.append(now - last[1])
            self._last[one.number] = seq, now
