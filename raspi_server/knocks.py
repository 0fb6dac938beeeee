"""Callers who were let in and have not said anything yet: their first byte tells TLS from plain
http, so that both are answered on one port (Cockpit does it this way)."""

import asyncio
import socket
from collections.abc import Callable

HANDSHAKE = b"\x16"
"""What a TLS connection begins with (RFC 8446, 5.1: ContentType handshake)."""
PATIENCE = 10.0
"""Seconds for the first byte; browsers that connect in advance do without the answer."""
MOST = 1024
"""Callers who may be silent at once; of more, the one goes who has been so for longest. Whoever has
something to say says it within a moment."""

Address = tuple[str, int]


class Knocks:
    """`answer(caller, address, speaks_tls)` is called with everyone who says something in time; the
    others are hung up on. All methods belong to the loop's thread."""

    def __init__(self, answer: Callable[[socket.socket, Address, bool], object]) -> None:
        self._answer = answer
        self._waiting: dict[socket.socket, asyncio.TimerHandle] = {}

    def hear(self, caller: socket.socket, address: Address) -> None:
        """Waits for the first byte of a socket that does not block, or takes it if it is there."""
        if self._look(caller, address):
            return
        if len(self._waiting) >= MOST:
            self.make_room()
        loop = asyncio.get_running_loop()
        self._waiting[caller] = loop.call_later(PATIENCE, self._hang_up, caller)
        loop.add_reader(caller, self._heard, caller, address)

    def make_room(self) -> bool:
        """Hangs up on the one who has been silent for longest, if there is any."""
        for caller in self._waiting:
            self._hang_up(caller)
            return True
        return False

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
        self._waiting.pop(caller).cancel()
