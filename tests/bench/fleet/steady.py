"""Normal operation: cost of a change, and its delay to subscribers and viewers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass

from ..process import Running
from .figures import Row, quantile, spread
from .rig import SETTLE_S, Costs, Rig, costs
from .view import View

CATCH_UP_TIMEOUT_S = 20.0
"""Seconds after the last change within which all states should be known."""


@dataclass(frozen=True)
class Round:
    """Some seconds of changes. `received` of them were known by their end. `delays` are sorted.
    `wrong` counts the pins whose state was not known after the last change."""

    made: int
    received: int
    costs: Costs
    delays: list[float]
    wrong: int

    @property
    def rate(self) -> float:
        return self.made / self.costs.seconds

    def micros(self, cpu: float, idle: float) -> float:
        """Return the CPU of a change in microseconds, without the CPU used when idle."""
        return (cpu - idle * self.costs.seconds) / self.made * 1e6


async def measure(
    rig: Rig, view: View, rate: float, seconds: float, page: Running | None = None
) -> Round:
    """Make so many changes a second, for so many seconds."""
    await rig.pis.edges(rate)
    await asyncio.sleep(SETTLE_S)
    view.count_from(time.time())
    before = (await rig.pis.count()).changes
    spent = await costs(rig, seconds, page)
    received = len(view.delays)
    made = (await rig.pis.count()).changes - before
    await rig.pis.edges(0)
    truth = await rig.pis.truth()
    await view.right(truth, CATCH_UP_TIMEOUT_S)
    return Round(made, received, spent, sorted(view.delays), view.wrong(truth))


def delays(name: str, rounds: list[Round], to_reach: str = "") -> Row:
    """Return the row of the delays."""
    middle, last = (
        spread([quantile(each.delays, share) * 1e3 for each in rounds], 1) for share in (0.5, 0.99)
    )
    most = max(each.delays[-1] for each in rounds) * 1e3
    return Row(name, f"p50 {middle} ms, p99 {last} ms, most {most:,.0f} ms", to_reach)


def others(rounds: list[Round]) -> Row:
    """Return the row of the CPU that other programs used, which delays all of it."""
    shares = [each.costs.others / each.costs.seconds * 100 for each in rounds]
    return Row("other programs on this machine meanwhile", f"{spread(shares)} % of a core")


def rows(rig: Rig, idle: Costs, rounds: list[Round]) -> Iterator[Row]:
    """Yield the rows measured with the subscriber alone."""
    pis = rig.pis.size
    idle_pis, idle_broker = idle.pis / idle.seconds, idle.broker / idle.seconds
    rate = spread([each.rate for each in rounds])
    yield Row("changes a second, of all Pis", rate)
    yield Row("CPU of a Pi's bridge, idle", f"{idle_pis / pis * 1e6:,.0f} µs a second")
    bridge = spread([each.micros(each.costs.pis, idle_pis) for each in rounds])
    yield Row("CPU of a Pi's bridge, a change", f"{bridge} µs")
    yield Row("CPU of the broker, idle", f"{idle_broker * 100:.1f} % of a core")
    broker = spread([each.micros(each.costs.broker, idle_broker) for each in rounds])
    yield Row("CPU of the broker, a change to one subscriber", f"{broker} µs")
    yield Row("bytes of a change: PUBLISH, PUBACK", f"{rig.subscriber.size} + 4")
    received = spread([each.costs.received / each.made for each in rounds])
    sent = spread([each.costs.sent / each.made for each in rounds])
    yield Row("the broker's own count, a change, all told", f"{received} in, {sent} out")
    yield delays("edge on a Pi to a plain MQTT client", rounds)
    yield others(rounds)
    yield Row(
        "pins not known as they are, afterwards", str(sum(each.wrong for each in rounds)), "0"
    )


def page_rows(idle: Costs, rounds: list[Round]) -> Iterator[Row]:
    """Yield the rows measured at the fleet page of another Pi."""
    yield delays("edge on a Pi to the fleet page of another", rounds, "p99 < 250 ms")
    yield others(rounds)
    micros = spread([each.micros(each.costs.page, idle.page / idle.seconds) for each in rounds])
    share = spread([each.costs.page / each.costs.seconds * 100 for each in rounds])
    yield Row("CPU of the page's server, a change", f"{micros} µs; {share} % of a core in all")
    yield Row(
        "pins not shown as they are, afterwards", str(sum(each.wrong for each in rounds)), "0"
    )


def fast_rows(pins: int, wanted: float, found: Round) -> Iterator[Row]:
    """Yield the rows of higher rates. All parts share one machine, and its cores are the limit."""
    what = f"{wanted:,.0f} changes a second, {wanted / pins:.2g} of each pin"
    yield delays(f"{what}: edge to the fleet page", [found])
    seconds = found.costs.seconds
    spent = found.costs
    shares = {"Pis": spent.pis, "broker": spent.broker, "page's server": spent.page,
              "viewer": spent.viewer}  # fmt: skip
    of_a_core = ", ".join(f"{part} {cpu / seconds * 100:.0f} %" for part, cpu in shares.items())
    yield Row(f"{what}: shown", f"{found.received / seconds:,.0f} a second; of a core: {of_a_core}")
