"""An HTTP client, and its responses."""

import http.client
import json
import ssl
from http.cookies import Morsel, SimpleCookie
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from tests.support.server import LIMIT, Server


class Response(NamedTuple):
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> tuple[int, str, str]:
        """Status, code and message of an error."""
        error = self.json["error"]
        return self.status, error["code"], error["message"]

    @property
    def cookie(self) -> "Morsel[str]":
        """The only cookie that it sets."""
        (cookie,) = SimpleCookie(self.headers["Set-Cookie"]).values()
        return cookie

    @property
    def cookie_header(self) -> dict[str, str]:
        """The header with which a browser sends that cookie."""
        return {"Cookie": f"{self.cookie.key}={self.cookie.value}"}


class HttpClient:
    """One connection, kept open between requests."""

    def __init__(
        self,
        server: Server | str,
        source: str = "127.0.0.1",
        context: ssl.SSLContext | None = None,
    ) -> None:
        """Prepare a connection to a server, or to the host of a URL. `source` is the address of
        this machine to connect from; with a `context` the connection uses TLS."""
        if isinstance(server, Server):
            host, port = "127.0.0.1", server.port
        else:
            parts = urlsplit(server)
            assert parts.hostname, server
            host, port = parts.hostname, parts.port or (443 if context else 80)
        more: dict[str, Any] = {"context": context} if context else {}
        kind = http.client.HTTPSConnection if context else http.client.HTTPConnection
        own = (source, 0) if host == "127.0.0.1" else None
        self.connection = kind(host, port, timeout=LIMIT, source_address=own, **more)

    def __enter__(self) -> "HttpClient":
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.connection.close()

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Response:
        """Send a request and return its response. A body that is not bytes is sent as JSON. The
        path is sent as it is. An underscore in a header's name means a dash."""
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.connection.request(method, path, data, named)
        response = self.connection.getresponse()
        return Response(response.status, response.headers, response.read())


def ask(
    server: Server | str,
    method: str,
    path: str,
    body: Any = None,
    source: str = "127.0.0.1",
    context: ssl.SSLContext | None = None,
    **headers: str,
) -> Response:
    """Send one request on a connection of its own; see `HttpClient`."""
    with HttpClient(server, source, context) as client:
        return client.ask(method, path, body, **headers)
