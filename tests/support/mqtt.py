"""A real Mosquitto for the tests, a subscriber to it, and a server that publishes there."""

import json
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

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
  heater: {{gpio: 23, mode: output, control: nobody}}
"""
CONTROL = ", control: true"


def config(url: str, more: str = "", topic: str = "house/pi", access: str = "") -> str:
    """Return a configuration with the broker at `url`. `more` and `access` add keys below `mqtt`
    and `access`, each after a comma."""
    return CONFIG.format(url=url, more=more, topic=topic, access=access)


class Received(NamedTuple):
    topic: str
    payload: bytes
    qos: int
    retained: bool
    """True if the broker had retained it, or was asked to retain it."""
    lifetime: int | None = None
    """Seconds after which the broker would have dropped it."""

    @property
    def json(self) -> Any:
        return json.loads(self.payload)


class Mosquitto:
    """Broker on a port of its own, with `lines` added to its configuration."""

    def __init__(self, folder: Path, *lines: str) -> None:
        self.folder = folder
        self.port = free_port()
        self.folder.mkdir(exist_ok=True)
        self._file = folder / "mosquitto.conf"
        own = [f"listener {self.port} 127.0.0.1", "user root", "persistence false", *lines]
        if not any(line.startswith("password_file") for line in lines):
            own.append("allow_anonymous true")
        self._file.write_text("\n".join([*own, ""]))
        self.start()

    def start(self) -> None:
        assert PROGRAM
        self.process = subprocess.Popen(
            [PROGRAM, "-v", "-c", self._file], stderr=subprocess.PIPE, text=True
        )
        assert self.process.stderr
        self.log: list[str] = []
        for line in self.process.stderr:
            self.log.append(line)
            if " running" in line:
                break
        else:
            raise AssertionError("".join(self.log))
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr
        self.log.extend(self.process.stderr)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(LIMIT)
        self._reader.join(LIMIT)
        assert self.process.stderr
        self.process.stderr.close()

    @property
    def url(self) -> str:
        return f"mqtt://127.0.0.1:{self.port}"


class Subscriber:
    """Client that records all messages at `topics`, and publishes."""

    def __init__(self, broker: Mosquitto, *topics: str, **account: str) -> None:
        self.messages: list[Received] = []
        self._more = threading.Condition()
        self._client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
        if account:
            self._client.username_pw_set(**account)
        self._client.reconnect_delay_set(min_delay=0.1, max_delay=0.1)
        options = SubscribeOptions(qos=1, retainAsPublished=True)
        self._subscribed = threading.Event()

        def connected(client: paho.Client, *_: object) -> None:
            client.subscribe([(topic, options) for topic in topics])

        self._client.on_connect = connected
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._client.on_message = self._note
        self._client.connect("127.0.0.1", broker.port)
        self._client.loop_start()
        assert self._subscribed.wait(LIMIT)

    def _note(self, _client: object, _data: object, message: paho.MQTTMessage) -> None:
        with self._more:
            lifetime = getattr(message.properties, "MessageExpiryInterval", None)
            self.messages.append(
                Received(
                    message.topic, message.payload, message.qos, bool(message.retain), lifetime
                )
            )
            self._more.notify_all()

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def publish(
        self,
        topic: str,
        payload: Any,
        retain: bool = False,
        qos: int = 1,
        properties: Properties | None = None,
    ) -> None:
        """Publish a message and wait until the broker has it."""
        data = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        self._client.publish(topic, data, qos, retain, properties).wait_for_publish(LIMIT)

    def wait_for(
        self, what: Callable[[Received], Any], count: int = 1, since: int = 0
    ) -> list[Received]:
        """Wait for `count` messages for which `what` is true, and return them. The first `since`
        messages do not count."""

        def found() -> list[Received]:
            return [each for each in self.messages[since:] if what(each)]

        with self._more:
            self._more.wait_for(lambda: len(found()) >= count, LIMIT)
            matching = found()
        assert len(matching) >= count, "\n".join(map(str, self.messages))
        return matching

    def wait_for_topic(self, topic: str, count: int = 1, since: int = 0) -> list[Received]:
        return self.wait_for(lambda each: each.topic == topic, count, since)

    def wait_for_payload(self, topic: str, payload: bytes, count: int = 1) -> list[Received]:
        return self.wait_for(lambda each: (each.topic, each.payload) == (topic, payload), count)

    def wait_for_value(self, topic: str, value: float, count: int = 1) -> list[Received]:
        """Wait for states of a pin with this value."""
        return self.wait_for(
            lambda each: each.topic == topic and each.payload and each.json["value"] == value, count
        )

    def wait_for_results(self, count: int) -> list[Received]:
        """Wait for so many answers to commands."""
        return self.wait_for(lambda each: each.topic.endswith("/result"), count)

    def last(self, topic: str) -> Received:
        return self.wait_for_topic(topic)[-1]


def properties(**values: Any) -> Properties:
    """Return properties for a PUBLISH, by their names in MQTT 5 without spaces."""
    found = Properties(PacketTypes.PUBLISH)
    for name, value in values.items():
        setattr(found, name, value)
    return found


class Brokers:
    """Brokers and subscribers of one test, which are closed at its end. The test is skipped if
    Mosquitto is not installed."""

    def __init__(self, folder: Path) -> None:
        if PROGRAM is None:
            pytest.skip("needs Mosquitto; on Debian: sudo apt install mosquitto")
        self._folder = folder
        self.folder = folder / "broker"
        self._brokers: list[Mosquitto] = []
        self._subscribers: list[Subscriber] = []

    def broker(self, *lines: str) -> Mosquitto:
        number = len(self._brokers)
        folder = self._folder / f"broker{number or ''}"
        self._brokers.append(Mosquitto(folder, *lines))
        return self._brokers[-1]

    def guarded(self, acl: str, users: Iterable[str], *lines: str) -> Mosquitto:
        """Start a broker with this ACL and these users. A configuration in the same folder has the
        password in the file `password`."""
        self.folder.mkdir()
        (self.folder / "acl").write_text(acl)
        (self.folder / "passwords").touch(0o600)
        for user in users:
            command = ["mosquitto_passwd", "-b", self.folder / "passwords", user, PASSWORD]
            subprocess.run(command, timeout=LIMIT, check=True)
        (self._folder / "password").write_text(f"{PASSWORD}\n")
        passwords, rules = f"{self.folder}/passwords", f"{self.folder}/acl"
        return self.broker(f"password_file {passwords}", f"acl_file {rules}", *lines)

    def subscriber(self, broker: Mosquitto, *topics: str, **account: str) -> Subscriber:
        self._subscribers.append(Subscriber(broker, *topics, **account))
        return self._subscribers[-1]

    def __enter__(self) -> "Brokers":
        return self

    def __exit__(self, *exc_info: object) -> None:
        for subscriber in self._subscribers:
            subscriber.close()
        for broker in self._brokers:
            if broker.process.poll() is None:
                broker.kill()


def switch(server: Server, pin: str, value: float) -> None:
    """Set a pin on its own server, and wait until it is set."""
    answer = ask(server, "PUT", f"/api/pins/{pin}", {"value": value})
    assert answer.status == 200, answer.body


def value_of(server: Server, pin: str) -> float:
    """Return the value that a pin has on its own server."""
    found: float = ask(server, "GET", f"/api/pins/{pin}").json["value"]
    return found


def reload(server: Server) -> None:
    """Let a server read its configuration again, and wait until it runs with it."""
    before = server.log.count("serving http")
    server.process.send_signal(signal.SIGHUP)
    server.wait_for_log("serving http", again=before)


def wait_for_reason(server: Server, words: str) -> list[str]:
    """Wait until a reason in /api/health has the words, and return the reasons."""
    until = time.monotonic() + LIMIT
    while True:
        answer = ask(server, "GET", "/api/health")
        assert answer.status == 200
        reasons: list[str] = answer.json["reasons"]
        if any(words in reason for reason in reasons):
            return reasons
        assert time.monotonic() < until, f"no reason has {words!r}: {reasons}\n{server.log}"


def wait_until_well(server: Server) -> None:
    """Wait until /api/health reports no reason."""
    until = time.monotonic() + LIMIT
    while ask(server, "GET", "/api/health").json["status"] != "ok":
        assert time.monotonic() < until, server.log
