"""Reception of a request: a `Host` that can be parsed, and a body that arrives in time."""

import asyncio
from collections.abc import Awaitable

from tornado.http1connection import HTTP1Connection
from tornado.httputil import (
    HTTPHeaders,
    HTTPInputError,
    HTTPMessageDelegate,
    HTTPServerRequest,
    RequestStartLine,
    ResponseStartLine,
    split_host_and_port,
)


class Reception(HTTPMessageDelegate):
    """A request that arrives on `connection` and is passed to `inner`.

    The connection is closed when the body takes longer than `body_timeout_s`. Tornado's own timeout
    for bodies is not used: after it Tornado parses the part that it has read, and logs tracebacks.
    """

    def __init__(
        self, inner: HTTPMessageDelegate, connection: HTTP1Connection, body_timeout_s: float
    ) -> None:
        self._inner = inner
        self._connection = connection
        self._body_timeout_s = body_timeout_s
        self._timer: asyncio.TimerHandle | None = None

    def headers_received(
        self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders
    ) -> Awaitable[None] | None:
        """Pass the head on, and start the timer of the body if there is one.

        Raises HTTPInputError for a port of thousands of digits, at which Tornado fails.
        """
        try:
            split_host_and_port(headers.get("Host", ""))
        except ValueError as error:
            raise HTTPInputError(str(error)) from None
        if "Content-Length" in headers or "Transfer-Encoding" in headers:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self._body_timeout_s, self._connection.close)
        return self._inner.headers_received(start_line, headers)

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        """Pass a part of the body on."""
        return self._inner.data_received(chunk)

    def finish(self) -> None:
        """Stop the timer, since the whole body has arrived."""
        self._stop_timer()
        self._inner.finish()

    def on_connection_close(self) -> None:
        """Stop the timer, since the client has closed the connection."""
        self._stop_timer()
        self._inner.on_connection_close()

    def _stop_timer(self) -> None:
        if self._timer:
            self._timer.cancel()


def declared_bytes(request: HTTPServerRequest) -> int:
    """Return the bytes that `Content-Length` declares.

    It is 0 for a malformed length, which Tornado rejects. Of a long number only the first 20 digits
    are read.
    """
    length = request.headers.get("Content-Length", "")
    is_number = length.isascii() and length.isdigit()
    return int(length.lstrip("0")[:20] or "0") if is_number else 0
