"""Rules in a house: one story for each thing that docs/automation.md says of them.

tests/automation/test_stateful_rules.py compares them with an oracle over random events."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from raspi_server.gpio.claims import Level
from tests.support.wired_house import WiredHouse

PINS = """
location: {latitude: 48.1, longitude: 11.6}
pins:
  motion: {gpio: 4, mode: input}
  stairs: {gpio: 14, mode: input}
  door: {gpio: 15, mode: input}
  button: {gpio: 17, mode: input, kind: button}
  lamp: {gpio: 5, mode: output}
  hall: {gpio: 6, mode: output}
  gate: {gpio: 12, mode: output, pulse: 0.5}
  pump: {gpio: 13, mode: output}
  porch: {gpio: 18, mode: pwm, initial: 0.25}
"""
Build = Callable[[str], WiredHouse]


@pytest.fixture
def build(tmp_path: Path) -> Iterator[Build]:
    """`build(rules)`: a house with these rules, a line for each."""
    houses: list[WiredHouse] = []

    def build(rules: str) -> WiredHouse:
        houses.append(WiredHouse(with_rules(rules), tmp_path))
        return houses[-1]

    yield build
    for house in houses:
        house.close()


def with_rules(rules: str, pins: str = PINS) -> str:
    lines = [line.strip() for line in rules.strip().splitlines()]
    return "\n  ".join([f"{pins}rules:", *lines]) + "\n"


# A wall button


def test_wall_button_needs_nothing_else(build):
    """A button toggles a lamp with nothing but the board: no server, no network, no broker. The
    lamp's line is driven at the moment at which the press has been held for its debounce."""
    house = build("wall: {when: button, press: short, toggle: lamp}")
    line = house.factory.pin(5)
    for level in (1, 0, 1):
        pressed = house.loop.time()
        house.board["button"].device.drive(1)
        house.wait(0.0299)
        assert line.state != level
        house.wait(0.0001)
        assert line.state == level
        assert house.loop.time() == pytest.approx(pressed + 0.03)
        house.turn("button", 0)
        house.wait(1)


def test_bouncing_contact_is_one_press(build):
    """A contact of the kind button that bounces for less than 0.03 s is pressed once."""
    house = build("wall: {when: button, press: short, toggle: lamp}")
    for value in (1, 0, 1, 0, 1):
        house.turn("button", value)
        house.wait(0.005)
    assert house["lamp"] == 0
    house.wait(0.03)
    assert [(each.pin, each.value) for each in house.changes] == [("button", 1), ("lamp", 1)]


def test_short_long_and_double_press_of_one_button(build):
    """One button has three rules: a tap, a long press while it is held, a second tap soon after."""
    house = build("""
tap: {when: button, press: short, toggle: lamp}
two: {when: button, press: double, set: {porch: 0.5}}
all_off: {when: button, press: long, turn_off: [lamp, porch]}
""")
    house.press("button")
    assert house["lamp"] == 0
    house.wait(0.35)
    assert house["lamp"] == 1
    house.press("button")
    house.press("button")
    assert (house["lamp"], house["porch"]) == (1, 0.5)
    house.wait(1)
    house.turn("button", 1)
    house.wait(0.9)
    assert (house["lamp"], house["porch"]) == (0, 0)


def test_second_tap_counts_although_it_is_heard_of_later(build):
    """A second tap within 0.35 s is a double press, although its debounce ends after that."""
    house = build("""
tap: {when: button, press: short, toggle: lamp}
two: {when: button, press: double, toggle: hall}
""")
    house.turn("button", 1)
    house.wait(0.1)
    house.turn("button", 0)
    house.wait(0.34)
    house.turn("button", 1)
    house.wait(0.1)
    assert (house["lamp"], house["hall"]) == (0, 1)


def test_light_on_the_stairs_stays_on_after_a_press(build):
    """A press with hold is on for that long after the release, and again after the next press."""
    house = build("stairs: {when: button, press: short, turn_on: lamp, hold: 60}")
    house.press("button", 5)
    house.wait(50)
    house.press("button")
    house.wait(59)
    assert house["lamp"] == 1
    house.wait(2)
    assert house["lamp"] == 0
    house.press("button")
    house.switch("lamp", 0)
    house.press("button")
    assert house["lamp"] == 1
    house.turn("button", 1)
    house.wait(5)
    assert house["lamp"] == 1
    house.lose("button")
    assert house["lamp"] == 0


def test_hold_of_a_press_that_acts_after_its_release(build):
    """Beside a double press, a short one acts 0.35 s after its release, and its hold counts from
    then. A window that closes ends it for good."""
    house = build("""
stairs: {when: button, press: short, turn_on: lamp, hold: 60, only: {from: sunset, to: sunrise}}
other: {when: button, press: double, toggle: hall}
""")
    house.open("sunset")
    house.press("button")
    house.wait(1)
    assert house["lamp"] == 1
    house.wait(58)
    assert house["lamp"] == 1
    house.wait(2)
    assert house["lamp"] == 0
    house.press("button")
    house.wait(1)
    house.shut("sunset")
    house.open("sunset")
    assert house["lamp"] == 0


# Actions


def test_each_action_takes_one_pin_or_a_list(build):
    """turn_on, turn_off, toggle, set and pulse switch one pin or several. A toggled list goes off
    if any of it is on, else on."""
    house = build("""
on: {when: motion, turn_on: [lamp, hall]}
off: {when: stairs, turn_off: lamp, set: {porch: 0.75, pump: 1}}
both: {when: door, toggle: [lamp, hall], pulse: gate}
""")
    house.turn("motion", 1)
    assert (house["lamp"], house["hall"]) == (1, 1)
    house.turn("stairs", 1)
    assert (house["lamp"], house["porch"], house["pump"]) == (0, 0.75, 1)
    house.turn("door", 1)
    assert (house["lamp"], house["hall"], house["gate"]) == (0, 0, 1)
    house.turn("door", 0)
    house.wait(1)
    assert house["gate"] == 0
    house.turn("door", 1)
    assert (house["lamp"], house["hall"], house["gate"]) == (1, 1, 1)


def test_toggle_inverts_what_is_there(build):
    """toggle inverts the present value, whoever gave it. A dimmed lamp returns to its level."""
    house = build("wall: {when: motion, toggle: porch}")
    for value in (0, 0.25):
        house.turn("motion", 1)
        house.turn("motion", 0)
        assert house["porch"] == value
    house.switch("porch", 0.75)
    for value in (0, 0.75):
        house.turn("motion", 1)
        house.turn("motion", 0)
        assert house["porch"] == value


def test_gate_that_is_unavailable_is_not_pressed_later(build):
    """A pulse for an output that is unavailable is left out: nobody waits for it any more."""
    house = build("open: {when: motion, pulse: gate}")
    house.lose("gate")
    house.turn("motion", 1)
    house.find("gate")
    assert house["gate"] == 0


def test_edge_ends_what_was_switched_by_hand(build):
    """A person wins until the next event of a rule on this pin. What an edge switched ends with
    `auto`, and what a rule holds goes on below it."""
    house = build("""
hall: {when: motion, turn_on: lamp, hold: 60}
wall: {when: door, toggle: lamp}
""")
    house.turn("motion", 1)
    house.switch("lamp", 0)
    house.turn("stairs", 1)
    assert house["lamp"] == 0
    house.turn("door", 1)
    assert house["lamp"] == 1
    house.turn("door", 0)
    house.turn("door", 1)
    assert house["lamp"] == 0
    house.automatic("lamp")
    assert house["lamp"] == 1


# Lists, windows, holds


def test_any_pin_of_a_list_counts(build):
    """while lasts as long as any of its pins is on; when acts at the edge of each of them."""
    house = build("""
dry: {while: [motion, stairs], turn_on: pump}
bell: {when: [motion, stairs], toggle: lamp}
""")
    house.turn("motion", 1)
    house.turn("stairs", 1)
    assert (house["pump"], house["lamp"]) == (1, 0)
    house.turn("motion", 0)
    assert house["pump"] == 1
    house.turn("stairs", 0)
    assert (house["pump"], house["lamp"]) == (0, 0)


def test_hold_counts_from_the_end_of_motion(build):
    """The hall light stays on for as long as there is motion, and 180 s after its end. Motion
    meanwhile goes on with it, and is no new beginning: by hand it stays off until all is quiet."""
    house = build("hall: {when: motion, turn_on: lamp, hold: 180}")
    house.turn("motion", 1)
    house.wait(1000)
    house.turn("motion", 0)
    house.wait(179)
    house.switch("lamp", 0)
    house.turn("motion", 1)
    house.turn("motion", 0)
    assert house["lamp"] == 0
    house.wait(181)
    house.turn("motion", 1)
    assert house["lamp"] == 1


LIMITED = PINS.replace("gpio: 6, mode: output", "gpio: 6, mode: output, max_on: 2")


@pytest.mark.parametrize(("key", "more"), [("when", ""), ("while", ""), ("when", ", for: 1")])
def test_limit_cuts_a_hold_until_its_input_goes_on_again(build, key, more):
    """What max_on has cut is on again when the input goes off and on within the hold, over a
    restart, too. The other outputs go on, so what a person switched there stays."""
    rule = f"r: {{{key}: door, turn_on: [lamp, hall], hold: 30{more}}}"
    house = build(rule)
    house.reload(with_rules(rule, LIMITED))
    house.turn("door", 1)
    house.wait(1.5)
    house.switch("lamp", 0)
    house.turn("door", 0)
    house.wait(4)
    assert house["hall"] == 0
    house.turn("door", 1)
    house.wait(1.5)
    assert (house["lamp"], house["hall"]) == (0, 1)
    house.wait(2)
    assert house["hall"] == 0
    house.stop()
    house.wait(1)
    house.start(on=("door",))
    assert house["hall"] == 0
    house.turn("door", 0)
    house.wait(29)
    house.turn("door", 1)
    house.wait(1.5)
    assert house["hall"] == 1


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_what_a_limit_has_cut_stays_off_over_a_restart(build, end):
    """A restart is no new beginning, whether a rule follows an input or an output, whose value is
    known later. When the input or the output goes off and on, it is one."""
    rules = """
        r: {while: door, turn_on: hall}
        q: {while: pump, turn_on: lamp}"""
    pins = LIMITED.replace("gpio: 5, mode: output", "gpio: 5, mode: output, max_on: 2")
    pins = pins.replace("gpio: 13, mode: output", "gpio: 13, mode: output, initial: keep")
    house = build(rules)
    house.reload(with_rules(rules, pins))
    house.turn("door", 1)
    house.switch("pump", 1)
    assert (house["hall"], house["lamp"]) == (1, 1)
    house.wait(3)
    assert (house["hall"], house["lamp"]) == (0, 0)
    getattr(house, end)()
    house.start(on=("door",))
    house.wait(1)
    assert (house["pump"], house["hall"], house["lamp"]) == (1, 0, 0)
    for value in (0, 1):
        house.turn("door", value)
        house.switch("pump", value)
    assert (house["hall"], house["lamp"]) == (1, 1)


SOURCES = PINS.replace("gpio: 5, mode: output", "gpio: 5, mode: output, max_on: 100").replace(
    "gpio: 13, mode: output", "gpio: 13, mode: output, initial: keep"
)
CHAINS = {
    "input": "r: {while: door, turn_on: [lamp, hall]}",
    "output": "r: {while: pump, turn_on: [lamp, hall]}",
    "chain": """
        r: {while: stairs_lamp, turn_on: [lamp, hall]}
        q: {while: pump, turn_on: stairs_lamp}""",
}
FOLLOWED = SOURCES.replace("gpio: 6, mode: output", "gpio: 6, mode: output, initial: keep")
FOLLOWED += "  stairs_lamp: {gpio: 7, mode: output}\n"


@pytest.mark.parametrize("end", ["stop", "kill"])
@pytest.mark.parametrize("rules", CHAINS.values(), ids=CHAINS)
def test_restart_is_the_same_for_rules_on_inputs_and_on_outputs(build, end, rules):
    """A rule claims before the first level of its outputs, also if it follows an output, or one
    that another rule switches. So what was switched off by hand with `keep` stays off, and max_on
    counts on: what it would have ended meanwhile stays off."""
    house = build("")
    house.reload(with_rules(rules, FOLLOWED))
    house.turn("door", 1)
    house.switch("pump", 1)
    house.wait(1)
    house.switch("hall", 0)
    house.wait(89)
    getattr(house, end)()
    house.wait(1)
    house.start(on=("door",))
    levels = [each.state for each in house.factory.pin(5).states]
    assert levels[1:] == [1]
    house.wait(8)
    assert (house["lamp"], house["hall"]) == (1, 0)
    house.wait(2)
    assert house["lamp"] == (0 if end == "kill" else 1)  # a stop has switched it off
    house.wait(60)
    getattr(house, end)()
    house.wait(60)
    house.start(on=("door",))
    house.wait(1)
    assert (house["lamp"], house["hall"]) == (0 if end == "kill" else 1, 0)
    assert [each.pin for each in house.changes] == []


def test_first_level_follows_an_output_that_goes_on_at_the_start(build):
    """After a power cut, too: the lamp follows an output with `initial: on` from its first level
    on. It does not follow one that its `max_on` has ended while the server was away."""
    pins = PINS.replace("gpio: 13, mode: output", "gpio: 13, mode: output, initial: on, max_on: 60")
    house = build("")
    house.reload(with_rules("r: {while: pump, turn_on: lamp}", pins))
    house.kill()
    house.start(boot="two")
    assert [each.state for each in house.factory.pin(5).states][1:] == [1]
    house.kill()
    house.wait(61)
    house.start(boot="two")
    assert [each.state for each in house.factory.pin(5).states][1:] == []


def test_master_valve_does_not_move_at_a_crash(build):
    """A crash in a zone's time: the master valve stays open, and its max_on counts on."""
    pins = PINS.replace("gpio: 13, mode: output", "gpio: 13, mode: output, max_on: 700")
    house = build("")
    house.reload(with_rules("master: {while: [lamp, hall], turn_on: pump, hold: 5}", pins))
    began, configure = house.loop.time(), house._claim_first

    def claim_first(board):
        board.claim("lamp", "zone", Level.SCHEDULE, 1, began, 600)
        configure(board)

    claim_first(house.board)
    house.wait(300)
    assert house["pump"] == 1
    house.kill()
    house.wait(1)
    house._claim_first = claim_first
    house.start()
    assert [each.state for each in house.factory.pin(13).states][1:] == [1]
    assert house.board["pump"].output.state.max_at == pytest.approx(began + 700, abs=0.1)


def test_output_of_a_group_that_goes_on_at_a_start_is_no_edge(build):
    """Its first value is no event, also if it goes on in a group without a pause."""
    group = "mode: output, group: g, group_pause: 0"
    pins = (
        PINS.replace("gpio: 13, mode: output", f"gpio: 13, {group}")
        + f"  up: {{gpio: 7, {group}}}\n"
    )
    house = build("")
    house.reload(
        with_rules(
            """
        r: {while: door, turn_on: pump}
        e: {when: pump, toggle: lamp}""",
            pins,
        )
    )
    house.turn("door", 1)
    assert (house["pump"], house["lamp"]) == (1, 1)
    house.stop()
    house.start(on=("door",))
    house.wait(1)
    assert (house["pump"], house["lamp"]) == (1, 0)


def test_schedule_that_began_below_a_rule_ends_no_command(build):
    """A window that began while the server was away changes nothing where a rule decides, also one
    that follows an output. So a command by hand comes back."""
    house = build("")
    house.reload(with_rules(CHAINS["output"], FOLLOWED))
    house.switch("pump", 1)
    house.switch("hall", 0)
    house.stop()
    configure = house._claim_first

    def claim_first(board):
        board.claim("hall", "evening", Level.SCHEDULE, 1, house.loop.time())
        configure(board)

    house._claim_first = claim_first
    house.start()
    assert house["hall"] == 0


def test_reload_that_opens_an_output_and_its_follower_ends_no_command(build):
    """What was switched off by hand stays off when a reload opens it and the output that its rule
    follows anew."""
    house = build("")
    house.reload(with_rules(CHAINS["output"], FOLLOWED))
    house.switch("pump", 1)
    house.switch("hall", 0)
    other = FOLLOWED.replace("initial: keep", "initial: keep, max_on: 900")
    house.reload(with_rules(CHAINS["output"], other))
    house.wait(1)
    assert (house["pump"], house["hall"]) == (1, 0)


def test_turn_off_ends_a_hold_until_its_input_goes_on_again(build):
    """What the turn_off of a schedule has ended is on again at the next edge within the hold. So is
    a pulse, and an input of a list counts only when all of them were off."""
    house = build("""
        r: {when: [door, motion], turn_on: [lamp, gate], hold: 30}""")
    house.turn("door", 1)
    house.board.relinquish("lamp", "schedule off", rules_too=True)
    house.wait(1)
    house.turn("motion", 1)
    house.turn("motion", 0)
    assert (house["lamp"], house["gate"]) == (0, 0)
    house.turn("door", 0)
    house.turn("motion", 1)
    assert (house["lamp"], house["gate"]) == (1, 1)


def test_hold_that_went_on_again_is_the_newer_one_after_a_restart(build):
    """A claim that went on again after a limit counts from then, after a restart, too."""
    rules = """
        r: {when: door, turn_on: hall, hold: 30}
        q: {when: motion, turn_off: hall, hold: 60}"""
    house = build(rules)
    house.reload(with_rules(rules, LIMITED))
    house.turn("door", 1)
    house.turn("door", 0)
    house.wait(3)
    house.turn("motion", 1)
    house.turn("door", 1)
    assert house["hall"] == 1
    house.kill()
    house.start(on=("door", "motion"))
    assert house["hall"] == 1


def test_master_valve_stays_open_between_zones(build):
    """hold after while bridges the gap between two zones: a rule may depend on outputs."""
    house = build("master: {while: [lamp, hall], turn_on: pump, hold: 5}")
    house.switch("lamp", 1)
    assert house["pump"] == 1
    house.switch("lamp", 0)
    house.wait(4)
    house.switch("hall", 1)
    house.wait(60)
    house.switch("hall", 0)
    house.wait(4)
    assert [each.value for each in house.changes if each.pin == "pump"] == [1]
    house.wait(2)
    assert house["pump"] == 0


def test_only_is_open_throughout_or_at_the_event(build):
    """while and hold last only as long as the window is open, and begin when it opens. At an edge
    the window counts then; what that switched stays."""
    house = build("""
night: {while: motion, turn_on: lamp, only: {from: sunset, to: sunrise}}
edge: {when: motion, turn_on: hall, only: {from: sunset, to: sunrise}}
""")
    house.turn("motion", 1)
    assert (house["lamp"], house["hall"]) == (0, 0)
    house.open("sunset")
    assert (house["lamp"], house["hall"]) == (1, 0)
    house.turn("motion", 0)
    house.turn("motion", 1)
    assert (house["lamp"], house["hall"]) == (1, 1)
    house.shut("sunset")
    assert (house["lamp"], house["hall"]) == (0, 1)


# What is no edge


def test_first_value_is_no_edge(build):
    """A pin that is on at the start has no edge, and a button that is held then does nothing until
    it is released. while is worked out from what is there, before the first level of the line."""
    house = build("""
wall: {when: button, press: short, toggle: lamp}
edge: {when: motion, turn_on: hall}
dry: {while: motion, turn_on: pump}
""")
    house.stop()
    house.start(on=("motion", "button"))
    assert [state.state for state in house.factory.pin(13).states][-1] == 1
    assert (house.changes, house["lamp"], house["hall"], house["pump"]) == ([], 0, 0, 1)
    house.turn("button", 0)
    house.wait(1)
    assert house["lamp"] == 0
    house.press("button")
    assert house["lamp"] == 1


def test_lost_input_ends_what_hangs_on_it(build):
    """An input that becomes unavailable ends while, for and hold. Its return is no edge: while is
    worked out anew, and for counts from then."""
    house = build("""
dry: {while: motion, turn_on: pump, hold: 100}
late: {when: motion, for: 10, turn_on: lamp}
edge: {when: motion, toggle: hall}
""")
    house.turn("motion", 1)
    house.wait(9)
    house.lose("motion")
    house.wait(5)
    assert (house["pump"], house["lamp"], house["hall"]) == (0, 0, 1)
    house.find("motion")
    assert (house["pump"], house["lamp"], house["hall"]) == (1, 0, 1)
    house.wait(9)
    assert house["lamp"] == 0
    house.wait(2)
    assert (house["lamp"], house["hall"]) == (1, 1)
    house.turn("motion", 0)
    assert house["pump"] == 1
    house.lose("motion")
    assert house["pump"] == 0
    house.find("motion")
    assert house["pump"] == 0


# Restarts


def test_door_left_open_counts_over_a_restart(build):
    """for counts from the last change of the input in the same boot, else from the start. It acts
    once for each time that the door is open."""
    house = build("forgotten: {when: door, for: 600, toggle: lamp}")
    house.turn("door", 1)
    house.wait(300)
    house.stop()
    house.wait(100)
    house.start(on=("door",))
    house.wait(199)
    assert house["lamp"] == 0
    house.wait(2)
    assert house["lamp"] == 1
    house.stop()
    house.start(on=("door",))
    house.wait(601)
    assert house["lamp"] == 0
    house.kill()
    house.start(on=("door",), boot="two")
    house.wait(599)
    assert house["lamp"] == 0
    house.wait(2)
    assert house["lamp"] == 1


def test_door_left_open_while_the_server_was_away(build):
    """If the ten minutes pass while the server is away, the rule acts at the start. It presses
    nothing that fell due more than a minute ago: nobody expects that any more."""
    house = build("forgotten: {when: door, for: 600, pulse: gate, turn_on: lamp}")
    for away, gate in ((330, 1), (400, 0)):
        house.turn("door", 1)
        house.wait(300)
        house.kill()
        house.wait(away)
        house.start(on=("door",))
        assert (house["gate"], house["lamp"]) == (gate, 1)
        house.switch("lamp", 0)
        house.turn("door", 0)


@pytest.mark.parametrize("dies", [False, True])
def test_hold_goes_on_to_its_original_end(build, dies):
    """Over a restart or a crash a hold goes on to its end. A power cut ends it, unless the input is
    active then."""
    house = build("hall: {when: motion, turn_on: lamp, hold: 180}")
    end = house.kill if dies else house.stop
    house.turn("motion", 1)
    house.turn("motion", 0)
    house.wait(100)
    end()
    house.wait(50)
    house.start()
    assert house["lamp"] == 1
    house.wait(29)
    assert house["lamp"] == 1
    house.wait(2)
    assert house["lamp"] == 0
    house.turn("motion", 1)
    house.turn("motion", 0)
    house.wait(1)
    house.kill()
    house.start(boot="two")
    assert house["lamp"] == 0
    house.kill()
    house.start(on=("motion",), boot="three")
    assert house["lamp"] == 1


def test_motion_that_ended_while_the_server_was_away(build):
    """Motion that was over at the start ended when the server was stopped, at the latest."""
    house = build("hall: {when: motion, turn_on: lamp, hold: 180}")
    house.turn("motion", 1)
    house.wait(1000)
    house.stop()
    house.wait(3600)
    house.start()
    assert house["lamp"] == 0
    house.turn("motion", 1)
    house.wait(5)
    house.stop()
    house.wait(60)
    house.start()
    assert house["lamp"] == 1
    house.wait(121)
    assert house["lamp"] == 0


def test_reload_does_not_touch_what_did_not_change(build):
    """A rule that stays goes on; one with another hold is worked out anew, without a flicker; one
    that goes ends its claims. A `for` that a new rule would have had in the past is no event."""
    house = build("""
hall: {when: motion, turn_on: lamp, hold: 180}
dry: {while: door, turn_on: pump}
edge: {when: motion, turn_on: hall}
""")
    house.turn("door", 1)
    house.turn("motion", 1)
    house.turn("motion", 0)
    house.wait(100)
    house.changes.clear()
    house.reload(
        with_rules("""
hall: {when: motion, turn_on: lamp, hold: 300}
dry: {while: door, turn_on: pump}
late: {when: door, for: 50, turn_on: porch}
later: {when: door, for: 150, turn_on: gate}
""")
    )
    assert [(each.pin, each.value) for each in house.changes] == [("hall", 0)]
    house.wait(60)
    assert [(each.pin, each.value) for each in house.changes[1:]] == [("gate", 1), ("gate", 0)]
    house.wait(139)
    assert (house["lamp"], house["pump"]) == (1, 1)
    house.wait(2)
    assert house["lamp"] == 0


# Storms


def test_rule_in_a_storm_is_parked(build, caplog):
    """A rule that changes a pin more than 20 times in 10 s is parked and its claims end, until a
    reload or `resume`, from which the changes count anew. Slower changes go on."""
    house = build("dry: {while: motion, turn_on: pump}")
    for _ in range(50):
        house.turn("motion", 1)
        house.wait(0.5)
        house.turn("motion", 0)
        house.wait(0.5)
    assert house.engine.parked == set()
    house.wait(10)
    house.changes.clear()
    for _ in range(30):
        house.turn("motion", 1)
        house.turn("motion", 0)
    assert [each.value for each in house.changes if each.pin == "pump"] == [1, 0] * 11
    assert house.engine.parked == {"dry"}
    assert "rule dry is parked: pump changed more than 20 times in 10 s" in caplog.text
    house.turn("motion", 1)
    assert house["pump"] == 0
    house.engine.resume("dry")
    house.turn("motion", 0)
    house.turn("motion", 1)
    assert (house["pump"], house.engine.parked) == (1, set())


def test_reload_lifts_a_parked_rule(build):
    """A reload lets a parked rule act again, although its keys are the same."""
    house = build("dry: {while: motion, turn_on: pump}")
    for _ in range(11):
        house.turn("motion", 1)
        house.turn("motion", 0)
    house.turn("motion", 1)
    assert (house["pump"], house.engine.parked) == (0, {"dry"})
    house.reload(with_rules("dry: {while: motion, turn_on: pump}"))
    assert (house["pump"], house.engine.parked) == (1, set())


def test_paused_rule_rests(build):
    """A paused rule ends its claims and acts at nothing, until it is resumed."""
    house = build("""
dry: {while: motion, turn_on: pump}
edge: {when: motion, turn_on: lamp}
""")
    house.turn("motion", 1)
    house.engine.pause("dry")
    house.engine.pause("edge")
    assert (house["pump"], house["lamp"], house.engine.paused) == (0, 0, {"dry", "edge"})
    house.turn("motion", 0)
    house.turn("motion", 1)
    assert (house["pump"], house["lamp"]) == (0, 0)
    house.engine.resume("dry")
    house.engine.resume("edge")
    assert (house["pump"], house["lamp"]) == (1, 0)
