"""The hub over random sequences of events: viewers that sleep, read a few bytes at a time, leave or
are disconnected. Each viewer gets whole frames, in order: every change and answer since it joined,
and states that only get newer."""

import asyncio
import fcntl
import json
import socket
import sys
import time
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from raspi_server.limits import DEFAULT
from raspi_server.messages import Change, Result, State
from tests.net.test_hub import Rig
from tests.support.server import LIMIT
from tests.support.sockets import reset
from tests.support.websocket import TEXT, Frames

VALUES = {f"a-lamp-with-a-long-name-{n:02}": 0 for n in range(28)}
SIOCOUTQNSD = 0x894B
"""linux/sockios.h: how many bytes of a socket the kernel has not sent yet."""


class Reader:
    """The client's end of one viewer, and what it must still receive."""

    def __init__(self, end: socket.socket, index: int) -> None:
        self.end = end
        self.index = index
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
            assert opcode == TEXT
            self._take(json.loads(payload))
        return len(data)

    def _take(self, message: dict[str, Any]) -> None:
        number = message["ref"] if message["type"] == "result" else message["seq"]
        assert number > self.last
        self.last = number
        if message["type"] == "state":
            assert number in self.states
        else:
            assert number == self.owed.pop(0)


class HubEvents(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.rig = Rig()
        self.number = 0
        self.readers: list[Reader] = []

    # Messages to all

    def _send(self, message: Any) -> None:
        for reader in self.readers:
            reader.owed.append(self.number)
        self.rig.hub.send(message)

    def _send_change(self) -> None:
        self.number += 1
        self._send(Change(self.number, 0.0, next(iter(VALUES)), self.number % 2, "me"))

    def _send_large(self, size: int) -> None:
        """A message that is longer than a change, as a hello is after a reload."""
        self.number += 1
        self._send(Result(self.number, "x" * size, 1))

    def _send_state(self) -> None:
        self.number += 1
        for reader in self.readers:
            reader.states.add(self.number)
        # Some are longer than any buffer, so that the kernel takes only a part.
        more = {f"one-of-very-many-pins-{n}": 0 for n in range(self.number % 3 * 200)}
        self.rig.hub.send_or_skip(State(self.number, 0.0, VALUES | more))

    @rule(times=st.integers(1, 60))
    def send_changes(self, times: int) -> None:
        for _ in range(times):
            self.rig.run(self._send_change)

    @rule(times=st.integers(1, 60))
    def send_states(self, times: int) -> None:
        for _ in range(times):
            self.rig.run(self._send_state)

    @rule(size=st.sampled_from([0, 1000, 8000, 40000]))
    def send_large(self, size: int) -> None:
        self.rig.run(lambda: self._send_large(size))

    # Viewers

    @initialize()
    def start(self) -> None:
        self.join()
        self.join()

    @precondition(lambda self: len(self.readers) < 4)
    @rule()
    def join(self) -> None:
        index = len(self.rig.viewers)
        self.readers.append(Reader(self.rig.join(), index))

    def _is_closing(self, reader: Reader) -> bool:
        return self.rig.connections[reader.index].is_closing()

    @precondition(lambda self: self.readers)
    @rule(
        data=st.data(),
        size=st.sampled_from([0, 8000, 40000]),
        most=st.sampled_from([1, 500, 2048, 4096, 65536]),
        is_state=st.lists(st.booleans(), min_size=1, max_size=6),
    )
    def read_slowly(self, data: st.DataObject, size: int, most: int, is_state: list[bool]) -> None:
        """One viewer is behind and reads a little. Before the loop can send what is queued, there
        is another message."""
        reader = data.draw(st.sampled_from(self.readers))
        self.rig.run(lambda: self._send_large(size))

        def in_one_turn() -> None:
            for each in is_state:
                reader.read(most)
                (self._send_state if each else self._send_change)()

        self.rig.run(in_one_turn)

    @precondition(lambda self: self.readers)
    @rule(data=st.data())
    def read_all(self, data: st.DataObject) -> None:
        reader = data.draw(st.sampled_from(self.readers))
        was_closing = self._is_closing(reader)
        self._read_all(reader)
        if was_closing:
            self._remove(reader)

    def _read_all(self, reader: Reader) -> None:
        """It gets all that it is owed. If it was closed, whole frames up to there."""
        was_closing = self._is_closing(reader)
        self.rig.loop.run_until_complete(self._read_until_idle(reader))
        assert not reader.frames.rest
        assert was_closing or not reader.owed
        reader.states.clear()

    async def _read_until_idle(self, reader: Reader) -> None:
        """Read until neither the hub nor the kernel has anything left to send, and the viewer is
        ready again."""
        stream, viewer = self.rig.connections[reader.index].stream, self.rig.viewers[reader.index]
        began = time.monotonic()
        while (
            reader.read(65536)
            or stream.writing()
            or not is_sent(stream.socket)
            or not (viewer.is_ready or self._is_closing(reader))
        ):
            assert time.monotonic() - began < LIMIT, "not all was sent"
            await asyncio.sleep(0)

    @rule(seconds=st.sampled_from([0.1, 1, 2.5]))
    def pass_time(self, seconds: float) -> None:
        self.rig.loop.run_until_complete(asyncio.sleep(seconds))

    @rule()
    def check_viewers(self) -> None:
        """Only viewers that are behind for too long are closed."""
        now = self.rig.loop.time()
        behind = {
            reader.index
            for reader in self.readers
            if (since := self.rig.viewers[reader.index]._behind_since) is not None
            and now - since > DEFAULT.max_viewer_behind_s
        }
        for viewer in self.rig.viewers:
            viewer.pong_received()  # pings have their own test
        before = {reader.index for reader in self.readers if self._is_closing(reader)}
        self.rig.run(lambda: self.rig.hub.check(now))
        after = {reader.index for reader in self.readers if self._is_closing(reader)}
        assert after - before <= behind

    @precondition(lambda self: self.readers)
    @rule(data=st.data(), with_reset=st.booleans())
    def leave(self, data: st.DataObject, with_reset: bool) -> None:
        reader = data.draw(st.sampled_from(self.readers))
        if with_reset:
            reset(reader.end)
        else:
            reader.end.close()
        self._remove(reader)

    def _remove(self, reader: Reader) -> None:
        self.readers.remove(reader)
        self.rig.run(lambda: self.rig.hub.remove(self.rig.viewers[reader.index]))

    # Invariants

    @invariant()
    def ready_viewers_have_nothing_queued(self) -> None:
        for reader in self.readers:
            viewer = self.rig.viewers[reader.index]
            connection = self.rig.connections[reader.index]
            assert not (viewer.is_ready and connection.stream.writing())

    @invariant()
    def hub_reports_if_any_viewer_is_connected(self) -> None:
        if self.rig.watched:
            assert self.rig.watched[-1] == bool(self.readers)

    def teardown(self) -> None:
        try:
            for reader in self.readers if sys.exc_info()[0] is None else []:
                self._read_all(reader)
        finally:
            self.rig.close()


def is_sent(connection: socket.socket | None) -> bool:
    """Return true if the kernel has sent all bytes. On one machine they have arrived then."""
    return connection is None or not any(fcntl.ioctl(connection, SIOCOUTQNSD, bytes(4)))


@pytest.mark.slow
@pytest.mark.parametrize("examples", [40, pytest.param(2000, marks=pytest.mark.long)])
def test_random_events(examples: int) -> None:
    """In any sequence of events each viewer gets whole frames, in order."""
    run_state_machine_as_test(
        HubEvents,
        settings=settings(
            database=None,
            deadline=None,
            print_blob=True,
            max_examples=examples,
            stateful_step_count=30,
        ),
    )
