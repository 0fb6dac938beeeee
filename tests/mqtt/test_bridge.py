"""MQTT bridge and client against a real broker and a fake one: what they publish, which commands
they carry out, and how the server runs on when the broker fails."""

import asyncio
import contextlib
import os
import re
import resource
import signal
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from paho.mqtt.properties import VariableByteIntegers

from raspi_server.mqtt.broker_config import BrokerConfig
from raspi_server.mqtt.client import MqttClient
from tests.security.test_tls import Authority, Pair
from tests.support.http import ask
from tests.support.mqtt import Brokers, wait_for_reason, wait_until_well
from tests.support.server import LIMIT, Server, changing
from tests.support.websocket import WebSocketClient

CONFIG = """
gpio: simulated
access: {{control: everyone}}
mqtt: {{url: "{url}", topic: house/pi{more}}}
pins:
  door: {{gpio: 17, mode: input, pull: up}}
  lamp: {{gpio: 27, mode: output}}
  gate: {{gpio: 22, mode: output, pulse: 0.05}}
  fan: {{gpio: 18, mode: pwm}}
  heater: {{gpio: 23, mode: output, control: nobody}}
"""
CONTROL = ", control: true"


@pytest.fixture
def brokers(tmp_path: Path) -> Iterator[Brokers]:
    with Brokers(tmp_path) as found:
        yield found


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


def config(url: str, more: str = "") -> str:
    return CONFIG.format(url=url, more=more)


def switch(server: Server, pin: str, value: float) -> None:
    answer = ask(server, "PUT", f"/api/pins/{pin}", {"value": value})
    assert answer.status == 200, answer.body


# ---------------------------------------------------------------- published messages


def test_later_subscriber_gets_everything(brokers, start_server):
    """A client that subscribes later gets the status, all pins as in `hello`, and their states."""
    broker = brokers.broker()
    early = brokers.subscriber(broker, "house/#")
    server = start_server(config(broker.url))
    early.wait_for_topic("house/pi/status")
    subscriber = brokers.subscriber(broker, "house/#")
    description = subscriber.last("house/pi/describe")
    subscriber.wait_for_topic("house/pi/status")
    assert all(each.retained and each.qos == 1 for each in subscriber.messages)
    assert subscriber.last("house/pi/status").payload == b"online"
    with WebSocketClient(server.port) as viewer:
        hello = next(viewer.messages())
    pins = description.json["pins"]
    assert [{**pin, "writable": None} for pin in pins] == [
        {**pin, "writable": None} for pin in hello["pins"]
    ]
    assert not any(pin["writable"] for pin in pins)
    for pin in hello["pins"]:
        state = subscriber.last(f"house/pi/pins/{pin['name']}").json
        assert state == {"value": pin["value"], "time": pin["since"]}


def test_change_is_published_at_once(brokers, start_server):
    """A change is published at QoS 1, retained, with the time of its edge that viewers get."""
    broker = brokers.broker()
    subscriber = brokers.subscriber(broker, "house/pi/pins/#")
    server = start_server(config(broker.url))
    subscriber.wait_for_topic("house/pi/pins/door")
    with WebSocketClient(server.port) as viewer:
        viewer.send(type="drive", pin="door", value=1)
        change = next(each for each in viewer.messages() if each["type"] == "change")
    told = subscriber.wait_for(
        lambda each: each.topic == "house/pi/pins/door" and each.json["value"]
    )[0]
    assert told.json == {"value": 1, "time": change["time"]}
    assert (told.qos, told.retained) == (1, True)


def test_health_is_published(brokers, start_server):
    """The health of the machine is published at the start and at each interval, not retained."""
    broker = brokers.broker()
    subscriber = brokers.subscriber(broker, "house/pi/health")
    start_server(config(broker.url), program=changing(mqtt_health_interval_s=0.1))
    told = subscriber.wait_for_topic("house/pi/health", 3)
    assert {"temperature", "load", "memory", "disk", "viewers", "status"} <= told[-1].json.keys()
    assert not any(each.retained for each in told)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_offline_after_stop_and_crash(brokers, start_server, how):
    """After a clean stop and after a crash the retained status is `offline`."""
    broker = brokers.broker()
    subscriber = brokers.subscriber(broker, "house/pi/status")
    server = start_server(config(broker.url))
    subscriber.wait_for(lambda each: each.payload == b"online")
    server.stop(how)
    subscriber.wait_for(lambda each: each.payload == b"offline")
    assert (
        brokers.subscriber(broker, "house/pi/status").last("house/pi/status").payload == b"offline"
    )
    assert "ended the connection" not in server.log


def test_removed_pin_is_removed_at_the_broker(brokers, start_server, tmp_path):
    """A pin removed by a reload or a restart is removed at the broker."""
    broker = brokers.broker()
    subscriber = brokers.subscriber(broker, "house/pi/#")
    text = config(broker.url)
    server = start_server(text)
    subscriber.wait_for_topic("house/pi/pins/heater")
    file = tmp_path / "config-0.yaml"
    file.write_text(re.sub("  fan:.*\n", "", text))
    server.process.send_signal(signal.SIGHUP)
    subscriber.wait_for(lambda each: (each.topic, each.payload) == ("house/pi/pins/fan", b""))
    assert "fan" not in str(subscriber.last("house/pi/describe").json)
    file.write_text(re.sub("  (fan|gate):.*\n", "", text))
    server.restart()
    subscriber.wait_for(lambda each: (each.topic, each.payload) == ("house/pi/pins/gate", b""))
    late = brokers.subscriber(broker, "house/pi/pins/+")
    late.wait_for_topic("house/pi/pins/heater")
    assert {each.topic.rpartition("/")[2] for each in late.messages} == {"door", "lamp", "heater"}


def test_reload_changes_the_broker(brokers, start_server, tmp_path):
    """A reload connects to another broker or to none. The one before gets `offline`."""
    one, two = brokers.broker(), brokers.broker()
    subscribers = [brokers.subscriber(broker, "house/pi/status") for broker in (one, two)]
    server = start_server(config(one.url))
    subscribers[0].wait_for(lambda each: each.payload == b"online")
    file = tmp_path / "config-0.yaml"
    for text in (config(two.url), config(two.url).replace("mqtt:", "#")):
        file.write_text(text)
        server.process.send_signal(signal.SIGHUP)
        subscriber = subscribers.pop(0)
        subscriber.wait_for(lambda each: each.payload == b"offline")
        if subscribers:
            subscribers[0].wait_for(lambda each: each.payload == b"online")
    switch(server, "lamp", 1)


# ---------------------------------------------------------------- commands


def test_commands(brokers, start_server):
    """With `control: true` a client of the broker may set, toggle and pulse. Each command is
    answered after its change, and logged."""
    broker = brokers.broker()
    subscriber = brokers.subscriber(broker, "house/pi/pins/#")
    server = start_server(config(broker.url, CONTROL))
    subscriber.wait_for_topic("house/pi/pins/heater")
    orders = [("lamp", 1), ("lamp", {"type": "toggle", "ref": "a"}), ("fan", {"value": 0.5}),
              ("gate", {"type": "pulse", "seconds": 0.01})]  # fmt: skip
    for name, order in orders:
        subscriber.publish(f"house/pi/pins/{name}/set", order)
    results = subscriber.wait_for(lambda each: each.topic.endswith("/result"), 4)
    assert [each.json for each in results] == [
        {"type": "result", "ref": None, "pin": "lamp", "value": 1},
        {"type": "result", "ref": "a", "pin": "lamp", "value": 0},
        {"type": "result", "ref": None, "pin": "fan", "value": 0.5},
        {"type": "result", "ref": None, "pin": "gate", "value": 1},
    ]
    subscriber.wait_for(
        lambda each: each.topic == "house/pi/pins/gate" and each.json["value"] == 0, 2
    )
    lamp = [each for each in subscriber.messages if each.topic.startswith("house/pi/pins/lamp")]
    kinds = [each.topic.removeprefix("house/pi/pins/lamp") for each in lamp]
    assert [kind for kind in kinds if kind != "/set"] == ["", "", "/result", "", "/result"]
    server.wait_for_log(r"lamp \(GPIO27\): on, by mqtt")
    server.wait_for_log(r"gate \(GPIO22\): on, by mqtt")


def test_without_control_commands_are_ignored(brokers, start_server):
    """Without `control: true` a command at the broker does nothing."""
    broker = brokers.broker()
    subscriber = brokers.subscriber(broker, "house/pi/pins/#")
    server = start_server(config(broker.url))
    subscriber.wait_for_topic("house/pi/pins/heater")
    subscriber.publish("house/pi/pins/lamp/set", 1)
    switch(server, "fan", 1)
    subscriber.wait_for(lambda each: each.topic == "house/pi/pins/fan" and each.json["value"] == 1)
    assert ask(server, "GET", "/api/pins/lamp").json["value"] == 0
    assert not any(each.topic.endswith("/result") for each in subscriber.messages)


REFUSED = {
    "nobody": ("heater", b"1", "not-allowed", "nobody may switch heater (pins.heater.control"),
    "input": ("door", b"1", "not-writable", "door (GPIO17) is an input"),
    "range": ("lamp", b"2", "bad-value", "lamp: expected 0 or 1, got 2"),
    "unknown": ("cellar", b"1", "unknown-pin", "there is no pin 'cellar'"),
    "garbage": ("lamp", b"\xff\xfe{", "bad-message", "expected 0, 1 or an object"),
    "text": ("lamp", b'"on"', "bad-message", "expected 0, 1 or an object"),
    "true": ("lamp", b"true", "bad-message", "expected 0, 1 or an object"),
    "deep": ("lamp", b"[" * 9000, "bad-message", "expected 0, 1 or an object"),
    "another pin": ("lamp", b'{"pin":"heater","value":1}', "bad-message", "expected 0, 1 or"),
    "field": ("lamp", b'{"value":1,"for":3}', "bad-message", "expected a command such as"),
    "huge": ("lamp", b" " * 20000 + b"1", "too-large", "expected at most 16384 bytes"),
}


@pytest.fixture(scope="module")
def controlled(tmp_path_factory, start_module_server):
    """A server with `control: true`, and a subscriber at its broker."""
    with Brokers(tmp_path_factory.mktemp("controlled")) as made:
        broker = made.broker()
        subscriber = made.subscriber(broker, "house/pi/pins/+", "house/pi/pins/+/result")
        server = start_module_server(config(broker.url, CONTROL))
        subscriber.wait_for_topic("house/pi/pins/heater")
        yield server, subscriber
        server.stop()


@pytest.mark.parametrize("kind", REFUSED)
def test_rejected_command_gets_its_reason(controlled, kind):
    """Invalid and forbidden commands get the errors that `/ws` sends."""
    server, subscriber = controlled
    pin, payload, code, words = REFUSED[kind]
    before = len([each for each in subscriber.messages if each.topic.endswith("/result")])
    subscriber.publish(f"house/pi/pins/{pin}/set", payload)
    answer = subscriber.wait_for(lambda each: each.topic.endswith("/result"), before + 1)[-1]
    assert answer.topic == f"house/pi/pins/{pin}/result"
    assert answer.json["code"] == code
    assert answer.json["message"].startswith(words)
    for name in ("lamp", "heater"):
        assert ask(server, "GET", f"/api/pins/{name}").json["value"] == 0


def test_invalid_pin_name_is_not_answered(controlled):
    """No client can make the server publish under a name that no pin can have."""
    _, subscriber = controlled
    for name in ("Lamp", "-", "x" * 33, "ä", "$x"):
        subscriber.publish(f"house/pi/pins/{name}/set", 1)
    before = len(subscriber.messages)
    subscriber.publish("house/pi/pins/attic/set", 1)
    subscriber.wait_for_topic("house/pi/pins/attic/result")
    assert {each.topic for each in subscriber.messages[before:]} == {"house/pi/pins/attic/result"}


def test_retained_command_is_rejected(brokers, start_server):
    """A command that the broker retained is not carried out, neither when it is sent nor at the
    next connection."""
    broker = brokers.broker()
    subscriber = brokers.subscriber(broker, "house/pi/pins/#")
    subscriber.publish("house/pi/pins/lamp/set", 1, retain=True)
    server = start_server(config(broker.url, CONTROL))
    subscriber.wait_for_topic("house/pi/pins/heater")
    subscriber.publish("house/pi/pins/fan/set", 1, retain=True)
    refusal = subscriber.wait_for_topic("house/pi/pins/fan/result")[0]
    assert "not retained" in refusal.json["message"]
    values = {pin["name"]: pin["value"] for pin in ask(server, "GET", "/api/pins").json["pins"]}
    assert (values["lamp"], values["fan"]) == (0, 0)
    assert not any(each.topic == "house/pi/pins/lamp/result" for each in subscriber.messages)


def test_flood_of_commands(brokers, start_server):
    """Commands beyond the limit are dropped and logged once. Other commands are carried out at
    once."""
    broker = brokers.broker("max_queued_messages 0")
    subscriber = brokers.subscriber(broker, "house/pi/pins/+/result", "house/pi/pins/fan")
    server = start_server(config(broker.url, CONTROL))
    subscriber.wait_for_topic("house/pi/pins/fan")
    for _ in range(1000):
        subscriber.publish("house/pi/pins/lamp/set", b"1", qos=0)
    server.wait_for_log("more than 50 commands a second")
    switch(server, "fan", 1)
    subscriber.wait_for(lambda each: each.topic.endswith("/fan") and each.json["value"] == 1)
    assert len(re.findall("more than 50 commands", server.log)) == 1
    answered = [each for each in subscriber.messages if each.topic.endswith("/result")]
    assert 100 <= len(answered) < 1000


# ---------------------------------------------------------------- an unreachable broker


def test_changes_during_an_outage_are_published_late(brokers, start_server):
    """Changes made while the broker is unreachable are published when it is back: the present
    states first, then all changes in order under `late`, each with its own time."""
    broker = brokers.broker()
    subscriber = brokers.subscriber(broker, "house/pi/#")
    server = start_server(config(broker.url))
    subscriber.wait_for_topic("house/pi/pins/heater")
    broker.kill()
    wait_for_reason(server, f"the broker 127.0.0.1:{broker.port} refuses connections")
    changes = []
    with WebSocketClient(server.port) as viewer:
        messages = viewer.messages()
        for number in range(25):
            pin = ("lamp", "fan")[number % 2]
            viewer.send(type="toggle", pin=pin)
            change = next(each for each in messages if each["type"] == "change")
            changes.append((pin, change["value"], change["time"]))
    assert "25 changes are kept" in wait_for_reason(server, "changes are kept")[0]
    subscriber.messages.clear()
    broker.start()
    late = subscriber.wait_for(lambda each: each.topic.endswith("/late"), 25)
    told = [(each.topic.split("/")[3], each.json["value"], each.json["time"]) for each in late]
    assert told == [(pin, value, pytest.approx(time, abs=0.001)) for pin, value, time in changes]
    assert not any(each.retained for each in late)
    newest = {pin: (value, time) for pin, value, time in changes}
    for pin, (value, time) in newest.items():
        state = brokers.subscriber(broker, f"house/pi/pins/{pin}").last(f"house/pi/pins/{pin}")
        assert state.json == {"value": value, "time": pytest.approx(time, abs=0.001)}
    wait_until_well(server)


def test_oldest_kept_changes_are_dropped(brokers, start_server):
    """Beyond the limit the oldest kept changes are dropped. Their number is in the log and the
    health."""
    broker = brokers.broker()
    subscriber = brokers.subscriber(broker, "house/pi/#")
    server = start_server(config(broker.url), program=changing(mqtt_max_kept_changes=5))
    subscriber.wait_for_topic("house/pi/pins/heater")
    broker.kill()
    wait_for_reason(server, "refuses connections")
    for number in range(1, 13):
        switch(server, "fan", number / 100)
    words = "5 changes are kept for it, and 7 older ones were lost"
    assert words in wait_for_reason(server, "older ones were lost")[0]
    server.wait_for_log("more than 5 changes wait: the oldest are lost")
    broker.start()
    late = subscriber.wait_for(lambda each: each.topic.endswith("/late"), 5)
    assert [each.json["value"] for each in late] == [0.08, 0.09, 0.1, 0.11, 0.12]
    server.wait_for_log("5 kept changes follow, and 7 older ones are lost")


class FakeBroker:
    """Port that accepts connections, answers the first packet of each with `answer`, and
    acknowledges nothing. `sent` has the bytes received over each connection."""

    def __init__(self, answer: bytes, tls: ssl.SSLContext | None = None) -> None:
        self._answer = answer
        self._tls = tls
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self.sent: list[bytes] = []
        self._inside: list[socket.socket] = []
        self._more = threading.Condition()
        threading.Thread(target=self._let_in, daemon=True).start()

    def __enter__(self) -> "FakeBroker":
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for connection in self._inside:
            connection.close()

    def _let_in(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            with self._more:
                self._inside.append(connection)
                self.sent.append(b"")
            arguments = (connection, len(self.sent) - 1)
            threading.Thread(target=self._hear, args=arguments, daemon=True).start()

    def _hear(self, connection: socket.socket, number: int) -> None:
        answer = self._answer
        try:
            if self._tls:
                connection = self._tls.wrap_socket(connection, server_side=True)
            with connection:
                while data := connection.recv(65536):
                    with self._more:
                        self.sent[number] += data
                        self._more.notify_all()
                    connection.sendall(answer)
                    answer = b""
        except OSError:
            return

    def wait_for(self, number: int, data: bytes) -> None:
        """Wait until these bytes came over one of the connections."""

        def came() -> bool:
            return len(self.sent) > number and data in self.sent[number]

        with self._more:
            assert self._more.wait_for(came, LIMIT), self.sent

    def hang_up(self) -> None:
        self._inside[-1].shutdown(socket.SHUT_RDWR)

    def published(self, number: int) -> int:
        """Return how many messages came over one of the connections."""
        data, at, count = self.sent[number], 0, 0
        while at < len(data):
            count += data[at] >> 4 == 3
            size, width = VariableByteIntegers.decode(data[at + 1 :])
            at += 1 + width + size
        return count


CONNACK = b"\x20\x03\x00\x00\x00"
SILENT = {
    "never answers": (b"", "takes the connection and does not answer"),
    "speaks MQTT 3": (b"\x20\x02\x00\x01", "does not speak MQTT 5"),
    "speaks something else": (
        b"HTTP/1.1 400 Bad Request\r\n" + b"Server: x\r\n" * 20,
        "does not speak MQTT 5",
    ),
    "has no packets": (CONNACK + b"\x30\x03\x00\x09x", "does not speak MQTT 5"),
    "is dead": (CONNACK, "has not answered for"),
}


@pytest.mark.parametrize("kind", SILENT)
def test_not_a_broker(start_server, kind):
    """Whatever accepts the connection, the page is served, pins switch, the health has the reason,
    and a stop is quick."""
    answer, words = SILENT[kind]
    program = changing(mqtt_connect_timeout_s=0.5, mqtt_keep_alive_s=1)
    with FakeBroker(answer) as broker:
        server = start_server(config(f"mqtt://127.0.0.1:{broker.port}"), program=program)
        with WebSocketClient(server.port) as viewer:
            messages = viewer.messages()
            assert next(messages)["type"] == "hello"
            viewer.send(type="set", pin="lamp", value=1, ref=1)
            assert next(each for each in messages if each["type"] == "result")["value"] == 1
        wait_for_reason(server, words)
        assert server.stop() == 0


@pytest.mark.parametrize("scheme", ["mqtt", "mqtts"])
def test_broker_that_never_answers(start_server, scheme):
    """A port that accepts no connection, or is silent during the TLS handshake, is reported, and a
    stop does not wait for it."""
    with FakeBroker(b"") as silent, socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        port = silent.port if scheme == "mqtts" else full.getsockname()[1]
        with socket.create_connection(full.getsockname()):  # its whole backlog
            text = config(f"{scheme}://127.0.0.1:{port}")
            server = start_server(text, program=changing(mqtt_connect_timeout_s=0.3))
            wait_for_reason(server, f"the broker 127.0.0.1:{port} does not answer")
            assert server.stop() == 0


def test_broker_with_limits(start_server):
    """A broker without retained messages, QoS 1 and large packets gets what it can take, and the
    health says what is missing."""
    # Maximum QoS 0, Retain Available 0, Maximum Packet Size 500
    connack = b"\x20\x0c\x00\x00\x09\x24\x00\x25\x00\x27\x00\x00\x01\xf4"
    with FakeBroker(connack) as broker:
        server = start_server(config(f"mqtt://127.0.0.1:{broker.port}"))
        assert "retains no messages: later subscribers" in wait_for_reason(server, "retains")[0]
        server.wait_for_log(r"takes no message of \d+ bytes \(house/pi/describe\)")
        for _ in range(150):
            switch(server, "lamp", 1)
            switch(server, "lamp", 0)
        switch(server, "fan", 0.125)
        broker.wait_for(0, b'{"value":0.125,')
        assert broker.published(0) > 300
        assert b"\x00house/pi/describe" not in broker.sent[0]
        assert server.stop() == 0


def test_receive_maximum_is_kept(start_server):
    """A broker that acknowledges nothing gets as many messages as its Receive Maximum. A stop does
    not wait for the others."""
    connack = b"\x20\x06\x00\x00\x03\x21\x00\x02"  # Receive Maximum 2
    with FakeBroker(connack) as broker:
        server = start_server(config(f"mqtt://127.0.0.1:{broker.port}"))
        server.wait_for_log("mqtt: connected to")
        for number in range(20):
            switch(server, "fan", number / 100)
        wait_until_well(server)
        assert broker.published(0) == 2
        assert server.stop() == 0


def test_unacknowledged_change_is_published_again(start_server):
    """A change without acknowledgement is published again on the next connection, as late."""
    with FakeBroker(CONNACK) as broker:
        server = start_server(config(f"mqtt://127.0.0.1:{broker.port}"))
        broker.wait_for(0, b"house/pi/health")
        switch(server, "lamp", 1)
        broker.wait_for(0, b'{"value":1,')
        broker.hang_up()
        broker.wait_for(1, b"house/pi/pins/lamp/late")
        assert broker.sent[1].count(b"/late") == 1


def test_unknown_host(start_server):
    """A host name that cannot be resolved is reported."""
    server = start_server(config("mqtt://nobody.invalid"))
    wait_for_reason(server, "no host is called nobody.invalid")


def test_two_pis_with_one_topic(brokers, start_server):
    """Two Pis with the same topic disconnect each other. The log says how to mend it."""
    broker = brokers.broker()
    one, two = start_server(config(broker.url)), start_server(config(broker.url))
    del two
    one.wait_for_log("our client id.*each Pi needs a host name or mqtt.topic of its own")


# ---------------------------------------------------------------- login


@pytest.fixture
def guarded(brokers, tmp_path):
    """A broker with passwords and an ACL, and a file with the right password."""
    folder = brokers.folder
    folder.mkdir()
    (folder / "acl").write_text("user kitchen\ntopic readwrite house/#\nuser guest\ntopic read #\n")
    (folder / "passwords").touch(0o600)
    for user in ("kitchen", "guest"):
        command = ["mosquitto_passwd", "-b", folder / "passwords", user, "secret"]
        assert subprocess.run(command, timeout=LIMIT).returncode == 0
    (tmp_path / "right").write_text("secret\n")
    (tmp_path / "wrong").write_text("guess\n")
    return brokers.broker(f"password_file {folder}/passwords", f"acl_file {folder}/acl")


def test_password(brokers, guarded, start_server):
    """With the right password in its file the broker accepts the login. The password is in no log
    and no message."""
    subscriber = brokers.subscriber(guarded, "#", username="guest", password="secret")
    more = ", user: kitchen, password_file: right"
    server = start_server(config(guarded.url, more))
    subscriber.wait_for_topic("house/pi/status")
    wait_until_well(server)
    assert "secret" not in server.log
    assert not any(b"secret" in each.payload for each in subscriber.messages)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (", user: kitchen, password_file: wrong", "refuses us as kitchen: a wrong name or"),
        ("", "refuses us without a name (mqtt.user): a wrong name or password, or not"),
    ],
)
def test_wrong_password(guarded, start_server, more, words):
    """A rejected login is reported with its reason."""
    server = start_server(config(guarded.url, more))
    wait_for_reason(server, words)
    switch(server, "lamp", 1)
    assert "guess" not in server.log


def test_acl_that_forbids_publishing(guarded, start_server):
    """A topic that the ACL forbids is reported, although the broker accepts the login."""
    server = start_server(config(guarded.url, ", user: guest, password_file: right"))
    reasons = wait_for_reason(server, "does not let us publish house/pi/")
    assert "as guest: its ACL is in the way" in reasons[0]


@pytest.fixture
def secure(brokers, authority):
    """A function that starts a broker with a certificate for localhost."""

    def start(pair, *lines):
        broker = brokers.broker(
            f"certfile {pair.certificate}", f"keyfile {pair.key}",
            f"cafile {authority.folder}/ca.crt", *lines,
        )  # fmt: skip
        return broker, f"mqtts://localhost:{broker.port}"

    return start


DAY = timedelta(days=1)


def sign_for(authority, name):
    """Sign a certificate with a common name only: valid for a client, and for no host."""
    authority.openssl(
        f"req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN={name}"
        f" -keyout {name}.key -out {name}.csr"
    )
    authority.openssl(
        f"x509 -req -in {name}.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -out {name}.crt"
    )


def test_tls(brokers, secure, authority, start_server):
    """With the broker's authority in `ca` and a client certificate the connection is encrypted."""
    pair = authority.issue("broker", -DAY, DAY)
    _, url = secure(pair, "require_certificate true")
    sign_for(authority, "kitchen")
    ours = f", certificate: {authority.folder}/kitchen.crt, key: {authority.folder}/kitchen.key"
    server = start_server(config(url, f", ca: {authority.folder}/ca.crt{ours}"))
    server.wait_for_log("mqtt: connected to localhost")
    wait_until_well(server)


@pytest.mark.parametrize("kind", ["authority", "expired", "name", "client", "plain"])
def test_tls_errors(kind, secure, brokers, authority, start_server):
    """An invalid or missing certificate is reported with the reason."""
    pair = authority.issue(f"broker-{kind}", -DAY, -DAY / 2 if kind == "expired" else DAY)
    if kind == "name":
        sign_for(authority, "stranger")
        pair = Pair(authority.folder / "stranger.crt", authority.folder / "stranger.key")
    lines = ["require_certificate true"] if kind == "client" else []
    broker, url = secure(pair, *lines)
    ca = "" if kind == "authority" else f", ca: {authority.folder}/ca.crt"
    if kind == "plain":
        url = brokers.broker().url.replace("mqtt:", "mqtts:")
    server = start_server(config(url, ca))
    words = {
        "authority": "expected its certificate to be from an authority that mqtt.ca names",
        "expired": "its certificate was rejected: certificate has expired",
        "name": "its certificate was rejected: Hostname mismatch",
        "client": "wants a client certificate (mqtt.certificate)",
        "plain": "ended the connection at once: is that port one for mqtt:// or for mqtts://?",
    }
    wait_for_reason(server, words[kind])
    assert "Traceback" not in server.log


def test_packets_in_one_tls_record(authority, start_server):
    """Of several packets in one TLS record none waits for the next record."""
    pair = authority.issue("fake", -DAY, DAY)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pair.certificate, pair.key)
    topics = [f"house/pi/pins/{pin}/set".encode() for pin in ("lamp", "gate", "fan")]
    orders = [b"\x30" + bytes([len(each) + 4, 0, len(each)]) + each + b"\0001" for each in topics]
    with FakeBroker(CONNACK + b"".join(orders), context) as broker:
        ca = f", ca: {authority.folder}/ca.crt"
        server = start_server(config(f"mqtts://localhost:{broker.port}", CONTROL + ca))
        server.wait_for_log(r"fan \(GPIO18\): on, by mqtt")


FILES = {
    "password": (
        ", user: a, password_file: none",
        "none: mqtt.password_file: expected a file that",
    ),
    "ca": (", ca: none", "none: mqtt.ca: expected a file that can be read: No such file"),
    "no ca": (", ca: text", "text: mqtt.ca: expected certificates in PEM format"),
    "client": (", certificate: text, key: text", "text: mqtt.certificate: expected a certificate"),
}


@pytest.mark.parametrize("kind", FILES)
def test_missing_and_invalid_files(kind, tmp_path):
    """A missing or invalid file is an error of the configuration, with its key, for `check` and
    `run`."""
    more, words = FILES[kind]
    (tmp_path / "text").write_text("nothing of use\n")
    file = tmp_path / "config.yaml"
    file.write_text(config("mqtts://localhost", more))
    for command in (["check", str(file)], ["run", "--config", str(file), "--port", "0"]):
        done = subprocess.run(
            [sys.executable, "-m", "raspi_server", *command],
            capture_output=True, text=True, timeout=LIMIT,
        )  # fmt: skip
        assert done.returncode == 78
        assert f"{tmp_path}/{words}" in done.stderr
        assert "Traceback" not in done.stderr


def test_last_good_configuration_without_password_file(start_server, tmp_path):
    """Without its password file the server starts with the last good configuration, on the same
    port, and reports it."""
    (tmp_path / "state").mkdir()
    environment = {**os.environ, "STATE_DIRECTORY": str(tmp_path / "state")}
    server = start_server("gpio: simulated\naccess: {control: everyone}\n", env=environment)
    text = config("mqtt://127.0.0.1:9", ", user: me, password_file: none")
    (tmp_path / "config-0.yaml").write_text(text)
    server.restart()
    assert "none: mqtt.password_file: expected a file" in wait_for_reason(server, "last good")[0]


# ---------------------------------------------------------------- without a broker


SHOW_IMPORTS = """
import sys
from raspi_server.cli.main import main
status = main()
paid = ("raspi_server.mqtt.bridge", "raspi_server.mqtt.broker_config",
        "raspi_server.mqtt.client", "paho.mqtt.client",
        "raspi_server.mqtt.discovery", "raspi_server.web.metrics", "prometheus_client")
print("imported:", *(name for name in paid if name in sys.modules), file=sys.stderr)
sys.exit(status)
"""


def test_no_import_without_broker(brokers, start_server):
    """Without `mqtt` and `metrics` nothing of them is imported. With `mqtt` the bridge is."""
    broker = brokers.broker()
    for text in ("gpio: simulated\n", config(broker.url)):
        server = start_server(text, program=("-c", SHOW_IMPORTS))
        assert ask(server, "GET", "/api/pins").status == 200
        assert server.stop() == 0
        imported = server.wait_for_log("imported:(.*)")[1]
        for room in ("raspi_server.mqtt.bridge", "paho"):
            assert (room in imported) == ("mqtt" in text)
        assert "prometheus" not in imported and "metrics" not in imported


def test_check_imports_no_client(tmp_path):
    """`check` reads the broker's files without importing the client."""
    file = tmp_path / "config.yaml"
    file.write_text(config("mqtt://localhost"))
    command = [sys.executable, "-c", SHOW_IMPORTS, "check", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT)
    assert done.returncode == 0
    assert done.stderr.split() == ["imported:", "raspi_server.mqtt.broker_config"]


# ---------------------------------------------------------------- the client alone


async def error_of_one_connection(port: int) -> tuple[str | None, list[str]]:
    """Return the client's error after one connection to a broker, and the exceptions that the loop
    logged."""
    faults: list[str] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: faults.append(str(context)))
    client = MqttClient(BrokerConfig("127.0.0.1", port), "client")
    client.start()
    async with asyncio.timeout(LIMIT):
        while not client.error:
            await asyncio.sleep(0.001)
    error = client.error
    await client.close(None, 1)
    return error, faults


heads = st.sampled_from(b"\x20\x30\x32\x34\x40\x50\x62\x70\x90\xb0\xc0\xd0\xe0\xf0\x10")
bodies = (
    st.binary(max_size=60)
    | st.binary(max_size=60).map(lambda body: b"\0\2" + body)
    | st.binary(min_size=2, max_size=2).map(lambda topic: b"\0\2" + topic + b"\0")
)


@given(
    st.booleans(),
    st.binary(max_size=200)
    | st.builds(lambda head, body: bytes([head, len(body)]) + body, heads, bodies),
)
@settings(deadline=None)
def test_arbitrary_bytes(greets, data):
    """Any bytes from a broker lead to an error in words, and to no exception in the loop."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(CONNACK * greets + data)
        writer.close()

    async def run() -> tuple[str | None, list[str]]:
        server = await asyncio.start_server(answer, "127.0.0.1")
        async with server:
            return await error_of_one_connection(server.sockets[0].getsockname()[1])

    error, faults = asyncio.run(run())
    assert error and error.startswith("the broker 127.0.0.1")
    assert not faults


def test_more_than_1024_open_files(brokers):
    """The client connects when more than 1,024 files are open: it does not use select(2)."""
    port = brokers.broker().port
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(before[1], 4096), before[1]))
    with contextlib.ExitStack() as open_files:
        open_files.callback(resource.setrlimit, resource.RLIMIT_NOFILE, before)
        while open_files.enter_context(open(os.devnull)).fileno() < 1100:
            pass
        client = MqttClient(BrokerConfig("127.0.0.1", port), "client")
        assert asyncio.run(client.check()) is None
