"""Proof that the board follows the pin rules of docs/architecture.md in any sequence of events:
commands, bouncing contacts, lost edges, failing lines, busy loops, clock steps, reloads, restarts,
power cuts. After each event values, changes with their moments and causes, answers, deadlines and
levels are those of the model in tests/support/model.py. A failure found here becomes a row of
SEQUENCES."""

from collections.abc import Iterable
from contextlib import closing
from itertools import cycle
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.support.model import KEPT, Keys, Pins
from tests.support.model_board import ModelledBoard
from tests.support.model_configs import Choices, configurations, run

YEAR_S = 365 * 86400.0
# All times are sums of powers of two, which clocks add without an error.
WAITS = st.sampled_from([0, 1 / 64, 1 / 32, 1 / 16, 0.25, 0.5, 1, 2, 4, 16, 60, 3600, 86400])
INITIAL = ["off", "on", *KEPT]
ANY_COMMANDS = [
    *[("set", value) for value in (0.25, 0.5, 1, -1, 1.5, float("nan"))],
    *[("pulse", seconds) for seconds in (None, 1 / 16, 1, 3, 16, 7200, 0, -1, 86401)],
    *[("drive", value) for value in (0, 1, 0, 1, 0.5)],
    ("toggle", None),
]


def optional(**keys: list[Any]) -> st.SearchStrategy[Keys]:
    """Keys of a pin, each with one of some values, or absent."""
    choices = {key: st.sampled_from(values) for key, values in keys.items()}
    return st.fixed_dictionaries({}, optional=choices)


OUTPUT = {
    "active": ["high", "low"],
    "pulse": [0.25, 1, 4],
    "max_on": [0.5, 2, 8, 3600],
    "initial": INITIAL,
}
CHOICES: Choices = {
    "input": optional(debounce=[1 / 16, 0.5], pull=["up", "down"], active=["high", "low"]),
    "output": optional(**OUTPUT, on_stop=["off", "on", "keep", "input"]),
    "pwm": optional(
        active=["high", "low"],
        max_on=OUTPUT["max_on"],
        initial=[*INITIAL, 0.25],
        on_stop=["off", "on", "input"],
    ),
    "motor": optional(**OUTPUT, on_stop=["off", "keep", "input"]),
    "unopened": optional(initial=INITIAL, on_stop=["off", "keep", "input"], confirm=[True]),
    "pause": st.sampled_from([0.25, 1, 4]),
}


class BoardEvents(RuleBasedStateMachine):
    """Random events. After each of them the board is compared with the model."""

    pair: ModelledBoard | None = None

    @initialize(pins=configurations(CHOICES))
    def start(self, pins: Pins) -> None:
        self.pair = ModelledBoard(pins)
        self.pair.check()

    def teardown(self) -> None:
        if self.pair:
            self.pair.close()

    def names(self) -> list[str]:
        return self.pair.names()

    def inputs(self) -> list[str]:
        return self.pair.names("input")

    def outputs(self) -> list[str]:
        return self.pair.names("output", "pwm")

    def _any(self, data: st.DataObject, names: list[str]) -> str:
        return data.draw(st.sampled_from(names), "pin")

    # Commands

    @precondition(outputs)
    @rule(data=st.data(), by=st.sampled_from(["me", "you"]))
    def switch(self, data: st.DataObject, by: str) -> None:
        """Some commands to one output in a row, perhaps until just before its next event."""
        name = self._any(data, self.outputs())
        is_pwm = self.pair.pins[name]["mode"] == "pwm"
        acts = ["toggle", "set"] if is_pwm else ["set", "set", "toggle", "pulse"]
        for act in data.draw(st.lists(st.sampled_from(acts), min_size=1, max_size=4), "acts"):
            values = {
                "toggle": [None],
                "pulse": [None, 0.25, 0.5, 3],
                "set": [0, 0.25, 0.5, 1] if is_pwm else [1, 1, 0],
            }[act]
            self.pair.command(act, name, data.draw(st.sampled_from(values)), by)
            if gap := data.draw(st.sampled_from([0, 1 / 16, 0.5]), "gap"):
                self.pair.wait(gap)
        if data.draw(st.booleans(), "waits"):
            self.pair.wait_for_next(data.draw(st.sampled_from([0, 1 / 64])))

    @rule(data=st.data(), command=st.sampled_from(ANY_COMMANDS))
    def command(self, data: st.DataObject, command: tuple[str, float]) -> None:
        """Any command to any pin, also one that cannot be carried out."""
        act, value = command
        self.pair.command(act, self._any(data, [*self.names(), "nope"]), value)

    # Time and inputs

    @rule(seconds=WAITS)
    def wait(self, seconds: float) -> None:
        self.pair.wait(seconds)

    @rule(before=st.sampled_from([0, 0, 1 / 64]))
    def wait_for_next(self, before: float) -> None:
        self.pair.wait_for_next(before)

    @rule(by=st.sampled_from([3600.0, -3600.0, 7200.5, 10 * YEAR_S, -10 * YEAR_S]))
    def set_wall_clock(self, by: float) -> None:
        self.pair.wall_offset_s += by

    @rule(
        data=st.data(),
        gaps=st.lists(st.sampled_from([0, 1 / 64, 1 / 32, 1 / 16, 0.5]), min_size=1, max_size=6),
        is_busy=st.booleans(),
        rest=st.sampled_from([0, 0.5, 2]),
    )
    def bounce(self, data: st.DataObject, gaps: list[float], is_busy: bool, rest: float) -> None:
        """Edges of one line or two, each after a gap. A busy loop sees all of them together."""
        names = data.draw(
            st.lists(st.sampled_from(self.inputs() or [None]), min_size=1, max_size=2)
        )
        edges = list(zip(gaps, cycle(names), strict=False))
        if is_busy:
            self.pair.be_busy(*edges)
        else:
            for gap, name in edges:
                self.pair.wait(gap)
                self.pair.be_busy((0, name))
        self.pair.wait(rest)

    @rule(data=st.data(), loses=st.booleans())
    def refresh(self, data: st.DataObject, loses: bool) -> None:
        if loses and self.inputs():
            self.pair.lose_edge(self._any(data, self.inputs()))
        self.pair.refresh()

    # Failing lines

    @precondition(lambda self: not self.pair.failing)
    @rule(data=st.data(), used=st.booleans())
    def fail(self, data: st.DataObject, used: bool) -> None:
        """A line fails, perhaps while its output is on, and is used then."""
        name = self._any(data, self.names())
        if used:
            self.pair.command("set", name, 1)
        self.pair.fail(name)
        if used:
            self.pair.command("toggle", name)
            self.pair.command("set", self._any(data, self.names()), 1)

    @precondition(lambda self: None in self.pair.model.values().values() or self.pair.failing)
    @rule(repaired=st.booleans(), reopened=st.booleans())
    def repair(self, repaired: bool, reopened: bool) -> None:
        if repaired:
            self.pair.repair()
        if reopened:
            self.pair.reopen_failed()

    # Reloads, restarts and power cuts

    @rule()
    def save(self) -> None:
        self.pair.save()

    def _switch_on(self, data: st.DataObject, initial: Iterable[str] = INITIAL) -> None:
        """Perhaps switch on an output that has one of these `initial`."""
        pins = self.pair.pins
        found = [name for name in self.outputs() if pins[name].get("initial", "off") in initial]
        if found and data.draw(st.booleans(), "switches on"):
            name = self._any(data, found)
            act = data.draw(st.sampled_from(["set", "pulse"]), "act")
            self.pair.command(act, name, 0.25 if pins[name]["mode"] == "pwm" else 1)

    @rule(
        data=st.data(),
        later=st.sampled_from([0, 0.5, 1, 3600]),
        crash=st.booleans(),
        flips=st.booleans(),
    )
    def restart(self, data: st.DataObject, later: float, crash: bool, flips: bool) -> None:
        self._switch_on(data, KEPT)
        self.pair.restart(later, crash, self.inputs() if flips else [])

    @rule(data=st.data(), saved=st.sampled_from([True, True, False]))
    def cut_power(self, data: st.DataObject, saved: bool) -> None:
        self._switch_on(data, ["restore"])
        if saved:
            self.pair.save()
        self.pair.cut_power()

    @rule(data=st.data())
    def reload(self, data: st.DataObject) -> None:
        self._switch_on(data)
        self.pair.reload(data.draw(configurations(CHOICES, self.pair.pins), "pins"))

    @invariant()
    def board_equals_model(self) -> None:
        if self.pair:
            self.pair.check()


@pytest.mark.slow
@pytest.mark.parametrize("examples", [100, pytest.param(5000, marks=pytest.mark.long)])
def test_random_events(caplog: pytest.LogCaptureFixture, examples: int) -> None:
    """In any sequence of events the pins follow the rules, and nothing else happens to them."""
    caplog.set_level("CRITICAL", logger="raspi_server")  # lines fail by the hundred
    run(BoardEvents, examples, steps=40)


def output(gpio: int = 17, **keys: Any) -> Keys:
    return {"gpio": gpio, "mode": "output", **keys}


def motor(gpio: int, **keys: Any) -> Keys:
    return output(gpio, group="shutter", group_pause=1, **keys)


DOWN_AND_TILT = {"down": motor(6), "tilt": motor(13)}
MOTORS = {"up": motor(5), **DOWN_AND_TILT}
KEPT_MOTORS = {"up": motor(5, initial="keep"), **DOWN_AND_TILT}
SEQUENCES = {
    "max_on counts across a restart, and another set does not extend it": (
        [{"lamp": output(max_on=8, initial="keep")}],
        "set lamp 1, wait 7, restart, set lamp 1, wait 1, line lamp 0",
    ),
    "a pulse that max_on shortens is over after a power cut": (
        [{"lamp": output(initial="restore", max_on=8)}],
        "set lamp 1, wait 7, pulse lamp 2, save, cut_power, line lamp 0",
    ),
    "restore applies from the reload on that brings it": (
        [{"lamp": output()}, {"lamp": output(initial="restore")}],
        "set lamp 1, reload, save, cut_power, line lamp 1",
    ),
    "an output that waits does not go on beside one that joins its group while on": (
        [
            MOTORS | {"tilt": output(13, initial="keep")},
            MOTORS | {"tilt": motor(13, initial="keep")},
        ],
        "set tilt 1, set up 1, reload, wait 2, line up 0",
    ),
    "an output that was on when removed waits for the pause when it returns": (
        [KEPT_MOTORS, DOWN_AND_TILT, KEPT_MOTORS],
        "wait 1, set up 1, reload, set down 1, wait 1, set down 0, reload, line up 0",
    ),
    "a pulse is over although the line opened late": (
        [KEPT_MOTORS],
        "wait 1, pulse up 2, fail up, restart 1, repair, reopen_failed, wait 60, line up 0",
    ),
    "an output that a reload removes while it waits stays off": (
        [MOTORS, DOWN_AND_TILT, MOTORS],
        "set up 1, reload, wait 2, line down 0, reload, line up 0",
    ),
}
"""For each behaviour that once failed the configuration at the start, those of the reloads, and the
events. `line` is an expected level."""


@pytest.mark.parametrize(("configs", "events"), SEQUENCES.values(), ids=SEQUENCES)
def test_sequence(configs: list[Pins], events: str) -> None:
    """The behaviour in the name of the case. Each event compares the board with the model."""
    reloads = iter(configs[1:])
    with closing(ModelledBoard(configs[0])) as pair:
        for event in events.split(", "):
            act, *words = event.split()
            arguments = [int(word) if word.isdigit() else word for word in words]
            if act in ("set", "pulse"):
                pair.command(act, *arguments)
            elif act == "line":
                assert pair.line(words[0]).state == arguments[1]
            else:
                getattr(pair, act)(*arguments, *([next(reloads)] if act == "reload" else []))
