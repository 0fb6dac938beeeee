"""The automation of a running server, on a real event loop, clock and disk."""

import asyncio
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from raspi_server.automation import automation, clock
from raspi_server.automation.automation import Automation
from raspi_server.automation.clock import Evidence, StepWatch
from raspi_server.automation.zone import SystemZone
from raspi_server.limits import Limits
from tests.automation.house import Outputs, config
from tests.support.server import LIMIT

ROOT = Path(__file__).parents[2]
ALL_DAY = config("  always: {pin: lamp, from: 00:00, to: 24:00}")
SINCE_MIDNIGHT = config("  once: {pin: zone1, at: 00:00, pulse: 24h, late: 24h}")
QUICK = Limits(clock_question_interval_s=0.01, automation_check_interval_s=0.05)
NO_FILE = Path("/nonexistent")


class Told(Outputs):
    """Outputs that tell a test what they are told."""

    def __init__(self) -> None:
        super().__init__(time)
        self.calls: asyncio.Queue[tuple] = asyncio.Queue()

    def claim(self, *call, **more):
        super().claim(*call, **more)
        self.calls.put_nowait(("claim", *call[:2], threading.current_thread()))

    def release(self, *call):
        super().release(*call)
        self.calls.put_nowait(("release", *call[:2], threading.current_thread()))

    async def next(self) -> tuple:
        return await asyncio.wait_for(self.calls.get(), LIMIT)


@pytest.fixture
def evidence(tmp_path):
    """`evidence(is_known, answer)`: what the system says of its clock."""

    def build(synchronized=False, answer="no"):
        file, said = tmp_path / "synchronized", tmp_path / "answer"
        file.unlink(missing_ok=True)
        if synchronized:
            file.touch()
        said.write_text(f"{answer}\n")
        return Evidence(file, NO_FILE, ("cat", str(said)))

    return build


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    state = tmp_path / "state"
    state.mkdir()
    monkeypatch.setenv("STATE_DIRECTORY", str(state))
    return state


def start(outputs, conf, evidence, known=lambda: None):
    found = Automation(asyncio.get_running_loop(), known, QUICK, evidence)
    found.apply(conf, outputs)
    return found


async def until(fact) -> None:
    async with asyncio.timeout(LIMIT):
        while not fact():
            await asyncio.sleep(0.01)


def test_start_with_a_known_clock_claims_before_it_returns(evidence):
    """With a clock that is known the claims of open windows are there when `apply` returns. A
    reload acts at once, and a stop leaves the claims as they are."""

    async def live():
        outputs = Told()
        running = start(outputs, ALL_DAY, evidence(synchronized=True))
        assert outputs.value("lamp") == 1
        running.apply(config(""), outputs)
        assert outputs.value("lamp") == 0
        running.apply(ALL_DAY, outputs)
        running.close()
        assert outputs.value("lamp") == 1
        running.apply(ALL_DAY, new := Told())  # of another board
        running.close()
        assert new.value("lamp") == 1

    asyncio.run(live())


def test_schedules_rest_until_the_system_knows_the_time(evidence, folder):
    """With a clock that is not known all rests; the system is asked again and again, and then
    windows begin. A restart in the same boot need not ask."""

    async def live():
        outputs, known = Told(), asyncio.Event()
        running = start(outputs, ALL_DAY, evidence(), known.set)
        await asyncio.sleep(0)
        assert (outputs.log, running.schedules.is_known) == ([], False)
        evidence(answer="yes")
        await asyncio.wait_for(known.wait(), LIMIT)
        assert outputs.value("lamp") == 1
        await until(lambda: (folder / "automation.json").exists())
        running.close()
        again = Told()
        start(again, ALL_DAY, evidence()).close()
        assert again.value("lamp") == 1

    asyncio.run(live())


def test_a_person_can_say_that_the_clock_is_right(evidence, folder, monkeypatch):
    """A person's word counts until the next boot."""

    async def live():
        outputs, words = Told(), []
        running = start(outputs, ALL_DAY, evidence(), lambda: words.append("known"))
        running.trust_clock()
        running.trust_clock()
        assert (outputs.value("lamp"), words) == (1, ["known"])
        running.close()
        monkeypatch.setattr(automation.system_clock, "boot_id", lambda: "another boot")
        again = Told()
        start(again, ALL_DAY, evidence()).close()
        assert again.log == []

    asyncio.run(live())


def test_moment_is_on_the_disk_before_its_pin_is_on(evidence, folder):
    """A moment is written in a thread and then run on the loop's. A restart goes on with its pulse
    and does not run it again; the pause of a person is on the disk soon after."""

    async def live():
        outputs = Told()
        running = start(outputs, SINCE_MIDNIGHT, evidence(synchronized=True))
        assert outputs.log == []
        assert await outputs.next() == ("claim", "zone1", "once", threading.current_thread())
        found = json.loads((folder / "automation.json").read_text())
        assert list(found["moments"]) == ["once"]
        assert running.schedules.state("once").runs == 1
        running.close()
        again = Told()
        running = start(again, SINCE_MIDNIGHT, evidence(synchronized=True))
        began = outputs.claims["zone1"]["once"].began
        assert (again.value("zone1"), again.claims["zone1"]["once"].began) == (1, began)
        assert running.schedules.state("once").runs == 0
        running.schedules.pause("once")
        await until(lambda: '"paused":["once"]' in (folder / "automation.json").read_text())
        running.close()

    asyncio.run(live())


def test_nothing_happens_after_a_stop(evidence):
    """A moment that waits for the disk at a stop is not run any more."""

    async def live():
        outputs = Told()
        start(outputs, SINCE_MIDNIGHT, evidence(synchronized=True)).close()
        await asyncio.get_running_loop().shutdown_default_executor()
        await asyncio.sleep(0)
        assert outputs.log == []

    asyncio.run(live())


def test_without_a_state_folder_schedules_run(evidence, monkeypatch):
    """Without systemd nothing is kept, and all works."""
    monkeypatch.delenv("STATE_DIRECTORY")

    async def live():
        outputs = Told()
        running = start(outputs, SINCE_MIDNIGHT, evidence(synchronized=True))
        assert outputs.value("zone1") == 1
        running.close()

    asyncio.run(live())


def test_change_of_the_time_zone_is_noticed(evidence, tmp_path, monkeypatch):
    """Another time zone is noticed while the server runs, without a reload."""
    monkeypatch.delenv("TZ", raising=False)
    monkeypatch.setattr(automation, "SystemZone", lambda: zone)
    link = tmp_path / "localtime"
    link.symlink_to("/usr/share/zoneinfo/Etc/GMT+11")
    zone = SystemZone(link)

    async def live():
        outputs = Told()
        hour = time.gmtime().tm_hour
        only = f"from: {hour:02}:00, to: {(hour + 1) % 24:02}:05"
        running = start(
            outputs, config(f"  one: {{pin: lamp, {only}}}"), evidence(synchronized=True)
        )
        assert outputs.value("lamp") == 0
        new = tmp_path / "new"
        new.symlink_to("/usr/share/zoneinfo/Etc/UTC")
        new.replace(link)
        assert (await outputs.next())[:2] == ("claim", "lamp")
        assert zone.name == "Etc/UTC"
        running.close()

    asyncio.run(live())


# The clock


def test_hardware_clock_is_evidence(tmp_path):
    """A hardware clock that is later than the last write is evidence, if the system took its time;
    one that has lost its battery is none, nor is a missing one, nor one that has another text."""
    rtc = tmp_path / "since_epoch"
    found = Evidence(NO_FILE, rtc, ("false",))
    now = time.time()
    for text, saved, is_known in (
        (f"{now:.0f}\n", now - 60, True),
        (f"{now:.0f}\n", 0, True),
        (f"{now:.0f}\n", now + 3600, False),
        ("86400\n", 0, False),
        ("?\n", 0, False),
    ):
        rtc.write_text(text)
        assert found.is_there(saved) == is_known, text
    rtc.unlink()
    assert not found.is_there(0)


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        (("echo", "yes"), True),
        (("echo", "no"), False),
        (("false",), False),
        (("/nonexistent",), False),
    ],
)
def test_answers_of_the_system(command, answer):
    """The system's clock is right if it answers yes; a system without the program gives none."""
    assert asyncio.run(Evidence(NO_FILE, NO_FILE, command).ask()) == answer


def test_a_program_that_hangs_is_ended(monkeypatch):
    """A program that gives no answer counts as no, and is ended."""
    monkeypatch.setattr(clock, "_ASK_TIMEOUT_S", 0.05)
    assert not asyncio.run(Evidence(NO_FILE, NO_FILE, ("sleep", "1000")).ask())


def test_end_while_the_system_is_asked():
    """Whenever all tasks are cancelled, as at the end of a server, the question ends, too."""

    async def live(turns):
        asking = asyncio.create_task(Evidence(NO_FILE, NO_FILE, ("sleep", "1000")).ask())
        for _ in range(turns):
            await asyncio.sleep(0)
        assert not asking.done()

    for turns in range(5):
        asyncio.run(asyncio.wait_for(live(turns), LIMIT))


def test_step_watch(monkeypatch):
    """The watch calls when its timer says so, and no more after its end. The timer is the kernel's;
    here it runs out, as nobody may set the clock of this machine."""
    monkeypatch.setattr(clock, "_NEVER_S", int(time.time()) - 5)

    async def live():
        called = asyncio.Event()
        watch = StepWatch(asyncio.get_running_loop(), called.set)
        await asyncio.wait_for(called.wait(), LIMIT)
        watch.close()
        watch.close()
        monkeypatch.setattr(clock, "_libc", lambda: object())
        StepWatch(asyncio.get_running_loop(), called.set).close()  # a system without such a timer

    asyncio.run(live())


# The time zone


def test_zone_of_the_system(tmp_path, monkeypatch, caplog):
    """The zone is that of the file, or of TZ, and UTC without either. A file that is none is UTC
    with a warning."""
    monkeypatch.delenv("TZ", raising=False)
    file = tmp_path / "localtime"
    zone = SystemZone(file)
    assert (str(zone.zone), zone.name, zone.has_changed()) == ("UTC", "UTC", False)
    file.symlink_to("/usr/share/zoneinfo/Europe/Berlin")
    assert (zone.has_changed(), zone.has_changed(), zone.name) == (True, False, "Europe/Berlin")
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    assert (zone.has_changed(), zone.zone.utcoffset(None)) == (
        True,
        ZoneInfo("Asia/Tokyo").utcoffset(None),
    )
    monkeypatch.setenv("TZ", ":/usr/share/zoneinfo/Asia/Tokyo")
    assert (zone.has_changed(), zone.name) == (True, "Asia/Tokyo")
    monkeypatch.setenv("TZ", "Nowhere/Town")
    assert (zone.has_changed(), zone.name) == (True, "UTC")
    assert "cannot be read" in caplog.text
    monkeypatch.delenv("TZ")
    new = tmp_path / "new"
    new.write_text("no zone")
    new.replace(file)
    assert (zone.has_changed(), zone.name) == (True, "UTC")


# Costs


def test_nothing_is_imported_without_schedules(tmp_path):
    """A server and `check` import nothing of the package without schedules, and astral only for a
    time of the sun."""
    program = """
import sys
from raspi_server.cli.main import main
import raspi_server.server
assert main(["check", sys.argv[1]]) == 0
print([each for each in ("raspi_server.automation", "zoneinfo", "astral") if each in sys.modules])
"""
    file = tmp_path / "config.yaml"
    pins = "pins:\n  lamp: {gpio: 5, mode: output}\n"
    place = "location: {latitude: 1, longitude: 1}\n"
    window = "schedules:\n  one: {pin: lamp, from: TIME, to: 23:00}\n"
    for text, wanted in (
        (pins, []),
        (pins + place + "schedules: {}", []),
        (pins + place + window.replace("TIME", "18:00"), ["raspi_server.automation", "zoneinfo"]),
        (
            pins + place + window.replace("TIME", "sunset"),
            ["raspi_server.automation", "zoneinfo", "astral"],
        ),
    ):
        file.write_text(text)
        done = subprocess.run(
            [sys.executable, "-c", program, str(file)],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=LIMIT,
        )
        assert done.stdout.splitlines()[-1] == str(wanted), done
