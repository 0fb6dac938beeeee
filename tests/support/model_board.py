"""The real board and the model, side by side."""

import json
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest
from gpiozero.exc import PinError

from raspi_server.errors import RequestError
from raspi_server.gpio.backend import SimulatedFactory, SimulatedPin
from raspi_server.gpio.output_state import OutputStateStore
from raspi_server.messages import Drive, Pulse, Set, Toggle
from tests.support.board import SimulatedBoard, parse
from tests.support.model import SAME_S, Answer, Input, Keys, Model, Output, Pins, rejected

LONG_AGO = -365 * 86400.0


def to_yaml(pins: Pins) -> str:
    return "".join(f"  {name}: {json.dumps(keys)}\n" for name, keys in pins.items())


def _fail(*_: Any) -> Any:
    raise PinError("I/O error")


class InterlockMonitor:
    """The lines of groups, with each level as it is driven: at most one line of a group
    is on, and before it goes on, the others have been off for the pause."""

    def __init__(self, pins: Pins) -> None:
        self._keys = {keys["gpio"]: keys for keys in pins.values()}
        self._next: dict[int, Keys] = {}
        self._on: set[int] = set()
        self._was_on: dict[int, float] = {}
        self._left: dict[tuple[str, int], float] = {}
        self.errors: list[str] = []

    def driven(self, gpio: int, level: float, now: float) -> None:
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
        others = [(other, keys.get("group")) for other, keys in self._keys.items() if other != gpio]
        return [other for other, its_group in others if group and its_group == group]

    def _check(self, gpio: int, keys: Keys, now: float) -> None:
        others = self._others(gpio)
        off_since = {other: self._was_on.get(other, LONG_AGO) for other in others}
        for (group, other), moment in self._left.items():
            if group == keys["group"] and other != gpio:
                off_since[other] = max(moment, off_since.get(other, moment))
        for other in self._on.intersection(others):
            self.errors.append(f"{now}: {gpio} goes on while {other} is on")
        if self._was_on.get(gpio) == now:
            return  # closed and opened in one moment: it was on, and the others were not
        for other, moment in off_since.items():
            if now - moment < keys.get("group_pause", 0.1) - SAME_S:
                self.errors.append(f"{now}: {gpio} goes on {now - moment} s after {other}")

    def restarted(self) -> None:
        """After a start the server does not know which lines left a group before."""
        self._left.clear()

    def begin_reload(self, pins: Pins, opened: set[int]) -> None:
        """Other keys apply, to lines that are open once they are released."""
        self._next = {keys["gpio"]: keys for keys in pins.values()}
        for gpio in (self._next.keys() | self._keys.keys()) - opened:
            self.released(gpio, 0)

    def released(self, gpio: int, now: float) -> None:
        if not self._next or gpio not in self._next.keys() | self._keys.keys():
            return
        group = self._keys.pop(gpio, {}).get("group")
        if group and now and self._next.get(gpio, {}).get("group") != group:
            self._left[group, gpio] = now if gpio in self._on else self._was_on.get(gpio, LONG_AGO)
        if gpio in self._next:
            self._keys[gpio] = self._next[gpio]

    def end_reload(self, failing: list[int]) -> None:
        self._keys, self._next = self._next, {}
        groups = {keys.get("group") for keys in self._keys.values()}
        self._left = {left: at for left, at in self._left.items() if left[0] in groups}
        known = self._on.difference(failing)
        for gpio in known:
            if both := known.intersection(self._others(gpio)):
                self.errors.append(f"after a reload {gpio} is on with {both}")


class ModelledBoard:
    """The real board and the model. Each event happens to both, and `check` compares them."""

    def __init__(self, pins: Pins) -> None:
        self.pins = pins
        self.wall_offset_s = 1_700_000_000.0
        self.folder = Path(tempfile.mkdtemp(prefix="raspi-server-test-"))
        for name in ("run", "state"):
            (self.folder / name).mkdir()
        self.monitor = InterlockMonitor(pins)
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
            mock.patch("time.time", lambda: self.wall_offset_s + self.now()),
            mock.patch.object(SimulatedPin, "_change_state", self._monitored_change()),
            mock.patch.object(SimulatedPin, "input_with_pull", self._monitored_input()),
        ]
        for patch in self._patches:
            patch.start()
        self.factory = self._new_factory()
        self.rig = self._start(1000.0)
        self.model = Model(pins, 1000.0)

    def _new_factory(self) -> SimulatedFactory:
        factory = SimulatedFactory()
        factory.close = lambda: None  # the lines keep their levels when the process ends

        def release(pin: SimulatedPin) -> None:
            self.monitor.released(pin._number, self.now())
            pin.close()

        factory.release = release
        return factory

    def _monitored_change(self) -> Callable[[SimulatedPin, float], bool]:
        pair, change_state = self, SimulatedPin._change_state

        def monitored(pin: SimulatedPin, value: float) -> bool:
            if pin.function == "output":
                pair.monitor.driven(pin._number, value, pair.now())
            return change_state(pin, value)

        return monitored

    def _monitored_input(self) -> Callable[[SimulatedPin, str], None]:
        pair, input_with_pull = self, SimulatedPin.input_with_pull

        def monitored(pin: SimulatedPin, pull: str) -> None:
            pair.monitor.off(pin._number, pair.now())
            input_with_pull(pin, pull)

        return monitored

    def _start(self, at: float) -> SimulatedBoard:
        self.now = lambda: at
        states = OutputStateStore(self.folder / "run", self.folder / "state")
        rig = SimulatedBoard(to_yaml(self.pins), states, self.factory, at)
        rig.loop.set_exception_handler(lambda loop, context: self.errors.append(context))
        self.now = rig.loop.time
        return rig

    def line(self, name: str) -> Any:
        return self.factory.pin(self.pins[name]["gpio"])

    def names(self, *modes: str) -> list[str]:
        """Return the pins of these modes, or all."""
        return [name for name, keys in self.pins.items() if not modes or keys["mode"] in modes]

    def close(self) -> None:
        self.rig.board.close()
        self.rig.loop.close()
        for patch in self._patches:
            patch.stop()
        shutil.rmtree(self.folder)

    # Commands

    def _carry_out(self, command: Any, by: str, answer: Callable[[], Answer]) -> None:
        try:
            result = self.rig.board.carry_out(command, by)
        except RequestError as error:
            result = error
        self.asked.append((result, answer()))
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

    def toggle_unknown_pin(self) -> None:
        self._carry_out(Toggle(pin="nope"), "me", lambda: rejected("unknown-pin"))

    # Time

    def wait(self, seconds: float) -> None:
        self.rig.wait(seconds)
        self.rig.settle()
        self.model.pass_time(self.now())
        self.check()

    def wait_for_next(self, before: float = 0) -> None:
        """Wait until exactly the moment that is due next, or until `before` seconds earlier."""
        due = min((moment for moment, _ in self.model.due()), default=self.model.now)
        self.wait(max(0, due - self.now() - before))

    def set_wall_clock(self, by: float) -> None:
        self.wall_offset_s += by
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

    # Inputs and failing lines

    def flip(self, *names: str) -> None:
        """One edge for each name, all before the loop sees any of them."""
        for name in names:
            self._flip(name)
        self.rig.settle()
        self.check()

    def _flip(self, name: str) -> None:
        line, high = self.line(name), not self.model.pins[name].line.level
        (line.drive_high if high else line.drive_low)()
        self.model.set_line(name, high, self.now())

    def lose_edge(self, name: str) -> None:
        self.line(name)._state = not self.line(name)._state
        self.model.lose_edge(name)

    def refresh(self) -> None:
        self.rig.board.refresh()
        self.model.refresh()
        self.check()

    def fail(self, name: str) -> None:
        line = self.line(name)
        line._get_state = line._set_state = _fail
        self.model.pins[name].line.fails = True

    @property
    def failing(self) -> list[int]:
        return [gpio for gpio, line in self.model.lines.items() if line.fails]

    def repair(self) -> None:
        for gpio in self.failing:
            self.model.lines[gpio].fails = False
            del self.factory.pin(gpio)._get_state, self.factory.pin(gpio)._set_state

    def reopen_failed(self) -> None:
        self.rig.board.reopen_failed()
        self.model.reopen_failed()
        self.check()

    # Reloads, stops and starts

    def save(self) -> None:
        self.rig.states.save(self.now())
        self.model.save()

    def reload(self, pins: Pins) -> None:
        self.check()
        board, before = self.rig.board, list(self.model.pins.values())
        devices = [
            (pin, board[pin.name], board[pin.name].device, len(self._states(pin))) for pin in before
        ]
        self.rig.changes.clear()
        self.monitor.begin_reload(pins, {pin.gpio for pin in before if pin.is_open})
        board.reconfigure(parse(to_yaml(pins)).pins)
        self.monitor.end_reload(self.failing)
        self.pins = pins
        self.model.reload(pins)
        for pin, runtime, device, count in devices:
            if self.model.pins.get(pin.name) is pin:
                assert board[pin.name] is runtime and runtime.device is device, pin.name
                assert len(self._states(pin)) == count, pin.name
        assert list(board.values()) == list(pins)
        self.rig.settle()
        self.check()

    def _states(self, pin: Input | Output) -> list[Any]:
        return self.factory.pin(pin.gpio).states

    def restart(self, later: float = 0, crash: bool = False, flipped: Iterable[str] = ()) -> None:
        """Stop or crash, and start `later`. Edges of `flipped` are on their way at the end."""
        for name in flipped:
            self._flip(name)
        if crash:
            self._run_safe_state()
            self.asked.clear()
            self._start_again(self.now() + later)
        else:
            self.rig.board.close()
            self.model.stop()
            self.check_answers()
            self._check_lines()
            self._check_silence(later)
            self._start_again(self.now())

    def _check_silence(self, seconds: float) -> None:
        """After its end the board does nothing."""

        def state() -> Any:
            levels = [self.line(name)._state for name in self.pins]
            return list(self.rig.changes), levels, self.rig.availability_changes, list(self.errors)

        before = state()
        self.rig.wait(seconds)
        self.rig.settle()
        assert state() == before

    def cut_power(self) -> None:
        self.repair()
        self.asked.clear()
        for file in (self.folder / "run").iterdir():
            file.unlink()
        self.factory = self._new_factory()
        self.monitor = InterlockMonitor(self.pins)
        self.model.cut_power()
        self._start_again(1000.0)

    def _run_safe_state(self) -> None:
        """Do what `raspi-server safe-state` does after a crash; on_failure is off."""
        for out in self.model.outputs:
            line, off = self.line(out.name), float(out.active == "low")
            line._state = out.line.level = off
            self.monitor.driven(line._number, off, self.now())

    def _start_again(self, at: float) -> None:
        self.rig.loop.close()
        self.monitor.restarted()
        self.rig = self._start(at)
        self.model.now = at
        self.model.start(self.pins)
        self.rig.settle()
        self.check()

    # The comparison

    def check(self) -> None:
        model = self.model
        assert self.errors == []
        assert self.monitor.errors == []
        assert self.now() == pytest.approx(model.now, abs=SAME_S)
        assert self.rig.board.values() == model.values()
        assert self.rig.availability_changes == model.reopened
        for name, pin in model.pins.items():
            self._check_changes(name)
            self._check_pin(name, pin)
        self._check_lines()
        self.check_answers()

    def _check_lines(self) -> None:
        for gpio, line in self.model.lines.items():
            if gpio not in (2, 3):  # which have pulls of their own
                assert self.factory.pin(gpio)._state == line.level, gpio

    def _check_changes(self, name: str) -> None:
        reported = [change for change in self.rig.changes if change.pin == name]
        expected = [change for change in self.model.changes if change.pin == name]
        assert [change.value for change in reported] == [change.value for change in expected], name
        for change, wanted in zip(reported, expected, strict=True):
            assert change.by in wanted.by, (change, wanted)
            assert change.moment == pytest.approx(wanted.moment, abs=SAME_S), (change, wanted)

    def _check_pin(self, name: str, pin: Input | Output) -> None:
        runtime = self.rig.board[name]
        assert bool(runtime.error) != pin.is_open
        if not pin.is_open:
            assert runtime.since is None
            return
        since = pin.since
        if since is not None:
            since = pytest.approx(self.wall_offset_s + since, abs=1e-5)
        assert runtime.since == since, name
        if isinstance(pin, Output):
            off_at = None if pin.off_at is None else pytest.approx(pin.off_at, abs=SAME_S)
            assert runtime.output.state.off_at == off_at, name

    def check_answers(self) -> None:
        still_open = []
        for result, answer in self.asked:
            error = result
            if not isinstance(result, RequestError):
                if not result.done():
                    assert answer == Answer(), answer
                    still_open.append((result, answer))
                    continue
                error = result.exception()
            if error:
                assert error.code in answer.codes, (result, answer)
            else:
                assert (result.result(), frozenset()) == (answer.value, answer.codes)
        self.asked = still_open
