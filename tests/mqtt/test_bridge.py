"""MQTT bridge at a real broker: what it publishes, which commands it carries out, and what it does
with changes while the broker is unreachable."""

import re
import signal
from collections.abc import Iterator

import pytest

from tests.support.mqtt import (
    CONTROL,
    Brokers,
    Mosquitto,
    config,
    properties,
    reload,
    switch,
    value_of,
    wait_for_reason,
    wait_until_well,
)
from tests.support.server import Server, changing
from tests.support.websocket import WebSocketClient

PINS = ("door", "lamp", "gate", "fan", "heater")


@pytest.fixture(scope="module")
def pi_and_broker(tmp_path_factory, start_module_server) -> Iterator[tuple[Server, Mosquitto]]:
    """A server with `control: true` and hardly a limit of commands, and its broker."""
    limits = {"max_messages_per_s": 10_000, "message_burst": 10_000, "mqtt_health_interval_s": 0.1}
    with Brokers(tmp_path_factory.mktemp("shared")) as brokers:
        broker = brokers.broker()
        early = brokers.subscriber(broker, "house/pi/status")
        server = start_module_server(config(broker.url, CONTROL), program=changing(**limits))
        early.wait_for_payload("house/pi/status", b"online")
        yield server, broker
        server.stop()


@pytest.fixture
def pi(pi_and_broker) -> Server:
    return pi_and_broker[0]


@pytest.fixture
def subscriber(pi_and_broker, brokers):
    """A client that subscribes to everything that `pi` publishes, later than `pi` connected."""
    topics = ("house/pi/+", "house/pi/pins/+", "house/pi/pins/+/result")
    found = brokers.subscriber(pi_and_broker[1], *topics)
    for name in PINS:
        found.wait_for_topic(f"house/pi/pins/{name}")
    return found


# ---------------------------------------------------------------- published messages


def test_later_subscriber_gets_everything(pi, subscriber):
    """A client that subscribes later gets the status, all pins as in `hello`, and their states.
    The health follows at each interval and is not retained."""
    health = subscriber.wait_for_topic("house/pi/health", 3)
    assert {"temperature", "load", "memory", "disk", "viewers", "status"} <= health[0].json.keys()
    assert {each.qos for each in subscriber.messages} == {1}
    retained = {each.topic for each in subscriber.messages if each.retained}
    own = ("status", "describe", *(f"pins/{name}" for name in PINS))
    assert retained == {f"house/pi/{each}" for each in own}
    assert subscriber.last("house/pi/status").payload == b"online"
    with WebSocketClient(pi.port) as viewer:
        hello = viewer.receive("hello")
    description = subscriber.last("house/pi/describe").json
    assert description["server"] == hello["server"]
    assert description["url"].endswith(f":{pi.port}/")
    assert [pin["writable"] for pin in description["pins"]] == [False, True, True, True, False]
    for described, pin in zip(description["pins"], hello["pins"], strict=True):
        assert {**described, "writable": None} == {**pin, "writable": None}
        state = subscriber.last(f"house/pi/pins/{pin['name']}").json
        assert state == {"value": pin["value"], "time": pin["since"]}


def test_change_is_published_at_once(pi, subscriber):
    """A change is published at QoS 1, retained, with the time of its edge that viewers get."""
    with WebSocketClient(pi.port) as viewer:
        viewer.send(type="drive", pin="door", value=1)
        change = viewer.receive("change")
    (message,) = subscriber.wait_for_value("house/pi/pins/door", 1)
    assert message.json == {"value": 1, "time": change["time"]}
    assert (message.qos, message.retained) == (1, True)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_offline_after_stop_and_crash(brokers, start_server, how):
    """After a clean stop and after a crash the retained status is `offline`."""
    broker = brokers.broker()
    subscriber = brokers.subscriber(broker, "house/pi/status")
    server = start_server(config(broker.url))
    subscriber.wait_for_payload("house/pi/status", b"online")
    server.stop(how)
    subscriber.wait_for_payload("house/pi/status", b"offline")
    late = brokers.subscriber(broker, "house/pi/status")
    assert late.last("house/pi/status").payload == b"offline"
    assert "ended the connection" not in server.log


def test_removed_pin_is_removed_at_the_broker(brokers, start_server, tmp_path):
    """A pin removed by a reload or a restart is removed at the broker."""
    broker = brokers.broker()
    subscriber = brokers.subscriber(broker, "house/pi/#")
    text = config(broker.url)
    server = start_server(text)
    subscriber.wait_for_topic("house/pi/pins/heater")
    file = tmp_path / "config-0.yaml"
    file.write_text(re.sub("  fan:.*\n", "", text))
    reload(server)
    subscriber.wait_for_payload("house/pi/pins/fan", b"")
    assert "fan" not in str(subscriber.last("house/pi/describe").json)
    file.write_text(re.sub("  (fan|gate):.*\n", "", text))
    server.restart()
    subscriber.wait_for_payload("house/pi/pins/gate", b"")
    late = brokers.subscriber(broker, "house/pi/pins/+")
    late.wait_for_topic("house/pi/pins/heater")
    assert {each.topic.rpartition("/")[2] for each in late.messages} == {"door", "lamp", "heater"}


def test_reload_changes_the_broker(brokers, start_server, tmp_path):
    """A reload connects to another broker or to none. The one before gets `offline`."""
    one, two = brokers.broker(), brokers.broker()
    at_one, at_two = (brokers.subscriber(broker, "house/pi/status") for broker in (one, two))
    server = start_server(config(one.url))
    at_one.wait_for_payload("house/pi/status", b"online")
    file = tmp_path / "config-0.yaml"
    file.write_text(config(two.url))
    reload(server)
    at_one.wait_for_payload("house/pi/status", b"offline")
    at_two.wait_for_payload("house/pi/status", b"online")
    file.write_text(config(two.url).replace("mqtt:", "#"))
    reload(server)
    at_two.wait_for_payload("house/pi/status", b"offline")
    switch(server, "lamp", 1)


# ---------------------------------------------------------------- commands


def test_commands(pi, subscriber):
    """With `control: true` a client of the broker may set, toggle and pulse. Each command is
    answered after its change, and logged."""
    commands = [
        ("lamp", 1),
        ("lamp", {"type": "toggle", "ref": "a"}),
        ("fan", {"value": 0.5}),
        ("gate", {"type": "pulse", "seconds": 0.01}),
    ]
    for name, command in commands:
        subscriber.publish(f"house/pi/pins/{name}/set", command)
    assert [each.json for each in subscriber.wait_for_results(4)] == [
        {"type": "result", "ref": None, "pin": "lamp", "value": 1},
        {"type": "result", "ref": "a", "pin": "lamp", "value": 0},
        {"type": "result", "ref": None, "pin": "fan", "value": 0.5},
        {"type": "result", "ref": None, "pin": "gate", "value": 1},
    ]
    subscriber.wait_for_value("house/pi/pins/gate", 0, count=2)
    start = "house/pi/pins/lamp"
    lamp = [each.topic for each in subscriber.messages if each.topic.startswith(start)]
    assert [topic.removeprefix(start) for topic in lamp] == ["", "", "/result", "", "/result"]
    pi.wait_for_log(r"lamp \(GPIO27\): on, by mqtt")
    pi.wait_for_log(r"gate \(GPIO22\): on, by mqtt")


def test_without_control_commands_are_ignored(brokers, start_server):
    """Without `control: true` a command at the broker does nothing, and no pin is writable."""
    broker = brokers.broker()
    subscriber = brokers.subscriber(broker, "house/pi/#")
    server = start_server(config(broker.url))
    description = subscriber.last("house/pi/describe").json
    assert not any(pin["writable"] for pin in description["pins"])
    subscriber.wait_for_topic("house/pi/pins/heater")
    subscriber.publish("house/pi/pins/lamp/set", 1)
    switch(server, "fan", 1)
    subscriber.wait_for_value("house/pi/pins/fan", 1)
    assert value_of(server, "lamp") == 0
    assert not any(each.topic.endswith("/result") for each in subscriber.messages)


REJECTED = {
    "nobody": ("heater", b"1", "not-allowed", "nobody may switch heater (pins.heater.control"),
    "input": ("door", b"1", "not-writable", "door (GPIO17) is an input"),
    "range": ("lamp", b"2", "bad-value", "lamp: expected 0 or 1, got 2"),
    "unknown pin": ("cellar", b"1", "unknown-pin", "there is no pin 'cellar'"),
    "not UTF-8": ("lamp", b"\xff\xfe{", "bad-message", "expected 0, 1 or an object"),
    "text": ("lamp", b'"on"', "bad-message", "expected 0, 1 or an object"),
    "true": ("lamp", b"true", "bad-message", "expected 0, 1 or an object"),
    "deep": ("lamp", b"[" * 9000, "bad-message", "expected 0, 1 or an object"),
    "another pin": ("lamp", b'{"pin":"heater","value":1}', "bad-message", "expected 0, 1 or"),
    "field": ("lamp", b'{"value":1,"for":3}', "bad-message", "expected a command such as"),
    "large": ("lamp", b" " * 16384 + b"1", "too-large", "expected at most 16384 bytes"),
}


@pytest.mark.parametrize("kind", REJECTED)
def test_rejected_command_gets_its_reason(pi, subscriber, kind):
    """Invalid and forbidden commands get the errors that `/ws` sends. A command as large as allowed
    is carried out."""
    name, payload, code, words = REJECTED[kind]
    subscriber.publish(f"house/pi/pins/{name}/set", payload)
    subscriber.publish("house/pi/pins/lamp/set", b" " * 16383 + b"0")
    error, result = subscriber.wait_for_results(2)
    assert error.topic == f"house/pi/pins/{name}/result"
    assert error.json["code"] == code
    assert error.json["message"].startswith(words)
    assert result.json == {"type": "result", "ref": None, "pin": "lamp", "value": 0}
    assert value_of(pi, "heater") == 0


def test_invalid_pin_name_is_not_answered(subscriber):
    """No client can make the server publish under a name that no pin can have."""
    for name in ("Lamp", "-", "x" * 33, "x" * 1000, "ä", "$x", "", "\ufeff"):
        subscriber.publish(f"house/pi/pins/{name}/set", 1)
    subscriber.publish("house/pi/pins/attic/set", 1)
    subscriber.wait_for_topic("house/pi/pins/attic/result")
    (answer,) = subscriber.wait_for_results(1)
    assert answer.topic == "house/pi/pins/attic/result"


def test_packet_beyond_our_limit(pi, subscriber):
    """The broker does not deliver a packet larger than our limit. The next command is carried
    out."""
    subscriber.publish("house/pi/pins/lamp/set", b"1" * 1_000_000)
    subscriber.publish("house/pi/pins/lamp/set", 1)
    assert subscriber.wait_for_results(1)[0].json["value"] == 1
    assert value_of(pi, "lamp") == 1
    wait_until_well(pi)


def test_properties_are_ignored(pi, subscriber):
    """Properties of a message are ignored, also characters in them that Paho rejects and MQTT
    allows."""
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
            for payload in (1, b"\xff"):
                with_them = properties(**each)
                subscriber.publish("house/pi/pins/gate/set", payload, False, qos, with_them)
    assert len(subscriber.wait_for_results(36)) == 36
    wait_until_well(pi)
    assert len(re.findall("mqtt: connected", pi.log)) == 1


def test_retained_command_is_rejected(brokers, start_server):
    """A command that the broker retained is not carried out, neither when it is sent nor at the
    next connection."""
    broker = brokers.broker()
    subscriber = brokers.subscriber(broker, "house/pi/pins/#")
    subscriber.publish("house/pi/pins/lamp/set", 1, retain=True)
    server = start_server(config(broker.url, CONTROL))
    subscriber.wait_for_topic("house/pi/pins/heater")
    subscriber.publish("house/pi/pins/fan/set", 1, retain=True)
    (answer,) = subscriber.wait_for_results(1)
    assert answer.topic == "house/pi/pins/fan/result"
    assert "without the retain flag" in answer.json["message"]
    assert (value_of(server, "lamp"), value_of(server, "fan")) == (0, 0)


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
    answered = [each for each in subscriber.messages if each.topic.endswith("/result")]
    assert 10 <= len(answered) < 200


# ---------------------------------------------------------------- an unreachable broker


def test_changes_during_an_outage_are_published_late(brokers, start_server):
    """Changes made while the broker is unreachable are published when it is back: the present
    states first, then all changes in order under `late`, each with its own time."""
    broker = brokers.broker()
    subscriber = brokers.subscriber(broker, "house/pi/#")
    server = start_server(config(broker.url))
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
    assert "7 changes are kept" in wait_for_reason(server, "changes are kept")[0]
    subscriber.messages.clear()
    broker.start()
    late = subscriber.wait_for(lambda each: each.topic.endswith("/late"), 7)
    assert [(each.topic.removesuffix("/late"), each.json) for each in late] == changes
    assert not any(each.retained for each in late)
    first_late = subscriber.messages.index(late[0])
    for topic, state in dict(changes).items():
        assert subscriber.messages.index(subscriber.last(topic)) < first_late
        assert brokers.subscriber(broker, topic).last(topic).json == state
    wait_until_well(server)


def test_oldest_kept_changes_are_dropped(brokers, start_server):
    """Beyond the limit the oldest kept changes are dropped. Their number is in the log and the
    health."""
    broker = brokers.broker()
    subscriber = brokers.subscriber(broker, "house/pi/#")
    server = start_server(config(broker.url), program=changing(mqtt_max_kept_changes=5))
    subscriber.wait_for_topic("house/pi/pins/heater")
    broker.kill()
    wait_for_reason(server, "refuses connections")
    for number in range(1, 13):
        switch(server, "fan", number / 100)
    words = "5 changes are kept for it, and 7 older ones were lost"
    assert words in wait_for_reason(server, "older ones were lost")[0]
    server.wait_for_log("more than 5 changes wait for the broker: dropping the oldest")
    broker.start()
    late = subscriber.wait_for(lambda each: each.topic.endswith("/late"), 5)
    assert [each.json["value"] for each in late] == [0.08, 0.09, 0.1, 0.11, 0.12]
    server.wait_for_log("publishing 5 kept changes; 7 older ones were lost")
