"""The subject that the loop is busy with."""

import asyncio

import pytest

from raspi_server.system import busy


def test_innermost_subject() -> None:
    """A block in a block is named by the inner one, and each name ends with its block."""
    with busy.on("PUT /api/pins/lamp"):
        with pytest.raises(ValueError, match="inner"), busy.on("lamp (GPIO17)"):
            assert busy.describe() == "lamp (GPIO17)"
            raise ValueError("inner")
        assert busy.describe() == "PUT /api/pins/lamp"
    assert busy.describe() == ""


def test_subject_of_a_coroutine() -> None:
    """A coroutine's subject is named while it runs. While it waits, other work has its own. Its
    result, exception or cancellation passes through."""

    async def work(name: str) -> str:
        for _ in range(3):
            assert busy.describe() == name
            await asyncio.sleep(0)
        return name

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
        waiting = asyncio.ensure_future(busy.run("waits", is_cancelled()))
        each = [busy.run(name, work(name)) for name in ("one", "two")]
        *names, failed = await asyncio.gather(
            *each, busy.run("fails", fails()), return_exceptions=True
        )
        assert (names, str(failed)) == (["one", "two"], "as it is")
        waiting.cancel()
        assert await waiting == "waits"
        assert busy.describe() == ""

    asyncio.run(main())
