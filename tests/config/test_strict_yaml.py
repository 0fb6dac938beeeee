"""YAML as a person means it: the values of scalars, and the rejected texts with their lines."""

import math
from itertools import pairwise

import pytest

from raspi_server.config import strict_yaml
from raspi_server.config.strict_yaml import MAX_BYTES, YamlError, line_of, quote, scalar, show


def value_in(text):
    """Return the value of the plain scalar in `key: TEXT`."""
    root = strict_yaml.compose(f"key: {text}\n".encode())
    return scalar(root.value[0][1])


def node_in(text):
    return strict_yaml.compose(f"key: {text}\n".encode()).value[0][1]


TEXT_IN_SPITE_OF_YAML = (
    "on off On Off ON OFF yes no Yes No YES NO y n Y N True False TRUE FALSE Null NULL 22:30 08:15"
    " 1:20:30 1_000 0x1F 0o17 0b11 2024-01-01 2024-01-01T12:00:00Z << = 1e 1.2.3 .Inf .NaN nan inf"
    " 0x GPIO17 1,5 १७"
)


@pytest.mark.parametrize("text", TEXT_IN_SPITE_OF_YAML.split())
def test_words_and_times_stay_text(text):
    """Text that YAML 1.1 makes a boolean, a number or a date stays the text that was typed."""
    assert value_in(text) == text


@pytest.mark.parametrize(("text", "value"), [("true", True), ("false", False)])
def test_only_true_and_false_are_booleans(text, value):
    """`true` and `false` are the two booleans."""
    assert value_in(text) is value


@pytest.mark.parametrize("text", ["", "~", "null"])
def test_nothing_is_nothing(text):
    """A key with nothing behind it, `~` and `null` mean no value."""
    assert value_in(text) is None
    assert strict_yaml.is_empty(node_in(text))
    assert show(node_in(text)) == "nothing"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0),
        ("17", 17),
        ("-17", -17),
        ("+17", 17),
        ("123456789012345678", 123456789012345678),
    ],
)
def test_whole_numbers_are_whole(text, value):
    """A whole number without a point or an exponent is one."""
    assert type(value_in(text)) is int
    assert value_in(text) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e3", 1000.0),
        ("1E3", 1000.0),
        ("1e+3", 1000.0),
        ("-1e-3", -0.001),
        ("0.5", 0.5),
        (".5", 0.5),
        ("5.", 5.0),
        ("+.5", 0.5),
        ("1.5e2", 150.0),
        (".inf", math.inf),
        ("+.inf", math.inf),
        ("-.inf", -math.inf),
        ("1e999", math.inf),
    ],
)
def test_numbers_are_read_as_people_write_them(text, value):
    """A number with a point or an exponent is one, `1e3` too."""
    assert type(value_in(text)) is float
    assert value_in(text) == value


def test_nan_is_not_a_number_and_not_a_text():
    """`.nan` is recognised, so that a key that wants a number can refuse it."""
    assert math.isnan(value_in(".nan"))


@pytest.mark.parametrize("digits", [19, 5000, 200_000])
def test_endless_digits_stay_text(digits):
    """A number too long for any key is never computed."""
    assert value_in("9" * digits) == "9" * digits


@pytest.mark.parametrize("text", ["017", "00", "08", "-017", "+017"])
def test_a_leading_zero_is_refused(text):
    """`017`, which is 15 to YAML and 17 to people, is refused in its line."""
    node = strict_yaml.compose(f"# a comment\nkey: {text}\n".encode()).value[0][1]
    with pytest.raises(YamlError, match="^expected a number without leading zeros, got ") as caught:
        scalar(node)
    assert str(caught.value).endswith(f" got {text}")
    assert caught.value.line == 2


def test_a_leading_zero_is_not_nothing():
    """A value such as `017` where keys are expected is seen as something, and raises nothing."""
    assert not strict_yaml.is_empty(node_in("017"))


@pytest.mark.parametrize("text", ["0", "true", "null", "~", "017", "1e3", ".nan", "", "on"])
@pytest.mark.parametrize("style", ['"{}"', "'{}'", "|-\n  {}", ">-\n  {}"])
def test_quotes_make_text(text, style):
    """A scalar in quotes or in a block is text."""
    assert value_in(style.format(text)) == text
    assert not strict_yaml.is_empty(node_in(style.format(text)))


@pytest.mark.parametrize("key", ["on", "no", "017", "null", "1", "true", "22:30"])
def test_keys_are_always_text(key):
    """A key such as `on` is the word that stands there."""
    root = strict_yaml.compose(f"{key}: 1\n".encode())
    assert root.value[0][0].value == key


@pytest.mark.parametrize(
    "data",
    [b"", b"\n\n", b"# only a comment", b"# a\n  # b\r\n", b"\xef\xbb\xbf", b"\xef\xbb\xbf# a\n"],
)
def test_a_file_without_content_is_no_error(data):
    """A file that is empty, or holds only comments, is read as nothing."""
    assert strict_yaml.compose(data) is None


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["plain", "BOM"])
@pytest.mark.parametrize("end", [b"\n", b"\r\n"], ids=["LF", "CRLF"])
def test_editors_of_windows_are_welcome(mark, end):
    """A byte order mark at the start and Windows line ends change neither values nor lines."""
    root = strict_yaml.compose(mark + end.join([b"a: 1", b"b: x", b""]))
    assert [(key.value, scalar(value)) for key, value in root.value] == [("a", 1), ("b", "x")]
    assert [line_of(key) for key, _ in root.value] == [1, 2]


REFUSED = {
    "Latin-1": (b"a: 1\nb: caf\xe9\n", 2, "expected UTF-8 text, got byte 0xe9"),
    "UTF-16": ("a: 1".encode("utf-16"), 1, "expected UTF-8 text, got byte 0xff"),
    "surrogate": (b"a: \xed\xa0\x80", 1, "expected UTF-8 text, got byte 0xed"),
    "cut off": (b"a: 1\n\nb: \xe2\x82", 3, "expected UTF-8 text, got byte 0xe2"),
    "NUL": (b"a: 1\nb: \0\n", 2, "expected text, got character 0x00"),
    "NUL in a comment": (b"a: 1\n#\0\n", 2, "expected text, got character 0x00"),
    "escape": (b"a: 1\n\nb: '\x1b[31m'\n", 3, "expected text, got character 0x1b"),
    "delete": (b"a: \x7f", 1, "expected text, got character 0x7f"),
    "C1 control": ("a: \x9b31m".encode(), 1, "expected text, got character 0x9b"),
    "two documents": (
        b"a: 1\n---\nb: 2\n",
        2,
        "expected YAML: expected a single document in the stream but found another document",
    ),
    "undefined alias": (b"a: 1\nb: *c\n", 2, "expected YAML: found undefined alias 'c'"),
    "open bracket": (
        b"a: [1\n",
        2,
        "expected YAML: while parsing a flow sequence expected ',' or ']', but got '<stream end>'",
    ),
    "tab": (
        b"a:\n\tb: 1\n",
        2,
        "expected YAML: while scanning for the next token found character '\\t' that cannot start"
        " any token (indent with spaces, not tabs)",
    ),
    "YAML 3": (
        b"%YAML 3.0\n---\na: 1\n",
        1,
        "expected YAML: found incompatible YAML document (version 1.* is required)",
    ),
}


@pytest.mark.parametrize(("data", "line", "message"), REFUSED.values(), ids=REFUSED)
def test_a_text_we_cannot_read_is_refused_in_its_line(data, line, message):
    """A text that is not UTF-8, not printable, or not one YAML document is refused, with line and
    reason."""
    with pytest.raises(YamlError) as caught:
        strict_yaml.compose(data)
    assert (str(caught.value), caught.value.line) == (message, line)


@pytest.mark.parametrize(
    "text",
    ['a: "\\U00110000"', 'a: "\\UFFFFFFFF"', '"\\U00110000": 1', "%YAML 1." + "9" * 5000 + "\n---"],
    ids=["beyond Unicode", "far beyond Unicode", "in a key", "endless YAML version"],
)
def test_what_pyyaml_trips_over_is_refused_like_all_else(text):
    """An escape beyond Unicode or an absurd directive is an error in the file, not a crash."""
    with pytest.raises(YamlError, match="^expected "):
        strict_yaml.compose(f"{text}\n".encode())


@pytest.mark.parametrize("text", ["a: &{0} 1\nb: &{0} 1", "a: *{0}", "a: !{0}!b 1", "a: !{0} 1"])
def test_a_refusal_is_short_however_long_the_name(text):
    """A name of thousands of characters in a broken file does not flood the log."""
    with pytest.raises(YamlError, match="^expected ") as caught:
        strict_yaml.compose(text.format("x" * 5000).encode())
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("text", "line", "tag"),
    [
        ("!!python/object/apply:os.system [ls]", 1, "!!python/object/apply:os.system"),
        ("a: 1\nb: !!python/name:os.system", 2, "!!python/name:os.system"),
        ("a: 1\n!!python/tuple b: 2", 2, "!!python/tuple"),
        ("a:\n  - 1\n  - !!python/none x", 3, "!!python/none"),
        ("a:\n  b:\n    c: !!python/object:x.Y {}", 3, "!!python/object:x.Y"),
        ("a: {b: [!!python/long 1]}", 1, "!!python/long"),
        ("a: !!int 5", 1, "!!int"),
        ("a: !!str 5", 1, "!!str"),
        ("a: !secret b", 1, "!secret"),
        ("a: !<x> b", 1, "x"),
        ("a: ! b", 1, "!"),
        ("%TAG !p! tag:yaml.org,2002:python/\n---\na: !p!none x", 3, "!!python/none"),
    ],
)
def test_tags_are_refused_everywhere(text, line, tag):
    """No tag, and so no Python object, gets in at any place of the file."""
    with pytest.raises(YamlError) as caught:
        strict_yaml.compose(text.encode())
    full = tag.replace("!!", "tag:yaml.org,2002:")
    assert str(caught.value) == f'expected a value without a YAML tag, got "{full}"'
    assert caught.value.line == line


def test_an_exclamation_mark_in_text_is_no_tag():
    """Text may hold exclamation marks."""
    assert value_in("stop!") == "stop!"
    assert value_in("'!!python/none'") == "!!python/none"


def test_a_file_may_be_as_long_as_the_limit_and_no_longer():
    """A file of 256 KiB is read, one byte more is refused."""
    start = b"a: 1\n#"
    assert MAX_BYTES == 256 * 1024
    full = start + b"x" * (MAX_BYTES - len(start))
    assert strict_yaml.compose(full).value[0][0].value == "a"
    with pytest.raises(YamlError, match="^expected at most 262144 bytes, got 262145$") as caught:
        strict_yaml.compose(full + b"x")
    assert caught.value.line is None


@pytest.mark.parametrize("opening", ["[", "{a: ", "- "], ids=["lists", "mappings", "block lists"])
def test_deep_nesting_is_refused(opening):
    """Thousands of brackets are refused in words, and a few are fine."""
    closing = {"[": "]", "{a: ": "}", "- ": ""}[opening]
    strict_yaml.compose((opening * 5 + "x" + closing * 5).encode())
    message = "^expected two or three levels of nesting, got hundreds$"
    with pytest.raises(YamlError, match=message) as caught:
        strict_yaml.compose((opening * 5000).encode())
    assert caught.value.line is None


def test_an_alias_is_the_node_it_names():
    """A value given once under an anchor can be used again by its alias."""
    root = strict_yaml.compose(b"a: &x 5\nb: *x\n")
    assert [scalar(value) for _, value in root.value] == [5, 5]


def test_an_alias_bomb_is_not_expanded():
    """Nine levels of nine aliases are nine small lists, not 400 million values."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9)]
    root = strict_yaml.compose("\n".join(lines).encode())
    lists = [value for _, value in root.value]
    # Compared as plain values: a failing assert would print, and so expand, the nodes themselves.
    lengths = [len(above.value) for above in lists]
    shared = [all(item is below for item in above.value) for below, above in pairwise(lists)]
    shown = show(lists[-1])
    assert (lengths, shared, shown) == ([9] * 9, [True] * 8, "a list")


def test_an_alias_of_itself_is_read_without_end_or_harm():
    """A list or mapping that holds itself does not catch the reader in a circle."""
    looped = strict_yaml.compose(b"a: &a [*a]\nb: &b {c: *b}\n")
    (_, in_list), (_, in_mapping) = looped.value
    assert in_list.value[0] is in_list
    assert in_mapping.value[0][1] is in_mapping
    assert (show(in_list), show(in_mapping)) == ("a list", "a mapping")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("[1, 2]", "a list"),
        ("{a: 1}", "a mapping"),
        ("true", "true"),
        ("True", '"True"'),
        ("8080", "8080"),
        ("1e3", "1e3"),
        (".nan", ".nan"),
        ("1_000", '"1_000"'),
        ("017", '"017"'),
        ("seventeen", '"seventeen"'),
        ("'8080'", '"8080"'),
        ("''", '""'),
        ('"\\e[31m"', '"\\u001b[31m"'),
        ('"a\\nb"', '"a\\nb"'),
        ("|\n  a\n  b", '"a\\nb\\n"'),
        ("9" * 61, f'"{"9" * 60}…"'),
        ("9" * 60, "9" * 60),
        ("Küche", '"Küche"'),
    ],
)
def test_what_stood_there_is_shown_as_it_was_written(text, shown):
    """An error shows numbers as they stand, text in quotes, and everything else in a word."""
    assert show(node_in(text)) == shown


@pytest.mark.parametrize(
    ("text", "quoted"),
    [
        ("x" * 60, f'"{"x" * 60}"'),
        ("x" * 61, f'"{"x" * 60}…"'),
        ('say "hi"', '"say \\"hi\\""'),
        ("a\nb\tc\0", '"a\\nb\\tc\\u0000"'),
        ("\x1b]0;title\x07", '"\\u001b]0;title\\u0007"'),
        ("a\u2028b", '"a\\u2028b"'),
        ("a\u202eb", '"a\\u202eb"'),
        ("\x85\x9b", '"\\u0085\\u009b"'),
        ("\ud800", '"\\ud800"'),
        ("Küche 1 °C", '"Küche 1 °C"'),
    ],
    ids=["60", "61", "quotes", "controls", "terminal", "2028", "bidi", "C1", "surrogate", "umlaut"],
)
def test_a_quote_is_safe_to_print(text, quoted):
    """A quoted value is short, on one line, and does nothing to the terminal it is printed on."""
    assert quote(text) == quoted
    assert quoted.isprintable()
