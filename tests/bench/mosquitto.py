"""mosquitto, which delivers the messages of another client to all subscribers."""

from __future__ import annotations

import shutil
import socket
import ssl
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from .common import INTERVAL, StateMessage
from .process import Command, free_port
from .reader import ProtocolError, Reader, Socket

TOPIC = b"pins"
_NAME = len(TOPIC).to_bytes(2, "big") + TOPIC
_HELLO = b"\x00\x04MQTT\x04\x02\x00\x00\x00\x00"  # 3.1.1, a clean session, no keep-alive, no name
CONNECT = bytes((0x10, len(_HELLO))) + _HELLO
SUBSCRIBE = bytes((0x82, len(_NAME) + 3)) + b"\x00\x01" + _NAME + b"\x00"
WELCOME = b"\x20\x02\x00\x00" + b"\x90\x03\x00\x01\x00"  # CONNACK and SUBACK
PUBLISH = 0x30

CONFIG = """listener {port} 127.0.0.1
{certificate}allow_anonymous true
max_connections -1
set_tcp_nodelay true
persistence false
user root
"""


def find() -> str | None:
    return shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")


def command(folder: Path, certificate: tuple[Path, Path] | None) -> Command:
    program, port = find(), free_port()
    assert program is not None
    lines = "certfile {}\nkeyfile {}\n".format(*certificate) if certificate else ""
    (folder / "mosquitto.conf").write_text(CONFIG.format(port=port, certificate=lines))
    return Command([program, "-c", folder / "mosquitto.conf"], port=port)


class Subscribers(Reader):
    """Plain MQTT over TCP, mosquitto's cheapest; WebSockets cost it more."""

    def _ask(self, connection: socket.socket) -> bytes:
        connection.sendall(CONNECT + SUBSCRIBE)
        return WELCOME

    def _welcomed(self, connection: socket.socket, key: bytes) -> bytes:
        answer = b""
        while len(answer) < len(key):
            chunk = connection.recv(65536)
            if not chunk:
                raise ProtocolError("mosquitto hung up on a subscriber")
            answer += chunk
        if not answer.startswith(key):
            raise ProtocolError(f"mosquitto answered a subscriber with {answer!r}")
        return answer[len(key) :]

    def _take_apart(self, one: Socket, data: bytes) -> None:
        at, size = 0, len(data)
        while size - at >= 3:
            length, start = data[at + 1], at + 2
            if length & 0x80:  # a second byte of the length, and never a third here
                length, start = (length & 0x7F) | data[at + 2] << 7, at + 3
            if size < start + length:
                break
            if data[at] != PUBLISH:
                raise ProtocolError(f"socket {one.number}: packet of first byte 0x{data[at]:02x}")
            self._hear(one, data, start + len(_NAME), start + length)
            at = start + length
        one.rest = data[at:]


class Publisher:
    """Publishes the message every 100 ms from a thread of the clients' process."""

    def __init__(self, port: int, message: StateMessage, tls: ssl.SSLContext | None) -> None:
        self._message = message
        self._connection = socket.create_connection(("127.0.0.1", port), timeout=30)
        if tls is not None:
            self._connection = tls.wrap_socket(self._connection, server_hostname="127.0.0.1")
        self._leaving = threading.Event()
        self._thread = threading.Thread(target=self._publish, daemon=True)

    def __enter__(self) -> Self:
        self._connection.sendall(CONNECT)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._leaving.set()
        self._thread.join()
        self._connection.close()

    def _publish(self) -> None:
        due = time.monotonic()
        while not self._leaving.wait(max(0.0, due - time.monotonic())):
            due += INTERVAL
            body = _NAME + self._message.next().encode()
            length = bytes((len(body) & 0x7F | 0x80, len(body) >> 7))
            self._connection.sendall(bytes((PUBLISH,)) + length + body)
