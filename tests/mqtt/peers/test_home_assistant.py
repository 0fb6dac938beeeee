"""A real Home Assistant beside a server and Mosquitto: a new release, and the oldest that can."""

import os
import re
import socket

import pytest

from tests.mqtt.peers.programs import NEWEST, OLDEST
from tests.support.mqtt import reload, value_of
from tests.support.server import changing

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
