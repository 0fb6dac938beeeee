"""Keys of config.yaml in a wrong column.

YAML accepts most of them, and reads something else. What the schema says about where each key
belongs tells what was meant.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, get_args, get_origin

import msgspec

from .errors import Fault
from .schema import PIN_KEYS, Config, TimeOfDay
from .strict_yaml import quote


def _keys(struct: Any) -> set[str]:
    return {field.encode_name for field in msgspec.structs.fields(struct)}


def _structs(kind: Any) -> Iterator[Any]:
    """Yield the structs with keys that a type of the schema has."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct) and kind is not TimeOfDay:
        yield kind
    for part in get_args(kind):
        yield from _structs(part)


def _sections(is_named: bool) -> dict[str, set[str]]:
    """Return the keys of each section, or of each that has names with those keys below them."""
    found: dict[str, set[str]] = {}
    for field in msgspec.structs.fields(Config):
        for struct in _structs(field.type):
            if is_named == (get_origin(field.type) in (dict, tuple)):
                found.setdefault(field.encode_name, set()).update(_keys(struct) - {"name"})
    return found


def _openers() -> dict[str, set[str]]:
    """Return those keys below the names of each section that have keys of their own."""
    found: dict[str, set[str]] = {name: set() for name in NAMED}
    for section in msgspec.structs.fields(Config):
        for struct in _structs(section.type) if section.encode_name in NAMED else ():
            for field in msgspec.structs.fields(struct):
                origins = (get_origin(field.type), *map(get_origin, get_args(field.type)))
                if dict in origins or any(_structs(field.type)):
                    found[section.encode_name].add(field.encode_name)
    return found


TOP_KEYS = _keys(Config)
SECTIONS = _sections(is_named=False)
NAMED = _sections(is_named=True) | {"pins": set(PIN_KEYS)}
OPENERS = _openers()
KNOWN_KEYS = TOP_KEYS.union(PIN_KEYS, *SECTIONS.values())
ALL_KEYS = KNOWN_KEYS.union(*NAMED.values(), ("on", "off"))
"""KNOWN_KEYS and the keys below names, as in rules. Some of these are everyday words, such as
`for`, so alone they do not show that a line has a key."""
_TOP_WORDS = {
    word
    for field in msgspec.structs.fields(Config)
    if field.encode_name in PIN_KEYS
    for word in get_args(field.type)
}
"""The values of a key at the top that pins have, too: `gpio`."""
_NONE: Counter[int] = Counter()
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
        named = {each: _Named(each) for each in NAMED}
        others: dict[str, list[Entry]] = {}
        has_pins = any(entry.key == "pins" for entry in self._entries)
        for index, entry in enumerate(self._entries):
            before = self._entries[index - 1] if index else None
            following = self._entries[index + 1] if index + 1 < len(self._entries) else None
            if not has_pins and entry.indent > 0 and self._is_lost_pin(entry, following, section):
                self._report_lost_pins(entry)
                has_pins, section = True, "pins"
            own = named.get(section)
            is_name = own is not None and self._is_name(entry, following, own)
            if not is_name and self._is_top(entry, section, before):
                self._check_indent(entry.line, entry.indent, 0, entry.key)
                section = entry.key if entry.opens else ""
            elif own and is_name:
                own.add_name(entry)
            elif (
                entry.indent == 0 and entry.opens and entry.key not in NAMED.get(section, PIN_KEYS)
            ):
                section = _UNKNOWN
            elif own and self._is_key_below_name(entry, own):
                if name := self._commented_name(entry, own):
                    own.add_name(name)
                own.add_key(entry)
            elif entry.key in SECTIONS.get(section, ()):
                others.setdefault(section, []).append(entry)
        for section, entries in others.items():
            self._check_siblings(entries, 0, section)
        self._check_named(list(named.values()))

    def _is_lost_pin(self, entry: Entry, following: Entry | None, section: str) -> bool:
        """Tell if an entry is a pin, although no section of pins has begun."""
        if section == _UNKNOWN or entry.key in SECTIONS.get(section, ()):
            return False
        if section in NAMED and not (following and following.key in ("gpio", "mode")):
            return False
        return entry.value[:1] in ("", "{") and self._is_name(entry, following, _Named("pins"))

    def _report_lost_pins(self, entry: Entry) -> None:
        """Report that the line `pins:` is missing or a comment above the first pin."""
        for row in range(entry.line - 2, -1, -1):
            if re.fullmatch(r"# *pins: *", self._rows[row]):
                message = "expected pins: above the pins; remove the # here"
                self.found.append(Fault(row + 1, 0, message, moves_keys=True))
                return
        message = f"expected pins: in a line above {shown_key(entry.key)}"
        self.found.append(Fault(entry.line, entry.indent, message, moves_keys=True))

    def _is_key_below_name(self, entry: Entry, own: "_Named") -> bool:
        before = own.last
        is_inside = before and not before.value and entry.indent > before.indent
        if is_inside and before and before.key in OPENERS[own.section]:
            return False
        if not entry.key or entry.key in own.keys:
            return bool(entry.key)
        return bool(entry.value and entry.indent and not is_inside)

    def _commented_name(self, entry: Entry, own: "_Named") -> Entry | None:
        """Return a name that is still a comment, right above a key that belongs below it."""
        row = self._rows[entry.line - 2] if entry.line > 1 else ""
        match = re.fullmatch(r"#( *)([a-z][a-z0-9_-]*): *", row.strip())
        if match is None or (own.names and entry.key not in {each.key for each in own.parts[-1]}):
            return None
        message = f"expected the name of a {own.what} above {shown_key(entry.key)}"
        message += "; remove the # here"
        self.found.append(Fault(entry.line - 1, row.index("#"), message, moves_keys=True))
        return Entry(entry.line - 1, row.index("#") + len(match[1]), match[2], "")

    def _is_top(self, entry: Entry, section: str, before: Entry | None) -> bool:
        """Tell if an entry is a key of the top, whatever its column."""
        is_sibling = before is not None and entry.indent == before.indent
        if entry.indent and section in SECTIONS and is_sibling:
            return False  # the parser tells where it belongs
        if entry.indent and section not in ("", *NAMED, *SECTIONS):
            return False  # of what is below other keys, nothing is known
        own = NAMED.get(section, SECTIONS.get(section, set()))
        if entry.key in own:
            return entry.indent == 0 and entry.value in _TOP_WORDS
        return entry.key in TOP_KEYS and (entry.key not in PIN_KEYS or entry.value in _TOP_WORDS)

    def _is_name(self, entry: Entry, following: Entry | None, own: "_Named") -> bool:
        """Tell if an entry in a section of names is such a name, whatever its column."""
        if not entry.opens or not entry.key or (entry.key in TOP_KEYS and entry.indent == 0):
            return False
        if own.section == "pins" and following and following.key in SECTIONS.get(entry.key, ()):
            return not {"gpio", "mode"}.isdisjoint(self._keys_below(following))
        if entry.value.startswith("{"):
            if own.section == "pins":
                return "gpio" in entry.value or "mode" in entry.value
            return entry.key not in own.keys
        if entry.value:
            return entry.key not in own.keys
        if following is None or following.key not in own.keys:
            return False
        if entry.key in OPENERS[own.section] and own.names:
            return False
        if following.indent > entry.indent:
            return True
        if entry.key in own.keys or entry.key in TOP_KEYS:
            return False
        known = {each.key for each in own.parts[-1]} if own.parts else set()
        return not known or following.key in known or entry.indent < own.parts[-1][-1].indent

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

    def _check_named(self, sections: list["_Named"]) -> None:
        """Check names and keys against those of their section; where these differ, of all."""
        names = [indent for each in sections for indent in each.name_indents]
        keys = [indent for each in sections for indent in each.key_indents(0)]
        for own in sections:
            self._check_section(own, Counter(names), Counter(keys))

    def _check_section(self, own: "_Named", names: Counter[int], keys: Counter[int]) -> None:
        half_of = _usual(own.key_indents(0), like=keys)
        name_indent = _usual(own.name_indents or names, half_of=half_of, like=names)
        everywhere = own.key_indents(name_indent)
        key_indent = _usual(everywhere, name_indent + 2, like=keys)
        known = {name_indent + 2, *everywhere}
        for name, part in zip(own.names, own.parts, strict=True):
            like = f", a {own.what}'s name"
            self._check_indent(name.line, name.indent, name_indent, name.key, like)
            count = Counter(each.indent for each in part if each.indent > name_indent)
            best = [n for n in count if count[n] == max(count.values())]
            if len(best) == 1 and (len(part) > 1 or best[0] in known):
                usual = best[0]
            else:
                usual = key_indent
            for each in part:
                like = f", a key of {shown_key(name.key)}"
                self._check_indent(each.line, each.indent, usual, each.key, like)


class _Named:
    """A section of names with keys below them: those at the same index of `parts` are of a name."""

    def __init__(self, section: str) -> None:
        self.section = section
        self.what = section.removesuffix("s")
        self.keys = NAMED[section]
        self.names: list[Entry] = []
        self.parts: list[list[Entry]] = []

    def add_name(self, entry: Entry) -> None:
        """Add a name."""
        self.names.append(entry)
        self.parts.append([])

    def add_key(self, entry: Entry) -> None:
        """Add a key of the last name."""
        if self.parts:
            self.parts[-1].append(entry)

    @property
    def last(self) -> Entry | None:
        """The last key, None above the first one of a name."""
        return self.parts[-1][-1] if self.parts and self.parts[-1] else None

    @property
    def name_indents(self) -> list[int]:
        """The indentations of the names that have no key in their column or left of it."""
        pairs = zip(self.names, self.parts, strict=True)
        return [
            name.indent
            for name, part in pairs
            if name.indent and (not part or any(each.indent > name.indent for each in part))
        ]

    def key_indents(self, beyond: int) -> list[int]:
        """Return the indentations of the keys that are indented deeper than `beyond`."""
        return [each.indent for part in self.parts for each in part if each.indent > beyond]


def _usual(
    indents: Iterable[int], default: int = 2, half_of: int = 0, like: Counter[int] = _NONE
) -> int:
    """Return the most frequent indentation; of several that of `like`, or the half of another.

    Without any it is `default`.
    """
    counts = Counter(indents)

    def rank(n: int) -> tuple[int, int, bool, bool, int]:
        return counts[n], like[n], 2 * n == half_of, n % 2 == 0, -n

    return max(counts, key=rank, default=default)


def _spaces(count: int) -> str:
    return "no space" if count == 0 else "1 space" if count == 1 else f"{count} spaces"


def shown_key(key: str) -> str:
    """Return a key, in quotes if it is no short word."""
    return key if re.fullmatch(r"[\w.-]{1,40}", key) else quote(key)
