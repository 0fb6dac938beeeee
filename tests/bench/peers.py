"""The other Python servers, each as its documentation sends to many: one message encoded once, to
every socket. Run by the Python of a virtual environment of their own, as `tornados.py` is."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable

from .common import INTERVAL, StateMessage, announce, main


def run_websockets(message: StateMessage, tls: ssl.SSLContext | None) -> None:
    """Websockets' `broadcast`, which neither waits for a slow one nor makes a task for each."""
    from websockets.asyncio.server import ServerConnection, broadcast, serve

    clients: set[ServerConnection] = set()

    async def hear(connection: ServerConnection) -> None:
        clients.add(connection)
        try:
            await connection.wait_closed()
        finally:
            clients.discard(connection)

    async def run() -> None:
        async with serve(hear, "127.0.0.1", 0, ssl=tls, compression=None, backlog=1024) as server:
            announce(server.sockets[0].getsockname()[1], tls)
            await _tick(lambda: broadcast(clients, message.next()))

    asyncio.run(run())


def run_aiohttp(message: StateMessage, tls: ssl.SSLContext | None) -> None:
    """Aiohttp's `send_str` for each socket, awaited as it has to be."""
    from aiohttp import web

    clients: set[web.WebSocketResponse] = set()

    async def hear(request: web.Request) -> web.WebSocketResponse:
        connection = web.WebSocketResponse(compress=False)
        await connection.prepare(request)
        clients.add(connection)
        try:
            async for _ in connection:
                pass
        finally:
            clients.discard(connection)
        return connection

    async def run() -> None:
        application = web.Application()
        application.router.add_get("/ws", hear)
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls, backlog=1024)
        await site.start()
        announce(runner.addresses[0][1], tls)
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            due = max(due + INTERVAL, loop.time())
            await asyncio.sleep(due - loop.time())
            text = message.next()
            for client in tuple(clients):
                await client.send_str(text)

    asyncio.run(run())


def run_picows(message: StateMessage, tls: ssl.SSLContext | None) -> None:
    """Picows' `send` for each transport, in Cython."""
    from picows import WSListener, WSMsgType, WSTransport, WSUpgradeRequest, ws_create_server

    clients: set[WSTransport] = set()

    class Hearer(WSListener):  # type: ignore[misc]
        def on_ws_connected(self, transport: WSTransport) -> None:
            self.transport = transport
            clients.add(transport)

        def on_ws_disconnected(self, transport: WSTransport) -> None:
            clients.discard(transport)

    def welcome(request: WSUpgradeRequest) -> WSListener:
        return Hearer()

    async def run() -> None:
        server = await ws_create_server(welcome, "127.0.0.1", 0, ssl=tls, backlog=1024)
        announce(server.sockets[0].getsockname()[1], tls)

        def tell() -> None:
            text = message.next().encode()
            for client in clients:
                client.send(WSMsgType.TEXT, text)

        await _tick(tell)

    asyncio.run(run())


async def _tick(tell: Callable[[], object]) -> None:
    loop = asyncio.get_running_loop()
    due = loop.time()
    while True:
        due = max(due + INTERVAL, loop.time())
        await asyncio.sleep(due - loop.time())
        tell()


if __name__ == "__main__":
    main(
        {"websockets": run_websockets, "aiohttp": run_aiohttp, "picows": run_picows},
        __doc__,
    )
