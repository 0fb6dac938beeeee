"""The engine over restarts, power cuts, reloads, clocks that are set, and commands of people."""

import json

import msgspec
import pytest

from raspi_server.automation.times import Calendar
from tests.automation.house import House, config

MUNICH = "location: {latitude: 48.14, longitude: 11.58}"
WINDOW = "  evening: {pin: lamp, from: 18:00, to: 23:00}"
WATERING = "  watering: {pin: zone1, at: 06:30, pulse: 600}"


@pytest.fixture
def house(tmp_path):
    """`house(now, schedules)`: a house in Berlin, with a disk."""

    def build(now, schedules, zone="Europe/Berlin", **options):
        return House(tmp_path, zone, now, config(schedules, **options))

    return build


def test_window_is_on_from_its_begin_to_its_end(house):
    """A window claims its pin from its begin on and no longer at its end."""
    berlin = house("2026-06-01 17:59:59", WINDOW)
    assert berlin.value("lamp") == 0
    berlin.sleep(1)
    assert berlin.value("lamp") == 1
    berlin.until("2026-06-01 22:59:59")
    assert berlin.value("lamp") == 1
    berlin.sleep(1)
    assert berlin.value("lamp") == 0
    assert berlin.outputs.log == [
        ("claim", "lamp", "evening", 1, None),
        ("release", "lamp", "evening"),
    ]


def test_window_has_its_value_and_its_days(house):
    """A window has the value of its key, only on its days, and over midnight to its end."""
    keys = "  night: {pin: porch, from: 23:00, to: 01:00, value: 0.4, days: [mon]}"
    berlin = house("2026-06-01 22:00:00", keys)  # a Monday
    berlin.until("2026-06-02 00:59:59")
    assert berlin.value("porch") == 0.4
    berlin.until("2026-06-08 22:59:59")
    assert berlin.outputs.changes == [("porch", 0.4, 4600), ("porch", 0, 11800)]


def test_of_two_windows_the_later_one_decides(house):
    """Of two windows on one pin the one that began last decides, and the other resumes. Where one
    ends as the next begins, no other value is in between."""
    keys = """
  all_day: {pin: porch, from: 08:00, to: 22:00, value: 0.2}
  noon:    {pin: porch, from: 12:00, to: 13:00, value: 0.5}
  after:   {pin: porch, from: 13:00, to: 14:00, value: 0.9}"""
    berlin = house("2026-06-01 07:00:00", keys)
    berlin.until("2026-06-02 07:00:00")
    assert [value for _, value, _ in berlin.outputs.changes] == [0.2, 0.5, 0.9, 0.2, 0]
    berlin = house("2026-06-02 12:30:00", keys)  # a start in the middle of two
    assert [value for _, value, _ in berlin.outputs.changes][-1] == 0.5


def test_start_in_a_window_claims_at_once(house):
    """A start in the middle of a window claims with the moment at which the window began, and a
    clean restart claims the same again."""
    berlin = house("2026-06-01 20:00:00", WINDOW)
    claim = berlin.outputs.claims["lamp"]["evening"]
    assert (claim.value, claim.began) == (1, berlin.clock.uptime - 2 * 3600)
    berlin.restart(down_s=30)
    assert berlin.outputs.claims["lamp"]["evening"].began == claim.began


def test_moment_runs_once(house):
    """A moment runs at its time, is not run again by a restart or a clock that is set back, and
    runs again on the next day."""
    berlin = house("2026-06-01 06:29:00", WATERING)
    berlin.sleep(90)
    assert berlin.value("zone1") == 1
    berlin.sleep(600)
    assert berlin.value("zone1") == 0
    berlin.set_clock("2026-06-01 06:29:30")
    berlin.sleep(120)
    assert berlin.value("zone1") == 0
    berlin.restart()
    assert berlin.outputs.log == []
    berlin.until("2026-06-02 06:30:01")
    assert berlin.value("zone1") == 1


@pytest.mark.parametrize(("late", "runs"), [(59, True), (60, True), (61, False)])
def test_moment_is_made_up_for_until_it_is_late(house, late, runs):
    """A moment that passed while the server was down runs if it is no more than `late` seconds
    past, 60 without the key."""
    berlin = house("2026-06-01 06:29:00", WATERING)
    berlin.restart(down_s=60 + late)
    assert berlin.value("zone1") == runs
    (berlin.folder / "automation.json").unlink(missing_ok=True)
    twice = WATERING.replace("}", f", late: {late - 1}}}")
    berlin = house("2026-06-02 06:29:00", twice)
    berlin.restart(down_s=60 + late)
    assert berlin.value("zone1") == 0


def test_disk_has_a_moment_before_the_output_moves(house, tmp_path):
    """A moment is on the disk before its output moves: after a power cut at any time it does not
    run twice."""
    berlin = house("2026-06-01 06:29:50", WATERING)
    berlin.disk_is_slow = True
    berlin.sleep(15)
    assert (berlin.value("zone1"), len(berlin.waiting)) == (0, 1)
    assert not (tmp_path / "automation.json").exists()
    berlin.write()
    assert berlin.value("zone1") == 1
    assert json.loads((tmp_path / "automation.json").read_text())["moments"] == {
        "watering": {"2026-06-01 06:30": 1780288200}
    }
    berlin.disk_is_slow = False
    berlin.restart(down_s=20, power_cut=True)
    berlin.sleep(3600)
    assert berlin.outputs.log == []


def test_pulse_goes_on_after_a_restart_and_ends_after_a_power_cut(house):
    """After a restart in the same boot a pulse goes on to its original end; after a power cut it
    is lost."""
    berlin = house("2026-06-01 06:30:00", WATERING)
    began = berlin.clock.uptime
    berlin.sleep(100)
    berlin.restart(down_s=50)
    assert berlin.outputs.claims["zone1"]["watering"][1:] == (began, 1, began + 600)
    berlin.sleep(440)
    assert berlin.value("zone1") == 1
    berlin.restart(down_s=20)
    assert berlin.outputs.log == []
    berlin.until("2026-06-02 06:32:00")
    assert berlin.value("zone1") == 1
    berlin.restart(power_cut=True)
    assert berlin.outputs.log == []


def test_turn_off_relinquishes(house):
    """At a moment with `turn_off` its pins are relinquished, and windows go on."""
    keys = f"{WINDOW}\n  off: {{at: 21:00, turn_off: [lamp, porch]}}"
    berlin = house("2026-06-01 20:59:00", keys)
    berlin.sleep(70)
    calls = [call for call in berlin.outputs.log if call[0] != "claim"]
    assert (calls, berlin.value("lamp")) == ([("relinquish", "lamp"), ("relinquish", "porch")], 1)
    berlin.restart()
    assert ("relinquish", "lamp") not in berlin.outputs.log


def test_moment_moves_a_cover(house, tmp_path):
    """A cover moves once the disk has the moment: not twice after a power cut, and not if the
    schedule was paused meanwhile. A moment that is too late is not made up for."""
    dusk = "  dusk: {cover: shutter, at: 21:00, goal: 40}"
    berlin = house("2026-06-01 20:59:50", dusk)
    berlin.disk_is_slow = True
    berlin.sleep(15)
    assert (berlin.moves, len(berlin.waiting)) == ([], 1)
    berlin.write()
    assert berlin.moves == [("shutter", 40, "schedule dusk")]
    assert json.loads((tmp_path / "automation.json").read_text())["moments"]["dusk"]
    berlin.disk_is_slow = False
    berlin.restart(down_s=20, power_cut=True)
    berlin.sleep(3600)
    assert len(berlin.moves) == 1 and berlin.outputs.log == []
    berlin.until("2026-06-02 20:59:50")
    berlin.disk_is_slow = True
    berlin.sleep(15)
    berlin.engine.pause("dusk")
    berlin.write()
    berlin.disk_is_slow = False
    berlin.engine.resume("dusk")
    berlin.until("2026-06-03 20:59:00")
    berlin.restart(down_s=121)
    assert len(berlin.moves) == 1
    assert berlin.engine.state("dusk").until is None
    berlin.until("2026-06-04 21:00:01")
    assert len(berlin.moves) == 2


def test_unknown_clock(house):
    """While the clock is not known, windows and moments rest. A clock of 1970 makes no moment
    forgotten that was run before the power cut."""
    berlin = house("2026-06-01 06:30:00", f"{WINDOW}\n{WATERING}")
    berlin.sleep(10)
    berlin.is_known = False
    berlin.restart(power_cut=True)
    berlin.set_clock(19 * 3600)
    berlin.sleep(40)
    assert berlin.outputs.log == []
    berlin.is_known = berlin.engine.is_known = True
    berlin.set_clock("2026-06-01 06:30:55")
    assert berlin.outputs.log == []
    berlin.set_clock("2026-06-01 19:00:00")
    assert berlin.value("lamp") == 1
    saved = json.loads((berlin.folder / "automation.json").read_text())["saved"]
    assert saved > 1e9


def test_clock_that_was_far_ahead_is_forgotten(house):
    """What was run by a clock that was more than 25 hours ahead is forgotten: it runs at its time.
    By one that was less than that ahead, it is not run again."""
    berlin = house("2026-06-01 06:00:00", WATERING)
    berlin.set_clock("2026-06-03 06:29:59")
    berlin.sleep(2)
    assert berlin.value("zone1") == 1
    berlin.set_clock("2026-06-01 12:00:00")  # 42 hours back
    berlin.until("2026-06-02 12:00:00")
    berlin.restart()  # it is 19 hours ahead by now, and was forgotten before
    berlin.until("2026-06-03 06:31:00")
    assert [call[0] for call in berlin.outputs.log].count("claim") == 1
    berlin.set_clock("2026-06-02 06:29:59")  # 24 hours back
    berlin.until("2026-06-03 06:31:00")
    assert [call[0] for call in berlin.outputs.log].count("claim") == 1


def test_clock_step_and_time_zone(house):
    """After the clock was set, or the time zone has changed, outputs are as the new time says. A
    moment keeps its written time, so that a change of the zone does not repeat it."""
    berlin = house("2026-06-01 17:00:00", f"{WINDOW}\n{WATERING}")
    berlin.set_clock("2026-06-01 18:30:00")
    assert berlin.value("lamp") == 1
    berlin.set_clock("2026-06-01 17:30:00")
    assert berlin.value("lamp") == 0
    berlin.zone.change("Europe/Helsinki")  # an hour ahead
    berlin.sleep(60)
    assert berlin.value("lamp") == 1
    berlin.until("2026-06-02 06:30:10")
    assert berlin.value("zone1") == 1
    berlin.sleep(1000)
    berlin.zone.change("Europe/Berlin")
    berlin.until("2026-06-02 06:45:00")
    assert berlin.value("zone1") == 0


def test_windows_keep_their_order_when_the_clock_is_set(house):
    """Which of two windows began last does not depend on when the clock was set."""
    keys = """
  first:  {pin: porch, from: 18:00, to: 23:00, value: 0.2}
  second: {pin: porch, from: 18:30, to: 23:00, value: 0.5}"""
    berlin = house("2026-06-01 18:00:30", keys)
    berlin.set_clock("2026-06-01 22:00:00")  # second seems to have begun before the start
    assert [value for _, value, _ in berlin.outputs.changes] == [0.2, 0.5]
    berlin.set_clock("2026-06-01 12:00:00")
    berlin.set_clock("2026-06-01 22:00:00")
    assert [value for _, value, _ in berlin.outputs.changes] == [0.2, 0.5, 0, 0.5]
    berlin.engine.pause("first")
    berlin.engine.resume("first")
    assert berlin.value("porch") == 0.5


def test_clock_set_to_another_day_of_the_same_windows(house):
    """When the clock goes to another day on which the same windows are open, nothing changes."""
    keys = """
  first:  {pin: porch, from: 00:06, to: 22:30, value: 0.2}
  second: {pin: porch, from: 01:00, to: 23:00, value: 0.7}"""
    berlin = house("2026-06-02 14:00:00", keys)
    for time in ("2026-06-01 21:00:00", "2026-06-03 03:00:00", "2026-06-02 14:00:00"):
        berlin.set_clock(time)
        berlin.sleep(5)
    assert [value for _, value, _ in berlin.outputs.changes] == [0.7]


def test_pause_and_resume(house):
    """A pause ends a window or a pulse at once, and lasts over a reload, a restart and a power cut.
    After it an open window goes on, and a pulse does not."""
    berlin = house("2026-06-01 06:30:00", f"{WINDOW}\n{WATERING}")
    berlin.engine.pause("watering")
    assert berlin.value("zone1") == 0
    berlin.engine.resume("watering")
    assert berlin.value("zone1") == 0
    berlin.until("2026-06-01 19:00:00")
    berlin.engine.pause("evening")
    assert berlin.value("lamp") == 0
    berlin.reload(config(f"{WINDOW}\n{WATERING}"))
    berlin.restart()
    berlin.restart(power_cut=True)
    assert (berlin.value("lamp"), berlin.engine.state("evening").is_paused) == (0, True)
    berlin.engine.resume("evening")
    assert berlin.value("lamp") == 1
    berlin.restart()
    assert berlin.value("lamp") == 1
    for command in (berlin.engine.pause, berlin.engine.resume, berlin.engine.skip):
        with pytest.raises(KeyError):
            command("morning")


def test_skip(house):
    """A skip leaves out the next window or moment that has not begun, on its date, over a restart.
    A second one changes nothing, and it can be undone. In a window that is left out, the next one
    can be left out, too."""
    berlin = house("2026-06-01 19:00:00", f"{WINDOW}\n{WATERING}")
    for _ in range(2):
        assert berlin.engine.skip("evening").day.isoformat() == "2026-06-02"
        assert berlin.engine.skip("watering").day.isoformat() == "2026-06-02"
    assert berlin.value("lamp") == 1  # has begun
    state = berlin.engine.state("evening")
    assert (state.skipped, state.next.day.isoformat()) == ("2026-06-02", "2026-06-03")
    berlin.restart()
    berlin.until("2026-06-03 17:00:00")
    claims = [call[2] for call in berlin.outputs.log if call[0] == "claim"]
    assert claims == ["evening", "watering"]
    assert berlin.engine.state("evening").skipped is None
    berlin.engine.skip("evening")
    berlin.engine.undo_skip("evening")
    berlin.until("2026-06-03 18:00:01")
    assert berlin.value("lamp") == 1
    berlin.engine.skip("evening")
    berlin.until("2026-06-04 19:00:00")
    berlin.engine.skip("evening")
    assert berlin.engine.state("evening").skipped == "2026-06-05"
    assert berlin.value("lamp") == 0
    berlin.engine.undo_skip("evening")
    assert (berlin.engine.state("evening").skipped, berlin.value("lamp")) == (None, 0)
    berlin.until("2026-06-05 19:00:00")
    assert berlin.value("lamp") == 1


def test_nothing_is_skipped_while_the_clock_is_not_known(house):
    """The next window is not known then."""
    berlin = house("2026-06-01 17:00:00", WINDOW)
    berlin.engine.is_known = False
    assert berlin.engine.skip("evening") is None
    berlin.engine.is_known = True
    berlin.until("2026-06-01 18:00:01")
    assert berlin.value("lamp") == 1


def test_reload(house):
    """What a reload does not change goes on untouched. A schedule that was changed or removed ends
    its window and its pulse at once, and a moment that was moved into the past is not run."""
    berlin = house("2026-06-01 06:30:00", f"{WINDOW}\n{WATERING}")
    berlin.reload(config(f"  other: {{pin: lamp, at: 07:00, pulse: 5}}\n{WATERING}\n{WINDOW}"))
    assert [call[0] for call in berlin.outputs.log] == ["claim"]
    berlin.reload(config(WATERING.replace("600", "500")))
    assert berlin.value("zone1") == 0
    berlin.until("2026-06-01 07:00:30")
    berlin.reload(config(WATERING.replace("06:30", "07:00")))
    assert berlin.value("zone1") == 0
    berlin.restart()
    assert berlin.value("zone1") == 0
    berlin.until("2026-06-01 19:00:00")
    berlin.reload(config(WINDOW))
    claim = berlin.outputs.claims["lamp"]["evening"]
    assert claim.began == berlin.clock.uptime - 3600
    berlin.outputs.changes.clear()
    berlin.reload(config(WINDOW.replace("23:00", "22:00")))
    assert (berlin.value("lamp"), berlin.outputs.changes) == (1, [])  # without a gap
    berlin.reload(config(WINDOW.replace("lamp", "porch")))
    assert (berlin.value("lamp"), berlin.value("porch")) == (0, 1)
    berlin.reload(config(WATERING))
    assert berlin.value("porch") == 0


def test_reload_with_another_place(house):
    """A reload with another place moves the times of the sun, and leaves other schedules alone."""
    keys = f"{WINDOW}\n  dusk: {{pin: porch, from: sunset, to: 23:30}}"
    berlin = house("2026-06-01 21:30:00", keys, location=MUNICH)
    assert (berlin.value("porch"), berlin.value("lamp")) == (1, 1)  # sunset at 21:03
    berlin.reload(config(keys, "location: {latitude: 43.37, longitude: -8.4}"))  # and 22:09
    assert berlin.value("porch") == 0
    assert [call for call in berlin.outputs.log if call[1] == "lamp"] == [
        ("claim", "lamp", "evening", 1, None)
    ]
    berlin.until("2026-06-01 22:15:00")
    assert berlin.value("porch") == 1


def test_states_for_people(house):
    """A state says until when a schedule claims, and what comes next."""
    berlin = house("2026-06-01 06:30:00", f"{WINDOW}\n{WATERING}")
    evening, watering = berlin.engine.states()
    assert (evening.name, evening.until, evening.runs) == ("evening", None, 0)
    assert evening.next.begin == berlin.now + 11.5 * 3600
    assert (watering.until, watering.runs) == (berlin.now + 600, 1)
    berlin.until("2026-06-01 18:00:00")
    state = berlin.engine.state("evening")
    assert (state.until, state.runs) == (berlin.now + 5 * 3600, 1)
    berlin.is_known = False
    berlin.restart()
    assert berlin.engine.state("evening").next is None


def test_reload_that_swaps_two_schedules(house):
    """Of two windows that began at once the later one in the file decides, after a reload that
    swaps them as after a restart."""
    one, two = (
        f"  {name}: {{pin: porch, from: 18:00, to: 23:00, value: {value}}}"
        for name, value in (("one", 0.2), ("two", 0.5))
    )
    berlin = house("2026-06-01 17:00:00", f"{one}\n{two}")
    berlin.until("2026-06-01 20:00:00")
    for keys, value in (
        (f"{two}\n{one}", 0.2),
        (f"{one}\n{two}", 0.5),
        (f"{one}\n  new: {{pin: porch, from: 18:00, to: 22:00, value: 0.9}}\n{two}", 0.5),
    ):
        berlin.outputs.changes.clear()
        berlin.reload(config(keys))
        assert berlin.value("porch") == value
        assert len(berlin.outputs.changes) <= 1
        berlin.restart()
        assert berlin.value("porch") == value
    berlin.reload(config(f"{WINDOW}\n{WATERING}\n{one}"))
    berlin.restart()
    berlin.reload(config(f"{one}\n{two}"))
    assert berlin.value("porch") == 0.5


def test_next_window_is_looked_for_once(house, monkeypatch):
    """A client that asks again and again does not let the server search a year each time for
    windows that do not exist. After a change of the clock, the zone or the skips it searches."""
    searched = []
    occurrence = Calendar.occurrence

    def counted(self, schedule, day):
        searched.append(day)
        return occurrence(self, schedule, day)

    monkeypatch.setattr(Calendar, "occurrence", counted)
    never = "  never: {pin: porch, from: sunset+06:00, to: 22:00}"
    berlin = house("2026-06-01 06:00:00", f"{never}\n{WINDOW}", location=MUNICH)

    def found():
        """Return the days of the next windows, and if they were looked for."""
        searched.clear()
        days = [each.next and each.next.day.day for each in berlin.engine.states()]
        return days, len(searched) > 0

    assert [found(), found()] == [([None, 1], True), ([None, 1], False)]
    berlin.engine.skip("evening")
    assert found() == ([None, 2], True)
    berlin.engine.undo_skip("evening")
    assert [found(), found()] == [([None, 1], True), ([None, 1], False)]
    berlin.until("2026-06-01 18:00:00")
    assert [found(), found()] == [([None, 2], True), ([None, 2], False)]
    berlin.set_clock("2026-06-01 17:00:00")
    assert [found(), found()] == [([None, 1], True), ([None, 1], False)]
    berlin.zone.change("Asia/Tokyo")
    berlin.step()
    assert [found(), found()] == [([None, 2], True), ([None, 2], False)]


def test_journal_names_the_source(house, caplog):
    """The journal says what a schedule did, and once on which dates it has no window."""
    caplog.set_level("INFO")
    keys = f"{WINDOW}\n{WATERING}\n  gap: {{pin: lamp, from: 02:30, to: 03:00}}"
    berlin = house("2026-03-28 06:30:00", keys)
    berlin.until("2026-03-28 23:00:01")
    berlin.restart()
    berlin.until("2026-03-29 05:00:00")
    words = [record.message for record in caplog.records]
    assert "schedule watering: zone1 is on for 600 s" in words
    assert "schedule evening: lamp is 1" in words
    assert "schedule evening: its claim on lamp has ended" in words
    told = "schedule gap has no window on 2026-03-29 (02:30 to 03:00)"
    assert words.count(told) == 2  # once before the restart, once after it


def test_memory_that_cannot_be_read_or_written(house, tmp_path, caplog):
    """A memory that is damaged is forgotten with a warning. If the disk takes no more, schedules
    run all the same."""
    file = tmp_path / "automation.json"
    file.write_text("{")
    berlin = house("2026-06-01 06:30:00", WATERING)
    assert "pauses and past moments of schedules are forgotten" in caplog.text
    assert berlin.value("zone1") == 1
    file.unlink()
    file.mkdir()
    berlin.until("2026-06-02 06:30:01")
    assert berlin.value("zone1") == 1
    assert "a restart may repeat or forget what schedules did" in caplog.text


class FileOf080(msgspec.Struct):
    """The parts of the file that 0.8.0 reads, as 0.8.0 declares them."""

    paused: set[str]
    skipped: dict[str, str]


def test_memory_of_an_older_release(house, tmp_path):
    """What 0.8.0 has written counts after an update, and 0.8.0 can read what is written now: after
    a rollback it has the pauses, and the newest day that each schedule leaves out."""
    file = tmp_path / "automation.json"
    old = {"saved": 0, "paused": ["watering"], "skipped": {"evening": "2026-06-01"}}
    file.write_text(json.dumps(old))
    berlin = house("2026-06-01 06:30:00", f"{WINDOW}\n{WATERING}")
    evening, watering = berlin.engine.states()
    assert (evening.skipped, watering.is_paused) == ("2026-06-01", True)
    berlin.until("2026-06-01 20:00:00")
    assert berlin.value("lamp") == 0
    berlin.engine.skip("evening")
    found = msgspec.json.decode(file.read_bytes(), type=FileOf080)
    assert (found.paused, found.skipped) == ({"watering"}, {"evening": "2026-06-02"})
    berlin.restart()
    assert (berlin.value("lamp"), berlin.engine.state("evening").skipped) == (0, "2026-06-02")
    berlin.engine.undo_skip("evening")
    found = msgspec.json.decode(file.read_bytes(), type=FileOf080)
    assert found.skipped == {"evening": "2026-06-01"}


@pytest.mark.parametrize(
    "day", ["tomorrow", "2026-6-1", "20260601", "", "0001-01-01", "9999-12-31"]
)
def test_memory_with_a_day_that_is_none(house, tmp_path, caplog, day):
    """A day that someone has written wrongly into the memory is forgotten with a warning."""
    old = {"skipped": {"night": day}, "skipped_days": {"night": [day, "2026-06-02"]}}
    (tmp_path / "automation.json").write_text(json.dumps(old))
    berlin = house("2026-06-01 06:30:00", "  night: {pin: lamp, from: 23:00, to: 06:00}")
    assert berlin.engine.state("night").skipped == "2026-06-02"
    assert f"schedule night: it cannot leave out {day!r}" in caplog.text


def test_memory_of_moments_stays_small(house, tmp_path):
    """Moments of more than three days ago are forgotten, and pauses of schedules that are gone."""
    berlin = house("2026-06-01 06:00:00", WATERING)
    berlin.engine.pause("watering")
    berlin.engine.skip("watering")
    berlin.engine.resume("watering")
    berlin.until("2026-06-20 06:31:00")
    found = json.loads((tmp_path / "automation.json").read_text())
    assert list(found["moments"]["watering"]) == [
        f"2026-06-{day} 06:30" for day in (17, 18, 19, 20)
    ]
    berlin.engine.pause("watering")
    berlin.reload(config(WINDOW))
    berlin.engine.pause("evening")
    found = json.loads((tmp_path / "automation.json").read_text())
    assert (found["paused"], found["skipped"], found["pulses"]) == (["evening"], {}, {})


def test_news_of_states(house):
    """The engine says so when what people see of a schedule has changed: at the begin and the end
    of a window and a pulse, and after a change of the zone. It does not at other steps."""
    two = "  noon: {pin: lamp, from: 12:00, to: 13:00}\n  pulse: {pin: zone1, at: 14:00, pulse: 60}"
    berlin = house("2026-06-01 11:00:00", two)

    def state():
        return [each._replace(runs=0) for each in berlin.engine.states()]

    for until, is_news in (
        ("11:30:00", False),
        ("12:00:01", True),
        ("12:30:00", False),
        ("13:00:01", True),
        ("14:00:01", True),
        ("14:00:30", False),
        ("14:01:01", True),
        ("18:00:00", False),
    ):
        before, berlin.news = state(), 0
        berlin.until(f"2026-06-01 {until}")
        assert (berlin.news > 0, state() != before) == (is_news, is_news), until
    before, berlin.news = state(), 0
    berlin.zone.change("Asia/Tokyo")
    berlin.step()
    assert berlin.news
    assert state() != before
