"""Errors of a configuration, each with its file, line and key."""

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
