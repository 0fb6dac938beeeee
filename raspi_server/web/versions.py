"""Versions of the static files, as folders in their addresses.

`/v/VERSION/PATH` is the file at `/PATH`, and a browser keeps it for a year without another request.

An HTML page names `v/current/`. The server puts the present version in its place each time that it
sends the page, the languages of the pages into `data-languages=""`, and the host name where
`data-host=""` asks for it. The version is a hash over all parts of pages (scripts, styles, icons,
languages) and the host name, so any edit gives all of them new addresses.
"""

import asyncio
import contextlib
import errno
import hashlib
import html
import itertools
import json
import os
import re
import socket
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from .. import __version__
from ..limits import DEFAULT, Limits
from .content_types import content_type, is_part

CURRENT = "current"
"""The version that pages name. Below it the files are served too, and revalidated each time."""
VERSION = r"(?:[0-9a-f]{16}|current)"
"""A pattern of all versions, past and present."""
MAX_AGE_S = 365 * 24 * 3600
"""A year: the longest time that caches are known to honour (RFC 2616, 14.21)."""
IMMUTABLE = f"public, max-age={MAX_AGE_S}, immutable"

_LANGUAGE_FOLDER = "languages"
_LANGUAGE_FILE = re.compile(r"([a-z]{2,3}(?:-[a-z0-9]{2,8})*)\.json")
_HOST_TEXT = re.compile(rb'(<[a-z][^<>]* data-host="">)[^<]*')
_HOST_CONTENT = re.compile(rb'content="[^"]*" data-host=""')
_NAMED = re.compile(rb"""(["'(=\s](?:/|(?:\.{1,2}/)+)?)v/current/""")
"""The start of an address. Thus `/dev/current/` in a user's page stays as it is."""


def put_version(
    page: bytes, version: str, above: str = "", languages: Sequence[str] = ("en",), host: str = ""
) -> bytes:
    """Return an HTML page with `version` in the place of `current` in its addresses.

    They may be relative or not. `above`, such as `../`, leads from the page's folder to the top.
    Without `host` the page keeps its own words in the places of the host name.
    """
    page = page.replace(b'data-languages=""', f'data-languages="{" ".join(languages)}"'.encode(), 1)
    if host:
        shown = html.escape(host).encode()
        page = _HOST_CONTENT.sub(lambda _: b'content="%s"' % shown, page)
        page = _HOST_TEXT.sub(lambda found: found[1] + shown, page)
    return _NAMED.sub(rb"\1" + f"{above}v/{version}/".encode(), page)


def put_host(manifest: bytes, host: str) -> bytes:
    """Return a web app manifest with the host name in the place of `"{host}"`."""
    return manifest.replace(b'"{host}"', json.dumps(host).encode())


def is_versioned(path: str) -> bool:
    """Return whether the version covers a path: a part of pages, or a language's strings.

    Other files are pages, and data that a camera or a log may write each second.
    """
    folder, _, name = os.path.normpath(path).rpartition("/")
    is_language = folder == _LANGUAGE_FOLDER and _LANGUAGE_FILE.fullmatch(name)
    return bool(is_language) or is_part(content_type(name))


def languages(folders: Sequence[str]) -> list[str]:
    """Return the languages that the pages have, by the files in `folders`. Raises no OSError.

    The last folder has the built-in files. A language from another one ends with a plus: its file
    may be of another release and lack strings.
    """
    found: dict[str, str] = {}
    for folder in folders:
        with contextlib.suppress(OSError):
            for name in os.listdir(os.path.join(folder, _LANGUAGE_FOLDER)):
                if match := _LANGUAGE_FILE.fullmatch(name):
                    found.setdefault(match[1], "" if folder == folders[-1] else "+")
    return [f"{language}{mark}" for language, mark in sorted(found.items())]


def is_hidden(path: str) -> bool:
    """Return whether a name in a relative path begins with a dot.

    Files of editors, git and macOS do. At the top `.well-known` is public (RFC 8615).
    """
    names = [name for name in path.split("/") if name not in ("", ".", "..")]
    if names[:1] == [".well-known"]:
        del names[0]
    return any(name.startswith(".") for name in names)


class Version(NamedTuple):
    """A version, and the parts of pages that it was computed over.

    `parts` has path, size and times of each part. If several folders have a path, it has the part
    that is served. `languages` are what `languages()` returns, and `host` is the name in pages.
    """

    name: str
    parts: frozenset[bytes] = frozenset()
    languages: tuple[str, ...] = ("en",)
    host: str = ""


class Versions:
    """The present version of the files below `folders`.

    All methods run on the event loop's thread. The files are looked up in another, since an SD card
    may be slow.
    """

    def __init__(self, folders: Callable[[], Sequence[str]], limits: Limits = DEFAULT) -> None:
        self._folders = folders
        self._max_files = limits.max_versioned_files
        self._present = Version(CURRENT)
        self._reading = asyncio.Lock()
        self._next: asyncio.Future[str] | None = None

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages that the pages have, in the order of their tags."""
        return self._present.languages

    @property
    def host(self) -> str:
        """The host name that pages of this version have."""
        return self._present.host

    def covers(self, version: str, path: str, found: os.stat_result) -> bool:
        """Return whether browsers may keep the file at `path` below `version`.

        The version must be the present one, and computed over this very file. A version can return
        after another folder was in the place of the pages for a while. Files that were served
        meanwhile must not be kept below it. A file behind a link to a folder is never covered,
        since the version was not computed over its path.
        """
        part = _known(os.path.normpath(path), found, found.st_size)
        return version == self._present.name and part in self._present.parts

    async def refresh(self) -> str:
        """Return the present version, with every edit that was made before this call.

        It is `current` if the files cannot be read, or are too many.
        """
        if self._next is None:
            self._next = asyncio.ensure_future(self._read())
        return await asyncio.shield(self._next)

    async def _read(self) -> str:
        """Read the files once, for all calls that came during the reading before."""
        async with self._reading:
            self._next = None
            folders = tuple(self._folders())
            self._present = await asyncio.to_thread(read_version, folders, self._max_files)
            return self._present.name


def read_version(folders: Sequence[str], max_files: int) -> Version:
    """Return the version of the parts of pages that can be served from `folders`.

    It is a hash over the name, size and times of each, the program's version, and the host name,
    which pages and the manifest have. It is `current`
    if a folder cannot be read, or has more than `max_files` files and folders.
    """
    host = socket.gethostname()
    digest = hashlib.sha256(f"{__version__}\0{host}".encode())
    parts: dict[str, bytes] = {}
    spoken = tuple(languages(folders))
    try:
        for folder in folders:
            digest.update(b"\0\0")
            for path, known in _files(folder, max_files):
                digest.update(known)
                parts.setdefault(path, known)
    except OSError:
        return Version(CURRENT, languages=spoken, host=host)
    return Version(digest.hexdigest()[:16], frozenset(parts.values()), spoken, host)


def _files(folder: str, max_files: int) -> Iterator[tuple[str, bytes]]:
    """Yield the path of `folder` and of all parts below it, with what `_known` returns for each.

    No file is opened. A folder that does not exist yields nothing. Links to folders are not
    followed, since they may only lead to folders below `folder` itself. Raises OSError, also for
    more than `max_files` files and folders.
    """
    if not os.path.isdir(folder):
        return
    waiting = [""]
    while waiting:
        below = waiting.pop()
        # A folder's times change when a file is added or removed. So no old version returns, below
        # which a browser may have kept that file.
        yield below, _known(below, os.stat(os.path.join(folder, below)), size=0)
        with os.scandir(os.path.join(folder, below)) as found:
            entries = sorted(itertools.islice(found, max_files + 1), key=lambda each: each.name)
        max_files -= len(entries)
        if max_files < 0:
            raise OSError(errno.E2BIG, "expected fewer files", folder)
        for entry in entries:
            path = os.path.join(below, entry.name)
            if entry.name.startswith(".") and is_hidden(path):
                continue
            if entry.is_dir(follow_symlinks=False):
                waiting.append(path)
            elif is_versioned(path):
                try:
                    found_file = entry.stat()
                except OSError:  # a link to nothing
                    continue
                yield path, _known(path, found_file, found_file.st_size)


def _known(path: str, found: os.stat_result, size: int) -> bytes:
    """Return bytes that differ after any change of a file.

    They hold the time of the last change beside that of the last edit, which can be set back.
    """
    known = found.st_ino, size, found.st_mtime_ns, found.st_ctime_ns
    return os.fsencode(path) + b"\0%d %d %d %d\0" % known
