"""A request's body is read up to a bound. Who sends more is told so with 413 and heard out for a
moment, since a connection that is closed in the middle of a sentence takes the answer with it."""

import asyncio
import sys
from collections.abc import Awaitable
from http.client import responses

from tornado.http1connection import HTTP1Connection
from tornado.httputil import (
    HTTPHeaders,
    HTTPInputError,
    HTTPMessageDelegate,
    RequestStartLine,
    ResponseStartLine,
)

from ..errors import STATUS
from ..messages import ErrorAnswer, encode
from .context import JSON_HEADERS

MAX_BODY = 32 * 1024
"""Bytes."""
HEAR_OUT = 5.0
"""Seconds for the rest of a body that is too large."""


class Bounded(HTTPMessageDelegate):
    """Stands between a connection and `inner`, who gets its request."""

    def __init__(self, inner: HTTPMessageDelegate, connection: HTTP1Connection) -> None:
        self._inner = inner
        self._connection = connection
        self._method = ""
        self._body = bytearray()
        """In one piece: of small chunks each would be an object of many times its size."""
        self._size = 0
        self._hanging_up: asyncio.TimerHandle | None = None
        """Set once the body was refused."""

    def headers_received(
        self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders
    ) -> Awaitable[None] | None:
        self._connection.set_max_body_size(sys.maxsize)  # here we count ourselves
        assert isinstance(start_line, RequestStartLine)
        self._method = start_line.method
        length = _declared(headers.get("Content-Length", ""))
        if length <= MAX_BODY:
            self._body = bytearray(length)  # grown bit by bit it would take more
            try:
                return self._inner.headers_received(start_line, headers)
            except ValueError as error:  # of Tornado's parsing: the port of `Host` is no number
                raise HTTPInputError(str(error)) from None
        self._refuse()
        if "Expect" in headers:  # it waits for a word before it sends the body, and this was it
            self._connection.finish()
        return None

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        if self._hanging_up:
            return None
        begin, self._size = self._size, self._size + len(chunk)
        if self._size <= MAX_BODY:
            self._body[begin : self._size] = chunk
            return None
        self._body.clear()
        self._inner.on_connection_close()
        self._refuse()
        return None

    def finish(self) -> None:
        if self._hanging_up:
            self._hanging_up.cancel()
            self._connection.finish()
            return
        body, self._body = bytes(self._body), bytearray()
        if body:
            self._inner.data_received(body)
        self._inner.finish()

    def on_connection_close(self) -> None:
        if self._hanging_up:
            self._hanging_up.cancel()
        else:
            self._inner.on_connection_close()

    def _refuse(self) -> None:
        """Answers at once. If the rest comes in time, the connection serves another request."""
        loop = asyncio.get_running_loop()
        self._hanging_up = loop.call_later(HEAR_OUT, self._connection.close)
        status = STATUS["too-large"]
        answer = encode(ErrorAnswer.of("too-large", f"expected a body of at most {MAX_BODY} bytes"))
        headers = HTTPHeaders({**JSON_HEADERS, "Content-Length": str(len(answer))})
        self._connection.write_headers(
            ResponseStartLine("HTTP/1.1", status, responses[status]),
            headers,
            None if self._method == "HEAD" else answer,
        )


def _declared(length: str) -> int:
    """Return the bytes that a Content-Length declares, or 0 for a malformed one: Tornado refuses
    it. Of more than 20 digits the first 20 tell enough."""
    is_number = length.isascii() and length.isdigit()
    return int(length.lstrip("0")[:20] or "0") if is_number else 0
