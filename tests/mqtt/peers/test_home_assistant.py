"""A real Home Assistant beside a server and Mosquitto: a new release, and the oldest that can."""

import os
import re
import socket
from datetime import UTC, datetime

import pytest

from tests.mqtt.peers.programs import NEWEST, OLDEST
from tests.support.http import ask
from tests.support.mqtt import reload, value_of
from tests.support.server import changing, clock_is
from tests.support.websocket import WebSocketClient

pytestmark = pytest.mark.peers

HOST = socket.gethostname().partition(".")[0]
CONFIG = """
gpio: simulated
access: {{control: everyone}}
mqtt: {{url: "{url}", topic: pis/garage, control: true, discovery: homeassistant}}
pins:
  door: {{gpio: 17, mode: input, pull: up, label: Front door}}
  lamp: {{gpio: 27, mode: output, label: Lamp}}
  gate: {{gpio: 22, mode: output, pulse: 0.05}}
  fan: {{gpio: 18, mode: pwm}}
  heater: {{gpio: 23, mode: output, label: {host} heater}}
"""
OF_THE_PI = {
    "sensor Temperature", "sensor Load", "sensor Memory in use", "sensor Disk in use",
    "sensor Uptime", "binary_sensor Problem", "binary_sensor Under-voltage",
}  # fmt: skip


def pins(entities):
    """Return the domain and name of each entity of a pin. All have a state."""
    found = {}
    for entity, state in entities.items():
        name = state["friendly_name"].removeprefix(f"{HOST} ")
        found[f"{entity.partition('.')[0]} {name}"] = state["state"]
    assert "unavailable" not in found.values() and not any("_2" in each for each in entities)
    return found.keys() - OF_THE_PI if found.keys() >= OF_THE_PI else found


@pytest.mark.parametrize("release", [NEWEST, OLDEST])
def test_life_of_a_device(release, brokers, start_server, start_home_assistant, tmp_path):
    """Home Assistant shows what the configuration names by now, whatever it was before, and warns
    of nothing. A device that was deleted comes back when Home Assistant starts again."""
    broker = brokers.broker()
    environment = {**os.environ, "STATE_DIRECTORY": str(tmp_path)}
    program = changing(mqtt_announce_within_s=0.1, mqtt_health_interval_s=0.1)
    text = CONFIG.format(url=broker.url, host=HOST)
    server = start_server(text, program=program, env=environment)
    home = start_home_assistant(release, broker.port)

    def wait_for_pins(*names):
        return home.wait_for(lambda found: ready(found) and pins(found) == {*names})

    def ready(found):
        return found and all(each["state"] != "unavailable" for each in found.values())

    first = {"binary_sensor Front door", "switch Lamp", "button gate", "light fan"}
    entities = wait_for_pins(*first, "switch heater")
    if release == NEWEST:
        assert "switch.garage_lamp" in entities and "sensor.garage_temperature" in entities
    page = f"http://{HOST}"
    (device,) = home.ask("devices")
    assert (device["name"], device["model"]) == (HOST, "Simulated pins")
    assert device["url"].startswith(page) and device["url"].endswith(f":{server.port}/")
    (fan,) = (each for each in entities if each.startswith("light."))
    (problem,) = (each for each in entities if each.endswith("problem"))
    assert (entities[problem]["state"], entities[problem]["reasons"]) == ("off", [])

    home.call("light", "turn_on", fan, brightness=51)
    home.wait_for(lambda found: found[fan]["brightness"] == 51)
    assert value_of(server, "fan") == 0.2
    home.call("light", "turn_off", fan)
    home.wait_for(lambda found: found[fan]["state"] == "off")
    home.call("light", "turn_on", fan)
    home.wait_for(lambda found: found[fan]["state"] == "on" and found[fan]["brightness"] == 51)
    assert value_of(server, "fan") == 0.2

    # Another kind, another name with the same label, and one pin less.
    text = text.replace("18, mode: pwm", "18, mode: output").replace("lamp:", "light:")
    reload(server, text := re.sub("  heater:.*\n", "", text))
    second = first - {"light fan"} | {"switch fan"}
    entities = wait_for_pins(*second)
    assert ("switch.garage_light" in entities) or release == OLDEST
    server.stop()
    text = text.replace(", pulse: 0.05", "").replace(
        "light: {gpio: 27, mode: output", "light: {gpio: 27, mode: pwm"
    )
    text = text.replace(
        "fan: {gpio: 18, mode: output", "fan: {gpio: 18, mode: output, control: nobody"
    )
    server.reload(text)  # it has ended: this only replaces the file
    server.restart()
    third = {"binary_sensor Front door", "light Lamp", "switch gate", "binary_sensor fan"}
    wait_for_pins(*third)
    assert home.complaints == []

    home.ask("delete_devices")
    assert home.wait_for(lambda found: not found) == {}
    home.stop()
    home.start()
    wait_for_pins(*third)

    server.stop()
    server.reload(text.replace("pis/garage", "pis/shed"))
    server.restart()
    server.wait_for_log("removing the retained messages of pis/garage")
    wait_for_pins(*third)
    assert len(home.ask("devices")) == 1
    reload(server, text.replace("pis/garage", "pis/shed").replace(", discovery: homeassistant", ""))
    home.wait_for(lambda found: not found)
    assert home.ask("devices") == []
    assert home.complaints == []


KINDS = """
gpio: simulated
access: {{control: everyone}}
mqtt: {{url: "{url}", topic: pis/garage, control: true, discovery: homeassistant}}
pins:
  door: {{gpio: 17, mode: input, kind: door, pull: up}}
  gate: {{gpio: 5, mode: input, kind: gate, pull: up, icon: garden}}
  leak: {{gpio: 6, mode: input, kind: moisture}}
  bell: {{gpio: 7, mode: input, kind: button}}
  kettle: {{gpio: 8, mode: output, kind: outlet}}
  attic: {{gpio: 9, mode: output, hidden: true}}
  lamp: {{gpio: 27, mode: output, kind: light}}
  blower: {{gpio: 22, mode: output, kind: fan}}
  water: {{gpio: 23, mode: output, kind: valve}}
  horn: {{gpio: 24, mode: output, kind: siren}}
  latch: {{gpio: 25, mode: output, kind: lock}}
  garage: {{gpio: 10, mode: output, kind: garage_door, pulse: 0.05}}
  vent: {{gpio: 18, mode: pwm, kind: fan}}
  floor: {{gpio: 19, mode: pwm, kind: heater, initial: 0.35}}
"""


@pytest.mark.parametrize("release", [NEWEST, OLDEST])
def test_kinds(release, brokers, start_server, start_home_assistant):
    """Home Assistant has an entity of the right platform and class for each kind, with the right
    state, and switches it with the services of that platform. A hidden pin is disabled there."""
    broker = brokers.broker()
    server = start_server(KINDS.format(url=broker.url))
    home = start_home_assistant(release, broker.port)
    platforms = {
        "door": "binary_sensor", "gate": "binary_sensor", "leak": "binary_sensor",
        "bell": "binary_sensor", "kettle": "switch", "lamp": "light", "blower": "fan",
        "water": "valve", "horn": "siren", "latch": "lock", "garage": "button", "vent": "fan",
        "floor": "number",
    }  # fmt: skip

    def ours(found):
        """Return the entity of each pin, by the name of the pin: the last word of its id."""
        entities = {each.rpartition("_")[2]: each for each in found}
        return {name: entities[name] for name in platforms if name in entities}

    def is_there(found):
        pins = ours(found)
        states = [found[each]["state"] for each in pins.values()]
        return pins.keys() == platforms.keys() and "unavailable" not in states

    def wait_for_state(name, state, **more):
        """Wait until an entity has a state, and attributes."""
        wanted = {"state": state, **more}
        home.wait_for(lambda found: wanted.items() <= found[entity[name]].items())

    found = home.wait_for(is_there)
    entity = ours(found)
    assert {name: each.partition(".")[0] for name, each in entity.items()} == platforms
    assert not any("attic" in each for each in found)
    classes = {name: found[each].get("device_class") for name, each in entity.items()}
    assert {name: each for name, each in classes.items() if each} == {
        "door": "door", "gate": "opening", "leak": "moisture", "kettle": "outlet",
    }  # fmt: skip
    assert found[entity["gate"]]["icon"] == "mdi:flower"
    assert found[entity["garage"]]["icon"] == "mdi:garage"
    assert found[entity["floor"]]["max"] == 100
    for name, state in (("door", "on"), ("leak", "off"), ("vent", "off"), ("floor", "35")):
        wait_for_state(name, state)
    with WebSocketClient(server.port) as viewer:
        viewer.send(type="drive", pin="door", value=0)
        wait_for_state("door", "off")
    for name, service, value, state in (
        ("kettle", "turn_on", 1, "on"),
        ("lamp", "turn_on", 1, "on"),
        ("lamp", "turn_off", 0, "off"),
        ("blower", "turn_on", 1, "on"),
        ("horn", "turn_on", 1, "on"),
        ("horn", "turn_off", 0, "off"),
        ("latch", "unlock", 1, "unlocked"),
        ("latch", "lock", 0, "locked"),
        ("water", "open_valve", 1, "open"),
        ("water", "close_valve", 0, "closed"),
        ("vent", "turn_on", 1, "on"),
    ):
        home.call(platforms[name], service, entity[name])
        wait_for_state(name, state)
        assert value_of(server, name) == value
    home.call("fan", "set_percentage", entity["vent"], percentage=35)
    wait_for_state("vent", "on", percentage=35)
    assert value_of(server, "vent") == 0.35
    home.call("fan", "turn_off", entity["vent"])
    wait_for_state("vent", "off")
    home.call("fan", "turn_on", entity["vent"])
    wait_for_state("vent", "on", percentage=35)
    assert value_of(server, "vent") == 0.35
    home.call("number", "set_value", entity["floor"], value=60)
    wait_for_state("floor", "60")
    assert value_of(server, "floor") == 0.6
    before = home.ask("entities")[entity["garage"]]["state"]
    home.call("button", "press", entity["garage"])
    home.wait_for(lambda found: found[entity["garage"]]["state"] != before)
    assert home.complaints == []


SCHEDULES = """
schedules:
  garden_watering: {pin: lamp, from: 00:00, to: 24:00}
  vent: {pin: fan, at: 06:30, pulse: 60}
  frost: {pin: heater, from: 01:00, to: 05:00}
"""


@pytest.mark.parametrize("release", [NEWEST, OLDEST])
def test_schedules(release, brokers, start_server, start_home_assistant):
    """Home Assistant has a switch and the next time of each schedule. They pause it, and go with
    it. A schedule that nobody may pause is a binary sensor. The time is unknown while it is."""
    broker = brokers.broker()
    text = CONFIG.format(url=broker.url, host=HOST)
    text = text.replace("pwm}", "output}").replace(
        "23, mode: output", "23, control: nobody, mode: output"
    )
    server = start_server(text + SCHEDULES, program=changing(clock_is(False)))
    home = start_home_assistant(release, broker.port)

    def of_schedules(found):
        """Return the entity of each schedule by its platform and name."""
        names = {each: state["friendly_name"] for each, state in found.items()}
        return {
            f"{each.partition('.')[0]} {name.partition('Schedule ')[2]}": each
            for each, name in names.items()
            if "Schedule " in name
        }

    def wait_for_entities(*names):
        return home.wait_for(lambda found: of_schedules(found).keys() == {*names})

    def wait_for_states(**states):
        home.wait_for(
            lambda found: {name: found[entity[name]]["state"] for name in states} == states
        )

    found = wait_for_entities(
        "switch garden watering", "sensor garden watering next time",
        "switch vent", "sensor vent next time",
        "binary_sensor frost", "sensor frost next time",
    )  # fmt: skip
    names = of_schedules(found)
    if release == NEWEST:
        assert names["switch garden watering"] == "switch.garage_schedule_garden_watering"
        assert names["sensor vent next time"] == "sensor.garage_next_vent"
    entity = {
        "watering": names["switch garden watering"],
        "next_watering": names["sensor garden watering next time"],
        "next_vent": names["sensor vent next time"],
        "frost": names["binary_sensor frost"],
    }
    assert found[entity["next_vent"]]["device_class"] == "timestamp"
    wait_for_states(watering="on", next_watering="unknown", next_vent="unknown", frost="on")
    assert ask(server, "POST", "/api/clock/trust").status == 200

    def coming(name):
        """Return the next time of a schedule, as Home Assistant shows it."""
        schedules = ask(server, "GET", "/api/schedules").json["schedules"]
        (at,) = (each["next"]["begin"] for each in schedules if each["name"] == name)
        return datetime.fromtimestamp(at, UTC).isoformat()

    wait_for_states(next_watering=coming("garden_watering"), next_vent=coming("vent"))
    assert value_of(server, "lamp") == 1
    home.call("switch", "turn_off", entity["watering"])
    wait_for_states(watering="off", next_watering="unknown")
    assert value_of(server, "lamp") == 0
    home.call("switch", "turn_on", entity["watering"])
    wait_for_states(watering="on", next_watering=coming("garden_watering"))
    assert value_of(server, "lamp") == 1
    assert ask(server, "POST", "/api/schedules/garden_watering/pause").status == 200
    wait_for_states(watering="off")
    reload(server, text + re.sub("  garden_watering:.*\n|  frost:.*\n", "", SCHEDULES))
    wait_for_entities("switch vent", "sensor vent next time")
    reload(server, text)
    wait_for_entities()
    assert home.complaints == []


COVERS = """
  opener: {gpio: 5, mode: output, pulse: 0.05}
  shut: {gpio: 6, mode: input, kind: garage_door}
  up: {gpio: 7, mode: output, group: shutter, group_pause: 0.5}
  down: {gpio: 8, mode: output, group: shutter, group_pause: 0.5}
covers:
  big_door: {label: Big door, button: opener, closed: shut, travel: 1}
  shutter: {up: up, down: down, travel: 1}
"""


@pytest.mark.parametrize("release", [NEWEST, OLDEST])
def test_covers(release, brokers, start_server, start_home_assistant):
    """Home Assistant opens, closes and stops covers, moves one to a position, and shows what they
    do. The outputs of covers are no entities, also after they were some, and a cover that leaves
    the configuration leaves Home Assistant."""
    broker = brokers.broker()
    text = CONFIG.format(url=broker.url, host=HOST).rstrip() + COVERS
    pins_only = text.partition("covers:")[0]
    server = start_server(pins_only)
    home = start_home_assistant(release, broker.port)
    wanted = {"cover Big door": "garage", "cover shutter": "shutter"}

    def named(found):
        """Return each entity of the Pi by its platform and name."""
        return {
            f"{each.partition('.')[0]} {state['friendly_name'].removeprefix(f'{HOST} ')}": each
            for each, state in found.items()
        }

    outputs = {"button opener", "switch up", "switch down"}

    def is_set_up(found):
        """Return True once all outputs have a state. Until then 2024.11 may forget a removal."""
        names = named(found)
        switches = [names[each] for each in outputs if each.startswith("switch")]
        return outputs <= names.keys() and all(found[each]["state"] == "off" for each in switches)

    home.wait_for(is_set_up)
    reload(server, text)
    found = home.wait_for(lambda found: wanted.keys() <= named(found).keys())
    names = named(found)
    home.wait_for(lambda found: not outputs & named(found).keys())
    assert {name: found[names[name]]["device_class"] for name in wanted} == wanted
    door, shutter = names["cover Big door"], names["cover shutter"]
    if release == NEWEST:
        assert door == "cover.garage_big_door"
    assert "binary_sensor shut" in names

    def wait_for_state(entity, state, **more):
        expected = {"state": state, **more}
        home.wait_for(lambda found: expected.items() <= found[entity].items())

    def state_of(cover):
        return ask(server, "GET", f"/api/covers/{cover}").json["state"]

    wait_for_state(door, "closed", problem=None)
    home.call("cover", "open_cover", door)
    wait_for_state(door, "open")
    assert state_of("big_door") == "open"
    home.call("cover", "close_cover", door)
    wait_for_state(door, "closed")
    assert state_of("big_door") == "closed"
    with WebSocketClient(server.port) as viewer:
        viewer.send(type="drive", pin="shut", value=1)  # by hand
        wait_for_state(door, "open")
    home.call("cover", "open_cover", shutter)
    wait_for_state(shutter, "open", current_position=100)
    home.call("cover", "set_cover_position", shutter, position=40)
    wait_for_state(shutter, "open", current_position=40)
    assert ask(server, "GET", "/api/covers/shutter").json["position"] == 40
    home.call("cover", "close_cover", shutter)
    wait_for_state(shutter, "closing")
    home.call("cover", "stop_cover", shutter)
    home.wait_for(lambda found: found[shutter]["state"] == "open")
    home.call("cover", "close_cover", shutter)
    wait_for_state(shutter, "closed", current_position=0)
    reload(server, pins_only)
    home.wait_for(lambda found: not {door, shutter} & found.keys())
    assert home.complaints == []
