"""A port that is no broker, or a strange one."""

import contextlib
import socket
import ssl
import threading

from paho.mqtt.properties import VariableByteIntegers

from tests.security.test_tls import Pair
from tests.support.server import LIMIT
from tests.support.sockets import reset

CONNACK = b"\x20\x03\x00\x00\x00"


class FakeBroker:
    """Port that accepts connections, answers the first packet of each with `answer`, and
    acknowledges nothing. An `answer` of None is a reset, and for `is_hasty` one without a packet.
    `tls` is its certificate, if it has one. `sent` has the bytes received over each connection."""

    def __init__(
        self, answer: bytes | None, tls: Pair | None = None, is_hasty: bool = False
    ) -> None:
        self._answer = answer
        self._is_hasty = is_hasty
        self._context: ssl.SSLContext | None = None
        if tls:
            self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            self._context.load_cert_chain(tls.certificate, tls.key)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.url = f"mqtt://127.0.0.1:{self.port}"
        self.sent: list[bytes] = []
        self._connections: list[socket.socket] = []
        self._more = threading.Condition()
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> "FakeBroker":
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._connections:
            connection.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self._connections.append(connection)
                self.sent.append(b"")
                number = len(self.sent) - 1
                threading.Thread(target=self._receive, args=(number,), daemon=True).start()

    def _receive(self, number: int) -> None:
        connection, answer = self._connections[number], self._answer
        with contextlib.suppress(OSError):
            if self._context:
                connection = self._context.wrap_socket(connection, server_side=True)
            with connection:
                if self._is_hasty:
                    reset(connection)
                while data := connection.recv(65536):
                    with self._more:
                        self.sent[number] += data
                        self._more.notify_all()
                    if answer is None:
                        reset(connection)
                        return
                    connection.sendall(answer)
                    answer = b""

    def wait_for(self, number: int, data: bytes) -> None:
        """Wait until these bytes were received over one of the connections."""

        def is_received() -> bool:
            return len(self.sent) > number and data in self.sent[number]

        with self._more:
            assert self._more.wait_for(is_received, LIMIT), self.sent

    def close_connection(self) -> None:
        """Close the newest connection."""
        self._connections[-1].shutdown(socket.SHUT_RDWR)

    def published(self, number: int) -> int:
        """Return how many messages were received over one of the connections."""
        data, at, count = self.sent[number], 0, 0
        while at < len(data):
            count += data[at] >> 4 == 3
            size, width = VariableByteIntegers.decode(data[at + 1 :])
            at += 1 + width + size
        return count
