"""`/api/schedules`, `/api/rules`, `/api/plan` and `/api/clock`: what they say, and who may command.

The forms of all answers are checked in test_api.py."""

import time
from datetime import datetime, timedelta

import pytest

from tests.support.http import ask
from tests.support.server import changing, clock_is
from tests.support.websocket import WebSocketClient

PINS = """
pins:
  door: {gpio: 17, mode: input}
  lamp: {gpio: 27, mode: output, label: Lamp}
  radio: {gpio: 22, mode: output, control: everyone}
  boiler: {gpio: 23, mode: output, control: nobody, label: Boiler}
"""
SCHEDULES = """
schedules:
  coded: {pin: lamp, from: 00:00, to: 24:00}
  free: {at: 23:00, turn_off: [radio]}
  mixed: {at: 23:00, turn_off: [radio, lamp]}
  locked: {pin: boiler, from: 00:00, to: 24:00}
rules:
  coded: {when: door, turn_on: lamp}
  free: {when: door, turn_on: radio}
  mixed: {while: door, turn_on: [radio, lamp], hold: 60}
  locked: {when: door, turn_on: [radio, boiler]}
"""
POSTS = [
    *[f"/api/schedules/{{}}/{command}" for command in ("pause", "resume", "skip", "undo-skip")],
    *[f"/api/rules/{{}}/{command}" for command in ("pause", "resume")],
]
TRUST = "/api/clock/trust"
LISTS = ("schedules", "rules")


def writable(server, **headers):
    """Return the names of schedules and rules that a caller may pause. They are the same."""
    found = [
        {
            each["name"]
            for each in ask(server, "GET", f"/api/{path}", **headers).json[path]
            if each["writable"]
        }
        for path in LISTS
    ]
    assert found[0] == found[1]
    return found[0]


def try_all(server, **headers):
    """Send every command to each schedule and rule. Return the names at which all succeeded, and
    the error of each other name, which must be the same for all commands."""
    done, errors = set(), {}
    for name in ("coded", "free", "mixed", "locked"):
        answers = [ask(server, "POST", path.format(name), **headers) for path in POSTS]
        if {answer.status for answer in answers} == {200}:
            done.add(name)
        else:
            (errors[name],) = {answer.error for answer in answers}
    return done, errors


def test_rights(start_with_codes):
    """A caller may pause, resume and skip what switches only pins that the caller may switch:
    signed out, with the view code, and with the control code. `writable` says so before."""
    pi = start_with_codes("{control: code}")
    pi.file.write_text(f"access: {{control: code}}\n{PINS}{SCHEDULES}")
    pi.reload()
    assert ask(pi.server, "POST", TRUST).error[:2] == (401, "sign-in")  # there is no code yet
    view, control = pi.new("view"), pi.new("control")
    needs_code = (401, "sign-in", "switching Lamp needs the control code")
    locked = (403, "not-allowed", "nobody may switch Boiler (pins.boiler.control: nobody)")
    for headers in ({}, {"Authorization": f"Bearer {view}"}):
        assert writable(pi.server, **headers) == {"free"}
        assert try_all(pi.server, **headers) == (
            {"free"},
            {"coded": needs_code, "mixed": needs_code, "locked": locked},
        )
        error = ask(pi.server, "POST", TRUST, **headers).error
        assert error == (401, "sign-in", "trusting the clock needs the control code")
    assert not ask(pi.server, "GET", "/api/schedules").json["clock_known"]
    signed_in = {"Authorization": f"Bearer {control}"}
    assert writable(pi.server, **signed_in) == {"coded", "free", "mixed"}
    assert try_all(pi.server, **signed_in) == ({"coded", "free", "mixed"}, {"locked": locked})
    assert ask(pi.server, "POST", TRUST, **signed_in).json["clock_known"]
    pi.server.wait_for_log(r"the time is known, says 127\.0\.0\.1 \(control code\)")
    pi.server.wait_for_log(r"schedule coded: paused, by 127\.0\.0\.1 \(control code\)")
    pi.server.wait_for_log(r"rule mixed: acts again, by 127\.0\.0\.1 \(control code\)")


def test_everyone_and_nobody(start_with_codes):
    """With `control: everyone` all may command but what is locked. With `control: nobody` none may,
    but for pins that allow it; the control code still tells that the clock is right."""
    pi = start_with_codes("{control: nobody}")
    pi.file.write_text(f"access: {{control: nobody}}\n{PINS}{SCHEDULES}")
    signed_in = {"Authorization": f"Bearer {pi.new('control')}"}
    done, errors = try_all(pi.server, **signed_in)
    assert done == {"free"} == writable(pi.server, **signed_in)
    assert {error[:2] for error in errors.values()} == {(403, "not-allowed")}
    assert ask(pi.server, "POST", TRUST).error[:2] == (401, "sign-in")
    assert ask(pi.server, "POST", TRUST, **signed_in).status == 200
    pi.file.write_text(f"access: {{control: everyone}}\n{PINS}{SCHEDULES}")
    pi.reload()
    assert try_all(pi.server)[0] == {"coded", "free", "mixed"} == writable(pi.server)
    assert ask(pi.server, "POST", TRUST).status == 200


def test_viewing_needs_the_right(start_with_codes):
    """With `view: code` a caller without a code reads and commands nothing."""
    pi = start_with_codes("{view: code, control: everyone}")
    pi.file.write_text(f"access: {{view: code, control: everyone}}\n{PINS}{SCHEDULES}")
    view = {"Authorization": f"Bearer {pi.new('view')}"}
    for path in ("/api/schedules", "/api/rules", "/api/plan"):
        assert ask(pi.server, "GET", path).error[:2] == (401, "sign-in")
        assert ask(pi.server, "GET", path, **view).status == 200
    for path in (*(each.format("free") for each in POSTS), TRUST):
        assert ask(pi.server, "POST", path).error[:2] == (401, "sign-in")


@pytest.fixture(scope="module")
def pi(start_module_server):
    """A server that knows the time, on which everyone may do all."""
    text = f"access: {{control: everyone}}\n{PINS}{SCHEDULES}"
    return start_module_server(text, program=changing(clock_is(True)))


def test_pages_of_other_sites(pi):
    """A page of another site commands nothing; one of this server does."""
    foreign = {"Origin": "http://evil.example"}
    own = {"Host": f"localhost:{pi.port}", "Origin": f"http://localhost:{pi.port}"}
    for path in (*(each.format("coded") for each in POSTS), TRUST):
        answer = ask(pi, "POST", path, **foreign)
        assert answer.error[:2] == (403, "foreign")
        assert not [name for name in answer.headers if name.lower().startswith("access-")]
        assert ask(pi, "POST", path, **own).status == 200


def test_unknown_names(pi):
    """A name that does not exist is a 404 that says so, shortened."""
    for path in POSTS:
        what = "schedule" if "schedules" in path else "rule"
        for name, shown in (("garage", "garage"), ("x" * 60, "x" * 40), ("%ff", None)):
            status, code, words = ask(pi, "POST", path.format(name)).error
            assert (status, code) == (404, "not-found") if shown else (400, "bad-message")
            assert shown is None or words == f"there is no {what} '{shown}'"


def of(server, path, name):
    """Return a schedule or a rule."""
    found = ask(server, "GET", f"/api/{path}").json[path]
    return next(each for each in found if each["name"] == name)


def test_pause_and_skip(pi):
    """A pause ends what is claimed, a skip leaves out the next day, and viewers of `/ws` are told.
    The answer of a command has all schedules or rules, with the change."""
    with WebSocketClient(pi.port) as viewer:
        assert viewer.receive("hello")["automation"]
        assert of(pi, "schedules", "coded")["until"] > time.time()
        answer = ask(pi, "POST", "/api/schedules/coded/pause").json
        assert [each["paused"] for each in answer["schedules"]] == [True, False, False, False]
        assert viewer.receive("change", pin="lamp")["value"] == 0
        viewer.receive("automation")
        assert of(pi, "schedules", "coded")["until"] is None
        ask(pi, "POST", "/api/schedules/coded/resume")
        assert viewer.receive("change", pin="lamp")["by"] == "schedule coded"
        before = of(pi, "schedules", "free")
        answer = ask(pi, "POST", "/api/schedules/free/skip").json["schedules"][1]
        assert answer["skipped"]
        assert answer["next"]["begin"] > before["next"]["begin"]
        assert ask(pi, "POST", "/api/schedules/free/undo-skip").json["schedules"][1] == before
        viewer.send(type="drive", pin="door", value=1)
        assert viewer.receive("change", pin="radio")["by"].startswith("rule ")
        assert of(pi, "rules", "mixed")["acting"]
        answer = ask(pi, "POST", "/api/rules/mixed/pause").json["rules"][2]
        assert (answer["paused"], answer["acting"]) == (True, False)
        assert ask(pi, "POST", "/api/rules/mixed/resume").json["rules"][2]["acting"]
        viewer.send(type="drive", pin="door", value=0)
        viewer.receive("change", pin="door")


def test_plan(pi):
    """The plan has the next 24 hours of each output that a schedule wants a value for."""
    found = ask(pi, "GET", "/api/plan").json
    assert found["end"] == found["time"] + 86400
    assert found["pins"].keys() == {"lamp", "boiler"}
    first, *_ = found["pins"]["lamp"]
    assert (first["begin"], first["value"], first["schedule"]) == (found["time"], 1, "coded")
    assert found["pins"]["lamp"][-1]["end"] == found["end"]


def test_nothing_to_command(start_server):
    """Without schedules and rules the lists are empty. The clock may be trusted all the same."""
    server = start_server(f"access: {{control: everyone}}\n{PINS}")
    assert ask(server, "GET", "/api/schedules").json["schedules"] == []
    assert ask(server, "GET", "/api/rules").json["rules"] == []
    assert ask(server, "GET", "/api/plan").json["pins"] == {}
    assert not ask(server, "GET", "/api/hello").json["automation"]
    for path in POSTS:
        assert ask(server, "POST", path.format("coded")).error[:2] == (404, "not-found")
    answer = ask(server, "POST", TRUST)
    assert (answer.status, answer.json["clock_known"]) == (200, True)


ENDS = """
access: {control: everyone}
schedules:
  always: {pin: lamp, from: 00:00, to: 24:00}
  limited: {pin: radio, from: "BEGIN", to: "END"}
rules:
  hall: {when: door, turn_on: hall, hold: 60}
pins:
  door: {gpio: 17, mode: input}
  lamp: {gpio: 27, mode: output}
  radio: {gpio: 22, mode: output, max_on: 24h}
  hall: {gpio: 5, mode: output, max_on: 24h}
"""


def test_until_when_a_source_decides(start_server):
    """A limit that would come later does not hide the end of a window or of a hold. Windows that
    follow each other for ever have none. When a hold begins or is made longer, clients are told."""
    begin, end = (f"{datetime.now() + timedelta(hours=each):%H:%M}" for each in (-1, 2))
    server = start_server(ENDS.replace("BEGIN", begin).replace("END", end))
    ask(server, "POST", TRUST)

    def until(pin):
        return ask(server, "GET", f"/api/pins/{pin}").json["until"]

    assert until("radio") == of(server, "schedules", "limited")["until"]
    assert until("radio") < time.time() + 2 * 3600
    assert until("lamp") is None
    with WebSocketClient(server.port) as phone:
        for value in (1, 0):
            phone.send(type="drive", pin="door", value=value)
        told = phone.receive("source")
        assert (told["pin"], told["source"]) == ("hall", {"level": "rule", "name": "hall"})
        assert 55 < told["until"] - time.time() <= 60
        assert until("hall") == pytest.approx(told["until"], abs=0.1)
        phone.send(type="drive", pin="door", value=1)
        assert phone.receive("source")["until"] > time.time() + 86000
