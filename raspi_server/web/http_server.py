"""The HTTP servers: one for the application, and one that answers plain HTTP where HTTPS is on."""

import asyncio

from tornado.httpserver import HTTPServer
from tornado.httputil import (
    ParseBodyConfig,
    ParseMultipartConfig,
    ParseUrlEncodedConfig,
    set_parse_body_config,
)
from tornado.iostream import IOStream
from tornado.web import Application

from ..limits import Limits
from ..net.connections import READ_CHUNK_BYTES
from .context import WebContext
from .routes import application, plain_application


class HttpServers:
    """Tornado's servers, which take the connections that the listener has accepted."""

    def __init__(self, context: WebContext, limits: Limits) -> None:
        self._context = context
        self._limits = limits
        self._closing: set[asyncio.Future[None]] = set()
        self._start()

    def _start(self) -> None:
        # Only the plain page reads forms. These limits bound the objects that Tornado makes of one.
        form = ParseUrlEncodedConfig(self._limits.max_head_parts)
        set_parse_body_config(ParseBodyConfig(ParseMultipartConfig(enabled=False), form))
        self._server = self._new(application(self._context))
        self._plain_server = self._new(plain_application(self._context))

    def _new(self, application: Application) -> HTTPServer:
        return HTTPServer(
            application,
            chunk_size=READ_CHUNK_BYTES,
            max_header_size=self._limits.max_head_bytes,
            max_body_size=self._limits.max_body_bytes,
            idle_connection_timeout=self._limits.idle_timeout_s,
        )

    def serve(self, stream: IOStream, address: tuple[str, int]) -> None:
        """Serve a connection of the scheme that is on."""
        self._server.handle_stream(stream, address)

    def redirect(self, stream: IOStream, address: tuple[str, int]) -> None:
        """Serve a plain HTTP connection where HTTPS is on: redirects, and the trust page."""
        self._plain_server.handle_stream(stream, address)

    def restart(self) -> None:
        """Close all connections, and serve new ones, after a change of the scheme."""
        # Closing takes some turns of the loop. Connections of the new scheme that arrive meanwhile
        # need servers of their own.
        closing = asyncio.ensure_future(_close(self._server, self._plain_server))
        self._closing.add(closing)  # the loop itself would not keep it
        closing.add_done_callback(self._closing.discard)
        self._start()

    async def close(self) -> None:
        """Close all connections."""
        await _close(self._server, self._plain_server)


async def _close(*servers: HTTPServer) -> None:
    await asyncio.gather(*(server.close_all_connections() for server in servers))
