"""Requests for files that came before, word for word, and their answers: given again without the
way through Tornado, while everything is as it was that they depend on.

A page load is 30 such requests, each of which costs Tornado some 400 µs and this 40, as
scripts/bench.sh shows (pages). Who asks is never an issue, since files are for everyone, and
the first request of each connection goes the whole way, so that it is known whose it is."""

import asyncio
import os
import re
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from email.utils import formatdate
from typing import Any, NamedTuple

from tornado.iostream import BaseIOStream

MOST = 1_000_000
"""Bytes of requests and answers kept in all; those that nobody asked for go first. A browser's load
of the dashboard takes 100 kB, and the next ones 40."""
LONGEST = 2048
LARGEST = 64 * 1024
"""Bytes of a request, and of an answer."""

RENEW = 30.0
"""Seconds after which a request goes the whole way all the same: Tornado hangs up on a connection
of which it has heard nothing for 60."""

_HEAD_END = re.compile(rb"\r?\n\r?\n")  # as Tornado looks for it
_DATE = re.compile(rb"(?<=\r\nDate: )[^\r]*")

Stamp = tuple[int, int, int, int]
Witness = tuple[str, Stamp | None]
"""A path, and what was there, if anything: any edit changes it."""


def stamp(found: os.stat_result) -> Stamp:
    return found.st_dev, found.st_ino, found.st_ctime_ns, found.st_size


class Given(NamedTuple):
    """An answer, but for its date."""

    before_date: bytes
    after_date: bytes
    witnesses: tuple[Witness, ...]

    @property
    def size(self) -> int:
        return len(self.before_date) + len(self.after_date)


class Repeats:
    """All methods belong to the loop's thread. `premises` tells all that answers depend on besides
    the request and the files."""

    def __init__(self, premises: Callable[[], object]) -> None:
        self._premises = premises
        self._valid_under: object = None
        self._kept: OrderedDict[bytes, Given] = OrderedDict()
        self._size = 0
        self._second = 0
        self._date = b""

    def answer(self, asked: bytes) -> bytes | None:
        """What was answered before, if it would be answered again."""
        given = self._kept.get(asked)
        if given is None:
            return None
        if self._premises() != self._valid_under:
            self._kept.clear()
            self._size = 0
            return None
        for path, was_there in given.witnesses:
            if _look(path) != was_there:
                self._forget(asked)
                return None
        self._kept.move_to_end(asked)
        return given.before_date + self._now() + given.after_date

    def keep(self, asked: bytes, answered: bytes, witnesses: tuple[Witness, ...]) -> None:
        """An answer that may be given again while the witnesses say the same."""
        head, _, _ = answered.partition(b"\r\n\r\n")
        date = _DATE.search(head)
        is_fit = len(asked) <= LONGEST and len(answered) <= LARGEST
        is_final = head.startswith((b"HTTP/1.1 200 ", b"HTTP/1.1 304 "))
        if not is_fit or not is_final or date is None or b"\r\nSet-Cookie:" in head:
            return
        if not self._kept:
            self._valid_under = self._premises()
        self._forget(asked)
        given = Given(answered[: date.start()], answered[date.end() :], witnesses)
        self._kept[asked] = given
        self._size += len(asked) + given.size
        while self._size > MOST:
            self._forget(next(iter(self._kept)))

    def _forget(self, asked: bytes) -> None:
        given = self._kept.pop(asked, None)
        if given:
            self._size -= len(asked) + given.size

    def _now(self) -> bytes:
        second = int(time.time())
        if second != self._second:
            self._second, self._date = second, formatdate(second, usegmt=True).encode()
        return self._date


def _look(path: str) -> Stamp | None:
    try:
        return stamp(os.stat(path))
    except OSError:
        return None


class Repeating(BaseIOStream):
    """A connection on which requests may be answered before Tornado hears of them. Only between two
    requests, and only while each has come as one piece: else, for the rest of its life, all goes
    the way it always went."""

    # For each viewer 1.5 kB less than in the stream's own dictionary, which they would let grow.
    __slots__ = (
        "_answered",
        "_asked",
        "_awaits_head",
        "_early",
        "_idle_since",
        "_is_orderly",
        "_repeats",
        "_witnesses",
    )

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._repeats: Repeats | None = None
        """Set by the first answer that may be given again."""
        self._witnesses: tuple[Witness, ...] | None = None
        """Of the answer that is being given, if that may be given again."""
        self._is_orderly = True
        self._awaits_head = False
        self._idle_since = 0.0
        """Since when Tornado awaits a head, by the monotonic clock."""
        self._asked = self._answered = b""
        self._early = b""
        """A request that came while Tornado had not yet ended the one before."""

    def may_repeat(self, repeats: Repeats, witnesses: tuple[Witness, ...]) -> None:
        """To be called before the present request is answered."""
        self._repeats = repeats
        if self._is_orderly:
            self._witnesses = witnesses

    def read_until_regex(self, regex: bytes, max_bytes: int | None = None) -> Awaitable[bytes]:
        """How Tornado asks for the head of the next request: the last one is answered."""
        may_repeat = self._is_orderly and not self.closed()  # an end is not to be repeated
        if self._repeats and self._witnesses is not None and may_repeat:
            self._repeats.keep(self._asked, self._answered, self._witnesses)
        self._witnesses = None
        self._asked = self._answered = b""
        self._awaits_head = True
        self._idle_since = time.monotonic()
        return super().read_until_regex(regex, max_bytes)

    def read_from_fd(self, buf: bytearray | memoryview) -> int | None:
        try:
            count = self._read_on(memoryview(buf))
            asked = bytes(memoryview(buf)[:count]) if count and self._is_orderly else b""
        finally:
            del buf  # an error keeps this frame, and with it Tornado's buffer
        if not asked:
            return count
        if not self._awaits_head and self._witnesses is not None and len(asked) <= LONGEST:
            self._early = asked
            return None
        is_fresh = time.monotonic() - self._idle_since < RENEW
        if self._awaits_head and is_fresh and self._repeats and not self.writing():
            answer = self._repeats.answer(asked)
            if answer is not None:
                self._give(answer)
                return None
        end = _HEAD_END.search(asked) if self._awaits_head else None
        # A body, half a request or more than one: what belongs where is Tornado's to say.
        self._is_orderly = end is not None and end.end() == count
        self._asked, self._awaits_head = asked if self._is_orderly else b"", False
        return count

    def _read_on(self, buf: memoryview) -> int | None:
        """Reads what has come, after what came too early, if anything did."""
        early, self._early = self._early, b""
        try:
            buf[: len(early)] = early
            if early and self._awaits_head:
                return len(early)
            more = super().read_from_fd(buf[len(early) :])
        finally:
            del buf
        if early and more:
            return len(early) + more
        self._early = early
        return more

    def write(self, data: bytes | memoryview) -> asyncio.Future[None]:
        if self._witnesses is not None:
            self._answered += data
            if len(self._answered) > LARGEST:
                self._witnesses, self._answered = None, b""
        return super().write(data)

    def _give(self, answer: bytes) -> None:
        try:
            sent = self.write_to_fd(memoryview(answer))
        except BlockingIOError:
            sent = 0
        if sent < len(answer):
            self.write(answer[sent:])
