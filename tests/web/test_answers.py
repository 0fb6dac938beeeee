"""Headers of every response, also of those that Tornado itself writes to a malformed request. A
request with another name of this server is rejected before anything else."""

from collections.abc import Callable

import pytest

from raspi_server.messages import HEADERS
from tests.net.test_hub import certificate  # noqa: F401
from tests.support.server import Server
from tests.support.sockets import GONE, open_socket

CONFIG = "metrics: true\npins: {lamp: {gpio: 17, mode: output}}\n"
UPGRADE = (
    "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
)
REQUESTS = {
    "GET /": 200,
    "HEAD /": 200,
    "GET /style.css": 200,
    "GET /v/current/icon.svg": 200,
    "GET /v/0123456789abcdef/icon.svg": 200,
    "GET /v/current/trust": 301,
    "GET /v/current/nothing": 404,
    "GET /v/current//": 404,
    "POST /v/current/icon.svg": 405,
    "GET /v/current/%ff": 400,
    "GET /trust": 301,
    "GET /nothing": 404,
    "GET /.env": 404,
    "GET //": 404,
    "POST /": 405,
    "OPTIONS /": 405,
    "BREW /": 405,
    "GET /%ff": 400,
    "GET /api": 200,
    "GET /api/hello": 200,
    "GET /api/nothing": 404,
    "GET /api/pins/lamp": 200,
    "PUT /api/pins/lamp": 422,
    "DELETE /api/pins/lamp": 405,
    "BREW /api/pins/lamp": 405,
    "POST /api/pins/lamp/toggle": 401,
    "GET /metrics": 200,
    "TRACE /metrics": 405,
    "GET /ws": 400,
    "POST /ws": 405,
    "BREW /ws": 405,
    "GET /ws +upgrade": 101,
    "GET /fleet/ws": 404,
    "GET /fleet/ws +upgrade": 404,
    "GET /trust/proof": 400,
    "POST /trust/proof": 405,
    "GET /trust/proof +upgrade": 101,
    "GET /trust/authority.json": 404,
    "GET /trust/raspi-server.crt": 404,
    "OPTIONS *": 404,
    "GET *": 404,
    "CONNECT 127.0.0.1:80": 404,
    "GET http://127.0.0.1/": 404,
    "GET http://127.0.0.1/api/pins": 404,
    "GET http://[/": 404,
    "BREW http://127.0.0.1/": 404,
    "GET nothing": 404,
}
MALFORMED = {
    "a port that is no number": "GET / HTTP/1.1\r\nHost: x:" + "9" * 4301 + "\r\n\r\n",
    "no Host": "GET / HTTP/1.1\r\n\r\n",
    "two Hosts": "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "no version": "GET /\r\n\r\n",
    "no request": "\x01\x02\r\n\r\n",
    "a header without a name": "GET / HTTP/1.1\r\nHost: localhost\r\n: x\r\n\r\n",
    "two lengths": "PUT /api/pins/lamp HTTP/1.1\r\nHost: localhost\r\n"
    "Content-Length: 1\r\nContent-Length: 2\r\n\r\n",
    "a bad chunk": "PUT /api/pins/lamp HTTP/1.1\r\nHost: localhost\r\n"
    "Transfer-Encoding: chunked\r\n\r\nzz\r\n",
}
TOO_LARGE = "PUT /api/pins/lamp HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9999999\r\n\r\n"


def head_of(server: Server, words: str) -> tuple[int, dict[str, str]]:
    """Status and headers of the answer."""
    with open_socket(server.port) as connection:
        connection.sendall(words.encode("latin-1"))
        heard = b""
        try:
            while b"\r\n\r\n" not in heard:
                more = connection.recv(65536)
                assert more, f"no whole answer: {heard!r}"
                heard += more
        except GONE:
            pass
    first, *lines = heard.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
    return int(first.split()[1]), dict(line.split(": ", 1) for line in lines)


def asked(request: str, host: str) -> str:
    line, _, upgrade = request.partition(" +")
    return f"{line} HTTP/1.1\r\nHost: {host}\r\n{UPGRADE if upgrade else ''}\r\n"


def check(status: int, headers: dict[str, str]) -> None:
    """It carries what every answer carries; the policy may be a stricter one."""
    assert HEADERS.items() - headers.items() <= {
        ("Content-Security-Policy", "frame-ancestors 'none'")
    }
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]


@pytest.fixture(scope="module")
def pi(start_module_server: Callable[..., Server]) -> Server:
    return start_module_server(CONFIG)


@pytest.fixture(scope="module")
def plain_port(
    start_module_server: Callable[..., Server],
    certificate,  # noqa: F811
) -> Server:
    """Of a server that speaks https."""
    pair = f"ssl: {{certificate: {certificate}/cert.pem, key: {certificate}/key.pem}}\n"
    return start_module_server(CONFIG + pair)


@pytest.mark.parametrize("request_", REQUESTS)
def test_every_answer_has_our_headers(pi: Server, request_: str) -> None:
    status, headers = head_of(pi, asked(request_, "127.0.0.1"))
    assert status == REQUESTS[request_]
    check(status, headers)


@pytest.mark.parametrize("request_", REQUESTS)
def test_a_foreign_name_is_refused_first(pi: Server, request_: str) -> None:
    """Whatever is asked for, and by whatever method."""
    status, headers = head_of(pi, asked(request_, "evil.example"))
    assert status == 421
    check(status, headers)


@pytest.mark.parametrize("what", MALFORMED)
def test_a_malformed_request(pi: Server, what: str) -> None:
    status, headers = head_of(pi, MALFORMED[what])
    assert status == 400
    check(status, headers)


def test_a_body_that_is_too_large(pi: Server) -> None:
    status, headers = head_of(pi, TOO_LARGE)
    assert status == 413
    check(status, headers)


@pytest.mark.parametrize("request_", [*REQUESTS, *MALFORMED])
def test_plain_http_where_https_is_spoken(plain_port: Server, request_: str) -> None:
    """Has our headers on all it says, and refuses a foreign name, too."""
    if request_ in MALFORMED:
        check(*head_of(plain_port, MALFORMED[request_]))
        return
    status, headers = head_of(plain_port, asked(request_, "127.0.0.1"))
    assert status in (200, 301, 307, 403, 404, 405, 400)
    check(status, headers)
    status, headers = head_of(plain_port, asked(request_, "evil.example"))
    assert status == 421
    check(status, headers)
