"""YAML without surprises: the values of scalars, and the rejected texts with their lines."""

import math
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raspi_server.config import strict_yaml
from raspi_server.config.strict_yaml import MAX_BYTES, YamlError, line_of, quote, scalar, show


def node_in(text):
    """Return the node of the value in `key: TEXT`."""
    return strict_yaml.compose(f"key: {text}\n".encode()).value[0][1]


def value_in(text):
    return scalar(node_in(text))


def error_of(data):
    """Return message and line of the error of a text."""
    with pytest.raises(YamlError) as caught:
        strict_yaml.compose(data)
    return str(caught.value), caught.value.line


WORDS = (
    "on off ON yes y No True FALSE Null NULL 22:30 08:15 1_000 0x1F 0o17 2024-01-01 << = 1e 1.2.3"
    " .Inf .NaN nan inf GPIO17 1,5 १७"
)


def test_words_times_and_other_notations_stay_text():
    """Text that YAML 1.1 reads as a boolean, a number or a date stays the text in the file."""
    for text in WORDS.split():
        assert value_in(text) == text


@pytest.mark.parametrize("text", ["", "~", "null"])
def test_nothing_is_no_value(text):
    """A key with nothing after it, `~` and `null` mean no value."""
    assert value_in(text) is None
    assert strict_yaml.is_empty(node_in(text))
    assert show(node_in(text)) == "nothing"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("true", True),
        ("false", False),
        ("0", 0),
        ("-17", -17),
        ("+17", 17),
        ("9" * 18, int("9" * 18)),
        ("9" * 19, "9" * 19),
        ("9" * 200_000, "9" * 200_000),
        ("1e3", 1000.0),
        ("-1E+3", -1000.0),
        ("+1.5e-3", 0.0015),
        (".5", 0.5),
        ("5.", 5.0),
        (".inf", math.inf),
        ("+.inf", math.inf),
        ("-.inf", -math.inf),
        ("1e999", math.inf),
    ],
    ids=lambda value: str(value)[:20],
)
def test_booleans_and_numbers(text, value):
    """Only `true` and `false` are booleans. A number with a point or an exponent is a float, `1e3`
    too; a whole number that is too long for any key stays text."""
    assert value_in(text) == value
    assert type(value_in(text)) is type(value)
    assert math.isnan(value_in(".nan"))


@settings(deadline=None, max_examples=50)
@given(st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(10**16), 10**16))
def test_any_number_of_python_is_read_as_the_same_number(number):
    """Each number, as Python writes it, is read as the same number."""
    assert value_in(repr(number)) == number


@pytest.mark.parametrize("text", ["017", "00", "08", "-017", "+017"])
def test_number_with_a_leading_zero_is_rejected(text):
    """`017`, which YAML 1.1 reads as 15, is rejected in its line. It is not empty."""
    node = strict_yaml.compose(f"# a comment\nkey: {text}\n".encode()).value[0][1]
    with pytest.raises(YamlError, match="^expected a number without leading zeros, got ") as caught:
        scalar(node)
    assert str(caught.value).endswith(f" got {text}")
    assert caught.value.line == 2
    assert not strict_yaml.is_empty(node)


@pytest.mark.parametrize("style", ['"{}"', "'{}'", "|-\n  {}", ">-\n  {}"])
def test_quotes_make_text(style):
    """A scalar in quotes or in a block is text."""
    for text in ("0", "true", "null", "017", "1e3", ".nan", ""):
        assert value_in(style.format(text)) == text
        assert not strict_yaml.is_empty(node_in(style.format(text)))


def test_keys_are_always_text():
    """A key such as `on` or `017` is the text in the file."""
    for key in ("on", "017", "null", "true", "22:30"):
        assert strict_yaml.compose(f"{key}: 1\n".encode()).value[0][0].value == key


@pytest.mark.parametrize("data", [b"", b"# a\n  # b\r\n", b"\xef\xbb\xbf# a\n"])
def test_file_without_content_is_no_error(data):
    """A file that is empty, or has only comments, has no root node."""
    assert strict_yaml.compose(data) is None


def test_byte_order_mark_and_windows_line_ends_are_accepted():
    """A byte order mark at the start and Windows line ends change neither values nor lines."""
    root = strict_yaml.compose(b"\xef\xbb\xbfa: 1\r\nb: x\r\n")
    assert [(key.value, scalar(value)) for key, value in root.value] == [("a", 1), ("b", "x")]
    assert [line_of(key) for key, _ in root.value] == [1, 2]


@pytest.mark.parametrize(
    ("data", "line", "message"),
    [
        (b"a: 1\nb: caf\xe9\n", 2, "UTF-8 text, got byte 0xe9"),
        (b"a: \xed\xa0\x80", 1, "UTF-8 text, got byte 0xed"),
        (b"a: 1\n#\0\n", 2, "text, got character 0x00"),
        (b"a: 1\n\nb: '\x1b[31m'\n", 3, "text, got character 0x1b"),
        ("a: \x9b31m".encode(), 1, "text, got character 0x9b"),
        (b"a: 1\nb: 'x\\ud800'\nc: \"x\\ud800\"\n", 3, 'text, got "x\\ud800"'),
        (b"a: 1\n---\nb: 2\n", 2, "YAML: expected a single document in the stream but found"
         " another document"),
        (b"a: 1\nb: *c\n", 2, "YAML: found undefined alias 'c'"),
        (b"a: [1\n", 2, "YAML: while parsing a flow sequence expected ',' or ']', but got"
         " '<stream end>'"),
        (b"a:\n\tb: 1\n", 2, "YAML: while scanning for the next token found character '\\t' that"
         " cannot start any token (indent with spaces, not tabs)"),
        (b'a: "\\U00110000"', None, "YAML: found a number out of range"),
        (b"%YAML 1." + b"9" * 5000 + b"\n---", None, "YAML: found a number out of range"),
    ],
    ids=["Latin-1", "surrogate", "NUL", "escape", "C1", "escaped surrogate", "documents", "alias",
         "bracket", "tab", "beyond Unicode", "version"],
)  # fmt: skip
def test_other_text_is_rejected_in_its_line(data, line, message):
    """Text that is not UTF-8, not printable, or not one YAML document is rejected."""
    assert error_of(data) == (f"expected {message}", line)


@pytest.mark.parametrize("text", ["a: &{0} 1\nb: &{0} 1", "a: *{0}", "a: !{0}!b 1", "a: !{0} 1"])
def test_error_is_short_if_a_name_is_long(text):
    """A name of thousands of characters does not make the message long."""
    message, _ = error_of(text.format("x" * 5000).encode())
    assert message.startswith("expected ") and "…" in message
    assert len(message) < 300


@pytest.mark.parametrize(
    ("text", "line", "tag"),
    [
        ("!!python/object/apply:os.system [ls]", 1, "!!python/object/apply:os.system"),
        ("a: 1\n!!python/tuple b: 2", 2, "!!python/tuple"),
        ("a:\n  - 1\n  - !!python/none x", 3, "!!python/none"),
        ("a: {b: [!!python/long 1]}", 1, "!!python/long"),
        ("a: !!int 5", 1, "!!int"),
        ("a: !secret b", 1, "!secret"),
        ("a: ! b", 1, "!"),
        ("%TAG !p! tag:yaml.org,2002:python/\n---\na: !p!none x", 3, "!!python/none"),
    ],
)
def test_tags_are_rejected_everywhere(text, line, tag):
    """A tag, and so a Python object, is rejected at any place. Text may have exclamation marks."""
    full = tag.replace("!!", "tag:yaml.org,2002:")
    message = f'expected a value without a YAML tag, got "{full}"'
    assert error_of(text.encode()) == (message, line)
    assert value_in("stop!") == "stop!"
    assert value_in("'!!python/none'") == "!!python/none"


def test_file_has_at_most_256_kib():
    """A file of 256 KiB is read; one byte more is rejected."""
    start = b"a: 1\n#"
    assert MAX_BYTES == 256 * 1024
    full = start + b"x" * (MAX_BYTES - len(start))
    assert strict_yaml.compose(full).value[0][0].value == "a"
    assert error_of(full + b"x") == ("expected at most 262144 bytes, got 262145", None)


def test_deep_nesting_is_rejected():
    """Hundreds of brackets are rejected in words; five are accepted."""
    assert strict_yaml.compose(b"[" * 5 + b"x" + b"]" * 5)
    message = "expected two or three levels of nesting, got hundreds"
    assert error_of(b"[" * 1500) == (message, None)


def test_alias_is_the_node_that_it_names():
    """An alias is its node again, not a copy: nine levels of nine aliases are nine small lists, and
    a list may contain itself."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9)]
    root = strict_yaml.compose("\n".join(lines).encode())
    lists = [value for _, value in root.value]
    # Compared as plain values: a failing assert would print, and so expand, the nodes themselves.
    lengths = [len(above.value) for above in lists]
    shared = [all(item is below for item in above.value) for below, above in pairwise(lists)]
    assert (lengths, shared, show(lists[-1])) == ([9] * 9, [True] * 8, "a list")
    looped = strict_yaml.compose(b"a: &a [*a]\nb: &b {c: *b}\n")
    (_, in_list), (_, in_mapping) = looped.value
    assert in_list.value[0] is in_list
    assert (show(in_list), show(in_mapping)) == ("a list", "a mapping")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("[1, 2]", "a list"),
        ("{a: 1}", "a mapping"),
        ("true", "true"),
        ("false", "false"),
        ("True", '"True"'),
        ("8080", "8080"),
        ("1e3", "1e3"),
        (".nan", ".nan"),
        ("017", '"017"'),
        ("'8080'", '"8080"'),
        ('"a\\nb"', '"a\\nb"'),
        ("|\n  a\n  b", '"a\\nb\\n"'),
        ("9" * 61, f'"{"9" * 60}…"'),
        ("9" * 60, "9" * 60),
        ("Küche", '"Küche"'),
    ],
)
def test_value_is_shown_as_it_is_written(text, shown):
    """An error shows numbers as they are written, and text in quotes."""
    assert show(node_in(text)) == shown


@pytest.mark.parametrize(
    ("text", "quoted"),
    [
        ("x" * 60, f'"{"x" * 60}"'),
        ("x" * 61, f'"{"x" * 60}…"'),
        ('say "hi"', '"say \\"hi\\""'),
        ("\x1b]0;a\nb\x07", '"\\u001b]0;a\\nb\\u0007"'),
        ("a\u2028b\u202e", '"a\\u2028b\\u202e"'),
        ("\x85\x9b", '"\\u0085\\u009b"'),
        ("\ud800", '"\\ud800"'),
        ("Küche 1 °C", '"Küche 1 °C"'),
    ],
    ids=["60", "61", "quotes", "controls", "bidi", "C1", "surrogate", "umlaut"],
)
def test_quoted_text_is_safe_to_print(text, quoted):
    """A quoted text is short and on one line, without control characters."""
    assert quote(text) == quoted
    assert quoted.isprintable()
