"""Connection limits, for each address and for all together, and eviction beyond them.

- If an address has `max_connections_per_address` connections and opens one more, its oldest is
  evicted.
- If there are `max_connections` in all, or no file descriptor is left, the oldest connection of the
  address with most connections is evicted.
- Connections that presented the control code are never evicted. Older connections are evicted
  first, so the owner has time to present the code.
- Each IPv6 address counts alone, since all machines of a home share one /64. A client with many
  addresses can evict other clients, but not the owner.
- This machine itself, where the owner may run a proxy, and trusted proxies are limited only by file
  descriptors. A viewer that comes through a trusted proxy counts for its client's address."""

import asyncio
import itertools
import logging
import math
from collections.abc import Callable, Collection
from typing import Any

from tornado.iostream import BaseIOStream, IOStream, SSLIOStream, StreamClosedError

from ..limits import DEFAULT, Limits
from ..messages import HEADERS
from .address_quota import AddressQuota
from .forwarded import Proxies

READ_CHUNK_BYTES = 16 * 1024
"""Bytes read at once. The rest of a client's bytes stays in the kernel until the next read."""

_TORNADO_BAD_REQUEST = b"HTTP/1.1 400 Bad Request\r\n\r\n"
"""Tornado's own response to a malformed request. It is written past all handlers."""


def _error_response(status: str, reason: str) -> bytes:
    """Return the bytes of a whole response after which the connection closes."""
    body = f"{status[:3]}: {reason}\n"
    lines = (
        f"HTTP/1.1 {status}",
        *(f"{name}: {value}" for name, value in HEADERS.items()),
        "Content-Type: text/plain; charset=utf-8",
        f"Content-Length: {len(body)}",
        "Connection: close",
        "",
        body,
    )
    return "\r\n".join(lines).encode()


_BAD_REQUEST = _error_response("400 Bad Request", "Bad Request")

log = logging.getLogger(__name__)


class Connection(BaseIOStream):
    """A client's connection.

    It notifies the limiter when it is closed, and rejects a request head with too many parts."""

    __slots__ = ("_limits", "address", "on_closed", "on_large_response")

    def __init__(self, *arguments: Any, limits: Limits = DEFAULT, **named: Any) -> None:
        super().__init__(*arguments, read_chunk_size=READ_CHUNK_BYTES, **named)  # type: ignore[misc]
        self._limits = limits
        self.address = ""
        self.on_closed: Callable[[], object] | None = None
        self.on_large_response: Callable[[asyncio.Future[None]], object] | None = None
        """Called with the future of each large response that waits for the client to read it."""

    def write(self, data: bytes | memoryview) -> "asyncio.Future[None]":
        """Write `data`, with our own 400 response in place of Tornado's, which has no headers."""
        done = super().write(_BAD_REQUEST if data == _TORNADO_BAD_REQUEST else data)
        is_large = len(data) > self._limits.large_response_bytes
        if self.on_large_response and is_large and not done.done():
            self.on_large_response(done)
        return done

    def read_until_regex(
        self, regex: bytes, max_bytes: int | None = None
    ) -> "asyncio.Future[bytes]":
        """Read the head of a request as Tornado does, but answer 431 to one with too many parts."""
        reading = asyncio.ensure_future(super().read_until_regex(regex, max_bytes))
        checked = asyncio.get_running_loop().create_future()
        reading.add_done_callback(lambda _: self._check(reading, checked))
        return checked

    def _check(self, reading: "asyncio.Future[bytes]", checked: "asyncio.Future[bytes]") -> None:
        error = reading.exception()
        if error is None and self._has_too_many_parts(reading.result()):
            error = StreamClosedError()
            if not self.closed():
                self.write(self._too_many_parts())
                self.close()
        if checked.done():  # Tornado has given up waiting
            return
        if error:
            checked.set_exception(error)
        else:
            checked.set_result(reading.result())

    def _has_too_many_parts(self, head: bytes) -> bool:
        parts = head.count(b"&") + head.count(b";")
        limits = self._limits
        return head.count(b"\n") > limits.max_head_lines or parts >= limits.max_head_parts

    def _too_many_parts(self) -> bytes:
        lines, parts = self._limits.max_head_lines, self._limits.max_head_parts
        return _error_response(
            "431 Request Header Fields Too Large",
            f"expected at most {lines} lines, and {parts} cookies and arguments",
        )

    def close_fd(self) -> None:
        """Close the socket and notify the limiter, whichever side ended the connection."""
        super().close_fd()
        if self.on_closed:
            self.on_closed()


class PlainConnection(Connection, IOStream):
    """A connection without TLS."""


class TlsConnection(Connection, SSLIOStream):
    """A connection with TLS."""


class _AddressConnections:
    """The connections of one address, the oldest first."""

    def __init__(self) -> None:
        self.evictable: dict[Connection, int] = {}
        """Each with its number in the order of all connections."""
        self.protected: dict[Connection, str] = {}
        """Connections that presented the control code, each with the credential."""

    def __len__(self) -> int:
        return len(self.evictable) + len(self.protected)

    def oldest(self) -> int:
        """Return the number of the oldest connection that may be evicted, 0 if there is none."""
        return next(iter(self.evictable.values()), 0)

    def evict(self) -> bool:
        """Close the oldest connection that may be evicted; return True if there was one."""
        for connection in self.evictable:
            connection.close()
            return True
        return False


class Exempt:
    """Addresses whose connections are not counted: this machine's, and those of proxies."""

    def __init__(self, addresses: Collection[str], proxies: Proxies) -> None:
        self._addresses = addresses
        self._proxies = proxies

    def __contains__(self, address: object) -> bool:
        return address in self._addresses or address in self._proxies


class ConnectionLimiter:
    """The connections of all addresses. All methods belong to the loop's thread."""

    def __init__(self, limits: Limits = DEFAULT) -> None:
        self._limits = limits
        self._by_address: dict[str, _AddressConnections] = {}
        self.proxies = Proxies()
        """The proxies of the configuration that runs."""
        self.exempt = Exempt(limits.exempt_addresses, self.proxies)
        self._handshakes: AddressQuota[TlsConnection] = AddressQuota(self.exempt)
        self._large_responses: AddressQuota[Connection] = AddressQuota(())
        self._count = 0
        self._numbers = itertools.count()
        self._shortage_at = -math.inf
        """The time of the last shortage, on the loop's clock."""

    def admit(self, connection: Connection, address: str) -> bool:
        """Count a new connection, and evict another if there are too many.

        Return False, and do not count it, if all others are protected from eviction."""
        return address in self.exempt or self._count_in(connection, address)

    def admit_client(self, connection: Connection, address: str) -> bool:
        """Count a proxy's connection, from now on, for the client that uses it alone.

        Return False, and do not count it, as `admit` does."""
        return bool(connection.address) or self._count_in(connection, address)

    def _count_in(self, connection: Connection, address: str) -> bool:
        connections = self._by_address.get(address, _AddressConnections())
        limit = self._limits.max_connections_per_address
        if len(connections) >= limit:
            self._log_shortage(f"more than {limit} from {address}: its oldest are closed")
            if not connections.evict():
                return False
        elif self._count >= self._limits.max_connections and not self.evict():
            return False
        self._by_address[address] = connections
        connections.evictable[connection] = next(self._numbers)
        self._count += 1
        connection.address = address
        connection.on_closed = lambda: self._remove(connection)
        connection.on_large_response = lambda done: self._count_large_response(connection, done)
        return True

    def count_handshake(self, connection: TlsConnection, address: str) -> None:
        """Count a TLS handshake while it is in progress; close its address's oldest of too many."""
        done = connection.wait_for_handshake()
        done.add_done_callback(lambda _: self._handshakes.remove(address, connection))
        limit = self._limits.max_handshakes_per_address
        evicted = self._handshakes.add(address, connection, limit)
        if evicted:
            evicted.close()

    def _count_large_response(self, connection: Connection, done: "asyncio.Future[None]") -> None:
        address, limit = connection.address, self._limits.max_large_responses_per_address
        done.add_done_callback(lambda _: self._large_responses.remove(address, connection))
        evicted = self._large_responses.add(address, connection, limit)
        if evicted:
            evicted.close()

    def evict(self) -> bool:
        """Close the oldest connection of the address with most connections.

        Protected connections do not count. Return False if there are no others."""
        largest = max(
            self._by_address.values(),
            key=lambda each: (len(each.evictable), -each.oldest()),
            default=None,
        )
        if largest is None or not largest.evictable:
            return False
        words = "the oldest of the addresses that have most are closed"
        self._log_shortage(f"{self._count} in all: {words}")
        return largest.evict()

    def protect(self, connection: Connection, credential: str) -> None:
        """Never evict a connection that presented the control code.

        `credential` is the code's id or the key of a session."""
        connections = self._by_address.get(connection.address)
        if connections and connection in connections.evictable:
            del connections.evictable[connection]
            connections.protected[connection] = credential

    def unprotect(self, is_revoked: Callable[[str], bool]) -> None:
        """Make the connections whose credential `is_revoked` evictable again."""
        for connections in self._by_address.values():
            for connection, credential in tuple(connections.protected.items()):
                if is_revoked(credential):
                    del connections.protected[connection]
                    connections.evictable[connection] = next(self._numbers)

    def _remove(self, connection: Connection) -> None:
        connections = self._by_address[connection.address]
        connections.evictable.pop(connection, None)
        connections.protected.pop(connection, None)
        self._count -= 1
        if not connections:
            del self._by_address[connection.address]

    def _log_shortage(self, what: str) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._shortage_at >= self._limits.shortage_over_after_s:
            log.warning("too many connections, %s", what)
        self._shortage_at = now
