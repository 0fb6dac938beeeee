"""Text of clients in the log: one line each, legible and short. No client can write a line of its
own."""

import contextlib
import json
import os
import re
from collections.abc import Callable

import pytest

from raspi_server.security.codes import Codes
from tests.support.server import LIMIT, Server, changing
from tests.support.sockets import GONE, open_socket
from tests.support.websocket import CLOSE, PING, TEXT, WebSocketClient, masked

CONFIG = """
log_level: debug
pins: {lamp: {gpio: 17, mode: output, control: everyone}}
"""
LINE = re.compile(r"\d\d:\d\d:\d\d (DEBUG|INFO|WARNING|ERROR) \S.*")
LONGEST = 1100
FORGED = b"12:00:00 INFO lamp: on, by root"
NASTY = {
    "a newline": b"\n" + FORGED,
    "a return": b"\r" + FORGED,
    "a next line": b"\x85" + FORGED,
    "a line separator": "\N{LINE SEPARATOR}".encode() + FORGED,
    "a colour": b"\x1b[31mred",
    "a one-byte colour": b"\x9b31mred",
    "a title": b"\x1b]0;title\x07",
    "backspaces": b"\x08" * 40,
    "a nought": b"\x00",
    "right to left": "\N{RIGHT-TO-LEFT OVERRIDE}".encode(),
    "no UTF-8": b"\xff\xfe\xed\xa0\x80",
    "a lot": b"x" * 60_000,
    "formats": b"%s%d%(x)s{0}",
}


def quoted(words: bytes) -> bytes:
    """In a path, every byte by its number."""
    return b"".join(b"%%%02X" % byte for byte in words)


def in_json(words: bytes) -> bytes:
    return json.dumps(words.decode("latin-1")).encode()


def requests(nasty: bytes) -> list[bytes]:
    """The nasty bytes everywhere a request has room for them, as they are and quoted."""
    get = b"GET %b HTTP/1.1\r\nHost: 127.0.0.1\r\n%b\r\n"
    put = b"%b HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: %d\r\n\r\n%b"
    found = [
        b"%b / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" % nasty,
        b"GET / HTTP/1.1%b\r\nHost: 127.0.0.1\r\n\r\n" % nasty,
        nasty + b"\r\n\r\n",
    ]
    for words in (nasty, quoted(nasty)):
        for path in (b"/%b", b"/api/%b", b"/api/pins/%b", b"/api/pins/%b/toggle", b"/ws?%b", b"%b"):
            found.append(get % (path % words, b""))
    names = (b"Host", b"Origin", b"Cookie", b"User-Agent", b"X-Forwarded-For", b"Range",
             b"Content-Length", b"Transfer-Encoding", b"Content-Type", b"Expect", b"If-None-Match",
             b"X-%b" % nasty)  # fmt: skip
    for name in names:
        for path in (b"/", b"/api/pins"):
            found.append(get % (path, b"%b: %b\r\n" % (name, nasty)))
    found.append(get % (b"/api", b"Authorization: Bearer %b\r\n" % nasty))
    found.append(get % (b"/api", b"Cookie: raspi-server=%b\r\n" % nasty))
    found.append(get % (b"/api", b'Cookie: raspi-server="2|1:0|10:1|12:x|4:%b|a"\r\n' % nasty))
    for words in (nasty, in_json(nasty)):
        for path, body in (
            (b"PUT /api/pins/lamp", b'{"value": %b}' % words),
            (b"PUT /api/pins/lamp", b"{%b: 1}" % words),
            (b"POST /api/login", b'{"code": %b}' % words),
        ):
            found.append(put % (path, len(body), body))
    return found


def say(server: Server, words: bytes) -> None:
    """A request, and whatever becomes of it."""
    with open_socket(server.port) as connection, contextlib.suppress(*GONE):
        connection.settimeout(LIMIT)
        connection.sendall(
            words + b"\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        )
        while connection.recv(65536):
            pass


def chat(server: Server, nasty: bytes) -> None:
    """The nasty bytes in everything a WebSocket carries."""
    with WebSocketClient(server.port) as client, contextlib.suppress(*GONE):
        for key in (b"pin", b"ref", b"type", b"value", in_json(nasty[:50]).strip(b'"')):
            whole = {b"type": b'"set"', b"pin": b'"lamp"', b"value": b"1"} | {key: in_json(nasty)}
            members = (b'"%b": %b' % each for each in whole.items())
            text = b"{%b}" % b", ".join(members)
            client.socket.sendall(masked(TEXT, text[:16_000]))
        client.socket.sendall(masked(TEXT, nasty[:16_000].decode("latin-1").encode()))
        client.socket.sendall(masked(PING, nasty[:100]))
        client.socket.sendall(
            masked(CLOSE, b"\x0f\xa0" + nasty[:100].decode("latin-1").encode()[:99])
        )
        for _ in client.frames():
            pass


@pytest.fixture(scope="module")
def pi(
    start_module_server: Callable[..., Server], tmp_path_factory: pytest.TempPathFactory
) -> Server:
    folder = tmp_path_factory.mktemp("state")
    Codes(folder).renew("control")
    return start_module_server(CONFIG, env={**os.environ, "STATE_DIRECTORY": str(folder)})


@pytest.mark.parametrize("what", NASTY)
def test_nothing_that_is_sent_breaks_the_log(pi: Server, what: str) -> None:
    """At `log_level: debug` too, no words of a request or a message, wherever they stand in it,
    begin a line of the log, command the terminal, or fill the card."""
    before = len(pi.lines)
    said = requests(NASTY[what])
    for words in said:
        say(pi, words)
    chat(pi, NASTY[what])
    end = f"/api/the-end-of-{list(NASTY).index(what)}"
    say(pi, f"GET {end} HTTP/1.1\r\nHost: 127.0.0.1\r\n".encode())
    pi.wait_for_log(rf"DEBUG GET {end}: 404, for 127\.0\.0\.1$")
    check(pi.lines[before:])
    assert len(pi.lines) - before < 3 * len(said)


def check(lines: list[str]) -> None:
    for line in lines:
        assert not line.startswith(FORGED.decode())
        assert LINE.fullmatch(line), ascii(line[:200])
        assert line.isprintable(), ascii(line[:200])
        assert len(line) <= LONGEST


@pytest.mark.parametrize("what", ["a next line", "a one-byte colour", "a lot", "right to left"])
def test_nor_when_something_fails(start_server: Callable[..., Server], what: str) -> None:
    """Not even when a fault of the server's own is logged, with the request it failed at."""
    fault = "from raspi_server.web import api; api.Index.get = lambda self: {}[self.request.uri]"
    server = start_server(CONFIG, program=changing(fault))
    words = NASTY[what].replace(b" ", b"_")[:10_000]  # a longer head reaches nothing
    say(server, b"GET /api?%b HTTP/1.1\r\nHost: 127.0.0.1\r\n" % words)
    server.wait_for_log("KeyError")
    said = [line for line in server.lines if LINE.fullmatch(line)]
    assert any("ERROR Uncaught exception GET /api?" in line for line in said)
    for line in server.lines:
        assert line.isprintable(), ascii(line[:200])
        assert len(line) <= LONGEST
    assert FORGED.decode() not in server.lines
    server.stop()
    server.lines = [
        line.replace("Traceback", "traceback") for line in server.lines
    ]  # we asked for it
