"""A browser's few connections, kept alive, that ask for files one after the other and check every
answer. Written by hand, as the readers are."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Sequence

from .reader import ProtocolError

CONNECTIONS = 6  # as many as browsers open to one server
REQUEST = (
    "GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: keep-alive\r\n"
    "User-Agent: Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/130.0.0.0 Mobile Safari/537.36\r\nAccept: */*\r\nAccept-Encoding: gzip, deflate\r\n"
    "Accept-Language: en-GB,en;q=0.9\r\nReferer: http://127.0.0.1:{port}/\r\n{more}\r\n"
)


class Asker:
    """Asks for `paths` in turn. After `remember`, it has everything already and only asks whether
    that is still the latest."""

    def __init__(self, port: int, paths: Sequence[str], connections: int = CONNECTIONS) -> None:
        self._port = port
        self._paths = list(paths)
        self._requests = [self._request(path) for path in paths]
        self._expected = b"HTTP/1.1 200 "
        self._next = 0
        self._poll = select.epoll()
        self._connections: dict[int, socket.socket] = {}
        self._came: dict[int, bytes] = {}
        for _ in range(connections):
            connection = socket.create_connection(("127.0.0.1", port), timeout=30)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._connections[connection.fileno()] = connection
            self._came[connection.fileno()] = b""
            self._poll.register(connection.fileno(), select.EPOLLIN)

    def close(self) -> None:
        for connection in self._connections.values():
            connection.close()
        self._poll.close()

    def ask_for(self, seconds: float) -> int:
        """Return the number of answers within these seconds."""
        end, answers, waiting = time.monotonic() + seconds, 0, 0
        for connection in self._connections.values():
            self._ask(connection)
            waiting += 1
        while waiting:
            for number, _ in self._poll.poll(10):
                connection = self._connections[number]
                data = self._came[number] + connection.recv(262144)
                if not _is_whole(data, self._expected):
                    self._came[number] = data
                    continue
                self._came[number] = b""
                answers += 1
                if time.monotonic() < end:
                    self._ask(connection)
                else:
                    waiting -= 1
        return answers

    def remember(self) -> int:
        """Fetches everything once, and how many bytes that were; from now on it has it."""
        connection = next(iter(self._connections.values()))
        requests, bytes_of_all = [], 0
        for path in self._paths:
            connection.sendall(self._request(path))
            data = connection.recv(262144)
            while not _is_whole(data, self._expected):
                data += connection.recv(262144)
            head = data.partition(b"\r\n\r\n")[0].decode()
            etag = next(
                (line for line in head.split("\r\n") if line.lower().startswith("etag:")), None
            )
            if etag is None:
                raise ProtocolError(f"{path} came without an ETag: {head}")
            requests.append(self._request(path, f"If-None-Match: {etag[5:].strip()}\r\n"))
            bytes_of_all += len(data)
        self._requests, self._expected, self._next = requests, b"HTTP/1.1 304 ", 0
        return bytes_of_all

    def _request(self, path: str, more: str = "") -> bytes:
        return REQUEST.format(path=path, port=self._port, more=more).encode()

    def _ask(self, connection: socket.socket) -> None:
        connection.sendall(self._requests[self._next])
        self._next = (self._next + 1) % len(self._requests)


def _is_whole(data: bytes, expected: bytes) -> bool:
    """Return True if the whole answer has arrived. Raises ProtocolError for an unexpected one."""
    end = data.find(b"\r\n\r\n")
    if end < 0:
        return False
    if not data.startswith(expected):
        raise ProtocolError(f"expected {expected!r}, got {data[:200]!r}")
    at = data.lower().find(b"content-length: ", 0, end)
    size = 0
    if at >= 0 and not data.startswith(b"HTTP/1.1 304"):
        size = int(data[at + 16 : data.index(b"\r\n", at)])
    return len(data) >= end + 4 + size
