"""Callers who were let in and have not said anything yet: their first byte tells TLS from plain
http, so that both are answered on one port (Cockpit does it this way)."""

import asyncio
import socket
from collections.abc import Callable

from .shares import Shares

HANDSHAKE = b"\x16"
"""What a TLS connection begins with (RFC 8446, 5.1: ContentType handshake)."""
PATIENCE = 10.0
"""Seconds for the first byte; browsers that connect in advance do without the answer."""
MOST = 1024
MOST_OF_ONE = 32
"""Callers who may be silent at once, in all and of one address; of more, the one goes who has been
so for longest, in all of the address that has most. Who has something to say says it within a
moment; a browser connects in advance with a few."""

Address = tuple[str, int]


class Knocks:
    """`answer(caller, address, speaks_tls)` is called with everyone who says something in time; the
    others are hung up on. All methods belong to the loop's thread."""

    def __init__(self, answer: Callable[[socket.socket, Address, bool], object]) -> None:
        self._answer = answer
        self._waiting: dict[socket.socket, tuple[str, asyncio.TimerHandle]] = {}
        self._shares: Shares[socket.socket] = Shares()

    def hear(self, caller: socket.socket, address: Address) -> None:
        """Waits for the first byte of a socket that does not block, or takes it if it is there."""
        if self._look(caller, address):
            return
        if len(self._waiting) >= MOST:
            self.make_room()
        loop = asyncio.get_running_loop()
        self._waiting[caller] = address[0], loop.call_later(PATIENCE, self._hang_up, caller)
        loop.add_reader(caller, self._heard, caller, address)
        one_too_many = self._shares.add(address[0], caller, MOST_OF_ONE)
        if one_too_many:
            self._hang_up(one_too_many)

    def make_room(self) -> bool:
        """Hangs up on the oldest of the address that has most, if anybody is silent."""
        caller = self._shares.oldest_of_fullest()
        if caller is None:
            return False
        self._hang_up(caller)
        return True

    def close(self) -> None:
        """Hangs up on all who have said nothing yet."""
        for caller in tuple(self._waiting):
            self._hang_up(caller)

    def _heard(self, caller: socket.socket, address: Address) -> None:
        self._let_go(caller)
        self._look(caller, address)

    def _look(self, caller: socket.socket, address: Address) -> bool:
        """Whether there is something to answer, or nobody any more."""
        try:
            first = caller.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:  # it has reset the connection
            first = b""
        if first:
            self._answer(caller, address, first == HANDSHAKE)
        else:
            caller.close()
        return True

    def _hang_up(self, caller: socket.socket) -> None:
        self._let_go(caller)
        caller.close()

    def _let_go(self, caller: socket.socket) -> None:
        asyncio.get_running_loop().remove_reader(caller)
        address, timer = self._waiting.pop(caller)
        timer.cancel()
        self._shares.remove(address, caller)
