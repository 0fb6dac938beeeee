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


def test_ticks_at_a_steady_rate_until_a_stop(loop):
    """Ticks come at multiples of the interval, until a stop and after a new start."""
    times: list[float] = []
    ticker = run(loop, lambda: times.append(loop.time()), 1.05, 0.1)
    assert times == pytest.approx([1000 + n / 10 for n in range(1, 11)])
    ticker.stop()
    ticker.stop()
    loop.run_until_complete(asyncio.sleep(5))
    assert len(times) == 10
    ticker.start()
    loop.run_until_complete(asyncio.sleep(0.1))
    assert len(times) == 11


def test_tickers_are_due_at_the_same_time(loop):
    """A slow ticker is due when a quick one is. One that yields is called last."""
    seen: list[tuple[str, float]] = []

    async def live() -> None:
        slow = Ticker(lambda: seen.append(("slow", loop.time())), 0.2, yields=True)
        slow.start()
        await asyncio.sleep(0.033)
        Ticker(lambda: seen.append(("quick", loop.time())), 0.1).start()
        await asyncio.sleep(0.417)
        loop.call_at(1000.6, slow.stop)
        await asyncio.sleep(0.3)

    loop.run_until_complete(live())
    assert [name for name, _ in seen] == ["quick", "quick", "slow"] * 2 + ["quick"] * 3
    slow_times = [moment for name, moment in seen if name == "slow"]
    assert slow_times == pytest.approx([1000.2, 1000.4])


@pytest.mark.parametrize(
    ("delay", "after"),
    [(0.12, [0.32, 0.4, 0.5]), (0.18, [0.38, 0.5, 0.6]), (1.0, [1.2, 1.3, 1.4])],
)
def test_late_tick_is_followed_by_the_next_in_time(loop, delay, after):
    """After a late tick the next ones come at their times. No tick is made up for."""
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
    ticks = iter([0, 1, 1, 1])
    run(loop, lambda: 1 / next(ticks), 0.35, 0.1)
    assert next(ticks) == 1
    assert [type(each["exception"]) for each in reported] == [ZeroDivisionError]
