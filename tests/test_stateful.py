"""The board against the model of tests/support/model.py, with random configurations and events:
commands, bouncing contacts, lost edges, failing lines, busy loops, clock steps, reloads, restarts,
power cuts. A failure found here becomes a test of its own at the end of this file."""

import json
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest
from gpiozero.exc import PinError
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

from raspi_server.errors import RequestError
from raspi_server.gpio.backend import SimulatedFactory, SimulatedPin
from raspi_server.gpio.output_state import OutputStateStore
from raspi_server.messages import Drive, Pulse, Set, Toggle
from tests.support.board import SimulatedBoard, parse
from tests.support.model import KEPT, SAME, Answer, Input, Model, Output, allowed, refused

# All lengths are sums of powers of two, which clocks add without an error.
LENGTHS = [1 / 64, 1 / 32, 1 / 16, 0.25, 0.5, 1, 2, 4, 16, 60, 3600, 86400]
YEAR = 365 * 86400.0


def optional(**keys: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=keys)


def fixed(gpio: int, mode: str, more: st.SearchStrategy[dict[str, Any]]) -> Any:
    return more.map(lambda keys: {"gpio": gpio, "mode": mode, **keys})


def input_pin(gpio: int) -> Any:
    return fixed(
        gpio,
        "input",
        optional(
            debounce=st.sampled_from([1 / 16, 0.5]),
            pull=st.sampled_from(["up", "down"]),
            active=st.sampled_from(["high", "low"]),
        ),
    )


ACTIVE = st.sampled_from(["high", "low"])
PULSE = st.sampled_from([0.25, 1, 4])
MAX_ON = st.sampled_from([0.5, 2, 8, 3600])


def output_pin(gpio: int, *on_stop: str, **always: Any) -> Any:
    keys = optional(
        active=ACTIVE,
        pulse=PULSE,
        max_on=MAX_ON,
        initial=st.sampled_from(["off", "on", *KEPT]),
        on_stop=st.sampled_from(on_stop or ["off", "on", "keep", "input"]),
    )
    return fixed(gpio, "output", keys.map(lambda drawn: {**always, **drawn}))


def pwm_pin(gpio: int) -> Any:
    return fixed(
        gpio,
        "pwm",
        optional(
            active=ACTIVE,
            max_on=MAX_ON,
            initial=st.sampled_from(["off", "on", 0.25, *KEPT]),
            on_stop=st.sampled_from(["off", "on", "input"]),
        ),
    )


def motor_pin(gpio: int, pause: float) -> Any:
    return output_pin(gpio, "off", "keep", "input", group="shutter", group_pause=pause)


PAUSE = st.sampled_from([0.25, 1, 4])
PINS: dict[str, tuple[int, Any]] = {
    "door": (4, input_pin),
    "lamp": (17, output_pin),
    "fan": (12, pwm_pin),
    "bell": (7, input_pin),
    "gate": (18, output_pin),
}
MOTORS = {"up": 5, "down": 6, "tilt": 13}


@st.composite
def configurations(draw: Any) -> dict[str, dict[str, Any]]:
    found = {}
    for name, (gpio, pin) in PINS.items():
        if draw(st.booleans()):
            found[name] = draw(pin(gpio))
    if not found or draw(st.booleans()):
        pause = draw(PAUSE)
        for name in list(MOTORS)[: draw(st.integers(2, 3))]:
            found[name] = draw(motor_pin(MOTORS[name], pause))
    return allowed(found)


@st.composite
def edited(draw: Any, pins: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The same house after somebody has been at its configuration."""
    pause = max((keys.get("group_pause", 0) for keys in pins.values()), default=0) or draw(PAUSE)
    known = {gpio: name for name, (gpio, _) in PINS.items()} | {5: "up", 6: "down", 13: "tilt"}
    before = {keys["gpio"]: (name, keys) for name, keys in pins.items()}
    found = {}
    for gpio in draw(st.permutations([*known])) if draw(st.booleans()) else [*known]:
        name, keys = before.get(gpio, (known[gpio], None))
        if keys is None:
            acts = ["leave", "leave", "redo", "any"]
        else:
            acts = ["leave", "leave", "words", "rename", "redo", "any", "remove"]
        act = draw(st.sampled_from(acts), f"GPIO{gpio}")
        if act == "words":
            keys = keys | {"label": draw(st.sampled_from(["One", "Other"]))}
            if keys["mode"] != "input":
                stops = ["off", "input", *(["keep"] if keys["mode"] == "output" else [])]
                keys |= {"initial": draw(st.sampled_from(["off", "on", *KEPT]))}
                keys |= {"on_stop": draw(st.sampled_from(stops)), "confirm": True}
        elif act == "rename":
            name = known[gpio] if name.endswith("2") else f"{known[gpio]}2"
        elif act == "remove":
            keys = None
        elif act != "leave":
            kinds = [lambda gpio: motor_pin(gpio, pause)]
            if act == "any":
                kinds += [input_pin, output_pin, pwm_pin]
            elif gpio not in MOTORS.values():
                kinds = [PINS[known[gpio]][1]]
            keys = draw(draw(st.sampled_from(kinds))(gpio))
        if keys:
            found[name] = keys
    return allowed(found) or pins


def to_yaml(pins: dict[str, dict[str, Any]]) -> str:
    return "".join(f"  {name}: {json.dumps(keys)}\n" for name, keys in pins.items())


def cannot(*_: Any) -> Any:
    raise PinError("I/O error")


class Wires:
    """What really is on the wires: of every group at most one line is on, and the others rest for
    the pause before. Each level is checked when it is driven, whatever is told of it."""

    def __init__(self, pins: dict[str, dict[str, Any]]) -> None:
        self._keys = {keys["gpio"]: keys for keys in pins.values()}
        self._next: dict[int, dict[str, Any]] = {}
        self._on: set[int] = set()
        self._was_on: dict[int, float] = {}
        self._left: dict[tuple[str, int], float] = {}
        self.faults: list[str] = []

    def level(self, gpio: int, level: float, now: float) -> None:
        keys = self._keys.get(gpio)
        if keys is None or keys["mode"] == "input":
            return
        if level == (0 if keys.get("active", "high") == "high" else 1):
            self.off(gpio, now)
        elif gpio not in self._on:
            self._on.add(gpio)
            if "group" in keys:
                self._check(gpio, keys, now)

    def off(self, gpio: int, now: float) -> None:
        if gpio in self._on:
            self._on.discard(gpio)
            self._was_on[gpio] = now

    def _others(self, gpio: int) -> list[int]:
        group = self._keys.get(gpio, {}).get("group")
        return [
            other
            for other, keys in self._keys.items()
            if other != gpio and group and keys.get("group") == group
        ]

    def _check(self, gpio: int, keys: dict[str, Any], now: float) -> None:
        others = self._others(gpio)
        rests = {other: self._was_on.get(other, -YEAR) for other in others}
        for (group, other), moment in self._left.items():
            if group == keys["group"] and other != gpio:
                rests[other] = max(moment, rests.get(other, moment))
        for other in others:
            if other in self._on:
                self.faults.append(f"{now}: {gpio} goes on while {other} is on")
        if self._was_on.get(gpio) == now:
            return  # closed and opened in one moment: it was on, and the others were not
        for other, moment in rests.items():
            if now - moment < keys.get("group_pause", 0.1) - SAME:
                self.faults.append(f"{now}: {gpio} goes on {now - moment} s after {other} was")

    def start(self) -> None:
        """Who left a group before a start is not known after it."""
        self._left.clear()

    # A reload

    def change(self, pins: dict[str, dict[str, Any]], opened: set[int]) -> None:
        """From now on other keys count, for those that are open once they are let go of."""
        self._next = {keys["gpio"]: keys for keys in pins.values()}
        for gpio in (self._next.keys() | self._keys.keys()) - opened:
            self.let_go(gpio, 0)

    def let_go(self, gpio: int, now: float) -> None:
        if gpio not in self._next.keys() | self._keys.keys() or not self._next:
            return
        group = self._keys.get(gpio, {}).get("group")
        if group and now and self._next.get(gpio, {}).get("group") != group:
            self._left[group, gpio] = now if gpio in self._on else self._was_on.get(gpio, -YEAR)
        self._keys.pop(gpio, None)
        if gpio in self._next:
            self._keys[gpio] = self._next[gpio]

    def changed(self, unknown: set[int]) -> None:
        """All keys are the new ones. What `unknown` lines do, which fail, is nobody's fault."""
        self._keys, self._next = self._next, {}
        groups = {keys.get("group") for keys in self._keys.values()}
        self._left = {left: at for left, at in self._left.items() if left[0] in groups}
        known = self._on - unknown
        for gpio in known:
            if both := known.intersection(self._others(gpio)):
                self.faults.append(f"after a reload {gpio} is on with {both}")


class Pi:
    """The real board and the model, side by side; every method does the same to both."""

    def __init__(self, pins: dict[str, dict[str, Any]]) -> None:
        self.pins = pins
        self.offset = 1_700_000_000.0  # of the wall clock
        self.folder = Path(tempfile.mkdtemp(prefix="raspi-server-test-"))
        for name in ("run", "state"):
            (self.folder / name).mkdir()
        self.wires = Wires(pins)
        self.errors: list[Any] = []
        self.asked: list[tuple[Any, Answer]] = []
        self.now = lambda: 1000.0
        self._patches = [
            # Simulated edges carry the time of the loop, as real ones carry the kernel's.
            mock.patch("gpiozero.pins.mock.monotonic", lambda: self.now()),
            mock.patch(
                "raspi_server.system.clock.time",
                SimpleNamespace(time=lambda: time.time(), monotonic=lambda: self.now()),
            ),
            mock.patch("time.time", lambda: self.offset + self.now()),
            mock.patch.object(SimulatedPin, "_change_state", self._watched()),
            mock.patch.object(SimulatedPin, "input_with_pull", self._watched_pull()),
        ]
        for patch in self._patches:
            patch.start()
        self.factory = self._new_factory()
        self.rig = self._start(1000.0)
        self.model = Model(pins, 1000.0)

    def _new_factory(self) -> SimulatedFactory:
        factory = SimulatedFactory()
        factory.close = lambda: None  # the lines stay as they are when we end

        def release(pin: SimulatedPin) -> None:
            self.wires.let_go(pin._number, self.now())
            pin.close()

        factory.release = release
        return factory

    def _watched(self) -> Callable[[SimulatedPin, float], bool]:
        pi, change_state = self, SimulatedPin._change_state

        def watched(pin: SimulatedPin, value: float) -> bool:
            if pin.function == "output":
                pi.wires.level(pin._number, value, pi.now())
            return change_state(pin, value)

        return watched

    def _watched_pull(self) -> Callable[[SimulatedPin, str], None]:
        pi, input_with_pull = self, SimulatedPin.input_with_pull

        def watched(pin: SimulatedPin, pull: str) -> None:
            pi.wires.off(pin._number, pi.now())  # a line that nobody drives is off
            input_with_pull(pin, pull)

        return watched

    def _start(self, at: float) -> SimulatedBoard:
        self.now = lambda: at
        levels = OutputStateStore(self.folder / "run", self.folder / "state")
        rig = SimulatedBoard(to_yaml(self.pins), levels, self.factory, at)
        rig.loop.set_exception_handler(lambda loop, context: self.errors.append(context))
        self.now = rig.loop.time
        return rig

    def line(self, name: str) -> Any:
        return self.factory.pin(self.pins[name]["gpio"])

    def close(self) -> None:
        self.rig.board.close()
        self.rig.loop.close()
        for patch in self._patches:
            patch.stop()
        shutil.rmtree(self.folder)

    # Commands

    def _carry_out(self, command: Any, by: str, answer: Callable[[], Answer]) -> None:
        try:
            future = self.rig.board.carry_out(command, by)
        except RequestError as refused:
            future = refused
        self.asked.append((future, answer()))
        self.rig.settle()
        self.check()

    def set(self, name: str, value: float, by: str = "me") -> None:
        self._carry_out(Set(pin=name, value=value), by, lambda: self.model.set(name, value, by))

    def toggle(self, name: str, by: str = "me") -> None:
        self._carry_out(Toggle(pin=name), by, lambda: self.model.toggle(name, by))

    def pulse(self, name: str, seconds: float | None = None, by: str = "me") -> None:
        command = Pulse(pin=name, seconds=seconds)
        self._carry_out(command, by, lambda: self.model.pulse(name, seconds, by))

    def drive(self, name: str, value: float) -> None:
        self._carry_out(Drive(pin=name, value=value), "me", lambda: self.model.drive(name, value))

    def toggle_no_pin(self) -> None:
        self._carry_out(Toggle(pin="nope"), "me", lambda: refused({"unknown-pin"}))

    # Time

    def wait(self, seconds: float) -> None:
        self.rig.wait(seconds)
        self.rig.settle()
        self.model.pass_time(self.now())
        self.check()

    def wait_for_next(self, before: float = 0) -> None:
        """Waits exactly for what is due next, or until shortly before."""
        due = min((moment for moment, _ in self.model.due()), default=self.model.now)
        self.wait(max(0, due - self.now() - before))

    def set_wall_clock(self, by: float) -> None:
        self.offset += by
        self.check()

    # Inputs

    def flip(self, *names: str) -> None:
        """Edges, as many as there are names, before the loop sees any of them."""
        for name in names:
            self._flip(name)
        self.rig.settle()
        self.check()

    def _flip(self, name: str) -> None:
        line, high = self.line(name), not self.model.pins[name].line.level
        (line.drive_high if high else line.drive_low)()
        self.model.line(name, high, self.now())

    def lose_edge(self, name: str) -> None:
        self.line(name)._state = not self.line(name)._state
        self.model.lose_edge(name)

    def look(self) -> None:
        self.rig.board.refresh()
        self.model.look()
        self.check()

    def be_busy(self, *parts: tuple[float, str | None]) -> None:
        """The loop is busy for some seconds, then a line flips, and so on; then it catches up."""
        for seconds, name in parts:
            self.rig.loop._clock.now += seconds
            if name is not None:
                self._flip(name)
        self.rig.settle()
        self.model.be_busy(self.now())
        self.check()

    # Lines that fail

    def fail(self, name: str) -> None:
        line = self.line(name)
        line._get_state = line._set_state = cannot
        self.model.pins[name].line.fails = True

    def mend(self) -> None:
        for gpio, line in self.model.lines.items():
            if line.fails:
                line.fails = False
                del self.factory.pin(gpio)._get_state, self.factory.pin(gpio)._set_state

    def try_again(self) -> None:
        self.rig.board.reopen_failed()
        self.model.try_again()
        self.check()

    # Ends and beginnings

    def save(self) -> None:
        self.rig.states.save(self.now())
        self.model.save()

    def reload(self, pins: dict[str, dict[str, Any]]) -> None:
        self.check()
        board, before = self.rig.board, {pin.gpio: pin for pin in self.model.pins.values()}
        stay = [
            (board[pin.name], board[pin.name].device, len(self._states(pin)), pin)
            for pin in before.values()
        ]
        self.rig.changes.clear()
        self.wires.change(pins, {pin.gpio for pin in before.values() if pin.is_open})
        board.reconfigure(parse(to_yaml(pins)).pins)
        self.wires.changed({gpio for gpio, line in self.model.lines.items() if line.fails})
        self.pins = pins
        self.model.reload(pins)
        for slot, device, count, pin in stay:
            if self.model.pins.get(pin.name) is pin:
                assert board[pin.name] is slot and slot.device is device, pin.name
                assert len(self._states(pin)) == count, pin.name
        assert list(board.values()) == list(pins)
        self.rig.settle()
        self.check()

    def _states(self, pin: Input | Output) -> list[Any]:
        return self.factory.pin(pin.gpio).states

    def restart(self, later: float = 0, crash: bool = False, flipped: Iterable[str] = ()) -> None:
        """An end, clean or not, and a beginning. Edges of `flipped` are on their way at the end."""
        if crash:
            self._flip_all(flipped)
            self._fail_safe()
            self.asked.clear()
            self._start_anew(self.now() + later)
        else:
            self._flip_all(flipped)
            self.rig.board.close()
            self.model.stop()
            self.check_answers()
            self._check_lines()
            self._check_silence(later)
            self._start_anew(self.now())

    def _flip_all(self, names: Iterable[str]) -> None:
        for name in names:
            self._flip(name)

    def _check_silence(self, seconds: float) -> None:
        """After its end the board does nothing any more."""
        told, lines, remade = list(self.rig.changes), self._lines(), self.rig.availability_changes
        self.rig.wait(seconds)
        self.rig.settle()
        assert (self.rig.changes, self._lines(), self.errors) == (told, lines, [])
        assert self.rig.availability_changes == remade

    def _lines(self) -> list[float]:
        return [self.line(name)._state for name in self.pins]

    def cut_power(self) -> None:
        self.mend()
        self.asked.clear()
        for file in (self.folder / "run").iterdir():
            file.unlink()
        self.factory = self._new_factory()
        self.wires = Wires(self.pins)
        self.model.cut_power()
        self._start_anew(1000.0)

    def _fail_safe(self) -> None:
        """What `safe-state` does after a crash: on_failure is off."""
        for out in self.model.outputs:
            line, off = self.line(out.name), float(out.active == "low")
            line._state = out.line.level = off
            self.wires.level(line._number, off, self.now())

    def _start_anew(self, at: float) -> None:
        self.rig.loop.close()
        self.wires.start()
        self.rig = self._start(at)
        self.model.now = at
        self.model.start(self.pins)
        self.rig.settle()
        self.check()

    # The comparison

    def check(self) -> None:
        board, model = self.rig.board, self.model
        assert self.errors == []
        assert self.wires.faults == []
        assert self.now() == pytest.approx(model.now, abs=SAME)
        assert board.values() == model.values()
        assert self.rig.availability_changes == model.remade
        for name, pin in model.pins.items():
            self._check_pin(name, pin)
        self._check_lines()
        self.check_answers()

    def _check_lines(self) -> None:
        for gpio, line in self.model.lines.items():
            if gpio not in (2, 3):  # which have pulls of their own
                assert self.factory.pin(gpio)._state == line.level, gpio

    def _check_pin(self, name: str, pin: Input | Output) -> None:
        told = [change for change in self.rig.changes if change.pin == name]
        assert [change.value for change in told] == [change.value for change in pin.told], name
        for change, expected in zip(told, pin.told, strict=True):
            assert change.by in expected.by, (change, expected)
            assert change.moment == pytest.approx(expected.moment, abs=SAME), (change, expected)
        slot = self.rig.board[name]
        assert bool(slot.error) != pin.is_open
        if not pin.is_open:
            assert slot.since is None
            return
        since = None if pin.since is None else pytest.approx(self.offset + pin.since, abs=1e-5)
        assert slot.since == since, name
        if isinstance(pin, Output):
            off_at = None if pin.off_at is None else pytest.approx(pin.off_at, abs=SAME)
            assert slot.output.state.off_at == off_at, name

    def check_answers(self) -> None:
        for future, answer in self.asked:
            if isinstance(future, RequestError):
                assert future.code in answer.codes, (future, answer)
            elif not future.done():
                assert answer == Answer(), answer
            elif future.exception():
                assert future.exception().code in answer.codes, (future, answer)
            else:
                assert (future.result(), frozenset()) == (answer.value, answer.codes)
        self.asked = [
            (future, answer)
            for future, answer in self.asked
            if not isinstance(future, RequestError) and not future.done()
        ]


class Lives(RuleBasedStateMachine):
    """Any life of any house."""

    pi: Pi | None = None

    @initialize(pins=configurations())
    def start(self, pins: dict[str, dict[str, Any]]) -> None:
        self.pi = Pi(pins)
        self.pi.check()

    @property
    def names(self) -> list[str]:
        return list(self.pi.pins)

    @property
    def inputs(self) -> list[str]:
        return [name for name, keys in self.pi.pins.items() if keys["mode"] == "input"]

    @property
    def outputs(self) -> list[str]:
        return [name for name, keys in self.pi.pins.items() if keys["mode"] != "input"]

    def teardown(self) -> None:
        if self.pi:
            self.pi.close()

    def _a(self, data: st.DataObject, names: list[str]) -> str:
        return data.draw(st.sampled_from(names), "pin")

    def _has_inputs(self) -> bool:
        return bool(self.inputs)

    def _has_outputs(self) -> bool:
        return bool(self.outputs)

    @precondition(_has_outputs)
    @rule(data=st.data(), by=st.sampled_from(["me", "you"]))
    def tap(self, data: st.DataObject, by: str) -> None:
        """Somebody plays with one output for a while."""
        name = self._a(data, self.outputs)
        is_pwm = self.pi.pins[name]["mode"] == "pwm"
        acts = ["toggle", "toggle", "dim"] if is_pwm else ["on", "on", "off", "toggle", "pulse"]
        for act in data.draw(st.lists(st.sampled_from(acts), min_size=1, max_size=4), "acts"):
            if act == "toggle":
                self.pi.toggle(name, by)
            elif act == "pulse":
                self.pi.pulse(name, data.draw(st.sampled_from([None, 0.25, 0.5, 3])), by)
            else:
                values = {"on": [1], "off": [0], "dim": [0, 0.25, 0.5, 1]}[act]
                self.pi.set(name, data.draw(st.sampled_from(values)), by)
            if gap := data.draw(st.sampled_from([0, 1 / 16, 0.5]), "gap"):
                self.pi.wait(gap)

    @precondition(_has_outputs)
    @rule(data=st.data(), before=st.sampled_from([0, 1 / 64]))
    def switch_on_and_wait(self, data: st.DataObject, before: float) -> None:
        self.pi.set(self._a(data, self.outputs), 1)
        self.pi.wait_for_next(before)

    @rule(data=st.data(), value=st.sampled_from([0.25, 0.5, 0.75, 1, -1, 1.5, float("nan")]))
    def set_to_anything(self, data: st.DataObject, value: float) -> None:
        self.pi.set(self._a(data, self.names), value)
        self.pi.toggle_no_pin()

    @rule(
        data=st.data(),
        seconds=st.sampled_from([None, None, 1 / 16, 0.25, 1, 3, 16, 7200, 0, -1, 86401]),
    )
    def pulse(self, data: st.DataObject, seconds: float | None) -> None:
        self.pi.pulse(self._a(data, self.names), seconds)

    @rule(data=st.data(), value=st.sampled_from([0, 1, 0, 1, 0.5]))
    def drive(self, data: st.DataObject, value: float) -> None:
        self.pi.drive(self._a(data, self.names), value)

    @rule(seconds=st.sampled_from([0, *LENGTHS]))
    def wait(self, seconds: float) -> None:
        self.pi.wait(seconds)

    @rule(before=st.sampled_from([0, 0, 1 / 64]))
    def wait_for_next(self, before: float) -> None:
        self.pi.wait_for_next(before)

    @rule(by=st.sampled_from([3600.0, -3600.0, 7200.5, 10 * YEAR, -10 * YEAR]))
    def set_wall_clock(self, by: float) -> None:
        self.pi.set_wall_clock(by)

    @precondition(_has_inputs)
    @rule(
        data=st.data(),
        gaps=st.lists(st.sampled_from([0, 1 / 64, 1 / 32, 1 / 16, 0.25]), min_size=1, max_size=6),
        rest=st.sampled_from([0, 0.5]),
    )
    def bounce(self, data: st.DataObject, gaps: list[float], rest: float) -> None:
        """Edges of one line, some of them before the loop looks."""
        name = self._a(data, self.inputs)
        together: list[str] = []
        for gap in gaps:
            together.append(name)
            if gap:
                self.pi.flip(*together)
                self.pi.wait(gap)
                together.clear()
        self.pi.flip(*together)
        self.pi.wait(rest)

    @precondition(_has_inputs)
    @rule(data=st.data(), looks=st.booleans())
    def lose_edge(self, data: st.DataObject, looks: bool) -> None:
        self.pi.lose_edge(self._a(data, self.inputs))
        if looks:
            self.pi.look()

    @rule()
    def look(self) -> None:
        self.pi.look()

    @rule(
        data=st.data(),
        gaps=st.lists(st.sampled_from([1 / 64, 1 / 16, 0.5, 2]), min_size=1, max_size=4),
    )
    def be_busy(self, data: st.DataObject, gaps: list[float]) -> None:
        names = st.sampled_from([None, *self.inputs])
        self.pi.be_busy(*[(gap, data.draw(names)) for gap in gaps])

    def _all_lines_obey(self) -> bool:
        return not any(line.fails for line in self.pi.model.lines.values())

    @precondition(_all_lines_obey)
    @rule(data=st.data(), touched=st.booleans())
    def fail(self, data: st.DataObject, touched: bool) -> None:
        name = self._a(data, self.names)
        if touched and name in self.outputs:
            self.pi.set(name, 1)
        self.pi.fail(name)
        if touched:
            self.pi.toggle(name)
            if self.outputs:
                self.pi.set(self._a(data, self.outputs), 1)

    @precondition(lambda self: not self._all_lines_obey())
    @rule()
    def mend(self) -> None:
        self.pi.mend()

    def _something_is_lost(self) -> bool:
        return any(not pin.is_open for pin in self.pi.model.pins.values())

    @precondition(_something_is_lost)
    @rule(mended=st.booleans())
    def try_again(self, mended: bool) -> None:
        if mended:
            self.pi.mend()
        self.pi.try_again()

    @rule()
    def save(self) -> None:
        self.pi.save()

    def _light(self, data: st.DataObject, initial: Iterable[str]) -> None:
        """Switches something on that may outlive an end."""
        pins = self.pi.pins
        kept = [name for name in self.outputs if pins[name].get("initial") in initial]
        if kept and data.draw(st.booleans(), "lights"):
            name = self._a(data, kept)
            if data.draw(st.booleans(), "pulses"):
                self.pi.pulse(name, 1)
            else:
                self.pi.set(name, 0.25 if pins[name]["mode"] == "pwm" else 1)

    @rule(
        data=st.data(),
        later=st.sampled_from([0, 0.5, 1, 3600]),
        crash=st.booleans(),
        flips=st.booleans(),
    )
    def restart(self, data: st.DataObject, later: float, crash: bool, flips: bool) -> None:
        self._light(data, KEPT)
        self.pi.restart(later, crash, self.inputs if flips else [])

    @rule(data=st.data(), saved=st.sampled_from([True, True, False]))
    def cut_power(self, data: st.DataObject, saved: bool) -> None:
        self._light(data, ["restore"])
        if saved:
            self.pi.save()
        self.pi.cut_power()

    @rule(data=st.data())
    def reload(self, data: st.DataObject) -> None:
        if self.outputs and data.draw(st.booleans(), "lights"):
            self.pi.set(self._a(data, self.outputs), 1)
        self.pi.reload(data.draw(edited(self.pi.pins), "house"))

    @invariant()
    def all_is_as_the_model_says(self) -> None:
        if self.pi:
            self.pi.check()


def test_any_life_of_any_house(caplog: pytest.LogCaptureFixture):
    """Whatever happens, in whatever order, the pins do what the manual says and nothing else."""
    caplog.set_level("CRITICAL", logger="raspi_server")  # lines fail by the hundred
    run_state_machine_as_test(
        Lives,
        settings=settings(
            deadline=None,
            print_blob=True,
            report_multiple_bugs=False,
            max_examples=200,
            stateful_step_count=40,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.fixture
def pi() -> Iterator[Callable[..., Pi]]:
    found: list[Pi] = []

    def make(**pins: dict[str, Any]) -> Pi:
        found.append(Pi(pins))
        return found[-1]

    yield make
    for each in found:
        each.close()


def three_motors() -> dict[str, dict[str, Any]]:
    keys = {"mode": "output", "group": "shutter", "group_pause": 1}
    return {name: {"gpio": gpio, **keys} for name, gpio in MOTORS.items()}


class TestFound:
    """Lives that once went wrong."""

    def test_a_restart_and_another_set_do_not_outwit_max_on(self, pi):
        """A heater that was kept on over a restart goes off when max_on says, set again or not."""
        home = pi(
            heater={
                "gpio": 17,
                "mode": "output",
                "max_on": 8,
                "initial": "keep",
            }
        )
        home.set("heater", 1)
        home.wait(7)
        home.restart()
        home.set("heater", 1)
        home.wait(1)
        assert home.line("heater").state == 0

    def test_a_pulse_that_ends_after_a_restart_is_told_as_one(self, pi):
        """What ended a pulse was the pulse, also after a restart, and not a max_on nobody set."""
        home = pi(lamp={"gpio": 17, "mode": "output", "initial": "keep"})
        home.pulse("lamp", 2)
        home.restart(later=1)
        home.wait(1)

    def test_max_on_that_ends_a_long_pulse_after_a_restart_is_told_as_such(self, pi):
        """What ends a pulse early because of max_on says so, also after a restart."""
        home = pi(gate={"gpio": 17, "mode": "output", "initial": "keep", "pulse": 60, "max_on": 4})
        home.set("gate", 1)
        home.restart(later=1)
        home.wait(3)

    def test_a_press_while_the_loop_is_busy_is_a_press(self, pi):
        """A press that held for the debounce time is told, even if nobody had time to look."""
        home = pi(bell={"gpio": 4, "mode": "input", "debounce": 0.0625})
        home.be_busy((0.25, "bell"), (0.5, "bell"), (0.25, None))
        home.wait(1)
        assert [change.value for change in home.rig.changes] == [1, 0]

    def test_a_one_off_pulse_does_not_come_back_for_good(self, pi):
        """A lamp that was switched on for a moment is not on for ever after a power cut."""
        home = pi(lamp={"gpio": 17, "mode": "output", "initial": "restore"})
        home.pulse("lamp", 2)
        home.save()
        home.cut_power()
        assert home.line("lamp").state == 0

    def test_a_pulse_as_long_as_max_on_goes_on_after_a_restart(self, pi):
        """A gate whose pulse and max_on end together runs to that end, restarted or not."""
        home = pi(
            gate={
                "gpio": 17,
                "mode": "output",
                "initial": "keep",
                "pulse": 4,
                "max_on": 4,
            }
        )
        home.set("gate", 1)
        home.restart(later=1)
        assert home.line("gate").state == 1

    def test_a_pulse_that_max_on_cuts_is_one_for_a_power_cut_too(self, pi):
        """A pulse near the end that max_on sets is still a pulse: after a power cut it is over."""
        home = pi(lamp={"gpio": 17, "mode": "output", "initial": "restore", "max_on": 8})
        home.set("lamp", 1)
        home.wait(7)
        home.pulse("lamp", 2)
        home.save()
        home.cut_power()
        assert home.line("lamp").state == 0

    def test_max_on_does_not_begin_again_after_a_power_cut(self, pi):
        """A heater that was on within its time is off after a power cut, however long that was."""
        home = pi(heater={"gpio": 17, "mode": "output", "initial": "restore", "max_on": 8})
        home.set("heater", 1)
        home.save()
        home.cut_power()
        assert home.line("heater").state == 0

    def test_a_stop_does_not_keep_a_pulse_on(self, pi):
        """A lamp that was pulsed is off while the service is down, and on again until its end."""
        home = pi(lamp={"gpio": 17, "mode": "output", "initial": "keep", "on_stop": "keep"})
        home.pulse("lamp", 2)
        home.restart(later=1)
        assert home.line("lamp").state == 1
        home.wait(1)
        assert home.line("lamp").state == 0

    def test_an_output_that_joins_a_group_stops_who_waits(self, pi):
        """A motor that waits for its pause does not go on beside one that joined while on."""
        motors = {
            "up": {"gpio": 5, "mode": "output", "group": "shutter", "group_pause": 1},
            "down": {"gpio": 6, "mode": "output", "group": "shutter", "group_pause": 1},
            "tilt": {"gpio": 13, "mode": "output", "initial": "keep"},
        }
        home = pi(**motors)
        home.set("tilt", 1)
        home.set("up", 1)
        home.reload(motors | {"tilt": motors["tilt"] | {"group": "shutter", "group_pause": 1}})
        home.wait(2)

    def test_an_output_that_left_comes_back_by_the_pause(self, pi):
        """A motor that was taken out while on and comes back rests as if it had never been."""
        motors = three_motors()
        motors["up"]["initial"] = "keep"
        home = pi(**motors)
        home.wait(1)
        home.set("up", 1)
        home.reload({name: motors[name] for name in ("down", "tilt")})
        home.set("down", 1)
        home.wait(1)
        home.set("down", 0)
        home.reload(motors)

    def test_the_pause_counts_from_one_that_left_the_group(self, pi):
        """A motor that rests when a reload takes it out still makes the others wait."""
        motors = three_motors()
        home = pi(**motors)
        home.wait(1)
        home.set("up", 1)
        home.set("up", 0)
        home.reload({name: motors[name] for name in ("down", "tilt")})
        home.set("down", 1)
        assert home.line("down").state == 0
        home.wait(1)
        assert home.line("down").state == 1

    def test_a_lamp_that_is_to_be_restored_from_a_reload_on(self, pi):
        """Who asks for `restore` while the lamp is on finds it on after a power cut."""
        lamp = {"gpio": 17, "mode": "output"}
        home = pi(lamp=lamp)
        home.set("lamp", 1)
        home.reload({"lamp": lamp | {"initial": "restore"}})
        home.save()
        home.cut_power()
        assert home.line("lamp").state == 1

    def test_a_pulse_is_over_where_the_line_came_late(self, pi):
        """A motor in a one-off pulse is not on for ever if its line could be opened only later."""
        home = pi(
            up={"gpio": 5, "mode": "output", "group": "shutter", "initial": "keep"},
            down={"gpio": 6, "mode": "output", "group": "shutter"},
        )
        home.wait(1)
        home.pulse("up", 2)
        home.fail("up")
        home.restart(later=1)
        home.mend()
        home.try_again()
        home.wait(60)
        assert home.line("up").state == 0

    def test_an_output_that_was_an_input_meanwhile_goes_on_by_the_pause(self, pi):
        """What the other direction did, while this line was no output, is not forgotten."""
        up = {"gpio": 5, "mode": "output", "group": "shutter", "initial": "keep"}
        down = {"gpio": 6, "mode": "output", "group": "shutter"}
        tilt = down | {"gpio": 13}
        home = pi(up=up, down=down, tilt=tilt)
        home.wait(1)
        home.set("up", 1)
        home.reload({"up": {"gpio": 5, "mode": "input"}, "down": down, "tilt": tilt})
        home.wait(1)
        home.set("down", 1)
        home.set("down", 0)
        home.reload({"up": up, "down": down, "tilt": tilt})

    def test_an_output_that_was_lost_and_joins_goes_on_by_the_pause(self, pi):
        """A line that was not ours for a while is not taken for one that was on all the time."""
        up = {"gpio": 5, "mode": "output", "initial": "keep"}
        down = {"gpio": 6, "mode": "output", "group": "shutter"}
        tilt = down | {"gpio": 13}
        home = pi(up=up, down=down, tilt=tilt)
        home.wait(1)
        home.set("up", 1)
        home.fail("up")
        home.set("up", 0)
        home.mend()
        home.line("up")._state = home.model.pins["up"].line.level = 0
        home.wires.off(5, home.now())
        home.set("down", 1)
        home.wait(1)
        home.set("down", 0)
        home.reload({"up": up | {"group": "shutter"}, "down": down, "tilt": tilt})

    def test_who_waits_and_is_taken_out_does_not_go_on(self, pi):
        """A motor that a reload takes out during its pause stays off, and who asked is told."""
        motors = three_motors()
        home = pi(**motors)
        home.set("up", 1)
        home.reload({name: motors[name] for name in ("down", "tilt")})
        home.wait(2)
        assert home.line("down").state == home.factory.pin(5).state == 0
