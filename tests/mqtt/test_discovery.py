"""Announcement to Home Assistant: each key is documented there, each template is rendered by its
template language on published messages, and each command works."""

import json
import re
import signal

import jinja2
import pytest

from raspi_server.messages import PinInfo, ServerInfo
from raspi_server.mqtt.discovery import components, device
from tests.support.mqtt import CONTROL, Brokers, config, reload, switch

DISCOVERY = ", discovery: homeassistant"
TOPIC = "homeassistant/device/house_pi/config"

# The keys that we use, of those documented at
# https://www.home-assistant.io/integrations/mqtt/#discovery-payload and, for each platform, at
# …/integrations/PLATFORM.mqtt/, read in November 2026.
DEVICE_KEYS = {"device", "origin", "components", "qos"}
INFO_KEYS = {"identifiers", "manufacturer", "model", "name", "sw_version"}
ORIGIN_KEYS = {"name", "sw_version"}
COMMON_KEYS = {
    "platform", "name", "unique_id", "availability", "availability_mode", "availability_topic",
    "device_class", "entity_category", "json_attributes_template", "json_attributes_topic",
}  # fmt: skip
AVAILABILITY_KEYS = {"topic", "value_template"}
STATE_KEYS = {"state_topic", "value_template"}
KEYS = {
    "binary_sensor": {"payload_off", "payload_on", *STATE_KEYS},
    "sensor": {"state_class", "unit_of_measurement", *STATE_KEYS},
    "switch": {"command_topic", "payload_off", "payload_on", *STATE_KEYS},
    "button": {"command_topic", "payload_press"},
    "light": {
        "brightness_template", "command_off_template", "command_on_template", "command_topic",
        "schema", "state_template", "state_topic",
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


@pytest.fixture(scope="module")
def home(tmp_path_factory, start_module_server):
    """A server with `control: true`, and a subscriber to everything."""
    with Brokers(tmp_path_factory.mktemp("home")) as brokers:
        broker = brokers.broker()
        subscriber = brokers.subscriber(broker, "#")
        server = start_module_server(config(broker.url, DISCOVERY + CONTROL))
        subscriber.wait_for_topic("house/pi/health")
        yield subscriber, server
        server.stop()


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
    subscriber, _ = home
    announced = subscriber.last(TOPIC).json
    others = [each for each in subscriber.messages if not each.topic.startswith("house/pi/")]
    assert {each.topic for each in others} == {TOPIC}
    assert subscriber.last(TOPIC).retained
    check(announced)
    found = announced["components"]
    assert {name: each["platform"] for name, each in found.items() if name[0] != "_"} == {
        "door": "binary_sensor",
        "lamp": "switch",
        "gate": "button",
        "fan": "light",
        "heater": "binary_sensor",
    }
    assert found["door"]["name"] == "Front door"
    assert found["door"]["device_class"] == "door"
    assert {name for name in found if name[0] == "_"} == {
        "_temperature", "_load", "_memory", "_disk", "_problem",
    }  # fmt: skip


def test_without_control_only_sensors(brokers, start_server):
    """Without `control: true` there is nothing to switch."""
    broker = brokers.broker()
    subscriber = brokers.subscriber(broker, "#")
    start_server(config(broker.url, DISCOVERY))
    announced = subscriber.last(TOPIC).json
    check(announced)
    assert {each["platform"] for each in announced["components"].values()} == {
        "binary_sensor", "sensor",
    }  # fmt: skip


def test_templates(home):
    """Rendered on published messages, the templates give the values that Home Assistant expects."""
    subscriber, server = home
    found = subscriber.last(TOPIC).json["components"]
    switch(server, "fan", 0.5)
    half = subscriber.wait_for_value("house/pi/pins/fan", 0.5)[0]
    assert rendered(found["fan"]["state_template"], half.payload) == "on"
    assert rendered(found["fan"]["brightness_template"], half.payload) == "128"
    assert rendered(found["fan"]["state_template"], b'{"value":0}') == "off"
    for name in ("door", "lamp", "heater"):
        state = subscriber.last(f"house/pi/pins/{name}")
        assert state.topic == found[name]["state_topic"]
        assert rendered(found[name]["value_template"], state.payload) == f"{state.json['value']}"
        assert rendered(found[name]["value_template"], b'{"value":0}') == found[name]["payload_off"]
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
    subscriber, _ = home
    found = subscriber.last(TOPIC).json["components"]
    dim = rendered(found["fan"]["command_on_template"], brightness=51)
    commands = [
        ("lamp", found["lamp"]["payload_on"], 1),
        ("lamp", found["lamp"]["payload_off"], 0),
        ("gate", found["gate"]["payload_press"], 1),
        ("fan", dim, 0.2),
        ("fan", rendered(found["fan"]["command_on_template"]), 1),
        ("fan", rendered(found["fan"]["command_off_template"]), 0),
    ]
    for number, (name, payload, value) in enumerate(commands, 1):
        subscriber.publish(found[name]["command_topic"], payload.encode())
        answer = subscriber.wait_for_results(number)[-1].json
        assert (answer["pin"], answer["value"]) == (name, value)


def test_removal_and_availability(brokers, start_server, tmp_path):
    """A pin removed by a reload or a restart is removed the way Home Assistant wants it: once with
    only its platform, and then left out. A crashed Pi is unavailable, and so is a pin that cannot
    be opened."""
    broker = brokers.broker()
    subscriber = brokers.subscriber(broker, TOPIC, "house/pi/#")
    server = start_server(config(broker.url, DISCOVERY + CONTROL))
    subscriber.wait_for_topic("house/pi/health")
    file = tmp_path / "config-0.yaml"
    file.write_text(re.sub("  fan:.*\n", "", file.read_text()))
    reload(server)
    wait_for_removal(subscriber, "fan", "light")
    file.write_text(re.sub("  lamp:.*\n", "", file.read_text()))
    server.restart()
    wait_for_removal(subscriber, "lamp", "switch")
    retained = brokers.subscriber(broker, TOPIC).last(TOPIC).json["components"]
    assert {name for name in retained if name[0] != "_"} == {"door", "gate", "heater"}
    whole, own = retained["gate"]["availability"]
    assert retained["gate"]["availability_mode"] == "all"
    assert subscriber.last(whole["topic"]).payload == b"online"
    gate = subscriber.last(own["topic"])
    assert rendered(own["value_template"], gate.payload) == "online"
    assert rendered(own["value_template"], b'{"value":null,"time":null}') == "offline"
    server.stop(signal.SIGKILL)
    subscriber.wait_for(lambda each: (each.topic, each.payload) == (whole["topic"], b"offline"))


def wait_for_removal(subscriber, name, platform):
    """Wait until a pin was announced with its platform only, and then no more."""

    def announced_as(expected):
        return lambda each: each.topic == TOPIC and each.json["components"].get(name) == expected

    removal = subscriber.wait_for(announced_as({"platform": platform}))[0]
    position = subscriber.messages.index(removal)
    last = subscriber.wait_for(announced_as(None), since=position)[-1]
    check(last.json)


@pytest.mark.parametrize("payload", [b"", b"{", b"[]", b'{"components":[]}', b"\xff", b"null"])
def test_foreign_message_at_our_topic(payload):
    """A retained message that is not ours has no components."""
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
