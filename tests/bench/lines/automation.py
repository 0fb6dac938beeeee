"""200 schedules and 200 rules on 28 pins, beside a server without any."""

from __future__ import annotations

import json
import statistics
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

from tests.support.websocket import WebSocketClient

from ..contenders import CONFIG, Rig
from ..process import Command, Running, ServerFailedError, Systemd, launched
from ..table import Findings, Row, Spread

SECONDS = 8.0
COUNT = 200
OUTPUTS, INPUTS = range(14), range(14, 28)
EDGES = 98
"""Edges in each round: seven of each input. More than twenty changes of an output are a storm."""
PAUSE = 0.03
"""Seconds between edges: a client may send 50 messages a second."""
_CLOSED = "{from: sunrise, to: sunrise+00:01}"
_DAYS = "mon, tue, wed, thu, fri, sat, sun"


def config() -> str:
    """Return the configuration of a house with many schedules and rules, of all kinds."""
    lines = [f"ssl: false\nlocation: {{latitude: 48.1, longitude: 11.6}}\n{CONFIG}schedules:"]
    for number in range(COUNT):
        pin = f"pin: pin{OUTPUTS[number % len(OUTPUTS)]}"
        hour, minute = 1 + number % 22, number * 7 % 60
        clock = f"{hour:02}:{minute:02}"
        days = f"days: [{_DAYS[: 3 + 5 * (number % 7)]}]"
        lines.append(
            f"  schedule{number}: "
            + (
                f"{{{pin}, from: {clock}, to: {hour + 1:02}:{minute:02}, {days}}}",
                f"{{{pin}, from: sunset+00:{minute:02}, to: sunrise, {days}}}",
                f"{{{pin}, at: {clock}, pulse: 30, {days}}}",
                f"{{at: {clock}, turn_off: [pin{number % 14}]}}",
            )[number % 4]
        )
    lines.append("rules:")
    for number in range(COUNT):
        when, pin = INPUTS[number % len(INPUTS)], OUTPUTS[number % len(OUTPUTS)]
        # The first rule of each input acts at once. A press or a short edge is none of the others.
        other = (
            f"{{when: pin{when}, turn_on: pin{pin}, hold: 180, only: {_CLOSED}}}",
            f"{{when: pin{when}, press: long, turn_off: [pin{pin}]}}",
            f"{{while: pin{when}, for: 600, turn_on: pin{pin}}}",
        )[number % 3]
        own = f"{{while: pin{when}, turn_on: pin{pin}}}"
        lines.append(f"  rule{number}: {own if number < len(INPUTS) else other}")
    return "\n".join(lines) + "\n"


def measure(rig: Rig, rounds: int) -> Findings:
    """Measure idle CPU, edges, memory and start, with and without schedules and rules."""
    file = rig.folder / "automation.yaml"
    file.write_text(config())
    plain = rig.ours()
    busy = Command(
        [str(file) if str(each).endswith("http.yaml") else each for each in plain.arguments]
    )
    commands = {False: plain, True: busy}
    idle, resident, started, edges = _idle(rig, commands, rounds)
    what = f"{COUNT} schedules and {COUNT} rules on 28 pins"
    rows = [
        Row(
            f"{what}: nobody connected",
            f"{Spread(idle[True]).text(2, ' ms')} of CPU a second; without"
            f" {Spread(idle[False]).text(2, ' ms')}",
            "under 1 ms",
            Spread(idle[True]).median < 1,
        ),
        Row(
            f"{what}: from an edge to the outputs of its rules",
            f"{Spread([statistics.median(each) for each in edges]).text(2, ' ms')}; the slowest of"
            f" {EDGES} {Spread([max(each) for each in edges]).text(2, ' ms')}",
            "under 1 ms",
            statistics.median(each for found in edges for each in found) < 1,
        ),
        _beside(f"{what}: memory", resident, 1, " MB"),
        _beside(f"{what}: start to READY, CPU", started, 2, " s"),
    ]
    return Findings(rows)


def _beside(what: str, found: dict[bool, list[float]], digits: int, unit: str) -> Row:
    measured = f"{Spread(found[True]).text(digits, unit)}; without"
    return Row(what, f"{measured} {Spread(found[False]).text(digits, unit)}", "–", None)


Found = dict[bool, list[float]]


def _idle(
    rig: Rig, commands: dict[bool, Command], rounds: int
) -> tuple[Found, Found, Found, list[list[float]]]:
    idle: Found = {False: [], True: []}
    resident: Found = {False: [], True: []}
    started: Found = {False: [], True: []}
    edges = []
    for _ in range(rounds + 1):
        for has_any, command in commands.items():
            with _ready(rig, command) as (server, cpu):
                started[has_any].append(cpu)
                if has_any:
                    _trust_clock(server)
                time.sleep(2)  # the first beat, and what it finds new
                before, began = server.cpu_seconds(), time.monotonic()
                time.sleep(rig.seconds or SECONDS)
                cpu, lasted = server.cpu_seconds() - before, time.monotonic() - began
                idle[has_any].append(cpu / lasted * 1000)
                resident[has_any].append(server.resident() / 1e6)
                if has_any:
                    edges.append(_edges(server))
    for each in (*idle.values(), *resident.values(), *started.values(), edges):
        del each[0]  # the first start reads config.yaml, later ones what it kept
    return idle, resident, started, edges


@contextmanager
def _ready(rig: Rig, command: Command) -> Iterator[tuple[Running, float]]:
    """Start a server. Yield it, and the CPU seconds until it was ready."""
    with Systemd(rig.folder) as systemd:
        more = Command(command.arguments, systemd.environment)
        with launched(more, rig.folder, rig.core, 120) as process:
            if not systemd.is_ready.wait(30):
                raise ServerFailedError((rig.folder / "stderr").read_text()[-2000:])
            cpu = Running(process.pid, 0).cpu_seconds()
            said = (rig.folder / "stderr").read_text()
            port = int(said.partition("http://127.0.0.1:")[2].split("/")[0])
            yield Running(process.pid, port), cpu


def _trust_clock(server: Running) -> None:
    address = f"http://127.0.0.1:{server.port}/api/clock/trust"
    with urllib.request.urlopen(urllib.request.Request(address, method="POST")) as answer:
        assert json.load(answer)["clock_known"]


def _edges(server: Running) -> list[float]:
    """Return milliseconds from edges to the last change of an output that follows.

    Both are times of the server, so neither the network nor this process counts."""
    found = []
    with WebSocketClient(server.port) as viewer:
        for number in range(EDGES):
            pin = f"pin{INPUTS[number % len(INPUTS)]}"
            for value in (1, 0):
                time.sleep(PAUSE)
                viewer.send(type="drive", pin=pin, value=value, ref=number)
                changes = []
                while (message := viewer.receive())["type"] != "result":
                    if message["type"] == "change":
                        changes.append(message)
                (edge,) = (each["time"] for each in changes if each["pin"] == pin)
                others = [each["time"] for each in changes if each["pin"] != pin]
                if others:
                    found.append((max(others) - edge) * 1000)
    assert len(found) >= EDGES / 2
    return found
