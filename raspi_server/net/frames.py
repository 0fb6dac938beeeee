"""WebSocket frames of a server: whole and unmasked (RFC 6455, 5.2)."""

import struct
from typing import Any

from ..messages import encode

PING = b"\x89\x00"
"""An empty ping frame (RFC 6455, 5.5.2)."""


def frame(message: Any) -> bytes:
    """Return one text frame with a message as JSON."""
    data = encode(message)
    size = len(data)
    if size < 126:
        return struct.pack("!BB", 0x81, size) + data
    if size < 1 << 16:
        return struct.pack("!BBH", 0x81, 126, size) + data
    return struct.pack("!BBQ", 0x81, 127, size) + data
