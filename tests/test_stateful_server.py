"""Proof that the real server, seen through its front door, follows the pin rules in any sequence of
events: viewers that join, sleep and leave, commands over WebSocket and HTTP, edges, reloads of valid
and invalid files, stops, kills and power cuts. Each viewer sees the hellos and changes that the
model in tests/support/model.py predicts, in order, all with the same numbers, and each command gets
its one answer."""

import sys
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

from tests.support.model import Pins
from tests.support.model_configs import Choices, configurations
from tests.support.model_server import (
    LONG_S,
    LONGEST_PAUSE_S,
    SHORT_S,
    Command,
    ModelledServer,
    Viewer,
)
from tests.support.server import free_port

pytestmark = pytest.mark.slow

MAX_RESTARTS = 2
"""In one sequence; each takes half a second."""

KEEP = {"initial": "keep", "on_stop": "keep"}
RESTORE = {"initial": "restore"}
CHOICES = Choices(
    kinds={
        "input": st.sampled_from([{}, {"pull": "up"}, {"debounce": SHORT_S}, {"active": "low"}]),
        "output": st.sampled_from(
            [
                {},
                KEEP,
                RESTORE,
                {"initial": "on", "active": "low"},
                {"max_on": LONG_S, "initial": "keep"},
                {"max_on": SHORT_S},
                {"control": "nobody", "initial": "on"},
                {"pulse": SHORT_S},
                {"pulse": LONG_S, "initial": "keep"},
                {"pulse": LONG_S, "max_on": LONG_S / 2, "initial": "restore", "on_stop": "input"},
            ]
        ),
        "pwm": st.sampled_from(
            [
                {},
                {"initial": 0.25},
                {"initial": "keep", "max_on": LONG_S},
                RESTORE | {"active": "low"},
            ]
        ),
        "motor": st.sampled_from([{}, KEEP, RESTORE, {"pulse": LONG_S}, {"initial": "on"}]),
    },
    unopened=st.sampled_from([{}, {"initial": "off"}, KEEP, RESTORE, {"on_stop": "input"}]),
    pauses=[0, LONGEST_PAUSE_S],
)


class ServerEvents(RuleBasedStateMachine):
    """Random events. After each of them the server is compared with the model."""

    pair: ModelledServer

    def __init__(self, folder: Path, port: int) -> None:
        super().__init__()
        self.folder, self.port = folder, port
        self.restarts = 0

    @initialize(pins=configurations(CHOICES))
    def start(self, pins: Pins) -> None:
        self.pair = ModelledServer(self.folder, self.port, pins)

    @precondition(lambda self: len(self.pair.viewers) < 4)
    @rule(asleep=st.booleans())
    def join(self, asleep: bool) -> None:
        self.pair.join(asleep)

    @rule()
    def wake(self) -> None:
        self.pair.wake()

    @precondition(lambda self: len(self.pair.viewers) > 1)
    @rule(data=st.data(), with_reset=st.booleans())
    def leave(self, data: st.DataObject, with_reset: bool) -> None:
        number = data.draw(st.integers(1, len(self.pair.viewers) - 1), "viewer")
        self.pair.leave(self.pair.viewers[number], with_reset)

    def _outputs(self, *initial: str) -> list[str]:
        """Return all outputs, or those with one of these `initial`."""
        found = [(name, keys) for name, keys in self.pair.pins.items() if keys["mode"] != "input"]
        return [name for name, keys in found if not initial or keys.get("initial") in initial]

    def _viewer(self, data: st.DataObject) -> Viewer:
        awake = self.pair.awake
        return awake[data.draw(st.integers(0, len(awake) - 1), "viewer")]

    def _command(self, data: st.DataObject, names: list[str]) -> Command:
        name = data.draw(st.sampled_from(names), "pin")
        is_input = self.pair.pins[name]["mode"] == "input"
        acts = ["drive", "drive", "drive", "set"] if is_input else ["set", "set", "toggle", "pulse"]
        act = data.draw(st.sampled_from(acts), "act")
        values: dict[str, list[Any]] = {
            "set": [1, 1, 1, 0, 0.5],
            "drive": [0, 1, 1],
            "pulse": [None, SHORT_S, LONG_S],
            "toggle": [None],
        }
        return act, name, data.draw(st.sampled_from(values[act]), "value")

    @rule(data=st.data(), count=st.integers(1, 3))
    def command(self, data: st.DataObject, count: int) -> None:
        for _ in range(count):
            command = self._command(data, [*self.pair.pins])
            if command[0] != "drive" and data.draw(st.booleans(), "over HTTP"):
                self.pair.request(command)
            else:
                self.pair.send(self._viewer(data), command)
            self.pair.check()

    @rule(data=st.data(), count=st.integers(2, 5), inputs=st.booleans())
    def command_together(self, data: st.DataObject, count: int, inputs: bool) -> None:
        """Commands that do not wait for each other. Edges have a way of their own to the viewers,
        so they come alone. Nothing may happen by itself meanwhile."""
        names = [
            name
            for name, keys in self.pair.pins.items()
            if (keys["mode"] == "input") == inputs and SHORT_S not in keys.values()
        ]
        if names:
            commands = [self._command(data, names) for _ in range(count)]
            self.pair.send(self._viewer(data), *[each for each in commands if each[2] != SHORT_S])

    @rule(data=st.data())
    def switch_all_on(self, data: st.DataObject) -> None:
        """One after the other. In a group only the last stays on."""
        for name in self._outputs():
            self.pair.send(self._viewer(data), ("set", name, 1))
            self.pair.check()

    def _switch_on(self, data: st.DataObject, names: list[str]) -> None:
        """Perhaps switch on outputs that may stay on."""
        for name in data.draw(st.lists(st.sampled_from(names), max_size=2)) if names else []:
            self.pair.send(self.pair.viewers[0], ("set", name, 1))
            self.pair.check()

    @rule(data=st.data())
    def reload(self, data: st.DataObject) -> None:
        self._switch_on(data, self._outputs())
        self.pair.reload(data.draw(configurations(CHOICES, self.pair.pins), "pins"))

    @rule()
    def reload_invalid_file(self) -> None:
        self.pair.reload(None)

    @precondition(lambda self: self.restarts < MAX_RESTARTS)
    @rule(data=st.data(), end=st.sampled_from(["stop", "cut", "kill"]))
    def restart(self, data: st.DataObject, end: str) -> None:
        # What a killed server had saved for a power cut is not known.
        self.restarts += MAX_RESTARTS if end == "kill" else 1
        self._switch_on(data, self._outputs("restore", *(["keep"] if end != "cut" else [])))
        self.pair.restart(end)

    @invariant()
    def server_equals_model(self) -> None:
        self.pair.check()

    def teardown(self) -> None:
        if hasattr(self, "pair"):
            self.pair.close(is_well=sys.exc_info()[0] is None)


@pytest.mark.parametrize("examples", [15, pytest.param(1000, marks=pytest.mark.long)])
def test_random_events(tmp_path: Path, examples: int) -> None:
    """In any sequence of events all viewers get the same, and it follows the rules."""
    port = free_port()
    run_state_machine_as_test(
        lambda: ServerEvents(tmp_path, port),  # type: ignore[arg-type]
        settings=settings(
            database=None,
            deadline=None,
            print_blob=True,
            report_multiple_bugs=False,
            max_examples=examples,
            stateful_step_count=20,
            suppress_health_check=list(HealthCheck),
        ),
    )
