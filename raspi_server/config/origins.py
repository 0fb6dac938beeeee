"""Origins of pages: scheme, host and port, compared as browsers do (RFC 6454)."""

import re
from typing import NamedTuple

_DEFAULT_PORTS = {"http": 80, "https": 443}
SCHEMES = {"http": "http", "ws": "http", "https": "https", "wss": "https"}
"""The scheme that counts, for each that a page, a client or a proxy may name."""
_HOST = r"(\[[0-9a-f:.]+\]|[^\s/?#@\\:,\[\]]+)(?::([0-9]{1,5}))?"
_ORIGIN = re.compile(rf"(https?|wss?)://{_HOST}/?")
_AUTHORITY = re.compile(_HOST)


class Origin(NamedTuple):
    """An origin. As text it has no default port: `https://pi.example.org`."""

    scheme: str
    host: str
    port: int

    def __str__(self) -> str:
        port = "" if self.port == _DEFAULT_PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{self.host}{port}"


def parse(text: str) -> Origin | None:
    """Return the origin in a text, or None if it is not one.

    `ws` counts as `http`, and `wss` as `https`. A slash at the end and upper case do not matter."""
    found = _ORIGIN.fullmatch(text.lower())
    return _origin(SCHEMES[found[1]], found[2], found[3]) if found else None


def addressed(scheme: str, host: str) -> Origin | None:
    """Return the origin of a page of this scheme at a `Host`, or None for an invalid one."""
    found = _AUTHORITY.fullmatch(host.lower())
    return _origin(scheme, found[1], found[2]) if found else None


def _origin(scheme: str, host: str, port: str | None) -> Origin:
    return Origin(scheme, host, int(port) if port else _DEFAULT_PORTS[scheme])
