"""Errors of a configuration, each with its file, line and key."""

import re
from collections.abc import Iterable
from typing import NamedTuple

_MAX_LINES = 60
"""Most lines that one error names."""


class Diagnostic(NamedTuple):
    """One error or warning.

    `line` counts from 1 and is None for the whole file. `key` is a dotted path such as
    `pins.lamp.gpio`, or empty. As text it is `FILE:LINE: KEY: MESSAGE`. `excerpt` has the text of
    the line and a mark below it, where that helps and shows no password.
    """

    file: str
    line: int | None
    key: str
    message: str
    excerpt: tuple[str, ...] = ()

    def __str__(self) -> str:
        where = self.file if self.line is None else f"{self.file}:{self.line}"
        return ": ".join(part for part in (where, self.key, self.message) if part)


class Fault(NamedTuple):
    """One mistake in the lines of a file. `line` counts from 1, `column` from 0.

    `moves_keys` says that YAML finds keys at another place because of it, so other errors follow.
    """

    line: int
    column: int
    message: str
    moves_keys: bool = False


class ConfigError(ValueError):
    """A configuration that cannot be used. Its message has one line for each of its `errors`."""

    def __init__(self, errors: list[Diagnostic]) -> None:
        super().__init__("\n".join(str(error) for error in errors))
        self.errors = tuple(errors)

    @property
    def report(self) -> str:
        """The message with excerpts of the file, for the terminal and the log of the owner."""
        return "\n".join(line for error in self.errors for line in (str(error), *error.excerpt))


def told_once(errors: Iterable[Diagnostic]) -> list[Diagnostic]:
    """Return errors in which the same mistake in three lines or more is told once, with its lines.

    The values that it names are those of its first line.
    """
    errors = list(errors)
    alike: dict[tuple[str, str], list[Diagnostic]] = {}
    for error in errors:
        alike.setdefault(_kind(error), []).append(error)
    told: dict[Diagnostic, Diagnostic] = {}
    for first, *rest in alike.values():
        lines = sorted({error.line for error in rest if error.line} - {first.line})
        if len(lines) < 2:
            told |= {error: error for error in (first, *rest)}
            continue
        shown = ", ".join(str(line) for line in lines[:_MAX_LINES])
        more = f" and {len(lines) - _MAX_LINES} more" if len(lines) > _MAX_LINES else ""
        told[first] = first._replace(message=f"{first.message} (the same in lines {shown}{more})")
    in_order = [told[error] for error in dict.fromkeys(errors) if error in told]
    return sorted(in_order, key=lambda error: error.line or 0)


def _kind(error: Diagnostic) -> tuple[str, str]:
    """Return what errors of the same mistake have in common."""
    leaf = error.key.rpartition(".")[2]
    expected, _, got = error.message.partition(", got ")
    if not leaf:  # a mistake in a line, whose message may name the key
        return "", re.split(" after | before | in a line |; ", expected)[0]
    if got.startswith((leaf, f'"{leaf}"')):  # a name
        return "", expected
    if error.message.startswith("expected one of the keys "):  # the key does not matter
        return "", error.message
    return leaf, re.sub(r"[0-9]+|(?<=which )\S+", "0", error.message)


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Return the known word that a mistyped one may mean, or None."""
    import difflib  # only for a configuration with an error: a start is slow on a small Pi

    return next(iter(difflib.get_close_matches(word, known, n=1)), None)
