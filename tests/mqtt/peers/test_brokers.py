"""Brokers and clients that people have beside Mosquitto and Home Assistant."""

import contextlib

import pytest

from tests.mqtt.peers.programs import NEWEST, Amqtt, NodeRed, RabbitMQ
from tests.support.fleet import FleetViewer
from tests.support.mqtt import CONTROL, Client, config, value_of, wait_for_reason
from tests.support.server import changing
from tests.support.websocket import WebSocketClient

pytestmark = pytest.mark.peers


def test_rabbitmq(start_server, start_home_assistant):
    """RabbitMQ sends nothing that it has stored to a subscription with wildcards. The fleet says so
    and shows a Pi from its next connection on. Home Assistant gets the announcement when it starts.
    A broker that ends soon after a connection is not taken for another client with our id."""
    with contextlib.closing(RabbitMQ()) as broker:
        program = changing(mqtt_announce_within_s=0.2)
        more = f"{CONTROL}, discovery: homeassistant, fleet: true"
        here = start_server(config(broker.url, more, "farm/here"), program=program)
        there = start_server(config(broker.url, CONTROL, "farm/there"))
        own = ("farm/here/health", "farm/there/health")
        with Client(broker, *own) as subscriber:
            for topic in own:
                subscriber.last(topic)
        with FleetViewer(here) as viewer:
            viewer.wait_until(lambda: "RabbitMQ" in (viewer.broker["error"] or ""))
            assert not viewer.pis
            there.stop()
            there.restart()
            viewer.wait_until(lambda: viewer.pis.get("farm/there", {}).get("online"))
            assert viewer.switch("farm/there", "lamp", 1)["type"] == "result"
            assert value_of(there, "lamp") == 1
        home = start_home_assistant(NEWEST, broker.port)
        both = "switch.here_lamp", "light.here_fan"
        home.wait_for(lambda found: all(found[each]["state"] == "off" for each in both))
        home.call("switch", "turn_on", "switch.here_lamp")
        home.wait_for(lambda found: found["switch.here_lamp"]["state"] == "on")
        there.stop()
        there.restart()
        there.wait_for_log("mqtt: connected")
    wait_for_reason(there, "nothing listens there")
    assert "our client id" not in there.log


def test_a_broker_of_mqtt_3_only(start_server, tmp_path):
    """A broker that speaks MQTT 3.1.1 only, and falls silent, is named as such."""
    with contextlib.closing(Amqtt(tmp_path)) as broker:
        server = start_server(config(broker.url))
        wait_for_reason(server, "does it speak MQTT 3.1.1 only? This server needs version 5")


def test_node_red(brokers, start_server):
    """A flow of Node-RED receives the state of a pin and switches another by it."""
    broker = brokers.broker()
    server = start_server(config(broker.url, CONTROL))
    server.wait_for_log("mqtt: connected")
    own = {"broker": "b", "qos": "1", "z": "t"}
    flow = [
        {"id": "t", "type": "tab", "label": "test"},
        {"id": "b", "type": "mqtt-broker", "broker": "127.0.0.1", "port": str(broker.port),
         "protocolVersion": "5", "autoConnect": True, "keepalive": "60", "cleansession": True},
        {"id": "in", "type": "mqtt in", "topic": "house/pi/pins/door", "datatype": "json",
         "wires": [["f"]], **own},
        {"id": "f", "type": "function", "func": "return {payload: msg.payload.value};",
         "outputs": 1, "z": "t", "wires": [["out"]]},
        {"id": "out", "type": "mqtt out", "topic": "house/pi/pins/lamp/set", "retain": "false",
         "wires": [], **own},
    ]  # fmt: skip
    with contextlib.closing(NodeRed(flow)), WebSocketClient(server.port) as viewer:
        for value in (1, 0):
            viewer.send(type="drive", pin="door", value=value)
            assert viewer.receive("change", pin="lamp")["value"] == value
