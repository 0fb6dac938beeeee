"""The WebSocket protocol, byte by byte, against Tornado's own `write_message`: a client sees no
difference."""

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
        self.set_nodelay(True)  # or a goodbye that waits for Nagle is lost to a reset
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
def pi(start_module_server: Callable[..., Server]) -> Server:
    return start_module_server(CONFIG)


@pytest.fixture(scope="module")
def tornado() -> Iterator[int]:
    """The port of the plainest Tornado server that says as much as ours."""
    command = [sys.executable, "-c", TORNADO, str(MAX_MESSAGE_BYTES)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield int(process.stdout.readline())
        process.terminate()
        process.wait(LIMIT)


class Seen(NamedTuple):
    """The behaviour that a client sees: how many messages were answered, the payloads of pongs and
    of the close frame, and whether at the end the server is `open`, `waits` for the rest of a frame
    or is `gone`."""

    answers: int
    pongs: list[bytes]
    closed: bytes | None
    end: str


FENCE = b"are you still there?"


def see(port: int, pieces: list[bytes]) -> Seen:
    """Sends bytes and a ping behind them. A server that says nothing to that in three states is
    waiting for more."""
    pongs: list[bytes] = []
    closed: bytes | None = None
    answers = silent_states = 0
    with WebSocketClient(port) as client:
        frames = client.frames()
        assert json.loads(next(frames)[1])["type"] == "hello"
        with suppress(*GONE):  # it ended before all was said
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
                silent_states += message["type"] == "state" and message["time"] > sent
                if silent_states == 3:
                    return Seen(answers, pongs, closed, "waits")
    return Seen(answers, pongs, closed, "gone")


def close(code: int, reason: bytes = b"") -> bytes:
    return masked(CLOSE, code.to_bytes(2, "big") + reason)


def bytewise(data: bytes) -> list[bytes]:
    return [data[at : at + 1] for at in range(len(data))]


def fragmented(payload: bytes, size: int, between: bytes = b"") -> bytes:
    """One text message in frames of so many bytes, with something between each two."""
    parts = [payload[at : at + size] for at in range(0, len(payload), size)]
    frames = [
        masked(CONTINUATION if n else TEXT, part, fin=n == len(parts) - 1)
        for n, part in enumerate(parts)
    ]
    return between.join(frames)


def unmasked(frame: bytes) -> bytes:
    """The same bytes without the mask bit: what was the mask is now payload."""
    return bytes([frame[0], frame[1] & 0x7F]) + frame[2:]


CASES: dict[str, list[bytes]] = {}


def case(name: str, *frames: bytes, in_pieces: bool = True) -> None:
    """In one piece, and once more byte by byte."""
    CASES[name] = [b"".join(frames)]
    if in_pieces:
        CASES[f"{name}, byte by byte"] = bytewise(b"".join(frames))


# What stands in brackets is where Tornado is laxer or terser than RFC 6455 asks. It drops such a
# connection without a close frame where the RFC has 1002 or 1007.

for size in (0, 1, 125, 126, 127, 128, MAX_MESSAGE_BYTES - 1, MAX_MESSAGE_BYTES):
    case(f"1 text of {size}", masked(TEXT, b"*" * size), in_pieces=size < 1000)
    case(f"1 binary of {size}", masked(BINARY, b"\xfe" * size), in_pieces=size < 1000)
for size in (MAX_MESSAGE_BYTES + 1, 65535, 65536, 1_000_000):
    case(f"1 text of {size}, too long: 1009", masked(TEXT, b"*" * size), in_pieces=False)
case("1 text of 2**63 bytes announced: 1009", b"\x81\xff" + b"\x80" + bytes(7))
case("1 text of 5 bytes in a 16-bit length [1002]", b"\x81\xfe\x00\x05" + bytes(4) + b"hello")
case("1 text of 5 bytes in a 64-bit length [1002]", b"\x81\xff" + bytes(7) + b"\x05" + bytes(9))
case("1 fifty texts at once", masked(TEXT, b"hello") * 50)

for size in (0, 1, 125):
    case(f"2 ping of {size}", masked(PING, b"p" * size))
for size in (126, 65536):
    case(f"2 ping of {size}: dropped", masked(PING, b"p" * size), in_pieces=False)
case("2 ping of bytes that are no text", masked(PING, bytes([0, 255, 254, 253, 252, 251, 0, 255])))
case("2 pong nobody asked for", masked(PONG, b"hello"), masked(PING, b"and now"))
case("2 pong of 126: dropped", masked(PONG, b"p" * 126))
case("2 ten pings", b"".join(masked(PING, b"%d" % n) for n in range(10)))
case("2 pings between texts", (masked(TEXT, b"{}") + masked(PING, b"x")) * 20)

for bits in (0x10, 0x20, 0x30, 0x40, 0x50, 0x60, 0x70):
    text = masked(TEXT, b"hello")
    case(f"3 reserved bits {bits:#x}: dropped", text, masked(TEXT, b"hello", reserved=bits), text)
    for opcode in (PING, PONG, CLOSE, CONTINUATION):
        case(f"3 reserved bits {bits:#x}, opcode {opcode}", masked(opcode, reserved=bits))

for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15):
    case(f"4 opcode {opcode}: dropped", masked(opcode))
    case(f"4 opcode {opcode} after a text: dropped", masked(TEXT, b"a"), masked(opcode, b"b"))
    case(f"4 opcode {opcode}, not final", masked(opcode, b"b", fin=False))

hello = b"hello, little house"
case("5 fragmented ping: dropped", masked(PING, b"p", fin=False))
case("5 fragmented pong: dropped", masked(PONG, b"p", fin=False))
case("5 fragmented close: dropped", masked(CLOSE, b"\x03\xe8", fin=False))
for size in (1, 2, 10):
    case(f"5 text in pieces of {size}", fragmented(hello, size))
    case(f"5 text in pieces of {size}, pings between", fragmented(hello, size, masked(PING, b"p")))
    case(f"5 text in pieces of {size}, pongs between", fragmented(hello, size, masked(PONG, b"p")))
case("5 text, a close between", fragmented(hello, 10, close(1000)))
case("5 text, another text between: dropped", fragmented(hello, 10, masked(TEXT, b"new")))
case("5 text, a binary between: dropped", fragmented(hello, 10, masked(BINARY, b"new")))
case("5 text of empty fragments", *[masked(TEXT, fin=False), masked(0, fin=False), masked(0)])
case("5 text with an empty middle", masked(TEXT, b"a", fin=False), masked(0, fin=False), masked(0))
case("5 continuation of nothing: dropped", masked(CONTINUATION, b"more"))
case("5 continuation of nothing, not final: dropped", masked(CONTINUATION, b"more", fin=False))
case("5 continuation after the end: dropped", fragmented(hello, 10), masked(CONTINUATION, b"more"))
case("5 text never ended", masked(TEXT, b"and then", fin=False))
case("5 text never ended, then a close", masked(TEXT, b"and then", fin=False), close(1000))
whole = b"*" * MAX_MESSAGE_BYTES
case("5 longest text in pieces", fragmented(whole, 1000), in_pieces=False)
case("5 too long a text in pieces: 1009", fragmented(whole + b"*", 1000), in_pieces=False)
case("5 binary in pieces", masked(BINARY, b"a", fin=False), masked(CONTINUATION, b"b"))

UTF8 = "Hello-µ@ßöäüàá-UTF-8!! κόσμε \N{FIRE} \U0010ffff".encode()
case("6 utf-8", masked(TEXT, UTF8))
for size in (1, 3):
    case(f"6 utf-8 cut within characters every {size}", fragmented(UTF8, size))
    # With a ping after each piece, pieces of 1 would be more frames than a client may send at once.
    case(f"6 utf-8 cut every {size + 1}, pings", fragmented(UTF8, size + 1, masked(PING, b"p")))
for bad in (
    b"\xff", b"\x80", b"\xbf", b"\xc0\x80", b"\xc1\xbf", b"\xe0\x80\xaf", b"\xf0\x80\x80\xaf",
    b"\xed\xa0\x80", b"\xed\xbf\xbf",
    b"\xf4\x90\x80\x80", b"\xf5\x80\x80\x80", b"\xce", b"\xf0\x9f",
    b"\xf8\x88\x80\x80\x80", b"\xfe\xff", b"hello\xedworld", b"\xce\xba\xe1\xbd\xb9\xff",
):  # fmt: skip
    case(f"6 invalid utf-8 {bad.hex()}: dropped", masked(TEXT, bad), masked(TEXT, b"hello"))
    case(f"6 invalid utf-8 {bad.hex()} in pieces: dropped", fragmented(b"a" + bad + b"b", 1))
    case(f"6 the same bytes as binary {bad.hex()}", masked(BINARY, bad))
for good in ("\0", "\x7f", "\x80", "\u07ff", "\u0800", "\ud7ff", "\ue000", "\ufffe", "\uffff"):
    case(f"6 utf-8 U+{ord(good):04X}", masked(TEXT, good.encode()))
case(
    "6 invalid utf-8 in a fragment is noticed at the end",
    *[masked(TEXT, b"\xff", fin=False), masked(PING, b"p"), masked(CONTINUATION, b"x")],
)

case("7 close without a code", masked(CLOSE))
case("7 close of one byte [1002]", masked(CLOSE, b"\x03"))
for code in (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999):
    case(f"7 close {code}", close(code, b"bye"))
for code in (0, 999, 1004, 1005, 1006, 1012, 1013, 1014, 1015, 1016, 1100, 2000, 2999, 5000, 65535):
    case(f"7 close {code} [1002]", close(code))
    case(f"7 close {code} with a reason [1002]", close(code, b"bye"))
case("7 close with the longest reason", close(1000, b"r" * 123))
case("7 close with too long a reason: dropped", close(1000, b"r" * 124))
case("7 close with a reason that is no utf-8: dropped", close(1000, b"\xce\xba\xff"))
case("7 text after a close", close(1000), masked(TEXT, b"one more"))
case("7 ping after a close", close(1000), masked(PING, b"one more"))
case("7 two closes", close(1000), close(1001))
case("7 half a frame after a close", close(1000), masked(TEXT, b"never whole")[:7])
case("7 text, then a close", masked(TEXT, b"hello"), close(1000))

case("8 unmasked text [1002]", unmasked(masked(TEXT, b"hello"))[:7])
case("8 unmasked ping [1002]", unmasked(masked(PING))[:2])
case("8 unmasked close [1002]", b"\x88\x02\x03\xe8")
case("8 unmasked between masked [1002]", masked(TEXT, b"a"), b"\x81\x01a", masked(TEXT, b"a"))
for cut in range(1, 12):
    case(f"8 a frame torn after {cut} bytes", masked(TEXT, b"hello")[:cut])
case("8 most of a frame", masked(TEXT, bytes(1000))[:-100], in_pieces=False)
case("8 a second handshake", b"GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
case("8 TLS", bytes.fromhex("1603010200010001fc0303"), bytes(500), in_pieces=False)
case("8 nothing")


@pytest.mark.parametrize("name", CASES)
def test_every_case_ends_as_with_tornado(pi, tornado, name):
    """Whatever a client does with the protocol, it sees what `write_message` would have shown."""
    ours, theirs = see(pi.port, CASES[name]), see(tornado, CASES[name])
    assert ours._replace(pongs=[]) == theirs._replace(pongs=[])
    # A pong that could not be sent yet gives way to a later one (RFC 6455, 5.5.3), in both.
    assert ours.pongs[:1] == theirs.pongs[:1]
    shorter, longer = sorted((ours.pongs, theirs.pongs), key=len)
    rest = iter(longer)
    assert all(pong in rest for pong in shorter)


@pytest.mark.parametrize(
    ("name", "seen"),
    [
        ("1 text of 125", Seen(1, [], None, "open")),
        (f"1 text of {MAX_MESSAGE_BYTES}", Seen(1, [], None, "open")),
        ("1 text of 65536, too long: 1009", Seen(0, [], b"\x03\xf1message too big", "gone")),
        ("1 fifty texts at once, byte by byte", Seen(50, [], None, "open")),
        ("2 ping of 125", Seen(0, [b"p" * 125], None, "open")),
        ("2 ping of 126: dropped", Seen(0, [], None, "gone")),
        ("3 reserved bits 0x40: dropped", Seen(1, [], None, "gone")),
        ("4 opcode 3: dropped", Seen(0, [], None, "gone")),
        ("5 text in pieces of 10, pings between", Seen(1, [b"p"], None, "open")),
        ("5 text never ended", Seen(0, [], None, "open")),
        ("6 utf-8 cut within characters every 1", Seen(1, [], None, "open")),
        ("6 invalid utf-8 ff: dropped", Seen(0, [], None, "gone")),
        ("7 close without a code", Seen(0, [], b"", "gone")),
        ("7 close 4000", Seen(0, [], b"\x0f\xa0", "gone")),
        ("7 text after a close", Seen(0, [], b"\x03\xe8", "gone")),
        ("8 most of a frame", Seen(0, [], None, "waits")),
    ],
)
def test_some_cases_in_full(pi, name, seen):
    """Good frames are answered and bad ones end the connection, each in the way written here."""
    assert see(pi.port, CASES[name]) == seen


frames = st.builds(
    masked,
    st.sampled_from([CONTINUATION, TEXT, BINARY, PING, PONG]) | st.integers(0, 15),
    st.binary(max_size=200) | st.text(max_size=50).map(str.encode),
    fin=st.sampled_from([True, True, True, False]),
    reserved=st.sampled_from([0] * 20 + [0x10, 0x20, 0x40]),
)


@settings(
    max_examples=300,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    # Few enough that no more than a hundred messages can be among them, which are too many.
    stream=st.lists(frames | frames | frames | st.binary(max_size=12), max_size=14).map(b"".join),
    cuts=st.lists(st.integers(0, 500), max_size=5).map(sorted),
)
def test_every_stream_ends_as_with_tornado(pi, tornado, stream, cuts):
    """Random frames and random bytes, cut anywhere, are answered as `write_message` would have."""
    pieces = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert see(pi.port, pieces) == see(tornado, pieces)


PINGS = {"pi": 90, "tornado": 1000}
"""Pings that each server takes at once. Ours takes 100 frames (raspi_server/web/websocket.py)."""


@pytest.mark.parametrize("server", ["pi", "tornado"])
def test_many_pings_one_by_one(request, server):
    """A client that waits for each pong gets every one, as many as it may send at once."""
    with WebSocketClient(port_of(request, server)) as client:
        pongs = (payload for opcode, payload in client.frames() if opcode == PONG)
        for n in range(PINGS[server]):
            client.socket.sendall(masked(PING, b"%d" % n))
            assert next(pongs) == b"%d" % n


@pytest.mark.parametrize("server", ["pi", "tornado"])
def test_a_flood_of_pings(request, server):
    """Of pings that come faster than their pongs are read, the last is answered in any case (RFC
    6455, 5.5.3), and states go on coming whole."""
    with WebSocketClient(port_of(request, server), 4096) as client:
        count = PINGS[server]
        client.socket.sendall(b"".join(masked(PING, b"%0120d" % n) for n in range(count)))
        pongs: list[int] = []
        for opcode, payload in client.frames():
            if opcode == PONG:
                pongs.append(int(payload))
                if pongs[-1] == count - 1:
                    break
            else:
                json.loads(payload)
        assert pongs == sorted(set(pongs))


def port_of(request: pytest.FixtureRequest, server: str) -> int:
    found = request.getfixturevalue(server)
    return found.port if server == "pi" else found
