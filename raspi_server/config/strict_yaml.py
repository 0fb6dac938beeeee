"""YAML without surprises: nodes with their lines, in which only `true` and `false` are booleans.

PyYAML parses the text. This module decides what a plain scalar means, because YAML 1.1 reads
`22:30` as 1350, `017` as 15 and the key `on` as true.
"""

import json
import re
from typing import Any, TypeGuard

import yaml

Scalar = str | int | float | bool | None
Node = yaml.Node
ScalarNode = yaml.ScalarNode

MAX_BYTES = 256 * 1024
"""Limit of the size of a configuration. 28 pins with every key and a comment take 20 kB."""

_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?([0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))([eE][-+]?[0-9]+)?")
_NOTHING = ("", "~", "null")
_NOT_FINITE = {".nan": "nan", ".inf": "inf", "+.inf": "inf", "-.inf": "-inf"}
_LEADING_ZERO = re.compile(r"[-+]?0[0-9]+")
_SURROGATE = re.compile("[\ud800-\udfff]")
_MAX_QUOTE_LENGTH = 60
_BLANK_START = re.compile(r"([ \t]*)(.*)", re.DOTALL)
_QUOTED = re.compile(r"""("(?:[^"\\]|\\.)*"|'[^']*')""")


class YamlError(ValueError):
    """Text that is no valid configuration. `line` counts from 1; None means the whole file.

    `problem` is the error of PyYAML for text that is no YAML. Its words are not for people.
    """

    def __init__(
        self, line: int | None, message: str, problem: yaml.MarkedYAMLError | None = None
    ) -> None:
        super().__init__(message)
        self.line = line
        self.problem = problem


class _Loader(yaml.BaseLoader):
    """PyYAML's loader without tags such as !!python/object, and with all scalars as text.

    `scalar` decides what they mean.
    """

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self.anchored: dict[str, int] = {}
        """The lines of the single values with an anchor that no alias has named so far."""

    def compose_node(self, parent: Node | None, index: Any) -> Node | None:
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent):
            self.anchored.pop(event.anchor or "", None)
        elif isinstance(event, yaml.ScalarEvent) and event.anchor:
            mark: Any = event.start_mark
            self.anchored[event.anchor] = mark.line + 1
        tag = getattr(event, "tag", None)
        if tag is not None:
            line = event.start_mark.line + 1
            raise YamlError(line, f"expected a value without a YAML tag, got {quote(tag)}")
        node = super().compose_node(parent, index)
        if node is not None and is_scalar(node) and _SURROGATE.search(node.value):
            raise YamlError(line_of(node), f"expected text, got {quote(node.value)}")
        return node


def decode(data: bytes) -> str:
    """Return the text of a configuration. Raise YamlError if it is not UTF-8 or too long."""
    if len(data) > MAX_BYTES:
        raise YamlError(None, f"expected at most {MAX_BYTES} bytes, got {len(data)}")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        message = f"expected UTF-8 text, got byte 0x{data[error.start]:02x}"
        raise YamlError(line, f"{message} (save the file as UTF-8)") from None


def compose(data: bytes, may_have_anchors: bool = False) -> Node | None:
    """Return the root node of the only document in `data`, or None if there are only comments.

    Raise YamlError for text that is not UTF-8, not YAML, too long, or nested too deeply. Unless it
    `may_have_anchors`, raise it also for `&Lamp big`, of which YAML drops the first word.
    """
    text = decode(data)
    try:
        loader = _Loader(_with_spaces(text))
        root: Node | None = loader.get_single_node()
        for name, line in {} if may_have_anchors else loader.anchored.items():
            raise YamlError(line, f"expected text in quotes, got {quote(f'&{name}')} in it")
        return root
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise YamlError(line, f"expected text, got character 0x{error.character:02x}") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise YamlError(mark.line + 1 if mark else None, "expected key: value", error) from None
    except (ValueError, OverflowError) as error:  # from PyYAML's chr() and int()
        if isinstance(error, YamlError):
            raise
        raise YamlError(None, "expected ordinary numbers, got one out of range") from None
    except RecursionError:
        raise YamlError(None, "expected two or three levels of nesting, got hundreds") from None


def _with_spaces(text: str) -> str:
    """Return the text with a space for each tab that YAML rejects but that can only mean a space.

    Those are the tabs after the first character of a line, outside quotes, and in empty lines and
    before comments.
    """
    if "\t" not in text:
        return text
    return "".join(_BLANK_START.sub(_without_tabs, row) for row in text.splitlines(keepends=True))


def _without_tabs(row: re.Match[str]) -> str:
    start, content = row.groups()
    if not content.strip() or content[0] == "#":
        return row[0].replace("\t", " ")
    parts = _QUOTED.split(content)
    parts[::2] = (part.replace("\t", " ") for part in parts[::2])
    return start + "".join(parts)


def line_of(node: Node) -> int:
    """Return the line, counted from 1, in which the node begins."""
    line: int = node.start_mark.line
    return line + 1


def is_mapping(node: Node) -> TypeGuard[yaml.MappingNode]:
    """Tell if a node has keys and values."""
    return isinstance(node, yaml.MappingNode)


def is_list(node: Node) -> TypeGuard[yaml.SequenceNode]:
    """Tell if a node is a list."""
    return isinstance(node, yaml.SequenceNode)


def is_scalar(node: Node) -> TypeGuard[ScalarNode]:
    """Tell if a node is a single value: a word, a number, a text or nothing."""
    return isinstance(node, yaml.ScalarNode)


def is_empty(node: Node) -> bool:
    """Tell if a node has no value: `pins:` alone on its line, or `null`."""
    return is_scalar(node) and node.style is None and node.value in _NOTHING


def scalar(node: ScalarNode) -> Scalar:
    """Return the value of a scalar. Raise YamlError for numbers such as `017`."""
    text: str = node.value
    if node.style is not None:  # in quotes or a block: always text
        return text
    if text in _NOTHING:
        return None
    if text in ("true", "false"):
        return text == "true"
    if _INTEGER.fullmatch(text) and len(text) <= 18:
        return int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    if text in _NOT_FINITE:
        return float(_NOT_FINITE[text])
    if _LEADING_ZERO.fullmatch(text):
        message = f"expected a number without leading zeros, got {text[:_MAX_QUOTE_LENGTH]}"
        raise YamlError(line_of(node), message)
    return text


def show(node: Node) -> str:
    """Return a node as the file has it, short and on one line, for an error message."""
    if not is_scalar(node):
        return "a list" if is_list(node) else "a mapping"
    text: str = node.value
    if node.style is not None:
        return quote(text)
    if text in _NOTHING:
        return "nothing"
    is_number = _INTEGER.fullmatch(text) or _FLOAT.fullmatch(text) or text in _NOT_FINITE
    plain = text in ("true", "false") or (is_number and len(text) <= _MAX_QUOTE_LENGTH)
    return text if plain else quote(text)


def quote(text: str) -> str:
    """Return the text in double quotes, escaped and shortened, safe to print and to log."""
    short = text if len(text) <= _MAX_QUOTE_LENGTH else text[:_MAX_QUOTE_LENGTH] + "…"
    return json.dumps(short, ensure_ascii=not short.isprintable())
