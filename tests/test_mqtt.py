"""The talk with an MQTT broker: what is said, kept and obeyed there, and what becomes of the server
when the broker does not do its part."""

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

from .asking import ask
from .conftest import LIMIT, Server
from .mqtt_rig import Brokers, wait_for_reason, wait_until_well
from .test_tls import Authority, Pair
from .wire import Client, changing

HOUSE = """
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


def house(url: str, more: str = "") -> str:
    return HOUSE.format(url=url, more=more)


def switch(server: Server, pin: str, value: float) -> None:
    answer = ask(server, "PUT", f"/api/pins/{pin}", {"value": value})
    assert answer.status == 200, answer.body


# ---------------------------------------------------------------- what is said


def test_a_latecomer_is_told_everything(brokers, start_server):
    """Whoever subscribes later finds who is there, all pins as in `hello`, and their states."""
    broker = brokers.broker()
    early = brokers.ear(broker, "house/#")
    server = start_server(house(broker.url))
    early.wait_for_topic("house/pi/status")
    ear = brokers.ear(broker, "house/#")
    description = ear.last("house/pi/describe")
    ear.wait_for_topic("house/pi/status")
    assert all(each.retained and each.qos == 1 for each in ear.heard)
    assert ear.last("house/pi/status").payload == b"online"
    with Client(server.port) as viewer:
        hello = next(viewer.messages())
    pins = description.json["pins"]
    assert [{**pin, "writable": None} for pin in pins] == [
        {**pin, "writable": None} for pin in hello["pins"]
    ]
    assert not any(pin["writable"] for pin in pins)
    for pin in hello["pins"]:
        state = ear.last(f"house/pi/pins/{pin['name']}").json
        assert state == {"value": pin["value"], "time": pin["since"]}


def test_a_change_is_told_at_once_with_the_time_of_its_edge(brokers, start_server):
    """A change reaches the broker at quality 1, retained, with the time that viewers are told."""
    broker = brokers.broker()
    ear = brokers.ear(broker, "house/pi/pins/#")
    server = start_server(house(broker.url))
    ear.wait_for_topic("house/pi/pins/door")
    with Client(server.port) as viewer:
        viewer.send(type="drive", pin="door", value=1)
        change = next(each for each in viewer.messages() if each["type"] == "change")
    told = ear.wait_for(lambda each: each.topic == "house/pi/pins/door" and each.json["value"])[0]
    assert told.json == {"value": 1, "time": change["time"]}
    assert (told.qos, told.retained) == (1, True)


def test_health_is_told(brokers, start_server):
    """The machine's pulse comes at the start and every half minute, and says what is wrong."""
    broker = brokers.broker()
    ear = brokers.ear(broker, "house/pi/health")
    start_server(house(broker.url), program=changing(mqtt_health_interval_s=0.1))
    told = ear.wait_for_topic("house/pi/health", 3)
    assert {"temperature", "load", "memory", "disk", "viewers", "status"} <= told[-1].json.keys()
    assert not any(each.retained for each in told)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_an_end_is_told(brokers, start_server, how):
    """After a clean stop, and after a crash, everybody knows that the Pi is offline."""
    broker = brokers.broker()
    ear = brokers.ear(broker, "house/pi/status")
    server = start_server(house(broker.url))
    ear.wait_for(lambda each: each.payload == b"online")
    server.stop(how)
    ear.wait_for(lambda each: each.payload == b"offline")
    assert brokers.ear(broker, "house/pi/status").last("house/pi/status").payload == b"offline"
    assert "ended the connection" not in server.log


def test_what_is_taken_out_of_the_configuration_is_taken_back(brokers, start_server, tmp_path):
    """A pin that is gone after a reload, or after a restart, is gone at the broker, too."""
    broker = brokers.broker()
    ear = brokers.ear(broker, "house/pi/#")
    text = house(broker.url)
    server = start_server(text)
    ear.wait_for_topic("house/pi/pins/heater")
    file = tmp_path / "config-0.yaml"
    file.write_text(re.sub("  fan:.*\n", "", text))
    server.process.send_signal(signal.SIGHUP)
    ear.wait_for(lambda each: (each.topic, each.payload) == ("house/pi/pins/fan", b""))
    assert "fan" not in str(ear.last("house/pi/describe").json)
    file.write_text(re.sub("  (fan|gate):.*\n", "", text))
    server.restart()
    ear.wait_for(lambda each: (each.topic, each.payload) == ("house/pi/pins/gate", b""))
    late = brokers.ear(broker, "house/pi/pins/+")
    late.wait_for_topic("house/pi/pins/heater")
    assert {each.topic.rpartition("/")[2] for each in late.heard} == {"door", "lamp", "heater"}


def test_another_broker_after_a_reload(brokers, start_server, tmp_path):
    """A reload changes the broker, and takes it away: the one before hears that we left."""
    one, two = brokers.broker(), brokers.broker()
    ears = [brokers.ear(broker, "house/pi/status") for broker in (one, two)]
    server = start_server(house(one.url))
    ears[0].wait_for(lambda each: each.payload == b"online")
    file = tmp_path / "config-0.yaml"
    for text in (house(two.url), house(two.url).replace("mqtt:", "#")):
        file.write_text(text)
        server.process.send_signal(signal.SIGHUP)
        ear = ears.pop(0)
        ear.wait_for(lambda each: each.payload == b"offline")
        if ears:
            ears[0].wait_for(lambda each: each.payload == b"online")
    switch(server, "lamp", 1)


# ---------------------------------------------------------------- what is obeyed


def test_commands(brokers, start_server):
    """With `control: true` whoever may publish may set, toggle and pulse; each is answered, after
    its change, and stands in the journal."""
    broker = brokers.broker()
    ear = brokers.ear(broker, "house/pi/pins/#")
    server = start_server(house(broker.url, CONTROL))
    ear.wait_for_topic("house/pi/pins/heater")
    orders = [("lamp", 1), ("lamp", {"type": "toggle", "ref": "a"}), ("fan", {"value": 0.5}),
              ("gate", {"type": "pulse", "seconds": 0.01})]  # fmt: skip
    for name, order in orders:
        ear.say(f"house/pi/pins/{name}/set", order)
    results = ear.wait_for(lambda each: each.topic.endswith("/result"), 4)
    assert [each.json for each in results] == [
        {"type": "result", "ref": None, "pin": "lamp", "value": 1},
        {"type": "result", "ref": "a", "pin": "lamp", "value": 0},
        {"type": "result", "ref": None, "pin": "fan", "value": 0.5},
        {"type": "result", "ref": None, "pin": "gate", "value": 1},
    ]
    ear.wait_for(lambda each: each.topic == "house/pi/pins/gate" and each.json["value"] == 0, 2)
    lamp = [each for each in ear.heard if each.topic.startswith("house/pi/pins/lamp")]
    kinds = [each.topic.removeprefix("house/pi/pins/lamp") for each in lamp]
    assert [kind for kind in kinds if kind != "/set"] == ["", "", "/result", "", "/result"]
    server.wait_for_log(r"lamp \(GPIO27\): on, by mqtt")
    server.wait_for_log(r"gate \(GPIO22\): on, by mqtt")


def test_without_control_nothing_is_obeyed(brokers, start_server):
    """Without `control: true` a command at the broker does nothing at all."""
    broker = brokers.broker()
    ear = brokers.ear(broker, "house/pi/pins/#")
    server = start_server(house(broker.url))
    ear.wait_for_topic("house/pi/pins/heater")
    ear.say("house/pi/pins/lamp/set", 1)
    switch(server, "fan", 1)
    ear.wait_for(lambda each: each.topic == "house/pi/pins/fan" and each.json["value"] == 1)
    assert ask(server, "GET", "/api/pins/lamp").json["value"] == 0
    assert not any(each.topic.endswith("/result") for each in ear.heard)


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
def obedient(tmp_path_factory, start_module_server):
    """A house that obeys, its broker, and an ear there."""
    with Brokers(tmp_path_factory.mktemp("obedient")) as made:
        broker = made.broker()
        ear = made.ear(broker, "house/pi/pins/+", "house/pi/pins/+/result")
        server = start_module_server(house(broker.url, CONTROL))
        ear.wait_for_topic("house/pi/pins/heater")
        yield server, ear
        server.stop()


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_refused_is_answered_with_its_reason(obedient, kind):
    """Garbage, nonsense and what nobody may do is refused, with the words that /ws would say."""
    server, ear = obedient
    pin, payload, code, words = REFUSED[kind]
    before = len([each for each in ear.heard if each.topic.endswith("/result")])
    ear.say(f"house/pi/pins/{pin}/set", payload)
    answer = ear.wait_for(lambda each: each.topic.endswith("/result"), before + 1)[-1]
    assert answer.topic == f"house/pi/pins/{pin}/result"
    assert answer.json["code"] == code
    assert answer.json["message"].startswith(words)
    for name in ("lamp", "heater"):
        assert ask(server, "GET", f"/api/pins/{name}").json["value"] == 0


def test_a_name_that_no_pin_can_have_is_not_answered(obedient):
    """Nobody makes us publish under names of their choice."""
    _, ear = obedient
    for name in ("Lamp", "-", "x" * 33, "ä", "$x"):
        ear.say(f"house/pi/pins/{name}/set", 1)
    before = len(ear.heard)
    ear.say("house/pi/pins/attic/set", 1)
    ear.wait_for_topic("house/pi/pins/attic/result")
    assert {each.topic for each in ear.heard[before:]} == {"house/pi/pins/attic/result"}


def test_a_retained_command_is_a_trap_that_does_not_spring(brokers, start_server):
    """A command that the broker kept is not carried out, at the connection nor when it is sent."""
    broker = brokers.broker()
    ear = brokers.ear(broker, "house/pi/pins/#")
    ear.say("house/pi/pins/lamp/set", 1, retain=True)
    server = start_server(house(broker.url, CONTROL))
    ear.wait_for_topic("house/pi/pins/heater")
    ear.say("house/pi/pins/fan/set", 1, retain=True)
    refusal = ear.wait_for_topic("house/pi/pins/fan/result")[0]
    assert "not retained" in refusal.json["message"]
    values = {pin["name"]: pin["value"] for pin in ask(server, "GET", "/api/pins").json["pins"]}
    assert (values["lamp"], values["fan"]) == (0, 0)
    assert not any(each.topic == "house/pi/pins/lamp/result" for each in ear.heard)


def test_a_flood_of_commands(brokers, start_server):
    """A publisher who does not stop is heard as much as a browser would be, and costs the others
    nothing: what is beyond is dropped, and said once."""
    broker = brokers.broker("max_queued_messages 0")
    ear = brokers.ear(broker, "house/pi/pins/+/result", "house/pi/pins/fan")
    server = start_server(house(broker.url, CONTROL))
    ear.wait_for_topic("house/pi/pins/fan")
    for _ in range(1000):
        ear.say("house/pi/pins/lamp/set", b"1", qos=0)
    server.wait_for_log("more than 50 commands a second")
    switch(server, "fan", 1)
    ear.wait_for(lambda each: each.topic.endswith("/fan") and each.json["value"] == 1)
    assert len(re.findall("more than 50 commands", server.log)) == 1
    answered = [each for each in ear.heard if each.topic.endswith("/result")]
    assert 100 <= len(answered) < 1000


# ---------------------------------------------------------------- a broker that is away


def test_what_happened_meanwhile_is_told_later(brokers, start_server):
    """While the broker is away nothing is lost: afterwards each pin's topic says the present, and
    the changes in between come in order, marked as late, each with its own time."""
    broker = brokers.broker()
    ear = brokers.ear(broker, "house/pi/#")
    server = start_server(house(broker.url))
    ear.wait_for_topic("house/pi/pins/heater")
    broker.kill()
    wait_for_reason(server, f"the broker 127.0.0.1:{broker.port} refuses connections")
    changes = []
    with Client(server.port) as viewer:
        messages = viewer.messages()
        for number in range(25):
            pin = ("lamp", "fan")[number % 2]
            viewer.send(type="toggle", pin=pin)
            change = next(each for each in messages if each["type"] == "change")
            changes.append((pin, change["value"], change["time"]))
    assert "25 changes are kept" in wait_for_reason(server, "changes are kept")[0]
    ear.heard.clear()
    broker.start()
    late = ear.wait_for(lambda each: each.topic.endswith("/late"), 25)
    told = [(each.topic.split("/")[3], each.json["value"], each.json["time"]) for each in late]
    assert told == [(pin, value, pytest.approx(time, abs=0.001)) for pin, value, time in changes]
    assert not any(each.retained for each in late)
    newest = {pin: (value, time) for pin, value, time in changes}
    for pin, (value, time) in newest.items():
        state = brokers.ear(broker, f"house/pi/pins/{pin}").last(f"house/pi/pins/{pin}")
        assert state.json == {"value": value, "time": pytest.approx(time, abs=0.001)}
    wait_until_well(server)


def test_the_oldest_go_when_there_are_too_many(brokers, start_server):
    """Of more changes than can be kept the newest stay, and the loss is counted and said."""
    broker = brokers.broker()
    ear = brokers.ear(broker, "house/pi/#")
    server = start_server(house(broker.url), program=changing(mqtt_max_kept_changes=5))
    ear.wait_for_topic("house/pi/pins/heater")
    broker.kill()
    wait_for_reason(server, "refuses connections")
    for number in range(1, 13):
        switch(server, "fan", number / 100)
    words = "5 changes are kept for it, and 7 older ones were lost"
    assert words in wait_for_reason(server, "older ones were lost")[0]
    server.wait_for_log("more than 5 changes wait: the oldest are lost")
    broker.start()
    late = ear.wait_for(lambda each: each.topic.endswith("/late"), 5)
    assert [each.json["value"] for each in late] == [0.08, 0.09, 0.1, 0.11, 0.12]
    server.wait_for_log("5 kept changes follow, and 7 older ones are lost")


class FakeBroker:
    """A port where somebody takes connections, answers the first packet of each with `answer`, and
    acknowledges nothing. `sent` is what came over each connection."""

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
        """Until these bytes came over one of the connections."""

        def came() -> bool:
            return len(self.sent) > number and data in self.sent[number]

        with self._more:
            assert self._more.wait_for(came, LIMIT), self.sent

    def hang_up(self) -> None:
        self._inside[-1].shutdown(socket.SHUT_RDWR)

    def published(self, number: int) -> int:
        """How many messages came over one of the connections."""
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
def test_a_broker_that_is_none(start_server, kind):
    """Whatever takes our connection, the page is served, pins switch, the reason is said, and a
    stop is as quick as without."""
    answer, words = SILENT[kind]
    program = changing(mqtt_connect_timeout_s=0.5, mqtt_keep_alive_s=1)
    with FakeBroker(answer) as broker:
        server = start_server(house(f"mqtt://127.0.0.1:{broker.port}"), program=program)
        with Client(server.port) as viewer:
            messages = viewer.messages()
            assert next(messages)["type"] == "hello"
            viewer.send(type="set", pin="lamp", value=1, ref=1)
            assert next(each for each in messages if each["type"] == "result")["value"] == 1
        wait_for_reason(server, words)
        assert server.stop() == 0


@pytest.mark.parametrize("scheme", ["mqtt", "mqtts"])
def test_a_broker_that_says_nothing_at_all(start_server, scheme):
    """A port that lets nobody in, or stays silent while we begin with TLS, is said not to answer,
    and a stop does not wait for it."""
    with FakeBroker(b"") as silent, socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        port = silent.port if scheme == "mqtts" else full.getsockname()[1]
        with socket.create_connection(full.getsockname()):  # all that it has room for
            text = house(f"{scheme}://127.0.0.1:{port}")
            server = start_server(text, program=changing(mqtt_connect_timeout_s=0.3))
            wait_for_reason(server, f"the broker 127.0.0.1:{port} does not answer")
            assert server.stop() == 0


def test_a_broker_with_limits(start_server):
    """A broker that keeps nothing, acknowledges nothing and takes nothing large gets what it can
    take, and it is said what is missing."""
    # Maximum QoS 0, Retain Available 0, Maximum Packet Size 500
    connack = b"\x20\x0c\x00\x00\x09\x24\x00\x25\x00\x27\x00\x00\x01\xf4"
    with FakeBroker(connack) as broker:
        server = start_server(house(f"mqtt://127.0.0.1:{broker.port}"))
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


def test_a_slow_broker_gets_no_more_than_it_takes(start_server):
    """A broker that acknowledges nothing gets as many messages as it said it takes at once; the
    others wait here, and a stop does not wait for them."""
    connack = b"\x20\x06\x00\x00\x03\x21\x00\x02"  # Receive Maximum 2
    with FakeBroker(connack) as broker:
        server = start_server(house(f"mqtt://127.0.0.1:{broker.port}"))
        server.wait_for_log("mqtt: connected to")
        for number in range(20):
            switch(server, "fan", number / 100)
        wait_until_well(server)
        assert broker.published(0) == 2
        assert server.stop() == 0


def test_what_was_not_acknowledged_is_told_again(start_server):
    """A change that was sent when the connection broke, and may have arrived or not, is told again
    on the next one, marked as late."""
    with FakeBroker(CONNACK) as broker:
        server = start_server(house(f"mqtt://127.0.0.1:{broker.port}"))
        broker.wait_for(0, b"house/pi/health")
        switch(server, "lamp", 1)
        broker.wait_for(0, b'{"value":1,')
        broker.hang_up()
        broker.wait_for(1, b"house/pi/pins/lamp/late")
        assert broker.sent[1].count(b"/late") == 1


def test_no_such_host(start_server):
    """A name that nobody knows is said as such."""
    server = start_server(house("mqtt://nobody.invalid"))
    wait_for_reason(server, "no host is called nobody.invalid")


def test_two_with_one_name(brokers, start_server):
    """Two Pis with the same topic throw each other out, and are told what to do about it."""
    broker = brokers.broker()
    one, two = start_server(house(broker.url)), start_server(house(broker.url))
    del two
    one.wait_for_log("our client id.*each Pi needs a host name or mqtt.topic of its own")


# ---------------------------------------------------------------- who we are


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


def test_a_password(brokers, guarded, start_server):
    """With the right password from its file we are let in; it stands in no log and no message."""
    ear = brokers.ear(guarded, "#", username="guest", password="secret")
    more = ", user: kitchen, password_file: right"
    server = start_server(house(guarded.url, more))
    ear.wait_for_topic("house/pi/status")
    wait_until_well(server)
    assert "secret" not in server.log
    assert not any(b"secret" in each.payload for each in ear.heard)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (", user: kitchen, password_file: wrong", "refuses us as kitchen: a wrong name or"),
        ("", "refuses us without a name (mqtt.user): a wrong name or password, or not"),
    ],
)
def test_a_wrong_password(guarded, start_server, more, words):
    """A broker that does not let us in is named with the reason."""
    server = start_server(house(guarded.url, more))
    wait_for_reason(server, words)
    switch(server, "lamp", 1)
    assert "guess" not in server.log


def test_an_acl_that_forbids(guarded, start_server):
    """Who may not publish is told so, with the topic, though it is let in."""
    server = start_server(house(guarded.url, ", user: guest, password_file: right"))
    reasons = wait_for_reason(server, "does not let us publish house/pi/")
    assert "as guest: its ACL is in the way" in reasons[0]


@pytest.fixture
def secure(brokers, authority):
    """A broker with a certificate for localhost that wants one of us, too."""

    def start(pair, *lines):
        broker = brokers.broker(
            f"certfile {pair.certificate}", f"keyfile {pair.key}",
            f"cafile {authority.folder}/ca.crt", *lines,
        )  # fmt: skip
        return broker, f"mqtts://localhost:{broker.port}"

    return start


DAY = timedelta(days=1)


def sign_for(authority, name):
    """A certificate with nothing but a common name: good for a client, and for no host."""
    authority.openssl(
        f"req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN={name}"
        f" -keyout {name}.key -out {name}.csr"
    )
    authority.openssl(
        f"x509 -req -in {name}.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -out {name}.crt"
    )


def test_tls(brokers, secure, authority, start_server):
    """With the broker's authority in `ca` and our own certificate the talk is encrypted."""
    pair = authority.issue("broker", -DAY, DAY)
    _, url = secure(pair, "require_certificate true")
    sign_for(authority, "kitchen")
    ours = f", certificate: {authority.folder}/kitchen.crt, key: {authority.folder}/kitchen.key"
    server = start_server(house(url, f", ca: {authority.folder}/ca.crt{ours}"))
    server.wait_for_log("mqtt: connected to localhost")
    wait_until_well(server)


@pytest.mark.parametrize("kind", ["authority", "expired", "name", "client", "plain"])
def test_tls_that_fails(kind, secure, brokers, authority, start_server):
    """A certificate that is not right, or missing, is named with what is wrong about it."""
    pair = authority.issue(f"broker-{kind}", -DAY, -DAY / 2 if kind == "expired" else DAY)
    if kind == "name":
        sign_for(authority, "stranger")
        pair = Pair(authority.folder / "stranger.crt", authority.folder / "stranger.key")
    lines = ["require_certificate true"] if kind == "client" else []
    broker, url = secure(pair, *lines)
    ca = "" if kind == "authority" else f", ca: {authority.folder}/ca.crt"
    if kind == "plain":
        url = brokers.broker().url.replace("mqtt:", "mqtts:")
    server = start_server(house(url, ca))
    words = {
        "authority": "expected its certificate to be from an authority that mqtt.ca names",
        "expired": "its certificate was rejected: certificate has expired",
        "name": "its certificate was rejected: Hostname mismatch",
        "client": "wants a client certificate (mqtt.certificate)",
        "plain": "ended the connection at once: is that port one for mqtt:// or for mqtts://?",
    }
    wait_for_reason(server, words[kind])
    assert "Traceback" not in server.log


def test_what_is_encrypted_together_is_heard_together(authority, start_server):
    """Of several packets in one piece of TLS none waits for the next piece."""
    pair = authority.issue("fake", -DAY, DAY)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pair.certificate, pair.key)
    topics = [f"house/pi/pins/{pin}/set".encode() for pin in ("lamp", "gate", "fan")]
    orders = [b"\x30" + bytes([len(each) + 4, 0, len(each)]) + each + b"\0001" for each in topics]
    with FakeBroker(CONNACK + b"".join(orders), context) as broker:
        ca = f", ca: {authority.folder}/ca.crt"
        server = start_server(house(f"mqtts://localhost:{broker.port}", CONTROL + ca))
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
def test_files_that_are_missing_or_wrong(kind, tmp_path):
    """A missing or wrong file of the broker's is a fault of the configuration, named with its key,
    for `check` and for the start."""
    more, words = FILES[kind]
    (tmp_path / "text").write_text("nothing of use\n")
    file = tmp_path / "config.yaml"
    file.write_text(house("mqtts://localhost", more))
    for command in (["check", str(file)], ["run", "--config", str(file), "--port", "0"]):
        done = subprocess.run(
            [sys.executable, "-m", "raspi_server", *command],
            capture_output=True, text=True, timeout=LIMIT,
        )  # fmt: skip
        assert done.returncode == 78
        assert f"{tmp_path}/{words}" in done.stderr
        assert "Traceback" not in done.stderr


def test_the_last_good_configuration_runs_instead(start_server, tmp_path):
    """Under systemd a start without the broker's password runs the last good configuration, and
    says so, on the same port."""
    (tmp_path / "state").mkdir()
    environment = {**os.environ, "STATE_DIRECTORY": str(tmp_path / "state")}
    server = start_server("gpio: simulated\naccess: {control: everyone}\n", env=environment)
    text = house("mqtt://127.0.0.1:9", ", user: me, password_file: none")
    (tmp_path / "config-0.yaml").write_text(text)
    server.restart()
    assert "none: mqtt.password_file: expected a file" in wait_for_reason(server, "last good")[0]


# ---------------------------------------------------------------- off


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


def test_who_has_no_broker_pays_nothing(brokers, start_server):
    """Without `mqtt` and `metrics` nothing of them is imported; with a broker it is."""
    broker = brokers.broker()
    for text in ("gpio: simulated\n", house(broker.url)):
        server = start_server(text, program=("-c", SHOW_IMPORTS))
        assert ask(server, "GET", "/api/pins").status == 200
        assert server.stop() == 0
        imported = server.wait_for_log("imported:(.*)")[1]
        for room in ("raspi_server.mqtt.bridge", "paho"):
            assert (room in imported) == ("mqtt" in text)
        assert "prometheus" not in imported and "metrics" not in imported


def test_a_check_needs_no_client(tmp_path):
    """`check` reads the broker's files, and leaves its client where it is."""
    file = tmp_path / "config.yaml"
    file.write_text(house("mqtt://localhost"))
    command = [sys.executable, "-c", SHOW_IMPORTS, "check", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT)
    assert done.returncode == 0
    assert done.stderr.split() == ["imported:", "raspi_server.mqtt.broker_config"]


# ---------------------------------------------------------------- the client alone


async def talk(port: int) -> tuple[str | None, list[str]]:
    """What a client says of its one connection to a broker, and what the loop had to log."""
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
def test_bytes_that_are_no_packets(greets, data):
    """Whatever a broker sends is heard or refused in words; nothing else comes of it."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(CONNACK * greets + data)
        writer.close()

    async def run() -> tuple[str | None, list[str]]:
        server = await asyncio.start_server(answer, "127.0.0.1")
        async with server:
            return await talk(server.sockets[0].getsockname()[1])

    error, faults = asyncio.run(run())
    assert error and error.startswith("the broker 127.0.0.1")
    assert not faults


def test_a_client_among_a_thousand_connections(brokers):
    """Where more than 1,024 files are open the broker is still talked to: select(2) is not used."""
    port = brokers.broker().port
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(before[1], 4096), before[1]))
    with contextlib.ExitStack() as open_files:
        open_files.callback(resource.setrlimit, resource.RLIMIT_NOFILE, before)
        while open_files.enter_context(open(os.devnull)).fileno() < 1100:
            pass
        client = MqttClient(BrokerConfig("127.0.0.1", port), "client")
        assert asyncio.run(client.check()) is None
