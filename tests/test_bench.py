"""The benchmarks run, briefly and with few clients, and the published figures are those that they
printed. Speed is not tested here."""

import re
import subprocess
import sys

import pytest

from tests.bench.results import BENCHMARKS, QUOTED, README, RESULTS, lines, table
from tests.support.server import LIMIT

COST = "cost --clients 3 --servers raspi-server,bare-loop --over plain --rounds 1 --bare-rounds 1"
FLEET = "--pis 5 --pins 2 --rate 20 --rounds 1 --edges 5 --processes 1 --outages=0 --fast="


def measured(module: str, options: str) -> dict[str, str]:
    """Run a benchmark; return the rows of the tables that it prints."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", module, *options.split(), "--seconds", "1"],
        cwd=README.parent,
        capture_output=True,
        text=True,
        timeout=10 * LIMIT,
    )
    assert done.returncode == 0, done.stderr
    rows = [line.split("|") for line in done.stdout.splitlines() if line.startswith("|")]
    return {cells[1].strip(): cells[2].strip() for cells in rows}


@pytest.mark.slow
def test_cost() -> None:
    """A short run prints the figures of ours and of the bare loop."""
    rows = measured("tests.bench", COST)
    (found,) = [row for what, row in rows.items() if "N=3, plain" in what]
    assert re.match(r"[\d.]+ × the bare loop; [\d.]+ µs", found)


@pytest.mark.slow
def test_fleet(brokers: object) -> None:
    """All changes of five Pis reach a subscriber and the fleet page of another, also after a
    restart of the broker. A table has each measurement."""
    rows = measured("tests.bench.fleet", FLEET)
    for words in (
        "edge on a real server to a client",
        "the fleet page's server with 5 Pis: memory",
        "CPU of a Pi's bridge, a change",
        "edge on a Pi to the fleet page of another",
        "broker away for 0 s: all states right on the fleet page",
    ):
        assert any(row.startswith(words) for row in rows), rows
    assert "never" not in str(rows)
    assert [row for what, row in rows.items() if "pins not " in what] == ["0"] * 3


def test_pages_quote_the_results() -> None:
    """docs/benchmarks.md has the table of RESULTS.md, README five rows of it, both unchanged."""
    results = RESULTS.read_text(encoding="utf-8")
    for page, text in ((BENCHMARKS, table(results)), (README, lines(results))):
        found = QUOTED.search(page.read_text(encoding="utf-8"))
        assert found
        assert found[2] == text
