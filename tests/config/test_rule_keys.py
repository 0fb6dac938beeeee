"""Rules in config.yaml: rejected ones, each with its errors, beside accepted ones."""

import pytest

from tests.config.reading import NAME, errors, one_pin, read

PINS = """
pins:
  motion: {gpio: 4, mode: input}
  button: {gpio: 17, mode: input, kind: button}
  lamp: {gpio: 5, mode: output}
  fan: {gpio: 6, mode: output, control: nobody}
  gate: {gpio: 12, mode: output, pulse: 0.5, confirm: true}
  up: {gpio: 7, mode: output, group: blind}
  down: {gpio: 8, mode: output, group: blind}
  porch: {gpio: 18, mode: pwm}
  opener: {gpio: 22, mode: output, pulse: 0.5}
  shut: {gpio: 23, mode: input, kind: garage_door}
  above: {gpio: 24, mode: input}
  s_up: {gpio: 9, mode: output, group: shutter, group_pause: 0.5}
  s_down: {gpio: 10, mode: output, group: shutter, group_pause: 0.5}
covers:
  garage: {button: opener, closed: shut, opened: above, travel: 15, confirm: true}
  shutter: {up: s_up, down: s_down, travel: 20}
location: {latitude: 48.1, longitude: 11.6}
"""
NAMES = "the name of a pin, or a list such as [lamp, porch]"
VALUES = "values of pins such as {porch: 0.4}"
GOALS = "goals of covers such as {garage: close}"
NO_MESSAGES = "this release sends no messages; a rule with for can switch an output"
NOT_LASTING = "expected turn_on, turn_off or set with"
CONFIRM = "has confirm: true and a rule asks nobody; write unattended: true"
TIME = "a time such as 06:30, 23:00 or sunset+00:20"

RULES = [
    # What a rule depends on
    ("turn_on: lamp", "when: motion, turn_on: lamp",
     [f"when: expected {NAMES}, got neither when nor while"]),
    ("when: motion, while: button, turn_on: lamp", "while: [motion, lamp], turn_on: porch",
     ["while: expected when (at a change) or while (as long as a pin is on), got both"]),
    ("when: moton, turn_on: lamp", "when: lamp, turn_on: porch",
     ["when: expected a pin, got moton, which is no pin (did you mean motion?)"]),
    ("while: [], turn_on: lamp", "while: [motion], turn_on: lamp",
     [f"while: expected {NAMES}, got an empty list"]),
    ("when: {motion: 1}, turn_on: lamp", "when: [motion, button], turn_on: lamp",
     [f"when: expected {NAMES}, got a mapping"]),
    ("when: [motion, 3], turn_on: lamp", "when: [motion], turn_on: [lamp]",
     [f"when: expected {NAME}, got 3"]),
    ("when: [motion, motion], turn_on: lamp", "when: [motion, button], turn_on: lamp",
     ['when: expected each pin once, got "motion" in line 2 already']),
    ("when: lamp, press: short, toggle: porch", "when: [button, motion], press: long, toggle: lamp",
     ["when: expected an input with press, got lamp, which is an output"]),
    ("when: button, press: twice, toggle: lamp", "when: button, press: double, toggle: lamp",
     ['press: expected short, long or double, got "twice" (did you mean double?)']),
    ("while: button, press: long, turn_on: lamp", "while: button, for: 2, turn_on: lamp",
     ["while: expected only without press, got it with press"]),
    ("when: button, press: long, for: 2, turn_on: lamp", "when: button, for: 2min, turn_on: lamp",
     ["for: expected only without press, got it with press; press: long is a press of 0.8"
      " seconds"]),
    ("when: motion, hold: 0, turn_on: lamp", "when: motion, hold: 3min, turn_on: lamp",
     ["hold: expected a number of seconds from 0.01 to 86400, got 0"]),
    ("when: motion, turn_on: lamp, only: sunset",
     "when: motion, turn_on: lamp, only: {from: sunset, to: 24:00}",
     ['only: expected a window such as {from: sunset, to: 23:00}, got "sunset"']),
    ("when: motion, turn_on: lamp, only: {from: 9}",
     "when: motion, turn_on: lamp, only: {from: 09:00, to: sunset+00:30}",
     [f"only.from: expected {TIME}, got 9 (write 09:00)",
      f"only.to: expected {TIME}, got nothing"]),
    # What it does
    ("when: motion", "when: motion, pulse: gate, unattended: true",
     ["turn_on: expected at least one of turn_on, turn_off, toggle, set, pulse or move, got none;"
      " write turn_on: lamp, for example"]),
    ("when: motion, turn_on: [button, lmp]", "when: motion, turn_off: [lamp, fan, porch]",
     ["turn_on: expected an output or a pwm pin, got button, which is an input",
      "turn_on: expected an output or a pwm pin, got lmp, which is no pin (did you mean lamp?)"]),
    ("when: motion, turn_on: [lamp, fan], toggle: lamp", "when: motion, turn_on: lamp, toggle: fan",
     ["toggle: expected one action for lamp, got turn_on, too"]),
    ("while: motion, toggle: lamp", "while: motion, turn_off: lamp, set: {porch: 0.5}",
     [f"toggle: {NOT_LASTING} while, got toggle; write when in place of while"]),
    ("when: motion, hold: 5, pulse: gate", "when: motion, hold: 5, set: {porch: 0.5}",
     [f"pulse: {NOT_LASTING} hold, got pulse, which cannot last"]),
    ("when: motion, pulse: [porch, lamp]", "when: motion, pulse: [gate], unattended: true",
     ["pulse: expected an output with pulse, got porch, which is a pwm pin; write turn_on and hold",
      "pulse: expected an output with pulse, got lamp, which has no pulse of its own"]),
    ("when: motion, set: {}", "when: motion, set: {porch: 0.4, lamp: 1}",
     [f"set: expected {VALUES}, got {{}}"]),
    ("when: motion, set: [porch]", "when: motion, set: [{porch: 0.4}, {lamp: 0}]",
     [f'set: expected {VALUES}, got "porch"']),
    ("when: motion, set: []", "when: motion, set: [{porch: 1}]",
     [f"set: expected {VALUES}, got an empty list"]),
    ("when: motion, set: {porch: 40}", "when: motion, set: {porch: 0.4}",
     ["set: expected a number from 0 to 1, got 40 (40 percent is 0.4)"]),
    ("when: motion, set: {lamp: 0.4}", "when: motion, set: {lamp: 1}",
     ["set: expected 0 or 1 for lamp, got 0.4; only a pwm pin can be dimmed"]),
    ("when: motion, turn_on: [up, down]", "when: motion, turn_on: up, turn_off: down",
     ["turn_on: expected one output of group blind, got down and up: at most one of them is on"]),
    ("when: motion, pulse: gate", "when: motion, pulse: gate, unattended: true",
     [f"unattended: expected true, since gate {CONFIRM}"]),
    # Covers
    ("when: garage, press: short, toggle: lamp", "when: [garage, motion], for: 5, turn_on: lamp",
     ["when: expected an input with press, got garage, which is a cover"]),
    ("while: garge, turn_on: lamp", "while: [shutter, garage], turn_on: lamp",
     ["while: expected a pin, got garge, which is no pin (did you mean garage?)"]),
    ("when: motion, move: {garage: close}",
     "when: motion, move: {garage: close, shutter: 40}, unattended: true",
     [f"unattended: expected true, since garage {CONFIRM}"]),
    ("when: motion, move: {garage: 40}, unattended: true",
     "when: motion, move: [{garage: open}, {shutter: 40.5}], unattended: true",
     ["move: expected open or close, got 40: garage has one button, and so no position"]),
    ("when: motion, move: {shutter: 101}", "when: motion, move: {shutter: 100}",
     ["move: expected open or close or a number from 0 to 100, got 101"]),
    ("when: motion, move: shutter", "when: motion, move: {shutter: open}",
     [f'move: expected {GOALS}, got "shutter"']),
    ("when: motion, move: [{shutter: open}, {shutter: close}]", "when: motion, move: {shutter: 0}",
     ['move: expected each cover once, got "shutter" in line 2 already']),
    ("when: motion, move: {lamp: open, shuter: close, shut: close}",
     "when: motion, move: {shutter: close}, turn_on: lamp",
     ["move: expected a cover, got lamp, which is an output",
      "move: expected a cover, got shuter, which is no cover (did you mean shutter?)",
      "move: expected a cover, got shut, which is an input; write garage, the cover that has it"]),
    ("when: motion, turn_on: shutter", "when: motion, move: {shutter: open}",
     ["turn_on: expected an output or a pwm pin, got shutter, which is a cover;"
      " write move: {shutter: close}"]),
    ("when: motion, pulse: opener", "when: opener, turn_on: lamp",
     ["pulse: expected an output of no cover, got opener, which is one of garage;"
      " write move: {garage: close}"]),
    ("while: motion, move: {shutter: close}", "when: motion, move: {shutter: close}",
     [f"move: {NOT_LASTING} while, got move, which happens once; write when in place of while"]),
    ("when: motion, hold: 5, move: {shutter: 0}", "when: motion, for: 5, move: {shutter: 0}",
     [f"move: {NOT_LASTING} hold, got move, which happens once; leave out hold"]),
    # What comes later, and what there is not
    ("when: motion, notify: [phones], repeat: 1800, done: Closed",
     "when: motion, for: 600, turn_on: lamp",
     [f"notify: expected no notify: {NO_MESSAGES}", f"repeat: expected no repeat: {NO_MESSAGES}",
      f"done: expected no done: {NO_MESSAGES}"]),
    ("when: motion, turnon: lamp, turn_on: lamp", "when: motion, turn_on: lamp",
     ["turnon: expected one of the keys when, while, press, for, hold, only, turn_on, turn_off,"
      " toggle, set, pulse, move, unattended (did you mean turn_on?)"]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("rejected", "accepted", "expected"), RULES, ids=[rejected for rejected, _, _ in RULES]
)
def test_rule_that_is_rejected_beside_one_that_is_accepted(rejected, accepted, expected):
    """Each mistake in a rule is told with its line, its key, and what was expected."""
    found = errors(f"rules:\n  hall: {{{rejected}}}{PINS}")
    assert found == [f"config.yaml:2: rules.hall.{error}" for error in expected]
    assert list(read(f"rules:\n  hall: {{{accepted}}}{PINS}").rules) == ["hall"]


def test_errors_of_rules_have_the_lines_of_their_names():
    """All mistakes are told at once, each in the line of the name that is wrong."""
    text = """rules:
  Hall: {when: motion, turn_on: lamp}
  wall:
    when:
      - button
      - buton
    turn_on:
      - lamp
      - motion
    set:
      fan: 1
      porc: 0.5
"""
    (error,) = errors(text + PINS)
    assert error == f'config.yaml:2: rules.Hall: expected {NAME}, got "Hall"'
    assert errors(text.replace("Hall", "hall") + PINS) == [
        "config.yaml:6: rules.wall.when: expected a pin, got buton, which is no pin"
        " (did you mean button?)",
        "config.yaml:9: rules.wall.turn_on: expected an output or a pwm pin, got motion, which is"
        " an input",
        "config.yaml:12: rules.wall.set: expected an output or a pwm pin, got porc, which is no pin"
        " (did you mean porch?)",
    ]
    assert len(errors("rules:\n  a:\n  b: lamp\n  c: {}\n")) == 5


CIRCLE = "expected rules that do not start each other in a circle:"
CIRCLES = [
    ("a: {when: lamp, turn_on: fan}", "b: {while: [motion, fan], turn_off: lamp}",
     "3: rules.b",
     "a (line 2) switches fan when lamp changes, and b (line 3) switches lamp when fan changes"),
    ("a: {when: motion, turn_on: lamp}", "b: {when: lamp, toggle: [lamp, fan]}",
     "3: rules.b", "b (line 3) switches lamp when lamp changes"),
    ("a: {while: up, turn_on: fan}", "b: {while: fan, turn_on: down}",
     "3: rules.b", "a (line 2) switches fan when up changes, and b (line 3) switches down, in the"
     " group of up, when fan changes"),
    ("a: {when: garage, turn_on: fan}", "b: {when: fan, move: {garage: open}, unattended: true}",
     "3: rules.b",
     "a (line 2) switches fan when garage changes, and b (line 3) moves garage when fan changes"),
    ("a: {when: above, move: {shutter: 40}}",
     "b: {when: s_down, move: {garage: open}, unattended: true}",
     "3: rules.b", "a (line 2) moves shutter, which has s_down, when above changes, and b (line 3)"
     " moves garage, which has above, when s_down changes"),
    ("a: {when: s_up, move: {shutter: close}}", "b: {when: s_down, move: {shutter: open}}",
     "3: rules.b", "a (line 2) moves shutter, which has s_down, when s_up changes, and b (line 3)"
     " moves shutter, which has s_up, when s_down changes"),
]  # fmt: skip


@pytest.mark.parametrize(("first", "second", "place", "words"), CIRCLES)
def test_circle_through_outputs_is_rejected(first, second, place, words):
    """Rules that would start each other for ever are rejected, with the lines of all of them."""
    assert errors(f"rules:\n  {first}\n  {second}{PINS}") == [
        f"config.yaml:{place}: {CIRCLE} {words}"
    ]
    chain = ["a: {when: lamp, turn_on: fan}", "b: {while: fan, turn_on: up}"]
    chain += ["c: {when: [fan, up], toggle: porch}"]
    assert len(read("\n  ".join(["rules:", *chain]) + PINS).rules) == 3
    for off in ("turn_off: down", "set: {down: 0}"):  # that lets nothing of its group go on
        assert len(read(f"rules:\n  a: {{while: up, {off}}}{PINS}").rules) == 1


def test_a_cover_that_closes_starts_nothing():
    """What closes goes off, which is no event: a rule may close what it depends on."""
    rules = ["a: {when: [garage, shut], for: 10min, move: {garage: close}, unattended: true}"]
    rules += ["b: {when: garage, turn_on: fan}", "c: {when: fan, move: {garage: close}}"]
    rules[-1] = rules[-1].replace("}}", "}, unattended: true}")
    assert len(read("\n  ".join(["rules:", *rules]) + PINS).rules) == 3


def test_the_cover_may_be_unattended_itself():
    """With `unattended` on the cover, rules, schedules and hooks need none of their own."""
    text = PINS.replace("confirm: true}\n  shutter", "confirm: true, unattended: true}\n  shutter")
    text += "rules: {a: {when: motion, move: {garage: open}}}\n"
    text += "schedules: {a: {cover: garage, at: 22:00, goal: close}}\n"
    text += "hooks: {a: {cover: garage, do: open}}\n"
    assert read(text).covers[0].unattended
    assert len(errors(text.replace(", unattended: true", ""))) == 3


def test_button_has_a_debounce():
    """An input of the kind button has a debounce of 0.03 s, unless it has one of its own."""
    assert one_pin("input", "kind: button").debounce == 0.03
    assert one_pin("input", "kind: button", "debounce: 0").debounce == 0
    assert one_pin("input", "kind: door").debounce == one_pin("input").debounce == 0
    assert one_pin("output", "kind: button", "pulse: 1").pulse == 1
