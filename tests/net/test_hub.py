"""The hub: viewers get whole frames in order, and a slow one costs the others nothing."""

import asyncio
import contextlib
import fcntl
import json
import socket
import ssl
import struct
import termios
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tornado.iostream import IOStream, SSLIOStream

from raspi_server.config.schema import CertificateFiles
from raspi_server.limits import DEFAULT
from raspi_server.messages import Result, State
from raspi_server.net.backpressure import Viewer
from raspi_server.net.frames import frame
from raspi_server.net.hub import Hub
from raspi_server.security.tls import server_context
from tests.support.board import JumpingLoop
from tests.support.sockets import reset
from tests.support.websocket import PING, PONG, TEXT, Frames

ASLEEP = 200
"""States that a viewer sleeps through: more than its socket buffers hold."""
TLS_RECORD = 22
"""Bytes that TLS 1.3 adds to a frame (RFC 8446, 5.2: header 5, type 1, tag 16)."""


def is_on_its_way(stream: IOStream) -> bool:
    """Return True while bytes wait in a stream or the kernel, or are not acknowledged (tcp(7))."""
    return stream.socket is not None and (
        stream.writing() or any(fcntl.ioctl(stream.socket, termios.TIOCOUTQ, bytes(4)))
    )


class Connection:
    """Stand-in for Tornado's WebSocket connection, over a real stream."""

    def __init__(self, stream: IOStream) -> None:
        self.stream = stream
        self.closed: tuple[int | None, str | None] | None = None

    def is_closing(self) -> bool:
        return self.closed is not None or self.stream.closed()

    def close(self, code: int | None = None, reason: str | None = None) -> None:
        self.closed = (code, reason)


class Rig:
    """A hub with viewers on real sockets, perhaps with TLS. Only `read` reads their other ends."""

    def __init__(self, certificate: Path | None = None) -> None:
        self.certificate = certificate
        self.loop = JumpingLoop()
        asyncio.set_event_loop(self.loop)
        self.watched: list[bool] = []
        self.hub = Hub(self.watched.append)
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.ends: list[socket.socket] = []
        self.connections: list[Connection] = []
        self.viewers: list[Viewer] = []

    def end(self) -> socket.socket:
        """Return the end of a browser that is not connected yet and has a small buffer."""
        end = socket.socket()
        end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        return end

    def join(self, end: socket.socket | None = None) -> socket.socket:
        """Add a viewer; return its browser's end."""
        return self.loop.run_until_complete(self._join(end or self.end()))

    async def _join(self, end: socket.socket) -> socket.socket:
        end.connect(self.listening.getsockname())
        ours, _ = self.listening.accept()
        if self.certificate:
            cert, key = (self.certificate / name for name in ("cert.pem", "key.pem"))
            context = server_context(CertificateFiles(certificate=cert, key=key))
            stream: IOStream = SSLIOStream(
                context.wrap_socket(ours, server_side=True, do_handshake_on_connect=False)
            )
            done = stream.wait_for_handshake()
            connect = ssl.create_default_context(cafile=cert).wrap_socket
            end = await asyncio.to_thread(connect, end, server_hostname="127.0.0.1")
            await done
        else:
            stream = IOStream(ours)
        end.setblocking(False)
        self.ends.append(end)
        self.connections.append(Connection(stream))
        self.viewers.append(Viewer(self.connections[-1], self.loop))  # type: ignore[arg-type]
        self.hub.add(self.viewers[-1])
        return end

    def read(self, end: socket.socket) -> list[dict[str, Any]]:
        """Return all messages that were sent to one end."""
        return [json.loads(payload) for _, payload in self.frames(end)]

    def seqs(self, end: socket.socket) -> list[int]:
        """Return the numbers of all states that were sent to one end."""
        return [each["seq"] for each in self.read(end)]

    def frames(self, end: socket.socket, before: bytes = b"") -> list[tuple[int, bytes]]:
        """Return opcode and payload of all frames that were sent to one end; `before` are bytes
        that were received already."""
        parser = Frames()
        data = before + self.loop.run_until_complete(self._receive(end))
        found = list(parser.feed(data))
        assert not parser.rest, "the last frame is torn"
        return found

    async def _receive(self, end: socket.socket) -> bytes:
        stream = self.connections[self.ends.index(end)].stream
        data = b""
        idle = 0
        while idle < 20 or is_on_its_way(stream):
            try:
                data += end.recv(65536)
                idle = 0
            except (BlockingIOError, ssl.SSLWantReadError):
                idle += 1
            await asyncio.sleep(0)
        return data

    def run(self, act: Callable[[], object]) -> None:
        """Call `act` on the loop."""

        async def once() -> None:
            act()

        self.loop.run_until_complete(once())

    def state(self, seq: int) -> State:
        """Return a state of 28 pins."""
        return State(seq, 1763800000.0 + seq, {f"a-pin-with-a-name-{n}": 1 for n in range(28)})

    def send_state(self, seq: int) -> None:
        """Send a state to all viewers that can take it."""
        self.run(lambda: self.hub.send_or_skip(self.state(seq)))

    def send_result(self, ref: int) -> None:
        """Send a message that may not be skipped."""
        self.run(lambda: self.hub.send(Result(ref, "lamp", 1)))

    def check(self, after_s: float = 0) -> None:
        """Let time pass and check all viewers."""
        self.loop.run_until_complete(asyncio.sleep(after_s))
        self.run(lambda: self.hub.check(self.loop.time()))

    @property
    def closed(self) -> list[tuple[int | None, str | None] | None]:
        """Code and reason of each viewer's close frame, None without one."""
        return [connection.closed for connection in self.connections]

    def close(self) -> None:
        for connection in self.connections:
            connection.stream.close()
        for end in (*self.ends, self.listening):
            end.close()
        self.loop.run_until_complete(asyncio.sleep(0))
        self.loop.close()
        asyncio.set_event_loop(None)


@pytest.fixture(params=["ws", "wss"])
def rig(request: pytest.FixtureRequest, certificate: Path) -> Iterator[Rig]:
    rig = Rig(certificate if request.param == "wss" else None)
    yield rig
    rig.close()


@pytest.mark.parametrize(("size", "header"), [(125, 2), (126, 4), (65535, 4), (65536, 10)])
def test_frame_length_is_as_short_as_possible(size, header):
    """A message of any length is one whole text frame with the shortest length field."""
    bare = len(frame(Result(None, "", 1))) - 2
    found = frame(Result(None, "x" * (size - bare), 1))
    ((opcode, payload),) = Frames().feed(found)
    assert (opcode, len(payload), len(found)) == (TEXT, size, size + header)


def test_first_and_last_viewer_are_reported(rig):
    """The first viewer and the end of the last are reported. `empty` waits for that."""
    for _ in range(3):
        rig.join()
    assert len(rig.hub) == 3 and set(rig.hub) == set(rig.viewers)
    for viewer in (rig.viewers[0], rig.viewers[0], rig.viewers[1]):
        rig.hub.remove(viewer)
    assert rig.watched == [True]
    empty = rig.loop.create_task(rig.hub.empty())
    rig.send_result(10)
    assert not empty.done()
    rig.hub.remove(rig.viewers[2])
    assert rig.watched == [True, False]
    rig.loop.run_until_complete(asyncio.wait_for(empty, 1))
    rig.loop.run_until_complete(asyncio.wait_for(Hub(rig.watched.append).empty(), 1))


def test_full_viewer_is_skipped(rig):
    """A full viewer is skipped and counted. When it reads again, it soon gets the present."""
    sleeper, late, neighbour = (rig.join() for _ in range(3))
    for seq in range(ASLEEP):
        rig.send_state(seq)
        assert rig.seqs(neighbour) == [seq]
    before = rig.hub.skipped
    rig.send_state(ASLEEP)
    assert (rig.hub.skipped - before, rig.seqs(neighbour)) == (2, [ASLEEP])
    (own,) = struct.unpack("i", fcntl.ioctl(sleeper, termios.FIONREAD, bytes(4)))
    size = len(frame(rig.state(ASLEEP))) + TLS_RECORD * bool(rig.certificate)
    unsent = DEFAULT.tls_readiness_check_frames - 1 if rig.certificate else 0
    for number, end in enumerate((sleeper, late, sleeper), 1):
        stale = rig.seqs(end)
        assert stale == sorted(set(stale)) and len(stale) <= own // size + 2 + unsent
        rig.send_state(ASLEEP + number)
        assert rig.seqs(end) == rig.seqs(neighbour) == [ASLEEP + number]
    assert rig.hub.sent + rig.hub.skipped == 3 * (ASLEEP + 4)


def test_viewer_that_is_too_slow(rig):
    """A viewer that is more than 256 KiB, or 5 s, behind is closed with 1013."""
    sleeper, neighbour, _ = rig.join(), rig.join(), rig.join()
    small, big = (frame(Result(None, "x" * size, 1)) for size in (1000, 100_000))
    rig.run(lambda: [viewer.send(big) for viewer in rig.viewers[:2]])
    assert len(rig.read(neighbour)) == 1
    for closed in (None, (1013, "too slow")):
        for _ in range(DEFAULT.max_viewer_backlog_bytes // len(small)):
            rig.run(lambda: rig.viewers[2].send(small))
        rig.check()
        assert rig.closed == [None, None, closed]
    with contextlib.suppress(ssl.SSLWantReadError):
        sleeper.recv(1)
    rig.check(DEFAULT.max_viewer_behind_s + 0.1)
    assert rig.closed == [(1013, "too slow"), None, (1013, "too slow")]


def test_broken_connection_disturbs_no_other_viewer(rig):
    """If a phone resets its connection, or closes it during the first message, the others get
    everything. So does a new one with the same socket number, even before the old is removed."""

    def nothing_is_missing(*ends: socket.socket) -> None:
        for seq in range(3):
            rig.send_state(2 * seq)
            rig.send_result(seq)
            for end in ends:
                assert [message["type"] for message in rig.read(end)] == ["state", "result"]

    neighbour, broken, _ = rig.join(), rig.join(), rig.join()
    early, number = rig.viewers[2], rig.viewers[1].socket.fileno()
    rig.hub.remove(early)
    reset(broken)
    newcomer = rig.end()
    nothing_is_missing(neighbour)
    assert [each.stream.closed() for each in rig.connections] == [False, True, False]
    newcomer = rig.join(newcomer)
    assert rig.viewers[3].socket.fileno() == number
    nothing_is_missing(neighbour, newcomer)
    rig.hub.remove(rig.viewers[1])
    nothing_is_missing(neighbour, newcomer)
    rig.connections[2].stream.close()
    rig.hub.add(early)
    nothing_is_missing(neighbour, newcomer)


def test_closed_viewer_gets_nothing_more(rig):
    """A closed viewer gets nothing more. `close` sends close frames, `cut` ends all at once."""
    ends = [rig.join() for _ in range(3)]
    rig.run(lambda: rig.viewers[1].close(1001, "bye"))
    rig.send_state(1)
    rig.send_result(2)
    assert [len(rig.read(end)) for end in ends] == [2, 0, 2]
    rig.run(lambda: rig.hub.close(1012, "signed out"))
    assert rig.closed == [(1012, "signed out")] * 3
    assert not any(each.stream.closed() for each in rig.connections)
    rig.run(lambda: rig.hub.cut(1001, "stop"))
    assert rig.closed == [(1001, "stop")] * 3
    assert all(each.stream.closed() for each in rig.connections)


def test_pings(rig):
    """A phone that answers pings stays; one that does not is closed before the second ping."""
    silent, answering = rig.join(), rig.join()
    for _ in range(3):
        rig.check(DEFAULT.ping_interval_s + 1)
        assert rig.frames(answering) == [(PING, b"")]
        rig.run(rig.viewers[1].pong_received)
    assert rig.frames(silent) == [(PING, b"")]
    assert rig.closed == [(1013, "no answer to a ping"), None]


def test_pong_is_not_cut_by_a_frame(rig):
    """While a part of Tornado's own pong waits, no frame comes between its bytes, also when the
    kernel has room again."""
    end = rig.join()
    stream = rig.connections[0].stream
    written, received = 0, b""

    def pongs_and_frames() -> None:
        nonlocal written, received
        while not stream.writing():
            stream.write(b"\x8a\x7d" + b"p" * 125)
            rig.viewers[0].stream_was_written()
            written += 1
        with contextlib.suppress(BlockingIOError, ssl.SSLWantReadError):
            while True:
                received += end.recv(65536)
        rig.hub.send_or_skip(rig.state(0))
        rig.hub.send(Result(1, "lamp", 1))

    rig.run(pongs_and_frames)
    assert [opcode for opcode, _ in rig.frames(end, received)] == [PONG] * written + [TEXT]
    rig.send_state(4)
    assert rig.seqs(end) == [4]
