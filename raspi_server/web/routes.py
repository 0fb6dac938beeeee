"""Routes of HTTP and WebSocket: the whole table at the end of this file, on one screen."""

import logging
import re
import sys
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from tornado.http1connection import HTTP1Connection
from tornado.httputil import HTTPConnection, HTTPMessageDelegate, HTTPServerRequest
from tornado.web import Application, RequestHandler, stream_request_body

from .. import __version__
from ..errors import RequestError
from ..messages import MAX_MESSAGE_BYTES
from . import (
    api,
    automation_api,
    cover_api,
    events_api,
    history_api,
    hooks,
    openapi,
    plain,
    probes,
    trust,
)
from .context import WebContext
from .cross_origin import CONTEXT, Preflight
from .handler import shown_path
from .openapi import Operation
from .receiving import Reception, declared_bytes
from .static import Files, VersionedFiles
from .websocket import FleetSocket, Socket

log = logging.getLogger(__name__)


class OpenApi(api.ApiHandler):
    """`/api/openapi.json`."""

    operations: ClassVar[Mapping[str, Operation]] = {"get": Operation("This document", None)}

    def get(self) -> None:
        """Answer with the description of all routes in `API`."""
        described = [(path, handler.operations) for path, handler in API]
        self.answer(openapi.document(described, __version__))

    head = get


def log_request(handler: RequestHandler) -> None:
    """Log a request at debug level. Errors of the server are logged where they are raised."""
    log.debug(
        "%s %s: %d, for %s",
        str(handler.request.method)[:16],
        shown_path(handler.request),
        handler.get_status(),
        handler.request.remote_ip,
    )


class _Guarded(Application):
    """Routes that check the `Host` and the declared body of every request first."""

    def __init__(
        self, context: WebContext, routes: Iterable[tuple[str, type[RequestHandler]]]
    ) -> None:
        self._context = context
        arguments: dict[str, Any] = {"context": context}
        settings: dict[str, Any] = {CONTEXT: context}
        super().__init__(
            [(path, handler, arguments) for path, handler in routes],
            log_function=log_request,
            **settings,
            websocket_max_message_size=MAX_MESSAGE_BYTES,
        )

    def find_handler(self, request: HTTPServerRequest, **named: Any) -> Any:
        max_bytes = self._context.limits.max_body_bytes
        is_too_large = declared_bytes(request) > max_bytes
        auth = self._context.auth
        auth.identify(request)
        probe = probes.answer(request)
        if probe and not declared_bytes(request):
            return self.get_handler_delegate(request, probes.Probe, {"answer": probe})
        try:
            auth.check_host(request)
            if not request.path.startswith("/"):  # `*`, or a whole URL, as one asks a proxy
                raise RequestError("not-found", "expected a path that begins with /")
            if is_too_large:
                raise RequestError("too-large", f"expected a body of at most {max_bytes} bytes")
        except RequestError as error:
            arguments = {"context": self._context, "error": error}
            handler = TooLarge if is_too_large else api.Rejected
            return self.get_handler_delegate(request, handler, arguments)
        is_preflight = "Access-Control-Request-Method" in request.headers
        if request.method == "OPTIONS" and is_preflight and auth.listed_origin(request):
            return self.get_handler_delegate(request, Preflight)
        return super().find_handler(request, **named)

    def start_request(
        self, server_conn: object, request_conn: HTTPConnection
    ) -> HTTPMessageDelegate:
        assert isinstance(request_conn, HTTP1Connection)
        inner = super().start_request(server_conn, request_conn)
        return Reception(inner, request_conn, self._context.limits.body_timeout_s)


@stream_request_body
class TooLarge(api.Rejected):
    """Rejection of a request whose declared body is too large.

    The body is not read, and the connection closes. A body in chunks declares no size: Tornado
    reads it up to the same limit and answers with a bare 400.
    """

    async def prepare(self) -> None:
        """Raise the error, and keep Tornado from reading the body."""
        # Tornado would add its own answer to this one.
        assert isinstance(self.request.connection, HTTP1Connection)
        self.request.connection.set_max_body_size(sys.maxsize)
        await super().prepare()

    def data_received(self, chunk: bytes) -> None:
        """Ignore what is still read before the connection closes."""


def application(context: WebContext) -> Application:
    """Return all routes, in the order in which they are tried."""
    described = [(re.sub(r"{\w+}", "([^/]+)", path), handler) for path, handler in API]
    return _Guarded(context, (*described, *OTHERS))


def plain_application(context: WebContext) -> Application:
    """Return the routes of plain HTTP where HTTPS is on: no pin data, and nothing that signs in."""
    return _Guarded(context, trust.PLAIN_ROUTES)


API: tuple[tuple[str, type[api.ApiHandler]], ...] = (
    ("/api", api.Index),
    ("/api/hello", api.Hello),
    ("/api/pins", api.AllPins),
    ("/api/pins/{name}", api.OnePin),
    ("/api/pins/{name}/toggle", api.TogglePin),
    ("/api/pins/{name}/pulse", api.PulsePin),
    ("/api/pins/{name}/auto", api.AutoPin),
    ("/api/pins/{name}/history", history_api.OneHistory),
    ("/api/covers", cover_api.AllCovers),
    ("/api/covers/{name}", cover_api.OneCover),
    ("/api/covers/{name}/open", cover_api.OpenCover),
    ("/api/covers/{name}/close", cover_api.CloseCover),
    ("/api/covers/{name}/stop", cover_api.StopCover),
    ("/api/schedules", automation_api.AllSchedules),
    ("/api/schedules/{name}/pause", automation_api.PauseSchedule),
    ("/api/schedules/{name}/resume", automation_api.ResumeSchedule),
    ("/api/schedules/{name}/skip", automation_api.SkipNext),
    ("/api/schedules/{name}/undo-skip", automation_api.UndoSkip),
    ("/api/rules", automation_api.AllRules),
    ("/api/rules/{name}/pause", automation_api.PauseRule),
    ("/api/rules/{name}/resume", automation_api.ResumeRule),
    ("/api/plan", automation_api.PlanOfOutputs),
    ("/api/clock/trust", automation_api.TrustClock),
    ("/api/history", history_api.AllHistory),
    ("/api/events", events_api.Events),
    ("/api/health", api.Health),
    ("/api/header", api.Header),
    ("/api/fleet", api.Fleet),
    ("/api/login", api.Login),
    ("/api/logout", api.Logout),
    ("/api/openapi.json", OpenApi),
)

OTHERS: tuple[tuple[str, type[RequestHandler]], ...] = (
    (r"/ws", Socket),
    (r"/fleet/ws", FleetSocket),
    (r"/trust/proof", trust.Proof),
    *trust.ROUTES,
    (r"/metrics", api.Metrics),
    (hooks.ROUTE, hooks.Hook),
    (plain.PATH, plain.Plain),
    (r"/api/.*", api.Unknown),
    (VersionedFiles.ROUTE, VersionedFiles),
    (r"/(.*)", Files),
)
