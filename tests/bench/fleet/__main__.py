"""Measurement of a broker and a thousand Pis: cost and delay of a change, and a restart of the
broker.

Each simulated Pi has the package's own MQTT bridge. CPU time is the scheduler's. A delay is the
time from the moment at which an edge was due to its arrival in another process, by the one clock of
this machine. Figures are medians with the range of several rounds.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NoReturn

from ..machine import raise_file_limit
from ..process import CHECKOUT, ServerFailedError
from . import connecting, edge, latecomer, opening, restart, steady
from .figures import Row, circumstances, table
from .page import Page
from .rig import costs, rig

REPORTS = CHECKOUT / "tests/bench"


def main() -> None:
    asked = _parse()
    signal.signal(signal.SIGTERM, _leave)  # as SystemExit, so that what was started is ended
    raise_file_limit(asked.pis + 200)
    with tempfile.TemporaryDirectory(prefix="raspi-fleet-") as folder:
        try:
            rows = asyncio.run(_measure(Path(folder), asked))
        except (ServerFailedError, OSError) as error:
            sys.exit(f"fleet: {error}")
    lines = [*table(rows), "", *_about(asked), *circumstances()]
    print("\n".join(lines))
    if asked.write:
        head = ["# A thousand Pis at one broker", "", f"Written by `{_command()}`.", ""]
        file = REPORTS / ("FLEET-TLS.md" if asked.tls else "FLEET.md")
        file.write_text("\n".join([*head, *lines, ""]))


def _parse() -> argparse.Namespace:
    def numbers(text: str) -> list[float]:
        return [float(part) for part in text.split(",") if part]

    parser = argparse.ArgumentParser(prog="scripts/bench.sh fleet", description=__doc__)
    add = parser.add_argument
    add("--pis", type=int, default=1000, help="default: 1000")
    add("--pins", type=int, default=10, help="of each Pi; default: 10")
    add("--rate", type=float, default=1.0, help="changes a second of each Pi; default: 1")
    add("--seconds", type=float, default=10.0, help="of each round; default: 10")
    add("--rounds", type=int, default=3, help="default: 3")
    add("--fast", type=numbers, default=[5.0, 10.0], help="other rates, once; default: 5,10")
    add("--outages", type=numbers, default=[0.0, 40.0], help="seconds each; default: 0,40")
    add("--edges", type=int, default=500, help="of one real server; default: 500")
    add("--processes", type=int, default=2, help="that the Pis share; default: 2")
    add("--broker", action="append", default=[], metavar="LINE", help="for mosquitto.conf")
    add("--tls", action="store_true", help="the Pis come over TLS")
    add("--write", action="store_true", help="also to tests/bench/FLEET.md, or FLEET-TLS.md")
    return parser.parse_args()


def _leave(number: int, frame: object) -> NoReturn:
    sys.exit(128 + number)


async def _measure(folder: Path, asked: argparse.Namespace) -> list[Row]:
    """Measure everything in turn and return the rows. Each row is also printed at once."""
    found: list[Row] = []

    def say(rows: Iterable[Row]) -> None:
        for row in rows:
            found.append(row)
            print(f"{row.what}: {row.measured}", file=sys.stderr, flush=True)

    all_edges = asked.rate * asked.pis
    async with rig(folder, asked.pins, asked.processes, asked.broker, asked.tls) as made:
        say(edge.rows(await edge.measure(made, asked.edges)))
        for size in sorted({*(each for each in (10, 100) if each < asked.pis), asked.pis}):
            came = await connecting.measure(made, size)
            say(opening.rows([await opening.measure(made, asked.rate, asked.seconds)]))
        say(connecting.rows(came))
        say(await latecomer.rows(made))
        await made.subscriber.view.right(await made.pis.truth(), steady.CATCH_UP_TIMEOUT_S)
        idle = await costs(made, asked.seconds)
        rounds = [
            await steady.measure(made, made.subscriber.view, all_edges, asked.seconds)
            for _ in range(asked.rounds)
        ]
        say(steady.rows(made, idle, rounds))
        async with made.page_server() as server, Page(server.port) as page:
            await page.view.right(await made.pis.truth(), opening.TIMEOUT_S)
            idle = await costs(made, asked.seconds, server)
            rounds = [
                await steady.measure(made, page.view, all_edges, asked.seconds, server)
                for _ in range(asked.rounds)
            ]
            say(steady.page_rows(idle, rounds))
            for outage in asked.outages:
                how = signal.SIGKILL if outage else signal.SIGTERM
                say(restart.rows(await restart.restart(made, page, all_edges, outage, how)))
            await made.subscriber.close()  # the machine is the limit from here on
            for rate in asked.fast:
                wanted = rate * asked.pis
                fast = await steady.measure(made, page.view, wanted, asked.seconds, server)
                say(steady.fast_rows(asked.pis * asked.pins, wanted, fast))
    return found


def _about(asked: argparse.Namespace) -> Iterator[str]:
    yield (
        f"{asked.pis:,} Pis with {asked.pins} pins in {asked.processes} processes, "
        f"{asked.rate:g} changes a second of each at random moments; {asked.rounds} rounds of "
        f"{asked.seconds:g} s, median (range). "
        "Pis, broker, servers and subscribers share the machine."
    )
    more = f" and {', '.join(f'`{line}`' for line in asked.broker)}" if asked.broker else ""
    tls = " The Pis come over TLS, the subscribers do not." if asked.tls else ""
    yield f"Mosquitto as it comes, without a disk{more}: what it kept is gone after a restart.{tls}"


def _command() -> str:
    return " ".join(["scripts/bench.sh fleet", *sys.argv[1:]])


if __name__ == "__main__":
    main()
