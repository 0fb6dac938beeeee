"""YAML without surprises: the values of scalars, and the rejected texts with their lines."""

import math
import re

import pytest

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
    """Text that YAML 1.1 reads as a boolean, a number or a date stays text, also as a key."""
    for text in WORDS.split():
        assert value_in(text) == text
    for key in ("on", "017", "null", "true", "22:30"):
        assert strict_yaml.compose(f"{key}: 1\n".encode()).value[0][0].value == key


def test_values_of_scalars():
    """Nothing, `~` and `null` mean no value. A scalar in quotes or in a block is text. Only `true`
    and `false` are booleans. A whole number too long for any key stays text."""
    for text in ("", "~", "null"):
        assert value_in(text) is None
        assert strict_yaml.is_empty(node_in(text))
    for style in ('"{}"', "'{}'", "|-\n  {}", ">-\n  {}"):
        for text in ("0", "true", "null", "017", "1e3", ".nan", ""):
            assert value_in(style.format(text)) == text
            assert not strict_yaml.is_empty(node_in(style.format(text)))

    for text, value in (
        ("true", True),
        ("false", False),
        ("0", 0),
        ("-17", -17),
        ("+17", 17),
        ("9" * 18, int("9" * 18)),
        ("9" * 19, "9" * 19),
        ("9" * 200_000, "9" * 200_000),
        ("-1E+3", -1000.0),
        ("1.5e-07", 0.00000015),
        (".5", 0.5),
        ("5.", 5.0),
        ("+.inf", math.inf),
        ("-.inf", -math.inf),
        ("1e999", math.inf),
    ):
        found = value_in(text)
        assert (found, type(found)) == (value, type(value)), text[:20]
    for text in ("017", "00", "-08", "+017"):  # which YAML 1.1 reads as octal
        with pytest.raises(YamlError, match=f"without leading zeros, got {re.escape(text)}$"):
            value_in(text)
        assert not strict_yaml.is_empty(node_in(text))


def test_comments_byte_order_mark_and_windows_line_ends_are_accepted():
    """A file may be empty, begin with a byte order mark, and have Windows line ends."""
    for data in (b"", b"# a\n  # b\r\n", b"\xef\xbb\xbf# a\n"):
        assert strict_yaml.compose(data) is None
    root = strict_yaml.compose(b"\xef\xbb\xbfa: 1\r\nb: x\r\n")
    assert [(key.value, scalar(value)) for key, value in root.value] == [("a", 1), ("b", "x")]
    assert [line_of(key) for key, _ in root.value] == [1, 2]


@pytest.mark.parametrize(
    ("data", "line", "message"),
    [
        (b"a: 1\nb: caf\xe9\n", 2, "UTF-8 text, got byte 0xe9 (save the file as UTF-8)"),
        (b"a: \xed\xa0\x80", 1, "UTF-8 text, got byte 0xed (save the file as UTF-8)"),
        (b"a: 1\n#\0\n", 2, "text, got character 0x00"),
        ("a: \x9b31m".encode(), 1, "text, got character 0x9b"),
        (b"a: 1\nb: 'x\\ud800'\nc: \"x\\ud800\"\n", 3, 'text, got "x\\ud800"'),
        (b"a: 1\n---\nb: 2\n", 2, "key: value"),
        (b"a: 1\nb: *c\n", 2, "key: value"),
        (b"a:\n\tb: 1\n", 2, "key: value"),
        (b'a: "\\U00110000"', None, "ordinary numbers, got one out of range"),
        (b"%YAML 1." + b"9" * 5000 + b"\n---", None, "ordinary numbers, got one out of range"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_other_text_is_rejected_in_its_line(data, line, message):
    """Text that is not UTF-8, not printable, or not one YAML document is rejected. PyYAML's words
    do not reach people: `syntax` explains the line."""
    assert error_of(data) == (f"expected {message}", line)


def test_error_is_short_if_a_name_is_long():
    """A name of thousands of characters does not make the message long."""
    for text in ("a: &{0} 1\nb: &{0} 1", "a: *{0}", "a: !{0}!b 1", "a: !{0} 1"):
        message, _ = error_of(text.format("x" * 5000).encode())
        assert message.startswith("expected ")
        assert len(message) < 300


def test_tabs_are_spaces_except_in_indentation_and_quotes():
    """A tab after a colon, before a comment or in an empty line is a space. In quotes it stays."""
    data = b'a:\t1\t# x\n\t\n\t# y\nb: "c\td"\te\n'.replace(b"\te", b"\t")
    root = strict_yaml.compose(data)
    assert [(key.value, scalar(value)) for key, value in root.value] == [("a", 1), ("b", "c\td")]
    assert error_of(b"a:\n \tb: 1\n")[1] == 2


def test_tags_are_rejected_everywhere():
    """A tag, and so a Python object, is rejected at any place. Text may have exclamation marks."""
    for text, line, tag in (
        ("!!python/object/apply:os.system [ls]", 1, "!!python/object/apply:os.system"),
        ("a: 1\n!!python/tuple b: 2", 2, "!!python/tuple"),
        ("a:\n  - 1\n  - !!int 5", 3, "!!int"),
        ("a: ! b", 1, "!"),
        ("%TAG !p! tag:yaml.org,2002:python/\n---\na: !p!none x", 3, "!!python/none"),
    ):
        full = tag.replace("!!", "tag:yaml.org,2002:")
        message = f'expected a value without a YAML tag, got "{full}"'
        assert error_of(text.encode()) == (message, line)
    assert value_in("stop!") == "stop!"
    assert value_in("'!!python/none'") == "!!python/none"


def test_size_and_depth_are_limited():
    """A file may have 256 KiB and a few brackets in each other, not more."""
    start = b"a: 1\n#"
    assert MAX_BYTES == 256 * 1024
    full = start + b"x" * (MAX_BYTES - len(start))
    assert strict_yaml.compose(full).value[0][0].value == "a"
    assert error_of(full + b"x") == ("expected at most 262144 bytes, got 262145", None)
    assert strict_yaml.compose(b"[" * 5 + b"x" + b"]" * 5)
    message = "expected two or three levels of nesting, got hundreds"
    assert error_of(b"[" * 1500) == (message, None)


def test_value_is_shown_as_it_is_written_and_safe_to_print():
    """An error shows a value as written, short, on one line, and without control characters."""
    for text in ("false", "1e3", "9" * 60):
        assert show(node_in(text)) == text
    for text, quoted in (
        ("9" * 61, "9" * 60 + "…"),
        ("x" * 60, "x" * 60),
        ('|\n  say\n  "hi"', r"say\n\"hi\"\n"),
        ("Küche 1 °C", "Küche 1 °C"),
    ):
        assert show(node_in(text)) == f'"{quoted}"'
    assert quote("\x1b]0;a\nb\x07") == '"\\u001b]0;a\\nb\\u0007"'
    assert quote("a\u2028b\u202e\x9b\ud800") == '"a\\u2028b\\u202e\\u009b\\ud800"'


def test_anchor_that_no_alias_names_is_rejected():
    """A text such as `&Lamp big` is rejected, unless it is of a file that has run already."""
    for text, line in (("a: &Lamp big", 1), ("x: 1\nb: &Lamp", 2), ("a: [1, &b c]", 1)):
        with pytest.raises(YamlError, match="expected text in quotes, got") as caught:
            strict_yaml.compose(f"{text}\n".encode())
        assert caught.value.line == line
        assert strict_yaml.compose(text.encode(), may_have_anchors=True)
    for text in ("a: &b c\nd: *b", "a: &b {c: d}", "a: &b [c]", "a: '&b c'"):
        assert strict_yaml.compose(text.encode())
