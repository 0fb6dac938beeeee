"""`/api/events`: changes, states and health as server-sent events."""

import asyncio
import logging
from functools import partial

from tornado.http1connection import HTTP1Connection

from ..errors import refusal
from ..net.backpressure import Viewer
from ..net.connections import Connection
from ..net.events import RETRY_AFTER_MS, EventStream, EventViewer
from ..net.hub import Hub
from .api import ApiHandler
from .openapi import Operation

CONTENT_TYPE = "text/event-stream"

log = logging.getLogger(__name__)


class Events(ApiHandler):
    """`/api/events`."""

    operations = {"get": Operation("Changes, states and health as events", None, also=CONTENT_TYPE)}

    def prepare_headers(self) -> None:
        """Set the headers of a stream that ends with its connection."""
        self.set_header("Content-Type", CONTENT_TYPE)
        self.set_header("Connection", "close")
        self.set_header("X-Accel-Buffering", "no")  # nginx passes each event on at once

    def get(self) -> None:
        """Send all values and the health, and from then on each change, state and health.

        Raises RequestError if the client has too many connections through a proxy.
        """
        assert isinstance(self.request.connection, HTTP1Connection)
        self.prepare_headers()
        headers = "".join(f"{name}: {value}\r\n" for name, value in self._headers.get_all())
        head = f"HTTP/1.1 200 OK\r\n{headers}\r\nretry: {RETRY_AFTER_MS}\n\n"
        stream = self.request.connection.stream
        if isinstance(stream, Connection) and not stream.closed():
            if not self.context.auth.admit_viewer(self.request, stream, self.caller):
                raise refusal("too-many-connections")
            stream.on_large_response = None  # the hub bounds what waits here
        # Tornado would send each event as a chunk, and wait for slow clients one by one.
        self.detach()
        if stream.closed():
            return
        hub, name = self.context.broadcaster.events, str(self.request.remote_ip)
        loop = asyncio.get_running_loop()
        viewer = EventViewer(EventStream(stream), loop, self.caller, hub.limits)
        stream.set_close_callback(partial(_closed, hub, viewer, name))
        viewer.send(head.encode())
        viewer.send_message(self.context.broadcaster.present())
        hub.add(viewer)
        viewer.send_message(self.context.status.machine_health())
        log.debug("the events of %s: open, %d viewers", name, len(hub))

    def head(self) -> None:
        """Answer with the headers of the stream."""
        self.prepare_headers()


def _closed(hub: Hub, viewer: Viewer, name: str) -> None:
    hub.remove(viewer)
    log.debug("the events of %s: closed, %d viewers", name, len(hub))
