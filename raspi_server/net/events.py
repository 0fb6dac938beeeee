"""Server-sent events (HTML Standard, 9.2): an HTTP answer without an end, for simple clients.

Its viewers have a hub of their own, with the back-pressure of WebSockets."""

from typing import Any

from tornado.iostream import IOStream

from ..messages import encode
from .backpressure import Viewer

RETRY_AFTER_MS = 3000
"""Time after which a client connects again once its connection has ended."""


def event(message: Any) -> bytes:
    """Return a message as one event: its type, its number as the id, and itself as JSON."""
    seq = getattr(message, "seq", None)
    number = f"id: {seq}\n" if seq is not None else ""
    head = f"event: {message.__struct_config__.tag}\n{number}data: "
    return b"%b%b\n\n" % (head.encode(), encode(message))


class EventStream:
    """The connection of one client, whose request has been read."""

    def __init__(self, stream: IOStream) -> None:
        self.stream = stream

    def close(self, code: int | None = None, reason: str | None = None) -> None:
        """End the connection. There is no way to tell the client why, but an event before."""
        self.stream.close()


class EventViewer(Viewer):
    """A client that gets events."""

    encode = staticmethod(event)
    keep_alive = b":\n\n"

    def check(self, now: float) -> None:
        """Close the viewer if it has been behind too long, else send a comment now and then.

        Nothing answers it. The kernel ends a connection that acknowledges nothing."""
        self.pong_received()
        super().check(now)
