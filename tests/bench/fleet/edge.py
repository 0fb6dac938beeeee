"""Delay from an edge on one real server to a subscriber at the broker."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator

from websockets.asyncio.client import connect

from .figures import Row, quantile
from .programs import raspi_server
from .rig import Rig
from .subscriber import Subscriber

CONFIG = """
address: 127.0.0.1
access: {{view: everyone, control: everyone}}
mqtt: {{url: "mqtt://127.0.0.1:{port}", topic: edge/pi}}
pins:
  door: {{gpio: 17, mode: input}}
"""
EDGE_INTERVAL_S = 0.02
TIMEOUT_S = 30.0


async def measure(rig: Rig, count: int) -> list[float]:
    """Return the delays of so many edges, from the edge to a client at the broker, sorted."""
    subscriber = Subscriber(rig.broker.plain_port, "edge/#")
    try:
        async with (
            raspi_server(rig.folder / "edge", CONFIG.format(port=rig.broker.plain_port)) as server,
            asyncio.timeout(TIMEOUT_S + count * EDGE_INTERVAL_S),
            connect(f"ws://127.0.0.1:{server.port}/ws") as viewer,
        ):
            while not subscriber.view.online.get("edge/pi"):
                subscriber.view.more.clear()
                await subscriber.view.more.wait()
            subscriber.view.count_from(time.time())
            for number in range(count):
                command = {"type": "drive", "pin": "door", "value": 1 - number % 2}
                await viewer.send(json.dumps(command))
                await asyncio.sleep(EDGE_INTERVAL_S)
            while len(subscriber.view.delays) < count:
                subscriber.view.more.clear()
                await subscriber.view.more.wait()
        return sorted(subscriber.view.delays)
    finally:
        await subscriber.close()


def rows(delays: list[float]) -> Iterator[Row]:
    middle, last = (quantile(delays, share) * 1e3 for share in (0.5, 0.99))
    words = f"p50 {middle:.1f} ms, p99 {last:.1f} ms, most {delays[-1] * 1e3:.1f} ms"
    yield Row("edge on a real server to a client at the broker", words, "out within 5 ms")
