"""The benchmark of the fleet runs, with a few Pis and for a moment. Speed is not tested here."""

import subprocess
import sys

import pytest

from tests.bench.process import CHECKOUT
from tests.support.server import LIMIT

SMALL = "--pis 5 --pins 2 --rate 20 --seconds 1 --rounds 1 --edges 5 --processes 1"


@pytest.mark.slow
def test_everything_is_measured_and_nothing_is_lost(brokers):
    """All changes of five Pis reach a subscriber and the fleet page of another, also after a
    restart of the broker. A table has each measurement."""
    del brokers  # skips the test where Mosquitto is not installed
    command = [sys.executable, "-m", "tests.bench.fleet", *SMALL.split(), "--outages=0", "--fast="]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, timeout=10 * LIMIT)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    lines = [line for line in done.stdout.splitlines() if line.startswith("|")]
    rows = {cells[1].strip(): cells[2].strip() for cells in (line.split("|") for line in lines)}
    for words in (
        "edge on a real server to a client",
        "the fleet page's server with 5 Pis: memory",
        "CPU of a Pi's bridge, a change",
        "edge on a Pi to the fleet page of another",
        "broker away for 0 s: all states right on the fleet page",
    ):
        assert any(row.startswith(words) for row in rows), done.stdout
    assert "never" not in done.stdout
    assert [measured for row, measured in rows.items() if "pins not " in row] == ["0"] * 3
