"""Text of clients in the log: one legible line each, and not too many. Errors have a traceback."""

import contextlib
import json
import os
import random
import re
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raspi_server.security.codes import Codes
from raspi_server.system import logs
from tests.support.http import ask
from tests.support.server import Server, changing
from tests.support.sockets import GONE, open_socket
from tests.support.websocket import CLOSE, HANDSHAKE, PING, TEXT, WebSocketClient, masked

pytestmark = pytest.mark.slow

CONFIG = """
metrics: true
pins: {lamp: {gpio: 17, mode: output, control: everyone}}
"""
LINE = re.compile(r"\d\d:\d\d:\d\d (DEBUG|INFO|WARNING|ERROR) \S.*")
MAX_LENGTH = 1100
TIMES = 12
MAX_LINES = 8
"""Lines of the log that one kind of input may cause in a period, however often it comes."""


def send(server: Server, data: bytes, context: ssl.SSLContext | None = None) -> None:
    """Send bytes; wait until the server closes the connection, or over TLS until it responds."""
    with contextlib.ExitStack() as stack, contextlib.suppress(*GONE, ssl.SSLError):
        connection = stack.enter_context(open_socket(server.port))
        if context:
            connection = context.wrap_socket(connection, server_hostname="127.0.0.1")
            stack.enter_context(connection)
        connection.sendall(data)
        if not context:
            with contextlib.suppress(OSError):  # the server has closed it already
                connection.shutdown(1)
        while (received := connection.recv(65536)) and not (context and b"\r\n\r\n" in received):
            pass


@pytest.fixture(scope="module")
def pi(start_module_server, tmp_path_factory) -> Server:
    """A server with a code for control that logs every request and message."""
    folder = tmp_path_factory.mktemp("state")
    Codes(folder).renew("control")
    config = "log_level: debug\n" + CONFIG
    env = {**os.environ, "STATE_DIRECTORY": str(folder)}
    # The end of a period adds a line of each place; a machine that stands still adds the stacks.
    program = changing(log_limit_period_s=86400, stuck_after_s=86400)
    return start_module_server(config, env=env, program=program)


FORGED = b"12:00:00 INFO lamp: on, by root"
UNPRINTABLE = {
    "newline": b"\n" + FORGED,
    "next line": b"\x85" + FORGED,
    "line separator": "\N{LINE SEPARATOR}".encode() + FORGED,
    "escape": b"\x1b[31mred\x00",
    "no UTF-8": b"\xff\xfe\xed\xa0\x80",
    "long": b"x" * 60_000,
    "formats": b"%s%d%(x)s{0}",
}


@settings(max_examples=50, deadline=None)
@given(st.text())
def test_every_message_is_one_printable_line(text: str) -> None:
    """Any text is logged as one printable line, beyond 1,000 characters a shortened one."""
    assert logs.legible(text).isprintable()
    if text.isprintable():
        assert logs.legible(text) == text
    assert logs.legible("x" * 1001 + text) == "x" * 1000 + f"… ({1001 + len(text)} characters)"


def requests(text: bytes) -> list[bytes]:
    """Return requests that have the bytes wherever a request has room, raw and percent-encoded."""
    get = b"GET %b HTTP/1.1\r\nHost: 127.0.0.1\r\n%b\r\n"
    put = b"PUT /api/pins/lamp HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: %d\r\n\r\n%b"
    found = [
        b"%b / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" % text,
        b"GET / HTTP/1.1%b\r\nHost: 127.0.0.1\r\n\r\n" % text,
        text + b"\r\n\r\n",
    ]
    for words in (text, b"".join(b"%%%02X" % byte for byte in text)):
        for path in (b"/%b", b"/api/pins/%b", b"/ws?%b", b"%b"):
            found.append(get % (path % words, b""))
    names = b"Host Origin User-Agent Range Content-Length Transfer-Encoding If-None-Match Cookie"
    for name in (*names.split(), b"Authorization", b"X-%b" % text):
        found.append(get % (b"/api", b"%b: Bearer %b\r\n" % (name, text)))
        found.append(get % (b"/api", b"%b: %b\r\n" % (name, text)))
    for words in (text, json.dumps(text.decode("latin-1")).encode()):
        body = b'{"value": %b}' % words
        found.append(put % (len(body), body))
    return found


def send_messages(server: Server, text: bytes) -> None:
    """Send the bytes in everything that a WebSocket carries."""
    quoted = json.dumps(text.decode("latin-1")).encode()
    with WebSocketClient(server.port) as client, contextlib.suppress(*GONE):
        for key in (b"pin", b"ref", b"type", b"value"):
            fields = {b"type": b'"set"', b"pin": b'"lamp"', b"value": b"1"} | {key: quoted}
            message = b", ".join(b'"%b": %b' % each for each in fields.items())
            client.socket.sendall(masked(TEXT, b"{%b}" % message[:16_000]))
        client.socket.sendall(masked(PING, text[:100]))
        reason = text[:100].decode("latin-1").encode()[:99]
        client.socket.sendall(masked(CLOSE, b"\x0f\xa0" + reason))
        for _ in client.frames():
            pass


@pytest.mark.parametrize("kind", UNPRINTABLE)
def test_input_cannot_break_the_log(pi: Server, kind: str) -> None:
    """No bytes of a client begin a line of the log, control the terminal, or fill the card."""
    before = len(pi.lines)
    sent = requests(UNPRINTABLE[kind])
    for request in sent:
        send(pi, request)
    send_messages(pi, UNPRINTABLE[kind])
    end = f"/api/the-end-of-{list(UNPRINTABLE).index(kind)}"
    send(pi, f"GET {end} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
    pi.wait_for_log(rf"DEBUG GET {end}: 404, for 127\.0\.0\.1$")
    lines = pi.lines[before:]
    for line in lines:
        assert not line.startswith(FORGED.decode())
        assert LINE.fullmatch(line), ascii(line[:200])
        assert line.isprintable(), ascii(line[:200])
        assert len(line) <= MAX_LENGTH
    assert len(lines) < 3 * len(sent)


DIGITS = b"9" * 4301
"""More digits than Python converts to a number."""
PROOF = HANDSHAKE.replace(b"/ws", b"/trust/proof")


def get(path: bytes, *lines: bytes, host: bytes = b"127.0.0.1", method: bytes = b"GET") -> bytes:
    head = b"%b %b HTTP/1.1\r\nHost: %b\r\nConnection: close\r\n" % (method, path, host)
    return head + b"".join(b"%b\r\n" % line for line in lines) + b"\r\n"


def with_body(body: bytes, *lines: bytes) -> bytes:
    head = get(b"/api/pins/lamp", b"Content-Length: %d" % len(body), *lines, method=b"PUT")
    return head + body


INPUTS = {
    "port of 4,301 digits": get(b"/api", host=b"[::1]:" + DIGITS),
    "host of brackets": get(b"/", host=b"[::"),
    "text of invalid UTF-8": HANDSHAKE + masked(TEXT, b"\xff\xfe"),
    "close with invalid UTF-8": PROOF + masked(CLOSE, b"\x03\xe8\xff"),
    "reserved bits": HANDSHAKE + masked(TEXT, b"{}", reserved=0x70),
    "invalid chunk": get(b"/api", b"Transfer-Encoding: chunked", method=b"PUT") + b"zz\r\n",
    "length of 4,301 digits": get(b"/api", b"Content-Length: " + DIGITS),
    "number too large": get(b"/api/history?seconds=" + DIGITS),
    "cookie": get(b"/api/hello", b'Cookie: raspi-server="2|1:0|10:1|1:x|4:a|a"; \x01=\xff;;=;"'),
    "form": with_body(b"--\r\n\r\n--", b"Content-Type: multipart/form-data; boundary="),
    "compressed body": with_body(b"\x1f\x8b\x00", b"Content-Encoding: gzip"),
    "half a character": with_body(b'{"value":"\\ud800"}'),
    "deep body": with_body(b"[" * 60_000),
    "zeros": bytes(100_000),
    "path without end": b"GET /" + b"x" * 1_000_000,
    "lines without end": b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 100_000,
    "chunks without end": get(b"/api", b"Transfer-Encoding: chunked") + b"1\r\nx\r\n" * 100_000,
    "random bytes": random.Random(6).randbytes(3000) + b"\r\n\r\n",
}


@pytest.mark.parametrize("kind", INPUTS)
def test_repeated_input_is_logged_a_few_times(pi: Server, kind: str) -> None:
    """However often one kind of invalid input comes, it is a few lines, and never a traceback."""
    before = len(pi.lines)
    for _ in range(TIMES):
        send(pi, INPUTS[kind])
    assert ask(pi, "GET", "/api/health").status == 200  # all input was processed
    lines = [line for line in pi.lines[before:] if " DEBUG " not in line]
    assert len(lines) <= MAX_LINES, lines
    assert "Traceback" not in "\n".join(lines), lines


def test_input_over_tls(start_server: Callable[..., Server], certificate: Path) -> None:
    """The same input over TLS, and plain input to a TLS port, is a few lines."""
    pair = f"ssl: {{certificate: {certificate}/cert.pem, key: {certificate}/key.pem}}\n"
    program = changing(idle_timeout_s=0.5, body_timeout_s=0.5)
    server = start_server(CONFIG + pair, program=program)
    context = ssl.create_default_context(cafile=certificate / "cert.pem")
    before = len(server.lines)
    for data in INPUTS.values():
        send(server, data)
        send(server, data, context)
    lines = server.lines[before:]
    assert len(lines) <= 3 * MAX_LINES, lines
    assert "Traceback" not in server.log


def test_error_of_the_server_is_logged_once_with_its_traceback(start_server) -> None:
    """An error of the server is logged once with its traceback, and then their number."""
    imports = "from raspi_server.web import api"
    broken = "api.%s.get = lambda self: {}[self.request.uri]"
    soon = {"log_limit_period_s": 1.0, "certificate_check_interval_s": 0.5}
    program = changing(imports, broken % "Index", broken % "Header", **soon)
    server = start_server(CONFIG, program=program)
    text = b"/api?\x85\x9b31m\xe2\x80\xa8" + b"x" * 10_000
    send(server, b"GET %b HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n" % text)
    for _ in range(20):
        assert ask(server, "GET", "/api").status == 500
    assert ask(server, "GET", "/api/header").status == 500
    server.wait_for_log(r"KeyError: '/api\?")
    server.wait_for_log(r"KeyError: '/api/header'$")
    found = server.wait_for_log(r"ERROR Uncaught exception GET /api\b.*\((\d+) more like this")
    assert 0 < int(found[1]) <= 20
    assert 1 <= server.log.count("KeyError: '/api'\n") + server.log.count("KeyError: '/api?") <= 10
    assert all(line.isprintable() and len(line) <= MAX_LENGTH for line in server.lines)
    server.stop()
    server.lines = []  # the tracebacks are expected
