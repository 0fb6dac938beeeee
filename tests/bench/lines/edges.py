"""An edge on its way to many viewers, from the moment one of them asks the simulated pin for it;
and a press that is shorter than the interval."""

from __future__ import annotations

import random
import time

from ..contenders import INPUT, Rig
from ..reader import ProtocolError, Reader
from ..table import Findings, Row, Spread

EDGES = 15
PRESS = 0.02  # seconds
LIMIT = 5.0
CHANGE = '{"type":"change",'


class Arrivals:
    """Times and contents of the changes that each viewer received."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self.times: list[float] = []
        self.heard: dict[int, list[bytes]] = {}
        reader.on_text = self._note

    def expect(self, each: int) -> None:
        """Read until every viewer has received `each` changes."""
        end = time.monotonic() + LIMIT
        while len(self.times) < each * len(self._reader) and time.monotonic() < end:
            self._reader.read_for(0.002)
        if len(self.times) < each * len(self._reader):
            raise ProtocolError(f"an edge reached {len(self.times)} of {len(self._reader)}")

    def clear(self) -> None:
        self.times, self.heard = [], {}

    def _note(self, number: int, payload: bytes) -> None:
        if payload.startswith(CHANGE.encode()):
            self.times.append(time.monotonic())
            self.heard.setdefault(number, []).append(payload[payload.index(b'"value"') :])


def measure(rig: Rig, viewers: int, rounds: int) -> Findings:
    first, last, presses, seen = [], [], 0, 0
    with (
        rig.running(rig.ours()) as server,
        Reader(server.port, viewers, fully_read=viewers) as reader,
    ):
        arrivals = Arrivals(reader)
        reader.read_for(0.5)
        value = 0
        for _ in range(rounds):
            firsts, lasts = [], []
            for _ in range(EDGES):
                value = 1 - value
                reader.read_for(0.1 + random.random() * 0.1)  # at any moment between two ticks
                arrivals.clear()
                began = time.monotonic()
                reader.send(_drive(value))
                arrivals.expect(1)
                firsts.append(min(arrivals.times) - began)
                lasts.append(max(arrivals.times) - began)
            first.append(Spread(firsts).median * 1000)
            last.append(max(lasts) * 1000)
            arrivals.clear()
            reader.send(_drive(1 - value))
            reader.read_for(PRESS)
            reader.send(_drive(value))
            arrivals.expect(2)
            presses += 1
            seen += sum(
                len(heard) == 2 and heard[0] != heard[1] for heard in arrivals.heard.values()
            )
    return Findings(
        [
            Row(
                f"an edge reaching {viewers:,} viewers: the first",
                f"after {Spread(first).text(2, ' ms')}",
                "within 2 ms",
                Spread(first).median <= 2,
            ),
            Row(
                f"an edge reaching {viewers:,} viewers: all, the slowest of {EDGES} edges",
                f"after {Spread(last).text(1, ' ms')}",
                "within 40 ms",
                Spread(last).median <= 40,
            ),
            Row(
                f"a press of {PRESS * 1000:.0f} ms, shorter than the interval",
                f"both edges seen by {seen:,} of {presses * viewers:,}",
                "by all",
                seen == presses * viewers,
            ),
        ]
    )


def _drive(value: int) -> str:
    return f'{{"type":"drive","pin":"{INPUT}","value":{value}}}'
