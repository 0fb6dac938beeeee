"""The WebSocket `/ws`: says hello, hands commands to the board, and answers each of them."""

import asyncio
import logging
from functools import partial
from typing import Any

from tornado.web import HTTPError
from tornado.websocket import WebSocketHandler

from .hub import Viewer
from .messages import STATUS, SUBPROTOCOL, Error, Ref, Refused, Result, Value, command
from .site import HEADERS, SIGN_IN, Site, reason

POLICY_VIOLATION = 1008

MESSAGES_A_SECOND = 50
MESSAGES_AT_ONCE = 100

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


class Socket(WebSocketHandler):
    def initialize(self, site: Site) -> None:
        self._site = site
        self._loop = asyncio.get_running_loop()
        self._allowance = Allowance(self._loop.time())
        self._viewer: Viewer | None = None

    def __str__(self) -> str:
        return f"the WebSocket of {self.request.remote_ip}"

    async def prepare(self) -> None:
        try:
            self._site.auth.check_host(self.request)
            self._site.auth.check_origin(self.request)
            self._caller = await self._site.auth.caller(self.request)
        except Refused as refused:
            raise HTTPError(STATUS[refused.code], "%s", refused.message) from None

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        for name, value in HEADERS.items():
            self.set_header(name, value)
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.finish(f"{status_code}: {reason(self, kwargs.get('exc_info'))}\n")

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
        self._viewer = Viewer(connection, self._loop, self._caller)
        self._viewer.send_message(self._site.hello(self._caller))
        self._site.hub.add(self._viewer)
        self._viewer.send_message(self._site.health())
        log.debug("%s: watching, %d viewers", self.request.remote_ip, len(self._site.hub))

    def on_message(self, message: str | bytes) -> None:
        viewer = self._viewer
        if viewer is None:
            return
        if not self._allowance.take(self._loop.time()):
            error = f"expected at most {MESSAGES_A_SECOND} messages a second"
            viewer.send_message(Error(None, "too-fast", error))
            viewer.close(POLICY_VIOLATION, error)
            return
        ref: Ref | None = None
        try:
            if isinstance(message, bytes):
                raise Refused("bad-message", "expected a text frame, got a binary one")
            order = command(message)
            ref = order.ref
            slot = self._site.board[order.pin]
            self._site.auth.check_control(slot.config, self._caller)
            done = self._site.board.carry_out(order, self._site.auth.name(self._caller))
        except Refused as refused:
            self._refuse(viewer, ref if refused.ref is None else refused.ref, refused)
        else:
            done.add_done_callback(partial(self._answer, viewer, ref, order.pin))

    def on_ping(self, data: bytes) -> None:
        if self._viewer:
            self._viewer.was_written_to()

    def on_pong(self, data: bytes) -> None:
        if self._viewer:
            self._viewer.heard()

    def on_close(self) -> None:
        if self._viewer:
            self._site.hub.remove(self._viewer)
            log.debug("%s: gone, %d viewers", self.request.remote_ip, len(self._site.hub))

    def _answer(
        self, viewer: Viewer, ref: Ref | None, pin: str, done: asyncio.Future[Value]
    ) -> None:
        try:
            viewer.send_message(Result(ref, pin, done.result()))
        except Refused as refused:
            self._refuse(viewer, ref, refused)

    def _refuse(self, viewer: Viewer, ref: Ref | None, refused: Refused) -> None:
        viewer.send_message(Error(ref, refused.code, refused.message))
