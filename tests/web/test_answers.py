"""Headers of every response, also of those that Tornado itself writes to a malformed request. A
request with a foreign name is rejected before anything else."""

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
    "POST /": 405,
    "BREW /": 405,
    "GET /nothing": 404,
    "GET /.env": 404,
    "GET //": 404,
    "GET /%ff": 400,
    "GET /v/0123456789abcdef/icon.svg": 200,
    "GET /v/current/trust": 301,
    "GET /v/current/nothing": 404,
    "POST /v/current/icon.svg": 405,
    "GET /v/current/%ff": 400,
    "GET /api": 200,
    "GET /api/nothing": 404,
    "PUT /api/pins/lamp": 422,
    "BREW /api/pins/lamp": 405,
    "POST /api/pins/lamp/toggle": 401,
    "GET /metrics": 200,
    "TRACE /metrics": 405,
    "GET /ws": 400,
    "BREW /ws": 405,
    "GET /ws +upgrade": 101,
    "GET /fleet/ws +upgrade": 404,
    "GET /trust/proof +upgrade": 101,
    "GET /trust/authority.json": 404,
    "OPTIONS *": 404,
    "CONNECT 127.0.0.1:80": 404,
    "GET http://127.0.0.1/api/pins": 404,
    "BREW http://127.0.0.1/": 404,
    "GET http://[/": 404,
    "GET nothing": 404,
}
PUT = "PUT /api/pins/lamp HTTP/1.1\r\nHost: localhost\r\n"
MALFORMED = {
    "a port that is no number": (400, "GET / HTTP/1.1\r\nHost: x:" + "9" * 4301 + "\r\n\r\n"),
    "no Host": (400, "GET / HTTP/1.1\r\n\r\n"),
    "two Hosts": (400, "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
    "no version": (400, "GET /\r\n\r\n"),
    "no request": (400, "\x01\x02\r\n\r\n"),
    "two lengths": (400, PUT + "Content-Length: 1\r\nContent-Length: 2\r\n\r\n"),
    "a bad chunk": (400, PUT + "Transfer-Encoding: chunked\r\n\r\nzz\r\n"),
    "too large": (413, PUT + "Content-Length: 9999999\r\n\r\n"),
}


def head_of(server: Server, request: str) -> tuple[int, dict[str, str]]:
    """Send a request; return status and headers of the answer."""
    received = b""
    with open_socket(server.port) as connection:
        connection.sendall(request.encode("latin-1"))
        try:
            while b"\r\n\r\n" not in received:
                more = connection.recv(65536)
                assert more, f"no whole answer: {received!r}"
                received += more
        except GONE:
            pass
    first, *lines = received.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
    return int(first.split()[1]), dict(line.split(": ", 1) for line in lines)


def written(request: str, host: str) -> str:
    line, _, upgrade = request.partition(" +")
    return f"{line} HTTP/1.1\r\nHost: {host}\r\n{UPGRADE if upgrade else ''}\r\n"


def check(headers: dict[str, str]) -> None:
    """Check that an answer has the headers of all answers. The policy may be a stricter one."""
    assert HEADERS.items() - headers.items() <= {
        ("Content-Security-Policy", "frame-ancestors 'none'")
    }
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]


@pytest.fixture(scope="module")
def pi(start_module_server: Callable[..., Server]) -> Server:
    return start_module_server(CONFIG)


@pytest.fixture(scope="module")
def https_pi(
    start_module_server: Callable[..., Server],
    certificate,  # noqa: F811
) -> Server:
    pair = f"ssl: {{certificate: {certificate}/cert.pem, key: {certificate}/key.pem}}\n"
    return start_module_server(CONFIG + pair)


@pytest.mark.parametrize("line", REQUESTS)
def test_every_answer_has_our_headers(pi: Server, https_pi: Server, line: str) -> None:
    """Every answer has our headers, also of plain HTTP where HTTPS is on. With a foreign name it is
    421, whatever the path and method are."""
    status, headers = head_of(pi, written(line, "127.0.0.1"))
    assert status == REQUESTS[line]
    check(headers)
    status, headers = head_of(https_pi, written(line, "127.0.0.1"))
    assert status in (200, 301, 307, 400, 403, 404, 405)
    check(headers)
    for server in (pi, https_pi):
        status, headers = head_of(server, written(line, "evil.example"))
        assert status == 421
        check(headers)


@pytest.mark.parametrize("name", MALFORMED)
def test_answer_to_a_malformed_request_has_our_headers(
    pi: Server, https_pi: Server, name: str
) -> None:
    """A malformed request gets an error with our headers, also by plain HTTP where HTTPS is on."""
    expected, request = MALFORMED[name]
    for server in (pi, https_pi):
        status, headers = head_of(server, request)
        assert status == expected
        check(headers)
