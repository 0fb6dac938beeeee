"""Compressed texts and HTML pages: made once, and kept in memory within limits."""

import errno
import gzip
import os
import stat
from collections import OrderedDict
from collections.abc import Callable
from typing import BinaryIO

from ..limits import DEFAULT, Limits

_LEVEL = 6
"""zlib's own default: a tenth of the time of level 9, for one percent more bytes."""

Stamp = tuple[object, ...]
"""Values that identify the content of a file. Any edit changes one of them."""


def open_regular(path: str) -> BinaryIO:
    """Open a regular file for reading.

    Raises OSError without waiting for anything else, such as a pipe or a device that has replaced
    the file since it was found.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return os.fdopen(descriptor, "rb")
    os.close(descriptor)
    raise OSError(errno.EINVAL, "expected a regular file", path)


def compress(content: bytes) -> bytes:
    """Return content as gzip. The same content gives the same bytes."""
    return gzip.compress(content, _LEVEL, mtime=0)


class ContentCache:
    """A cache of contents by path and form, of at most `max_cache_bytes`.

    All methods run on the event loop's thread.
    """

    def __init__(self, limits: Limits = DEFAULT) -> None:
        self._max_bytes = limits.max_cache_bytes
        self._entries: OrderedDict[tuple[str, str], tuple[Stamp, bytes]] = OrderedDict()
        self._bytes = 0

    def get(self, path: str, form: str, stamp: Stamp, make: Callable[[], bytes]) -> bytes:
        """Return a file's content in one form, such as `gzip`.

        `make` is called if no content with this stamp is cached. Raises what `make` raises.
        """
        entry = self._entries.get((path, form))
        if entry and entry[0] == stamp:
            self._entries.move_to_end((path, form))
            return entry[1]
        content = make()
        self._keep((path, form), stamp, content)
        return content

    def _keep(self, key: tuple[str, str], stamp: Stamp, content: bytes) -> None:
        _, before = self._entries.pop(key, ((), b""))
        self._entries[key] = stamp, content
        self._bytes += len(content) - len(before)
        while self._bytes > self._max_bytes:
            _, (_, oldest) = self._entries.popitem(last=False)
            self._bytes -= len(oldest)


def accepts_gzip(accept_encoding: str) -> bool:
    """Return whether an `Accept-Encoding` allows gzip, by name or as `*` (RFC 9110, 12.5.3)."""
    allowed = {}
    for part in accept_encoding.lower().split(","):
        coding, _, parameter = (each.strip() for each in part.partition(";"))
        allowed[coding] = parameter.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return allowed.get("gzip", allowed.get("*", False))
