"""The life of the appliance on one screen: builds the rooms in order, joins them, and takes them
down in reverse."""

import asyncio
import logging
import signal
import socket
import ssl
import time

from tornado.httpserver import HTTPServer
from tornado.ioloop import PeriodicCallback
from tornado.netutil import bind_sockets

from . import tls
from .auth import Auth
from .board import Board
from .clock import wall_time
from .config import Config
from .heartbeat import Heartbeat
from .hub import Hub
from .levels import Levels
from .messages import Change, Notice, State, Wellness
from .pinfactory import open_factory
from .site import BUILT_IN_WWW, Site
from .slots import Changed
from .ticker import Ticker
from .web import application

MAX_BODY = 64 * 1024
LOOK_EVERY = 1.0
"""Seconds between two looks at the inputs while nobody watches, and two tries at a lost pin."""
HEALTH_EVERY = 5.0
GOODBYE = 1.0
"""Seconds for the viewers to answer the goodbye. A stop takes at most twice this."""

GOING_AWAY = 1001
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)

log = logging.getLogger(__name__)


class CannotListen(OSError):
    """The address is not to be had now; it may be later."""


class Appliance:
    """One running server. `port` 0 takes any free one. Raises CertificateError and CannotListen
    before any pin is touched."""

    def __init__(self, config: Config, port: int) -> None:
        loop = asyncio.get_running_loop()
        self._config = config
        self._context: ssl.SSLContext | None = None
        if config.certificate:
            self._context = tls.server_context(config.certificate)
        self._sockets = listen(config.address, port)
        self._seq = 0
        self._heartbeat = Heartbeat(loop.call_soon_threadsafe)
        self._levels = Levels.from_environment()
        self._factory = open_factory(config.gpio)
        self._hub = Hub(self._watched)
        self.board = Board(
            config.pins, self._factory, self._levels, loop, self._changed, self._remade
        )
        self._site = Site(
            board=self.board,
            hub=self._hub,
            auth=Auth(config.access),
            interval=config.interval,
            www=tuple(dict.fromkeys((config.www, BUILT_IN_WWW))),
            notices=self._notices,
            wellness=self._wellness,
        )
        self._server = HTTPServer(
            application(self._site),
            ssl_options=self._context,
            max_body_size=MAX_BODY,
            idle_connection_timeout=120,
            body_timeout=20,
        )
        self._ticker = Ticker(self._show_state, config.interval)
        self._slow = [
            PeriodicCallback(self._look, LOOK_EVERY * 1000),
            PeriodicCallback(lambda: self._hub.show(self._site.health()), HEALTH_EVERY * 1000),
        ]

    async def run(self) -> None:
        """Serves until SIGTERM or SIGINT."""
        stopping = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in STOP_SIGNALS:
            loop.add_signal_handler(number, stopping.set)
        self._server.add_sockets(self._sockets)
        for callback in self._slow:
            callback.start()
        self._announce()
        self._heartbeat.start()
        self._heartbeat.ready()
        await stopping.wait()
        await self._stop()

    async def _stop(self) -> None:
        log.info("stopping")
        self._heartbeat.stop()
        self._server.stop()
        self._ticker.stop()
        for callback in self._slow:
            callback.stop()
        self.board.close()
        self._factory.close()
        self._levels.save(time.monotonic())
        self._hub.close(GOING_AWAY, "the server is stopping")
        try:
            async with asyncio.timeout(GOODBYE):
                await self._hub.empty()
                await self._server.close_all_connections()
        except TimeoutError:
            log.debug("%d viewers did not say goodbye", len(self._hub))
        for number in STOP_SIGNALS:
            # Nothing that comes now is to turn a clean end into a failed one.
            asyncio.get_running_loop().remove_signal_handler(number)
            signal.signal(number, signal.SIG_IGN)

    def _watched(self, by_somebody: bool) -> None:
        """The broadcast runs only while somebody is connected."""
        if by_somebody:
            self._ticker.start()
        else:
            self._ticker.stop()

    def _next_seq(self) -> int:
        self._seq += 1
        return self._seq

    def _show_state(self) -> None:
        self.board.look()
        self._hub.show(State(self._next_seq(), round(time.time(), 6), self.board.values()))

    def _look(self) -> None:
        now = time.monotonic()
        if not self._hub:
            self.board.look()
        self.board.try_again()
        self._hub.look_after(now)
        if self._levels.is_due(now):
            asyncio.get_running_loop().run_in_executor(None, self._levels.save, now)

    def _changed(self, changed: Changed) -> None:
        moment = wall_time(changed.moment)
        self._hub.send(Change(self._next_seq(), moment, changed.pin, changed.value, changed.by))

    def _remade(self) -> None:
        """A pin was lost or came back: everyone begins anew."""
        self._hub.send(self._site.hello())

    def _notices(self) -> tuple[Notice, ...]:
        notices = []
        if self._factory.simulated:
            message = "The pins are simulated: nothing real is read or switched"
            notices.append(Notice("simulated", message))
        if self._config.certificate and self._context:
            complaint = tls.validity(self._config.certificate, self._context)
            if complaint:
                notices.append(Notice("certificate", complaint))
        return tuple(notices)

    def _wellness(self) -> Wellness:
        if not self._heartbeat.is_alive:
            return Wellness("failing", ["the heartbeat thread has ended"])
        reasons = [f"{slot}: {slot.error}" for slot in self.board if slot.error]
        reasons += [notice.message for notice in self._notices() if notice.code != "simulated"]
        return Wellness("degraded" if reasons else "ok", reasons)

    def _announce(self) -> None:
        for notice in self._notices():
            log.warning("%s", notice.message)
        if not self._config.www.is_dir():
            log.info("%s: no such folder; only the built-in pages are served", self._config.www)
        scheme = "https" if self._context else "http"
        port = self._sockets[0].getsockname()[1]
        hosts = [self._config.address] if self._config.address else reachable_hosts()
        addresses = [f"{scheme}://{_in_url(host)}:{port}/" for host in hosts]
        log.info("%d pins, serving %s", len(self._config.pins), " ".join(addresses))


def listen(address: str, port: int) -> list[socket.socket]:
    """Listening sockets on one address, or on all of IPv4 and IPv6. Raises CannotListen."""
    try:
        return bind_sockets(port, address or None, backlog=1024)
    except OSError as error:
        where = f"port {port}" if not address else f"{_in_url(address)}:{port}"
        if isinstance(error, PermissionError):
            hint = (
                "ports below 1024 need the capability CAP_NET_BIND_SERVICE:"
                " sudo systemctl edit raspi-server, AmbientCapabilities=CAP_NET_BIND_SERVICE"
            )
            raise CannotListen(f"{where}: {error.strerror} ({hint})") from None
        raise CannotListen(f"{where}: {error.strerror}") from None


def reachable_hosts() -> list[str]:
    """Names and addresses to tell people: this machine itself, and how others reach it."""
    hosts = ["127.0.0.1"]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # TEST-NET-1; a datagram socket sends nothing here
            hosts.append(probe.getsockname()[0])
        except OSError:
            pass  # no network yet: only this machine reaches it
    hosts.append(f"{socket.gethostname().partition('.')[0]}.local")
    return list(dict.fromkeys(hosts))


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host
