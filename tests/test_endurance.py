"""Years of operation in minutes: connections and changes that are over leave nothing behind, in
memory or elsewhere."""

import contextlib
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.load import Witness, wait_until
from tests.support.server import LIMIT, Server, changing, memory
from tests.support.websocket import WebSocketClient

CONNECTIONS = 100_000
CHANGES = 1_000_000
SAMPLES = 40

CONFIG = """
access: {control: everyone}
interval: 0.1
pins:
  lamp: {gpio: 17, mode: output}
  gate: {gpio: 22, mode: output}
  fan:  {gpio: 18, mode: pwm}
"""

# What only the process itself can tell, on SIGUSR1; and on SIGUSR2 a million changes, as fast as
# the viewers read them.
INSIDE = f"""
import asyncio, gc, json, os, signal, threading
from raspi_server.system import logs
from raspi_server.messages import Toggle

told = 0
real_run = server.Server.run

def tell():
    global told
    told += 1
    gc.collect()
    loop = asyncio.get_running_loop()
    found = {{
        "threads": sorted(thread.name for thread in threading.enumerate()),
        "tasks": len(asyncio.all_tasks()),
        "timers": sum(not timer.cancelled() for timer in loop._scheduled),
        "descriptors": len(os.listdir("/proc/self/fd")),
        "objects": len(gc.get_objects()),
    }}
    print(f"inside {{told}}: {{json.dumps(found)}}", file=sys.stderr, flush=True)

async def toggle(house):
    logs.set_level("warning")  # each would be a line
    names = [slot.config.name for slot in house.board if slot.config.name != "lamp"]
    for n in range(0, {CHANGES}, 50):
        for m in range(n, n + 50):
            house.board.carry_out(Toggle(pin=names[m % len(names)]), "years")
        await asyncio.sleep(0)
        while not all(viewer.is_ready for viewer in house._broadcaster.hub):
            await asyncio.sleep(0.001)
    logs.set_level("info")
    print("all changes made", file=sys.stderr, flush=True)

async def run(self):
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGUSR1, tell)
    tasks = []
    loop.add_signal_handler(
        signal.SIGUSR2, lambda: tasks.append(asyncio.ensure_future(toggle(self)))
    )
    await real_run(self)

server.Server.run = run
"""

# One crowd: connections in a row, from addresses of its own, each of which is used up only after
# thousands of connections. They end with a reset, which leaves no TIME_WAIT behind.
CROWD = """
import random, sys
from tests.support.sockets import GONE, open_socket, reset
from tests.support.websocket import HANDSHAKE, TEXT, WebSocketClient, masked

port, count, number = map(int, sys.argv[1:])
chance = random.Random(number)
for n in range(count):
    address = f"127.0.0.{1 + number * 20 + n % 20}"
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
    if n % 100 == 99:
        print(n + 1, flush=True)
"""


@pytest.fixture
def pi(start_server: Callable[..., Server]) -> Server:
    return start_server(CONFIG, program=changing(INSIDE))


class Inside:
    """Asks the server for what only it can tell."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._asked = 0

    def __call__(self) -> dict[str, Any]:
        self._asked += 1
        self._server.process.send_signal(signal.SIGUSR1)
        found: dict[str, Any] = json.loads(
            self._server.wait_for_log(rf"^inside {self._asked}: (.*)")[1]
        )
        return found


def check_flat(samples: list[int]) -> None:
    """The last half lies within 2 %."""
    last = samples[len(samples) // 2 :]
    print("memory in KiB:", [sample // 1024 for sample in samples])
    assert max(last) <= min(last) * 1.02


def is_as(before: dict[str, Any], after: dict[str, Any]) -> bool:
    """Return whether nothing is left behind. One object for a hundred visits is too many."""
    more = after["objects"] - before["objects"]
    return more < CONNECTIONS / 100 and {**after, "objects": 0} == {**before, "objects": 0}


def test_a_hundred_thousand_connections(pi):
    """A hundred thousand visits, of all kinds, leave no memory, thread, task, timer or descriptor
    behind."""
    inside = Inside(pi)
    crowds = 2
    share = CONNECTIONS // crowds
    done = [0] * crowds
    with Witness(pi.port) as witness:
        before = inside()
        began = time.monotonic()
        with contextlib.ExitStack() as stack:
            processes = [
                stack.enter_context(
                    subprocess.Popen(
                        [sys.executable, "-c", CROWD, str(pi.port), str(share), str(number)],
                        stdout=subprocess.PIPE,
                        text=True,
                    )
                )
                for number in range(crowds)
            ]

            def count(number: int) -> None:
                assert processes[number].stdout is not None
                for line in processes[number].stdout:
                    done[number] = int(line)

            threads = [threading.Thread(target=count, args=[n]) for n in range(crowds)]
            for thread in threads:
                thread.start()
            samples: list[int] = []
            while any(thread.is_alive() for thread in threads):
                if sum(done) >= len(samples) * CONNECTIONS / SAMPLES:
                    samples.append(memory(pi))
                witness.wait_for_states(1)
            assert [process.wait() for process in processes] == [0] * crowds
        rate = CONNECTIONS / (time.monotonic() - began)
        assert sum(done) == CONNECTIONS
        wait_until(lambda: is_as(before, inside()), witness, "all is as before")
    print(f"{rate:.0f} connections a second; longest silence {witness.longest_silence:.2f} s")
    check_flat(samples)


class Reader(threading.Thread):
    """Reads every change of `years`, and notices if one is missing."""

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self._client = WebSocketClient(port)
        self.changes = 0
        self.seq = 0
        self.values: dict[str, float] = {}
        self.faults: list[dict[str, Any]] = []

    def run(self) -> None:
        for message in self._client.messages():
            if "seq" in message:
                if message["seq"] <= self.seq:
                    self.faults.append(message)
                self.seq = message["seq"]
            if message["type"] == "change":
                if self.values.get(message["pin"]) == message["value"]:
                    self.faults.append(message)
                self.values[message["pin"]] = message["value"]
                self.changes += 1
                if self.changes == CHANGES:
                    break
        self._client.socket.close()


def test_a_million_changes(pi):
    """A million changes reach two viewers in order and whole, and leave nothing behind."""
    inside = Inside(pi)
    with Witness(pi.port):
        before = inside()
    readers = [Reader(pi.port) for _ in range(2)]
    for reader in readers:
        reader.start()
    began = time.monotonic()
    pi.process.send_signal(signal.SIGUSR2)
    samples: list[int] = []
    sampled = began
    while any(reader.is_alive() for reader in readers):
        if readers[0].changes >= len(samples) * CHANGES / SAMPLES:
            samples.append(memory(pi))
            sampled = time.monotonic()
        assert time.monotonic() - sampled < LIMIT, f"no more changes came\n{pi.log}"
        readers[0].join(0.05)
    rate = CHANGES / (time.monotonic() - began)
    print(f"{rate:.0f} changes a second")
    for reader in readers:
        assert not reader.faults
        assert reader.changes == CHANGES
    pi.wait_for_log("all changes made")
    with Witness(pi.port) as witness:
        wait_until(lambda: is_as(before, inside()), witness, "all is as before")
    check_flat(samples)
