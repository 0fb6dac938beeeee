"""Static files: the user's folder first, the built-in dashboard second; always the file as it is
now, and nothing outside the folders."""

import contextlib
import mimetypes
import os
from collections.abc import Generator
from pathlib import Path
from typing import Any

from tornado.web import HTTPError, StaticFileHandler

from .messages import STATUS, Refused
from .site import NAME, Site, reason

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


class Files(StaticFileHandler):
    def initialize(self, site: Site) -> None:  # type: ignore[override]
        self._site = site
        self._folders = site.www
        super().initialize(path=site.www[0], default_filename="index.html")

    def prepare(self) -> None:
        try:
            self._site.auth.check_host(self.request)
        except Refused as refused:
            raise HTTPError(STATUS[refused.code], "%s", refused.message) from None
        signed_in = self._site.auth.signed_in(self.request)
        if signed_in and self.request.path == "/":  # every visit makes the cookie new
            self._site.auth.give_cookie(self, signed_in)

    def __str__(self) -> str:
        return f"{self.request.method} {self.request.path[:80]}"

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
            try:
                inside = super().get_absolute_path(folder, self.path)
                found = super().validate_absolute_path(folder, inside)
            except HTTPError:
                continue
            if found is None or os.access(found, os.R_OK):  # None: it redirected
                return found
        raise HTTPError(404)

    @classmethod
    def get_content(
        cls, abspath: str, start: int | None = None, end: int | None = None
    ) -> Generator[bytes, None, None]:
        """The file's bytes. Raises HTTPError 503 where it cannot be opened any more: too many files
        are open, or it has just gone."""
        try:
            yield from super().get_content(abspath, start, end)
        except OSError as error:
            raise HTTPError(503, "%s", error.strerror) from None

    def compute_etag(self) -> str | None:
        """From what any edit changes; Tornado's own is computed once in the life of the process."""
        assert self.absolute_path is not None
        found = os.stat(self.absolute_path)
        return f'"{found.st_ino:x}-{found.st_ctime_ns:x}-{found.st_size:x}"'

    def get_content_type(self) -> str:
        assert self.absolute_path is not None
        kind, encoding = _TYPES.guess_type(self.absolute_path)
        if encoding or kind is None:
            return "application/gzip" if encoding == "gzip" else "application/octet-stream"
        return f"{kind}; charset=utf-8" if kind.startswith(_TEXT) else kind

    def set_default_headers(self) -> None:
        self.set_header("Server", NAME)
        # A browser may keep a file, and asks each time whether it is still the one.
        self.set_header("Cache-Control", "no-cache")
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_header("X-Frame-Options", "SAMEORIGIN")
        self.set_header("Referrer-Policy", "no-referrer")

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        page = self._page(status_code) if status_code == 404 else None
        if status_code == 405:
            self.set_header("Allow", "GET, HEAD")
        if page:
            self.set_header("Content-Type", "text/html; charset=utf-8")
            self.finish(page)
            return
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.finish(f"{status_code}: {reason(self, kwargs.get('exc_info'))}\n")

    def _page(self, status_code: int) -> bytes | None:
        for folder in self._folders:
            page = Path(folder, f"{status_code}.html").resolve()
            if page.is_relative_to(Path(folder).resolve()):
                with contextlib.suppress(OSError):
                    return page.read_bytes()
        return None
