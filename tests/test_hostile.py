"""Hostile and broken clients, each beside a viewer that misses nothing: their cost is bounded.

Clients have addresses of the loopback network. Only 127.0.0.1 is this machine itself, whose
connections are not counted."""

import contextlib
import os
import random
import resource
import socket
import ssl
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.net.test_hub import certificate  # noqa: F401
from tests.support.http import HttpClient, ask
from tests.support.load import Witness, wait_until
from tests.support.server import LIMIT, Server, changing, descriptors, memory
from tests.support.sockets import GONE, open_socket, reset
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
X25519, FFDHE8192 = (29, 32), (260, 1024)
"""Number of a group, and bytes of a key."""

Connect = Callable[..., list[socket.socket]]


@pytest.fixture(scope="module")
def pi(start_module_server: Callable[..., Server]) -> Server:
    return start_module_server(CONFIG)


@pytest.fixture
def ssl_line(certificate: Path) -> str:  # noqa: F811
    return f"ssl: {{certificate: {certificate}/cert.pem, key: {certificate}/key.pem}}\n"


@pytest.fixture
def context(certificate: Path) -> ssl.SSLContext:  # noqa: F811
    return ssl.create_default_context(cafile=certificate / "cert.pem")


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Return `connect(server, address, count, data)`: so many connections from an address, each of
    which has sent this. They are closed at the end."""
    opened: list[socket.socket] = []

    def connect(
        server: Server, address: str, count: int, data: bytes = b"", buffer: int | None = None
    ) -> list[socket.socket]:
        for _ in range(count):
            opened.append(open_socket(server.port, buffer, address))
            with contextlib.suppress(*GONE):
                opened[-1].sendall(data)
        return opened[-count:]

    yield connect
    for each in opened:
        each.close()


@contextlib.contextmanager
def unharmed(server: Server, growth: int = 24 * MIB) -> Iterator[Witness]:
    """A viewer beside an attack. Afterwards the server holds no descriptor more than before, not
    much more memory, and has logged no error."""
    with Witness(server.port) as witness:
        open_before, memory_before = descriptors(server), memory(server)
        yield witness
        wait_until(lambda: descriptors(server) <= open_before, witness, "all is closed again")
        assert memory(server) < memory_before + growth
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
        except BlockingIOError:
            found.append(each)
        except GONE:
            pass
        each.settimeout(LIMIT)
    return found


def client_hello(group: int, size: int) -> bytes:
    """Return a ClientHello that names one group and has a key for it, to be sent many times."""

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


HELLO = client_hello(*X25519)


def processor_time(pi: Server) -> float:
    """Return the seconds that the server has computed, in all its life."""
    stat = Path(f"/proc/{pi.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK")


# Clients that send nothing, or nothing more


def test_silent_connections_of_one_address(pi, connect):
    """An address may have 32 silent connections, the newest; one of another address stays. Those of
    this machine are not counted."""
    with unharmed(pi) as witness:
        other = connect(pi, OTHER, 1)[0]
        silent = connect(pi, CLIENT, 40)
        wait_until(lambda: len(still_open(silent)) == 32, witness, "32 are left")
        assert still_open(silent) == silent[-32:]
        assert is_answered(other, b"/api/pins") and is_answered(silent[-1], b"/api/pins")
        this_machine = connect(pi, THIS_MACHINE, 40)
        witness.wait_for_states(5)
        assert len(still_open(this_machine)) == 40
        for each in (other, *silent, *this_machine):
            each.close()


def test_silent_connections_of_many_addresses(start_server, connect):
    """If too many are silent in all, the oldest of the address that has most is closed."""
    pi = start_server(CONFIG, program=changing(max_silent_connections=16))
    with Witness(pi.port) as witness:
        other = connect(pi, OTHER, 1)[0]
        silent = [connect(pi, f"127.0.1.{n}", 8) for n in range(1, 4)]
        every = [each for some in silent for each in some]
        wait_until(lambda: len(still_open(every)) == 15, witness, "the oldest are closed")
        assert is_answered(other, b"/api/pins")


SLOW_HEADS = ("a head", "a handshake")
UNFINISHED = {
    "nothing": b"",
    "a head": GET.replace(b"%s", b"/" + b"x" * 500),
    "a handshake": HANDSHAKE.replace(b"\r\n\r\n", b"\r\nX-More: " + b"x" * 500),
    "no body": PUT,
    "a body": PUT.replace(b"11", b"5000") + b'{"value":1' + b" " * 500,
    "no chunk": CHUNKED,
    "half a chunk": CHUNKED + b"b\r\n{",
}


def test_requests_that_never_end(start_server):
    """A client that sends a request without end, byte by byte or not at all, is closed when its
    time is over, and not before."""
    limits = {"idle_timeout_s": 0.7, "body_timeout_s": 0.7, "first_byte_timeout_s": 0.7}
    pi = start_server(CONFIG, program=changing(**limits))
    with unharmed(pi) as witness, contextlib.ExitStack() as stack:
        clients = {what: stack.enter_context(open_socket(pi.port)) for what in UNFINISHED}
        rest = {}
        began = time.monotonic()
        for what, client in clients.items():
            start = 0 if what in SLOW_HEADS else UNFINISHED[what].find(b"\r\n\r\n") + 4
            client.sendall(UNFINISHED[what][:start])
            rest[what] = UNFINISHED[what][start:]
        while open_now := still_open(list(clients.values())):
            for what, client in clients.items():
                if client in open_now and rest[what]:
                    with contextlib.suppress(*GONE):
                        client.send(rest[what][:1])
                    rest[what] = rest[what][1:]
            assert len(open_now) == len(clients) or time.monotonic() - began > 0.6
            assert time.monotonic() - began < LIMIT
            witness.wait_for_states(1)
        assert all(rest[what] for what in (*SLOW_HEADS, "a body"))


def test_idle_connections(start_server, connect):
    """Hundreds of connections that never finish a request, or wait after one, cost some kilobytes
    each. Once they are closed the next ones cost no more."""
    count = 300
    pi = start_server(CONFIG)
    with Witness(pi.port) as witness:
        open_before, memory_before = descriptors(pi), memory(pi)
        peaks = []
        for _ in range(3):
            idle = connect(pi, THIS_MACHINE, count, GET[:2])
            for connection in (*idle[::10], idle[-1]):  # the last one is accepted after all others
                connection.sendall((GET % b"/api")[2:])
                assert b"200 OK" in connection.recv(65536)
            peaks.append(memory(pi))
            for connection in idle:
                connection.close()
            wait_until(lambda: descriptors(pi) <= open_before, witness, "all are closed")
        assert (peaks[0] - memory_before) / count < 32 * KIB
        assert peaks[2] < peaks[0] * 1.05


# TLS handshakes


@pytest.mark.parametrize("group", [FFDHE8192, X25519], ids=["ffdhe8192", "X25519"])
def test_replayed_client_hellos(start_server, ssl_line, context, connect, group):
    """Many copies of one ClientHello delay no viewer, and each costs a few milliseconds at most."""
    pi = start_server(CONFIG + ssl_line)
    with Witness(pi.port, context=context) as witness:
        before = processor_time(pi)
        attackers = connect(pi, CLIENT, 150, client_hello(*group))
        for each in attackers:
            with contextlib.suppress(*GONE):
                each.recv(1)
        cost_s = (processor_time(pi) - before) / len(attackers)
        witness.wait_for_states(5)
    assert cost_s < 0.02
    assert witness.longest_silence < LIMIT / 3


def test_handshakes_in_progress(start_server, ssl_line, context, connect):
    """An address may have 16 handshakes in progress, the newest: another client of the address
    connects, too. Finished and closed ones, and those of this machine, are not counted."""
    pi = start_server(CONFIG + ssl_line)
    with Witness(pi.port, context=context) as witness:
        begun = connect(pi, CLIENT, 20, HELLO)
        wait_until(lambda: len(still_open(begun)) == 16, witness, "sixteen are left")
        assert still_open(begun) == begun[-16:]
        for address in (CLIENT, OTHER):
            with WebSocketClient(pi.port, address=address, context=context) as viewer:
                assert viewer.receive("hello")
        assert len(still_open(begun)) == 15
        for each in connect(pi, OTHER, 10, HELLO):
            each.close()
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


def test_handshakes_that_never_end(start_server, ssl_line, context, connect):
    """Clients that send nothing, a part of a ClientHello or all of it, and then no more, cost
    little, delay no other client, and are closed when their time is over."""
    limit = 6.0
    limits = {"idle_timeout_s": limit, "first_byte_timeout_s": limit}
    pi = start_server(CONFIG + ssl_line, program=changing(**limits))

    def visit() -> float:
        began = time.monotonic()
        assert ask(pi, "GET", "/api/pins", context=context).status == 200
        return time.monotonic() - began

    visit()
    open_before, memory_before = descriptors(pi), memory(pi)
    silent = []
    for part in (0, len(HELLO) // 2, len(HELLO)):
        silent += connect(pi, THIS_MACHINE, 50, HELLO[:part])
        assert visit() < limit, "it waited for the silent ones"
    for each in connect(pi, THIS_MACHINE, 50, HELLO):
        reset(each)
    assert (memory(pi) - memory_before) / len(silent) < 64 * KIB
    for each in silent:
        with contextlib.suppress(*GONE):
            while each.recv(4096):
                pass
    while descriptors(pi) > open_before:
        visit()
    assert "Traceback" not in pi.log


@pytest.mark.parametrize("is_encrypted", [False, True], ids=["in the hello", "in the request"])
def test_tls_byte_by_byte(start_server, ssl_line, context, is_encrypted):
    """A client that sends a handshake, or a request under TLS, byte by byte is closed in time."""
    pi = start_server(CONFIG + ssl_line, program=changing(idle_timeout_s=0.7))
    slow = open_socket(pi.port)
    if is_encrypted:
        slow = context.wrap_socket(slow, server_hostname="127.0.0.1")
    began = time.monotonic()
    closed = contextlib.suppress(*GONE, ssl.SSLEOFError)
    with slow, WebSocketClient(pi.port, context=context) as beside, closed:
        for byte in (GET % (b"/" + b"x" * 5000)) if is_encrypted else client_hello(*FFDHE8192):
            beside.receive("state")
            slow.sendall(bytes([byte]))
        raise AssertionError("the server read all of it")
    assert 0.6 < time.monotonic() - began < LIMIT


# Requests and frames that cost too much


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


GARBAGE = {
    "zeros": bytes(100_000),
    "noise": random.Random(6).randbytes(100_000),
    "TLS": bytes.fromhex("16030100c8010000c40303") + bytes(500),
    "an endless line": b"GET /" + b"x" * 1_000_000,
    "endless headers": b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 100_000,
    "a body too long": PUT.replace(b"11", b"99999999") + bytes(1_000_000),
    "a negative body": PUT.replace(b"11", b"-1"),
    "two lengths": PUT.replace(b"\r\n\r\n", b"\r\nContent-Length: 12\r\n\r\n"),
    "endless chunks": CHUNKED + b"1\r\nx\r\n" * 100_000,
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(100),
    "a form": PUT.replace(b"Content", b"Content-Type: multipart/form-data; boundary=\r\nContent")
    + b"--\r\n\r\nabc--",
}


@pytest.mark.parametrize("what", GARBAGE)
def test_garbage(pi, what):
    """Bytes that are no valid request end the connection that sent them, and nothing else."""
    with unharmed(pi), contextlib.suppress(*GONE), open_socket(pi.port) as client:
        client.sendall(GARBAGE[what])
        with contextlib.suppress(OSError):  # it is not connected any more
            client.shutdown(socket.SHUT_WR)
        while client.recv(65536):
            pass


FLOODS = {
    "pings": masked(PING, b"p" * 125),
    "pongs": masked(PONG),
    "empty parts": masked(CONTINUATION, fin=False),
    "messages": masked(TEXT, b"{}"),
}


@pytest.mark.parametrize("path", ["/ws", "/trust/proof"])
@pytest.mark.parametrize("what", FLOODS)
def test_flood_of_frames(pi, what, path):
    """Each frame counts: a client that sends thousands is closed with 1008, and not read again."""
    data = masked(TEXT, fin=False) * (what == "empty parts") + FLOODS[what] * 20_000
    with unharmed(pi), WebSocketClient(pi.port, path=path, address=CLIENT) as loud:
        before = processor_time(pi)
        loud.socket.setblocking(False)
        with contextlib.suppress(BlockingIOError, *GONE):
            while data:
                data = data[loud.socket.send(data) :]
        loud.socket.settimeout(LIMIT)
        assert loud.close_code() == (1008 if path == "/ws" else 1000)
        assert processor_time(pi) - before < 2


def test_frames_within_the_limit(pi):
    """Pings, pongs and messages in three parts are answered, as many in a burst as messages."""
    with WebSocketClient(pi.port) as client:
        for _ in range(20):
            client.socket.sendall(masked(PING, b"?") + masked(PONG))
            parts = masked(TEXT, b'{"type":"toggle",', fin=False) + masked(CONTINUATION, fin=False)
            client.socket.sendall(parts + masked(CONTINUATION, b'"pin":"an-output-03"}'))
        pongs = results = 0
        for opcode, payload in client.frames():
            pongs += opcode == PONG
            results += b'"type":"result"' in payload
            assert opcode != CLOSE
            if results == 20:
                break
        assert pongs


# Memory of a connection

FULL = 32 * KIB
HEAD = b"PUT /api/pins/lamp%s HTTP/1.1\r\nHost: 127.0.0.1\r\n"
BODY = b"Content-Length: %d\r\n\r\n" % FULL
LONG = b"".join(b"X-Long-%02d: %s\r\n" % (n, b"x" * 140) for n in range(90))
HEADERS = b"".join(b"%x:\n" % n for n in range(9000))
COOKIES = b"Cookie: " + b";".join(b"%x=" % n for n in range(3000)) + b"\r\n"
FORM = b"Content-Type: application/x-www-form-urlencoded\r\n"
FORM += b"Content-Length: %d\r\n\r\n" + b"&".join(b"%x=" % n for n in range(900))
PIPELINED = (GET % b"/") * 30 + (GET % b"/raspi.js") * 30
WORST = {
    "9,000 headers": HEAD % b"" + HEADERS,
    "5,000 headers and half a body": HEAD % b"" + HEADERS[: 15 * KIB] + BODY + bytes(FULL - 1),
    "long headers and half a body": HEAD % b"" + LONG + BODY + bytes(FULL - 1),
    "many arguments": HEAD % b"?" + b"&".join(b"%x=" % n for n in range(3000)) + BODY,
    "many cookies": HANDSHAKE[:-2] + COOKIES + b"\r\n",
    "small chunks": CHUNKED + b"2\r\nab\r\n" * 4000,
    "one long line": b"GET /" + b"x" * 15 * KIB,
    "half a message": HANDSHAKE + masked(TEXT, bytes(8 * KIB), fin=False) + masked(0, bytes(8000)),
    "pages never read": PIPELINED * 20,
    "a large file never read": (GET % b"/large.bin") * 2000,
    "a large text never read": (GET % b"/large.txt") * 2000,
    "a form never answered": PIPELINED * 3 + (HEAD % b"" + FORM % len(FORM)) * 30,
}
WORST_TLS = ("9,000 headers", "half a message", "pages never read", "a large text never read")


@pytest.mark.parametrize(
    ("what", "is_secure"),
    [(what, False) for what in WORST] + [(what, True) for what in WORST_TLS],
)
def test_memory_of_a_connection(start_server, ssl_line, context, tmp_path, what, is_secure):
    """A connection costs at most 128 KiB, whatever it sends, although its client reads nothing."""
    (tmp_path / "www").mkdir()
    (tmp_path / "www" / "large.bin").write_bytes(bytes(MIB))
    noise = random.Random(1).randbytes(90 * KIB).hex()
    (tmp_path / "www" / "large.txt").write_text(noise)
    pi = start_server(CONFIG + ssl_line * is_secure)
    context = context if is_secure else None

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
    with Witness(pi.port, context=context) as witness:
        open_before = descriptors(pi)
        for path in (b"/", b"/large.txt", b"/raspi.js"):
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
        wait_until(lambda: descriptors(pi) <= open_before, witness, "all are closed")
    assert cost <= 128 * KIB


# Clients that do not read


def test_large_responses_never_read(start_server, connect):
    """Of the large responses that an address does not read four wait, the newest. A client that
    reads gets them whole."""
    limits = {"large_response_bytes": 16 * KIB, "connection_send_buffer_bytes": 4096}
    pi = start_server(CONFIG, program=changing(**limits))
    with HttpClient(pi) as client:
        for n in range(1500):
            assert client.ask("POST", f"/api/pins/an-output-{n % 12:02}/toggle").status == 200
    history = b"/api/history?seconds=86400"
    bad_handshake = HANDSHAKE.replace(b"Sec-WebSocket-Key", b"X-Key")
    for first in (b"", bad_handshake):
        with Witness(pi.port) as witness:
            before = descriptors(pi)
            deaf = [connect(pi, a, 1, first, 4096)[0] for a in [CLIENT] * 8 + [OTHER] * 2]
            for each in deaf:
                each.sendall(GET % history)
                received = b""
                while b" 200 OK" not in received:
                    received += each.recv(100)
            wait_until(lambda: descriptors(pi) == before + 6, witness, "four are closed")  # noqa: B023
            # Each client first receives what was sent before the close, and then sees the close.
            wait_until(lambda: len(still_open(deaf)) == 6, witness, "four see the end")  # noqa: B023
            assert still_open(deaf) == deaf[4:]
            answer = ask(pi, "GET", history.decode(), source=CLIENT)
            assert len(answer.body) > 32 * KIB and len(answer.json["pins"]) == 13
            for each in deaf:
                each.close()


def test_viewers_that_do_not_read(start_server):
    """Viewers that read a byte now and then, or nothing, are closed after a while. They delay no
    other viewer."""
    program = changing(max_viewer_behind_s=1.0, poll_interval_s=0.1)
    pi = start_server(CONFIG, program=program)
    with unharmed(pi) as witness, contextlib.ExitStack() as stack:
        slow, stuck = (
            [stack.enter_context(WebSocketClient(pi.port, 4096)) for _ in range(5)]
            for _ in range(2)
        )
        before = descriptors(pi)

        def are_closed() -> bool:
            for client in slow:
                with contextlib.suppress(*GONE):
                    client.socket.recv(1)
            return descriptors(pi) <= before - len(slow) - len(stuck)

        wait_until(are_closed, witness, "the slow ones are closed")


def test_file_that_is_not_read(start_server, tmp_path, connect):
    """A client that asks for a large file and reads nothing of it is closed after a while."""
    (tmp_path / "www").mkdir()
    (tmp_path / "www" / "large.bin").write_bytes(bytes(20 * MIB))
    pi = start_server(CONFIG, program=changing(unacknowledged_timeout_s=1.0))
    with unharmed(pi) as witness:
        before = descriptors(pi)
        clients = connect(pi, THIS_MACHINE, 5, GET % b"/large.bin", 4096)
        wait_until(lambda: descriptors(pi) >= before + 10, witness, "all are served")
        # They stay open at this end: the server closes them.
    assert len(clients) == 5


# Clients that are offline


def test_resets(pi):
    """Clients that reset their connection before, within or after a request or a frame leave
    nothing behind and delay no viewer."""
    message = masked(TEXT, b'{"type":"toggle","pin":"nope"}')
    requests = (b"", HANDSHAKE, HANDSHAKE + message * 3, GET % b"/api/pins", PUT)
    chance = random.Random(6)
    with unharmed(pi) as witness:
        for number in range(400):
            connection = open_socket(pi.port)
            data = requests[number % len(requests)]
            connection.sendall(data[: chance.randrange(len(data) + 1)] if number % 2 else data)
            reset(connection)
        for cut in range(1, 12):
            viewers = [WebSocketClient(pi.port) for _ in range(3)]
            witness.wait_for_states(1)
            for viewer in viewers:
                viewer.socket.sendall(masked(TEXT, b"hello")[:cut])
                viewer.reset()
    assert witness.longest_silence < LIMIT / 3


def test_viewers_that_answer_no_ping(start_server):
    """A viewer that does not answer a ping is closed with 1013; one that answers stays."""
    program = changing(ping_interval_s=0.3, poll_interval_s=0.1)
    pi = start_server(CONFIG, program=program)
    with unharmed(pi) as witness, contextlib.ExitStack() as stack:
        silent = [stack.enter_context(WebSocketClient(pi.port)) for _ in range(5)]
        assert {client.close_code() for client in silent} == {1013}
        witness.wait_for_states(50)


# More connections than descriptors

DESCRIPTORS = 60


def limit_descriptors() -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS))


@pytest.mark.parametrize("spare", [16, 0], ids=["some are kept", "none is kept"])
def test_more_connections_than_descriptors(start_server, connect, spare):
    """If all descriptors are taken the log says so once. Open connections go on, new ones wait and
    are accepted as soon as there is room. The next time it is logged again."""
    limits = {"accept_retry_interval_s": 0.1, "shortage_over_after_s": 1.0}
    program = changing(spare_descriptors=spare, **limits)
    pi: Server = start_server(CONFIG, program=program, preexec_fn=limit_descriptors)
    with Witness(pi.port) as witness, open_socket(pi.port) as inside:
        assert is_answered(inside, b"/api")
        before = descriptors(pi)
        for episode in (1, 2):
            begun = connect(pi, THIS_MACHINE, 100, GET[:2])
            full = DESCRIPTORS - spare
            wait_until(lambda: descriptors(pi) >= full, witness, "it is full")  # noqa: B023
            with open_socket(pi.port) as waiting:
                waiting.sendall(GET % b"/api/pins")
                witness.wait_for_states(20)
                assert descriptors(pi) <= DESCRIPTORS
                assert is_answered(inside, b"/api/pins")
                if spare:
                    assert is_answered(inside, b"/")
                assert pi.log.count("too many connections") == episode
                for connection in begun:
                    connection.close()
                assert b"200 OK" in waiting.recv(4096)
            wait_until(lambda: descriptors(pi) <= before, witness, "all are closed")
            over = time.monotonic() + 1.0
            wait_until(lambda: time.monotonic() > over, witness, "the shortage is over")  # noqa: B023
    assert "Traceback" not in pi.log


def test_own_work_needs_no_descriptor(start_server, ssl_line, context, connect):
    """With no descriptor left, health and certificate are checked as before, viewers get the
    result, and an error is logged with its traceback and its unprintable characters."""
    program = changing(
        "from raspi_server.web import api",
        "api.Index.get = lambda self: {}['\\u2028']",
        spare_descriptors=0,
        health_interval_s=0.02,
        certificate_check_interval_s=0.02,
    )
    pi = start_server(CONFIG + ssl_line, program=program, preexec_fn=limit_descriptors)
    with (
        WebSocketClient(pi.port, context=context) as viewer,
        context.wrap_socket(open_socket(pi.port), server_hostname="127.0.0.1") as inside,
    ):
        assert is_answered(inside, b"/api/pins")
        addresses = viewer.receive("health")["addresses"]
        while descriptors(pi) < DESCRIPTORS:
            connect(pi, THIS_MACHINE, 1, GET[:2])
            viewer.receive("health")
        for _ in range(20):
            assert viewer.receive("health")["addresses"] == addresses
        assert is_answered(inside, b"/api", 500)
    pi.wait_for_log(r"KeyError: '\\u2028'")
    assert "Exception in callback" not in pi.log
    assert "Logging error" not in pi.log
    assert pi.log.count("Traceback") == 1
    pi.stop()
    pi.lines = []  # the traceback was expected
