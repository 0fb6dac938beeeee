"""Too many connections: nobody alone can take all the room, and who has the control code gets in
and stays, however many others want to. Addresses of the loopback network play the guests; of them
only 127.0.0.1 is this machine itself."""

import contextlib
import os
import resource
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from raspi_server.security.codes import Codes

from .asking import ask
from .conftest import Server
from .wire import GONE, Client, Siege, Witness, changing, descriptors, plain, wait_until

HOUSE = """
interval: 0.02
pins: {lamp: {gpio: 17, mode: output, control: everyone}, door: {gpio: 27, mode: output}}
"""
GET = b"GET /api/pins HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
MOST, MOST_OF_ONE = 40, 10
SMALL = {"max_connections": MOST, "max_connections_per_address": MOST_OF_ONE}
GUEST, OTHER, OWNER = "127.0.1.1", "127.0.2.1", "127.0.3.1"


@pytest.fixture
def start(start_server: Callable[..., Server], tmp_path: Path) -> Callable[..., Server]:
    """Starts a small house whose control code is known."""

    def start(limits: dict[str, float] | None = None, **options: Any) -> Server:
        environment = {**os.environ, "STATE_DIRECTORY": str(tmp_path)}
        program = changing(**{**SMALL, **(limits or {})})
        return start_server(HOUSE, program=program, env=environment, **options)

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
    """How many of them are still inside."""
    return sum(is_served(connection) for connection in crowd)


@pytest.fixture
def come() -> Iterator[Callable[..., list[socket.socket]]]:
    """`come(house, address, count)`: so many more connections from an address, one after the other,
    each with a first request; who says nothing is not inside yet."""
    inside: list[socket.socket] = []

    def come(house: Server, address: str, count: int) -> list[socket.socket]:
        for _ in range(count):
            inside.append(plain(house.port, address=address))
            is_served(inside[-1])
        return inside[-count:]

    yield come
    for each in inside:
        each.close()


def test_one_address_takes_its_share(
    start: Callable[..., Server], come: Callable[..., list[socket.socket]]
) -> None:
    """A guest who opens connection after connection loses its own oldest ones; a neighbour and the
    viewers of this machine notice nothing."""
    house = start()
    with Witness(house.port), Client(house.port, address=OTHER) as neighbour:
        crowd = come(house, GUEST, 5 * MOST)
        assert served(crowd) == MOST_OF_ONE
        assert served(crowd[-MOST_OF_ONE:]) == MOST_OF_ONE
        heard = neighbour.messages()
        assert [next(heard)["type"] for _ in range(2 * MOST)][0] == "hello"
        assert ask(house, "GET", "/api/pins", source=OTHER).status == 200
    house.wait_for_log(
        f"WARNING too many connections, more than {MOST_OF_ONE} from {GUEST}: its oldest are closed"
    )
    assert house.log.count("too many connections") == 1


def test_whoever_has_most_makes_room(
    start: Callable[..., Server], come: Callable[..., list[socket.socket]]
) -> None:
    """When the house is full, a newcomer takes the place of the oldest of those who have most."""
    house = start()
    greedy = [come(house, f"127.0.1.{n}", MOST_OF_ONE) for n in range(1, 5)]
    assert [served(each) for each in greedy] == [MOST_OF_ONE] * 4
    modest = come(house, OTHER, 3)
    assert served(modest) == 3
    assert sum(served(each) for each in greedy) == MOST - 3
    assert not any(is_served(each[0]) for each in greedy[:3])
    assert served(greedy[3]) == MOST_OF_ONE
    house.wait_for_log(
        f"WARNING too many connections, {MOST} in all: the oldest of the addresses that have"
    )


def test_room_is_there_again(
    start: Callable[..., Server], come: Callable[..., list[socket.socket]]
) -> None:
    """Who has left is not counted any more."""
    house = start()
    stays = come(house, GUEST, 1)
    with Witness(house.port) as witness:
        before = descriptors(house)
        for _ in range(3):
            crowd = come(house, GUEST, MOST_OF_ONE - 1)
            assert served(crowd) == MOST_OF_ONE - 1
            for each in crowd:
                each.close()
            wait_until(lambda: descriptors(house) <= before, witness, "they have left")
    assert served(stays) == 1
    assert "too many" not in house.log


def test_this_machine_has_all_the_room(
    start: Callable[..., Server], come: Callable[..., list[socket.socket]]
) -> None:
    """Connections of this machine itself, such as those of a proxy, are not counted."""
    house = start()
    assert served(come(house, "127.0.0.1", 3 * MOST)) == 3 * MOST
    assert served(come(house, GUEST, MOST_OF_ONE)) == MOST_OF_ONE


@pytest.mark.parametrize("address", [OWNER, "127.0.9.1"], ids=["of its own", "a guest's"])
def test_the_owner_gets_in_and_stays(start: Callable[..., Server], code: str, address: str) -> None:
    """While guests of a hundred addresses knock without end, who shows the control code switches by
    the API and by the socket, even from an address that a guest has filled; the socket stays open
    and misses nothing."""
    house = start()
    secret = {"Authorization": f"Bearer {code}"}
    with Siege(house, 100, MOST) as siege:
        for value in (1, 0):
            answer = insist(
                lambda value=value: ask(  # type: ignore[misc]
                    house, "PUT", "/api/pins/door", {"value": value}, address, **secret
                )
            )
            assert (answer.status, answer.json["value"]) == (200, value)
        with insist(lambda: Client(house.port, address=address, headers=secret)) as owner:
            siege.wait_for(5 * MOST)
            owner.send(type="set", pin="door", value=1, ref=1)
            heard = owner.messages()
            answers = (each for each in heard if each["type"] in ("result", "error"))
            assert next(answers) == {"type": "result", "ref": 1, "pin": "door", "value": 1}


def insist(ask: Callable[[], Any]) -> Any:
    """As a browser does, whose connection may be closed before it has said a word."""
    for _ in range(5):
        with contextlib.suppress(*GONE, AssertionError):
            return ask()
    return ask()


def test_a_code_that_was_replaced_keeps_no_place(
    start: Callable[..., Server],
    code: str,
    come: Callable[..., list[socket.socket]],
    tmp_path: Path,
) -> None:
    """The control code keeps a place for as long as it is the code."""
    house = start()
    come(house, OWNER, 1)
    kept = come(house, OWNER, 1)[0]
    kept.sendall(GET.replace(b"\r\n\r\n", b"\r\nAuthorization: Bearer %b\r\n\r\n" % code.encode()))
    assert kept.recv(65536).startswith(b"HTTP/1.1 200 OK")
    come(house, OWNER, 2 * MOST_OF_ONE)
    assert is_served(kept)
    Codes(tmp_path).renew("control")
    house.process.send_signal(1)
    house.wait_for_log("serving", again=1)
    assert served(come(house, OWNER, MOST_OF_ONE)) == MOST_OF_ONE
    assert not is_served(kept)


def test_signing_out_keeps_no_place(
    start: Callable[..., Server], code: str, come: Callable[..., list[socket.socket]]
) -> None:
    """A browser keeps its place until it signs out."""
    house = start()
    host = {"Host": "127.0.0.1"}
    cookie = ask(house, "POST", "/api/login", {"code": code}, OTHER, **host).signed_in
    kept = come(house, OWNER, 1)[0]
    line = f"Cookie: {cookie['Cookie']}".encode()
    kept.sendall(GET.replace(b"\r\n\r\n", b"\r\n%b\r\n\r\n" % line))
    assert kept.recv(65536).startswith(b"HTTP/1.1 200 OK")
    come(house, OWNER, 2 * MOST_OF_ONE)
    assert is_served(kept)
    assert ask(house, "POST", "/api/logout", None, OTHER, **cookie, **host).status == 200
    assert served(come(house, OWNER, MOST_OF_ONE)) == MOST_OF_ONE
    assert not is_served(kept)


def test_owners_alone_are_bounded_too(
    start: Callable[..., Server], code: str, come: Callable[..., list[socket.socket]]
) -> None:
    """A script that leaks connections with the control code is refused more at its address, and
    nobody else is."""
    house = start()
    leaked = come(house, OWNER, MOST_OF_ONE)
    words = GET.replace(b"\r\n\r\n", b"\r\nAuthorization: Bearer %b\r\n\r\n" % code.encode())
    for each in leaked:
        each.sendall(words)
        assert each.recv(65536).startswith(b"HTTP/1.1 200 OK")
    assert served(come(house, OWNER, 1)) == 0
    assert served(come(house, OTHER, 1)) == 1
    assert served(leaked) == MOST_OF_ONE


def test_descriptors_that_run_out(
    start: Callable[..., Server], code: str, come: Callable[..., list[socket.socket]]
) -> None:
    """When there are fewer descriptors than guests, newcomers take the place of those who have
    most just so, and need not wait."""
    limit = (50, 50)
    house = start(
        {
            "max_connections": 1000,
            "max_connections_per_address": 1000,
            "accept_retry_interval_s": 1000,
        },
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, limit),
    )
    crowd = come(house, GUEST, 100)
    assert served(come(house, OTHER, 3)) == 3
    assert served(crowd) < limit[0]
    secret = {"Authorization": f"Bearer {code}"}
    assert ask(house, "PUT", "/api/pins/door", {"value": 1}, OWNER, **secret).status == 200
