"""Measurement of start, failure and idle on the emulated Pi, beside bare Python in the same guest.

The idle cost is also measured beside the last release that used lgpio for all lines. For the rest
the guest's clock counts instructions, so a busy machine does not change the figures. An emulated
processor has no speed of its own: only the ratios say something.
"""

import argparse
import json
import shlex
import statistics
import sys
import tempfile
from pathlib import Path

from tests.bench.lines.real_lines import WITH_LGPIO
from tests.bench.machine import commit
from tests.bench.table import Row, Spread, main_table
from tests.gpio.virtual_pi.machine import CannotBuildError
from tests.pi.machine import HERE, Machine
from tests.pi.pi import PERSIST, PINS, Pi

RESTART_S = 0.5
"""RestartSec of the unit."""


def measured(pi: Pi, what: str, rounds: int) -> dict[str, list[float]]:
    """Measure the service that is installed: `all`, or what it costs while it is `idle`."""
    pi.write("/root/timing.py", (HERE / "timing.py").read_text())
    said = pi.run(f"python3 /root/timing.py {what} {rounds} {shlex.quote(PINS)}")
    found: dict[str, list[float]] = json.loads(said.splitlines()[-1])
    return found


def beside_lgpio(lgpio: dict[str, list[float]], gpiod: dict[str, list[float]]) -> Row:
    """Return the row that compares two releases while they are idle."""

    def text(found: dict[str, list[float]]) -> str:
        return (
            f"{Spread(found['idle pins']).text(1, ' ms')} of CPU a second,"
            f" {Spread(found['idle bare']).text(1, ' ms')} without pins"
        )

    return Row(
        "idle, nobody connected: 2 inputs and 4 outputs, beside lgpio",
        f"{text(gpiod)}; lgpio {text(lgpio)}",
        "–",
        None,
    )


def rows(found: dict[str, list[float]]) -> list[Row]:
    """Return the rows of all that was measured of one release."""

    def times(one: list[float], other: list[float]) -> Spread:
        return Spread([a / b for a, b in zip(one, other, strict=True)])

    def median(name: str) -> float:
        return statistics.median(found[name])

    own = [start - sandbox for start, sandbox in zip(found["start"], found["sandbox"], strict=True)]
    start = times(own, found["import"])
    safe = times(found["safe-state"], found["pass"])
    gpiod = times(found["gpiod"], found["pass"])
    expected = [
        safe_state + RESTART_S + start
        for safe_state, start in zip(found["safe-state in the unit"], found["start"], strict=True)
    ]
    back = times(found["killed"], expected)
    more = Spread([a - b for a, b in zip(found["idle pins"], found["idle bare"], strict=True)])
    seconds = {name: Spread(values).text(2, " s") for name, values in found.items()}
    return [
        Row(
            "start to READY, 2 inputs and 4 outputs",
            f"{start.text(2)} × `import tornado.web, gpiozero`; {seconds['start']},"
            f" of which {seconds['sandbox']} are systemd's for the unit's sandbox",
            "at most 1.4 ×",
            start.median <= 1.4,
        ),
        Row(
            "safe-state of 4 outputs",
            f"{safe.text(2)} × `python -c pass`; {seconds['safe-state']};"
            f" `import json, gpiod` alone is {gpiod.text(2)} ×",
            "at most 3 ×",
            safe.median <= 3,
        ),
        Row(
            "kill -9 to READY",
            f"{back.text(2)} × (safe-state in the unit + {RESTART_S} s + start);"
            f" {seconds['killed']}",
            "at most 1 ×",
            back.median <= 1,
        ),
        Row(
            "idle, nobody connected: 2 inputs and 4 outputs beside no pins",
            f"{more.text(2, ' ms')} of CPU a second more;"
            f" {median('idle pins'):.2f} and {median('idle bare'):.2f} ms",
            "at most 1 ms more",
            more.median <= 1,
        ),
        Row(
            "resident memory: 2 inputs and 4 outputs beside no pins",
            f"{Spread(found['resident pins']).text(1, ' MB')}"
            f" and {Spread(found['resident bare']).text(1, ' MB')}",
            "–",
            None,
        ),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/bench.sh pi", description=__doc__)
    parser.add_argument("suite", nargs="?", default="trixie", help="trixie or bookworm")
    parser.add_argument("--rounds", type=int, default=5, help="default: 5")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="raspi-pi-") as folder:
        try:
            machine = Machine(asked.suite, Path(folder))
        except CannotBuildError as error:
            sys.exit(f"bench: {error}")
        try:
            machine.boot(words=PERSIST)
            pi = Pi(machine, asked.suite)
            pi.clone()
            pi.as_user(f"git checkout -q {WITH_LGPIO} && sudo scripts/install.sh")
            lgpio = measured(pi, "idle", 1)
            pi.as_user("git checkout -q - && sudo scripts/install.sh")
            gpiod = measured(pi, "idle", 1)
            machine.shut_down()
            machine.boot(words=PERSIST, counts=True)
            pi.wait_until_active()
            found = [*rows(measured(pi, "all", asked.rounds)), beside_lgpio(lgpio, gpiod)]
        finally:
            machine.kill()
    print("\n".join(main_table(found)))
    print(f"\nMedian (range) of {asked.rounds} rounds; {asked.suite}, commit {commit()}.")
    print("Seconds are of the guest: 500 million instructions.")


if __name__ == "__main__":
    main()
