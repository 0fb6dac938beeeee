"""Announcement to Home Assistant: keys are documented there, templates and commands work."""

import json
import re
import signal

import jinja2

from tests.support.mqtt import CONTROL, config, reload, switch, value_of

DISCOVERY = ", discovery: homeassistant"
TOPIC = "homeassistant/device/house_pi/config"

# The keys that we use, of those documented at
# https://www.home-assistant.io/integrations/mqtt/#discovery-payload and, for each platform, at
# …/integrations/PLATFORM.mqtt/, read in November 2026.
DEVICE_KEYS = {"identifiers", "manufacturer", "model", "name", "sw_version"}
KEYS = {
    "availability", "availability_mode", "availability_topic", "brightness_template",
    "command_off_template", "command_on_template", "command_topic", "device_class",
    "entity_category", "json_attributes_template", "json_attributes_topic", "name", "payload_off",
    "payload_on", "payload_press", "platform", "schema", "state_class", "state_template",
    "state_topic", "unique_id", "unit_of_measurement", "value_template",
}  # fmt: skip


def check(message):
    """Check that all keys are documented and required ones there; return each platform."""
    assert message.keys() == {"device", "origin", "components", "qos"}
    assert message["device"].keys() <= DEVICE_KEYS and message["device"]["identifiers"]
    assert message["origin"].keys() == {"name", "sw_version"}
    found = message["components"]
    assert len({component["unique_id"] for component in found.values()}) == len(found)
    for component in found.values():
        assert component.keys() <= KEYS and component["name"]
        assert not {"availability", "availability_topic"} <= component.keys()
    return {name: component["platform"] for name, component in found.items()}


def announced(message):
    """Return the components that a message announces."""
    return message.json["components"] if message.topic == TOPIC else {}


def rendered(template, payload=b"", **names):
    """Render a template as Home Assistant does."""
    if payload:
        names["value_json"] = json.loads(payload)
    return jinja2.Environment().from_string(template).render(names)


def test_announcement(brokers, start_server):
    """One retained message announces each pin as what it is. The templates, rendered on published
    messages, give the values that Home Assistant expects, and the commands do what they should."""
    broker = brokers.broker()
    subscriber = brokers.subscriber(broker, "#")
    server = start_server(config(broker.url, DISCOVERY + CONTROL))
    health = subscriber.last("house/pi/health")
    message = subscriber.last(TOPIC)
    assert message.retained
    others = [each for each in subscriber.messages if not each.topic.startswith("house/pi/")]
    assert {each.topic for each in others} == {TOPIC}
    assert check(message.json) == {
        "door": "binary_sensor", "lamp": "switch", "gate": "button", "fan": "light",
        "heater": "binary_sensor", "_temperature": "sensor", "_load": "sensor",
        "_memory": "sensor", "_disk": "sensor", "_problem": "binary_sensor",
    }  # fmt: skip
    found = message.json["components"]
    assert (found["door"]["name"], found["door"]["device_class"]) == ("Front door", "door")
    assert "device_class" not in found["heater"]
    for name in ("door", "lamp", "heater"):
        state = subscriber.last(found[name]["state_topic"])
        assert rendered(found[name]["value_template"], state.payload) == f"{state.json['value']}"
        for value, key in ((0, "payload_off"), (1, "payload_on")):
            payload = b'{"value":%d}' % value
            assert rendered(found[name]["value_template"], payload) == found[name][key]
    assert found["_load"]["state_topic"] == health.topic
    for name in ("_load", "_memory", "_disk"):
        assert float(rendered(found[name]["value_template"], health.payload)) >= 0
    assert rendered(found["_temperature"]["value_template"], health.payload)
    problem, fan = found["_problem"], found["fan"]
    assert rendered(problem["value_template"], health.payload) == "OFF"
    assert rendered(problem["value_template"], b'{"status":"degraded"}') == "ON"
    reasons = rendered(problem["json_attributes_template"], health.payload)
    assert json.loads(reasons) == {"reasons": []}
    switch(server, "fan", 0.5)
    half = subscriber.wait_for_value("house/pi/pins/fan", 0.5)[0]
    assert rendered(fan["state_template"], half.payload) == "on"
    assert rendered(fan["brightness_template"], half.payload) == "128"
    assert rendered(fan["state_template"], b'{"value":0}') == "off"
    commands = [
        ("lamp", found["lamp"]["payload_on"], 1),
        ("lamp", found["lamp"]["payload_off"], 0),
        ("gate", found["gate"]["payload_press"], 1),
        ("fan", rendered(fan["command_on_template"], brightness=51), 0.2),
        ("fan", rendered(fan["command_on_template"]), 1),
        ("fan", rendered(fan["command_off_template"]), 0),
    ]
    for number, (name, payload, value) in enumerate(commands, 1):
        subscriber.publish(found[name]["command_topic"], payload.encode())
        answer = subscriber.wait_for_topic("/result", number)[-1].json
        assert (answer["pin"], answer["value"]) == (name, value)


def test_without_control_nothing_can_be_switched(brokers, start_server):
    """Without `control: true` no command works, no pin is writable, and all is a sensor."""
    broker = brokers.broker()
    subscriber = brokers.subscriber(broker, "#")
    server = start_server(config(broker.url, DISCOVERY))
    assert {*check(subscriber.last(TOPIC).json).values()} == {"binary_sensor", "sensor"}
    description = subscriber.last("house/pi/describe").json
    assert not any(pin["writable"] for pin in description["pins"])
    subscriber.wait_for_topic("house/pi/pins/heater")
    subscriber.publish("house/pi/pins/lamp/set", 1)
    switch(server, "fan", 1)
    subscriber.wait_for_value("house/pi/pins/fan", 1)
    assert value_of(server, "lamp") == 0
    assert not any(each.topic.endswith("/result") for each in subscriber.messages)


def test_removed_pins_and_crash(brokers, start_server):
    """A removed pin is removed at the broker, and announced once with only its platform, as Home
    Assistant wants it. A crashed Pi, or a pin that cannot be opened, is unavailable."""
    broker = brokers.broker()
    subscriber = brokers.subscriber(broker, TOPIC, "house/pi/#")
    text = config(broker.url, DISCOVERY + CONTROL)
    server = start_server(text)
    subscriber.wait_for_topic("house/pi/health")
    reload(server, text := re.sub("  fan:.*\n", "", text))
    subscriber.wait_for(lambda each: announced(each).get("fan") == {"platform": "light"})
    subscriber.wait_for_payload("house/pi/pins/fan", b"")
    assert server.log.count("mqtt: connected") == 1
    assert "fan" not in str(subscriber.last("house/pi/describe").json)
    server.stop(signal.SIGKILL)
    server.reload(re.sub("  lamp:.*\n", "", text))  # it has ended: this only replaces the file
    subscriber.wait_for_payload("house/pi/status", b"offline")
    server.restart()
    subscriber.wait_for(lambda each: announced(each).get("lamp") == {"platform": "switch"})
    subscriber.wait_for_payload("house/pi/pins/lamp", b"")
    late = brokers.subscriber(broker, TOPIC, "house/pi/#")
    pins = {"door", "gate", "heater"}
    last = late.wait_for(lambda each: pins == {name for name in announced(each) if name[0] != "_"})
    check(last[0].json)
    found = announced(last[0])
    left = {late.last(f"house/pi/pins/{name}").topic for name in pins}
    assert {each.topic for each in late.messages if "/pins/" in each.topic} == left
    whole, own = found["gate"]["availability"]
    assert found["gate"]["availability_mode"] == "all"
    assert (whole, own["topic"]) == ({"topic": "house/pi/status"}, "house/pi/pins/gate")
    assert rendered(own["value_template"], late.last(own["topic"]).payload) == "online"
    assert rendered(own["value_template"], b'{"value":null,"time":null}') == "offline"
