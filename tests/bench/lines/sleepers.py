"""Phones asleep among many awake: what they cost the others and the server, and to what they wake
up."""

from __future__ import annotations

import json
import time

from ..contenders import Rig
from ..process import Running
from ..reader import Reader, Watcher
from ..table import Findings, Row, Spread
from .ticks import percentile

SECONDS = 6.0
RECEIVE_BUFFER = 4096  # bytes; of the phone's own kernel, which is not the server's to bound
OLD = 0.25  # seconds; a state that shows the past
WAKING = 0.5


def measure(rig: Rig, viewers: int, sleepers: int, rounds: int) -> Findings:
    cost, gaps, grown, stale, late, lost = [], [], [], [], [], 0
    for _ in range(rounds):
        with (
            rig.running(rig.ours()) as server,
            Watcher(server.port, viewers - sleepers) as awake,
            Reader(server.port, sleepers, None, RECEIVE_BUFFER, fully_read=sleepers) as asleep,
        ):
            asleep.read_for(0.3)
            awake.read_for(1)
            # Their buffers fill while the first figures are taken with the sleepers read.
            alone, _ = _watch(server, awake, asleep, rig.seconds or SECONDS / 2)
            resident = server.resident()
            with_sleepers, late_gap = _watch(server, awake, None, rig.seconds or SECONDS)
            grown.append((server.resident() - resident) / sleepers / 1000)
            cost.append(with_sleepers / alone)
            gaps.append(late_gap)
            lost += awake.lost
            old, newest = _wake(asleep)
            stale.append(old)
            late.append(newest)
    ratio, gap, behind = Spread(cost), Spread(gaps), Spread(late)
    return Findings(
        [
            Row(
                f"{sleepers} sleeping phones among {viewers:,}: the others",
                f"{ratio.text(2)} × the CPU for each of their messages; "
                f"p99 of the gap {gap.text(0, ' ms')}; {lost or 'no'} states lost",
                "at most 1.1 ×, under 130 ms, none",
                ratio.median <= 1.1 and gap.median < 130 and not lost,
            ),
            Row(
                f"{sleepers} sleeping phones among {viewers:,}: memory",
                f"{Spread(grown).text(1, ' kB')} more for each",
                "at most 16 kB",
                Spread(grown).median <= 16,
            ),
            Row(
                f"{sleepers} sleeping phones among {viewers:,}: waking up",
                f"each finds at most {Spread(stale).text(0)} old states, "
                f"then the present, {behind.text(0, ' ms')} old at most",
                "the present within 200 ms",
                behind.median <= 200,
            ),
        ]
    )


def _watch(
    server: Running, awake: Watcher, also: Reader | None, seconds: float
) -> tuple[float, float]:
    """CPU for each message the waking ones got, and the 99th percentile of their gaps in ms."""
    awake.read_until_quiet()
    awake.begin()
    before, cpu_before = awake.snapshot(), server.cpu_seconds()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        awake.read_for(0.02)
        if also:
            also.read_for(0.001)
    awake.read_until_quiet()
    cpu, counts = server.cpu_seconds() - cpu_before, awake.snapshot() - before
    told = counts.told
    if also:  # all receive the same
        told = told * (len(awake) + len(also)) // len(awake)
    return cpu / told, percentile(awake.gaps, 99) * 1000


def _wake(asleep: Reader) -> tuple[int, float]:
    """The most old states that one found; and how old the present was at most that each came to,
    in milliseconds after it woke."""
    old: dict[int, int] = {}
    present: dict[int, float] = {}
    began = time.monotonic()

    def note(number: int, payload: bytes) -> None:
        told = json.loads(payload)
        if told["type"] != "state" or number in present:
            return
        if time.time() - told["time"] > OLD:
            old[number] = old.get(number, 0) + 1
        else:
            present[number] = (time.monotonic() - began) * 1000

    asleep.on_text = note
    asleep.read_for(WAKING)
    if len(present) < len(asleep):
        return max(old.values(), default=0), float("inf")
    return max(old.values(), default=0), max(present.values())
