"""The network of a guest: its ports are free whatever listens on this machine."""

import socket

import pytest

from tests.system.debian.guest import Guest

LISTEN = (
    "import socket; s = socket.create_server(('', {})); print('listening', flush=True); s.accept()"
)


def test_a_port_taken_here_is_free_in_a_guest(booted: Guest) -> None:
    """A program on this machine takes no port from a guest. A program in the guest is reached over
    the guest's network only."""
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
