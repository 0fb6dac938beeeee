"""The subject that the loop is busy with."""

import asyncio

import pytest

from raspi_server.system import busy


def test_innermost_subject() -> None:
    """A block in a block is named by the inner one, and each name ends with its block."""
    assert busy.describe() == ""
    with busy.on("PUT /api/pins/lamp"):
        with busy.on("lamp (GPIO17)"):
            assert busy.describe() == "lamp (GPIO17)"
        assert busy.describe() == "PUT /api/pins/lamp"
        with pytest.raises(ValueError, match="inner"), busy.on("lamp (GPIO17)"):
            raise ValueError("inner")
        assert busy.describe() == "PUT /api/pins/lamp"
    assert busy.describe() == ""


def test_steps_of_a_coroutine() -> None:
    """A coroutine's subject is named while it runs. While it waits, other work has its own."""
    seen: list[tuple[str, str]] = []

    async def work(name: str, other: asyncio.Event, mine: asyncio.Event) -> str:
        seen.append((name, busy.describe()))
        mine.set()
        await other.wait()
        seen.append((name, busy.describe()))
        return name

    async def main() -> None:
        one, two = asyncio.Event(), asyncio.Event()
        both = [
            asyncio.ensure_future(busy.run("one", work("one", two, one))),
            asyncio.ensure_future(busy.run("two", work("two", one, two))),
        ]
        assert await asyncio.gather(*both) == ["one", "two"]
        assert busy.describe() == ""

    asyncio.run(main())
    assert len(seen) == 4 and all(name == subject for name, subject in seen)


def test_errors_pass_through() -> None:
    """An exception of the coroutine, and a cancellation of it, pass through."""

    async def fails() -> None:
        await asyncio.sleep(0)
        raise ValueError("as it is")

    async def is_cancelled() -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return busy.describe()
        return "never"

    async def main() -> None:
        with pytest.raises(ValueError, match="as it is"):
            await busy.run("fails", fails())
        waiting = asyncio.ensure_future(busy.run("waits", is_cancelled()))
        await asyncio.sleep(0)
        waiting.cancel()
        assert await waiting == "waits"
        assert busy.describe() == ""

    asyncio.run(main())
