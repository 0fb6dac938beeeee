"""The sections `location` and `schedules`: accepted values beside rejected ones."""

import msgspec
import pytest

from raspi_server.config.schema import Config, Location, ScheduleConfig, TimeOfDay
from tests.config.reading import errors, read
from tests.config.test_config import SHIPPED

HOUSE = """location: {{latitude: 48.14, longitude: 11.58}}
pins:
  lamp: {{gpio: 5, mode: output}}
  fan: {{gpio: 18, mode: pwm}}
  door: {{gpio: 17, mode: input}}
  gate: {{gpio: 22, mode: output, pulse: 0.5, confirm: true, control: nobody}}
  valve: {{gpio: 23, mode: output, max_on: 5min}}
  opener: {{gpio: 24, mode: output, pulse: 0.5}}
  shut: {{gpio: 25, mode: input}}
  up: {{gpio: 6, mode: output, group: shutter, group_pause: 0.5}}
  down: {{gpio: 7, mode: output, group: shutter, group_pause: 0.5}}
covers:
  garage: {{button: opener, closed: shut, travel: 15, confirm: true}}
  shutter: {{up: up, down: down, travel: 20}}
schedules:
  one: {{{}}}
"""
LINE = HOUSE.count("\n")
TIME = "expected a time such as 06:30, 23:00 or sunset+00:20, got"

TIMES = [
    ("06:30", 390, None, "06:30"),
    ("6:30", 390, None, "06:30"),
    ("00:00", 0, None, "00:00"),
    ('"23:59"', 1439, None, "23:59"),
    ("sunset", 0, "sunset", "sunset"),
    ("sunrise", 0, "sunrise", "sunrise"),
    ("sunset+00:20", 20, "sunset", "sunset+00:20"),
    ("sunset - 1:05", -65, "sunset", "sunset-01:05"),
    ("sunrise+23:59", 1439, "sunrise", "sunrise+23:59"),
]


@pytest.mark.parametrize(("text", "minutes", "sun", "shown"), TIMES)
def test_times(text, minutes, sun, shown):
    """A time is one of the clock, or of the sun with hours and minutes after or before it."""
    schedule = read(HOUSE.format(f"pin: lamp, at: {text}, pulse: 5")).schedules["one"]
    assert (schedule.at, str(schedule.at)) == (TimeOfDay(minutes, sun), shown)


@pytest.mark.parametrize(
    ("text", "got"),
    [
        ("24:01", '"24:01"'),
        ("06:60", '"06:60"'),
        ("6.30", "6.30 (write 6:30)"),
        ("18h30", '"18h30" (write 18:30)'),
        ("Sunset", '"Sunset" (write sunset)'),
        ("sunset+", '"sunset+"'),
        ("sunset00:20", '"sunset00:20"'),
        ("sunset+24:00", '"sunset+24:00"'),
        ("sunset+20", '"sunset+20" (write sunset+00:20)'),
        ("+01:00", '"+01:00"'),
        ("noon", '"noon" (did you mean 12:00?)'),
        ("06:30:15", '"06:30:15" (write 06:30)'),
        ("", "nothing"),
        ("1800", "1800 (write 18:00)"),
    ],
)
def test_other_times_are_rejected(text, got):
    assert errors(HOUSE.format(f"pin: lamp, at: {text}, pulse: 5")) == [
        f"config.yaml:{LINE}: schedules.one.at: {TIME} {got}"
    ]


NEITHER = (
    "from: expected a window (from and to) or a moment (at), got neither;"
    " write from: 18:00 and to: 23:00, for example"
)
ACTION = (
    "at: expected pulse or turn_off beside at, got neither; write pulse: SECONDS, or for a state"
)
CONFIRM = "expected true, since gate has confirm: true and a schedule asks nobody"
OUTPUT = "expected an output or a pwm pin, got"

REJECTED = [
    ("", [NEITHER, "pin: expected the name of a pin, got nothing"]),
    ("pin: lamp", [NEITHER]),
    ("pin: lamp, from: 18:00", ["to: expected a time together with from, got nothing"]),
    ("pin: lamp, to: 18:00", ["from: expected a time together with to, got nothing"]),
    ("from: 17:00, to: 18:00", ["pin: expected the name of a pin, got nothing"]),
    ("pin: lamp, from: 18:00, to: 18:00",
     ["to: expected another time than from, got 18:00 for both"]),
    ("pin: lamp, from: 24:00, to: 06:00",
     ["from: expected a time from 00:00 to 23:59, got 24:00; write 00:00"]),
    ("pin: lamp, at: 24:00, pulse: 5",
     ["at: expected a time from 00:00 to 23:59, got 24:00; write 00:00"]),
    ("pin: lamp, from: sunset+01:00, to: sunset-01:00",
     ["to: expected a time after from (sunset+01:00), got sunset-01:00 of the same sunset"]),
    ("pin: lamp, from: 17:00, to: 18:00, pulse: 5, late: 9",
     ["pulse: expected only with at, got it with a window",
      "late: expected only with at, got it with a window"]),
    ("from: 17:00, to: 18:00, turn_off: [lamp]",
     ["turn_off: expected only with at, got it with a window; write turn_off: [PIN] and at"]),
    ("pin: lamp, at: 18:00", [f"{ACTION} from and to"]),
    ("pin: lamp, at: 18:00, value: 1",
     ["value: expected only with from and to, got it with at; write from and to in place of at,"
      " for a state"]),
    ("pin: lamp, at: 18:00, pulse: 5, to: 19:00",
     ["to: expected from and to, or at alone, got it beside at"]),
    ("pin: lamp, at: 18:00, pulse: 5, turn_off: [fan]",
     [f"{key}: expected a pin with pulse, or turn_off, got it with turn_off"
      for key in ("pin", "pulse")]),
    ("at: 18:00, turn_off: []",
     ["turn_off: expected the name of a pin, or a list such as [lamp, porch], got an empty list"]),
    ("pin: lamp, at: 18:00, pulse: 5, days: []",
     ["days: expected one day or more, got none; without days it is every day"]),
    ("pin: lamp, at: 18:00, pulse: 5, days: [mon, tues]",
     ['days: expected mon, tue, wed, thu, fri, sat or sun, got "tues" (write tue)']),
    ("pin: lamp, from: 17:00, to: 18:00, value: 2",
     ["value: expected a number from 0 to 1, got 2 (2 percent is 0.02)"]),
    ("pin: lamp, from: 17:00, to: 18:00, value: 0.5",
     ["value: expected 0 or 1, got 0.5: lamp cannot be dimmed"]),
    ("pin: door, from: 17:00, to: 18:00", [f"pin: {OUTPUT} door, which is an input"]),
    ("pin: lmp, from: 17:00, to: 18:00",
     [f"pin: {OUTPUT} lmp, which is no pin (did you mean lamp?)"]),
    ("at: 17:00, turn_off: [lamp, door]", [f"turn_off: {OUTPUT} door, which is an input"]),
    ("pin: fan, at: 17:00, pulse: 5",
     ["pin: expected an output, got fan, a pwm pin, which has no pulse; write from and to, for a"
      " state"]),
    ("pin: gate, at: 17:00, pulse: 0.5", [f"unattended: {CONFIRM}; write unattended: true"]),
    ("at: 17:00, turn_off: [lamp, gate]", [f"unattended: {CONFIRM}; write unattended: true"]),
    ("pin: gate, at: 17:00, pulse: 5, unattended: true",
     ["pulse: expected at most 0.5 seconds, the pulse of gate, got 5"]),
    ("pin: valve, at: 17:00, pulse: 10min",
     ["pulse: expected at most 300 seconds, the max_on of valve, got 600"]),
    ("cover: shutter, from: 17:00, to: 18:00, goal: close",
     [f"{key}: expected at with cover, which moves at a moment, got {key}; write at: 18:00 for each"
      " move, for example" for key in ("from", "to")]),
    ("cover: shutter, goal: close",
     ["at: expected a time such as sunset or 18:00, got nothing; write at: sunset, for example"]),
    ("cover: shutter, at: 18:00",
     ["goal: expected open, close or a number from 0 to 100 beside cover, got nothing;"
      " write goal: close, for example"]),
    ("at: 18:00, goal: close",
     ["goal: expected only with cover, got no cover; write cover: NAME beside it"]),
    ("pin: lamp, at: 18:00, pulse: 5, goal: close",
     ["goal: expected only with cover, got no cover; write cover: NAME beside it",
      "pin: expected a pin or a cover, got it with goal",
      "pulse: expected a pin or a cover, got it with goal"]),
    ("cover: shutter, at: 18:00, value: 0",
     ["goal: expected open, close or a number from 0 to 100 beside cover, got nothing;"
      " write goal: close, for example",
      "value: expected a pin or a cover, got it with cover; write goal in place of value"]),
    ("cover: shutter, at: 18:00, goal: shut",
     ['goal: expected open or close or a number from 0 to 100, got "shut" (did you mean close?)']),
    ("cover: shutter, at: 18:00, goal: 40%",
     ['goal: expected open or close or a number from 0 to 100, got "40%" (write 40)']),
    ("cover: shuter, at: 18:00, goal: close",
     ["cover: expected a cover, got shuter, which is no cover (did you mean shutter?)"]),
    ("cover: lamp, at: 18:00, goal: close",
     ["cover: expected a cover, got lamp, which is an output"]),
    ("cover: up, at: 18:00, goal: close",
     ["cover: expected a cover, got up, which is an output; write shutter, the cover that has it"]),
    ("cover: garage, at: 18:00, goal: 40, unattended: true",
     ["goal: expected open or close, got 40: garage has one button, and so no position"]),
    ("cover: garage, at: 18:00, goal: close",
     ["unattended: expected true, since garage has confirm: true and a schedule asks nobody;"
      " write unattended: true"]),
    ("pin: shutter, from: 18:00, to: 19:00",
     [f"pin: {OUTPUT} shutter, which is a cover; write cover: shutter, at and goal: close"]),
    ("at: 18:00, turn_off: [shutter, lamp]",
     [f"turn_off: {OUTPUT} shutter, which is a cover; write cover: shutter, at and goal: close"]),
    ("pin: opener, at: 18:00, pulse: 0.5",
     ["pin: expected an output of no cover, got opener, which is one of garage;"
      " write cover: garage, at and goal: close"]),
    ("pin: lamp, when: 18:00, to: 19:00",
     ["when: expected one of the keys pin, cover, from, to, at, days, value, pulse, turn_off, goal,"
      " late, unattended (write at: 06:30)",
      "from: expected a time together with to, got nothing"]),
]  # fmt: skip


@pytest.mark.parametrize(("keys", "expected"), REJECTED)
def test_rejected_schedules(keys, expected):
    """A schedule that could not work is rejected, with all that is wrong, and how to mend it."""
    assert errors(HOUSE.format(keys)) == [
        f"config.yaml:{LINE}: schedules.one.{each}" for each in expected
    ]


ACCEPTED = [
    "pin: lamp, from: 22:00, to: 06:00",
    "pin: lamp, from: 22:00, to: 24:00, value: 0",
    "pin: fan, from: sunset-01:00, to: sunset+01:00, value: 0.5, days: [sun]",
    "pin: gate, at: 17:00, pulse: 0.5, unattended: true",
    "pin: gate, at: 17:00, pulse: 20ms, unattended: true, late: 0",
    "pin: valve, at: 17:00, pulse: 5min, late: 1h",
    "at: sunrise, turn_off: [lamp, fan]",
    "cover: shutter, at: sunset-00:30, goal: 40, days: [sun], late: 1h",
    "cover: garage, at: 22:00, goal: close, unattended: true",
    "at: sunrise, turn_off: lamp",
    "at: sunrise, turn_off: [lamp, lamp]",  # 0.8.0 took it
]


@pytest.mark.parametrize("keys", ACCEPTED)
def test_accepted_schedules(keys):
    """The allowed cases beside them; what was read comes back from JSON, as a restart needs it."""
    found = read(HOUSE.format(keys))
    assert list(found.schedules) == ["one"]
    for struct in (found.schedules, found.location):
        again = msgspec.json.decode(msgspec.json.encode(struct), type=type_of(struct))
        assert again == struct


def type_of(struct):
    return Location if isinstance(struct, Location) else dict[str, ScheduleConfig]


def test_defaults():
    """A schedule is of every day, with the value 1, and made up for within a minute."""
    window = read(HOUSE.format("pin: lamp, from: 18:00, to: 19:00")).schedules["one"]
    assert (len(window.days), window.value, window.late, window.unattended) == (7, 1, 60, False)
    assert (Config().schedules, Config().location) == ({}, None)


def test_sun_needs_a_location():
    """A time of the sun without a location is an error in its line. A location has both numbers."""
    text = HOUSE.format("pin: lamp, from: sunset, to: 23:00").partition("\n")[2]
    assert errors(text) == [
        f"config.yaml:{LINE - 1}: schedules.one.from: expected a location for sunset, got none;"
        " write location: {latitude: …, longitude: …}"
    ]
    assert read(text.replace("sunset", "18:00")).location is None
    assert read("location: {latitude: -90, longitude: 180}").location.latitude == -90
    north, east = "degrees from -90 (south) to 90 (north)", "degrees from -180 (west) to 180 (east)"
    example = "expected a place such as {latitude: 48.14, longitude: 11.58}, got"
    for where, expected in (
        ("{latitude: 1}", [f"location.longitude: expected {east}, got nothing"]),
        ("{latitude: 91, longitude: 200}", [f"location.latitude: expected {north}, got 91",
                                            f"location.longitude: expected {east}, got 200"]),
        ("Berlin", [f'location: {example} "Berlin"']),
        ("", [f"location: {example} nothing"]),
    ):  # fmt: skip
        assert [error.split(" (")[0] for error in errors(f"location: {where}")] == [
            f"config.yaml:1: {each}".split(" (")[0] for each in expected
        ]


def test_names_of_schedules():
    """A schedule has a simple name, once; its errors have the lines of their keys."""
    text = HOUSE.replace("one", "One").format("pin: lamp, from: 18:00, to: 19:00")
    (error,) = errors(text)
    assert error.startswith(f"config.yaml:{LINE}: schedules.One: expected a name of at most 32")
    lines = ["schedules:", "  one:", "    pin: lamp", "    from: 24:00", "    to: 25:00"]
    assert [error.split(":")[1] for error in errors("\n".join(lines))] == ["4", "5"]
    assert errors("schedules: 5") == ["config.yaml:1: schedules: expected keys and values, got 5"]


def test_shipped_file_explains_every_key():
    """The comments of the shipped file explain each key of a schedule."""
    for field in msgspec.structs.fields(ScheduleConfig):
        if field.encode_name not in ("pin", "to"):
            assert f"\n#   {field.encode_name}" in SHIPPED.read_text(), field.encode_name
