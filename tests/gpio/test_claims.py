"""Claims on outputs: what wins, what ends a claim, and what a restart and a power cut leave of it.

tests/test_stateful_claims.py compares them with an oracle over random sequences of events."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from raspi_server.errors import RequestError
from raspi_server.gpio.backend import SimulatedFactory
from raspi_server.gpio.board import Board
from raspi_server.gpio.claims import Level
from raspi_server.gpio.output_state import OutputStateStore
from raspi_server.messages import Auto, Set, Toggle
from tests.support.board import SimulatedBoard
from tests.support.model import Keys

SCHEDULE, RULE, MANUAL = Level.SCHEDULE, Level.RULE, Level.MANUAL
Folders = tuple[Path, Path]
Start = Callable[..., SimulatedBoard]


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    for name in ("run", "state"):
        (tmp_path / name).mkdir()
    return tmp_path / "run", tmp_path / "state"


@pytest.fixture
def start(folders: Folders) -> Iterator[Start]:
    """`start(lamp={keys}, at=1000, first=…)`: the service started, again unless it `is_first`."""
    boards: list[SimulatedBoard] = []

    def start(
        at: float = 1000,
        first: Callable[[Board], None] = lambda board: None,
        is_first: bool = False,
        **pins: Keys,
    ) -> SimulatedBoard:
        if is_first:
            (folders[0] / "levels.json").unlink(missing_ok=True)
        pins = pins or {"lamp": {}}
        usual = {"mode": "output"}
        lines = [
            f"  {name}: {json.dumps({'gpio': gpio} | usual | keys)}\n"
            for gpio, (name, keys) in enumerate(pins.items(), start=17)
        ]
        states = OutputStateStore(*folders)
        board = SimulatedBoard("".join(lines), states, at=at, claim_first=first)
        boards.append(board)
        return board

    yield start
    for board in boards:
        board.loop.close()
        assert board.errors == []


def claim(pi: SimulatedBoard, level: Level, source: str, value: float, **more: Any) -> None:
    pin = more.pop("pin", "lamp")
    pi.board.claim(pin, source, level, value, more.pop("began", pi.loop.time()), **more)


def decided(pi: SimulatedBoard, pin: str = "lamp") -> tuple[Any, str]:
    """Return the value of an output and who decides it, as in `rule hall`."""
    level, source, _ = pi.board.winner(pin)
    return pi.value(pin), f"{level.name.lower()} {source}".strip()


def for_seconds(pi: SimulatedBoard, value: float, seconds: float) -> None:
    pi.carry_out(Set(pin="lamp", value=value, seconds=seconds))


def test_levels(start):
    """The highest level decides, and within a level the claim that began last. When it ends, the
    next one decides, with no value in between. The change names the schedule or the rule."""
    pi = start()
    claim(pi, SCHEDULE, "evening", 1)
    claim(pi, SCHEDULE, "party", 1)
    claim(pi, SCHEDULE, "earlier", 0, began=999)
    assert decided(pi) == (1, "schedule party")
    claim(pi, RULE, "dark", 0)
    claim(pi, RULE, "hall", 1)
    pi.set("lamp", 0)
    assert decided(pi) == (0, "manual")
    pi.carry_out(Auto(pin="lamp"), "you")
    assert decided(pi) == (1, "rule hall")
    pi.board.release("lamp", "hall", RULE)
    pi.board.release("lamp", "dark", RULE)
    assert decided(pi) == (1, "schedule party")
    pi.board.release("lamp", "party", SCHEDULE)
    pi.board.release("lamp", "evening", SCHEDULE)
    pi.board.release("lamp", "earlier", SCHEDULE)
    assert decided(pi) == (0, "default")
    assert [(value, by) for _, value, by in pi.new_changes()] == [
        *[(1, "schedule evening"), (0, "rule dark"), (1, "rule hall"), (0, "me"), (1, "you")],
        *[(0, "rule hall"), (1, "rule dark"), (0, "schedule evening")],
    ]
    assert pi.levels_of(17) == [0, 1, 0, 1, 0, 1, 0, 1, 0]


def test_what_ends_a_command(start):
    """A command holds until a rule begins a claim, a schedule's moment, a window that changes what
    is given below, or `auto`. A claim that only ends, is renewed, or changes nothing does not."""

    def fresh() -> SimulatedBoard:
        pi = start(is_first=True)
        claim(pi, SCHEDULE, "on", 1)
        claim(pi, RULE, "hall", 1)
        pi.wait(1)
        pi.set("lamp", 0)
        pi.wait(1)
        return pi

    pi = fresh()
    claim(pi, RULE, "hall", 1, began=1000)
    claim(pi, SCHEDULE, "other", 1)
    pi.board.release("lamp", "other", SCHEDULE)
    pi.board.release("lamp", "hall", RULE)
    assert decided(pi) == (0, "manual")
    pi.board.release("lamp", "on", SCHEDULE)
    assert decided(pi) == (0, "default")
    for event, expected in (
        (lambda pi: claim(pi, RULE, "hall", 1), (1, "rule hall")),
        (lambda pi: claim(pi, RULE, "wall", 0, edge=True), (0, "rule wall")),
        (lambda pi: claim(pi, SCHEDULE, "at", 1, seconds=5), (1, "rule hall")),
        (lambda pi: pi.board.relinquish("lamp", "me"), (1, "rule hall")),
    ):
        pi = fresh()
        event(pi)
        assert decided(pi) == expected
    pi = start(is_first=True)
    pi.set("lamp", 1)
    claim(pi, SCHEDULE, "night", 0)
    assert decided(pi) == (1, "manual")
    claim(pi, SCHEDULE, "night", 1)
    assert decided(pi) == (1, "schedule night")


def test_an_edge(start):
    """What a wall button switched ends as a command does: by `auto`, the next edge, a window."""
    for event, expected in (
        (lambda pi: pi.carry_out(Auto(pin="lamp")), (0, "default")),
        (lambda pi: claim(pi, RULE, "other", 0, edge=True), (0, "rule other")),
        (lambda pi: claim(pi, SCHEDULE, "evening", 1), (1, "schedule evening")),
        (lambda pi: claim(pi, SCHEDULE, "night", 0), (1, "rule wall")),
        (lambda pi: pi.wait(60.1), (0, "default")),
    ):
        pi = start(is_first=True, lamp={"manual_hold": 60})
        claim(pi, RULE, "wall", 1, edge=True)
        assert pi.board["lamp"].decision.auto
        event(pi)
        assert decided(pi) == expected


def test_everything_off(start):
    """`relinquish` with the rules too leaves the schedules. A rule counts when it begins anew."""
    pi = start()
    claim(pi, SCHEDULE, "night", 0)
    claim(pi, RULE, "hall", 1)
    pi.set("lamp", 1)
    pi.wait(1)
    pi.board.relinquish("lamp", "schedule off", rules_too=True)
    claim(pi, RULE, "hall", 1, began=1000)
    assert decided(pi) == (0, "schedule night")
    pi.wait(1)
    claim(pi, RULE, "hall", 1)
    assert decided(pi) == (1, "rule hall")


def test_a_command_with_a_time(start):
    """It holds for its whole time, whatever happens below; then the next one decides. `auto` and
    another command end it. It may dim, and switch off."""
    pi = start(lamp={}, fan={"mode": "pwm", "initial": 0.25})
    for_seconds(pi, 1, 10)
    claim(pi, RULE, "hall", 0)
    claim(pi, SCHEDULE, "at", 0, seconds=60)
    pi.wait(9.9)
    assert decided(pi) == (1, "manual")
    pi.wait(0.2)
    assert decided(pi) == (0, "rule hall")
    assert pi.new_changes() == [("lamp", 1, "me"), ("lamp", 0, "timer")]
    pi.carry_out(Set(pin="fan", value=0.75, seconds=10))
    pi.wait(10)
    pi.carry_out(Toggle(pin="fan", seconds=10))
    pi.wait(10)
    assert [value for _, value, _ in pi.new_changes()] == [0.75, 0.25, 0, 0.25]
    for end in (Auto(pin="fan"), Set(pin="fan", value=0.25)):
        pi.carry_out(Set(pin="fan", value=1, seconds=10))
        pi.carry_out(end)
        assert pi.value("fan") == 0.25
        pi.new_changes()
        pi.wait(11)
        assert pi.new_changes() == []
    for seconds in (0.009, 86401, float("nan")):
        with pytest.raises(RequestError, match="fan: expected 0.01 to 86400 seconds, got"):
            pi.carry_out(Set(pin="fan", value=1, seconds=seconds))


def test_manual_hold(start):
    """With `manual_hold` a command ends by itself, each one anew. Without, it does not."""
    pi = start(lamp={"manual_hold": 60}, bell={})
    for pin in ("lamp", "bell"):
        pi.set(pin, 1)
    pi.wait(59)
    pi.set("lamp", 1)
    pi.wait(59)
    pi.new_changes()
    pi.wait(3600)
    assert pi.new_changes() == [("lamp", 0, "manual_hold")]


class TestLimits:
    @pytest.mark.parametrize("keys", [{"max_on": 10}, {"pulse": 10}])
    def test_an_end_spends_what_was_on(self, start, keys):
        """After a limit nothing that was on goes on again, nor what is claimed again, until its
        source begins anew, also after a restart. A person may switch on again."""
        keys = {"lamp": keys}
        pi = start(**keys)
        for level in (SCHEDULE, RULE):
            claim(pi, level, "one", 1)
        for_seconds(pi, 1, 3600)
        pi.wait(10)
        for level in (SCHEDULE, RULE):
            claim(pi, level, "one", 1, began=1000)
        assert decided(pi) == (0, "default")
        assert pi.set("lamp", 1).result() == 1
        pi.set("lamp", 0)
        pi.carry_out(Auto(pin="lamp"))
        assert pi.value("lamp") == 0

        def first(board: Board) -> None:
            board.claim("lamp", "one", SCHEDULE, 1, 1000)
            board.claim("lamp", "one", RULE, 1, 1012)  # a start is no new edge of the input

        pi = start(at=1012, first=first, **keys)
        claim(pi, RULE, "one", 1, began=1012)
        assert decided(pi) == (0, "default")
        pi.wait(1)
        claim(pi, SCHEDULE, "one", 1)
        assert decided(pi) == (1, "schedule one")
        pi = start(at=1020, **keys)  # the condition of the rule does not hold
        pi.board.release("lamp", "one", SCHEDULE)
        pi = start(at=1021, first=lambda board: board.claim("lamp", "one", RULE, 1, 1021), **keys)
        pi.board.release("lamp", "one", RULE)
        claim(pi, RULE, "one", 1)
        assert decided(pi) == (1, "rule one")

    def test_max_on_counts_on_when_another_claim_decides(self, start):
        """`max_on` counts from when the output went on, whoever keeps it on."""
        pi = start(lamp={"max_on": 10})
        claim(pi, SCHEDULE, "evening", 1)
        pi.wait(6)
        for_seconds(pi, 1, 60)
        pi.wait(3)
        claim(pi, RULE, "hall", 1)
        assert pi.board.winner("lamp") == (MANUAL, "", 1010)
        pi.wait(1)
        assert pi.new_changes() == [("lamp", 1, "schedule evening"), ("lamp", 0, "max_on")]

    def test_a_pulse_of_a_command_belongs_to_it(self, start):
        """When `auto` ends a pulse that a command asked for, a window that is on stays on."""
        pi = start()
        claim(pi, SCHEDULE, "evening", 1)
        pi.pulse("lamp", 5)
        pi.carry_out(Auto(pin="lamp"))
        pi.wait(10)
        assert pi.new_changes() == [("lamp", 1, "schedule evening")]
        pi.pulse("lamp", 5)
        pi.wait(10)
        assert decided(pi) == (0, "default")


SHUTTER = {"up": {"group": "shutter", "group_pause": 1}, "down": {"group": "shutter"}}
SHUTTER["down"]["group_pause"] = 1
KEEP = {"initial": "keep"}


class TestGroups:
    def test_what_waits_comes_back(self, start):
        """The higher level goes first, then the later start. A window waits, and comes back after
        the pause. Of two that began together the one that is on stays on."""
        pi = start(**SHUTTER)
        pi.wait(2)
        claim(pi, SCHEDULE, "one", 1, pin="up")
        claim(pi, SCHEDULE, "two", 1, pin="down")
        pi.wait(2)
        assert pi.board.values() == {"up": 1, "down": 0}
        pi.board.release("down", "two", SCHEDULE)
        claim(pi, RULE, "rain", 1, pin="down")
        pi.wait(2)
        pi.board.release("down", "rain", RULE)
        pi.wait(0.9)
        assert pi.board.values() == {"up": 0, "down": 0}
        pi.wait(60)
        up, down = "schedule one", "rule rain"
        assert pi.new_changes() == [
            *[("up", 1, up), ("up", 0, "group"), ("down", 1, down)],
            *[("down", 0, down), ("up", 1, up)],
        ]

    def test_claims_that_end_together(self, start):
        """Of two claims that end together none decides alone, not for an instant."""
        pi = start(up=SHUTTER["up"] | {"initial": "on"}, down=SHUTTER["down"])
        pi.wait(2)
        pi.new_changes()
        for pin in ("up", "down"):
            claim(pi, SCHEDULE, pin, 1, pin=pin, seconds=5)
        pi.wait(60)
        assert pi.board.values() == {"up": 1, "down": 0}
        assert pi.new_changes() == []

    def test_commands_end_each_other(self, start):
        """A command for another output of the group ends the one before, and a wall button's edge.
        An edge does not end a command."""
        for first in (
            lambda pi: pi.set("up", 1),
            lambda pi: claim(pi, RULE, "wall", 1, pin="up", edge=True),
        ):
            pi = start(is_first=True, **SHUTTER)
            pi.wait(2)
            first(pi)
            pi.set("down", 1)
            pi.wait(2)
            pi.set("down", 0)
            pi.wait(60)
            assert pi.board.values() == {"up": 0, "down": 0}
        pi.set("down", 1)
        pi.wait(1)
        claim(pi, RULE, "wall", 1, pin="up", edge=True)
        assert pi.board.values() == {"up": 0, "down": 1}

    def test_a_command_that_waited_is_not_kept(self, start):
        """A command that another one ended while it waited for the pause does not come back, with
        its time or without."""
        for seconds in (None, 60):
            pi = start(is_first=True, **{name: keys | KEEP for name, keys in SHUTTER.items()})
            pi.carry_out(Set(pin="up", value=1, seconds=seconds)).add_done_callback(_ignore)
            pi.set("down", 1).add_done_callback(_ignore)
            pi.settle()
            pi = start(**{name: keys | KEEP for name, keys in SHUTTER.items()})
            pi.wait(2)
            assert pi.board.values() == {"up": 0, "down": 0}

    @pytest.mark.parametrize("is_stop", [True, False])
    @pytest.mark.parametrize("names", [("up", "down"), ("down", "up")])
    def test_an_edge_that_waits_for_a_rule_over_a_restart(self, start, is_stop, names):
        """What a wall button has switched on waits while a rule has another output of the group on,
        and comes back after it, also if the server was restarted meanwhile."""
        pins = {name: SHUTTER[name] | KEEP for name in names}
        pi = start(is_first=True, **pins)
        claim(pi, RULE, "wall", 1, pin="up", edge=True)
        pi.wait(2)
        claim(pi, RULE, "door", 1, pin="down")
        pi.wait(2)
        assert (pi.value("up"), pi.value("down")) == (0, 1)
        if is_stop:
            pi.board.close()
        first = lambda board: board.claim("down", "door", RULE, 1, 1002)  # noqa: E731
        pi = start(at=1010, first=first, **pins)
        pi.wait(2)
        assert (pi.value("up"), pi.value("down")) == (0, 1)
        pi.board.release("down", "door", RULE)
        pi.wait(2)
        assert (pi.value("up"), pi.value("down")) == (1, 0)

    def test_an_output_that_joins(self, start):
        """A command that waits is cancelled when another output joins the group. A window waits."""
        keys = "mode: output, group: shutter, group_pause: 1"
        for hand, value in ((True, 0), (False, 1)):
            pi = start(is_first=True, **SHUTTER)
            if hand:
                done = pi.set("up", 1)
            else:
                claim(pi, SCHEDULE, "one", 1, pin="up")
            more = f"  up: {{gpio: 17, {keys}}}\n  down: {{gpio: 18, {keys}}}\n"
            pi.reconfigure(f"{more}  tilt: {{gpio: 19, {keys}}}\n")
            pi.wait(2)
            assert pi.value("up") == value
        with pytest.raises(RequestError, match="joined its group"):
            done.result()

    def test_an_unavailable_output(self, start, monkeypatch):
        """While one of the group is unavailable a claim waits. It also waits for its own output,
        which comes back with the claims of schedules and rules, not of people."""
        pi = start(**SHUTTER)
        pi.wait(2)
        pi.set("up", 1)
        with monkeypatch.context() as broken:
            for part in ("_set_state", "output_with_state"):
                broken.setattr(pi.line(17), part, _fails)
            with pytest.raises(RequestError):
                pi.set("up", 0)
            assert pi.board.winner("up") == (Level.DEFAULT, "", None)
            claim(pi, SCHEDULE, "one", 1, pin="down")
            claim(pi, SCHEDULE, "two", 1, pin="up", began=1)
            pi.board.reopen_failed()
            pi.wait(5)
            assert pi.board.values() == {"up": None, "down": 0}
            assert pi.board.winner("up") == (SCHEDULE, "two", None)
        pi.board.reopen_failed()
        pi.wait(1)
        assert pi.board.values() == {"up": 0, "down": 1}
        pi.board.release("down", "one", SCHEDULE)
        pi.wait(1)
        assert decided(pi, "up") == (1, "schedule two")


def _ignore(done: Any) -> None:
    done.exception()


def _fails(*_: object) -> None:
    from gpiozero.exc import PinError

    raise PinError("I/O error")


class TestStarts:
    def test_the_first_level(self, start):
        """The first level of a line is what the claims give. They are asked for when the inputs
        are open and no output is."""
        seen = []

        def first(board: Board) -> None:
            seen.append(board.values())
            board.claim("lamp", "evening", SCHEDULE, 1, 900)
            board.claim("bell", "quiet", RULE, 0, 900)

        pins = {"lamp": {}, "bell": {"initial": "on"}, "door": {"mode": "input"}}
        pi = start(first=first, **pins)
        assert seen == [{"lamp": None, "bell": None, "door": 0}]
        assert (pi.levels_of(17), pi.levels_of(18)) == ([0, 1], [0])
        assert pi.new_changes() == []
        assert decided(pi) == (1, "schedule evening")
        with pytest.raises(RequestError, match="door is an input"):
            claim(pi, RULE, "one", 1, pin="door")
        with pytest.raises(RequestError, match="there is no pin 'nope'"):
            claim(pi, RULE, "one", 1, pin="nope")
        pi.board.release("nope", "one", RULE)
        pi.board.relinquish("nope", "me")

    def test_a_restart(self, start):
        """A command with a time goes on to its original end, whatever `initial` says. One without
        comes back with `keep` only, and not if a schedule gives something else now."""
        evening = lambda board: board.claim("lamp", "evening", SCHEDULE, 1, 900)  # noqa: E731
        for initial, comes_back in (("off", False), ("keep", True), ("on", False)):
            keys = {"lamp": {"initial": initial}}
            pi = start(**keys)
            for_seconds(pi, 0 if initial == "on" else 1, 60)
            pi.board.close()
            pi = start(at=1020, **keys)
            assert decided(pi)[1] == "manual"
            assert pi.new_changes() == []
            pi.wait(39.9)
            assert decided(pi)[1] == "manual"
            pi.wait(0.2)
            assert decided(pi) == (int(initial == "on"), "default")
            pi = start(first=evening, **keys)
            pi.set("lamp", 0)
            pi.board.close()
            expected = (0, "manual") if comes_back else (1, "schedule evening")
            assert decided(start(first=evening, **keys)) == expected
            assert decided(start(**keys))[1] == "default"

    def test_a_moment_and_a_hold_go_on(self, start):
        """The pulse of a moment and the hold of a rule end when they would have. A pulse whose
        schedule does not claim it again is over."""
        for level in (SCHEDULE, RULE):
            pi = start()
            claim(pi, level, "one", 1, seconds=60)
            pi.board.close()
            assert decided(start(at=1040))[0] == int(level is RULE)
            pi = start()
            claim(pi, level, "one", 1, seconds=60)
            pi.board.close()
            again = lambda board: board.claim("lamp", "one", SCHEDULE, 1, 1000, 60)  # noqa: E731
            pi = start(at=1050, **{"first": again} if level is SCHEDULE else {})
            assert [(pin, each.until) for pin, each in pi.board.claims()] == [("lamp", 1060)]
            pi.wait(10)
            assert [change.value for change in pi.changes] == [0]
            assert decided(start(at=1061)) == (0, "default")

    @pytest.mark.parametrize("kind", ["light", "gate"])
    @pytest.mark.parametrize("level", [SCHEDULE, MANUAL])
    @pytest.mark.parametrize("is_stop", [True, False])
    def test_what_goes_on_for_a_time_on_an_output_with_a_pulse(self, start, kind, level, is_stop):
        """After a stop and a crash the pulse of a moment and a command with a time go on to their
        original end, and at most for the output's own pulse. Nothing is pressed twice."""
        for seconds, end in ((30, 1030), (60, 1060), (90, 1060)):
            keys = {"lamp": {"kind": kind, "pulse": 60}}
            pi = start(is_first=True, **keys)
            again = lambda board, s=seconds: board.claim("lamp", "one", SCHEDULE, 1, 1000, s)  # noqa: E731
            if level is MANUAL:
                for_seconds(pi, 1, seconds)
            else:
                again(pi.board)
            if is_stop:
                pi.board.close()
            pi = start(at=1010, **{"first": again} if level is SCHEDULE else {}, **keys)
            if kind == "gate" and (is_stop or seconds == 30):
                assert pi.levels_of(17) == [0]
                continue
            pi.wait(end - 1010.1)
            assert (pi.value("lamp"), pi.new_changes()) == (1, [])
            pi.wait(0.2)
            assert pi.value("lamp") == 0
            pi.wait(100)
            assert pi.value("lamp") == 0

    @pytest.mark.parametrize("is_stop", [True, False])
    def test_a_default_that_a_limit_has_cut_stays_off(self, start, is_stop):
        """A heater with `initial: on` that max_on has ended is not on again after each restart: it
        is after a boot. A person may switch it on."""
        keys = {"lamp": {"initial": "on", "max_on": 100}}
        pi = start(**keys)
        pi.wait(101)
        for at in (1102, 1104):
            if is_stop:
                pi.board.close()
            pi = start(at=at, **keys)
            assert (decided(pi), pi.levels_of(17)) == ((0, "default"), [0])
        pi.set("lamp", 1)
        assert pi.value("lamp") == 1
        pi.board.close()
        assert start(is_first=True, **keys).value("lamp") == 1

    def test_the_end_of_a_claim_is_no_limit(self, start):
        """After a crash in which a command's time ended, the window below it decides."""
        for_seconds(start(), 1, 10)
        evening = lambda board: board.claim("lamp", "evening", SCHEDULE, 1, 900)  # noqa: E731
        assert decided(start(at=1020, first=evening)) == (1, "schedule evening")

    def test_nothing_with_an_end_is_left_on(self, start):
        """`on_stop: keep` does not leave on what only a server would end."""
        for seconds, level in ((None, 1), (60, 0)):
            pi = start(lamp={"on_stop": "keep"})
            pi.carry_out(Set(pin="lamp", value=1, seconds=seconds))
            line = pi.line(17)
            pi.board.close()
            assert line.state == level

    def test_a_power_cut(self, start, folders):
        """With `restore` comes back what a person chose, as the weakest claim, until the next
        event. What had an end is over, and what a schedule gave comes from the schedule."""
        keys = {"lamp": {"initial": "restore"}}
        for seconds, scheduled, value in (
            (None, None, 1),
            (60, None, 0),
            (None, 0, 0),
        ):
            pi = start(**keys)
            pi.carry_out(Set(pin="lamp", value=1, seconds=seconds))
            if scheduled is not None:
                claim(pi, SCHEDULE, "day", 1)
            pi.states.save(0)
            (folders[0] / "levels.json").unlink()
            assert decided(start(at=1, **keys)) == (value, "default")
            (folders[0] / "levels.json").unlink()
        for event, expected in (
            (lambda pi: pi.carry_out(Auto(pin="lamp")), 0),
            (lambda pi: pi.board.release("lamp", "evening", SCHEDULE), 0),
            (lambda pi: claim(pi, RULE, "hall", 0), 0),
            (lambda pi: pi.wait(3600), 1),
        ):
            pi = start(**keys)
            pi.set("lamp", 1)
            pi.states.save(0)
            (folders[0] / "levels.json").unlink()
            pi = start(first=lambda board: board.claim("lamp", "evening", SCHEDULE, 1, 900), **keys)
            event(pi)
            pi.board.release("lamp", "evening", SCHEDULE)
            pi.board.release("lamp", "hall", RULE)
            if expected:
                pi.board.release("lamp", "evening", SCHEDULE)
            assert pi.value("lamp") == 0

    def test_other_releases(self, start, folders):
        """A file of an older release is read: its level comes back, as the weakest claim. An older
        release reads ours, where a command with a time is as good as a pulse."""
        file = folders[0] / "levels.json"
        keys = {"lamp": {"initial": "keep"}}
        pi = start(**keys)
        for_seconds(pi, 1, 60)
        kept = json.loads(file.read_text())
        assert kept["levels"]["17"]["value"] == 1
        assert kept["levels"]["17"]["pulse_at"] == 1060
        del kept["claims"]
        kept["levels"]["17"] = {"value": 1, "pulse_at": None, "max_at": None}
        file.write_text(json.dumps(kept))
        pi = start(**keys)
        assert decided(pi) == (1, "default")
        pi.carry_out(Auto(pin="lamp"))
        assert decided(pi) == (0, "default")

    def test_a_reload(self, start):
        """Claims of a pin that is not touched stay. One that is opened again asks anew."""
        first = lambda board: board.claim("lamp", "evening", SCHEDULE, 1, 900)  # noqa: E731
        pi = start(first=first)
        pi.set("lamp", 0)
        pi.reconfigure("  lamp: {gpio: 17, mode: output, label: Other, initial: on}\n")
        assert decided(pi) == (0, "manual")
        pi.reconfigure("  lamp: {gpio: 17, mode: output, max_on: 60}\n")
        assert decided(pi) == (1, "schedule evening")

    def test_another_initial(self, start):
        """A reload with another `initial` switches nothing. *Automatic*, and the end of a window,
        give the new one. A default that a limit had cut counts again."""
        first = lambda board: board.claim("lamp", "evening", SCHEDULE, 1, 900)  # noqa: E731
        line = "  lamp: {gpio: 17, mode: output, max_on: 3600, initial: %s}\n"
        for before, after, value in (("off", "on", 1), ("on", "off", 0)):
            pi = start(is_first=True, lamp={"initial": before, "max_on": 3600})
            pi.reconfigure(line % after)
            assert (pi.value("lamp"), pi.new_changes()) == (1 - value, [])
            pi.carry_out(Auto(pin="lamp"))
            assert decided(pi) == (value, "default")
            pi = start(is_first=True, first=first, lamp={"initial": before, "max_on": 3600})
            pi.reconfigure(line % after)
            pi.board.release("lamp", "evening", SCHEDULE)
            assert decided(pi) == (value, "default")
        pi = start(is_first=True, lamp={"initial": "on", "max_on": 3600})
        pi.wait(3601)
        pi.reconfigure(line % "off")
        pi.reconfigure(line % "on")
        assert pi.value("lamp") == 0
        pi.carry_out(Auto(pin="lamp"))
        assert pi.value("lamp") == 1


def test_decisions_without_a_change(start):
    """Another source, another end or a new `auto` is told although the value stays, once."""
    pi = start()
    claim(pi, SCHEDULE, "evening", 1)
    assert pi.decisions == []
    pi.set("lamp", 1)
    pi.set("lamp", 1)
    for_seconds(pi, 1, 60)
    claim(pi, RULE, "hall", 0)
    pi.carry_out(Auto(pin="lamp"))
    told = [(name, *decision) for name, decision in pi.decisions]
    assert [(name, source.level, until, auto) for name, source, until, auto in told] == [
        ("lamp", "manual", None, True),
        ("lamp", "manual", 1060, True),
    ]
    change = pi.changes[-1]
    assert (change.value, change.decision.source.level, change.decision.source.name) == (
        *(0, "rule"),
        "hall",
    )


def test_inputs_have_no_claims(start):
    pi = start(door={"mode": "input"})
    assert pi.board["door"].decision is None
    with pytest.raises(RequestError, match="is an input"):
        pi.carry_out(Auto(pin="door"))
    assert isinstance(pi.factory, SimulatedFactory)
