"""The WebSockets: `/ws` says hello, hands commands to the board, and answers each of them;
`/fleet/ws` does so with the lookout."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Coroutine, Iterator
from functools import partial
from typing import Any

from tornado.web import HTTPError
from tornado.websocket import WebSocketHandler, WebSocketProtocol, WebSocketProtocol13

from ..messages import (
    HEADERS,
    STATUS,
    SUBPROTOCOL,
    Error,
    Ref,
    Refused,
    Result,
    Value,
    command,
    remote_command,
)
from ..net.backpressure import Viewer
from ..net.connections import Connection
from ..net.hub import Hub
from ..security.access import Caller
from .context import NO_FLEET, SIGN_IN, House, Site, write_plainly

POLICY_VIOLATION = 1008

MESSAGES_A_SECOND = 50
MESSAGES_AT_ONCE = 100
"""Frames, in fact: messages, parts of messages, pings and pongs."""
FAREWELL = 1.0
"""Seconds for the close frame to arrive at one who sends too much, before the connection ends;
closed at once, what is still unread would take it along."""

log = logging.getLogger(__name__)


class Allowance:
    """A bucket of tokens: so many at once, refilled at so many a second."""

    def __init__(self, now: float) -> None:
        self._tokens = float(MESSAGES_AT_ONCE)
        self._filled = now

    def take(self, now: float) -> bool:
        """Whether one more is allowed."""
        more = (now - self._filled) * MESSAGES_A_SECOND
        self._tokens = min(MESSAGES_AT_ONCE, self._tokens + more)
        self._filled = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


class _MeteredProtocol(WebSocketProtocol13):
    """Tornado's, which tells its handler of whole messages, pings and pongs only; here of the other
    frames, too."""

    handler: "Metered"

    def _receive_frame(self) -> Coroutine[Any, Any, None]:
        if self._fragmented_message_buffer is not None:  # the last one was a part of a message
            self.handler.take()
        return self._leave() if self.handler.is_too_fast else super()._receive_frame()

    async def _leave(self) -> None:
        """Read nothing more; close when the goodbye has had time to arrive."""
        await asyncio.sleep(FAREWELL)
        self._abort()


class Metered(WebSocketHandler):
    """A WebSocket that may send so many frames, of whatever kind; of one too many it is closed."""

    is_too_fast = False

    def set_default_headers(self) -> None:
        for name, value in HEADERS.items():
            self.set_header(name, value)
        self.set_header("Content-Type", "text/plain; charset=utf-8")

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        write_plainly(self, kwargs.get("exc_info"))

    def get_websocket_protocol(self) -> WebSocketProtocol | None:
        self._allowance = Allowance(time.monotonic())
        found = super().get_websocket_protocol()
        if not isinstance(found, WebSocketProtocol13):
            return found
        return _MeteredProtocol(self, False, found.params)

    def take(self) -> bool:
        """Return whether the frame that has come is within the allowance; close if not."""
        if not self.is_too_fast and not self._allowance.take(time.monotonic()):
            self.is_too_fast = True
            self.end(f"expected at most {MESSAGES_A_SECOND} messages a second")
        return not self.is_too_fast

    def end(self, reason: str) -> None:
        self.close(POLICY_VIOLATION, reason)

    def on_message(self, message: str | bytes) -> None:
        self.take()

    def on_ping(self, data: bytes) -> None:
        self.take()

    def on_pong(self, data: bytes) -> None:
        self.take()


class Watching(Metered):
    """Whoever may look becomes a viewer of a hub, and is told and asked there."""

    _caller: Caller

    def initialize(self, site: Site) -> None:
        self._site = site
        self._loop = asyncio.get_running_loop()
        self._viewer: Viewer | None = None

    def __str__(self) -> str:
        return f"the WebSocket of {self.request.remote_ip}"

    async def prepare(self) -> None:
        try:
            self._site.auth.check_origin(self.request)
            self._caller = await self._site.auth.caller(self.request)
        except Refused as refused:
            raise HTTPError(STATUS[refused.code], "%s", refused.message) from None

    def check_origin(self, origin: str) -> bool:
        return True  # `prepare` did; Tornado's own check knows no names

    def select_subprotocol(self, subprotocols: list[str]) -> str | None:
        return SUBPROTOCOL if SUBPROTOCOL in subprotocols else None

    def open(self) -> None:
        try:
            self._site.auth.check_view(self._caller)
        except Refused as refused:
            self.close(SIGN_IN, refused.message)
            return
        connection = self.ws_connection
        if connection is None or connection.stream is None or connection.stream.closed():
            return  # it vanished during the handshake
        if isinstance(connection.stream, Connection):
            connection.stream.on_large_response = None  # what waits here is bounded by the hub
        self._viewer = Viewer(connection, self._loop, self._caller, self.hub.limits)
        self.welcome(self._viewer)
        log.debug("%s: watching, %d viewers", self, len(self.hub))

    @property
    def hub(self) -> Hub:
        """Where those who watch the same are."""
        raise NotImplementedError

    def welcome(self, viewer: Viewer) -> None:
        """Tells all there is, and all that comes."""
        raise NotImplementedError

    def order(self, text: str) -> tuple[Ref | None, str, asyncio.Future[Value]]:
        """Begins what a message asks for: with which `ref`, of which pin, and what will be done.
        Raises Refused."""
        raise NotImplementedError

    def on_message(self, message: str | bytes) -> None:
        viewer = self._viewer
        if not self.take() or viewer is None or viewer.is_closing:
            return
        try:
            if isinstance(message, bytes):
                raise Refused("bad-message", "expected a text frame, got a binary one")
            ref, pin, done = self.order(message)
        except Refused as refused:
            self._refuse(viewer, refused.ref, refused)
        else:
            done.add_done_callback(partial(self._answer, viewer, ref, pin))

    def end(self, reason: str) -> None:
        if self._viewer is None:
            super().end(reason)
            return
        self._viewer.send_message(Error(None, "too-fast", reason))
        self._viewer.close(POLICY_VIOLATION, reason)

    def on_ping(self, data: bytes) -> None:
        if self._viewer:
            self._viewer.stream_was_written()
        self.take()

    def on_pong(self, data: bytes) -> None:
        if self.take() and self._viewer:
            self._viewer.pong_received()

    def on_close(self) -> None:
        if self._viewer:
            self.hub.remove(self._viewer)
            log.debug("%s: gone, %d viewers", self, len(self.hub))

    def _answer(
        self, viewer: Viewer, ref: Ref | None, pin: str, done: asyncio.Future[Value]
    ) -> None:
        try:
            viewer.send_message(Result(ref, pin, done.result()))
        except Refused as refused:
            self._refuse(viewer, ref, refused)

    def _refuse(self, viewer: Viewer, ref: Ref | None, refused: Refused) -> None:
        viewer.send_message(Error(ref, refused.code, refused.message))


class Socket(Watching):
    @property
    def hub(self) -> Hub:
        return self._site.hub

    def welcome(self, viewer: Viewer) -> None:
        viewer.send_message(self._site.hello(self._caller))
        self.hub.add(viewer)
        viewer.send_message(self._site.health())

    def order(self, text: str) -> tuple[Ref | None, str, asyncio.Future[Value]]:
        order = command(text)
        with _with_ref(order.ref):
            slot = self._site.board[order.pin]
            self._site.auth.check_control(slot.config, self._caller)
            done = self._site.board.carry_out(order, self._site.auth.name(self._caller))
        return order.ref, order.pin, done


class FleetSocket(Watching):
    _fleet: House

    async def prepare(self) -> None:
        await super().prepare()
        if self._site.fleet is None:
            raise HTTPError(STATUS["not-found"], "%s", NO_FLEET)
        self._fleet = self._site.fleet
        """A reload may put another one into the site; this one then sends us away."""

    @property
    def hub(self) -> Hub:
        return self._fleet.hub

    def welcome(self, viewer: Viewer) -> None:
        viewer.send_message(self._site.fleet_hello(self._fleet, self._caller))
        self.hub.add(viewer)

    def order(self, text: str) -> tuple[Ref | None, str, asyncio.Future[Value]]:
        order = remote_command(text)
        with _with_ref(order.ref):
            self._site.check_fleet(self._fleet, order, self._caller)
            done = self._fleet.carry_out(order, self._site.auth.name(self._caller))
        return order.ref, order.pin, done


@contextlib.contextmanager
def _with_ref(ref: Ref | None) -> Iterator[None]:
    """Whoever is refused is told which command it was."""
    try:
        yield
    except Refused as refused:
        raise Refused(refused.code, refused.message, ref) from None
