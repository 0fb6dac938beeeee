"""The WebSockets `/ws` and `/fleet/ws`.

Each sends hello, passes commands to the board or the fleet, and answers each of them.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Coroutine
from functools import partial
from typing import Any

import msgspec
from tornado.websocket import WebSocketHandler, WebSocketProtocol, WebSocketProtocol13

from ..errors import STATUS, Ref, RequestError
from ..messages import (
    HEADERS,
    MAX_MESSAGE_BYTES,
    SUBPROTOCOL,
    Command,
    CoverCommand,
    CoverResult,
    Error,
    FleetHello,
    Hello,
    RemoteCommand,
    RemoteMove,
    Result,
    SignIn,
    Value,
    decode_message,
    decode_remote_message,
)
from ..net.backpressure import TRY_AGAIN_LATER, Viewer
from ..net.connections import Connection
from ..net.hub import Hub
from ..net.rate_limit import TokenBucket
from ..security.access import Caller, presents_bearer
from ..system import busy
from .context import CLOSE_LOGIN_REQUIRED, NO_FLEET, Fleet, WebContext
from .handler import OwnHTTPError, write_plainly

CLOSE_POLICY_VIOLATION = 1008
CLOSE_TOO_LARGE = 1009
_HOW_TO_UPGRADE = (
    "expected a WebSocket, with the headers Upgrade: websocket, Connection: Upgrade,"
    " Sec-WebSocket-Key and Sec-WebSocket-Version; a proxy in between has to pass them on"
)

log = logging.getLogger(__name__)


class _FrameCountingProtocol(WebSocketProtocol13):
    """Tornado's protocol, which also counts frames that are a part of a message.

    Tornado itself reports only whole messages, pings and pongs to its handler.
    """

    handler: "RateLimitedSocket"

    def close(self, code: int | None = None, reason: str | None = None) -> None:
        if code == CLOSE_TOO_LARGE:
            reason = f"expected a message of at most {MAX_MESSAGE_BYTES} bytes"
        super().close(code, reason)

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

    def get(self, *args: Any, **named: Any) -> Coroutine[Any, Any, None]:
        """Begin the handshake. Raises OwnHTTPError for a request that is none."""
        headers = self.request.headers
        connection = [each.strip() for each in headers.get("Connection", "").lower().split(",")]
        is_upgrade = headers.get("Upgrade", "").lower() == "websocket" and "upgrade" in connection
        if not is_upgrade or not {"Sec-Websocket-Key", "Sec-Websocket-Version"} <= headers.keys():
            raise OwnHTTPError(400, _HOW_TO_UPGRADE)
        return super().get(*args, **named)  # not awaited here, for the memory of each viewer

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

    def on_message(self, message: str | bytes) -> Awaitable[None] | None:
        """Count a message."""
        self.take()
        return None

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
        self._is_viewing = False
        self._ends: asyncio.TimerHandle | None = None
        """The end of the time to sign in."""

    @property
    def subject(self) -> str:
        """The socket in a few words."""
        return f"the WebSocket of {self.request.remote_ip}"

    async def prepare(self) -> None:
        """Check the origin, and identify the caller. Raises OwnHTTPError.

        A program may have any `Origin`, since some libraries send one of their own. It is known by
        `Authorization: Bearer`, which no page can send.
        """
        try:
            if not presents_bearer(self.request):
                self.context.auth.check_origin(self.request)
            self._caller = await self.context.auth.caller(self.request)
        except RequestError as error:
            hint = "; a program may, with Authorization: Bearer CODE" * (error.code == "foreign")
            raise OwnHTTPError(STATUS[error.code], error.message + hint) from None

    def check_origin(self, origin: str) -> bool:
        """Return True: `prepare` has checked it, with the names of `access.hosts`."""
        return True

    def select_subprotocol(self, subprotocols: list[str]) -> str | None:
        """Return our own subprotocol if the client offers it."""
        return SUBPROTOCOL if SUBPROTOCOL in subprotocols else None

    def open(self) -> None:
        """Become a viewer. A caller that may not view gets an error, and time to sign in."""
        connection = self.ws_connection
        if connection is None or connection.stream is None or connection.stream.closed():
            return  # the client closed it during the handshake
        if isinstance(connection.stream, Connection):
            auth = self.context.auth
            if not auth.admit_viewer(self.request, connection.stream, self._caller):
                self.close(TRY_AGAIN_LATER, "this address has too many connections")
                return
            connection.stream.on_large_response = None  # the hub bounds what waits here
        self._stream = connection.stream
        self._viewer = Viewer(connection, self._loop, self._caller, self.hub.limits)
        try:
            self._begin(self._viewer)
        except RequestError as error:
            self.hub.add_waiting(self._viewer)
            self._send_error(self._viewer, None, error)
            timeout_s = self.context.limits.sign_in_timeout_s
            close = partial(self._viewer.close, CLOSE_LOGIN_REQUIRED, error.message)
            self._ends = self._loop.call_later(timeout_s, close)

    def _begin(self, viewer: Viewer) -> None:
        """Add a viewer to the hub and send what comes first. Raises RequestError."""
        self.context.auth.check_view(viewer.caller)
        if self._ends:
            self._ends.cancel()
        viewer.send_message(self.hello(viewer.caller))
        if not self._is_viewing:
            self._is_viewing = True
            self.hub.add(viewer)
            self.send_rest(viewer)
            log.debug("%s: open, %d viewers", self.subject, len(self.hub))

    async def _sign_in(self, viewer: Viewer, asked: SignIn) -> None:
        """Give a viewer the rights of a code, and a new hello; after a failure, an error."""
        try:
            viewer.caller = await self.context.auth.caller(self.request, asked.code)
            assert viewer.caller.code, "it is known by its code"
            self.context.auth.protect(self._stream, viewer.caller.code)
            if not viewer.is_closing:
                self._begin(viewer)
        except RequestError as error:
            self._send_error(viewer, asked.ref, error)
            if not self._is_viewing:
                viewer.close(CLOSE_LOGIN_REQUIRED, error.message)

    @property
    def hub(self) -> Hub:
        """The hub of this socket."""
        raise NotImplementedError

    def hello(self, caller: Caller) -> object:
        """Return the first message to a viewer."""
        raise NotImplementedError

    def send_rest(self, viewer: Viewer) -> None:
        """Send what follows the first hello."""

    def decode(self, text: str) -> SignIn | Command | CoverCommand | RemoteCommand:
        """Return the message in a text frame. Raises RequestError."""
        raise NotImplementedError

    def carry_out(self, command: Any, caller: Caller) -> asyncio.Future[Any]:
        """Begin a command; return the future of the pin's value, or of the answer of a cover.

        Raises RequestError."""
        raise NotImplementedError

    def move(self, command: CoverCommand, caller: Caller) -> CoverResult:
        """Begin a command to a cover; return the answer. Raises RequestError."""
        raise NotImplementedError

    def on_message(self, message: str | bytes) -> Awaitable[None] | None:
        """Begin the command in a message. Each message is answered with a result or an error.

        Return what Tornado awaits before it reads on: a sign-in, after which come commands.
        """
        viewer = self._viewer
        if not self.take() or viewer is None or viewer.is_closing:
            return None
        ref = None
        try:
            if isinstance(message, bytes):
                raise RequestError("bad-message", "expected a text frame, got a binary one")
            # Named for each message, not while the socket is open: that would need the memory of
            # a coroutine for each viewer.
            with busy.on(self.subject):
                asked = self.decode(message)
                ref = asked.ref
                if isinstance(asked, SignIn):
                    return self._sign_in(viewer, asked)
                self.context.auth.check_view(viewer.caller)
                if isinstance(asked, CoverCommand):
                    viewer.send_message(self.move(asked, viewer.caller))
                    return None
                done = self.carry_out(asked, viewer.caller)
        except RequestError as error:
            self._send_error(viewer, ref if error.ref is None else error.ref, error)
            if not self._is_viewing:
                viewer.close(CLOSE_LOGIN_REQUIRED, error.message)
        else:
            pin = "" if isinstance(asked, RemoteMove) else asked.pin
            done.add_done_callback(partial(self._answer, viewer, ref, pin))
        return None

    def end(self, reason: str) -> None:
        """Send the error `too-fast`, and close."""
        if self._viewer is None:
            super().end(reason)
            return
        self._viewer.send_message(Error.of(RequestError("too-fast", reason)))
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
        if self._ends:
            self._ends.cancel()
        if self._viewer:
            self.hub.remove(self._viewer)
            log.debug("%s: closed, %d viewers", self.subject, len(self.hub))

    def _answer(
        self, viewer: Viewer, ref: Ref | None, pin: str, done: asyncio.Future[Value | CoverResult]
    ) -> None:
        try:
            found = done.result()
            if isinstance(found, CoverResult):
                viewer.send_message(msgspec.structs.replace(found, ref=ref))
            else:
                viewer.send_message(Result(ref, pin, found))
        except RequestError as error:
            self._send_error(viewer, ref, error)

    def _send_error(self, viewer: Viewer, ref: Ref | None, error: RequestError) -> None:
        viewer.send_message(Error.of(error, ref))


class Socket(ViewerSocket):
    """`/ws`: the viewers of this Pi."""

    @property
    def hub(self) -> Hub:
        """The viewers of this Pi."""
        return self.context.hub

    def hello(self, caller: Caller) -> Hello:
        """Return the pins as the caller may see them, and its rights."""
        return self.context.hello(caller)

    def send_rest(self, viewer: Viewer) -> None:
        """Send the first health."""
        viewer.send_message(self.context.status.machine_health())

    def decode(self, text: str) -> SignIn | Command | CoverCommand:
        """Return a command to a pin or a cover of this Pi. Raises RequestError."""
        return decode_message(text)

    def carry_out(self, command: Command, caller: Caller) -> asyncio.Future[Value]:
        """Begin a command to a pin of this Pi. Raises RequestError."""
        pin = self.context.board[command.pin]
        self.context.auth.check_control(pin.config, caller)
        return self.context.board.carry_out(command, self.context.auth.name(caller))

    def move(self, command: CoverCommand, caller: Caller) -> CoverResult:
        """Begin a command to a cover of this Pi. Raises RequestError."""
        cover = self.context.carry_out_cover(command, caller)
        return CoverResult(command.ref, cover.name, cover.state, cover.position)


class FleetSocket(ViewerSocket):
    """`/fleet/ws`: the viewers of all Pis at the broker."""

    _fleet: Fleet

    async def prepare(self) -> None:
        """Check the caller as `/ws` does. Raises OwnHTTPError, also if the fleet is off."""
        await super().prepare()
        if self.context.fleet is None:
            raise OwnHTTPError(STATUS["not-found"], NO_FLEET)
        self._fleet = self.context.fleet
        """A reload may replace it in the context; this one then closes its viewers."""

    @property
    def hub(self) -> Hub:
        """The viewers of the fleet."""
        return self._fleet.hub

    def hello(self, caller: Caller) -> FleetHello:
        """Return the rights of the caller."""
        return self.context.fleet_hello(self._fleet, caller)

    def decode(self, text: str) -> SignIn | RemoteCommand:
        """Return a command to a pin or a cover of any Pi. Raises RequestError."""
        return decode_remote_message(text)

    def carry_out(
        self, command: RemoteCommand, caller: Caller
    ) -> asyncio.Future[Value | CoverResult]:
        """Send a command to its Pi through the broker. Raises RequestError."""
        self.context.check_fleet(self._fleet, command, caller)
        return self._fleet.carry_out(command, self.context.auth.name(caller))
