"""Proof that the hub gives each viewer whole frames in order, and states that only get newer.
Viewers sleep, read slowly, leave or break; only those behind for too long are closed."""

import asyncio
import fcntl
import json
import socket
import sys
import time
from collections.abc import Callable
from termios import TIOCOUTQ

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from raspi_server.limits import DEFAULT
from raspi_server.messages import Change, Result, State
from tests.net.test_hub import Rig
from tests.support.model_configs import run
from tests.support.server import LIMIT
from tests.support.sockets import reset
from tests.support.websocket import PING, Frames

VALUES = {f"a-lamp-with-a-long-name-{n:02}": 0 for n in range(28)}
has_readers = precondition(lambda self: self.readers)


class Reader:
    """The client's end of one viewer, and what it must still receive."""

    def __init__(self, rig: Rig) -> None:
        self.end = rig.join()
        self.viewer, self.connection = rig.viewers[-1], rig.connections[-1]
        self.owed: list[int] = []
        self.states: set[int] = set()
        self.last = 0
        self.frames = Frames()

    def read(self, most: int) -> int:
        """Read so many bytes at most, without the loop. Return how many there were. Each frame is
        whole, and is a state newer than all before, or the next message that is owed."""
        try:
            data = self.end.recv(most)
        except BlockingIOError:
            return 0
        for opcode, payload in self.frames.feed(data):
            if opcode == PING:
                continue
            message = json.loads(payload)
            number = message["ref"] if message["type"] == "result" else message["seq"]
            assert number > self.last
            self.last = number
            if message["type"] == "state":
                assert number in self.states
            else:
                assert number == self.owed.pop(0)
        return len(data)

    async def read_all(self) -> None:
        """Read until neither the hub nor the kernel has anything left to send, and the viewer is
        ready again. It gets all that it is owed. If it was closed, whole frames up to there."""
        was_closing, began = self.connection.is_closing(), time.monotonic()
        stream, more = self.connection.stream, True
        while more:
            assert time.monotonic() - began < LIMIT, "not all was sent"
            await asyncio.sleep(0)
            # What the kernel of the client has acknowledged can be read.
            end = stream.socket
            is_sent = end is None or not any(fcntl.ioctl(end, TIOCOUTQ, bytes(4)))
            is_settled = self.viewer.is_ready or self.connection.is_closing()
            more = bool(self.read(65536)) or stream.writing() or not (is_sent and is_settled)
        assert not self.frames.rest
        assert was_closing or not self.owed


class HubEvents(RuleBasedStateMachine):
    """Random events. What the kernel takes at once decides nothing that is drawn."""

    def __init__(self) -> None:
        super().__init__()
        self.rig = Rig()
        self.number = 0
        self.readers: list[Reader] = []

    def _send(self, kind: str) -> None:
        """Send a message to all. A `large` one is longer than a change, as a hello is after a
        reload, or than any buffer, so that the kernel takes only a part; so are some states."""
        self.number += 1
        for reader in self.readers:
            if kind == "state":
                reader.states.add(self.number)
            else:
                reader.owed.append(self.number)
        size = (0, 8000, 40000)[self.number % 3]
        if kind == "state":
            values = VALUES | {f"one-of-very-many-pins-{n}": 0 for n in range(size // 100)}
            self.rig.hub.send_or_skip(State(self.number, 0.0, values))
        elif kind == "large":
            self.rig.hub.send(Result(self.number, "x" * size, 1))
        else:
            self.rig.hub.send(Change(self.number, 0.0, "lamp", self.number % 2, "me"))

    @rule(kind=st.sampled_from(["change", "state", "large"]), times=st.integers(1, 60))
    def send(self, kind: str, times: int) -> None:
        for _ in range(times if kind != "large" else 1):
            self.rig.run(lambda: self._send(kind))

    @initialize()
    def start(self) -> None:
        self.join()
        self.join()

    @precondition(lambda self: len(self.readers) < 4)
    @rule()
    def join(self) -> None:
        self.readers.append(Reader(self.rig))

    @has_readers
    @rule(
        data=st.data(),
        most=st.sampled_from([1, 500, 2048, 4096, 65536]),
        kinds=st.lists(st.sampled_from(["state", "change"]), min_size=1, max_size=6),
    )
    def read_slowly(self, data: st.DataObject, most: int, kinds: list[str]) -> None:
        """One viewer reads a little, and before the queue is sent there is another message."""
        reader = data.draw(st.sampled_from(self.readers))
        self.rig.run(lambda: self._send("large"))

        def in_one_turn() -> None:
            for kind in kinds:
                reader.read(most)
                self._send(kind)

        self.rig.run(in_one_turn)

    @has_readers
    @rule(data=st.data())
    def read_all(self, data: st.DataObject) -> None:
        reader = data.draw(st.sampled_from(self.readers))
        self.rig.loop.run_until_complete(reader.read_all())

    @rule(seconds=st.sampled_from([0.1, 1, 2.5]))
    def pass_time(self, seconds: float) -> None:
        """Time passes, then only viewers that are behind for too long are closed."""
        self.rig.loop.run_until_complete(asyncio.sleep(seconds))
        now = self.rig.loop.time()
        for reader in self.readers:
            reader.viewer.pong_received()  # pings have their own test
        late = now - DEFAULT.max_viewer_behind_s
        expected = [
            reader.connection.is_closing() or (reader.viewer._behind_since or now) < late
            for reader in self.readers
        ]
        self.rig.run(lambda: self.rig.hub.check(now))
        assert [reader.connection.is_closing() for reader in self.readers] == expected

    @has_readers
    @rule(data=st.data(), end=st.sampled_from([reset, socket.socket.close]))
    def leave(self, data: st.DataObject, end: Callable[[socket.socket], None]) -> None:
        reader = data.draw(st.sampled_from(self.readers))
        end(reader.end)
        self._remove(reader)

    def _remove(self, reader: Reader) -> None:
        self.readers.remove(reader)
        self.rig.run(lambda: self.rig.hub.remove(reader.viewer))

    @invariant()
    def check(self) -> None:
        """Ready viewers have nothing queued, and the hub has reported if any is connected."""
        for reader in self.readers:
            assert not (reader.viewer.is_ready and reader.connection.stream.writing())
        assert self.rig.watched[-1:] in ([], [bool(self.readers)])

    def teardown(self) -> None:
        try:
            for reader in self.readers if sys.exc_info()[0] is None else []:
                self.rig.loop.run_until_complete(reader.read_all())
        finally:
            self.rig.close()


@pytest.mark.slow
@pytest.mark.parametrize("examples", [40, pytest.param(5000, marks=pytest.mark.long)])
def test_random_events(examples: int) -> None:
    """In any sequence of events each viewer gets whole frames, in order."""
    run(HubEvents, examples, steps=30)
