"""Viewer of the fleet page: what its script gets over HTTP and `/fleet/ws` (docs/protocol.md)."""

from __future__ import annotations

import asyncio
import contextlib
import json
import urllib.request
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from .view import View


class Page:
    """Viewer that `async with` connects and closes."""

    def __init__(self, port: int) -> None:
        self.view = View()
        self.bytes = 0
        """Of the texts that came over the socket."""
        self._port = port

    async def __aenter__(self) -> Page:
        self._socket = await connect(f"ws://127.0.0.1:{self._port}/fleet/ws", max_size=None)
        hello = json.loads(await self._socket.recv())
        assert hello["type"] == "hello"
        for pi in (await asyncio.to_thread(self._ask))["pis"]:
            self._whole(pi)
        self._task = asyncio.create_task(self._listen(self._socket))
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])
        await self._socket.close()

    def _ask(self) -> dict[str, Any]:
        with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/api/fleet") as answer:
            found: dict[str, Any] = json.load(answer)
        return found

    async def _listen(self, socket: ClientConnection) -> None:
        with contextlib.suppress(ConnectionClosed):
            async for text in socket:
                self.bytes += len(text)
                message = json.loads(text)
                if message["type"] == "news":
                    self._news(message)

    def _news(self, message: dict[str, Any]) -> None:
        for pi in message.get("pis", ()):
            self._whole(pi)
        for topic, pins in message.get("pins", {}).items():
            for name, (value, since) in pins.items():
                self.view.note_pin(topic, name, value, since)
        for topic in message.get("removed", ()):
            self.view.note_status(topic, False)

    def _whole(self, pi: dict[str, Any]) -> None:
        self.view.note_status(pi["topic"], pi["online"])
        for pin in pi["pins"]:
            self.view.note_pin(pi["topic"], pin["name"], pin["value"], pin["since"])
