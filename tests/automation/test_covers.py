"""Rules and schedules with covers: played by `simulate`, and in a running server."""

import asyncio
import json
import os
import re
import time
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from raspi_server.automation.automation import Automation
from raspi_server.automation.covers import AutomationCovers
from raspi_server.automation.given import read as read_given
from raspi_server.automation.rule_engine import RuleEngine
from raspi_server.automation.rule_memory import RuleMemory
from raspi_server.automation.simulation import play
from raspi_server.gpio.backend import SimulatedFactory
from raspi_server.gpio.board import Board
from raspi_server.gpio.cover_memory import CoverMemory
from raspi_server.gpio.output_state import OutputStateStore
from raspi_server.messages import Open, Set
from tests.automation.house import Zone
from tests.config.reading import read
from tests.support.board import SimulatedBoard
from tests.support.http import ask
from tests.support.server import LIMIT, changing, clock_from, clock_is
from tests.support.websocket import WebSocketClient

BERLIN = ZoneInfo("Europe/Berlin")
PINS = """
pins:
  button: {gpio: 27, mode: input}
  motion: {gpio: 4, mode: input}
  lamp: {gpio: 17, mode: output}
  opener: {gpio: 22, mode: output, pulse: 0.5}
  shut: {gpio: 23, mode: input, kind: garage_door}
  up: {gpio: 5, mode: output, group: shutter, group_pause: 0.5}
  down: {gpio: 6, mode: output, group: shutter, group_pause: 0.5}
covers:
  garage: {button: opener, closed: shut, travel: 15}
  shutter: {up: up, down: down, travel: {up: 24, down: 20}}
"""


def played(automation: str, given: str = "", pins: str = PINS) -> list[str]:
    """Return what happens on 2026-06-01 with these lines below `pins` and `covers`."""
    config = read(pins + automation)
    named = {each.name: each for each in (*config.pins, *config.covers)}
    lines = "\n".join(f"2026-06-01T{','.join(line.split())}" for line in given.splitlines())
    begin = datetime(2026, 6, 1, tzinfo=BERLIN).timestamp()
    events = play(
        config,
        begin,
        begin + 86400,
        Zone("Europe/Berlin"),
        read_given(lines, "given", named, BERLIN),
    )
    return [
        f"{datetime.fromtimestamp(each.moment, BERLIN):%H:%M:%S} {each.pin} {each.value} {each.why}"
        for each in events
        if each.why != "given" or each.pin in ("garage", "shutter")
    ]


def test_schedules_move_covers():
    """A schedule gives a cover a goal at its moment, and what a person does in between stays. Only
    a cover without contacts runs again towards an end at which it is. Its pins are not shown."""
    assert played("""
schedules:
  morning: {cover: shutter, at: 07:00, goal: open}
  again: {cover: shutter, at: 07:30, goal: open, days: [mon]}
  shade: {cover: shutter, at: 13:00, goal: 40}
  sunday: {cover: shutter, at: 14:00, goal: close, days: [sun]}
  night: {cover: garage, at: 22:00, goal: close}
""", """20:00:00 garage open""") == [
        "07:00:00 shutter opening schedule morning",
        "07:00:28 shutter open schedule morning",
        "07:30:00 shutter opening schedule again",
        "07:30:04 shutter open schedule again",
        "13:00:00 shutter closing schedule shade",
        "13:00:12 shutter stopped 40 % schedule shade",
        "20:00:00 garage opening by hand",
        "20:00:18 garage open by hand",
        "22:00:00 garage closing schedule night",
        "22:00:15 garage closed schedule night",
    ]  # fmt: skip


def test_rules_move_covers_and_depend_on_them():
    """A cover is on unless it is closed, so also on its way. A rule moves covers at an edge, a
    press, or after `for`; `only` counts then."""
    assert played("""
rules:
  wall: {when: button, press: long, move: {garage: open, shutter: 100}}
  light: {while: garage, turn_on: lamp, hold: 60}
  forgotten:
    {when: [garage, motion], for: 10min, move: {garage: close}, only: {from: 12:00, to: 18:00}}
""", """10:00:00 button on
10:00:05 button off
10:20:00 garage close
15:00:00 shut on
15:05:00 garage close
16:00:00 garage open""") == [
        "10:00:00 garage opening rule wall",
        "10:00:00 shutter opening rule wall",
        "10:00:00 lamp 1 rule light",
        "10:00:18 garage open rule wall",
        "10:00:29 shutter open rule wall",
        "10:20:00 garage closing by hand",
        "10:20:15 garage closed by hand",
        "10:21:15 lamp 0 the end of rule light",
        "15:00:00 garage opening given",
        "15:00:00 lamp 1 rule light",
        "15:00:18 garage open given",
        "15:05:00 garage closing by hand",
        "15:05:00 garage closed by hand",
        "15:06:00 lamp 0 the end of rule light",
        "16:00:00 garage opening by hand",
        "16:00:00 lamp 1 rule light",
        "16:00:18 garage open by hand",
        "16:10:00 garage closing rule forgotten",
        "16:10:15 garage closed rule forgotten",
        "16:11:15 lamp 0 the end of rule light",
    ]  # fmt: skip


def test_refusals_and_storms_in_a_simulation():
    """A move that is refused is told, and not tried again. A rule that asks for the same again and
    again is in no storm."""
    above = PINS.replace("closed: shut,", "closed: shut, opened: above,").replace(
        "covers:", "  above: {gpio: 9, mode: input}\ncovers:"
    )
    shown = played(
        "rules:\n  a: {when: button, move: {garage: open}}\n",
        "10:00:00 above on\n10:00:10 button on\n10:01:00 above off\n10:02:00 garage open",
        above,
    )
    assert shown == [
        "10:00:00 garage unknown given: shut and above are active at the same time",
        "10:00:10  None rule a: garage is not moved (open): garage: its state is not known, so it"
        " is not moved",
        "10:01:00 garage closed given",
        "10:02:00 garage opening by hand",
        "10:02:00 garage open by hand",
    ]
    presses = "\n".join(
        f"10:00:0{n // 5}.{n % 5 * 2} button {'off' if n % 2 else 'on'}" for n in range(50)
    )
    storm = "rules:\n  a: {when: button, move: {shutter: open}}\n"
    assert played(storm, presses) == [
        "10:00:00 shutter opening rule a",
        "10:00:28 shutter open rule a",
    ]


def test_lines_of_covers_for_a_simulation():
    """A line moves a cover by hand; a wrong one is told, with what was expected."""
    config = read(PINS)
    named = {each.name: each for each in (*config.pins, *config.covers)}
    for line, words in (
        ("garage,40", 'expected open, close or stop for garage, got "40"'),
        ("shutter,101", "expected open, close, stop or a number from 0 to 100 for shutter, got"),
        ("shutter,on", "expected open, close, stop or a number from 0 to 100 for shutter, got"),
        ("up,on", "expected an output of no cover, got up; write shutter,open"),
        ("shuter,open", 'expected the name of a pin or a cover, got "shuter" (did you mean'),
    ):
        with pytest.raises(ValueError, match=re.escape(words)):
            read_given(f"2026-06-01,{line}", "given", named, BERLIN)
    assert [each.split(" ", 2)[2] for each in played(
        "rules: {}", "10:00:00 shutter 40\n10:00:05 shutter stop\n11:00:00 garage stop"
    )] == ["opening by hand", "stopped 21 % by hand"]  # fmt: skip


def start(start_server, text, *more, **limits):
    program = changing(clock_is(True), *more, **limits)
    return start_server(f"access: {{control: everyone}}\ngpio: simulated\n{text}", program=program)


QUICK = PINS.replace("travel: 15", "travel: 0.3").replace("{up: 24, down: 20}", "0.3")


def wait_for_state(viewer, cover, state):
    """Wait until viewers are told that a cover is in a state; return the message."""
    until = time.monotonic() + LIMIT
    while (found := viewer.receive("cover"))["cover"] != cover or found["state"] != state:
        assert time.monotonic() < until
    return found


def test_rule_of_a_running_server(start_server):
    """A rule moves a cover and names itself; one that the cover refuses is a line of the log, once.
    What a cover does starts rules, also when a person moves it. The API shows both."""
    server = start(start_server, QUICK + """
rules:
  wall: {when: button, move: {garage: open}}
  half: {when: motion, move: [{shutter: 40}]}
  lit: {while: garage, turn_on: lamp}
""")  # fmt: skip
    with WebSocketClient(server.port) as viewer:
        viewer.receive("hello")
        viewer.send(type="drive", pin="button", value=1)
        assert wait_for_state(viewer, "garage", "opening")["by"] == "rule wall"
        wait_for_state(viewer, "garage", "open")
        assert ask(server, "GET", "/api/pins/lamp").json["source"]["name"] == "lit"
        viewer.send(type="drive", pin="shut", value=0)  # by hand
        wait_for_state(viewer, "garage", "closed")
        viewer.receive("change", pin="lamp", value=0)
        viewer.send(type="drive", pin="motion", value=1)
        assert wait_for_state(viewer, "shutter", "opening")["by"] == "rule half"
    rules = {each["name"]: each for each in ask(server, "GET", "/api/rules").json["rules"]}
    assert [rules[name]["move"] for name in ("wall", "half", "lit")] == [
        {"garage": "open"}, {"shutter": 40}, {},
    ]  # fmt: skip
    assert (rules["wall"]["runs"], rules["lit"]["while"]) == (1, ["garage"])
    server.wait_for_log("cover garage: opening, by rule wall$")


def test_refused_move_is_a_line_of_the_log(start_server):
    """A cover with an unknown state refuses. The log says why, once, and the server runs on."""
    text = QUICK.replace("closed: shut,", "closed: shut, opened: above,").replace(
        "covers:", "  above: {gpio: 9, mode: input}\ncovers:"
    )
    server = start(start_server, text + "rules:\n  wall: {when: button, move: {garage: open}}\n")
    with WebSocketClient(server.port) as viewer:
        viewer.receive("hello")
        viewer.send(type="drive", pin="above", value=1)
        wait_for_state(viewer, "garage", "unknown")
        viewer.send(type="drive", pin="button", value=1)
        server.wait_for_log(r"rule wall: garage is not moved \(open\): garage: its state is not")
        viewer.send(type="drive", pin="above", value=0)
        wait_for_state(viewer, "garage", "closed")
    assert server.log.count("rule wall: ") == 1


def test_storm_of_moves_is_parked(start_server):
    """A rule that moves a cover to and fro more than 20 times in 10 s is parked."""
    server = start(start_server, QUICK + """
rules:
  there: {when: button, move: {garage: open}}
  back: {when: motion, move: {garage: close}}
""")  # fmt: skip
    with WebSocketClient(server.port) as viewer:
        viewer.receive("hello")
        for _ in range(25):
            for pin in ("button", "motion"):
                viewer.send(type="drive", pin=pin, value=1)
                viewer.send(type="drive", pin=pin, value=0)
        server.wait_for_log("is parked: garage changed more than 20 times in 10 s")


def test_moment_of_a_running_server(start_server, tmp_path):
    """A schedule moves its cover once, after the moment is on the disk; a moment that is later than
    `late` is not made up for, also after a restart. The API has its cover, its goal and its next
    time, and who may not move the cover may not pause it."""
    file, state = tmp_path / "time", tmp_path / "state"
    state.mkdir()
    noon = datetime(2030, 7, 1, 12).timestamp()
    file.write_text(f"{noon - 3600}")
    text = f"""access: {{control: everyone}}
gpio: simulated
{QUICK.replace("travel: 0.3}", "travel: 0.3, control: nobody}", 1)}
schedules:
  lunch: {{cover: garage, at: 12:00, goal: open}}
  shade: {{cover: shutter, at: 12:00, goal: 40, late: 20}}
rules:
  lunch: {{when: button, move: {{garage: open}}}}
  shade: {{when: button, move: {{shutter: close}}}}
"""
    program = changing(clock_is(True), clock_from(file), automation_check_interval_s=0.02)
    environment = {**os.environ, "STATE_DIRECTORY": str(state)}
    server = start_server(text, program=program, env=environment)
    found = {each["name"]: each for each in ask(server, "GET", "/api/schedules").json["schedules"]}
    lunch, shade = found["lunch"], found["shade"]
    assert (lunch["cover"], lunch["goal"], lunch["pin"]) == ("garage", "open", None)
    assert (shade["cover"], shade["goal"], shade["value"]) == ("shutter", 40, None)
    assert lunch["next"]["begin"] == shade["next"]["begin"] == noon
    assert (lunch["writable"], shade["writable"]) == (False, True)
    rules = ask(server, "GET", "/api/rules").json["rules"]
    assert [each["writable"] for each in rules] == [False, True]
    for kind in ("schedules", "rules"):
        assert ask(server, "POST", f"/api/{kind}/lunch/pause").error[:2] == (403, "not-allowed")
        assert ask(server, "POST", f"/api/{kind}/shade/pause").status == 200
        assert ask(server, "POST", f"/api/{kind}/shade/resume").status == 200
    assert ask(server, "POST", "/api/schedules/shade/skip").status == 200
    assert ask(server, "POST", "/api/schedules/shade/undo-skip").status == 200
    with WebSocketClient(server.port) as viewer:
        viewer.receive("hello")
        edited = tmp_path / "edited"
        edited.write_text(f"{noon + 30}")
        edited.replace(file)
        assert wait_for_state(viewer, "garage", "opening")["by"] == "schedule lunch"
        kept = json.loads((state / "automation.json").read_text())["moments"]
        assert kept == {"lunch": {"2030-07-01 12:00": noon}}
        wait_for_state(viewer, "garage", "open")
    assert ask(server, "GET", "/api/covers/shutter").json["state"] != "opening"
    server.restart()
    assert "by schedule lunch" not in server.log
    assert ask(server, "GET", "/api/schedules").json["schedules"][0]["runs"] == 0


def test_first_level_of_what_follows_a_cover(monkeypatch):
    """An output that depends on a cover has its level before covers are made: the contact at the
    closed end says what they are. Contacts that contradict each other say nothing."""
    text = PINS.replace("closed: shut,", "closed: shut, opened: above,").replace(
        "covers:", "  above: {gpio: 9, mode: input}\ncovers:"
    )
    config = read(text + "rules: {lit: {while: [garage, shutter], turn_on: lamp}}\n")
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)

    async def first(*on: int) -> float | None:
        loop = asyncio.get_running_loop()
        automation = Automation(loop, lambda: None)
        factory = SimulatedFactory()
        for gpio in on:
            factory.pin(gpio).drive_high()
        board = Board(
            config.pins,
            factory,
            OutputStateStore(None, None),
            loop,
            automation.changed,
            automation.synchronize,
            claim_first=lambda board: automation.apply(config, board),
        )
        value = board["lamp"].value
        automation.close()
        board.close()
        return value

    shut, above = 23, 9
    for on, value in (((shut,), 1), ((), 0), ((shut, above), 1), ((above,), 0)):
        assert asyncio.run(first(*on)) == value


def test_cover_without_a_contact_is_as_it_was_over_a_restart(tmp_path):
    """What follows it has its level at once, and what was switched by hand there stays."""
    pins = """
  lamp: {gpio: 17, mode: output, initial: keep}
  sign: {gpio: 18, mode: output}
  up: {gpio: 5, mode: output, group: shutter, group_pause: 0.5}
  down: {gpio: 6, mode: output, group: shutter, group_pause: 0.5}
"""
    covers = "  shutter: {up: up, down: down, travel: 20}\n"
    rule = "rules: {lit: {while: shutter, turn_on: [lamp, sign]}}"
    config = read(f"pins:{pins}covers:\n{covers}{rule}\n")

    def start(at: float) -> tuple[SimulatedBoard, RuleEngine]:
        engines: list[RuleEngine] = []
        opened: list[SimulatedBoard] = []
        found = AutomationCovers(config.covers, {}, lambda: opened[0].covers if opened else None)

        def claim_first(board: Board) -> None:
            memory = RuleMemory(tmp_path, "one")
            engines.append(RuleEngine(board._loop, memory, lambda only: None))
            engines[0].configure(board, config.rules, found)

        states, memory = OutputStateStore(tmp_path, None), CoverMemory(tmp_path, None)
        pi = SimulatedBoard(pins, states, None, at, claim_first, covers, memory)
        opened.append(pi)
        engines[0].synchronize()
        return pi, engines[0]

    pi, engine = start(1000)
    pi.covers.carry_out(Open(cover="shutter"), "me")
    pi.wait(60)
    engine.synchronize()
    assert (pi.value("lamp"), pi.value("sign")) == (1, 1)
    pi.carry_out(Set(pin="lamp", value=0))
    engine.close()
    pi.close()
    again, engine = start(1100)
    again.settle()
    assert (again.levels_of(17)[1:], again.levels_of(18)[1:]) == ([], [1])
    engine.close()
    again.close()
