"""Table of the measurements: Markdown that is readable in a terminal."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

HEADINGS = ("what", "measured", "to reach", "reached")


@dataclass(frozen=True)
class Row:
    """One promise of the issue's and what became of it; `reached` is None for what only informs."""

    what: str
    measured: str
    to_reach: str
    reached: bool | None


@dataclass
class Findings:
    """Results of the lines of the table, and the details behind them."""

    rows: list[Row] = field(default_factory=list)
    details: list[list[str]] = field(default_factory=list)  # the first has the headings
    notes: list[str] = field(default_factory=list)


class Spread:
    """Several measurements of one thing, as the median and the range in brackets."""

    def __init__(self, values: Sequence[float]) -> None:
        self.median = statistics.median(values)
        self.low = min(values)
        self.high = max(values)

    def text(self, digits: int, unit: str = "") -> str:
        if self.low == self.high:
            return f"{self.median:.{digits}f}{unit}"
        return f"{self.median:.{digits}f}{unit} ({self.low:.{digits}f}–{self.high:.{digits}f})"


def main_table(rows: Sequence[Row]) -> Iterator[str]:
    words = {True: "yes", False: "**no**", None: "–"}
    cells = [[row.what, row.measured, row.to_reach, words[row.reached]] for row in rows]
    yield from lined_up([list(HEADINGS), *cells], to_the_right=0)


def lined_up(rows: Sequence[Sequence[str]], to_the_right: int) -> Iterator[str]:
    """The first row has the headings; the last `to_the_right` columns are of numbers."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    first_number = len(widths) - to_the_right
    for number, row in enumerate(rows):
        cells = [
            cell.rjust(width) if at >= first_number else cell.ljust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield f"| {' | '.join(cells)} |"
        if number == 0:
            rules = [
                "-" * (width - 1) + (":" if at >= first_number else "-")
                for at, width in enumerate(widths)
            ]
            yield f"| {' | '.join(rules)} |"
