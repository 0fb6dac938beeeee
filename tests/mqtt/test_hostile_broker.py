"""MQTT bridge under hard conditions: TLS, passwords and ACL together, hostile publishers, and a
frozen process on either side."""

import re
import signal
import subprocess
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from textwrap import dedent
from typing import NamedTuple

import pytest

from tests.mqtt.test_bridge import CONNACK, CONTROL, FakeBroker, config, switch
from tests.security.test_tls import Authority, Pair
from tests.support.http import ask
from tests.support.mqtt import Brokers, Subscriber, properties, wait_for_reason, wait_until_well
from tests.support.server import LIMIT, Server, changing, free_port
from tests.support.websocket import TEXT, WebSocketClient, masked

DOCS = Path(__file__).parents[2] / "docs/mqtt.md"
DAY = timedelta(days=1)


@pytest.fixture
def brokers(tmp_path: Path) -> Iterator[Brokers]:
    with Brokers(tmp_path) as found:
        yield found


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """An authority whose certificates are valid for brokers and for clients."""
    found = Authority(tmp_path_factory.mktemp("authority"))
    file = found.folder / "ca.cnf"
    file.write_text(file.read_text().replace("serverAuth", "serverAuth, clientAuth"))
    return found


@pytest.fixture(scope="module")
def theirs(authority: Authority) -> Pair:
    """The certificate of a broker on this machine."""
    return authority.issue("broker", -DAY, DAY)


def value(server: Server, pin: str) -> float:
    found: float = ask(server, "GET", f"/api/pins/{pin}").json["value"]
    return found


# ---------------------------------------------------------------- TLS, password and ACL


class Locked(NamedTuple):
    """Broker with TLS, passwords and the ACL of docs/mqtt.md. On this machine it listens without
    TLS too. `more` has the settings for a Pi that logs in as `kitchen`."""

    url: str
    more: str
    brokers: Brokers
    plain_port: int

    @property
    def port(self) -> int:
        return self.plain_port

    def subscriber(self, user: str, *topics: str) -> Subscriber:
        return self.brokers.subscriber(self, *topics, username=user, password="secret")  # type: ignore[arg-type]


@pytest.fixture
def locked(brokers, authority, theirs, tmp_path) -> Locked:
    folder = brokers.folder
    folder.mkdir()
    rules = re.search(r"^    user kitchen\n(?:    .*\n|\n)+", DOCS.read_text(), re.MULTILINE)
    assert rules and "user homeassistant" in rules[0]
    (folder / "acl").write_text(dedent(rules[0]) + "user guest\ntopic read #\n")
    (folder / "passwords").touch(0o600)
    for user in ("kitchen", "homeassistant", "guest"):
        command = ["mosquitto_passwd", "-b", folder / "passwords", user, "secret"]
        assert subprocess.run(command, timeout=LIMIT).returncode == 0
    (tmp_path / "password").write_text("secret\n")
    plain = free_port()
    broker = brokers.broker(
        f"certfile {theirs.certificate}", f"keyfile {theirs.key}", f"listener {plain} 127.0.0.1",
        f"password_file {folder}/passwords", f"acl_file {folder}/acl",
    )  # fmt: skip
    ours = f", user: kitchen, password_file: password, ca: {authority.folder}/ca.crt"
    more = f"{CONTROL}, discovery: homeassistant{ours}"
    return Locked(f"mqtts://localhost:{broker.port}", more, brokers, plain)


def kitchen(locked: Locked) -> str:
    return config(locked.url, locked.more).replace("house/pi", "raspi-server/kitchen")


def test_tls_password_and_acl_together(locked, start_server):
    """With TLS, a password and the documented ACL everything is published, Home Assistant finds the
    Pi, and a client that may switch does."""
    home = locked.subscriber("homeassistant", "homeassistant/#", "raspi-server/#")
    server = start_server(kitchen(locked))
    home.wait_for_topic("raspi-server/kitchen/health")
    home.wait_for_topic("homeassistant/device/raspi-server_kitchen/config")
    wait_until_well(server)
    home.publish("raspi-server/kitchen/pins/lamp/set", 1)
    home.wait_for_topic("raspi-server/kitchen/pins/lamp/result")
    assert value(server, "lamp") == 1


def test_command_without_permission(locked, start_server):
    """A client that may only read switches nothing and removes nothing."""
    guest = locked.subscriber("guest", "raspi-server/#")
    server = start_server(kitchen(locked))
    guest.wait_for_topic("raspi-server/kitchen/health")
    guest.publish("raspi-server/kitchen/pins/lamp/set", 1)
    guest.publish("raspi-server/kitchen/pins/lamp", b"", retain=True)
    guest.publish("raspi-server/kitchen/status", b"offline", retain=True)
    home = locked.subscriber("homeassistant", "raspi-server/#")
    home.publish("raspi-server/kitchen/pins/fan/set", 1)
    home.wait_for_topic("raspi-server/kitchen/pins/fan/result")  # so the earlier ones were received
    assert value(server, "lamp") == 0
    assert home.last("raspi-server/kitchen/status").payload == b"online"
    assert home.last("raspi-server/kitchen/pins/lamp").json["value"] == 0


def test_expired_client_certificate(brokers, authority, theirs, start_server):
    """A broker that rejects our expired certificate is reported with that reason."""
    ours = authority.issue("old", -DAY, -DAY / 2)
    broker = brokers.broker(
        f"certfile {theirs.certificate}", f"keyfile {theirs.key}",
        f"cafile {authority.folder}/ca.crt", "require_certificate true",
    )  # fmt: skip
    more = f", ca: {authority.folder}/ca.crt, certificate: {ours.certificate}, key: {ours.key}"
    server = start_server(config(f"mqtts://localhost:{broker.port}", more))
    assert "expired" in wait_for_reason(server, "certificate")[0]
    switch(server, "lamp", 1)


# ---------------------------------------------------------------- hostile publishers


def test_foreign_retained_messages(brokers, start_server):
    """Whatever others retained below our topic, everything is published, and names that may be old
    pins are removed."""
    broker = brokers.broker("max_queued_messages 0")
    subscriber = brokers.subscriber(broker, "house/pi/#")
    for number in range(300):
        subscriber.publish(f"house/pi/pins/trap-{number}", b"\xff" * 1000, retain=True, qos=0)
    for what in ("status", "describe", "health", "pins/lamp/result", "pins/lamp/late", "pins/Ä"):
        subscriber.publish(f"house/pi/{what}", b"{\x00" * 1000, retain=True)
    subscriber.publish("house/pi/pins/door", b'{"value":7}', retain=True)
    server = start_server(config(broker.url))
    subscriber.wait_for(lambda each: "/trap-" in each.topic and not each.payload, 300)
    subscriber.wait_for_topic("house/pi/health", 2)
    wait_until_well(server)
    late = brokers.subscriber(broker, "house/pi/#")
    late.wait_for_topic("house/pi/pins/heater")
    assert not any("/trap-" in each.topic for each in late.messages)
    assert late.last("house/pi/status").payload == b"online"
    assert late.last("house/pi/pins/door").json["value"] == 0


def test_command_of_any_size(brokers, start_server):
    """A packet beyond our limit stays with the broker, and the next command is carried out."""
    broker = brokers.broker()
    subscriber = brokers.subscriber(broker, "house/pi/pins/+/result", "house/pi/pins/heater")
    server = start_server(config(broker.url, CONTROL))
    subscriber.wait_for_topic("house/pi/pins/heater")
    subscriber.publish("house/pi/pins/lamp/set", b"1" * 1_000_000)
    subscriber.publish("house/pi/pins/lamp/set", 1)
    assert subscriber.wait_for_topic("house/pi/pins/lamp/result")[0].json["value"] == 1
    assert value(server, "lamp") == 1
    wait_until_well(server)


HUGE = [b"1" + b"0" * zeros for zeros in (20, 400, 5000)]
NUMBERS = [*HUGE, *(b"-" + each for each in HUGE), b"1e308", b"-1e308", b"1e400", b"-1e400"]
NASTY = [
    *NUMBERS,
    *(b'{"value":%s,"ref":1}' % each for each in NUMBERS),
    *(b'{"value":1,"ref":%s}' % each for each in NUMBERS),
    *(b'{"type":"pulse","seconds":%s}' % each for each in NUMBERS),
    *(
        b"NaN",
        b"Infinity",
        b"null",
        b"true",
        b"[]",
        b"{}",
        b"",
        b"\x00",
        b"\xff\xfe",
        b"\xef\xbb\xbf1",
    ),
    *(b"[" * 16_000, b'{"a":' * 3000, b'{"components":' + b'{"a":' * 3000, b'{"value":' * 3000),
    *(b'"\\ud800"', b'{"\\ud800":1}', b'{"type":"\xff"}', b'{"ref":"%s"}' % (b"x" * 16_000)),
    *(b'{"pin":"gate","value":1}', b'{"type":["set"]}', b'{"%s":1}' % (b"\\u0001" * 2000)),
    b"1" * 60_000,
]


def test_nasty_payloads(brokers, start_server):
    """No payload, retained or not, ends the connection. A number beyond all ranges is a bad value,
    and a valid command is carried out afterwards."""
    broker = brokers.broker()
    subscriber = brokers.subscriber(broker, "house/pi/#")
    traps = ("homeassistant/device/house_pi/config", "house/pi/pins/lamp", "house/pi/pins/other")
    subscriber.publish(traps[0], b'{"components":' + b'{"a":' * 3000, retain=True)
    server = start_server(config(broker.url, f"{CONTROL}, discovery: homeassistant"))
    subscriber.wait_for_topic("house/pi/health")
    results = "house/pi/pins/gate/result"
    for number, payload in enumerate(NASTY, 1):
        subscriber.publish("house/pi/pins/gate/set", payload)
        answer = subscriber.wait_for_topic(results, number)[-1].json
        assert answer["type"] == "error" or payload.startswith((b'{"value":1', b"{"))
        if payload in NUMBERS:
            assert answer["code"] == "bad-value"
        for topic in traps:
            subscriber.publish(topic, payload, retain=True)
    for topic in ("pins/Ä/set", "pins/%s/set" % ("x" * 1000), "pins//set", "pins/\ufeff/set"):
        subscriber.publish(f"house/pi/{topic}", 1)
    before = len(subscriber.messages)
    subscriber.publish("house/pi/pins/lamp/set", {"value": 1, "ref": 2**53 - 1})
    answer = subscriber.wait_for_topic("house/pi/pins/lamp/result", since=before)[-1].json
    assert answer == {"type": "result", "ref": 2**53 - 1, "pin": "lamp", "value": 1}
    wait_until_well(server)
    assert len(re.findall("mqtt: connected", server.log)) == 1
    server.stop()
    subscriber.wait_for(lambda each: each.payload == b"offline")
    before = len(subscriber.messages)
    server.restart()  # receives what was retained
    subscriber.wait_for_topic("house/pi/health", since=before)
    subscriber.publish("house/pi/pins/fan/set", 0.5)
    assert subscriber.last("house/pi/pins/fan/result").json["value"] == 0.5
    assert len(re.findall("mqtt: connected", server.log)) == 1


def test_same_numbers_over_websocket_and_http(start_server):
    """The WebSocket and the HTTP API reject the same numbers, and carry out the next command."""
    server = start_server("gpio: simulated\naccess: {control: everyone}\npins:\n"
                          "  lamp: {gpio: 27, mode: output}\n")  # fmt: skip
    with WebSocketClient(server.port) as viewer:
        messages = (each for each in viewer.messages() if each["type"] in ("result", "error"))
        for number in NUMBERS:
            for order in (b'"set","value":%s', b'"pulse","seconds":%s', b'"toggle","ref":%s'):
                text = b'{"pin":"lamp","type":%s}' % (order % number)
                viewer.socket.sendall(masked(TEXT, text))
                answer = next(messages)
                if b"toggle" not in order or len(number) > 20:
                    assert answer["type"] == "error", text
            for path, body in (("", b'{"value":%s}'), ("/pulse", b'{"seconds":%s}')):
                method = "POST" if path else "PUT"
                answer = ask(server, method, f"/api/pins/lamp{path}", body % number)
                assert answer.error[:2] == (422, "bad-value")
        viewer.send(type="set", pin="lamp", value=1, ref=1 - 2**53)
        assert next(messages) == {"type": "result", "ref": 1 - 2**53, "pin": "lamp", "value": 1}


def test_properties_are_ignored(brokers, start_server):
    """Properties of a message are ignored, also characters in them that Paho rejects and MQTT
    allows."""
    broker = brokers.broker()
    subscriber = brokers.subscriber(broker, "house/pi/pins/+/result", "house/pi/health")
    server = start_server(config(broker.url, CONTROL))
    subscriber.wait_for_topic("house/pi/health")
    odd = "\ufeff"
    for each in (
        {"UserProperty": [(odd, odd), ("a" * 5000, "b" * 5000)]},
        {"ResponseTopic": odd},
        {"ContentType": odd * 5000},
        {"CorrelationData": b"\xff" * 10_000},
        {"PayloadFormatIndicator": 1, "MessageExpiryInterval": 2**32 - 1},
        {"TopicAlias": 1},
    ):
        for qos in (0, 1, 2):
            subscriber.publish("house/pi/pins/gate/set", 1, qos=qos, properties=properties(**each))
            subscriber.publish(
                "house/pi/pins/gate/set", b"\xff", qos=qos, properties=properties(**each)
            )
    assert len(subscriber.wait_for_topic("house/pi/pins/gate/result", 36)) == 36
    wait_until_well(server)
    assert len(re.findall("mqtt: connected", server.log)) == 1


def test_topic_that_is_not_utf8(start_server):
    """A topic that is not UTF-8 does not end the connection: the next command is carried out."""
    topic = b"house/pi/pins/lamp/set"
    order = b"\x30" + bytes([len(topic) + 4, 0, len(topic)]) + topic + b"\0001"
    with FakeBroker(CONNACK + b"\x30\x04\x00\x01\xff\x00" + order) as broker:
        server = start_server(config(f"mqtt://127.0.0.1:{broker.port}", CONTROL))
        server.wait_for_log(r"lamp \(GPIO27\): on, by mqtt")
        assert len(re.findall("mqtt: connected", server.log)) == 1


def test_own_exception_ends_no_connection(brokers, start_server):
    """A message that raises an exception in this server costs one line in the log, however often it
    comes."""
    broker = brokers.broker()
    subscriber = brokers.subscriber(broker, "house/pi/pins/+/result", "house/pi/health")
    program = changing(
        "from raspi_server.mqtt import bridge",
        "bridge._command = lambda name, payload: 1 / int(payload)",
    )
    server = start_server(config(broker.url, CONTROL), program=program)
    subscriber.wait_for_topic("house/pi/health")
    for _ in range(50):
        subscriber.publish("house/pi/pins/gate/set", 0)
    subscriber.publish("house/pi/pins/gate/set", b"", retain=True)
    line = server.wait_for_log("mqtt: a message at house/pi/pins/gate/set was dropped").string
    assert "ZeroDivisionError" in line and "test" not in line
    assert len(re.findall("was dropped", server.log)) == 1
    wait_until_well(server)
    assert len(re.findall("mqtt: connected", server.log)) == 1


# ---------------------------------------------------------------- frozen processes


def test_frozen_broker(brokers, start_server):
    """A frozen broker is given up. When it continues, it gets the present states and the changes of
    the meantime."""
    broker = brokers.broker()
    subscriber = brokers.subscriber(broker, "house/pi/#")
    server = start_server(config(broker.url), program=changing(mqtt_keep_alive_s=1))
    subscriber.wait_for_topic("house/pi/pins/heater")
    broker.process.send_signal(signal.SIGSTOP)
    switch(server, "lamp", 1)
    wait_for_reason(server, "has not answered for")
    switch(server, "lamp", 0)
    switch(server, "fan", 0.5)
    broker.process.send_signal(signal.SIGCONT)
    subscriber.wait_for(lambda each: each.topic.endswith("/late") and each.json["value"] == 0.5)
    subscriber.wait_for(
        lambda each: each.topic == "house/pi/pins/fan" and each.json["value"] == 0.5
    )
    wait_until_well(server)
    late = brokers.subscriber(broker, "house/pi/#")
    assert late.last("house/pi/status").payload == b"online"
    assert late.last("house/pi/pins/lamp").json["value"] == 0


def test_frozen_pi(brokers, start_server):
    """A frozen Pi is `offline` at the broker. When it continues, it is online again."""
    broker = brokers.broker()
    subscriber = brokers.subscriber(broker, "house/pi/status")
    server = start_server(config(broker.url), program=changing(mqtt_keep_alive_s=1))
    subscriber.wait_for(lambda each: each.payload == b"online")
    server.process.send_signal(signal.SIGSTOP)
    subscriber.wait_for(lambda each: each.payload == b"offline")
    server.process.send_signal(signal.SIGCONT)
    subscriber.wait_for(lambda each: each.payload == b"online", 2)
    switch(server, "lamp", 1)
