"""The ticker: its rate, its order, and late calls."""

import asyncio
from collections.abc import Callable

import pytest

from raspi_server.system.ticker import Ticker
from tests.support.board import JumpingLoop


@pytest.fixture
def loop():
    loop = JumpingLoop()
    yield loop
    loop.close()


def run(loop: JumpingLoop, tick: Callable[[], object], seconds: float, interval: float) -> Ticker:
    async def live() -> Ticker:
        ticker = Ticker(tick, interval)
        ticker.start()
        ticker.start()
        await asyncio.sleep(seconds)
        return ticker

    return loop.run_until_complete(live())


def test_ticks_at_a_steady_rate(loop):
    """The first tick comes within one interval, the others at multiples of it."""
    times: list[float] = []
    run(loop, lambda: times.append(loop.time()), 1.05, 0.1)
    assert times == pytest.approx([1000 + n / 10 for n in range(1, 11)])


def test_no_tick_after_stop(loop):
    """After a stop there is no more tick, and after a new start there is."""
    ticks: list[int] = []
    ticker = run(loop, lambda: ticks.append(1), 0.35, 0.1)
    ticker.stop()
    ticker.stop()
    loop.run_until_complete(asyncio.sleep(5))
    assert len(ticks) == 3
    ticker.start()
    loop.run_until_complete(asyncio.sleep(0.1))
    assert len(ticks) == 4


def test_tickers_are_due_at_the_same_time(loop):
    """Whenever they were started, a slow ticker is due when a quick one is."""
    times: list[tuple[str, float]] = []

    async def live() -> None:
        for name, interval in (("quick", 0.1), ("slow", 0.5)):
            await asyncio.sleep(0.033)
            Ticker(lambda name=name: times.append((name, loop.time())), interval).start()
        await asyncio.sleep(2)

    loop.run_until_complete(live())
    slow = [moment for name, moment in times if name == "slow"]
    assert len(slow) == 4
    assert set(slow) <= {moment for name, moment in times if name == "quick"}


def test_ticker_that_yields_is_called_last(loop):
    """Of tickers due at the same time, one that yields is called last, and not after a stop."""
    order: list[str] = []

    async def live() -> None:
        slow = Ticker(lambda: order.append("slow"), 0.2, yields=True)
        slow.start()
        Ticker(lambda: order.append("quick"), 0.1).start()
        await asyncio.sleep(0.45)
        loop.call_at(1000.6, slow.stop)
        await asyncio.sleep(0.3)

    loop.run_until_complete(live())
    assert order == ["quick", "quick", "slow"] * 2 + ["quick"] * 3


@pytest.mark.parametrize(
    ("delay", "after"),
    [(0.12, [0.32, 0.4, 0.5]), (0.18, [0.38, 0.5, 0.6]), (1.0, [1.2, 1.3, 1.4])],
)
def test_late_tick_is_followed_by_the_next_in_time(loop, delay, after):
    """After a late tick the next ones come at their times, and not right after it. No tick is made
    up for."""
    times: list[float] = []

    def tick() -> None:
        times.append(loop.time())
        if len(times) == 2:
            loop._clock.now += delay  # something else delays the loop

    run(loop, tick, after[-1] + 0.05, 0.1)
    assert times == pytest.approx([1000 + each for each in (0.1, 0.2, *after)])


def test_ticker_goes_on_after_a_failing_tick(loop):
    """A failing tick does not end the ticker, and the exception is reported."""
    reported: list[dict[str, object]] = []
    loop.set_exception_handler(lambda _, context: reported.append(context))
    ticks: list[int] = []

    def tick() -> None:
        ticks.append(1)
        if len(ticks) == 1:
            raise RuntimeError("once")

    run(loop, tick, 0.35, 0.1)
    assert len(ticks) == 3
    assert len(reported) == 1
