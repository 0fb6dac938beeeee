"""The real server compared with the model of tests/support/model.py over random sequences of
events: viewers that join, sleep and leave, valid and invalid commands over WebSocket and HTTP,
edges, reloads, stops, kills and power cuts."""

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
"""In one sequence; a start takes half a second."""

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
    pauses=[0, SHORT_S, LONGEST_PAUSE_S],
)
INVALID_FILES = [
    "pins: [lamp]\n",
    "\t",
    "pins: {lamp: {gpio: 99, mode: output}}\n",
    "prot: 80\n",
    None,
]
INVALID_MESSAGES = [
    ("hello", "bad-message"),
    ("[1]", "bad-message"),
    ('{"type":"set","pin":"lamp","value":1,"ref":1.5}', "bad-message"),
    ('{"type":"set","pin":"lamp","ref":%s}', "bad-message"),
    ('{"type":"set","pin":"lamp","value":true,"ref":%s}', "bad-message"),
    ('{"type":"open","pin":"lamp","ref":%s}', "bad-message"),
    ('{"type":"toggle","pin":"nope","ref":%s}', "unknown-pin"),
]
INVALID_REQUESTS = [
    ("PUT", "/api/pins/nope", '{"value":1}', "unknown-pin"),
    ("PUT", "/api/pins/nope", "{", "bad-message"),
    ("PUT", "/api/pins/lamp", '{"value":true}', "bad-value"),
    ("PUT", "/api/pins/lamp", '{"vlaue":1}', "bad-value"),
    ("POST", "/api/pins/nope/toggle", None, "unknown-pin"),
    ("POST", "/api/pins/lamp/pulse", '{"seconds":"1"}', "bad-value"),
    ("DELETE", "/api/pins/lamp", None, "method"),
]


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

    def _viewer(self, data: st.DataObject) -> Viewer:
        awake = self.pair.awake
        return awake[data.draw(st.integers(0, len(awake) - 1), "viewer")]

    def _command(self, data: st.DataObject, names: list[str]) -> Command:
        name = data.draw(st.sampled_from(names), "pin")
        is_input = self.pair.pins[name]["mode"] == "input"
        acts = ["drive", "drive", "drive", "set"] if is_input else ["set", "set", "toggle", "pulse"]
        act = data.draw(st.sampled_from(acts), "act")
        values: dict[str, list[Any]] = {
            "set": [1, 1, 1, 0, 0.5, 2, -1],
            "drive": [0, 1, 1, 2],
            "pulse": [None, SHORT_S, LONG_S, 0, 90000],
            "toggle": [None],
        }
        return act, name, data.draw(st.sampled_from(values[act]), "value")

    @rule(data=st.data(), count=st.integers(1, 3))
    def command(self, data: st.DataObject, count: int) -> None:
        for _ in range(count):
            act, name, value = self._command(data, [*self.pair.pins])
            if act != "drive" and data.draw(st.booleans(), "over HTTP"):
                self.pair.request(act, name, value)
            else:
                self.pair.send(self._viewer(data), (act, name, value))
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
        for name in self.pair.outputs():
            self.pair.send(self._viewer(data), ("set", name, 1))
            self.pair.check()

    @rule(data=st.data(), invalid=st.sampled_from(INVALID_MESSAGES))
    def send_invalid(self, data: st.DataObject, invalid: tuple[str, str]) -> None:
        self.pair.send_invalid(self._viewer(data), *invalid)

    @rule(invalid=st.sampled_from(INVALID_REQUESTS))
    def request_invalid(self, invalid: tuple[str, str, str | None, str]) -> None:
        self.pair.request_invalid(*invalid)

    def _switch_on(self, data: st.DataObject, names: list[str]) -> None:
        """Perhaps switch on outputs that may stay on."""
        for name in data.draw(st.lists(st.sampled_from(names), max_size=2)) if names else []:
            self.pair.send(self.pair.viewers[0], ("set", name, 1))
            self.pair.check()

    @rule(data=st.data())
    def reload(self, data: st.DataObject) -> None:
        self._switch_on(data, self.pair.outputs())
        self.pair.reload(data.draw(configurations(CHOICES, self.pair.pins), "pins"))

    @rule(text=st.sampled_from(INVALID_FILES))
    def reload_invalid(self, text: str | None) -> None:
        self.pair.reload_invalid(text)

    @precondition(lambda self: self.restarts < MAX_RESTARTS)
    @rule(
        data=st.data(),
        end=st.sampled_from(["stop", "cut", "kill"]),
        is_invalid=st.booleans(),
        text=st.sampled_from(INVALID_FILES),
    )
    def restart(self, data: st.DataObject, end: str, is_invalid: bool, text: str | None) -> None:
        self.restarts += 1
        kept = ["restore"] if end == "cut" else ["keep", "restore"]
        self._switch_on(data, self.pair.outputs(*kept))
        if is_invalid:
            self.pair.make_invalid(text)
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


def test_stop_saves_what_a_power_cut_needs(tmp_path: Path) -> None:
    """An output with `initial: restore` that is on at a stop is on after a power cut."""
    pins = {"lamp": {"gpio": 17, "mode": "output", **RESTORE}}
    with ModelledServer(tmp_path, free_port(), pins) as pair:
        pair.send(pair.viewers[0], ("set", "lamp", 1))
        pair.check()
        pair.restart("cut")
        assert pair.viewers[0].values == {"lamp": 1}
