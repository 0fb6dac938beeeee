"""Connection limits: no client alone can take all connections, and the owner, with the control
code, gets in and stays in. Of the loopback's addresses only 127.0.0.1 is this machine itself."""

import os
import resource
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from raspi_server.security.codes import Codes
from tests.support.http import ask
from tests.support.load import Witness, wait_until
from tests.support.server import Server, changing, descriptors
from tests.support.sockets import GONE
from tests.support.websocket import WebSocketClient

CONFIG = """
interval: 0.02
pins: {lamp: {gpio: 17, mode: output, control: everyone}, door: {gpio: 27, mode: output}}
"""
MOST, MOST_OF_ONE = 40, 10
SMALL = {"max_connections": MOST, "max_connections_per_address": MOST_OF_ONE}
THIS_MACHINE, CLIENT, OTHER, OWNER = "127.0.0.1", "127.0.1.1", "127.0.2.1", "127.0.3.1"


@pytest.fixture
def start(start_server: Callable[..., Server], tmp_path: Path) -> Callable[..., Server]:
    """Start a server with small limits, whose control code is known."""

    def start(limits: dict[str, float] = SMALL, **options: Any) -> Server:
        environment = {**os.environ, "STATE_DIRECTORY": str(tmp_path)}
        return start_server(CONFIG, program=changing(**limits), env=environment, **options)

    return start


@pytest.fixture
def bearer(tmp_path: Path) -> dict[str, str]:
    """The header of a script with the control code."""
    return {"Authorization": f"Bearer {Codes(tmp_path).renew('control')}"}


def is_served(connection: socket.socket, **headers: str) -> bool:
    """Return True if a request on this connection is answered."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    try:
        connection.sendall(f"GET /api/pins HTTP/1.1\r\nHost: 127.0.0.1\r\n{lines}\r\n".encode())
        return connection.recv(65536).startswith(b"HTTP/1.1 200 OK")
    except GONE:
        return False


def served(connections: list[socket.socket]) -> int:
    """Return how many of them are still open."""
    return sum(is_served(connection) for connection in connections)


@pytest.fixture
def connect(connect):
    """Return `connect(server, address, count)`. Each connection sends a request, and so counts."""

    def one_by_one(server: Server, address: str, count: int) -> list[socket.socket]:
        opened = []
        for _ in range(count):
            opened += connect(server, address, 1)
            is_served(opened[-1])
        return opened

    return one_by_one


def test_limit_of_one_address(start, connect):
    """An address with too many connections loses its own oldest ones; this machine loses none."""
    server = start()
    with Witness(server.port) as witness, WebSocketClient(server.port, address=OTHER) as neighbour:
        before = descriptors(server)
        for _ in range(MOST // MOST_OF_ONE + 1):
            connections = connect(server, CLIENT, MOST_OF_ONE)
            assert served(connections) == MOST_OF_ONE
            for each in connections:
                each.close()
            wait_until(lambda: descriptors(server) <= before, witness, "they are closed")
        assert served(connect(server, THIS_MACHINE, 2 * MOST)) == 2 * MOST
        assert "too many" not in server.log
        connections = connect(server, CLIENT, 3 * MOST_OF_ONE)
        assert served(connections) == served(connections[-MOST_OF_ONE:]) == MOST_OF_ONE
        for _ in range(10):
            neighbour.receive("state")
        assert ask(server, "GET", "/api/pins", source=OTHER).status == 200
    server.wait_for_log(f"more than {MOST_OF_ONE} from {CLIENT}: its oldest are closed")
    assert server.log.count("WARNING too many connections") == 1


def test_eviction_from_the_address_with_most(start, connect, bearer):
    """With too many in all, the oldest of the addresses with most is replaced, but no owner's."""
    server = start()
    greedy = [connect(server, f"127.0.1.{n}", MOST_OF_ONE) for n in range(1, 5)]
    assert is_served(greedy[0][0], **bearer)
    assert [served(each) for each in greedy] == [MOST_OF_ONE] * 4
    modest = connect(server, OTHER, 2)
    assert served(modest) == 2
    assert sum(served(each) for each in greedy) == MOST - 2
    assert [is_served(each[0]) for each in greedy] == [True, False, False, True]
    assert served(greedy[0]) == MOST_OF_ONE
    server.wait_for_log(f"too many connections, {MOST} in all: the oldest of the addresses that")


def test_owner_gets_in_and_stays(start, connect, bearer):
    """While clients of eighty addresses connect, the owner gets in and stays, from any address."""
    server = start()
    connect(server, CLIENT, MOST_OF_ONE)
    with WebSocketClient(server.port, address=CLIENT, headers=bearer) as owner:
        for n in range(2 * MOST):
            connect(server, f"127.0.9.{n + 1}", 1)
            connect(server, CLIENT, 1)
        for address in (OWNER, CLIENT):
            answer = ask(server, "PUT", "/api/pins/door", {"value": 1}, address, **bearer)
            assert (answer.status, answer.json["value"]) == (200, 1)
        assert owner.command(type="set", pin="door", value=0)["type"] == "result"


def test_protection_ends_with_the_credential(start, bearer, connect, tmp_path):
    """Session and control code protect connections until a sign-out or another code."""
    server = start()
    host = {"Host": "127.0.0.1"}
    code = {"code": bearer["Authorization"].removeprefix("Bearer ")}
    cookie = ask(server, "POST", "/api/login", code, OTHER, **host).cookie_header
    connect(server, OWNER, 1)
    by_code, by_cookie = connect(server, OWNER, 2)
    assert is_served(by_code, **bearer) and is_served(by_cookie, **cookie)
    leaked = connect(server, OWNER, 2 * MOST_OF_ONE)[2 - MOST_OF_ONE :]
    assert served([by_code, by_cookie]) == 2
    assert all(is_served(each, **bearer) for each in leaked)
    assert served(connect(server, OWNER, 1)) == 0
    assert served(connect(server, OTHER, 1)) == 1
    assert ask(server, "POST", "/api/logout", None, OTHER, **cookie, **host).status == 200
    assert served(connect(server, OWNER, 2)) == 1
    assert (is_served(by_code), is_served(by_cookie)) == (True, False)
    Codes(tmp_path).renew("control")
    server.process.send_signal(signal.SIGHUP)
    server.wait_for_log("serving", again=1)
    assert served(connect(server, OWNER, MOST_OF_ONE)) == MOST_OF_ONE
    assert not is_served(by_code)


def test_eviction_without_descriptors(start, bearer, connect):
    """When the descriptors run out, new connections replace those of the address with most."""
    most = 50
    limits = {name: 1000 for name in (*SMALL, "accept_retry_interval_s")}
    server = start(
        limits, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    )
    connections = connect(server, CLIENT, 60)
    assert served(connect(server, OTHER, 3)) == 3
    assert served(connections) < most
    assert ask(server, "PUT", "/api/pins/door", {"value": 1}, OWNER, **bearer).status == 200
