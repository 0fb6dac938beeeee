"""Errors of a configuration as people read them: all at once, each in its line, safe to print."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raspi_server.config.errors import ConfigError
from raspi_server.config.schema import Config
from tests.config.reading import TOP_KEYS, errors, pin_text, read

MANY_ERRORS = """\
pins:
  up: {gpio: 5, mode: output, group: blind}
  Lamp:
    mode: output
    gpio: 99
    pulse: 0
  door:
    gpio: 17
    mode: input
    pulse: 1
  bell:
    gpio: BOARD11
    mode: input
    pull: sideways
access:
  view: nobody
  hosts: ["a b"]
ssl: on
port: 0
port: 1
wwww: x
interval: 017
"""


def test_all_errors_are_reported_in_the_order_of_the_file():
    """All errors are reported together, from top to bottom; programs get them one by one."""
    assert [error.split(": expected ")[0] for error in errors(MANY_ERRORS)] == [
        f"config.yaml:{place}"
        for place in (
            "2: pins.up.group", "3: pins.Lamp", "5: pins.Lamp.gpio", "6: pins.Lamp.pulse",
            "10: pins.door.pulse", "12: pins.bell.gpio", "14: pins.bell.pull",
            "16: access.view", "17: access.hosts", "18: ssl", "19: port", "20: port", "21: wwww",
            "22: interval",
        )
    ]  # fmt: skip
    with pytest.raises(ValueError, match="017") as caught:
        read(MANY_ERRORS)
    assert caught.value.errors[2][:3] == ("config.yaml", 5, "pins.Lamp.gpio")


PIN_KEYS = "mode, gpio, label, active, kind, room, icon, words, hidden"
INPUT_KEYS = f"{PIN_KEYS}, pull, debounce"
DRIVEN_KEYS = f"{PIN_KEYS}, max_on, manual_hold, confirm, control, initial, on_stop, on_failure"


@pytest.mark.parametrize(
    ("text", "place", "keys"),
    [
        ("prot: 1", "1: prot", f"{TOP_KEYS} (did you mean port?)"),
        ("access:\n  veiw:\n    - 1", "2: access.veiw",
         "view, control, hosts, proxies, origins (did you mean view?)"),
        (pin_text("input", "debunce:\n      - 1"), "5: pins.lamp.debunce",
         f"{INPUT_KEYS} (did you mean debounce?)"),
        (pin_text("pwm", "name: x"), "5: pins.lamp.name",
         f"{DRIVEN_KEYS}, frequency (write label: TEXT)"),
        (pin_text("output", "puls: 1"), "5: pins.lamp.puls",
         f"{DRIVEN_KEYS}, pulse, group, group_pause (did you mean pulse?)"),
        ("x" * 40 + ": 1", f"1: {'x' * 40}", TOP_KEYS),
        ("x" * 41 + ": 1", f'1: "{"x" * 41}"', TOP_KEYS),
    ],
    ids=["top", "access", "pin", "name", "order", "40", "41"],
)  # fmt: skip
def test_unknown_key_is_rejected_with_the_nearest_one(text, place, keys):
    """An unknown key is rejected, in its own line, and the error suggests a similar key."""
    assert errors(text) == [f"config.yaml:{place}: expected one of the keys {keys}"]


def test_repeated_key_is_rejected():
    """A key that is in the file twice is rejected, with both lines."""
    for text, place, first in (
        ("port: 1\nwww: x\n'port': 1\n", "3: port", 1),
        (pin_text("input", "gpio: 4"), "5: pins.lamp.gpio", 3),
        (pin_text("input") + "  lamp: {gpio: 4, mode: input}\n", "5: pins.lamp", 2),
    ):
        reason = f"expected each key once, got it in line {first} already"
        if "gpio" in place:
            reason += " (a second pin needs a line with its name)"
        assert errors(text) == [f"config.yaml:{place}: {reason}"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[]", "1: expected keys and values, got a list"),
        ("hello", "1: expected a colon after hello; write hello:"),
        ("pins:\n  - a\n", "2: pins: expected keys and values, got a list"),
        ("pins:\n  lamp: 17", "2: pins.lamp: expected keys and values, got 17"
         " (write gpio: 17 and mode: output below it, for example)"),
        ("access: [code]", "1: access: expected keys and values, got a list"),
        ("access:\n  ? [a]\n  : 1", "2: access: expected a word as key, got a list"),
        ("access:\n  hosts: pi",
         '2: access.hosts: expected a list such as [pi.example.org], got "pi" (write [pi])'),
        ("mqtt: true", "1: mqtt: expected false or {url: mqtt://HOST, …}, got true"),
        ("mqtt:", "1: mqtt: expected false or {url: mqtt://HOST, …}, got nothing"),
        ("mqtt: 017", "1: mqtt: expected a number without leading zeros, got 017"),
    ],
)  # fmt: skip
def test_other_value_in_place_of_keys_is_rejected(text, expected):
    """A list or a word in place of keys and values is rejected in its line."""
    assert errors(text) == [f"config.yaml:{expected}"]


PLACES = [
    'port: "{0}"',
    '"{0}": 1',
    'access: {{hosts: ["{0}"]}}',
    'access: {{"{0}": 1}}',
    'pins: {{a: {{gpio: "{0}", mode: input}}}}',
    'pins: {{a: {{gpio: 1, mode: input, "{0}": 1}}}}',
    'pins: {{a: {{gpio: 1, mode: output, group: "{0}"}}}}',
    'pins: {{"{0}": {{gpio: 1, mode: input}}, b: {{gpio: 1, mode: input}}}}',
    'port: 1\n"{0}": 1\n"{0}": 1\n',
    "port: !<{0}> 1",
]


@pytest.mark.parametrize("text", ["\\e]0;x\\a", "a\\nb", "a\\Lb\\u202ec", "x" * 900, "\\n" * 400])
def test_control_characters_and_long_values_stay_out_of_messages(text):
    """Control characters of the file are escaped in messages, and long values are shortened."""
    for place in PLACES:
        for error in errors(place.format(text)):
            assert error.isprintable(), place
            assert len(error) < 600, place
            assert "x" * 70 not in error, place


def test_aliases():
    """Aliases repeat a value, also a pin. Lines that would expand to billions are rejected."""
    text = """
pins:
  up: {gpio: 5, mode: output, max_on: &time 60, group: &group blind}
  down: {gpio: 6, mode: output, max_on: *time, group: *group}
"""
    assert [(pin.max_on, pin.group) for pin in read(text).pins] == [(60, "blind")] * 2
    assert errors("pins:\n  a: &pin {gpio: 5, mode: input}\n  b: *pin\n") == [
        "config.yaml:2: pins.b.gpio: expected a GPIO of its own, got GPIO5, which a has in line 2"
    ]

    dropped = "pins:\n  a: {gpio: 5, mode: input, label: &Lamp big}\n"
    assert errors(dropped)[0].endswith('write label: "&Lamp big"')
    assert read(dropped, has_run=True).pins[0].label == "big"  # an older release accepted it

    levels = ["a0: &a0 {x: 1, y: 1, z: 1}"]
    for n in range(1, 11):
        levels += [f"a{n}: &a{n} {{{', '.join(f'k{i}: *a{n - 1}' for i in range(9))}}}"]
    for end in (
        "pins: {lamp: *a10}",
        "access: {hosts: *a10}",
        "ssl: *a10",
        "mqtt: *a10",
        "hooks: *a10",
    ):
        found = errors("\n".join([*levels, end]))
        assert found[0].startswith(f"config.yaml:1: a0: expected one of the keys {TOP_KEYS}")
        assert "(the same in lines 2, 3, " in found[0] and len(found) < 300
    for text in (
        "pins: {x: &a {gpio: *a, mode: *a, label: *a}}",
        "access: &a {hosts: *a, view: *a}",
        "access: {hosts: &a [*a, *a]}",
        "hooks: {x: &a {pin: *a, do: *a}}",
        "ssl: &a {certificate: *a, key: *a}",
        "? &a [*a]\n: 1",
    ):
        assert all(": expected " in error for error in errors(text))


WORDS = (
    "pins: port: access: hosts: ssl: mqtt: url: www: gpio: mode: label: initial: lamp: key: 17"
    " 017 -0 1e9 .nan .inf ~ null true on input output pwm keep 22:30 !!int ! !<x> !a!b &a *a &b *b"
    " | > |9 - ? : , [ ] { } [] {} # --- ... %YAML %TAG << = @ ` é"
    ' " \' "\\U00110000" "\\ud800" "\\x" "\\n"'
)
BREAKS = [" ", "\n", "\n  ", "\n    ", "\t", "\r", "\x85", "\u2028", "\ufeff"]
FRAGMENTS = st.lists(st.sampled_from([*WORDS.split(), *BREAKS, ": ", "- "]), max_size=25)
CUTS = st.tuples(st.integers(0, len(MANY_ERRORS)), st.integers(0, 40), st.binary(max_size=4))
FILES = st.one_of(
    st.binary(max_size=200),
    FRAGMENTS.map(lambda parts: "".join(parts).encode()),
    FRAGMENTS.map(lambda parts: " ".join(parts).encode()),
    CUTS.map(
        lambda cut: MANY_ERRORS[: cut[0]].encode() + cut[2] + MANY_ERRORS[sum(cut[:2]) :].encode()
    ),
)


@settings(deadline=None, max_examples=100)
@given(FILES)
def test_any_file_is_a_configuration_or_a_list_of_errors(data):
    """Any file results in a configuration or in errors, one printable line each."""
    try:
        assert isinstance(read(data), Config)
    except ConfigError as error:
        assert error.errors
        for each in error.errors:
            assert str(each).isprintable()
            assert each.message.startswith("expected ")
