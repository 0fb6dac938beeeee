"""State of the server in words: notices, health, and the status line for systemd."""

import socket
import time
from collections.abc import Sized
from typing import Protocol

import msgspec
from msgspec import Struct

from . import __version__
from .broadcaster import Broadcaster
from .config.schema import Config
from .errors import NOTICES, Reason, reason
from .gpio.board import Board
from .messages import (
    BROKER_ERROR,
    NAME,
    Health,
    HealthLevel,
    MachineHealth,
    Notice,
    ServerInfo,
)
from .net.addresses import LOOPBACK, in_url, reachable_hosts
from .security.tls import Identity
from .system import vitals
from .system.systemd import Heartbeat

_UNDER_VOLTAGE = "under-voltage: the Pi needs a stronger power supply or a shorter cable"
_INTENDED = ("simulated", "open")
"""Codes of notices about settings that the owner chose: they do not degrade the health."""


class BrokerClient(Protocol):
    """The connection to the MQTT broker, which is imported only where the configuration has one."""

    @property
    def error(self) -> str | None:
        """Reason why there is no connection, or None."""

    @property
    def is_connected(self) -> bool:
        """True while the broker takes messages."""

    @property
    def kept(self) -> int:
        """Changes kept until the broker takes them."""

    @property
    def lost_changes(self) -> int:
        """Changes dropped because too many were kept."""


class Verdict(Struct, frozen=True):
    """The health of the server, and the reasons if it is not `ok`."""

    status: HealthLevel
    reasons: list[str]


class Status:
    """State of the running parts.

    A reload sets `config`, `identity` (None for plain HTTP), `port`, and `broker` (None without
    one)."""

    def __init__(self, config: Config, broadcaster: Broadcaster, heartbeat: Heartbeat) -> None:
        self.config = config
        self.identity: Identity | None = None
        self.port = 0
        self.broker: BrokerClient | None = None
        self.config_error = ""
        """The reason why an earlier configuration runs, with paths and values; or an empty text."""
        self.certificate_warning: Reason | None = None
        self.is_resting = False
        """True while schedules rest, since the time is not known."""
        self._broadcaster = broadcaster
        self._heartbeat = heartbeat

    @property
    def board(self) -> Board:
        """The pins."""
        return self._broadcaster.board

    @property
    def scheme(self) -> str:
        """`https` or `http`."""
        return "https" if self.identity else "http"

    @property
    def is_watchdog_alive(self) -> bool:
        """True while the thread runs that reports to systemd."""
        return self._heartbeat.is_alive

    def check_certificate(self) -> bool:
        """Check the certificate. Return True if its warning has changed."""
        before = self.certificate_warning
        self.certificate_warning = self.identity.validity_error() if self.identity else None
        return self.certificate_warning != before

    def hosts(self) -> list[str]:
        """Return the names and addresses under which this server is reached now."""
        return [self.config.address] if self.config.address else reachable_hosts()

    def urls(self) -> list[str]:
        """Return the addresses of the page."""
        return [f"{self.scheme}://{in_url(host)}:{self.port}/" for host in self.hosts()]

    def url(self) -> str:
        """Return the address of the page for other machines, with a name if there is one."""
        return self.urls()[-1]

    def server_info(self, details: bool = False) -> ServerInfo:
        """Describe this server. Pass `details` only for callers that may switch."""
        host, simulated = socket.gethostname(), self.board.simulated
        return ServerInfo(NAME, __version__, host, simulated, self.notices(details))

    def notices(self, details: bool) -> tuple[Notice, ...]:
        """Return the notices. Only with `details` they have paths and values of config.yaml."""
        found: list[Reason] = []
        if self.config_error and details:
            found.append(reason("configuration-error", why=self.config_error))
        elif self.config_error:
            found.append(reason("configuration", command="sudo raspi-server doctor"))
        if self.board.simulated:
            found.append(reason("simulated"))
        if self.certificate_warning:
            found.append(self.certificate_warning)
        if self.is_resting:
            clock = time.strftime("%Y-%m-%d %H:%M")
            found.append(reason("clock-unknown", clock=clock))
        if self.config.access.control == "everyone":
            found.append(reason("open"))
        return tuple(Notice(NOTICES[name][0], text, name, values) for name, text, values in found)

    def verdict(self, details: bool) -> Verdict:
        """Judge the health. Only with `details` it has the words of the kernel and the broker."""
        failures = self._failures()
        if not self.is_watchdog_alive:
            failures.append("the heartbeat thread has ended")
        unavailable = [pin for pin in self.board if pin.error]
        reasons = [f"{pin}: {pin.error if details else 'unavailable'}" for pin in unavailable]
        if "under-voltage now" in (vitals.throttled() or ()):
            reasons.append(_UNDER_VOLTAGE)
        notices = self.notices(details)
        reasons += [notice.message for notice in notices if notice.code not in _INTENDED]
        if self.broker and self.broker.error:
            reasons.append(self.broker.error if details else BROKER_ERROR)
        if failures:
            return Verdict("failing", failures + reasons)
        return Verdict("degraded" if reasons else "ok", reasons)

    def machine_health(self) -> MachineHealth:
        """Read the health of the machine."""
        return MachineHealth(
            time=time.time(),
            temperature=vitals.temperature(),
            throttled=vitals.throttled(),
            load=vitals.load(),
            memory=vitals.memory(),
            disk=vitals.disk(),
            uptime=vitals.uptime(),
            addresses=[host for host in self.hosts() if host != LOOPBACK],
            viewers=len(self._broadcaster.viewers),
        )

    def health(self, details: bool = False) -> Health:
        """Read the health of the machine, and judge that of the server.

        Pass `details` only for callers that may switch."""
        machine, verdict = self.machine_health(), self.verdict(details)
        return Health(
            **msgspec.structs.asdict(machine), status=verdict.status, reasons=verdict.reasons
        )

    def watchdog_report(self) -> tuple[str, bool]:
        """Return the status line for systemd, and True if all parts run that must."""
        unavailable = sum(1 for pin in self.board if pin.error)
        parts = [f"{self.scheme} on port {self.port}", count(self.config.pins, "pin")]
        parts += [f"{unavailable} of them unavailable"] * bool(unavailable)
        parts += [count(self._broadcaster.viewers, "viewer")]
        parts += [notice.message for notice in self.notices(True) if notice.code != "open"]
        failures = self._failures()
        return "; ".join((*failures, *parts)), not failures

    def _failures(self) -> list[str]:
        failures = []
        if self._broadcaster.is_late:
            failures.append("the broadcast has stopped")
        return failures


def count(things: Sized, noun: str) -> str:
    """Return the number of things, in words: `1 pin`, `2 pins`."""
    return f"{len(things)} {noun}{'' if len(things) == 1 else 's'}"
