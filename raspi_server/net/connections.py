"""Who is inside, having said a first word: how many connections one address and all addresses
together may have, and who has to go when there is no room for one more.

The rule: of an address with MOST_OF_ONE connections the oldest goes when one more comes; when there
are MOST in all, or no descriptor is left, the oldest of the address that has most. Who showed the
control code stays: the owner gets in, having time to show it since others are older, and remains,
whatever they do. Each IPv6 address counts for itself, since at home all share one /64; a guest who
takes on many addresses can push out strangers, but not the owner. This machine itself, where the
owner may run a proxy, has as much room as there are descriptors."""

import asyncio
import itertools
import logging
import math
import os
from collections.abc import Callable
from typing import Any

from tornado.iostream import BaseIOStream, IOStream, SSLIOStream, StreamClosedError

from ..messages import HEADERS
from .shares import THIS_MACHINE, Shares

COST = 64 * 1024
"""Bytes of memory for a connection under TLS, the kernel's part included."""
MOST = min(6144, os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 4 // COST)
"""Connections in all: what a quarter of the memory bears, some 1700 on a Pi Zero, within the
descriptors that the unit permits (systemd/raspi-server.service)."""
MOST_OF_ONE = 128
"""Connections of one address. A page takes up to seven, and behind a router of its own (Docker,
Tailscale's subnet router) a whole household has one address."""
MOST_HANDSHAKES = 16
"""TLS handshakes in progress for one address. Of one more the oldest goes: who shares an address
with an attacker needs a moment to get through, and would never, were the newest refused. It is the
loop's next turn that answers those that came in this one, so it computes for 16 at most."""
LARGE = 64 * 1024
MOST_LARGE = 4
"""Answers of more than so many bytes that may wait to be read by one address; of one more the
oldest goes. The past of all pins can be a megabyte, and waits whole."""
READ_AT_ONCE = 16 * 1024
"""Bytes; what a connection has sent stays with the kernel until it is asked for."""
MOST_LINES = 100
MOST_PIECES = 200
"""Lines of a request's head, and what & and ; divide in it: arguments and cookies. Each becomes
objects of a hundred times its size."""
CALM = 60.0
"""Seconds without a shortage after which the next one is said again."""

_TORNADO_BAD_REQUEST = b"HTTP/1.1 400 Bad Request\r\n\r\n"
"""What Tornado itself writes, past all handlers, when a request is malformed."""


def _refusal(status: str, reason: str) -> bytes:
    """Return a whole answer, past all handlers, after which the connection closes."""
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


_BAD_REQUEST = _refusal("400 Bad Request", "Bad Request")
_TOO_MANY_PARTS = _refusal(
    "431 Request Header Fields Too Large",
    f"expected at most {MOST_LINES} lines, and {MOST_PIECES} cookies and arguments",
)

log = logging.getLogger(__name__)


class Guest(BaseIOStream):
    """A connection that says when it is closed, whoever closed it, and takes no head of too many
    parts."""

    __slots__ = ("address", "when_closed", "when_large")

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, read_chunk_size=READ_AT_ONCE, **named)  # type: ignore[misc]
        self.address = ""
        self.when_closed: Callable[[], object] | None = None
        self.when_large: Callable[[asyncio.Future[None]], object] | None = None
        """Called with each large answer that has to wait until the client reads on."""

    def write(self, data: bytes | memoryview) -> "asyncio.Future[None]":
        """Write `data`, or in the place of Tornado's bare refusal one with our headers."""
        done = super().write(_BAD_REQUEST if data == _TORNADO_BAD_REQUEST else data)
        if self.when_large and len(data) > LARGE and not done.done():
            self.when_large(done)
        return done

    def read_until_regex(
        self, regex: bytes, max_bytes: int | None = None
    ) -> "asyncio.Future[bytes]":
        """How Tornado asks for a head; it gets none that would cost too much."""
        coming = asyncio.ensure_future(super().read_until_regex(regex, max_bytes))
        checked = asyncio.get_running_loop().create_future()
        coming.add_done_callback(lambda _: self._check(coming, checked))
        return checked

    def _check(self, coming: "asyncio.Future[bytes]", checked: "asyncio.Future[bytes]") -> None:
        error = coming.exception()
        if error is None and not _is_modest(coming.result()):
            error = StreamClosedError()
            if not self.closed():
                self.write(_TOO_MANY_PARTS)
                self.close()
        if checked.done():  # Tornado has given up waiting
            return
        if error:
            checked.set_exception(error)
        else:
            checked.set_result(coming.result())

    def close_fd(self) -> None:
        super().close_fd()
        if self.when_closed:
            self.when_closed()


def _is_modest(head: bytes) -> bool:
    return head.count(b"\n") <= MOST_LINES and head.count(b"&") + head.count(b";") <= MOST_PIECES


class PlainGuest(Guest, IOStream):
    """Without TLS."""


class SecureGuest(Guest, SSLIOStream):
    """Under TLS."""


class _Party:
    """The connections of one address, the oldest first."""

    def __init__(self) -> None:
        self.strangers: dict[Guest, int] = {}
        """Each with its number in the order of all."""
        self.owners: dict[Guest, str] = {}
        """Those that showed the control code, each with the code's id."""

    def __len__(self) -> int:
        return len(self.strangers) + len(self.owners)

    def oldest(self) -> int:
        return next(iter(self.strangers.values()), 0)

    def send_one_away(self) -> bool:
        """Closes the oldest stranger, if there is any."""
        for guest in self.strangers:
            guest.close()
            return True
        return False


class Guests:
    """All methods belong to the loop's thread."""

    def __init__(self) -> None:
        self._parties: dict[str, _Party] = {}
        self._handshakes: Shares[SecureGuest] = Shares()
        self._answers: Shares[Guest] = Shares()
        self._count = 0
        self._numbers = itertools.count()
        self._short = -math.inf
        """When there last was no room."""

    def enter(self, guest: Guest, address: str) -> bool:
        """Whether there is room for one more, made where it has to be."""
        if address in THIS_MACHINE:
            return True
        party = self._parties.get(address, _Party())
        if len(party) >= MOST_OF_ONE:
            self._say(f"more than {MOST_OF_ONE} from {address}: its oldest are closed")
            if not party.send_one_away():
                return False
        elif self._count >= MOST and not self.make_room():
            return False
        self._parties[address] = party
        party.strangers[guest] = next(self._numbers)
        self._count += 1
        guest.address = address
        guest.when_closed = lambda: self._leave(guest)
        guest.when_large = lambda done: self._note_large(guest, done)
        return True

    def shake_hands(self, guest: SecureGuest, address: str) -> None:
        """Counts a handshake while it is in progress, and closes the oldest of too many."""
        done = guest.wait_for_handshake()
        done.add_done_callback(lambda _: self._handshakes.remove(address, guest))
        one_too_many = self._handshakes.add(address, guest, MOST_HANDSHAKES)
        if one_too_many:
            one_too_many.close()

    def _note_large(self, guest: Guest, done: "asyncio.Future[None]") -> None:
        done.add_done_callback(lambda _: self._answers.remove(guest.address, guest))
        one_too_many = self._answers.add(guest.address, guest, MOST_LARGE)
        if one_too_many:
            one_too_many.close()

    def make_room(self) -> bool:
        """Closes the oldest connection of the address that has most, unless all may stay."""
        parties = self._parties.values()
        fullest = max(parties, key=lambda each: (len(each.strangers), -each.oldest()), default=None)
        if fullest is None or not fullest.strangers:
            return False
        self._say(f"{self._count} in all: the oldest of those who have most are closed")
        return fullest.send_one_away()

    def trust(self, guest: Guest, code: str) -> None:
        """This one showed the control code, and may stay."""
        party = self._parties.get(guest.address)
        if party and guest in party.strangers:
            del party.strangers[guest]
            party.owners[guest] = code

    def distrust(self, is_replaced: Callable[[str], bool]) -> None:
        """Those whose code was replaced are strangers again."""
        for party in self._parties.values():
            for guest, code in tuple(party.owners.items()):
                if is_replaced(code):
                    del party.owners[guest]
                    party.strangers[guest] = next(self._numbers)

    def _leave(self, guest: Guest) -> None:
        party = self._parties[guest.address]
        party.strangers.pop(guest, None)
        party.owners.pop(guest, None)
        self._count -= 1
        if not party:
            del self._parties[guest.address]

    def _say(self, what: str) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._short >= CALM:
            log.warning("too many connections, %s", what)
        self._short = now
