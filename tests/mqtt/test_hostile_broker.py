"""MQTT bridge and harmful publishers: the ACL of docs/mqtt.md, foreign messages, nasty payloads."""

import re
from pathlib import Path
from textwrap import dedent
from types import SimpleNamespace

import pytest

from tests.support.fleet import FleetViewer
from tests.support.mqtt import CONTROL, COVERS, PASSWORD, config, value_of, wait_until_well
from tests.support.server import changing, free_port

DOCS = Path(__file__).parents[2] / "docs/mqtt.md"


def test_documented_acl(brokers, authority, pair, start_server):
    """With TLS, passwords and the documented ACL, bridge and fleet work. A client that may only
    read switches and removes nothing, and reads no password. A rejected command says why."""
    blocks = r"(?:^    (?:user|topic) .*\n|^\n(?=    user))+"
    own, fleet = map(dedent, re.findall(blocks, DOCS.read_text(), re.MULTILINE))
    users = ("homeassistant", "reader", "kitchen", "hall")
    hall = f"user hall\ntopic readwrite raspi-server/hall/#\n{fleet.partition('topic write')[0]}"
    plain = SimpleNamespace(port=free_port())  # for the subscribers
    rules = own.replace("user kitchen\n", f"user reader\ntopic read #\n{hall}user kitchen\n{fleet}")
    tls = (f"certfile {pair.certificate}", f"keyfile {pair.key}")
    broker = brokers.guarded(rules, users, *tls, f"listener {plain.port} 127.0.0.1")
    topics = ("homeassistant/#", "raspi-server/#")
    home, reader = (
        brokers.subscriber(plain, *topics, username=user, password=PASSWORD) for user in users[:2]
    )
    more = f"{CONTROL}, fleet: true, password_file: password, ca: {authority.folder}/ca.crt"
    url = f"mqtts://localhost:{broker.port}"
    kitchen, hall = (
        start_server(config(url, f"{more}, user: {user}{found}", f"raspi-server/{user}") + COVERS)
        for user, found in (("kitchen", ", discovery: homeassistant"), ("hall", ""))
    )
    home.wait_for_topic("raspi-server/kitchen/health")
    home.wait_for_topic("homeassistant/device/raspi-server_kitchen/config")
    wait_until_well(kitchen)
    assert PASSWORD not in kitchen.log
    assert not any(PASSWORD.encode() in each.payload for each in reader.messages)
    reader.publish("raspi-server/kitchen/pins/lamp/set", 1)
    reader.publish("raspi-server/kitchen/pins/lamp", b"", retain=True)
    reader.publish("raspi-server/kitchen/status", b"offline", retain=True)
    reader.publish("raspi-server/kitchen/covers/garage/set", b"OPEN")
    home.publish("raspi-server/kitchen/pins/fan/set", 1)
    home.wait_for_topic("raspi-server/kitchen/pins/fan/result")  # so the earlier ones were received
    assert value_of(kitchen, "fan") == 1
    assert home.last("raspi-server/kitchen/status").payload == b"online"
    garage = "raspi-server/kitchen/covers/garage"
    assert home.last(garage).json["state"] == "closed"
    home.publish(f"{garage}/set", b"OPEN")
    home.wait_for(lambda each: each.topic == garage and each.json["state"] == "open")
    with FleetViewer(kitchen) as viewer:
        viewer.wait_for("raspi-server/hall")
        assert viewer.switch("raspi-server/hall", "lamp", 1)["type"] == "result"
        assert value_of(hall, "lamp") == 1
        assert viewer.move("open", "raspi-server/hall", "garage")["type"] == "result"
        viewer.wait_for_state("raspi-server/hall", "garage", "open")
    with FleetViewer(hall) as viewer:
        viewer.wait_for("raspi-server/kitchen")
        code, words = viewer.error_of("raspi-server/kitchen", "lamp")
        assert code == "not-allowed"
        assert "not let us publish raspi-server/kitchen/pins/lamp/set as hall: its ACL" in words
        answer = viewer.move("open", "raspi-server/kitchen", "shutter")
        assert (answer["code"], answer["reason"]) == ("not-allowed", "broker-forbids")
        assert viewer.switch("raspi-server/hall", "lamp", 0)["type"] == "result"
        assert viewer.broker == {"connected": True, "error": None}
    assert home.last("raspi-server/kitchen/pins/lamp").json["value"] == 0
    assert value_of(kitchen, "lamp") == 0


def test_foreign_retained_messages(brokers, start_server):
    """Foreign retained messages below our topic are no obstacle; old pins are removed. A retained
    command is not carried out, neither now nor at the next connection."""
    broker = brokers.broker("max_queued_messages 0")
    subscriber = brokers.subscriber(broker, "house/pi/#")
    for number in range(300):
        subscriber.publish(f"house/pi/pins/old-{number}", b"\xff" * 1000, retain=True, qos=0)
    for name in ("status", "describe", "pins/door", "pins/lamp/result", "pins/lamp/late", "pins/Ä"):
        subscriber.publish(f"house/pi/{name}", b"{\x00" * 1000, retain=True)
    subscriber.publish("house/pi/pins/lamp/set", 1, retain=True)
    program = changing(mqtt_max_stale_pins=200)
    server = start_server(config(broker.url, CONTROL), program=program)

    def emptied(each):
        return "/old-" in each.topic and not each.payload

    subscriber.wait_for(emptied, 200)
    subscriber.publish("house/pi/pins/gate/set", 0)
    subscriber.last("house/pi/pins/gate/result")
    assert sum(map(emptied, subscriber.messages)) == 200  # for each connection
    server.stop()
    server.restart()
    subscriber.wait_for(emptied, 300)
    subscriber.wait_for_topic("house/pi/health", 2)
    wait_until_well(server)
    subscriber.publish("house/pi/pins/fan/set", 1, retain=True)
    answer = subscriber.last("house/pi/pins/fan/result").json
    assert "without the retain flag" in answer["message"]
    assert (value_of(server, "lamp"), value_of(server, "fan")) == (0, 0)
    late = brokers.subscriber(broker, "house/pi/#")
    assert late.last("house/pi/pins/Ä")
    assert late.last("house/pi/status").payload == b"online"
    assert late.last("house/pi/pins/door").json["value"] == 0
    assert not any("/old-" in each.topic for each in late.messages)


NUMBERS = [
    b"1" + b"0" * 20,  # beyond 64 bits
    b"-1" + b"0" * 400,  # beyond a float
    b"1" + b"0" * 5000,  # beyond the digits that Python converts
    b"1e308",
    b"-1e400",
]
"""Numbers out of all ranges."""
NASTY = [
    *NUMBERS,
    *(b'{"value":%s,"ref":1}' % each for each in NUMBERS),
    *(b'{"value":1,"ref":%s}' % each for each in NUMBERS),
    *(b'{"type":"pulse","seconds":%s}' % each for each in NUMBERS),
    *(b"NaN", b"Infinity", b"null", b"[]", b"{}", b"", b"\x00", b"\xff\xfe", b"\xef\xbb\xbf1"),
    *(b"[" * 16_000, b'{"a":' * 3000, b'{"components":' + b'{"a":' * 3000, b'{"value":' * 3000),
    *(b'"\\ud800"', b'{"\\ud800":1}', b'{"type":"\xff"}', b'{"ref":"%s"}' % (b"x" * 16_000)),
    *(b'{"pin":"gate","value":1}', b'{"type":["set"]}', b'{"%s":1}' % (b"\\u0001" * 2000)),
    b"1" * 60_000,
]


@pytest.mark.slow
def test_nasty_payloads(brokers, start_server):
    """No payload ends the connection, and a valid command is carried out afterwards. A message that
    raises an exception costs one line in the log, however often it comes."""
    broker = brokers.broker()
    subscriber = brokers.subscriber(broker, "house/pi/#")
    own = ("homeassistant/device/house_pi/config", "house/pi/pins/lamp", "house/pi/pins/other")
    subscriber.publish(own[0], b'{"components":' + b'{"a":' * 3000, retain=True)
    program = changing(
        "from raspi_server.mqtt import bridge",
        "command = bridge._command",
        "bridge._command = lambda name, data: command(name, data) if data != b'!' else 1 / 0",
    )
    text = config(broker.url, f"{CONTROL}, discovery: homeassistant")
    server = start_server(text, program=program)
    subscriber.wait_for_topic("house/pi/health")
    for number, payload in enumerate(NASTY, 1):
        subscriber.publish("house/pi/pins/gate/set", payload)
        answer = subscriber.wait_for_topic("house/pi/pins/gate/result", number)[-1].json
        assert answer["type"] == "error" or payload.startswith((b'{"value":1', b"{"))
        if payload in NUMBERS:
            assert answer["code"] == "bad-value"
        for topic in own:
            subscriber.publish(topic, payload, retain=True)
    subscriber.publish("house/pi/pins/lamp/set", {"value": 1, "ref": 2**53 - 1})
    answer = subscriber.last("house/pi/pins/lamp/result").json
    assert answer == {"type": "result", "ref": 2**53 - 1, "pin": "lamp", "value": 1}
    for payload in (b"!", b"!", b"1"):
        subscriber.publish("house/pi/pins/fan/set", payload)
    assert subscriber.last("house/pi/pins/fan/result").json["value"] == 1
    server.wait_for_log("mqtt: a message at house/pi/pins/fan/set was dropped: ZeroDivisionError: ")
    assert server.log.count("was dropped") == 1
    wait_until_well(server)
    assert len(re.findall("mqtt: connected", server.log)) == 1
