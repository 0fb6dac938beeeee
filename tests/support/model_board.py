"""The real board and the model, side by side. Each event happens to both, then all that the model
predicts is compared."""

import json
import shutil
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest
from gpiozero.exc import PinError

from raspi_server.errors import RequestError
from raspi_server.gpio.backend import SimulatedFactory
from raspi_server.gpio.output_state import OutputStateStore
from raspi_server.messages import Drive, Pulse, Set, Toggle
from tests.support.board import SimulatedBoard, parse
from tests.support.model import SAME_S, Answer, Model, Output, Pins

COMMANDS = {"set": Set, "toggle": Toggle, "pulse": Pulse, "drive": Drive}


def to_yaml(pins: Pins) -> str:
    return "".join(f"  {name}: {json.dumps(keys)}\n" for name, keys in pins.items())


def _fail(*_: Any) -> Any:
    raise PinError("I/O error")


class ModelledBoard:
    """The real board and the model."""

    def __init__(self, pins: Pins) -> None:
        self.pins = pins
        self.wall_offset_s = 1_700_000_000.0
        self.folder = Path(tempfile.mkdtemp(prefix="raspi-server-test-"))
        for name in ("run", "state"):
            (self.folder / name).mkdir()
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
        ]
        for patch in self._patches:
            patch.start()
        self.factory = self._new_factory()
        self.rig = self._start(1000.0)
        self.model = Model(pins, 1000.0)

    def _new_factory(self) -> SimulatedFactory:
        factory = SimulatedFactory()
        factory.close = lambda: None  # the lines keep their levels when the process ends
        return factory

    def _start(self, at: float) -> SimulatedBoard:
        self.now = lambda: at
        states = OutputStateStore(self.folder / "run", self.folder / "state")
        rig = SimulatedBoard(to_yaml(self.pins), states, self.factory, at)
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

    # Commands and time

    def command(self, act: str, name: str, value: float | None = None, by: str = "me") -> None:
        field = "seconds" if act == "pulse" else "value"
        command: Any = COMMANDS[act](pin=name, **({} if act == "toggle" else {field: value}))
        try:
            result: Any = self.rig.board.carry_out(command, by)
        except RequestError as error:
            result = error
        self.asked.append((result, self.model.command(act, name, value, by)))
        self._settle()

    def _settle(self) -> None:
        """What was posted to the loop happens, then all is compared."""
        self.rig.settle()
        self.model.pass_time(self.now())
        self.check()

    def wait(self, seconds: float) -> None:
        self.rig.wait(seconds)
        self._settle()

    def wait_for_next(self, before: float = 0) -> None:
        """Wait until exactly the moment that is due next, or until `before` seconds earlier."""
        due = min((moment for moment, _ in self.model.due()), default=self.model.now)
        self.wait(max(0, due - self.now() - before))

    def be_busy(self, *parts: tuple[float, str | None]) -> None:
        """The loop is busy for some seconds, then a line flips, and so on; then it catches up."""
        for seconds, name in parts:
            self.rig.loop._clock.now += seconds
            self.model.now = self.now()
            if name is not None:
                self._flip(name)
        self._settle()

    # Inputs and failing lines

    def _flip(self, name: str) -> None:
        line, high = self.line(name), not self.model.pins[name].line.level
        (line.drive_high if high else line.drive_low)()
        self.model.set_line(name, high)

    def lose_edge(self, name: str) -> None:
        line = self.model.pins[name].line
        line.level = int(not line.level)
        self.line(name)._change_state(line.level)

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
        self.rig.board.reconfigure(parse(to_yaml(pins)).pins)
        self.pins = pins
        self.model.reload(pins)
        assert [pin.config.name for pin in self.rig.board] == [*pins]
        self._settle()

    def restart(self, later: float = 0, crash: bool = False, flipped: Iterable[str] = ()) -> None:
        """Stop or crash, and start `later`. Edges of `flipped` are on their way at the end."""
        for name in flipped:
            self._flip(name)
        if crash:
            self._run_safe_state()
            self._start_again(self.now() + later)
            return
        self.rig.board.close()
        self.model.stop()
        self._check_answers()
        assert not self.asked
        self._check_lines()
        at_end = [*self.rig.changes], self.rig.availability_changes
        self.rig.wait(later)
        self.rig.settle()
        assert (self.rig.changes, self.rig.availability_changes) == at_end
        self._check_lines()
        self._start_again(self.now())

    def _run_safe_state(self) -> None:
        """Do what `raspi-server safe-state` does after a crash; on_failure is off."""
        for out in self.model.outputs:
            out.line.level = int(not out.high_is_on)
            self.line(out.name)._change_state(out.line.level)

    def cut_power(self) -> None:
        self.repair()
        for file in (self.folder / "run").iterdir():
            file.unlink()
        self.factory = self._new_factory()
        self.model.cut_power()
        self._start_again(1000.0)

    def _start_again(self, at: float) -> None:
        self.asked.clear()
        self.rig.loop.close()
        self.rig = self._start(at)
        self.model.now = at
        self.model.start(self.pins)
        self._settle()

    # The comparison

    def check(self) -> None:
        """Compare all that the model predicts."""
        assert self.rig.errors == []
        assert self.now() == pytest.approx(self.model.now, abs=SAME_S)
        assert self.rig.board.values() == self.model.values()
        assert self.rig.availability_changes == self.model.reopened
        self._check_changes()
        self._check_pins()
        self._check_lines()
        self._check_answers()

    def _by_pin(self, changes: list[Any]) -> list[Any]:
        return sorted(changes, key=lambda change: [*self.pins].index(change.pin))

    def _check_changes(self) -> None:
        """The changes of each pin are those of the model, in order."""
        reported, expected = self._by_pin(self.rig.changes), self._by_pin(self.model.changes)
        assert [each[:2] for each in reported] == [(each.pin, each.value) for each in expected]
        for change, wanted in zip(reported, expected, strict=True):
            assert change.by in wanted.by, (change, wanted)
            assert change.moment == pytest.approx(wanted.moment, abs=SAME_S), (change, wanted)
        self.rig.changes.clear()
        self.model.changes.clear()

    def _check_pins(self) -> None:
        for name, pin in self.model.pins.items():
            runtime, since, off_at = self.rig.board[name], None, None
            assert bool(runtime.error) != pin.is_open
            if pin.is_open and pin.since is not None:
                since = pytest.approx(self.wall_offset_s + pin.since, abs=1e-5)
            assert runtime.since == since, name
            if isinstance(pin, Output) and pin.is_open:
                if pin.off_at is not None:
                    off_at = pytest.approx(pin.off_at, abs=SAME_S)
                assert runtime.output.state.off_at == off_at, name

    def _check_lines(self) -> None:
        """Each line has had the levels of the model, and no other in between."""
        for keys in self.pins.values():
            line, model = self.factory.pin(keys["gpio"]), self.model.lines[keys["gpio"]]
            assert [each.state for each in line.states[-50:]] == model.levels[-50:], keys
        groups = [out.group for out in self.model.outputs if out.group and out.value]
        assert len(groups) == len({*groups}), "two outputs of a group are on"

    def _check_answers(self) -> None:
        still_open = []
        for result, answer in self.asked:
            if isinstance(result, RequestError):
                answer.check((None, result.code))
            elif not result.done():
                assert answer.is_open, answer
                still_open.append((result, answer))
            elif error := result.exception():
                answer.check((None, error.code))
            else:
                answer.check((result.result(), None))
        self.asked = still_open
