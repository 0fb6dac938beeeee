"""A WebSocket client on a bare socket: it can also send what no library would."""

import contextlib
import json
import socket
import ssl
import struct
import time
from collections.abc import Iterator, Mapping
from typing import Any

from tests.support.server import LIMIT
from tests.support.sockets import GONE, open_socket, reset

HANDSHAKE = (
    b"GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
FIN = 0x80


def masked(opcode: int, payload: bytes = b"", fin: bool = True, reserved: int = 0) -> bytes:
    """Return a client's frame (RFC 6455, 5.2)."""
    size = len(payload)
    head = bytes([FIN * fin | reserved | opcode])
    if size < 126:
        head += bytes([0x80 | size])
    elif size < 1 << 16:
        head += b"\xfe" + struct.pack("!H", size)
    else:
        head += b"\xff" + struct.pack("!Q", size)
    mask = b"\x37\xfa\x21\x3d"
    repeated = (mask * (size // 4 + 1))[:size]
    body = int.from_bytes(payload, "big") ^ int.from_bytes(repeated, "big")
    return head + mask + body.to_bytes(size, "big")


class Frames:
    """Parser of a server's frames."""

    def __init__(self) -> None:
        self.rest = b""

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """Take more bytes; yield opcode and payload of each frame that is complete."""
        self.rest += data
        at = 0
        while (head := self._head(at)) is not None:
            begin, size = head
            if len(self.rest) < begin + size:
                break
            yield self.rest[at] & 0x0F, self.rest[begin : begin + size]
            at = begin + size
        self.rest = self.rest[at:]

    def _head(self, at: int) -> tuple[int, int] | None:
        """Return the start of the payload, and its size."""
        data = self.rest
        if len(data) < at + 2:
            return None
        assert data[at] & 0xF0 == FIN, "a server's frame is whole and has no reserved bits"
        size = data[at + 1]
        if size < 126:
            return at + 2, size
        length = 2 if size == 126 else 8
        if len(data) < at + 2 + length:
            return None
        return at + 2 + length, int.from_bytes(data[at + 2 : at + 2 + length], "big")


class WebSocketClient:
    """An open WebSocket. All reading and writing happens in the caller's thread: with two threads,
    Python can lose what they do at once on one TLS connection."""

    def __init__(
        self,
        port: int,
        receive_buffer: int | None = None,
        address: str = "127.0.0.1",
        headers: Mapping[str, str] | None = None,
        context: ssl.SSLContext | None = None,
        path: str = "/ws",
    ) -> None:
        """Connect and shake hands. An AssertionError has the answer that rejects that."""
        self.socket = open_socket(port, receive_buffer, address)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if context:
            self.socket = context.wrap_socket(self.socket, server_hostname="127.0.0.1")
        fields = dict(headers or {})
        host = fields.pop("Host", "127.0.0.1")
        more = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        handshake = HANDSHAKE.replace(b"/ws", path.encode(), 1)
        handshake = handshake.replace(b"127.0.0.1", host.encode(), 1)
        self.socket.sendall(handshake[:-2] + more.encode() + b"\r\n")
        data = b""
        while b"\r\n\r\n" not in data:
            received = self.socket.recv(4096)
            assert received, "the server closed during the handshake"
            data += received
        head, _, first = data.partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 101 "):
            self.socket.close()
            raise AssertionError(head)
        self._incoming = self._read(first)

    def __enter__(self) -> "WebSocketClient":
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.socket.close()

    def _read(self, first: bytes) -> Iterator[tuple[int, bytes]]:
        parser = Frames()
        yield from parser.feed(first)
        with contextlib.suppress(*GONE):
            while data := self.socket.recv(65536):
                yield from parser.feed(data)

    def frames(self) -> Iterator[tuple[int, bytes]]:
        """Yield opcode and payload of all frames until the connection ends."""
        # Not `yield from`, which would close what the next call goes on with.
        for frame in self._incoming:  # noqa: UP028
            yield frame

    def messages(self) -> Iterator[dict[str, Any]]:
        """Yield all messages until the connection ends; answer pings, as a browser does."""
        for opcode, payload in self.frames():
            if opcode == TEXT:
                yield json.loads(payload)
            elif opcode == PING:
                self.socket.sendall(masked(PONG, payload))

    def receive(self, kind: str | None = None, **fields: Any) -> dict[str, Any]:
        """Return the next message, or the next of type `kind` that has these fields."""
        until = time.monotonic() + LIMIT
        message: dict[str, Any] = {}
        for message in self.messages():
            if kind in (None, message["type"]) and fields.items() <= message.items():
                return message
            assert time.monotonic() < until, f"no {kind} with {fields}; the last was {message}"
        raise AssertionError(f"the server closed before {kind} with {fields}; the last: {message}")

    def send(self, **message: Any) -> None:
        """Send a message as JSON."""
        self.socket.sendall(masked(TEXT, json.dumps(message).encode()))

    def command(self, **message: Any) -> dict[str, Any]:
        """Send a command; return its result or error."""
        self.send(**message, ref="command")
        while True:
            answer = self.receive(ref="command")
            if answer["type"] in ("result", "error"):
                return answer

    def close_code(self) -> int | None:
        """Read until the server closes; return the code of its close frame, None without one."""
        until = time.monotonic() + LIMIT
        for opcode, payload in self.frames():
            assert time.monotonic() < until, "the server never closed"
            if opcode == CLOSE:
                return int.from_bytes(payload[:2], "big") if payload else None
        return None

    def reset(self) -> None:
        """End the connection with a reset, as a phone does that has restarted."""
        reset(self.socket)
