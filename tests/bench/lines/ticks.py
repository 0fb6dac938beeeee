"""Ticks kept: every viewer gets every state, in order, and none comes late."""

from __future__ import annotations

from ..contenders import Rig
from ..reader import Watcher
from ..table import Findings, Row, Spread

SECONDS = 5.0


def measure(rig: Rig, viewers: int, rounds: int) -> Findings:
    lost, late = 0, []
    with rig.running(rig.ours()) as server, Watcher(server.port, viewers) as watcher:
        watcher.read_for(0.5)
        for _ in range(rounds):
            watcher.begin()
            watcher.read_for(rig.seconds or SECONDS)
            lost += watcher.lost
            late.append(percentile(watcher.gaps, 99) * 1000)
    gap = Spread(late)
    kept = f"all but {lost}" if lost else "all"
    row = Row(
        f"ticks kept at 100 ms with {viewers:,} viewers on one core",
        f"{kept}, in order; p99 of the gap {gap.text(0, ' ms')}",
        "all, in order, p99 under 130 ms",
        not lost and gap.median < 130,
    )
    return Findings([row])


def percentile(values: list[float], percent: int) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]
