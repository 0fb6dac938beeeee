"""Access policy: callers that may view, callers that may switch, and names of this server."""

import asyncio
import base64
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
from ..limits import DEFAULT, Limits
from ..messages import Audience, Right
from ..net.connections import Connection, ConnectionLimiter
from ..system.logs import LIMITED
from .codes import Codes
from .login import Login
from .sessions import Sessions
from .sign_in_links import Links

_NAMESAKE = re.compile(r"-\d{1,2}\.local$")
"""The suffix that Avahi adds to the name of the second of two machines with the same name."""
_STRICTNESS: tuple[Audience, ...] = ("everyone", "code", "nobody")
COOKIE_LIFETIME_DAYS = 400
"""The longest life that browsers give a cookie; it is renewed at each visit."""
_PORT = re.compile(r":([0-9]{1,5})$")
_DEFAULT_PORTS = {"http": "80", "https": "443"}
_USED_LINK = (
    "this link was used or is older than 15 minutes; sudo raspi-server code --qr shows a fresh one"
)

log = logging.getLogger(__name__)


class Caller(NamedTuple):
    """A client: its address, and the id of the code that it presented or the key of its session.

    It may have neither."""

    address: str
    code: str | None = None
    session: str | None = None

    @property
    def has_credential(self) -> bool:
        """True if the caller presented a code or a session, which may have ended since."""
        return self.code is not None or self.session is not None


def presents_bearer(request: HTTPServerRequest) -> bool:
    """Return True for `Authorization: Bearer`.

    No page can make a browser send it with a WebSocket, whereas browsers add cookies, and the
    password of Basic, by themselves."""
    return request.headers.get("Authorization", "").lower().startswith("bearer ")


def _code_in_header(request: HTTPServerRequest) -> str | None:
    """Return the code in `Authorization`: of Bearer, or the password of Basic with any user name.

    Return None without one. Raise RequestError."""
    scheme, _, value = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return value
    if scheme.lower() != "basic":
        return None
    try:
        return base64.b64decode(value.strip(), validate=True).decode().partition(":")[2]
    except ValueError:
        words = "expected Authorization: Basic with NAME:CODE in base64"
        raise RequestError("sign-in", words) from None


def cookie_name(request: HTTPServerRequest) -> str:
    """Return the name of our cookie, which contains the scheme and port of the request.

    Browsers send the cookies of one port to all others. Over HTTPS the name begins with
    `__Secure-`: no page loaded by plain HTTP can set it."""
    found = _PORT.search(request.host)
    port = found[1] if found else _DEFAULT_PORTS[request.protocol]
    prefix = "__Secure-" if request.protocol == "https" else ""
    return f"{prefix}raspi-server-{request.protocol}-{port}"


class AccessPolicy:
    """The `access` keys of config.yaml, the codes, and the sessions and links made with them.

    The `check_...` methods raise RequestError with the reason. All methods belong to the loop's
    thread."""

    def __init__(
        self,
        access: schema.AccessConfig,
        codes: Codes,
        sessions: Sessions,
        links: Links,
        limiter: ConnectionLimiter,
        limits: Limits = DEFAULT,
    ) -> None:
        self.access = access
        """The keys. A reload sets another value."""
        self._codes = codes
        self._sessions = sessions
        self._links = links
        self._limiter = limiter
        self._login = Login(codes, limits)

    def read_codes(self) -> None:
        """Read the codes from their file, and end the sessions of replaced codes."""
        self._codes.read()
        self._sessions.keep(lambda session: self._codes.right(session.code) is not None)
        self._unprotect()

    def set_scheme(self, scheme: str) -> None:
        """End all sessions that began over another scheme than `scheme`."""
        self._sessions.keep(lambda session: session.scheme == scheme)
        self._unprotect()

    async def caller(
        self, request: HTTPServerRequest, code: str | None = None, token: str | None = None
    ) -> Caller:
        """Return the caller of a request. Every way to sign in leads through here.

        It is known by the token of a link or by the code that it sent in a body or a message, else
        by the code in its `Authorization`, else by its cookie. Raise RequestError for a wrong code
        or token, or after too many codes."""
        address = str(request.remote_ip)
        if token is not None:
            code_id = self._take_link(token)
        else:
            code = _code_in_header(request) if code is None else code
            if code is None:
                return Caller(address, session=self._session(request))
            code_id = await self._login.check(code, address)
        self._protect(request, code_id)
        return Caller(address, code=code_id)

    def _session(self, request: HTTPServerRequest) -> str | None:
        """Return the key of the session of a request's cookie, or None."""
        cookie = request.cookies.get(cookie_name(request))
        key = self._sessions.find(cookie.value, request.protocol) if cookie else None
        if key is None or self._codes.right(self._sessions.code(key)) is None:
            return None
        self._protect(request, key)
        return key

    def _protect(self, request: HTTPServerRequest, credential: str) -> None:
        """Exempt the connection of a request from eviction if it presented the control code."""
        if isinstance(request.connection, HTTP1Connection):
            self.protect(request.connection.stream, credential)

    def protect(self, connection: object, credential: str) -> None:
        """Exempt a connection from eviction if it presented the control code.

        `credential` is the code's id or a session's key."""
        if isinstance(connection, Connection) and self._right_of(credential) == "control":
            self._limiter.protect(connection, credential)

    def _unprotect(self) -> None:
        """Make connections whose code or session has ended evictable again."""
        self._limiter.unprotect(lambda credential: self._right_of(credential) is None)

    def _right_of(self, credential: str) -> Right | None:
        return self._codes.right(credential) or self._codes.right(self._sessions.code(credential))

    async def begin_session(self, handler: RequestHandler, code: str) -> Caller:
        """Give a browser a cookie for the code with this id, and return its new caller.

        The session that the browser had ends. Its WebSockets are not closed here."""
        request = handler.request
        before = self._session(request)
        if before:
            self._sessions.end(before)
        cookie, key = self._sessions.begin(code, request.protocol)
        self._unprotect()
        self._protect(request, key)
        await self._sessions.save()
        self._set_cookie(handler, cookie)
        return Caller(str(request.remote_ip), session=key)

    def renew_cookie(self, handler: RequestHandler) -> None:
        """Send a signed-in browser its cookie again, so that the browser keeps it longer."""
        if self._session(handler.request):
            cookie = handler.request.cookies[cookie_name(handler.request)]
            self._set_cookie(handler, cookie.value)

    def end_session(self, handler: RequestHandler) -> asyncio.Future[None] | None:
        """End the session of a browser, if it has one, and delete its cookie.

        Return a future that is done when a power cut cannot undo that, or None without a session.
        The WebSockets of the session are not closed here, but have lost its rights."""
        self._set_cookie(handler, "", days=-1)
        session = self._session(handler.request)
        if session is None:
            return None
        self._sessions.end(session)
        self._unprotect()
        return self._sessions.save()

    def has_ended(self, caller: Caller) -> bool:
        """Return True if the caller came with a session that has ended."""
        return caller.session is not None and self._sessions.code(caller.session) is None

    def _set_cookie(
        self, handler: RequestHandler, value: str, days: float = COOKIE_LIFETIME_DAYS
    ) -> None:
        """Set our cookie so that scripts cannot read it and pages of other sites do not send it."""
        handler.set_cookie(
            cookie_name(handler.request),
            value,
            expires_days=days,
            httponly=True,
            samesite="Strict",
            secure=handler.request.protocol == "https",
        )

    def _take_link(self, token: str) -> str:
        """Use a link's token up, and return the id of the code that it was made for.

        Raise RequestError. A wrong token costs no attempt, since tokens cannot be guessed."""
        try:
            code = self._links.take(token)
        except OSError as error:
            log.error("links.json: %s: a link was rejected", error.strerror, extra=LIMITED)
            words = f"the link could not be used: {error.strerror}; open it again"
            raise RequestError("unavailable", words) from None
        if self._codes.right(code) is None:
            raise RequestError("sign-in", _USED_LINK)
        assert code is not None
        return code

    def is_stronger(self, caller: Caller, code: str) -> bool:
        """Return True if the caller has all rights of the code with this id already."""
        return self.role(caller) in ("control", self._codes.right(code))

    def role(self, caller: Caller) -> Right | None:
        """Return the right of the caller's code, or None without one or if it was replaced."""
        session = caller.session
        return self._codes.right(self._sessions.code(session) if session else caller.code)

    def right(self, caller: Caller) -> Right:
        """Return the caller's right for pins that have no `control` key of their own."""
        audience = self.access.control
        may = audience == "everyone" or (audience == "code" and self.role(caller) == "control")
        return "control" if may else "view"

    def name(self, caller: Caller) -> str:
        """Return the caller's address and role, for the log."""
        role = self.role(caller)
        return f"{caller.address} ({role} code)" if role else caller.address

    def check_view(self, caller: Caller) -> None:
        """Raise RequestError if the caller may not view the pins."""
        if caller.has_credential and not self.role(caller):
            raise RequestError("sign-in", "signed out, or the code was replaced: sign in again")
        if self.access.view == "code" and not self.role(caller):
            self._ask_for_code("viewing needs an access code", "view")

    def may_view(self, caller: Caller) -> bool:
        """Return True if the caller may view the pins."""
        try:
            self.check_view(caller)
        except RequestError:
            return False
        return True

    def code_would_help(self, pins: Iterable[schema.PinConfig], caller: Caller) -> bool:
        """Return True if the control code would let the caller switch more of these pins.

        It is False for a caller that presented that code."""
        outputs = [pin for pin in pins if isinstance(pin, schema.DrivenConfig)]
        audiences = {pin.control or self.access.control for pin in outputs}
        return "code" in audiences and self.role(caller) != "control"

    def check_control(self, pin: schema.PinConfig, caller: Caller) -> None:
        """Raise RequestError if the caller may not switch a pin."""
        audience = self._audience(pin)
        if audience == "code" and self.role(caller) != "control":
            self._ask_for_code(f"switching {pin.name} needs the control code", "control")

    def fleet_audience(self, published: Audience | None) -> Audience:
        """Return the audience that may switch a pin of another Pi from here.

        It is the stricter of `access.control` and the `control` that the other Pi published. A Pi
        that published none counts as `code`: its release may not publish it."""
        return max(self.access.control, published or "code", key=_STRICTNESS.index)

    def check_fleet(self, pin: str, published: Audience | None, caller: Caller) -> None:
        """Raise RequestError if the caller may not switch a pin of another Pi from here.

        That Pi checks the command by its own policy, too."""
        audience = self.fleet_audience(published)
        if audience == "nobody":
            words = "nobody may switch other Pis from here (access.control: nobody)"
            raise RequestError("not-allowed", words)
        if audience == "code" and self.role(caller) != "control":
            self._ask_for_code(f"switching {pin} needs the control code of this Pi", "control")

    def check_broker(self, pin: schema.PinConfig) -> None:
        """Raise RequestError if the broker's clients may not switch a pin.

        They count as callers with the control code: the broker checks their passwords, and
        `mqtt.control` allows it."""
        self._audience(pin)

    def check_hook(self, pin: schema.PinConfig) -> None:
        """Raise RequestError if nobody may switch a pin. A hook needs no code: it has a secret."""
        self._audience(pin)

    def broker_may_control(self, pin: schema.PinConfig) -> bool:
        """Return True if the broker's clients may switch a pin."""
        try:
            self.check_broker(pin)
        except RequestError:
            return False
        return True

    def audience(self, pin: schema.PinConfig) -> Audience:
        """Return the audience that may switch an output, or drive a simulated input."""
        own = pin.control if isinstance(pin, schema.DrivenConfig) else None
        return own or self.access.control

    def _audience(self, pin: schema.PinConfig) -> Audience:
        """Return the audience of a pin. Raise RequestError if it is `nobody`."""
        audience = self.audience(pin)
        if audience == "nobody":
            is_own = isinstance(pin, schema.DrivenConfig) and pin.control
            key = f"pins.{pin.name}.control" if is_own else "access.control"
            raise RequestError("not-allowed", f"nobody may switch {pin.name} ({key}: nobody)")
        return audience

    def _ask_for_code(self, what: str, right: Right) -> None:
        if self._codes.exists(right):
            raise RequestError("sign-in", what)
        how = f"sudo raspi-server code --new {right}"
        raise RequestError("sign-in", f"{what}, and none exists yet ({how})")

    def may_control(self, pin: schema.PinConfig, caller: Caller) -> bool:
        """Return True if the caller may switch a pin."""
        try:
            self.check_control(pin, caller)
        except RequestError:
            return False
        return True

    def check_host(self, request: HTTPServerRequest) -> None:
        """Raise RequestError if `Host` is not a name of this server.

        A page of another site that points its own name at our address (DNS rebinding) sends that
        name. An address cannot be pointed elsewhere, so every address is allowed."""
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
        """Raise RequestError if a page of another site sent the request.

        Browsers name the site in `Origin`; scripts send none. With HTTPS a page loaded by plain
        HTTP counts as another site, since it could have been altered on the way. The reverse is
        allowed: a proxy may serve HTTPS in our name."""
        origin = request.headers.get("Origin")
        if origin is None:
            return
        scheme, _, host = origin.lower().partition("://")
        if host != request.host.lower() or (request.protocol == "https" and scheme != "https"):
            raise RequestError("foreign", "pages of other sites may not do this")

    def _names(self) -> set[str]:
        """Return this server's names, read again each time: a Pi can be renamed at any time."""
        full = socket.gethostname().lower()
        short = full.partition(".")[0]
        return {"localhost", full, short, f"{short}.local", *self.access.hosts}


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.strip("[]").partition("%")[0])
    except ValueError:
        return False
    return True
