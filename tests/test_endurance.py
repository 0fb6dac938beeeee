"""Years of operation in minutes: past connections and changes leave nothing behind, in memory or
elsewhere. The tier `long` has ten times as many."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.support.load import Witness, wait_until
from tests.support.server import Server, changing, memory
from tests.support.websocket import WebSocketClient

pytestmark = pytest.mark.slow

SAMPLES = 40
MAX_NEW_OBJECTS = 1000
"""Objects of caches that fill once. A leak leaves one for each connection or change."""
CONFIG = """
access: {control: everyone}
interval: 0.1
pins:
  lamp: {gpio: 17, mode: output}
  gate: {gpio: 22, mode: output}
  fan:  {gpio: 18, mode: pwm}
"""

# SIGUSR1 prints what only the process itself knows. SIGUSR2 makes many changes, as fast as the
# viewers read them.
INSIDE = """
import asyncio, gc, json, os, signal, threading
from raspi_server.system import logs
from raspi_server.messages import Toggle

printed = 0
real_run = server.Server.run

def print_counts():
    global printed
    printed += 1
    gc.collect()
    loop = asyncio.get_running_loop()
    counts = {
        "threads": sorted(thread.name for thread in threading.enumerate()),
        "tasks": len(asyncio.all_tasks()),
        "timers": sum(not timer.cancelled() for timer in loop._scheduled),
        "descriptors": len(os.listdir("/proc/self/fd")),
        "objects": len(gc.get_objects()),
    }
    print(f"inside {printed}: {json.dumps(counts)}", file=sys.stderr, flush=True)

async def toggle(server):
    logs.set_level("warning")  # each change would be a line
    for n in range(0, CHANGES, 50):
        for m in range(n, n + 50):
            server.board.carry_out(Toggle(pin=("gate", "fan")[m % 2]), "endurance")
        await asyncio.sleep(0)
        while not all(viewer.is_ready for viewer in server._broadcaster.hub):
            await asyncio.sleep(0.001)
    logs.set_level("info")
    print("all changes made", file=sys.stderr, flush=True)

async def run(self):
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGUSR1, print_counts)
    tasks = []
    loop.add_signal_handler(
        signal.SIGUSR2, lambda: tasks.append(asyncio.ensure_future(toggle(self)))
    )
    await real_run(self)

server.Server.run = run
"""

# Connections in a row, from 40 addresses so that the ports last. They end with a reset, which
# leaves no TIME_WAIT behind.
CLIENTS = """
import random, sys
from tests.support.sockets import GONE, open_socket, reset
from tests.support.websocket import HANDSHAKE, TEXT, WebSocketClient, masked

port, count, part = map(int, sys.argv[1:])
chance = random.Random(count)
for n in range(count):
    address = f"127.0.0.{1 + n % 40}"
    what = chance.randrange(4)
    if what == 0:
        with WebSocketClient(port, address=address) as client:
            next(client.messages())
            if chance.random() < 0.5:
                client.send(type="toggle", pin="gate")
            client.reset()
    else:
        connection = open_socket(port, address=address)
        if what == 1:
            connection.sendall(b"GET /api/pins HTTP/1.1\\r\\nHost: 127.0.0.1\\r\\n\\r\\n")
            assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
        elif what == 2:
            connection.sendall(HANDSHAKE[: chance.randrange(len(HANDSHAKE))])
        reset(connection)
    if not n % part:
        print(n, flush=True)
"""


class Inside:
    """Counts of things that only the server knows."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._asked = 0

    def __call__(self) -> dict[str, Any]:
        self._asked += 1
        self._server.process.send_signal(signal.SIGUSR1)
        line = self._server.wait_for_log(rf"^inside {self._asked}: (.*)")
        counts: dict[str, Any] = json.loads(line[1])
        return counts


def check_flat(samples: list[int]) -> None:
    """The last half of the samples lies within 2 %."""
    last = samples[len(samples) // 2 :]
    print("memory in KiB:", [sample // 1024 for sample in samples])
    assert max(last) <= min(last) * 1.02


def is_as_before(before: dict[str, Any], after: dict[str, Any]) -> bool:
    more = after["objects"] - before["objects"]
    return more < MAX_NEW_OBJECTS and {**after, "objects": 0} == {**before, "objects": 0}


@pytest.mark.parametrize("count", [20_000, pytest.param(100_000, marks=pytest.mark.long)])
def test_connections_leave_nothing_behind(start_server: Callable[..., Server], count: int) -> None:
    """Connections of all kinds leave no memory, thread, task, timer or descriptor behind."""
    pi = start_server(CONFIG, program=changing(INSIDE))
    inside = Inside(pi)
    command = [sys.executable, "-c", CLIENTS, str(pi.port), str(count), str(count // SAMPLES)]
    with Witness(pi.port) as witness:
        before = inside()
        with subprocess.Popen(command, stdout=subprocess.PIPE) as clients:
            assert clients.stdout is not None
            samples = [memory(pi) for _ in clients.stdout]
        assert clients.returncode == 0
        wait_until(lambda: is_as_before(before, inside()), witness, "all is as before")
    check_flat(samples)


def read_changes(client: WebSocketClient, count: int) -> Iterator[int]:
    """Read so many changes, and yield how many there were after each. None is missing, and none
    comes twice."""
    seq = done = 0
    values: dict[str, float] = {}
    for message in client.messages():
        if "seq" in message:
            assert message["seq"] > seq
            seq = message["seq"]
        if message["type"] == "change":
            assert values.get(message["pin"]) != message["value"]
            values[message["pin"]] = message["value"]
            done += 1
            yield done
        if done == count:
            return
    raise AssertionError("the server closed the connection")


@pytest.mark.parametrize("count", [100_000, pytest.param(1_000_000, marks=pytest.mark.long)])
def test_changes_leave_nothing_behind(start_server: Callable[..., Server], count: int) -> None:
    """All changes reach two viewers in order and whole, and leave nothing behind."""
    pi = start_server(CONFIG, program=changing(f"CHANGES = {count}", INSIDE))
    inside = Inside(pi)
    with Witness(pi.port):
        before = inside()
    with (
        WebSocketClient(pi.port) as first,
        WebSocketClient(pi.port) as second,
        ThreadPoolExecutor(1) as pool,
    ):
        pi.process.send_signal(signal.SIGUSR2)
        other = pool.submit(lambda: sum(1 for _ in read_changes(second, count)))
        samples = [
            memory(pi) for done in read_changes(first, count) if not done % (count // SAMPLES)
        ]
        assert other.result() == count
    pi.wait_for_log("all changes made")
    with Witness(pi.port) as witness:
        wait_until(lambda: is_as_before(before, inside()), witness, "all is as before")
    check_flat(samples)
