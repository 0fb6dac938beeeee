"""Content types of files, by their names.

They come from the standard library's own table. The machine's /etc/mime.types is ignored, so every
machine gives the same answer.
"""

import functools
import mimetypes
import os

_OWN_TYPES = {
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
}
_TEXT = ("text/", "application/json", "application/manifest+json", "image/svg+xml")


def content_type(path: str) -> str:
    """Return the `Content-Type` of a file. Texts are declared as UTF-8."""
    # The table takes URLs: without the slash `data:` would be a scheme, and from Python 3.13 on a
    # bracket behind two slashes a broken address.
    kind, encoding = _table().guess_type(f"/{os.path.basename(path)}")
    if encoding or kind is None:
        return "application/gzip" if encoding == "gzip" else "application/octet-stream"
    return f"{kind}; charset=utf-8" if is_text(kind) else kind


@functools.cache
def _table() -> mimetypes.MimeTypes:
    found = mimetypes.MimeTypes()
    for suffix, kind in _OWN_TYPES.items():
        found.add_type(kind, suffix)
    return found


def is_text(kind: str) -> bool:
    """Return whether files of a content type are texts, which gzip makes smaller."""
    return kind.startswith(_TEXT)


_PARTS = ("text/javascript", "text/css", "font/", "application/wasm", "application/manifest+json")
_ICONS = ("image/svg+xml", "image/png", "image/vnd.microsoft.icon")


def is_part(kind: str) -> bool:
    """Return whether files of a content type are parts of pages: scripts, styles, fonts, icons.

    Other files are pages, and data that a camera or a log may write each second.
    """
    return kind.startswith(_PARTS + _ICONS)


def is_manifest(kind: str) -> bool:
    """Return whether files of a content type are manifests of web apps."""
    return kind.startswith("application/manifest+json")


def is_html(kind: str) -> bool:
    """Return whether files of a content type are HTML pages."""
    return kind.startswith("text/html")
