"""Static files: the user's folder first, the built-in dashboard second; always the file as it is
now, and nothing outside the folders."""

import contextlib
import errno
import logging
import mimetypes
import os
import stat
from collections.abc import Generator, Iterator
from datetime import UTC, datetime
from typing import Any

from tornado.http1connection import HTTP1Connection
from tornado.web import HTTPError, StaticFileHandler

from ..messages import HEADERS
from .compression import LARGEST, SMALLEST, open_regular, wants_gzip
from .context import PAGE_POLICY, WebContext
from .handler import NamedHandler, write_plainly
from .repeats import Repeating, Witness, stamp

log = logging.getLogger(__name__)

PIECE = 16 * 1024
"""Bytes of a file that go out at once: so much waits in memory for a client that does not read."""
_TYPES = mimetypes.MimeTypes()
"""The standard library's own table; the machine's /etc/mime.types is not asked."""
for _suffix, _type in {
    ".avif": "image/avif",
    ".js": "text/javascript",
    ".map": "application/json",
    ".md": "text/markdown",
    ".mjs": "text/javascript",
    ".mobileconfig": "application/x-apple-aspen-config",
    ".wasm": "application/wasm",
    ".webmanifest": "application/manifest+json",
    ".webp": "image/webp",
    ".woff": "font/woff",
    ".woff2": "font/woff2",
    ".yaml": "application/yaml",
    ".yml": "application/yaml",
}.items():
    _TYPES.add_type(_type, _suffix)

_TEXT = ("text/", "application/json", "application/manifest+json", "image/svg+xml")


def _content_type(path: str) -> str:
    kind, encoding = _TYPES.guess_type(path)
    if encoding or kind is None:
        return "application/gzip" if encoding == "gzip" else "application/octet-stream"
    return f"{kind}; charset=utf-8" if kind.startswith(_TEXT) else kind


def _look(folder: str, path: str) -> tuple[str, os.stat_result | None]:
    """Where the kernel comes to from a folder by a path from outside, and what is there; nothing
    where it leads out, or to a hidden file. Raises HTTPError 503 when too many files are open."""
    if _is_hidden(path):
        return path, None
    try:
        with _place(folder) as root, _place(os.path.join(folder, path)) as place:
            inside = os.readlink(f"/proc/self/fd/{root}").rstrip("/") + "/"
            real = os.readlink(f"/proc/self/fd/{place}")
            if f"{real}/".startswith(inside) and not _is_hidden(real[len(inside) :]):
                return real, os.fstat(place)
    except OSError as error:
        if error.errno in (errno.EMFILE, errno.ENFILE):
            raise HTTPError(503, "%s", error.strerror) from None
    return path, None


def _is_hidden(path: str) -> bool:
    """Whether a name in a path begins with a dot: what editors, git and macOS leave behind. At the
    top `.well-known` is for all to see (RFC 8615)."""
    names = [name for name in path.split("/") if name not in ("", ".", "..")]
    if names[:1] == [".well-known"]:
        del names[0]
    return any(name.startswith(".") for name in names)


@contextlib.contextmanager
def _place(path: str) -> Iterator[int]:
    """A descriptor of whatever is there, with which nothing is read and nothing waited for."""
    descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


class Files(NamedHandler, StaticFileHandler):
    def initialize(self, context: WebContext) -> None:  # type: ignore[override]
        self._site = context
        self._folders = context.www
        self._witnesses: list[Witness] = []
        super().initialize(path=context.www[0], default_filename="index.html")

    def prepare(self) -> None:
        if self.request.path == "/":  # every visit makes the cookie new
            self._site.auth.renew_cookie(self)

    @classmethod
    def get_absolute_path(cls, root: str, path: str) -> str:
        """Checked folder by folder in `validate_absolute_path`."""
        return os.path.join(root, path)

    def validate_absolute_path(self, root: str, absolute_path: str) -> str | None:
        """The file in the first folder that has it. Raises HTTPError 404, and tells a path that
        leads out of the folders no more than that."""
        if "\0" in self.path or "\\" in self.path:
            raise HTTPError(404)
        for folder in self._folders:
            path, found = self._look(folder, self.path)
            if found and stat.S_ISDIR(found.st_mode):
                if not self.request.path.endswith("/"):
                    if self.request.path.startswith("//"):  # elsewhere it means another machine
                        continue
                    self.redirect(self.request.path + "/", permanent=True)
                    return None
                path, found = self._look(folder, os.path.join(self.path, "index.html"))
            if found and stat.S_ISREG(found.st_mode) and os.access(path, os.R_OK):
                self._choose(path, found)
                self._set_policy(folder)
                self._offer_again()
                return path
        raise HTTPError(404)

    def _look(self, folder: str, path: str) -> tuple[str, os.stat_result | None]:
        """The same as `_look`, noted for whoever asks again."""
        real, found = _look(folder, path)
        self._witnesses.append((os.path.join(folder, path), found and stamp(found)))
        return real, found

    def _offer_again(self) -> None:
        """The same request will have the same answer while what was found is still there, and is
        spared the way to here; not where the log is to tell of each."""
        connection = self.request.connection
        guest = connection.stream if isinstance(connection, HTTP1Connection) else None
        if isinstance(guest, Repeating) and not log.isEnabledFor(logging.DEBUG):
            guest.may_repeat(self._site.repeats, tuple(self._witnesses))

    def _choose(self, path: str, found: os.stat_result) -> None:
        """Whether the file goes out as gzip. A part never does: a part of what was compressed
        would be of no use, and to a part of another whole no part of this one is added."""
        headers = self.request.headers
        self._found = found
        self._kind = _content_type(path)
        is_fit = SMALLEST <= found.st_size <= LARGEST
        self._may_be_packed = is_fit and self._kind.startswith(_TEXT)
        self._is_packed = False
        etag = self.compute_etag()
        if headers.get("If-Range", etag) != etag:
            headers.pop("Range", None)
        if self._may_be_packed and "Range" not in headers:
            self._is_packed = wants_gzip(headers.get("Accept-Encoding", ""))

    def get_modified_time(self) -> datetime:
        return datetime.fromtimestamp(int(self._found.st_mtime), UTC)

    def get_content_size(self) -> int:
        return len(self._packed()) if self._is_packed else self._found.st_size

    def get_content(  # type: ignore[override]
        self, abspath: str, start: int | None = None, end: int | None = None
    ) -> Generator[bytes, None, None]:
        """The file's bytes. Raises HTTPError 503 where it cannot be opened any more: too many files
        are open, or it has just gone."""
        if self._is_packed:
            packed = self._packed()
            for begin in range(0, len(packed), PIECE):
                yield packed[begin : begin + PIECE]
            return
        rest = (self._found.st_size if end is None else end) - (start or 0)
        try:
            with open_regular(abspath) as file:
                file.seek(start or 0)
                while rest > 0 and (piece := file.read(min(PIECE, rest))):
                    rest -= len(piece)
                    yield piece
        except OSError as error:
            raise HTTPError(503, "%s", error.strerror) from None

    def _packed(self) -> bytes:
        assert self.absolute_path is not None
        try:
            return self._site.packed.get(self.absolute_path, self._found)
        except OSError as error:
            raise HTTPError(503, "%s", error.strerror) from None

    def compute_etag(self) -> str | None:
        """From what any edit changes; Tornado's own is computed once in the life of the process."""
        found = self._found
        form = "-gzip" if self._is_packed else ""
        return f'"{found.st_ino:x}-{found.st_ctime_ns:x}-{found.st_size:x}{form}"'

    def get_content_type(self) -> str:
        return self._kind

    def set_extra_headers(self, path: str) -> None:
        if self._may_be_packed:
            self.set_header("Vary", "Accept-Encoding")
        if self._is_packed:
            self.set_header("Content-Encoding", "gzip")
            self.clear_header("Accept-Ranges")

    def set_default_headers(self) -> None:
        for name, value in HEADERS.items():
            self.set_header(name, value)
        # A browser may keep a file, and asks each time whether it is still the one.
        self.set_header("Cache-Control", "no-cache")

    def _set_policy(self, folder: str) -> None:
        """Our own pages keep to scripts in files. What is in the user's folder may do as it likes;
        in a checkout that is all, and there only what our pages say of themselves holds."""
        if folder != self._site.www[0]:
            self.set_header("Content-Security-Policy", PAGE_POLICY)

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        page = self._page(status_code) if status_code == 404 else None
        if status_code == 405:
            self.set_header("Allow", "GET, HEAD")
        if page:
            self.set_header("Content-Type", "text/html; charset=utf-8")
            self.finish(page)
            return
        write_plainly(self, kwargs.get("exc_info"))

    def _page(self, status_code: int) -> bytes | None:
        for folder in self._folders:
            with contextlib.suppress(OSError, HTTPError):  # none there, or too many files are open
                path, found = _look(folder, f"{status_code}.html")
                if found and found.st_size <= LARGEST:
                    with open_regular(path) as file:
                        page = file.read(LARGEST)
                    self._set_policy(folder)
                    return page
        return None
