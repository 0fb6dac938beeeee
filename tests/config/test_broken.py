"""Broken configurations and what people are told: the corpus in broken.txt, and mutations."""

import random
import re
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import pytest

from raspi_server.config import syntax
from raspi_server.config.errors import ConfigError
from tests.config.reading import read

CORPUS = Path(__file__).with_name("broken.txt")
PARSER_WORDS = re.compile(
    r"mapping values|simple key|block (end|mapping|sequence)|scanning|parsing|token|scalar|flow"
)


class Case(NamedTuple):
    title: str
    text: str
    told: list[tuple[str, int, list[str]]]
    """For each error or warning: `->` or `-?`, its line, and the words that it has."""


def cases():
    """Return the cases of the corpus."""
    _, *parts = CORPUS.read_text().split("\n== ")
    found = []
    for part in parts:
        title, *rows = re.sub(r"\n## .*", "", part).strip("\n").split("\n")
        told, text = [], []
        for row in rows:
            match = re.fullmatch(r"(->|-\?) (\d+): (.*)", row)
            if match:
                told.append((match[1], int(match[2]), match[3].split(" | ")))
            else:
                text.append(row.replace("␉", "\t").replace("⍽", "\xa0"))
        found.append(Case(title, "\n".join(text).rstrip("\n") + "\n", told))
    return found


def report(text):
    """Return the errors and the warnings of a text, and all that the terminal shows of it."""
    warnings = []
    try:
        read(text, warnings=warnings)
    except ConfigError as error:
        return error.errors, warnings, error.report
    return (), warnings, ""


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.title)
def test_message_suffices_to_mend_the_file(case):
    """Each error names the line of the mistake, and says in our words what to write there. No
    message, and no excerpt, shows a password."""
    errors, warnings, shown = report(case.text)
    wanted = [told for told in case.told if told[0] == "->"]
    assert [error.line for error in errors] == [line for _, line, _ in wanted], shown
    for error, (_, _, words) in zip(errors, wanted, strict=True):
        assert all(word in str(error) for word in words), str(error)
        assert error.message.startswith("expected ")
    wanted = [told for told in case.told if told[0] == "-?"]
    if not errors:
        assert [warning.line for warning in warnings] == [line for _, line, _ in wanted]
        for warning, (_, _, words) in zip(warnings, wanted, strict=True):
            assert all(word in str(warning) for word in words), str(warning)
    assert not PARSER_WORDS.search(shown)
    assert "s3cret" not in shown and "77777" not in shown


def test_many_mistakes_of_one_kind_are_told_once():
    """The same mistake in many lines is one error that names them. Pins that a Pi cannot have are
    one error, too."""
    pins = [f"  p{n}: {{gpio: {n}, mode: Output}}\n" for n in range(28)]
    (error,), _, _ = report("pins:\n" + "".join(pins))
    assert error.line == 2 and "(write output) (the same in lines 3, 4, 5, " in error.message
    assert error.message.endswith(", 28, 29)")

    good = "".join(pins).replace("Output", "output")
    assert report("pins:\n" + good)[0] == ()
    more = "".join(f"  q{n}: {{gpio: {n}, mode: input}}\n" for n in range(12))
    errors, _, _ = report("pins:\n" + good + more)
    assert [(error.line, error.key) for error in errors] == [(30, "pins"), (30, "pins.q0.gpio")]
    assert errors[0].message == "expected at most 28 pins: a Raspberry Pi has 28"
    assert "which p0 has in line 2 (the same in lines 31, 32, " in errors[1].message


def test_page_and_terminal_show_the_line_differently():
    """An error is one line; the terminal shows the line of the file and a mark below it, also in a
    long line and for characters that cannot be seen."""
    long = "label: " + "x" * 200 + ': "'
    (error,), _, shown = report(f"pins:\n  a:\n    {long}\n    gpio: 1\n    mode: input\n")
    assert "\n" not in str(error) and len(shown) < 300
    for text, excerpt in (
        ("port 80\n", ["  port 80", "      ^"]),
        ("\tport: 80\n", ["  →port: 80", "  ^"]),
        ("port:\xa080\n", ["  port:␣80", "       ^"]),
    ):
        (error,), _, shown = report(text)
        assert shown.split("\n") == [str(error), *excerpt]


def test_corpus_is_large():
    """The corpus has at least sixty files, each with something to tell."""
    assert len(cases()) >= 60
    assert all(case.told for case in cases())


BLOCKS = """\
# The hall
port: 8443
ssl: true
interval: 0.5

access:
  view: everyone
  control: code      # phones sign in
  hosts:
    - pi.example.org
    - "gate.example.org"
    - hall.example.org

mqtt:
  url: mqtts://broker.local:8883
  user: hall
  password_file: mqtt-password
  topic: house/hall
  discovery: homeassistant

pins:
  door:
    gpio: 17
    mode: input
    label: "Front door"
    pull: up         # a contact to ground
    debounce: 0.02
  bell:
    gpio: 5
    mode: input
    pull: up
  # the relay board
  lamp:
    gpio: 22
    mode: output
    label: 'Desk lamp'
    active: low
    initial: keep
  gate:
    mode: output
    gpio: 23
    label: "Garage, left"
    pulse: 0.5
    confirm: true
  fan:
    gpio: 18
    mode: pwm
    frequency: 200
    initial: 0.35
    max_on: 3600
"""
BRACES = """\
port: 8080
access: {control: everyone, hosts: [pi.example.org, 10.0.0.5]}
pins:
  up: {gpio: 5, mode: output, group: blind, label: "Blind up"}
  down: {gpio: 6, mode: output, group: blind, label: "Blind down"}
  door: {gpio: 17, mode: input, pull: up, debounce: 20ms}
  fan: {gpio: 18, mode: pwm, initial: 0.5, label: 'Fan'}
log_level: warning
"""
FEW = """\
metrics: true
pins:
    led:
        label: "LED"
        gpio: 27
        mode: output
    button:
        label: Button
        gpio: 17
        mode: input
        pull: up
"""
OTHER = """\
pins:
  a1: {gpio: BOARD7, mode: input}
  relay_1:
    {gpio: 5, mode: output,
     pulse: 0.5, label: "R 1"}
  relay_2:
    gpio: GPIO6
    mode: output
    label: 'R, 2'

access:
    control: nobody
    hosts: [a.example, b.example]
ssl:
  certificate: a.pem
  key: b.pem
gpio: real
"""
HOUSE = """\
port: 8080
location: {latitude: 48.14, longitude: 11.58}
hooks:
  gate:
    pin: gate
    do: pulse
    unattended: true
  light:
    pin: lamp
    do: toggle
schedules:
  evening:
    pin: lamp
    from: sunset+00:20
    to: 23:00
    days: [mon, tue]
  night:
    at: 23:30
    turn_off: [lamp, fan]
rules:
  porch:
    when: door
    turn_on: lamp
    hold: 180
    only:
      from: sunset
      to: 23:00
  forgotten:
    when: door
    for: 10min
    set: {fan: 0.8}
covers:
  garage:
    label: "Garage door"
    button: opener
    closed: shut
    travel: 15
    confirm: true
  shutter:
    up: rise
    down: fall
    travel:
      up: 24.5
      down: 22
pins:
  door:
    gpio: 17
    mode: input
    pull: up
  shut:
    gpio: 4
    mode: input
    kind: garage_door
    pull: up
  opener:
    gpio: 5
    mode: output
    pulse: 0.5
  rise: {gpio: 6, mode: output, group: motor, group_pause: 0.5}
  fall: {gpio: 13, mode: output, group: motor, group_pause: 0.5}
  lamp:
    gpio: 22
    mode: output
    words: {on: Hell, off: Dunkel}
  gate:
    gpio: 23
    mode: output
    pulse: 0.5
    confirm: true
  fan:
    gpio: 18
    mode: pwm
"""
GOOD_FILES = (BLOCKS, BLOCKS, BRACES, FEW, OTHER, HOUSE, HOUSE)
DRAWS = 1000


VALID = """\
mqtt: {url: mqtt://broker, discovery: homeassistant, control: true}
pins:
 access:
      control: everyone
      gpio:
        4
      mode: output
      label: >
        two
        lines: here
 key: {mode: input, "gpio": 5}   # a comment: with a colon
 mqtt:
    mode: input
    label:
      a long
      label
    gpio: 6

 group: &other
    gpio: 7
    mode: output
    label: "two lines,
      with = and: colons"
    confirm: false
"""


def test_lines_of_valid_files_have_no_mistakes():
    """Valid files of any style have no mistakes in their lines, so none can hide another error."""
    for text in (*GOOD_FILES, OTHER, VALID):
        assert not report(text)[0], report(text)[2]
        assert syntax.faults(text) == []
        (error,), _, _ = report(f"interval: 0\n{text.replace('interval: 0.5', '# x')}")
        assert error.key == "interval"


def places(text, pattern):
    """Return the lines of a text that are no comments, and where in them a pattern matches."""
    return [
        (number, match)
        for number, row in enumerate(text.split("\n"))
        if row.strip() and row.strip()[0] != "#"
        for match in re.finditer(pattern, re.split(" #", row)[0])
    ]


def mutated(kind, text, draw):
    """Return a text with one mistake of a kind, and the number of the line that has it."""
    rows = text.split("\n")
    patterns = {"colon": ":", "shift": "^ *", "quotes": "[\"']", "tab": "", "number": "[0-9]+"}
    number, match = draw.choice(places(text, patterns[kind]))
    start, end, row = *match.span(), rows[number]
    match kind:
        case "colon":
            new = ""
        case "shift":
            new = " " * max(0, end + draw.choice((-4, -3, -2, -1, 1, 2, 3, 4)))
        case "quotes":
            new = {"'": '"', '"': "'"}[match[0]]
        case "tab":
            new = "\t"
        case "number":
            place = draw.randrange(end - start)
            wrong = draw.choice("0123456789lO,.;- ")
            new = match[0][:place] + wrong + match[0][place + draw.randrange(2) :]
    rows[number] = row[:start] + new + row[end:]
    return "\n".join(rows), number + 1


def test_line_of_a_mistake_is_named():
    """Of the small mistakes that make a good file invalid, at least 95 % are told with their own
    line first. Of two pins on one GPIO no one knows which is wrong: the error names both."""
    draw = random.Random(21)
    counts, missed = Counter(), []
    for kind in ("colon", "shift", "quotes", "tab", "number") * DRAWS:
        if sum(counts.values()) >= DRAWS:
            break
        text, line = mutated(kind, draw.choice(GOOD_FILES), draw)
        errors, _, shown = report(text)
        if not errors:
            continue
        first = errors[0]
        is_named = first.line == line or f"has in line {line}" in first.message
        counts[kind, is_named] += 1
        if not is_named:
            missed.append(f"{kind} in line {line}: {text.splitlines()[line - 1]!r}\n{shown}")
        assert not PARSER_WORDS.search(shown)
    right = sum(counts[kind, True] for kind, is_named in counts if is_named)
    print("\n\n".join(missed))
    for kind in ("colon", "shift", "quotes", "tab", "number"):
        print(f"{kind}: {counts[kind, True]} of {counts[kind, True] + counts[kind, False]}")
    print(f"named: {right} of {DRAWS} lines, {100 * right / DRAWS:.1f} %")
    assert right >= 0.95 * DRAWS
