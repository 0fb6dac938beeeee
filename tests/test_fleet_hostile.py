"""Hostile publishers and the page of all Pis: what they say is bounded in the memory of the server
and in each message to those who look, and ends no talk with the broker."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from raspi_server.mqtt.fleet import Pis
from raspi_server.net import hub

from .asking import ask
from .conftest import Server
from .fleet_rig import Chorus, description, pin, state
from .mqtt_rig import Brokers, Mosquitto
from .test_fleet import CONTROL, FLEET, Looker, house
from .test_mqtt_hostile import NASTY, NUMBERS
from .wire import changing, memory

WIDE = "\N{HAPPY PERSON RAISING ONE HAND}"
"""Four bytes on the wire, and all of its text four bytes a character in memory."""
QUIET = ("log_type error", "max_queued_messages 0")


@pytest.fixture
def brokers(tmp_path: Path) -> Iterator[Brokers]:
    with Brokers(tmp_path) as found:
        yield found


@pytest.fixture
def chorus() -> Iterator[Callable[..., Chorus]]:
    choruses: list[Chorus] = []

    def begin(broker: Mosquitto) -> Chorus:
        choruses.append(Chorus(broker))
        return choruses[-1]

    yield begin
    for each in choruses:
        each.close()


def largest(letter: str = "a") -> bytes:
    """The largest description that is taken, as far as pins go: with the least on the wire it takes
    the most of memory."""
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


def test_nasty_payloads(brokers, chorus, start_server):
    """Whatever is published where the page of all Pis listens, who looks is told what is right, the
    whole can be read, and a good command is answered; the talk goes on."""
    broker = brokers.broker()
    choir = chorus(broker)
    server = start_server(house(broker.url, more=FLEET + CONTROL))
    lamp = pin("lamp", mode="output", writable=True)
    choir.describe("house/bad", "bad 1", [lamp])
    ear = brokers.ear(broker, "house/bad/pins/lamp/set")
    with Looker(server) as looker:
        looker.until(lambda: "house/here" in looker.pis)
        for number, payload in enumerate(NASTY, 1):
            looker.until(lambda: looker.host("house/bad") == f"bad {number}")  # noqa: B023
            looker.client.send(type="set", pi="house/bad", pin="lamp", value=1, ref=number)
            ref = ear.wait_for_topic("house/bad/pins/lamp/set", number)[-1].json["ref"]
            for what in ("status", "describe", "pins/lamp", "pins/lamp/result", "pins/x", "x/y"):
                choir.say(f"house/bad/{what}", payload)
                choir.say(f"house/worse/{what}", payload)
                choir.say(f"house/{what}", payload)
            choir.say("house/bad/status", b"online")
            if payload in NUMBERS:
                shown = payload.decode()
                whole = json.dumps(description("bad", [lamp]))
                for key in ("time", "value", "since", "pulse"):
                    choir.say(
                        "house/bad/describe",
                        re.sub(rf'"{key}": [^,}}]+', rf'"{key}": {shown}', whole).encode(),
                    )  # noqa: E501
                choir.say("house/bad/pins/lamp", f'{{"value":1,"time":{shown}}}'.encode())
                choir.say("house/bad/pins/lamp", f'{{"value":{shown},"time":1}}'.encode())
                answer = f'{{"type":"result","ref":"{ref}","value":{shown}}}'
                choir.say("house/bad/pins/lamp/result", answer.encode(), retain=False)
            answer = {"type": "error", "ref": ref, "code": "busy", "message": "x" * 60_000}
            choir.say("house/bad/pins/lamp/result", answer, retain=False)
            looker.until(lambda: looker.answers and looker.answers[-1]["ref"] == number)  # noqa: B023
            assert looker.answers[-1]["code"] == "unavailable"
            assert size(looker.answers[-1]) < 1000
            choir.describe("house/bad", f"bad {number + 1}", [lamp])
        choir.say("house/bad/pins/lamp", state(1))
        looker.until(lambda: looker.value("house/bad", "lamp") == 1)
        done = looker.ask(type="set", pi="house/here", pin="lamp", value=1, ref=2**53 - 1)
        assert (done["type"], done["ref"]) == ("result", 2**53 - 1)
        assert (
            looker.ask(type="set", pi="house/here", pin="lamp", value=1, ref=2**53)["ref"] is None
        )
    assert ask(server, "GET", "/api/fleet").status == 200
    assert len(re.findall("mqtt: connected", server.log)) == 2


def test_news_stay_small(brokers, chorus, start_server):
    """However much changes at once, no message is so large that it closes those who read it: the
    largest descriptions, thousands that are gone, and all that changes."""
    broker = brokers.broker(*QUIET)
    choir = chorus(broker)
    server = start_server(house(broker.url), program=changing("fleet_watcher.NEWS_EVERY = 0.2"))
    topics = [f"house/{WIDE * 80}{n}" for n in range(1500)]
    sizes: list[int] = []

    def hear(looker: Looker, what: Callable[[], Any]) -> None:
        def heard() -> Any:
            sizes.append(size(looker.hear()))
            return what()

        looker.until(heard)

    with Looker(server) as looker:
        looker.until(lambda: "house/here" in looker.pis)
        for topic in topics:
            choir.say(f"{topic}/status", b"online")
            choir.say(f"{topic}/describe", description("x", [pin(f"p{n}") for n in range(3)]))
        for n in range(20):
            choir.say(f"house/big-{n}/status", b"online")
            choir.say(f"house/big-{n}/describe", largest('"'))
        hear(looker, lambda: len(looker.pis) == 1521)
        for topic in topics:
            for n in range(3):
                choir.say(f"{topic}/pins/p{n}", state(1))
        hear(looker, lambda: looker.value(topics[-1], "p2") == 1)
        for topic in topics:
            choir.say(f"{topic}/status", b"")
        hear(looker, lambda: len(looker.pis) == 21)
    assert max(sizes) < hub.MOST_BEHIND / 2
    assert sum(sizes) > 3 * hub.MOST_BEHIND


def test_a_description_of_any_size_is_one_message():
    """An entry that fills what is taken of a description is told alone, and is no larger than it
    may be."""
    pis = Pis("h/here")
    for n, letter in enumerate('a"\x01'):
        pis.take(f"h/{n}/status", b"online", True, 1e9)
        pis.take(f"h/{n}/describe", largest(letter), True, 1e9)
    lots = []
    while pis.has_news:
        lots.append(pis.take_news())
    assert [len(entries) for _, entries, _ in lots] == [1, 1]  # the third is larger than is taken
    assert all(len(bytes(entries[0])) < hub.MOST_BEHIND / 4 for _, entries, _ in lots)


def test_memory_is_bounded(brokers, chorus, start_server):
    """Many Pis, each with the largest description that is taken, take no more memory than is
    promised; that some are left out is said, and the others go on."""
    growth, trouble = crowd(brokers, chorus, start_server, 1000)
    assert "more Pis at the broker than can be shown" in trouble
    assert growth < 50e6  # 32 MB with 5,000 of them; 84 MB where texts are not bounded


def crowd(brokers: Brokers, chorus: Any, start_server: Any, count: int) -> tuple[float, str]:
    """By how much the server's memory grows for so many hostile Pis; and what it says of them."""
    broker = brokers.broker(*QUIET)
    choir = chorus(broker)
    server: Server = start_server(house(broker.url))
    with Looker(server) as looker:
        looker.until(lambda: "house/here" in looker.pis)
    before = memory(server)
    hostile = largest()
    for n in range(count):
        choir.say(f"house/{n:0>90}/status", b"online", retain=False)
        choir.say(f"house/{n:0>90}/describe", hostile)
        if n % 20 == 19:
            choir.flush()
    with Looker(server) as looker:
        looker.until(lambda: looker.broker["error"])
        switch = {"type": "set", "pi": "house/here", "pin": "lamp", "value": 1}
        assert looker.refusal(**switch)[0] == "not-allowed"
        return memory(server) - before, looker.broker["error"]
