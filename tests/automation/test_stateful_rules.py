"""Proof that rules follow docs/automation.md in any sequence of events: random rules, edges, lost
and returning pins, windows, pauses, restarts, crashes, power cuts and reloads. After each event the
claims that last, since when, and all events of edges are those of tests/support/rule_oracle.py,
which knows nothing of the engine."""

import json
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from tests.support.house import House
from tests.support.model_configs import run
from tests.support.rule_oracle import Keys, Oracle

INPUTS = ["a", "b"]
OUTPUTS = ["x", "y", "z"]
PINS = """
pins:
  a: {gpio: 4, mode: input}
  b: {gpio: 17, mode: input}
  x: {gpio: 5, mode: output}
  y: {gpio: 6, mode: output, pulse: 0.5}
  z: {gpio: 18, mode: pwm}
"""
# Sums of powers of two, which clocks add without an error; LONG and DOUBLE are none.
WAITS_S = [1 / 16, 0.25, 0.25, 0.5, 1, 2, 4, 16]
TIMES_S = [0.25, 1, 2, 8]


def some(names: list[str]) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(names), min_size=1, max_size=2, unique=True)


@st.composite
def rules(draw: st.DrawFn) -> dict[str, Keys]:
    """Up to four rules. Outputs start only outputs that come later, so there is no circle."""
    found: dict[str, Keys] = {}
    for index in range(draw(st.integers(1, 4))):
        kind = draw(
            st.sampled_from(["while", "hold", "edge", "for", "press", "press", "hold press"])
        )
        keys: Keys = {}
        of = draw(some(INPUTS if "press" in kind else [*INPUTS, "x"]))
        keys["while" if kind == "while" else "when"] = of
        if "press" in kind:
            keys["press"] = draw(st.sampled_from(["short", "long", "double"]))
        if "hold" in kind or (kind == "while" and draw(st.booleans())):
            keys["hold"] = draw(st.sampled_from(TIMES_S))
        if kind == "for" or (kind in ("while", "hold") and draw(st.booleans())):
            keys["for"] = draw(st.sampled_from(TIMES_S))
        if draw(st.booleans()):
            keys["only"] = {"from": draw(st.sampled_from(["07:00", "08:00"])), "to": "23:00"}
        lasts = kind == "while" or "hold" in keys
        actions = ["turn_on", "turn_off", "set"] if lasts else ["turn_on", "toggle", "pulse"]
        action = draw(st.sampled_from(actions))
        targets = draw(some(OUTPUTS[1:] if "x" in of else OUTPUTS))
        if action == "set":
            keys["set"] = {"z": 0.5}
        else:
            keys[action] = ["y"] if action == "pulse" else targets
        found[f"r{index}"] = keys
    return found


class RuleEvents(RuleBasedStateMachine):
    """Random events, which happen to the engine and to the oracle."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory(prefix="raspi-server-test-")
        self.house: Any = None
        self.boot = 0
        self.loose: set[str] = set()
        """Rules whose claims lasted over a restart, in which they may have paused unseen."""
        self.storms = mock.patch("raspi_server.automation.storms.STORM_CHANGES", 10**6)
        self.storms.start()

    def teardown(self) -> None:
        self.storms.stop()
        try:
            if self.house:  # there may have been too little of a random sequence for a house
                self.house.close()
        finally:
            self.folder.cleanup()

    @property
    def now(self) -> float:
        return self.house.loop.time()

    @initialize(found=rules(), a=st.integers(0, 1))
    def begin(self, found: dict[str, Keys], a: int) -> None:
        self.rules, self.oracle = found, Oracle()
        self.house = House(text(found), Path(self.folder.name))
        self.cut_power(0, a, 0)

    def act(self) -> None:
        """Let a moment pass before an event, so that no two happen at the same time."""
        self.house.wait(1 / 64)
        self.check()

    # Events

    @rule(seconds=st.sampled_from(WAITS_S))
    def wait(self, seconds: float) -> None:
        self.house.wait(seconds)
        self.check()

    @rule(pin=st.sampled_from(INPUTS), seconds=st.sampled_from([None, 1 / 16, 0.25, 1]))
    def turn(self, pin: str, seconds: float | None) -> None:
        """Change an input, and perhaps back again."""
        for _ in range(1 if seconds is None else 2):
            self.act()
            value = 1 - int(self.house[pin] or 0)
            self.oracle.change(self.now, pin, value)
            self.house.drive(pin, value)
            self.check()
            self.wait(seconds or 0)

    @rule(
        pin=st.sampled_from(["a", "a", "b", "x", "z"]),
        seconds=st.sampled_from([1 / 16, 1]),
        value=st.integers(0, 1),
    )
    def lose(self, pin: str, seconds: float, value: int) -> None:
        """Lose a pin for a while."""
        self.act()
        self.oracle.change(self.now, pin, None)
        self.house.lose(pin)
        self.check()
        self.wait(seconds)
        self.act()
        self.oracle.change(self.now, pin, self.house.find(pin, value))
        self.house.engine.synchronize()
        self.house.settle()
        self.check()

    @rule(pin=st.sampled_from(OUTPUTS), value=st.integers(0, 1))
    def switch(self, pin: str, value: int) -> None:
        self.act()
        self.house.board.switch(pin, value)
        self.house.settle()
        self.check()

    @rule(pins=some(OUTPUTS), again=st.sampled_from([None, *INPUTS]))
    def cut(self, pins: list[str], again: str | None) -> None:
        """Let a limit end what is on; then an input perhaps goes off and on, or on and off."""
        for pin in pins:
            self.act()
            self.oracle.cut(pin)
            self.house.board.cut(pin)
            self.house.settle()
            self.check()
        if again:
            self.turn(again, 1 / 16)

    @rule(window=st.sampled_from(["07:00", "08:00"]))
    def open_or_close(self, window: str) -> None:
        self.act()
        self.oracle.windows ^= {window}
        self.house.open(window, window in self.oracle.windows)
        self.check()

    @rule(index=st.integers(0, 3))
    def pause_or_resume(self, index: int) -> None:
        name = f"r{index}"
        if name not in self.rules:
            return
        self.act()
        if name in self.oracle.paused:
            self.oracle.paused.discard(name)
            self.house.engine.resume(name)
        else:
            self.oracle.paused.add(name)
            self.house.engine.pause(name)
        self.house.settle()
        self.check()

    @rule(found=rules(), keeps=st.booleans())
    def reload(self, found: dict[str, Keys], keeps: bool) -> None:
        self.act()
        if keeps:
            found |= dict(list(self.rules.items())[:2])
        found = dict(sorted(found.items()))
        self.loose -= {name for name in self.loose if self.rules.get(name) != found.get(name)}
        self.rules = found
        self.oracle.reload(self.now, found)
        self.house.reload(text(found))
        self.check()

    @rule(
        kill=st.booleans(),
        away=st.sampled_from(WAITS_S),
        a=st.integers(0, 1),
        b=st.integers(0, 1),
        hands=st.sampled_from([[], [("x", 1)], [("x", 1), ("y", 0), ("z", 0)]]),
    )
    def restart(
        self, kill: bool, away: float, a: int, b: int, hands: list[tuple[str, int]]
    ) -> None:
        """Restart, perhaps after some outputs were switched by hand."""
        for pin, value in hands:
            self.switch(pin, value)
        self.act()
        self.house.stop(kill)
        stopped = None if kill else self.now
        self.house.wait(away)
        self.loose |= self.oracle.began.keys()
        by_hand = self.house.board.hands()
        self.house.start(str(self.boot), a=a, b=b)
        if not self.house.board.edges:  # a start itself is no event
            assert (self.house.board.changes, self.house.board.hands()) == ([], by_hand)
        self.oracle.restart(self.now, stopped, self.first_values(a, b))
        self.learn_anew()

    @rule(away=st.sampled_from(WAITS_S), a=st.integers(0, 1), b=st.integers(0, 1))
    def cut_power(self, away: float, a: int, b: int) -> None:
        self.house.stop(kill=True)
        self.house.wait(away)
        self.boot += 1
        self.house.start(str(self.boot), a=a, b=b)
        self.loose.clear()
        self.oracle.start(self.now, self.rules, self.first_values(a, b))
        self.learn_anew()

    def first_values(self, a: int, b: int) -> dict[str, int | None]:
        """Return the first values of all pins: those before what events at the start switched."""
        values: dict[str, int | None] = {"a": a, "b": b}
        values |= {pin: int((self.house[pin] or 0) > 0) for pin in OUTPUTS}
        for _, pin, value in reversed(self.house.board.changes):
            values[pin] = int(not value)
        return values

    # Comparison

    def learn_anew(self) -> None:
        self.seen = self.compared = 0
        self.check()

    def check(self) -> None:
        """Compare what the rules did since the last check."""
        events: list[tuple[float, str]] = []
        for at, pin, value in self.house.board.changes[self.seen :]:
            events += self.oracle.step(at)
            if pin == "x":  # for the oracle an output is a pin like any other
                self.oracle.change(at, pin, int(value > 0))
        self.seen = len(self.house.board.changes)
        events += self.oracle.step(self.now)
        wanted = Counter(
            (round(at, 6), name, pin) for at, name in events for pin in targets(self.rules[name])
        )
        edges = self.house.board.edges[self.compared :]
        self.compared += len(edges)
        assert Counter((round(at, 6), name, pin) for at, name, pin, _, _ in edges) == wanted
        self.check_values(edges)
        lasting = self.house.board.lasting()
        assert {key: claim.value for key, claim in lasting.items()} == self.oracle.lasting()
        self.loose &= self.oracle.began.keys()
        for (pin, name), claim in lasting.items():
            if name not in self.loose:
                assert claim.began == pytest.approx(self.oracle.since(pin, name), abs=1e-6)

    def check_values(self, edges: list[Any]) -> None:
        """Compare the values of what edges claimed: toggle goes by what the outputs were."""
        toggled = 0.0
        for _, name, pin, value, before in edges:
            toggle = self.rules[name].get("toggle", [])
            if pin in toggle[:1]:
                toggled = 0 if any(before[each] for each in toggle) else 1
            assert value == (toggled if pin in toggle else 1)


def text(found: dict[str, Keys]) -> str:
    return f"{PINS}\nrules: {json.dumps(found)}\n"


def targets(keys: Keys) -> list[str]:
    actions = ("turn_on", "turn_off", "toggle", "set", "pulse")
    return [pin for action in actions for pin in keys.get(action, ())]


@pytest.mark.slow
@pytest.mark.parametrize("examples", [60, pytest.param(2400, marks=pytest.mark.long)])
def test_random_events(caplog: pytest.LogCaptureFixture, examples: int) -> None:
    """In any sequence of events rules claim what their definitions say, and nothing else."""
    caplog.set_level("CRITICAL", logger="raspi_server")
    run(RuleEvents, examples, steps=30)
