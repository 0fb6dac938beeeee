"""The HTTP and WebSocket front door: at its foot the whole route table on one screen."""

import logging
import re
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from tornado.http1connection import HTTP1Connection
from tornado.httputil import HTTPConnection, HTTPMessageDelegate, HTTPServerRequest
from tornado.web import Application, RequestHandler

from .. import __version__
from ..errors import RequestError
from ..messages import MAX_MESSAGE_BYTES
from . import api, history_api, openapi, trust
from .bodies import Bounded
from .context import WebContext
from .openapi import Operation
from .static import Files
from .websocket import FleetSocket, Socket

log = logging.getLogger(__name__)


class OpenApi(api.ApiHandler):
    operations: ClassVar[Mapping[str, Operation]] = {"get": Operation("This document", None)}

    def get(self) -> None:
        described = [(path, handler.operations) for path, handler in API]
        self.answer(openapi.document(described, __version__))

    head = get


def log_request(handler: RequestHandler) -> None:
    """Requests are no news; failures of ours were logged where they happened."""
    log.debug(
        "%s %s: %d, for %s",
        str(handler.request.method)[:16],
        handler.request.path[:80],
        handler.get_status(),
        handler.request.remote_ip,
    )


class _Guarded(Application):
    """Bounds the body and checks the `Host` of every request, whatever becomes of it then."""

    def __init__(
        self, context: WebContext, routes: Iterable[tuple[str, type[RequestHandler]]]
    ) -> None:
        self._context = context
        arguments: dict[str, Any] = {"context": context}
        super().__init__(
            [(path, handler, arguments) for path, handler in routes],
            log_function=log_request,
            websocket_max_message_size=MAX_MESSAGE_BYTES,
        )

    def find_handler(self, request: HTTPServerRequest, **named: Any) -> Any:
        try:
            self._context.auth.check_host(request)
            if not request.path.startswith("/"):  # `*`, or a whole URL, as one asks a proxy
                raise RequestError("not-found", "expected a path that begins with /")
        except RequestError as error:
            arguments = {"context": self._context, "error": error}
            return self.get_handler_delegate(request, api.Rejected, arguments)
        return super().find_handler(request, **named)

    def start_request(
        self, server_conn: object, request_conn: HTTPConnection
    ) -> HTTPMessageDelegate:
        assert isinstance(request_conn, HTTP1Connection)
        return Bounded(super().start_request(server_conn, request_conn), request_conn)


def application(context: WebContext) -> Application:
    """All routes, in the order in which they are tried."""
    described = [(re.sub(r"{\w+}", "([^/]+)", path), handler) for path, handler in API]
    return _Guarded(context, (*described, *OTHERS))


def plain_application(context: WebContext) -> Application:
    """What is served to plain http where https is spoken: no pin, and nothing that signs in."""
    return _Guarded(context, trust.PLAIN_ROUTES)


API: tuple[tuple[str, type[api.ApiHandler]], ...] = (
    ("/api", api.Index),
    ("/api/hello", api.Hello),
    ("/api/pins", api.AllPins),
    ("/api/pins/{name}", api.OnePin),
    ("/api/pins/{name}/toggle", api.TogglePin),
    ("/api/pins/{name}/pulse", api.PulsePin),
    ("/api/pins/{name}/history", history_api.OneHistory),
    ("/api/history", history_api.AllHistory),
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
    (r"/api/.*", api.Unknown),
    (r"/(.*)", Files),
)
