"""Many simulated Pis in one process, each with the package's own MQTT bridge.

`python -m tests.bench.fleet.pis` takes commands as lines of JSON and answers each with one line;
see `pi_processes.py`. Edges come at random moments, as from independent Pis. A delay counts from
the moment at which the edge was due, so that a delay of this process is part of it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import ssl
import sys
import time
from collections.abc import Callable
from typing import Any

from raspi_server.config import schema
from raspi_server.gpio.pin import PinChange
from raspi_server.messages import Command, Health, PinInfo, ServerInfo, Value
from raspi_server.mqtt.bridge import LocalPi, MqttBridge
from raspi_server.mqtt.broker_config import BrokerConfig
from raspi_server.system.clock import wall_time

CONNECTIONS_PER_S = 200
"""Each connection begins in a thread. Real Pis do not connect in one moment either."""
PIS_PER_GROUP = 50


def topic_of(number: int) -> str:
    return f"farm/house-{number // PIS_PER_GROUP:02}/pi-{number:04}"


class Pi:
    """Pi with so many inputs, whose changes go to its bridge."""

    def __init__(self, number: int, pins: int, config: BrokerConfig) -> None:
        self.topic = topic_of(number)
        self._host = f"pi-{number:04}"
        self._values: list[Value] = [0] * pins
        self._moments: list[float | None] = [None] * pins
        settings = schema.MqttConfig(url=f"mqtt://{config.address}", topic=self.topic)
        pi = LocalPi(self._server, self._pins, self._health, self._carry_out)
        self.bridge = MqttBridge(settings, config, pi)

    def change(self, moment: float) -> None:
        """Change one of its pins."""
        number = random.randrange(len(self._values))
        value = 0 if self._values[number] else 1
        self._values[number], self._moments[number] = value, moment
        self.bridge.publish_change(PinChange(f"pin{number}", value, moment, None))

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

    def _health(self) -> Health:
        return Health(
            time=time.time(), temperature=51.2, throttled=[], load=0.2, memory=0.31, disk=0.4,
            uptime=86400.0, addresses=["192.168.1.17", self._host], viewers=0, status="ok",
            reasons=[],
        )  # fmt: skip

    def _carry_out(self, command: Command) -> asyncio.Future[Value]:
        raise NotImplementedError("these Pis accept no commands")


class Edges:
    """Random changes of all Pis together, at a given rate, from `start` to `stop`."""

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


class Commands:
    """Commands that `pi_processes.py` may send. Each method's name is a command; what it returns is
    the answer."""

    def __init__(self, config: BrokerConfig, pins: int) -> None:
        self._config = config
        self._pins = pins
        self._pis: list[Pi] = []
        self._edges = Edges(self._pis)

    async def add(self, first: int, count: int) -> None:
        """Connect more Pis, one after the other."""
        for number in range(first, first + count):
            pi = Pi(number, self._pins, self._config)
            self._pis.append(pi)
            pi.bridge.start()
            await asyncio.sleep(1 / CONNECTIONS_PER_S)

    async def edges(self, rate: float) -> None:
        if rate:
            self._edges.start(rate)
        else:
            self._edges.stop()

    async def count(self) -> dict[str, int]:
        bridges = [pi.bridge for pi in self._pis]
        return {
            "changes": self._edges.count,
            "connected": sum(bridge.is_connected for bridge in bridges),
            "kept": sum(bridge.kept for bridge in bridges),
            "lost": sum(bridge.lost_changes for bridge in bridges),
        }

    async def truth(self) -> dict[str, dict[str, tuple[Value, float | None]]]:
        return {pi.topic: pi.states() for pi in self._pis}

    async def leave(self) -> None:
        self._edges.stop()
        await asyncio.gather(*(pi.bridge.close() for pi in self._pis))


async def serve(config: BrokerConfig, pins: int) -> None:
    """Carry out one command after the other until the input ends."""
    commands = Commands(config, pins)
    lines = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    while line := await lines.readline():
        command: dict[str, Any] = json.loads(line)
        method: Callable[..., Any] = getattr(commands, command.pop("do"))
        print(json.dumps(await method(**command)), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.fleet.pis", description=__doc__)
    parser.add_argument("--port", type=int, required=True, help="of the broker, on 127.0.0.1")
    parser.add_argument("--pins", type=int, required=True, help="of each Pi")
    parser.add_argument("--ca", help="the broker's authority, for TLS")
    asked = parser.parse_args()
    context = ssl.create_default_context(cafile=asked.ca) if asked.ca else None
    asyncio.run(serve(BrokerConfig("127.0.0.1", asked.port, context=context), asked.pins))


if __name__ == "__main__":
    main()
