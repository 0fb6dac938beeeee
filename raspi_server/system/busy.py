"""The subject that the event loop is busy with: a request, a socket or a pin, in words.

The report about a loop that is stuck names it. The loop's thread writes it; any thread may read it.
"""

import types
from collections.abc import Coroutine, Generator
from typing import Any, TypeVar

_T = TypeVar("_T")

_subject = ""


def describe() -> str:
    """Return the innermost subject that the loop is busy with, or "" if there is none."""
    return _subject


class on:  # noqa: N801 - it reads as a statement: with busy.on("GET /api/health"):
    """Context manager that names the subject of a block.

    The block must not await, because other work would then run under its name; use `run` for
    that. An instance can be entered again and again, so build it once.
    """

    __slots__ = ("_outer", "_subject")

    def __init__(self, subject: str) -> None:
        self._subject = subject

    def __enter__(self) -> None:
        global _subject
        self._outer, _subject = _subject, self._subject

    def __exit__(self, *_: object) -> None:
        global _subject
        _subject = self._outer


@types.coroutine
def run(subject: str, work: Coroutine[Any, Any, _T]) -> Generator[Any, Any, _T]:
    """Await a coroutine and name its subject while it runs, but not while it waits.

    Return its result; raise what it raises.
    """
    global _subject
    sent, thrown = None, None
    while True:
        outer, _subject = _subject, subject
        try:
            waits_for = work.send(sent) if thrown is None else work.throw(thrown)
        except StopIteration as end:
            result: _T = end.value
            return result
        finally:
            _subject = outer
        try:
            sent, thrown = (yield waits_for), None
        except BaseException as error:  # a cancellation, or a close, is the coroutine's to answer
            sent, thrown = None, error
