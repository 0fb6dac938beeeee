"""Program in the virtual Pi that watches pins like a browser and prints when it heard of edges.

viewer.py COUNT LIMIT touches /tmp/connected, reads COUNT changes for at most LIMIT seconds, and
prints JSON: the seconds from the time of each change, which is the kernel's, to its arrival.
"""

import asyncio
import contextlib
import json
import sys
import time
from pathlib import Path

from tornado.websocket import websocket_connect

COUNT, LIMIT_S = int(sys.argv[1]), float(sys.argv[2])
delays: list[float] = []


async def watch() -> None:
    socket = await websocket_connect("ws://127.0.0.1:8080/ws")
    Path("/tmp/connected").touch()
    while len(delays) < COUNT and (text := await socket.read_message()):
        arrived = time.time()
        message = json.loads(text)
        if message["type"] == "change":
            delays.append(arrived - message["time"])


async def main() -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(watch(), LIMIT_S)
    json.dump(delays, sys.stdout)


asyncio.run(main())
