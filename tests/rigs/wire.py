"""Raw clients: a bare socket that speaks frames, a viewer that records everything, and the cost of
both for the server."""

import contextlib
import json
import os
import re
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from tests.conftest import LIMIT, Server

HANDSHAKE = (
    b"GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
FIN = 0x80
IP_BIND_ADDRESS_NO_PORT = 24
"""linux/in.h: the port is found on connecting, which takes no search among thousands."""
GONE = (ConnectionResetError, BrokenPipeError)


def masked(opcode: int, payload: bytes = b"", fin: bool = True, reserved: int = 0) -> bytes:
    """A client's frame (RFC 6455, 5.2)."""
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
    """Takes a server's bytes as they come; yields opcode and payload of each whole frame."""

    def __init__(self) -> None:
        self.rest = b""

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes]]:
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


class Client:
    """A WebSocket over a bare socket, open once made. One thread reads and writes: of two, Python
    can lose what they do at once with one TLS connection."""

    def __init__(
        self,
        port: int,
        receive_buffer: int | None = None,
        address: str = "127.0.0.1",
        headers: Mapping[str, str] | None = None,
        context: ssl.SSLContext | None = None,
        path: str = "/ws",
    ) -> None:
        self.socket = plain(port, receive_buffer, address)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if context:
            self.socket = context.wrap_socket(self.socket, server_hostname="127.0.0.1")
        said = dict(headers or {})
        host = said.pop("Host", "127.0.0.1")
        more = "".join(f"{name}: {value}\r\n" for name, value in said.items())
        handshake = HANDSHAKE.replace(b"/ws", path.encode())
        handshake = handshake.replace(b"127.0.0.1", host.encode())
        self.socket.sendall(handshake[:-2] + more.encode() + b"\r\n")
        data = b""
        while b"\r\n\r\n" not in data:
            received = self.socket.recv(4096)
            assert received, "the server closed during the handshake"
            data += received
        head, _, self._first = data.partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 101 "):
            self.socket.close()
            raise AssertionError(head)
        self._frames = Frames()

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.socket.close()

    def frames(self) -> Iterator[tuple[int, bytes]]:
        """All frames until the server ends the connection, one way or another."""
        yield from self._frames.feed(self._first)
        self._first = b""
        with contextlib.suppress(*GONE):
            while data := self.socket.recv(65536):
                yield from self._frames.feed(data)

    def messages(self) -> Iterator[dict[str, Any]]:
        """All messages; pings are answered meanwhile, as a browser does."""
        for opcode, payload in self.frames():
            if opcode == TEXT:
                yield json.loads(payload)
            elif opcode == PING:
                self.socket.sendall(masked(PONG, payload))

    def send(self, **message: Any) -> None:
        self.socket.sendall(masked(TEXT, json.dumps(message).encode()))

    def close_code(self) -> int | None:
        """Reads on until the server closes; with which code."""
        until = time.monotonic() + LIMIT
        for opcode, payload in self.frames():
            assert time.monotonic() < until, "the server never closed"
            if opcode == CLOSE:
                return int.from_bytes(payload[:2], "big") if payload else None
        return None

    def reset(self) -> None:
        reset(self.socket)


def plain(
    port: int, receive_buffer: int | None = None, address: str = "127.0.0.1"
) -> socket.socket:
    """A connection on which nothing was said yet, from one of this machine's own addresses."""
    found = socket.socket()
    if receive_buffer:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    found.settimeout(LIMIT)
    found.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
    found.bind((address, 0))
    found.connect(("127.0.0.1", port))
    return found


def reset(connection: socket.socket) -> None:
    """Ends a connection as a phone does that has lost its memory of it: with a reset."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


class Witness:
    """An attentive viewer beside all others, in a thread of its own. Every fifth state it
    switches a pin that is its alone. When it leaves, it has missed nothing: no number, no change,
    no result."""

    def __init__(self, port: int, pin: str = "lamp", context: ssl.SSLContext | None = None) -> None:
        self._client = Client(port, context=context)
        self._pin = pin
        self._more = threading.Condition()
        self.states = 0
        self.seqs: list[int] = []
        self.changes: list[float] = []
        self.results: list[int] = []
        self.asked = 0
        self.longest_silence = 0.0
        self._error: Exception | None = None
        self._leaving = False
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "Witness":
        self._thread.start()
        self.wait_for_states(2)
        return self

    def __exit__(self, kind: object, *exc_info: object) -> None:
        if kind is None:
            self.wait_for_states(3)
        self._leaving = True
        self._thread.join(LIMIT)
        self._client.socket.close()
        if kind is None:
            self._check()

    def _check(self) -> None:
        assert self._error is None, self._error
        assert self.seqs == list(range(self.seqs[0], self.seqs[0] + len(self.seqs)))
        assert self.asked and self.results == list(range(self.asked))
        assert len(self.changes) == self.asked
        assert all(a != b for a, b in zip(self.changes, self.changes[1:], strict=False))

    def wait_for_states(self, count: int) -> None:
        """Until so many more states have come."""
        with self._more:
            wanted = self.states + count
            self._more.wait_for(lambda: self.states >= wanted or self._error, LIMIT)
            assert self.states >= wanted, f"no state came any more: {self._error}"

    def _watch(self) -> None:
        try:
            last = time.monotonic()
            for message in self._client.messages():
                self._note(message)
                if message["type"] == "state":
                    now = time.monotonic()
                    self.longest_silence = max(self.longest_silence, now - last)
                    last = now
                if self._leaving and len(self.results) == self.asked:
                    return
            raise AssertionError("the server closed the connection")
        except Exception as error:
            with self._more:
                self._error = error
                self._more.notify_all()

    def _note(self, message: dict[str, Any]) -> None:
        assert message["type"] != "error", message
        if "seq" in message:
            self.seqs.append(message["seq"])
        if message["type"] == "change" and message["pin"] == self._pin:
            self.changes.append(message["value"])
        elif message["type"] == "result":
            self.results.append(message["ref"])
        elif message["type"] == "state":
            if self.states % 5 == 0 and not self._leaving:
                self._client.send(type="toggle", pin=self._pin, ref=self.asked)
                self.asked += 1
            with self._more:
                self.states += 1
                self._more.notify_all()


class Siege:
    """Connections from so many addresses, opened without end at a server with room for `most`, and
    kept open."""

    def __init__(self, server: Server, addresses: int, most: int) -> None:
        self._server = server
        self._most = most
        self._addresses = [f"127.0.{9 + n // 250}.{n % 250 + 1}" for n in range(addresses)]
        self._leaving = threading.Event()
        self._turn = threading.Condition()
        self._opened = 0
        self._thread = threading.Thread(target=self._connect)

    def __enter__(self) -> "Siege":
        self._thread.start()
        self.wait_for(2 * self._most)
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._leaving.set()
        self._thread.join(LIMIT)

    def _connect(self) -> None:
        held: list[socket.socket] = []
        while not self._leaving.is_set():
            with contextlib.suppress(*GONE):
                held.append(plain(self._server.port, address=self._addresses[0]))
                held[-1].sendall((b"", HANDSHAKE, b"GET")[self._opened % 3])
            self._addresses.append(self._addresses.pop(0))
            if len(held) > 3 * self._most:
                held.pop(0).close()
            with self._turn:
                self._opened += 1
                self._turn.notify_all()
        for each in held:
            each.close()

    def wait_for(self, more: int) -> None:
        """Wait until so many more were opened."""
        with self._turn:
            until = self._opened + more
            assert self._turn.wait_for(lambda: self._opened >= until, LIMIT)


def changing(*statements: str, **limits: object) -> tuple[str, str]:
    """Return a program for `Server`: the real `main()` with other `limits`, so that no test waits a
    minute, after `statements` that make something fail."""
    lines = [
        "import sys",
        "from raspi_server import server",
        "from raspi_server.limits import Limits",
        "from raspi_server.security import key_exchange",
        *statements,
        "from raspi_server.cli.main import main",
        f"sys.exit(main(limits=Limits(**{limits!r})))",
    ]
    return "-c", "\n".join(lines)


def descriptors(server: Server) -> int:
    """Return the number of files and sockets that the server has open."""
    return len(os.listdir(f"/proc/{server.process.pid}/fd"))


def memory(server: Server) -> int:
    """The server's resident memory in bytes."""
    with open(f"/proc/{server.process.pid}/status") as status:
        found = re.search(r"VmRSS:\s+(\d+) kB", status.read())
    assert found
    return int(found[1]) * 1024


def wait_until(fact: Callable[[], bool], beside: Witness, what: str) -> None:
    """Looks again with each state that the witness sees, and so is called once an interval."""
    began = time.monotonic()
    while not fact():
        assert time.monotonic() - began < LIMIT, f"it never came true: {what}"
        beside.wait_for_states(1)
