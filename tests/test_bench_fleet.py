"""The benchmark of the fleet runs, with a few Pis and for a moment. Speed is not tested here."""

import subprocess
import sys

from tests.bench.process import CHECKOUT
from tests.support.server import LIMIT

SMALL = "--pis 5 --pins 2 --rate 20 --seconds 1 --rounds 1 --edges 5 --processes 1"


def test_all_is_measured_and_nothing_is_lost():
    """Five Pis at a real broker: all of their changes are heard there and on the fleet page of
    another, also after the broker's restart, and a table says so."""
    command = [sys.executable, "-m", "tests.bench.fleet", *SMALL.split(), "--outages=0", "--fast="]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, timeout=10 * LIMIT)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    lines = [line for line in done.stdout.splitlines() if line.startswith("|")]
    rows = {cells[1].strip(): cells[2].strip() for cells in (line.split("|") for line in lines)}
    wanted = (
        "edge on a real server to a client",
        "the fleet page's server with 5 Pis: memory",
        "CPU of a Pi's bridge, a change",
        "edge on a Pi to the fleet page of another",
        "broker away for 0 s: all states right on the fleet page",
    )
    for words in wanted:
        assert any(what.startswith(words) for what in rows), done.stdout
    assert "never" not in done.stdout
    assert [measured for what, measured in rows.items() if "pins not " in what] == ["0"] * 3
