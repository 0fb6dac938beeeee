"""Covers in the running server: on `/ws` and in the API, for whom, over reloads and restarts.

The forms of all answers are checked in test_api.py, what moves a cover in tests/gpio/test_cover.py.
"""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from raspi_server.security.codes import Codes
from tests.support.coded_server import folders
from tests.support.http import ask
from tests.support.server import Server, changing, free_port
from tests.support.websocket import WebSocketClient

PINS = """
pins:
  lamp:   {gpio: 4, mode: output}
  opener: {gpio: 17, mode: output, pulse: 0.1, label: Opener}
  shut:   {gpio: 22, mode: input, kind: garage_door, pull: up}
  top:    {gpio: 24, mode: input, pull: up}
  up:     {gpio: 23, mode: output, group: shutter, group_pause: 0.5}
  down:   {gpio: 25, mode: output, group: shutter, group_pause: 0.5}
"""
GARAGE = "  garage: {label: Garage, button: opener, closed: shut, opened: top, travel: 1}\n"
SHUTTER = "  shutter: {up: up, down: down, travel: 4}\n"
EVERYONE = "access: {control: everyone}\n"
CONFIG = f"{EVERYONE}{PINS}covers:\n{GARAGE}{SHUTTER}"
STATE = ("state", "position", "goal", "problem")


@pytest.fixture(scope="module")
def pi(start_module_server: Callable[..., Server]) -> Server:
    return start_module_server(CONFIG)


def cover(server: Server, name: str = "garage", **headers: str) -> dict[str, Any]:
    found: dict[str, Any] = ask(server, "GET", f"/api/covers/{name}", **headers).json
    return found


def wait_for_cover(client: WebSocketClient, **fields: Any) -> dict[str, Any]:
    return client.receive("cover", **fields)


def wait_for_position(client: WebSocketClient, cover: str, least: int) -> None:
    """Wait until a cover has come so far. Not every position is told."""
    while (wait_for_cover(client, cover=cover)["position"] or 0) < least:
        pass


def test_a_viewer_opens_and_closes_a_door(pi: Server) -> None:
    """The first message has the covers. A command is answered with the state right after it, and
    all viewers hear of each change, with who moves it."""
    with WebSocketClient(pi.port) as viewer, WebSocketClient(pi.port) as other:
        hello = viewer.receive("hello")
        assert other.receive("hello")["covers"] == hello["covers"]
        garage, shutter = hello["covers"]
        assert {**garage, "since": None} == {
            "name": "garage", "label": "Garage", "kind": "garage_door", "room": None, "icon": None,
            "hidden": False, "state": "closed", "position": None, "goal": None, "problem": None,
            "problem_reason": None, "problem_values": {}, "since": None, "writable": True,
            "confirm": False, "control": "everyone", "has_position": False, "can_stop": False,
            "pins": ["opener", "shut", "top"],
        }  # fmt: skip
        assert (shutter["has_position"], shutter["can_stop"]) == (True, True)
        pins = {pin["name"]: (pin["cover"], pin["writable"]) for pin in hello["pins"]}
        assert pins["lamp"] == (None, True)
        assert (pins["opener"], pins["shut"]) == (("garage", False), ("garage", False))
        result = viewer.command(type="open", cover="garage")
        assert (result["cover"], result["state"], result["position"]) == ("garage", "opening", None)
        assert result.keys() == {"type", "ref", "cover", "state", "position"}
        change = wait_for_cover(other, cover="garage")
        assert (change["state"], change["goal"], change["by"]) == ("opening", "open", "127.0.0.1")
        assert change["since"] == pytest.approx(change["time"], abs=1)
        done = wait_for_cover(other, state="open")
        assert (done["goal"], done["by"], done["problem"]) == (None, None, None)
        assert viewer.command(type="close", cover="garage")["state"] in ("open", "closing")
        assert wait_for_cover(other, state="closing")["by"] == "127.0.0.1"
        wait_for_cover(other, state="closed")


@pytest.mark.parametrize(
    ("message", "code", "reason"),
    [
        ({"type": "open", "cover": "shed"}, "not-found", "unknown-cover"),
        ({"type": "open"}, "bad-message", "bad-message"),
        ({"type": "open", "cover": "garage", "pin": "lamp"}, "bad-message", "bad-message"),
        ({"type": "position", "cover": "garage", "position": 4}, "bad-value", "cover-no-position"),
        ({"type": "position", "cover": "shutter", "position": 101}, "bad-value",
         "cover-position-range"),
        ({"type": "position", "cover": "shutter"}, "bad-message", "bad-message"),
        ({"type": "set", "pin": "opener", "value": 1}, "conflict", "cover-output"),
        ({"type": "pulse", "pin": "opener"}, "conflict", "cover-output"),
        ({"type": "toggle", "pin": "up"}, "conflict", "cover-output"),
        ({"type": "auto", "pin": "up"}, "conflict", "cover-output"),
    ],
)  # fmt: skip
def test_commands_that_are_rejected(
    pi: Server, message: dict[str, Any], code: str, reason: str
) -> None:
    """Each is answered with its reason, and moves nothing."""
    with WebSocketClient(pi.port) as viewer:
        error = viewer.command(**message)
        assert (error["type"], error["code"], error["reason"]) == ("error", code, reason)
        assert cover(pi)["goal"] is None


def test_a_shutter_in_the_api(pi: Server) -> None:
    """A position is put, and the answer is the cover. A stop stops it. A stream of events tells
    the same as the WebSocket."""
    answer = ask(pi, "POST", "/api/covers/shutter/close")
    assert (answer.status, answer.json["state"]) == (200, "closing")
    with WebSocketClient(pi.port) as viewer:
        wait_for_cover(viewer, state="closed")
        answer = ask(pi, "PUT", "/api/covers/shutter", {"position": 40})
        assert (answer.json["goal"], answer.json["position"]) == (40, 0)
        seen = []
        while not seen or seen[-1]["state"] != "stopped":
            seen.append(wait_for_cover(viewer))
        assert [each["position"] for each in seen] == sorted(each["position"] for each in seen)
        assert 40 <= seen[-1]["position"] < 100 and seen[-1]["goal"] is None  # a busy loop is late
        ask(pi, "POST", "/api/covers/shutter/open")
        wait_for_cover(viewer, state="opening")
        stopped = ask(pi, "POST", "/api/covers/shutter/stop").json
        assert (stopped["state"], stopped["goal"]) == ("stopped", None)
        wait_for_cover(viewer, state="stopped")
    listed = ask(pi, "GET", "/api/covers").json["covers"]
    assert [each["name"] for each in listed] == ["garage", "shutter"]
    assert listed[1]["position"] >= 40
    rejected = ask(pi, "PUT", "/api/covers/shutter", {"position": "half"})
    assert rejected.error[:2] == (422, "bad-value")


def test_a_contact_is_moved_by_hand(pi: Server) -> None:
    """A simulated contact takes `drive`; the cover follows, and the drive with it."""
    with WebSocketClient(pi.port) as viewer:
        viewer.receive("hello")
        viewer.send(type="drive", pin="shut", value=1)
        wait_for_cover(viewer, cover="garage", state="opening")
        viewer.send(type="drive", pin="shut", value=0)
        assert wait_for_cover(viewer, cover="garage", state="closed")["problem"] is None


def test_who_may_move_a_cover(start_server: Callable[..., Server], tmp_path: Path) -> None:
    """The `control` of a cover decides, not that of its pins, and a code where it says so."""
    free, locked = GARAGE.replace("{label", "{control: everyone, label"), ", control: nobody}\n"
    text = f"{PINS}covers:\n{free}{SHUTTER.replace('}' + chr(10), locked)}"
    environment = folders(tmp_path)
    code = Codes(tmp_path).renew("control")
    server = start_server(text, env=environment)
    bearer = {"Authorization": f"Bearer {code}"}
    assert (cover(server)["writable"], cover(server, "shutter")["control"]) == (True, "nobody")
    assert ask(server, "POST", "/api/covers/garage/open").status == 200
    for headers in ({}, bearer):
        rejected = ask(server, "POST", "/api/covers/shutter/open", **headers)
        assert rejected.error == (
            403, "not-allowed", "nobody may switch shutter (covers.shutter.control: nobody)"
        )  # fmt: skip
    server.reload(f"{PINS}covers:\n{GARAGE}")
    with WebSocketClient(server.port) as viewer:
        while viewer.receive("hello")["covers"][0]["control"] != "code":
            pass
        assert viewer.command(type="open", cover="garage")["code"] == "sign-in"
        viewer.send(type="sign-in", code=code)
        assert viewer.receive("hello")["covers"][0]["writable"]
    rejected = ask(server, "POST", "/api/covers/garage/close")
    assert rejected.error == (401, "sign-in", "switching Garage needs the control code")
    assert ask(server, "POST", "/api/covers/garage/close", **bearer).status == 200


LISTING = (
    "import atexit, sys",
    "names = lambda: [name for name in sys.modules if '.cover' in name and 'gpio' in name]",
    "atexit.register(lambda: print('imported:', *names(), file=sys.stderr))",
)


def test_covers_are_imported_only_when_asked_for(start_server: Callable[..., Server]) -> None:
    """A server without covers imports nothing of them, and has an empty list of them."""
    server = start_server(f"{EVERYONE}{PINS}", program=changing(*LISTING))
    assert ask(server, "GET", "/api/covers").json["covers"] == []
    assert ask(server, "GET", "/api/hello").json["covers"] == []
    assert ask(server, "POST", "/api/covers/garage/open").error[:2] == (404, "not-found")
    server.stop()
    assert server.wait_for_log("imported:(.*)")[1].split() == []


def test_a_start_without_covers(start_server: Callable[..., Server], tmp_path: Path) -> None:
    """It forgets where they were: their outputs are switched alone now."""
    environment = os.environ | folders(tmp_path)
    file = tmp_path / "covers.json"
    file.write_text(json.dumps({"boot": "", "covers": {"23-25": {"position": 10}}}))
    server = start_server(f"{EVERYONE}{PINS}", env=environment)
    assert ask(server, "PUT", "/api/pins/up", {"value": 1}).status == 200
    server.reload(CONFIG)
    server.wait_for_log("off, by cover shutter")
    assert cover(server, "shutter")["position"] is None
    server.stop()
    assert "23-25" not in file.read_text()


def test_reload_and_stop(start_server: Callable[..., Server], tmp_path: Path) -> None:
    """A reload does not touch a cover that moves. One that is removed stops. A stop saves where a
    moving shutter is, and a start moves nothing."""
    environment = os.environ | folders(tmp_path)
    port = f"port: {free_port()}\n"
    slow = CONFIG.replace("travel: 4", "travel: 20")
    server = start_server(port + slow, port=None, env=environment)
    file = tmp_path / "covers.json"
    file.write_text(json.dumps({"boot": "", "covers": {"23-25": {"position": 10}}}))
    server.stop()
    file.write_text(json.dumps({"boot": "", "covers": {"23-25": {"position": 10}}}))
    server.restart()
    with WebSocketClient(server.port) as viewer:
        assert viewer.receive("hello")["covers"][1]["position"] == 10
        viewer.command(type="open", cover="shutter")
        wait_for_position(viewer, "shutter", 15)
        server.reload(port + slow.replace("  lamp:", "  light:"))
        assert viewer.receive("hello")["covers"][1]["state"] == "opening"
        wait_for_position(viewer, "shutter", 20)
    server.stop()
    kept = json.loads(file.read_text())["covers"]["23-25"]["position"]
    assert 19 <= kept < 50
    server.restart()
    assert cover(server, "shutter")["position"] == round(kept)
    assert {pin["value"] for pin in ask(server, "GET", "/api/pins").json["pins"][4:]} == {0}
    ask(server, "POST", "/api/covers/shutter/open")
    server.wait_for_log("cover shutter: opening, by 127.0.0.1")
    server.reload(f"{port}{EVERYONE}{PINS}")
    server.wait_for_log("cover shutter: stopped")
    assert ask(server, "GET", "/api/pins/up").json["writable"]
