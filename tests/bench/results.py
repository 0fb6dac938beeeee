"""Published results: RESULTS.md, the table of docs/benchmarks.md, and five lines of README."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from .process import CHECKOUT

RESULTS = Path(__file__).with_name("RESULTS.md")
BENCHMARKS = CHECKOUT / "docs" / "benchmarks.md"
README = CHECKOUT / "README.md"
QUOTED = re.compile(r"(<!-- bench -->\n)(.*?)(<!-- /bench -->\n)", re.DOTALL)
HEADING = (
    "# Measured by `scripts/bench.sh --write`\n\n"
    "Only that command writes this file. [FINDINGS.md](FINDINGS.md) tells what was tried.\n\n"
)
IN_README = (
    "nobody connected, heartbeat included",
    "one viewer, 28 pins, 10 Hz",
    "CPU per delivered message, N=1,000, plain",
    "an edge reaching 1,000 viewers: all, the slowest of 15 edges",
    "memory of each viewer, plain",
)
"""The rows of the table that README quotes."""


def table(results: str) -> str:
    """Return the first table of a text."""
    found = re.search(r"(?:^\|.*\n)+", results, re.MULTILINE)
    assert found, "the results begin with a table"
    return found[0]


def lines(results: str) -> str:
    """Return the lines for README, made of the first table of a text."""
    rows = [[cell.strip() for cell in row.split("|")] for row in table(results).splitlines()]
    measured = {row[1]: row[2] for row in rows}
    return "".join(f"- {what}: {measured[what]}\n" for what in IN_README)


def quote(page: Path, text: str) -> None:
    """Replace what a page has between its marks."""
    before = page.read_text(encoding="utf-8")
    after = QUOTED.sub(lambda found: f"{found[1]}{text}{found[3]}", before)
    page.write_text(after, encoding="utf-8")


def write(printed: Sequence[str]) -> None:
    """Write what a whole run has printed to RESULTS.md, and quote it in the other pages."""
    results = HEADING + "\n".join(printed) + "\n"
    RESULTS.write_text(results, encoding="utf-8")
    quote(BENCHMARKS, table(results))
    quote(README, lines(results))
