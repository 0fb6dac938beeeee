"""The HTTP API: JSON in, JSON out. No GET changes anything; each class says what it does in
`operations`, from which the OpenAPI description is made."""

import contextlib
import time
from collections.abc import Mapping
from typing import Any, ClassVar, TypeVar

import msgspec
from tornado.iostream import StreamClosedError
from tornado.web import HTTPError, RequestHandler

from .. import __version__, messages
from ..messages import (
    NAME,
    STATUS,
    ErrorCode,
    Failure,
    Pulsing,
    Refused,
    Setting,
    SigningIn,
    encode,
)
from ..security.access import Caller
from .context import JSON_HEADERS, NO_FLEET, Site, reason, write_plainly
from .openapi import Operation

_Body = TypeVar("_Body", Setting, Pulsing, SigningIn)

_COMMAND: tuple[ErrorCode, ...] = (
    "foreign",
    "not-allowed",
    "not-writable",
    "unknown-pin",
    "superseded",
    "unavailable",
    "bad-value",
)


class ApiHandler(RequestHandler):
    operations: ClassVar[Mapping[str, Operation]] = {}
    is_for_all = False
    """Also for those who may not look."""
    caller: Caller

    def initialize(self, site: Site) -> None:
        self.site = site

    def __str__(self) -> str:
        return f"{self.request.method} {self.request.path[:80]}"

    def set_default_headers(self) -> None:
        for name, value in JSON_HEADERS.items():
            self.set_header(name, value)

    async def prepare(self) -> None:
        auth = self.site.auth
        if self.request.method not in ("GET", "HEAD"):
            auth.check_origin(self.request)
        if str(self.request.method).lower() not in self.methods():
            raise Refused("method", f"expected {', '.join(self.methods()).upper()}")
        self.caller = await auth.caller(self.request)
        if not self.is_for_all:
            auth.check_view(self.caller)

    @classmethod
    def methods(cls) -> list[str]:
        return [*cls.operations, "head"] if "get" in cls.operations else [*cls.operations]

    def compute_etag(self) -> str | None:
        return None  # the next answer is another anyway

    def answer(self, message: object) -> None:
        self.finish(encode(message))

    async def carry_out(self, command: messages.Command) -> None:
        """Answers with the pin as it is after the command."""
        slot = self.site.board[command.pin]
        self.site.auth.check_control(slot.config, self.caller)
        await self.site.board.carry_out(command, self.site.auth.name(self.caller))
        self.answer(self.site.pin(slot, self.caller))

    def body(self, kind: type[_Body]) -> _Body:
        """The request's body. Raises Refused; an empty one is an empty object."""
        try:
            return msgspec.json.decode(self.request.body or b"{}", type=kind)
        except msgspec.ValidationError as error:
            raise Refused("bad-value", str(error)) from None
        except messages.UNREADABLE as error:
            raise Refused("bad-message", f"expected JSON: {error}") from None

    def log_exception(self, *exc_info: Any) -> None:
        if not isinstance(exc_info[1], Refused):
            super().log_exception(*exc_info)

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Every failure as JSON. A command that was refused carries its own words."""
        error = kwargs.get("exc_info", (None, None, None))[1]
        if isinstance(error, Refused):
            self.set_status(STATUS[error.code])
            code, message = error.code, error.message
        else:
            by_status = {status: code for code, status in reversed(STATUS.items())}
            code = by_status.get(status_code, "internal" if status_code >= 500 else "bad-message")
            message = reason(self, kwargs.get("exc_info"))
        if code == "sign-in":
            self.set_header("WWW-Authenticate", "Bearer")
        if code == "method":
            self.set_header("Allow", ", ".join(self.methods()).upper())
        self.finish(encode(Failure.of(code, message)))


class Index(ApiHandler):
    operations = {"get": Operation("What this is, and where things are", messages.Api)}

    def get(self) -> None:
        server = self.site.server()
        links = {
            "hello": "/api/hello",
            "pins": "/api/pins",
            "history": "/api/history",
            "header": "/api/header",
            "health": "/api/health",
            "openapi": "/api/openapi.json",
            "websocket": "/ws",
        }
        if self.site.fleet:
            links["fleet"] = "/api/fleet"
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
    operations = {
        "get": Operation("What a page begins with, as the WebSocket tells it", messages.Hello)
    }

    def get(self) -> None:
        self.answer(self.site.hello(self.caller))

    head = get


class AllPins(ApiHandler):
    operations = {"get": Operation("All pins, in the order of the configuration", messages.Pins)}

    def get(self) -> None:
        self.answer(messages.Pins(time.time(), self.site.pins(self.caller)))

    head = get


class OnePin(ApiHandler):
    operations = {
        "get": Operation("One pin", messages.Pin, refusals=("unknown-pin",)),
        "put": Operation("Switch or dim a pin", messages.Pin, Setting, refusals=_COMMAND),
    }

    def get(self, name: str) -> None:
        self.answer(self.site.pin(self.site.board[name], self.caller))

    head = get

    async def put(self, name: str) -> None:
        await self.carry_out(messages.Set(pin=name, value=self.body(Setting).value))


class TogglePin(ApiHandler):
    operations = {"post": Operation("Off if it is on, else on", messages.Pin, refusals=_COMMAND)}

    async def post(self, name: str) -> None:
        await self.carry_out(messages.Toggle(pin=name))


class PulsePin(ApiHandler):
    operations = {
        "post": Operation(
            "On for some seconds, else for the pin's own pulse",
            messages.Pin,
            Pulsing,
            body_required=False,
            refusals=_COMMAND,
        )
    }

    async def post(self, name: str) -> None:
        await self.carry_out(messages.Pulse(pin=name, seconds=self.body(Pulsing).seconds))


class Health(ApiHandler):
    """Monitors and `install.sh` go by the status, so it is told to those, too, who may not look."""

    is_for_all = True
    operations = {
        "get": Operation(
            "The machine's pulse, and whether all is well; 503 only if it fails",
            messages.Report,
            statuses=(200, 503),
            answer_without_view=messages.Status,
        ),
    }

    def get(self) -> None:
        report = self.site.report(self.site.sees_details(self.caller))
        if report.status == "failing":
            self.set_status(503)
        may_view = self.site.auth.may_view(self.caller)
        self.answer(report if may_view else messages.Status(report.status))

    head = get


class Header(ApiHandler):
    operations = {
        "get": Operation("Every position of the 40-pin header, and who holds it", messages.Header)
    }

    def get(self) -> None:
        board = self.site.board
        self.answer(messages.Header(board.model, board.header()))

    head = get


class Metrics(ApiHandler):
    """`/metrics`, as Prometheus asks for it; a description of its own is in its HELP lines."""

    operations = {"get": Operation("Numbers for Prometheus", None)}

    def get(self) -> None:
        if self.site.metrics is None:
            message = "there is nothing at /metrics: config.yaml does not say metrics: true"
            raise Refused("not-found", message)
        self.set_header("Content-Type", self.site.metrics.content_type)
        self.finish(self.site.metrics.text())

    head = get


class Fleet(ApiHandler):
    operations = {
        "get": Operation("All Pis at the broker", messages.Fleet, refusals=("not-found",))
    }

    async def get(self) -> None:
        fleet = self.site.fleet
        if fleet is None:
            raise Refused("not-found", NO_FLEET)
        await fleet.refresh()
        with contextlib.suppress(StreamClosedError):  # nobody reads on
            for part in fleet.parts():
                self.write(part)
                await self.flush()

    async def head(self) -> None:
        if self.site.fleet is None:
            raise Refused("not-found", NO_FLEET)


class SignIn(ApiHandler):
    is_for_all = True
    operations = {
        "post": Operation(
            "A code, or the token of a link that `raspi-server code --qr` shows, for a cookie",
            messages.SignedIn,
            SigningIn,
            refusals=("foreign", "bad-value", "unavailable"),
        )
    }

    async def post(self) -> None:
        auth, caller, asked = self.site.auth, self.caller, self.body(SigningIn)
        if asked.token:
            code = auth.take_link(asked.token)
            if auth.is_stronger(caller, code):
                self._answer(caller)
                return
        else:
            assert asked.code, "one of them is there"
            code = await auth.sign_in(asked.code, caller.address)
        self._answer(await auth.begin_session(self, code))
        self.site.dismiss()  # now that the browser has its new cookie

    def _answer(self, caller: Caller) -> None:
        auth = self.site.auth
        self.answer(messages.SignedIn(auth.right(caller), auth.role(caller)))


class SignOut(ApiHandler):
    is_for_all = True
    operations = {
        "post": Operation(
            "End the session, its sockets and its cookie", messages.SignedIn, refusals=("foreign",)
        )
    }

    async def post(self) -> None:
        written = self.site.auth.end_session(self)
        self.site.dismiss()
        if written:
            await written
        nobody = Caller(self.caller.address)
        self.answer(messages.SignedIn(self.site.auth.right(nobody), None))


class Refusing(ApiHandler):
    """Whatever is asked for, by any method: refused before it reaches a route."""

    def initialize(self, site: Site, refused: Refused) -> None:  # type: ignore[override]
        super().initialize(site)
        self._refused = refused

    async def prepare(self) -> None:
        raise self._refused

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Answer programs in JSON, and people in words; also by a method that Tornado refuses."""
        if self.request.path.startswith(("/api", "/metrics")):
            super().write_error(status_code, exc_info=(None, self._refused, None))
        else:
            self.set_status(STATUS[self._refused.code])
            error = HTTPError(self.get_status(), "%s", self._refused.message)
            write_plainly(self, (None, error, None))


class Unknown(ApiHandler):
    """Whatever else is asked for below /api/."""

    async def prepare(self) -> None:
        raise Refused("not-found", f"there is nothing at {self.request.path[:80]}")
