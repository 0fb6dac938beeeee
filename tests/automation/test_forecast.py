"""What `check` says of schedules, and what `simulate` plays."""

import os
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from raspi_server.automation.forecast import Forecast
from raspi_server.automation.given import Given
from raspi_server.automation.simulation import play
from tests.automation.house import Zone, config
from tests.support.server import LIMIT

ROOT = Path(__file__).parents[2]
BERLIN = ZoneInfo("Europe/Berlin")
PLACE = "location: {latitude: 52.5, longitude: 13.4}"
VALVES = """
pins:
  lamp: {gpio: 17, mode: output}
  porch: {gpio: 18, mode: pwm, initial: 0.1}
  zone1: {gpio: 22, mode: output, group: valves, max_on: 1h}
  zone2: {gpio: 23, mode: output, group: valves}
  bell: {gpio: 24, mode: output, pulse: 2}
"""


class Berlin(Zone):
    name = "Europe/Berlin"


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=BERLIN).timestamp()


def forecast(schedules: str, now: str = "2026-03-27 12:00", location: str = "") -> Forecast:
    return Forecast(config(schedules, location, VALVES), at(now), Berlin("Europe/Berlin"))


def test_next_times():
    """`check` prints the next three times of each schedule in local time."""
    found = forecast(
        """
  late: {pin: lamp, from: 23:00, to: 01:00, days: [fri, sat]}
  bell: {pin: bell, at: 02:30, pulse: 1}
  dark: {pin: porch, from: sunset, to: sunrise}
  long: {pin: porch, from: 12:00, to: sunset+20:00}""",
        location=PLACE,
    )
    assert list(found.next_times()) == [
        "schedules, in the time of Europe/Berlin:",
        "  late: Fri 2026-03-27 23:00 to 01:00, Sat 2026-03-28 23:00 to 01:00,"
        " Fri 2026-04-03 23:00 to 01:00",
        "  bell: Sat 2026-03-28 02:30, Sun 2026-03-29 03:30, Mon 2026-03-30 02:30",
        "  dark: Fri 2026-03-27 18:31 to 05:50, Sat 2026-03-28 18:33 to 06:48,"
        " Sun 2026-03-29 19:35 to 06:45",
        "  long: Sat 2026-03-28 12:00 to Sun 2026-03-29 15:33,"
        " Sun 2026-03-29 12:00 to Mon 2026-03-30 15:35,"
        " Mon 2026-03-30 12:00 to Tue 2026-03-31 15:37",
    ]
    polar = forecast(
        "  one: {pin: bell, at: sunset, pulse: 1}",
        location="location: {latitude: 90, longitude: 0}",
    )
    assert list(polar.next_times())[1].endswith("one: never in the next 366 days")
    assert list(forecast("").next_times()) == []


NO_WINDOW = "is not after its beginning"
PULSE = "one: {pin: zone1, at: 06:00, pulse: 10min}"
PROBLEMS = [
    ("one: {pin: zone1, from: 06:00, to: 07:00}", []),
    ("one: {pin: zone1, from: 06:00, to: 07:01}",
     ["one.to: expected at most 1 h, the max_on of zone1, got 1 h 1 min on 2026-03-28"]),
    ("one: {pin: zone1, from: 01:30, to: 02:30}", []),  # an hour on all days
    ("one: {pin: zone1, from: 02:00, to: 03:00}",
     ["one.to: expected at most 1 h, the max_on of zone1, got 2 h on 2026-10-25",
      f"one.to: no window on 2026-03-29: its end (03:00) {NO_WINDOW} (02:00)"]),
    ("one: {pin: bell, from: 06:00, to: 06:01}",
     ["one.to: expected at most 2 s, the pulse of bell, got 60 s on 2026-03-28"]),
    ("one: {pin: zone1, from: 06:00, to: 09:00, value: 0}", []),
    ("one: {pin: porch, from: sunset+00:30, to: 22:00}",
     [f"one.to: no window on 22 dates from 2026-06-14 to 2026-07-05: its end (22:00) {NO_WINDOW}"
      " (sunset+00:30), or the sun has no sunset then"]),
    ("one: {pin: porch, from: sunset+10:00, to: 22:00}",
     [f"one.to: no window on 366 dates from 2026-03-27 to 2027-03-27: its end (22:00) {NO_WINDOW}"
      " (sunset+10:00), or the sun has no sunset then"]),
    ("one: {pin: lamp, from: 06:00, to: 08:00}\n  two: {pin: lamp, from: 08:00, to: 09:00}", []),
    ("one: {pin: lamp, from: 06:00, to: 08:00}\n  two: {pin: lamp, from: 07:59, to: 09:00}",
     ["two.from: overlaps one on lamp from Sat 2026-03-28 07:59: the later one decides"]),
    ("one: {pin: zone1, from: 06:00, to: 07:00}\n  two: {pin: zone1, from: 07:00, to: 07:30}",
     ["two.from: zone1 is on before it, so its max_on switches it off at Sat 2026-03-28 07:00"]),
    ("one: {pin: zone1, from: 06:00, to: 06:30}\n  two: {pin: zone1, from: 06:30, to: 07:00}", []),
    (f"{PULSE}\n  two: {{pin: zone2, at: 06:10, pulse: 10min}}", []),
    (f"{PULSE}\n  two: {{pin: zone2, at: 06:09, pulse: 10min}}",
     ["two.at: expected one output of group valves on at a time, got zone2 from Sat 2026-03-28"
      " 06:09, when one has zone1 on"]),
    ("one: {pin: zone1, at: 06:00, pulse: 10min, days: [mon]}\n"
     "  two: {pin: zone2, at: 06:09, pulse: 10min, days: [tue]}", []),
    ("one: {pin: lamp, at: 06:00, pulse: 10min}\n  two: {pin: porch, from: 06:00, to: 07:00}", []),
]  # fmt: skip


@pytest.mark.parametrize(("schedules", "wanted"), PROBLEMS)
def test_problems_of_a_year(schedules, wanted):
    """`check` walks a year: it refuses windows that are too long and two of a group at once, and
    warns of windows that overlap, of those that together are longer than a limit, and of dates
    without one."""
    found = list(forecast(f"  {schedules}", location=PLACE).problems())
    texts = sorted(f"{each.name}.{each.key}: {each.message}" for each in found)
    assert texts == wanted
    for each in found:
        assert each.is_error == each.message.startswith("expected")
    lines = {"schedules.one": 3, "schedules.one.to": 5}
    if found and found[0].name == "one":
        assert found[0].at("file", lines).line == 5


def test_polar_dates_of_a_moment():
    """Dates on which the sun does not set are named."""
    found = forecast(
        "  one: {pin: bell, at: sunset, pulse: 1}",
        location="location: {latitude: 69.65, longitude: 19}",
    )
    (problem,) = found.problems()
    assert "no moment on 1" in problem.message
    assert problem.message.endswith(": the sun has no sunset then")


def played(conf, begin, end, given=()):
    zone = Berlin("Europe/Berlin")
    return [
        f"{datetime.fromtimestamp(moment, BERLIN):%H:%M:%S} {pin} {value} {why}".replace("None", "")
        for moment, pin, value, why in play(conf, at(begin), at(end), zone, given)
    ]


def test_play():
    """A simulation yields each change of an output, with its moment and its reason."""
    conf = config(
        """
  day:   {pin: porch, from: 08:00, to: 22:00, value: 0.2}
  noon:  {pin: porch, from: 12:00, to: 13:00, value: 0.5}
  bell:  {pin: bell, at: 09:00, pulse: 2}
  long:  {pin: zone1, from: 10:00, to: 12:30}
  off:   {at: 23:00, turn_off: [lamp]}""",
        pins=VALVES,
    )
    given = [
        Given(at("2026-06-01 11:00"), "lamp", 1),
        Given(at("2026-06-01 20:00"), "porch", 1),
        Given(at("2026-06-01 21:00"), "porch", None),
        Given(at("2026-06-01 21:30"), "porch", 0),
    ]
    assert played(conf, "2026-06-01 07:00", "2026-06-02 07:00", given) == [
        "07:00:00 porch 0.1 initial",
        "08:00:00 porch 0.2 schedule day",
        "09:00:00 bell 1 schedule bell",
        "09:00:02 bell 0 the end of schedule bell",
        "10:00:00 zone1 1 schedule long",
        "11:00:00 lamp 1 by hand",
        "11:00:00 zone1 0 the end of max_on",
        "12:00:00 porch 0.5 schedule noon",
        "13:00:00 porch 0.2 the end of schedule noon, now schedule day",
        "20:00:00 porch 1 by hand",
        "21:00:00 porch 0.2 automatic again, now schedule day",
        "21:30:00 porch 0 by hand",
        "22:00:00 porch 0.1 the end of schedule day",
        "23:00:00 lamp 0 schedule off",
    ]


RULED = """
pins:
  door:   {gpio: 2, mode: input, kind: door, pull: up, debounce: 0.02}
  button: {gpio: 3, mode: input, kind: button, pull: up}
  motion: {gpio: 4, mode: input, active: low}
  hall:   {gpio: 17, mode: output}
  bell:   {gpio: 18, mode: output, pulse: 2}
  up:     {gpio: 22, mode: output, group: motor}
  down:   {gpio: 23, mode: output, group: motor}
rules:
  hall: {when: motion, turn_on: hall, hold: 3min, only: {from: 20:00, to: 22:00}}
  left: {when: door, for: 10min, turn_on: hall}
  bell: {when: button, press: short, pulse: bell}
  up:   {when: button, press: long, turn_on: up}
"""


def test_play_of_rules():
    """Rules act on the inputs that are given, in their windows; without a first value an input is
    off, whatever its wiring. A press is made by hand, too."""
    conf = config("", pins=RULED)
    given = [
        Given(at("2026-06-01 18:00"), "door", 1),
        Given(at("2026-06-01 19:00"), "door", 0),
        Given(at("2026-06-01 19:00"), "motion", 1),
        Given(at("2026-06-01 20:01"), "motion", 0),
        Given(at("2026-06-01 20:02"), "motion", 1),
        Given(at("2026-06-01 21:59"), "motion", 0),
        Given(at("2026-06-01 22:30"), "button", 1),
        Given(at("2026-06-01 22:30") + 0.9, "button", 0),
        Given(at("2026-06-01 22:31"), "down", 1),
        Given(at("2026-06-01 22:40"), "button", 1),
        Given(at("2026-06-01 22:40") + 0.3, "button", 0),
    ]
    assert played(conf, "2026-06-01 18:05", "2026-06-01 23:00", given) == [
        "18:05:00 door 1 given",
        "18:15:00 hall 1 rule left",
        "19:00:00 motion 1 given",
        "19:00:00 door 0 given",
        "20:01:00 motion 0 given",
        "20:02:00 motion 1 given",
        "21:59:00 motion 0 given",
        "22:00:00 hall 0 the end of rule hall",
        "22:30:00 button 1 given",
        "22:30:00 up 1 rule up",
        "22:30:00 button 0 given",
        "22:31:00 up 0 another one of its group is on",
        "22:31:00 down 1 by hand",
        "22:40:00 button 1 given",
        "22:40:00 button 0 given",
        "22:40:00 bell 1 rule bell",
        "22:40:02 bell 0 the end of its pulse",
    ]
    no_left = config("", pins=RULED.replace("for: 10min", "for: 10h"))
    assert [line for line in played(no_left, "2026-06-01 18:05", "2026-06-01 23:00", given)
            if " hall " in line] == [
        "20:00:00 hall 1 rule hall",
        "22:00:00 hall 0 the end of rule hall",
    ]  # fmt: skip


def test_play_is_exact():
    """What is given for the first minute of a window is in it, and for its end is not, on each day
    of a year."""
    rules = RULED.replace(
        "press: short, pulse: bell", "pulse: bell, only: {from: 20:00, to: 21:00}"
    )
    conf = config("", pins=rules.replace("kind: button, ", ""))
    begin, given = at("2026-01-01 00:10:07") + 0.123457, []
    for day in range(360):
        start = datetime(2026, 1, 1, 20, tzinfo=BERLIN) + timedelta(days=day)
        for hour, value in ((0, 1), (0.5, 0), (1, 1), (1.5, 0)):
            given.append(Given(start.timestamp() + hour * 3600, "button", value))
    found = play(conf, begin, begin + 365 * 86400, Berlin("Europe/Berlin"), given)
    rings = [each.moment for each in found if each.pin == "bell" and each.value]
    assert rings == [each.moment for each in given[::4]]


def test_play_of_a_storm():
    """A rule that changes an output again and again rests, and the simulation says so."""
    conf = config("", pins=RULED.replace("press: short, pulse: bell", "toggle: hall"))
    first = at("2026-06-01 12:00")
    given = [Given(first + each / 10, "button", (each + 1) % 2) for each in range(60)]
    lines = played(conf, "2026-06-01 11:00", "2026-06-01 13:00", given)
    told = "rule bell rests from now on: it changes an output again and again"
    assert [line for line in lines if "rests" in line] == [f"12:00:04   {told}"]


def test_play_of_a_year():
    """A year is played to its end."""
    conf = config("  day: {pin: lamp, from: 08:00, to: 22:00}", pins=VALVES)
    zone = Berlin("Europe/Berlin")
    found = play(conf, at("2026-01-01 00:00"), at("2027-01-01 00:00"), zone)
    assert len([each for each in found if each.pin == "lamp"]) == 2 * 365


def test_dates_without_the_window_of_a_rule(tmp_path):
    """`check` names the dates on which the `only` of a rule has no window, with its line."""
    rule = "only: {from: sunset+00:30, to: 22:00}, turn_on: lamp"
    text = f"{PLACE}\npins:\n  lamp: {{gpio: 5, mode: output}}\n  door: {{gpio: 4, mode: input}}\n"
    text += f"rules:\n  hall: {{when: door, {rule}}}\n"
    status, _, err = run(tmp_path, text, "check", "config.yaml")
    assert (status, len(err)) == (0, 1)
    assert err[0].startswith("warning: config.yaml:6: rules.hall.only.to: no window on 2")


# The commands

SCHEDULES = """
schedules:
  day: {pin: lamp, from: 08:00, to: 22:00}
  two: {pin: zone2, at: 09:00, pulse: 5min}
"""


def run(tmp_path, text, *arguments):
    file = tmp_path / "config.yaml"
    file.write_text(text)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "raspi_server", *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT), "TZ": "Europe/Berlin"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=LIMIT,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout.splitlines(), done.stderr.splitlines()


def test_check_command(tmp_path):
    """`check` prints the next times before its summary. What a year shows is an error in its line,
    or a warning."""
    status, out, err = run(tmp_path, VALVES + SCHEDULES, "check", "config.yaml")
    assert (status, err) == (0, [])
    assert (out[0], len(out)) == ("schedules, in the time of Europe/Berlin:", 4)
    assert out[1].startswith("  day: ") and out[1].count(" 08:00 to 22:00") == 3
    one = "  one: {pin: zone1, from: 09:00, to: 11:00}\n  lamp: {pin: lamp, from: 09:00, to: 10:00}"
    status, out, err = run(tmp_path, VALVES + SCHEDULES + one, "check", "config.yaml")
    assert (status, out) == (78, [])
    assert err[0].startswith("warning: config.yaml:13: schedules.lamp.from: overlaps day on lamp")
    assert err[1].startswith("config.yaml:12: schedules.one.to: expected at most 1 h, the max_on")
    assert err[2].startswith("config.yaml:1") and "expected one output of group valves" in err[2]
    assert len(err) == 3


def test_simulate_command(tmp_path):
    """`simulate` prints what switches when and why between two times. Lines of a file say what
    inputs do, and people; wrong ones are told, each with what was expected."""
    command = ("simulate", "--config", "config.yaml", "--from", "2026-06-01", "--to", "2026-06-02")
    status, out, err = run(tmp_path, VALVES + SCHEDULES, *command)
    assert (status, err) == (0, [])
    assert out == [
        "in the time of Europe/Berlin:",
        "Mon 2026-06-01 00:00:00  porch  0.1  initial",
        "Mon 2026-06-01 08:00:00  lamp   on   schedule day",
        "Mon 2026-06-01 09:00:00  zone2  on   schedule two",
        "Mon 2026-06-01 09:05:00  zone2  off  the end of schedule two",
        "Mon 2026-06-01 22:00:00  lamp   off  the end of schedule day",
    ]
    command = (*command[:4], "2026-06-01T12:00", "--to", "2026-06-01T13:00")
    _, out, _ = run(tmp_path, VALVES + SCHEDULES.replace("08:00", "21:00"), *command)
    assert [line[25:] for line in out[1:]] == ["porch  0.1  initial"]
    plain = VALVES.replace(", initial: 0.1", "") + SCHEDULES.replace("08:00", "21:00")
    assert run(tmp_path, plain, *command)[1][1:] == ["nothing switches in that time"]
    assert run(tmp_path, VALVES + SCHEDULES, "simulate", "--config", "config.yaml")[0] == 0
    for options, words in (
        (("--from", "soon"), "--from: expected a date or a local time such as 2026-06-21 or"),
        (("--to", "2026-06-01T08:00+02:00"), "--to: expected a date or a local time such as"),
        (("--from", "2026-06-02", "--to", "2026-06-01"), "--to: expected a time after --from"),
        (("--from", "2026-06-02", "--to", "2029-06-01"), "and within 366 days, got 2029-06-01"),
        (("--from", "9999-12-31"), "--from: expected a year from 1970 to 2999, got"),
        (("--from", "0001-01-01"), "--from: expected a year from 1970 to 2999, got"),
        (("--to", "9999-12-31"), "--to: expected a year from 1970 to 2999, got"),
    ):
        command = ("simulate", "--config", "config.yaml", *options)
        status, out, err = run(tmp_path, VALVES + SCHEDULES, *command)
        assert (status, out, words in err[0]) == (1, [], True), err
    for first in ("1970-01-01", "2999-12-31"):
        options = ("--config", "config.yaml", "--from", first)
        status, out, _ = run(tmp_path, VALVES + SCHEDULES, "simulate", *options)
        assert (status, out[-1].endswith("the end of schedule day")) == (0, True)
    status, _, err = run(tmp_path, VALVES, "simulate", "--config", "config.yaml")
    assert (status, "has no schedules and no rules" in err[0]) == (1, True)
    command = ("simulate", "--config", "config.yaml", "--from", "2026-06-01", "--to", "2026-06-02")
    assert run(tmp_path, RULED, *command)[1][1:] == [
        "nothing switches in that time",
        "the inputs were off all the time; --inputs FILE says what they do, for the rules",
    ]


def test_commands_with_covers(tmp_path):
    """`check` prints the next times of schedules of covers, and `simulate` what covers do."""
    text = """
pins:
  up: {gpio: 20, mode: output, group: shutter, group_pause: 0.5}
  down: {gpio: 21, mode: output, group: shutter, group_pause: 0.5}
covers:
  shutter: {up: up, down: down, travel: 20}
schedules:
  evening: {cover: shutter, at: 21:00, goal: open}
"""
    status, out, err = run(tmp_path, text, "check", "config.yaml")
    assert (status, err) == (0, [])
    assert out[1].startswith("  evening: ") and out[1].count(" 21:00") == 3
    command = ("simulate", "--config", "config.yaml", "--from", "2026-06-01", "--to", "2026-06-02")
    assert run(tmp_path, text, *command)[1][1:] == [
        "Mon 2026-06-01 21:00:00  shutter  opening schedule evening",
        "Mon 2026-06-01 21:00:24  shutter  open    schedule evening",
    ]


GIVEN = """Time;Pin;Value
2026-06-01T18:00;lamp;on

2026-06-01 09:00;porch;0.4
2026-06-01 10:00;porch;AUTO
"""
WRONG = [
    ("18:00", "expected time,pin,value, such as 2026-06-21T18:00,door,on, got \"18:00\""),
    ("6:30pm,lamp,on",
     'expected a date or a local time such as 2026-06-21 or 2026-06-21T18:00, got "6:30pm"'),
    ("9999-12-31,lamp,on", 'expected a year from 1970 to 2999, got "9999-12-31"'),
    ("2026-06-01,lmap,on",
     'expected the name of a pin or a cover, got "lmap" (did you mean lamp?)'),
    ("2026-06-01,roof,on", 'expected the name of a pin or a cover, got "roof"'),
    ("2026-06-01,lamp,2", 'expected on, off or auto for lamp, got "2"'),
    ("2026-06-01,porch,dim",
     'expected on, off, auto or a number from 0 to 1 for porch, got "dim"'),
    ("2026-06-01,door,auto", 'expected on or off for door, got "auto"'),
]  # fmt: skip


def test_inputs_of_the_simulate_command(tmp_path):
    """`--inputs` takes what a spreadsheet writes: semicolons, a line of names, empty lines. Each
    wrong line is told with its number; a file that cannot be read is told, too."""
    text = VALVES + "  door: {gpio: 4, mode: input}\n" + SCHEDULES
    file = tmp_path / "inputs.csv"
    command = ("simulate", "--config", "config.yaml", "--from", "2026-06-01", "--to", "2026-06-02")
    file.write_text("\ufeff" + GIVEN)
    status, out, err = run(tmp_path, text, *command, "--inputs", "inputs.csv")
    assert (status, err) == (0, [])
    assert [line[15:] for line in out if "porch" in line] == [
        "00:00:00  porch  0.1  initial",
        "09:00:00  porch  0.4  by hand",
        "10:00:00  porch  0.1  automatic again",
    ]
    file.write_text("\n".join(line for line, _ in WRONG))
    status, out, err = run(tmp_path, text, *command, "--inputs", "inputs.csv")
    assert (status, out) == (1, [])
    assert err == [f"inputs.csv:{at}: {words}" for at, (_, words) in enumerate(WRONG, 1)]
    file.write_bytes(b"\xff")
    for name, words in (("inputs.csv", "expected text in UTF-8"), ("no.csv", "No such file")):
        status, _, err = run(tmp_path, text, *command, "--inputs", name)
        assert (status, f"--inputs: {name}: {words}" in err[0]) == (1, True), err
