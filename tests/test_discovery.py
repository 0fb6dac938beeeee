"""What Home Assistant finds: each key is one that it documents, each template is rendered by its
template language on what is really published, and each command that it would send works."""

import json
import re
import signal

import jinja2
import pytest

from raspi_server.messages import PinInfo, ServerInfo
from raspi_server.mqtt.discovery import components, device

from .asking import ask
from .mqtt_rig import Brokers

HOUSE = """
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
    """A server that lets the broker's people switch, and an ear that hears everything."""
    broker = brokers.broker()
    ear = brokers.ear(broker, "#")
    server = start_server(HOUSE.format(url=broker.url, more=", control: true"))
    ear.wait_for_topic("house/pi/health")
    return broker, ear, server


def check(announced):
    """Every key of an announcement is a documented one, and none that is needed is missing."""
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
    """What Home Assistant makes of a message."""
    if payload:
        names["value_json"] = json.loads(payload)
    return jinja2.Environment().from_string(template).render(names)


def test_one_message_announces_the_whole_pi(home):
    """There is one retained message; what may be switched is a switch, a pulse a button, pwm a
    light, all else only shown, with a fitting class where its name tells one."""
    broker, ear, _ = home
    announced = ear.last(TOPIC).json
    assert {each.topic for each in ear.heard if each.topic.startswith("homeassistant/")} == {TOPIC}
    assert ear.last(TOPIC).retained
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


def test_without_control_everything_is_only_shown(brokers, start_server):
    """Who may not switch is offered nothing to switch."""
    broker = brokers.broker()
    ear = brokers.ear(broker, "#")
    start_server(HOUSE.format(url=broker.url, more=""))
    announced = ear.last(TOPIC).json
    check(announced)
    assert {each["platform"] for each in announced["components"].values()} == {
        "binary_sensor", "sensor",
    }  # fmt: skip


def test_its_templates_read_what_is_published(home):
    """On what the Pi really says the templates give the values that Home Assistant expects."""
    _, ear, server = home
    found = ear.last(TOPIC).json["components"]
    assert ask(server, "PUT", "/api/pins/fan", {"value": 0.5}).status == 200
    half = ear.wait_for(lambda each: each.topic == "house/pi/pins/fan" and each.json["value"])[0]
    assert rendered(found["fan"]["state_template"], half.payload) == "on"
    assert rendered(found["fan"]["brightness_template"], half.payload) == "128"
    off = ear.wait_for_topic("house/pi/pins/fan")[0]
    assert rendered(found["fan"]["state_template"], off.payload) == "off"
    for name in ("door", "lamp", "heater"):
        state = ear.last(f"house/pi/pins/{name}")
        assert state.topic == found[name]["state_topic"]
        read = rendered(found[name]["value_template"], state.payload)
        assert read == found[name]["payload_off"]
        assert rendered(found[name]["value_template"], b'{"value":1}') == found[name]["payload_on"]
    health = ear.last("house/pi/health")
    assert found["_load"]["state_topic"] == health.topic
    for name in ("_load", "_memory", "_disk"):
        assert float(rendered(found[name]["value_template"], health.payload)) >= 0
    assert rendered(found["_temperature"]["value_template"], health.payload)
    assert rendered(found["_problem"]["value_template"], health.payload) == "OFF"
    assert rendered(found["_problem"]["value_template"], b'{"status":"degraded"}') == "ON"
    attributes = found["_problem"]["json_attributes_template"]
    assert json.loads(rendered(attributes, health.payload)) == {"reasons": []}


def test_its_commands_switch(home):
    """A switch, a button and a light do what they are pressed for."""
    _, ear, _ = home
    found = ear.last(TOPIC).json["components"]
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
        ear.say(found[name]["command_topic"], payload.encode())
        answers = ear.wait_for(lambda each: each.topic.endswith("/result"), number)
        assert (answers[-1].json["pin"], answers[-1].json["value"]) == (name, value)


def test_availability(home):
    """A Pi that vanished is unavailable, and so is a pin that could not be opened."""
    _, ear, server = home
    found = ear.last(TOPIC).json["components"]["lamp"]
    whole, own = found["availability"]
    assert found["availability_mode"] == "all"
    assert ear.last(whole["topic"]).payload == b"online"
    lamp = ear.last(own["topic"])
    assert rendered(own["value_template"], lamp.payload) == "online"
    assert rendered(own["value_template"], b'{"value":null,"time":null}') == "offline"
    server.stop(signal.SIGKILL)
    ear.wait_for(lambda each: (each.topic, each.payload) == (whole["topic"], b"offline"))


def test_an_entity_goes_with_its_pin(home, tmp_path):
    """A pin that is gone after a reload, or after a restart, is taken back as Home Assistant wants
    it: once with nothing but its platform, and then left out."""
    broker, ear, server = home
    file = tmp_path / "config-0.yaml"
    ends = {"reload": ("fan", "light"), "restart": ("lamp", "switch")}
    for how, (name, platform) in ends.items():
        ear.heard.clear()
        file.write_text(re.sub(f"  {name}:.*\n", "", file.read_text()))
        if how == "reload":
            server.process.send_signal(signal.SIGHUP)
        else:
            server.restart()
        bare = {"platform": platform}
        entries = entries_of(name, ear)
        while bare not in entries or entries[-1] is not None:
            ear.wait_for_topic(TOPIC, len(entries) + 1)
            entries = entries_of(name, ear)
        assert name not in ear.last(TOPIC).json["components"]
        check(ear.last(TOPIC).json)
    assert brokers_keep(broker, ear) == {"door", "tank", "gate", "heater"}


def entries_of(name, ear):
    """What was announced of a pin, one announcement after the other; None where it is left out."""
    return [each.json["components"].get(name) for each in ear.wait_for_topic(TOPIC)]


def brokers_keep(broker, ear):
    """The pins in the announcement that a latecomer finds."""
    late = type(ear)(broker, TOPIC)
    found = late.last(TOPIC).json["components"]
    late.close()
    return {name for name in found if name[0] != "_"}


@pytest.mark.parametrize("payload", [b"", b"{", b"[]", b'{"components":[]}', b"\xff", b"null"])
def test_a_message_of_somebody_else_under_our_name(payload):
    """What stands there and is not ours is no reason to fall."""
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
def test_a_class_comes_from_a_word(name, label, mode, found):
    """Whole words of an input's name and label tell its class; an output has none."""
    pin = PinInfo(name=name, label=label, gpio=17, header=11, mode=mode, value=0, since=None,
              writable=False)  # fmt: skip
    announced = device("a/b", ServerInfo("raspi-server", "1", "pi", True, ()), [pin])
    check(announced)
    assert announced["components"][name].get("device_class") == found
