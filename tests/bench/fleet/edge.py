"""One real server: how long from an edge until its change is out at the broker, and heard there."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator

from websockets.asyncio.client import connect

from .ear import Ear
from .figures import Row, quantile
from .programs import raspi_server
from .rig import Rig

HOUSE = """
address: 127.0.0.1
access: {{view: everyone, control: everyone}}
mqtt: {{url: "mqtt://127.0.0.1:{port}", topic: edge/pi}}
pins:
  door: {{gpio: 17, mode: input}}
"""
EVERY = 0.02
LIMIT = 30.0


async def measure(rig: Rig, count: int) -> list[float]:
    """The delays of so many edges, from the edge to a client at the broker, sorted."""
    ear = Ear(rig.broker.plain_port, "edge/#")
    try:
        async with (
            raspi_server(rig.folder / "edge", HOUSE.format(port=rig.broker.plain_port)) as server,
            asyncio.timeout(LIMIT + count * EVERY),
            connect(f"ws://127.0.0.1:{server.port}/ws") as viewer,
        ):
            while not ear.view.online.get("edge/pi"):
                ear.view.more.clear()
                await ear.view.more.wait()
            ear.view.count_from(time.time())
            for number in range(count):
                order = {"type": "drive", "pin": "door", "value": 1 - number % 2}
                await viewer.send(json.dumps(order))
                await asyncio.sleep(EVERY)
            while len(ear.view.delays) < count:
                ear.view.more.clear()
                await ear.view.more.wait()
        return sorted(ear.view.delays)
    finally:
        await ear.close()


def rows(delays: list[float]) -> Iterator[Row]:
    middle, last = (quantile(delays, share) * 1e3 for share in (0.5, 0.99))
    told = f"p50 {middle:.1f} ms, p99 {last:.1f} ms, most {delays[-1] * 1e3:.1f} ms"
    yield Row("edge on a real server to a client at the broker", told, "out within 5 ms")
