"""Covers at a real broker: their states, commands to them, and their entities."""

import os
import re

import pytest

from tests.mqtt.test_discovery import DISCOVERY, TOPIC, announced, check, rendered
from tests.mqtt.test_hostile_broker import NASTY
from tests.support.http import ask
from tests.support.mqtt import CONTROL, COVERS, config, reload
from tests.support.server import changing, clock_is
from tests.support.websocket import WebSocketClient

GARAGE, SHUTTER = "house/pi/covers/garage", "house/pi/covers/shutter"


def text_for(broker, more=CONTROL):
    return config(broker.url, more) + COVERS


def wait_for_state(client, topic, state, count=1):
    return client.wait_for(
        lambda each: each.topic == topic and each.payload and each.json["state"] == state, count
    )


def test_states_and_commands(brokers, start_server):
    """Each cover has a retained state, which follows it. OPEN, CLOSE, STOP, numbers and objects
    move it, and each command has an answer: the state after it, or an error in words."""
    broker = brokers.broker()
    server = start_server(text_for(broker))
    brokers.subscriber(broker, "house/pi/health").last("house/pi/health")
    found = brokers.subscriber(broker, "house/pi/#")
    state = found.last(GARAGE)
    assert state.retained
    problem = {"problem": None, "problem_reason": None, "problem_values": {}}
    assert state.json == {"state": "closed", "position": None, **problem, "time": None}
    described = found.last("house/pi/describe").json
    assert [each["name"] for each in described["covers"]] == ["garage", "shutter", "barrier"]
    assert [each["writable"] for each in described["covers"]] == [True, True, False]
    pins = {each["name"]: each for each in described["pins"]}
    assert (pins["opener"]["cover"], pins["opener"]["writable"]) == ("garage", False)

    def command(name, payload, kind="covers", **options):
        """Send a command; return its answer."""
        topic = f"house/pi/{kind}/{name}/result"
        before = sum(each.topic == topic for each in found.messages)
        found.publish(f"house/pi/{kind}/{name}/set", payload, **options)
        return found.wait_for_topic(topic, before + 1)[before].json

    answer = command("garage", {"type": "open", "ref": 7})
    assert answer.pop("state") in ("closed", "opening")
    assert answer == {"type": "result", "ref": 7, "cover": "garage", "position": None}
    server.wait_for_log("by mqtt")
    opened = wait_for_state(found, GARAGE, "open")[0].json
    assert opened["time"] > 1e9
    assert ask(server, "GET", "/api/covers/garage").json["state"] == "open"
    assert command("garage", b"close")["ref"] is None
    wait_for_state(found, GARAGE, "closed", 2)
    assert command("shutter", b"OPEN")["type"] == "result"
    wait_for_state(found, SHUTTER, "open")
    assert command("shutter", b'"40"')["type"] == "result"
    position = wait_for_state(found, SHUTTER, "stopped", 2)[1].json["position"]
    assert 10 < position <= 40  # a busy loop is late
    assert command("shutter", b'"Open"')["type"] == "result"
    wait_for_state(found, SHUTTER, "opening", 2)
    assert command("shutter", b"STOP")["type"] == "result"
    for name, payload, code, words in (
        (
            "barrier",
            b"OPEN",
            "not-allowed",
            "nobody may switch barrier (covers.barrier.control: nobody)",
        ),
        ("cellar", b"OPEN", "not-found", "there is no cover 'cellar'"),
        ("garage", b"40", "bad-value", "Garage door can be opened and closed only"),
        ("shutter", b"101", "bad-value", "shutter: expected a position from 0 to 100, got 101"),
        ("shutter", b"-1", "bad-value", "shutter: expected a position from 0 to 100, got -1"),
        ("shutter", b"1e999", "bad-value", "shutter: expected a position from 0 to 100, got inf"),
        ("shutter", b"ON", "bad-message", "expected OPEN, CLOSE, STOP, a number from 0 to 100 or"),
        ("shutter", {"type": "open", "cover": "garage"}, "bad-message", "expected OPEN, CLOSE"),
        ("shutter", {"type": "position"}, "bad-message", "position: expected a number"),
        ("shutter", {"type": "toggle"}, "bad-message", "type: expected"),
        ("shutter", {"type": "open", "ref": 5, "position": 3}, "bad-message", "expected only"),
        ("shutter", b"\xff", "bad-message", "expected OPEN"),
        ("shutter", b"x" * 20_000, "too-large", "expected at most"),
    ):
        answer = command(name, payload)
        assert (answer["type"], answer["code"]) == ("error", code), payload
        assert answer["message"].startswith(words), payload
    assert command("shutter", {"type": "open", "ref": 5, "position": 3})["ref"] == 5
    retained = command("shutter", b"OPEN", retain=True)
    assert "without the retain flag" in retained["message"]
    answer = command("opener", 1, kind="pins")
    assert (answer["code"], answer["reason"]) == ("conflict", "cover-output")


def test_no_commands_without_control(brokers, start_server):
    """Without `control: true` a command to a cover does nothing, and has no answer."""
    broker = brokers.broker()
    text = text_for(broker, DISCOVERY)
    server = start_server(text)
    found = brokers.subscriber(broker, "#")
    components = found.last(TOPIC).json["components"]
    assert components["shutter"]["platform"] == "cover"
    assert not {"command_topic", "set_position_topic"} & components["shutter"].keys()
    found.publish(f"{SHUTTER}/set", b"OPEN")
    reload(server, text + "interval: 1\n")
    found.wait_for_topic("house/pi/describe", 2)
    assert ask(server, "GET", "/api/covers/shutter").json["state"] != "opening"
    assert not [each for each in found.messages if each.topic.endswith("/result")]


@pytest.mark.slow
def test_nasty_payloads(brokers, start_server):
    """Whatever is sent to a cover, the connection and the cover stay; each has an answer."""
    broker = brokers.broker()
    server = start_server(text_for(broker))
    found = brokers.subscriber(broker, "house/pi/#")
    found.last(GARAGE)
    for count, payload in enumerate(NASTY, 1):
        found.publish(f"{GARAGE}/set", payload)
        answer = found.wait_for_topic(f"{GARAGE}/result", count)[-1]
        assert answer.json["type"] == "error" and len(answer.payload) < 1000
    assert len(re.findall("mqtt: connected", server.log)) == 1
    assert ask(server, "GET", "/api/covers/garage").json["state"] == "closed"


def test_entities(brokers, start_server, tmp_path):
    """A cover is a cover of the class of its kind, with what it can do. Its outputs are not
    announced, its contacts are diagnostics. It comes and goes with its lines, also over a restart.
    """
    broker = brokers.broker()
    found = brokers.subscriber(broker, "#")
    environment = {**os.environ, "STATE_DIRECTORY": str(tmp_path)}
    text = text_for(broker, DISCOVERY + CONTROL)
    pins_only = text.partition("covers:")[0]
    server = start_server(pins_only, env=environment)
    assert found.last(TOPIC).json["components"]["opener"]["platform"] == "button"
    assert not any("covers" in each.topic for each in found.messages)
    reload(server, text)
    removal = found.wait_for(lambda each: announced(each).get("opener") == {"platform": "button"})
    assert announced(removal[0])["up"] == {"platform": "switch"}
    message = found.wait_for(lambda each: "garage" in announced(each))[-1]
    platforms = check(message.json)
    assert not {"opener", "up", "down", "bolt"} & platforms.keys()
    components = announced(message)
    garage, shutter, barrier = (components[name] for name in ("garage", "shutter", "barrier"))
    classes = [each["device_class"] for each in (garage, shutter, barrier)]
    assert classes == ["garage", "shutter", "gate"]
    assert (garage["name"], garage["payload_stop"], shutter["payload_stop"]) == (
        *("Garage door", None, "STOP"),
    )
    assert "position_topic" not in garage and shutter["set_position_topic"] == f"{SHUTTER}/set"
    assert "command_topic" not in barrier
    contact = components["shut"]
    assert (contact["platform"], contact["entity_category"]) == ("binary_sensor", "diagnostic")
    for payload, state, position in (
        (b'{"state":"stopped","position":40,"problem":null,"time":1}', "open", "40"),
        (b'{"state":"stopped","position":null,"problem":null,"time":1}', "None", ""),
        (b'{"state":"closing","position":0,"problem":null,"time":1}', "closing", "0"),
        (b'{"state":"closing","position":null,"problem":null,"time":1}', "closing", ""),
        (b'{"state":"unknown","position":null,"problem":"x","time":1}', "None", ""),
        (b"", "None", ""),
    ):
        assert rendered(shutter["value_template"], payload) == state
        assert rendered(shutter["position_template"], payload) == position
    stopped = b'{"state":"stopped","position":null,"problem":null,"time":1}'
    assert rendered(garage["value_template"], stopped) == "open"  # which has no position
    found.publish(garage["command_topic"], garage["payload_open"].encode())
    wait_for_state(found, garage["state_topic"], "open")
    reload(server, re.sub("  shutter: {up: up.*\n", "", text))
    found.wait_for_payload(SHUTTER, b"")
    found.wait_for(lambda each: announced(each).get("shutter") == {"platform": "cover"})
    server.stop()
    server.reload(pins_only)
    found.messages.clear()
    server.restart()
    found.wait_for_payload(GARAGE, b"")
    assert announced(found.wait_for(announced)[0])["garage"] == {"platform": "cover"}


def test_another_topic(brokers, start_server, tmp_path):
    """With another `topic` the states of covers below the one before are removed."""
    broker = brokers.broker()
    found = brokers.subscriber(broker, "#")
    environment = {**os.environ, "STATE_DIRECTORY": str(tmp_path)}
    text = text_for(broker)
    server = start_server(text, env=environment)
    found.last(GARAGE)
    server.stop()
    server.reload(text.replace("house/pi", "house/attic"))
    server.restart()
    found.wait_for_payload(GARAGE, b"")
    assert found.last("house/attic/covers/garage").json["state"] == "closed"


def test_moved_by_hand(brokers, start_server):
    """A cover that is moved by hand is published, too."""
    broker = brokers.broker()
    server = start_server(text_for(broker))
    found = brokers.subscriber(broker, "house/pi/covers/+")
    found.last(GARAGE)
    with WebSocketClient(server.port) as viewer:
        viewer.send(type="drive", pin="shut", value=1)
        wait_for_state(found, GARAGE, "open")


def test_schedules_of_covers(brokers, start_server):
    """The schedule of a cover has a state, a switch and a next time as others have. Clients of the
    broker pause it if they may move its cover."""
    broker = brokers.broker()
    schedules = """schedules:
  dusk: {cover: shutter, at: 21:00, goal: close}
  locked: {cover: barrier, at: 21:00, goal: close}
"""
    text = text_for(broker, DISCOVERY + CONTROL).rstrip() + "\n" + schedules
    server = start_server(text, program=changing(clock_is(True)))
    found = brokers.subscriber(broker, "#")
    components = found.last(TOPIC).json["components"]
    assert components["_schedule_dusk"]["platform"] == "switch"
    assert components["_schedule_locked"]["platform"] == "binary_sensor"
    state = found.last("house/pi/schedules/dusk").json
    listed = ask(server, "GET", "/api/schedules").json["schedules"]
    (coming,) = {each["next"]["begin"] for each in listed}
    assert state == {"value": 1, "until": None, "next": coming}
    for name, answer in (("dusk", {"value": 0}), ("locked", {"code": "not-allowed"})):
        found.publish(f"house/pi/schedules/{name}/set", 0)
        assert answer.items() <= found.last(f"house/pi/schedules/{name}/result").json.items()
    found.wait_for_value("house/pi/schedules/dusk", 0)
