"""No framework at all: what Python can do at best."""

from __future__ import annotations

import re
import select
import socket
import ssl
import time

from .common import INTERVAL, StateMessage, accept_key, announce, main, text_frame


def run_bare_loop(message: StateMessage, tls: ssl.SSLContext | None) -> None:
    """A frame built once a tick, and `socket.send` for each socket."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)
    announce(listener.getsockname()[1], tls)
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


if __name__ == "__main__":
    main({"bare-loop": run_bare_loop}, __doc__)
