"""MQTT bridge at a real broker: messages, commands, and changes while the broker is unreachable."""

import re

import pytest

from tests.support.mqtt import (
    CONTROL,
    config,
    reload,
    switch,
    value_of,
    wait_for_reason,
    wait_until_well,
)
from tests.support.server import changing
from tests.support.websocket import WebSocketClient

PINS = ("door", "lamp", "gate", "fan", "heater")


@pytest.fixture
def pi(brokers, start_server):
    """A server with `control: true`, and a client that subscribed after its connection."""
    broker = brokers.broker()
    program = changing(mqtt_health_interval_s=0.1)
    server = start_server(config(broker.url, CONTROL), program=program)
    brokers.subscriber(broker, "house/pi/health").wait_for_topic("health")
    found = brokers.subscriber(broker, "house/pi/+", "house/pi/pins/+", "house/pi/pins/+/result")
    for name in PINS:
        found.wait_for_topic(f"house/pi/pins/{name}")
    return server, found


def test_later_subscriber_gets_everything(pi):
    """A client that subscribes later gets the status and all pins as in `hello`, retained. Health
    follows at each interval. A change is published at once, with the time of its edge."""
    server, subscriber = pi
    health = subscriber.wait_for_topic("house/pi/health", 3)
    assert {"temperature", "load", "memory", "disk", "viewers", "status"} <= health[0].json.keys()
    assert {each.qos for each in subscriber.messages} == {1}
    retained = {each.topic for each in subscriber.messages if each.retained}
    own = ("status", "describe", "health", *(f"pins/{name}" for name in PINS))
    assert retained == {f"house/pi/{each}" for each in own}
    assert subscriber.last("house/pi/status").payload == b"online"
    description = subscriber.last("house/pi/describe").json
    with WebSocketClient(server.port) as viewer:
        hello = viewer.receive("hello")
        viewer.send(type="drive", pin="door", value=1)
        change = viewer.receive("change")
    assert description["server"] == hello["server"]
    assert description["url"].endswith(f":{server.port}/")
    assert [pin["writable"] for pin in description["pins"]] == [False, True, True, True, False]
    for described, pin in zip(description["pins"], hello["pins"], strict=True):
        assert {**described, "writable": None} == {**pin, "writable": None}
        state = subscriber.wait_for_topic(f"house/pi/pins/{pin['name']}")[0].json
        assert state == {"value": pin["value"], "time": pin["since"]}
    (message,) = subscriber.wait_for_value("house/pi/pins/door", 1)
    assert message.json == {"value": 1, "time": change["time"]}
    assert (message.qos, message.retained) == (1, True)


def test_reload_changes_the_broker(brokers, start_server):
    """A reload connects to another broker or to none. The one before gets `offline`."""
    one, two = brokers.broker(), brokers.broker()
    at_one, at_two = (brokers.subscriber(broker, "house/pi/status") for broker in (one, two))
    server = start_server(config(one.url))
    at_one.wait_for_payload("house/pi/status", b"online")
    reload(server, config(two.url))
    at_one.wait_for_payload("house/pi/status", b"offline")
    at_two.wait_for_payload("house/pi/status", b"online")
    reload(server, config(two.url).replace("mqtt:", "#"))
    at_two.wait_for_payload("house/pi/status", b"offline")
    switch(server, "lamp", 1)
    assert "ended the connection" not in server.log


REJECTED = [
    ("heater", b"1", "not-allowed", "nobody may switch Window heater (pins.heater.control"),
    ("lamp", b"2", "bad-value", "lamp: expected 0 or 1, got 2"),
    ("cellar", b"1", "unknown-pin", "there is no pin 'cellar'"),
    ("lamp", b"burn", "bad-message", 'expected a number, ON, OFF or an object without "pin"'),
    ("lamp", b'{"pin":"heater","value":1}', "bad-message", "expected a number, ON, OFF or"),
    ("lamp", b'{"value":1,"for":3}', "bad-message", "expected only the fields"),
    ("lamp", b" " * 16384 + b"1", "too-large", "expected at most 16384 bytes"),
]


def test_commands(pi):
    """Commands of a client of the broker are carried out, answered after their change, and logged.
    Invalid ones get the errors of `/ws`, but no answer under a name that no pin can have."""
    server, subscriber = pi
    for name, command in (
        ("lamp", 1),
        ("lamp", {"type": "toggle", "ref": "a"}),
        ("fan", {"value": 0.5}),
        ("gate", {"type": "pulse", "seconds": 0.01}),
        ("lamp", b"ON"),
        ("lamp", b"false"),
        ("lamp", {"value": "on"}),
        ("lamp", b"off\n"),
        ("lamp", {"value": 1, "seconds": 900}),
        ("lamp", {"type": "auto"}),
    ):
        subscriber.publish(f"house/pi/pins/{name}/set", command)
    assert [each.json for each in subscriber.wait_for_topic("/result", 10)] == [
        {"type": "result", "ref": None, "pin": "lamp", "value": 1},
        {"type": "result", "ref": "a", "pin": "lamp", "value": 0},
        {"type": "result", "ref": None, "pin": "fan", "value": 0.5},
        {"type": "result", "ref": None, "pin": "gate", "value": 1},
        *(
            {"type": "result", "ref": None, "pin": "lamp", "value": value}
            for value in (1, 0, 1, 0, 1, 0)
        ),
    ]
    subscriber.wait_for_value("house/pi/pins/gate", 0, count=2)
    start = "house/pi/pins/lamp"
    lamp = [each.topic for each in subscriber.messages if each.topic.startswith(start)]
    topics = [topic.removeprefix(start) for topic in lamp]
    assert topics[:5] == ["", "", "/result", "", "/result"]
    server.wait_for_log(r"lamp \(GPIO27\): on, by mqtt")
    for name in ("Lamp", "-", "x" * 33, "ä", "$x", "", "\ufeff"):
        subscriber.publish(f"house/pi/pins/{name}/set", 1)
    for name, payload, _, _ in REJECTED:
        subscriber.publish(f"house/pi/pins/{name}/set", payload)
    subscriber.publish("house/pi/pins/lamp/set", b" " * 16383 + b"0")
    *errors, result = subscriber.wait_for_topic("/result", 11 + len(REJECTED))[10:]
    for error, (name, payload, code, words) in zip(errors, REJECTED, strict=True):
        assert error.topic == f"house/pi/pins/{name}/result"
        assert error.json["code"] == code, payload
        assert error.json["message"].startswith(words)
    assert result.json == {"type": "result", "ref": None, "pin": "lamp", "value": 0}
    assert value_of(server, "heater") == 0


def test_properties_and_huge_packets(pi):
    """Odd properties of a message, and a packet beyond our limit, do not end the connection."""
    server, subscriber = pi
    odd = "\ufeff"
    for each in (
        {"UserProperty": [(odd, odd), ("a" * 5000, "b" * 5000)]},
        {"ResponseTopic": odd},
        {"ContentType": odd * 5000},
        {"CorrelationData": b"\xff" * 10_000},
        {"PayloadFormatIndicator": 1, "MessageExpiryInterval": 2**32 - 1},
        {"TopicAlias": 1},
    ):
        for qos in (0, 1, 2):
            subscriber.publish("house/pi/pins/gate/set", 1, qos=qos, **each)
    subscriber.publish("house/pi/pins/lamp/set", b"1" * 1_000_000)
    subscriber.publish("house/pi/pins/fan/set", 0.25)
    assert subscriber.last("house/pi/pins/fan/result").json["value"] == 0.25
    assert len(subscriber.wait_for_topic("/result", 19)) == 19
    wait_until_well(server)
    assert len(re.findall("mqtt: connected", server.log)) == 1


def test_flood_of_commands(brokers, start_server):
    """Commands beyond the limit are dropped and logged once. The page still switches pins."""
    broker = brokers.broker("max_queued_messages 0")
    subscriber = brokers.subscriber(broker, "house/pi/pins/+/result", "house/pi/pins/fan")
    program = changing(max_messages_per_s=5, message_burst=10)
    server = start_server(config(broker.url, CONTROL), program=program)
    subscriber.wait_for_topic("house/pi/pins/fan")
    for _ in range(200):
        subscriber.publish("house/pi/pins/lamp/set", b"1", qos=0)
    server.wait_for_log("more than 5 commands a second: dropping the others")
    switch(server, "fan", 1)
    subscriber.wait_for_value("house/pi/pins/fan", 1)
    assert len(re.findall("more than 5 commands", server.log)) == 1
    assert len(subscriber.wait_for_topic("/result", 10)) < 200


def test_changes_during_an_outage_are_published_late(brokers, start_server):
    """After an outage the present states are published, then the newest changes, each with its own
    time. Health and log say how many are kept, and how many were lost."""
    broker = brokers.broker()
    subscriber = brokers.subscriber(broker, "house/pi/#")
    server = start_server(config(broker.url), program=changing(mqtt_max_kept_changes=5))
    subscriber.wait_for_topic("house/pi/pins/heater")
    broker.kill()
    wait_for_reason(server, f"the broker 127.0.0.1:{broker.port} refuses connections")
    changes = []
    with WebSocketClient(server.port) as viewer:
        for pin in ("lamp", "fan", "lamp", "lamp", "fan", "lamp", "fan"):
            viewer.send(type="toggle", pin=pin)
            change = viewer.receive("change")
            near = pytest.approx(change["time"], abs=0.001)
            changes.append((f"house/pi/pins/{pin}", {"value": change["value"], "time": near}))
    wait_for_reason(server, "5 changes are kept for it, and 2 older ones were lost")
    server.wait_for_log("more than 5 changes wait for the broker: dropping the oldest")
    subscriber.messages.clear()
    broker.start()
    late = subscriber.wait_for_topic("/late", 5)
    assert [(each.topic.removesuffix("/late"), each.json) for each in late] == changes[2:]
    assert not any(each.retained for each in late)
    first_late = subscriber.messages.index(late[0])
    for topic, state in dict(changes).items():
        assert subscriber.messages.index(subscriber.last(topic)) < first_late
        assert brokers.subscriber(broker, topic).last(topic).json == state
    server.wait_for_log("publishing 5 kept changes; 2 older ones were lost")
    assert "our client id" not in server.log  # the broker ended, soon after the connection
    wait_until_well(server)
