"""The WebSockets `/ws` and `/fleet/ws`.

Each sends hello, passes commands to the board or the fleet, and answers each of them.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Coroutine, Iterator
from functools import partial
from typing import Any

from tornado.web import HTTPError
from tornado.websocket import WebSocketHandler, WebSocketProtocol, WebSocketProtocol13

from ..errors import STATUS, Ref, RequestError
from ..messages import (
    HEADERS,
    SUBPROTOCOL,
    Error,
    Result,
    Value,
    decode_command,
    decode_remote_command,
)
from ..net.backpressure import TRY_AGAIN_LATER, Viewer
from ..net.connections import Connection
from ..net.hub import Hub
from ..net.rate_limit import TokenBucket
from ..security.access import Caller
from ..system import busy
from .context import CLOSE_LOGIN_REQUIRED, NO_FLEET, Fleet, WebContext
from .handler import write_plainly

CLOSE_POLICY_VIOLATION = 1008

log = logging.getLogger(__name__)


class _FrameCountingProtocol(WebSocketProtocol13):
    """Tornado's protocol, which also counts frames that are a part of a message.

    Tornado itself reports only whole messages, pings and pongs to its handler.
    """

    handler: "RateLimitedSocket"

    def _receive_frame(self) -> Coroutine[Any, Any, None]:
        if self._fragmented_message_buffer is not None:  # the last frame was part of a message
            self.handler.take()
        return self._close_late() if self.handler.is_too_fast else super()._receive_frame()

    async def _close_late(self) -> None:
        """Stop reading, and end the connection once the close frame has had time to arrive."""
        await asyncio.sleep(self.handler.context.limits.close_frame_timeout_s)
        self._abort()


class RateLimitedSocket(WebSocketHandler):
    """A WebSocket that is closed if it sends too many frames, of any kind."""

    context: WebContext
    is_too_fast = False

    def initialize(self, context: WebContext) -> None:
        """Take the parts that the handler uses."""
        self.context = context

    def set_default_headers(self) -> None:
        """Set the headers of every answer to a request, errors included."""
        for name, value in HEADERS.items():
            self.set_header(name, value)
        self.set_header("Content-Type", "text/plain; charset=utf-8")

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Answer a request that does not become a WebSocket with its error in text."""
        write_plainly(self, kwargs.get("exc_info"))

    def get_websocket_protocol(self) -> WebSocketProtocol | None:
        """Return a protocol that counts all frames, None for an unsupported version."""
        limits = self.context.limits
        self._tokens = TokenBucket(
            limits.max_messages_per_s, limits.message_burst, time.monotonic()
        )
        found = super().get_websocket_protocol()
        if not isinstance(found, WebSocketProtocol13):
            return found
        return _FrameCountingProtocol(self, False, found.params)

    def take(self) -> bool:
        """Count a frame; close the connection and return False if it is one too many."""
        if not self.is_too_fast and not self._tokens.take(time.monotonic()):
            self.is_too_fast = True
            self.end(f"expected at most {self.context.limits.max_messages_per_s} messages a second")
        return not self.is_too_fast

    def end(self, reason: str) -> None:
        """Close the connection of a client that sends too fast."""
        self.close(CLOSE_POLICY_VIOLATION, reason)

    def on_message(self, message: str | bytes) -> None:
        """Count a message."""
        self.take()

    def on_ping(self, data: bytes) -> None:
        """Count a ping."""
        self.take()

    def on_pong(self, data: bytes) -> None:
        """Count a pong."""
        self.take()


class ViewerSocket(RateLimitedSocket):
    """A WebSocket that becomes a viewer of a hub, if its caller may view."""

    _caller: Caller

    def initialize(self, context: WebContext) -> None:
        """Take the parts that the handler uses."""
        super().initialize(context)
        self._loop = asyncio.get_running_loop()
        self._viewer: Viewer | None = None

    @property
    def subject(self) -> str:
        """The socket in a few words."""
        return f"the WebSocket of {self.request.remote_ip}"

    async def prepare(self) -> None:
        """Check the origin, and identify the caller. Raises HTTPError."""
        try:
            self.context.auth.check_origin(self.request)
            self._caller = await self.context.auth.caller(self.request)
        except RequestError as error:
            raise HTTPError(STATUS[error.code], "%s", error.message) from None

    def check_origin(self, origin: str) -> bool:
        """Return True: `prepare` has checked it, with the names of `access.hosts`."""
        return True

    def select_subprotocol(self, subprotocols: list[str]) -> str | None:
        """Return our own subprotocol if the client offers it."""
        return SUBPROTOCOL if SUBPROTOCOL in subprotocols else None

    def open(self) -> None:
        """Become a viewer, or close with 4401 if the caller may not view."""
        try:
            self.context.auth.check_view(self._caller)
        except RequestError as error:
            self.close(CLOSE_LOGIN_REQUIRED, error.message)
            return
        connection = self.ws_connection
        if connection is None or connection.stream is None or connection.stream.closed():
            return  # the client closed it during the handshake
        if isinstance(connection.stream, Connection):
            auth = self.context.auth
            if not auth.admit_viewer(self.request, connection.stream, self._caller):
                self.close(TRY_AGAIN_LATER, "this address has too many connections")
                return
            connection.stream.on_large_response = None  # the hub bounds what waits here
        self._viewer = Viewer(connection, self._loop, self._caller, self.hub.limits)
        self.add_to_hub(self._viewer)
        log.debug("%s: open, %d viewers", self.subject, len(self.hub))

    @property
    def hub(self) -> Hub:
        """The hub of this socket."""
        raise NotImplementedError

    def add_to_hub(self, viewer: Viewer) -> None:
        """Send the first message, and add the viewer to the hub."""
        raise NotImplementedError

    def carry_out(self, text: str) -> tuple[Ref | None, str, asyncio.Future[Value]]:
        """Begin a command; return its `ref`, its pin, and the future of the pin's value.

        Raises RequestError.
        """
        raise NotImplementedError

    def on_message(self, message: str | bytes) -> None:
        """Begin the command in a message. Each message is answered with a result or an error."""
        viewer = self._viewer
        if not self.take() or viewer is None or viewer.is_closing:
            return
        try:
            if isinstance(message, bytes):
                raise RequestError("bad-message", "expected a text frame, got a binary one")
            # Named for each message, not while the socket is open: that would need the memory of
            # a coroutine for each viewer.
            with busy.on(self.subject):
                ref, pin, done = self.carry_out(message)
        except RequestError as error:
            self._send_error(viewer, error.ref, error)
        else:
            done.add_done_callback(partial(self._answer, viewer, ref, pin))

    def end(self, reason: str) -> None:
        """Send the error `too-fast`, and close."""
        if self._viewer is None:
            super().end(reason)
            return
        self._viewer.send_message(Error(None, "too-fast", reason))
        self._viewer.close(CLOSE_POLICY_VIOLATION, reason)

    def on_ping(self, data: bytes) -> None:
        """Count a ping, to which Tornado has written a pong past the viewer's queue."""
        if self._viewer:
            self._viewer.stream_was_written()
        self.take()

    def on_pong(self, data: bytes) -> None:
        """Count a pong, and note that the client still answers."""
        if self.take() and self._viewer:
            self._viewer.pong_received()

    def on_close(self) -> None:
        """Remove the viewer from its hub."""
        if self._viewer:
            self.hub.remove(self._viewer)
            log.debug("%s: closed, %d viewers", self.subject, len(self.hub))

    def _answer(
        self, viewer: Viewer, ref: Ref | None, pin: str, done: asyncio.Future[Value]
    ) -> None:
        try:
            viewer.send_message(Result(ref, pin, done.result()))
        except RequestError as error:
            self._send_error(viewer, ref, error)

    def _send_error(self, viewer: Viewer, ref: Ref | None, error: RequestError) -> None:
        viewer.send_message(Error(ref, error.code, error.message))


class Socket(ViewerSocket):
    """`/ws`: the viewers of this Pi."""

    @property
    def hub(self) -> Hub:
        """The viewers of this Pi."""
        return self.context.hub

    def add_to_hub(self, viewer: Viewer) -> None:
        """Send hello, add the viewer, and send the first health."""
        viewer.send_message(self.context.hello(self._caller))
        self.hub.add(viewer)
        viewer.send_message(self.context.status.machine_health())

    def carry_out(self, text: str) -> tuple[Ref | None, str, asyncio.Future[Value]]:
        """Begin a command to a pin of this Pi. Raises RequestError."""
        command = decode_command(text)
        with _with_ref(command.ref):
            pin = self.context.board[command.pin]
            self.context.auth.check_control(pin.config, self._caller)
            done = self.context.board.carry_out(command, self.context.auth.name(self._caller))
        return command.ref, command.pin, done


class FleetSocket(ViewerSocket):
    """`/fleet/ws`: the viewers of all Pis at the broker."""

    _fleet: Fleet

    async def prepare(self) -> None:
        """Check the caller as `/ws` does. Raises HTTPError, also if the fleet is off."""
        await super().prepare()
        if self.context.fleet is None:
            raise HTTPError(STATUS["not-found"], "%s", NO_FLEET)
        self._fleet = self.context.fleet
        """A reload may replace it in the context; this one then closes its viewers."""

    @property
    def hub(self) -> Hub:
        """The viewers of the fleet."""
        return self._fleet.hub

    def add_to_hub(self, viewer: Viewer) -> None:
        """Send hello, and add the viewer."""
        viewer.send_message(self.context.fleet_hello(self._fleet, self._caller))
        self.hub.add(viewer)

    def carry_out(self, text: str) -> tuple[Ref | None, str, asyncio.Future[Value]]:
        """Send a command to its Pi through the broker. Raises RequestError."""
        command = decode_remote_command(text)
        with _with_ref(command.ref):
            self.context.check_fleet(self._fleet, command, self._caller)
            done = self._fleet.carry_out(command, self.context.auth.name(self._caller))
        return command.ref, command.pin, done


@contextlib.contextmanager
def _with_ref(ref: Ref | None) -> Iterator[None]:
    """Add the `ref` of a command to a RequestError that is raised in the block."""
    try:
        yield
    except RequestError as error:
        raise RequestError(error.code, error.message, ref) from None
