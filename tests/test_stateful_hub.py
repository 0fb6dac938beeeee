"""Board and hub together through random lives of viewers that sleep, read a few bytes at a time,
leave or are disconnected. Each viewer gets whole frames, in order: every change and answer since it
came, and states that only get newer."""

import asyncio
import contextlib
import fcntl
import json
import socket
import struct
import sys
import time
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from raspi_server.gpio.backend import SimulatedFactory
from raspi_server.gpio.board import Board
from raspi_server.gpio.output_state import OutputStateStore
from raspi_server.gpio.pin import PinChange
from raspi_server.limits import DEFAULT
from raspi_server.messages import Change, Drive, Pulse, Result, Set, State, Toggle
from tests.net.test_hub import Rig
from tests.support.board import parse
from tests.support.server import LIMIT
from tests.support.websocket import TEXT, Frames

PINS = "  door: {gpio: 0, mode: input}\n  gate: {gpio: 1, mode: output, pulse: 2}\n" + "".join(
    f"  a-lamp-with-a-long-name-{n:02}: {{gpio: {n}, mode: output}}\n" for n in range(2, 28)
)
LAMPS = [f"a-lamp-with-a-long-name-{n:02}" for n in range(2, 28)]


SIOCOUTQNSD = 0x894B
"""linux/sockios.h: how many bytes of a socket the kernel has not sent yet."""


class Watcher:
    """What one viewer is to get, by the model, and its end of the socket."""

    def __init__(self, end: socket.socket, index: int) -> None:
        self.end = end
        self.index = index
        self.owed: list[Any] = []
        self.shown: set[int] = set()
        self.last = 0
        self.frames = Frames()

    def read(self, most: int) -> int:
        """Reads so many bytes at most, without the loop: each frame is whole, and is a state newer
        than all before or the next of what is owed. Returns how many bytes there were."""
        try:
            data = self.end.recv(most)
        except BlockingIOError:
            return 0
        for opcode, payload in self.frames.feed(data):
            assert opcode == TEXT
            self.take(json.loads(payload))
        return len(data)

    def take(self, message: dict[str, Any]) -> None:
        seq = message.get("seq")
        if message["type"] == "result":
            assert message["ref"] == self.owed.pop(0)
            return
        assert seq > self.last
        self.last = seq
        if message["type"] == "state":
            assert seq in self.shown
        else:
            assert (seq, message["pin"], message["value"]) == self.owed.pop(0)


class Lives(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.rig = Rig()
        self.seq = 0
        self.told = 0
        self.watchers: list[Watcher] = []
        self.board = Board(
            parse(PINS).pins,
            SimulatedFactory(),
            OutputStateStore(None, None),
            self.rig.loop,
            self.changed,
            lambda: None,
        )

    def next_seq(self) -> int:
        self.seq += 1
        return self.seq

    def changed(self, changed: PinChange) -> None:
        seq = self.next_seq()
        assert changed.value is not None
        for watcher in self.watchers:
            watcher.owed.append((seq, changed.pin, changed.value))
        self.rig.hub.send(Change(seq, changed.moment, changed.pin, changed.value, changed.by))

    def show(self) -> None:
        seq = self.next_seq()
        for watcher in self.watchers:
            watcher.shown.add(seq)
        # Some are longer than any buffer, so that the kernel takes only a part.
        more = {f"one-of-very-many-pins-{n}": 0 for n in range(seq % 3 * 200)}
        self.rig.hub.send_or_skip(State(seq, 0.0, self.board.values() | more))

    def tell_all(self, size: int) -> None:
        """Something longer than a change for everyone, as hello is after a reload."""
        self.told += 1
        for watcher in self.watchers:
            watcher.owed.append(self.told)
        self.rig.hub.send(Result(self.told, "x" * size, 1))

    def toggle_once(self) -> None:
        self.board.carry_out(Toggle(pin=LAMPS[0]), "me")

    def is_cut_off(self, watcher: Watcher) -> bool:
        return self.rig.connections[watcher.index].is_closing()

    @initialize()
    def begin(self) -> None:
        self.come()
        self.come()

    @precondition(lambda self: len(self.watchers) < 4)
    @rule()
    def come(self) -> None:
        index = len(self.rig.viewers)
        self.watchers.append(Watcher(self.rig.join(), index))

    @rule(pin=st.sampled_from([*LAMPS[:3], "gate"]), times=st.integers(1, 40))
    def toggle(self, pin: str, times: int) -> None:
        for _ in range(times):
            self.rig.run(lambda: self.board.carry_out(Toggle(pin=pin), "me"))

    @rule(pin=st.sampled_from(LAMPS[:3]), value=st.sampled_from([0, 1]))
    def set(self, pin: str, value: int) -> None:
        self.rig.run(lambda: self.board.carry_out(Set(pin=pin, value=value), "me"))

    @rule(pin=st.sampled_from(LAMPS[:3]), seconds=st.sampled_from([0.5, 3]))
    def pulse(self, pin: str, seconds: float) -> None:
        self.rig.run(lambda: self.board.carry_out(Pulse(pin=pin, seconds=seconds), "me"))

    @rule(value=st.sampled_from([0, 1]))
    def drive(self, value: int) -> None:
        self.rig.run(lambda: self.board.carry_out(Drive(pin="door", value=value), "me"))
        self.rig.run(lambda: None)  # the edge has crossed to the loop

    @rule(times=st.integers(1, 60))
    def tick(self, times: int) -> None:
        for _ in range(times):
            self.rig.run(self.show)

    @rule(size=st.sampled_from([0, 1000, 8000, 40000]))
    def say_much(self, size: int) -> None:
        self.rig.run(lambda: self.tell_all(size))

    @precondition(lambda self: self.watchers)
    @rule(
        data=st.data(),
        size=st.sampled_from([0, 8000, 40000]),
        most=st.sampled_from([1, 500, 2048, 4096, 65536]),
        acts=st.lists(st.sampled_from(["show", "toggle_once"]), min_size=1, max_size=6),
    )
    def read_slowly(self, data: st.DataObject, size: int, most: int, acts: list[str]) -> None:
        """One viewer is behind and reads a little; before the loop can send what it is owed, there
        is more to tell."""
        watcher = data.draw(st.sampled_from(self.watchers))
        self.rig.run(lambda: self.tell_all(size))

        def at_once() -> None:
            for act in acts:
                watcher.read(most)
                getattr(self, act)()

        self.rig.run(at_once)

    @rule(seconds=st.sampled_from([0.1, 1, 2.5]))
    def time_passes(self, seconds: float) -> None:
        self.rig.loop.run_until_complete(asyncio.sleep(seconds))

    @rule()
    def look_after(self) -> None:
        """Who has left something unread for too long is let go; all others stay."""
        now = self.rig.loop.time()
        waiting = {
            watcher.index
            for watcher in self.watchers
            if (since := self.rig.viewers[watcher.index]._behind_since) is not None
            and now - since > DEFAULT.max_viewer_behind_s
        }
        for viewer in self.rig.viewers:
            viewer.pong_received()  # pings have their own test
        before = {watcher.index for watcher in self.watchers if self.is_cut_off(watcher)}
        self.rig.run(lambda: self.rig.hub.check(now))
        after = {watcher.index for watcher in self.watchers if self.is_cut_off(watcher)}
        assert after - before <= waiting

    @precondition(lambda self: self.watchers)
    @rule(data=st.data())
    def read(self, data: st.DataObject) -> None:
        """One viewer reads all there is."""
        watcher = data.draw(st.sampled_from(self.watchers))
        was_cut_off = self.is_cut_off(watcher)
        self.catch_up(watcher)
        if was_cut_off:
            self.leave(watcher)

    def catch_up(self, watcher: Watcher) -> None:
        """It gets all that it is owed, and nothing torn; if it was cut off, whole frames up to
        where it was cut."""
        was_cut_off = self.is_cut_off(watcher)
        self.rig.loop.run_until_complete(self.read_all(watcher))
        assert not watcher.frames.rest
        assert was_cut_off or not watcher.owed
        watcher.shown.clear()

    async def read_all(self, watcher: Watcher) -> None:
        """Until neither we nor the kernel has anything left to send, and whoever is not cut off
        may be written to at once."""
        stream, viewer = self.rig.connections[watcher.index].stream, self.rig.viewers[watcher.index]
        began = time.monotonic()
        while (
            watcher.read(65536)
            or stream.writing()
            or not is_sent(stream.socket)
            or not (viewer.is_ready or self.is_cut_off(watcher))
        ):
            assert time.monotonic() - began < LIMIT, "it never came"
            await asyncio.sleep(0)

    @precondition(lambda self: self.watchers)
    @rule(data=st.data(), rudely=st.booleans())
    def go(self, data: st.DataObject, rudely: bool) -> None:
        watcher = data.draw(st.sampled_from(self.watchers))
        if rudely:
            linger = struct.pack("ii", 1, 0)
            watcher.end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        watcher.end.close()
        self.leave(watcher)

    def leave(self, watcher: Watcher) -> None:
        self.watchers.remove(watcher)
        self.rig.run(lambda: self.rig.hub.remove(self.rig.viewers[watcher.index]))

    @invariant()
    def nothing_comes_between(self) -> None:
        """Nobody who has something queued may be written to at once."""
        for watcher in self.watchers:
            viewer, connection = (
                self.rig.viewers[watcher.index],
                self.rig.connections[watcher.index],
            )
            assert not (viewer.is_ready and connection.stream.writing())

    @invariant()
    def watched_while_somebody_is_there(self) -> None:
        if self.rig.watched:
            assert self.rig.watched[-1] == bool(self.watchers)

    def teardown(self) -> None:
        try:
            for watcher in self.watchers if sys.exc_info()[0] is None else []:
                self.catch_up(watcher)
        finally:
            self.close()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.rig.run(self.board.close)
        self.rig.close()


def is_sent(connection: socket.socket | None) -> bool:
    """Return whether the kernel has sent all bytes. On one machine they have arrived then."""
    return connection is None or not any(fcntl.ioctl(connection, SIOCOUTQNSD, bytes(4)))


Lives.TestCase.settings = settings(
    max_examples=60, stateful_step_count=30, deadline=None, print_blob=True
)
test_any_life_of_board_and_hub = Lives.TestCase
