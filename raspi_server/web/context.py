"""The parts that request handlers use, and the messages that depend on the rights of a caller."""

import asyncio
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from ..broadcaster import Broadcaster, state_of
from ..config.pinout import POSITION_BY_GPIO
from ..config.schema import DrivenConfig
from ..decoding import shorten
from ..errors import Reason, RequestError, refusal
from ..gpio.board import Board
from ..gpio.history import History
from ..gpio.pin import Pin
from ..limits import Limits
from ..messages import (
    HEADERS,
    Audience,
    CoverCommand,
    CoverInfo,
    CoverResult,
    Error,
    FleetCover,
    FleetHello,
    FleetPin,
    Hello,
    PinInfo,
    PinWords,
    RemoteCommand,
    Right,
    Value,
)
from ..net.backpressure import Viewer
from ..net.frames import frame
from ..net.hub import Hub
from ..security.access import AccessPolicy, Caller, Switched
from ..security.hooks import Hooks
from ..security.tls import Identity
from ..status import Status
from .compression import ContentCache
from .languages import Languages
from .versions import Versions

if TYPE_CHECKING:
    from ..automation.automation import Automation
    from ..gpio.cover import Cover
    from ..gpio.covers import Covers

PAGE_POLICY = (
    # ws: and wss: because 'self' does not cover them in Safari 15.
    "default-src 'self'; connect-src 'self' ws: wss:; object-src 'none'; base-uri 'none';"
    " form-action 'none'"
)
"""The Content-Security-Policy of our own pages: scripts come from files of this server only. The
sites that may frame them are added to it."""
JSON_HEADERS = {
    **HEADERS,
    "Content-Type": "application/json",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}
TEXT_HEADERS = {**JSON_HEADERS, "Content-Type": "text/plain; charset=utf-8"}
NO_FLEET = "the fleet is off: add fleet: true below mqtt: in config.yaml"
CLOSE_LOGIN_REQUIRED = 4401
CLOSE_RESTARTED = 1012
"""The close code for viewers that have to connect again immediately: their session has ended, or
the hub they were connected to."""
_UNAVAILABLE = Reason("unavailable", "unavailable")
"""The reason that callers get who may not switch, in place of the kernel's words."""
_PACKAGE = Path(__file__).parents[1]
_INSIDE = _PACKAGE / "www"
BUILT_IN_WWW = _INSIDE if _INSIDE.is_dir() else _PACKAGE.parent / "www"
"""The built-in pages: inside the package in a wheel, beside it in a checkout."""


def refuse(viewer: Viewer, error: RequestError) -> None:
    """Tell a viewer in words that it may not view, and close it."""
    viewer.send_message(Error.of(error))
    viewer.close(CLOSE_LOGIN_REQUIRED, error.message)


class MetricsText(Protocol):
    """The metrics of `metrics.py`, which is imported only where the configuration asks for it."""

    content_type: str

    def text(self) -> bytes:
        """Return all metrics in Prometheus' text format."""


class NamedPi(Protocol):
    """Another Pi, with its name for people."""

    @property
    def name(self) -> str:
        """Its host name, or its topic."""


class Fleet(Protocol):
    """The fleet of `fleet_watcher.py`, imported only where the configuration asks for it."""

    hub: Hub

    @property
    def seq(self) -> int:
        """The number of the last news."""

    async def refresh(self) -> None:
        """Wait until the Pis that the broker keeps have been received, two seconds at most."""

    def is_own(self, topic: str) -> bool:
        """Return whether a topic is that of this Pi."""

    def target(self, command: RemoteCommand) -> tuple[NamedPi, FleetPin | FleetCover]:
        """Return the Pi of a command, and its pin or cover. Raises RequestError."""

    def parts(self) -> Iterator[bytes]:
        """Yield the JSON of the whole fleet in parts."""

    def carry_out(self, command: RemoteCommand, by: str) -> asyncio.Future[Value | CoverResult]:
        """Send a command to its Pi; return the future of its answer. Raises RequestError."""


@dataclass
class WebContext:
    """The parts that handlers use.

    `www` are the folders to serve: the first that has a file wins. `metrics`, `fleet`, `automation`
    and `covers` are None where the configuration does not ask for them.
    """

    status: Status
    history: History
    broadcaster: Broadcaster
    auth: AccessPolicy
    hooks: Hooks
    www: tuple[str, ...]
    limits: Limits
    metrics: MetricsText | None = None
    fleet: Fleet | None = None
    automation: "Automation | None" = None
    covers: "Covers | None" = None
    form_key: bytes = field(default_factory=lambda: secrets.token_bytes(32))
    """The key of the tokens in forms. After a restart the forms of before are rejected."""
    contents: ContentCache = field(init=False)
    versions: Versions = field(init=False)
    languages: Languages = field(init=False)

    def __post_init__(self) -> None:
        self.contents = ContentCache(self.limits)
        self.versions = Versions(lambda: self.www, self.limits)
        self.languages = Languages(lambda: self.www, str(BUILT_IN_WWW))

    @property
    def board(self) -> Board:
        """The board of the configuration that runs."""
        return self.status.board

    @property
    def hub(self) -> Hub:
        """The viewers of `/ws`."""
        return self.broadcaster.hub

    @property
    def identity(self) -> Identity | None:
        """The certificate in use, None for plain HTTP."""
        return self.status.identity

    def sees_details(self, caller: Caller) -> bool:
        """Return True if a caller may read paths and values of config.yaml."""
        return self.auth.right(caller) == "control"

    def pin(self, pin: Pin, caller: Caller) -> PinInfo:
        """Return a pin as a caller may see it."""
        may_control = self.auth.may_control(pin.config, caller)
        return self._pin(pin, may_control, self.sees_details(caller))

    def broker_pin(self, pin: Pin, may_control: bool) -> PinInfo:
        """Return a pin as clients of the broker see it; `may_control` lets them switch it."""
        may_control = may_control and self.auth.broker_may_control(pin.config)
        return self._pin(pin, may_control, details=False)

    def _pin(self, pin: Pin, may_control: bool, details: bool) -> PinInfo:
        config = pin.config
        error = pin.error if details or not pin.error else _UNAVAILABLE
        source, until, auto = self.broadcaster.decided(pin.decision)
        is_of_cover = config.name in self.board.cover_of
        return PinInfo(
            name=config.name,
            label=config.label,
            gpio=config.gpio,
            header=POSITION_BY_GPIO[config.gpio],
            mode=type(config).__struct_config__.tag,  # type: ignore[arg-type]
            value=pin.value,
            since=pin.since,
            writable=isinstance(config, DrivenConfig) and may_control and not is_of_cover,
            pulse=getattr(config, "pulse", None),
            max_on=getattr(config, "max_on", None),
            group=getattr(config, "group", None),
            confirm=getattr(config, "confirm", False),
            control=self.auth.audience(config) if isinstance(config, DrivenConfig) else None,
            error=error and error.message,
            error_reason=error and error.name,
            error_values=error.values if error else {},
            kind=config.kind,
            room=config.room,
            icon=config.icon,
            words=PinWords(config.words.on, config.words.off) if config.words else None,
            hidden=config.hidden,
            source=source,
            until=until,
            auto=auto,
            next=self._next_change(config.name),
            cover=self._cover_of(config.name),
        )

    def _cover_of(self, pin: str) -> str | None:
        return next((each.name for each in self.covers or () if pin in each.config.pins), None)

    def cover(self, cover: "Cover", caller: Caller) -> CoverInfo:
        """Return a cover as a caller may see it."""
        return self._cover(cover, self.auth.may_control(cover.config, caller))

    def _cover(self, cover: "Cover", may_control: bool) -> CoverInfo:
        config = cover.config
        return CoverInfo(
            name=config.name,
            label=config.label,
            kind=config.kind,
            room=config.room,
            icon=config.icon,
            hidden=config.hidden,
            **state_of(cover),
            writable=may_control,
            confirm=config.confirm,
            control=self.auth.audience(config),
            has_position=config.has_position,
            can_stop=config.can_stop,
            pins=config.pins,
        )

    def carry_out_cover(self, command: CoverCommand, caller: Caller) -> "Cover":
        """Carry out a command to a cover, and return the cover. Raises RequestError."""
        found = self.found_cover(command.cover)
        self.auth.check_control(found.config, caller)
        found.carry_out(command, self.auth.name(caller))
        return found

    def switched(self, name: str) -> Switched:
        """Return the configuration of a pin or a cover. Raises RequestError for an unknown name."""
        found = next((each for each in self.covers or () if each.name == name), None)
        return found.config if found else self.board[name].config

    def broker_cover(self, cover: "Cover", may_control: bool) -> CoverInfo:
        """Return a cover as clients of the broker see it; `may_control` lets them move it."""
        return self._cover(cover, may_control and self.auth.broker_may_control(cover.config))

    def found_cover(self, name: str) -> "Cover":
        """Return a cover. Raises RequestError if there is none of this name."""
        if self.covers is None:
            raise refusal("unknown-cover", name=shorten(name))
        return self.covers[name]

    def all_covers(self, caller: Caller) -> list[CoverInfo]:
        """Return all covers as a caller may see them."""
        return [self.cover(cover, caller) for cover in self.covers or ()]

    def _next_change(self, pin: str) -> float | None:
        return self.automation.schedules.next_changes().get(pin) if self.automation else None

    def pins(self, caller: Caller) -> list[PinInfo]:
        """Return all pins as a caller may see them."""
        return [self.pin(pin, caller) for pin in self.board]

    def send_hellos(self) -> None:
        """Send a new hello to all viewers, and close those that may not view any more."""
        hellos: dict[Right | None, bytes] = {}
        for viewer in self.hub:
            try:
                self.auth.check_view(viewer.caller)
            except RequestError as error:
                refuse(viewer, error)
                continue
            role = self.auth.role(viewer.caller)
            if role not in hellos:
                hellos[role] = frame(self.hello(viewer.caller))
            viewer.send(hellos[role])
        for viewer in self.broadcaster.events:  # the next state has all that they get
            try:
                self.auth.check_view(viewer.caller)
            except RequestError as error:
                refuse(viewer, error)
        if self.fleet:
            self._send_fleet_hellos(self.fleet)

    def close_ended_sessions(self) -> None:
        """Close the sockets whose session has ended; their pages connect again with new rights."""
        viewers = self.broadcaster.viewers
        for viewer in (*viewers, *(self.fleet.hub if self.fleet else ())):
            if self.auth.has_ended(viewer.caller):
                viewer.close(CLOSE_RESTARTED, "signed in or out: connect again")

    def _send_fleet_hellos(self, fleet: Fleet) -> None:
        for viewer in fleet.hub:
            try:
                self.auth.check_view(viewer.caller)
            except RequestError as error:
                refuse(viewer, error)
            else:
                viewer.send_message(self.fleet_hello(fleet, viewer.caller))

    def fleet_hello(self, fleet: Fleet, caller: Caller) -> FleetHello:
        """Return the first message to a viewer of the fleet."""
        right = self.auth.right(caller)
        would_help = right == "view" and self.auth.access.control == "code"
        return FleetHello(
            seq=fleet.seq,
            access=right,
            signed_in=self.auth.role(caller),
            code_would_help=would_help,
        )

    def fleet_audience(self, is_own: bool, target: FleetPin | FleetCover) -> Audience | None:
        """Return which callers may switch a pin or cover of the fleet from here, None for inputs.

        For those of this Pi our own configuration decides, whatever the broker says.
        """
        if isinstance(target, FleetPin) and target.mode == "input":
            return None
        if not is_own:
            return self.auth.fleet_audience(target.control)
        try:
            return self.auth.audience(self._own(target))
        except RequestError:  # there is no such pin or cover
            return "nobody"

    def _own(self, target: FleetPin | FleetCover) -> Switched:
        """Return the configuration of a pin or cover of this Pi. Raises RequestError."""
        if isinstance(target, FleetCover):
            return self.found_cover(target.name).config
        return self.board[target.name].config

    def check_fleet(self, fleet: Fleet, command: RemoteCommand, caller: Caller) -> None:
        """Check that a caller may send a command to another Pi. Raises RequestError."""
        pi, target = fleet.target(command)
        if fleet.is_own(command.pi):
            self.auth.check_control(self._own(target), caller)
        else:
            self.auth.check_fleet(pi.name, target.label, target.control, caller)

    def hello(self, caller: Caller) -> Hello:
        """Return the first message to a viewer."""
        return Hello(
            id=secrets.token_hex(16),
            time=time.time(),
            interval=self.broadcaster.interval_s,
            server=self.status.server_info(self.sees_details(caller)),
            access=self.auth.right(caller),
            signed_in=self.auth.role(caller),
            code_would_help=self.code_would_help(caller),
            pins=self.pins(caller),
            state=self.board.values(),
            fleet=self.fleet is not None,
            automation=self.automation is not None,
            covers=self.all_covers(caller),
        )

    def code_would_help(self, caller: Caller) -> bool:
        """Return True if the control code would let a caller switch or move more of this Pi."""
        return self.auth.code_would_help(self._switched(), caller)

    def _switched(self) -> Iterator[Switched]:
        """Yield what the page of this Pi can switch and move."""
        for pin in self.board:
            if pin.config.name not in self.board.cover_of:
                yield pin.config
        for cover in self.covers or ():
            yield cover.config
