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
from .mqtt_rig import Brokers, Ear, wait_for_reason, wait_until_well
from .test_mqtt import CONTROL, house, switch
from .test_tls import Authority, Pair
from .wire import changing

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


# ---------------------------------------------------------------- half a connection


def test_a_broker_that_freezes(brokers, start_server):
    """A broker that stops in the middle of the talk, with the connection open, is given up; when
    it goes on, it is told what happened meanwhile, and that we are there."""
    broker = brokers.broker()
    ear = brokers.ear(broker, "house/pi/#")
    server = start_server(house(broker.url), program=changing("broker.KEEP_ALIVE = 1"))
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
    server = start_server(house(broker.url), program=changing("broker.KEEP_ALIVE = 1"))
    ear.wait_for(lambda each: each.payload == b"online")
    server.process.send_signal(signal.SIGSTOP)
    ear.wait_for(lambda each: each.payload == b"offline")
    server.process.send_signal(signal.SIGCONT)
    ear.wait_for(lambda each: each.payload == b"online", 2)
    switch(server, "lamp", 1)
