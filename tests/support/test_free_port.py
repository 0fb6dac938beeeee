"""Tests of the helpers of the tests."""

import socket

import pytest

from tests.support.server import free_port


def test_a_free_port_is_held() -> None:
    """No other program gets the port. A server can listen there again and again."""
    port = free_port()
    assert port not in {free_port() for _ in range(10)}
    with socket.socket() as other, pytest.raises(OSError, match="Address already in use"):
        other.bind(("", port))
    for _ in range(2):
        with (
            socket.create_server(("", port)),
            socket.create_connection(("127.0.0.1", port), 10),
        ):
            pass
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), 10)
