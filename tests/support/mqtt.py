"""A real Mosquitto for the tests, clients of it, and a server that publishes there."""

import contextlib
import json
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple, Self

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from tests.support.http import ask
from tests.support.server import LIMIT, Server, free_port

PROGRAM = shutil.which("mosquitto", path=f"{os.environ['PATH']}:/usr/sbin")
PASSWORD = "secret"
"""Of all users of `Brokers.guarded`."""
CONFIG = """
gpio: simulated
access: {{control: everyone{access}}}
mqtt: {{url: "{url}", topic: {topic}{more}}}
pins:
  door: {{gpio: 17, mode: input, pull: up, label: Front door}}
  lamp: {{gpio: 27, mode: output}}
  gate: {{gpio: 22, mode: output, pulse: 0.05}}
  fan: {{gpio: 18, mode: pwm}}
  heater: {{gpio: 23, mode: output, control: nobody, label: Window heater}}
"""
COVERS = """\
  opener: {gpio: 5, mode: output, pulse: 0.05}
  shut: {gpio: 6, mode: input, kind: garage_door, label: Garage shut}
  up: {gpio: 7, mode: output, group: shutter, group_pause: 0.5}
  down: {gpio: 8, mode: output, group: shutter, group_pause: 0.5}
  bolt: {gpio: 9, mode: output, pulse: 0.05}
  bolted: {gpio: 10, mode: input}
covers:
  garage: {label: Garage door, button: opener, closed: shut, travel: 1}
  shutter: {up: up, down: down, travel: 2, room: Hall}
  barrier: {kind: gate, button: bolt, closed: bolted, travel: 1, control: nobody}
"""
"""Lines to add at the end of `config`: covers, and their pins."""
CONTROL = ", control: true"


def config(url: str, more: str = "", topic: str = "house/pi", access: str = "") -> str:
    """Return a configuration. `more` and `access` add keys below `mqtt` and `access`."""
    return CONFIG.format(url=url, more=more, topic=topic, access=access)


class Received(NamedTuple):
    topic: str
    payload: bytes
    qos: int
    retained: bool
    """True if the broker had retained it, or was asked to retain it."""
    lifetime: int | None
    """Seconds after which the broker would have dropped it."""

    @property
    def json(self) -> Any:
        return json.loads(self.payload)


class Mosquitto:
    """Broker on a port of its own, with `lines` added to its configuration."""

    def __init__(self, folder: Path, *lines: str) -> None:
        self.port = free_port()
        self.url = f"mqtt://127.0.0.1:{self.port}"
        self._file = folder / f"mosquitto-{self.port}.conf"
        own = (f"listener {self.port} 127.0.0.1", "user root", "allow_anonymous true")
        own += ("log_type error", "log_type information")
        self._file.write_text("\n".join([*own, *lines, ""]))
        self.start()

    def start(self) -> None:
        assert PROGRAM
        log = self._file.with_suffix(".log")
        with log.open("w") as file:
            self.process = subprocess.Popen([PROGRAM, "-c", self._file], stderr=file)
        until = time.monotonic() + LIMIT
        while " running" not in log.read_text():
            assert self.process.poll() is None and time.monotonic() < until, log.read_text()
            time.sleep(0.01)

    def kill(self) -> None:
        """End it at once, unless it has ended."""
        self.process.kill()
        self.process.wait(LIMIT)


class Client:
    """Client of a broker that records all messages at `topics`, publishes, and reconnects."""

    def __init__(self, broker: Mosquitto, *topics: str, **account: str) -> None:
        self.messages: list[Received] = []
        self._more = threading.Condition()
        options = SubscribeOptions(qos=1, retainAsPublished=True)
        filters = [(topic, options) for topic in topics or ("nothing",)]
        subscribed = threading.Event()
        self._client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
        self._client.reconnect_delay_set(min_delay=0.1, max_delay=0.1)
        if account:
            self._client.username_pw_set(**account)
        self._client.on_connect = lambda client, *_: client.subscribe(filters)
        self._client.on_subscribe = lambda *_: subscribed.set()
        self._client.on_message = lambda client, data, message: self._note(message)
        self._client.connect("127.0.0.1", broker.port)
        self._client.loop_start()
        assert subscribed.wait(LIMIT)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _note(self, message: paho.MQTTMessage) -> None:
        lifetime = getattr(message.properties, "MessageExpiryInterval", None)
        retained = bool(message.retain)
        with self._more:
            self.messages.append(
                Received(message.topic, message.payload, message.qos, retained, lifetime)
            )
            self._more.notify_all()

    def send(
        self, topic: str, payload: Any, retain: bool = False, qos: int = 1, **properties: Any
    ) -> paho.MQTTMessageInfo:
        """Publish a message. The properties have their names in MQTT 5 without spaces."""
        data = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        found = Properties(PacketTypes.PUBLISH)
        for name, value in properties.items():
            setattr(found, name, value)
        return self._client.publish(topic, data, qos, retain, found)

    def publish(self, topic: str, payload: Any, retain: bool = False, **options: Any) -> None:
        """Publish a message as `send` does, and wait until the broker has it."""
        self.send(topic, payload, retain, **options).wait_for_publish(LIMIT)

    def wait_for(self, what: Callable[[Received], Any], count: int = 1) -> list[Received]:
        """Wait for `count` messages for which `what` is true, and return them."""

        def found() -> list[Received]:
            return [each for each in self.messages if what(each)]

        with self._more:
            self._more.wait_for(lambda: len(found()) >= count, LIMIT)
            matching = found()
        assert len(matching) >= count, "\n".join(map(str, self.messages))
        return matching

    def wait_for_topic(self, ending: str, count: int = 1) -> list[Received]:
        """Wait for messages whose topics end like this."""
        return self.wait_for(lambda each: each.topic.endswith(ending), count)

    def wait_for_payload(self, topic: str, payload: bytes) -> None:
        self.wait_for(lambda each: (each.topic, each.payload) == (topic, payload))

    def wait_for_value(self, topic: str, value: float, count: int = 1) -> list[Received]:
        """Wait for states of a pin with this value."""
        return self.wait_for(
            lambda each: each.topic == topic and each.payload and each.json["value"] == value, count
        )

    def last(self, topic: str) -> Received:
        return self.wait_for_topic(topic)[-1]


class Brokers(contextlib.ExitStack):
    """Brokers and their clients, which end with the context. Without Mosquitto tests skip."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        if PROGRAM is None:
            pytest.skip("needs Mosquitto; on Debian: sudo apt install mosquitto")
        self._folder = folder

    def broker(self, *lines: str) -> Mosquitto:
        broker = Mosquitto(self._folder, *lines)
        self.callback(broker.kill)
        return broker

    def guarded(self, acl: str, users: Iterable[str], *lines: str) -> Mosquitto:
        """Start a broker with this ACL and these users. The file `password` has their password."""
        rules, passwords = self._folder / "acl", self._folder / "passwords"
        rules.write_text(acl)
        passwords.touch(0o600)
        for user in users:
            command = ["mosquitto_passwd", "-b", str(passwords), user, PASSWORD]
            subprocess.run(command, timeout=LIMIT, check=True)
        (self._folder / "password").write_text(f"{PASSWORD}\n")
        own = ("allow_anonymous false", f"password_file {passwords}", f"acl_file {rules}")
        return self.broker(*own, *lines)

    def subscriber(self, broker: Mosquitto, *topics: str, **account: str) -> Client:
        return self.enter_context(Client(broker, *topics, **account))


def switch(server: Server, pin: str, value: float) -> None:
    """Set a pin on its own server, and wait until it is set."""
    answer = ask(server, "PUT", f"/api/pins/{pin}", {"value": value})
    assert answer.status == 200, answer.body


def value_of(server: Server, pin: str) -> float:
    """Return the value that a pin has on its own server."""
    return float(ask(server, "GET", f"/api/pins/{pin}").json["value"])


def reload(server: Server, text: str) -> None:
    """Let a server read another configuration, and wait until it runs with it."""
    before = server.log.count("serving http")
    server.reload(text)
    server.wait_for_log("serving http", again=before)


def wait_for_health(server: Server, what: Callable[[Any], Any]) -> Any:
    """Wait until something is true of the answer of /api/health, and return it."""
    until = time.monotonic() + LIMIT
    while not (found := what(ask(server, "GET", "/api/health").json)):
        assert time.monotonic() < until, server.log
        time.sleep(0.01)
    return found


def wait_for_reason(server: Server, words: str) -> str:
    """Wait until a reason in /api/health has the words, and return it."""
    found = wait_for_health(server, lambda health: [r for r in health["reasons"] if words in r])
    return str(found[0])


def wait_until_well(server: Server) -> None:
    """Wait until /api/health reports no reason."""
    wait_for_health(server, lambda health: health["status"] == "ok")
