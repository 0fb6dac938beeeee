"""One HTTP request, as a script sends it, and the response."""

import http.client
import json
from http.cookies import Morsel, SimpleCookie
from typing import Any, NamedTuple

from tests.conftest import LIMIT, Server


class Answer(NamedTuple):
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def refusal(self) -> tuple[int, str, str]:
        """Status, code and words of a refusal."""
        error = self.json["error"]
        return self.status, error["code"], error["message"]

    @property
    def cookie(self) -> "Morsel[str]":
        """The cookie it sets, be its name as it may."""
        (cookie,) = SimpleCookie(self.headers["Set-Cookie"]).values()
        return cookie

    @property
    def signed_in(self) -> dict[str, str]:
        """The header by which a browser shows that cookie."""
        return {"Cookie": f"{self.cookie.key}={self.cookie.value}"}


def ask(
    server: Server,
    method: str,
    path: str,
    body: Any = None,
    source: str = "127.0.0.1",
    **headers: str,
) -> Answer:
    """One request, from one of this machine's own addresses. A body that is not bytes goes as
    JSON."""
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    connection = http.client.HTTPConnection(
        "127.0.0.1", server.port, timeout=LIMIT, source_address=(source, 0)
    )
    try:
        connection.request(method, path, data, headers)
        response = connection.getresponse()
        return Answer(response.status, response.headers, response.read())
    finally:
        connection.close()
