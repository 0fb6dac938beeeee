"""The servers on Tornado that raspi-server is measured against, each as plain as its kind allows.

One of them is run by `python -m tests.bench.tornados NAME --message FILE`, where FILE holds a
`state` message as raspi-server sends it. Each listens at `/ws` on a free port of 127.0.0.1, names
its address on standard error, and sends to every socket ten times a second until it is ended.
"""

from __future__ import annotations

import asyncio
import json
import logging
import queue
import ssl
import sys
import threading
import time
import uuid
from collections.abc import Callable
from typing import ClassVar

from tornado.httpserver import HTTPServer
from tornado.ioloop import PeriodicCallback
from tornado.log import app_log, enable_pretty_logging
from tornado.netutil import bind_sockets
from tornado.web import Application
from tornado.websocket import WebSocketClosedError, WebSocketHandler

from .common import INTERVAL, StateMessage, announce, main, text_frame

# The tutorial


class TutorialSocket(WebSocketHandler):
    """The tutorial's handler, line by line, as today's Python and Tornado want it."""

    clients: ClassVar[list[TutorialSocket]] = []
    messages: ClassVar[queue.Queue[str | bytes]] = queue.Queue()
    periodic_job: ClassVar[PeriodicCallback]

    def check_origin(self, origin: str) -> bool:
        return True

    def open(self, *args: str, **kwargs: str) -> None:
        self.set_nodelay(True)
        self.id = uuid.uuid4().hex
        self.clients.append(self)
        app_log.info("Websocket connection established for client %s" % self.id)  # noqa: UP031
        if not self.periodic_job.is_running():
            self.periodic_job.start()
            app_log.info("Websocket starting periodic job")
        else:
            app_log.info("Websocket periodic job already running")

    def on_message(self, message: str | bytes) -> None:
        self.messages.put(message)

    def on_close(self) -> None:
        self.clients.remove(self)
        app_log.info("Websocket connection lost")


def run_tutorial(message: StateMessage, tls: ssl.SSLContext | None) -> None:
    """The tutorial as it is, its text padded to the length of ours.

    Its debug mode, which looks for changed files twice a second, is off: to its advantage.
    """
    own_text = '{"id":"%s","msg":%f,"pad":"%s"}'
    padding = "." * (len(message.next()) - len(own_text % (uuid.uuid4().hex, time.time(), "")))

    def broadcast() -> None:
        try:
            for c in TutorialSocket.clients:
                c.write_message(own_text % (c.id, time.time(), padding))
        except Exception:
            app_log.error("Websocket broadcast error : %s" % sys.exc_info()[1])  # noqa: UP031

    _run_tutorial_loop(broadcast, tls)


def run_tutorial_json(message: StateMessage, tls: ssl.SSLContext | None) -> None:
    """The tutorial sending the pins, by `json.dumps` for each client as it shows in a comment.

    It sends the pins under shorter names, so that its text is as long as ours.
    """
    pins = {name.removeprefix("pin"): value for name, value in message.pins.items()}

    def own_text(client_id: str) -> str:
        return json.dumps({"id": client_id, "msg": time.time(), "pins": pins})

    missing = len(message.next()) - len(own_text(uuid.uuid4().hex))
    last, value = pins.popitem()
    pins[last + "." * missing] = value

    def broadcast() -> None:
        try:
            for c in TutorialSocket.clients:
                c.write_message(own_text(c.id))
        except Exception:
            app_log.error("Websocket broadcast error : %s" % sys.exc_info()[1])  # noqa: UP031

    _run_tutorial_loop(broadcast, tls)


def _run_tutorial_loop(broadcast: Callable[[], None], tls: ssl.SSLContext | None) -> None:
    enable_pretty_logging()
    app_log.setLevel(logging.INFO)
    TutorialSocket.periodic_job = PeriodicCallback(broadcast, INTERVAL * 1000)
    threading.Thread(target=_tutorial_alive_beats, daemon=True).start()
    asyncio.run(_serve_with_tornado(TutorialSocket, tls))


def _tutorial_alive_beats() -> None:
    while True:
        app_log.info("Alive beat at %f %s>>" % (time.time(), "=" * round(time.time() % 60)))  # noqa: UP031
        time.sleep(1)


# Tornado, encoding once


class PlainSocket(WebSocketHandler):
    clients: ClassVar[set[PlainSocket]] = set()

    def open(self, *args: str, **kwargs: str) -> None:
        self.set_nodelay(True)
        self.clients.add(self)

    def on_message(self, message: str | bytes) -> None:
        pass

    def on_close(self) -> None:
        self.clients.discard(self)


def run_write_message(message: StateMessage, tls: ssl.SSLContext | None) -> None:
    """Tornado's `write_message` for each socket, of one text made once a tick."""

    def broadcast() -> None:
        text = message.next().encode()
        for client in PlainSocket.clients:
            try:
                client.write_message(text)
            except WebSocketClosedError:
                continue  # on_close is about to take it out

    async def serve() -> None:
        PeriodicCallback(broadcast, INTERVAL * 1000).start()
        await _serve_with_tornado(PlainSocket, tls)

    asyncio.run(serve())


def run_bare_handler(message: StateMessage, tls: ssl.SSLContext | None) -> None:
    """The least a Tornado handler can do: a frame built once a tick, and `send` on its socket."""

    async def serve() -> None:
        loop = asyncio.get_running_loop()

        def tick(due: float) -> None:
            frame = text_frame(message.next())
            for client in PlainSocket.clients:
                assert client.ws_connection is not None
                client.ws_connection.stream.socket.send(frame)
            loop.call_at(due + INTERVAL, tick, due + INTERVAL)

        tick(loop.time())
        await _serve_with_tornado(PlainSocket, tls)

    asyncio.run(serve())


async def _serve_with_tornado(handler: type[WebSocketHandler], tls: ssl.SSLContext | None) -> None:
    server = HTTPServer(Application([(r"/ws", handler)]), ssl_options=tls)
    sockets = bind_sockets(0, "127.0.0.1")
    server.add_sockets(sockets)
    announce(sockets[0].getsockname()[1], tls)
    await asyncio.Event().wait()


if __name__ == "__main__":
    main(
        {
            "tutorial": run_tutorial,
            "tutorial-json": run_tutorial_json,
            "write-message": run_write_message,
            "bare-handler": run_bare_handler,
        },
        __doc__,
    )
