"""The benchmark runs, and the published figures are those that it printed."""

import re
import subprocess
import sys

import pytest

from tests.bench.results import BENCHMARKS, QUOTED, README, RESULTS, lines, table

SHORT_RUN = (
    "-W error -m tests.bench cost --clients 3 --servers raspi-server,bare-loop --over plain"
    " --rounds 1 --bare-rounds 1 --seconds 0.3"
)


@pytest.mark.slow
def test_short_run_prints_figures() -> None:
    """A short run with few clients prints the cost of a message beside that of the bare loop."""
    command = [sys.executable, *SHORT_RUN.split()]
    done = subprocess.run(command, cwd=README.parent, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    figure = r"^\| .*N=3, plain +\| [\d.]+ × the bare loop; [\d.]+ µs"
    assert re.search(figure, done.stdout, re.MULTILINE), done.stdout


def test_pages_quote_the_results() -> None:
    """docs/benchmarks.md has the table of RESULTS.md, README five rows of it, both unchanged."""
    results = RESULTS.read_text(encoding="utf-8")
    for page, text in ((BENCHMARKS, table(results)), (README, lines(results))):
        found = QUOTED.search(page.read_text(encoding="utf-8"))
        assert found
        assert found[2] == text
