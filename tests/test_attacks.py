"""Attacks that were found once, each beside a client that must not notice: their cost is bounded in
count and time. They come from addresses of the loopback network, of which only 127.0.0.1 is this
machine itself."""

import contextlib
import http.client
import os
import random
import socket
import ssl
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.net.test_hub import certificate  # noqa: F401
from tests.support.http import ask
from tests.support.load import Witness, wait_until
from tests.support.server import LIMIT, Server, changing, descriptors, memory
from tests.support.sockets import GONE, open_socket
from tests.support.websocket import (
    CLOSE,
    CONTINUATION,
    HANDSHAKE,
    PING,
    PONG,
    TEXT,
    WebSocketClient,
    masked,
)
from tests.test_hostile import CONFIG, GET, MIB, unharmed

GUEST, OTHER = "127.0.1.1", "127.0.2.1"
KIB = 1024
X25519, FFDHE8192 = (29, 32), (260, 1024)
"""Number of a group, and bytes of a key."""


@pytest.fixture(scope="module")
def pi(start_module_server: Callable[..., Server]) -> Server:
    return start_module_server(CONFIG)


@pytest.fixture
def crowd() -> Iterator[Callable[..., list[socket.socket]]]:
    """`crowd(house, address, count, words)`: so many more connections from an address, each of
    which has said these words."""
    found: list[socket.socket] = []

    def come(pi: Server, address: str, count: int, words: bytes = b"") -> list[socket.socket]:
        for _ in range(count):
            found.append(open_socket(pi.port, address=address))
            with contextlib.suppress(*GONE):
                found[-1].sendall(words)
        return found[-count:]

    yield come
    for each in found:
        each.close()


def secure(folder: Path) -> str:
    return CONFIG + f"ssl: {{certificate: {folder}/cert.pem, key: {folder}/key.pem}}\n"


def trusting(folder: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=folder / "cert.pem")


def client_hello(group: int, size: int) -> bytes:
    """One that names a single group and brings a key for it, to be sent again and again."""

    def sized(data: bytes) -> bytes:
        return struct.pack("!H", len(data)) + data

    extensions = {
        10: sized(struct.pack("!H", group)),
        13: sized(bytes.fromhex("040308040805")),
        43: b"\x02\x03\x04",
        51: sized(struct.pack("!H", group) + sized(b"\x40" * size)),
    }
    listed = b"".join(struct.pack("!H", kind) + sized(data) for kind, data in extensions.items())
    body = b"\x03\x03" + bytes(32) + b"\x00" + sized(b"\x13\x01") + b"\x01\x00" + sized(listed)
    return b"\x16\x03\x01" + sized(b"\x01\x00" + sized(body))


def processor_time(pi: Server) -> float:
    """Seconds that the server has computed, in all its life."""
    stat = Path(f"/proc/{pi.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK")


def still_open(connections: list[socket.socket]) -> list[socket.socket]:
    """Those that the server has not closed, whatever it has said on them."""
    found = []
    for each in connections:
        each.setblocking(False)
        try:
            while each.recv(65536):
                pass
        except BlockingIOError:
            found.append(each)
        except GONE:
            pass
        each.settimeout(LIMIT)
    return found


# The key exchange


@pytest.mark.parametrize("group", [FFDHE8192, X25519], ids=["ffdhe8192", "X25519"])
def test_hellos_without_end(start_server, certificate, crowd, group):  # noqa: F811
    """Hundreds of ClientHellos at once, made once and sent again, hold up no viewer, and each costs
    a few milliseconds at most."""
    pi = start_server(secure(certificate))
    hello = client_hello(*group)
    with Witness(pi.port, context=trusting(certificate)) as witness:
        before = processor_time(pi)
        attackers = crowd(pi, GUEST, 400, hello)
        for each in attackers:
            with contextlib.suppress(*GONE):
                each.recv(1)  # it was dealt with
        each = (processor_time(pi) - before) / len(attackers)
        witness.wait_for_states(5)
    print(f"{each * 1000:.1f} ms each, longest silence {witness.longest_silence:.2f} s")
    assert each < 0.02
    assert witness.longest_silence < LIMIT / 10


def test_handshakes_in_progress(start_server, certificate, crowd):  # noqa: F811
    """Of an address that begins handshake after handshake 16 are in progress, the newest: somebody
    who shares it gets in all the same, as does everybody else."""
    pi = start_server(secure(certificate))
    context = trusting(certificate)
    with Witness(pi.port, context=context) as witness:
        begun = crowd(pi, GUEST, 60, client_hello(*X25519))
        wait_until(lambda: len(still_open(begun)) == 16, witness, "sixteen are left")
        assert still_open(begun) == begun[-16:]
        for address in (GUEST, OTHER):
            with WebSocketClient(pi.port, address=address, context=context) as viewer:
                assert next(viewer.messages())["type"] == "hello"
        assert len(still_open(begun)) == 15


def test_handshakes_that_are_over(start_server, certificate, crowd):  # noqa: F811
    """Who has shaken hands is not counted any more, nor who has left; and this machine itself,
    where a proxy may run, is not counted at all."""
    pi = start_server(secure(certificate))
    context = trusting(certificate)
    with Witness(pi.port, context=context) as witness:
        for each in crowd(pi, GUEST, 10, client_hello(*X25519)):
            each.close()
        inside = []
        for _ in range(40):
            (each,) = crowd(pi, GUEST, 1)
            inside.append(context.wrap_socket(each, server_hostname="127.0.0.1"))
        begun = crowd(pi, "127.0.0.1", 40, client_hello(*X25519))
        witness.wait_for_states(5)
        for each in inside:
            each.sendall(GET % b"/api/pins")
            assert each.recv(100).startswith(b"HTTP/1.1 200 OK")
            each.close()
        assert len(still_open(begun)) == 40
    assert "too many" not in pi.log


# Those who say nothing


def test_silent_callers_of_one_address(pi, crowd):
    """Of an address 32 may be silent, the newest; who was silent before at another is heard."""
    with unharmed(pi) as witness:
        patient = crowd(pi, OTHER, 1)[0]
        silent = crowd(pi, GUEST, 100)
        wait_until(lambda: len(still_open(silent)) == 32, witness, "32 are left")
        assert still_open(silent) == silent[-32:]
        for each in (patient, silent[-1]):
            each.sendall(GET % b"/api/pins")
            assert each.recv(100).startswith(b"HTTP/1.1 200 OK")
        this_machine = crowd(pi, "127.0.0.1", 100)
        witness.wait_for_states(5)
        assert len(still_open(this_machine)) == 100
        for each in (patient, *silent, *this_machine):
            each.close()


def test_silent_callers_of_many_addresses(start_server, crowd):
    """When too many are silent in all, the oldest of the address that has most goes."""
    pi = start_server(CONFIG, program=changing(max_silent_connections=64))
    with Witness(pi.port) as witness:
        patient = crowd(pi, OTHER, 1)[0]
        for n in range(1, 9):
            crowd(pi, f"127.0.1.{n}", 32)
        witness.wait_for_states(5)
        patient.sendall(GET % b"/api/pins")
        assert patient.recv(100).startswith(b"HTTP/1.1 200 OK")


# Frames that say nothing

FLOODS = {
    "pings": masked(PING, b"p" * 125),
    "pongs": masked(PONG),
    "empty parts": masked(CONTINUATION, fin=False),
    "messages": masked(TEXT, b"{}"),
}


@pytest.mark.parametrize("path", ["/ws", "/trust/proof"])
@pytest.mark.parametrize("what", FLOODS)
def test_frames_without_end(pi, what, path):
    """Each frame is counted, whatever it is: who sends thousands at once is told so with 1008, and
    heard no more."""
    words = masked(TEXT, fin=False) * (what == "empty parts") + FLOODS[what] * 20000
    with unharmed(pi), WebSocketClient(pi.port, path=path, address=GUEST) as loud:
        before = processor_time(pi)
        loud.socket.setblocking(False)
        with contextlib.suppress(BlockingIOError, *GONE):
            while words:
                words = words[loud.socket.send(words) :]
        loud.socket.settimeout(LIMIT)
        codes = [int.from_bytes(said[:2]) for opcode, said in loud.frames() if opcode == CLOSE]
        assert codes == ([1008] if path == "/ws" else [1000])
        spent = processor_time(pi) - before
    assert spent < 2


def test_frames_in_measure(pi):
    """Pings, pongs and messages in three parts are answered, as many at once as messages may be."""
    with WebSocketClient(pi.port) as client:
        for _ in range(20):
            client.socket.sendall(masked(PING, b"?") + masked(PONG))
            parts = masked(TEXT, b'{"type":"toggle",', fin=False) + masked(CONTINUATION, fin=False)
            client.socket.sendall(parts + masked(CONTINUATION, b'"pin":"an-output-03"}'))
        heard = []
        for opcode, said in client.frames():
            heard += [opcode] if opcode == PONG else [b'"type":"result"' in said]
            if heard.count(True) == 20:
                break
        assert PONG in heard


# Cost of a connection

FULL = 32 * KIB
HEAD = b"PUT /api/pins/lamp%s HTTP/1.1\r\nHost: 127.0.0.1\r\n"
BODY = b"Content-Length: %d\r\n\r\n" % FULL
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"
LONG = b"".join(b"X-Long-%02d: %s\r\n" % (n, b"x" * 140) for n in range(90))
HEADERS = b"".join(b"%x:\n" % n for n in range(9000))
COOKIES = b"Cookie: " + b";".join(b"%x=" % n for n in range(3000)) + b"\r\n"
FORM = b"Content-Type: application/x-www-form-urlencoded\r\n"
FORM += b"Content-Length: %d\r\n\r\n" + b"&".join(b"%x=" % n for n in range(900))
PIPELINED = (GET % b"/") * 30 + (GET % b"/raspi.js") * 30
BAD_HANDSHAKE = HANDSHAKE.replace(b"Sec-WebSocket-Key", b"X-Key")
WORST = {
    "9,000 headers": HEAD % b"" + HEADERS,
    "5,000 headers and half a body": HEAD % b"" + HEADERS[: 15 * KIB] + BODY + bytes(FULL - 1),
    "long headers and half a body": HEAD % b"" + LONG + BODY + bytes(FULL - 1),
    "many arguments": HEAD % b"?" + b"&".join(b"%x=" % n for n in range(3000)) + BODY,
    "many cookies": HANDSHAKE[:-2] + COOKIES + b"\r\n",
    "small chunks": HEAD % b"" + CHUNKED + b"2\r\nab\r\n" * 32000,
    "one long line": b"GET /" + b"x" * 15 * KIB,
    "half a message": HANDSHAKE + masked(TEXT, bytes(8 * KIB), fin=False) + masked(0, bytes(8000)),
    "pages never read": PIPELINED * 20,
    "a large file never read": (GET % b"/large.bin") * 2000,
    "a large text never read": (GET % b"/large.txt") * 2000,
    "a form never answered": PIPELINED * 3 + (HEAD % b"" + FORM % len(FORM)) * 30,
}


@pytest.mark.parametrize("is_secure", [False, True], ids=["plain", "TLS"])
@pytest.mark.parametrize("what", WORST)
def test_memory_of_a_connection(start_server, certificate, tmp_path, what, is_secure):  # noqa: F811
    """Sixty that each do their worst, and read nothing, cost at most 128 KiB each."""
    (tmp_path / "www").mkdir()
    (tmp_path / "www" / "large.bin").write_bytes(bytes(MIB))
    noise = random.Random(1).randbytes(90 * KIB).hex()
    (tmp_path / "www" / "large.txt").write_text(noise)
    pi = start_server(secure(certificate) if is_secure else CONFIG)
    context = trusting(certificate) if is_secure else None

    def come(address: str, words: bytes) -> socket.socket:
        found = open_socket(pi.port, 4096, address)
        if context:
            found = context.wrap_socket(found, server_hostname="127.0.0.1")
        found.setblocking(False)
        with contextlib.suppress(BlockingIOError, ssl.SSLError, *GONE):
            while words:
                words = words[found.send(words[: 16 * KIB]) :]
        rest[found] = words
        return found

    rest: dict[socket.socket, bytes] = {}
    with Witness(pi.port, context=context) as witness:
        open_before = descriptors(pi)
        for path in (b"/", b"/large.txt", b"/raspi.js"):
            come(OTHER, GET % path)
        witness.wait_for_states(20)
        before = memory(pi)
        inside = [come(GUEST, WORST[what]) for _ in range(60)]
        for _ in range(8):
            witness.wait_for_states(4)
            for each in inside:  # what it has taken meanwhile makes room for more
                with contextlib.suppress(OSError):
                    while rest[each]:
                        rest[each] = rest[each][each.send(rest[each][: 16 * KIB]) :]
        cost = (memory(pi) - before) / len(inside)
        print(f"{what}: {cost / KIB:.0f} KiB each")
        for each in rest:
            each.close()
        wait_until(lambda: descriptors(pi) <= open_before, witness, "all are gone")
    assert cost <= 128 * KIB


@pytest.mark.parametrize("first", [b"", BAD_HANDSHAKE], ids=["at once", "after a bad handshake"])
def test_large_answers_never_read(start_server, crowd, first):
    """Of the answers of hundreds of KiB that an address does not read four wait, the newest; who
    reads gets them whole."""
    pi = start_server(CONFIG)
    pins = http.client.HTTPConnection("127.0.0.1", pi.port, timeout=LIMIT)
    for n in range(6000):
        pins.request("POST", f"/api/pins/an-output-{n % 12:02}/toggle")
        assert pins.getresponse().read()
    pins.close()
    past = b"/api/history?seconds=86400"
    with Witness(pi.port) as witness:
        before = descriptors(pi)
        deaf = [open_socket(pi.port, 4096, address) for address in [GUEST] * 20 + [OTHER] * 2]
        for each in deaf:
            each.sendall(first + GET % past)
            heard = b""
            while b" 200 OK" not in heard:
                heard += each.recv(100)
        wait_until(lambda: descriptors(pi) == before + 6, witness, "sixteen are closed")
        witness.wait_for_states(5)
        assert descriptors(pi) == before + 6
        # Each client first receives what was sent before the close, and then sees the close.
        wait_until(lambda: len(still_open(deaf)) == 6, witness, "sixteen see the end")
        answer = ask(pi, "GET", past.decode(), source=GUEST)
        assert len(answer.body) > 256 * KIB and len(answer.json["pins"]) == 13
        for each in deaf:
            each.close()


def test_heads_too_large(pi):
    """A head of too many lines, cookies or arguments is answered with 431; many are fine."""
    line, cookie, argument = b"X-More: 1\r\n", b"a=1; ", b"a=1&"
    for many, status in ((80, 200), (600, 431)):
        for words in (
            GET % b"/api" + line * many,
            GET % b"/api" + b"Cookie: " + cookie * many + b"\r\n",
            GET % (b"/api?" + argument * many),
        ):
            head = words.replace(b"\r\n\r\n", b"\r\n", 1) + b"\r\n"
            with open_socket(pi.port) as client:
                client.sendall(head)
                assert client.recv(4096).startswith(b"HTTP/1.1 %d " % status)
