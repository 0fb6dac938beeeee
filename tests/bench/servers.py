"""The servers that raspi-server is measured against, each as plain as its kind allows.

One of them is run by `python -m tests.bench.servers NAME --message FILE`, where FILE holds a
`state` message as raspi-server sends it. Each listens at `/ws` on a free port of 127.0.0.1, names
its address on standard error, and sends to every socket ten times a second until it is ended.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import hashlib
import json
import logging
import queue
import re
import select
import socket
import ssl
import struct
import sys
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from tornado.httpserver import HTTPServer
from tornado.ioloop import PeriodicCallback
from tornado.log import app_log, enable_pretty_logging
from tornado.netutil import bind_sockets
from tornado.web import Application
from tornado.websocket import WebSocketClosedError, WebSocketHandler

INTERVAL = 0.1  # seconds between two broadcasts, as in the tutorial and in our default config
WEBSOCKET_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, section 1.3


class StateMessage:
    """A `state` message of raspi-server, told again with the next `seq` and the present `time`."""

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
    """The tutorial as it stands, its text padded to the length of ours.

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

    It tells the pins under shorter names, so that its text is as long as ours.
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


async def _serve_with_tornado(handler: type[WebSocketHandler], tls: ssl.SSLContext | None) -> None:
    server = HTTPServer(Application([(r"/ws", handler)]), ssl_options=tls)
    sockets = bind_sockets(0, "127.0.0.1")
    server.add_sockets(sockets)
    _announce(sockets[0], tls)
    await asyncio.Event().wait()


# No framework at all


def run_bare_loop(message: StateMessage, tls: ssl.SSLContext | None) -> None:
    """What Python can do at best: a frame built once a tick, and `socket.send` for each socket."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)
    _announce(listener, tls)
    clients: list[socket.socket] = []
    next_tick = time.monotonic() + INTERVAL
    while True:
        wait = next_tick - time.monotonic()
        if wait > 0:
            if select.select([listener], [], [], wait)[0]:
                clients.append(_accept_by_hand(listener, tls))
            continue
        next_tick = max(next_tick, time.monotonic() - INTERVAL) + INTERVAL
        frame = text_frame(message.next())
        gone = []
        for client in clients:
            try:
                whole = client.send(frame) == len(frame)
            except OSError:
                whole = False
            if not whole:
                gone.append(client)
        for client in gone:
            clients.remove(client)
            client.close()


def text_frame(text: str) -> bytes:
    """A whole unmasked WebSocket text frame (RFC 6455, section 5.2) of at most 65535 bytes."""
    payload = text.encode()
    if len(payload) < 126:
        return bytes((0x81, len(payload))) + payload
    return struct.pack("!BBH", 0x81, 126, len(payload)) + payload


def accept_key(key: bytes) -> bytes:
    """The answer that proves the upgrade was understood (RFC 6455, section 4.2.2)."""
    return base64.b64encode(hashlib.sha1(key + WEBSOCKET_GUID).digest())


def _accept_by_hand(listener: socket.socket, tls: ssl.SSLContext | None) -> socket.socket:
    client, _ = listener.accept()
    client.settimeout(5)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if tls is not None:
        client = tls.wrap_socket(client, server_side=True)
    request = b""
    while b"\r\n\r\n" not in request:
        chunk = client.recv(4096)
        if not chunk:
            raise ConnectionError("the client left before it had asked for the upgrade")
        request += chunk
    key = re.search(rb"(?im)^sec-websocket-key: *(\S+)", request)
    if key is None:
        raise ConnectionError("the client did not ask for a WebSocket")
    client.sendall(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + accept_key(key[1]) + b"\r\n\r\n"
    )
    client.setblocking(False)
    return client


def _announce(listener: socket.socket, tls: ssl.SSLContext | None) -> None:
    scheme = "http" if tls is None else "https"
    print(f"{scheme}://127.0.0.1:{listener.getsockname()[1]}/", file=sys.stderr, flush=True)


SERVERS: dict[str, Callable[[StateMessage, ssl.SSLContext | None], None]] = {
    "tutorial": run_tutorial,
    "tutorial-json": run_tutorial_json,
    "write-message": run_write_message,
    "bare-loop": run_bare_loop,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.servers", description=__doc__)
    parser.add_argument("name", choices=SERVERS)
    parser.add_argument("--message", type=Path, required=True, help="a state message to send")
    parser.add_argument("--certificate", type=Path, help="serve https with this certificate")
    parser.add_argument("--key", type=Path)
    asked = parser.parse_args()
    tls = None
    if asked.certificate is not None:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(asked.certificate, asked.key)
    SERVERS[asked.name](StateMessage(asked.message.read_text()), tls)


if __name__ == "__main__":
    main()
