"""What the handlers share: the rooms they ask, and what a viewer is told of them. On a reload the
appliance puts new rooms in."""

import asyncio
import socket
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.client import responses
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import msgspec
from tornado.web import HTTPError, RequestHandler

from .. import __version__
from ..config.pinout import POSITION_BY_GPIO
from ..config.schema import DrivenPin
from ..gpio.board import Board
from ..gpio.history import History
from ..gpio.pin import Slot
from ..messages import (
    HEADERS,
    NAME,
    Audience,
    FleetHello,
    FleetPin,
    Health,
    Hello,
    Notice,
    Pin,
    Refused,
    RemoteCommand,
    Report,
    Right,
    Server,
    Value,
    Wellness,
)
from ..net.hub import Hub, frame
from ..net.listener import LOOPBACK
from ..security.access import Auth, Caller
from ..security.tls import Identity
from ..system import vitals
from .compression import Packed
from .repeats import Repeats

if TYPE_CHECKING:
    from ..mqtt.fleet import Pi

PAGE_POLICY = (
    # ws: and wss: because 'self' does not cover them in Safari 15.
    "default-src 'self'; connect-src 'self' ws: wss:; object-src 'none'; base-uri 'none';"
    " form-action 'none'; frame-ancestors 'none'"
)
"""The Content-Security-Policy of our own pages: no script but from files, none of other sites."""
JSON_HEADERS = {
    **HEADERS,
    "Content-Type": "application/json",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}
NO_FLEET = "this Pi shows no others: config.yaml does not say fleet: true below mqtt:"
SIGN_IN = 4401
"""The close code for who may not look without signing in."""
RESTARTED = 1012
"""The close code for who is to come again at once: what they came as, or to, is no more."""
_PACKAGE = Path(__file__).parents[1]
_INSIDE = _PACKAGE / "www"
BUILT_IN_WWW = _INSIDE if _INSIDE.is_dir() else _PACKAGE.parent / "www"
"""In the wheel inside the package, in a checkout beside it."""


def write_plainly(handler: RequestHandler, exc_info: tuple[Any, ...] | None) -> None:
    """Finish a failed request with its status and the reason as text."""
    handler.set_header("Content-Type", "text/plain; charset=utf-8")
    handler.finish(f"{handler.get_status()}: {reason(handler, exc_info)}\n")


def reason(handler: RequestHandler, exc_info: tuple[Any, ...] | None) -> str:
    """Why a request failed, in words: ours where we gave any, else the standard's."""
    error = exc_info[1] if exc_info else None
    if isinstance(error, HTTPError) and error.log_message:
        return error.log_message % error.args if error.args else error.log_message
    return responses.get(handler.get_status(), "Unknown")


class Numbers(Protocol):
    """What `metrics.py` offers, which is imported only where it is asked for."""

    content_type: str

    def text(self) -> bytes: ...


class House(Protocol):
    """What `lookout.py` offers, which is imported only where it is asked for."""

    hub: Hub

    @property
    def seq(self) -> int: ...
    async def refresh(self) -> None: ...
    def is_own(self, topic: str) -> bool: ...
    def target(self, order: RemoteCommand) -> tuple["Pi", FleetPin]: ...
    def parts(self) -> Iterator[bytes]: ...
    def carry_out(self, order: RemoteCommand, by: str) -> asyncio.Future[Value]: ...


@dataclass
class Site:
    """`interval` in seconds; `www` are the folders to serve, the first that has a file wins;
    `identity` is None for plain http; `notices`, `wellness` and `hosts`, the names and addresses of
    this server, look afresh at each call, and so does `urls`, where its page is; the first two tell
    paths, values and others' words only if asked for `details`; `metrics` has the
    numbers for Prometheus and `fleet` all Pis at the broker, and they are None where nobody asked
    for them."""

    board: Board
    history: History
    hub: Hub
    auth: Auth
    interval: float
    www: tuple[str, ...]
    identity: Identity | None
    notices: Callable[[bool], tuple[Notice, ...]]
    wellness: Callable[[bool], Wellness]
    hosts: Callable[[], list[str]]
    urls: Callable[[], list[str]]
    packed: Packed = field(default_factory=Packed)
    metrics: Numbers | None = None
    fleet: House | None = None
    repeats: Repeats = field(init=False)

    def __post_init__(self) -> None:
        # All that Files asks of besides the request and the files: which names are ours, and where.
        self.repeats = Repeats(lambda: (socket.gethostname(), self.auth.access, self.www))

    @property
    def scheme(self) -> str:
        return "https" if self.identity else "http"

    def complaint(self) -> str | None:
        """What is wrong with the certificate, if one is used and anything is."""
        return self.identity.complaint() if self.identity else None

    def url(self) -> str:
        """Where others find its page, by a name rather than an address."""
        return self.urls()[-1]

    def server(self, details: bool = False) -> Server:
        """Describe this server; `details` are for callers who may switch."""
        host = socket.gethostname()
        return Server(NAME, __version__, host, self.board.simulated, self.notices(details))

    def sees_details(self, caller: Caller) -> bool:
        """Return whether a caller may read what stands in config.yaml."""
        return self.auth.right(caller) == "control"

    def pin(self, slot: Slot, caller: Caller) -> Pin:
        """One pin as a viewer may see it."""
        may_control = self.auth.may_control(slot.config, caller)
        return self._pin(slot, may_control, self.sees_details(caller))

    def broker_pin(self, slot: Slot, may_control: bool) -> Pin:
        """One pin as a broker's people may see it, who may switch if `may_control`."""
        may_control = may_control and self.auth.broker_may_control(slot.config)
        return self._pin(slot, may_control, details=False)

    def _pin(self, slot: Slot, may_control: bool, details: bool) -> Pin:
        pin = slot.config
        return Pin(
            name=pin.name,
            label=pin.label,
            gpio=pin.gpio,
            header=POSITION_BY_GPIO[pin.gpio],
            mode=type(pin).__struct_config__.tag,  # type: ignore[arg-type]
            value=slot.value,
            since=slot.since,
            writable=isinstance(pin, DrivenPin) and may_control,
            pulse=getattr(pin, "pulse", None),
            max_on=getattr(pin, "max_on", None),
            group=getattr(pin, "group", None),
            confirm=getattr(pin, "confirm", False),
            control=self.auth.audience(pin) if isinstance(pin, DrivenPin) else None,
            error=slot.error if details or not slot.error else "unavailable",
        )

    def pins(self, caller: Caller) -> list[Pin]:
        return [self.pin(slot, caller) for slot in self.board]

    def greet(self) -> None:
        """Everyone begins anew, who may still look; others are shown the door."""
        hellos: dict[Right | None, bytes] = {}
        for viewer in self.hub:
            try:
                self.auth.check_view(viewer.caller)
            except Refused as refused:
                viewer.close(SIGN_IN, refused.message)
                continue
            role = self.auth.role(viewer.caller)
            if role not in hellos:
                hellos[role] = frame(self.hello(viewer.caller))
            viewer.send(hellos[role])
        if self.fleet:
            self._greet_fleet(self.fleet)

    def dismiss(self) -> None:
        """Close the sockets whose session has ended; a page comes again as who it is now."""
        for viewer in (*self.hub, *(self.fleet.hub if self.fleet else ())):
            if self.auth.has_ended(viewer.caller):
                viewer.close(RESTARTED, "signed in or out: connect again")

    def _greet_fleet(self, fleet: House) -> None:
        for viewer in fleet.hub:
            try:
                self.auth.check_view(viewer.caller)
            except Refused as refused:
                viewer.close(SIGN_IN, refused.message)
            else:
                viewer.send_message(self.fleet_hello(fleet, viewer.caller))

    def fleet_hello(self, fleet: House, caller: Caller) -> FleetHello:
        """What a page of all Pis needs to begin, beside them."""
        right = self.auth.right(caller)
        would_help = right == "view" and self.auth.access.control == "code"
        return FleetHello(
            seq=fleet.seq,
            access=right,
            signed_in=self.auth.role(caller),
            code_would_help=would_help,
        )

    def fleet_audience(self, is_own: bool, pin: FleetPin) -> Audience | None:
        """Return who may switch a pin at the broker from here, None for inputs. Of this Pi the
        board decides, whatever somebody tells there in its name."""
        if pin.mode == "input":
            return None
        if not is_own:
            return self.auth.fleet_audience(pin.control)
        try:
            return self.auth.audience(self.board[pin.name].config)
        except Refused:  # the board has no such pin
            return "nobody"

    def check_fleet(self, fleet: House, order: RemoteCommand, caller: Caller) -> None:
        """The same for a command. Raises Refused."""
        pi, pin = fleet.target(order)
        if fleet.is_own(order.pi):
            self.auth.check_control(self.board[order.pin].config, caller)
        else:
            self.auth.check_fleet(f"{pin.name} of {pi.name}", pin.control, caller)

    def hello(self, caller: Caller) -> Hello:
        """Everything a page needs to begin."""
        return Hello(
            id=uuid.uuid4().hex,
            time=time.time(),
            interval=self.interval,
            server=self.server(self.sees_details(caller)),
            access=self.auth.right(caller),
            signed_in=self.auth.role(caller),
            code_would_help=self.auth.code_would_help((slot.config for slot in self.board), caller),
            pins=self.pins(caller),
            state=self.board.values(),
            fleet=self.fleet is not None,
        )

    def health(self) -> Health:
        return Health(
            time=time.time(),
            temperature=vitals.temperature(),
            throttled=vitals.throttled(),
            load=vitals.load(),
            memory=vitals.memory(),
            disk=vitals.disk(),
            uptime=vitals.uptime(),
            addresses=[host for host in self.hosts() if host != LOOPBACK],
            viewers=len(self.hub),
        )

    def report(self, details: bool = False) -> Report:
        """Report the health; `details` are for callers who may switch."""
        wellness = self.wellness(details)
        return Report(
            **msgspec.structs.asdict(self.health()),
            status=wellness.status,
            reasons=wellness.reasons,
        )
