"""TCP connections with nothing sent yet, from any of this machine's own addresses."""

import socket
import struct

from tests.support.server import LIMIT

IP_BIND_ADDRESS_NO_PORT = 24
"""linux/in.h: the port is chosen when connecting, which needs no search among thousands."""
GONE = (ConnectionResetError, BrokenPipeError)
"""Errors of a connection that the server has closed."""


def open_socket(
    port: int, receive_buffer: int | None = None, address: str = "127.0.0.1"
) -> socket.socket:
    """Connect to a port of this machine from one of its addresses, 127.0.0.0/8 included.

    A small `receive_buffer`, in bytes, makes a client that reads slowly fall behind soon."""
    opened = socket.socket()
    if receive_buffer:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    opened.settimeout(LIMIT)
    opened.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
    opened.bind((address, 0))
    opened.connect(("127.0.0.1", port))
    return opened


def reset(connection: socket.socket) -> None:
    """Close a connection with a reset instead of a FIN."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()
