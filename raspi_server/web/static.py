"""Static files: the user's folder first, the built-in pages second.

A file is always served as it is now. Nothing outside the folders is served.
"""

import contextlib
import os
import socket
from collections.abc import Generator
from datetime import UTC, datetime
from typing import Any

from tornado.http1connection import HTTP1Connection
from tornado.web import HTTPError, StaticFileHandler

from ..messages import HEADERS
from .compression import accepts_gzip, compress, open_regular
from .content_types import content_type, is_html, is_manifest, is_text
from .context import PAGE_POLICY, WebContext
from .cross_origin import allow_origin
from .handler import NamedHandler, OwnHTTPError, write_plainly
from .languages import part_of, part_strings
from .versions import (
    CURRENT,
    IMMUTABLE,
    VERSION,
    is_hidden,
    is_versioned,
    put_host,
    put_version,
)

INDEX = "index.html"
MAX_DEPTH = 32
"""Folders in a path that does not exist, up to which its 404 page finds its style."""


class Files(NamedHandler, StaticFileHandler):
    """A file at its own address. Browsers revalidate it at each use."""

    has_versions = True
    """True if HTML pages name the present version of other files."""

    def initialize(self, context: WebContext) -> None:  # type: ignore[override]
        """Take the parts that the handler uses."""
        self.context = context
        self._limits = context.limits
        self._folders = context.www
        self._version = CURRENT
        self._content: bytes | None = None
        self._part = ""
        """The part of a language's file that is asked for, "" for all of it."""
        self._is_cut = False
        """True if the file became shorter than its announced length, or unreadable, while it was
        sent. Then the connection is closed."""
        super().initialize(path=context.www[0], default_filename=INDEX)

    def prepare(self) -> None:
        """Renew the session's cookie at each visit of the dashboard."""
        if self.request.path == "/":
            self.context.auth.renew_cookie(self)

    async def get(self, path: str, include_body: bool = True) -> None:
        """Send a file. For an HTML page, first compute the version that it names."""
        if self.has_versions and (not path or path.endswith("/") or is_html(content_type(path))):
            self._version = await self.context.versions.refresh()
        await super().get(path, include_body)
        if self._is_cut:
            assert isinstance(self.request.connection, HTTP1Connection)
            self.request.connection.close()

    # Finding the file

    def parse_url_path(self, url_path: str) -> str:
        """Return the path of the file: `languages/de.first.json` is a part of `de.json`."""
        path, self._part = part_of(super().parse_url_path(url_path))
        return path

    @classmethod
    def get_absolute_path(cls, root: str, path: str) -> str:
        """Return a path that is checked folder by folder in `validate_absolute_path`."""
        return os.path.join(root, path)

    def validate_absolute_path(self, root: str, absolute_path: str) -> str | None:
        """Return the file in the first folder that has it, None after a redirect to a folder.

        Raises HTTPError 404, also for a path that leads out of the folders: the answer does not
        tell the difference.
        """
        # A browser takes a backslash for a slash. So a redirect to either of `//x` and `/\x` would
        # lead it to another machine.
        is_odd = self.path.startswith("/") or "\0" in self.path or "\\" in self.path
        if is_odd or is_hidden(self.path):
            raise HTTPError(404)
        for folder in self._folders:
            with contextlib.suppress(HTTPError, OSError):
                found = self._find(os.path.realpath(folder))
                if found:
                    self._choose_form(found)
                    self._set_policy(folder)
                return found
        raise HTTPError(404)

    def _find(self, root: str) -> str | None:
        """Return the file below a folder, or None after a redirect. Raises HTTPError."""
        path = os.path.abspath(os.path.join(root, self.path))
        # Tornado checks both, but only after it has resolved the links of the path, which takes
        # long for a path of a thousand names.
        if not f"{path}/".startswith(f"{root.rstrip('/')}/") or not os.path.exists(path):
            raise HTTPError(404)
        if _is_hidden_below(root, os.path.realpath(path)):
            raise HTTPError(404)
        if self.path.endswith("/") and not os.path.isdir(path):
            raise HTTPError(404)
        found = super().validate_absolute_path(root, path)
        if found and (_is_hidden_below(root, found) or not os.access(found, os.R_OK)):
            raise HTTPError(404)
        return found

    def redirect(self, url: str, permanent: bool = False, status: int | None = None) -> None:
        """Redirect from a folder's name to its address with a slash.

        The address is relative, since a reverse proxy may serve it below a path.
        """
        name = url.rstrip("/").rpartition("/")[2]
        super().redirect(f"./{name}/", permanent, status)

    # The form in which it is sent

    def _choose_form(self, path: str) -> None:
        """Choose whether a file is sent as gzip.

        A range never is, since a range of compressed content is useless. If `If-Range` names
        another content than the present one, the client gets the whole file instead of a range.
        """
        headers = self.request.headers
        self._found = os.stat(path)
        self._type = content_type(path)
        is_small = self._found.st_size <= self._limits.max_page_bytes
        is_fit = is_small and self._found.st_size >= self._limits.min_gzip_bytes
        is_page = is_html(self._type)
        self._part = self._part if is_small else ""
        is_filled = is_page or is_manifest(self._type) or bool(self._part)
        self._is_filled = self.has_versions and is_small and is_filled
        """True if the server puts its version, its languages or its host name into the file, or
        leaves out a part of it."""
        self._host = self.context.versions.host if is_page else socket.gethostname()
        self._may_be_gzip = is_fit and is_text(self._type)
        self._is_gzip = False
        etag = self.compute_etag()
        if headers.get("If-Range", etag) != etag:
            headers.pop("Range", None)
        if self._may_be_gzip and "Range" not in headers:
            self._is_gzip = accepts_gzip(headers.get("Accept-Encoding", ""))

    def get_content_size(self) -> int:
        """Return the bytes that are sent for the whole file. Raises HTTPError 503."""
        self._content = self._cached_content()
        return self._found.st_size if self._content is None else len(self._content)

    def get_content(  # type: ignore[override]
        self, abspath: str, start: int | None = None, end: int | None = None
    ) -> Generator[bytes, None, None]:
        """Yield the file's bytes from `start` to `end`, fewer if it is cut meanwhile.

        Raises HTTPError 503 if it cannot be opened any more: too many files are open, or it has
        just been removed.
        """
        chunk_bytes = self._limits.file_chunk_bytes
        if self._content is not None:
            content = memoryview(self._content)[start:end]
            for begin in range(0, len(content), chunk_bytes):
                yield bytes(content[begin : begin + chunk_bytes])
            return
        rest = (self._found.st_size if end is None else end) - (start or 0)
        try:
            with open_regular(abspath) as file:
                file.seek(start or 0)
                while rest > 0 and (chunk := file.read(min(chunk_bytes, rest))):
                    rest -= len(chunk)
                    yield chunk
        except OSError as error:
            if not self._headers_written:
                raise OwnHTTPError(503, str(error.strerror)) from None
        self._is_cut = rest > 0

    def _cached_content(self) -> bytes | None:
        """Return a page, or a compressed file; None for a file that is sent as it is.

        Raises HTTPError 503 if it cannot be read.
        """
        if not self._is_filled and not self._is_gzip:
            return None
        assert self.absolute_path is not None
        form = ("gzip-" if self._is_gzip else "identity-") + self._part
        try:
            return self.context.contents.get(
                self.absolute_path, form, (self._stamp(), self._filling()), self._make_content
            )
        except OSError as error:
            raise OwnHTTPError(503, str(error.strerror)) from None

    def _make_content(self) -> bytes:
        assert self.absolute_path is not None
        with open_regular(self.absolute_path) as file:
            content = file.read()
        if self._is_filled and is_html(self._type):
            spoken = self.context.versions.languages
            content = put_version(content, self._version, languages=spoken, host=self._host)
        elif self._part:
            content = part_strings(content, self._part)
        elif self._is_filled:
            content = put_host(content, self._host)
        return compress(content) if self._is_gzip else content

    # Its headers

    def _stamp(self) -> tuple[int, int, int]:
        return self._found.st_ino, self._found.st_ctime_ns, self._found.st_size

    def _filling(self) -> str:
        """Return what identifies how the server changes the file."""
        if not self._is_filled:
            return ""
        if self._part:
            return f"-{self._part}"
        is_page = is_html(self._type)  # the version covers the host name
        return f"-{self._version if is_page else self._host.encode().hex()}"

    def compute_etag(self) -> str | None:
        """Return a tag of everything that changes the content.

        Tornado computes its own tag of a file only once while the process runs.
        """
        inode, changed, size = self._stamp()
        form = "-gzip" if self._is_gzip else ""
        return f'"{inode:x}-{changed:x}-{size:x}{self._filling()}{form}"'

    def get_modified_time(self) -> datetime:
        """Return the time of the file's last edit, to the second."""
        return datetime.fromtimestamp(int(self._found.st_mtime), UTC)

    def should_return_304(self) -> bool:
        """Return whether the client has this content.

        The date of a page does not prove it, since the page names the version of other files.
        """
        if self._is_filled and not self.request.headers.get("If-None-Match"):
            return False
        return super().should_return_304()

    def get_content_type(self) -> str:
        """Return the content type by the file's name."""
        return self._type

    def get_cache_time(self, path: str, modified: datetime | None, mime_type: str) -> int:
        """Return 0. Tornado would cache an address with `?v=` for years."""
        return 0

    def set_extra_headers(self, path: str) -> None:
        """Set the headers that tell caches of the two forms of a text."""
        if self._may_be_gzip:
            self.add_header("Vary", "Accept-Encoding")
        if self._is_gzip:
            self.set_header("Content-Encoding", "gzip")
            self.clear_header("Accept-Ranges")

    def set_default_headers(self) -> None:
        """Set the headers of every answer, errors included."""
        for name, value in HEADERS.items():
            self.set_header(name, value)
        self.set_header("Cache-Control", "no-cache")
        allow_origin(self)

    def _set_policy(self, folder: str) -> None:
        """Restrict our own pages to scripts in files, and choose the sites that may frame a page.

        Pages in the user's folder run any script, and may frame each other and use plain forms,
        for which browsers need a referrer. In a checkout both are one folder: its pages count as
        the user's, and the policy in our pages applies.
        """
        origins = " ".join(self.context.auth.access.origins)
        if folder == self.context.www[0]:
            policy, ancestors = "", f"'self' {origins}".rstrip()
            self.set_header("Referrer-Policy", "same-origin")
            self.set_header("X-Frame-Options", "SAMEORIGIN")
        else:
            policy, ancestors = f"{PAGE_POLICY}; ", origins or "'none'"
        self.set_header("Content-Security-Policy", f"{policy}frame-ancestors {ancestors}")
        if origins:
            self.clear_header("X-Frame-Options")  # it can name no other site

    # Errors

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Answer a 404 with the page for it, and other errors in text."""
        page = self._error_page(status_code) if status_code == 404 else None
        if status_code == 405:
            self.set_header("Allow", "GET, HEAD")
        if page:
            self.set_header("Content-Type", "text/html; charset=utf-8")
            self.finish(page)
            return
        write_plainly(self, kwargs.get("exc_info"))

    def _error_page(self, status_code: int) -> bytes | None:
        """Return the page for an error, from the first folder that has one."""
        self.path = f"{status_code}.html"
        for folder in self._folders:
            if not os.path.isfile(os.path.join(folder, self.path)):
                continue
            # The file is unreadable, or too many files are open: the next folder may have a page.
            with contextlib.suppress(OSError, HTTPError):
                path = self._find(os.path.realpath(folder))
                if path and os.path.getsize(path) <= self._limits.max_page_bytes:
                    with open_regular(path) as file:
                        page = file.read(self._limits.max_page_bytes)
                    self._set_policy(folder)
                    # It names v/current/ from the top, and is sent for paths of any depth.
                    depth = min(self.request.path.count("/") - 1, MAX_DEPTH)
                    return put_version(page, CURRENT, "../" * depth)
        return None


class VersionedFiles(Files):
    """A file at `/v/VERSION/PATH`, the same as at `/PATH`.

    If the version is the present one and covers the file, browsers keep it without another request.
    """

    ROUTE = rf"/v/{VERSION}/(.*)"

    def set_extra_headers(self, path: str) -> None:
        """Let browsers keep a file that the present version covers."""
        super().set_extra_headers(path)
        version = self.request.path.split("/")[2]
        versions = self.context.versions
        is_now = not self._is_filled or self._host == versions.host
        if is_versioned(path) and is_now and versions.covers(version, path, self._found):
            self.set_header("Cache-Control", IMMUTABLE)


def _is_hidden_below(root: str, path: str) -> bool:
    """Return whether a resolved path below a folder has a hidden name in it."""
    return is_hidden(path.removeprefix(root))
