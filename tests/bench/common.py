"""Common parts of the other servers of the benchmark: the message they send every 100 ms, and how
they start and print their address. It imports only Python's own library, since some of them run
where there is no other."""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import re
import ssl
import struct
import sys
import time
from collections.abc import Callable
from pathlib import Path

INTERVAL = 0.1  # seconds between two broadcasts, as in the tutorial and in our default config
WEBSOCKET_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, section 1.3


class StateMessage:
    """A `state` message of raspi-server, sent again with the next `seq` and the present `time`."""

    def __init__(self, example: str) -> None:
        parts = re.fullmatch(r'(.*"seq":)\d+(,"time":)\d+\.?(\d*)(.*)', example)
        if parts is None:
            raise ValueError(f"expected a state message with seq and time, got {example!r}")
        self._before, self._between, decimals, self._after = parts.groups()
        self._decimals = len(decimals)
        self._seq = 0
        self.pins: dict[str, float] = json.loads(example)["pins"]

    def next(self) -> str:
        self._seq += 1
        now = f"{time.time():.{self._decimals}f}"
        return f"{self._before}{self._seq}{self._between}{now}{self._after}"


Server = Callable[[StateMessage, ssl.SSLContext | None], None]


def main(servers: dict[str, Server], description: str | None) -> None:
    """Runs the server of the name that is asked for."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("name", choices=servers)
    parser.add_argument("--message", type=Path, required=True, help="a state message to send")
    parser.add_argument("--certificate", type=Path, help="serve https with this certificate")
    parser.add_argument("--key", type=Path)
    asked = parser.parse_args()
    tls = None
    if asked.certificate is not None:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(asked.certificate, asked.key)
    servers[asked.name](StateMessage(asked.message.read_text()), tls)


def announce(port: int, tls: ssl.SSLContext | None) -> None:
    scheme = "http" if tls is None else "https"
    print(f"{scheme}://127.0.0.1:{port}/", file=sys.stderr, flush=True)


def text_frame(text: str) -> bytes:
    """A whole unmasked WebSocket text frame (RFC 6455, section 5.2) of at most 65535 bytes."""
    payload = text.encode()
    if len(payload) < 126:
        return bytes((0x81, len(payload))) + payload
    return struct.pack("!BBH", 0x81, 126, len(payload)) + payload


def accept_key(key: bytes) -> bytes:
    """The answer that proves the upgrade was understood (RFC 6455, section 4.2.2)."""
    return base64.b64encode(hashlib.sha1(key + WEBSOCKET_GUID).digest())
