"""The benchmark runs, and the published tables are what it printed. Speed is not tested here."""

import re
import subprocess
import sys

from tests.bench.results import QUOTED, README, RESULTS
from tests.support.server import LIMIT


def test_a_short_round_has_a_table() -> None:
    """A few clients for a moment, ours and the bare loop: every figure is there."""
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


def test_what_is_quoted_was_printed() -> None:
    """README has the table of RESULTS.md to the letter, and none while there are no results."""
    found = QUOTED.search(README.read_text(encoding="utf-8"))
    assert found
    quoted = found[0].partition("\n")[2].rpartition("<!--")[0]
    results = RESULTS.read_text(encoding="utf-8") if RESULTS.exists() else ""
    tables = re.findall(r"(?:^\|.*\n)+", results, re.MULTILINE)
    assert quoted == (tables[0] if tables else "")
