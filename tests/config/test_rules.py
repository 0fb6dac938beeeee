"""Rules for several keys, for pins and for groups: rejected configurations beside accepted ones."""

import pytest

from tests.config.reading import GPIO, NAME, errors, one_pin, pin_text, read

NEEDS_URL = "2: mqtt.url: expected a URL such as mqtt://HOST or mqtts://HOST:8883, got"

BROKERS = [
    ("user: me", "url: mqtt://b, user: me", [f"{NEEDS_URL} nothing"]),
    ("url: b, ca: c", "url: mqtt://b, topic: pi, fleet: false", [f'{NEEDS_URL} "b" (write mqtt://b)']),
    ("url: mqtt://b, password_file: p", "url: mqtt://b, password_file: p, user: me",
     ["3: mqtt.user: expected together with password_file, got nothing"]),
    ("url: mqtts://b, key: k", "url: mqtts://b, key: k, certificate: c",
     ["3: mqtt.certificate: expected together with key, got nothing"]),
    ("url: mqtts://b, certificate: c", "certificate: c, key: k, url: mqtts://b",
     ["3: mqtt.key: expected together with certificate, got nothing"]),
    ("url: mqtt://b, ca: c, certificate: c, key: k", "url: mqtts://b, ca: c",
     [f"{line}: mqtt.{key}: expected only with a url that begins with mqtts://"
      for line, key in ((3, "ca"), (4, "certificate"), (5, "key"))]),
    ("url: mqtt://b, topic: pi, fleet: true", "url: mqtt://b, topic: house/pi, fleet: true",
     ["3: mqtt.topic: expected two levels or more with fleet, such as house/pi, got pi"]),
]  # fmt: skip


@pytest.mark.parametrize(("rejected", "accepted", "expected"), BROKERS)
def test_keys_of_mqtt_that_belong_together(rejected, accepted, expected):
    """A broker needs a URL, a password a user, a certificate its key, and files of TLS mqtts."""
    found = errors("\n  ".join(["mqtt:", *rejected.split(", ")]))
    assert found == [f"config.yaml:{error}" for error in expected]
    assert read(f"mqtt: {{{accepted}}}").mqtt is not None


def test_pin_name_is_a_simple_word():
    """A pin's name has small letters, digits, _ and -. Another is rejected, and shown escaped."""
    for good in ("a", "on", "null", "lamp_2-x", "x" * 32):
        pin = one_pin("input", name=good)
        assert (pin.name, pin.label, str(pin)) == (good, good, f"{good} (GPIO17)")
    for name, shown in (
        ("2Lamp", '"2Lamp"'),
        ("x" * 33, f'"{"x" * 33}"'),
        ('"a\\n"', '"a\\n" (write a)'),
    ):
        error = f"config.yaml:2: pins.{name}: expected {NAME}, got {shown}"
        assert errors(pin_text("input", name=name)) == [error]


def test_pin_without_gpio_or_mode_is_rejected():
    """A pin without a GPIO or a valid mode is rejected, whatever other keys it has."""
    no_mode = "pins.lamp.mode: expected input, output or pwm, got nothing"
    assert errors("port: 1\npins:\n  lamp:\n") == [
        f"config.yaml:3: pins.lamp.gpio: expected {GPIO}, got nothing",
        f"config.yaml:3: {no_mode}",
    ]
    assert errors("pins:\n  lamp: {gpio: 4}\n") == [f"config.yaml:2: {no_mode}"]
    keys = ["initial: 0.5", "on_stop: keep", "pull: up", "frequency: 50"]
    for mode in ("", "mode: pmw", "mode: 1"):
        (error,) = errors("\n    ".join(["pins:\n  fan:", "gpio: 18", *keys, mode]))
        assert ": pins.fan.mode: expected input, output or pwm, got " in error


def test_two_pins_on_one_gpio_are_rejected():
    """Two pins never share a GPIO, whatever they call it. Pins keep the order of the file."""
    text = """
pins:
  lamp: {{gpio: 17, mode: output}}
  door: {{gpio: BOARD13, mode: input}}
  fan:
    mode: pwm
    gpio: {}
"""
    assert errors(text.format("BOARD11")) == [
        "config.yaml:7: pins.fan.gpio: expected a GPIO of its own, got GPIO17 (BOARD11),"
        " which lamp has in line 3"
    ]
    assert [pin.gpio for pin in read(text.format(18)).pins] == [17, 27, 18]


@pytest.mark.parametrize(("gpio", "number"), [(2, 2), ("BOARD5", 3)])
def test_inputs_with_a_fixed_pull_up_need_pull_up(gpio, number):
    """GPIO2 and GPIO3, with a pull-up on the board, are inputs only with `pull: up`."""
    reason = f"GPIO{number} has a pull-up on the board"
    assert errors(pin_text("input", "pull: down", gpio=gpio)) == [
        f"config.yaml:5: pins.lamp.pull: expected up, got down: {reason}"
    ]
    assert errors(pin_text("input", gpio=gpio)) == [
        f"config.yaml:2: pins.lamp.pull: expected up, got none: {reason}"
    ]
    assert one_pin("input", "pull: up", gpio=gpio).pull == "up"
    assert one_pin("output", gpio=gpio).gpio == one_pin("pwm", gpio=gpio).gpio == number
    for other in (1, 4):
        assert one_pin("input", "pull: down", gpio=other).gpio == other


MOTOR = """  up: {gpio: 26, mode: output, group: motor}
  down: {gpio: 27, mode: output, group: motor}
"""
STOPPED = "could not switch it off while the server is stopped; write on_stop: off"
CRASHED = "could not switch it off after a crash; write on_failure: off"
ALONE = "expected a name that two outputs or more have, got"

CONFLICTS = [
    ("output, pulse: 4, on_stop: keep", "output, on_stop: keep",
     f"expected off or input, got keep: pulse {STOPPED}"),
    ("output, pulse: 4, max_on: 9, on_failure: on", "output, on_failure: on",
     f"expected off or input, got on: pulse {CRASHED}"),
    ("pwm, max_on: 4, on_stop: on", "pwm, on_stop: on",
     f"expected off or input, got on: max_on {STOPPED}"),
    ("output, pulse: 4, initial: on", "output, max_on: 4, initial: on",
     "expected off, keep or restore, got on: every start would press it; write initial: off"),
    ("output, group: motor, on_stop: on", "output, group: motor, on_stop: keep",
     "expected off, keep or input, got on, which a group does not allow"),
    ("output, group: motor, max_on: 4, on_failure: on", "output, group: motor, on_failure: off",
     f"expected off or input, got on: max_on {CRASHED}"),
    ("output, group_pause: 2", "output, group: motor, group_pause: 2",
     "expected only beside group, got no group; write both or none"),
    ("output, group: motors", "output, group: motor",
     f"{ALONE} motors here only (did you mean motor?)"),
    ("output, group: blind", "output, group: motor",
     f"{ALONE} blind here only (one output alone needs no group)"),
]  # fmt: skip
"""Rejected keys of a pin beside accepted ones, and the error of the last rejected key."""


def lamp_beside_a_motor(keys):
    mode, *entries = keys.split(", ")
    return pin_text(mode, *entries) + MOTOR


@pytest.mark.parametrize(
    ("rejected", "accepted", "error"), CONFLICTS, ids=[rejected for rejected, _, _ in CONFLICTS]
)
def test_conflicting_keys_of_a_pin_are_rejected(rejected, accepted, error):
    """Keys that conflict are rejected, in the line of the wrong one. A configuration that has run
    under an older release runs without this key, with a warning."""
    *rest, wrong = rejected.split(", ")
    place = f"config.yaml:{4 + len(rest)}: pins.lamp.{wrong.split(':')[0]}"
    assert errors(lamp_beside_a_motor(rejected)) == [f"{place}: {error}"]
    assert read(lamp_beside_a_motor(accepted)).pins[0].name == "lamp"
    found = read(lamp_beside_a_motor(rejected), warnings=(warnings := []), has_run=True)
    assert found == read(lamp_beside_a_motor(", ".join(rest)))
    ignored = f"{place}: {error} (the last good configuration runs without this key)"
    assert [str(warning) for warning in warnings] == [ignored]


def test_at_most_one_output_of_a_group_starts_on():
    """Two outputs of one group cannot both start on. An error of one is no error of the other."""
    (error,) = errors("pins:\n" + MOTOR.replace("27", "28"))
    assert error.startswith("config.yaml:3: pins.down.gpio: ")
    text = """pins:
  up: {{gpio: 5, mode: output, group: blind, initial: {}}}
  other: {{gpio: 13, mode: output, initial: on}}
  dimmer: {{gpio: 12, mode: pwm, initial: on}}
  down:
    {{gpio: 6, mode: output, group: {},
    initial: {}}}
  third: {{gpio: 19, mode: output, group: blind}}
  fourth: {{gpio: 26, mode: output, group: awning}}
  fifth: {{gpio: 20, mode: output, group: awning}}
"""
    assert errors(text.format("on", "blind", "on")) == [
        "config.yaml:7: pins.down.initial: expected off, got on, which up has:"
        " at most one output of group blind is on"
    ]
    for up, group, down in (
        ("on", "blind", "off"),
        ("off", "blind", "on"),
        ("keep", "blind", "keep"),
        ("on", "awning", "on"),
    ):
        pins = read(text.format(up, group, down)).pins
        assert [pin.initial for pin in pins[:4]] == [up, "on", "on", down]


def test_long_pulse_gets_a_warning():
    """A pulse of more than a minute may be in milliseconds: it gets a warning, the first time."""
    text = """pins:
  gate: {gpio: 2, mode: output, pulse: 60}
  tap: {gpio: 3, mode: output, pulse: 60.5}
  pump: {gpio: 4, mode: output, max_on: 500}
"""
    assert len(read(text, warnings=(warnings := [])).pins) == 3
    assert [str(warning) for warning in warnings] == [
        "config.yaml:3: pins.tap.pulse: 60.5 seconds are long for a press (half a second is 0.5);"
        " a switch that goes off by itself has max_on: 60.5 instead"
    ]
    read(text, warnings=(again := []), has_run=True)
    assert again == []


HOUSE = """
hooks:
  h:
    pin: {}
    do: {}
pins:
  lamp: {{gpio: 5, mode: output}}
  gate: {{gpio: 6, mode: output, pulse: 0.5, confirm: true}}
  fan: {{gpio: 18, mode: pwm}}
  door: {{gpio: 17, mode: input}}
  boiler: {{gpio: 22, mode: output, control: nobody}}
  opener: {{gpio: 23, mode: output, pulse: 0.5}}
  shut: {{gpio: 24, mode: input}}
  opener2: {{gpio: 25, mode: output, pulse: 0.5}}
  shut2: {{gpio: 26, mode: input}}
covers:
  garage: {{button: opener, closed: shut, travel: 15, confirm: true}}
  barn: {{button: opener2, closed: shut2, travel: 15, control: nobody}}
"""
WANTED = "4: hooks.h.pin: expected an output or a pwm pin, got"
HOOKS = [
    ("gat", "pulse", [f"{WANTED} gat, which is no pin (did you mean gate?)"]),
    ("x", "on", [f"{WANTED} x, which is no pin"]),
    ("door", "on", [f"{WANTED} door, which is an input"]),
    ("boiler", "off", ["4: hooks.h.pin: expected a pin that may be switched, got boiler"
                       " (pins.boiler.control: nobody)"]),
    ("gate", "pulse", ["4: hooks.h.unattended: expected true, since gate has confirm: true and a"
                       " hook asks nobody; write unattended: true"]),
    ("gate", "pulse\n    unattended: false", ["4: hooks.h.unattended: expected true, since gate has"
                       " confirm: true and a hook asks nobody; write unattended: true"]),
    ("lamp", "pulse", ["5: hooks.h.do: expected on, off or toggle, got pulse: lamp has no pulse of"
                       " its own"]),
    ("fan", "pulse", ["5: hooks.h.do: expected on, off or toggle, got pulse: fan has no pulse of"
                      " its own"]),
    ("lamp", "burn", ['5: hooks.h.do: expected on, off, toggle, pulse, open, close or stop, got'
                      ' "burn"']),
    ("lamp", "open", ["5: hooks.h.do: expected on, off, toggle or pulse for a pin, got open"]),
    ("garage", "on", [f"{WANTED} garage, which is a cover; write cover: garage"]),
    ("opener", "pulse", ["4: hooks.h.pin: expected an output of no cover, got opener, which"
                         " is one of garage; write cover: garage and do: open, for example"]),
]  # fmt: skip


@pytest.mark.parametrize(("pin", "do", "expected"), HOOKS)
def test_hook_of_a_pin_that_it_may_not_switch(pin, do, expected):
    """A hook needs a pin that may be switched that way, and `unattended` where people are asked."""
    assert errors(HOUSE.format(pin, do)) == [f"config.yaml:{error}" for error in expected]


COVER_HOOKS = [
    ("garag", "open", ["4: hooks.h.cover: expected a cover, got garag, which is no cover (did you"
                       " mean garage?)"]),
    ("shut", "open", ["4: hooks.h.cover: expected a cover, got shut, which is an input; write"
                      " garage, the cover that has it"]),
    ("barn", "close", ["4: hooks.h.cover: expected a cover that may be moved, got barn"
                       " (covers.barn.control: nobody)"]),
    ("garage", "open", ["4: hooks.h.unattended: expected true, since garage has confirm: true and a"
                        " hook asks nobody; write unattended: true"]),
    ("garage", "on", ["5: hooks.h.do: expected open, close or stop for a cover, got on"]),
    ("garage", "stop\n    unattended: true",
     ["5: hooks.h.do: expected open or close, got stop: a press may not stop garage; write presses:"
      " below the cover, which says what a press does"]),
    ("garage", "open\n    pin: lamp", ["4: hooks.h.cover: expected a pin or a cover, got both"]),
]  # fmt: skip


@pytest.mark.parametrize(("cover", "do", "expected"), COVER_HOOKS)
def test_hook_of_a_cover_that_it_may_not_move(cover, do, expected):
    """A hook of a cover is checked as one of a pin. Without `presses` no press is sure to stop."""
    text = HOUSE.replace("pin: {}", "cover: {}")
    assert errors(text.format(cover, do)) == [f"config.yaml:{error}" for error in expected]
    assert read(text.format("garage", "close\n    unattended: true")).hooks["h"].target == "garage"


def test_hooks():
    """Hooks of pins that may be switched are accepted, whichever section comes first."""
    for pin, do in (("lamp", "on"), ("lamp", "toggle"), ("fan", "off"),
                    ("gate", "pulse\n    unattended: true")):  # fmt: skip
        assert read(HOUSE.format(pin, do)).hooks["h"].pin == pin
    missing = ["hooks.h.pin: expected the name of a pin, got nothing",
               "hooks.h.do: expected on, off, toggle or pulse, or for a cover open, close or stop,"
               " got nothing"]  # fmt: skip
    for empty in ("", " {}"):
        assert errors(f"hooks:\n  h:{empty}") == [f"config.yaml:2: {each}" for each in missing]
    (error,) = errors("access: {control: nobody}" + HOUSE.format("lamp", "on"))
    assert error.endswith("got lamp (access.control: nobody)")
    (error,) = errors("hooks:\n  H: {pin: lamp, do: on}")
    assert error.endswith(f'expected {NAME}, got "H"')
    assert read("hooks:\n").hooks == {}
