"""The guests' own network: whatever listens on this machine is in nobody's way there."""

import socket

import pytest

from .guest import Guest

LISTEN = (
    "import socket; s = socket.create_server(('', {})); print('listening', flush=True); s.accept()"
)


def test_a_port_taken_here_is_free_in_a_guest(booted: Guest) -> None:
    """A program on this machine takes no port from a guest; what listens there is reached over the
    guest's network, and not from here."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        listening = booted.start(f'exec python3 -c "{LISTEN.format(port)}"')
        try:
            assert listening.stdout is not None
            assert listening.stdout.readline() == "listening\n"
            taken.close()
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", port), 10)
            with booted.network(), socket.create_connection(("127.0.0.1", port), 10):
                pass
        finally:
            booted.kill(listening)
