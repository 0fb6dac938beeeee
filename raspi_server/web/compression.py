"""Text files as gzip: compressed once, and kept in memory within bounds."""

import errno
import gzip
import os
import stat
from collections import OrderedDict
from typing import BinaryIO

MOST = 1_000_000
"""Bytes kept in all; those that nobody asked for go first. The dashboard takes 40 kB."""
SMALLEST = 1000
LARGEST = 256 * 1024
"""Bytes of a file: below, headers outweigh what is saved; above, it would hold up the loop of a Pi
Zero for more than the blink of an eye."""

Stamp = tuple[int, int, int, int]


def open_regular(path: str) -> BinaryIO:
    """Open a regular file for reading. Raises OSError for anything else, such as a pipe or a device
    that took its place since it was looked at, and never waits for it."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return os.fdopen(descriptor, "rb")
    os.close(descriptor)
    raise OSError(errno.EINVAL, "expected a regular file", path)


class Packed:
    """All methods belong to the loop's thread."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, tuple[Stamp, bytes]] = OrderedDict()
        self._size = 0

    def get(self, path: str, found: os.stat_result) -> bytes:
        """The file as gzip, read only if it is another than before. Raises OSError."""
        stamp = (found.st_dev, found.st_ino, found.st_ctime_ns, found.st_size)
        if path in self._kept and self._kept[path][0] == stamp:
            self._kept.move_to_end(path)
            return self._kept[path][1]
        with open_regular(path) as file:
            packed = gzip.compress(file.read(), 6, mtime=0)
        self._keep(path, stamp, packed)
        return packed

    def _keep(self, path: str, stamp: Stamp, packed: bytes) -> None:
        _, before = self._kept.pop(path, (None, b""))
        self._kept[path] = stamp, packed
        self._size += len(packed) - len(before)
        while self._size > MOST:
            _, (_, oldest) = self._kept.popitem(last=False)
            self._size -= len(oldest)


def wants_gzip(accept_encoding: str) -> bool:
    """Whether an `Accept-Encoding` allows gzip by name or as `*` (RFC 9110, 12.5.3)."""
    allowed = {}
    for part in accept_encoding.lower().split(","):
        coding, _, parameter = (each.strip() for each in part.partition(";"))
        allowed[coding] = parameter.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return allowed.get("gzip", allowed.get("*", False))
