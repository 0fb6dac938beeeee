"""The listening sockets: which address and port, http and https on the same one, and what happens
when there are more callers than descriptors."""

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

from .connections import Guest, Guests, PlainGuest, SecureGuest
from .tls_sniff import Address, Knocks

ACCEPT_AT_ONCE = 16
"""Callers let in before the loop gets round to anything else. While thousands a second come, 128 at
once cost a viewer a fifth of its ticks, and let in no more."""
BREATHER = 1.0
"""Seconds without new callers after the descriptors have run out; those who wait, wait in the
kernel's queue."""
QUEUE = 1024
SPARE = 16
"""Descriptors that no caller gets: those inside need some, for a page, the certificate, levels."""
CALM = 60.0
"""Seconds without a shortage after which the next one is said again."""
PATIENCE = 30.0
TRY_EVERY = 0.25
"""Seconds of waiting at a start for an address that is not to be had yet, and between two tries;
for each of its own, systemd starts a whole process."""
STUCK = 60.0
"""Seconds after which the kernel drops a connection whose other end takes nothing at all, be it
gone or asleep in the middle of a large page (tcp(7), TCP_USER_TIMEOUT)."""
SEND_BUFFER = 64 * 1024
RECEIVE_BUFFER = 32 * 1024
"""Bytes that the kernel keeps for a connection, of which it reserves twice as much. Its own bounds
are megabytes, and a hundred who ask and never read would fill them; for a page on Wi-Fi, and for a
body of 32 KiB, these are enough."""

LOOPBACK = "127.0.0.1"

_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)

log = logging.getLogger(__name__)


class CannotListen(OSError):
    """The address is not to be had; if it `may_pass`, it may be later."""

    def __init__(self, message: str, may_pass: bool) -> None:
        super().__init__(message)
        self.may_pass = may_pass


class Doors:
    """Listens as soon as it is made, lets callers in from `open` on, and hands each to `welcome`
    with its address, once it has said its first word. With a `context`, TLS is spoken, and who
    speaks plainly goes to `redirect`; set another for those who come later."""

    def __init__(
        self,
        address: str,
        port: int,
        context: ssl.SSLContext | None,
        guests: Guests,
        welcome: Callable[[Guest, Address], object],
        redirect: Callable[[Guest, Address], object],
    ) -> None:
        """Port 0 takes any free one. Raises CannotListen."""
        self.context = context
        self._guests = guests
        self._welcome = welcome
        self._redirect = redirect
        self._knocks = Knocks(self._show_in)
        self._sockets = listen(address, port)
        self.port: int = self._sockets[0].getsockname()[1]
        self._breather: asyncio.TimerHandle | None = None
        self._exhausted = -math.inf
        """When the descriptors last ran out."""

    def open(self) -> None:
        """Lets callers in, those who have waited first."""
        self._breather = None
        loop = asyncio.get_running_loop()
        for listening in self._sockets:
            loop.add_reader(listening, self._let_in, listening)

    def close(self) -> None:
        """Nobody else comes in; those inside are left alone."""
        self._shut()
        self._knocks.close()
        for listening in self._sockets:
            listening.close()
        self._sockets = []

    def _shut(self) -> None:
        if self._breather:
            self._breather.cancel()
            self._breather = None
        loop = asyncio.get_running_loop()
        for listening in self._sockets:
            loop.remove_reader(listening)

    def _let_in(self, listening: socket.socket) -> None:
        for attempt in range(ACCEPT_AT_ONCE):
            try:
                _check_room(listening)
                caller, address = listening.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno not in _EXHAUSTED:
                    raise
                if attempt:  # nobody need be waiting for room; who is lets us be called again
                    return
                if self._knocks.make_room() or self._guests.make_room():
                    continue
                self._take_breath(error)
                return
            caller.setblocking(False)
            self._knocks.hear(caller, address)

    def _show_in(self, caller: socket.socket, address: Address, speaks_tls: bool) -> None:
        try:
            if self.context is None and speaks_tls:
                caller.close()  # at once: else it would wait for an answer that never comes
                return
            plainly = self.context is None or not speaks_tls
            guest = PlainGuest(caller) if plainly else self._encrypted(caller)
            if not self._guests.enter(guest, address[0]):
                guest.close()
            elif self.context and plainly:
                self._redirect(guest, address)
            else:
                if isinstance(guest, SecureGuest):
                    self._guests.shake_hands(guest, address[0])
                self._welcome(guest, address)
        except OSError as error:  # gone again before it was inside
            log.debug("%s: %s", address[0], error)
            caller.close()

    def _encrypted(self, caller: socket.socket) -> Guest:
        assert self.context is not None
        # Raises for one that has reset already, before Python's wrap_socket finds out and leaves
        # its half-made socket to the garbage collector.
        caller.getpeername()
        wrapped = self.context.wrap_socket(caller, server_side=True, do_handshake_on_connect=False)
        return SecureGuest(wrapped)

    def _take_breath(self, error: OSError) -> None:
        loop = asyncio.get_running_loop()
        if loop.time() - self._exhausted >= CALM:
            log.error("too many connections: %s; new ones have to wait", error.strerror)
        self._exhausted = loop.time()
        self._shut()
        self._breather = loop.call_later(BREATHER, self.open)


def _check_room(listening: socket.socket) -> None:
    """Raises OSError if the next descriptor is one of the spare ones: it is the lowest free one."""
    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    next_one = os.dup(listening.fileno())
    os.close(next_one)
    if most != resource.RLIM_INFINITY and next_one >= most - SPARE:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))


def listen(address: str, port: int) -> list[socket.socket]:
    """Listening sockets on one address, or on all of IPv4 and IPv6. Raises CannotListen."""
    found: list[socket.socket] = []
    try:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        found.append(socket.create_server((address, port), family=family, backlog=QUEUE))
        if not address and socket.has_ipv6:
            same_port = found[0].getsockname()[1]
            with contextlib.suppress(_NoIPv6):
                found.append(_listen_on_ipv6(same_port))
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
        raise CannotListen(f"{where}: {why}{hint}", may_pass) from None
    for each in found:
        each.setblocking(False)
        # Whoever is let in inherits them.
        each.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        each.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        each.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(STUCK * 1000))
    return found


async def until_free(address: str, port: int) -> None:
    """Waits while the address is somebody else's, or not yet this machine's, but not for ever."""
    for attempt in range(int(PATIENCE / TRY_EVERY)):
        try:
            found = listen(address, port)
        except CannotListen as error:
            if not error.may_pass:
                return
            if attempt == 0:
                log.warning("%s; waiting for it", error)
            await asyncio.sleep(TRY_EVERY)
        else:
            for each in found:
                each.close()
            return


class _NoIPv6(OSError):
    pass


def _listen_on_ipv6(port: int) -> socket.socket:
    try:
        return socket.create_server(("::", port), family=socket.AF_INET6, backlog=QUEUE)
    except OSError as error:
        if error.errno in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
            raise _NoIPv6 from None  # it is switched off on this machine
        raise


_known_address: str | None = None


def own_address() -> str | None:
    """The IPv4 address by which the network reaches this machine; None without a network. While no
    descriptor is left to ask with, the one of before."""
    global _known_address
    try:
        probe = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    except OSError as error:
        if error.errno not in _EXHAUSTED:
            raise
        return _known_address
    with probe:
        try:
            probe.connect(("192.0.2.1", 9))  # TEST-NET-1; a datagram socket sends nothing here
        except OSError:
            _known_address = None
        else:
            _known_address = probe.getsockname()[0]
    return _known_address


def reachable_hosts() -> list[str]:
    """Names and addresses to tell people: this machine itself, and how others reach it."""
    local = f"{socket.gethostname().partition('.')[0]}.local"
    return list(dict.fromkeys(filter(None, (LOOPBACK, own_address(), local))))


def in_url(host: str) -> str:
    """A host as it stands in a URL."""
    return f"[{host}]" if ":" in host else host
