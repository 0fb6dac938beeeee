"""Measures what one delivered message costs raspi-server in CPU time, and what it costs others.

The servers take turns, one at a time on the first core, and all clients are read on the last.
CPU time and not wall time, medians of interleaved rounds, ratios within a round: so the figures
stand a busy machine.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import signal
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NoReturn

from .process import CHECKOUT, ServerFailed, running
from .reader import BrokenPromise, Reader
from .servers import SERVERS

OURS = "raspi-server"
NAMES = (OURS, *SERVERS)
MEANING = {
    OURS: "raspi-server, 28 simulated pins",
    "tutorial": "the tutorial, its text padded to the same length",
    "tutorial-json": "the tutorial, the pins as JSON for each client",
    "write-message": "Tornado write_message, one text encoded once a tick",
    "bare-loop": "bare Python loop of socket.send, one frame a tick",
}
HEADINGS = ("server", "clients", "µs CPU a message", "× bare loop", "× ours", "bytes", "a second")
PINS = "".join(
    f"  pin{n}: {{gpio: {n}, mode: {'output' if n < 14 else 'input'}}}\n" for n in range(28)
)
CONFIG = f"address: 127.0.0.1\ninterval: 0.1\naccess: {{control: everyone}}\npins:\n{PINS}"
MESSAGE = '{"type":"state","seq":812,"time":1763800000.123,"pins":{%s}}' % ",".join(  # noqa: UP031
    f'"pin{n}":0' for n in range(28)
)


@dataclass(frozen=True)
class Setup:
    """What every run has in common."""

    folder: Path
    seconds: float
    server_core: int
    tls: bool


@dataclass(frozen=True)
class Result:
    """One server with so many clients, once."""

    micros: float  # CPU time for each delivered message
    size: float  # bytes of its text
    rate: float  # messages each client got a second: below 10 the server could not keep up


def main() -> None:
    asked = _parse()
    signal.signal(signal.SIGTERM, _leave)  # as SystemExit, so that servers are ended
    _raise_file_limit(max(asked.clients) + 100)
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[-1]})
    with tempfile.TemporaryDirectory(prefix="raspi-bench-") as folder:
        setup = Setup(Path(folder), asked.seconds, cores[0], asked.tls)
        if asked.tls:
            _make_certificate(setup.folder)
        (setup.folder / "config.yaml").write_text(_config(setup))
        (setup.folder / "message").write_text(MESSAGE)
        try:
            if OURS in asked.servers:
                (setup.folder / "message").write_text(_hear_ours(setup))
            results = _measure_all(setup, asked)
        except (ServerFailed, BrokenPromise, OSError) as error:
            sys.exit(f"bench: {error}")
    for line in _table(results, asked.servers, asked.clients):
        print(line)
    print()
    for line in _circumstances(cores, asked):
        print(line)


def _parse() -> argparse.Namespace:
    def numbers(text: str) -> list[int]:
        values = [int(part) for part in text.split(",")]
        if min(values) < 1:
            raise ValueError
        return values

    def names(text: str) -> list[str]:
        values = text.split(",")
        for value in values:
            if value not in NAMES:
                raise argparse.ArgumentTypeError(f"{value}: expected one of {', '.join(NAMES)}")
        return values

    parser = argparse.ArgumentParser(prog="scripts/bench.sh", description=__doc__)
    parser.add_argument("--clients", type=numbers, default=[100, 1000], help="default: 100,1000")
    parser.add_argument("--rounds", type=int, default=3, help="default: 3")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each run; default: 5")
    parser.add_argument("--servers", type=names, default=list(NAMES), help=f"of {','.join(NAMES)}")
    parser.add_argument("--tls", action="store_true", help="everything over https")
    return parser.parse_args()


def _leave(number: int, frame: object) -> NoReturn:
    sys.exit(128 + number)


def _raise_file_limit(wanted: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)  # the servers inherit it
    if hard != resource.RLIM_INFINITY and wanted > hard:
        sys.exit(f"bench: {wanted} open files wanted, and this machine allows {hard} (ulimit -Hn)")
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _make_certificate(folder: Path) -> None:
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    files = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "certificate.pem")]
    subprocess.run(
        ["openssl", "req", "-x509", "-noenc", "-days", "2", *curve, *names, *files],
        check=True,
        capture_output=True,
    )


def _config(setup: Setup) -> str:
    pair = "{certificate: certificate.pem, key: key.pem}"
    return f"ssl: {pair if setup.tls else 'false'}\n{CONFIG}"


def _arguments(name: str, setup: Setup) -> list[str]:
    if name == OURS:
        config = str(setup.folder / "config.yaml")
        return ["-m", "raspi_server", "run", "--config", config, "--port", "0", "--simulate"]
    certificate = ["--certificate", "certificate.pem", "--key", "key.pem"] if setup.tls else []
    return ["-m", "tests.bench.servers", name, "--message", "message", *certificate]


def _client_context(setup: Setup) -> ssl.SSLContext | None:
    if not setup.tls:
        return None
    return ssl.create_default_context(cafile=setup.folder / "certificate.pem")


def _hear_ours(setup: Setup) -> str:
    """A `state` message from our own server, for the others to send the same bytes."""
    heard: list[str] = []
    with (
        running(_arguments(OURS, setup), setup.folder, setup.server_core, 60) as server,
        Reader(server.port, 1, _client_context(setup)) as reader,
    ):
        reader.on_text = lambda payload: heard.append(payload.decode())
        reader.read_for(2)
    states = [text for text in heard if text.startswith('{"type":"state"')]
    if not states:
        raise BrokenPromise(f"raspi-server sent no state within 2 s, but {heard}")
    return max(states, key=len)  # one whose time does not happen to end in a nought


def _measure_all(setup: Setup, asked: argparse.Namespace) -> dict[tuple[str, int], list[Result]]:
    results: dict[tuple[str, int], list[Result]] = {}
    for clients in asked.clients:
        for turn in range(asked.rounds):
            for name in _in_turn(asked.servers, turn):
                try:
                    result = _measure(name, clients, setup)
                except (ServerFailed, BrokenPromise) as error:
                    raise type(error)(f"{name} with {clients} clients: {error}") from error
                results.setdefault((name, clients), []).append(result)
                print(
                    f"{clients} clients, round {turn + 1}: {name} {result.micros:.1f} µs",
                    file=sys.stderr,
                    flush=True,
                )
    return results


def _in_turn(names: list[str], turn: int) -> list[str]:
    """Each round begins with another server, so that none is always the first."""
    first = turn % len(names)
    return names[first:] + names[:first]


def _measure(name: str, clients: int, setup: Setup) -> Result:
    lifetime = setup.seconds + 120
    with (
        running(_arguments(name, setup), setup.folder, setup.server_core, lifetime) as server,
        Reader(server.port, clients, _client_context(setup)) as reader,
    ):
        reader.read_for(1)
        reader.read_until_quiet()
        before, cpu_before, began = reader.snapshot(), server.cpu_seconds(), time.monotonic()
        each_before = reader.told_to_each()
        reader.read_for(setup.seconds)
        reader.read_until_quiet()
        cpu, lasted = server.cpu_seconds() - cpu_before, time.monotonic() - began
        counts = reader.snapshot() - before
        each = [now - then for now, then in zip(reader.told_to_each(), each_before, strict=True)]
    if min(each) == 0:
        raise BrokenPromise(f"{each.count(0)} of its clients heard nothing")
    return Result(
        micros=cpu / counts.told * 1e6,
        size=counts.bytes / counts.told,
        rate=counts.told / clients / lasted,
    )


def _table(
    results: dict[tuple[str, int], list[Result]], names: list[str], counts: list[int]
) -> Iterator[str]:
    """As Markdown, and in columns for whoever reads it in a terminal."""
    rows = [[*HEADINGS]]
    for clients in counts:
        for name in names:
            runs = results[name, clients]
            rows.append(
                [
                    MEANING[name],
                    str(clients),
                    _spread([run.micros for run in runs], 1),
                    _ratio(results, name, "bare-loop", clients),
                    _ratio(results, name, OURS, clients),
                    f"{statistics.median(run.size for run in runs):.0f}",
                    f"{statistics.median(run.rate for run in runs):.1f}",
                ]
            )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for number, row in enumerate(rows):
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        yield f"| {' | '.join(cells)} |"
        if number == 0:
            rules = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
            yield f"| {' | '.join(rules)} |"


def _ratio(
    results: dict[tuple[str, int], list[Result]], name: str, other: str, clients: int
) -> str:
    pairs = zip(results[name, clients], results.get((other, clients), []), strict=False)
    return _spread([mine.micros / theirs.micros for mine, theirs in pairs], 2)


def _spread(values: list[float], digits: int) -> str:
    """The median, and the range in brackets."""
    if not values:
        return "–"
    middle, low, high = statistics.median(values), min(values), max(values)
    return f"{middle:.{digits}f} ({low:.{digits}f}–{high:.{digits}f})"


def _circumstances(cores: list[int], asked: argparse.Namespace) -> Iterator[str]:
    yield (
        f"Median (range) of {asked.rounds} interleaved rounds of {asked.seconds:g} s; "
        f"a message to each client every 100 ms over {'https' if asked.tls else 'http'} "
        f"on 127.0.0.1; server on core {cores[0]}, clients on core {cores[-1]}."
    )
    versions = [f"Python {platform.python_version()}"]
    for package in (OURS, "tornado", "msgspec", "gpiozero"):
        try:
            versions.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            versions.append(f"{package} not installed")
    if asked.tls:
        versions.append(ssl.OPENSSL_VERSION)
    yield f"{', '.join(versions)}; commit {_commit()}."
    yield f"{_machine()}, {len(cores)} cores, Linux {platform.release()}."


def _commit() -> str:
    asked = ["git", "-C", str(CHECKOUT), "describe", "--always", "--dirty"]
    try:
        return subprocess.run(asked, check=True, capture_output=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _machine() -> str:
    model = Path("/proc/device-tree/model")  # a Raspberry Pi names itself here
    if model.exists():
        return model.read_text().rstrip("\0\n")
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return f"{line.partition(':')[2].strip()} ({platform.machine()})"
    return platform.machine()


if __name__ == "__main__":
    main()
