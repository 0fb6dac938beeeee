"""Clients that try to flood the log: whatever they send, it is a few lines, and never a traceback.
An error of the server itself is still logged with its traceback."""

import contextlib
import os
import random
import socket
import ssl
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from raspi_server.security.codes import Codes
from tests.net.test_hub import certificate  # noqa: F401
from tests.support.http import ask
from tests.support.server import Server, changing
from tests.support.sockets import GONE, open_socket
from tests.support.websocket import BINARY, CLOSE, HANDSHAKE, PING, TEXT, masked

CONFIG = """
metrics: true
pins: {lamp: {gpio: 17, mode: output, control: everyone}}
"""
TIMES = 300
HANDFUL = 8
"""Lines of the log that one kind of input may cause in a minute."""

DIGITS = b"9" * 4301
"""More than Python makes a number of."""
PROOF = HANDSHAKE.replace(b"/ws", b"/trust/proof")


def get(path: bytes, *lines: bytes, host: bytes = b"127.0.0.1", method: bytes = b"GET") -> bytes:
    head = b"%b %b HTTP/1.1\r\nHost: %b\r\nConnection: close\r\n" % (method, path, host)
    return head + b"".join(b"%b\r\n" % line for line in lines) + b"\r\n"


def with_body(body: bytes, *lines: bytes, path: bytes = b"/api/pins/lamp") -> bytes:
    return get(path, b"Content-Length: %d" % len(body), *lines, method=b"PUT") + body


def chunked(body: bytes) -> bytes:
    return get(b"/api/pins/lamp", b"Transfer-Encoding: chunked", method=b"PUT") + body


FORM = b"Content-Type: multipart/form-data; boundary=%b"
INPUTS = {
    "a port of 4,301 digits": get(b"/", host=b"x:" + DIGITS),
    "a port of an address of 4,301 digits": get(b"/api", host=b"[::1]:" + DIGITS),
    "a Host of brackets": get(b"/", host=b"[::"),
    "a text for the proof": PROOF + masked(TEXT, b"hello"),
    "a ping for the proof": PROOF + masked(PING, b"hello"),
    "a binary frame for the proof": PROOF + masked(BINARY, b"\xff"),
    "a close of bad UTF-8": PROOF + masked(CLOSE, b"\x03\xe8\xff"),
    "a text of bad UTF-8": HANDSHAKE + masked(TEXT, b"\xff\xfe"),
    "a binary frame": HANDSHAKE + masked(BINARY, b"{}"),
    "a close of one byte": HANDSHAKE + masked(CLOSE, b"\x03"),
    "a close with a bad code": HANDSHAKE + masked(CLOSE, b"\xff\xff"),
    "reserved bits": HANDSHAKE + masked(TEXT, b"{}", reserved=0x70),
    "a frame without an end": HANDSHAKE + b"\x81\xff" + b"\xff" * 8,
    "a handshake without a key": get(b"/ws", b"Upgrade: websocket", b"Connection: upgrade"),
    "bad extensions": HANDSHAKE[:-2] + b'Sec-WebSocket-Extensions: ;;="\r\n\r\n',
    "a bad chunk": chunked(b"zz\r\n"),
    "a chunk of 60 digits": chunked(b"f" * 60 + b"\r\n"),
    "a chunk that ends badly": chunked(b"2\r\nxxxx\r\n"),
    "a length of 4,301 digits": get(b"/api", b"Content-Length: " + DIGITS),
    "a length that begins with zeros": get(b"/api", b"Content-Length: " + b"0" * 21 + b"9" * 20),
    "two lengths": get(b"/api", b"Content-Length: 1", b"Content-Length: 2"),
    "no Host": b"GET / HTTP/1.1\r\n\r\n",
    "HTTP/1.0 without a Host": b"GET / HTTP/1.0\r\n\r\n",
    "HTTP/9.9": b"GET / HTTP/9.9\r\nHost: x\r\n\r\n",
    "HTTP/0.9": b"GET /\r\n\r\n",
    "an absolute form": get(b"http://[/"),
    "an absolute form with a port": get(b"http://x:" + DIGITS + b"/"),
    "an asterisk": get(b"*", method=b"OPTIONS"),
    "CONNECT": get(b"127.0.0.1:80", method=b"CONNECT"),
    "a method of its own": get(b"/", method=b"BREW"),
    "bad quoting": get(b"/%ff%fe/%zz%"),
    "a bad query": get(b"/api/history?seconds=%ff&" + b"a&" * 2000),
    "a number too large": get(b"/api/history?seconds=" + b"9" * 4301),
    "an infinite number": get(b"/api/pins/lamp/history?seconds=1e999"),
    "a cookie": get(b"/api/hello", b'Cookie: raspi-server="2|1:0|10:1|1:x|4:a|a"; \x01=\xff;;=;"'),
    "a range": get(b"/", b"Range: bytes=" + DIGITS + b"-" + DIGITS),
    "a date": get(b"/", b"If-Modified-Since: Fri, 99 Xyz 999999999999 99:99:99 GMT"),
    "a length of time": get(b"/", b"If-None-Match: \xff" * 20),
    "a Bearer of bytes": get(b"/api/hello", b"Authorization: Bearer \xff\xfe"),
    "an Authorization of nothing": get(b"/api/hello", b"Authorization:"),
    "a form": with_body(b"--\r\n\r\nabc--", FORM % b""),
    "another form": with_body(b'--x\r\nContent-Disposition: form-data; name="', FORM % b"x"),
    "a form in a charset": with_body(
        b"--x\r\nContent-Disposition: form-data; name*=utf-99''%ff; filename*=0\r\n\r\n\r\n--x--",
        FORM % b"x",
    ),
    "a query as a body": with_body(
        b"a=%ff&" * 2000, b"Content-Type: application/x-www-form-urlencoded"
    ),
    "a body in gzip": with_body(b"\x1f\x8b\x00", b"Content-Encoding: gzip"),
    "half a character": with_body(b'{"code":"\\ud800"}', path=b"/api/login").replace(
        b"PUT", b"POST"
    ),
    "a deep body": with_body(b"[" * 60_000),
    "a number without end": with_body(b'{"value":1' + b"0" * 5000 + b"}"),
    "TLS": b"\x16\x03\x01\x00\x05hello",
    "noise": random.Random(6).randbytes(3000) + b"\r\n\r\n",
}


def say(server: Server, words: bytes, context: ssl.SSLContext | None = None) -> None:
    """Sends it all, and hears the server out."""
    with contextlib.ExitStack() as stack, contextlib.suppress(*GONE, ssl.SSLError):
        connection = stack.enter_context(open_socket(server.port))
        if context:
            connection = context.wrap_socket(connection, server_hostname="127.0.0.1")
            stack.enter_context(connection)
        connection.sendall(words)
        with contextlib.suppress(OSError):  # it has hung up already
            if not context:
                connection.shutdown(socket.SHUT_WR)
        while (heard := connection.recv(65536)) and b"\r\n\r\n" not in heard:
            pass


def said(server: Server, what: Iterable[bytes]) -> list[str]:
    """The lines of the log while all that is sent."""
    before = len(server.lines)
    for words in what:
        say(server, words)
    assert ask(server, "GET", "/api/health").status == 200  # all was dealt with
    return server.lines[before:]


@pytest.fixture(scope="module")
def pi(
    start_module_server: Callable[..., Server], tmp_path_factory: pytest.TempPathFactory
) -> Server:
    folder = tmp_path_factory.mktemp("state")
    Codes(folder).renew("control")
    return start_module_server(CONFIG, env={**os.environ, "STATE_DIRECTORY": str(folder)})


@pytest.mark.parametrize("what", INPUTS)
def test_three_hundred_of_one_kind(pi: Server, what: str) -> None:
    lines = said(pi, [INPUTS[what]] * TIMES)
    assert len(lines) <= HANDFUL, lines[:20]
    assert "Traceback" not in "\n".join(lines), lines[:20]


def test_where_https_is_spoken(start_server: Callable[..., Server], certificate: Path) -> None:  # noqa: F811
    """The same in TLS, and plainly where TLS is spoken."""
    pair = f"ssl: {{certificate: {certificate}/cert.pem, key: {certificate}/key.pem}}\n"
    program = changing(idle_timeout_s=0.5, body_timeout_s=0.5)
    pi = start_server(CONFIG + pair, program=program)
    context = ssl.create_default_context(cafile=certificate / "cert.pem")
    before = len(pi.lines)
    for words in INPUTS.values():
        for how in (None, context, None, context):
            say(pi, words, how)
    lines = pi.lines[before:]
    assert len(lines) <= 3 * HANDFUL, lines
    assert "Traceback" not in pi.log


# A failure of the server's own, and what was suppressed


def test_a_failure_of_the_servers_own_is_logged(start_server: Callable[..., Server]) -> None:
    """A fault of ours is logged once with its traceback, however often it happens; one at another
    place, too; and how often it happened is told when the minute is over."""
    fault = "from raspi_server.web import api"
    broken = "api.%s.get = lambda self: {}[self.request.uri]"
    soon = {"log_limit_period_s": 1.0, "certificate_check_interval_s": 0.5}
    program = changing(fault, broken % "Index", broken % "Header", **soon)
    server = start_server(CONFIG, program=program)
    for _ in range(20):
        assert ask(server, "GET", "/api").status == 500
    assert ask(server, "GET", "/api/header").status == 500
    server.wait_for_log(r"KeyError: '/api'$")
    server.wait_for_log(r"KeyError: '/api/header'$")
    told = server.wait_for_log(r"ERROR Uncaught exception GET /api .*\((\d+) more like this")
    assert 0 < int(told[1]) < 20
    assert 1 <= server.log.count("KeyError: '/api'\n") <= 4
    server.stop()
    server.lines = []  # we asked for the tracebacks


def test_wrong_codes(start_server: Callable[..., Server], tmp_path: Path) -> None:
    """Wrong codes of many addresses are a few lines, which say how they began."""
    Codes(tmp_path).renew("control")
    pi = start_server(CONFIG, env={**os.environ, "STATE_DIRECTORY": str(tmp_path)})
    before = len(pi.lines)
    for n in range(TIMES):
        source = f"127.0.3.{n % 250 + 1}"
        assert ask(pi, "POST", "/api/login", {"code": "wrong"}, source).status in (401, 429)
    lines = pi.lines[before:]
    assert 1 <= len(lines) <= HANDFUL
    assert "a wrong access code" in lines[0]


def test_sessions_that_cannot_be_written(
    start_server: Callable[..., Server], tmp_path: Path
) -> None:
    """Nor do those fill the log who sign in again and again while the disk takes nothing."""
    code = Codes(tmp_path).renew("view")
    (tmp_path / "sessions.json").mkdir()
    pi = start_server(CONFIG, env={**os.environ, "STATE_DIRECTORY": str(tmp_path)})
    before = len(pi.lines)
    for _ in range(50):
        assert ask(pi, "POST", "/api/login", {"code": code}).status == 200
    lines = pi.lines[before:]
    assert 1 <= len(lines) <= HANDFUL
    assert "a restart will undo the last sign-ins and sign-outs" in lines[0]
