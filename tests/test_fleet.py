"""All Pis of a broker seen from one of them: what is told of them, whom they obey, and what becomes
of the server when somebody there is hostile."""

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
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raspi_server.messages import BROKER_ERROR
from raspi_server.mqtt import fleet
from raspi_server.mqtt.fleet import Pis

from .asking import ask
from .conftest import LIMIT, Server
from .fleet_rig import Chorus, description, pin, state
from .home import CODE
from .mqtt_rig import Brokers, Mosquitto
from .test_api import complaints
from .wire import Client, changing, plain, reset

HOUSE = """
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
IMPATIENT = changing("fleet_watcher.ANSWER_WITHIN = 1", "fleet_watcher.BACK_WITHIN = 0.5")


@pytest.fixture
def brokers(tmp_path: Path) -> Iterator[Brokers]:
    with Brokers(tmp_path) as found:
        yield found


@pytest.fixture
def chorus() -> Iterator[Callable[..., Chorus]]:
    choruses: list[Chorus] = []

    def begin(broker: Mosquitto, **account: str) -> Chorus:
        choruses.append(Chorus(broker, **account))
        return choruses[-1]

    yield begin
    for each in choruses:
        each.close()


def house(url: str, topic: str = "house/here", more: str = FLEET, access: str = "") -> str:
    return HOUSE.format(url=url, topic=topic, more=more, access=access)


class Looker:
    """One who looks at all Pis, as the page does: the whole first, and then what is news."""

    def __init__(self, server: Server, **headers: str) -> None:
        self.client = Client(server.port, path="/fleet/ws", headers=headers)
        self._messages = self.client.messages()
        self.hello = next(self._messages)
        whole = ask(server, "GET", "/api/fleet", **headers).json
        self.seq = whole["seq"]
        self.broker = whole["broker"]
        self.pis = {pi["topic"]: pi for pi in whole["pis"]}
        self.answers: list[dict[str, Any]] = []

    def __enter__(self) -> "Looker":
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.client.socket.close()

    def hear(self) -> dict[str, Any]:
        """The next message, taken to heart."""
        message = next(self._messages)
        if message["type"] == "hello":
            self.hello = message
        elif message["type"] == "broker":
            self.broker = {key: message[key] for key in ("connected", "error")}
        elif message["type"] in ("result", "error"):
            self.answers.append(message)
        elif message["type"] == "news" and message["seq"] > self.seq:
            assert message["seq"] == self.seq + 1
            self.seq = message["seq"]
            for topic in message.get("gone", []):
                del self.pis[topic]
            self.pis |= {pi["topic"]: pi for pi in message.get("pis", [])}
            for topic, pins in message.get("pins", {}).items():
                for name, (value, since) in pins.items():
                    self.pin(topic, name).update(value=value, since=since)
        return message

    def until(self, what: Callable[[], Any]) -> Any:
        """Hears on until something is so."""
        limit = time.monotonic() + LIMIT
        while not (found := what()):
            assert time.monotonic() < limit, f"it never was so: {self.broker}, {self.pis}"
            self.hear()
        return found

    def pin(self, topic: str, name: str) -> dict[str, Any]:
        return next(pin for pin in self.pis[topic]["pins"] if pin["name"] == name)

    def host(self, topic: str) -> Any:
        return topic in self.pis and self.pis[topic]["host"]

    def value(self, topic: str, name: str) -> Any:
        return topic in self.pis and self.pin(topic, name)["value"]

    def ask(self, **command: Any) -> dict[str, Any]:
        """The answer to a command."""
        count = len(self.answers)
        self.client.send(**command)
        self.until(lambda: len(self.answers) > count)
        return self.answers[-1]

    def refusal(self, **command: Any) -> tuple[str, str]:
        answer = self.ask(**command)
        assert answer["type"] == "error", answer
        return answer["code"], answer["message"]


def switch(server: Server, name: str, value: float) -> None:
    assert ask(server, "PUT", f"/api/pins/{name}", {"value": value}).status == 200


def value(server: Server, name: str) -> Any:
    return ask(server, "GET", f"/api/pins/{name}").json["value"]


# ---------------------------------------------------------------- what is seen


def test_all_pis_are_seen(brokers, start_server):
    """Who asks one Pi is told of all, with their pins as they are, in the documented form; two Pis
    of other depths or roots are others' business."""
    broker = brokers.broker()
    here = start_server(house(broker.url, "farm/office/here"))
    there = start_server(house(broker.url, "farm/house-3/there", CONTROL))
    for topic in ("farm/deep/er/pi", "farm/shallow", "other/house-3/there"):
        start_server(house(broker.url, topic, CONTROL)).wait_for_log("mqtt: connected")
    there.wait_for_log("mqtt: connected")
    with Looker(here) as looker:
        looker.until(lambda: looker.value("farm/house-3/there", "lamp") is not False)
        looker.until(lambda: "farm/office/here" in looker.pis)
        assert set(looker.pis) == {"farm/office/here", "farm/house-3/there"}
        pi = looker.pis["farm/house-3/there"]
        known = ask(there, "GET", "/api/pins").json["pins"]
        for told, pin in zip(pi["pins"], known, strict=True):
            assert told == {**{key: pin[key] for key in told}, "writable": told["writable"]}
        assert [pin["writable"] for pin in pi["pins"]] == [False, True, True, True, False]
        assert not any(pin["writable"] for pin in looker.pis["farm/office/here"]["pins"])
        assert (pi["group"], pi["online"], pi["simulated"]) == ("house-3", True, True)
        assert re.fullmatch(rf"http://.+:{there.port}/", pi["url"])
        assert looker.broker == {"connected": True, "error": None}
    answer = ask(here, "GET", "/api/fleet")
    described = ask(here, "GET", "/api/openapi.json").json
    assert complaints(described, "GET", "/api/fleet", answer) == []
    assert ask(here, "GET", "/api").json["links"]["fleet"] == "/api/fleet"


def test_a_change_is_told_with_its_own_time(brokers, start_server):
    """What is switched at one Pi is told to who looks from another, with the time of the change."""
    broker = brokers.broker()
    here = start_server(house(broker.url))
    there = start_server(house(broker.url, "house/there", CONTROL))
    with Looker(here) as looker:
        looker.until(lambda: "house/there" in looker.pis)
        switch(there, "lamp", 1)
        looker.until(lambda: looker.value("house/there", "lamp") == 1)
        since = ask(there, "GET", "/api/pins/lamp").json["since"]
        assert looker.pin("house/there", "lamp")["since"] == since


def test_a_link_that_lives_says_so(brokers, start_server):
    """While nothing changes a ping comes now and then, and nothing else."""
    broker = brokers.broker()
    server = start_server(house(broker.url), program=changing("fleet_watcher.ALIVE_EVERY = 0.1"))
    with Looker(server) as looker:
        looker.until(lambda: "house/here" in looker.pis)
        looker.until(lambda: looker.hear()["type"] == "ping")
        assert [looker.hear()["type"] for _ in range(5)] == ["ping"] * 5


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_who_goes_is_offline_with_a_last_word(brokers, start_server, how):
    """A Pi that stops or crashes is told of as offline, with its last values and when it was; so is
    one that went before anybody looked."""
    broker = brokers.broker()
    here = start_server(house(broker.url))
    there = start_server(house(broker.url, "house/there"))
    with Looker(here) as looker:
        looker.until(lambda: looker.value("house/there", "lamp") == 0)
        switch(there, "lamp", 1)
        looker.until(lambda: looker.value("house/there", "lamp") == 1)
        heard = looker.pin("house/there", "lamp")["since"]
        before = time.time()
        there.stop(how)
        looker.until(lambda: not looker.pis["house/there"]["online"])
        assert looker.value("house/there", "lamp") == 1
        assert looker.pis["house/there"]["heard"] >= before
    late = start_server(house(broker.url, "house/late"))
    with Looker(late) as looker:
        pi = looker.until(lambda: looker.pis.get("house/there"))
        assert (pi["online"], looker.value("house/there", "lamp")) == (False, 1)
        assert pi["heard"] == heard


def test_who_is_taken_away_is_gone(brokers, chorus, start_server):
    """A Pi whose retained messages are emptied is no more; one that describes itself anew is shown
    as it is now."""
    broker = brokers.broker()
    choir = chorus(broker)
    choir.describe("house/old", "old", [pin("lamp"), pin("door")])
    server = start_server(house(broker.url))
    with Looker(server) as looker:
        looker.until(lambda: "house/old" in looker.pis)
        choir.say("house/old/describe", description("older", [pin("gate")]))
        looker.until(lambda: looker.host("house/old") == "older")
        assert [pin["name"] for pin in looker.pis["house/old"]["pins"]] == ["gate"]
        choir.say("house/old/describe", b"")
        choir.say("house/old/status", b"")
        looker.until(lambda: "house/old" not in looker.pis)
        choir.describe("house/old", "old", [pin("lamp", value=1)])
        looker.until(lambda: looker.value("house/old", "lamp") == 1)


def test_a_big_house_is_told_whole(brokers, chorus, start_server):
    """Of many Pis none is missing, nor a pin of theirs, though Mosquitto drops what is more than
    1,000 messages at once."""
    broker = brokers.broker("log_type error", "log_type notice")
    choir = chorus(broker)
    pins = [pin(f"in{n}", value=0) for n in range(10)]
    for n in range(300):
        choir.describe(f"house/pi-{n}", f"pi-{n}", pins)
        choir.say(f"house/pi-{n}/pins/in7", state(1))
    choir.flush()
    server = start_server(house(broker.url))
    with Looker(server) as looker:
        looker.until(lambda: len(looker.pis) == 301)
        for n in range(300):
            looker.until(lambda: looker.value(f"house/pi-{n}", "in7") == 1)  # noqa: B023
    assert len(ask(server, "GET", "/api/fleet").json["pis"]) == 301
    hasty = plain(server.port, receive_buffer=2048)
    hasty.sendall(b"GET /api/fleet HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    assert hasty.recv(100).startswith(b"HTTP/1.1 200")
    reset(hasty)
    assert len(ask(server, "GET", "/api/fleet").json["pis"]) == 301


# ---------------------------------------------------------------- what is switched


def test_a_switch_far_away(brokers, start_server):
    """What is asked for here happens there, is answered, and stands in both journals."""
    broker = brokers.broker()
    here = start_server(house(broker.url))
    there = start_server(house(broker.url, "house/there", CONTROL))
    with Looker(here) as looker:
        assert looker.hello == {
            "type": "hello", "seq": 0, "access": "control", "signed_in": None,
            "code_would_help": False,
        }  # fmt: skip
        looker.until(lambda: "house/there" in looker.pis)
        to = {"pi": "house/there", "pin": "lamp"}
        done = looker.ask(type="set", value=1, ref="a", **to)
        assert done == {"type": "result", "ref": "a", "pin": "lamp", "value": 1}
        assert value(there, "lamp") == 1
        here.wait_for_log("lamp at house/there: set to 1, by 127.0.0.1$")
        there.wait_for_log(r"lamp \(GPIO27\): on, by mqtt$")
        looker.until(lambda: looker.value("house/there", "lamp") == 1)
        assert looker.ask(type="toggle", ref=2, **to)["value"] == 0
        assert looker.ask(type="set", value=0.35, pi="house/there", pin="fan")["value"] == 0.35
        gate = {"pi": "house/there", "pin": "gate"}
        assert looker.ask(type="pulse", seconds=0.05, **gate)["value"] == 1
        assert looker.ask(type="pulse", **gate)["type"] == "result"


def test_what_is_no_command_is_refused(brokers, chorus, start_server):
    """Whatever cannot be done is answered at once with the reason, and the Pi hears nothing."""
    broker = brokers.broker()
    choir = chorus(broker)
    choir.describe("house/away", "away", [pin("lamp", mode="output", writable=True)], online=False)
    here = start_server(house(broker.url))
    there = start_server(house(broker.url, "house/there", CONTROL))
    ear = brokers.ear(broker, "house/+/pins/+/set")
    there.wait_for_log("mqtt: connected")
    with Looker(here) as looker:
        looker.until(lambda: {"house/here", "house/there", "house/away"} <= looker.pis.keys())
        host = looker.host("house/there")

        def refusal(pi: str, name: str) -> tuple[str, str]:
            return looker.refusal(type="set", pi=pi, pin=name, value=1)

        assert refusal("house/none", "lamp") == ("not-found", "there is no Pi at 'house/none'")
        assert refusal("house/there", "x") == ("unknown-pin", f"{host} has no pin 'x'")
        assert refusal("house/there", "door") == ("not-writable", f"door of {host} is an input")
        nobody = f"{host} lets nobody at the broker switch"
        assert refusal("house/there", "heater") == ("not-allowed", f"{nobody} heater")
        assert refusal("house/here", "lamp") == ("not-allowed", f"{nobody} lamp")
        offline = ("unavailable", "away is offline: nothing was sent")
        assert refusal("house/away", "lamp") == offline
        code, words = looker.refusal(type="set", pi="house/there", pin="lamp", ref=3)
        assert code == "bad-message" and "value" in words
        assert looker.answers[-1]["ref"] == 3
        assert ear.heard == []
        code, words = looker.refusal(type="set", pi="house/there", pin="fan", value=7, ref="x")
        assert (code, looker.answers[-1]["ref"]) == ("bad-value", "x")
        assert words.startswith(f"{host}: ")
        for _ in range(200):
            looker.client.send(type="toggle", pi="house/there", pin="door")
        looker.until(lambda: looker.answers and looker.answers[-1]["code"] == "too-fast")
        assert looker.client.close_code() == 1008


def test_who_does_not_answer(brokers, chorus, start_server):
    """A Pi that says nothing is not waited for; what comes later, or from elsewhere, or not to this
    question, is no answer."""
    broker = brokers.broker()
    choir = chorus(broker)
    pins = [pin(name, mode="output", writable=True) for name in ("lamp", "gate")]
    choir.describe("house/mute", "mute", pins)
    server = start_server(house(broker.url), program=IMPATIENT)
    ear = brokers.ear(broker, "house/mute/pins/+/set")
    with Looker(server) as looker:
        looker.until(lambda: "house/mute" in looker.pis)
        looker.client.send(type="set", pi="house/mute", pin="lamp", value=1, ref=1)
        asked = ear.wait_for_topic("house/mute/pins/lamp/set")[0]
        assert asked.json == {"type": "set", "ref": asked.json["ref"], "value": 1}
        assert (asked.qos, asked.retained, asked.lifetime) == (1, False, 1)
        answer = {"type": "result", "ref": asked.json["ref"], "pin": "lamp", "value": 1}
        choir.say("house/mute/pins/gate/result", answer, retain=False)
        choir.say("house/mute/pins/lamp/result", {**answer, "ref": 1}, retain=False)
        choir.say("house/mute/pins/lamp/result", b"}", retain=False)
        looker.until(lambda: looker.answers)
        assert looker.answers[0]["code"] == "no-answer"
        assert looker.answers[0]["message"] == "mute did not answer within 1 s"
        choir.say("house/mute/pins/lamp/result", answer, retain=False)
        choir.flush()
        assert looker.refusal(type="set", pi="house/mute", pin="x", value=1)[0] == "unknown-pin"
        assert len(looker.answers) == 2


@pytest.fixture
def guarded(brokers: Brokers) -> Mosquitto:
    """A broker that lets kitchen switch others, with the lines that the documentation shows, hall
    only look at them, and blind not even that."""
    text = (Path(__file__).parent.parent / "docs/mqtt.md").read_text()
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


def test_the_permissions_of_the_broker_hold(guarded, start_server, tmp_path):
    """Who may publish there switches, with the very lines that the documentation shows; who may
    not is told at once that the ACL is in the way; who may not read sees itself."""
    (tmp_path / "password").write_text("secret\n")
    servers = {}
    for user in ("kitchen", "hall", "blind"):
        more = f"{FLEET}{CONTROL}, user: {user}, password_file: password"
        servers[user] = start_server(house(guarded.url, f"house/{user}", more))
    to = {"type": "set", "pi": "house/hall", "pin": "lamp"}
    with Looker(servers["kitchen"]) as looker:
        looker.until(lambda: "house/hall" in looker.pis)
        assert looker.ask(value=1, **to)["type"] == "result"
        assert value(servers["hall"], "lamp") == 1
    with Looker(servers["hall"]) as looker:
        looker.until(lambda: "house/kitchen" in looker.pis)
        code, words = looker.refusal(type="set", pi="house/kitchen", pin="lamp", value=1)
        assert code == "not-allowed"
        assert "does not let us publish house/kitchen/pins/lamp/set as hall" in words
        assert words.endswith("its ACL is in the way")
        assert value(servers["kitchen"], "lamp") == 0
        assert looker.ask(value=0, **to)["type"] == "result"
        assert looker.broker == {"connected": True, "error": None}
    with Looker(servers["blind"]) as looker:
        looker.until(lambda: "house/blind" in looker.pis)
        assert set(looker.pis) == {"house/blind"}


# ---------------------------------------------------------------- who may look and switch


def signed_in(server: Server, file: Path, right: str, state: Path) -> dict[str, str]:
    """The header of one who has a new code."""
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


def test_the_rules_of_this_server_hold(brokers, start_server, tmp_path):
    """Who may not look sees no Pi, who may not switch here switches none there, and who shows the
    code does both; a new code ends what the old one allowed."""
    broker = brokers.broker()
    keeping = {"env": {**os.environ, "STATE_DIRECTORY": str(tmp_path)}}
    text = house(broker.url, access=", view: code").replace("everyone", "code", 1)
    here = start_server(text, **keeping)
    file = tmp_path / "config-0.yaml"
    there = start_server(house(broker.url, "house/there", CONTROL))
    there.wait_for_log("mqtt: connected")
    assert ask(here, "GET", "/api/fleet").status == 401
    with Client(here.port, path="/fleet/ws") as stranger:
        assert stranger.close_code() == 4401
    view = signed_in(here, file, "view", tmp_path)
    control = signed_in(here, file, "control", tmp_path)
    order = {"type": "set", "pi": "house/there", "pin": "lamp", "value": 1}
    with Looker(here, **view) as looker:
        assert (looker.hello["access"], looker.hello["code_would_help"]) == ("view", True)
        looker.until(lambda: "house/there" in looker.pis)
        host = looker.host("house/there")
        needed = f"switching lamp of {host} needs the control code of this Pi"
        assert looker.refusal(**order) == ("sign-in", needed)
        assert value(there, "lamp") == 0
        with Looker(here, **control) as other:
            assert other.hello["access"] == "control"
            other.until(lambda: "house/there" in other.pis)
            assert other.ask(**order)["type"] == "result"
            here.wait_for_log(r"by 127\.0\.0\.1 \(control code\)$")
        file.write_text(text.replace("control: code", "control: nobody"))
        here.process.send_signal(signal.SIGHUP)
        looker.until(lambda: not looker.hello["code_would_help"])
        nobody = "nobody may switch other Pis from here (access.control: nobody)"
        assert looker.refusal(**order) == ("not-allowed", nobody)
        signed_in(here, file, "view", tmp_path)
        assert looker.client.close_code() == 4401


def commands(topic: str) -> list[dict[str, Any]]:
    """All commands that there are, to its lamp."""
    to = {"pi": topic, "pin": "lamp"}
    return [
        {"type": "set", "value": 1, **to},
        {"type": "toggle", **to},
        {"type": "pulse", "seconds": 60, **to},
    ]


def test_the_control_of_a_pin_holds(brokers, start_server, tmp_path):
    """A pin with `control: code` is refused to guests on the page of all Pis as on that of its own,
    be it of this Pi or of another, and switched for the one who shows the code; other pins of both
    are everybody's. A reload that changes it is told and holds."""
    broker = brokers.broker()
    keeping = {"env": {**os.environ, "STATE_DIRECTORY": str(tmp_path)}}
    more = f"{FLEET}{CONTROL}"
    plain_lamp, guarded_lamp = "lamp: {gpio: 27,", "lamp: {gpio: 27, control: code,"
    text = house(broker.url, more=more).replace(plain_lamp, guarded_lamp)
    here = start_server(text, **keeping)
    file = tmp_path / "config-0.yaml"
    there = start_server(
        house(broker.url, "house/there", CONTROL).replace(plain_lamp, guarded_lamp)
    )
    control = signed_in(here, file, "control", tmp_path)
    both = ("house/here", "house/there")
    assert ask(here, "PUT", "/api/pins/lamp", {"value": 1}).refusal[1] == "sign-in"
    ear = brokers.ear(broker, "house/+/pins/lamp/set")
    with Looker(here) as guest, Looker(here, **control) as owner:
        assert (guest.hello["signed_in"], owner.hello["signed_in"]) == (None, "control")
        for each in (guest, owner):
            each.until(lambda: set(both) <= each.pis.keys())  # noqa: B023
            for topic in both:
                told = {name: each.pin(topic, name)["control"] for name in ("lamp", "fan", "door")}
                assert told == {"lamp": "code", "fan": "everyone", "door": None}
                assert each.pin(topic, "lamp")["writable"]
        for topic, server in zip(both, (here, there), strict=True):
            for order in commands(topic):
                assert guest.refusal(**order)[0] == "sign-in"
            assert value(server, "lamp") == 0
            assert guest.ask(type="set", pi=topic, pin="fan", value=0.5)["value"] == 0.5
        assert ear.heard == []
        for topic, server in zip(both, (here, there), strict=True):
            for order in commands(topic):
                assert owner.ask(**order)["type"] == "result"
            assert value(server, "lamp") == 1
        file.write_text(text.replace("control: everyone", "control: code").replace(
            "fan: {gpio: 18,", "fan: {gpio: 18, control: everyone,"))  # fmt: skip
        here.process.send_signal(signal.SIGHUP)
        guest.until(lambda: guest.pin("house/there", "fan")["control"] == "code")
        guest.until(lambda: guest.pin("house/here", "fan")["control"] == "everyone")
        assert guest.refusal(type="set", pi="house/there", pin="fan", value=1)[0] == "sign-in"
        assert guest.ask(type="set", pi="house/here", pin="fan", value=1)["value"] == 1


def test_who_lies_about_control(brokers, chorus, start_server, tmp_path):
    """What is told in the name of this Pi opens nothing of it, and a Pi of an older release, which
    does not tell whom it lets switch, may need the code."""
    broker = brokers.broker()
    keeping = {"env": {**os.environ, "STATE_DIRECTORY": str(tmp_path)}}
    text = house(broker.url, more=f"{FLEET}{CONTROL}")
    here = start_server(text.replace("lamp: {", "lamp: {control: code, "), **keeping)
    control = signed_in(here, tmp_path / "config-0.yaml", "control", tmp_path)
    choir = chorus(broker)
    pins = [pin(name, mode="output", writable=True) for name in ("lamp", "heater", "x", "door")]
    old = {key: value for key, value in pins[0].items() if key != "control"}
    choir.describe("house/old", "old", [old])
    silenced = [pin("lamp", mode="output", writable=True, control="nobody")]
    choir.describe("house/mad", "mad", silenced)
    ear = brokers.ear(broker, "house/+/pins/+/set")
    with Looker(here) as guest, Looker(here, **control) as owner:
        for each in (guest, owner):
            each.until(lambda: {"house/here", "house/old", "house/mad"} <= each.pis.keys())  # noqa: B023
        choir.say("house/here/describe", description("mine", pins))
        owner.until(lambda: owner.host("house/here") == "mine")
        guest.until(lambda: guest.host("house/here") == "mine")
        told = {each["name"]: each["control"] for each in guest.pis["house/here"]["pins"]}
        assert told == {"lamp": "code", "heater": "nobody", "x": "nobody", "door": "everyone"}
        codes = {
            name: guest.refusal(type="set", pi="house/here", pin=name, value=1)[0] for name in told
        }
        assert codes["lamp"] == "sign-in" and codes["heater"] == "not-allowed"
        assert codes["x"] == "unknown-pin"
        assert owner.refusal(type="set", pi="house/here", pin="heater", value=1)[0] == "not-allowed"
        assert guest.pin("house/old", "lamp")["control"] == "code"
        assert guest.refusal(type="set", pi="house/old", pin="lamp", value=1)[0] == "sign-in"
        assert guest.refusal(type="set", pi="house/mad", pin="lamp", value=1)[0] == "not-allowed"
        assert not any("lamp" in each.topic for each in ear.heard)
        owner.client.send(type="set", pi="house/old", pin="lamp", value=1)
        ear.wait_for_topic("house/old/pins/lamp/set")


@pytest.mark.parametrize(
    ("headers", "status"),
    [({"Host": "evil.example"}, 421), ({"Origin": "http://evil.example"}, 403)],
)
def test_pages_of_others_are_kept_out(brokers, start_server, headers, status):
    """A page of another site, or one that gave its name our address, gets no socket."""
    server = start_server(house(brokers.broker().url))
    handshake = {
        "Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
    }  # fmt: skip
    assert ask(server, "GET", "/fleet/ws", **handshake, **headers).status == status
    assert ask(server, "GET", "/fleet/ws", **handshake).status == 101


# ---------------------------------------------------------------- what costs nothing


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
    there is no socket; with it all of that is there."""
    broker = brokers.broker()
    off = start_server(house(broker.url, more=""), program=COUNTING)
    on = start_server(house(broker.url, "house/there"), program=COUNTING)
    status, code, words = ask(off, "GET", "/api/fleet").refusal
    assert (status, code) == (404, "not-found")
    assert "config.yaml does not say fleet: true below mqtt:" in words
    assert ask(off, "HEAD", "/api/fleet").status == 404
    with pytest.raises(AssertionError, match="HTTP/1.1 404"):
        Client(off.port, path="/fleet/ws")
    with Client(off.port) as client:
        assert next(client.messages())["fleet"] is False
    with Client(on.port) as client:
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
    """Whether the broker has logged it so often."""
    return sum(words in line for line in broker.log) >= count


def test_nobody_looks_nothing_is_heard(brokers, start_server):
    """The second connection comes with the first who looks, is shared, stays for a while, and goes
    after the last; who looks again finds everything."""
    broker = brokers.broker()
    server = start_server(house(broker.url), program=changing("fleet_watcher.LINGER = 0.3"))
    server.wait_for_log("connected to .* as house-here$")
    assert not logged(broker, "house-here-fleet")
    with Looker(server) as one, Looker(server) as other:
        for looker in (one, other):
            looker.until(lambda: "house/here" in looker.pis)  # noqa: B023
    server.wait_for_log("nobody looks at the Pis below house/\\+ any more")
    assert len(re.findall("as house-here-fleet", server.log)) == 1
    assert [pi["topic"] for pi in ask(server, "GET", "/api/fleet").json["pis"]] == ["house/here"]
    server.wait_for_log("nobody looks at the Pis", again=1)
    with Looker(server) as looker:
        looker.until(lambda: "house/here" in looker.pis)
        switch(server, "lamp", 1)
        looker.until(lambda: looker.value("house/here", "lamp") == 1)


# ---------------------------------------------------------------- what goes wrong


def test_a_broker_that_is_not_there(brokers, start_server):
    """Without a broker the whole is told all the same, that something is wrong, and nothing is
    sent."""
    broker = brokers.broker()
    broker.kill()
    server = start_server(house(broker.url))
    with Looker(server) as looker:
        looker.until(lambda: looker.broker["error"])
        assert not looker.broker["connected"]
        assert looker.broker["error"] == BROKER_ERROR  # and neither host nor user
        broker.start()
        looker.until(lambda: "house/here" in looker.pis)
        assert looker.broker == {"connected": True, "error": None}


def test_a_broker_that_comes_back(brokers, chorus, start_server):
    """When the broker restarts, who looks is told so; who asked is told that nobody knows; Pis that
    do not come back are offline, and those that do are as they are."""
    broker = brokers.broker()
    lamp = pin("lamp", mode="output", writable=True)
    mute = brokers.ear(broker, "house/mute/#")
    choir = chorus(broker)
    choir.describe("house/mute", "mute", [lamp])
    here = start_server(house(broker.url), program=IMPATIENT)
    there = start_server(house(broker.url, "house/there", CONTROL))
    with Looker(here) as looker:
        looker.until(lambda: {"house/mute", "house/there"} <= looker.pis.keys())
        looker.client.send(type="set", pi="house/mute", pin="lamp", value=1, ref=1)
        mute.wait_for_topic("house/mute/pins/lamp/set")
        choir.close()
        broker.kill()
        looker.until(lambda: looker.answers)
        assert looker.answers[0]["code"] == "no-answer"
        looker.until(lambda: not looker.broker["connected"])
        to_there = {"type": "set", "pi": "house/there", "pin": "lamp", "value": 1}
        words = "the broker is not there: nothing was sent"
        assert looker.refusal(**to_there) == ("unavailable", words)
        switch(there, "fan", 0.5)
        broker.start()
        looker.until(lambda: looker.broker["connected"])
        looker.until(lambda: looker.value("house/there", "fan") == 0.5)
        looker.until(lambda: not looker.pis["house/mute"]["online"])
        looker.until(lambda: looker.pis["house/there"]["online"])
        assert looker.ask(**to_there)["type"] == "result"


def test_a_reload_and_a_stop_leave_nobody_hanging(brokers, chorus, start_server, tmp_path):
    """A reload without `fleet` sends everybody away, one with it lets them in again; who waits for
    an answer when the server stops gets one, and a goodbye."""
    broker = brokers.broker()
    chorus(broker).describe("house/mute", "mute", [pin("lamp", mode="output", writable=True)])
    server = start_server(house(broker.url))
    file = tmp_path / "config-0.yaml"
    with Looker(server) as looker:
        looker.until(lambda: "house/mute" in looker.pis)
        file.write_text(house(broker.url, more=""))
        server.process.send_signal(signal.SIGHUP)
        assert looker.client.close_code() == 1012
    assert ask(server, "GET", "/api/fleet").status == 404
    file.write_text(house(broker.url))
    before = server.log.count("serving http")
    server.process.send_signal(signal.SIGHUP)
    server.wait_for_log("serving http", again=before)
    with Looker(server) as looker:
        looker.until(lambda: "house/mute" in looker.pis)
        looker.client.send(type="set", pi="house/mute", pin="lamp", value=1, ref=1)
        server.wait_for_log("lamp at house/mute: set to 1")
        server.process.send_signal(signal.SIGTERM)
        looker.until(lambda: looker.answers)
        assert (looker.answers[0]["ref"], looker.answers[0]["code"]) == (1, "no-answer")
        assert looker.client.close_code() == 1001


# ---------------------------------------------------------------- hostile publishers


def test_a_hostile_publisher(brokers, chorus, start_server):
    """Garbage, huge messages, traps and addresses that are none change nothing that is shown, cost
    a line in the log, and nobody else anything."""
    broker = brokers.broker()
    choir = chorus(broker)
    lamp = pin("lamp", mode="output", writable=True, value=1)
    choir.describe("house/good", "good", [lamp], url="javascript:alert(1)")
    choir.say("house/good/pins/trap", state(1))
    choir.say("house/good/pins/lamp", b"\xff not json")
    choir.say("house/good/pins/lamp", {"value": 7, "time": 1})
    choir.say("house/garbage/status", b"online")
    choir.say("house/garbage/describe", b"{" * 1000)
    choir.say("house/huge/status", b"online")
    choir.say("house/huge/describe", b"x" * 200_000)
    choir.say("house/many/status", b"online")
    many = description(
        "m" * 200, [pin(f"p{n}", label="x" * 64, error="e" * 600) for n in range(60)]
    )
    choir.say("house/many/describe", many)
    choir.say("house/odd/status", b"perhaps")
    choir.say("house//status", b"online")
    choir.say(f"house/{'long' * 50}/status", b"online")
    choir.flush()
    server = start_server(house(broker.url))
    with Looker(server) as looker:
        looker.until(lambda: {"house/good", "house/many", "house/here"} <= looker.pis.keys())
        choir.say("house/good/pins/lamp", state(0))
        looker.until(lambda: looker.value("house/good", "lamp") == 0)
        choir.say("house/good/describe", b"[]")
        choir.say("house/good/pins/lamp", state(1))
        looker.until(lambda: looker.value("house/good", "lamp") == 1)
        assert set(looker.pis) == {"house/good", "house/many", "house/here"}
        assert [pin["name"] for pin in looker.pis["house/good"]["pins"]] == ["lamp"]
        assert looker.pis["house/good"]["url"] is None
        many = looker.pis["house/many"]["pins"]
        assert len(many) == 40 and len(many[0]["error"]) == 200
        switch(server, "lamp", 1)
        looker.until(lambda: looker.value("house/here", "lamp") == 1)
    assert len(re.findall("were not understood", server.log)) == 1


def test_too_many_pis(brokers, chorus, start_server):
    """Of more Pis than are borne some are left out, and that is said; when one is taken away there
    is room again."""
    broker = brokers.broker()
    choir = chorus(broker)
    server = start_server(house(broker.url), program=changing(
        "from raspi_server.mqtt import fleet", "fleet.MOST_PIS = 3"))  # fmt: skip
    with Looker(server) as looker:
        looker.until(lambda: "house/here" in looker.pis)
        for name in "abcd":
            choir.describe(f"house/{name}", name, [pin("lamp")])
        looker.until(lambda: looker.broker["error"])
        assert looker.broker["connected"]
        assert "there are more Pis at the broker than can be shown" in looker.broker["error"]
        assert len(looker.pis) <= 3
        looker.until(lambda: len(looker.pis) == 3)


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
    st.sampled_from([1, fleet.MOST_AT_ONCE]),
)
def test_whatever_is_published(messages, most):
    """No message, whatever it is and in whatever order it comes, breaks what is known; and the news
    add up to the whole, be they taken after each message or after several, in small lots or in
    large ones."""
    pis = Pis("h/here")
    shown: dict[str, dict[str, Any]] = {}
    for topic, payload, kept, is_told in [*messages, ("", b"", False, True)]:
        pis.take(topic, payload, kept, 1e9)
        while is_told and pis.has_news:
            with mock.patch.object(fleet, "MOST_AT_ONCE", most):
                changes, renewed, gone = pis.take_news()
            for each in gone:
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


def test_pins_in_all_are_bounded(monkeypatch):
    """However many Pis describe however many pins, no more are kept than fit."""
    monkeypatch.setattr(fleet, "MOST_PINS_IN_ALL", 100)
    pis = Pis("h/here")
    many = json.dumps(description("x", [pin(f"p{n}") for n in range(40)])).encode()
    for n in range(5):
        pis.take(f"h/pi-{n}/status", b"online", True, 1e9)
        pis.take(f"h/pi-{n}/describe", many, True, 1e9)
    assert sum(len(pi.pins) for pi in pis.entries()) == 80
    assert pis.are_too_many


def test_only_addresses_are_linked():
    """A Pi may link to its own page, and to nothing that would run in ours."""

    def told(url: str) -> str | None:
        pis = Pis("h/here")
        pis.take("h/pi/status", b"online", True, 1e9)
        pis.take("h/pi/describe", json.dumps(description("x", [], url=url)).encode(), True, 1e9)
        return pis["h/pi"].url

    for fine in ("https://kitchen.local:8080/", "http://[::1]:80/"):
        assert told(fine) == fine
    for bad in ("javascript:alert(1)", "data:text/html,x", "https://", "//evil", "http://a b/",
                "http://me:secret@evil/", "http://[", "ftp://x/", ""):  # fmt: skip
        assert told(bad) is None, bad
