"""The WebSocket protocol byte by byte: clients see no difference to Tornado's own `write_message`,
in whose place the hub writes."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from raspi_server.messages import MAX_MESSAGE_BYTES
from tests.support.server import LIMIT, Server
from tests.support.sockets import GONE
from tests.support.websocket import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    WebSocketClient,
    masked,
)

CONFIG = """
access: {control: everyone}
interval: 0.01
pins:
  lamp: {gpio: 17, mode: output}
"""

TORNADO = """
import asyncio, sys, time
from tornado.ioloop import PeriodicCallback
from tornado.web import Application
from tornado.websocket import WebSocketHandler

viewers = set()

class Handler(WebSocketHandler):
    def open(self):
        self.set_nodelay(True)  # else a close frame that waits for Nagle is lost to a reset
        self.write_message({"type": "hello"})
        viewers.add(self)

    def on_message(self, message):
        self.write_message({"type": "error"})

    def on_close(self):
        viewers.discard(self)

def show():
    state = {"type": "state", "time": time.time()}
    for viewer in viewers:
        viewer.write_message(state).add_done_callback(lambda done: done.exception())

async def main():
    application = Application([("/ws", Handler)], websocket_max_message_size=int(sys.argv[1]))
    server = application.listen(0, "127.0.0.1")
    PeriodicCallback(show, 10).start()
    [listening] = server._sockets.values()
    print(listening.getsockname()[1], flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.fixture(scope="module")
def pi(start_module_server: Callable[..., Server]) -> int:
    """The port of our server."""
    return start_module_server(CONFIG).port


@pytest.fixture(scope="module")
def tornado() -> Iterator[int]:
    """The port of a plain Tornado server that sends as much as ours."""
    command = [sys.executable, "-c", TORNADO, str(MAX_MESSAGE_BYTES)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield int(process.stdout.readline())
        process.terminate()
        process.wait(LIMIT)


class Seen(NamedTuple):
    """The view of a client: the number of messages that were answered, the payloads of pongs and of
    the close frame, and whether the server is `open`, `waits` for the rest of a frame, or is `gone`
    at the end."""

    answers: int
    pongs: list[bytes]
    closed: bytes | None
    end: str


FENCE = b"are you still there?"


def see(port: int, pieces: list[bytes]) -> Seen:
    """Send bytes and a ping behind them. A server that sends three states and no pong is waiting
    for the rest of a frame."""
    pongs: list[bytes] = []
    closed: bytes | None = None
    answers = later_states = 0
    with WebSocketClient(port) as client:
        frames = client.frames()
        assert json.loads(next(frames)[1])["type"] == "hello"
        with suppress(*GONE):  # the server closed before all was sent
            for piece in pieces:
                client.socket.sendall(piece)
            client.socket.sendall(masked(PING, FENCE))
        sent = time.time()
        for opcode, payload in frames:
            assert closed is None, "nothing follows a close frame"
            if opcode == PONG:
                if payload == FENCE:
                    return Seen(answers, pongs, closed, "open")
                pongs.append(payload)
            elif opcode == CLOSE:
                closed = payload
            else:
                assert opcode == TEXT
                message = json.loads(payload)
                answers += message["type"] in ("error", "result")
                later_states += message["type"] == "state" and message["time"] > sent
                if later_states == 3:
                    return Seen(answers, pongs, closed, "waits")
    return Seen(answers, pongs, closed, "gone")


def close(code: int, reason: bytes = b"") -> bytes:
    return masked(CLOSE, code.to_bytes(2, "big") + reason)


def fragmented(payload: bytes, size: int, between: bytes = b"") -> bytes:
    """Return one text message in frames of `size` bytes, with something between each two."""
    parts = [payload[at : at + size] for at in range(0, len(payload), size)]
    frames = [
        masked(CONTINUATION if n else TEXT, part, fin=n == len(parts) - 1)
        for n, part in enumerate(parts)
    ]
    return between.join(frames)


HELLO = masked(TEXT, b"hello")
WHOLE = b"*" * MAX_MESSAGE_BYTES
ANSWERED = Seen(1, [], None, "open")
IGNORED = Seen(0, [], None, "open")
CLOSED = Seen(0, [], b"\x03\xe8", "gone")
TOO_BIG = Seen(0, [], b"\x03\xf1message too big", "gone")
DROPPED = Seen(0, [], None, "gone")
"""Tornado drops such a connection without a close frame, where RFC 6455 has 1002 or 1007."""
CASES: dict[str, tuple[bytes, Seen]] = {
    "text of 0": (masked(TEXT), ANSWERED),
    "text of 125": (masked(TEXT, b"*" * 125), ANSWERED),
    "text of 126, a 16-bit length": (masked(TEXT, b"*" * 126), ANSWERED),
    "binary of 126": (masked(BINARY, b"\xfe" * 126), ANSWERED),
    "longest text": (masked(TEXT, WHOLE), ANSWERED),
    "text too long by 1": (masked(TEXT, WHOLE + b"*"), TOO_BIG),
    "text of 65536, a 64-bit length": (masked(TEXT, b"*" * 65536), TOO_BIG),
    "announcement of 2**63 bytes": (b"\x81\xff\x80" + bytes(7), TOO_BIG),
    "short text in a 64-bit length": (b"\x81\xff" + bytes(7) + b"\x05" + bytes(9), ANSWERED),
    "fifty texts": (HELLO * 50, Seen(50, [], None, "open")),
    "ping of 0": (masked(PING), Seen(0, [b""], None, "open")),
    "ping of 125 bytes": (masked(PING, b"\xff" * 125), Seen(0, [b"\xff" * 125], None, "open")),
    "ping of 126": (masked(PING, b"p" * 126), DROPPED),
    "pong that was not asked for": (masked(PONG, b"x"), IGNORED),
    "text with a reserved bit": (
        HELLO + masked(TEXT, b"hello", reserved=0x40) + HELLO,
        Seen(1, [], None, "gone"),
    ),
    "ping with a reserved bit": (masked(PING, reserved=0x10), DROPPED),
    "reserved opcode 3": (masked(3), DROPPED),
    "reserved opcode 11 after a text": (HELLO + masked(11, b"b"), Seen(1, [], None, "gone")),
    "fragmented ping": (masked(PING, b"p", fin=False), DROPPED),
    "fragmented close": (masked(CLOSE, b"\x03\xe8", fin=False), DROPPED),
    "text in three fragments": (fragmented(b"abc", 1), ANSWERED),
    "fragments with a ping between": (
        fragmented(b"ab", 1, masked(PING, b"p")),
        Seen(1, [b"p"], None, "open"),
    ),
    "fragments with a close between": (fragmented(b"ab", 1, close(1000)), CLOSED),
    "fragments with a text between": (fragmented(b"ab", 1, HELLO), DROPPED),
    "empty fragments": (
        masked(TEXT, fin=False) + masked(CONTINUATION, fin=False) + masked(CONTINUATION),
        ANSWERED,
    ),
    "binary in fragments": (masked(BINARY, b"a", fin=False) + masked(CONTINUATION, b"b"), ANSWERED),
    "continuation of nothing": (masked(CONTINUATION, b"more"), DROPPED),
    "text that never ends": (masked(TEXT, b"a", fin=False), IGNORED),
    "longest text in fragments": (fragmented(WHOLE, 1000), ANSWERED),
    "too long text in fragments": (fragmented(WHOLE + b"*", 1000), TOO_BIG),
    "utf-8 cut within characters": (fragmented("κόσμε \N{FIRE} \U0010ffff".encode(), 1), ANSWERED),
    "invalid utf-8": (masked(TEXT, b"\xff") + HELLO, DROPPED),
    "a surrogate": (masked(TEXT, b"\xed\xa0\x80"), DROPPED),
    "invalid utf-8 in a fragment": (fragmented(b"a\xceb", 1), DROPPED),
    "close without a code": (masked(CLOSE), Seen(0, [], b"", "gone")),
    "close of one byte": (masked(CLOSE, b"\x03"), Seen(0, [], b"", "gone")),
    "close 4000": (close(4000, b"bye"), Seen(0, [], b"\x0f\xa0", "gone")),
    "close with the longest reason": (close(1000, b"r" * 123), CLOSED),
    "close with a reason too long": (close(1000, b"r" * 124), DROPPED),
    "text after a close": (close(1000) + HELLO, CLOSED),
    "unmasked text, which RFC 6455 has as 1002": (b"\x81\x05hello", ANSWERED),
    "most of a frame": (masked(TEXT, bytes(1000))[:-100], Seen(0, [], None, "waits")),
    "a second handshake": (b"GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", DROPPED),
    "nothing": (b"", IGNORED),
}


@pytest.mark.parametrize("name", CASES)
def test_case(pi: int, tornado: int, name: str) -> None:
    """Valid frames are answered and invalid ones end the connection, as with `write_message`, in
    one piece and byte by byte."""
    data, expected = CASES[name]
    assert see(pi, [data]) == see(tornado, [data]) == expected
    if len(data) < 200:
        assert see(pi, [data[at : at + 1] for at in range(len(data))]) == expected


frames = st.builds(
    masked,
    st.sampled_from([CONTINUATION, TEXT, BINARY, PING, PONG]) | st.integers(0, 15),
    st.binary(max_size=200) | st.text(max_size=50).map(str.encode),
    fin=st.sampled_from([True, True, True, False]),
    reserved=st.sampled_from([0] * 20 + [0x10, 0x20, 0x40]),
)


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    # Few enough frames that the limit of a hundred at once is not reached.
    stream=st.lists(frames | frames | frames | st.binary(max_size=12), max_size=14).map(b"".join),
    cuts=st.lists(st.integers(0, 500), max_size=5).map(sorted),
)
def test_any_stream(pi: int, tornado: int, stream: bytes, cuts: list[int]) -> None:
    """Random frames and bytes, cut anywhere, are answered as with `write_message`."""
    pieces = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert see(pi, pieces) == see(tornado, pieces)


MAX_PINGS = 90
"""Our server accepts 100 frames at once (raspi_server/limits.py)."""


def test_flood_of_pings(pi: int) -> None:
    """If pings come faster than their pongs are read, the last is answered in any case (RFC 6455,
    5.5.3), and states are still whole."""
    with WebSocketClient(pi, 4096) as client:
        client.socket.sendall(b"".join(masked(PING, b"%0120d" % n) for n in range(MAX_PINGS)))
        pongs: list[int] = []
        for opcode, payload in client.frames():
            if opcode == PONG:
                pongs.append(int(payload))
                if pongs[-1] == MAX_PINGS - 1:
                    break
            else:
                json.loads(payload)
        assert pongs == sorted(set(pongs))
