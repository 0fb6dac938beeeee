"""Proof that the real server, seen by its clients, follows the pin rules in any sequence of events.
All viewers see the hellos and changes that the model of tests/support/model.py predicts, in order,
and each command gets its answer, also one that waits until the stop. What is due SHORT_S after an
event happens before the next event, what is due LONG_S after it never."""

import json
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.support.http import ask
from tests.support.model import Answer, Change, Model, Pins, rejected
from tests.support.model_configs import Choices, configurations, run
from tests.support.model_server import Command, Hello, Viewer
from tests.support.server import Server, changing, check_end, free_port

SHORT_S = 0.02
LONG_S = 3600.0
STEP_S = 0.25  # time of the model between two events
PROGRAM = changing(
    max_messages_per_s=10_000,  # viewers send more here than a person does
    message_burst=10_000,
    max_viewer_behind_s=1000.0,  # a test that stands still for a while loses no viewer
    ping_interval_s=1000.0,
    close_timeout_s=1000.0,
)
DENIED = rejected("not-allowed")
KEEP = {"initial": "keep", "on_stop": "keep"}
RESTORE = {"initial": "restore"}
OUTPUTS = [
    {},
    KEEP,
    RESTORE,
    {"max_on": SHORT_S, "active": "low"},
    {"control": "nobody", "initial": "on"},
    {"pulse": SHORT_S},
    {"pulse": LONG_S, "max_on": LONG_S / 2, "initial": "restore", "on_stop": "input"},
]
CHOICES: Choices = {
    "input": st.sampled_from([{}, {"pull": "up"}, {"debounce": SHORT_S}, {"active": "low"}]),
    "output": st.sampled_from(OUTPUTS),
    "pwm": st.sampled_from([{}, {"initial": 0.25}, RESTORE, {"max_on": LONG_S, "initial": "keep"}]),
    "motor": st.sampled_from([{}, KEEP, RESTORE, {"pulse": LONG_S}, {"initial": "on"}]),
    "unopened": st.sampled_from([{}, {"initial": "off"}, KEEP, RESTORE, {"on_stop": "input"}]),
    "pause": st.sampled_from([0, 60]),  # no sequence of events lasts a minute
}


class ServerEvents(RuleBasedStateMachine):
    """Random events, which happen to the server and to the model."""

    server: Server | None = None

    def __init__(self, folder: Path, port: int) -> None:
        super().__init__()
        self.folder, self.port = folder, port
        self.viewers: list[Viewer] = []
        self.asked: list[tuple[Viewer, Answer, int]] = []
        self.count = 0
        self.is_valid = True

    @initialize(pins=configurations(CHOICES))
    def start(self, pins: Pins) -> None:
        self.pins, self.model = pins, Model(pins, 0.0)
        file = self.folder / "config.yaml"
        file.write_text(self._text())
        arguments = ["run", "--simulate", "--config", str(file)]
        self.server = Server(arguments, port=None, program=PROGRAM)
        self.model.pass_time(STEP_S)  # what is due soon after the start happens
        self.model.changes.clear()
        self.join()
        first, values = self.viewers[0], self.model.values()
        first.read_until(lambda: first.values == values, str(values))
        first.read_all()
        first.seen.clear()
        first.owed.clear()

    def _text(self) -> str:
        """Return config.yaml."""
        if not self.is_valid:
            return "pins: [lamp]\n"
        head = f"port: {self.port}\naccess: {{control: everyone}}\ninterval: 0.02\npins:\n"
        return head + "".join(f"  {name}: {json.dumps(keys)}\n" for name, keys in self.pins.items())

    # Viewers and commands

    def _hello(self) -> Hello:
        values = self.model.values().items()
        pins = [(name, self.pins[name].get("label", name), value) for name, value in values]
        return Hello(pins, self.is_valid)

    @precondition(lambda self: len(self.viewers) < 4)
    @rule()
    def join(self) -> None:
        self.count += 1
        self.viewers.append(Viewer(self.port, f"127.0.0.{3 + self.count % 3}"))
        self.viewers[-1].owed.append(self._hello())

    @precondition(lambda self: len(self.viewers) > 1)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        viewer = data.draw(st.sampled_from(self.viewers))
        viewer.reset()
        self.viewers.remove(viewer)
        self.asked = [asked for asked in self.asked if asked[0] is not viewer]

    def _command(self, data: st.DataObject, names: list[str]) -> Command:
        name = data.draw(st.sampled_from(names), "pin")
        is_input = self.pins[name]["mode"] == "input"
        acts = ["drive", "drive", "drive", "set"] if is_input else ["set", "set", "toggle", "pulse"]
        act = data.draw(st.sampled_from(acts), "act")
        values: dict[str, list[Any]] = {
            "set": [1, 1, 1, 0, 0.5],
            "drive": [0, 1, 1],
            "pulse": [None, SHORT_S, LONG_S],
            "toggle": [None],
        }
        return act, name, data.draw(st.sampled_from(values[act]), "value")

    def _send(self, viewer: Viewer, *commands: Command) -> None:
        """Send commands of one viewer, all in one write."""
        messages = []
        for act, name, value in commands:
            self.count += 1
            field = {} if value is None else {"seconds" if act == "pulse" else "value": value}
            messages.append({"type": act, "pin": name, "ref": self.count, **field})
            is_allowed = self.pins[name].get("control") != "nobody"
            answer = self.model.command(act, name, value, viewer.address) if is_allowed else DENIED
            self.asked.append((viewer, answer, self.count))
        viewer.send(*messages)

    @rule(data=st.data())
    def command(self, data: st.DataObject) -> None:
        self._send(data.draw(st.sampled_from(self.viewers)), self._command(data, [*self.pins]))

    @rule(data=st.data(), count=st.integers(2, 5), inputs=st.booleans())
    def command_together(self, data: st.DataObject, count: int, inputs: bool) -> None:
        """Commands that do not wait for each other. Edges come alone: they go another way."""
        quiet = [(name, keys) for name, keys in self.pins.items() if SHORT_S not in keys.values()]
        names = [name for name, keys in quiet if (keys["mode"] == "input") == inputs]
        if names:
            viewer = data.draw(st.sampled_from(self.viewers))
            commands = [self._command(data, names) for _ in range(count)]
            self._send(viewer, *[each for each in commands if each[2] != SHORT_S])

    def _switch_all_on(self) -> None:
        """One after the other. In a group only the last one stays on, or waits."""
        for name in [name for name, keys in self.pins.items() if keys["mode"] != "input"]:
            self._send(self.viewers[0], ("set", name, 1))
            self.check()

    @rule(data=st.data())
    def reload(self, data: st.DataObject) -> None:
        if data.draw(st.booleans(), "switches on"):
            self._switch_all_on()
        self.is_valid, self.pins = True, data.draw(configurations(CHOICES, self.pins), "pins")
        self.model.reload(self.pins)
        self._reload()

    @rule()
    def reload_invalid_file(self) -> None:
        """The running configuration stays active."""
        self.is_valid = False
        self._reload()

    def _reload(self) -> None:
        self.server.reload(self._text())
        self._owe(*self.model.changes, self._hello())
        self.viewers[0].read_owed()

    # The comparison

    def _owe(self, *messages: Change | Hello) -> None:
        for viewer in self.viewers:
            viewer.owed += messages
        self.model.changes.clear()

    @invariant()
    def check(self) -> None:
        """All that is due soon happens. All viewers get the same, in the order of the model."""
        self.model.pass_time(self.model.now + STEP_S)
        self._owe(*self.model.changes)
        for viewer in self.viewers:
            viewer.check()
        self._check_answers()
        pins = ask(self.server, "GET", "/api/pins").json["pins"]
        assert {pin["name"]: pin["value"] for pin in pins} == self.model.values()
        status = ask(self.server, "GET", "/api/health").json["status"]
        assert status == ("ok" if self.is_valid else "degraded")

    def _check_answers(self) -> None:
        for viewer, answer, ref in self.asked:
            if not answer.is_open:
                viewer.check_answer(ref, answer)
        self.asked = [asked for asked in self.asked if asked[1].is_open]
        for viewer in self.viewers:
            assert not viewer.answers, f"to no command, or too early: {viewer.answers}"

    def teardown(self) -> None:
        if self.server is None:
            return
        try:
            if sys.exc_info()[0] is None:
                self._stop()
        finally:
            self.server.stop(signal.SIGKILL)
            for viewer in self.viewers:
                viewer.reset()

    def _stop(self) -> None:
        """The server sends states until the stop, which answers the commands that wait."""
        self._switch_all_on()
        first, now = self.viewers[0], time.time()
        first.read_until(lambda: first.state_time > now, "a state")
        self.server.process.send_signal(signal.SIGTERM)
        self.model.stop()
        for viewer in self.viewers:
            viewer.read_end()
        check_end(self.server)
        self._check_answers()
        assert not self.asked, "each command is answered before its connection closes"


@pytest.mark.slow
@pytest.mark.parametrize("examples", [15, pytest.param(600, marks=pytest.mark.long)])
def test_random_events(tmp_path: Path, examples: int) -> None:
    """In any sequence of events all viewers get the same, and it follows the rules."""
    port = free_port()
    run(lambda: ServerEvents(tmp_path, port), examples, steps=20)
