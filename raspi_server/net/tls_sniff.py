"""TLS detection: one port answers TLS and plain HTTP, as in Cockpit.

The first byte of a connection tells which it is."""

import asyncio
import socket
from collections.abc import Callable, Container

from ..limits import DEFAULT, Limits
from .address_quota import AddressQuota

_TLS_FIRST_BYTE = b"\x16"
"""The first byte of a TLS connection (RFC 8446, 5.1: ContentType handshake)."""

Address = tuple[str, int]


class TlsSniffer:
    """Accepted connections that have sent nothing yet.

    `on_first_byte(connection, address, is_tls)` is called for each that sends a byte within
    `first_byte_timeout_s`. The others are closed. `exempt` addresses may have any number of them.
    All methods belong to the loop's thread."""

    def __init__(
        self,
        on_first_byte: Callable[[socket.socket, Address, bool], object],
        exempt: Container[str],
        limits: Limits = DEFAULT,
    ) -> None:
        self._on_first_byte = on_first_byte
        self._limits = limits
        self._waiting: dict[socket.socket, tuple[str, asyncio.TimerHandle]] = {}
        self._quota: AddressQuota[socket.socket] = AddressQuota(exempt)

    def add(self, connection: socket.socket, address: Address) -> None:
        """Detect the protocol of a non-blocking socket as soon as its first byte arrives.

        If the byte is here already, `on_first_byte` is called before this returns."""
        if self._detect(connection, address):
            return
        limits = self._limits
        if len(self._waiting) >= limits.max_silent_connections:
            self.evict()
        loop = asyncio.get_running_loop()
        timer = loop.call_later(limits.first_byte_timeout_s, self._close, connection)
        self._waiting[connection] = address[0], timer
        loop.add_reader(connection, self._readable, connection, address)
        limit = limits.max_silent_connections_per_address
        evicted = self._quota.add(address[0], connection, limit)
        if evicted:
            self._close(evicted)

    def evict(self) -> bool:
        """Close the oldest silent connection of the address that has most; return False if none."""
        connection = self._quota.oldest_of_largest()
        if connection is None:
            return False
        self._close(connection)
        return True

    def close(self) -> None:
        """Close all connections that have sent nothing yet."""
        for connection in tuple(self._waiting):
            self._close(connection)

    def _readable(self, connection: socket.socket, address: Address) -> None:
        self._forget(connection)
        self._detect(connection, address)

    def _detect(self, connection: socket.socket, address: Address) -> bool:
        """Pass a connection with a first byte on, and close one that has ended.

        Return False while nothing has arrived."""
        try:
            first = connection.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:  # the client has reset the connection
            first = b""
        if first:
            self._on_first_byte(connection, address, first == _TLS_FIRST_BYTE)
        else:
            connection.close()
        return True

    def _close(self, connection: socket.socket) -> None:
        self._forget(connection)
        connection.close()

    def _forget(self, connection: socket.socket) -> None:
        asyncio.get_running_loop().remove_reader(connection)
        address, timer = self._waiting.pop(connection)
        timer.cancel()
        self._quota.remove(address, connection)
