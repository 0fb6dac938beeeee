"""Who may look, who may touch, and under which names this server answers."""

import asyncio
import ipaddress
import logging
import re
import socket
from collections.abc import Iterable
from typing import NamedTuple

from tornado.http1connection import HTTP1Connection
from tornado.httputil import HTTPServerRequest
from tornado.web import RequestHandler

from ..config import schema
from ..errors import RequestError
from ..messages import Audience, Right
from ..net.connections import Guest, Guests
from ..system.logs import LIMITED
from .codes import Codes
from .login import SignIn
from .sessions import Sessions
from .sign_in_links import Links

_NAMESAKE = re.compile(r"-\d{1,2}\.local$")
"""What Avahi adds to the name of the second of two machines that are called the same."""
_STRICTNESS: tuple[Audience, ...] = ("everyone", "code", "nobody")
COOKIE_DAYS = 400
"""Browsers cap a cookie's life there; it is renewed at each visit."""
_PORT = re.compile(r":([0-9]{1,5})$")
_DEFAULT_PORTS = {"http": "80", "https": "443"}
_USED_LINK = (
    "this link was used or is older than 15 minutes; sudo raspi-server code --qr shows a fresh one"
)

log = logging.getLogger(__name__)


class Caller(NamedTuple):
    """Somebody at the door: from where, and the id of the code that came along, or the key of the
    session, or neither."""

    address: str
    code: str | None = None
    session: str | None = None

    @property
    def has_shown(self) -> bool:
        """Whether a code was shown, be it good still or not."""
        return self.code is not None or self.session is not None


def cookie_name(request: HTTPServerRequest) -> str:
    """Return the name of our cookie where the browser sees us: another for each scheme and port,
    which cookies do not tell apart. Over https no page that came by plain http can set it."""
    found = _PORT.search(request.host)
    port = found[1] if found else _DEFAULT_PORTS[request.protocol]
    prefix = "__Secure-" if request.protocol == "https" else ""
    return f"{prefix}raspi-server-{request.protocol}-{port}"


class Auth:
    """The `access` keys, the codes, and who has shown one. All methods belong to the loop's thread;
    what is refused raises RequestError with the reason."""

    def __init__(
        self, access: schema.Access, codes: Codes, sessions: Sessions, links: Links, guests: Guests
    ) -> None:
        self.access = access
        """A reload puts another in."""
        self._codes = codes
        self._sessions = sessions
        self._links = links
        self._guests = guests
        self._sign_in = SignIn(codes)

    def read_codes(self) -> None:
        """Take the codes as they are now; those who used one that was replaced are out."""
        self._codes.read()
        self._sessions.keep(lambda session: self._codes.right(session.code) is not None)
        self._distrust()

    def speak(self, scheme: str) -> None:
        """End all sessions that were begun over another scheme."""
        self._sessions.keep(lambda session: session.scheme == scheme)
        self._distrust()

    async def caller(self, request: HTTPServerRequest) -> Caller:
        """Return who asks, by cookie or `Authorization: Bearer`. Raises RequestError for a wrong
        code."""
        address = str(request.remote_ip)
        header = request.headers.get("Authorization", "")
        scheme, _, code = header.partition(" ")
        if scheme.lower() == "bearer":
            id = await self.sign_in(code, address)
            self._trust(request, id)
            return Caller(address, code=id)
        return Caller(address, session=self._session(request))

    def _session(self, request: HTTPServerRequest) -> str | None:
        """Return the key of the session that a request's cookie stands for, or None."""
        cookie = request.cookies.get(cookie_name(request))
        key = self._sessions.find(cookie.value, request.protocol) if cookie else None
        if key is None or self._codes.right(self._sessions.code(key)) is None:
            return None
        self._trust(request, key)
        return key

    def _trust(self, request: HTTPServerRequest, shown: str) -> None:
        """Let those stay who showed the control code, when there is no room. `shown` is the code's
        id or a session's key."""
        if self._right_of(shown) == "control" and isinstance(request.connection, HTTP1Connection):
            guest = request.connection.stream
            if isinstance(guest, Guest):
                self._guests.trust(guest, shown)

    def _distrust(self) -> None:
        self._guests.distrust(lambda shown: self._right_of(shown) is None)

    def _right_of(self, shown: str) -> Right | None:
        return self._codes.right(shown) or self._codes.right(self._sessions.code(shown))

    async def begin_session(self, handler: RequestHandler, code: str) -> Caller:
        """Give a browser a cookie for the code with this id, in the place of the one it has; return
        who it is now. The sockets of a session that has ended are not closed yet."""
        request = handler.request
        before = self._session(request)
        if before:
            self._sessions.end(before)
        cookie, key = self._sessions.begin(code, request.protocol)
        self._distrust()
        self._trust(request, key)
        await self._sessions.save()
        self._set_cookie(handler, cookie)
        return Caller(str(request.remote_ip), session=key)

    def renew_cookie(self, handler: RequestHandler) -> None:
        """Give a browser that is signed in the same cookie again, so that it is kept for longer."""
        if self._session(handler.request):
            cookie = handler.request.cookies[cookie_name(handler.request)]
            self._set_cookie(handler, cookie.value)

    def end_session(self, handler: RequestHandler) -> asyncio.Future[None] | None:
        """End the session of a browser, if it has one, and have it forget its cookie; return when
        that will outlast a power cut. The sockets of the session are not closed yet, but may do no
        more than those of anybody."""
        self._set_cookie(handler, "", days=-1)
        session = self._session(handler.request)
        if session is None:
            return None
        self._sessions.end(session)
        self._distrust()
        return self._sessions.save()

    def has_ended(self, caller: Caller) -> bool:
        """Return whether the session has ended with which somebody came."""
        return caller.session is not None and self._sessions.code(caller.session) is None

    def _set_cookie(self, handler: RequestHandler, value: str, days: float = COOKIE_DAYS) -> None:
        """Set our cookie: it is kept from scripts, and not sent along by pages of other sites."""
        handler.set_cookie(
            cookie_name(handler.request),
            value,
            expires_days=days,
            httponly=True,
            samesite="Strict",
            secure=handler.request.protocol == "https",
        )

    async def sign_in(self, code: str, address: str) -> str:
        """Return the id of the code. Raises RequestError for a wrong one, and for one too many."""
        return await self._sign_in.check(code, address)

    def take_link(self, token: str) -> str:
        """Return the id of the code that a link's token stands for, which is used up by that.
        Raises RequestError; a wrong one costs no try, since nobody finds one by trying."""
        try:
            code = self._links.take(token)
        except OSError as error:
            log.error("links.json: %s: a link was refused", error.strerror, extra=LIMITED)
            words = f"the link could not be used: {error.strerror}; open it again"
            raise RequestError("unavailable", words) from None
        if self._codes.right(code) is None:
            raise RequestError("sign-in", _USED_LINK)
        assert code is not None
        return code

    def is_stronger(self, caller: Caller, code: str) -> bool:
        """Return whether somebody may already do what the code with this id allows."""
        return self.role(caller) in ("control", self._codes.right(code))

    def role(self, caller: Caller) -> Right | None:
        """Return the right of the code that was shown, as it is now."""
        session = caller.session
        return self._codes.right(self._sessions.code(session) if session else caller.code)

    def right(self, caller: Caller) -> Right:
        """What a viewer may do with pins that have no `control` of their own."""
        audience = self.access.control
        may = audience == "everyone" or (audience == "code" and self.role(caller) == "control")
        return "control" if may else "view"

    def name(self, caller: Caller) -> str:
        """Who it is, for the journal."""
        role = self.role(caller)
        return f"{caller.address} ({role} code)" if role else caller.address

    def check_view(self, caller: Caller) -> None:
        if caller.has_shown and not self.role(caller):
            raise RequestError("sign-in", "signed out, or the code was replaced: sign in again")
        if self.access.view == "code" and not self.role(caller):
            self._ask_for_code("looking needs an access code", "view")

    def may_view(self, caller: Caller) -> bool:
        try:
            self.check_view(caller)
        except RequestError:
            return False
        return True

    def code_would_help(self, pins: Iterable[schema.Pin], caller: Caller) -> bool:
        """Whether there are outputs that the control code, which was not shown, would switch."""
        outputs = [pin for pin in pins if isinstance(pin, schema.DrivenPin)]
        audiences = {pin.control or self.access.control for pin in outputs}
        return "code" in audiences and self.role(caller) != "control"

    def check_control(self, pin: schema.Pin, caller: Caller) -> None:
        audience = self._audience(pin)
        if audience == "code" and self.role(caller) != "control":
            self._ask_for_code(f"switching {pin.name} needs the control code", "control")

    def fleet_audience(self, told: Audience | None) -> Audience:
        """Return who may switch a pin of another Pi from here: those whom `access.control` lets and
        the `control` that the Pi told of. One that told of none may be of a release that does not
        tell it, and need the code."""
        return max(self.access.control, told or "code", key=_STRICTNESS.index)

    def check_fleet(self, pin: str, told: Audience | None, caller: Caller) -> None:
        """The same for one who wants to switch it. The Pi itself has its own say besides."""
        audience = self.fleet_audience(told)
        if audience == "nobody":
            words = "nobody may switch other Pis from here (access.control: nobody)"
            raise RequestError("not-allowed", words)
        if audience == "code" and self.role(caller) != "control":
            self._ask_for_code(f"switching {pin} needs the control code of this Pi", "control")

    def check_broker(self, pin: schema.Pin) -> None:
        """Whoever may publish at the broker counts as one who has the control code: the broker
        knows them, and `mqtt.control` says so."""
        self._audience(pin)

    def broker_may_control(self, pin: schema.Pin) -> bool:
        try:
            self.check_broker(pin)
        except RequestError:
            return False
        return True

    def audience(self, pin: schema.Pin) -> Audience:
        """Return who may switch a pin; of an input, who may drive it where it is simulated."""
        own = None if isinstance(pin, schema.InputPin) else pin.control
        return own or self.access.control

    def _audience(self, pin: schema.Pin) -> Audience:
        """The same. Raises RequestError where nobody may."""
        audience = self.audience(pin)
        if audience == "nobody":
            is_own = isinstance(pin, schema.DrivenPin) and pin.control
            key = f"pins.{pin.name}.control" if is_own else "access.control"
            raise RequestError("not-allowed", f"nobody may switch {pin.name} ({key}: nobody)")
        return audience

    def _ask_for_code(self, what: str, right: Right) -> None:
        if self._codes.exists(right):
            raise RequestError("sign-in", what)
        how = f"sudo raspi-server code --new {right}"
        raise RequestError("sign-in", f"{what}, and none exists yet ({how})")

    def may_control(self, pin: schema.Pin, caller: Caller) -> bool:
        try:
            self.check_control(pin, caller)
        except RequestError:
            return False
        return True

    def check_host(self, request: HTTPServerRequest) -> None:
        """A page of another site that gave its own name our address (DNS rebinding) carries that
        name as Host. An address cannot be given away, so every address is let in."""
        name = request.host_name.rstrip(".").lower()
        if _is_address(name) or _NAMESAKE.sub(".local", name) in self._names():
            return
        shown = name[:80] if name.isprintable() else "such names"
        message = (
            f"this server does not go by the name {shown}: open it by its address,"
            f" or add to config.yaml, below access:   hosts: [{shown}]"
        )
        raise RequestError("unknown-host", message)

    def check_origin(self, request: HTTPServerRequest) -> None:
        """A browser says which page asks; scripts do not. A page of ours that came by plain http is
        not ours where https is spoken: anybody on the way could have altered it. (The reverse is:
        a proxy may speak https in our name.)"""
        origin = request.headers.get("Origin")
        if origin is None:
            return
        scheme, _, host = origin.lower().partition("://")
        if host != request.host.lower() or (request.protocol == "https" and scheme != "https"):
            raise RequestError("foreign", "pages of other sites may not do this")

    def _names(self) -> set[str]:
        """Asked for each time, since a Pi can be renamed while we run."""
        full = socket.gethostname().lower()
        short = full.partition(".")[0]
        return {"localhost", full, short, f"{short}.local", *self.access.hosts}


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.strip("[]").partition("%")[0])
    except ValueError:
        return False
    return True
