"""Years of operation in minutes: past connections and changes leave nothing behind."""

import random
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from tests.support.server import LIMIT, Server, changing, descriptors, memory
from tests.support.sockets import open_socket, reset
from tests.support.websocket import HANDSHAKE, TEXT, WebSocketClient, masked

AT_ONCE = 100
TOGGLE = b'{"type":"toggle","pin":"gate"}'
CONFIG = "access: {control: everyone}\ninterval: 0.1\npins: {gate: {gpio: 22, mode: output}}\n"


def connect(port: int, number: int, chance: random.Random) -> None:
    """Connect in one of many ways from one of 40 addresses. A reset leaves no TIME_WAIT behind."""
    address, what = f"127.0.0.{1 + number % 40}", chance.randrange(4)
    if what == 0:
        with WebSocketClient(port, address=address) as client:
            next(client.messages())
            client.reset()
        return
    connection = open_socket(port, address=address)
    if what == 1:
        connection.sendall(b"GET /api/pins HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
    elif what == 2:
        connection.sendall(HANDSHAKE[: chance.randrange(len(HANDSHAKE))])
    reset(connection)


def change(viewers: list[WebSocketClient]) -> None:
    """Make changes, as fast as viewers read them. None is missing, and none comes twice."""
    viewers[0].socket.sendall(masked(TEXT, TOGGLE) * AT_ONCE)
    seen = []
    for viewer in viewers:
        changes = [viewer.receive("change", pin="gate") for _ in range(AT_ONCE)]
        seen.append([(each["seq"], each["value"]) for each in changes])
        assert all(a[0] < b[0] and a[1] != b[1] for a, b in pairwise(seen[-1]))
    assert seen[0] == seen[1]


@pytest.mark.slow
@pytest.mark.parametrize("scale", [1, pytest.param(10, marks=pytest.mark.long)])
def test_nothing_is_left_behind(start_server: Callable[..., Server], scale: int) -> None:
    """Thousands of connections and changes leave no memory, thread or descriptor behind."""
    program = changing(
        max_messages_per_s=1_000_000,
        message_burst=1_000_000,
        max_viewer_behind_s=1000.0,  # viewers read only after the connections
        ping_interval_s=1000.0,
    )
    pi = start_server(CONFIG, program=program)
    threads = Path(f"/proc/{pi.process.pid}/task")
    chance, samples = random.Random(scale), []
    with WebSocketClient(pi.port) as first, WebSocketClient(pi.port) as second:
        first.receive("state")
        before = descriptors(pi), len([*threads.iterdir()])
        for _ in range(20):
            for number in range(300 * scale):
                connect(pi.port, number, chance)
            for _ in range(10 * scale):
                change([first, second])
            samples.append(memory(pi))
        until = time.monotonic() + LIMIT
        while descriptors(pi) > before[0] or len([*threads.iterdir()]) > before[1]:
            first.receive("state")
            assert time.monotonic() < until
    print("memory in KiB:", [sample // 1024 for sample in samples])
    assert max(samples[10:]) <= min(samples[10:]) * 1.03
