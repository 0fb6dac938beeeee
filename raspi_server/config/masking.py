"""Masking of passwords in a config.yaml that has errors, so that no message can show one.

No key takes a password, so one in the file is always a mistake. It may be in a URL, behind a word
such as `password`, in the lines below that, or behind any unknown key of the broker. All messages
are made from the masked text. There the key of a password stays: it is the mistake to tell.
"""

import re
from typing import NamedTuple

from .columns import ALL_KEYS, NAMED, TOP_KEYS
from .quotes import end_of_quotes, mask_quotes

MASK = "•••"
_MAX_ROW = 1000
"""Longest line that is read, in characters. Of longer ones nothing is shown if in doubt."""

_WORDS = (
    r"pa?s+w|pas+or[dt]|pas+(?:phrase|code|key)|kennwort|geheim|sandi|contrase|secret|token"
    r"|credential|authen|authori[sz]|(?<![a-z])(?:pass|pw|pwd|auth|code)(?![a-z])"
)
_SECRET = re.compile(_WORDS, re.IGNORECASE)
_FILE = "password_file"
_USER_INFO = re.compile(
    r"""(://|\b(?:url|mqtts?|broker):(?!//))(?:(?!://|["'] *[,}\]]).)*@"""
    r"""|(?:(?!://)[^\s"'{\[(•])+@""",
    re.IGNORECASE,
)
"""The user and password of a URL: all up to its last @. Behind :// they may have spaces."""
_NO_PORT = re.compile(r"""(://[^\s/:@"',}\]]*:)(?![0-9]{1,5}(?:[\s/"',}\]]|$))[^\s•]+""")
"""What stands in the place of a URL's port and is no number: a password whose @ is missing."""
_SECRET_WORD = rf"(?:(?i:[\w.-]*(?:{_WORDS})[\w.-]*))"
_KEY = re.compile(
    rf"""["']?(?P<key>(?:[\w.-]+ +)*?{_SECRET_WORD}(?=["']?(?:[ \t]*[:;=：]|[ \t]|$))"""
    r"""|[^\s:;=："'{}\[\],#]+)["']?(?P<separator>[ \t]*[:;=：]*)(?P<space>[ \t]*)"""
)
"""A key: one word, or several words if the last one names a password."""
_START = re.compile(r"[ \t]*(?:-[ \t]+)?")
_NEXT = re.compile(rf"""[{{,][ \t]*(?=[^\s{{}},])|[ \t?&](?={_SECRET_WORD}["']?[ \t]*[:=])""")
"""The characters before the next key of the same line."""
_NEXT_OF_BROKER = re.compile(
    rf"[{{,][ \t]*(?=[^\s{{}},])|[ \t?&](?={_SECRET_WORD}|[\w-]+[ \t]*[:;=](?!//))"
)
_ANY_KEY = "|".join(sorted(ALL_KEYS, key=len, reverse=True))
_BEGINS_WITH_KEY = re.compile(rf"""[{{ ]*["']?(?:{_ANY_KEY})["']?[ \t]*[:=]""")
_BEHIND = rf"""[ \t]*,[ \t]*["']?(?:{_ANY_KEY})["']?[ \t]*[:=]|[}}\]][ \t]*#|"""
_END = re.compile(_BEHIND + r"""["' \t,}\]]*$""")
"""The end of a value, which may be in braces. A quote there may be that of a label."""
_END_OF_FILE = re.compile(_BEHIND + r"[ \t,}\]]*$")
_WHOLE = re.compile(r"""(?:"[^"]*"|'[^']*'|[^\s"'|>].*)[ \t,}\]]*(?:#.*)?""")
"""A value that ends in its line."""
_PATH = re.compile(
    r"""(?!(?:true|false|null|~)[ \t]*$)(["']?)[A-Za-z_.~/][\w.~/ -]*\1[ \t]*(?:#.*)?"""
)


def is_secret(text: str) -> bool:
    """Tell if a key, or a comment, has a word for a password."""
    return text != _FILE and bool(_SECRET.search(text))


def masked(text: str) -> str:
    """Return a configuration with errors without what may be a password. Its lines are the same."""
    return "\n".join(_Masking(text.split("\n")).rows)


class _Value(NamedTuple):
    """A value that may go on in the lines below its key, which is in a `column`.

    If it `is_open` it may go on in that column, too. Each of these lines becomes the `mask`.
    """

    column: int
    is_open: bool
    mask: str = ""


class _Masking:
    """Masking of the lines in `rows`."""

    def __init__(self, rows: list[str]) -> None:
        self.rows = rows
        self._section = ""
        self._value: _Value | None = None
        for number, row in enumerate(rows):
            if row.strip():
                rows[number] = self._masked(number, row)

    def _masked(self, number: int, row: str) -> str:
        if len(row) > _MAX_ROW:
            return MASK if "@" in row or is_secret(row) else row
        body = row.lstrip(" \t")
        column = len(row) - len(body)
        if value := self._value:
            is_more = value.is_open and not _BEGINS_WITH_KEY.match(body)
            if column > value.column or body[0] == "-" or is_more:
                return row[:column] + value.mask if value.mask else ""
            self._value = None
        if body[0] == "#":
            return row
        key = match["key"] if (match := _KEY.match(body)) else ""
        if key in TOP_KEYS and column == 0 or key == "mqtt" and self._section not in NAMED:
            self._section = key
        next_key = _START.match(row)
        while next_key and (match := _KEY.match(row, next_key.end())):
            row, end = self._without_value(number, row, match, column)
            following = _NEXT_OF_BROKER if self._section == "mqtt" else _NEXT
            next_key = following.search(mask_quotes(row), end)
        row = _USER_INFO.sub(_without_user, row) if "@" in row else row
        return _NO_PORT.sub(rf"\1{MASK}", row)

    def _without_value(
        self, number: int, row: str, match: re.Match[str], column: int
    ) -> tuple[str, int]:
        """Return the line with the value of one key masked, if that may be a password.

        The number is where to look for the next key.
        """
        key, separator = match["key"], match["separator"].strip()
        start = match.end()
        if row[start : start + 1] in ('"', "'"):
            start += end_of_quotes(row[start:]) or 0
        end = (_END_OF_FILE if key == _FILE else _END).search(row, start)
        value = row[match.end() : end.start()] if end else ""
        before, behind = row[: match.start()], row[match.end() + len(value) :]
        is_first, is_broker = not before.strip(), self._section == "mqtt"
        if key == _FILE:
            shown = match[0] + _file_mask(value, is_key=separator == ":" and bool(match["space"]))
            self._go_on(_Value(column, not _WHOLE.match(value), "" if value else MASK), is_first)
        elif key in ALL_KEYS or key == MASK or self._is_section(number, value, column):
            return row, match.end()
        elif is_secret(key) and (separator or value) or is_broker and separator:
            shown = f"{key}: {MASK}" if value else f"{key}:"
            self._go_on(_Value(column, not _WHOLE.match(value)), is_first)
        else:
            if is_broker or is_secret(key):
                self._go_on(_Value(column, is_open=True), is_first)
            if not is_broker:
                return row, match.end()
            shown = MASK
        return before + shown + behind, len(before + shown)

    def _go_on(self, value: _Value, is_first: bool) -> None:
        """Note that the lines below may have more of a value. In braces only an open one has."""
        if is_first or value.is_open:
            self._value = value

    def _is_section(self, number: int, value: str, column: int) -> bool:
        """Tell if known keys are below a key or in braces behind it. They are read one by one."""
        below = next((row for row in self.rows[number + 1 :] if row.strip()), "")
        is_deeper = len(below) - len(below.lstrip(" \t")) > column
        inside = value if value else below.lstrip(" \t") if is_deeper else ""
        return bool(_BEGINS_WITH_KEY.match(inside)) and (not value or value[0] == "{")


def _without_user(match: re.Match[str]) -> str:
    return f"{match[1] or ''}{MASK}@"


def _file_mask(value: str, is_key: bool) -> str:
    """Return what to show for a value of `password_file`, which may be the password itself.

    A list takes the place of what is no path.
    """
    if not value or not is_key or _PATH.fullmatch(value):
        return MASK if value else ""
    if value[0] in "[{":
        return value[0] + MASK + (value[-1] if value[-1] in "]}" else "")
    return f"[{MASK}]"
