"""The server: it builds all parts in order, connects them, reloads and stops them."""

import asyncio
import logging
import signal
import time
from collections.abc import Coroutine
from typing import TYPE_CHECKING

from .broadcaster import Broadcaster
from .config.errors import ConfigError
from .config.schema import Config
from .config.source import ConfigSource
from .errors import refusal
from .gpio import failure_plan
from .gpio.backend import open_factory
from .gpio.board import Board
from .gpio.history import History
from .gpio.output_state import OutputStateStore
from .gpio.pin import PinChange
from .limits import DEFAULT, Limits
from .messages import Command, CoverCommand, CoverInfo, PinInfo, ScheduleInfo, Value
from .net.connections import ConnectionLimiter
from .net.listener import Listener, ListenError
from .security import tls
from .security.access import AccessPolicy
from .security.codes import Codes
from .security.hooks import Hooks
from .security.sessions import Sessions
from .security.sign_in_links import Links
from .security.tls import CertificateError, Identity
from .status import Status, count
from .system import logs, storage
from .system.systemd import Heartbeat
from .system.ticker import Ticker
from .web.context import BUILT_IN_WWW, CLOSE_RESTARTED, WebContext
from .web.http_server import HttpServers

if TYPE_CHECKING:
    from .automation.automation import Automation
    from .gpio.cover import Cover
    from .gpio.covers import Covers
    from .mqtt.bridge import LocalPi, MqttBridge
    from .mqtt.broker_config import BrokerConfig
    from .mqtt.fleet_watcher import FleetWatcher
    from .web.metrics import Metrics

CLOSE_GOING_AWAY = 1001
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)

log = logging.getLogger(__name__)


class Server:
    """One running server.

    `source` is read again on SIGHUP; it is None for a demo. `config_error` is the reason why the
    last good configuration runs instead of the file, if it does. The constructor raises ConfigError
    for the files of the broker before it does anything, and CertificateError and ListenError
    before it opens a pin."""

    def __init__(
        self,
        config: Config,
        source: ConfigSource | None = None,
        config_error: ConfigError | None = None,
        limits: Limits = DEFAULT,
    ) -> None:
        loop = asyncio.get_running_loop()
        broker_config = _broker_config(config)
        error_text = ""
        if source and config_error:
            what = f"{source.file} has errors: the last good configuration runs"
            error_text = _log_config_error(what, config_error)
        self._config = config
        self._source = source
        self._limits = limits
        self._stopping = asyncio.Event()
        self._stopping_at_once = asyncio.Event()
        self._handle_signals(loop)
        self._heartbeat = Heartbeat(
            loop.call_soon_threadsafe, lambda: self._status.watchdog_report(), limits
        )
        identity = _identity(config)
        self._connections = ConnectionLimiter(limits)
        self._listener = self._new_listener(config, identity)
        self._auth = AccessPolicy(
            config.access,
            Codes(storage.state_folder(), limits),
            Sessions(storage.state_folder(), limits),
            Links(storage.run_folder(), limits),
            self._connections,
            limits,
        )
        self._hooks = Hooks(storage.state_folder(), limits)
        self._output_states = OutputStateStore.from_environment(limits, loop.call_soon)
        self._history = History(limits)
        self._broadcaster = Broadcaster(config.interval, limits)
        self._mqtt: MqttBridge | None = None
        self._fleet: FleetWatcher | None = None
        self._leaving: asyncio.Future[None] | None = None
        self._metrics: Metrics | None = None
        self._automation: Automation | None = None
        self._covers: Covers | None = None
        failure_plan.write(storage.run_folder(), config)
        self._broadcaster.board = self._new_board(config)
        self._use_covers()
        self._note_values()
        self._status = Status(config, self._broadcaster, self._heartbeat)
        self._status.port = self._listener.port
        self._status.identity = identity
        self._status.check_certificate()
        self._status.config_error = error_text
        self._context = WebContext(
            self._status,
            self._history,
            self._broadcaster,
            self._auth,
            self._hooks,
            _www(config),
            limits,
        )
        self._context.covers = self._covers
        self._use_automation()
        self._auth.set_scheme(self._status.scheme)
        self._servers = HttpServers(self._context, limits)
        self._join_broker(config, broker_config)
        self._set_metrics(config.metrics)
        self._tickers = (
            Ticker(self._every_second, limits.poll_interval_s, yields=True),
            Ticker(self._every_minute, limits.certificate_check_interval_s, yields=True),
            Ticker(self._show_health, limits.health_interval_s, yields=True),
        )

    @property
    def board(self) -> Board:
        """The pins."""
        return self._broadcaster.board

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT."""
        for ticker in self._tickers:
            ticker.start()
        self._listener.open()
        if self._mqtt:
            self._mqtt.start()
        if self._source and not self._status.config_error:
            self._source.keep()
            self._hooks.keep(self._config.hooks)
        self._announce()
        self._heartbeat.ready()
        await self._stopping.wait()
        await self._stop()

    def reload(self) -> None:
        """Read the configuration file and apply it. Keep the running one if it is invalid."""
        if self._source is None or self._stopping.is_set():
            reason = (
                "the server is stopping" if self._source else "a demo has no configuration file"
            )
            log.info("ignored SIGHUP: %s", reason)
            return
        self._heartbeat.reloading()
        self._auth.read_codes()
        self._hooks.read()
        try:
            self._apply(self._source.load())
        except (ConfigError, CertificateError, ListenError) as error:
            what = f"{self._source.file} was rejected: the running configuration stays active"
            self._status.config_error = _log_config_error(what, error)
            if isinstance(error, ConfigError):
                self._renew_certificate()
        else:
            self._status.config_error = ""
            self._source.keep()
            self._hooks.keep(self._config.hooks)
            self._announce()
        self._describe_all()
        self._heartbeat.ready()

    async def _stop(self) -> None:
        self._heartbeat.stop()
        log.info("stopping")
        self._listener.close()
        self._broadcaster.stop()
        for ticker in self._tickers:
            ticker.stop()
        if self._automation:
            self._automation.close()
        if self._covers is not None:
            self._covers.close()
        self.board.close()
        self._output_states.flush()
        self._output_states.save(time.monotonic())
        await asyncio.sleep(0)  # commands that waited are answered before their connection closes
        for hub in self._broadcaster.hubs:
            hub.close(CLOSE_GOING_AWAY, "the server is stopping")
        waiting = [
            asyncio.ensure_future(self._disconnect_all()),
            asyncio.ensure_future(self._stopping_at_once.wait()),
        ]
        timeout_s = self._limits.close_timeout_s
        await asyncio.wait(waiting, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        for each in waiting:
            each.cancel()
        # Requests that still run find their connection closed; a handler that was cancelled in the
        # middle of an answer would be logged as an error of ours.
        await asyncio.wait([asyncio.ensure_future(self._servers.close())], timeout=timeout_s)
        for number in (*STOP_SIGNALS, signal.SIGHUP):
            # A signal that arrives now must not turn a clean end into a failed one.
            signal.signal(number, signal.SIG_IGN)

    async def _disconnect_all(self) -> None:
        self._leave_broker(CLOSE_GOING_AWAY, "the server is stopping")
        for hub in self._broadcaster.hubs:
            await hub.empty()
        if self._fleet:
            await self._fleet.hub.empty()
        if self._leaving:
            await self._leaving

    # Signals

    def _handle_signals(self, loop: asyncio.AbstractEventLoop) -> None:
        # Not the loop's own handlers: at its end it would put back the default ones, which kill.
        for number in STOP_SIGNALS:
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(self._begin_to_stop))
        signal.signal(signal.SIGHUP, lambda *_: loop.call_soon_threadsafe(self.reload))

    def _begin_to_stop(self) -> None:
        if self._stopping.is_set():
            self._stopping_at_once.set()
        self._stopping.set()

    # Reloads

    def _apply(self, config: Config) -> None:
        """Apply another configuration: first the steps that can fail, then the rest.

        Raise ConfigError, CertificateError or ListenError, with nothing changed."""
        identity = _identity(config)
        broker_config = _broker_config(config)
        self._move(config)
        self._use_identity(identity)
        before, self._config = self._config, config
        self._status.config = config
        logs.set_level(config.log_level)
        failure_plan.write(storage.run_folder(), config)
        if self._covers is not None:
            self._covers.prepare(config)
        if config.gpio == before.gpio:
            self.board.reconfigure(config.pins)
        else:
            if self._covers is not None:
                self._covers.close()
            self.board.close()
            self._broadcaster.board = self._new_board(config)
        self._use_covers()
        self._context.covers = self._covers
        self._use_automation()
        self._auth.access = config.access
        self._context.www = _www(config)
        self._broadcaster.set_interval(config.interval)
        if config.mqtt != before.mqtt or broker_config != (self._mqtt and self._mqtt.config):
            is_for_good = config.mqtt is None
            self._leave_broker(CLOSE_RESTARTED, "the configuration has changed", is_for_good)
            self._join_broker(config, broker_config)
            if self._mqtt:
                self._mqtt.start(self._leaving)
        if self._fleet:
            self._fleet.renew()
        if config.metrics != before.metrics:
            self._set_metrics(config.metrics)

    def _move(self, config: Config) -> None:
        """Listen on another address or port, if these have changed.

        The old listener closes after the new one is open, or before if the port is the same. Raise
        ListenError, with the old address open."""
        before, identity = self._config, self._status.identity
        if (config.address, config.port) == (before.address, before.port):
            return
        is_in_the_way = config.port == before.port
        if is_in_the_way:
            self._listener.close()
        try:
            listener = self._new_listener(config, identity)
        except ListenError:
            if is_in_the_way:
                self._use_listener(self._new_listener(before, identity))
            raise
        self._listener.close()
        self._use_listener(listener)

    def _use_listener(self, listener: Listener) -> None:
        self._listener = listener
        self._status.port = listener.port
        listener.open()

    def _renew_certificate(self) -> None:
        """Read the certificate again, also while config.yaml is invalid."""
        try:
            self._use_identity(_identity(self._config))
        except CertificateError as error:
            log.error("%s; the previous certificate stays in use", error)

    def _use_identity(self, identity: Identity | None) -> None:
        """Serve new connections with this certificate. Close all if the scheme has changed."""
        before = self._status.scheme
        self._status.identity = identity
        self._listener.context = identity and identity.context
        self._status.check_certificate()
        if self._status.scheme != before:
            self._change_scheme()

    def _change_scheme(self) -> None:
        """Close all connections of the previous scheme, and end their sessions."""
        self._auth.set_scheme(self._status.scheme)
        for hub in (*self._broadcaster.hubs, *([self._fleet.hub] if self._fleet else ())):
            hub.cut(CLOSE_RESTARTED, f"this server uses {self._status.scheme} now")
        self._servers.restart()

    # Parts

    def _new_listener(self, config: Config, identity: Identity | None) -> Listener:
        return Listener(
            (config.address, config.port),
            identity and identity.context,
            self._connections,
            on_connection=lambda *caller: self._servers.serve(*caller),
            on_plain_http=lambda *caller: self._servers.redirect(*caller),
            limits=self._limits,
        )

    def _new_board(self, config: Config) -> Board:
        return Board(
            config.pins,
            open_factory(config.gpio),
            self._output_states,
            asyncio.get_running_loop(),
            self._pin_changed,
            self._availability_changed,
            self._limits,
            self._broadcaster.send_decision,
            self._claim_first,
        )

    def _claim_first(self, board: Board) -> None:
        """Claim what schedules and rules want at a start or a reload. They are imported only then.

        After a reload without any they claim nothing, and end."""
        config = self._config
        board.keep_rules(config.rules)
        if self._automation is None and not (config.schedules or config.rules):
            return
        if self._automation is None:
            from .automation.automation import Automation

            loop = asyncio.get_running_loop()
            self._automation = Automation(loop, self._automation_changed, self._limits)
            self._automation.use_covers(lambda: self._covers)
            self._broadcaster.end_of = self._automation.end_of
        self._automation.apply(config, board)

    def _use_covers(self) -> None:
        """Make the covers of the configuration, and forget all others.

        They are imported only if there are any.
        """
        if self._covers is None and not self._config.covers:
            storage.remove("covers.json")
        elif self._covers is None:
            from .gpio.cover_memory import CoverMemory
            from .gpio.covers import Covers

            loop, memory = asyncio.get_running_loop(), CoverMemory.from_environment()
            self._covers = Covers(loop, memory, self._cover_changed)
        if self._covers is not None:
            self._covers.apply(self._config, self.board)
        if not self._config.covers:
            self._covers = None

    def _use_automation(self) -> None:
        """Let the automation go on, now that the outputs are open; or end it."""
        if self._automation and not (self._config.schedules or self._config.rules):
            self._automation.close()
            self._automation = None
        if self._automation:
            self._automation.synchronize()
        self._context.automation = self._automation
        self._status.is_resting = self._automation is not None and self._automation.is_resting

    def _set_metrics(self, is_on: bool) -> None:
        self._metrics = None
        if is_on:
            from .web.metrics import Metrics

            self._metrics = Metrics(self._context)
        self._context.metrics = self._metrics

    def _join_broker(self, config: Config, broker_config: "BrokerConfig | None") -> None:
        """Make the parts for the broker. They are imported only if there is one."""
        self._mqtt = self._status.broker = self._fleet = self._context.fleet = None
        if config.mqtt is None or broker_config is None:
            return
        from .mqtt.bridge import MqttBridge

        pi = _local_pi(self._context, config.mqtt.control)
        self._mqtt = self._status.broker = MqttBridge(
            config.mqtt, broker_config, pi, self._limits, storage.state_folder()
        )
        if config.mqtt.fleet:
            from .mqtt.fleet_watcher import FleetWatcher

            self._fleet = self._context.fleet = FleetWatcher(
                broker_config, self._mqtt.topic, self._context.fleet_audience, self._limits
            )

    def _leave_broker(self, code: int, reason: str, for_good: bool = False) -> None:
        """Disconnect from the broker; `code` and `reason` are for the viewers of the fleet."""
        leaving = [self._mqtt.close(for_good)] if self._mqtt else []
        leaving += [self._fleet.close(code, reason)] if self._fleet else []
        if leaving:
            self._leaving = asyncio.ensure_future(_all(leaving))

    # Events

    def _pin_changed(self, changed: PinChange) -> None:
        if self._covers is not None:
            self._covers.changed(changed)
        if self._automation:
            self._automation.changed(changed)
        by = changed.by and changed.by.partition(" (")[0]  # the role is for the log
        self._history.record(changed.pin, changed.value, changed.moment, by)
        self._broadcaster.send_change(changed, by)
        if self._mqtt:
            self._mqtt.publish_change(changed)
        if self._metrics:
            self._metrics.changed(changed)

    def _cover_changed(self, cover: "Cover", by: str | None) -> None:
        if self._automation:
            self._automation.cover_changed(cover)
        if self._mqtt:
            self._mqtt.publish_covers()
        self._broadcaster.send_cover(cover, by and by.partition(" (")[0])

    def _availability_changed(self) -> None:
        if self._covers is not None:
            self._covers.synchronize()
        if self._automation:
            self._automation.synchronize()
        self._describe_all()

    def _automation_changed(self) -> None:
        """Tell viewers and the broker of other states of schedules and rules."""
        assert self._automation
        was_resting = self._status.is_resting
        self._status.is_resting = self._automation.is_resting
        self._broadcaster.send_automation_change()
        if self._mqtt:
            self._mqtt.publish_schedules()
        if was_resting != self._status.is_resting:
            self._describe_all()

    def _describe_all(self) -> None:
        """Describe all pins again, to viewers and the broker.

        A reload does this, and a pin that failed or recovered."""
        self._broadcaster.forget_values()
        self._note_values()
        if self._mqtt:
            self._mqtt.publish_all()
        if self._metrics:
            self._metrics.remade()
        if self._broadcaster.is_watched or (self._fleet and self._fleet.hub):
            self._context.send_hellos()

    def _note_values(self) -> None:
        self._history.synchronize(self.board.values(), time.monotonic())

    def _every_second(self) -> None:
        now = time.monotonic()
        if not self._broadcaster.reads_inputs:
            self.board.refresh()
        self.board.reopen_failed()
        for hub in self._broadcaster.hubs:
            hub.check(now)
        if self._output_states.is_due(now):
            asyncio.get_running_loop().run_in_executor(None, self._output_states.save, now)
        self._heartbeat.report()

    def _every_minute(self) -> None:
        logs.report_suppressed()
        if self._status.check_certificate():
            log.warning("%s", self._status.certificate_warning or "the certificate is valid now")
            self._describe_all()

    def _show_health(self) -> None:
        if self._broadcaster.is_watched:
            self._broadcaster.send_or_skip(self._status.machine_health())

    # Log

    def _announce(self) -> None:
        for warning in self._source.warnings if self._source else ():
            log.warning("%s", warning)
        for notice in self._status.notices(True):
            log.warning("%s", notice.message)
        if not self._config.www.is_dir():
            log.info("%s: no such folder; only the built-in pages are served", self._config.www)
        pins, urls = count(self._config.pins, "pin"), " ".join(self._status.urls())
        log.info("%s, serving %s", pins, urls)


async def _all(ends: list[Coroutine[None, None, None]]) -> None:
    await asyncio.gather(*ends)


def _log_config_error(what: str, error: Exception) -> str:
    """Log an error of the configuration line by line. Return one line for the notice.

    The log alone has the lines of the file: the notice goes to phones.
    """
    lines = str(error).splitlines()
    report = error.report.splitlines() if isinstance(error, ConfigError) else lines
    for line in (*report, what):
        log.error("%s", line)
    more = f" (and {len(lines) - 1} more)" if len(lines) > 1 else ""
    return f"{what}: {lines[0]}{more}"


def _identity(config: Config) -> Identity | None:
    return tls.identity(config.certificate) if config.certificate else None


def _broker_config(config: Config) -> "BrokerConfig | None":
    """Read the files of the broker's configuration and return it. Raise ConfigError."""
    if config.mqtt is None:
        return None
    from .mqtt.broker_config import read_broker_config

    return read_broker_config(config.mqtt)


def _www(config: Config) -> tuple[str, ...]:
    return tuple(dict.fromkeys((str(config.www), str(BUILT_IN_WWW))))


def _local_pi(context: WebContext, may_control: bool) -> "LocalPi":
    """Return this Pi as its broker sees it. It carries out commands if `may_control`."""
    from .mqtt.bridge import LocalPi

    def pins() -> list[PinInfo]:
        return [context.broker_pin(pin, may_control) for pin in context.board]

    def carry_out(command: Command) -> asyncio.Future[Value]:
        context.auth.check_broker(context.board[command.pin].config)
        return context.board.carry_out(command, "mqtt")

    def schedules() -> list[ScheduleInfo]:
        automation = context.automation
        return automation.schedule_infos(may_pause) if automation else []

    def may_pause(targets: tuple[str, ...]) -> bool:
        configs = map(context.switched, targets)
        return may_control and all(map(context.auth.broker_may_control, configs))

    def pause(name: str, is_paused: bool) -> None:
        automation, found = context.automation, context.status.config.schedules.get(name)
        if automation is None or found is None:
            raise refusal("unknown-schedule", name=name)
        for target in found.targets:
            context.auth.check_broker(context.switched(target))
        (automation.pause_schedule if is_paused else automation.resume_schedule)(name, "mqtt")

    def covers() -> list[CoverInfo]:
        return [context.broker_cover(cover, may_control) for cover in context.covers or ()]

    def move(command: CoverCommand) -> CoverInfo:
        cover = context.found_cover(command.cover)
        context.auth.check_broker(cover.config)
        cover.carry_out(command, "mqtt")
        return context.broker_cover(cover, may_control)

    status = context.status
    return LocalPi(
        server=status.server_info,
        pins=pins,
        health=status.health,
        carry_out=carry_out,
        url=status.url,
        schedules=schedules,
        pause=pause,
        covers=covers,
        move=move,
    )
