"""The benchmark runs, and the published figures are those that it printed."""

import re
import subprocess
import sys

from tests.bench.results import BENCHMARKS, QUOTED, README, RESULTS, lines, table
from tests.support.server import LIMIT


def test_short_run_prints_each_figure() -> None:
    """A short run with few clients prints the figures of ours and of the bare loop."""
    asked = ["cost", "--clients", "3", "--servers", "raspi-server,bare-loop", "--over", "plain"]
    asked += ["--rounds", "1", "--bare-rounds", "1", "--seconds", "0.3"]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "tests.bench", *asked],
        cwd=README.parent,
        capture_output=True,
        text=True,
        timeout=LIMIT,
    )
    assert done.returncode == 0, done.stderr
    rows = [line.split(" | ") for line in done.stdout.splitlines() if line.startswith("| ")]
    assert rows[0][0].strip("| ") == "what"
    assert any(
        "N=3, plain" in what and re.match(r"[\d.]+ × the bare loop; [\d.]+ µs", measured)
        for what, measured, *_ in rows
    )
    assert "raspi-server, 28 simulated pins" in done.stdout
    assert "Python" in done.stdout


def test_pages_quote_the_results() -> None:
    """docs/benchmarks.md has the table of RESULTS.md, README five rows of it, both unchanged."""
    results = RESULTS.read_text(encoding="utf-8")
    for page, text in ((BENCHMARKS, table(results)), (README, lines(results))):
        found = QUOTED.search(page.read_text(encoding="utf-8"))
        assert found
        assert found[2] == text
