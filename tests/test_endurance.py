"""Years of operation in minutes: past connections and changes leave nothing behind, in memory or
elsewhere. The tier `long` has ten times as many."""

import json
import random
import signal
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

from tests.support.load import Witness, wait_until
from tests.support.server import Server, changing, memory
from tests.support.sockets import open_socket, reset
from tests.support.websocket import HANDSHAKE, TEXT, WebSocketClient, masked

MAX_NEW_OBJECTS = 1000
"""Objects of caches that fill once. A leak leaves one for each connection or change."""
AT_ONCE = 100
TOGGLE = json.dumps({"type": "toggle", "pin": "gate"}).encode()
CONFIG = """
access: {control: everyone}
interval: 0.1
pins:
  lamp: {gpio: 17, mode: output}
  gate: {gpio: 22, mode: output}
"""
# SIGUSR1 prints what only the process itself knows.
INSIDE = """
import asyncio, gc, json, os, signal, threading
printed = 0
real_run = server.Server.run

def print_counts():
    global printed
    printed += 1
    gc.collect()
    counts = {
        "threads": sorted(thread.name for thread in threading.enumerate()),
        "tasks": len(asyncio.all_tasks()),
        "timers": sum(not each.cancelled() for each in asyncio.get_running_loop()._scheduled),
        "descriptors": len(os.listdir("/proc/self/fd")),
        "objects": len(gc.get_objects()),
    }
    print(f"inside {printed}: {json.dumps(counts)}", file=sys.stderr, flush=True)

async def run(self):
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, print_counts)
    await real_run(self)

server.Server.run = run
"""


class Inside:
    """Counts of things that only the server knows."""

    def __init__(self, server: Server) -> None:
        self._server, self._asked = server, 0

    def __call__(self) -> dict[str, Any]:
        self._asked += 1
        self._server.process.send_signal(signal.SIGUSR1)
        line = self._server.wait_for_log(rf"^inside {self._asked}: (.*)")
        counts: dict[str, Any] = json.loads(line[1])
        return counts

    def is_as(self, before: dict[str, Any]) -> bool:
        after = self()
        more = after["objects"] - before["objects"]
        return more < MAX_NEW_OBJECTS and {**after, "objects": 0} == {**before, "objects": 0}


def connect(port: int, number: int, chance: random.Random) -> None:
    """Connect in one of many ways. A reset ends it, which leaves no TIME_WAIT behind; 40 addresses
    make the ports last."""
    address, what = f"127.0.0.{1 + number % 40}", chance.randrange(4)
    if what == 0:
        with WebSocketClient(port, address=address) as client:
            next(client.messages())
            if chance.random() < 0.5:
                client.send(type="toggle", pin="gate")
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
    """Thousands of connections of all kinds, and of changes that all reach two viewers in order,
    leave no memory, thread, task, timer or descriptor behind."""
    program = changing(INSIDE, max_messages_per_s=1_000_000, message_burst=1_000_000)
    pi = start_server(CONFIG, program=program)
    inside, chance, samples = Inside(pi), random.Random(scale), []
    with Witness(pi.port) as witness:
        before = inside()
        for _ in range(20):
            for number in range(300 * scale):
                connect(pi.port, number, chance)
            with WebSocketClient(pi.port) as first, WebSocketClient(pi.port) as second:
                for _ in range(10 * scale):
                    change([first, second])
            samples.append(memory(pi))
        wait_until(lambda: inside.is_as(before), witness, "all is as before")
    print("memory in KiB:", [sample // 1024 for sample in samples])
    assert max(samples[10:]) <= min(samples[10:]) * 1.05
