"""Proof that the board follows the pin rules of docs/architecture.md in any sequence of events:
commands, bouncing contacts, lost edges, failing lines, busy loops, clock steps, reloads, restarts,
power cuts. After each event values, changes with their moments and causes, answers, deadlines and
the levels of all lines are those of the model in tests/support/model.py."""

import json
import shutil
import tempfile
import time
from itertools import cycle
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest
from gpiozero.exc import PinError
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from raspi_server.errors import RequestError
from raspi_server.gpio.backend import SimulatedFactory
from raspi_server.gpio.output_state import OutputStateStore
from raspi_server.messages import Drive, Pulse, Set, Toggle
from tests.support.board import SimulatedBoard, parse
from tests.support.model import KEPT, Answer, Keys, Model, Output, Pins
from tests.support.model_configs import Choices, configurations, run

COMMANDS = {"set": Set, "toggle": Toggle, "pulse": Pulse, "drive": Drive}
ANY_COMMANDS = [
    *[("set", value) for value in (0.25, 0.5, 1, -1, 1.5, float("nan"))],
    *[("pulse", seconds) for seconds in (None, 1 / 16, 1, 3, 16, 7200, 0, -1, 86401)],
    *[("drive", value) for value in (0, 1, 0, 1, 0.5)],
    ("toggle", None),
]
# All times are sums of powers of two, which clocks add without an error.
WAITS_S = [0, 1 / 64, 1 / 32, 1 / 16, 0.25, 0.5, 1, 2, 4, 16, 60, 3600, 86400]
YEAR_S = 365 * 86400.0
INITIAL = ["off", "on", *KEPT]


def optional(**keys: list[Any]) -> st.SearchStrategy[Keys]:
    """Keys of a pin, each with one of some values, or absent."""
    choices = {key: st.sampled_from(values) for key, values in keys.items()}
    return st.fixed_dictionaries({}, optional=choices)


LEVELS = {"active": ["high", "low"]}
DRIVEN = LEVELS | {"max_on": [0.5, 2, 8, 3600]}
OUTPUT = DRIVEN | {"pulse": [0.25, 1, 4], "initial": INITIAL}
CHOICES: Choices = {
    "input": optional(**LEVELS, debounce=[1 / 16, 0.5], pull=["up", "down"]),
    "output": optional(**OUTPUT, on_stop=["off", "on", "keep", "input"]),
    "pwm": optional(**DRIVEN, initial=[*INITIAL, 0.25], on_stop=["off", "on", "input"]),
    "motor": optional(**OUTPUT, on_stop=["off", "keep", "input"]),
    "unopened": optional(initial=INITIAL, on_stop=["off", "keep", "input"], confirm=[True]),
    "pause": st.sampled_from([0.25, 1, 4]),
}


def to_yaml(pins: Pins) -> str:
    return "".join(f"  {name}: {json.dumps(keys)}\n" for name, keys in pins.items())


def approx(moment: float) -> Any:
    return pytest.approx(moment, abs=1e-5)


def fail(*_: Any) -> Any:
    raise PinError("I/O error")


class BoardEvents(RuleBasedStateMachine):
    """Random events, which happen to the board and to the model."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="raspi-server-test-"))
        for name in ("run", "state"):
            (self.folder / name).mkdir()
        self.wall_offset_s = 1_700_000_000.0
        self.asked: list[tuple[Any, Answer]] = []
        self.now = lambda: 1000.0
        clock = SimpleNamespace(time=lambda: time.time(), monotonic=lambda: self.now())
        self._patches = [
            mock.patch("raspi_server.system.clock.time", clock),
            mock.patch("time.time", lambda: self.wall_offset_s + self.now()),
        ]
        for patch in self._patches:
            patch.start()

    @initialize(pins=configurations(CHOICES))
    def start(self, pins: Pins) -> None:
        self.pins = pins
        self._open_lines()
        self.rig = self._new_rig(1000.0)
        self.model = Model(pins, 1000.0)

    def _open_lines(self) -> None:
        self.factory = SimulatedFactory()
        self.factory.close = lambda: None  # the lines keep their levels when the process ends

    def _new_rig(self, at: float) -> SimulatedBoard:
        self.now = lambda: at
        states = OutputStateStore(self.folder / "run", self.folder / "state")
        rig = SimulatedBoard(to_yaml(self.pins), states, self.factory, at)
        self.now = rig.loop.time
        return rig

    def teardown(self) -> None:
        try:
            self.rig.board.close()
            self.rig.loop.close()
        finally:
            for patch in self._patches:
                patch.stop()
            shutil.rmtree(self.folder)

    def inputs(self) -> list[str]:
        return [name for name, keys in self.pins.items() if keys["mode"] == "input"]

    def outputs(self) -> list[str]:
        return [name for name, keys in self.pins.items() if keys["mode"] != "input"]

    def _any(self, data: st.DataObject, names: list[str]) -> str:
        return data.draw(st.sampled_from(names), "pin")

    def _line(self, name: str) -> Any:
        return self.factory.pin(self.pins[name]["gpio"])

    # Commands and time

    def _command(self, act: str, name: str, value: float | None = None, by: str = "me") -> None:
        field = {"seconds" if act == "pulse" else "value": value} if act != "toggle" else {}
        command: Any = COMMANDS[act](pin=name, **field)
        try:
            result: Any = self.rig.board.carry_out(command, by)
        except RequestError as error:
            result = error
        self.asked.append((result, self.model.command(act, name, value, by)))
        self.check()

    @precondition(outputs)
    @rule(data=st.data(), by=st.sampled_from(["me", "you"]))
    def switch(self, data: st.DataObject, by: str) -> None:
        """Some commands to one output in a row, perhaps until just before its next event."""
        name = self._any(data, self.outputs())
        is_pwm = self.pins[name]["mode"] == "pwm"
        values: dict[str, list[Any]] = {
            "toggle": [None],
            "pulse": [None, 0.25, 0.5, 3],
            "set": [0, 0.25, 0.5, 1] if is_pwm else [1, 1, 0],
        }
        acts = st.sampled_from(["toggle", "set"] if is_pwm else ["set", "set", "toggle", "pulse"])
        for act in data.draw(st.lists(acts, min_size=1, max_size=4), "acts"):
            self._command(act, name, data.draw(st.sampled_from(values[act])), by)
            self.wait(data.draw(st.sampled_from([0, 0, 1 / 16, 0.5]), "gap"))
        if data.draw(st.booleans(), "waits"):
            self.wait_for_next(data.draw(st.sampled_from([0, 1 / 64])))

    @rule(data=st.data(), command=st.sampled_from(ANY_COMMANDS))
    def command(self, data: st.DataObject, command: tuple[str, float]) -> None:
        """Any command to any pin, also one that cannot be carried out."""
        act, value = command
        self._command(act, self._any(data, [*self.pins, "nope"]), value)

    @rule(seconds=st.sampled_from(WAITS_S))
    def wait(self, seconds: float) -> None:
        self.rig.wait(seconds)
        self.check()

    @rule(before=st.sampled_from([0, 0, 1 / 64]))
    def wait_for_next(self, before: float) -> None:
        """Wait until exactly the moment that is due next, or until just before."""
        due = min((moment for moment, _ in self.model.due()), default=self.model.now)
        self.wait(max(0, due - self.now() - before))

    @rule(by=st.sampled_from([3600.0, -3600.0, 7200.5, 10 * YEAR_S, -10 * YEAR_S]))
    def set_wall_clock(self, by: float) -> None:
        self.wall_offset_s += by

    # Inputs and failing lines

    @rule(
        data=st.data(),
        gaps=st.lists(st.sampled_from([0, 1 / 64, 1 / 32, 1 / 16, 0.5]), min_size=1, max_size=6),
        is_busy=st.booleans(),
        rest=st.sampled_from([0, 0.5, 2]),
    )
    def bounce(self, data: st.DataObject, gaps: list[float], is_busy: bool, rest: float) -> None:
        """Edges of one line or two, each after a gap. A busy loop sees all of them together."""
        inputs = st.sampled_from(self.inputs() or [None])
        names = cycle(data.draw(st.lists(inputs, min_size=1, max_size=2)))
        for gap in gaps:
            if is_busy:
                self.rig.loop._clock.now += gap
                self.model.now = self.now()
            else:
                self.wait(gap)
            if name := next(names):
                self._flip(name)
        self.wait(rest)

    def _flip(self, name: str) -> None:
        line, high = self._line(name), not self.model.pins[name].line.level
        (line.drive_high if high else line.drive_low)()
        self.model.set_line(name, high)

    @rule(data=st.data(), loses=st.booleans())
    def refresh(self, data: st.DataObject, loses: bool) -> None:
        """The server reads all inputs, perhaps after an edge of one was lost."""
        if loses and self.inputs():
            name = self._any(data, self.inputs())
            line = self.model.pins[name].line
            line.level = int(not line.level)
            self._line(name)._change_state(line.level)
        self.rig.board.refresh()
        self.model.refresh()

    def failing(self) -> list[int]:
        return [gpio for gpio, line in self.model.lines.items() if line.fails]

    @precondition(lambda self: not self.failing())
    @rule(data=st.data(), used=st.booleans())
    def fail(self, data: st.DataObject, used: bool) -> None:
        """A line fails, perhaps while its output is on, and is used then."""
        name = self._any(data, [*self.pins])
        if used:
            self._command("set", name, 1)
        line = self._line(name)
        line._get_state = line._set_state = fail
        self.model.pins[name].line.fails = True
        if used:
            self._command("toggle", name)
            self._command("set", self._any(data, [*self.pins]), 1)

    @precondition(failing)
    @rule(reopened=st.booleans())
    def repair(self, reopened: bool) -> None:
        for gpio in self.failing():
            self.model.lines[gpio].fails = False
            del self.factory.pin(gpio)._get_state, self.factory.pin(gpio)._set_state
        if reopened:
            self.reopen_failed()

    @precondition(lambda self: None in self.model.values().values())
    @rule()
    def reopen_failed(self) -> None:
        self.rig.board.reopen_failed()
        self.model.reopen_failed()

    # Reloads, restarts and power cuts

    def _switch_on(self, data: st.DataObject, *initial: str) -> None:
        """Perhaps switch on an output, or one with one of these `initial`."""
        pins = self.pins
        found = self.outputs()
        if initial:
            found = [name for name in found if pins[name].get("initial") in initial]
        if found and data.draw(st.booleans(), "switches on"):
            name = self._any(data, found)
            act = data.draw(st.sampled_from(["set", "pulse"]), "act")
            self._command(act, name, 0.25 if pins[name]["mode"] == "pwm" else 1)

    @rule(data=st.data())
    def reload(self, data: st.DataObject) -> None:
        self._switch_on(data)
        self.pins = data.draw(configurations(CHOICES, self.pins), "pins")
        self.rig.board.reconfigure(parse(to_yaml(self.pins)).pins)
        self.model.reload(self.pins)
        assert [pin.config.name for pin in self.rig.board] == [*self.pins]

    @rule(data=st.data(), later=st.sampled_from([0, 0.5, 1, 3600]), flips=st.booleans())
    def restart(self, data: st.DataObject, later: float, flips: bool) -> None:
        """Stop, and start `later`; some edges are on their way at the end."""
        self._switch_on(data, *KEPT)
        for name in self.inputs() if flips else []:
            self._flip(name)
        self.rig.board.close()
        self.model.stop()
        self._check_answers()
        assert not self.asked
        at_end = [*self.rig.changes], self.rig.availability_changes
        self.rig.wait(later)
        self.rig.settle()
        assert (self.rig.changes, self.rig.availability_changes) == at_end
        self._check_lines()
        self._start_again(self.now())

    @rule(data=st.data(), later=st.sampled_from([0, 0.5, 1, 3600]))
    def crash(self, data: st.DataObject, later: float) -> None:
        """`raspi-server safe-state` follows, and does what `on_failure` says, which is off."""
        self._switch_on(data, *KEPT)
        for out in self.model.outputs:
            out.line.level = int(not out.high_is_on)
            self._line(out.name)._change_state(out.line.level)
        self._start_again(self.now() + later)

    @rule()
    def save(self) -> None:
        self.rig.states.save(self.now())
        self.model.save()

    @rule(data=st.data(), saved=st.sampled_from([True, True, False]))
    def cut_power(self, data: st.DataObject, saved: bool) -> None:
        self._switch_on(data, "restore")
        if saved:
            self.save()
        self.repair(False)
        for file in (self.folder / "run").iterdir():
            file.unlink()
        self._open_lines()
        self.model.cut_power()
        self._start_again(1000.0)

    def _start_again(self, at: float) -> None:
        self.asked.clear()
        for line in self.factory.pins.values():
            line.unwatch()  # a process that has ended watches nothing
        self.rig.loop.close()
        self.rig = self._new_rig(at)
        self.model.now = at
        self.model.start(self.pins)

    # The comparison

    @invariant()
    def check(self) -> None:
        """Run what was posted to the loop, then compare all that the model predicts."""
        self.rig.settle()
        self.model.pass_time(self.now())
        assert self.rig.errors == []
        assert self.now() == approx(self.model.now)
        assert self.rig.board.values() == self.model.values()
        assert self.rig.availability_changes == self.model.reopened
        self._check_changes()
        self._check_pins()
        self._check_lines()
        self._check_answers()

    def _check_changes(self) -> None:
        """The changes of each pin are those of the model, in order."""
        order = [*self.pins]
        reported = sorted(self.rig.changes, key=lambda change: order.index(change.pin))
        expected = sorted(self.model.changes, key=lambda change: order.index(change.pin))
        assert [each[:2] for each in reported] == [(each.pin, each.value) for each in expected]
        for change, wanted in zip(reported, expected, strict=True):
            assert change.by in wanted.by, (change, wanted)
            assert change.moment == approx(wanted.moment), (change, wanted)
        self.rig.changes.clear()
        self.model.changes.clear()

    def _check_pins(self) -> None:
        for name, pin in self.model.pins.items():
            runtime = self.rig.board[name]
            assert bool(runtime.error) != pin.is_open
            since = pin.since if pin.is_open else None
            assert runtime.since == (since and approx(self.wall_offset_s + since)), name
            if isinstance(pin, Output) and pin.is_open:
                off_at = pin.state.off_at
                assert runtime.output.state.off_at == (off_at and approx(off_at)), name

    def _check_lines(self) -> None:
        """Each line has had the levels of the model, and no other in between."""
        for keys in self.pins.values():
            line, model = self.factory.pin(keys["gpio"]), self.model.lines[keys["gpio"]]
            assert [each.state for each in line.states[-50:]] == model.levels[-50:], keys
        groups = [out.group for out in self.model.outputs if out.group and out.value]
        assert len(groups) == len({*groups}), "two outputs of a group are on"

    def _check_answers(self) -> None:
        """No command that waits has an answer yet, all others have theirs."""
        for result, answer in self.asked:
            if isinstance(result, RequestError):
                answer.check(None, result.code)
            elif not result.done():
                assert answer.is_open, answer
            elif error := result.exception():
                answer.check(None, error.code)
            else:
                answer.check(result.result())
        self.asked = [asked for asked in self.asked if asked[1].is_open]


@pytest.mark.slow
@pytest.mark.parametrize("examples", [120, pytest.param(2400, marks=pytest.mark.long)])
def test_random_events(caplog: pytest.LogCaptureFixture, examples: int) -> None:
    """In any sequence of events the pins follow the rules, and nothing else happens to them."""
    caplog.set_level("CRITICAL", logger="raspi_server")  # lines fail by the hundred
    run(BoardEvents, examples, steps=40)
