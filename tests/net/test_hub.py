"""The hub and its back-pressure: every viewer gets whole frames in order, and a slow one costs the
others nothing."""

import asyncio
import contextlib
import fcntl
import json
import socket
import ssl
import struct
import subprocess
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
from raspi_server.net.frames import PING, frame
from raspi_server.net.hub import Hub
from raspi_server.security.tls import server_context
from tests.support.board import JumpingLoop
from tests.support.server import Server
from tests.support.sockets import open_socket, reset
from tests.support.websocket import HANDSHAKE, PONG, TEXT, Frames, WebSocketClient

ASLEEP = 200
"""States that a viewer sleeps through: more than its socket buffers hold."""


def frames(data: bytes) -> list[tuple[int, bytes]]:
    """Return opcode and payload of each whole, unmasked frame; no byte may be left over."""
    parser = Frames()
    found = list(parser.feed(data))
    assert not parser.rest, "the last frame is torn"
    return found


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
    """A hub with viewers on real sockets, with TLS if a certificate's folder is given. Their other
    ends are read only by `read`."""

    def __init__(self, certificate: Path | None = None) -> None:
        self._certificate = certificate
        self.loop = JumpingLoop()
        asyncio.set_event_loop(self.loop)
        self.watched: list[bool] = []
        self.hub = Hub(self.watched.append)
        self.ends: list[socket.socket] = []
        self.connections: list[Connection] = []
        self.viewers: list[Viewer] = []
        self._prepared: tuple[socket.socket, socket.socket] | None = None

    def join(self) -> socket.socket:
        """Add a viewer; return its browser's end."""
        return self.loop.run_until_complete(self._join())

    def prepare(self) -> tuple[socket.socket, socket.socket]:
        """Make everything for the next viewer except its socket, which then gets the lowest
        number."""
        server = socket.create_server(("127.0.0.1", 0))
        end = socket.socket()
        end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self._prepared = server, end
        return self._prepared

    async def _join(self) -> socket.socket:
        server, end = self._prepared or self.prepare()
        self._prepared = None
        with server:
            end.connect(server.getsockname())
            ours, _ = server.accept()
        stream = IOStream(ours)
        if self._certificate:
            end, stream = await self._encrypted(end, ours, self._certificate)
        connection = Connection(stream)
        viewer = Viewer(connection, self.loop)  # type: ignore[arg-type]
        self.hub.add(viewer)
        end.setblocking(False)
        self.ends.append(end)
        self.connections.append(connection)
        self.viewers.append(viewer)
        return end

    async def _encrypted(
        self, end: socket.socket, ours: socket.socket, certificate: Path
    ) -> tuple[socket.socket, IOStream]:
        theirs = ssl.create_default_context(cafile=certificate / "cert.pem")
        context = server_context(
            CertificateFiles(certificate=certificate / "cert.pem", key=certificate / "key.pem")
        )
        for each in (end, ours):
            each.setblocking(False)
        stream = SSLIOStream(
            context.wrap_socket(ours, server_side=True, do_handshake_on_connect=False)
        )
        encrypted = theirs.wrap_socket(
            end, server_hostname="127.0.0.1", do_handshake_on_connect=False
        )
        done = stream.wait_for_handshake()
        while True:
            await asyncio.sleep(0)
            with contextlib.suppress(ssl.SSLWantReadError):
                encrypted.do_handshake()
                break
        await done
        return encrypted, stream

    def read(self, end: socket.socket, at_least: int = 0) -> list[dict[str, Any]]:
        """Return all messages that arrive at one end, until no more arrive and at least so many
        bytes have."""
        data = self.loop.run_until_complete(self._receive(end, at_least))
        return [json.loads(payload) for _, payload in frames(data)]

    async def _receive(self, end: socket.socket, at_least: int = 0) -> bytes:
        data = b""
        idle = 0
        while idle < 20 or len(data) < at_least:
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

    def send_state(self, seq: int) -> None:
        """Send a state of 28 pins to all viewers that can take it."""
        values = {f"a-pin-with-a-name-{n}": 1 for n in range(28)}
        self.run(lambda: self.hub.send_or_skip(State(seq, 1763800000.0 + seq, values)))

    def send_result(self, ref: int) -> None:
        """Send a message that may not be skipped."""
        self.run(lambda: self.hub.send(Result(ref, "lamp", 1)))

    def check(self, after_s: float = 0) -> None:
        """Let time pass and check all viewers."""
        self.loop.run_until_complete(asyncio.sleep(after_s))
        self.run(lambda: self.hub.check(self.loop.time()))

    def seqs(self, end: socket.socket) -> list[int]:
        """Return the numbers of all states that arrive at one end."""
        return [each["seq"] for each in self.read(end) if each["type"] == "state"]

    @property
    def closed(self) -> list[tuple[int | None, str | None] | None]:
        """Code and reason of each viewer's close frame, None without one."""
        return [connection.closed for connection in self.connections]

    def close(self) -> None:
        for connection in self.connections:
            connection.stream.close()
        for end in self.ends:
            end.close()
        self.loop.run_until_complete(asyncio.sleep(0))
        self.loop.close()
        asyncio.set_event_loop(None)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(
        ["openssl", "req", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt",
         "ec_paramgen_curve:P-256", "-days", "30",
         "-keyout", folder / "key.pem", "-out", folder / "cert.pem",
         "-subj", "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1"],
        check=True, capture_output=True,
    )  # fmt: skip
    return folder


@pytest.fixture(params=["ws", "wss"])
def rig(request: pytest.FixtureRequest, certificate: Path) -> Iterator[Rig]:
    rig = Rig(certificate if request.param == "wss" else None)
    yield rig
    rig.close()


@pytest.mark.parametrize(
    ("size", "header"), [(60, 2), (125, 2), (126, 4), (65535, 4), (65536, 10), (100_000, 10)]
)
def test_frame_length_is_as_short_as_possible(size, header):
    """A message of any length is one whole text frame with the shortest length field."""
    bare = len(frame(Result(None, "", 1))) - 2
    message = Result(None, "x" * (size - bare), 1)
    found = frame(message)
    ((opcode, payload),) = frames(found)
    assert (opcode, len(payload), len(found)) == (TEXT, size, size + header)
    assert json.loads(payload)["pin"] == message.pin


def test_viewers_that_read_get_everything_in_order(rig):
    """Viewers that read get every state and every change in order."""
    ends = [rig.join() for _ in range(3)]
    for seq in range(10):
        rig.send_state(2 * seq)
        rig.send_result(seq)
        for end in ends:
            first, second = rig.read(end)
            assert (first["seq"], second["ref"]) == (2 * seq, seq)
    assert (rig.hub.sent, rig.hub.skipped) == (60, 0)


def test_on_active_with_the_first_and_last_viewer(rig):
    """`on_active` is called with the first viewer and after the last."""
    rig.join()
    rig.join()
    rig.hub.remove(rig.viewers[0])
    rig.hub.remove(rig.viewers[0])
    assert (rig.watched, len(rig.hub), list(rig.hub)) == ([True], 1, [rig.viewers[1]])
    rig.hub.remove(rig.viewers[1])
    assert rig.watched == [True, False]
    rig.loop.run_until_complete(asyncio.wait_for(rig.hub.empty(), 1))


def test_full_viewer_is_skipped(rig):
    """A viewer whose connection is full is skipped and counted. When it reads again it finds a few
    old states and then the present. Another viewer gets each state."""
    sleeper, neighbour = rig.join(), rig.join()
    for seq in range(ASLEEP):
        rig.send_state(seq)
        assert rig.seqs(neighbour) == [seq]
    assert rig.hub.skipped > ASLEEP / 2
    before = rig.hub.skipped
    rig.send_state(ASLEEP)
    assert (rig.hub.skipped - before, rig.seqs(neighbour)) == (1, [ASLEEP])
    stale = rig.seqs(sleeper)
    assert stale == sorted(set(stale)) and len(stale) < ASLEEP / 2
    rig.send_state(ASLEEP + 1)
    assert rig.seqs(sleeper) == [ASLEEP + 1]
    assert rig.hub.sent + rig.hub.skipped == 2 * (ASLEEP + 2)


def test_sleepers_that_wake_one_by_one(rig):
    """Viewers wake, fall asleep again, or are closed while others sleep on: each gets the present
    when it wakes, and one that was awake missed nothing."""
    often, seldom, closed, neighbour = (rig.join() for _ in range(4))
    seq = 0

    def send_state() -> None:
        nonlocal seq
        seq += 1
        rig.send_state(seq)

    def fall_asleep() -> None:
        for _ in range(ASLEEP):
            send_state()
            assert rig.seqs(neighbour) == [seq]

    def wake(end: socket.socket) -> None:
        assert len(rig.read(end)) < 150
        send_state()
        for each in (end, neighbour):
            assert rig.seqs(each) == [seq]

    for _ in range(2):
        fall_asleep()
        wake(often)
    rig.connections[rig.ends.index(closed)].stream.close()
    wake(seldom)
    wake(often)
    rig.hub.remove(rig.viewers[rig.ends.index(closed)])
    fall_asleep()
    wake(seldom)
    wake(often)


def test_changes_are_never_skipped(rig):
    """A phone that slept for a while gets every change, in order."""
    sleeper = rig.join()
    for seq in range(ASLEEP):
        rig.send_state(seq)
        rig.send_result(seq)
    assert rig.hub.skipped > 0
    got = rig.read(sleeper)
    assert [each["ref"] for each in got if each["type"] == "result"] == list(range(ASLEEP))
    assert rig.closed == [None]


def test_too_many_bytes_behind(rig):
    """A socket that falls more than 256 KiB behind is closed with 1013."""
    rig.join()
    big = frame(Result(None, "x" * 1000, 1))
    for _ in range(DEFAULT.max_viewer_backlog_bytes // len(big)):
        rig.run(lambda: rig.viewers[0].send(big))
    assert rig.closed == [None]
    for _ in range(DEFAULT.max_viewer_backlog_bytes // len(big)):
        rig.run(lambda: rig.viewers[0].send(big))
    assert rig.closed == [(1013, "too slow")]


def test_too_long_behind(rig):
    """A socket that does not take a change for 5 s is closed with 1013; one that does is not."""
    sleeper, neighbour = rig.join(), rig.join()
    big = frame(Result(None, "x" * 100_000, 1))
    rig.run(lambda: [viewer.send(big) for viewer in rig.viewers])
    rig.read(neighbour, len(big))
    rig.check()
    assert rig.closed == [None, None]
    rig.check(DEFAULT.max_viewer_behind_s + 0.1)
    assert rig.closed == [(1013, "too slow"), None]
    rig.read(sleeper, len(big))


def test_reset_ends_one_viewer_only(rig):
    """A phone that resets its connection in the middle of a tick disturbs no other viewer."""
    broken, neighbour = rig.join(), rig.join()
    reset(broken)
    for seq in range(5):
        rig.send_state(seq)
        rig.send_result(seq)
        assert len(rig.read(neighbour)) == 2
    assert [each.stream.closed() for each in rig.connections] == [True, False]


def test_socket_number_that_is_used_again(rig):
    """A viewer whose socket is closed, before and after the hub removes it, takes nothing from the
    next viewer, to which the kernel may give the same socket number."""
    neighbour = rig.join()
    rig.join()
    rig.prepare()
    number = rig.viewers[1].socket.fileno()
    rig.connections[1].stream.close()
    newcomer = rig.join()
    assert rig.viewers[2].socket.fileno() == number
    for seq in range(3):
        rig.send_state(2 * seq)
        rig.send_result(seq)
        rig.hub.remove(rig.viewers[1])
        for end in (neighbour, newcomer):
            assert [message["type"] for message in rig.read(end)] == ["state", "result"]


def test_viewer_closed_before_hub_add(rig):
    """A phone that closes its connection during the first message disturbs no other viewer."""
    neighbour = rig.join()
    rig.join()
    closed = rig.viewers[1]
    rig.hub.remove(closed)
    rig.connections[1].stream.close()
    rig.hub.add(closed)
    rig.send_state(1)
    rig.send_result(1)
    assert len(rig.read(neighbour)) == 2


def test_closed_viewer_gets_nothing_more(rig):
    """A viewer that is closed between two states gets nothing more, and no other misses one."""
    ends = [rig.join() for _ in range(4)]
    got = [0] * 4
    for seq in range(8):
        rig.send_state(2 * seq)
        rig.send_result(2 * seq + 1)
        if seq % 2:
            rig.run(lambda seq=seq: rig.viewers[seq // 2].close(1001, "bye"))
        for number, end in enumerate(ends):
            got[number] += len(rig.read(end))
    assert got == [4, 8, 12, 16]
    assert rig.closed == [(1001, "bye")] * 4


def test_hub_closes_all_viewers(rig):
    """`close` sends all viewers a close frame; `cut` also ends their connections at once."""
    for _ in range(2):
        rig.join()
    rig.run(lambda: rig.hub.close(1012, "signed out"))
    assert rig.closed == [(1012, "signed out")] * 2
    assert not any(each.stream.closed() for each in rig.connections)
    rig.run(lambda: rig.hub.cut(1001, "stop"))
    assert rig.closed == [(1001, "stop")] * 2
    assert all(each.stream.closed() for each in rig.connections)


def test_pings(rig):
    """A phone that answers pings stays; one that does not is closed before the second ping."""
    silent, answering = rig.join(), rig.join()
    for _ in range(3):
        rig.check(DEFAULT.ping_interval_s + 1)
        assert answering.recv(100) == PING
        rig.run(rig.viewers[1].pong_received)
    assert silent.recv(100) == PING
    assert rig.closed == [(1013, "no answer to a ping"), None]


def test_pong_is_not_cut_by_a_frame(rig):
    """While Tornado's own pong waits in a full buffer, no frame comes between its bytes."""
    end = rig.join()
    stream = rig.connections[0].stream
    pong = b"\x8a\x7d" + b"p" * 125
    written = 0

    def pongs() -> None:
        nonlocal written
        while not stream.writing():
            stream.write(pong)
            rig.viewers[0].stream_was_written()
            written += 1

    rig.run(pongs)
    for seq in range(3):
        rig.send_state(seq)
    rig.send_result(1)
    data = rig.loop.run_until_complete(rig._receive(end))
    assert [opcode for opcode, _ in frames(data)] == [PONG] * written + [TEXT]
    rig.send_state(4)
    assert rig.seqs(end) == [4]


TLS_RECORD = 22
"""Bytes that TLS 1.3 adds to a frame (RFC 8446, 5.2: header 5, type 1, tag 16)."""


def messages_until(sleeper: socket.socket, last: int) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield all messages up to the first one later than `last`, each with the number of bytes that
    came up to its end."""
    head, _, data = sleeper.recv(65536).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101")
    read = len(head) + 4
    parser = Frames()
    while True:
        for opcode, payload in parser.feed(data):
            assert opcode == TEXT
            read += (2 if len(payload) < 126 else 4) + len(payload)
            message = json.loads(payload)
            yield read, message
            if message.get("seq", 0) > last:
                return
        data = sleeper.recv(65536)


@pytest.mark.slow
@pytest.mark.parametrize("is_secure", [False, True], ids=["ws", "wss"])
def test_sleeping_browser(start_server, certificate, is_secure):
    """A browser that slept reads whole frames in order when it wakes, and misses no change.

    Of the states for which its own buffer had no room, it finds two at most: the one that waits,
    and one of which its buffer holds a part. With TLS those before the next readiness check are
    added."""
    files = f"ssl: {{certificate: {certificate}/cert.pem, key: {certificate}/key.pem}}\n"
    server: Server = start_server(
        "interval: 0.01\naccess: {control: everyone}\npins: {lamp: {gpio: 17, mode: output}}\n"
        + files * is_secure
    )
    sleeper = open_socket(server.port, 4096)
    context = None
    if is_secure:
        context = ssl.create_default_context(cafile=certificate / "cert.pem")
        sleeper = context.wrap_socket(sleeper, server_hostname="127.0.0.1")
    sleeper.sendall(HANDSHAKE)
    with sleeper, WebSocketClient(server.port, context=context) as awake:
        for number in range(300):
            last = awake.receive("state")["seq"]
            if number % 15 == 0:
                awake.send(type="toggle", pin="lamp")
        (own,) = struct.unpack("i", fcntl.ioctl(sleeper, termios.FIONREAD, bytes(4)))
        found = list(messages_until(sleeper, last))
    seqs = [message["seq"] for _, message in found if "seq" in message]
    assert seqs == sorted(set(seqs))
    changes = [message["value"] for _, message in found if message["type"] == "change"]
    assert changes == [1, 0] * 10
    states = [
        read + records * (TLS_RECORD if is_secure else 0)
        for records, (read, message) in enumerate(found[:-1], start=2)
        if message["type"] == "state"
    ]
    assert len(states) < 250  # the others were skipped
    unsent = DEFAULT.tls_readiness_check_frames - 1 if is_secure else 0
    assert sum(read > own for read in states) <= 2 + unsent
