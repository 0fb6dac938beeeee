"""The fleet as one of its Pis shows it: contents, rights, and failures of the broker."""

import re
import shlex
import signal
import subprocess
import time
from pathlib import Path

import pytest

from raspi_server.messages import BROKER_ERROR
from raspi_server.security.codes import Codes
from tests.support.coded_server import folders
from tests.support.fleet import BEGAN, FakePis, FleetViewer, cover, description, pin
from tests.support.http import ask
from tests.support.mqtt import CONTROL, COVERS, Mosquitto, config, reload, switch
from tests.support.server import LIMIT, Server, changing
from tests.support.websocket import WebSocketClient
from tests.web.test_api import complaints

FLEET = ", fleet: true"
HERE, THERE = "farm/office/here", "farm/house-3/there"
MUTE = "farm/hall/mute"
"""A Pi that answers no commands."""
LAMP = pin("lamp", mode="output", writable=True)


def here_config(broker: Mosquitto, more: str = FLEET, access: str = "") -> str:
    return config(broker.url, more, HERE, access)


@pytest.fixture
def fleet(brokers, start_server) -> tuple[FakePis, Server, Server]:
    """Fake Pis, a server that shows the fleet, and one that accepts commands from the broker."""
    broker = brokers.broker()
    here = start_server(here_config(broker), program=changing(fleet_ping_interval_s=0.1))
    there = start_server(config(broker.url, CONTROL, THERE))
    return brokers.enter_context(FakePis(broker, "farm/+/+/pins/+/set")), here, there


def test_all_pis_are_shown_and_switched(fleet):
    """One Pi shows all Pis of its depth and first level, with the time of what it heard. A command
    to another Pi is carried out, answered, and logged by both. Else only `ping` is sent."""
    others, here, there = fleet
    of_others = {"farm/deep/er/pi", "farm/shallow", "other/house-3/there"}
    for topic in of_others:
        others.describe(topic, "other", [LAMP])
    others.describe("farm/house-3/last", "last", [LAMP], online=False)
    with FleetViewer(here) as viewer:
        viewer.wait_for("farm/house-3/last", HERE, THERE)
        assert not viewer.pis.keys() & of_others
        last = viewer.pis["farm/house-3/last"]
        assert (last["online"], last["heard"]) == (False, BEGAN)
        pi = viewer.pis[THERE]
        pins = ask(there, "GET", "/api/pins").json["pins"]
        for shown, own in zip(pi["pins"], pins, strict=True):
            assert shown == {**{key: own[key] for key in shown}, "writable": shown["writable"]}
        assert [pin["writable"] for pin in pi["pins"]] == [False, True, True, True, False]
        assert not any(pin["writable"] for pin in viewer.pis[HERE]["pins"])
        assert (pi["group"], pi["online"], pi["simulated"]) == ("house-3", True, True)
        assert re.fullmatch(rf"http://.+:{there.port}/", pi["url"])
        assert viewer.broker == {"connected": True, "error": None}
        done = viewer.switch(THERE, "lamp", 1, ref="a")
        assert done == {"type": "result", "ref": "a", "pin": "lamp", "value": 1}
        here.wait_for_log(f"lamp at {THERE}: set to 1, by 127.0.0.1$")
        there.wait_for_log(r"lamp \(GPIO27\): on, by mqtt$")
        viewer.wait_for_value(THERE, "lamp", 1)
        since = ask(there, "GET", "/api/pins/lamp").json["since"]
        assert viewer.pin(THERE, "lamp")["since"] == since
        assert viewer.ask(type="toggle", pi=THERE, pin="lamp", ref=2)["value"] == 0
        for kind, value in (("set", {"value": 1}), ("toggle", {})):
            timed = {"type": kind, "pi": THERE, "pin": "lamp", "seconds": 900, **value}
            assert viewer.ask(**timed)["type"] == "result"
            assert ask(there, "GET", "/api/pins/lamp").json["until"] > time.time() + 800
        here.wait_for_log(f"lamp at {THERE}: toggle for 900 s, by 127.0.0.1$")
        assert viewer.ask(type="auto", pi=THERE, pin="lamp", ref=3)["type"] == "result"
        lamp = ask(there, "GET", "/api/pins/lamp").json
        assert (lamp["source"], lamp["until"]) == ({"level": "default"}, None)
        here.wait_for_log(f"lamp at {THERE}: auto, by 127.0.0.1$")
        assert viewer.switch(THERE, "fan", 0.35)["value"] == 0.35
        gate = {"type": "pulse", "pi": THERE, "pin": "gate"}
        assert viewer.ask(**gate, seconds=0.05)["value"] == 1
        assert viewer.ask(**gate)["type"] == "result"
        viewer.wait_until(lambda: [viewer.apply_next()["type"] for _ in range(5)] == ["ping"] * 5)
    answer = ask(here, "GET", "/api/fleet")
    described = ask(here, "GET", "/api/openapi.json").json
    assert complaints(described, "GET", "/api/fleet", answer) == []
    assert ask(here, "GET", "/api").json["links"]["fleet"] == "api/fleet"


def test_covers(brokers, start_server):
    """Covers of other Pis are shown and moved as pins are, each with the rights of its own. The
    broker is asked for covers only of a Pi that has some."""
    broker = brokers.broker()
    own_covers = COVERS.replace("garage: {", "garage: {control: code, ")
    here = start_server(here_config(broker, FLEET + CONTROL) + own_covers)
    there = start_server(config(broker.url, CONTROL, THERE) + COVERS)
    others = brokers.enter_context(FakePis(broker))
    away = [cover("barn", state="open", since=BEGAN)]
    others.describe("farm/hall/away", "away", [], online=False, covers=away)
    guarded = [cover("vault", control="code", writable=True)]
    others.describe("farm/hall/vault", "vault", [], covers=guarded)
    with FleetViewer(here) as viewer:
        viewer.wait_for(HERE, THERE, "farm/hall/away", "farm/hall/vault")
        # For its own covers a server goes by its configuration, whatever the broker says.
        false = [cover(name) for name in ("garage", "shutter", "cellar")]
        others.publish(f"{HERE}/describe", description("here", [], covers=false))
        viewer.wait_for_host(HERE, "here")
        shown = {each["name"]: each["control"] for each in viewer.pis[HERE]["covers"]}
        assert shown == {"garage": "code", "shutter": "everyone", "cellar": "nobody"}
        for name, code in (("garage", "sign-in"), ("cellar", "not-found")):
            assert viewer.move("open", HERE, name)["code"] == code
        assert viewer.move("open", HERE, "shutter")["type"] == "result"
        assert viewer.cover("farm/hall/away", "barn")["state"] == "open"
        own = {each["name"]: each for each in ask(there, "GET", "/api/covers").json["covers"]}
        for shown in viewer.pis[THERE]["covers"]:
            name = shown["name"]
            writable = name != "barrier"
            assert shown == {**{key: own[name][key] for key in shown}, "writable": writable}
        done = viewer.move("open", THERE, "garage", ref="a")
        assert done.pop("state") in ("closed", "opening")
        assert done == {"type": "result", "ref": "a", "cover": "garage", "position": None}
        here.wait_for_log(f"garage at {THERE}: open, by 127.0.0.1$")
        viewer.wait_for_state(THERE, "garage", "open")
        since = ask(there, "GET", "/api/covers/garage").json["since"]
        assert viewer.cover(THERE, "garage")["since"] == since
        assert viewer.move("open", THERE, "shutter")["type"] == "result"
        viewer.wait_for_state(THERE, "shutter", "open")
        assert viewer.move("position", THERE, "shutter", position=40)["type"] == "result"
        here.wait_for_log(f"shutter at {THERE}: position 40, by 127.0.0.1$")
        viewer.wait_until(lambda: 10 < viewer.cover(THERE, "shutter")["position"] <= 40)
        assert viewer.move("close", THERE, "shutter")["type"] == "result"
        assert viewer.move("stop", THERE, "shutter")["type"] == "result"
        host = viewer.pis[THERE]["host"]
        for kind, topic, name, code, words in (
            ("open", "farm/hall/none", "x", "not-found", "there is no Pi at 'farm/hall/none'"),
            ("open", THERE, "cellar", "not-found", f"{host} has no cover 'cellar'"),
            ("open", THERE, "lamp", "not-found", f"{host} has no cover 'lamp'"),
            (
                "open",
                THERE,
                "barrier",
                "not-allowed",
                f"{host} accepts no commands from the broker for barrier",
            ),
            ("close", "farm/hall/away", "barn", "unavailable", "away is offline: nothing was sent"),
            ("open", "farm/hall/vault", "vault", "sign-in", "switching vault of vault needs the"),
        ):
            answer = viewer.move(kind, topic, name, ref="r")
            assert (answer["type"], answer["code"], answer["ref"]) == ("error", code, "r")
            assert answer["message"].startswith(words)
        assert viewer.move("position", THERE, "garage", position=40)["code"] == "bad-value"
        assert viewer.move("close", THERE, "garage")["type"] == "result"
        answer = viewer.move("stop", THERE, "garage")
        assert (answer["code"], answer["reason"]) == ("conflict", "cover-cannot-stop")
        assert viewer.ask(type="open", pi=THERE, pin="garage")["code"] == "bad-message"
    described = ask(here, "GET", "/api/openapi.json").json
    assert complaints(described, "GET", "/api/fleet", ask(here, "GET", "/api/fleet")) == []


def test_rejected_command(fleet):
    """A command that cannot succeed gets an error at once. Other sites get no WebSocket."""
    others, here, _ = fleet
    others.describe("farm/hall/away", "away", [LAMP], online=False)
    with FleetViewer(here) as viewer:
        viewer.wait_for(HERE, THERE, "farm/hall/away")
        host = viewer.pis[THERE]["host"]
        closed = f"{host} accepts no commands from the broker for"
        for topic, name, code, words in (
            ("farm/hall/none", "lamp", "not-found", "there is no Pi at 'farm/hall/none'"),
            (THERE, "x", "unknown-pin", f"{host} has no pin 'x'"),
            (THERE, "door", "not-writable", f"Front door of {host} is an input"),
            (THERE, "heater", "not-allowed", f"{closed} Window heater"),
            (HERE, "lamp", "not-allowed", f"{closed} lamp"),
            ("farm/hall/away", "lamp", "unavailable", "away is offline: nothing was sent"),
        ):
            assert viewer.error_of(topic, name, ref="r") == (code, words)
            assert viewer.answers[-1]["ref"] == "r"
        assert viewer.error_of(THERE, "lamp", value="burn", ref=3)[0] == "bad-message"
        assert others.messages == []
        code, words = viewer.error_of(THERE, "fan", value=7)
        assert code == "bad-value" and words.startswith(f"{host}: ")
        values = {"label": "fan", "minimum": 0, "maximum": 1, "got": "7"}
        assert viewer.answers[-1]["reason"] == "out-of-range"
        assert viewer.answers[-1]["values"] == values
    with pytest.raises(AssertionError, match="HTTP/1.1 403"):
        WebSocketClient(here.port, path="/fleet/ws", headers={"Origin": "http://evil.example"})


def test_missing_answer(brokers, start_server):
    """A Pi that does not answer is not waited for. A late or foreign answer is ignored."""
    broker = brokers.broker()
    others = brokers.enter_context(FakePis(broker))
    others.describe(MUTE, "mute", [LAMP, {**LAMP, "name": "gate"}])
    server = start_server(here_config(broker), program=changing(fleet_answer_timeout_s=1))
    subscriber = brokers.subscriber(broker, f"{MUTE}/pins/+/set")
    with FleetViewer(server) as viewer:
        viewer.wait_for(MUTE)
        viewer.send(type="set", pi=MUTE, pin="lamp", value=1, ref=1)
        command = subscriber.last(f"{MUTE}/pins/lamp/set")
        assert command.json == {"type": "set", "ref": command.json["ref"], "value": 1}
        assert (command.qos, command.retained, command.lifetime) == (1, False, 1)
        lamp, gate = (f"{MUTE}/pins/{name}/result" for name in ("lamp", "gate"))
        answer = {"type": "result", "ref": command.json["ref"], "pin": "lamp", "value": 1}
        others.publish(gate, answer, retain=False)
        others.publish(lamp, {**answer, "ref": 1}, retain=False)
        others.publish(lamp, b"}", retain=False)
        viewer.wait_until(lambda: viewer.answers)
        assert viewer.answers[0]["message"] == "mute did not answer within 1 s"
        others.publish(lamp, answer, retain=False)
        others.flush()
        assert viewer.error_of(MUTE, "x")[0] == "unknown-pin"
        assert len(viewer.answers) == 2


def new_code(folder, right):
    """Make a new code in a state folder and return the header that presents it."""
    return {"Authorization": f"Bearer {Codes(folder).renew(right)}"}


def test_access_rules_of_this_server(brokers, start_server, tmp_path):
    """Without the code for viewing there is no fleet. Each pin is switched by those that its
    `control` and this server permit, whatever another Pi claims. Reloads and new codes take
    effect."""
    broker = brokers.broker()
    view, control = new_code(tmp_path, "view"), new_code(tmp_path, "control")
    lamp = ("lamp: {", "lamp: {control: code, ")
    text = here_config(broker, FLEET + CONTROL, ", view: code").replace(*lamp)
    program = changing(fleet_answer_timeout_s=1000)
    here = start_server(text, env=folders(tmp_path), program=program)
    start_server(config(broker.url, CONTROL, THERE).replace(*lamp))
    others = brokers.enter_context(FakePis(broker))
    old_lamp = {key: value for key, value in LAMP.items() if key != "control"}
    others.describe("farm/hall/old", "old", [old_lamp])
    others.describe("farm/hall/closed", "closed", [{**LAMP, "control": "nobody"}])
    assert ask(here, "GET", "/api/fleet").status == 401
    with WebSocketClient(here.port, path="/fleet/ws") as without_code:
        assert without_code.receive()["code"] == "sign-in"
        without_code.send(type="toggle", pi=HERE, pin="lamp")
        assert without_code.close_code() == 4401
    subscriber = brokers.subscriber(broker, "farm/+/+/pins/lamp/set")
    with FleetViewer(here, **view) as viewer, FleetViewer(here, **control) as owner:
        assert (viewer.hello["signed_in"], owner.hello["signed_in"]) == ("view", "control")
        kinds = (
            {"type": "set", "value": 1},
            {"type": "toggle"},
            {"type": "auto"},
            {"type": "pulse", "seconds": 60},
        )
        for each in (viewer, owner):
            each.wait_for(HERE, THERE, "farm/hall/old", "farm/hall/closed")
        assert viewer.pin("farm/hall/old", "lamp")["control"] == "code"
        assert viewer.error_of("farm/hall/old", "lamp")[0] == "sign-in"
        assert owner.error_of("farm/hall/closed", "lamp")[0] == "not-allowed"
        for topic in (HERE, THERE):
            found = [viewer.pin(topic, name)["control"] for name in ("lamp", "fan", "door")]
            assert found == ["code", "everyone", None]
            for kind in kinds:
                assert viewer.ask(**kind, pi=topic, pin="lamp")["code"] == "sign-in"
            assert viewer.switch(topic, "fan", 0.5)["value"] == 0.5
        assert subscriber.messages == []
        for topic in (HERE, THERE):
            for kind in kinds:
                assert owner.ask(**kind, pi=topic, pin="lamp")["type"] == "result"
            viewer.wait_for_value(topic, "lamp", 1)
        here.wait_for_log(r"by 127\.0\.0\.1 \(control code\)$")
        owner.send(type="set", pi="farm/hall/old", pin="lamp", value=1)
        subscriber.wait_for_topic("farm/hall/old/pins/lamp/set")
        pins = [{**LAMP, "name": name} for name in ("lamp", "heater", "x", "door")]
        others.publish(f"{HERE}/describe", description("false", pins))
        for each in (viewer, owner):
            each.wait_for_host(HERE, "false")
            assert each.error_of(HERE, "heater")[0] == "not-allowed"
        shown = {each["name"]: each["control"] for each in viewer.pis[HERE]["pins"]}
        assert shown == {"lamp": "code", "heater": "nobody", "x": "nobody", "door": "everyone"}
        assert viewer.error_of(HERE, "lamp")[0] == "sign-in"
        assert viewer.error_of(HERE, "x")[0] == "unknown-pin"
        text = text.replace("control: everyone", "control: code")
        reload(here, text := text.replace("fan: {", "fan: {control: everyone, "))
        viewer.wait_until(lambda: viewer.pin(THERE, "fan")["control"] == "code")
        viewer.wait_for_host(HERE, viewer.pis[THERE]["host"])
        assert viewer.pin(HERE, "fan")["control"] == "everyone"
        assert (viewer.hello["access"], viewer.hello["code_would_help"]) == ("view", True)
        words = f"switching fan of {viewer.pis[THERE]['host']} needs the control code of this Pi"
        assert viewer.error_of(THERE, "fan") == ("sign-in", words)
        assert viewer.switch(HERE, "fan", 1)["value"] == 1
        reload(here, text.replace("access: {control: code", "access: {control: nobody"))
        words = "nobody may switch other Pis from here (access.control: nobody)"
        assert owner.error_of(THERE, "fan") == ("not-allowed", words)
        new_code(tmp_path, "view")
        reload(here, text)
        assert viewer.close_code() == 4401


def test_connection_only_with_viewers(brokers, start_server):
    """Viewers share one second connection. It is closed some time after the last."""
    broker = brokers.broker()
    program = changing(fleet_linger_s=0.3, fleet_first_answer_timeout_s=LIMIT)
    server = start_server(here_config(broker), program=program)
    server.wait_for_log("connected to .* as farm-office-here$")
    assert "farm-office-here-fleet" not in server.log
    with FleetViewer(server) as one, FleetViewer(server) as other:
        for viewer in (one, other):
            viewer.wait_for(HERE)
    server.wait_for_log(r"no longer watching the Pis below farm/\+/\+")
    assert len(re.findall("as farm-office-here-fleet", server.log)) == 1
    assert [pi["topic"] for pi in ask(server, "GET", "/api/fleet").json["pis"]] == [HERE]
    server.wait_for_log("no longer watching the Pis", again=1)
    with FleetViewer(server) as viewer:
        viewer.wait_for(HERE)
        switch(server, "lamp", 1)
        viewer.wait_for_value(HERE, "lamp", 1)


def test_unreachable_broker_and_crashed_pi(brokers, start_server):
    """Without the broker the fleet has an error without details. When it restarts, waiting commands
    fail, Pis that do not return are offline, and the others have their present state."""
    broker = brokers.broker()
    broker.kill()
    program = changing(
        fleet_first_answer_timeout_s=1000, fleet_answer_timeout_s=1000, fleet_return_timeout_s=0.5
    )
    with FleetViewer(start_server(here_config(broker), program=program)) as viewer:
        viewer.wait_until(lambda: viewer.broker["error"])
        assert viewer.broker == {"connected": False, "error": BROKER_ERROR}  # neither host nor user
        broker.start()
        viewer.wait_for(HERE)
        assert viewer.broker == {"connected": True, "error": None}
        subscriber = brokers.subscriber(broker, f"{MUTE}/#")
        others = brokers.enter_context(FakePis(broker))
        others.describe(MUTE, "mute", [LAMP])
        there = start_server(config(broker.url, CONTROL, THERE))
        viewer.wait_for(MUTE, THERE)
        viewer.send(type="set", pi=MUTE, pin="lamp", value=1, ref=1)
        subscriber.wait_for_topic(f"{MUTE}/pins/lamp/set")
        others.close()
        broker.kill()
        viewer.wait_until(lambda: viewer.answers)
        assert "connection to the broker ended before the answer" in viewer.answers[0]["message"]
        viewer.wait_until(lambda: not viewer.broker["connected"])
        words = "the broker is unreachable: nothing was sent"
        assert viewer.error_of(THERE, "lamp") == ("unavailable", words)
        switch(there, "fan", 0.5)
        broker.start()
        viewer.wait_until(lambda: viewer.broker["connected"])
        viewer.wait_for_value(THERE, "fan", 0.5)
        viewer.wait_until(lambda: not viewer.pis[MUTE]["online"])
        viewer.wait_until(lambda: viewer.pis[THERE]["online"])
        assert viewer.switch(THERE, "lamp", 1)["type"] == "result"
        viewer.wait_for_value(THERE, "lamp", 1)
        before = time.time()
        there.stop(signal.SIGKILL)
        viewer.wait_until(lambda: not viewer.pis[THERE]["online"])
        assert viewer.pin(THERE, "lamp")["value"] == 1
        assert viewer.pis[THERE]["heard"] >= before


def test_broker_that_sends_nothing_stored(brokers, start_server):
    """If the broker does not send what Pis have published before, not even this one, the fleet says
    so. RabbitMQ is like that; here it is the ACL."""
    broker = brokers.guarded("user here\ntopic write farm/#\n", ["here"])
    more = f"{FLEET}, user: here, password_file: password"
    program = changing(fleet_return_timeout_s=0.1)
    here = start_server(here_config(broker, more), program=program)
    with FleetViewer(here) as viewer:
        viewer.wait_until(lambda: "RabbitMQ" in (viewer.broker["error"] or ""))
        assert viewer.broker["connected"] and not viewer.pis


def test_a_pi_that_is_gone(brokers, start_server):
    """The command in docs/mqtt.md leaves nothing of a Pi at the broker and on the fleet page."""
    docs = (Path(__file__).parents[2] / "docs/mqtt.md").read_text()
    (command,) = re.findall(r"^    (mosquitto_sub --remove.*)", docs, re.MULTILINE)
    broker = brokers.broker()
    here = start_server(config(broker.url, FLEET, "raspi-server/here"))
    attic = start_server(config(broker.url, ", discovery: homeassistant", "raspi-server/attic"))
    subscriber = brokers.subscriber(broker, "homeassistant/#", "raspi-server/attic/#")
    subscriber.wait_for_topic("/config")
    with FleetViewer(here) as viewer:
        viewer.wait_for("raspi-server/here", "raspi-server/attic")
        attic.stop(signal.SIGKILL)
        subscriber.wait_for_payload("raspi-server/attic/status", b"offline")
        found = [*shlex.split(command), "-h", "127.0.0.1", "-p", str(broker.port)]
        done = subprocess.run(found, capture_output=True, text=True, timeout=LIMIT)
        assert (done.returncode, done.stderr) == (27, "Timed out\n")
        viewer.wait_until(lambda: viewer.pis.keys() == {"raspi-server/here"})
    # What the broker has retained comes before its answer to the subscription of this marker.
    late = brokers.subscriber(broker, "#")
    late.publish("marker", 1)
    late.last("marker")
    retained = {each.topic.rpartition("/pins/")[0] or each.topic for each in late.messages}
    own = {f"raspi-server/here{each}" for each in ("", "/status", "/describe", "/health")}
    assert retained == own | {"marker"}


def test_reload_and_stop_close_viewers(brokers, start_server):
    """A reload without `fleet` closes all viewers; a stop also answers waiting commands."""
    broker = brokers.broker()
    brokers.enter_context(FakePis(broker)).describe(MUTE, "mute", [LAMP])
    server = start_server(here_config(broker))
    with FleetViewer(server) as viewer:
        viewer.wait_for(MUTE)
        reload(server, here_config(broker, more=""))
        assert viewer.close_code() == 1012
    status, _, words = ask(server, "GET", "/api/fleet").error
    assert status == 404 and "add fleet: true below mqtt: in config.yaml" in words
    reload(server, here_config(broker))
    with WebSocketClient(server.port) as client:
        assert client.receive("hello")["fleet"]
    with FleetViewer(server) as viewer:
        viewer.wait_for(MUTE)
        viewer.send(type="set", pi=MUTE, pin="lamp", value=1, ref=1)
        server.wait_for_log(f"lamp at {MUTE}: set to 1")
        server.process.send_signal(signal.SIGTERM)
        viewer.wait_until(lambda: viewer.answers)
        assert (viewer.answers[0]["ref"], viewer.answers[0]["code"]) == (1, "no-answer")
        assert viewer.close_code() == 1001
