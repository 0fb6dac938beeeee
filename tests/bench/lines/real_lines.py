"""Real lines: idle CPU, edges, memory and start in the virtual Pi, beside the last release that
read and drove the lines through lgpio.

qemu translates every instruction, so only the ratios say something about a Raspberry Pi.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.gpio.virtual_pi.machine import CannotBuildError, running
from tests.gpio.virtual_pi.pi import CHECKOUT, CODE, EVERYONE, UNIT, Pi

from ..table import Findings, Row, Spread

WITH_LGPIO = "7583641"
"""The commit of release 0.4.0."""
ITS_OWN_PACKAGES = ["sdnotify"]
"""The packages that it needs and the virtual Pi does not have."""
FOLDERS = {"gpiod": CODE, "lgpio": "/opt/raspi-server/with-lgpio"}
PINS = """
  door: {gpio: 27, mode: input}
  bell: {gpio: 22, mode: input}
  lamp: {gpio: 17, mode: output}
  fan: {gpio: 18, mode: output}
  pump: {gpio: 23, mode: output}
  gate: {gpio: 24, mode: output}
"""
DOOR = 27
RATES = {1: 20, 100: 300, 1000: 2000}
"""Edges a second, and how many."""
BURST = 64
ALL = [gpio for gpio in range(28) if gpio not in (2, 3, 8)]
"""All lines but GPIO8, which the kernel of the virtual Pi holds, and those with a pull-up on the
board."""
ALL_INPUTS = "".join(f"  p{gpio}: {{gpio: {gpio}, mode: input}}\n" for gpio in ALL)
EDGES_OF_EACH = 100
IDLE_S = 10
GOAL_MS = 1
GROUP = "/sys/fs/cgroup/system.slice/raspi-server.service/cpu.stat"


def measure(rounds: int) -> Findings:
    """Boot the virtual Pi and measure both releases in turns."""
    # The benchmark keeps to one core. The guest has two processors.
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, range(os.cpu_count() or 1))
    try:
        with tempfile.TemporaryDirectory() as folder, running(Path(folder)) as machine:
            pi = Pi(machine)
            _install_old(pi, FOLDERS["lgpio"])
            pi.write("/usr/local/lib/viewer.py", _VIEWER.read_text())
            return Findings(_rows(pi, rounds))
    except CannotBuildError as error:
        return Findings(notes=[f"Real lines were not measured: {error}."])
    finally:
        os.sched_setaffinity(0, cores)


_VIEWER = Path(__file__).parents[1] / "guest" / "viewer.py"


def _install_old(pi: Pi, folder: str) -> None:
    command = ["git", "archive", WITH_LGPIO, "raspi_server", "www"]
    archive = subprocess.run(command, cwd=CHECKOUT, check=True, stdout=subprocess.PIPE).stdout
    pi.run(f"mkdir -p {folder}")
    pi.unpack(folder, archive)
    pi.unpack(folder, _packages())
    pi.run(f"chown -R root: {folder}; python3 -m compileall -q {folder}/raspi_server")


def _packages() -> bytes:
    """Return the packages of the old release as a tar archive."""
    with tempfile.TemporaryDirectory() as folder:
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", folder]
        subprocess.run([*pip, *ITS_OWN_PACKAGES], check=True)
        with io.BytesIO() as packed:
            with tarfile.open(fileobj=packed, mode="w") as archive:
                for entry in Path(folder).iterdir():
                    archive.add(entry, arcname=entry.name)
            return packed.getvalue()


def _rows(pi: Pi, rounds: int) -> list[Row]:
    found: dict[tuple[str, str], list[float]] = {}

    def note(what: str, by: str, value: float) -> None:
        found.setdefault((what, by), []).append(value)

    for _ in range(rounds):
        for by in FOLDERS:
            with _server(pi, by, ""):
                note("without pins", by, _idle_ms(pi))
            with _server(pi, by, PINS):
                note("start", by, _spent_us(pi) / 1e6)
                note("idle", by, _idle_ms(pi))
                for rate, count in RATES.items():
                    delays = sorted(_delays(pi, count, 1 / rate))
                    note(f"{rate} heard", by, len(delays) / count)
                    note(f"{rate} p50", by, delays[len(delays) // 2] * 1000)
                    note(f"{rate} p99", by, delays[len(delays) * 99 // 100] * 1000)
                delays = _delays(pi, BURST, 0)
                note("burst heard", by, len(delays))
                note("burst last", by, max(delays) * 1000)
                note("memory", by, _memory_mb(pi))
            with _server(pi, by, ALL_INPUTS):
                rate, heard = _all_at_once(pi)
                note("all rate", by, rate)
                note("all heard", by, heard)

    def spread(what: str, by: str = "gpiod") -> Spread:
        return Spread(found[what, by])

    def both(what: str, digits: int, unit: str) -> str:
        ours, old = spread(what).text(digits, unit), spread(what, "lgpio").text(digits, unit)
        return f"{ours}; lgpio {old}"

    more = Spread(
        [
            idle - without
            for idle, without in zip(
                found["idle", "gpiod"], found["without pins", "gpiod"], strict=True
            )
        ]
    )
    rows = [
        Row(
            "real lines: nobody connected, 2 inputs and 4 outputs",
            f"{more.text(1, ' ms')} of CPU a second more than without pins;"
            f" {both('idle', 1, ' ms')}",
            f"at most {GOAL_MS} ms more",
            more.median <= GOAL_MS,
        )
    ]
    for rate in RATES:
        heard = min(found[f"{rate} heard", "gpiod"])
        rows.append(
            Row(
                f"real lines: an edge to its viewer, {rate:,} a second",
                f"p50 {both(f'{rate} p50', 2, ' ms')}; p99 {both(f'{rate} p99', 2, ' ms')};"
                f" heard {heard:.1%}, lgpio {min(found[f'{rate} heard', 'lgpio']):.1%}",
                "all",
                heard == 1,
            )
        )
    return [
        *rows,
        Row(
            f"real lines: a burst of {BURST} edges",
            f"heard {both('burst heard', 0, '')}; the last after {both('burst last', 1, ' ms')}",
            "all",
            min(found["burst heard", "gpiod"]) == BURST,
        ),
        Row(
            f"real lines: {len(ALL)} inputs, edges as fast as the guest drives them",
            f"heard {both('all heard', 0, '')} of {len(ALL) * EDGES_OF_EACH},"
            f" at {both('all rate', 0, ' a second')}",
            "all",
            min(found["all heard", "gpiod"]) == len(ALL) * EDGES_OF_EACH,
        ),
        Row("real lines: memory, 6 pins", both("memory", 1, " MB"), "–", None),
        Row("real lines: start to READY", f"{both('start', 2, ' s')} of CPU", "–", None),
    ]


@contextmanager
def _server(pi: Pi, by: str, pins: str) -> Iterator[None]:
    """Let one of both releases serve these pins."""
    pi.reset()
    of_ours = pi.read(UNIT)
    pi.write(UNIT, of_ours.replace(CODE, FOLDERS[by]))
    pi.run("systemctl daemon-reload")
    try:
        pi.start(pins or "  {}\n", EVERYONE)
        yield
    finally:
        pi.run("systemctl stop raspi-server")
        pi.write(UNIT, of_ours)
        pi.run("systemctl daemon-reload")


def _spent_us(pi: Pi) -> int:
    return int(pi.run(f"awk '/usage_usec/ {{print $2}}' {GROUP}"))


def _idle_ms(pi: Pi) -> float:
    """Return the milliseconds of CPU a second, after the start has settled."""
    usage = f"awk '/usage_usec/ {{print $2}}' {GROUP}"
    said = pi.run(f"sleep 3; {usage}; cat /proc/uptime; sleep {IDLE_S}; {usage}; cat /proc/uptime")
    before, began, after, ended = (float(line.split()[0]) for line in said.splitlines())
    return (after - before) / 1000 / (ended - began)


def _delays(pi: Pi, count: int, gap: float) -> list[float]:
    """Return the seconds from each of `count` edges, `gap` seconds apart, to the viewer."""
    level = 1 - pi.level(DOOR)
    return _watched(pi, [(DOOR, (level + number) % 2) for number in range(count)], gap)[1]


def _all_at_once(pi: Pi) -> tuple[float, int]:
    """Return the edges a second of all lines in turns, and how many the viewer heard of."""
    first = {gpio: 1 - pi.level(gpio) for gpio in ALL}
    steps = [(gpio, (first[gpio] + number) % 2) for number in range(EDGES_OF_EACH) for gpio in ALL]
    seconds, delays = _watched(pi, steps, 0)
    return len(steps) / seconds, len(delays)


def _watched(pi: Pi, steps: list[tuple[int, int]], gap: float) -> tuple[float, list[float]]:
    """Drive lines to levels. Return the seconds that it took, and those from each edge to the
    viewer."""
    pi.write("/tmp/steps", " ".join(f"{gpio}:{level}" for gpio, level in steps))
    limit = len(steps) * gap + 30
    said = pi.run(
        f"rm -f /tmp/connected; python3 /usr/local/lib/viewer.py {len(steps)} {limit} >/tmp/seen &"
        " until [ -e /tmp/connected ]; do sleep 0.1; done; sleep 1;"
        f" python3 /usr/local/lib/drive.py {gap} $(cat /tmp/steps) >/tmp/driven; wait;"
        " cat /tmp/driven; echo; cat /tmp/seen"
    )
    driven, delays = (json.loads(line) for line in said.splitlines())
    return driven[-1][3] - driven[0][2], delays


def _memory_mb(pi: Pi) -> float:
    pid = pi.run("systemctl show --property MainPID --value raspi-server").strip()
    return int(pi.run(f"awk '/^Pss:/ {{print $2}}' /proc/{pid}/smaps_rollup")) / 1000
