"""The board compared with the model of tests/support/model.py over random sequences of events:
commands, bouncing contacts, lost edges, failing lines, busy loops, clock steps, reloads, restarts,
power cuts. A failure found here becomes a test of its own at the end of this file."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.support.model import KEPT, Keys, Pins
from tests.support.model_board import ModelledBoard
from tests.support.model_configs import Choices, configurations

YEAR_S = 365 * 86400.0
# All times are sums of powers of two, which clocks add without an error.
WAITS = st.sampled_from([0, 1 / 64, 1 / 32, 1 / 16, 0.25, 0.5, 1, 2, 4, 16, 60, 3600, 86400])
INITIAL = ["off", "on", *KEPT]


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
CHOICES = Choices(
    kinds={
        "input": optional(debounce=[1 / 16, 0.5], pull=["up", "down"], active=["high", "low"]),
        "output": optional(**OUTPUT, on_stop=["off", "on", "keep", "input"]),
        "pwm": optional(
            active=["high", "low"],
            max_on=OUTPUT["max_on"],
            initial=[*INITIAL, 0.25],
            on_stop=["off", "on", "input"],
        ),
        "motor": optional(**OUTPUT, on_stop=["off", "keep", "input"]),
    },
    unopened=optional(initial=INITIAL, on_stop=["off", "keep", "input"], confirm=[True]),
    pauses=[0.25, 1, 4],
)


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
        """Some commands to one output in a row."""
        name = self._any(data, self.outputs())
        is_pwm = self.pair.pins[name]["mode"] == "pwm"
        acts = ["toggle", "toggle", "dim"] if is_pwm else ["on", "on", "off", "toggle", "pulse"]
        for act in data.draw(st.lists(st.sampled_from(acts), min_size=1, max_size=4), "acts"):
            if act == "toggle":
                self.pair.toggle(name, by)
            elif act == "pulse":
                self.pair.pulse(name, data.draw(st.sampled_from([None, 0.25, 0.5, 3])), by)
            else:
                values = {"on": [1], "off": [0], "dim": [0, 0.25, 0.5, 1]}[act]
                self.pair.set(name, data.draw(st.sampled_from(values)), by)
            if gap := data.draw(st.sampled_from([0, 1 / 16, 0.5]), "gap"):
                self.pair.wait(gap)

    @precondition(outputs)
    @rule(data=st.data(), before=st.sampled_from([0, 1 / 64]))
    def switch_on_and_wait(self, data: st.DataObject, before: float) -> None:
        self.pair.set(self._any(data, self.outputs()), 1)
        self.pair.wait_for_next(before)

    @rule(data=st.data(), value=st.sampled_from([0.25, 0.5, 0.75, 1, -1, 1.5, float("nan")]))
    def set_to_any_value(self, data: st.DataObject, value: float) -> None:
        self.pair.set(self._any(data, self.names()), value)
        self.pair.toggle_unknown_pin()

    @rule(
        data=st.data(),
        seconds=st.sampled_from([None, None, 1 / 16, 0.25, 1, 3, 16, 7200, 0, -1, 86401]),
    )
    def pulse(self, data: st.DataObject, seconds: float | None) -> None:
        self.pair.pulse(self._any(data, self.names()), seconds)

    @rule(data=st.data(), value=st.sampled_from([0, 1, 0, 1, 0.5]))
    def drive(self, data: st.DataObject, value: float) -> None:
        self.pair.drive(self._any(data, self.names()), value)

    # Time

    @rule(seconds=WAITS)
    def wait(self, seconds: float) -> None:
        self.pair.wait(seconds)

    @rule(before=st.sampled_from([0, 0, 1 / 64]))
    def wait_for_next(self, before: float) -> None:
        self.pair.wait_for_next(before)

    @rule(by=st.sampled_from([3600.0, -3600.0, 7200.5, 10 * YEAR_S, -10 * YEAR_S]))
    def set_wall_clock(self, by: float) -> None:
        self.pair.set_wall_clock(by)

    @rule(
        data=st.data(),
        gaps=st.lists(st.sampled_from([1 / 64, 1 / 16, 0.5, 2]), min_size=1, max_size=4),
    )
    def be_busy(self, data: st.DataObject, gaps: list[float]) -> None:
        names = st.sampled_from([None, *self.inputs()])
        self.pair.be_busy(*[(gap, data.draw(names)) for gap in gaps])

    # Inputs and failing lines

    @precondition(inputs)
    @rule(
        data=st.data(),
        gaps=st.lists(st.sampled_from([0, 1 / 64, 1 / 32, 1 / 16, 0.25]), min_size=1, max_size=6),
        rest=st.sampled_from([0, 0.5]),
    )
    def bounce(self, data: st.DataObject, gaps: list[float], rest: float) -> None:
        """Edges of one line. Those without a gap come before the loop sees any of them."""
        name = self._any(data, self.inputs())
        together: list[str] = []
        for gap in gaps:
            together.append(name)
            if gap:
                self.pair.flip(*together)
                self.pair.wait(gap)
                together.clear()
        self.pair.flip(*together)
        self.pair.wait(rest)

    @precondition(inputs)
    @rule(data=st.data(), refreshes=st.booleans())
    def lose_edge(self, data: st.DataObject, refreshes: bool) -> None:
        self.pair.lose_edge(self._any(data, self.inputs()))
        if refreshes:
            self.pair.refresh()

    @rule()
    def refresh(self) -> None:
        self.pair.refresh()

    @precondition(lambda self: not self.pair.failing)
    @rule(data=st.data(), used=st.booleans())
    def fail(self, data: st.DataObject, used: bool) -> None:
        name = self._any(data, self.names())
        if used and name in self.outputs():
            self.pair.set(name, 1)
        self.pair.fail(name)
        if used:
            self.pair.toggle(name)
            if self.outputs():
                self.pair.set(self._any(data, self.outputs()), 1)

    @precondition(lambda self: self.pair.failing)
    @rule()
    def repair(self) -> None:
        self.pair.repair()

    @precondition(lambda self: not all(pin.is_open for pin in self.pair.model.pins.values()))
    @rule(repaired=st.booleans())
    def reopen_failed(self, repaired: bool) -> None:
        if repaired:
            self.pair.repair()
        self.pair.reopen_failed()

    # Reloads, restarts and power cuts

    @rule()
    def save(self) -> None:
        self.pair.save()

    def _switch_on(self, data: st.DataObject, initial: Iterable[str]) -> None:
        """Perhaps switch on an output that may be on after the next start."""
        pins = self.pair.pins
        kept = [name for name in self.outputs() if pins[name].get("initial") in initial]
        if kept and data.draw(st.booleans(), "switches on"):
            name = self._any(data, kept)
            if data.draw(st.booleans(), "pulses"):
                self.pair.pulse(name, 1)
            else:
                self.pair.set(name, 0.25 if pins[name]["mode"] == "pwm" else 1)

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
        if self.outputs() and data.draw(st.booleans(), "switches on"):
            self.pair.set(self._any(data, self.outputs()), 1)
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
    run_state_machine_as_test(
        BoardEvents,
        settings=settings(
            database=None,
            deadline=None,
            print_blob=True,
            report_multiple_bugs=False,
            max_examples=examples,
            stateful_step_count=40,
            suppress_health_check=list(HealthCheck),
        ),
    )


# Sequences that once failed.


@pytest.fixture
def board() -> Iterator[Callable[[Pins], ModelledBoard]]:
    """Make a board. Each event compares it with the model."""
    pairs: list[ModelledBoard] = []

    def make(pins: Pins) -> ModelledBoard:
        pairs.append(ModelledBoard(pins))
        return pairs[-1]

    yield make
    for pair in pairs:
        pair.close()


def output(gpio: int = 17, **keys: Any) -> Keys:
    return {"gpio": gpio, "mode": "output", **keys}


def motor(gpio: int, **keys: Any) -> Keys:
    return output(gpio, group="shutter", group_pause=1, **keys)


DOWN_AND_TILT = {"down": motor(6), "tilt": motor(13)}
MOTORS = {"up": motor(5), **DOWN_AND_TILT}
KEPT_MOTORS = {"up": motor(5, initial="keep"), **DOWN_AND_TILT}
LAMP_KEPT = {"lamp": output(initial="keep")}
SEQUENCES = {
    "max_on counts across a restart, and another set does not extend it": (
        [{"lamp": output(max_on=8, initial="keep")}],
        "set lamp 1, wait 7, restart, set lamp 1, wait 1, line lamp 0",
    ),
    "a pulse that ends after a restart has the cause pulse": (
        [LAMP_KEPT],
        "pulse lamp 2, restart 1, wait 1, line lamp 0",
    ),
    "max_on that ends a pulse after a restart is the cause": (
        [{"lamp": output(initial="keep", pulse=60, max_on=4)}],
        "set lamp 1, restart 1, wait 3, line lamp 0",
    ),
    "a pulse as long as max_on continues after a restart": (
        [{"lamp": output(initial="keep", pulse=4, max_on=4)}],
        "set lamp 1, restart 1, line lamp 1",
    ),
    "a pulse is over after a power cut": (
        [{"lamp": output(initial="restore")}],
        "pulse lamp 2, save, cut_power, line lamp 0",
    ),
    "a pulse that max_on shortens is over after a power cut": (
        [{"lamp": output(initial="restore", max_on=8)}],
        "set lamp 1, wait 7, pulse lamp 2, save, cut_power, line lamp 0",
    ),
    "max_on does not restart after a power cut": (
        [{"lamp": output(initial="restore", max_on=8)}],
        "set lamp 1, save, cut_power, line lamp 0",
    ),
    "on_stop keep does not keep a pulse on, which continues at the start": (
        [{"lamp": output(initial="keep", on_stop="keep")}],
        "pulse lamp 2, restart 1, line lamp 1, wait 1, line lamp 0",
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
    "an output that was an input meanwhile waits for the pause when it returns": (
        [KEPT_MOTORS, {"up": {"gpio": 5, "mode": "input"}, **DOWN_AND_TILT}, KEPT_MOTORS],
        "wait 1, set up 1, reload, wait 1, set down 1, set down 0, reload, line up 0",
    ),
    "an output that continues after a restart takes commands without a pause": (
        [KEPT_MOTORS],
        "wait 1, set up 1, restart, set up 1, pulse up 4, wait 4, line up 0",
    ),
    "the pause counts from an output that was on just before it was removed": (
        [MOTORS, DOWN_AND_TILT],
        "wait 1, set up 1, set up 0, reload, set down 1, line down 0, wait 1, line down 1",
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
"""For each behaviour the configuration at the start, those of the reloads, and the events. `line`
is an expected level."""


@pytest.mark.parametrize(("configs", "events"), SEQUENCES.values(), ids=SEQUENCES)
def test_sequence(board: Callable[[Pins], ModelledBoard], configs: list[Pins], events: str) -> None:
    """The behaviour in the name of the case."""
    pair, reloads = board(configs[0]), iter(configs[1:])
    for event in events.split(", "):
        act, *words = event.split()
        arguments = [int(word) if word.isdigit() else word for word in words]
        if act == "line":
            assert pair.line(words[0]).state == int(words[1])
        else:
            getattr(pair, act)(*arguments, *([next(reloads)] if act == "reload" else []))


def test_press_while_the_loop_is_busy(board: Callable[[Pins], ModelledBoard]) -> None:
    """A press that held for the debounce time is reported, although the loop saw it only later."""
    pair = board({"bell": {"gpio": 4, "mode": "input", "debounce": 0.0625}})
    pair.be_busy((0.25, "bell"), (0.5, "bell"), (0.25, None))
    pair.wait(1)
    assert [change.value for change in pair.rig.changes] == [1, 0]


def test_output_that_was_lost_waits_when_it_joins(board: Callable[[Pins], ModelledBoard]) -> None:
    """An output whose line had failed waits for the pause when it joins a group."""
    pair = board({"up": output(5, initial="keep"), **DOWN_AND_TILT})
    pair.wait(1)
    pair.set("up", 1)
    pair.fail("up")
    pair.set("up", 0)
    pair.repair()
    pair.line("up")._state = pair.model.pins["up"].line.level = 0
    pair.monitor.off(5, pair.now())
    pair.set("down", 1)
    pair.wait(1)
    pair.set("down", 0)
    pair.reload(KEPT_MOTORS)
