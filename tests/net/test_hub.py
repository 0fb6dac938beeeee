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
import urllib.request
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
from tests.support.server import LIMIT, Server
from tests.support.websocket import WebSocketClient


def frames(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield opcode and payload of each whole, unmasked frame; no byte may be left over."""
    while data:
        first, second = data[:2]
        assert first & 0x80, "every frame is a whole message"
        size, begin = second, 2
        if second == 126:
            (size,), begin = struct.unpack("!H", data[2:4]), 4
        elif second == 127:
            (size,), begin = struct.unpack("!Q", data[2:10]), 10
        assert len(data) >= begin + size, "the last frame is torn"
        yield first & 0x0F, data[begin : begin + size]
        data = data[begin + size :]


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


def state(seq: int, size: int = 28) -> State:
    return State(seq, 1763800000.0 + seq, {f"a-pin-with-a-name-{n}": 1 for n in range(size)})


@pytest.mark.parametrize("size", [0, 100, 125, 126, 127, 65535, 65536, 100000])
def test_frames_are_as_the_rfc_says(size):
    """A message of any length is one whole text frame with the shortest length field."""
    bare = len(
        json.dumps({"type": "result", "ref": None, "pin": "", "value": 1}, separators=(",", ":"))
    )
    message = Result(None, "x" * max(0, size - bare), 1)
    found = frame(message)
    ((opcode, payload),) = frames(found)
    assert opcode == 1
    assert json.loads(payload)["pin"] == message.pin
    header = len(found) - len(payload)
    assert header == (2 if len(payload) < 126 else 4 if len(payload) < 65536 else 10)


def test_viewers_that_read_get_everything_in_order(rig):
    """Viewers that read get every state and every change in order."""
    ends = [rig.join() for _ in range(3)]
    for seq in range(10):
        rig.run(lambda seq=seq: rig.hub.send_or_skip(state(2 * seq)))
        rig.run(lambda seq=seq: rig.hub.send(Result(seq, "lamp", 1)))
        for end in ends:
            first, second = rig.read(end)
            assert (first["seq"], second["ref"]) == (2 * seq, seq)


def test_on_active_with_the_first_and_last_viewer(rig):
    """`on_active` is called with the first viewer and after the last."""
    rig.join()
    rig.join()
    rig.hub.remove(rig.viewers[0])
    rig.hub.remove(rig.viewers[0])
    assert rig.watched == [True]
    rig.hub.remove(rig.viewers[1])
    assert rig.watched == [True, False]


def test_a_sleeper_wakes_to_the_present(rig):
    """A phone that slept through thousands of states finds a few old ones and then the present;
    another viewer missed nothing."""
    sleeper, neighbour = rig.join(), rig.join()
    for seq in range(3000):
        rig.run(lambda seq=seq: rig.hub.send_or_skip(state(seq)))
        assert [message["seq"] for message in rig.read(neighbour)] == [seq]
    stale = [message["seq"] for message in rig.read(sleeper)]
    assert stale == sorted(set(stale))
    assert len(stale) < 150
    rig.run(lambda: rig.hub.send_or_skip(state(3000)))
    assert [message["seq"] for message in rig.read(sleeper)] == [3000]


def test_sleepers_that_wake_one_by_one(rig):
    """Viewers wake, fall asleep again, or are closed while others sleep on: each gets the present
    when it wakes, and one that was awake missed nothing."""
    often, seldom, gone, neighbour = (rig.join() for _ in range(4))
    seq = 0

    def show() -> None:
        nonlocal seq
        seq += 1
        rig.run(lambda: rig.hub.send_or_skip(state(seq)))

    def fall_asleep() -> None:
        for _ in range(200):
            show()
            assert [message["seq"] for message in rig.read(neighbour)] == [seq]

    def wakes(end: socket.socket) -> None:
        stale = [message["seq"] for message in rig.read(end)]
        assert len(stale) < 150
        show()
        for each in (end, neighbour):
            assert [message["seq"] for message in rig.read(each)] == [seq]

    for _ in range(3):
        fall_asleep()
        wakes(often)
    rig.connections[rig.ends.index(gone)].stream.close()
    wakes(seldom)
    wakes(often)
    rig.hub.remove(rig.viewers[rig.ends.index(gone)])
    fall_asleep()
    wakes(seldom)
    wakes(often)


def test_changes_are_never_skipped(rig):
    """A phone that slept for a while gets every change, in order."""
    sleeper = rig.join()
    for seq in range(600):
        rig.run(lambda seq=seq: rig.hub.send_or_skip(state(seq)))
        rig.run(lambda seq=seq: rig.hub.send(Result(seq, "lamp", 1)))
    got = rig.read(sleeper)
    assert [message["ref"] for message in got if message["type"] == "result"] == list(range(600))
    assert rig.connections[0].closed is None


def test_too_many_bytes_behind(rig):
    """A socket that falls more than 256 KiB behind is closed with 1013 and costs no more."""
    rig.join()
    big = frame(Result(None, "x" * 1000, 1))
    for _ in range(2 * DEFAULT.max_viewer_backlog_bytes // len(big)):
        rig.run(lambda: rig.viewers[0].send(big))
    assert rig.connections[0].closed == (1013, "too slow")


def test_too_long_behind(rig):
    """A socket that does not take a change for 5 s is closed with 1013; one that does is not."""
    sleeper, neighbour = rig.join(), rig.join()
    big = frame(Result(None, "x" * 100_000, 1))
    rig.run(lambda: [viewer.send(big) for viewer in rig.viewers])
    rig.read(neighbour, len(big))
    rig.run(lambda: rig.hub.check(rig.loop.time()))
    assert [connection.closed for connection in rig.connections] == [None, None]
    rig.loop.run_until_complete(asyncio.sleep(DEFAULT.max_viewer_behind_s + 0.1))
    rig.run(lambda: rig.hub.check(rig.loop.time()))
    assert [connection.closed for connection in rig.connections] == [(1013, "too slow"), None]
    rig.read(sleeper, len(big))


def test_a_reset_ends_only_that_one(rig):
    """A phone that resets its connection in the middle of a tick disturbs no other viewer."""
    broken, neighbour = rig.join(), rig.join()
    broken.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    broken.close()
    for seq in range(5):
        rig.run(lambda seq=seq: rig.hub.send_or_skip(state(seq)))
        rig.run(lambda seq=seq: rig.hub.send(Result(seq, "lamp", 1)))
        assert len(rig.read(neighbour)) == 2
    assert rig.connections[0].stream.closed()
    assert not rig.connections[1].stream.closed()


def test_a_number_that_is_used_again(rig):
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
        rig.run(lambda seq=seq: rig.hub.send_or_skip(state(2 * seq)))
        rig.run(lambda seq=seq: rig.hub.send(Result(seq, "lamp", 1)))
        rig.hub.remove(rig.viewers[1])
        for end in (neighbour, newcomer):
            assert [message["type"] for message in rig.read(end)] == ["state", "result"]


def test_viewer_closed_before_hub_add(rig):
    """A phone that closes its connection during the first message disturbs no other viewer."""
    neighbour = rig.join()
    rig.join()
    gone = rig.viewers[1]
    rig.hub.remove(gone)
    rig.connections[1].stream.close()
    rig.hub.add(gone)
    rig.run(lambda: rig.hub.send_or_skip(state(1)))
    rig.run(lambda: rig.hub.send(Result(1, "lamp", 1)))
    assert len(rig.read(neighbour)) == 2


def test_a_close_in_the_middle_of_a_burst(rig):
    """A viewer that is closed between two states gets nothing more, and no other misses one."""
    ends = [rig.join() for _ in range(4)]
    got = [0] * 4
    for seq in range(8):
        rig.run(lambda seq=seq: rig.hub.send_or_skip(state(2 * seq)))
        rig.run(lambda seq=seq: rig.hub.send(Result(2 * seq + 1, "lamp", 1)))
        if seq % 2:
            rig.run(lambda seq=seq: rig.viewers[seq // 2].close(1001, "bye"))
        for number, end in enumerate(ends):
            got[number] += len(rig.read(end))
    assert got == [4, 8, 12, 16]


def test_full_viewers_are_skipped(rig):
    """A viewer whose connection is full is skipped, and counted; the others get each state."""
    sleeper, neighbour = rig.join(), rig.join()
    for seq in range(200):
        rig.run(lambda seq=seq: rig.hub.send_or_skip(state(seq)))
        rig.read(neighbour)
    assert rig.hub.skipped > 100
    before = rig.hub.skipped
    rig.run(lambda: rig.hub.send_or_skip(state(200)))
    assert (rig.hub.skipped - before, len(rig.read(neighbour))) == (1, 1)
    rig.read(sleeper)
    rig.run(lambda: rig.hub.send_or_skip(state(201)))
    assert [message["seq"] for message in rig.read(sleeper)] == [201]
    assert rig.hub.sent + rig.hub.skipped == 2 * 202


def test_nothing_follows_a_close_frame(rig):
    """After the close frame nothing more is sent."""
    end = rig.join()
    rig.run(lambda: rig.viewers[0].close(1001, "bye"))
    rig.run(lambda: rig.hub.send_or_skip(state(1)))
    rig.run(lambda: rig.hub.send(Result(1, "lamp", 1)))
    assert rig.read(end) == []


def test_a_ping_now_and_then(rig):
    """A phone that answers pings stays; one that is unreachable is closed after the second."""
    gone, there = rig.join(), rig.join()
    for _ in range(3):
        rig.loop.run_until_complete(asyncio.sleep(DEFAULT.ping_interval_s + 1))
        rig.run(lambda: rig.hub.check(rig.loop.time()))
        assert there.recv(100) == PING
        rig.run(rig.viewers[1].pong_received)
    assert gone.recv(100) == PING
    closed = [connection.closed for connection in rig.connections]
    assert closed == [(1013, "no answer to a ping"), None]


def test_a_pong_is_not_cut_by_a_frame(rig):
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
        rig.run(lambda seq=seq: rig.hub.send_or_skip(state(seq)))
    rig.run(lambda: rig.hub.send(Result(1, "lamp", 1)))
    data = rig.loop.run_until_complete(rig._receive(end))
    opcodes = [opcode for opcode, _ in frames(data)]
    assert opcodes == [0xA] * written + [1]
    rig.run(lambda: rig.hub.send_or_skip(state(4)))
    assert [message["seq"] for message in rig.read(end)] == [4]


TLS_RECORD = 22
"""Bytes that TLS 1.3 adds to a frame (RFC 8446, 5.2: header 5, type 1, tag 16)."""

CONFIG = """
interval: 0.01
access: {control: everyone}
pins:
""" + "".join(
    f"  an-output-with-a-long-name-{n:02}: {{gpio: {n}, mode: output}}\n" for n in range(28)
)


@pytest.fixture(params=[False, True], ids=["ws", "wss"])
def door(request: pytest.FixtureRequest, certificate: Path) -> tuple[str, ssl.SSLContext | None]:
    """A line of the configuration, plain or for TLS, and what a browser needs for it."""
    if not request.param:
        return "", None
    line = f"ssl: {{certificate: {certificate}/cert.pem, key: {certificate}/key.pem}}\n"
    return line, ssl.create_default_context(cafile=certificate / "cert.pem")


def asleep(server: Server, context: ssl.SSLContext | None) -> socket.socket:
    """A phone with a small buffer that opens a WebSocket and then reads nothing."""
    sleeper = socket.socket()
    sleeper.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sleeper.settimeout(LIMIT)
    sleeper.connect(("127.0.0.1", server.port))
    if context:
        sleeper = context.wrap_socket(sleeper, server_hostname="127.0.0.1")
    sleeper.sendall(
        b"GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
    return sleeper


def messages_until(sleeper: socket.socket, last: int) -> Iterator[tuple[int, dict[str, Any]]]:
    """The phone wakes: every message up to the first later than `last`, with the number of bytes
    that had come with it."""
    data = sleeper.recv(65536)
    head, _, data = data.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101")
    read = len(head) + 4
    while True:
        data += sleeper.recv(65536)
        for opcode, payload in _whole_frames(data):
            assert opcode == 1
            message = json.loads(payload)
            read += (2 if len(payload) < 126 else 4) + len(payload)
            yield read, message
            if message.get("seq", 0) > last:
                return
        data = _rest(data)


def test_a_sleeping_phone_through_the_front_door(start_server, door):
    """Plain and under TLS, a browser that slept reads whole frames in order when it wakes, misses
    no change, and soon sees the present."""
    ssl_line, context = door
    server: Server = start_server(CONFIG + ssl_line)
    with asleep(server, context) as sleeper, WebSocketClient(server.port, context=context) as awake:
        states = (each for each in awake.messages() if each["type"] == "state")
        toggle = f"{server.url}/api/pins/an-output-with-a-long-name-05/toggle"
        for number in range(300):  # states, with a change now and then
            next(states)
            if number < 20:
                request = urllib.request.Request(toggle, method="POST")
                with urllib.request.urlopen(request, timeout=LIMIT, context=context):
                    pass
        last = next(states)["seq"]
        messages = [message for _, message in messages_until(sleeper, last)]
    seqs = [message["seq"] for message in messages if "seq" in message]
    assert seqs == sorted(set(seqs))
    changes = [message for message in messages if message["type"] == "change"]
    assert [change["value"] for change in changes] == [1, 0] * 10


def test_what_the_server_keeps_for_a_sleeper(start_server, door):
    """Of the states that a sleeping phone's own buffer had no room for, it finds two at most, the
    one that waits and one of which its buffer holds a part, and under TLS those that were sent
    before the kernel was asked; then comes the present."""
    ssl_line, context = door
    server: Server = start_server(
        f"interval: 0.01\npins: {{lamp: {{gpio: 17, mode: output}}}}\n{ssl_line}"
    )
    with asleep(server, context) as sleeper, WebSocketClient(server.port, context=context) as awake:
        present = (each for each in awake.messages() if each["type"] == "state")
        for _ in range(300):
            next(present)
        last = next(present)["seq"]
        (own,) = struct.unpack("i", fcntl.ioctl(sleeper, termios.FIONREAD, bytes(4)))
        found = list(messages_until(sleeper, last))
    states = [
        read + records * (TLS_RECORD if context else 0)
        for records, (read, message) in enumerate(found[:-1], start=2)
        if message["type"] == "state"
    ]
    assert len(states) < 250  # the others were skipped
    assert sum(read > own for read in states) <= 2 + (
        DEFAULT.tls_readiness_check_frames - 1 if context else 0
    )


def _end_of_first(data: bytes) -> int | None:
    """Return the end of the first frame, or None if it is not whole yet."""
    if len(data) < 4:
        return None
    size, begin = data[1], 2
    if size == 126:
        (size,), begin = struct.unpack("!H", data[2:4]), 4
    return begin + size if len(data) >= begin + size else None


def _whole_frames(data: bytes) -> list[tuple[int, bytes]]:
    return list(frames(data[: len(data) - len(_rest(data))]))


def _rest(data: bytes) -> bytes:
    while (end := _end_of_first(data)) is not None:
        data = data[end:]
    return data
