"""Board and hub together through random lives: whoever watches, sleeps, leaves or is cut off, each
viewer gets every change since it came, in order, and states that only get newer."""

import asyncio
import contextlib
import socket
import struct

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from raspi_server.board import Board
from raspi_server.hub import LONGEST_BEHIND
from raspi_server.levels import Levels
from raspi_server.messages import Change, Drive, Pulse, Set, State, Toggle
from raspi_server.pinfactory import SimulatedFactory
from raspi_server.slots import Changed

from .board_rig import parse
from .test_hub import Rig

PINS = "  door: {gpio: 0, mode: input}\n  gate: {gpio: 1, mode: output, pulse: 2}\n" + "".join(
    f"  a-lamp-with-a-long-name-{n:02}: {{gpio: {n}, mode: output}}\n" for n in range(2, 28)
)
LAMPS = [f"a-lamp-with-a-long-name-{n:02}" for n in range(2, 28)]


class Watcher:
    """What one viewer is to get, by the model, and its end of the socket."""

    def __init__(self, end: socket.socket, index: int) -> None:
        self.end = end
        self.index = index
        self.owed: list[tuple[int, str, float]] = []
        self.shown: set[int] = set()
        self.last = 0


class Lives(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.rig = Rig()
        self.seq = 0
        self.watchers: list[Watcher] = []
        self.board = Board(
            parse(PINS).pins,
            SimulatedFactory(),
            Levels(None, None),
            self.rig.loop,
            self.changed,
            lambda: None,
        )

    def next_seq(self) -> int:
        self.seq += 1
        return self.seq

    def changed(self, changed: Changed) -> None:
        seq = self.next_seq()
        assert changed.value is not None
        for watcher in self.watchers:
            watcher.owed.append((seq, changed.pin, changed.value))
        self.rig.hub.send(Change(seq, changed.moment, changed.pin, changed.value, changed.by))

    def is_cut_off(self, watcher: Watcher) -> bool:
        return self.rig.connections[watcher.index].is_closing()

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
            seq = self.next_seq()
            for watcher in self.watchers:
                watcher.shown.add(seq)
            self.rig.run(lambda seq=seq: self.rig.hub.show(State(seq, 0.0, self.board.values())))

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
            and now - since > LONGEST_BEHIND
        }
        for viewer in self.rig.viewers:
            viewer.heard()  # pings have their own test
        before = {watcher.index for watcher in self.watchers if self.is_cut_off(watcher)}
        self.rig.run(lambda: self.rig.hub.look_after(now))
        after = {watcher.index for watcher in self.watchers if self.is_cut_off(watcher)}
        assert after - before <= waiting

    @precondition(lambda self: self.watchers)
    @rule(data=st.data())
    def read(self, data: st.DataObject) -> None:
        """One viewer reads all there is: every change owed, and no state older than before."""
        watcher = data.draw(st.sampled_from(self.watchers))
        was_cut_off = self.is_cut_off(watcher)
        data_read = self.rig.read(watcher.end) if not was_cut_off else []
        got = [message for message in data_read if "seq" in message]
        seqs = [message["seq"] for message in got]
        assert seqs == sorted(set(seqs))
        changes = [(m["seq"], m["pin"], m["value"]) for m in got if m["type"] == "change"]
        states = {m["seq"] for m in got if m["type"] == "state"}
        assert states <= watcher.shown
        if not was_cut_off:
            assert changes == watcher.owed
            assert not seqs or seqs[0] > watcher.last
            watcher.last = max([watcher.last, *seqs])
        watcher.owed.clear()
        watcher.shown.clear()
        if was_cut_off:
            self.leave(watcher)

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
    def who_reads_sees_the_present(self) -> None:
        """Whoever has nothing queued may be written to at once."""
        for watcher in self.watchers:
            if not self.is_cut_off(watcher):
                viewer = self.rig.viewers[watcher.index]
                stream = self.rig.connections[watcher.index].stream
                assert viewer.is_free != stream.writing()

    @invariant()
    def watched_while_somebody_is_there(self) -> None:
        if self.rig.watched:
            assert self.rig.watched[-1] == bool(self.watchers)

    def teardown(self) -> None:
        with contextlib.suppress(OSError):
            self.rig.run(self.board.close)
        self.rig.close()


Lives.TestCase.settings = settings(
    max_examples=60, stateful_step_count=30, deadline=None, print_blob=True
)
test_any_life_of_board_and_hub = Lives.TestCase
