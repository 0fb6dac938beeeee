"""Many Pis in one process: each has the package's own room for MQTT and a house of simulated
values.

`python -m tests.bench.fleet.pis` takes orders as lines of JSON and answers each with one line; see
`crowd.py`. Edges come as they do from Pis that know nothing of each other, at random moments, and
the moment that counts is the one at which the edge was due: what this process is late is part of
what is measured.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import random
import ssl
import sys
import time
from collections.abc import Callable
from typing import Any

from raspi_server.config import schema
from raspi_server.gpio.pin import Changed
from raspi_server.messages import Command, Health, PinInfo, ServerInfo, Value
from raspi_server.mqtt.bridge import House, Mqtt
from raspi_server.mqtt.broker_config import Account
from raspi_server.system.clock import wall_time

STARTED_A_SECOND = 200
"""Each connection is begun by a thread; Pis that are switched on together do not dial together."""
PIS_IN_A_GROUP = 50


def topic_of(number: int) -> str:
    return f"farm/house-{number // PIS_IN_A_GROUP:02}/pi-{number:04}"


class Pi:
    """One Pi with so many inputs, of which each change is told to its room."""

    def __init__(self, number: int, pins: int, account: Account) -> None:
        self.topic = topic_of(number)
        self._host = f"pi-{number:04}"
        self._values: list[Value] = [0] * pins
        self._moments: list[float | None] = [None] * pins
        settings = schema.Mqtt(url=f"mqtt://{account}", topic=self.topic)
        house = House(self._server, self._pins, self._report, self._carry_out)
        self.room = Mqtt(settings, account, house)

    def change(self, moment: float) -> None:
        """One of its pins changes."""
        number = random.randrange(len(self._values))
        value = 0 if self._values[number] else 1
        self._values[number], self._moments[number] = value, moment
        self.room.changed(Changed(f"pin{number}", value, moment, None))

    def states(self) -> dict[str, tuple[Value, float | None]]:
        times = [None if moment is None else wall_time(moment) for moment in self._moments]
        pairs = zip(self._values, times, strict=True)
        return {f"pin{number}": pair for number, pair in enumerate(pairs)}

    def _server(self) -> ServerInfo:
        return ServerInfo("raspi-server", "0.0.0", self._host, True, ())

    def _pins(self) -> list[PinInfo]:
        return [
            PinInfo(name=name, label=f"Sensor {name[3:]}", gpio=number, header=number + 3,
                mode="input", value=value, since=since, writable=False)
            for number, (name, (value, since)) in enumerate(self.states().items())
        ]  # fmt: skip

    def _report(self) -> Health:
        return Health(
            time=time.time(), temperature=51.2, throttled=[], load=0.2, memory=0.31, disk=0.4,
            uptime=86400.0, addresses=["192.168.1.17", self._host], viewers=0, status="ok",
            reasons=[],
        )  # fmt: skip

    def _carry_out(self, order: Command) -> asyncio.Future[Value]:
        raise NotImplementedError("these Pis only tell")


class Edges:
    """Changes of pins at so many a second, of all Pis together, from `start` to `stop`."""

    def __init__(self, pis: list[Pi]) -> None:
        self.count = 0
        self._pis = pis
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._rate = 0.0
        self._due = 0.0

    def start(self, rate: float) -> None:
        self.stop()
        self._rate = rate
        self._due = self._loop.time()
        self._wait()

    def stop(self) -> None:
        if self._timer:
            self._timer.cancel()

    def _wait(self) -> None:
        self._due += random.expovariate(self._rate)
        self._timer = self._loop.call_at(self._due, self._change)

    def _change(self) -> None:
        now = self._loop.time()  # the monotonic clock, as that of edges
        while self._due <= now:
            random.choice(self._pis).change(self._due)
            self.count += 1
            self._due += random.expovariate(self._rate)
        self._timer = self._loop.call_at(self._due, self._change)


class Orders:
    """What `crowd.py` may ask for; each method's name is an order, and what it returns the
    answer."""

    def __init__(self, account: Account, pins: int) -> None:
        self._account = account
        self._pins = pins
        self._pis: list[Pi] = []
        self._edges = Edges(self._pis)

    async def add(self, first: int, count: int) -> None:
        """More Pis come to the broker, not all at once."""
        for number in range(first, first + count):
            pi = Pi(number, self._pins, self._account)
            self._pis.append(pi)
            pi.room.start()
            await asyncio.sleep(1 / STARTED_A_SECOND)

    async def edges(self, rate: float) -> None:
        if rate:
            self._edges.start(rate)
        else:
            self._edges.stop()

    async def count(self) -> dict[str, int]:
        rooms = [pi.room for pi in self._pis]
        return {
            "changes": self._edges.count,
            "connected": sum(room.is_connected for room in rooms),
            "kept": sum(room.kept for room in rooms),
            "lost": sum(room.lost_changes for room in rooms),
        }

    async def truth(self) -> dict[str, dict[str, tuple[Value, float | None]]]:
        return {pi.topic: pi.states() for pi in self._pis}

    async def leave(self) -> None:
        self._edges.stop()
        await asyncio.gather(*(pi.room.close() for pi in self._pis))


async def obey(account: Account, pins: int) -> None:
    """Carries out one order after the other, until there is no one to give any."""
    orders = Orders(account, pins)
    lines = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    while line := await lines.readline():
        order: dict[str, Any] = json.loads(line)
        method: Callable[..., Any] = getattr(orders, order.pop("do"))
        print(json.dumps(await method(**order)), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.fleet.pis", description=__doc__)
    parser.add_argument("--port", type=int, required=True, help="of the broker, on 127.0.0.1")
    parser.add_argument("--pins", type=int, required=True, help="of each Pi")
    parser.add_argument("--ca", help="the broker's authority, for TLS")
    asked = parser.parse_args()
    context = ssl.create_default_context(cafile=asked.ca) if asked.ca else None
    import os

    logging.basicConfig(
        filename=f"/tmp/pis-{os.getpid()}.log",
        format="%(created).2f %(message)s",
        level=logging.INFO,
    )
    asyncio.run(obey(Account("127.0.0.1", asked.port, context=context), asked.pins))


if __name__ == "__main__":
    main()
