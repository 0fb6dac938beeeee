"""Keys of config.yaml in a wrong column.

YAML accepts most of them, and reads something else. What the schema says about where each key
belongs tells what was meant.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from types import UnionType
from typing import Any, NamedTuple, get_args

import msgspec

from .errors import Fault
from .schema import PIN_KEYS, Config
from .strict_yaml import quote


def _keys(struct: Any) -> set[str]:
    return {field.encode_name for field in msgspec.structs.fields(struct)}


def _sections() -> dict[str, set[str]]:
    """Return the keys of each section whose keys the schema names, by the name of the section."""
    found: dict[str, set[str]] = {}
    for field in msgspec.structs.fields(Config):
        kinds = get_args(field.type) if isinstance(field.type, UnionType) else (field.type,)
        for kind in kinds:
            if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
                found[field.encode_name] = _keys(kind)
    return found


_TOP_KEYS = _keys(Config)
SECTIONS = _sections()
KNOWN_KEYS = _TOP_KEYS.union(PIN_KEYS, *SECTIONS.values())
_TOP_WORDS = {
    word
    for field in msgspec.structs.fields(Config)
    if field.encode_name in PIN_KEYS
    for word in get_args(field.type)
}
"""The values of a key at the top that pins have, too: `gpio`."""
_UNKNOWN = "?"
"""Section below a key that the schema does not have, such as a mistyped one."""


class Entry(NamedTuple):
    """A line with a key, or with a word that was meant as one."""

    line: int
    indent: int
    key: str
    value: str

    @property
    def opens(self) -> bool:
        """True if keys may follow below it or in braces."""
        return not self.value or self.value[0] in "{*&"


def faults(
    rows: list[str], entries: list[Entry], lists: Iterable[list[tuple[int, int]]]
) -> list[Fault]:
    """Return the lines of a configuration that begin in a wrong column.

    `entries` are all keys of its `rows`; `lists` have line and column of each item of each list.
    """
    return _Columns(rows, entries, lists).found


class _Columns:
    """Check of the columns, with the mistakes `found`."""

    def __init__(
        self,
        rows: list[str],
        entries: list[Entry],
        lists: Iterable[list[tuple[int, int]]],
    ) -> None:
        self.found: list[Fault] = []
        self._rows = rows
        self._entries = entries
        for items in lists:
            usual = _usual(indent for _, indent in items)
            for line, indent in items:
                self._check_indent(line, indent, usual, "-")
        self._check_entries()

    def _check_indent(self, line: int, indent: int, usual: int, key: str, like: str = "") -> None:
        """Report a line that is not indented as usual."""
        if indent == usual:
            return
        message = f"expected {_spaces(usual)} before {shown_key(key)}{like}, got {indent or 'none'}"
        self.found.append(Fault(line, indent, message, moves_keys=True))

    def _check_entries(self) -> None:
        """Check the column of each key, from what the schema says about where it belongs."""
        section = ""
        names: list[Entry] = []
        parts: list[list[Entry]] = []
        """The keys of each pin. Those at the same index belong to the same name."""
        others: dict[str, list[Entry]] = {}
        has_pins = any(entry.key == "pins" for entry in self._entries)
        for index, entry in enumerate(self._entries):
            before = self._entries[index - 1] if index else None
            following = self._entries[index + 1] if index + 1 < len(self._entries) else None
            may_be_pin = not has_pins and section != _UNKNOWN and entry.indent > 0
            if may_be_pin and self._is_name(entry, following, []):
                self._report_lost_pins(entry)
                has_pins, section = True, "pins"
            is_name = section == "pins" and self._is_name(entry, following, parts)
            if not is_name and self._is_top(entry, section, before):
                self._check_indent(entry.line, entry.indent, 0, entry.key)
                section = entry.key if entry.opens else ""
            elif section == "pins" and is_name:
                names.append(entry)
                parts.append([])
            elif entry.indent == 0 and entry.opens and entry.key not in PIN_KEYS:
                section = _UNKNOWN
            elif section == "pins" and self._is_pin_key(entry, parts):
                if name := self._commented_name(entry, parts):
                    names.append(name)
                    parts.append([])
                if parts:
                    parts[-1].append(entry)
            elif entry.key in SECTIONS.get(section, ()):
                others.setdefault(section, []).append(entry)
        for section, entries in others.items():
            self._check_siblings(entries, 0, section)
        self._check_pins(names, parts)

    def _report_lost_pins(self, entry: Entry) -> None:
        """Report that the line `pins:` is missing or a comment above the first pin."""
        for row in range(entry.line - 2, -1, -1):
            if re.fullmatch(r"# *pins: *", self._rows[row]):
                message = "expected pins: above the pins; remove the # here"
                self.found.append(Fault(row + 1, 0, message, moves_keys=True))
                return
        message = f"expected pins: in a line above {shown_key(entry.key)}"
        self.found.append(Fault(entry.line, entry.indent, message, moves_keys=True))

    def _is_pin_key(self, entry: Entry, parts: list[list[Entry]]) -> bool:
        if not entry.key or entry.key in PIN_KEYS:
            return bool(entry.key)
        before = parts[-1][-1] if parts and parts[-1] else None
        is_inside = before and not before.value and entry.indent > before.indent
        return bool(entry.value and entry.indent and not is_inside)

    def _commented_name(self, entry: Entry, parts: list[list[Entry]]) -> Entry | None:
        """Return the name of a pin that is still a comment, right above a key of that pin."""
        row = self._rows[entry.line - 2] if entry.line > 1 else ""
        match = re.fullmatch(r"#( *)([a-z][a-z0-9_-]*): *", row.strip())
        if match is None or (parts and entry.key not in {each.key for each in parts[-1]}):
            return None
        message = f"expected the name of a pin above {shown_key(entry.key)}; remove the # here"
        self.found.append(Fault(entry.line - 1, row.index("#"), message, moves_keys=True))
        return Entry(entry.line - 1, row.index("#") + len(match[1]), match[2], "")

    def _is_top(self, entry: Entry, section: str, before: Entry | None) -> bool:
        """Tell if an entry is a key of the top, whatever its column."""
        is_sibling = before is not None and entry.indent == before.indent
        if entry.indent and section in SECTIONS and is_sibling:
            return False  # the parser tells where it belongs
        if entry.indent and section not in ("", "pins", *SECTIONS):
            return False  # of what is below other keys, nothing is known
        own = PIN_KEYS if section == "pins" else SECTIONS.get(section, set())
        if entry.key in own:
            return entry.indent == 0 and entry.value in _TOP_WORDS
        return entry.key in _TOP_KEYS and (entry.key not in PIN_KEYS or entry.value in _TOP_WORDS)

    def _is_name(self, entry: Entry, following: Entry | None, parts: list[list[Entry]]) -> bool:
        """Tell if an entry below `pins` is the name of a pin, whatever its column."""
        if not entry.opens or not entry.key or (entry.key in _TOP_KEYS and entry.indent == 0):
            return False
        if following and following.key in SECTIONS.get(entry.key, ()):
            return not {"gpio", "mode"}.isdisjoint(self._keys_below(following))
        if entry.value.startswith("{"):
            return "gpio" in entry.value or "mode" in entry.value
        if entry.value:
            return entry.key not in PIN_KEYS
        if following is None or following.key not in PIN_KEYS:
            return False
        if following.indent > entry.indent:
            return True
        if entry.key in PIN_KEYS or entry.key in _TOP_KEYS:
            return False
        known = {each.key for each in parts[-1]} if parts else set()
        return not known or following.key in known or entry.indent < parts[-1][-1].indent

    def _keys_below(self, first: Entry) -> Iterator[str]:
        """Yield the keys that follow in the column of `first`, with its own."""
        for entry in self._entries[self._entries.index(first) :]:
            if entry.indent < first.indent:
                return
            yield entry.key

    def _check_siblings(self, entries: list[Entry], parent: int, section: str) -> None:
        usual = _usual(entry.indent for entry in entries if entry.indent > parent)
        for entry in entries:
            self._check_indent(entry.line, entry.indent, usual, entry.key, f", below {section}")

    def _check_pins(self, names: list[Entry], parts: list[list[Entry]]) -> None:
        keys = _usual(each.indent for part in parts for each in part)
        name_indent = _usual((name.indent for name in names if name.indent), half_of=keys)
        everywhere = [each.indent for part in parts for each in part if each.indent > name_indent]
        key_indent = _usual(everywhere, name_indent + 2)
        known = {name_indent + 2, *everywhere}
        for name, part in zip(names, parts, strict=True):
            self._check_indent(name.line, name.indent, name_indent, name.key, ", a pin's name")
            own = [each.indent for each in part if each.indent > name_indent]
            count = Counter(own)
            best = [n for n in count if count[n] == max(count.values())]
            if len(best) == 1 and (len(part) > 1 or best[0] in known):
                usual = best[0]
            else:
                usual = key_indent
            for each in part:
                like = f", a key of {shown_key(name.key)}"
                self._check_indent(each.line, each.indent, usual, each.key, like)


def _usual(indents: Iterable[int], default: int = 2, half_of: int = 0) -> int:
    """Return the most frequent indentation; of several, the half of another, an even or small one.

    Without any it is `default`.
    """
    counts = Counter(indents)
    return max(counts, key=lambda n: (counts[n], 2 * n == half_of, n % 2 == 0, -n), default=default)


def _spaces(count: int) -> str:
    return "no space" if count == 0 else "1 space" if count == 1 else f"{count} spaces"


def shown_key(key: str) -> str:
    """Return a key, in quotes if it is no short word."""
    return key if re.fullmatch(r"[\w.-]{1,40}", key) else quote(key)
