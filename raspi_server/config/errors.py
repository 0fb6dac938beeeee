"""Errors of a configuration, each with its file, line and key."""

from collections.abc import Iterable
from typing import NamedTuple


class Diagnostic(NamedTuple):
    """One error or warning.

    `line` counts from 1 and is None for the whole file. `key` is a dotted path such as
    `pins.lamp.gpio`, or empty. As text it is `FILE:LINE: KEY: MESSAGE`.
    """

    file: str
    line: int | None
    key: str
    message: str

    def __str__(self) -> str:
        where = self.file if self.line is None else f"{self.file}:{self.line}"
        return ": ".join(part for part in (where, self.key, self.message) if part)


class ConfigError(ValueError):
    """A configuration that cannot be used. Its message has one line for each of its `errors`."""

    def __init__(self, errors: list[Diagnostic]) -> None:
        super().__init__("\n".join(str(error) for error in errors))
        self.errors = tuple(errors)


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Return the known word that a mistyped one may mean, or None."""
    import difflib  # only for a configuration with an error: a start is slow on a small Pi

    return next(iter(difflib.get_close_matches(word, known, n=1)), None)
