"""Connection limits: no client alone can take all connections, and the owner, with the control
code, gets in and stays in. Clients have addresses of the loopback network; of these only 127.0.0.1
is this machine itself."""

import contextlib
import os
import resource
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from raspi_server.security.codes import Codes
from tests.support.http import ask
from tests.support.load import Siege, Witness, wait_until
from tests.support.server import Server, changing, descriptors
from tests.support.sockets import GONE, open_socket
from tests.support.websocket import WebSocketClient

CONFIG = """
interval: 0.02
pins: {lamp: {gpio: 17, mode: output, control: everyone}, door: {gpio: 27, mode: output}}
"""
GET = b"GET /api/pins HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
MOST, MOST_OF_ONE = 40, 10
SMALL = {"max_connections": MOST, "max_connections_per_address": MOST_OF_ONE}
CLIENT, OTHER, OWNER = "127.0.1.1", "127.0.2.1", "127.0.3.1"


@pytest.fixture
def start(start_server: Callable[..., Server], tmp_path: Path) -> Callable[..., Server]:
    """Start a server with small limits, whose control code is known."""

    def start(limits: dict[str, float] | None = None, **options: Any) -> Server:
        environment = {**os.environ, "STATE_DIRECTORY": str(tmp_path)}
        program = changing(**{**SMALL, **(limits or {})})
        return start_server(CONFIG, program=program, env=environment, **options)

    return start


@pytest.fixture
def code(tmp_path: Path) -> str:
    return Codes(tmp_path).renew("control")


def is_served(connection: socket.socket) -> bool:
    try:
        connection.sendall(GET)
        return connection.recv(65536).startswith(b"HTTP/1.1 200 OK")
    except GONE:
        return False


def served(crowd: list[socket.socket]) -> int:
    """Return how many of them are still open."""
    return sum(is_served(connection) for connection in crowd)


@pytest.fixture
def connect() -> Iterator[Callable[..., list[socket.socket]]]:
    """Return `connect(server, address, count)`, which opens connections from an address, one after
    the other. Each sends a request: a silent connection does not count yet."""
    opened: list[socket.socket] = []

    def connect(server: Server, address: str, count: int) -> list[socket.socket]:
        for _ in range(count):
            opened.append(open_socket(server.port, address=address))
            is_served(opened[-1])
        return opened[-count:]

    yield connect
    for each in opened:
        each.close()


def test_one_address_takes_its_share(
    start: Callable[..., Server], connect: Callable[..., list[socket.socket]]
) -> None:
    """A client that opens connection after connection loses its own oldest ones; another client and
    the viewers of this machine notice nothing."""
    server = start()
    with Witness(server.port), WebSocketClient(server.port, address=OTHER) as neighbour:
        crowd = connect(server, CLIENT, 5 * MOST)
        assert served(crowd) == MOST_OF_ONE
        assert served(crowd[-MOST_OF_ONE:]) == MOST_OF_ONE
        heard = neighbour.messages()
        assert [next(heard)["type"] for _ in range(2 * MOST)][0] == "hello"
        assert ask(server, "GET", "/api/pins", source=OTHER).status == 200
    server.wait_for_log(
        f"WARNING too many connections, more than {MOST_OF_ONE} from {CLIENT}:"
        " its oldest are closed"
    )
    assert server.log.count("too many connections") == 1


def test_eviction_from_the_address_with_most(
    start: Callable[..., Server], connect: Callable[..., list[socket.socket]]
) -> None:
    """When there are too many in all, a new connection replaces the oldest of the addresses that
    have most."""
    server = start()
    greedy = [connect(server, f"127.0.1.{n}", MOST_OF_ONE) for n in range(1, 5)]
    assert [served(each) for each in greedy] == [MOST_OF_ONE] * 4
    modest = connect(server, OTHER, 3)
    assert served(modest) == 3
    assert sum(served(each) for each in greedy) == MOST - 3
    assert not any(is_served(each[0]) for each in greedy[:3])
    assert served(greedy[3]) == MOST_OF_ONE
    server.wait_for_log(
        f"WARNING too many connections, {MOST} in all: the oldest of the addresses that have"
    )


def test_closed_connections_do_not_count(
    start: Callable[..., Server], connect: Callable[..., list[socket.socket]]
) -> None:
    """A connection that is closed is not counted any more."""
    server = start()
    stays = connect(server, CLIENT, 1)
    with Witness(server.port) as witness:
        before = descriptors(server)
        for _ in range(3):
            crowd = connect(server, CLIENT, MOST_OF_ONE - 1)
            assert served(crowd) == MOST_OF_ONE - 1
            for each in crowd:
                each.close()
            wait_until(lambda: descriptors(server) <= before, witness, "they have left")
    assert served(stays) == 1
    assert "too many" not in server.log


def test_this_machine_is_not_limited(
    start: Callable[..., Server], connect: Callable[..., list[socket.socket]]
) -> None:
    """Connections of this machine itself, such as those of a proxy, are not counted."""
    server = start()
    assert served(connect(server, "127.0.0.1", 3 * MOST)) == 3 * MOST
    assert served(connect(server, CLIENT, MOST_OF_ONE)) == MOST_OF_ONE


@pytest.mark.parametrize("address", [OWNER, "127.0.9.1"], ids=["of its own", "a full one"])
def test_the_owner_gets_in_and_stays(start: Callable[..., Server], code: str, address: str) -> None:
    """While clients of a hundred addresses connect without end, a client with the control code
    switches by the API and by the WebSocket, even from an address that another has filled; the
    WebSocket stays open and misses nothing."""
    server = start()
    secret = {"Authorization": f"Bearer {code}"}
    with Siege(server, 100, MOST) as siege:
        for value in (1, 0):
            answer = insist(
                lambda value=value: ask(  # type: ignore[misc]
                    server, "PUT", "/api/pins/door", {"value": value}, address, **secret
                )
            )
            assert (answer.status, answer.json["value"]) == (200, value)
        with insist(lambda: WebSocketClient(server.port, address=address, headers=secret)) as owner:
            siege.wait_for(5 * MOST)
            owner.send(type="set", pin="door", value=1, ref=1)
            heard = owner.messages()
            answers = (each for each in heard if each["type"] in ("result", "error"))
            assert next(answers) == {"type": "result", "ref": 1, "pin": "door", "value": 1}


def insist(ask: Callable[[], Any]) -> Any:
    """Retry as a browser does, whose connection may be closed before its first byte."""
    for _ in range(5):
        with contextlib.suppress(*GONE, AssertionError):
            return ask()
    return ask()


def test_a_replaced_code_does_not_protect(
    start: Callable[..., Server],
    code: str,
    connect: Callable[..., list[socket.socket]],
    tmp_path: Path,
) -> None:
    """The control code protects a connection until the code is replaced."""
    server = start()
    connect(server, OWNER, 1)
    kept = connect(server, OWNER, 1)[0]
    kept.sendall(GET.replace(b"\r\n\r\n", b"\r\nAuthorization: Bearer %b\r\n\r\n" % code.encode()))
    assert kept.recv(65536).startswith(b"HTTP/1.1 200 OK")
    connect(server, OWNER, 2 * MOST_OF_ONE)
    assert is_served(kept)
    Codes(tmp_path).renew("control")
    server.process.send_signal(1)
    server.wait_for_log("serving", again=1)
    assert served(connect(server, OWNER, MOST_OF_ONE)) == MOST_OF_ONE
    assert not is_served(kept)


def test_signing_out_ends_the_protection(
    start: Callable[..., Server], code: str, connect: Callable[..., list[socket.socket]]
) -> None:
    """A browser's connection is protected until it signs out."""
    server = start()
    host = {"Host": "127.0.0.1"}
    cookie = ask(server, "POST", "/api/login", {"code": code}, OTHER, **host).cookie_header
    kept = connect(server, OWNER, 1)[0]
    line = f"Cookie: {cookie['Cookie']}".encode()
    kept.sendall(GET.replace(b"\r\n\r\n", b"\r\n%b\r\n\r\n" % line))
    assert kept.recv(65536).startswith(b"HTTP/1.1 200 OK")
    connect(server, OWNER, 2 * MOST_OF_ONE)
    assert is_served(kept)
    assert ask(server, "POST", "/api/logout", None, OTHER, **cookie, **host).status == 200
    assert served(connect(server, OWNER, MOST_OF_ONE)) == MOST_OF_ONE
    assert not is_served(kept)


def test_owners_alone_are_bounded_too(
    start: Callable[..., Server], code: str, connect: Callable[..., list[socket.socket]]
) -> None:
    """A script that leaks connections with the control code gets no more at its address; other
    addresses do."""
    server = start()
    leaked = connect(server, OWNER, MOST_OF_ONE)
    words = GET.replace(b"\r\n\r\n", b"\r\nAuthorization: Bearer %b\r\n\r\n" % code.encode())
    for each in leaked:
        each.sendall(words)
        assert each.recv(65536).startswith(b"HTTP/1.1 200 OK")
    assert served(connect(server, OWNER, 1)) == 0
    assert served(connect(server, OTHER, 1)) == 1
    assert served(leaked) == MOST_OF_ONE


def test_descriptors_that_run_out(
    start: Callable[..., Server], code: str, connect: Callable[..., list[socket.socket]]
) -> None:
    """When the descriptors run out, new connections replace those of the address with most, too,
    and need not wait."""
    limit = (50, 50)
    server = start(
        {
            "max_connections": 1000,
            "max_connections_per_address": 1000,
            "accept_retry_interval_s": 1000,
        },
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, limit),
    )
    crowd = connect(server, CLIENT, 100)
    assert served(connect(server, OTHER, 3)) == 3
    assert served(crowd) < limit[0]
    secret = {"Authorization": f"Bearer {code}"}
    assert ask(server, "PUT", "/api/pins/door", {"value": 1}, OWNER, **secret).status == 200
