"""Proof that the claims on outputs follow docs/architecture.md in any sequence of events: windows,
moments, conditions, holds, edges, commands with and without a time, pulses, limits, groups,
restarts, crashes and power cuts. After each event values, sources and the levels of all lines are
those of the oracle in tests/support/claims_model.py."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from raspi_server.gpio.backend import SimulatedFactory
from raspi_server.gpio.board import Board
from raspi_server.gpio.claims import Level
from raspi_server.gpio.output_state import OutputStateStore
from raspi_server.messages import Auto, Pulse, Set
from tests.support.board import SimulatedBoard
from tests.support.claims_model import NAMES, RULE, SCHEDULE, Claim, Oracle
from tests.support.model_configs import run
from tests.test_stateful import approx, to_yaml

PINS: dict[str, dict[str, Any]] = {
    "lamp": {"gpio": 4, "mode": "output"},
    "porch": {"gpio": 18, "mode": "pwm", "initial": "keep"},
    "desk": {"gpio": 5, "mode": "output", "initial": "restore", "manual_hold": 4},
    "heat": {"gpio": 6, "mode": "output", "initial": "on", "max_on": 2 + 1 / 32},
    "valve": {"gpio": 7, "mode": "output", "initial": "keep", "max_on": 8 + 1 / 32},
    "radio": {"gpio": 8, "mode": "output", "initial": "keep", "on_stop": "keep"},
    "gate": {"gpio": 9, "mode": "output", "initial": "keep", "pulse": 0.5},
    "up": {"gpio": 22, "mode": "output", "group": "shutter", "group_pause": 5 / 16},
    "down": {"gpio": 23, "mode": "output", "group": "shutter", "group_pause": 5 / 16}
    | {"initial": "keep", "on_stop": "keep"},
    "tilt": {"gpio": 24, "mode": "output", "group": "shutter", "group_pause": 5 / 16}
    | {"initial": "on", "max_on": 8 + 1 / 32},
}
"""No limit ends at the instant of a claim: which of two timers comes first then is not defined."""
SECONDS = [0.25, 1, 2, 3, 8]
SOURCES = ["one", "two"]


class ClaimEvents(RuleBasedStateMachine):
    """Random events, which happen to the board and to the oracle."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="raspi-server-test-"))
        for name in ("run", "state"):
            (self.folder / name).mkdir()
        self.held: dict[tuple[str, int, str], Claim] = {}
        self.moments: dict[tuple[str, str], Claim] = {}

    @initialize(names=st.lists(st.sampled_from([*PINS]), min_size=2, max_size=4, unique=True))
    def start(self, names: list[str]) -> None:
        """A group has two members or more."""
        grouped = [name for name in names if "group" in PINS[name]]
        if len(grouped) == 1:
            names = [*names, next(name for name in ("up", "down") if name not in names)]
        pins = {name: PINS[name] for name in PINS if name in names}
        self._pins = pins
        self._new_lines()
        self.rig = self._new_rig(1000.0)
        self.oracle = Oracle(pins, 1000.0)

    def _new_lines(self) -> None:
        self.factory = SimulatedFactory()
        self.factory.close = lambda: None  # the lines keep their levels when the process ends

    def _new_rig(self, at: float) -> SimulatedBoard:
        states = OutputStateStore(self.folder / "run", self.folder / "state")
        yaml = to_yaml(self._pins)
        return SimulatedBoard(yaml, states, self.factory, at, self._claim_first)

    def _claim_first(self, board: Board) -> None:
        """The automation works out windows and conditions before the outputs are opened. It goes
        on with the pulses of moments."""
        for (pin, source), claim in self.moments.items():
            assert claim.end is not None
            seconds = claim.end - claim.began
            board.claim(pin, source, Level.SCHEDULE, claim.value, claim.began, seconds)
        for (pin, level, source), claim in self.held.items():
            board.claim(pin, source, Level(level), claim.value, claim.began)

    def teardown(self) -> None:
        try:
            self.rig.board.close()
            self.rig.loop.close()
        finally:
            shutil.rmtree(self.folder)

    def _value(self, data: st.DataObject, pin: str) -> float:
        dims = [0, 0.25, 1] if self._pins[pin]["mode"] == "pwm" else [0, 1, 1]
        return data.draw(st.sampled_from(dims), "value")

    def _pin(self, data: st.DataObject) -> str:
        return data.draw(st.sampled_from([*self._pins]), "pin")

    def _some(self, data: st.DataObject) -> Iterator[str]:
        """A few pins, in a row: what happens between two of them is nothing."""
        yield from data.draw(st.lists(st.sampled_from([*self._pins]), min_size=1, max_size=3))

    # Schedules and rules

    @rule(data=st.data(), level=st.sampled_from([SCHEDULE, RULE]), source=st.sampled_from(SOURCES))
    def begin(self, data: st.DataObject, level: int, source: str) -> None:
        """A window or a condition begins, perhaps on several outputs."""
        for pin in self._some(data):
            claim = Claim(level, source, self._value(data, pin), self.rig.loop.time())
            self.held[pin, level, source] = claim
            self._end_moment(pin, level, source)
            self._claim(pin, claim)

    @rule(data=st.data(), level=st.sampled_from([SCHEDULE, RULE]), source=st.sampled_from(SOURCES))
    def end(self, data: st.DataObject, level: int, source: str) -> None:
        """A window or a condition ends, or did not hold."""
        for pin in self._some(data):
            self.held.pop((pin, level, source), None)
            self._end_moment(pin, level, source)
            self.rig.board.release(pin, source, Level(level))
            self.oracle.release(self.oracle.outputs[pin], (level, source))
            self.check()

    @rule(data=st.data(), again=st.booleans())
    def renew(self, data: st.DataObject, again: bool) -> None:
        """A source claims what it has claimed: an old claim is no event."""
        if self.held:
            key = data.draw(st.sampled_from([*self.held]))
            self._claim(key[0], self.held[key])

    @rule(
        data=st.data(),
        level=st.sampled_from([SCHEDULE, RULE]),
        source=st.sampled_from(SOURCES),
        seconds=st.sampled_from(SECONDS),
    )
    def moment(self, data: st.DataObject, level: int, source: str, seconds: float) -> None:
        """A pulse of a schedule's moment, or the hold of a rule."""
        for pin in self._some(data):
            self.held.pop((pin, level, source), None)
            now = self.rig.loop.time()
            claim = Claim(level, source, self._value(data, pin), now, now + seconds)
            self._end_moment(pin, level, source)
            if level == SCHEDULE:
                self.moments[pin, source] = claim
            self._claim(pin, claim, seconds)

    def _end_moment(self, pin: str, level: int, source: str) -> None:
        if level == SCHEDULE:
            self.moments.pop((pin, source), None)

    @rule(data=st.data(), source=st.sampled_from(SOURCES))
    def edge(self, data: st.DataObject, source: str) -> None:
        """A wall button."""
        for pin in self._some(data):
            self.held.pop((pin, RULE, source), None)
            value = self._value(data, pin)
            self._claim(pin, Claim(RULE, source, value, self.rig.loop.time(), passing=True))

    def _claim(self, pin: str, claim: Claim, seconds: float | None = None) -> None:
        level, value, began = Level(claim.level), claim.value, claim.began
        self.rig.board.claim(pin, claim.source, level, value, began, seconds, claim.passing)
        self.oracle.claim(self.oracle.outputs[pin], claim)
        self.check()

    # People

    @rule(data=st.data(), seconds=st.sampled_from([None, None, *SECONDS]))
    def switch(self, data: st.DataObject, seconds: float | None) -> None:
        for pin in self._some(data):
            value = self._value(data, pin)
            self.rig.carry_out(Set(pin=pin, value=value, seconds=seconds)).add_done_callback(
                lambda done: done.exception()
            )
            self.oracle.command(self.oracle.outputs[pin], value, seconds, None)
            self.check()

    @rule(data=st.data(), seconds=st.sampled_from([0.25, 0.5, 1]))
    def pulse(self, data: st.DataObject, seconds: float) -> None:
        pin = self._pin(data)
        if self._pins[pin]["mode"] == "output":
            seconds = min(seconds, self._pins[pin].get("pulse", 1))
            done = self.rig.carry_out(Pulse(pin=pin, seconds=seconds))
            done.add_done_callback(lambda done: done.exception())
            self.oracle.command(self.oracle.outputs[pin], 1, None, seconds)
            self.check()

    @rule(data=st.data())
    def auto(self, data: st.DataObject) -> None:
        for pin in self._some(data):
            self.rig.carry_out(Auto(pin=pin))
            self.oracle.auto(self.oracle.outputs[pin])
            self.check()

    # Time and starts

    @rule(seconds=st.sampled_from([0, 0.25, 0.25, 0.5, 1, 1, 4, 60]))
    def wait(self, seconds: float) -> None:
        self.rig.wait(seconds)
        self.check()

    @rule(data=st.data(), is_stop=st.booleans(), later=st.sampled_from([0, 0, 0.25, 1, 60]))
    def restart(self, data: st.DataObject, is_stop: bool, later: float) -> None:
        """A stop or a crash, and a start, with other windows and conditions perhaps."""
        if is_stop:
            self.rig.board.close()
        before = self.oracle.restart(is_stop)
        now = self.rig.loop.time() + later
        self.oracle.now = now
        self._change_held(data, now)
        self._start(now)
        self.oracle.open(before, self._held())
        self.check()

    @rule(data=st.data(), saved=st.booleans())
    def cut_power(self, data: st.DataObject, saved: bool) -> None:
        if saved:
            self.rig.states.save(self.rig.loop.time())
            self.oracle.save()
        for file in (self.folder / "run").iterdir():
            file.unlink()
        self._new_lines()
        self.moments.clear()
        self._change_held(data, 1000.0)
        self.held = {key: Claim(*key[1:], claim.value, 1000.0) for key, claim in self.held.items()}
        self._start(1000.0)
        self.oracle.waiting, self.oracle.now = None, 1000.0
        self.oracle.start_new()
        self.oracle.open({}, self._held())
        self.check()

    def _held(self) -> list[tuple[str, Claim]]:
        return [(key[0], claim) for key, claim in self.held.items()]

    def _change_held(self, data: st.DataObject, now: float) -> None:
        """What happened while the server was away."""
        if self.held:
            for key in data.draw(st.lists(st.sampled_from([*self.held]), unique=True), "ended"):
                del self.held[key]
        if data.draw(st.booleans(), "a new one"):
            pin, source = self._pin(data), data.draw(st.sampled_from(SOURCES))
            level = data.draw(st.sampled_from([SCHEDULE, RULE]))
            self._end_moment(pin, level, source)
            self.held[pin, level, source] = Claim(level, source, self._value(data, pin), now)

    def _start(self, at: float) -> None:
        for line in self.factory.pins.values():
            line.unwatch()
        self.rig.loop.close()
        self.rig = self._new_rig(at)

    # The comparison

    @invariant()
    def check(self) -> None:
        self.rig.settle()
        self.oracle.pass_time(self.rig.loop.time())
        assert self.rig.errors == []
        outputs = self.oracle.outputs
        assert self.rig.board.values() == {name: out.value for name, out in outputs.items()}
        for name, out in outputs.items():
            winner, until = out.winner(), [out.winner().end, out.limits.first]
            level, source, end = self.rig.board.winner(name)
            assert (level.name.lower(), source) == (NAMES[winner.level], winner.source), name
            assert end == approx(min((at for at in until if at is not None), default=None)), name
            levels = [each.state for each in self.factory.pin(out.keys["gpio"]).states]
            assert levels[-20:] == out.levels[-20:], name


@pytest.mark.slow
@pytest.mark.parametrize("examples", [120, pytest.param(2400, marks=pytest.mark.long)])
def test_random_events(caplog: pytest.LogCaptureFixture, examples: int) -> None:
    """In any sequence of events the claims decide as defined, and no value comes in between."""
    caplog.set_level("CRITICAL", logger="raspi_server")
    run(ClaimEvents, examples, steps=30)
