"""Mistakes in the lines of config.yaml, explained to people who do not program.

PyYAML says where it gave up, in its own words and often a line late. This module reads the lines
themselves, for files that have an error. It knows the keys, so it also finds what YAML accepts but
reads as something else, such as a lost comment sign. `columns.py` finds keys in a wrong column.
"""

import re

import yaml

from . import columns
from .columns import ALL_KEYS, KNOWN_KEYS, NAMED, OPENERS, SECTIONS, TOP_KEYS, Entry, shown_key
from .errors import Fault
from .masking import MASK, is_secret
from .quotes import end_of_quotes, mask_quotes, outside_quotes

MAX_EXCERPT = 76
"""Longest excerpt of a line, in characters: it fits a terminal."""

_WITH_KEYS = {*SECTIONS, *NAMED}.union(*OPENERS.values())
"""The keys that have keys or names below them."""

_MAX_ROW = 1000
"""Longest line that is read, in characters. Longer ones are not written by people."""

_MAX_FAULTS = 100
"""Most mistakes that are looked for. The first ones are told."""

_KEY = re.compile(r"""([^ \t:#"'{}\[\],=]+|"[^"]*"|'[^']*') *:(?=[ \t]|$)""")
_SPOKEN_KEY = re.compile(r"([^:#\"'{}\[\],=]+?) *:(?=[ \t]|$)")
_WORD = r"[A-Za-z][\w-]*"
_BLOCK_TEXT = re.compile(r"[|>][-+0-9]*( +#.*)?$")
_TEXT_KEYS = ("label", "room")
"""The keys whose values are free text."""
_ODD_SPACES = {
    "\xa0": "a no-break space",
    "\u2007": "a no-break space",
    "\u202f": "a no-break space",
    "\u200b": "an invisible space",
    "\u2060": "an invisible space",
    "\ufeff": "an invisible space",
    "\u3000": "a wide space",
}
_CURLY_QUOTES = "“”„‟‘’‚‛«»‹›"
_BAD_ESCAPE = re.compile(r"""\\(?![0abtnvfre "/\\N_LP]|x[0-9A-Fa-f]{2}|u[0-9A-Fa-f]{4}|U)""")

_ADVICE = (
    ("document", "expected one configuration, got a second one; remove this line"),
    ("anchor|alias|tag", "expected text in quotes: *, & and ! at the beginning mean more to YAML"),
    ("flow|node content", "expected brackets in pairs, and a comma between two values in them"),
    ("quoted|escape", "expected text that ends with the quote it begins with"),
    ("block scalar", "expected text in quotes: | and > at the beginning mean more to YAML"),
    ("directive", "expected key: value, got a line that begins with %"),
    ("character", "expected text in quotes, or an ordinary character at the beginning"),
    ("mapping values", "expected one key: value in a line, in the column of the line above"),
)
"""Parts of what PyYAML says, and what we say if the lines themselves explain nothing."""
_OTHER_ADVICE = (
    "expected key: value, with as many spaces before it as the other keys of its section have"
)


def faults(
    text: str, is_rejected: bool = False, problem: yaml.MarkedYAMLError | None = None
) -> list[Fault]:
    """Return the mistakes that the lines of an invalid configuration show, from top to bottom.

    `is_rejected` says that it is no YAML. `problem` is the error of PyYAML, if that rejected it.
    Then there is at least one mistake.
    """
    found = sorted(_Scan(text, is_rejected).found)
    return found or ([_from_problem(problem, text.splitlines())] if problem else [])


def excerpt(rows: list[str], fault: Fault) -> tuple[str, ...]:
    """Return the line of a mistake and a line with a mark below it, safe to print.

    `rows` are the lines of the file, masked. One with a comment about a password is not shown.
    """
    row = rows[fault.line - 1] if fault.line <= len(rows) else ""
    if is_secret(row.partition("#")[2]):
        return ()
    row = row.replace("\t", "→")
    shown = "".join("␣" if c in _ODD_SPACES else c if c.isprintable() else "?" for c in row)
    start = max(0, fault.column - MAX_EXCERPT // 2) if len(shown) > MAX_EXCERPT else 0
    shown = shown[start : start + MAX_EXCERPT]
    return f"  {shown}", f"  {' ' * (fault.column - start)}^"


def _from_problem(problem: yaml.MarkedYAMLError, rows: list[str]) -> Fault:
    """Return advice for the place that PyYAML names, where the lines explain nothing."""
    words = f"{problem.context} {problem.problem}"
    mark = problem.problem_mark
    if problem.context_mark and re.search("simple key|flow|quoted", words):
        mark = problem.context_mark  # where it began, not where PyYAML noticed
    if mark is None:
        return Fault(1, 0, _OTHER_ADVICE)
    before = rows[mark.line - 1] if 0 < mark.line <= len(rows) else ""
    if match := re.fullmatch(rf"( *)# *({_WORD}: *)", before):
        message = f"expected {match[2].strip()} above the next line; remove the # here"
        return Fault(mark.line, len(match[1]), message)
    advice = next((advice for part, advice in _ADVICE if re.search(part, words)), _OTHER_ADVICE)
    return Fault(mark.line + 1, mark.column, advice)


_ANY_KEY = "|".join(sorted(ALL_KEYS, key=len, reverse=True))
_IN_BRACKETS = [
    (re.compile(pattern), message)
    for pattern, message in (
        (
            rf"(?<![\w-])(?P<key>{'|'.join(_TEXT_KEYS)}): +(?P<at>)(?P<text>"
            rf"(?:[*&!%@`>|\[]|[-?] )[^{{}}]*?|[^\"'{{}},\[]+,(?! *(?:{_ANY_KEY}):)[^{{}}:]*?"
            rf"|[^\"'{{}},\[]+: [^{{}},]*?)(?= *(?:,? *(?:{_ANY_KEY}):|[}}]|$))",
            "expected a {} in quotes, because of a sign in it",
        ),
        (
            rf"(?:^|[{{,]) *(?:{_ANY_KEY}):(?P<at>)(?=[^ \t/,}}])",
            "expected a space after the colon",
        ),
        (
            rf"(?:^|[{{,]) *(?:{_ANY_KEY})(?P<at>)(?= +[\w.-]+ *[,}}])",
            "expected a colon after this key",
        ),
        (rf"(?:^|[{{,]) *(?:{_ANY_KEY})(?P<at>)(?= *=)", "expected a colon, got ="),
        (rf"(?<=[\w\"'])(?P<at>)(?=;? +(?:{_ANY_KEY}): )", "expected a comma before the next key"),
        (
            r"[\[,:] *(?P<at>)(?=[*&!%@`])",
            "expected quotes around text that begins with a sign such as *",
        ),
        (
            r": *-?[0-9]+(?P<at>),[0-9]+ ?[a-zA-Z]*(?= *(?:[,}]|$))",
            "expected a point in the number, got a comma",
        ),
    )
]
"""Mistakes between brackets, each `at` its place, and what is told of them."""


class _Scan:
    """Reading of the lines, with the mistakes `found`. `rejected` tells if PyYAML failed."""

    def __init__(self, text: str, rejected: bool) -> None:
        self.found: list[Fault] = []
        self._rows = text.splitlines()
        self._rejected = rejected
        aliases = re.findall(r"(?<![^\s,\[:])\*([\w-]+)", text)
        self._anchors = {name for name in re.findall(r"(?<![^\s,\[:])&([\w-]+)", text)}
        self._anchors.intersection_update(aliases)
        self._entries: list[Entry] = []
        self._lists: list[list[tuple[int, int]]] = []
        """Lists, each with line and indentation of its items."""
        self._begun = False
        number = 0
        while number < len(self._rows) and len(self.found) < _MAX_FAULTS:
            number = self._read(number)
        self.found += columns.faults(self._rows, self._entries, self._lists)

    def _fault(self, row: int, column: int, message: str) -> None:
        self.found.append(Fault(row + 1, column, message))

    def _read(self, number: int) -> int:
        """Read the line at `number` with those that belong to it. Return the next number."""
        row = self._rows[number]
        body = row.lstrip(" \t")
        column = len(row) - len(body)
        if not body or body[0] == "#" or len(row) > _MAX_ROW:
            return number + 1
        is_first, self._begun = not self._begun, True
        if (tab := row[:column].find("\t")) >= 0:
            self._fault(number, tab, "expected spaces before the key, got a tab")
            return number + 1
        if self._check_characters(number, row):
            return number + 1
        if body.split("#")[0].strip() in ("---", "..."):
            if not is_first or body[0] == ".":
                self._fault(number, 0, "expected one configuration; remove this line")
            return number + 1
        if body[0] in "?:" and not self._rejected:
            return number + 1  # a key that is no word, which the parser rejects
        if body[0] == "-" and not re.match(r"-\d", body):
            return self._read_item(number, column, body)
        if body[0] in "{[" and (self._entries and not self._entries[-1].value or is_first):
            self._entries[-1:] = [each._replace(value=body) for each in self._entries[-1:]]
            return self._read_brackets(number, column, body)
        match = _KEY.match(body)
        spoken = _SPOKEN_KEY.match(body)  # of several words, which can only be a pin's name
        if match is None and spoken and body[spoken.end() :].strip(" \t")[:1] in ("", "{", "#"):
            match = spoken
        if match is None:
            return self._read_without_key(number, column, body)
        if "\t" in match[1]:
            place = column + match[1].index("\t")
            self.found.append(Fault(number + 1, place, "expected a word, got a tab in it", True))
            key, value = match[1].replace("\t", ""), body[match.end() :].strip(" \t")
            self._entries.append(Entry(number + 1, column, key, value))
            return number + 1
        key, rest = match[1].strip("\"'"), body[match.end() :]
        value = rest.strip(" \t")
        return self._read_value(number, column, key, value, len(row) - len(rest.lstrip(" \t")))

    def _check_characters(self, number: int, row: str) -> bool:
        """Report a character that looks like another one. Return True if there is one."""
        content = re.split(r"[ \t]#", row)[0]
        match = re.match(r"[^:：]*[:：]?[ \t]*", content)
        start = match.end() if match else 0
        is_text = re.match(r" *(label|room) *:", content)
        for column, character in enumerate(content):
            if is_text and column > start:
                break
            if name := _ODD_SPACES.get(character):
                message = f"expected an ordinary space, got {name}"
                self.found.append(Fault(number + 1, column, message, moves_keys=True))
                return True
        if (column := content.find("：")) >= 0 and ":" not in content[:column]:
            message = "expected an ordinary colon, got a wide one"
            self.found.append(Fault(number + 1, column, message, moves_keys=True))
            return True
        if content[start : start + 1] and content[start] in _CURLY_QUOTES:
            message = 'expected a straight quote " or none, got a curly quote'
            self._fault(number, start, f"{message} {content[start]}")
            return True
        return False

    def _read_item(self, number: int, column: int, body: str) -> int:
        """Read an item of a list."""
        item = body[1:].lstrip(" \t")
        if body[1:2].strip():
            self._fault(number, column + 1, f"expected a space after -{_write('- ' + item)}")
            return number + 1
        if match := _KEY.match(item):
            key, value = match[1], _without_comment(item[match.end() :].strip(" \t"))
            message = f"expected no - before {shown_key(key)}"
            if key == "name":
                message = "expected a pin's name, got - name" + _write(f"{value}:")
                key = value = ""
            self.found.append(Fault(number + 1, column, message, moves_keys=True))
            start = len(self._rows[number]) - len(item)
            self._entries.append(Entry(number + 1, start, key, value))
            return number + 1
        if self._lists and self._lists[-1][-1][0] == self._last_line(number):
            self._lists[-1].append((number + 1, column))
        else:
            self._lists.append([(number + 1, column)])
        if item[:1] and item[0] in "*&!%@`":
            message = f"expected text in quotes: {item[0]} at its beginning means more to YAML"
            message += _write(f"- {_in_quotes(_without_comment(item))}")
            self._fault(number, len(self._rows[number]) - len(item), message)
        if item[:1] in ('"', "'"):
            return self._read_quoted(number, item, len(self._rows[number]) - len(item), "")
        return number + 1

    def _last_line(self, number: int) -> int:
        """Return the number, from 1, of the last line with content before the one at `number`."""
        rows = self._rows[:number]
        return next((n for n in range(number, 0, -1) if _has_content(rows[n - 1])), 0)

    def _read_without_key(self, number: int, column: int, body: str) -> int:
        """Read a line that has no `key:`. Report what it was probably meant to be."""
        text = _without_comment(body)
        before = self._entries[-1] if self._entries else None
        is_deeper = before and before.value and column > before.indent
        if not self._rejected and is_deeper and before and before.key in _TEXT_KEYS:
            return number + 1  # a label on two lines
        is_below = before and not before.value and column > before.indent
        if before and is_below and before.key in self._keys_here() - _WITH_KEYS:
            self._entries[-1] = before._replace(value=text)  # a value below its key
            return number + 1
        message, key, value = self._explain_without_key(number, column, text)
        self._entries.append(Entry(number + 1, column, key, value))
        place = column
        if key and text.startswith(key):
            place += len(key) + (text[len(key) : len(key) + 1] == ":")
        self.found.append(Fault(number + 1, place, message, moves_keys=True))
        return number + 1

    def _explain_without_key(self, number: int, column: int, text: str) -> tuple[str, str, str]:
        """Return the message, and the key and the value that were probably meant."""
        if match := re.fullmatch(rf"({_WORD}) *:+ *(.*)", text):
            key, value = match.groups()
            wanted = "one colon after" if "::" in text else "a space after the colon of"
            message = f"expected {wanted} {shown_key(key)}"
            return message + _write(f"{key}: {value}"), key, value
        if match := re.fullmatch(rf"({_WORD})[ \t]*[=;][ \t]*(.*)", text):
            key, value = match.groups()
            return (
                f"expected a colon after {shown_key(key)}" + _write(f"{key}: {value}"),
                key,
                value,
            )
        if match := re.fullmatch(rf"({_WORD})[ \t]*(\{{.*)?", text):
            key, value = match[1], match[2] or ""
            written = f"{key}: {value}" if value else f"{key}:"
            return f"expected a colon after {shown_key(key)}" + _write(written), key, value
        if (match := re.fullmatch(rf"({_WORD})[ \t]+(.*)", text)) and match[1] in self._keys_here():
            key, value = match.groups()
            return f"expected a colon after {key}" + _write(f"{key}: {value}"), key, value
        following = self._following(number)
        if following and following[0] > column and following[1] in self._keys_here():
            name = re.sub("[^a-z0-9]+", "-", text.lower()).strip("-")
            return "expected a name and a colon" + _write(f"{name}:"), name, ""
        message = "expected key: value; if this is a comment, begin the line with #"
        return message, "", text

    def _keys_here(self) -> set[str]:
        """Return the keys that may be in the section of the last line."""
        tops = (
            each.key for each in reversed(self._entries) if each.key in TOP_KEYS and not each.indent
        )
        return KNOWN_KEYS | NAMED.get(next(tops, ""), set())

    def _following(self, number: int) -> tuple[int, str] | None:
        """Return indentation and key of the next line with content."""
        for row in self._rows[number + 1 :]:
            body = row.lstrip(" \t")
            if body and body[0] != "#":
                match = re.match(rf"{_WORD}", body)
                return len(row) - len(body), match[0] if match else ""
        return None

    # Values

    def _read_value(self, number: int, column: int, key: str, value: str, start: int) -> int:
        """Read `key: value`, whose value begins at the column `start`."""
        anchor = re.match(r"&([\w-]+)( +|$)", value)
        if anchor and (not self._rejected or anchor[1] in self._anchors):
            value, start = value[anchor.end() :], start + anchor.end()
        bare = _without_comment(value)
        self._entries.append(Entry(number + 1, column, key, bare))
        if self._rejected and bare == MASK and is_secret(key):  # else the parser tells it
            words = "expected no password in this file; write password_file: FILE below mqtt"
            self._fault(number, column, f"{words}, with the password alone in that file")
            return number + 1
        if value[:1] in ('"', "'"):
            return self._read_quoted(number, value, start, key)
        if value[:1] in ("{", "[") and key not in _TEXT_KEYS:
            return self._read_brackets(number, start, value)
        if _BLOCK_TEXT.match(value):
            return self._after_deeper(number, column)
        message = self._explain_value(key, value, bare)
        if message:
            self._fault(number, start, message)
        return number + 1

    def _explain_value(self, key: str, value: str, bare: str) -> str:
        """Return what is wrong with a value without quotes and brackets, or an empty text."""
        is_label = key in _TEXT_KEYS
        in_quotes = _write(f"{key}: {_in_quotes(value if value[:1] == '#' else bare)}")
        if not bare:
            if is_label and value.startswith("#") and value[1:2].strip():
                return f"expected a {key} in quotes: # begins a comment" + in_quotes
            return ""
        if bare[0] == "(" and re.search(rf"{_WORD}: ", bare):
            return "expected { and } around keys in one line" + _write(f"{key}: {{{bare[1:-1]}}}")
        if re.fullmatch(r"&[\w-]+", bare) and not is_label:
            return ""  # a name for what is below
        if (alias := re.fullmatch(r"\*([\w-]+)", bare)) and alias[1] in self._anchors:
            return ""
        what = f"a {key}" if is_label else "text"
        is_marker = bare[0] in "*&!@%`|>,]}" or re.match(r"[-?:]( |$)", bare)
        if (is_label and (is_marker or bare[0] in "[{")) or (is_marker and self._rejected):
            message = f"expected {what} in quotes: {bare[0]} at its beginning means more to YAML"
            return message + in_quotes
        if re.search(r":( |$)", bare):
            second = re.search(rf"[ ,;]+({_WORD}):( |$)", bare)
            if second and second[1] in self._keys_here() and not is_label:
                return f"expected {second[1]} in a line of its own, below {shown_key(key)}"
            if not is_label and bare.endswith(":") and bare.count(":") == 1:
                return "expected no colon behind the value" + _write(f"{key}: {bare[:-1]}")
            return f"expected {what} in quotes, because of its colon{in_quotes}"
        return ""

    def _read_quoted(self, number: int, value: str, start: int, key: str) -> int:
        """Read a value in quotes."""
        mark = value[0]
        prefix = f"{key}: " if key else "- "
        end = end_of_quotes(value)
        if end is None:
            after = self._end_of_long_quotes(number, mark)
            if after:
                return after
            text = _without_comment(value)[1:].strip()
            text = text[:-1] if text[-1:] in ("'", '"') else text
            message = f"expected {mark} at the end, too: the text begins with it"
            self._fault(number, start, message + _write(prefix + _in_quotes(text)))
        elif (rest := value[end:].strip(" \t")) and rest[0] != "#":
            if rest[0] == ":":
                return number + 1
            text = _without_comment(value)[1:]
            text = text[:-1] if text[-1] == mark else text
            message = f"expected the text to end at the second {mark}, got more"
            self._fault(number, start + end, message + _write(prefix + _in_quotes(text)))
        elif rest and value[end] not in " \t":
            self._fault(number, start + end, "expected a space before #, which begins a comment")
        elif mark == '"' and (bad := _BAD_ESCAPE.search(value[:end])):
            message = r"expected ' around text with a \, got " + '"'
            text = f"'{value[1 : end - 1]}'"
            self._fault(number, start + bad.start(), message + _write(prefix + text))
        return number + 1

    def _end_of_long_quotes(self, number: int, mark: str) -> int | None:
        """Return the number after the lines of a text in quotes, or None if it does not end."""
        indent = _indent(self._rows[number])
        for following in range(number + 1, len(self._rows)):
            row = self._rows[following]
            body = row.strip(" \t")
            if body and (_indent(row) <= indent or _KEY.match(body)):
                return None
            if mark in body:
                return following + 1 if body.endswith(mark) else None
        return None

    def _after_deeper(self, number: int, indent: int) -> int:
        """Return the number after the lines that are indented deeper."""
        number += 1
        while number < len(self._rows):
            row = self._rows[number]
            if row.strip(" \t") and _indent(row) <= indent:
                break
            number += 1
        return number

    def _read_brackets(self, number: int, start: int, value: str) -> int:
        """Read a value in brackets, which may take several lines."""
        opened: list[str] = []
        first, indent = number, _indent(self._rows[number])
        column, text = start, value
        while True:
            for place, character in outside_quotes(text):
                if character in "\"'" and text[:place].rstrip(" \t")[-1:] in ("", *"{[,:"):
                    message = f"expected {character} at the end, too: the text begins with it"
                    self._fault(number, column + place, message)
                    return self._after_deeper(number, indent)
                if character in "{[":
                    opened.append("}" if character == "{" else "]")
                elif character in "}]":
                    wanted = opened.pop() if opened else ""
                    if character != wanted:
                        message = f"expected as many {character} as there are opening ones"
                        self._fault(number, column + place, message)
                        return number + 1
                elif not opened and character not in " \t#":
                    self._fault(number, column + place, "expected nothing behind the last bracket")
                    return number + 1
            self._check_in_brackets(number, column, text)
            if not opened:
                return number + 1
            following = number + 1
            while following < len(self._rows) and not _has_content(self._rows[following]):
                following += 1
            if following == len(self._rows) or self._is_new_entry(following, indent):
                self._fault(first, *_unclosed(start, value, opened[-1]))
                return first + 1
            number, column, text = following, 0, self._rows[following]
            if "\t" in text[: len(text) - len(text.lstrip(" \t"))]:
                self._fault(number, text.index("\t"), "expected spaces before the key, got a tab")
                return self._after_deeper(number, indent)

    def _is_new_entry(self, number: int, indent: int) -> bool:
        """Tell if a line begins a new key, although a bracket before it is open."""
        row = self._rows[number]
        return self._rejected and _indent(row) <= indent and row.strip(" \t")[0] not in "}]"

    def _check_in_brackets(self, number: int, start: int, text: str) -> None:
        """Report a mistake between brackets that YAML accepts or reports late."""
        masked = mask_quotes(text)
        for pattern, message in _IN_BRACKETS:
            for match in pattern.finditer(masked):
                anchor = re.match(r"[*&]([\w-]+)", text[match.start("at") :])
                if anchor and anchor[1] in self._anchors:
                    continue
                is_key = "point" not in message and "text" not in match.re.groupindex
                if "point" in message:
                    message += _write(match[0].lstrip(": ").replace(",", "."))
                elif "text" in match.re.groupindex:
                    value = text[match.start("text") : match.end("text")]
                    message = message.format(match["key"]) + _write(
                        f"{match['key']}: {_in_quotes(value)}"
                    )
                place = start + match.start("at")
                self.found.append(Fault(number + 1, place, message, is_key))
                return


def _indent(row: str) -> int:
    return len(row) - len(row.lstrip(" \t"))


def _has_content(row: str) -> bool:
    body = row.strip(" \t")
    return bool(body) and body[0] != "#"


def _write(text: str) -> str:
    """Return advice to write a text, or nothing if it is long."""
    text = text.rstrip()
    return f"; write {text}" if len(text) <= MAX_EXCERPT and text.isprintable() else ""


def _in_quotes(text: str) -> str:
    """Return a text in the quotes that it does not have itself."""
    if '"' in text or "\\" in text:
        return "'" + text.replace("'", "''") + "'"
    return f'"{text}"'


def _without_comment(value: str) -> str:
    """Return a value without the comment behind it."""
    if value.startswith("#"):
        return ""
    for place, character in outside_quotes(value):
        if character == "#" and value[place - 1] in " \t":
            return value[:place].rstrip(" \t")
    return value.rstrip(" \t")


def _unclosed(start: int, value: str, bracket: str) -> tuple[int, str]:
    """Return column and message for brackets that are never closed: a # may hide the end."""
    for place, character in outside_quotes(value):
        if character == "#" and value[place - 1] in " \t" and value.rstrip().endswith(bracket):
            words = (
                f"expected {bracket} before #, which begins a comment; put a text with # in quotes"
            )
            return start + place, words
    return start, f"expected {bracket} at the end of what begins here"
