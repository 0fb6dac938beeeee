"""The fleet as one of its Pis shows it: what viewers get, who may switch what, and how the server
runs on when the broker or a publisher misbehaves."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raspi_server.limits import DEFAULT, Limits
from raspi_server.messages import BROKER_ERROR
from raspi_server.mqtt.fleet import Fleet
from tests.support.coded_server import CODE
from tests.support.fleet import FakePis, description, pin, state
from tests.support.http import ask
from tests.support.mqtt import Brokers, Mosquitto
from tests.support.server import LIMIT, Server, changing
from tests.support.sockets import open_socket, reset
from tests.support.websocket import WebSocketClient
from tests.web.test_api import complaints

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
FLEET = ", fleet: true"
CONTROL = ", control: true"
IMPATIENT = changing(fleet_answer_timeout_s=1, fleet_return_timeout_s=0.5)


@pytest.fixture
def brokers(tmp_path: Path) -> Iterator[Brokers]:
    with Brokers(tmp_path) as found:
        yield found


@pytest.fixture
def fake_pis() -> Iterator[Callable[..., FakePis]]:
    made: list[FakePis] = []

    def begin(broker: Mosquitto, **account: str) -> FakePis:
        made.append(FakePis(broker, **account))
        return made[-1]

    yield begin
    for each in made:
        each.close()


def config(url: str, topic: str = "house/here", more: str = FLEET, access: str = "") -> str:
    return CONFIG.format(url=url, topic=topic, more=more, access=access)


class FleetViewer:
    """Viewer of the fleet that works like the page: first the whole fleet, then the news."""

    def __init__(self, server: Server, **headers: str) -> None:
        self.client = WebSocketClient(server.port, path="/fleet/ws", headers=headers)
        self._messages = self.client.messages()
        self.hello = next(self._messages)
        whole = ask(server, "GET", "/api/fleet", **headers).json
        self.seq = whole["seq"]
        self.broker = whole["broker"]
        self.was_told_of_broker = False
        self.pis = {pi["topic"]: pi for pi in whole["pis"]}
        self.answers: list[dict[str, Any]] = []

    def __enter__(self) -> "FleetViewer":
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.client.socket.close()

    def receive(self) -> dict[str, Any]:
        """Receive the next message and apply it."""
        message = next(self._messages)
        if message["type"] == "hello":
            self.hello = message
        elif message["type"] == "broker":
            self.broker = {key: message[key] for key in ("connected", "error")}
            self.was_told_of_broker = message["connected"]
        elif message["type"] in ("result", "error"):
            self.answers.append(message)
        elif message["type"] == "news" and message["seq"] > self.seq:
            assert message["seq"] == self.seq + 1
            self.seq = message["seq"]
            for topic in message.get("removed", []):
                del self.pis[topic]
            self.pis |= {pi["topic"]: pi for pi in message.get("pis", [])}
            for topic, pins in message.get("pins", {}).items():
                for name, (value, since) in pins.items():
                    self.pin(topic, name).update(value=value, since=since)
        return message

    def until(self, what: Callable[[], Any]) -> Any:
        """Receive messages until something is true."""
        limit = time.monotonic() + LIMIT
        while not (found := what()):
            assert time.monotonic() < limit, f"it never was so: {self.broker}, {self.pis}"
            self.receive()
        return found

    def pin(self, topic: str, name: str) -> dict[str, Any]:
        return next(pin for pin in self.pis[topic]["pins"] if pin["name"] == name)

    def host(self, topic: str) -> Any:
        return topic in self.pis and self.pis[topic]["host"]

    def value(self, topic: str, name: str) -> Any:
        return topic in self.pis and self.pin(topic, name)["value"]

    def ask(self, **command: Any) -> dict[str, Any]:
        """Send a command and return its answer."""
        count = len(self.answers)
        self.client.send(**command)
        self.until(lambda: len(self.answers) > count)
        return self.answers[-1]

    def error_of(self, **command: Any) -> tuple[str, str]:
        """Send a command and return code and message of its error."""
        answer = self.ask(**command)
        assert answer["type"] == "error", answer
        return answer["code"], answer["message"]


def switch(server: Server, name: str, value: float) -> None:
    assert ask(server, "PUT", f"/api/pins/{name}", {"value": value}).status == 200


def value(server: Server, name: str) -> Any:
    return ask(server, "GET", f"/api/pins/{name}").json["value"]


# ---------------------------------------------------------------- what is shown


def test_all_pis_are_shown(brokers, start_server):
    """One Pi shows all Pis with their pins in the documented form, but no Pi of another depth or
    first level."""
    broker = brokers.broker()
    here = start_server(config(broker.url, "farm/office/here"))
    there = start_server(config(broker.url, "farm/house-3/there", CONTROL))
    for topic in ("farm/deep/er/pi", "farm/shallow", "other/house-3/there"):
        start_server(config(broker.url, topic, CONTROL)).wait_for_log("mqtt: connected")
    there.wait_for_log("mqtt: connected")
    with FleetViewer(here) as viewer:
        viewer.until(lambda: viewer.value("farm/house-3/there", "lamp") is not False)
        viewer.until(lambda: "farm/office/here" in viewer.pis)
        assert set(viewer.pis) == {"farm/office/here", "farm/house-3/there"}
        pi = viewer.pis["farm/house-3/there"]
        known = ask(there, "GET", "/api/pins").json["pins"]
        for told, pin in zip(pi["pins"], known, strict=True):
            assert told == {**{key: pin[key] for key in told}, "writable": told["writable"]}
        assert [pin["writable"] for pin in pi["pins"]] == [False, True, True, True, False]
        assert not any(pin["writable"] for pin in viewer.pis["farm/office/here"]["pins"])
        assert (pi["group"], pi["online"], pi["simulated"]) == ("house-3", True, True)
        assert re.fullmatch(rf"http://.+:{there.port}/", pi["url"])
        assert viewer.broker == {"connected": True, "error": None}
    answer = ask(here, "GET", "/api/fleet")
    described = ask(here, "GET", "/api/openapi.json").json
    assert complaints(described, "GET", "/api/fleet", answer) == []
    assert ask(here, "GET", "/api").json["links"]["fleet"] == "/api/fleet"


def test_change_has_its_own_time(brokers, start_server):
    """A viewer of one Pi gets a change of another with the time of that change."""
    broker = brokers.broker()
    here = start_server(config(broker.url))
    there = start_server(config(broker.url, "house/there", CONTROL))
    with FleetViewer(here) as viewer:
        viewer.until(lambda: "house/there" in viewer.pis)
        switch(there, "lamp", 1)
        viewer.until(lambda: viewer.value("house/there", "lamp") == 1)
        since = ask(there, "GET", "/api/pins/lamp").json["since"]
        assert viewer.pin("house/there", "lamp")["since"] == since


def test_keep_alive(brokers, start_server):
    """While nothing changes, `ping` messages are sent and nothing else."""
    broker = brokers.broker()
    server = start_server(config(broker.url), program=changing(fleet_ping_interval_s=0.1))
    with FleetViewer(server) as viewer:
        viewer.until(lambda: "house/here" in viewer.pis and viewer.was_told_of_broker)
        viewer.until(lambda: viewer.receive()["type"] == "ping")
        assert [viewer.receive()["type"] for _ in range(5)] == ["ping"] * 5


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_stopped_pi_is_offline_with_its_last_state(brokers, start_server, how):
    """A Pi that stops or crashes is offline, with its last values and their time. So is one that
    stopped before any viewer connected."""
    broker = brokers.broker()
    here = start_server(config(broker.url))
    there = start_server(config(broker.url, "house/there"))
    with FleetViewer(here) as viewer:
        viewer.until(lambda: viewer.value("house/there", "lamp") == 0)
        switch(there, "lamp", 1)
        viewer.until(lambda: viewer.value("house/there", "lamp") == 1)
        heard = viewer.pin("house/there", "lamp")["since"]
        before = time.time()
        there.stop(how)
        viewer.until(lambda: not viewer.pis["house/there"]["online"])
        assert viewer.value("house/there", "lamp") == 1
        assert viewer.pis["house/there"]["heard"] >= before
    late = start_server(config(broker.url, "house/late"))
    with FleetViewer(late) as viewer:
        pi = viewer.until(lambda: viewer.pis.get("house/there"))
        assert (pi["online"], viewer.value("house/there", "lamp")) == (False, 1)
        assert pi["heard"] == heard


def test_removed_pi(brokers, fake_pis, start_server):
    """A Pi whose retained messages are emptied is removed. A new description replaces the one
    before."""
    broker = brokers.broker()
    others = fake_pis(broker)
    others.describe("house/old", "old", [pin("lamp"), pin("door")])
    server = start_server(config(broker.url))
    with FleetViewer(server) as viewer:
        viewer.until(lambda: "house/old" in viewer.pis)
        others.publish("house/old/describe", description("older", [pin("gate")]))
        viewer.until(lambda: viewer.host("house/old") == "older")
        assert [pin["name"] for pin in viewer.pis["house/old"]["pins"]] == ["gate"]
        others.publish("house/old/describe", b"")
        others.publish("house/old/status", b"")
        viewer.until(lambda: "house/old" not in viewer.pis)
        others.describe("house/old", "old", [pin("lamp", value=1)])
        viewer.until(lambda: viewer.value("house/old", "lamp") == 1)


def test_large_fleet_is_complete(brokers, fake_pis, start_server):
    """Of many Pis none is missing, nor any pin, although Mosquitto drops what is beyond 1,000
    messages."""
    broker = brokers.broker("log_type error", "log_type notice")
    others = fake_pis(broker)
    pins = [pin(f"in{n}", value=0) for n in range(10)]
    for n in range(300):
        others.describe(f"house/pi-{n}", f"pi-{n}", pins)
        others.publish(f"house/pi-{n}/pins/in7", state(1))
    others.flush()
    server = start_server(config(broker.url))
    with FleetViewer(server) as viewer:
        viewer.until(lambda: len(viewer.pis) == 301)
        for n in range(300):
            viewer.until(lambda: viewer.value(f"house/pi-{n}", "in7") == 1)  # noqa: B023
    assert len(ask(server, "GET", "/api/fleet").json["pis"]) == 301
    hasty = open_socket(server.port, receive_buffer=2048)
    hasty.sendall(b"GET /api/fleet HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    assert hasty.recv(100).startswith(b"HTTP/1.1 200")
    reset(hasty)
    assert len(ask(server, "GET", "/api/fleet").json["pis"]) == 301


# ---------------------------------------------------------------- commands


def test_command_to_another_pi(brokers, start_server):
    """A command to another Pi is carried out, answered, and logged by both servers."""
    broker = brokers.broker()
    here = start_server(config(broker.url))
    there = start_server(config(broker.url, "house/there", CONTROL))
    with FleetViewer(here) as viewer:
        assert viewer.hello == {
            "type": "hello", "seq": 0, "access": "control", "signed_in": None,
            "code_would_help": False,
        }  # fmt: skip
        viewer.until(lambda: "house/there" in viewer.pis)
        to = {"pi": "house/there", "pin": "lamp"}
        done = viewer.ask(type="set", value=1, ref="a", **to)
        assert done == {"type": "result", "ref": "a", "pin": "lamp", "value": 1}
        assert value(there, "lamp") == 1
        here.wait_for_log("lamp at house/there: set to 1, by 127.0.0.1$")
        there.wait_for_log(r"lamp \(GPIO27\): on, by mqtt$")
        viewer.until(lambda: viewer.value("house/there", "lamp") == 1)
        assert viewer.ask(type="toggle", ref=2, **to)["value"] == 0
        assert viewer.ask(type="set", value=0.35, pi="house/there", pin="fan")["value"] == 0.35
        gate = {"pi": "house/there", "pin": "gate"}
        assert viewer.ask(type="pulse", seconds=0.05, **gate)["value"] == 1
        assert viewer.ask(type="pulse", **gate)["type"] == "result"


def test_rejected_command(brokers, fake_pis, start_server):
    """A command that cannot succeed gets an error at once, and the Pi receives nothing."""
    broker = brokers.broker()
    others = fake_pis(broker)
    others.describe("house/away", "away", [pin("lamp", mode="output", writable=True)], online=False)
    here = start_server(config(broker.url))
    there = start_server(config(broker.url, "house/there", CONTROL))
    subscriber = brokers.subscriber(broker, "house/+/pins/+/set")
    there.wait_for_log("mqtt: connected")
    with FleetViewer(here) as viewer:
        viewer.until(lambda: {"house/here", "house/there", "house/away"} <= viewer.pis.keys())
        host = viewer.host("house/there")

        def refusal(pi: str, name: str) -> tuple[str, str]:
            return viewer.error_of(type="set", pi=pi, pin=name, value=1)

        assert refusal("house/none", "lamp") == ("not-found", "there is no Pi at 'house/none'")
        assert refusal("house/there", "x") == ("unknown-pin", f"{host} has no pin 'x'")
        assert refusal("house/there", "door") == ("not-writable", f"door of {host} is an input")
        closed = f"{host} accepts no commands from the broker for"
        assert refusal("house/there", "heater") == ("not-allowed", f"{closed} heater")
        assert refusal("house/here", "lamp") == ("not-allowed", f"{closed} lamp")
        offline = ("unavailable", "away is offline: nothing was sent")
        assert refusal("house/away", "lamp") == offline
        code, words = viewer.error_of(type="set", pi="house/there", pin="lamp", ref=3)
        assert code == "bad-message" and "value" in words
        assert viewer.answers[-1]["ref"] == 3
        assert subscriber.messages == []
        code, words = viewer.error_of(type="set", pi="house/there", pin="fan", value=7, ref="x")
        assert (code, viewer.answers[-1]["ref"]) == ("bad-value", "x")
        assert words.startswith(f"{host}: ")
        for _ in range(200):
            viewer.client.send(type="toggle", pi="house/there", pin="door")
        viewer.until(lambda: viewer.answers and viewer.answers[-1]["code"] == "too-fast")
        assert viewer.client.close_code() == 1008


def test_missing_answer(brokers, fake_pis, start_server):
    """A Pi that does not answer is not waited for. A late answer, or one from elsewhere or to
    another command, is ignored."""
    broker = brokers.broker()
    others = fake_pis(broker)
    pins = [pin(name, mode="output", writable=True) for name in ("lamp", "gate")]
    others.describe("house/mute", "mute", pins)
    server = start_server(config(broker.url), program=IMPATIENT)
    subscriber = brokers.subscriber(broker, "house/mute/pins/+/set")
    with FleetViewer(server) as viewer:
        viewer.until(lambda: "house/mute" in viewer.pis)
        viewer.client.send(type="set", pi="house/mute", pin="lamp", value=1, ref=1)
        asked = subscriber.wait_for_topic("house/mute/pins/lamp/set")[0]
        assert asked.json == {"type": "set", "ref": asked.json["ref"], "value": 1}
        assert (asked.qos, asked.retained, asked.lifetime) == (1, False, 1)
        answer = {"type": "result", "ref": asked.json["ref"], "pin": "lamp", "value": 1}
        others.publish("house/mute/pins/gate/result", answer, retain=False)
        others.publish("house/mute/pins/lamp/result", {**answer, "ref": 1}, retain=False)
        others.publish("house/mute/pins/lamp/result", b"}", retain=False)
        viewer.until(lambda: viewer.answers)
        assert viewer.answers[0]["code"] == "no-answer"
        assert viewer.answers[0]["message"] == "mute did not answer within 1 s"
        others.publish("house/mute/pins/lamp/result", answer, retain=False)
        others.flush()
        assert viewer.error_of(type="set", pi="house/mute", pin="x", value=1)[0] == "unknown-pin"
        assert len(viewer.answers) == 2


@pytest.fixture
def guarded(brokers: Brokers) -> Mosquitto:
    """A broker that lets kitchen switch other Pis, by the documented ACL. hall may only read them,
    and blind may not even read them."""
    text = (Path(__file__).parents[2] / "docs/mqtt.md").read_text()
    (shown,) = re.findall(
        r"^ {4}topic read raspi-server/\+/status\n(?: {4}topic .*\n)+", text, re.M
    )
    lines = shown.replace("raspi-server/", "house/").split("\n    ")
    assert "topic write" in lines[-1]
    folder = brokers.folder
    folder.mkdir()
    acl = []
    for user, more in (("kitchen", lines), ("hall", lines[:-1]), ("blind", [])):
        acl += [f"user {user}", f"topic readwrite house/{user}/#", *(each.strip() for each in more)]
    (folder / "acl").write_text("\n".join([*acl, ""]))
    (folder / "passwords").touch(0o600)
    for user in ("kitchen", "hall", "blind"):
        command = ["mosquitto_passwd", "-b", folder / "passwords", user, "secret"]
        assert subprocess.run(command, timeout=LIMIT).returncode == 0
    return brokers.broker(f"password_file {folder}/passwords", f"acl_file {folder}/acl")


def test_permissions_of_the_broker(guarded, start_server, tmp_path):
    """With the documented ACL a server may switch. Without the last line of it a command fails at
    once with the reason. Without any of it a server shows only itself."""
    (tmp_path / "password").write_text("secret\n")
    servers = {}
    for user in ("kitchen", "hall", "blind"):
        more = f"{FLEET}{CONTROL}, user: {user}, password_file: password"
        servers[user] = start_server(config(guarded.url, f"house/{user}", more))
    to = {"type": "set", "pi": "house/hall", "pin": "lamp"}
    with FleetViewer(servers["kitchen"]) as viewer:
        viewer.until(lambda: "house/hall" in viewer.pis)
        assert viewer.ask(value=1, **to)["type"] == "result"
        assert value(servers["hall"], "lamp") == 1
    with FleetViewer(servers["hall"]) as viewer:
        viewer.until(lambda: "house/kitchen" in viewer.pis)
        code, words = viewer.error_of(type="set", pi="house/kitchen", pin="lamp", value=1)
        assert code == "not-allowed"
        assert "does not let us publish house/kitchen/pins/lamp/set as hall" in words
        assert words.endswith("its ACL forbids it")
        assert value(servers["kitchen"], "lamp") == 0
        assert viewer.ask(value=0, **to)["type"] == "result"
        assert viewer.broker == {"connected": True, "error": None}
    with FleetViewer(servers["blind"]) as viewer:
        viewer.until(lambda: "house/blind" in viewer.pis)
        assert set(viewer.pis) == {"house/blind"}


# ---------------------------------------------------------------- access


def signed_in(server: Server, file: Path, right: str, state: Path) -> dict[str, str]:
    """Make a new code and return the header that presents it."""
    command = [sys.executable, "-m", "raspi_server", "code", "--config", str(file)]
    environment = {**os.environ, "STATE_DIRECTORY": str(state)}
    made = subprocess.run(
        [*command, "--new", right], env=environment, capture_output=True, text=True, timeout=LIMIT
    )
    before = server.log.count("serving http")
    server.process.send_signal(signal.SIGHUP)
    server.wait_for_log("serving http", again=before)
    found = CODE.search(made.stdout)
    assert found, made.stderr
    return {"Authorization": f"Bearer {found[1]}"}


def test_access_rules_of_this_server(brokers, start_server, tmp_path):
    """Without the code for viewing there is no fleet, and without the code for control no command.
    With the code both work. A new code ends what the old one allowed."""
    broker = brokers.broker()
    keeping = {"env": {**os.environ, "STATE_DIRECTORY": str(tmp_path)}}
    text = config(broker.url, access=", view: code").replace("everyone", "code", 1)
    here = start_server(text, **keeping)
    file = tmp_path / "config-0.yaml"
    there = start_server(config(broker.url, "house/there", CONTROL))
    there.wait_for_log("mqtt: connected")
    assert ask(here, "GET", "/api/fleet").status == 401
    with WebSocketClient(here.port, path="/fleet/ws") as stranger:
        assert stranger.close_code() == 4401
    view = signed_in(here, file, "view", tmp_path)
    control = signed_in(here, file, "control", tmp_path)
    order = {"type": "set", "pi": "house/there", "pin": "lamp", "value": 1}
    with FleetViewer(here, **view) as viewer:
        assert (viewer.hello["access"], viewer.hello["code_would_help"]) == ("view", True)
        viewer.until(lambda: "house/there" in viewer.pis)
        host = viewer.host("house/there")
        needed = f"switching lamp of {host} needs the control code of this Pi"
        assert viewer.error_of(**order) == ("sign-in", needed)
        assert value(there, "lamp") == 0
        with FleetViewer(here, **control) as other:
            assert other.hello["access"] == "control"
            other.until(lambda: "house/there" in other.pis)
            assert other.ask(**order)["type"] == "result"
            here.wait_for_log(r"by 127\.0\.0\.1 \(control code\)$")
        file.write_text(text.replace("control: code", "control: nobody"))
        here.process.send_signal(signal.SIGHUP)
        viewer.until(lambda: not viewer.hello["code_would_help"])
        nobody = "nobody may switch other Pis from here (access.control: nobody)"
        assert viewer.error_of(**order) == ("not-allowed", nobody)
        signed_in(here, file, "view", tmp_path)
        assert viewer.client.close_code() == 4401


def commands(topic: str) -> list[dict[str, Any]]:
    """Return all kinds of commands to a Pi's lamp."""
    to = {"pi": topic, "pin": "lamp"}
    return [
        {"type": "set", "value": 1, **to},
        {"type": "toggle", **to},
        {"type": "pulse", "seconds": 60, **to},
    ]


def test_control_of_a_pin(brokers, start_server, tmp_path):
    """A pin with `control: code` is switched from the fleet page with the code only, be it of this
    Pi or of another, as on its own page. Other pins are switched by everyone. A reload that changes
    it takes effect."""
    broker = brokers.broker()
    keeping = {"env": {**os.environ, "STATE_DIRECTORY": str(tmp_path)}}
    more = f"{FLEET}{CONTROL}"
    plain_lamp, guarded_lamp = "lamp: {gpio: 27,", "lamp: {gpio: 27, control: code,"
    text = config(broker.url, more=more).replace(plain_lamp, guarded_lamp)
    here = start_server(text, **keeping)
    file = tmp_path / "config-0.yaml"
    there = start_server(
        config(broker.url, "house/there", CONTROL).replace(plain_lamp, guarded_lamp)
    )
    control = signed_in(here, file, "control", tmp_path)
    both = ("house/here", "house/there")
    assert ask(here, "PUT", "/api/pins/lamp", {"value": 1}).error[1] == "sign-in"
    subscriber = brokers.subscriber(broker, "house/+/pins/lamp/set")
    with FleetViewer(here) as guest, FleetViewer(here, **control) as owner:
        assert (guest.hello["signed_in"], owner.hello["signed_in"]) == (None, "control")
        for each in (guest, owner):
            each.until(lambda: set(both) <= each.pis.keys())  # noqa: B023
            for topic in both:
                told = {name: each.pin(topic, name)["control"] for name in ("lamp", "fan", "door")}
                assert told == {"lamp": "code", "fan": "everyone", "door": None}
                assert each.pin(topic, "lamp")["writable"]
        for topic, server in zip(both, (here, there), strict=True):
            for order in commands(topic):
                assert guest.error_of(**order)[0] == "sign-in"
            assert value(server, "lamp") == 0
            assert guest.ask(type="set", pi=topic, pin="fan", value=0.5)["value"] == 0.5
        assert subscriber.messages == []
        for topic, server in zip(both, (here, there), strict=True):
            for order in commands(topic):
                assert owner.ask(**order)["type"] == "result"
            assert value(server, "lamp") == 1
        file.write_text(text.replace("control: everyone", "control: code").replace(
            "fan: {gpio: 18,", "fan: {gpio: 18, control: everyone,"))  # fmt: skip
        here.process.send_signal(signal.SIGHUP)
        guest.until(lambda: guest.pin("house/there", "fan")["control"] == "code")
        guest.until(lambda: guest.pin("house/here", "fan")["control"] == "everyone")
        assert guest.error_of(type="set", pi="house/there", pin="fan", value=1)[0] == "sign-in"
        assert guest.ask(type="set", pi="house/here", pin="fan", value=1)["value"] == 1


def test_false_control_in_a_description(brokers, fake_pis, start_server, tmp_path):
    """A false description under this Pi's topic opens no pin of it. A Pi of an older release, whose
    description has no `control`, counts as `code`."""
    broker = brokers.broker()
    keeping = {"env": {**os.environ, "STATE_DIRECTORY": str(tmp_path)}}
    text = config(broker.url, more=f"{FLEET}{CONTROL}")
    here = start_server(text.replace("lamp: {", "lamp: {control: code, "), **keeping)
    control = signed_in(here, tmp_path / "config-0.yaml", "control", tmp_path)
    others = fake_pis(broker)
    pins = [pin(name, mode="output", writable=True) for name in ("lamp", "heater", "x", "door")]
    old = {key: value for key, value in pins[0].items() if key != "control"}
    others.describe("house/old", "old", [old])
    silenced = [pin("lamp", mode="output", writable=True, control="nobody")]
    others.describe("house/mad", "mad", silenced)
    subscriber = brokers.subscriber(broker, "house/+/pins/+/set")
    with FleetViewer(here) as guest, FleetViewer(here, **control) as owner:
        for each in (guest, owner):
            each.until(lambda: {"house/here", "house/old", "house/mad"} <= each.pis.keys())  # noqa: B023
        others.publish("house/here/describe", description("mine", pins))
        owner.until(lambda: owner.host("house/here") == "mine")
        guest.until(lambda: guest.host("house/here") == "mine")
        told = {each["name"]: each["control"] for each in guest.pis["house/here"]["pins"]}
        assert told == {"lamp": "code", "heater": "nobody", "x": "nobody", "door": "everyone"}
        codes = {
            name: guest.error_of(type="set", pi="house/here", pin=name, value=1)[0] for name in told
        }
        assert codes["lamp"] == "sign-in" and codes["heater"] == "not-allowed"
        assert codes["x"] == "unknown-pin"
        assert (
            owner.error_of(type="set", pi="house/here", pin="heater", value=1)[0] == "not-allowed"
        )
        assert guest.pin("house/old", "lamp")["control"] == "code"
        assert guest.error_of(type="set", pi="house/old", pin="lamp", value=1)[0] == "sign-in"
        assert guest.error_of(type="set", pi="house/mad", pin="lamp", value=1)[0] == "not-allowed"
        assert not any("lamp" in each.topic for each in subscriber.messages)
        owner.client.send(type="set", pi="house/old", pin="lamp", value=1)
        subscriber.wait_for_topic("house/old/pins/lamp/set")


@pytest.mark.parametrize(
    ("headers", "status"),
    [({"Host": "evil.example"}, 421), ({"Origin": "http://evil.example"}, 403)],
)
def test_other_origins_are_rejected(brokers, start_server, headers, status):
    """A page of another site, or a name that only resolves to our address, gets no WebSocket."""
    server = start_server(config(brokers.broker().url))
    handshake = {
        "Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
    }  # fmt: skip
    assert ask(server, "GET", "/fleet/ws", **handshake, **headers).status == status
    assert ask(server, "GET", "/fleet/ws", **handshake).status == 101


# ---------------------------------------------------------------- cost


COUNTING = (
    "-c",
    "import atexit, sys\n"
    "names = ('paho', 'raspi_server.mqtt.bridge', 'raspi_server.mqtt.fleet',"
    " 'raspi_server.mqtt.fleet_watcher')\n"
    "atexit.register(lambda: print('imported', *(n for n in names if n in sys.modules),"
    " file=sys.stderr))\n"
    "from raspi_server.cli.main import main\n"
    "sys.exit(main())",
)


def test_off_costs_nothing(brokers, start_server):
    """Without `fleet: true` nothing of it is imported, the API says which line is missing, and
    there is no WebSocket. With it all of that exists."""
    broker = brokers.broker()
    off = start_server(config(broker.url, more=""), program=COUNTING)
    on = start_server(config(broker.url, "house/there"), program=COUNTING)
    status, code, words = ask(off, "GET", "/api/fleet").error
    assert (status, code) == (404, "not-found")
    assert "config.yaml does not say fleet: true below mqtt:" in words
    assert ask(off, "HEAD", "/api/fleet").status == 404
    with pytest.raises(AssertionError, match="HTTP/1.1 404"):
        WebSocketClient(off.port, path="/fleet/ws")
    with WebSocketClient(off.port) as client:
        assert next(client.messages())["fleet"] is False
    with WebSocketClient(on.port) as client:
        assert next(client.messages())["fleet"] is True
    assert ask(on, "HEAD", "/api/fleet").status == 200
    off.stop()
    off.wait_for_log("imported paho raspi_server.mqtt.bridge$")
    on.stop()
    on.wait_for_log(
        "imported paho raspi_server.mqtt.bridge raspi_server.mqtt.fleet"
        " raspi_server.mqtt.fleet_watcher$"
    )


def logged(broker: Mosquitto, words: str, count: int = 1) -> bool:
    """Return whether the broker has logged the words so often."""
    return sum(words in line for line in broker.log) >= count


def test_connection_only_with_viewers(brokers, start_server):
    """The second connection is made for the first viewer, shared, kept for a while, and closed
    after the last. The next viewer gets everything again."""
    broker = brokers.broker()
    server = start_server(config(broker.url), program=changing(fleet_linger_s=0.3))
    server.wait_for_log("connected to .* as house-here$")
    assert not logged(broker, "house-here-fleet")
    with FleetViewer(server) as one, FleetViewer(server) as other:
        for viewer in (one, other):
            viewer.until(lambda: "house/here" in viewer.pis)  # noqa: B023
    server.wait_for_log("no longer watching the Pis below house/\\+")
    assert len(re.findall("as house-here-fleet", server.log)) == 1
    assert [pi["topic"] for pi in ask(server, "GET", "/api/fleet").json["pis"]] == ["house/here"]
    server.wait_for_log("no longer watching the Pis", again=1)
    with FleetViewer(server) as viewer:
        viewer.until(lambda: "house/here" in viewer.pis)
        switch(server, "lamp", 1)
        viewer.until(lambda: viewer.value("house/here", "lamp") == 1)


# ---------------------------------------------------------------- failures


def test_unreachable_broker(brokers, start_server):
    """Without the broker the fleet is answered, with the error and without its details."""
    broker = brokers.broker()
    broker.kill()
    server = start_server(config(broker.url))
    with FleetViewer(server) as viewer:
        viewer.until(lambda: viewer.broker["error"])
        assert not viewer.broker["connected"]
        assert viewer.broker["error"] == BROKER_ERROR  # and neither host nor user
        broker.start()
        viewer.until(lambda: "house/here" in viewer.pis)
        assert viewer.broker == {"connected": True, "error": None}


def test_restarted_broker(brokers, fake_pis, start_server):
    """When the broker restarts, viewers get its state and waiting commands fail with `no-answer`.
    Pis that do not return are offline, the others have their present state."""
    broker = brokers.broker()
    lamp = pin("lamp", mode="output", writable=True)
    mute = brokers.subscriber(broker, "house/mute/#")
    others = fake_pis(broker)
    others.describe("house/mute", "mute", [lamp])
    here = start_server(config(broker.url), program=IMPATIENT)
    there = start_server(config(broker.url, "house/there", CONTROL))
    with FleetViewer(here) as viewer:
        viewer.until(lambda: {"house/mute", "house/there"} <= viewer.pis.keys())
        viewer.client.send(type="set", pi="house/mute", pin="lamp", value=1, ref=1)
        mute.wait_for_topic("house/mute/pins/lamp/set")
        others.close()
        broker.kill()
        viewer.until(lambda: viewer.answers)
        assert viewer.answers[0]["code"] == "no-answer"
        viewer.until(lambda: not viewer.broker["connected"])
        to_there = {"type": "set", "pi": "house/there", "pin": "lamp", "value": 1}
        words = "the broker is unreachable: nothing was sent"
        assert viewer.error_of(**to_there) == ("unavailable", words)
        switch(there, "fan", 0.5)
        broker.start()
        viewer.until(lambda: viewer.broker["connected"])
        viewer.until(lambda: viewer.value("house/there", "fan") == 0.5)
        viewer.until(lambda: not viewer.pis["house/mute"]["online"])
        viewer.until(lambda: viewer.pis["house/there"]["online"])
        assert viewer.ask(**to_there)["type"] == "result"


def test_reload_and_stop_close_viewers(brokers, fake_pis, start_server, tmp_path):
    """A reload without `fleet` closes all viewers, one with it accepts them again. A waiting
    command gets an answer when the server stops, and the viewer a close code."""
    broker = brokers.broker()
    fake_pis(broker).describe("house/mute", "mute", [pin("lamp", mode="output", writable=True)])
    server = start_server(config(broker.url))
    file = tmp_path / "config-0.yaml"
    with FleetViewer(server) as viewer:
        viewer.until(lambda: "house/mute" in viewer.pis)
        file.write_text(config(broker.url, more=""))
        server.process.send_signal(signal.SIGHUP)
        assert viewer.client.close_code() == 1012
    assert ask(server, "GET", "/api/fleet").status == 404
    file.write_text(config(broker.url))
    before = server.log.count("serving http")
    server.process.send_signal(signal.SIGHUP)
    server.wait_for_log("serving http", again=before)
    with FleetViewer(server) as viewer:
        viewer.until(lambda: "house/mute" in viewer.pis)
        viewer.client.send(type="set", pi="house/mute", pin="lamp", value=1, ref=1)
        server.wait_for_log("lamp at house/mute: set to 1")
        server.process.send_signal(signal.SIGTERM)
        viewer.until(lambda: viewer.answers)
        assert (viewer.answers[0]["ref"], viewer.answers[0]["code"]) == (1, "no-answer")
        assert viewer.client.close_code() == 1001


# ---------------------------------------------------------------- hostile publishers


def test_hostile_publisher(brokers, fake_pis, start_server):
    """Garbage, huge messages, unknown pins and invalid addresses change nothing that is shown and
    cost one line in the log."""
    broker = brokers.broker()
    others = fake_pis(broker)
    lamp = pin("lamp", mode="output", writable=True, value=1)
    others.describe("house/good", "good", [lamp], url="javascript:alert(1)")
    others.publish("house/good/pins/trap", state(1))
    others.publish("house/good/pins/lamp", b"\xff not json")
    others.publish("house/good/pins/lamp", {"value": 7, "time": 1})
    others.publish("house/garbage/status", b"online")
    others.publish("house/garbage/describe", b"{" * 1000)
    others.publish("house/huge/status", b"online")
    others.publish("house/huge/describe", b"x" * 200_000)
    others.publish("house/many/status", b"online")
    many = description(
        "m" * 200, [pin(f"p{n}", label="x" * 64, error="e" * 600) for n in range(60)]
    )
    others.publish("house/many/describe", many)
    others.publish("house/odd/status", b"perhaps")
    others.publish("house//status", b"online")
    others.publish(f"house/{'long' * 50}/status", b"online")
    others.flush()
    server = start_server(config(broker.url))
    with FleetViewer(server) as viewer:
        viewer.until(lambda: {"house/good", "house/many", "house/here"} <= viewer.pis.keys())
        others.publish("house/good/pins/lamp", state(0))
        viewer.until(lambda: viewer.value("house/good", "lamp") == 0)
        others.publish("house/good/describe", b"[]")
        others.publish("house/good/pins/lamp", state(1))
        viewer.until(lambda: viewer.value("house/good", "lamp") == 1)
        assert set(viewer.pis) == {"house/good", "house/many", "house/here"}
        assert [pin["name"] for pin in viewer.pis["house/good"]["pins"]] == ["lamp"]
        assert viewer.pis["house/good"]["url"] is None
        many = viewer.pis["house/many"]["pins"]
        assert len(many) == 40 and len(many[0]["error"]) == 200
        switch(server, "lamp", 1)
        viewer.until(lambda: viewer.value("house/here", "lamp") == 1)
    assert len(re.findall("were invalid", server.log)) == 1


def test_too_many_pis(brokers, fake_pis, start_server):
    """Beyond the limit Pis are left out and viewers are told so. When one is removed there is
    room."""
    broker = brokers.broker()
    others = fake_pis(broker)
    server = start_server(config(broker.url), program=changing(fleet_max_pis=3))
    with FleetViewer(server) as viewer:
        viewer.until(lambda: "house/here" in viewer.pis)
        for name in "abcd":
            others.describe(f"house/{name}", name, [pin("lamp")])
        viewer.until(lambda: viewer.broker["error"])
        assert viewer.broker["connected"]
        assert "there are more Pis at the broker than can be shown" in viewer.broker["error"]
        assert len(viewer.pis) <= 3
        viewer.until(lambda: len(viewer.pis) == 3)


TOPICS = st.one_of(
    st.builds(
        "/".join,
        st.lists(
            st.sampled_from(["h", "a", "b", "pins", "status", "describe", "lamp", "", "\x1b"])
        ),
    ),
    st.text(),
)
PAYLOADS = st.one_of(
    st.binary(),
    st.sampled_from([b"online", b"offline", b""]),
    st.builds(lambda pins: json.dumps(description("x", pins)).encode(), st.lists(st.builds(
        lambda name, value: pin(name, value=value),
        st.sampled_from(["lamp", "door", "Nope"]), st.sampled_from([0, 1, 0.5, None, 7]),
    ), max_size=3)),
    st.builds(lambda value: json.dumps(state(value)).encode(), st.sampled_from([0, 1, None, 9])),
)  # fmt: skip


@given(
    st.lists(st.tuples(TOPICS, PAYLOADS, st.booleans(), st.booleans()), max_size=30),
    st.sampled_from([1, DEFAULT.fleet_max_news_bytes]),
)
def test_any_messages(messages, max_bytes):
    """No sequence of messages breaks the model, and the news add up to the whole, taken after each
    message or after several, in small lots or in large ones."""
    pis = Fleet("h/here", limits=Limits(fleet_max_news_bytes=max_bytes))
    shown: dict[str, dict[str, Any]] = {}
    for topic, payload, kept, is_told in [*messages, ("", b"", False, True)]:
        pis.receive(topic, payload, kept, 1e9)
        while is_told and pis.has_news:
            changes, renewed, removed = pis.take_news()
            for each in removed:
                shown.pop(each, None)
            for pi in map(json.loads, map(bytes, renewed)):
                shown[pi["topic"]] = {
                    pin["name"]: [pin["value"], pin["since"]] for pin in pi["pins"]
                }
            for each, pins in changes.items():
                shown[each] |= json.loads(bytes(pins))
    whole = {
        pi.topic: {pin.name: [pin.value, pin.since] for pin in pi.pins} for pi in pis.entries()
    }
    assert shown == whole
    assert all(re.fullmatch("h/[^/]+", topic) and topic.isprintable() for topic in whole)


def test_limit_of_pins():
    """However many pins are described, no more than the limit are kept."""
    pis = Fleet("h/here", limits=Limits(fleet_max_pins=100))
    many = json.dumps(description("x", [pin(f"p{n}") for n in range(40)])).encode()
    for n in range(5):
        pis.receive(f"h/pi-{n}/status", b"online", True, 1e9)
        pis.receive(f"h/pi-{n}/describe", many, True, 1e9)
    assert sum(len(pi.pins) for pi in pis.entries()) == 80
    assert pis.is_over_limit


def test_checked_urls():
    """The address of a Pi is plain http or https and nothing that would run in our page."""

    def told(url: str) -> str | None:
        pis = Fleet("h/here")
        pis.receive("h/pi/status", b"online", True, 1e9)
        pis.receive("h/pi/describe", json.dumps(description("x", [], url=url)).encode(), True, 1e9)
        return pis["h/pi"].url

    for fine in ("https://kitchen.local:8080/", "http://[::1]:80/"):
        assert told(fine) == fine
    for bad in ("javascript:alert(1)", "data:text/html,x", "https://", "//evil", "http://a b/",
                "http://me:secret@evil/", "http://[", "ftp://x/", ""):  # fmt: skip
        assert told(bad) is None, bad
