"""The real server over the network, in random lives: viewers who come, sleep and go, commands
over WebSocket and HTTP, right and wrong, edges, reloads, stops, kills and power cuts. Every viewer
gets the same, in the same order, as the model of tests/support/model.py has it.

A longer run, with another beginning:

    SERVER_LIVES=500 python -m pytest tests/test_stateful_server.py --hypothesis-seed=7

A failure found here becomes a test of its own at the foot of this file."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
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

from tests.support.life import Command, Life
from tests.support.life_configs import (
    FAULTY,
    LONG,
    LONGEST_PAUSE,
    SHORT,
    WRONG,
    WRONG_HTTP,
    configurations,
    is_quick,
)
from tests.support.life_server import Pins, Rig, Viewer
from tests.support.server import check_end

MOST_RESTARTS = 2
"""In one life; a start takes half a second."""


class Lives(RuleBasedStateMachine):
    """Any life of the server. After each step everything is compared."""

    life: Life

    def __init__(self, rig: Rig) -> None:
        super().__init__()
        self.rig = rig
        self.restarts = 0

    @initialize(pins=configurations())
    def begin(self, pins: Pins) -> None:
        self.life = Life(self.rig, pins)

    @precondition(lambda self: len(self.life.viewers) < 4)
    @rule(asleep=st.booleans())
    def come(self, asleep: bool) -> None:
        self.life.come(asleep)

    @rule()
    def wake(self) -> None:
        self.life.wake()

    @precondition(lambda self: len(self.life.viewers) > 1)
    @rule(data=st.data(), rudely=st.booleans())
    def go(self, data: st.DataObject, rudely: bool) -> None:
        number = data.draw(st.integers(1, len(self.life.viewers) - 1), "viewer")
        self.life.go(self.life.viewers[number], rudely)

    def a_viewer(self, data: st.DataObject) -> Viewer:
        awake = self.life.awake
        return awake[data.draw(st.integers(0, len(awake) - 1), "viewer")]

    def a_command(self, data: st.DataObject, names: list[str]) -> Command:
        name = data.draw(st.sampled_from(names), "pin")
        is_input = self.life.pins[name]["mode"] == "input"
        acts = ["drive", "drive", "drive", "set"] if is_input else ["set", "set", "toggle", "pulse"]
        act = data.draw(st.sampled_from(acts), "act")
        values: dict[str, list[Any]] = {
            "set": [1, 1, 1, 0, 0.5, 2, -1],
            "drive": [0, 1, 1, 2],
            "pulse": [None, SHORT, LONG, 0, 90000],
            "toggle": [None],
        }
        return act, name, data.draw(st.sampled_from(values[act]), "value")

    @rule(data=st.data(), count=st.integers(1, 3))
    def command(self, data: st.DataObject, count: int) -> None:
        for _ in range(count):
            act, name, value = self.a_command(data, [*self.life.pins])
            if act != "drive" and data.draw(st.booleans(), "over HTTP"):
                self.life.request(act, name, value)
            else:
                self.life.say(self.a_viewer(data), (act, name, value))
            self.life.agree()

    @rule(data=st.data(), count=st.integers(2, 5), inputs=st.booleans())
    def command_at_once(self, data: st.DataObject, count: int, inputs: bool) -> None:
        """Commands that do not wait for each other; edges take their own way, and so come alone."""
        names = [
            name
            for name, keys in self.life.pins.items()
            if (keys["mode"] == "input") == inputs and not is_quick(keys)
        ]
        if names:
            commands = [self.a_command(data, names) for _ in range(count)]
            self.life.say(self.a_viewer(data), *[each for each in commands if each[2] != SHORT])

    @rule(data=st.data())
    def switch_all_on(self, data: st.DataObject) -> None:
        """One after the other; of a group only the last stays on."""
        for name in self.life.outputs():
            self.life.say(self.a_viewer(data), ("set", name, 1))
            self.life.agree()

    @rule(data=st.data(), wrong=st.sampled_from(WRONG))
    def command_wrongly(self, data: st.DataObject, wrong: tuple[str, str, bool]) -> None:
        self.life.say_wrongly(self.a_viewer(data), *wrong)

    @rule(wrong=st.sampled_from(WRONG_HTTP))
    def request_wrongly(self, wrong: tuple[str, str, str | None, str]) -> None:
        self.life.request_wrongly(*wrong)

    def light(self, data: st.DataObject, names: list[str]) -> None:
        """Switches something on that may or may not stay on."""
        for name in data.draw(st.lists(st.sampled_from(names), max_size=2)) if names else []:
            self.life.say(self.life.viewers[0], ("set", name, 1))
            self.life.agree()

    @rule(data=st.data())
    def reload(self, data: st.DataObject) -> None:
        self.light(data, self.life.outputs())
        self.life.reload(data.draw(configurations(self.life.pins), "house"))

    @rule(text=st.sampled_from(FAULTY))
    def reload_faulty(self, text: str | None) -> None:
        self.life.reload_faulty(text)

    @precondition(lambda self: self.restarts < MOST_RESTARTS)
    @rule(
        data=st.data(),
        end=st.sampled_from(["stop", "cut", "kill"]),
        spoilt=st.booleans(),
        text=st.sampled_from(FAULTY),
    )
    def restart(self, data: st.DataObject, end: str, spoilt: bool, text: str | None) -> None:
        self.restarts += 1
        kept = ["restore"] if end == "cut" else ["keep", "restore"]
        self.light(data, self.life.outputs(*kept))
        if spoilt:
            self.life.spoil(text)
        self.life.restart(end)

    @invariant()
    def agree(self) -> None:
        self.life.agree()

    def teardown(self) -> None:
        if hasattr(self, "life"):
            self.life.close(is_well=sys.exc_info()[0] is None)


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    rig = Rig(tmp_path)
    yield rig
    check_end(rig.pi.server)


def test_any_life_over_the_network(rig: Rig) -> None:
    """Whatever happens, in whatever order, all who watch see the same, and it is what the manual
    says."""
    run_state_machine_as_test(
        lambda: Lives(rig),  # type: ignore[arg-type]
        settings=settings(
            deadline=None,
            print_blob=True,
            report_multiple_bugs=False,
            max_examples=int(os.environ.get("SERVER_LIVES", "30")),
            stateful_step_count=20,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_who_waits_is_told_of_a_stop(rig: Rig) -> None:
    """Whoever asked for a motor that has to rest yet, over WebSocket or HTTP, learns at the stop
    that it will not go on."""
    motor = {"mode": "output", "group": "shutter", "group_pause": LONGEST_PAUSE}
    with Life(rig, {"up": {"gpio": 5, **motor}, "down": {"gpio": 6, **motor}}) as life:
        life.say(life.viewers[0], ("set", "up", 1))
        life.request("set", "up", 1)
        life.agree()
        assert [asked.is_open for asked in life.asked] == [True, True]
        life.restart("stop")
