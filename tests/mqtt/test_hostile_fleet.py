"""Hostile publishers and the fleet: their messages take a bounded part of the server's memory and
of each message to viewers, and end no connection to the broker."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from raspi_server.limits import DEFAULT
from raspi_server.mqtt.fleet import Fleet
from tests.mqtt.test_fleet import CONTROL, FLEET, FleetViewer, config
from tests.mqtt.test_hostile_broker import NASTY, NUMBERS
from tests.support.fleet import FakePis, description, pin, state
from tests.support.http import ask
from tests.support.mqtt import Brokers, Mosquitto
from tests.support.server import Server, changing, memory

WIDE = "\N{HAPPY PERSON RAISING ONE HAND}"
"""Four bytes on the wire, and all of its text four bytes a character in memory."""
QUIET = ("log_type error", "max_queued_messages 0")


@pytest.fixture
def brokers(tmp_path: Path) -> Iterator[Brokers]:
    with Brokers(tmp_path) as found:
        yield found


@pytest.fixture
def fake_pis() -> Iterator[Callable[..., FakePis]]:
    made: list[FakePis] = []

    def begin(broker: Mosquitto) -> FakePis:
        made.append(FakePis(broker))
        return made[-1]

    yield begin
    for each in made:
        each.close()


def largest(letter: str = "a") -> bytes:
    """Return the largest description that is accepted: few bytes on the wire, and the most
    memory."""
    text = letter + WIDE
    pins = [
        pin(
            f"p{n:031}",
            label=(text * 32)[:64],
            error=(text * 100)[:200],
            group=(text * 16)[:32],
            mode="output",
            value=0.123456789,
            since=1e9 + n / 7,
            pulse=1.5,
            writable=True,
        )
        for n in range(40)
    ]
    found = description((text * 127)[:253], pins, url=f"http://{'x' * 280}/")
    return json.dumps(found, ensure_ascii=False).encode()


def size(message: Any) -> int:
    return len(json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode())


def test_nasty_payloads(brokers, fake_pis, start_server):
    """Whatever is published where the fleet listens, viewers get the right state, the whole fleet
    can be read, a valid command is answered, and the connection stays."""
    broker = brokers.broker()
    others = fake_pis(broker)
    server = start_server(config(broker.url, more=FLEET + CONTROL))
    lamp = pin("lamp", mode="output", writable=True)
    others.describe("house/bad", "bad 1", [lamp])
    subscriber = brokers.subscriber(broker, "house/bad/pins/lamp/set")
    with FleetViewer(server) as viewer:
        viewer.until(lambda: "house/here" in viewer.pis)
        for number, payload in enumerate(NASTY, 1):
            viewer.until(lambda: viewer.host("house/bad") == f"bad {number}")  # noqa: B023
            viewer.client.send(type="set", pi="house/bad", pin="lamp", value=1, ref=number)
            ref = subscriber.wait_for_topic("house/bad/pins/lamp/set", number)[-1].json["ref"]
            for what in ("status", "describe", "pins/lamp", "pins/lamp/result", "pins/x", "x/y"):
                others.publish(f"house/bad/{what}", payload)
                others.publish(f"house/worse/{what}", payload)
                others.publish(f"house/{what}", payload)
            others.publish("house/bad/status", b"online")
            if payload in NUMBERS:
                shown = payload.decode()
                whole = json.dumps(description("bad", [lamp]))
                for key in ("time", "value", "since", "pulse"):
                    others.publish(
                        "house/bad/describe",
                        re.sub(rf'"{key}": [^,}}]+', rf'"{key}": {shown}', whole).encode(),
                    )  # noqa: E501
                others.publish("house/bad/pins/lamp", f'{{"value":1,"time":{shown}}}'.encode())
                others.publish("house/bad/pins/lamp", f'{{"value":{shown},"time":1}}'.encode())
                answer = f'{{"type":"result","ref":"{ref}","value":{shown}}}'
                others.publish("house/bad/pins/lamp/result", answer.encode(), retain=False)
            answer = {"type": "error", "ref": ref, "code": "busy", "message": "x" * 60_000}
            others.publish("house/bad/pins/lamp/result", answer, retain=False)
            viewer.until(lambda: viewer.answers and viewer.answers[-1]["ref"] == number)  # noqa: B023
            assert viewer.answers[-1]["code"] == "unavailable"
            assert size(viewer.answers[-1]) < 1000
            others.describe("house/bad", f"bad {number + 1}", [lamp])
        others.publish("house/bad/pins/lamp", state(1))
        viewer.until(lambda: viewer.value("house/bad", "lamp") == 1)
        done = viewer.ask(type="set", pi="house/here", pin="lamp", value=1, ref=2**53 - 1)
        assert (done["type"], done["ref"]) == ("result", 2**53 - 1)
        assert (
            viewer.ask(type="set", pi="house/here", pin="lamp", value=1, ref=2**53)["ref"] is None
        )
    assert ask(server, "GET", "/api/fleet").status == 200
    assert len(re.findall("mqtt: connected", server.log)) == 2


def test_news_are_small(brokers, fake_pis, start_server):
    """However much changes at once, no message is so large that it closes viewers: the largest
    descriptions, thousands of removed Pis, and all that changes."""
    broker = brokers.broker(*QUIET)
    others = fake_pis(broker)
    server = start_server(config(broker.url), program=changing(fleet_news_interval_s=0.2))
    topics = [f"house/{WIDE * 80}{n}" for n in range(1500)]
    sizes: list[int] = []

    def hear(viewer: FleetViewer, what: Callable[[], Any]) -> None:
        def heard() -> Any:
            sizes.append(size(viewer.receive()))
            return what()

        viewer.until(heard)

    with FleetViewer(server) as viewer:
        viewer.until(lambda: "house/here" in viewer.pis)
        for topic in topics:
            others.publish(f"{topic}/status", b"online")
            others.publish(f"{topic}/describe", description("x", [pin(f"p{n}") for n in range(3)]))
        for n in range(20):
            others.publish(f"house/big-{n}/status", b"online")
            others.publish(f"house/big-{n}/describe", largest('"'))
        hear(viewer, lambda: len(viewer.pis) == 1521)
        for topic in topics:
            for n in range(3):
                others.publish(f"{topic}/pins/p{n}", state(1))
        hear(viewer, lambda: viewer.value(topics[-1], "p2") == 1)
        for topic in topics:
            others.publish(f"{topic}/status", b"")
        hear(viewer, lambda: len(viewer.pis) == 21)
    assert max(sizes) < DEFAULT.max_viewer_backlog_bytes / 2
    assert sum(sizes) > 3 * DEFAULT.max_viewer_backlog_bytes


def test_largest_entry_is_one_message():
    """The largest entry is sent alone, and its size is bounded."""
    pis = Fleet("h/here")
    for n, letter in enumerate('a"\x01'):
        pis.receive(f"h/{n}/status", b"online", True, 1e9)
        pis.receive(f"h/{n}/describe", largest(letter), True, 1e9)
    lots = []
    while pis.has_news:
        lots.append(pis.take_news())
    assert [len(entries) for _, entries, _ in lots] == [1, 1]  # the third is beyond the limit
    assert all(
        len(bytes(entries[0])) < DEFAULT.max_viewer_backlog_bytes / 4 for _, entries, _ in lots
    )


def test_memory_is_bounded(brokers, fake_pis, start_server):
    """Many Pis with the largest description take no more memory than documented. Viewers are told
    that some are left out, and the others work."""
    growth, error = memory_of_hostile_pis(brokers, fake_pis, start_server, 1000)
    assert "more Pis at the broker than can be shown" in error
    assert growth < 50e6  # 32 MB with 5,000 of them; 84 MB where texts are not bounded


def memory_of_hostile_pis(
    brokers: Brokers, fake_pis: Any, start_server: Any, count: int
) -> tuple[float, str]:
    """Return by how many bytes the server's memory grows for so many hostile Pis, and the error
    that viewers get."""
    broker = brokers.broker(*QUIET)
    others = fake_pis(broker)
    server: Server = start_server(config(broker.url))
    with FleetViewer(server) as viewer:
        viewer.until(lambda: "house/here" in viewer.pis)
    before = memory(server)
    hostile = largest()
    for n in range(count):
        others.publish(f"house/{n:0>90}/status", b"online", retain=False)
        others.publish(f"house/{n:0>90}/describe", hostile)
        if n % 20 == 19:
            others.flush()
    with FleetViewer(server) as viewer:
        viewer.until(lambda: viewer.broker["error"])
        switch = {"type": "set", "pi": "house/here", "pin": "lamp", "value": 1}
        assert viewer.error_of(**switch)[0] == "not-allowed"
        return memory(server) - before, viewer.broker["error"]
