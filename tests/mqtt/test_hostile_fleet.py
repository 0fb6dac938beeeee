"""Hostile publishers and the fleet: they change nothing of others, and their cost is bounded."""

import json
import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raspi_server.limits import DEFAULT, Limits
from raspi_server.messages import News, encode
from raspi_server.mqtt.fleet import Fleet
from tests.mqtt.test_hostile_broker import NASTY, NUMBERS
from tests.support.fleet import (
    COVER_NEWS,
    FakePis,
    FleetViewer,
    cover,
    cover_state,
    description,
    pin,
    state,
)
from tests.support.http import ask
from tests.support.mqtt import CONTROL, config
from tests.support.server import memory

FLEET = ", fleet: true"
HERE = "house/pi"
LAMP = pin("lamp", mode="output", writable=True)
GARAGE = cover("garage")
WIDE = "\N{HAPPY PERSON RAISING ONE HAND}"
"""Four bytes on the wire, and all of its text four bytes a character in memory."""


def as_json(message: Any) -> bytes:
    return json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode()


def largest(letter: str = "a") -> bytes:
    """Return the largest description that is accepted, with few bytes for much memory."""
    text = letter + WIDE
    more = {"label": (text * 32)[:64], "error": (text * 100)[:200], "group": "g" * 32}
    more |= {"mode": "output", "value": 0.123456789, "pulse": 1.5, "writable": True}
    pins = [pin(f"p{n:031}", since=1e9 + n / 7, **more) for n in range(40)]
    url = f"http://{'x' * 280}/"
    return as_json(description((text * 127)[:253], pins, url=url))


def largest_covers(letter: str = "a") -> bytes:
    """Return the largest description of covers that is accepted."""
    text = letter + WIDE
    more = {"label": (text * 32)[:64], "room": (text * 32)[:64], "problem": (text * 100)[:200]}
    names = [f"p{n:031}" for n in range(4)]
    covers = [cover(f"c{n:031}", since=1e9 + n / 7, pins=names, **more) for n in range(25)]
    return as_json(description((text * 127)[:253], [], covers=covers))


def described(payload: bytes, count: int = 1, **limits: Any) -> Fleet:
    """Return a fleet of `count` Pis that published the same description."""
    fleet = Fleet("h/here", limits=Limits(**limits))
    for n in range(count):
        fleet.receive(f"h/{n}/status", b"online", True, 1e9)
        fleet.receive(f"h/{n}/describe", payload, True, 1e9)
    return fleet


PINS = st.builds(
    lambda name, value: pin(name, value=value),
    st.sampled_from(["lamp", "door", "Nope"]),
    st.sampled_from([0, 1, 0.5, None, 7]),
)
COVERS = st.builds(
    lambda name, state, position: cover(name, state=state, position=position),
    st.sampled_from(["garage", "lamp", "Nope"]),
    st.sampled_from(["open", "closing", "ajar"]),
    st.sampled_from([0, 100, None, 101, 0.5]),
)
PAYLOADS = st.one_of(
    st.binary(),
    st.sampled_from([b"online", b"offline", b""]),
    st.lists(PINS, max_size=3).map(lambda pins: as_json(description("x", pins))),
    st.lists(COVERS, max_size=3).map(lambda found: as_json(description("x", [], covers=found))),
    st.builds(cover_state, st.sampled_from(["open", "x"]), st.sampled_from([1, 2e9])).map(as_json),
    st.sampled_from([0, 1, None, 9]).map(lambda value: as_json(state(value))),
)
LEVELS = st.sampled_from(
    ["h", "a", "b", "pins", "covers", "status", "describe", "lamp", "garage", "", "\x1b"]
)
TOPICS = st.builds("/".join, st.lists(LEVELS)) | st.text()
MESSAGES = st.tuples(TOPICS, PAYLOADS, st.booleans(), st.booleans())


@given(
    messages=st.lists(MESSAGES, max_size=30),
    max_bytes=st.sampled_from([1, DEFAULT.fleet_max_news_bytes]),
)
@settings(deadline=None, max_examples=100)
def test_any_messages(messages, max_bytes):
    """No sequence of messages breaks the model. The news, however taken, add up to the whole."""
    fleet = Fleet("h/here", limits=Limits(fleet_max_news_bytes=max_bytes))
    shown: dict[str, dict[str, Any]] = {}
    for topic, payload, is_retained, is_taken in [*messages, ("", b"", False, True)]:
        fleet.receive(topic, payload, is_retained, 1e9)
        while is_taken and fleet.has_news:
            changes, renewed, removed, moved = fleet.take_news()
            for each in removed:
                shown.pop(each, None)
            for pi in map(json.loads, map(bytes, renewed)):
                pins = {pin["name"]: [pin["value"], pin["since"]] for pin in pi["pins"]}
                covers = {
                    f"cover {each['name']}": [each[key] for key in COVER_NEWS]
                    for each in pi["covers"]
                }
                shown[pi["topic"]] = pins | covers
            for each, values in changes.items():
                shown[each] |= json.loads(bytes(values))
            for each, values in moved.items():
                states = json.loads(bytes(values))
                shown[each] |= {f"cover {name}": found for name, found in states.items()}
    assert shown == {
        pi.topic: {pin.name: [pin.value, pin.since] for pin in pi.pins}
        | {f"cover {each.name}": [getattr(each, key) for key in COVER_NEWS] for each in pi.covers}
        for pi in fleet.entries()
    }
    assert all(re.fullmatch("h/[^/]+", topic) and topic.isprintable() for topic in shown)


def test_limits_of_pis_and_pins():
    """No more Pis, pins and text than the limits are kept. A removed Pi makes room."""
    many = as_json(description("x", [pin(f"p{n}", error="e" * 600) for n in range(60)]))
    fleet = described(many, 5, fleet_max_pins=100)
    assert [len(pi.pins) for pi in fleet.entries()] == [40, 40]
    assert fleet["h/0"].pins["p0"].error == "e" * 200
    assert fleet.is_over_limit
    fleet.receive("h/0/status", b"", False, 1e9)
    assert not fleet.is_over_limit
    fleet.receive("h/4/describe", many, True, 1e9)
    assert [pi.topic for pi in fleet.entries()] == ["h/1", "h/4"]
    fleet = described(many, 5, fleet_max_pis=3)
    assert len([*fleet.entries()]) == 3 and fleet.is_over_limit
    fleet.receive("h/0/status", b"", False, 1e9)
    fleet.receive(f"h/{'x' * 99}/status", b"online", False, 1e9)
    assert f"h/{'x' * 99}" not in fleet


def test_limits_of_covers():
    """Covers count as pins do, and their texts are cut as those of pins are."""
    values = {"label": "v" * 300, "seconds": 5}
    many = [
        cover(f"c{n}", problem="p" * 300, problem_values=values, pins=["x"] * 9) for n in range(60)
    ]
    fleet = described(as_json(description("x", [pin("p")] * 3, covers=many)), 3, fleet_max_pins=90)
    assert [(len(pi.pins), len(pi.covers)) for pi in fleet.entries()] == [(1, 40), (1, 40)]
    found = fleet["h/0"].covers["c0"]
    assert (found.problem, found.pins) == ("p" * 200, ["x"] * 4)
    assert found.problem_values == {"label": "v" * 200, "seconds": 5}
    assert fleet.is_over_limit
    fleet.receive("h/0/status", b"", False, 1e9)
    fleet.receive("h/2/describe", as_json(description("x", [], covers=many)), True, 1e9)
    assert [pi.topic for pi in fleet.entries()] == ["h/1", "h/2"]


def test_states_of_covers():
    """A state of a cover counts if it is valid and of a described one; a retained description
    replaces it only if it is newer. `control: nobody` is not writable."""
    covers = [cover("garage", since=1), cover("gate", control="nobody")]
    fleet = described(as_json(description("x", [], covers=covers)))
    assert [each.writable for each in fleet["h/0"].covers.values()] == [True, False]
    for payload in (
        b"", b"{}", b"null", b'{"state":"ajar","position":null,"problem":null,"time":1}',
        b'{"state":"open","position":101,"problem":null,"time":1}',
        b'{"state":"open","position":null,"problem":7,"time":1}',
        b'{"state":"open","position":null,"problem":null,"time":-1}',
        as_json(cover_state("open", problem_reason="No reason")),
        as_json(cover_state("open", problem_values={"A b": 1})),
        as_json(cover_state("open", problem_values={"label": ["x"]})),
        as_json(cover_state("open", problem_values=dict.fromkeys("abcdefghi", "x"))),
    ):  # fmt: skip
        fleet.receive("h/0/covers/garage", payload, False, 1e9)
        assert fleet["h/0"].covers["garage"].state == "closed"
    problem = "p" * 300
    fleet.receive("h/0/covers/garage", as_json(cover_state("open", 5, 7, problem)), False, 1e9)
    fleet.receive("h/0/covers/other", as_json(cover_state("open", 5)), False, 1e9)
    fleet.receive("h/1/covers/garage", as_json(cover_state("open", 5)), False, 1e9)
    found = fleet["h/0"].covers["garage"]
    assert (found.state, found.position, found.problem) == ("open", 7, problem[:200])
    more = {"problem_reason": "cover-not-confirmed", "problem_values": {"seconds": 10**18}}
    fleet.receive("h/0/covers/garage", as_json(cover_state("open", 5, 7, **more)), False, 1e9)
    found = fleet["h/0"].covers["garage"]
    assert (found.problem_reason, found.problem_values) == (
        "cover-not-confirmed",
        {"seconds": 1e18},
    )
    for since, wanted in ((4, "open"), (6, "closed")):
        covers = [cover("garage", since=since)]
        fleet.receive("h/0/describe", as_json(description("x", [], covers=covers)), True, 1e9)
        assert fleet["h/0"].covers["garage"].state == wanted


def test_states_and_urls():
    """A retained description replaces a state only if it is newer. A URL is http or https."""
    fleet = described(as_json(description("x", [pin("lamp", value=0, since=1)])))
    fleet.receive("h/0/pins/lamp", as_json(state(1, 5)), False, 1e9)
    for since, value in ((4, 1), (6, 0)):
        payload = as_json(description("x", [pin("lamp", value=0, since=since)]))
        fleet.receive("h/0/describe", payload, True, 1e9)
        assert fleet["h/0"].pins["lamp"].value == value
    valid = ["https://kitchen.local:8080/", "http://[::1]:80/"]
    invalid = ["javascript:alert(1)", "https://", "//evil", "http://a b/", "http://me:secret@evil/",
               "http://[", "ftp://x/", ""]  # fmt: skip
    for url in [*valid, *invalid]:
        fleet = described(as_json(description("x", [], url=url)))
        assert fleet["h/0"].url == (url if url in valid else None)


def test_news_are_small():
    """However much changes at once, no news are so large that they close viewers."""
    topics = [f"h/{WIDE * 80}{n}" for n in range(1500)]
    fleet = described(largest('"'), 20)
    sizes: list[int] = []

    def receive(subtopic: str, payload: Any) -> None:
        for topic in topics:
            fleet.receive(f"{topic}/{subtopic}", payload, False, 1e9)

    def take_news() -> list[int]:
        """Take all news; return how many Pis have changed pins, are renewed, and are removed."""
        counts = [0, 0, 0, 0]
        while fleet.has_news:
            news = fleet.take_news()
            sizes.append(len(encode(News(1, 1e9, *news))))
            counts = [count + len(part) for count, part in zip(counts, news, strict=True)]
        return counts

    assert take_news() == [0, 20, 0, 0] and len(sizes) == 20
    receive("status", b"online")
    covers = [cover(f"c{n}") for n in range(3)]
    pins = [pin(f"p{n}") for n in range(3)]
    receive("describe", as_json(description("x", pins, covers=covers)))
    assert take_news() == [0, 1500, 0, 0]
    for n in range(3):
        receive(f"pins/p{n}", as_json(state(1)))
        receive(f"covers/c{n}", as_json(cover_state("opening", 2e9, 40, WIDE * 200)))
    counts = take_news()
    assert counts[:3] == [1500, 0, 0] and counts[3] >= 1500
    receive("status", b"")
    assert take_news() == [0, 0, 1500, 0]
    assert max(sizes) <= 72_000 < DEFAULT.max_viewer_backlog_bytes / 3
    fleet = described(largest_covers('"'), 6)
    assert take_news() == [0, 6, 0, 0] and max(sizes) <= 72_000
    for n in range(6):
        for each in fleet[f"h/{n}"].covers:
            text = WIDE * 200
            more = {"problem_reason": "r" * 32, "problem_values": dict.fromkeys("abcdefgh", text)}
            states = as_json(cover_state("opening", 2e9, 40, text, **more))
            fleet.receive(f"h/{n}/covers/{each}", states, False, 1e9)
    counts = take_news()
    assert counts[:3] == [0, 0, 0] and counts[3] > 6 and max(sizes) <= 72_000
    assert sum(sizes) > 3 * DEFAULT.max_viewer_backlog_bytes
    assert not described(largest("\x01" * 3)).has_news  # its JSON is beyond the limit


@pytest.mark.slow
def test_nasty_payloads(brokers, start_server):
    """No message at the fleet's topics gives a wrong state, ends a connection or floods the log."""
    broker = brokers.broker()
    others = brokers.enter_context(FakePis(broker))
    server = start_server(config(broker.url, FLEET + CONTROL))
    others.describe("house/bad", "bad 1", [LAMP], covers=[GARAGE])
    lamp, garage = "house/bad/pins/lamp", "house/bad/covers/garage"
    subscriber = brokers.subscriber(broker, f"{lamp}/set")
    whole = json.dumps(description("bad", [LAMP], covers=[GARAGE]))
    with FleetViewer(server) as viewer:
        viewer.wait_for(HERE)
        for number, payload in enumerate(NASTY, 1):
            viewer.wait_for_host("house/bad", f"bad {number}")
            viewer.send(type="set", pi="house/bad", pin="lamp", value=1, ref=number)
            ref = subscriber.wait_for_topic(f"{lamp}/set", number)[-1].json["ref"]
            names = ["status", "describe", "pins/lamp", "pins/lamp/result", "pins/x", "x/y"]
            names += ["covers/garage", "covers/garage/result", "covers/x"]
            for name in names:
                for topic in ("house/bad", "house/worse", "house"):
                    others.publish(f"{topic}/{name}", payload)
            others.publish("house/bad/status", b"online")
            if payload in NUMBERS:
                value = payload.decode()
                for key in ("time", "value", "since", "pulse", "position"):
                    false = re.sub(rf'"{key}": [^,}}]+', rf'"{key}": {value}', whole)
                    others.publish("house/bad/describe", false.encode())
                for keys in (f'"value":1,"time":{value}', f'"value":{value},"time":1'):
                    others.publish(lamp, b"{%s}" % keys.encode())
                for keys in (f'"position":{value},"time":1', f'"position":1,"time":{value}'):
                    found = f'{{"state":"open","problem":null,{keys}}}'
                    others.publish(garage, found.encode())
                result = f'{{"type":"result","ref":"{ref}","value":{value}}}'
                others.publish(f"{lamp}/result", result.encode(), retain=False)
            answer = {"type": "error", "ref": ref, "code": "busy", "message": "x" * 50_000}
            answer |= {"reason": "y" * 5_000, "values": {"why": 10**30, "label": "z" * 5_000}}
            others.publish(f"{lamp}/result", answer, retain=False)
            viewer.wait_until(lambda: viewer.answers)
            (error,) = viewer.answers
            assert (error["ref"], error["code"]) == (number, "unavailable")
            assert len(as_json(error)) < 1000
            viewer.answers.clear()
            others.describe("house/bad", f"bad {number + 1}", [LAMP], covers=[GARAGE])
        others.publish(lamp, state(1))
        viewer.wait_for_value("house/bad", "lamp", 1)
        others.publish(garage, cover_state("opening"))
        viewer.wait_for_state("house/bad", "garage", "opening")
        assert viewer.switch(HERE, "lamp", 1)["type"] == "result"
    assert ask(server, "GET", "/api/fleet").status == 200
    assert len(re.findall("mqtt: connected", server.log)) == 2
    assert len(re.findall("were invalid", server.log)) == 1


@pytest.mark.slow
def test_memory_is_bounded(brokers, start_server):
    """Many large Pis take bounded memory. Viewers are told while some are left out."""
    broker = brokers.broker("max_queued_messages 0")
    others = brokers.enter_context(FakePis(broker))
    server = start_server(config(broker.url, FLEET))
    with FleetViewer(server) as viewer:
        viewer.wait_for(HERE)
    before = memory(server)
    hostile = largest()
    topics = [f"house/{n:0>90}" for n in range(1000)]
    for n, topic in enumerate(topics):
        others.publish(f"{topic}/status", b"online", retain=False)
        others.publish(f"{topic}/describe", hostile)
        if n % 20 == 19:
            others.flush()
    with FleetViewer(server) as viewer:
        viewer.wait_until(lambda: viewer.broker["error"])
        assert "there are more Pis at the broker than can be shown" in viewer.broker["error"]
        assert viewer.broker["connected"]
        assert viewer.error_of(HERE, "lamp")[0] == "not-allowed"
        # 32 MB with 5,000 of them; 84 MB where texts are not bounded
        assert memory(server) - before < 50e6
        with ThreadPoolExecutor(1) as leaving:  # a viewer that reads nothing meanwhile is closed
            leaving.map(lambda topic: others.publish(f"{topic}/status", b""), topics)
            viewer.wait_until(lambda: viewer.pis.keys() == {HERE})
        viewer.wait_until(lambda: not viewer.broker["error"])
