"""The HTTP API: JSON in, JSON out.

No GET changes anything. Each class describes itself in `operations`, from which the OpenAPI
description is made.
"""

import contextlib
import time
from collections.abc import Mapping
from typing import Any, ClassVar, TypeVar

import msgspec
from msgspec import UNSET
from tornado.iostream import StreamClosedError

from .. import __version__, messages
from ..decoding import InputError, decode
from ..errors import STATUS, ErrorCode, RequestError
from ..messages import (
    NAME,
    ErrorAnswer,
    LoginRequest,
    LogoutRequest,
    PositionRequest,
    PulseRequest,
    SetRequest,
    ToggleRequest,
    encode,
)
from ..security.access import Caller
from .context import JSON_HEADERS, NO_FLEET, WebContext
from .cross_origin import allow_origin
from .handler import NamedHandler, OwnHTTPError, reason, write_plainly
from .openapi import Operation

_Body = TypeVar(
    "_Body",
    SetRequest,
    ToggleRequest,
    PulseRequest,
    PositionRequest,
    LoginRequest,
    LogoutRequest,
)

_BODIES: dict[Any, tuple[msgspec.json.Decoder[Any], str]] = {
    SetRequest: (msgspec.json.Decoder(SetRequest), '{"value":1}'),
    ToggleRequest: (msgspec.json.Decoder(ToggleRequest), '{"seconds":900}'),
    PulseRequest: (msgspec.json.Decoder(PulseRequest), '{"seconds":0.5}'),
    PositionRequest: (msgspec.json.Decoder(PositionRequest), '{"position":40}'),
    LoginRequest: (msgspec.json.Decoder(LoginRequest), '{"code":"abcde-fghjk-mnpqr"}'),
    LogoutRequest: (msgspec.json.Decoder(LogoutRequest), '{"path":"/"}'),
}
"""The decoder of each body, and an example for its errors."""
_COMMAND_ERRORS: tuple[ErrorCode, ...] = (
    "foreign",
    "not-allowed",
    "not-writable",
    "unknown-pin",
    "superseded",
    "unavailable",
    "bad-value",
)


class ApiHandler(NamedHandler):
    """A handler that answers in JSON, errors included."""

    operations: ClassVar[Mapping[str, Operation]] = {}
    is_for_all = False
    """True for requests that need no right to view."""
    is_for_own_pages = False
    """True for requests about cookies, which pages of `access.origins` do not get."""
    caller: Caller

    def initialize(self, context: WebContext) -> None:
        """Take the parts that the handler uses."""
        self.context = context

    def set_default_headers(self) -> None:
        """Set the headers of every answer in JSON, errors included."""
        for name, value in JSON_HEADERS.items():
            self.set_header(name, value)
        allow_origin(self)

    async def prepare(self) -> None:
        """Check origin, method and rights before the method runs. Raises RequestError."""
        auth = self.context.auth
        if self.request.method not in ("GET", "HEAD"):
            auth.check_origin(self.request, self.is_for_own_pages)
        if str(self.request.method).lower() not in self.methods():
            raise RequestError("method", f"expected {', '.join(self.methods()).upper()}")
        self.caller = await auth.caller(self.request)
        if not self.is_for_all:
            auth.check_view(self.caller)

    @classmethod
    def methods(cls) -> list[str]:
        """Return the methods of this path, in lower case."""
        return [*cls.operations, "head"] if "get" in cls.operations else [*cls.operations]

    def compute_etag(self) -> str | None:
        """Return None: each answer has another time."""
        return None

    def answer(self, message: object) -> None:
        """Finish the request with a struct."""
        self.finish(encode(message))

    async def carry_out(self, command: messages.Command) -> None:
        """Carry out a command, and answer with the pin's new state. Raises RequestError."""
        pin = self.context.board[command.pin]
        self.context.auth.check_control(pin.config, self.caller)
        await self.context.board.carry_out(command, self.context.auth.name(self.caller))
        self.answer(self.context.pin(pin, self.caller))

    def body(self, kind: type[_Body]) -> _Body:
        """Return the body of the request; an empty one is an empty object. Raises RequestError."""
        decoder, example = _BODIES[kind]
        try:
            found: _Body = decode(decoder, self.request.body or b"{}", example)
        except InputError as error:
            raise RequestError(
                "bad-value" if error.is_json else "bad-message", str(error)
            ) from None
        return found

    def log_exception(self, *exc_info: Any) -> None:
        """Log an unexpected exception. A RequestError is the client's and is not logged."""
        if not isinstance(exc_info[1], RequestError):
            super().log_exception(*exc_info)

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Answer every error in JSON; a RequestError brings its own code and text."""
        error = kwargs.get("exc_info", (None, None, None))[1]
        if isinstance(error, RequestError):
            self.set_status(STATUS[error.code])
        else:
            by_status = {status: code for code, status in reversed(STATUS.items())}
            code = by_status.get(status_code, "internal" if status_code >= 500 else "bad-message")
            error = RequestError(code, reason(self, kwargs.get("exc_info")))
        if error.code == "sign-in":
            self.set_header("WWW-Authenticate", "Bearer")
            # All browsers call themselves Mozilla. They would show a dialog above our own page, and
            # from then on send the code with each request, whether the page is signed in or not.
            if not self.request.headers.get("User-Agent", "").startswith("Mozilla/"):
                self.add_header("WWW-Authenticate", f'Basic realm="{NAME}", charset="UTF-8"')
        if error.code == "method":
            self.set_header("Allow", ", ".join(self.methods()).upper())
        self.finish(encode(ErrorAnswer.of(error)))


class Index(ApiHandler):
    """`/api`."""

    operations = {"get": Operation("The index of the API", messages.Api)}

    def get(self) -> None:
        """Answer with name, version, and links to the rest of the API, relative to this address."""
        server = self.context.status.server_info()
        links = {
            "hello": "api/hello",
            "pins": "api/pins",
            "covers": "api/covers",
            "schedules": "api/schedules",
            "rules": "api/rules",
            "plan": "api/plan",
            "history": "api/history",
            "header": "api/header",
            "events": "api/events",
            "health": "api/health",
            "openapi": "api/openapi.json",
            "websocket": "ws",
        }
        if self.context.fleet:
            links["fleet"] = "api/fleet"
        self.answer(
            messages.Api(
                name=NAME,
                version=__version__,
                host=server.host,
                simulated=server.simulated,
                time=time.time(),
                links=links,
            )
        )

    head = get


class Hello(ApiHandler):
    """`/api/hello`."""

    operations = {"get": Operation("The first message of the WebSocket", messages.Hello)}

    def get(self) -> None:
        """Answer with the `hello` of `/ws`, for clients that poll."""
        self.answer(self.context.hello(self.caller))

    head = get


class AllPins(ApiHandler):
    """`/api/pins`."""

    operations = {"get": Operation("All pins, in the order of the configuration", messages.Pins)}

    def get(self) -> None:
        """Answer with all pins as the caller may see them."""
        self.answer(messages.Pins(time.time(), self.context.pins(self.caller)))

    head = get


class OnePin(ApiHandler):
    """`/api/pins/NAME`."""

    operations = {
        "get": Operation("One pin", messages.PinInfo, errors=("unknown-pin",)),
        "put": Operation(
            "Switch or dim a pin", messages.PinInfo, SetRequest, errors=_COMMAND_ERRORS
        ),
        "post": Operation("The same as PUT", messages.PinInfo, SetRequest, errors=_COMMAND_ERRORS),
    }

    def get(self, name: str) -> None:
        """Answer with the pin. Raises RequestError if there is none of this name."""
        self.answer(self.context.pin(self.context.board[name], self.caller))

    head = get

    async def put(self, name: str) -> None:
        """Set the pin to the `value` of the body. Raises RequestError."""
        body = self.body(SetRequest)
        await self.carry_out(messages.Set(pin=name, value=body.value, seconds=body.seconds))

    post = put


class TogglePin(ApiHandler):
    """`/api/pins/NAME/toggle`."""

    operations = {
        "post": Operation(
            "Off if it is on, else on",
            messages.PinInfo,
            ToggleRequest,
            body_required=False,
            errors=_COMMAND_ERRORS,
        )
    }

    async def post(self, name: str) -> None:
        """Switch the pin to its other value. Raises RequestError."""
        seconds = self.body(ToggleRequest).seconds
        await self.carry_out(messages.Toggle(pin=name, seconds=seconds))


class PulsePin(ApiHandler):
    """`/api/pins/NAME/pulse`."""

    operations = {
        "post": Operation(
            "On for some seconds, else for the pin's own pulse",
            messages.PinInfo,
            PulseRequest,
            body_required=False,
            errors=_COMMAND_ERRORS,
        )
    }

    async def post(self, name: str) -> None:
        """Start a pulse of the `seconds` of the body, if any. Raises RequestError."""
        await self.carry_out(messages.Pulse(pin=name, seconds=self.body(PulseRequest).seconds))


class AutoPin(ApiHandler):
    """`/api/pins/NAME/auto`."""

    operations = {
        "post": Operation(
            "Rules, schedules or the default decide again",
            messages.PinInfo,
            errors=_COMMAND_ERRORS,
        )
    }

    async def post(self, name: str) -> None:
        """End what people claim of the pin. Raises RequestError."""
        await self.carry_out(messages.Auto(pin=name))


class Health(ApiHandler):
    """`/api/health`.

    Monitors and `install.sh` read the status, so callers that may not view get it as well.
    """

    is_for_all = True
    operations = {
        "get": Operation(
            "The health of the machine and of the server; 503 only if it is failing",
            messages.Health,
            statuses=(200, 503),
            answer_without_view=messages.HealthStatus,
        ),
    }

    def get(self) -> None:
        """Answer with the health, or with the status alone to callers that may not view."""
        health = self.context.status.health(self.context.sees_details(self.caller))
        if health.status == "failing":
            self.set_status(503)
        may_view = self.context.auth.may_view(self.caller)
        self.answer(health if may_view else messages.HealthStatus(health.status))

    head = get


class Header(ApiHandler):
    """`/api/header`."""

    operations = {
        "get": Operation("Every position of the 40-pin header, and what uses it", messages.Header)
    }

    def get(self) -> None:
        """Answer with the function and the user of each of the 40 positions."""
        board = self.context.board
        self.answer(messages.Header(board.model, board.header()))

    head = get


class Metrics(ApiHandler):
    """`/metrics` for Prometheus."""

    operations = {"get": Operation("Metrics for Prometheus", None)}

    def get(self) -> None:
        """Answer with the metrics as text. Raises RequestError if they are off."""
        if self.context.metrics is None:
            raise RequestError("not-found", "metrics are off: add metrics: true to config.yaml")
        self.set_header("Content-Type", self.context.metrics.content_type)
        self.finish(self.context.metrics.text())

    head = get


class Fleet(ApiHandler):
    """`/api/fleet`."""

    operations = {"get": Operation("All Pis at the broker", messages.Fleet, errors=("not-found",))}

    async def get(self) -> None:
        """Send the fleet in parts, as fast as the client reads. Raises RequestError if off."""
        fleet = self.context.fleet
        if fleet is None:
            raise RequestError("not-found", NO_FLEET)
        await fleet.refresh()
        with contextlib.suppress(StreamClosedError):  # the client has closed the connection
            for part in fleet.parts():
                self.write(part)
                await self.flush()

    async def head(self) -> None:
        """Answer without a body. Raises RequestError if the fleet is off."""
        if self.context.fleet is None:
            raise RequestError("not-found", NO_FLEET)


class Login(ApiHandler):
    """`/api/login`."""

    is_for_all = is_for_own_pages = True
    operations = {
        "post": Operation(
            "A code, or the token of a link that `raspi-server code --qr` shows, for a cookie",
            messages.LoginAnswer,
            LoginRequest,
            errors=("foreign", "bad-value", "unavailable"),
        )
    }

    async def post(self) -> None:
        """Begin a session for the code or token of the body. Raises RequestError."""
        auth, asked = self.context.auth, self.body(LoginRequest)
        token, code = (None if each is UNSET else each for each in (asked.token, asked.code))
        found = await auth.caller(self.request, code, token)
        assert found.code, "it is known by a code or by a link, which was made for a code"
        if token and auth.is_stronger(self.caller, found.code):
            self._answer(self.caller)
            return
        self._answer(await auth.begin_session(self, found.code, asked.path))
        self.context.close_ended_sessions()  # now that the browser has its new cookie

    def _answer(self, caller: Caller) -> None:
        auth = self.context.auth
        self.answer(messages.LoginAnswer(auth.right(caller), auth.role(caller)))


class Logout(ApiHandler):
    """`/api/logout`."""

    is_for_all = is_for_own_pages = True
    operations = {
        "post": Operation(
            "End the session, its sockets and its cookie",
            messages.LoginAnswer,
            LogoutRequest,
            body_required=False,
            errors=("foreign", "bad-value"),
        )
    }

    async def post(self) -> None:
        """End the caller's session, and close its WebSockets."""
        written = self.context.auth.end_session(self, self.body(LogoutRequest).path)
        self.context.close_ended_sessions()
        if written:
            await written
        anonymous = Caller(self.caller.address)
        self.answer(messages.LoginAnswer(self.context.auth.right(anonymous), None))


class Rejected(ApiHandler):
    """A request of any path and method that is rejected before it reaches a route."""

    def initialize(  # type: ignore[override]
        self, context: WebContext, error: RequestError
    ) -> None:
        """Take the error to answer with."""
        super().initialize(context)
        self._error = error

    async def prepare(self) -> None:
        """Raise the error before any method runs."""
        raise self._error

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Answer in JSON below /api, else in text; also for methods that Tornado rejects."""
        if self.request.path.startswith(("/api", "/metrics")):
            super().write_error(status_code, exc_info=(None, self._error, None))
        else:
            self.set_status(STATUS[self._error.code])
            http_error = OwnHTTPError(self.get_status(), self._error.message)
            write_plainly(self, (None, http_error, None))


class Unknown(ApiHandler):
    """Any other path below /api/."""

    async def prepare(self) -> None:
        """Raise RequestError for every method."""
        raise RequestError("not-found", f"there is nothing at {self.request.path[:80]}")
