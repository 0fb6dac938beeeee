"""Hostile and broken clients, each beside a viewer that misses nothing: their cost is bounded."""

import contextlib
import random
import resource
import socket
import ssl
import time
from collections.abc import Callable, Iterator

import pytest

from tests.net.test_hub import certificate  # noqa: F401
from tests.support.load import Witness, wait_until
from tests.support.server import LIMIT, Server, changing, descriptors, memory
from tests.support.sockets import GONE, open_socket, reset
from tests.support.websocket import HANDSHAKE, PING, TEXT, WebSocketClient, masked

CONFIG = """
access: {control: everyone}
interval: 0.02
pins:
  lamp: {gpio: 17, mode: output}
""" + "".join(f"  an-output-{n:02}: {{gpio: {n}, mode: output}}\n" for n in range(12))

MIB = 1024 * 1024
GET = b"GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
PUT = b"PUT /api/pins/lamp HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 11\r\n\r\n"


@pytest.fixture(scope="module")
def pi(start_module_server: Callable[..., Server]) -> Server:
    return start_module_server(CONFIG)


@contextlib.contextmanager
def unharmed(server: Server, growth: int = 24 * MIB) -> Iterator[Witness]:
    """A viewer beside what happens; when it is over the server holds no descriptor more, and not
    much more memory, than before, and has no complaint."""
    with Witness(server.port) as witness:
        open_before, memory_before = descriptors(server), memory(server)
        yield witness
        wait_until(lambda: descriptors(server) <= open_before, witness, "all is closed again")
        assert memory(server) < memory_before + growth
    assert "Traceback" not in server.log
    assert "ERROR" not in server.log, server.log


@pytest.fixture
def many_descriptors() -> Iterator[int]:
    """As many as this user may have, for servers and tests."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    _, most = before
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    yield most
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def answer(connection: socket.socket, path: bytes) -> bytes:
    """The first bytes of what is at a path."""
    connection.sendall(GET % path)
    return connection.recv(65536)


def begun(port: int) -> socket.socket:
    """A connection that has begun to ask: who is silent is not inside yet."""
    connection = open_socket(port)
    connection.sendall(GET[:2])
    return connection


def ended(connection: socket.socket, path: bytes) -> bytes:
    """The first bytes of the answer to what was begun."""
    connection.sendall((GET % path)[2:])
    return connection.recv(65536)


@pytest.mark.parametrize(
    "words",
    [b"", HANDSHAKE[:50], HANDSHAKE, HANDSHAKE + masked(TEXT, b"{}"), GET % b"/api/pins", PUT],
    ids=["silent", "half a handshake", "handshake", "a message", "a request", "no body"],
)
def test_a_thousand_who_vanish(pi, words):
    """Crowds that connect, say something or nothing, and vanish with a reset, leave no trace."""
    with unharmed(pi):
        for _ in range(1000):
            connection = open_socket(pi.port)
            connection.sendall(words)
            reset(connection)


def test_a_thousand_a_second_for_seconds(pi):
    """A thousand visitors a second, who vanish in the middle of anything, are no burden."""
    words = HANDSHAKE + masked(TEXT, b'{"type":"toggle","pin":"nope"}') * 3
    chance = random.Random(6)
    with unharmed(pi) as witness:
        began = time.monotonic()
        for _ in range(4000):
            connection = open_socket(pi.port)
            connection.sendall(words[: chance.randrange(len(words))])
            reset(connection)
        rate = 4000 / (time.monotonic() - began)
        witness.wait_for_states(1)
    print(f"{rate:.0f} visitors a second, longest silence {witness.longest_silence:.3f} s")
    assert witness.longest_silence < LIMIT / 10


def test_resets_in_the_middle_of_a_frame(pi):
    """Viewers whose connection is reset while they speak and are spoken to end alone."""
    with unharmed(pi) as witness:
        for cut in range(1, 12):
            crowd = [WebSocketClient(pi.port) for _ in range(20)]
            witness.wait_for_states(1)
            for client in crowd:
                client.socket.sendall(masked(TEXT, b"hello")[:cut])
                reset(client.socket)


@pytest.mark.parametrize("vanish", [False, True], ids=["silent", "vanishing"])
def test_half_a_tls_handshake(start_server, certificate, vanish):  # noqa: F811
    """Who begins TLS and says no more is let go, and so is who vanishes."""
    config = CONFIG + f"ssl: {{certificate: {certificate}/cert.pem, key: {certificate}/key.pem}}\n"
    pi = start_server(config, program=changing(idle_timeout_s=1.0))
    before = descriptors(pi)
    words = client_hello()
    crowd = [open_socket(pi.port) for _ in range(300)]
    for n, connection in enumerate(crowd):
        connection.sendall(words[: n * 2])
        if vanish:
            reset(connection)
    if not vanish:
        for connection in crowd:
            with contextlib.suppress(*GONE):
                while connection.recv(4096):
                    pass
            connection.close()
    context = ssl.create_default_context(cafile=certificate / "cert.pem")
    with context.wrap_socket(open_socket(pi.port), server_hostname="127.0.0.1") as late:
        assert b"200 OK" in answer(late, b"/api")
        late.settimeout(LIMIT)
        assert late.recv(4096) == b"" or late.recv(4096) == b""  # idle, and so let go as well
    assert descriptors(pi) <= before


def client_hello() -> bytes:
    """The first bytes that a browser sends over TLS."""
    hello = ssl.MemoryBIO()
    client = ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), hello, server_hostname="a.b")
    with contextlib.suppress(ssl.SSLWantReadError):
        client.do_handshake()
    return hello.read()


def test_a_thousand_half_handshakes(start_server, certificate, many_descriptors):  # noqa: F811
    """A thousand who say nothing, half a word or a whole one, and then no more, cost little, hold
    up nobody, and are gone when their time is over."""
    config = CONFIG + f"ssl: {{certificate: {certificate}/cert.pem, key: {certificate}/key.pem}}\n"
    pi = start_server(config, program=changing(idle_timeout_s=10.0))
    context = ssl.create_default_context(cafile=certificate / "cert.pem")

    def visit() -> float:
        """Return the seconds until another client is served."""
        began = time.monotonic()
        with context.wrap_socket(open_socket(pi.port), server_hostname="127.0.0.1") as other:
            assert b"200 OK" in answer(other, b"/api/pins")
        return time.monotonic() - began

    visit()
    memory_before = memory(pi)
    words = client_hello()
    crowd = []
    slowest = 0.0
    for n in range(1000):
        crowd.append(open_socket(pi.port))
        crowd[-1].sendall(words[: n % 3 * len(words) // 2])
        if n % 100 == 99:
            slowest = max(slowest, visit())
    assert descriptors(pi) >= 1000
    each = (memory(pi) - memory_before) / 1000
    print(f"{each / 1024:.1f} KiB each, others served within {slowest:.3f} s")
    assert each < 64 * 1024
    assert slowest < LIMIT / 10
    for connection in crowd:
        with contextlib.suppress(*GONE):
            while connection.recv(4096):
                pass
        connection.close()
    visit()
    assert "Traceback" not in pi.log


@pytest.mark.parametrize("begun", [False, True], ids=["in the hello", "in the request"])
def test_tls_byte_by_byte(start_server, certificate, begun):  # noqa: F811
    """Who draws out a handshake, or a request under TLS, byte by byte is let go in time."""
    config = CONFIG + f"ssl: {{certificate: {certificate}/cert.pem, key: {certificate}/key.pem}}\n"
    pi = start_server(config, program=changing(idle_timeout_s=0.7))
    context = ssl.create_default_context(cafile=certificate / "cert.pem")
    slow = open_socket(pi.port)
    if begun:
        slow = context.wrap_socket(slow, server_hostname="127.0.0.1")
    began = time.monotonic()
    gone = contextlib.suppress(*GONE, ssl.SSLEOFError)
    with slow, WebSocketClient(pi.port, context=context) as beside, gone:
        states = (each for each in beside.messages() if each["type"] == "state")
        for byte in (GET % (b"/" + b"x" * 5000)) if begun else client_hello():
            next(states)
            slow.sendall(bytes([byte]))
        raise AssertionError("it was heard to the end")
    assert 0.6 < time.monotonic() - began < LIMIT


def test_slow_readers_and_zero_windows(start_server):
    """Phones that read a byte now and then, or nothing at all, cost little, are let go after a
    while with 1013, and hold up nobody."""
    program = changing(max_viewer_behind_s=1.0, poll_interval_s=0.1)
    pi = start_server(CONFIG, program=program)
    with unharmed(pi) as witness:
        slow, stuck = ([WebSocketClient(pi.port, 4096) for _ in range(30)] for _ in range(2))
        before = descriptors(pi)

        def are_gone() -> bool:
            for client in slow:
                with contextlib.suppress(*GONE):
                    client.socket.recv(1)
            return descriptors(pi) <= before - 60

        wait_until(are_gone, witness, "the slow ones are let go")
        for client in stuck + slow:
            client.socket.close()


def test_a_stuck_reader_of_a_page(start_server, tmp_path):
    """A client that asks for a large page and takes none of it costs a few bytes, and is let go."""
    (tmp_path / "www").mkdir()
    (tmp_path / "www" / "large.bin").write_bytes(bytes(20 * MIB))
    pi = start_server(CONFIG, program=changing(unacknowledged_timeout_s=1.0))
    crowd = []
    with unharmed(pi) as witness:
        before = descriptors(pi)
        for _ in range(50):
            crowd.append(open_socket(pi.port, 4096))
            crowd[-1].sendall(GET % b"/large.bin")
        wait_until(lambda: descriptors(pi) >= before + 100, witness, "all are served")
        # They stay open at this end: it is the server that lets go.
    for client in crowd:
        client.close()


def insist(client: socket.socket, words: bytes, beside: Witness) -> int:
    """Says the same again and again, as fast as the other end takes it, until it has taken nothing
    for twenty states, or for fifty states in all. How many bytes went out."""
    client.setblocking(False)
    rest = b""
    sent = 0
    until, taken_until = beside.states + 50, beside.states + 20
    while beside.states < min(until, taken_until):
        rest = rest or words
        try:
            count = client.send(rest)
        except BlockingIOError:
            beside.wait_for_states(1)
        else:
            taken_until = beside.states + 20
            rest = rest[count:]
            sent += count
    return sent


def test_questions_without_end(pi):
    """A client that asks and asks and reads no answer is not remembered word for word."""
    with unharmed(pi) as witness, open_socket(pi.port, 4096) as greedy:
        before = memory(pi)
        sent = insist(greedy, GET % b"/api/pins" * 100, witness)
        print(f"{sent} bytes of questions, {memory(pi) - before} more held")
        assert memory(pi) < before + 8 * MIB


def test_pings_without_end(pi):
    """A client that pings without end and reads no pong costs nothing but its own turn, and is let
    go."""
    with (
        unharmed(pi) as witness,
        WebSocketClient(pi.port, 4096) as loud,
        contextlib.suppress(*GONE),
    ):
        before = memory(pi)
        sent = insist(loud.socket, masked(PING, b"p" * 125) * 500, witness)
        print(f"{sent} bytes of pings, {memory(pi) - before} more held")
        assert memory(pi) < before + 8 * MIB


def test_half_open_connections(start_server):
    """A phone that has gone without a word is let go after a ping it does not answer; one that
    answers stays."""
    program = changing(ping_interval_s=0.3, poll_interval_s=0.1)
    pi = start_server(CONFIG, program=program)
    with unharmed(pi) as witness:
        gone = [WebSocketClient(pi.port) for _ in range(30)]
        assert {client.close_code() for client in gone} == {1013}
        witness.wait_for_states(50)
        for client in gone:
            client.socket.close()


SLOW_WORDS = {
    "nothing": b"",
    "a head byte by byte": GET.replace(b"%s", b"/" + b"x" * 500),
    "a handshake byte by byte": HANDSHAKE.replace(b"\r\n\r\n", b"\r\nX-More: " + b"x" * 500),
}
SLOW_BODIES = {
    "no body": PUT,
    "a body byte by byte": PUT.replace(b"11", b"5000") + b'{"value":1' + b" " * 500,
    "no chunk": PUT.replace(b"Content-Length: 11", b"Transfer-Encoding: chunked"),
    "half a chunk": PUT.replace(b"Content-Length: 11", b"Transfer-Encoding: chunked") + b"b\r\n{",
}


@pytest.mark.parametrize("what", [*SLOW_WORDS, *SLOW_BODIES])
def test_words_that_never_end(start_server, what):
    """Who takes for ever to ask is let go when the time for it is over, byte by byte or silent."""
    program = changing(idle_timeout_s=0.7, body_timeout_s=0.7)
    pi = start_server(CONFIG, program=program)
    words = {**SLOW_WORDS, **SLOW_BODIES}[what]
    with unharmed(pi) as witness:
        crowd = [open_socket(pi.port) for _ in range(50)]
        head = words.find(b"\r\n\r\n") + 4 if what in SLOW_BODIES else 0
        for client in crowd:
            client.sendall(words[:head])
            client.setblocking(False)
        began = time.monotonic()
        for byte in words[head:]:
            alive = [client for client in crowd if _send(client, bytes([byte]))]
            if not alive:
                break
            witness.wait_for_states(1)
        else:
            assert len(words) - head < 20, "nobody was let go"
        for client in crowd:
            client.settimeout(LIMIT)
            with contextlib.suppress(*GONE):
                while client.recv(4096):
                    pass
        assert time.monotonic() - began >= 0.6, "they had their time"
        for client in crowd:
            client.close()


def _send(client: socket.socket, data: bytes) -> bool:
    """Return whether the other end still takes the bytes."""
    with contextlib.suppress(*GONE):
        return client.send(data) > 0
    return False


def test_thousands_of_idle_connections(start_server, many_descriptors):
    """Thousands who never finish their sentence, or ask once and stay, cost some kilobytes each
    and nothing once they are gone; thousands more cost no more."""
    count = min(3000, many_descriptors // 3)
    pi = start_server(CONFIG)
    with Witness(pi.port) as witness:
        open_before, memory_before = descriptors(pi), memory(pi)
        peaks = []
        for _ in range(3):
            crowd = [begun(pi.port) for _ in range(count)]
            for connection in crowd[::10]:
                assert b"200 OK" in ended(connection, b"/api")
            wait_until(lambda: descriptors(pi) >= open_before + count, witness, "all are inside")
            peaks.append(memory(pi))
            for connection in crowd:
                connection.close()
            wait_until(lambda: descriptors(pi) <= open_before, witness, "all are gone")
        each = (peaks[0] - memory_before) / count
        print(f"{each / 1024:.1f} KiB each; {[peak // 1024 for peak in peaks]} KiB")
        assert each < 32 * 1024
        assert peaks[2] < peaks[0] * 1.05


@pytest.mark.parametrize("spare", [16, 0], ids=["with some kept back", "to the last one"])
def test_more_callers_than_descriptors(start_server, spare):
    """When all descriptors are taken the log says so once, those inside go on, those outside wait,
    and come in as soon as there is room; the next time it is said again."""
    program = changing(
        spare_descriptors=spare, accept_retry_interval_s=0.1, shortage_over_after_s=1.0
    )
    limit = (60, 60)
    pi: Server = start_server(
        CONFIG,
        program=program,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, limit),
    )
    with Witness(pi.port) as witness, open_socket(pi.port) as inside:
        assert b"200 OK" in answer(inside, b"/api")
        before = descriptors(pi)
        for episode in (1, 2):
            crowd = [begun(pi.port) for _ in range(100)]
            wait_until(lambda: descriptors(pi) >= limit[0] - spare, witness, "it is full")
            with open_socket(pi.port) as waiting:
                waiting.sendall(GET % b"/api/pins")
                witness.wait_for_states(20)
                assert descriptors(pi) <= limit[0]
                assert b"200 OK" in answer(inside, b"/api/pins")
                if spare:
                    assert b"200 OK" in answer(inside, b"/")
                assert said(pi) == episode
                for connection in crowd:
                    connection.close()
                assert b"200 OK" in waiting.recv(4096)
            wait_until(lambda: descriptors(pi) <= before, witness, "all are gone")
            calm = time.monotonic() + 1.0
            wait_until(lambda: time.monotonic() > calm, witness, "it has been calm")  # noqa: B023
    assert "Traceback" not in pi.log


def test_what_runs_by_itself_needs_no_descriptor(start_server, certificate):  # noqa: F811
    """With no descriptor left, health and certificate are looked at as ever, viewers hear of it,
    and a failure is logged, with its traceback and its unprintable words."""
    program = changing(
        "from raspi_server.web import api",
        "api.Index.get = lambda self: {}['\\u2028']",
        spare_descriptors=0,
        health_interval_s=0.02,
        certificate_check_interval_s=0.02,
    )
    pair = f"ssl: {{certificate: {certificate}/cert.pem, key: {certificate}/key.pem}}\n"
    pi = start_server(
        CONFIG + pair,
        program=program,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (60, 60)),
    )
    context = ssl.create_default_context(cafile=certificate / "cert.pem")

    def heard(viewer: WebSocketClient, count: int) -> list[dict[str, object]]:
        healths = (each for each in viewer.messages() if each["type"] == "health")
        return [next(healths) for _ in range(count)]

    raw = open_socket(pi.port)
    with (
        WebSocketClient(pi.port, context=context) as viewer,
        context.wrap_socket(raw, server_hostname="127.0.0.1") as inside,
    ):
        assert b"200 OK" in answer(inside, b"/api/pins")
        addresses = heard(viewer, 1)[0]["addresses"]
        crowd = []
        while descriptors(pi) < 60:
            crowd.append(begun(pi.port))
            heard(viewer, 1)
        assert {str(each["addresses"]) for each in heard(viewer, 20)} == {str(addresses)}
        assert b" 500 " in answer(inside, b"/api")
        for connection in crowd:
            connection.close()
    pi.wait_for_log(r"KeyError: '\\u2028'")
    assert "Exception in callback" not in pi.log
    assert "Logging error" not in pi.log
    assert pi.log.count("Traceback") == 1
    pi.stop()
    pi.lines = []  # we asked for the traceback


def said(server: Server) -> int:
    return server.log.count("too many connections")


def test_a_sleeping_phone_wakes_to_the_present(pi):
    """A phone that sleeps through thousands of states finds the few its own buffer had room for,
    and then the present; the server keeps none for it."""
    with unharmed(pi) as witness:
        phone = WebSocketClient(pi.port, 4096)
        witness.wait_for_states(250)
        last = witness.seqs[-1]
        stale = 0
        for message in phone.messages():
            if message.get("seq", 0) > last:
                break
            stale += message["type"] == "state"
        assert message["type"] in ("state", "change")
        print(f"{stale} stale states")
        assert stale < 40
        phone.socket.close()


GARBAGE = {
    "zeros": bytes(100_000),
    "noise": random.Random(6).randbytes(100_000),
    "TLS": bytes.fromhex("16030100c8010000c40303") + bytes(500),
    "an endless line": b"GET /" + b"x" * 1_000_000,
    "endless headers": b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 100_000,
    "a body too long": PUT.replace(b"11", b"99999999") + bytes(1_000_000),
    "a negative body": PUT.replace(b"11", b"-1"),
    "two lengths": PUT.replace(b"\r\n\r\n", b"\r\nContent-Length: 12\r\n\r\n"),
    "endless chunks": PUT.replace(b"Content-Length: 11", b"Transfer-Encoding: chunked")
    + b"1\r\nx\r\n" * 100_000,
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(100),
    "a form": PUT.replace(b"Content", b"Content-Type: multipart/form-data; boundary=\r\nContent")
    + b"--\r\n\r\nabc--",
}


@pytest.mark.parametrize("what", GARBAGE)
def test_garbage(pi, what):
    """Whatever else is thrown at the door bounces off it."""
    with unharmed(pi):
        for _ in range(3):
            with open_socket(pi.port) as thrower, contextlib.suppress(*GONE):
                thrower.sendall(GARBAGE[what])
                with contextlib.suppress(OSError):  # it is not connected any more
                    thrower.shutdown(socket.SHUT_WR)
                while thrower.recv(65536):
                    pass
