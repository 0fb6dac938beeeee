"""The benchmark runs, and the published figures are those that it printed."""

import re
import subprocess
import sys

import pytest

from tests.bench.results import BENCHMARKS, QUOTED, README, RESULTS, lines, table
from tests.support.server import LIMIT


@pytest.mark.slow
def test_cost() -> None:
    """A short run prints the figures of ours and of the bare loop."""
    options = "--clients 3 --servers raspi-server,bare-loop --over plain --rounds 1 --bare-rounds 1"
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench", "cost", *options.split(), "--seconds", "0.3"],
        cwd=README.parent,
        capture_output=True,
        text=True,
        timeout=4 * LIMIT,
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r"N=3, plain \| [\d.]+ × the bare loop; [\d.]+ µs", done.stdout)


def test_pages_quote_the_results() -> None:
    """docs/benchmarks.md has the table of RESULTS.md, README five rows of it, both unchanged."""
    results = RESULTS.read_text(encoding="utf-8")
    for page, text in ((BENCHMARKS, table(results)), (README, lines(results))):
        found = QUOTED.search(page.read_text(encoding="utf-8"))
        assert found
        assert found[2] == text
