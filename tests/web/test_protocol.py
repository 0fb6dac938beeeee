"""The WebSocket protocol byte by byte: valid frames are answered, invalid ones close it."""

import json
from contextlib import suppress
from typing import NamedTuple

import pytest

from raspi_server.messages import MAX_MESSAGE_BYTES
from tests.support.server import Server
from tests.support.sockets import GONE
from tests.support.websocket import (
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


class Seen(NamedTuple):
    """The view of a client: number of answers, payloads of pongs and close frame, and the end."""

    answers: int
    pongs: list[bytes]
    closed: bytes | None
    is_open: bool


FENCE = b"are you still there?"


def see(pi: Server, pieces: list[bytes]) -> Seen:
    """Send bytes and a ping behind them; return what is seen until its pong, or the end."""
    pongs: list[bytes] = []
    closed: bytes | None = None
    answers = 0
    with WebSocketClient(pi.port) as client:
        frames = client.frames()
        assert json.loads(next(frames)[1])["type"] == "hello"
        with suppress(*GONE):  # the server closed before all was sent
            for piece in pieces:
                client.socket.sendall(piece)
            client.socket.sendall(masked(PING, FENCE))
        for opcode, payload in frames:
            assert closed is None, "nothing follows a close frame"
            if opcode == PONG:
                if payload == FENCE:
                    return Seen(answers, pongs, closed, True)
                pongs.append(payload)
            elif opcode == CLOSE:
                closed = payload
            else:
                assert opcode == TEXT
                answers += json.loads(payload)["type"] in ("error", "result")
    return Seen(answers, pongs, closed, False)


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
ANSWERED = Seen(1, [], None, True)
IGNORED = Seen(0, [], None, True)
CLOSED = Seen(0, [], b"\x03\xe8", False)
TOO_BIG = Seen(0, [], b"\x03\xf1expected a message of at most 16384 bytes", False)
DROPPED = Seen(0, [], None, False)
"""Tornado drops such a connection without a close frame, where RFC 6455 has 1002 or 1007."""
CASES: dict[str, tuple[bytes, Seen]] = {
    "text of 126, a 16-bit length": (masked(TEXT, b"*" * 126), ANSWERED),
    "longest text": (masked(TEXT, WHOLE), ANSWERED),
    "text too long by 1": (masked(TEXT, WHOLE + b"*"), TOO_BIG),
    "announcement of 2**63 bytes": (b"\x81\xff\x80" + bytes(7), TOO_BIG),
    "fifty texts": (HELLO * 50, Seen(50, [], None, True)),
    "ping of 125 bytes": (masked(PING, b"\xff" * 125), Seen(0, [b"\xff" * 125], None, True)),
    "ping of 126": (masked(PING, b"p" * 126), DROPPED),
    "pong that was not asked for": (masked(PONG, b"x"), IGNORED),
    "text with a reserved bit": (
        HELLO + masked(TEXT, b"hello", reserved=0x40) + HELLO,
        Seen(1, [], None, False),
    ),
    "reserved opcode 3": (masked(3), DROPPED),
    "fragmented ping": (masked(PING, b"p", fin=False), DROPPED),
    "fragments with a ping between": (
        fragmented(b"abc", 1, masked(PING, b"p")),
        Seen(1, [b"p", b"p"], None, True),
    ),
    "fragments with a close between": (fragmented(b"ab", 1, close(1000)), CLOSED),
    "fragments with a text between": (fragmented(b"ab", 1, HELLO), DROPPED),
    "continuation of nothing": (masked(CONTINUATION, b"more"), DROPPED),
    "text that never ends": (masked(TEXT, b"a", fin=False), IGNORED),
    "longest text in fragments": (fragmented(WHOLE, 1000), ANSWERED),
    "too long text in fragments": (fragmented(WHOLE + b"*", 1000), TOO_BIG),
    "utf-8 cut within characters": (fragmented("κόσμε \N{FIRE} \U0010ffff".encode(), 1), ANSWERED),
    "invalid utf-8": (masked(TEXT, b"\xff") + HELLO, DROPPED),
    "invalid utf-8 in a fragment": (fragmented(b"a\xceb", 1), DROPPED),
    "close without a code": (masked(CLOSE), Seen(0, [], b"", False)),
    "close 4000": (close(4000, b"bye"), Seen(0, [], b"\x0f\xa0", False)),
    "text after a close": (close(1000) + HELLO, CLOSED),
}


@pytest.mark.parametrize("name", CASES)
def test_case(pi: Server, name: str) -> None:
    """Valid frames are answered, invalid ones end the connection, also byte by byte."""
    data, expected = CASES[name]
    assert see(pi, [data]) == expected
    if len(data) < 200:
        assert see(pi, [data[at : at + 1] for at in range(len(data))]) == expected
