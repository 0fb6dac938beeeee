"""The life of the appliance: builds the rooms in order, joins them, gives them another
configuration while they run, and takes them down in reverse."""

import asyncio
import logging
import signal
import time
from collections.abc import Coroutine, Sized
from typing import TYPE_CHECKING

from msgspec import Raw
from tornado.httpserver import HTTPServer
from tornado.httputil import (
    ParseBodyConfig,
    ParseMultipartConfig,
    ParseUrlEncodedConfig,
    set_parse_body_config,
)
from tornado.web import Application

from .config.schema import Config, ConfigError
from .config.schema import Mqtt as MqttSettings
from .config.source import Source
from .gpio.backend import open_factory
from .gpio.board import Board
from .gpio.history import History
from .gpio.output_state import Levels
from .gpio.pin import Changed
from .limits import DEFAULT, Limits
from .messages import BROKER_TROUBLE, Change, Notice, State, Wellness, encode
from .net.connections import MOST_PIECES, READ_AT_ONCE, Guests
from .net.hub import Hub
from .net.listener import CannotListen, Doors, in_url, reachable_hosts
from .security import tls
from .security.access import Auth
from .security.codes import Codes
from .security.sessions import Sessions
from .security.sign_in_links import Links
from .security.tls import CertificateError, Identity
from .system import logs, storage
from .system.clock import wall_time
from .system.systemd import Heartbeat
from .system.ticker import Ticker
from .web.context import BUILT_IN_WWW, RESTARTED, Site
from .web.routes import application, plain_application

if TYPE_CHECKING:
    from .mqtt.bridge import MqttBridge
    from .mqtt.broker_config import BrokerConfig
    from .mqtt.fleet_watcher import FleetWatcher
    from .web.metrics import Metrics

IDLE_TIMEOUT = 60.0
BODY_TIMEOUT = 20.0
"""Seconds for a silent connection, a handshake or the head of a request; and for its body."""
MAX_HEAD = 16 * 1024
"""Bytes of a request's head."""
LOOK_EVERY = 1.0
"""Seconds between two looks at the inputs, for edges that got lost, and two tries at a lost pin.
While somebody watches, a longer interval is the time between two looks."""
HEALTH_EVERY = 5.0
CERTIFICATE_EVERY = 60.0
"""Seconds; a certificate expires, and a Pi's clock is right only some time after the start."""
GOODBYE = 1.0
"""Seconds for the viewers to answer the goodbye."""
LATE_TICKS = 3
LATE = 2.0
"""So many intervals, and so many seconds, without a tick while somebody watches are a failure."""

_FAULTY = "config.yaml has faults, so an earlier one runs: sudo raspi-server doctor says which"
"""The words for callers who may not switch, and for all at the broker."""
_INTENDED = ("simulated", "open")
"""Notices of what somebody wants to be so."""
GOING_AWAY = 1001
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)

log = logging.getLogger(__name__)


class Appliance:
    """One running server. `source` is asked again on SIGHUP, None for a demo; `fault` says why the
    last good configuration runs, if it does. Raises ConfigError for a broker's files before it does
    anything, and CertificateError and CannotListen before any pin is touched."""

    def __init__(
        self,
        config: Config,
        source: Source | None = None,
        fault: ConfigError | None = None,
        limits: Limits = DEFAULT,
    ) -> None:
        loop = asyncio.get_running_loop()
        account = _account(config)
        self._config = config
        self._source = source
        self._limits = limits
        self._complaint = ""
        if source and fault:
            self._complain(f"{source.file} has faults: the last good configuration runs", fault)
        self._stopping = asyncio.Event()
        self._hurrying = asyncio.Event()
        # Not the loop's own handlers: it would put back the default ones, which kill, at its end.
        for number in STOP_SIGNALS:
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(self._told_to_stop))
        signal.signal(signal.SIGHUP, lambda *_: loop.call_soon_threadsafe(self.reload))
        self._heartbeat = Heartbeat(loop.call_soon_threadsafe, self._check)
        identity = _identity(config)
        self._guests = Guests()
        self._doors = self._new_doors(config, identity)
        self._seq = 0
        self._values: Raw | None = None
        """All pins' values, encoded, until one changes: of a tick without a change the rest costs
        half as much when the processor's caches are cold."""
        self._mqtt: MqttBridge | None = None
        self._lookout: FleetWatcher | None = None
        self._metrics: Metrics | None = None
        self._leaving: asyncio.Future[None] | None = None
        self._parting: set[asyncio.Future[None]] = set()
        self._auth = Auth(
            config.access,
            Codes(storage.state_folder()),
            Sessions(storage.state_folder()),
            Links(storage.run_folder()),
            self._guests,
        )
        self._levels = Levels.from_environment()
        self._hub = Hub(self._watched)
        self._history = History()
        self.board = self._new_board(config)
        self._take_stock()
        self._site = Site(
            board=self.board,
            history=self._history,
            hub=self._hub,
            auth=self._auth,
            interval=config.interval,
            www=_www(config),
            identity=identity,
            notices=self._notices,
            wellness=self._wellness,
            hosts=self._hosts,
            urls=self._urls,
        )
        self._auth.speak(self._site.scheme)
        self._join_broker(config.mqtt, account)
        if config.metrics:
            self._metrics = self._site.metrics = self._new_metrics()
        self._complaint_of_certificate = self._site.complaint()
        self._server = _server(application(self._site))
        self._plain_server = _server(plain_application(self._site))
        self._ticker = Ticker(self._show_state, config.interval)
        self._ticked = loop.time()
        self._slow = (
            Ticker(self._look, LOOK_EVERY, yields=True),
            Ticker(self._every_minute, CERTIFICATE_EVERY, yields=True),
            Ticker(lambda: self._hub.show(self._site.health()), HEALTH_EVERY, yields=True),
        )

    async def run(self) -> None:
        """Serves until SIGTERM or SIGINT."""
        for ticker in self._slow:
            ticker.start()
        self._doors.open()
        if self._mqtt:
            self._mqtt.start()
        if self._source and not self._complaint:
            self._source.keep()
        self._announce()
        self._heartbeat.ready()
        await self._stopping.wait()
        await self._stop()

    def reload(self) -> None:
        """Takes the configuration as it stands in the file now, or says why not and runs on."""
        if self._source is None or self._stopping.is_set():
            log.info("%s", "no reload while stopping" if self._source else "nothing to reload")
            return
        self._heartbeat.reloading()
        self._auth.read_codes()
        try:
            self._become(self._source.load())
        except (ConfigError, CertificateError, CannotListen) as error:
            self._complain(f"{self._source.file} was not taken: what ran before runs on", error)
            if isinstance(error, ConfigError):
                self._renew_certificate()
        else:
            self._complaint = ""
            self._source.keep()
            self._announce()
        self._remade()
        self._heartbeat.ready()

    def _become(self, config: Config) -> None:
        """First all that may fail, then what cannot."""
        identity = _identity(config)
        account = _account(config)
        self._move(config)
        self._show(identity)
        before, self._config = self._config, config
        logs.set_level(config.log_level)
        if config.gpio == before.gpio:
            self.board.reconfigure(config.pins)
        else:
            self.board.close()
            self._site.board = self.board = self._new_board(config)
        self._auth.access = config.access
        self._site.www = _www(config)
        if config.interval != before.interval:
            self._site.interval = config.interval
            self._ticker.stop()
            self._ticker = Ticker(self._show_state, config.interval)
            self._watched(bool(self._hub))
        if config.mqtt != before.mqtt or account != (self._mqtt and self._mqtt.config):
            self._leave_broker(RESTARTED, "the configuration has changed")
            self._join_broker(config.mqtt, account)
            if self._mqtt:
                self._mqtt.start(self._leaving)
        if self._lookout:
            self._lookout.renew()
        if config.metrics != before.metrics:
            self._metrics = self._site.metrics = self._new_metrics() if config.metrics else None

    def _renew_certificate(self) -> None:
        """A certificate is renewed also while the file is faulty, which may be for long."""
        try:
            self._show(_identity(self._config))
        except CertificateError as error:
            log.error("%s; the one before is served on", error)

    def _show(self, identity: Identity | None) -> None:
        """To those who come from now on; where the scheme is another, those who are here go."""
        before = self._site.scheme
        self._site.identity = identity
        self._doors.context = identity and identity.context
        self._complaint_of_certificate = self._site.complaint()
        if self._site.scheme != before:
            self._change_scheme()

    def _change_scheme(self) -> None:
        """Close all that came by the scheme of before, and end their sessions."""
        self._auth.speak(self._site.scheme)
        for hub in (self._hub, *([self._lookout.hub] if self._lookout else ())):
            hub.cut(RESTARTED, f"this server speaks {self._site.scheme} now")
        # Closing all of a server's connections takes some turns of the loop, in which new ones of
        # the new scheme come: those get servers of their own.
        before = (self._server, self._plain_server)
        self._server = _server(application(self._site))
        self._plain_server = _server(plain_application(self._site))
        parting = asyncio.ensure_future(_all([each.close_all_connections() for each in before]))
        self._parting.add(parting)  # the loop itself would not keep it
        parting.add_done_callback(self._parting.discard)

    def _move(self, config: Config) -> None:
        """Opens the doors at another address, if that is asked for, and only then shuts the old."""
        before = self._config
        if (config.address, config.port) == (before.address, before.port):
            return
        is_in_our_way = config.port == before.port
        if is_in_our_way:
            self._doors.close()
        try:
            doors = self._new_doors(config, self._site.identity)
        except CannotListen:
            if is_in_our_way:
                self._doors = self._new_doors(before, self._site.identity)
                self._doors.open()
            raise
        self._doors.close()
        self._doors = doors
        doors.open()

    async def _stop(self) -> None:
        self._heartbeat.stop()
        log.info("stopping")
        self._doors.close()
        for ticker in (self._ticker, *self._slow):
            ticker.stop()
        self.board.close()
        self._levels.save(time.monotonic())
        await asyncio.sleep(0)  # whose command waited is told, and only then bidden goodbye
        self._hub.close(GOING_AWAY, "the server is stopping")
        waiting = [
            asyncio.ensure_future(self._goodbyes()),
            asyncio.ensure_future(self._hurrying.wait()),
        ]
        await asyncio.wait(waiting, timeout=GOODBYE, return_when=asyncio.FIRST_COMPLETED)
        for each in waiting:
            each.cancel()
        # Whoever still asks, or reads an answer, finds the connection closed; a handler that was
        # cancelled in the middle of an answer would stand in the log as a failure of ours.
        servers = (self._server, self._plain_server)
        closing = asyncio.ensure_future(_all([each.close_all_connections() for each in servers]))
        await asyncio.wait([closing], timeout=GOODBYE)
        for number in (*STOP_SIGNALS, signal.SIGHUP):
            # Nothing that comes now is to turn a clean end into a failed one.
            signal.signal(number, signal.SIG_IGN)

    async def _goodbyes(self) -> None:
        self._leave_broker(GOING_AWAY, "the server is stopping")
        await self._hub.empty()
        if self._lookout:
            await self._lookout.hub.empty()
        if self._leaving:
            await self._leaving

    def _join_broker(self, settings: MqttSettings | None, account: "BrokerConfig | None") -> None:
        """Imported here: whoever has no broker does not pay for it, nor for the page of all Pis."""
        self._mqtt = self._lookout = self._site.fleet = None
        if settings is None or account is None:
            return
        from .mqtt.bridge import MqttBridge, house

        self._mqtt = MqttBridge(
            settings, account, house(self._site, settings.control), self._limits
        )
        if settings.fleet:
            from .mqtt.fleet_watcher import FleetWatcher

            self._lookout = self._site.fleet = FleetWatcher(
                account, self._mqtt.topic, self._site.fleet_audience, self._limits
            )

    def _leave_broker(self, code: int, reason: str) -> None:
        """`code` and `reason` are for those who look at all Pis."""
        leaving = [self._mqtt.close()] if self._mqtt else []
        leaving += [self._lookout.close(code, reason)] if self._lookout else []
        if leaving:
            self._leaving = asyncio.ensure_future(_all(leaving))

    def _told_to_stop(self) -> None:
        if self._stopping.is_set():
            self._hurrying.set()
        self._stopping.set()

    def _new_doors(self, config: Config, identity: Identity | None) -> Doors:
        return Doors(
            config.address,
            config.port,
            identity and identity.context,
            self._guests,
            welcome=lambda *caller: self._server.handle_stream(*caller),
            redirect=lambda *caller: self._plain_server.handle_stream(*caller),
        )

    def _new_board(self, config: Config) -> Board:
        return Board(
            config.pins,
            open_factory(config.gpio),
            self._levels,
            asyncio.get_running_loop(),
            self._changed,
            self._remade,
        )

    def _new_metrics(self) -> "Metrics":
        from .web.metrics import BrokerNumbers, Metrics

        def broker() -> BrokerNumbers | None:
            mqtt = self._mqtt
            return BrokerNumbers(mqtt.is_connected, mqtt.kept, mqtt.lost_changes) if mqtt else None

        return Metrics(self._site, lambda: self._heartbeat.is_alive, broker)

    def _watched(self, by_somebody: bool) -> None:
        """The broadcast runs only while somebody is connected."""
        if by_somebody:
            self._ticked = time.monotonic()
            self._ticker.start()
        else:
            self._ticker.stop()

    def _next_seq(self) -> int:
        self._seq += 1
        return self._seq

    @property
    def _looks_with_ticks(self) -> bool:
        return bool(self._hub) and self._config.interval >= LOOK_EVERY

    def _show_state(self) -> None:
        if self._looks_with_ticks:
            self.board.look()
        if self._values is None:
            self._values = Raw(encode(self.board.values()))
        self._hub.show(State(self._next_seq(), round(time.time(), 6), self._values))
        self._ticked = time.monotonic()

    def _look(self) -> None:
        now = time.monotonic()
        if not self._looks_with_ticks:
            self.board.look()
        self.board.try_again()
        self._hub.look_after(now)
        if self._levels.is_due(now):
            asyncio.get_running_loop().run_in_executor(None, self._levels.save, now)
        self._heartbeat.tell()

    def _every_minute(self) -> None:
        logs.tell_suppressed()
        self._look_at_certificate()

    def _look_at_certificate(self) -> None:
        complaint = self._site.complaint()
        if complaint != self._complaint_of_certificate:
            self._complaint_of_certificate = complaint
            log.warning("%s", complaint or "the certificate is valid now")
            self._remade()

    def _changed(self, changed: Changed) -> None:
        self._values = None
        moment = wall_time(changed.moment)
        by = changed.by and changed.by.partition(" ")[0]  # the role is for the journal
        self._history.note(changed.pin, changed.value, changed.moment, by)
        self._hub.send(Change(self._next_seq(), moment, changed.pin, changed.value, by))
        if self._mqtt:
            self._mqtt.publish_change(changed)
        if self._metrics:
            self._metrics.changed(changed)

    def _remade(self) -> None:
        """A pin was lost or came back, or all is new: everyone begins anew, who may look."""
        self._values = None
        self._take_stock()
        if self._mqtt:
            self._mqtt.publish_all()
        if self._metrics:
            self._metrics.remade()
        if self._hub or (self._lookout and self._lookout.hub):
            self._site.greet()

    def _take_stock(self) -> None:
        self._history.take_stock(self.board.values(), time.monotonic())

    def _complain(self, what: str, error: Exception) -> None:
        lines = str(error).splitlines()
        for line in lines:
            log.error("%s", line)
        log.error("%s", what)
        more = f" (and {len(lines) - 1} more)" if len(lines) > 1 else ""
        self._complaint = f"{what}: {lines[0]}{more}"

    def _check(self) -> tuple[str, bool]:
        """What the heartbeat asks: the status in words, and whether all that must move moves."""
        scheme = self._site.scheme
        broken = sum(1 for slot in self.board if slot.error)
        status = [f"{scheme} on port {self._doors.port}", _count(self._config.pins, "pin")]
        status += [f"{broken} of them unavailable"] * bool(broken)
        status += [_count(self._hub, "viewer")]
        status += [notice.message for notice in self._notices(True) if notice.code != "open"]
        failures = self._failures()
        return "; ".join((*failures, *status)), not failures

    def _failures(self) -> list[str]:
        failures = []
        if not self.board.is_listening:
            failures.append("the GPIO thread has ended: no edge arrives any more")
        late = time.monotonic() - self._ticked
        if self._hub and late > max(LATE_TICKS * self._config.interval, LATE):
            failures.append("the broadcast has stopped")
        return failures

    def _notices(self, details: bool) -> tuple[Notice, ...]:
        """Paths and values of config.yaml stand in the `details` alone."""
        notices = []
        if self._complaint:
            words = self._complaint if details else _FAULTY
            notices.append(Notice("configuration", words))
        if self.board.simulated:
            message = "The pins are simulated: nothing real is read or switched"
            notices.append(Notice("simulated", message))
        if self._complaint_of_certificate:
            notices.append(Notice("certificate", self._complaint_of_certificate))
        if self._config.access.control == "everyone":
            message = "Everyone on this network may switch the pins (access.control: everyone)"
            notices.append(Notice("open", message))
        return tuple(notices)

    def _wellness(self, details: bool) -> Wellness:
        """Others' words, of the kernel and the broker, stand in the `details` alone."""
        failures = self._failures()
        if not self._heartbeat.is_alive:
            failures.append("the heartbeat thread has ended")
        broken = [slot for slot in self.board if slot.error]
        reasons = [f"{slot}: {slot.error if details else 'unavailable'}" for slot in broken]
        notices = self._notices(details)
        reasons += [notice.message for notice in notices if notice.code not in _INTENDED]
        if self._mqtt and self._mqtt.error:
            reasons.append(self._mqtt.error if details else BROKER_TROUBLE)
        if failures:
            return Wellness("failing", failures + reasons)
        return Wellness("degraded" if reasons else "ok", reasons)

    def _announce(self) -> None:
        for warning in self._source.warnings if self._source else ():
            log.warning("%s", warning)
        for notice in self._notices(True):
            log.warning("%s", notice.message)
        if not self._config.www.is_dir():
            log.info("%s: no such folder; only the built-in pages are served", self._config.www)
        log.info("%s, serving %s", _count(self._config.pins, "pin"), " ".join(self._urls()))

    def _hosts(self) -> list[str]:
        return [self._config.address] if self._config.address else reachable_hosts()

    def _urls(self) -> list[str]:
        port = self._doors.port
        return [f"{self._site.scheme}://{in_url(host)}:{port}/" for host in self._hosts()]


async def _all(ends: list[Coroutine[None, None, None]]) -> None:
    await asyncio.gather(*ends)


def _count(things: Sized, noun: str) -> str:
    return f"{len(things)} {noun}{'' if len(things) == 1 else 's'}"


def _identity(config: Config) -> Identity | None:
    return tls.identity(config.certificate) if config.certificate else None


def _server(application: Application) -> HTTPServer:
    # Nobody here reads a form; one that is sent all the same becomes few objects.
    set_parse_body_config(
        ParseBodyConfig(ParseMultipartConfig(enabled=False), ParseUrlEncodedConfig(MOST_PIECES))
    )
    return HTTPServer(
        application,
        chunk_size=READ_AT_ONCE,
        max_header_size=MAX_HEAD,
        idle_connection_timeout=IDLE_TIMEOUT,
        body_timeout=BODY_TIMEOUT,
    )


def _account(config: Config) -> "BrokerConfig | None":
    """The broker's, with all its files read, or None. Raises ConfigError."""
    if config.mqtt is None:
        return None
    from .mqtt.broker_config import read_broker_config

    return read_broker_config(config.mqtt)


def _www(config: Config) -> tuple[str, ...]:
    return tuple(dict.fromkeys((str(config.www), str(BUILT_IN_WWW))))
