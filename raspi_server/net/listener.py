"""Listening sockets, with HTTP and HTTPS on one port.

While no file descriptor is left, they accept no connections."""

import asyncio
import contextlib
import errno
import logging
import math
import os
import resource
import socket
import ssl
from collections.abc import Callable

from ..limits import DEFAULT, Limits
from .addresses import EXHAUSTED, in_url
from .connections import Connection, ConnectionLimiter, PlainConnection, TlsConnection
from .tls_sniff import Address, TlsSniffer

log = logging.getLogger(__name__)


class ListenError(OSError):
    """An address on which this server cannot listen; if `may_pass`, it may be possible later."""

    def __init__(self, message: str, may_pass: bool) -> None:
        super().__init__(message)
        self.may_pass = may_pass


class Listener:
    """The sockets that listen on one address and port from construction on.

    `open` begins to accept. Each connection is passed with its address to `on_connection` once its
    first byte has arrived. With a TLS `context`, plain HTTP is passed to `on_plain_http` instead.
    Another `context` may be set for later connections."""

    def __init__(
        self,
        address: tuple[str, int],
        context: ssl.SSLContext | None,
        limiter: ConnectionLimiter,
        on_connection: Callable[[Connection, Address], object],
        on_plain_http: Callable[[Connection, Address], object],
        limits: Limits = DEFAULT,
    ) -> None:
        """Listen on `address`: a host ("" for all) and a port (0 for any free one).

        Raise ListenError."""
        self.context = context
        self._limiter = limiter
        self._on_connection = on_connection
        self._on_plain_http = on_plain_http
        self._limits = limits
        self._sniffer = TlsSniffer(self._dispatch, limiter.exempt, limits)
        self._sockets = listen(*address, limits)
        self.port: int = self._sockets[0].getsockname()[1]
        self._retry: asyncio.TimerHandle | None = None
        self._exhausted_at = -math.inf
        """The time at which the descriptors last ran out, on the loop's clock."""

    def open(self) -> None:
        """Accept connections, the oldest first."""
        self._retry = None
        loop = asyncio.get_running_loop()
        for listening in self._sockets:
            loop.add_reader(listening, self._accept, listening)

    def close(self) -> None:
        """Stop listening. Connections that have sent their first byte stay open."""
        self._pause()
        self._sniffer.close()
        for listening in self._sockets:
            listening.close()
        self._sockets = []

    def _pause(self) -> None:
        """Accept no connections until the next `open`."""
        if self._retry:
            self._retry.cancel()
            self._retry = None
        loop = asyncio.get_running_loop()
        for listening in self._sockets:
            loop.remove_reader(listening)

    def _accept(self, listening: socket.socket) -> None:
        for attempt in range(self._limits.accepts_per_turn):
            try:
                _check_descriptors(listening, self._limits.spare_descriptors)
                accepted, address = listening.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno not in EXHAUSTED:
                    raise
                if attempt:  # if another client waits, the loop calls this again
                    return
                if self._sniffer.evict() or self._limiter.evict():
                    continue
                self._retry_later(error)
                return
            accepted.setblocking(False)
            self._sniffer.add(accepted, address)

    def _dispatch(self, accepted: socket.socket, address: Address, is_tls: bool) -> None:
        """Pass a connection on, now that its protocol is known."""
        try:
            if self.context is None and is_tls:
                accepted.close()  # else the client waits for an answer that never comes
                return
            is_plain = self.context is None or not is_tls
            connection = self._plain(accepted) if is_plain else self._encrypted(accepted)
            if not self._limiter.admit(connection, address[0]):
                connection.close()
            elif self.context and is_plain:
                self._on_plain_http(connection, address)
            else:
                if isinstance(connection, TlsConnection):
                    self._limiter.count_handshake(connection, address[0])
                self._on_connection(connection, address)
        except OSError as error:  # the client closed the connection meanwhile
            log.debug("%s: %s", address[0], error)
            accepted.close()

    def _plain(self, accepted: socket.socket) -> Connection:
        return PlainConnection(accepted, limits=self._limits)

    def _encrypted(self, accepted: socket.socket) -> Connection:
        assert self.context is not None
        # This raises OSError if the client has reset the connection. Python's wrap_socket raises,
        # too, but leaves its incomplete socket to the garbage collector.
        accepted.getpeername()
        return TlsConnection(
            self.context.wrap_socket(accepted, server_side=True, do_handshake_on_connect=False),
            limits=self._limits,
        )

    def _retry_later(self, error: OSError) -> None:
        loop = asyncio.get_running_loop()
        if loop.time() - self._exhausted_at >= self._limits.shortage_over_after_s:
            log.error("too many connections: %s; new ones have to wait", error.strerror)
        self._exhausted_at = loop.time()
        self._pause()
        self._retry = loop.call_later(self._limits.accept_retry_interval_s, self.open)


def _check_descriptors(listening: socket.socket, spare: int) -> None:
    """Raise OSError if only `spare` descriptors or fewer are left.

    A new descriptor always has the lowest free number (open(2))."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    next_one = os.dup(listening.fileno())
    os.close(next_one)
    if limit != resource.RLIM_INFINITY and next_one >= limit - spare:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))


def listen(address: str, port: int, limits: Limits = DEFAULT) -> list[socket.socket]:
    """Return listening sockets on one address, or for "" on all of IPv4 and IPv6.

    Raise ListenError, whose message has the address, the reason and, for a port below 1024, what
    permits it."""
    found: list[socket.socket] = []
    backlog = limits.listen_backlog
    try:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        found.append(socket.create_server((address, port), family=family, backlog=backlog))
        if not address and socket.has_ipv6:
            same_port = found[0].getsockname()[1]
            with contextlib.suppress(_NoIPv6Error):
                found.append(_listen_on_ipv6(same_port, backlog))
    except OSError as error:
        for each in found:
            each.close()
        where = f"{in_url(address)}:{port}" if address else f"port {port}"
        hint = ""
        if isinstance(error, PermissionError):
            hint = (
                "; a port below 1024 needs: sudo systemctl edit raspi-server, and there the lines"
                " [Service], CapabilityBoundingSet=CAP_NET_BIND_SERVICE and"
                " AmbientCapabilities=CAP_NET_BIND_SERVICE"
            )
        # Python adds the address to error.strerror.
        why = os.strerror(error.errno) if error.errno else str(error)
        may_pass = error.errno in (errno.EADDRINUSE, errno.EADDRNOTAVAIL)
        raise ListenError(f"{where}: {why}{hint}", may_pass) from None
    for each in found:
        _configure(each, limits)
    return found


def _configure(listening: socket.socket, limits: Limits) -> None:
    """Set the options that accepted sockets inherit."""
    listening.setblocking(False)
    send, receive = limits.connection_send_buffer_bytes, limits.connection_receive_buffer_bytes
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive)
    timeout_ms = int(limits.unacknowledged_timeout_s * 1000)
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, timeout_ms)


async def until_free(address: str, port: int, limits: Limits = DEFAULT) -> None:
    """Wait while another program has the address, or this machine does not have it yet.

    Return after `address_timeout_s` at the latest."""
    interval_s = limits.address_retry_interval_s
    for attempt in range(int(limits.address_timeout_s / interval_s)):
        try:
            found = listen(address, port, limits)
        except ListenError as error:
            if not error.may_pass:
                return
            if attempt == 0:
                log.warning("%s; waiting for it", error)
            await asyncio.sleep(interval_s)
        else:
            for each in found:
                each.close()
            return


class _NoIPv6Error(OSError):
    """IPv6 that is switched off on this machine."""


def _listen_on_ipv6(port: int, backlog: int) -> socket.socket:
    try:
        return socket.create_server(("::", port), family=socket.AF_INET6, backlog=backlog)
    except OSError as error:
        if error.errno in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
            raise _NoIPv6Error from None
        raise
