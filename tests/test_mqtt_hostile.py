"""Hard times at the broker: all its locks at once, others who publish what they should not, and
either side frozen in the middle of the talk."""

import re
import signal
import subprocess
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from textwrap import dedent
from typing import NamedTuple

import pytest

from .asking import ask
from .conftest import LIMIT, Server, free_port
from .mqtt_rig import Brokers, Ear, properties, wait_for_reason, wait_until_well
from .test_mqtt import CONNACK, CONTROL, FakeBroker, house, switch
from .test_tls import Authority, Pair
from .wire import TEXT, Client, changing, masked

DOCS = Path(__file__).parent.parent / "docs/mqtt.md"
DAY = timedelta(days=1)


@pytest.fixture
def brokers(tmp_path: Path) -> Iterator[Brokers]:
    with Brokers(tmp_path) as found:
        yield found


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """One whose certificates are good for brokers and for clients."""
    found = Authority(tmp_path_factory.mktemp("authority"))
    file = found.folder / "ca.cnf"
    file.write_text(file.read_text().replace("serverAuth", "serverAuth, clientAuth"))
    return found


@pytest.fixture(scope="module")
def theirs(authority: Authority) -> Pair:
    """What a broker on this machine shows."""
    return authority.issue("broker", -DAY, DAY)


def value(server: Server, pin: str) -> float:
    found: float = ask(server, "GET", f"/api/pins/{pin}").json["value"]
    return found


# ---------------------------------------------------------------- all locks at once


class Locked(NamedTuple):
    """A broker with TLS, passwords and the ACL of docs/mqtt.md, which it serves on this machine
    without TLS, too; `more` is what a Pi needs to be let in as `kitchen`."""

    url: str
    more: str
    brokers: Brokers
    plain_port: int

    @property
    def port(self) -> int:
        return self.plain_port

    def ear(self, user: str, *topics: str) -> Ear:
        return self.brokers.ear(self, *topics, username=user, password="secret")  # type: ignore[arg-type]


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
    return house(locked.url, locked.more).replace("house/pi", "raspi-server/kitchen")


def test_all_locks_at_once(locked, start_server):
    """Over TLS, with a password, and with the ACL that we recommend, nothing of ours is in the way:
    all is said, Home Assistant finds the Pi, and whoever it lets switch does."""
    home = locked.ear("homeassistant", "homeassistant/#", "raspi-server/#")
    server = start_server(kitchen(locked))
    home.wait_for_topic("raspi-server/kitchen/health")
    home.wait_for_topic("homeassistant/device/raspi-server_kitchen/config")
    wait_until_well(server)
    home.say("raspi-server/kitchen/pins/lamp/set", 1)
    home.wait_for_topic("raspi-server/kitchen/pins/lamp/result")
    assert value(server, "lamp") == 1


def test_a_command_without_permission(locked, start_server):
    """Who may only read at the broker switches nothing, and takes nothing back."""
    guest = locked.ear("guest", "raspi-server/#")
    server = start_server(kitchen(locked))
    guest.wait_for_topic("raspi-server/kitchen/health")
    guest.say("raspi-server/kitchen/pins/lamp/set", 1)
    guest.say("raspi-server/kitchen/pins/lamp", b"", retain=True)
    guest.say("raspi-server/kitchen/status", b"offline", retain=True)
    home = locked.ear("homeassistant", "raspi-server/#")
    home.say("raspi-server/kitchen/pins/fan/set", 1)
    home.wait_for_topic("raspi-server/kitchen/pins/fan/result")  # what came before has been heard
    assert value(server, "lamp") == 0
    assert home.last("raspi-server/kitchen/status").payload == b"online"
    assert home.last("raspi-server/kitchen/pins/lamp").json["value"] == 0


def test_our_own_certificate_has_expired(brokers, authority, theirs, start_server):
    """A broker that does not take our certificate any more is named with that reason."""
    ours = authority.issue("old", -DAY, -DAY / 2)
    broker = brokers.broker(
        f"certfile {theirs.certificate}", f"keyfile {theirs.key}",
        f"cafile {authority.folder}/ca.crt", "require_certificate true",
    )  # fmt: skip
    more = f", ca: {authority.folder}/ca.crt, certificate: {ours.certificate}, key: {ours.key}"
    server = start_server(house(f"mqtts://localhost:{broker.port}", more))
    assert "expired" in wait_for_reason(server, "certificate")[0]
    switch(server, "lamp", 1)


# ---------------------------------------------------------------- others


def test_traps_by_the_thousand(brokers, start_server):
    """Whatever others have left below our topic, we come in, say all there is, and take back what
    looks like pins that are no more; garbage elsewhere is nothing to us."""
    broker = brokers.broker("max_queued_messages 0")
    ear = brokers.ear(broker, "house/pi/#")
    for number in range(300):
        ear.say(f"house/pi/pins/trap-{number}", b"\xff" * 1000, retain=True, qos=0)
    for what in ("status", "describe", "health", "pins/lamp/result", "pins/lamp/late", "pins/Ä"):
        ear.say(f"house/pi/{what}", b"{\x00" * 1000, retain=True)
    ear.say("house/pi/pins/door", b'{"value":7}', retain=True)
    server = start_server(house(broker.url))
    ear.wait_for(lambda each: "/trap-" in each.topic and not each.payload, 300)
    ear.wait_for_topic("house/pi/health", 2)
    wait_until_well(server)
    late = brokers.ear(broker, "house/pi/#")
    late.wait_for_topic("house/pi/pins/heater")
    assert not any("/trap-" in each.topic for each in late.heard)
    assert late.last("house/pi/status").payload == b"online"
    assert late.last("house/pi/pins/door").json["value"] == 0


def test_a_command_of_any_size(brokers, start_server):
    """A packet larger than we take stays with the broker, and the next command is obeyed."""
    broker = brokers.broker()
    ear = brokers.ear(broker, "house/pi/pins/+/result", "house/pi/pins/heater")
    server = start_server(house(broker.url, CONTROL))
    ear.wait_for_topic("house/pi/pins/heater")
    ear.say("house/pi/pins/lamp/set", b"1" * 1_000_000)
    ear.say("house/pi/pins/lamp/set", 1)
    assert ear.wait_for_topic("house/pi/pins/lamp/result")[0].json["value"] == 1
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
    """Whatever is published on a topic that we listen to, retained or not, the talk with the broker
    goes on: a number beyond all is a bad value, and a good command is obeyed afterwards."""
    broker = brokers.broker()
    ear = brokers.ear(broker, "house/pi/#")
    traps = ("homeassistant/device/house_pi/config", "house/pi/pins/lamp", "house/pi/pins/other")
    ear.say(traps[0], b'{"components":' + b'{"a":' * 3000, retain=True)
    server = start_server(house(broker.url, f"{CONTROL}, discovery: homeassistant"))
    ear.wait_for_topic("house/pi/health")
    results = "house/pi/pins/gate/result"
    for number, payload in enumerate(NASTY, 1):
        ear.say("house/pi/pins/gate/set", payload)
        answer = ear.wait_for_topic(results, number)[-1].json
        assert answer["type"] == "error" or payload.startswith((b'{"value":1', b"{"))
        if payload in NUMBERS:
            assert answer["code"] == "bad-value"
        for topic in traps:
            ear.say(topic, payload, retain=True)
    for topic in ("pins/Ä/set", "pins/%s/set" % ("x" * 1000), "pins//set", "pins/\ufeff/set"):
        ear.say(f"house/pi/{topic}", 1)
    before = len(ear.heard)
    ear.say("house/pi/pins/lamp/set", {"value": 1, "ref": 2**53 - 1})
    ear.wait_for(
        lambda each: each in ear.heard[before:] and each.topic == "house/pi/pins/lamp/result"
    )
    answer = ear.last("house/pi/pins/lamp/result").json
    assert answer == {"type": "result", "ref": 2**53 - 1, "pin": "lamp", "value": 1}
    wait_until_well(server)
    assert len(re.findall("mqtt: connected", server.log)) == 1
    server.restart()  # what was retained is told anew
    server.wait_for_log("mqtt: connected")
    ear.wait_for_topic("house/pi/health", 2)
    ear.say("house/pi/pins/fan/set", 0.5)
    assert ear.last("house/pi/pins/fan/result").json["value"] == 0.5
    assert len(re.findall("mqtt: connected", server.log)) == 1


def test_the_same_numbers_elsewhere(start_server):
    """Over the WebSocket and the HTTP API a number beyond all is refused, too, and the next command
    obeyed."""
    server = start_server("gpio: simulated\naccess: {control: everyone}\npins:\n"
                          "  lamp: {gpio: 27, mode: output}\n")  # fmt: skip
    with Client(server.port) as viewer:
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
                assert answer.refusal[:2] == (422, "bad-value")
        viewer.send(type="set", pin="lamp", value=1, ref=1 - 2**53)
        assert next(messages) == {"type": "result", "ref": 1 - 2**53, "pin": "lamp", "value": 1}


def test_properties_of_others(brokers, start_server):
    """What stands in the properties of a message is nothing to us, allowed characters that Paho
    does not take among them."""
    broker = brokers.broker()
    ear = brokers.ear(broker, "house/pi/pins/+/result", "house/pi/health")
    server = start_server(house(broker.url, CONTROL))
    ear.wait_for_topic("house/pi/health")
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
            ear.say("house/pi/pins/gate/set", 1, qos=qos, properties=properties(**each))
            ear.say("house/pi/pins/gate/set", b"\xff", qos=qos, properties=properties(**each))
    assert len(ear.wait_for_topic("house/pi/pins/gate/result", 36)) == 36
    wait_until_well(server)
    assert len(re.findall("mqtt: connected", server.log)) == 1


def test_a_topic_that_is_no_text(start_server):
    """A broker that passes on a topic of no text is not left for it: the next command is obeyed."""
    topic = b"house/pi/pins/lamp/set"
    order = b"\x30" + bytes([len(topic) + 4, 0, len(topic)]) + topic + b"\0001"
    with FakeBroker(CONNACK + b"\x30\x04\x00\x01\xff\x00" + order) as broker:
        server = start_server(house(f"mqtt://127.0.0.1:{broker.port}", CONTROL))
        server.wait_for_log(r"lamp \(GPIO27\): on, by mqtt")
        assert len(re.findall("mqtt: connected", server.log)) == 1


def test_a_fault_of_ours_ends_no_talk(brokers, start_server):
    """A message that brings out a fault of this server costs one line in the log, however often it
    comes, and no more."""
    broker = brokers.broker()
    ear = brokers.ear(broker, "house/pi/pins/+/result", "house/pi/health")
    program = changing("bridge._command = lambda name, payload: 1 / int(payload)")
    server = start_server(house(broker.url, CONTROL), program=program)
    ear.wait_for_topic("house/pi/health")
    for _ in range(50):
        ear.say("house/pi/pins/gate/set", 0)
    ear.say("house/pi/pins/gate/set", b"", retain=True)
    line = server.wait_for_log("mqtt: a message at house/pi/pins/gate/set was dropped").string
    assert "ZeroDivisionError" in line and "test" not in line
    assert len(re.findall("was dropped", server.log)) == 1
    wait_until_well(server)
    assert len(re.findall("mqtt: connected", server.log)) == 1


# ---------------------------------------------------------------- half a connection


def test_a_broker_that_freezes(brokers, start_server):
    """A broker that stops in the middle of the talk, with the connection open, is given up; when
    it goes on, it is told what happened meanwhile, and that we are there."""
    broker = brokers.broker()
    ear = brokers.ear(broker, "house/pi/#")
    server = start_server(house(broker.url), program=changing(mqtt_keep_alive_s=1))
    ear.wait_for_topic("house/pi/pins/heater")
    broker.process.send_signal(signal.SIGSTOP)
    switch(server, "lamp", 1)
    wait_for_reason(server, "has not answered for")
    switch(server, "lamp", 0)
    switch(server, "fan", 0.5)
    broker.process.send_signal(signal.SIGCONT)
    ear.wait_for(lambda each: each.topic.endswith("/late") and each.json["value"] == 0.5)
    ear.wait_for(lambda each: each.topic == "house/pi/pins/fan" and each.json["value"] == 0.5)
    wait_until_well(server)
    late = brokers.ear(broker, "house/pi/#")
    assert late.last("house/pi/status").payload == b"online"
    assert late.last("house/pi/pins/lamp").json["value"] == 0


def test_a_pi_that_freezes(brokers, start_server):
    """Of a Pi that stops with its connection open the broker says that it is offline; when it goes
    on, it is there again."""
    broker = brokers.broker()
    ear = brokers.ear(broker, "house/pi/status")
    server = start_server(house(broker.url), program=changing(mqtt_keep_alive_s=1))
    ear.wait_for(lambda each: each.payload == b"online")
    server.process.send_signal(signal.SIGSTOP)
    ear.wait_for(lambda each: each.payload == b"offline")
    server.process.send_signal(signal.SIGCONT)
    ear.wait_for(lambda each: each.payload == b"online", 2)
    switch(server, "lamp", 1)
