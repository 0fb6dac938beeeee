"""Announcement to Home Assistant: keys are documented there, templates and commands work."""

import json
import os
import re
import signal
import time
from datetime import UTC, datetime

import jinja2

from tests.support.mqtt import CONTROL, config, reload, switch, value_of
from tests.support.server import changing

DISCOVERY = ", discovery: homeassistant"
TOPIC = "homeassistant/device/house_pi/config"

# The keys that we use, of those documented at
# https://www.home-assistant.io/integrations/mqtt/#discovery-payload and, for each platform, at
# …/integrations/PLATFORM.mqtt/, read in November 2026.
DEVICE_KEYS = {
    "configuration_url", "identifiers", "manufacturer", "model", "name", "sw_version",
}  # fmt: skip
KEYS = {
    "availability", "availability_mode", "availability_topic", "brightness_command_template",
    "brightness_command_topic", "brightness_state_topic", "brightness_value_template",
    "command_template", "command_topic", "default_entity_id", "device_class", "enabled_by_default",
    "entity_category", "icon", "json_attributes_template", "json_attributes_topic", "max", "min",
    "mode", "name", "on_command_type", "payload_close", "payload_lock", "payload_off", "payload_on",
    "payload_open", "payload_press", "payload_stop", "payload_unlock",
    "percentage_command_template", "percentage_command_topic", "percentage_state_topic",
    "percentage_value_template", "platform", "position_template", "position_topic",
    "set_position_topic", "state_class", "state_closed", "state_locked", "state_open",
    "state_topic", "state_unlocked",
    "state_value_template", "support_duration", "support_volume_set", "unique_id",
    "unit_of_measurement", "value_template",
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
    is_ours = message.topic.endswith("/device/house_pi/config") and message.payload
    return message.json["components"] if is_ours else {}


def rendered(template, payload=b"", **names):
    """Render a template as Home Assistant does."""
    if payload:
        names["value_json"] = json.loads(payload)
    environment = jinja2.Environment()
    environment.filters["timestamp_utc"] = lambda seconds: datetime.fromtimestamp(
        seconds, UTC
    ).isoformat()
    return environment.from_string(template).render(names)


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
        "_memory": "sensor", "_disk": "sensor", "_uptime": "sensor", "_problem": "binary_sensor",
        "_under_voltage": "binary_sensor",
    }  # fmt: skip
    found = message.json["components"]
    assert found["door"]["name"] == "Front door"
    for name in ("door", "lamp", "gate", "fan", "heater"):  # no label says what a pin is
        assert not found[name].keys() & {"device_class", "icon"}
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
    url = subscriber.last("house/pi/describe").json["url"]
    assert message.json["device"]["configuration_url"] == url
    problem, weak, fan = found["_problem"], found["_under_voltage"], found["fan"]
    for throttled, state in ((b"null", "None"), (b"[]", "OFF"), (b'["under-voltage now"]', "ON")):
        payload = b'{"throttled":%s}' % throttled
        assert rendered(weak["value_template"], payload) == state
    assert rendered(problem["value_template"], health.payload) == "OFF"
    assert rendered(problem["value_template"], b'{"status":"degraded"}') == "ON"
    reasons = rendered(problem["json_attributes_template"], health.payload)
    assert json.loads(reasons) == {"reasons": []}
    switch(server, "fan", 0.5)
    half = subscriber.wait_for_value("house/pi/pins/fan", 0.5)[0]
    assert rendered(fan["state_value_template"], half.payload) == fan["payload_on"]
    assert rendered(fan["brightness_value_template"], half.payload) == "128"
    assert rendered(fan["state_value_template"], b'{"value":0}') == fan["payload_off"]
    # A removed pin leaves an empty message. Then Home Assistant logs what a template cannot read.
    for component in found.values():
        templates = [each for key, each in component.items() if key.endswith("value_template")]
        templates += [each["value_template"] for each in component.get("availability", [])[1:]]
        assert {rendered(each) for each in templates} <= {"None", "", "0", "offline"}
    commands = [
        ("lamp", found["lamp"]["payload_on"], 1),
        ("lamp", found["lamp"]["payload_off"], 0),
        ("gate", found["gate"]["payload_press"], 1),
        ("fan", rendered(fan["brightness_command_template"], value=51), 0.2),
        ("fan", fan["payload_off"], 0),
    ]
    for number, (name, payload, value) in enumerate(commands, 1):
        subscriber.publish(found[name]["command_topic"], payload.encode())
        answer = subscriber.wait_for_topic("/result", number)[-1].json
        assert (answer["pin"], answer["value"]) == (name, value)


KINDS = """
gpio: simulated
access: {{control: everyone}}
mqtt: {{url: "{url}", topic: house/pi, discovery: homeassistant{more}}}
pins:
  door: {{gpio: 0, mode: input, kind: door, pull: up}}
  gate: {{gpio: 1, mode: input, kind: gate, pull: up, icon: garden}}
  leak: {{gpio: 4, mode: input, kind: moisture, pull: up}}
  bell: {{gpio: 5, mode: input, kind: button, pull: up}}
  kettle: {{gpio: 6, mode: output, kind: outlet, hidden: true}}
  lamp: {{gpio: 7, mode: output, kind: light}}
  fan: {{gpio: 8, mode: output, kind: fan}}
  water: {{gpio: 9, mode: output, kind: valve}}
  horn: {{gpio: 10, mode: output, kind: siren}}
  latch: {{gpio: 11, mode: output, kind: lock}}
  pump: {{gpio: 12, mode: output, kind: pump}}
  buzzer: {{gpio: 13, mode: output, kind: lock, pulse: 3}}
  garage: {{gpio: 14, mode: output, kind: garage_door, pulse: 0.5}}
  spot: {{gpio: 15, mode: pwm}}
  vent: {{gpio: 16, mode: pwm, kind: fan}}
  floor: {{gpio: 17, mode: pwm, kind: heater}}
"""


def of_kinds(found, *keys):
    """Return some keys of the components of pins, with those of None left out."""
    return {
        name: [component[key] for key in keys if key in component]
        for name, component in found.items()
        if not name.startswith("_")
    }


def test_kinds(brokers, start_server):
    """A pin is announced as what its `kind` says. The templates give the states that Home Assistant
    expects, and what it sends switches the pin."""
    broker = brokers.broker()
    subscriber = brokers.subscriber(broker, "house/pi/#", TOPIC)
    server = start_server(KINDS.format(url=broker.url, more=CONTROL))
    message = subscriber.last(TOPIC)
    subscriber.wait_for_topic("house/pi/health")
    check(message.json)
    found = message.json["components"]
    assert of_kinds(found, "platform", "device_class", "icon") == {
        "door": ["binary_sensor", "door"],
        "gate": ["binary_sensor", "opening", "mdi:flower"],
        "leak": ["binary_sensor", "moisture"],
        "bell": ["binary_sensor", "mdi:gesture-tap-button"],
        "kettle": ["switch", "outlet"],
        "lamp": ["light"],
        "fan": ["fan"],
        "water": ["valve"],
        "horn": ["siren"],
        "latch": ["lock"],
        "pump": ["switch", "mdi:pump"],
        "buzzer": ["button", "mdi:lock"],
        "garage": ["button", "mdi:garage"],
        "spot": ["light"],
        "vent": ["fan"],
        "floor": ["number", "mdi:radiator"],
    }
    assert [name for name in found if not found[name].get("enabled_by_default", True)] == ["kettle"]
    states = {
        "lamp": ("state_value_template", "payload_on", "payload_off"),
        "fan": ("state_value_template", "payload_on", "payload_off"),
        "horn": ("state_value_template", "payload_on", "payload_off"),
        "latch": ("value_template", "state_unlocked", "state_locked"),
        "water": ("value_template", "state_open", "state_closed"),
        "pump": ("value_template", "payload_on", "payload_off"),
    }
    for name, (template, on, off) in states.items():
        for value, key in ((1, on), (0, off)):
            payload = b'{"value":%d}' % value
            assert rendered(found[name][template], payload) == found[name][key]
    vent, floor = found["vent"], found["floor"]
    for value, percent in ((b"0.354", "35"), (b"0.001", "1"), (b"0", ""), (b"null", "")):
        payload = b'{"value":%s}' % value
        assert rendered(vent["percentage_value_template"], payload) == percent
    assert rendered(floor["value_template"], b'{"value":0.354}') == "35"
    for component in found.values():
        templates = [each for key, each in component.items() if key.endswith("value_template")]
        assert {rendered(each) for each in templates} <= {"None", "", "0"}

    def on(component, percentage):
        this = {"attributes": {} if percentage is None else {"percentage": percentage}}
        return rendered(component["command_template"], value=component["payload_on"], this=this)

    commands = [
        ("lamp", found["lamp"]["payload_on"], 1),
        ("fan", found["fan"]["payload_on"], 1),
        ("horn", rendered(found["horn"]["command_template"], value="1"), 1),
        ("horn", rendered(found["horn"]["command_template"], value="0"), 0),
        ("latch", found["latch"]["payload_unlock"], 1),
        ("latch", found["latch"]["payload_lock"], 0),
        ("water", found["water"]["payload_open"], 1),
        ("water", found["water"]["payload_close"], 0),
        ("garage", found["garage"]["payload_press"], 1),
        ("vent", on(vent, None), 1),
        ("vent", rendered(vent["percentage_command_template"], value=35), 0.35),
        ("vent", rendered(vent["command_template"], value=vent["payload_off"]), 0),
        ("vent", on(vent, 35), 0.35),
        ("floor", rendered(floor["command_template"], value=40), 0.4),
    ]
    for number, (name, payload, value) in enumerate(commands, 1):
        subscriber.publish(found[name]["command_topic"], payload.encode())
        answer = subscriber.wait_for_topic("/result", number)[-1].json
        assert (answer["pin"], answer.get("value")) == (name, value), answer
    server.stop()
    server.reload(KINDS.format(url=broker.url, more="").replace("kind: fan", "kind: pump"))
    server.restart()  # it knows from the broker what it has announced
    gone = subscriber.wait_for(lambda each: announced(each).get("vent") == {"platform": "fan"})
    assert announced(gone[0])["latch"] == {"platform": "lock"}
    now = subscriber.wait_for(lambda each: "name" in announced(each).get("vent", {}), 2)[-1]
    assert of_kinds(announced(now), "platform", "device_class", "icon") == {
        "door": ["binary_sensor", "door"],
        "gate": ["binary_sensor", "opening", "mdi:flower"],
        "leak": ["binary_sensor", "moisture"],
        "bell": ["binary_sensor", "mdi:gesture-tap-button"],
        "kettle": ["binary_sensor", "mdi:power-plug"],
        "lamp": ["binary_sensor", "mdi:lightbulb"],
        "fan": ["binary_sensor", "running"],
        "water": ["binary_sensor", "opening"],
        "horn": ["binary_sensor", "mdi:alarm-light"],
        "latch": ["binary_sensor", "lock"],
        "pump": ["binary_sensor", "running"],
        "buzzer": ["binary_sensor", "lock"],
        "garage": ["binary_sensor", "mdi:garage"],
        "spot": ["sensor", "mdi:lightbulb"],
        "vent": ["sensor", "mdi:pump"],
        "floor": ["sensor", "mdi:radiator"],
    }


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
    subscriber.last(TOPIC)
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


def test_another_kind_of_pin(brokers, start_server):
    """Where a pin has another kind, the one before is removed first, and its state after that: by a
    reload, and by a restart. A label that begins with the host's name is not doubled."""
    broker = brokers.broker()
    subscriber = brokers.subscriber(broker, TOPIC, "house/pi/#")
    text = config(broker.url, DISCOVERY + CONTROL)
    server = start_server(text)
    host = subscriber.last(TOPIC).json["device"]["name"]
    subscriber.wait_for_topic("house/pi/health")
    text = text.replace("mode: pwm", f"mode: output, label: {host.upper()} - Fan")
    text = text.replace("lamp:", "light:")
    reload(server, text)
    subscriber.wait_for_payload("house/pi/pins/lamp", b"")
    *_, removal, present = [each for each in subscriber.messages if each.topic == TOPIC]
    assert announced(removal)["fan"] == {"platform": "light"}
    assert announced(removal)["lamp"] == {"platform": "switch"}
    assert "light" not in announced(removal) and "lamp" not in announced(present)
    assert (announced(present)["fan"]["platform"], announced(present)["fan"]["name"]) == (
        "switch",
        "Fan",
    )
    assert announced(present)["light"]["default_entity_id"] == "switch.pi_light"
    emptied = [each for each in subscriber.messages if each.payload == b""]
    assert subscriber.messages.index(emptied[0]) > subscriber.messages.index(present)
    server.stop(signal.SIGKILL)
    server.reload(text.replace("heater: {gpio: 23, mode: output,", "heater: {gpio: 23, mode: pwm,"))
    subscriber.messages.clear()
    server.restart()
    removal, present = subscriber.wait_for(announced, count=2)[:2]
    assert announced(removal)["heater"] == {"platform": "binary_sensor"}
    assert announced(present)["heater"]["platform"] == "sensor"


def test_what_the_configuration_no_longer_names(brokers, start_server, tmp_path):
    """Without `discovery`, and with another `topic`, what was retained before is removed; also by a
    restart. A topic that another Pi uses by now is left alone."""
    broker = brokers.broker()
    environment = {**os.environ, "STATE_DIRECTORY": str(tmp_path)}
    text = config(broker.url, DISCOVERY + CONTROL)
    server = start_server(text, env=environment)
    subscriber = brokers.subscriber(broker, TOPIC, "house/#")
    subscriber.last(TOPIC)
    subscriber.wait_for_topic("house/pi/health")

    def retained():
        """Return the topics for which the broker has a message."""
        found = {each.topic: each.payload for each in subscriber.messages if each.retained}
        return {topic for topic, payload in found.items() if payload}

    assert {TOPIC, "house/pi/status", "house/pi/health"} < retained()
    reload(server, config(broker.url, CONTROL))
    subscriber.wait_for_payload(TOPIC, b"")
    reload(server, text)
    subscriber.wait_for(announced, count=2)
    server.stop()
    server.reload(config(broker.url, DISCOVERY, topic="house/attic"))
    server.restart()
    subscriber.wait_for_payload("house/pi/status", b"")
    subscriber.wait_for_topic("house/attic/health")
    assert not [each for each in retained() if "house/pi/" in each or each == TOPIC]
    subscriber.publish("house/attic/status", b"online", retain=True)
    server.stop(signal.SIGKILL)
    subscriber.wait_for_payload("house/attic/status", b"offline")
    subscriber.publish("house/attic/status", b"online", retain=True)
    server.reload(text)
    server.restart()
    server.wait_for_log("house/attic is in use by another Pi: nothing was removed")
    subscriber.wait_for(announced, count=3)
    assert "house/attic/describe" in retained()


def test_leaving_the_broker(brokers, start_server):
    """A stop, and a move to another broker, leave the device to Home Assistant: what people set for
    it stays. Without `mqtt` it is removed."""
    one, two = brokers.broker(), brokers.broker()
    at_one, at_two = (brokers.subscriber(each, TOPIC, "house/pi/status") for each in (one, two))
    server = start_server(config(one.url, DISCOVERY))
    at_one.wait_for(announced, count=1)
    reload(server, config(two.url, DISCOVERY))
    at_one.wait_for_payload("house/pi/status", b"offline")
    at_two.wait_for(announced, count=1)
    server.stop()
    at_two.wait_for_payload("house/pi/status", b"offline")
    assert all(each.payload for each in (*at_one.messages, *at_two.messages))
    server.restart()
    at_two.wait_for(announced, count=2)
    at_two.messages.clear()
    reload(server, config(two.url, DISCOVERY).replace("mqtt:", "#"))
    at_two.wait_for_payload("house/pi/status", b"offline")
    assert [each.payload for each in at_two.messages if each.topic == TOPIC][-1] == b""


def test_announced_again_when_home_assistant_starts(brokers, start_server):
    """The Pi announces itself again after each start of Home Assistant, whatever its prefix. A
    hostile client cannot cause many announcements, and none of things that are not a Pi's."""
    broker = brokers.broker("max_queued_messages 0")
    subscriber = brokers.subscriber(broker, "ha/device/+/config", "house/pi/pins/lamp/result")
    hostile = {f"x{number}": {"platform": "light"} for number in range(100)}
    hostile |= {"a b": {"platform": "light"}, "lamp": {"platform": "climate"}, "fan": 7}
    valid = {**hostile, "fan": {"platform": "light"}}
    for components in (hostile, valid):
        subscriber.publish("ha/device/house_pi/config", {"components": components}, retain=True)
    program = changing(mqtt_announce_within_s=0.4)
    start_server(config(broker.url, ", discovery: ha" + CONTROL), program=program)
    removal, present = subscriber.wait_for(announced, count=4)[2:]
    check(present.json)
    assert {name for name in announced(removal) if name not in announced(present)} == {
        f"x{number}" for number in range(100)
    }
    began, count = time.monotonic(), 4
    for topic in ("homeassistant/status", "ha/status"):
        for _ in range(300):
            subscriber.publish(topic, b"offline", qos=0)
            subscriber.publish(topic, b"online", qos=0)
        count = len(subscriber.wait_for(announced, count + 1))
    subscriber.publish("house/pi/pins/lamp/set", 1)
    subscriber.last("house/pi/pins/lamp/result")
    found = subscriber.wait_for(announced, count)
    assert len(found) - 4 <= (time.monotonic() - began) / 0.2
    assert announced(found[-1]) == announced(present)
