"""Rules of a running server: a real board on simulated lines, a real event loop, clock and disk."""

import asyncio
import time
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from raspi_server.automation import automation
from raspi_server.automation.automation import Automation
from raspi_server.automation.clock import Evidence
from raspi_server.automation.rule_memory import keys_of
from raspi_server.config.parser import parse
from raspi_server.config.schema import RuleConfig
from raspi_server.gpio.backend import SimulatedFactory
from raspi_server.gpio.board import Board
from raspi_server.gpio.output_state import OutputStateStore
from raspi_server.gpio.pin import PinChange
from raspi_server.limits import Limits
from raspi_server.messages import Drive
from tests.support.server import LIMIT

PINS = """
pins:
  motion: {gpio: 4, mode: input}
  button: {gpio: 17, mode: input}
  lamp:   {gpio: 5, mode: output}
  porch:  {gpio: 6, mode: output}
"""
EVENING = "hall: {while: motion, turn_on: lamp, only: {from: 20:00, to: 21:00}}"
QUICK = Limits(clock_question_interval_s=0.01, automation_check_interval_s=0.05)
NO_FILE = Path("/nonexistent")
REAL_TIME = time.time


class Clock:
    """The clock of the system, which a test may set."""

    def __init__(self) -> None:
        self._offset = 0.0

    def time(self) -> float:
        return REAL_TIME() + self._offset

    def set(self, text: str) -> None:
        self._offset = datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() - REAL_TIME()


@pytest.fixture
def clock(monkeypatch):
    found = Clock()
    monkeypatch.setattr(time, "time", found.time)
    monkeypatch.setenv("TZ", "UTC")
    return found


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    for name in ("STATE", "RUNTIME"):
        (tmp_path / name).mkdir()
        monkeypatch.setenv(f"{name}_DIRECTORY", str(tmp_path / name))
    return tmp_path / "STATE"


class House:
    """A board with the automation, in the running loop. `changes` has the time of each change."""

    def __init__(self, rules: str, folder: Path, is_known: bool = True) -> None:
        self._synchronized = folder.parent / "synchronized"
        self._synchronized.touch()
        if not is_known:
            self._synchronized.unlink()
        evidence = Evidence(self._synchronized, NO_FILE, ("echo", "no"))
        self.told = 0
        self.changes: list[tuple[float, str, float]] = []
        self._read(rules)
        loop = asyncio.get_running_loop()
        self.automation = Automation(loop, self._told, QUICK, evidence)
        self.board = Board(
            self.config.pins,
            SimulatedFactory(),
            OutputStateStore(None, None),
            loop,
            self._changed,
            self.automation.synchronize,
            claim_first=lambda board: self.automation.apply(self.config, board),
        )
        self.automation.synchronize()

    def _read(self, rules: str) -> None:
        text = f"{PINS}rules:\n" + "".join(f"  {rule}\n" for rule in rules.splitlines())
        self.config = parse(text.encode(), "config.yaml", Path("/etc"))

    def _told(self) -> None:
        self.told += 1

    def _changed(self, change: PinChange) -> None:
        self.changes.append((time.time(), change.pin, change.value or 0))
        self.automation.changed(change)

    def reload(self, rules: str) -> None:
        self._read(rules)
        self.board.reconfigure(self.config.pins)
        self.automation.synchronize()

    def drive(self, pin: str, value: int) -> None:
        self.board.carry_out(Drive(pin=pin, value=value), "me")

    def __getitem__(self, pin: str) -> float:
        return self.board[pin].value or 0

    def info(self, name: str):
        return next(each for each in self.automation.rule_infos(lambda pins: True)
                    if each.name == name)  # fmt: skip

    def kill(self) -> None:
        """End without a last word: what it wrote before is all that is kept."""
        write = self.automation._memory.write
        self.automation._memory.write = lambda *_: None
        self.close()
        self.automation._memory.write = write

    def close(self) -> None:
        self.automation.close()
        self.board.close()


async def until(fact) -> None:
    async with asyncio.timeout(LIMIT):
        while not fact():
            await asyncio.sleep(0.01)


def at(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%H:%M:%S")


def test_window_of_a_rule_follows_the_clock(clock, folder):
    """A window opens at its time, never before, closes at its end, and follows a clock that was
    set."""

    async def live():
        clock.set("2026-06-01 19:59:59.8")
        house = House(EVENING, folder)
        house.drive("motion", 1)
        assert (house["lamp"], house.info("hall").open) == (0, False)
        await until(lambda: house["lamp"])
        assert house.info("hall").open and at(house.changes[-1][0]) >= "20:00:00"
        clock.set("2026-06-01 20:59:59.8")
        await until(lambda: not house["lamp"])
        assert not house.info("hall").open and at(house.changes[-1][0]) >= "21:00:00"
        clock.set("2026-06-01 20:30")
        await until(lambda: house["lamp"])
        house.close()

    asyncio.run(live())


def test_window_of_a_rule_is_closed_until_the_clock_is_known(clock, folder):
    """While the clock is not known, `only` is closed, and other rules act. Once it is known, rules
    look again, and people are told."""

    async def live():
        clock.set("2026-06-01 20:30")
        house = House(f"{EVENING}\nwall: {{when: button, toggle: porch}}", folder, is_known=False)
        house.drive("motion", 1)
        house.drive("button", 1)
        assert (house["lamp"], house["porch"]) == (0, 1)
        assert (house.automation.is_resting, house.info("hall").open) == (True, False)
        house.automation.trust_clock("me")
        assert (house["lamp"], house.told, house.automation.is_resting) == (1, 1, False)
        house.close()

    asyncio.run(live())


def test_rule_without_a_window_needs_no_clock(clock, folder):
    """Rules without `only` neither wait for the clock nor ask for it; a reload may add one that
    does."""

    async def live():
        house = House("hall: {while: motion, turn_on: lamp}", folder, is_known=False)
        house.drive("motion", 1)
        assert (house["lamp"], house.automation.is_resting) == (1, False)
        clock.set("2026-06-01 20:30")
        house.reload(EVENING)
        assert (house["lamp"], house.automation.is_resting) == (0, True)
        house.automation.trust_clock("me")
        assert house["lamp"] == 1
        house.close()

    asyncio.run(live())


def test_pause_of_a_rule_survives_restart_and_power_cut(folder, monkeypatch):
    """A pause acts at once, and lasts over a reload, a restart, a crash and a power cut. After
    `resume` the rule claims what holds then."""

    async def live():
        rules = "hall: {while: motion, turn_on: lamp}\nwall: {when: button, toggle: porch}"
        house = House(rules, folder)
        house.drive("motion", 1)
        house.drive("button", 1)
        house.automation.pause_rule("hall", "me")
        house.automation.pause_rule("wall", "me")
        assert (house["lamp"], house["porch"], house.told) == (0, 0, 2)
        file = folder / "automation.json"
        await until(lambda: file.exists() and b'"wall"' in file.read_bytes())
        house.reload(rules + "\nmore: {when: button, turn_on: lamp, hold: 1}")
        house.kill()
        monkeypatch.setattr(automation.system_clock, "boot_id", lambda: "another boot")
        for _ in range(2):  # after the power cut, and after a restart
            house = House(rules, folder)
            house.drive("motion", 1)
            house.drive("button", 1)
            assert (house["lamp"], house["porch"], house.info("hall").paused) == (0, 0, True)
            house.close()
        house = House(rules, folder)
        house.drive("motion", 1)
        house.automation.resume_rule("hall", "me")
        assert (house["lamp"], house.info("hall").paused, house.info("wall").paused) == (1, 0, 1)
        house.close()

    asyncio.run(live())


def test_the_last_pause_before_a_stop_is_kept(folder):
    """A pause is kept also if the server stops while an earlier one is being written, and the
    clock is not known."""

    async def live():
        rules = "hall: {while: motion, turn_on: lamp}\nwall: {when: button, toggle: porch}"
        house = House(rules, folder, is_known=False)
        house.automation.pause_rule("hall", "me")
        house.automation.pause_rule("wall", "me")
        house.close()
        await asyncio.get_running_loop().shutdown_default_executor()
        again = House(rules, folder, is_known=False)
        assert (again.info("hall").paused, again.info("wall").paused) == (True, True)
        again.close()

    asyncio.run(live())


def test_reload_that_removes_all_rules(folder):
    """A reload without rules ends what they claim and what they had to do, and forgets their
    pauses. The same rules may come again."""

    async def live():
        rules = (
            "hall: {when: motion, turn_on: lamp, hold: 0.05}\nwall: {when: button, toggle: porch}"
        )
        house = House(rules, folder)
        house.drive("motion", 1)
        house.drive("button", 1)
        house.automation.pause_rule("wall", "me")
        house.drive("motion", 0)
        assert house["lamp"] == 1
        house.reload("")
        assert (house["lamp"], house["porch"]) == (0, 0)
        assert house.automation.rule_infos(lambda pins: True) == []
        house.drive("motion", 1)
        assert house["lamp"] == 0
        with pytest.raises(KeyError):
            house.automation.pause_rule("hall", "me")
        house.reload(rules)
        assert (house["lamp"], house.info("wall").paused) == (1, False)
        house.close()

    asyncio.run(live())


def test_pause_of_a_rule_that_goes_is_forgotten_on_the_disk(folder):
    """A rule that was removed and comes again later is not paused, also if the server was killed
    in between."""

    async def live():
        house = House(f"{EVENING}\nwall: {{when: button, toggle: porch}}", folder)
        house.automation.pause_rule("wall", "me")
        file = folder / "automation.json"
        await until(lambda: file.exists() and b'"wall"' in file.read_bytes())
        house.reload(EVENING)
        await until(lambda: b'"wall"' not in file.read_bytes())
        house.kill()

    asyncio.run(live())


def test_parked_rule_is_told(folder):
    """A rule that changes an output again and again is parked, and people are told; `resume` lets
    it act again."""

    async def live():
        house = House("wall: {when: button, toggle: lamp}", folder)
        for each in range(2 * 21):
            house.drive("button", 1 - each % 2)
        await until(lambda: house.told)
        assert (house.info("wall").parked, house["lamp"]) == (True, 0)
        house.drive("button", 1)
        assert house["lamp"] == 0
        house.drive("button", 0)
        house.automation.resume_rule("wall", "me")
        assert (house.info("wall").parked, house.told) == (False, 2)
        house.close()

    asyncio.run(live())


def test_commands_for_rules_that_do_not_exist(folder):
    """An unknown rule is a KeyError, and changes nothing, also where there are no rules."""

    async def live():
        for rules in ("", EVENING):
            house = House(rules, folder)
            for command in (house.automation.pause_rule, house.automation.resume_rule):
                with pytest.raises(KeyError):
                    command("nothing", "me")
            assert house.told == 0
            assert "nothing" not in house.automation._memory.paused_rules
            house.close()

    asyncio.run(live())


def test_holds_survive_an_upgrade_from_0_8_0() -> None:
    """The number that stands for a rule's keys is that of 0.8.0, if the rule has no newer key."""
    rule = RuleConfig(when=("a",), turn_on=("b",), hold=5.0, set_={"c": 0.5})
    assert keys_of(rule) == 4292346769  # printed by 0.8.0
    assert keys_of(msgspec.structs.replace(rule, move={"d": "close"})) != 4292346769
