"""Announcement to Home Assistant: each key is documented there, each template is rendered by its
template language on published messages, and each command works."""

import json
import re
import signal

import jinja2
import pytest

from raspi_server.messages import PinInfo, ServerInfo
from raspi_server.mqtt.discovery import components, device
from tests.support.http import ask
from tests.support.mqtt import Brokers

CONFIG = """
gpio: simulated
access: {{control: everyone}}
mqtt: {{url: "{url}", topic: house/pi, discovery: homeassistant{more}}}
pins:
  door: {{gpio: 17, mode: input, pull: up, label: Front door}}
  tank: {{gpio: 5, mode: input}}
  lamp: {{gpio: 27, mode: output}}
  gate: {{gpio: 22, mode: output, pulse: 0.05}}
  fan: {{gpio: 18, mode: pwm}}
  heater: {{gpio: 23, mode: output, control: nobody}}
"""
TOPIC = "homeassistant/device/house_pi/config"

DEVICE_KEYS = {"device", "origin", "components", "qos", "encoding", "state_topic", "command_topic"}
"""Of the whole message: https://www.home-assistant.io/integrations/mqtt/#discovery-payload and
homeassistant/components/mqtt/schemas.py (DEVICE_DISCOVERY_SCHEMA), read in November 2026."""
INFO_KEYS = {
    "configuration_url", "connections", "hw_version", "identifiers", "manufacturer", "model",
    "model_id", "name", "serial_number", "suggested_area", "sw_version", "via_device",
}  # fmt: skip
"""Of `device`, there."""
ORIGIN_KEYS = {"name", "sw_version", "support_url"}
COMMON_KEYS = {
    "platform", "name", "unique_id", "availability", "availability_mode", "availability_template",
    "availability_topic", "device_class", "enabled_by_default", "encoding", "entity_category",
    "icon", "json_attributes_template", "json_attributes_topic", "payload_available",
    "payload_not_available", "qos",
}  # fmt: skip
"""Of each component. These and the following from https://www.home-assistant.io/integrations/
binary_sensor.mqtt/, sensor.mqtt/, switch.mqtt/, button.mqtt/ and light.mqtt/#template-schema."""
AVAILABILITY_KEYS = {"topic", "payload_available", "payload_not_available", "value_template"}
KEYS = {
    "binary_sensor": {
        "expire_after", "force_update", "off_delay", "payload_off", "payload_on", "state_topic",
        "value_template",
    },
    "sensor": {
        "expire_after", "force_update", "last_reset_value_template", "options", "state_class",
        "state_topic", "suggested_display_precision", "unit_of_measurement", "value_template",
    },
    "switch": {
        "command_template", "command_topic", "optimistic", "payload_off", "payload_on", "retain",
        "state_off", "state_on", "state_topic", "value_template",
    },
    "button": {"command_template", "command_topic", "payload_press", "retain"},
    "light": {
        "blue_template", "brightness_template", "color_temp_template", "command_off_template",
        "command_on_template", "command_topic", "effect_list", "effect_template",
        "green_template", "max_mireds", "min_mireds", "optimistic", "red_template", "schema",
        "state_template", "state_topic",
    },
}  # fmt: skip
REQUIRED = {
    "binary_sensor": {"state_topic"},
    "sensor": {"state_topic"},
    "switch": {"command_topic"},
    "button": {"command_topic"},
    "light": {"command_topic", "command_on_template", "command_off_template"},
}
CLASSES = {
    "door", "garage_door", "moisture", "motion", "occupancy", "opening", "problem", "smoke",
    "tamper", "vibration", "window",
}  # fmt: skip
"""Those that we use, each in the list of https://www.home-assistant.io/integrations/binary_sensor/."""


@pytest.fixture
def brokers(tmp_path):
    with Brokers(tmp_path) as found:
        yield found


@pytest.fixture
def home(brokers, start_server):
    """A server with `control: true`, and a subscriber to everything."""
    broker = brokers.broker()
    subscriber = brokers.subscriber(broker, "#")
    server = start_server(CONFIG.format(url=broker.url, more=", control: true"))
    subscriber.wait_for_topic("house/pi/health")
    return broker, subscriber, server


def check(announced):
    """Assert that every key of an announcement is documented, and that no required one is
    missing."""
    assert announced.keys() <= DEVICE_KEYS
    assert announced["device"].keys() <= INFO_KEYS and announced["device"]["identifiers"]
    assert announced["origin"].keys() <= ORIGIN_KEYS and announced["origin"]["name"]
    ids = [component["unique_id"] for component in announced["components"].values()]
    assert len(ids) == len(set(ids))
    for component in announced["components"].values():
        platform = component["platform"]
        assert component.keys() <= KEYS[platform] | COMMON_KEYS, component
        assert component.keys() >= REQUIRED[platform] | {"unique_id", "name"}
        assert not {"availability", "availability_topic"} <= component.keys()
        for each in component.get("availability", ()):
            assert each.keys() <= AVAILABILITY_KEYS and each["topic"]
        if platform == "binary_sensor":
            assert component.get("device_class") in {None, *CLASSES}


def rendered(template, payload=b"", **names):
    """Render a template as Home Assistant does."""
    if payload:
        names["value_json"] = json.loads(payload)
    return jinja2.Environment().from_string(template).render(names)


def test_one_message_for_the_whole_pi(home):
    """There is one retained message. An output is a switch, one with `pulse` a button, pwm a light;
    all else is a sensor, with a device class if its name tells one."""
    broker, subscriber, _ = home
    announced = subscriber.last(TOPIC).json
    assert {
        each.topic for each in subscriber.messages if each.topic.startswith("homeassistant/")
    } == {TOPIC}
    assert subscriber.last(TOPIC).retained
    check(announced)
    found = announced["components"]
    assert {name: each["platform"] for name, each in found.items() if name[0] != "_"} == {
        "door": "binary_sensor",
        "tank": "binary_sensor",
        "lamp": "switch",
        "gate": "button",
        "fan": "light",
        "heater": "binary_sensor",
    }
    assert found["door"]["name"] == "Front door"
    assert found["door"]["device_class"] == "door"
    assert "device_class" not in found["tank"]
    assert {name for name in found if name[0] == "_"} == {
        "_temperature", "_load", "_memory", "_disk", "_problem",
    }  # fmt: skip
    del broker


def test_without_control_only_sensors(brokers, start_server):
    """Without `control: true` there is nothing to switch."""
    broker = brokers.broker()
    subscriber = brokers.subscriber(broker, "#")
    start_server(CONFIG.format(url=broker.url, more=""))
    announced = subscriber.last(TOPIC).json
    check(announced)
    assert {each["platform"] for each in announced["components"].values()} == {
        "binary_sensor", "sensor",
    }  # fmt: skip


def test_templates(home):
    """Rendered on published messages, the templates give the values that Home Assistant expects."""
    _, subscriber, server = home
    found = subscriber.last(TOPIC).json["components"]
    assert ask(server, "PUT", "/api/pins/fan", {"value": 0.5}).status == 200
    half = subscriber.wait_for(
        lambda each: each.topic == "house/pi/pins/fan" and each.json["value"]
    )[0]
    assert rendered(found["fan"]["state_template"], half.payload) == "on"
    assert rendered(found["fan"]["brightness_template"], half.payload) == "128"
    off = subscriber.wait_for_topic("house/pi/pins/fan")[0]
    assert rendered(found["fan"]["state_template"], off.payload) == "off"
    for name in ("door", "lamp", "heater"):
        state = subscriber.last(f"house/pi/pins/{name}")
        assert state.topic == found[name]["state_topic"]
        read = rendered(found[name]["value_template"], state.payload)
        assert read == found[name]["payload_off"]
        assert rendered(found[name]["value_template"], b'{"value":1}') == found[name]["payload_on"]
    health = subscriber.last("house/pi/health")
    assert found["_load"]["state_topic"] == health.topic
    for name in ("_load", "_memory", "_disk"):
        assert float(rendered(found[name]["value_template"], health.payload)) >= 0
    assert rendered(found["_temperature"]["value_template"], health.payload)
    assert rendered(found["_problem"]["value_template"], health.payload) == "OFF"
    assert rendered(found["_problem"]["value_template"], b'{"status":"degraded"}') == "ON"
    attributes = found["_problem"]["json_attributes_template"]
    assert json.loads(rendered(attributes, health.payload)) == {"reasons": []}


def test_commands(home):
    """The commands of a switch, a button and a light do what they should."""
    _, subscriber, _ = home
    found = subscriber.last(TOPIC).json["components"]
    dim = rendered(found["fan"]["command_on_template"], brightness=51)
    orders = [
        ("lamp", found["lamp"]["payload_on"], 1),
        ("lamp", found["lamp"]["payload_off"], 0),
        ("gate", found["gate"]["payload_press"], 1),
        ("fan", dim, 0.2),
        ("fan", rendered(found["fan"]["command_on_template"]), 1),
        ("fan", rendered(found["fan"]["command_off_template"]), 0),
    ]
    for number, (name, payload, value) in enumerate(orders, 1):
        subscriber.publish(found[name]["command_topic"], payload.encode())
        answers = subscriber.wait_for(lambda each: each.topic.endswith("/result"), number)
        assert (answers[-1].json["pin"], answers[-1].json["value"]) == (name, value)


def test_availability(home):
    """A Pi that vanished is unavailable, and so is a pin that could not be opened."""
    _, subscriber, server = home
    found = subscriber.last(TOPIC).json["components"]["lamp"]
    whole, own = found["availability"]
    assert found["availability_mode"] == "all"
    assert subscriber.last(whole["topic"]).payload == b"online"
    lamp = subscriber.last(own["topic"])
    assert rendered(own["value_template"], lamp.payload) == "online"
    assert rendered(own["value_template"], b'{"value":null,"time":null}') == "offline"
    server.stop(signal.SIGKILL)
    subscriber.wait_for(lambda each: (each.topic, each.payload) == (whole["topic"], b"offline"))


def test_removed_pin_is_removed(home, tmp_path):
    """A pin removed by a reload or a restart is removed the way Home Assistant wants it: once with
    only its platform, and then left out."""
    broker, subscriber, server = home
    file = tmp_path / "config-0.yaml"
    ends = {"reload": ("fan", "light"), "restart": ("lamp", "switch")}
    for how, (name, platform) in ends.items():
        subscriber.messages.clear()
        file.write_text(re.sub(f"  {name}:.*\n", "", file.read_text()))
        if how == "reload":
            server.process.send_signal(signal.SIGHUP)
        else:
            server.restart()
        bare = {"platform": platform}
        entries = entries_of(name, subscriber)
        while bare not in entries or entries[-1] is not None:
            subscriber.wait_for_topic(TOPIC, len(entries) + 1)
            entries = entries_of(name, subscriber)
        assert name not in subscriber.last(TOPIC).json["components"]
        check(subscriber.last(TOPIC).json)
    assert retained_pins(broker, subscriber) == {"door", "tank", "gate", "heater"}


def entries_of(name, subscriber):
    """Return what each announcement in turn says of a pin, None if it is left out."""
    return [each.json["components"].get(name) for each in subscriber.wait_for_topic(TOPIC)]


def retained_pins(broker, subscriber):
    """Return the pins in the retained announcement."""
    late = type(subscriber)(broker, TOPIC)
    found = late.last(TOPIC).json["components"]
    late.close()
    return {name for name in found if name[0] != "_"}


@pytest.mark.parametrize("payload", [b"", b"{", b"[]", b'{"components":[]}', b"\xff", b"null"])
def test_foreign_message_at_our_topic(payload):
    """A retained message that is not ours does no harm."""
    assert components(payload) == {}


@pytest.mark.parametrize(
    ("name", "label", "mode", "found"),
    [
        ("door", "door", "input", "door"),
        ("x", "Window in the hall", "input", "window"),
        ("hall-pir", "hall-pir", "input", "motion"),
        ("doorbell", "doorbell", "input", None),
        ("garage_door", "garage_door", "input", "garage_door"),
        ("door", "door", "output", None),
    ],
)
def test_device_class_from_a_word(name, label, mode, found):
    """Whole words of an input's name and label give its device class. An output has none."""
    pin = PinInfo(name=name, label=label, gpio=17, header=11, mode=mode, value=0, since=None,
              writable=False)  # fmt: skip
    announced = device("a/b", ServerInfo("raspi-server", "1", "pi", True, ()), [pin])
    check(announced)
    assert announced["components"][name].get("device_class") == found
