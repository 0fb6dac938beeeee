"""Hostile and broken clients, each beside a viewer that misses nothing: their cost is bounded.

Clients have addresses of the loopback network. Only 127.0.0.1 is this machine itself, whose
connections are not counted."""

import contextlib
import resource
import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.http import HttpClient, ask
from tests.support.load import Witness, wait_until
from tests.support.server import LIMIT, Server, changing, descriptors, memory
from tests.support.sockets import GONE, open_socket
from tests.support.websocket import (
    CONTINUATION,
    HANDSHAKE,
    PING,
    PONG,
    TEXT,
    WebSocketClient,
    masked,
)

pytestmark = pytest.mark.slow

CONFIG = """
access: {control: everyone}
interval: 0.02
pins:
  lamp: {gpio: 17, mode: output}
""" + "".join(f"  an-output-{n:02}: {{gpio: {n}, mode: output}}\n" for n in range(12))

THIS_MACHINE, CLIENT, OTHER = "127.0.0.1", "127.0.1.1", "127.0.2.1"
KIB, MIB = 1024, 1024 * 1024
GET = b"GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
PUT = b"PUT /api/pins/lamp HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 11\r\n\r\n"
CHUNKED = PUT.replace(b"Content-Length: 11", b"Transfer-Encoding: chunked")


@pytest.fixture
def secure(certificate: Path) -> tuple[str, ssl.SSLContext]:
    """A configuration with TLS, and the context of a client that trusts it."""
    pair = f"ssl: {{certificate: {certificate}/cert.pem, key: {certificate}/key.pem}}\n"
    return pair + CONFIG, ssl.create_default_context(cafile=certificate / "cert.pem")


@contextlib.contextmanager
def unharmed(server: Server, context: ssl.SSLContext | None = None) -> Iterator[Witness]:
    """A viewer beside an attack, which leaves no descriptor, little memory and no error behind."""
    with Witness(server.port, context) as witness:
        open_before, memory_before = descriptors(server), memory(server)
        yield witness
        wait_until(lambda: descriptors(server) <= open_before, witness, "all is closed again")
        assert memory(server) < memory_before + 24 * MIB
    assert "Traceback" not in server.log
    assert "ERROR" not in server.log, server.log


def is_answered(connection: socket.socket, path: bytes, status: int = 200) -> bool:
    """Return True if a request on this connection gets an answer with this status."""
    connection.sendall(GET % path)
    return connection.recv(65536).startswith(b"HTTP/1.1 %d " % status)


def still_open(connections: list[socket.socket]) -> list[socket.socket]:
    """Return those that the server has not closed, whatever it has sent on them."""
    found = []
    for each in connections:
        each.setblocking(False)
        try:
            while each.recv(65536):
                pass
        except (BlockingIOError, ssl.SSLWantReadError):
            found.append(each)
        except (*GONE, ssl.SSLError):
            pass
        each.settimeout(LIMIT)
    return found


def client_hello() -> bytes:
    """Return the first bytes of a TLS client."""
    hello = ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), hello, False, "pi").do_handshake()
    return hello.read()


HELLO = client_hello()


def test_silent_connections(start_server, connect):
    """An address may have 32 silent connections, the newest; this machine may have more. If too
    many are silent in all, the oldest of the address that has most is closed."""
    pi = start_server(CONFIG, program=changing(max_silent_connections=80, first_byte_timeout_s=1e3))
    with unharmed(pi) as witness:
        other = connect(pi, OTHER, 1)[0]
        silent = connect(pi, CLIENT, 40)
        wait_until(lambda: len(still_open(silent)) == 32, witness, "32 are left")
        assert still_open(silent) == silent[-32:]
        this_machine = connect(pi, THIS_MACHINE, 40)
        newest = [connect(pi, f"127.0.3.{n}", 1)[0] for n in range(1, 11)]
        wait_until(lambda: len(still_open(this_machine)) == 37, witness, "three are closed")
        assert still_open(this_machine) == this_machine[3:]
        for each in (other, silent[-1], newest[-1]):
            assert is_answered(each, b"/api/pins")
        for each in (other, *silent, *this_machine, *newest):
            each.close()


UNFINISHED = {
    "nothing": (b"", b""),
    "a head": (b"", GET.replace(b"%s", b"/" + b"x" * 500)),
    "no body": (PUT, b""),
    "a body": (PUT.replace(b"11", b"5000"), b'{"value":1' + b" " * 500),
    "half a chunk": (CHUNKED, b"b\r\n{"),
}
UNFINISHED_TLS = {
    "nothing": (b"", b""),
    "half a hello": (HELLO[:100], b""),
    "a whole hello": (HELLO, b""),
    "a slow hello": (b"", HELLO),
}


@pytest.mark.parametrize("is_secure", [False, True], ids=["http", "https"])
def test_requests_that_never_end(start_server, secure, connect, is_secure):
    """A request or handshake without end, or without a byte, is closed when its time is over."""
    limits = {"idle_timeout_s": 0.7, "body_timeout_s": 0.7, "first_byte_timeout_s": 0.7}
    config, context = secure if is_secure else (CONFIG, None)
    pi = start_server(config, program=changing(**limits))
    with unharmed(pi, context) as witness, contextlib.ExitStack() as stack:
        began = time.monotonic()
        rest: dict[socket.socket, bytes] = {}
        for at_once, slowly in (UNFINISHED_TLS if is_secure else UNFINISHED).values():
            (client,) = connect(pi, THIS_MACHINE, 1, at_once)
            rest[client] = slowly
        if is_secure:
            client = context.wrap_socket(open_socket(pi.port), server_hostname="127.0.0.1")
            rest[stack.enter_context(client)] = GET % (b"/" + b"x" * 500)
        slow = [client for client in rest if len(rest[client]) > 100]
        while open_now := still_open([*rest]):
            assert len(open_now) == len(rest) or time.monotonic() - began > 0.6
            assert time.monotonic() - began < LIMIT
            for client in open_now:
                with contextlib.suppress(*GONE, ssl.SSLError):
                    client.sendall(rest[client][:1])
                rest[client] = rest[client][1:]
            witness.wait_for_states(1)
        assert all(rest[client] for client in slow), "the server read all of it"


def test_handshakes_in_progress(start_server, secure, connect):
    """An address may have 16 handshakes in progress, the newest. This machine may have more."""
    config, context = secure
    pi = start_server(config)
    with Witness(pi.port, context) as witness:
        begun = connect(pi, CLIENT, 20, HELLO)
        wait_until(lambda: len(still_open(begun)) == 16, witness, "sixteen are left")
        assert still_open(begun) == begun[-16:]
        for address in (CLIENT, OTHER):
            with WebSocketClient(pi.port, address=address, context=context) as viewer:
                assert viewer.receive("hello")
        assert len(still_open(begun)) == 15
        finished = [
            context.wrap_socket(connect(pi, OTHER, 1)[0], server_hostname="127.0.0.1")
            for _ in range(20)
        ]
        here = connect(pi, THIS_MACHINE, 20, HELLO)
        witness.wait_for_states(5)
        for each in finished:
            assert is_answered(each, b"/api/pins")
            each.close()
        assert len(still_open(here)) == 20
    assert "too many" not in pi.log


def test_large_heads(pi):
    """A head of more than 100 lines, or more than 200 cookies and arguments, gets 431."""
    line, cookie, argument = b"X-More: 1\r\n", b"a=1; ", b"a=1&"
    for more, status in ((0, b"200"), (1, b"431")):
        for head in (
            GET % b"/api" + line * (97 + more),
            GET % b"/api" + b"Cookie: " + cookie * (199 + more) + b"a=1\r\n",
            GET % (b"/api?" + argument * (199 + more) + b"a=1"),
        ):
            with open_socket(pi.port) as client:
                client.sendall(head.replace(b"\r\n\r\n", b"\r\n", 1) + b"\r\n")
                assert client.recv(4096).startswith(b"HTTP/1.1 " + status)


def test_floods_of_frames(pi):
    """Each frame counts: a client that sends thousands is closed with 1008, and not read again."""
    ping, part = masked(PING, b"p" * 125), masked(CONTINUATION, fin=False)
    with unharmed(pi), contextlib.ExitStack() as stack:
        for first, flood, path, code in (
            (b"", ping, "/ws", 1008),
            (b"", masked(PONG), "/ws", 1008),
            (masked(TEXT, fin=False), part, "/ws", 1008),
            (b"", masked(TEXT, b"{}"), "/ws", 1008),
            (b"", ping, "/trust/proof", 1000),
        ):
            loud = stack.enter_context(WebSocketClient(pi.port, path=path, address=CLIENT))
            data = first + flood * 20_000
            loud.socket.setblocking(False)
            with contextlib.suppress(BlockingIOError, *GONE):
                while data:
                    data = data[loud.socket.send(data) :]
            loud.socket.settimeout(LIMIT)
            assert loud.close_code() == code


FULL = 32 * KIB
HEAD = b"PUT /api/pins/lamp HTTP/1.1\r\nHost: 127.0.0.1\r\n"
LONG = b"".join(b"X-Long-%02d: %s\r\n" % (n, b"x" * 140) for n in range(90))
FORM = b"Content-Type: application/x-www-form-urlencoded\r\n"
FORM += b"Content-Length: %d\r\n\r\n" + b"&".join(b"%x=" % n for n in range(900))
PIPELINED = (GET % b"/") * 30 + (GET % b"/raspi.js") * 30
WORST = {
    "9,000 headers": HEAD + b"".join(b"%x:\n" % n for n in range(9000)),
    "half a body": HEAD + LONG + b"Content-Length: %d\r\n\r\n" % FULL + bytes(FULL - 1),
    "small chunks": CHUNKED + b"2\r\nab\r\n" * 4000,
    "half a message": HANDSHAKE + masked(TEXT, bytes(8 * KIB), fin=False) + masked(0, bytes(8000)),
    "a large file never read": (GET % b"/large.bin") * 2000,
    "a form never answered": PIPELINED * 3 + (HEAD + FORM % len(FORM)) * 30,
    "pages never read": PIPELINED * 20,
}


@pytest.mark.parametrize(
    ("what", "is_secure"),
    [(what, what in ("half a message", "pages never read")) for what in WORST],
)
def test_memory_of_a_connection(start_server, secure, tmp_path, what, is_secure):
    """A connection costs at most 128 KiB, whatever it sends, although its client reads nothing."""
    (tmp_path / "www").mkdir()
    (tmp_path / "www" / "large.bin").write_bytes(bytes(MIB))
    config, context = secure if is_secure else (CONFIG, None)
    pi = start_server(config)

    def send(client: socket.socket) -> None:
        with contextlib.suppress(OSError):  # no room, or closed by the server
            while rest[client]:
                rest[client] = rest[client][client.send(rest[client][: 16 * KIB]) :]

    def attack(address: str, data: bytes) -> socket.socket:
        client = open_socket(pi.port, 4096, address)
        if context:
            client = context.wrap_socket(client, server_hostname="127.0.0.1")
        client.setblocking(False)
        rest[client] = data
        send(client)
        return client

    rest: dict[socket.socket, bytes] = {}
    with Witness(pi.port, context) as witness:
        for path in (b"/", b"/raspi.js"):
            attack(OTHER, GET % path)
        witness.wait_for_states(20)
        before = memory(pi)
        attackers = [attack(CLIENT, WORST[what]) for _ in range(60)]
        for _ in range(5):
            witness.wait_for_states(4)
            for client in attackers:  # what the server has read meanwhile makes room for more
                send(client)
        cost = (memory(pi) - before) / len(attackers)
        for client in rest:
            client.close()
    assert cost <= 128 * KIB


def test_large_responses_never_read(start_server, connect):
    """Of the large responses that an address does not read the newest four wait."""
    limits = {"large_response_bytes": 16 * KIB, "connection_send_buffer_bytes": 4096}
    pi = start_server(CONFIG, program=changing(**limits))
    with HttpClient(pi) as client:
        for n in range(1500):
            assert client.ask("POST", f"/api/pins/an-output-{n % 12:02}/toggle").status == 200
    history = "/api/history?seconds=86400"
    with unharmed(pi) as witness:
        before = descriptors(pi)
        deaf = [connect(pi, a, 1, b"", 4096)[0] for a in [CLIENT] * 8 + [OTHER] * 2]
        for each in deaf:
            assert is_answered(each, history.encode())
        wait_until(lambda: descriptors(pi) == before + 6, witness, "four are closed")
        # Each client first receives what was sent before the close, and then sees the close.
        wait_until(lambda: len(still_open(deaf)) == 6, witness, "four see the end")
        assert still_open(deaf) == deaf[4:]
        answer = ask(pi, "GET", history, source=CLIENT)
        assert len(answer.body) > 32 * KIB and len(answer.json["pins"]) == 13
        for each in deaf:
            each.close()


def test_file_that_is_not_read(start_server, tmp_path, connect):
    """A client that asks for a large file and reads nothing of it is closed after a while."""
    (tmp_path / "www").mkdir()
    (tmp_path / "www" / "large.bin").write_bytes(bytes(20 * MIB))
    pi = start_server(CONFIG, program=changing(unacknowledged_timeout_s=1.0))
    with unharmed(pi):
        for each in connect(pi, THIS_MACHINE, 5, GET % b"/large.bin", 4096):
            assert each.recv(1)
        # They stay open at this end: the server closes them.


def test_viewers_that_answer_no_ping(start_server):
    """A viewer that does not answer a ping is closed with 1013; one that answers stays."""
    pi = start_server(CONFIG, program=changing(ping_interval_s=1.5, poll_interval_s=0.1))
    with unharmed(pi), contextlib.ExitStack() as stack:
        silent = [stack.enter_context(WebSocketClient(pi.port)) for _ in range(5)]
        assert {client.close_code() for client in silent} == {1013}


def test_more_connections_than_descriptors(start_server, connect):
    """If all descriptors but those for files are taken, the log says so once, and each next time.
    Open connections go on, new ones wait and are accepted as soon as there is room."""
    most, spare = 60, 16
    limits = {"accept_retry_interval_s": 0.1, "shortage_over_after_s": 1.0}
    pi: Server = start_server(
        CONFIG,
        program=changing(spare_descriptors=spare, **limits),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (most, most)),
    )
    with Witness(pi.port) as witness, open_socket(pi.port) as inside:
        assert is_answered(inside, b"/api")
        before = descriptors(pi)
        for episode in (1, 2):
            begun = connect(pi, THIS_MACHINE, 100, GET[:2])
            wait_until(lambda: descriptors(pi) >= most - spare, witness, "it is full")
            with open_socket(pi.port) as waiting:
                waiting.sendall(GET % b"/api/pins")
                witness.wait_for_states(20)
                assert is_answered(inside, b"/api/pins") and is_answered(inside, b"/")
                assert pi.log.count("too many connections") == episode
                for connection in begun:
                    connection.close()
                assert b"200 OK" in waiting.recv(4096)
            wait_until(lambda: descriptors(pi) <= before, witness, "all are closed")
            over = time.monotonic() + 1.0
            wait_until(lambda: time.monotonic() > over, witness, "the shortage is over")  # noqa: B023
    assert "Traceback" not in pi.log
