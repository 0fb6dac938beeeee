"""The section `covers`: accepted covers beside rejected ones, each rejection with its message."""

import msgspec
import pytest

from raspi_server.config.cover_rules import is_reached
from raspi_server.config.schema import Config, Presses, Travel
from tests.config.reading import errors, read

PINS = """\
pins:
  opener: {gpio: 22, mode: output, pulse: 0.5}
  up:     {gpio: 27, mode: output, group: shutter, group_pause: 0.5}
  down:   {gpio: 12, mode: output, group: shutter, group_pause: 0.5}
  shut:   {gpio: 13, mode: input, kind: garage_door, pull: up}
  top:    {gpio: 16, mode: input, pull: up}
  dim:    {gpio: 18, mode: pwm}
"""
LINE = 1 + PINS.count("\n") + 1
"""The line of the first cover."""


def with_cover(keys: str, pins: str = PINS, more: str = "") -> str:
    return f"{pins}covers:\n  door: {{{keys}}}\n{more}"


def only_error(text: str) -> str:
    (error,) = errors(text)
    return error.removeprefix("config.yaml:")


BUTTON = "button: opener, closed: shut, travel: 15"
MOTOR = "up: up, down: down, travel: 20"


def test_covers():
    """A cover has its keys, and defaults that depend on its drive."""
    presses = "{opening: stop, closing: reverse, stopped: opposite}"
    text = with_cover(
        f"{BUTTON}s, opened: top, label: Garage, room: Yard, presses: {presses}",
        more="  blind: {kind: blind, up: up, down: down, travel: {up: 24, down: 22}}\n",
    )
    door, blind = read(text).covers
    assert (door.kind, door.label, door.outputs, door.contacts) == (
        "garage_door", "Garage", ("opener",), ("shut", "top")
    )  # fmt: skip
    assert (door.travel, door.can_stop, door.has_position) == (Travel(up=15, down=15), True, False)
    assert door.presses == Presses(opening="stop", closing="reverse", stopped="opposite")
    assert (blind.kind, blind.label, blind.travel.down) == ("blind", "blind", 22)
    assert (blind.has_position, blind.can_stop, blind.pins) == (True, True, ("up", "down"))
    (shutter,) = read(with_cover(MOTOR)).covers
    assert (shutter.kind, read(with_cover(BUTTON)).covers[0].can_stop) == ("shutter", False)
    config = read(text)
    assert msgspec.json.decode(msgspec.json.encode(config.covers), type=type_of_covers()) == (
        config.covers
    )
    assert read("covers: {}").covers == read("covers:").covers == ()


def type_of_covers():
    return next(each.type for each in msgspec.structs.fields(Config) if each.name == "covers")


def test_meaning_of_contacts():
    """An input of the kind door and the like is 1 while it is open; any other is 1 at its end."""
    config = read(with_cover(f"{BUTTON}, opened: top"))
    pins = {pin.name: pin for pin in config.pins}
    (door,) = config.covers
    assert [is_reached(door, pins["shut"], value) for value in (0, 1)] == [True, False]
    assert [is_reached(door, pins["top"], value) for value in (0, 1)] == [False, True]


@pytest.mark.parametrize(
    ("keys", "where", "message"),
    [
        ("", "travel", "expected the seconds from one end to the other, got nothing"),
        ("travel: 15", "button", "expected button, or up and down, got none of them"),
        (f"{BUTTON}, up: up", "up", "expected button, or up and down, got it beside button"),
        ("button: opener, travel: 15", "closed", "expected the contact at the closed end, got"),
        ("up: up, travel: 15", "down", "expected an output together with up, got nothing"),
        (f"{MOTOR}, presses: {{opening: stop, closing: stop, stopped: open}}", "presses",
         "expected only with button"),
        (f"{BUTTON}, presses: stop", "presses", "expected {opening: stop, closing: reverse"),
        (f"{BUTTON}, presses: {{opening: stop, closing: stop}}", "presses.stopped",
         "expected opposite, open or close, got nothing"),
        (f"{BUTTON}, presses: {{opening: halt, closing: stop, stopped: open}}", "presses.opening",
         'expected stop or reverse, got "halt"'),
        (BUTTON.replace("15", "0"), "travel", "expected a number of seconds from 0.1 to 600, got"),
        (BUTTON.replace("15", "{up: 5}"), "travel.down", "expected a number of seconds from 0.1"),
        (BUTTON.replace("15", "[5]"), "travel", "expected"),
        (f"{BUTTON}, kind: garage", "kind", "(did you mean garage_door?)"),
        (f"{BUTTON}, name: Tor", "name", "(write label: TEXT)"),
        (f"{BUTTON}, contact: top", "contact", "expected one of the keys label, kind, room"),
        (BUTTON.replace("opener", "openr"), "button",
         "expected an output, got openr, which is no pin (did you mean opener?)"),
        (BUTTON.replace("opener", "top"), "button", "got top, which is an input"),
        (BUTTON.replace("opener", "dim"), "button", "got dim, which is a pwm pin"),
        (BUTTON.replace("opener", "up"), "button", "got up with no pulse"),
        (BUTTON.replace("shut", "up"), "closed", "expected an input, got up, which is an output"),
        (f"{BUTTON}, opened: shut", "opened", "got shut, which this cover already has"),
        (MOTOR.replace("up: up", "up: opener"), "up", "got opener with pulse"),
    ],
)  # fmt: skip
def test_a_wrong_cover(keys: str, where: str, message: str) -> None:
    """Each mistake is told in the line of its key, with what was expected."""
    found = errors(with_cover(keys))
    assert found[0].startswith(f"config.yaml:{LINE}: covers.door.{where}: ")
    assert message in found[0]


@pytest.mark.parametrize(
    ("pin", "keys", "message"),
    [
        ("opener", "initial: keep", "initial: keep, which could move it at a start"),
        ("opener", "manual_hold: 5", "manual_hold, which would end its motion"),
        ("opener", "confirm: true", "confirm; write confirm below the cover"),
        ("opener", "control: nobody", "control; write control below the cover"),
        ("up", "on_stop: keep", "on_stop: keep, which could move it without a server"),
        ("up", "on_failure: keep", "on_failure: keep, which could move it"),
        ("up", "max_on: 19", "max_on: 19, which is less than its travel of 20 seconds"),
        ("up", "group_pause: 0.4", "expected a group_pause of at least 0.5 seconds"),
        ("up", "group: other", "expected two outputs of one group, got up and down"),
    ],
)
def test_a_pin_that_a_cover_cannot_have(pin: str, keys: str, message: str) -> None:
    """Keys of its outputs that would move it by themselves, or not to its end, are errors."""
    before = PINS.split(f"  {pin}:")[1].split("}")[0]
    key = keys.partition(":")[0]
    rest = ", ".join(each for each in before.split(", ") if not each.startswith(f"{key}:"))
    text = PINS.replace(before, f"{rest}, {keys}")
    if key == "group":
        text += "  more: {gpio: 20, mode: output, group: other}\n"
        text += "  less: {gpio: 21, mode: output, group: shutter}\n"
    found = errors(with_cover(BUTTON if pin == "opener" else MOTOR, text))
    assert [error for error in found if message in error]
    allowed = PINS.replace("group_pause: 0.5", "group_pause: 0.5, max_on: 20, on_stop: input")
    assert read(with_cover(MOTOR, allowed)).covers


def test_a_group_of_a_button():
    """A press must not wait for another output."""
    pins = PINS.replace("pulse: 0.5", "pulse: 0.5, group: shutter")
    assert "got opener with group" in only_error(with_cover(BUTTON, pins))


def test_a_pin_in_two_covers():
    """Each pin belongs to one cover, and no cover has the name of a pin."""
    text = with_cover(BUTTON, more=f"  gate: {{{BUTTON.replace('shut', 'top')}}}\n")
    assert only_error(text) == (
        f"{LINE + 1}: covers.gate.button: expected a pin of its own, got opener,"
        " which cover door has"
    )
    text = with_cover(BUTTON).replace("  door:", "  top:")
    assert only_error(text).startswith(f"{LINE}: covers.top: expected another name than that of")


@pytest.mark.parametrize(
    ("section", "where"),
    [
        ("rules: {hall: {when: top, turn_on: up}}", "rules.hall.turn_on"),
        ("rules: {hall: {when: top, pulse: opener}}", "rules.hall.pulse"),
        ("schedules: {day: {pin: up, from: 06:00, to: 06:01}}", "schedules.day.pin"),
        ("schedules: {day: {at: 06:00, turn_off: [dim, down]}}", "schedules.day.turn_off"),
        ("hooks: {gate: {pin: opener, do: pulse}}", "hooks.gate.pin"),
    ],
)
def test_nothing_else_switches_its_outputs(section: str, where: str) -> None:
    """A rule, a schedule or a hook on an output of a cover is an error in its line."""
    text = with_cover(BUTTON, more=f"  blind: {{{MOTOR}}}\n{section}\n")
    error = only_error(text)
    assert error.startswith(f"{LINE + 2}: {where}: expected an output of no cover, got ")
    assert read(with_cover(BUTTON, more="rules: {hall: {when: opener, turn_on: up}}\n")).rules


def test_a_contact_that_is_read_the_wrong_way():
    """A contact at the open end with the kind of a door would be 1 while it is not there."""
    pins = PINS.replace("top:    {gpio: 16,", "top:    {gpio: 16, kind: gate,")
    read(with_cover(f"{BUTTON}, opened: top", pins), warnings=(warnings := []))
    (warning,) = warnings
    assert str(warning).startswith(f"config.yaml:{LINE}: covers.door.opened: top is 1 while its")
    read(with_cover(f"{BUTTON}, opened: top"), warnings=(warnings := []))
    assert warnings == []


@pytest.mark.parametrize(
    ("gpio", "active", "others"),
    [
        (5, "high", "GPIO9 to GPIO27"),
        (8, "high", "GPIO9 to GPIO27"),
        (9, "low", "GPIO4 to GPIO8"),
        (8, "low", ""),
        (9, "high", ""),
    ],
)
@pytest.mark.parametrize(("key", "keys"), [("button", BUTTON), ("up", MOTOR)])
def test_an_output_that_is_on_while_the_pi_starts(gpio, active, others, key, keys):
    """GPIO0 to GPIO8 are high until the server runs, the others low. An output of a cover that is
    on then could move it."""
    name, line = ("opener", 22) if key == "button" else ("up", 27)
    pins = PINS.replace(f"gpio: {line},", f"gpio: {gpio}, active: {active},")
    read(with_cover(keys, pins), warnings=(warnings := []))
    if not others:
        assert warnings == []
        return
    (warning,) = warnings
    message = (
        f"expected an output that is off while the Pi starts, got {name} with active: {active}"
    )
    assert str(warning) == (
        f"config.yaml:{LINE}: covers.door.{key}: {message} on GPIO{gpio},"
        f" which may move the cover then; connect it to one of {others}"
    )


def test_texts_of_covers():
    """A label that YAML cuts is told, as with pins."""
    text = PINS + "covers:\n  door:\n    label: Tor #2\n    travel: 5\n    button: opener\n"
    read(text + "    closed: shut\n", warnings=(warnings := []))
    assert "the label ends before #" in str(warnings[0])
