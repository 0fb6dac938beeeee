"""Headers of every response, also of Tornado's own. A foreign name is rejected first of all."""

import pytest

from raspi_server.messages import HEADERS
from tests.support.server import Server
from tests.support.sockets import open_socket

CONFIG = "metrics: true\npins: {lamp: {gpio: 17, mode: output}}\n"
UPGRADE = (
    "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
)
REQUESTS = {
    "GET /": 200,
    "BREW /": 405,
    "GET /.env": 404,
    "GET /%ff": 400,
    "GET /v/current/trust": 301,
    "HEAD /api": 200,
    "GET /api/nothing": 404,
    "PUT /api/pins/lamp": 422,
    "BREW /api/pins/lamp": 405,
    "POST /api/pins/lamp/toggle": 401,
    "GET /metrics": 200,
    "GET /hook/x": 404,
    "BREW /hook/x": 405,
    "GET /ws": 400,
    "GET /ws +upgrade": 101,
    "GET /trust/proof +upgrade": 101,
    "GET /trust/raspi-server.crt": 404,
    "OPTIONS *": 404,
    "BREW http://127.0.0.1/api/pins": 404,
    "GET http://[/": 404,
}
PUT = "PUT /api/pins/lamp HTTP/1.1\r\nHost: localhost\r\n"
MALFORMED = {
    "GET / HTTP/1.1\r\nHost: x:" + "9" * 4301 + "\r\n\r\n": 400,
    "GET / HTTP/1.1\r\n\r\n": 400,
    "\x01\x02\r\n\r\n": 400,
    PUT + "Transfer-Encoding: chunked\r\n\r\nzz\r\n": 400,
    PUT + "Content-Length: 9999999\r\n\r\n": 413,
}


def check(server: Server, request: str) -> int:
    """Send a request, check the headers of the answer, and return its status."""
    with open_socket(server.port) as connection, connection.makefile("rb") as received:
        connection.sendall(request.encode("latin-1"))
        status = int(received.readline().split()[1])
        lines = iter(lambda: received.readline().decode("latin-1").rstrip("\r\n"), "")
        headers = dict(line.split(": ", 1) for line in lines)
    policy = ("Content-Security-Policy", "frame-ancestors 'none'")
    assert HEADERS.items() - headers.items() <= {policy}
    assert policy[1] in headers[policy[0]]
    return status


@pytest.fixture(scope="module")
def https_pi(start_module_server, certificate):
    pair = f"ssl: {{certificate: {certificate}/cert.pem, key: {certificate}/key.pem}}\n"
    return start_module_server(CONFIG + pair)


@pytest.mark.parametrize("line", REQUESTS)
def test_every_answer_has_our_headers(pi: Server, https_pi: Server, line: str) -> None:
    """Every answer has our headers, also of plain HTTP beside HTTPS. A foreign name gets 421."""
    first, _, upgrade = line.partition(" +")
    request = f"{first} HTTP/1.1\r\nHost: {{}}\r\n{UPGRADE if upgrade else ''}\r\n"
    assert check(pi, request.format("127.0.0.1")) == REQUESTS[line]
    assert check(https_pi, request.format("127.0.0.1")) in (200, 301, 307, 400, 403, 404, 405)
    for server in (pi, https_pi):
        assert check(server, request.format("evil.example")) == 421


def test_answer_to_a_malformed_request_has_our_headers(pi: Server, https_pi: Server) -> None:
    """A malformed request gets an error with our headers, also by plain HTTP where HTTPS is on."""
    for request, status in MALFORMED.items():
        assert [check(server, request) for server in (pi, https_pi)] == [status, status], request
