"""Access policy: callers that may view, callers that may switch, and names of this server."""

import asyncio
import base64
import logging
import re
from collections.abc import Iterable
from typing import NamedTuple

from tornado.httputil import HTTPServerRequest, split_host_and_port
from tornado.web import RequestHandler

from ..config import origins, schema
from ..errors import RequestError, refusal
from ..limits import DEFAULT, Limits
from ..messages import Audience, Right
from ..net.connections import Connection, ConnectionLimiter
from ..net.forwarded import Client, client_of
from ..system.logs import LIMITED
from . import host_names, origin_check
from .codes import Codes
from .login import Login
from .sessions import Sessions
from .sign_in_links import Links

Switched = schema.PinConfig | schema.CoverConfig
"""What callers may switch, or move, by its `control`."""
_CONTROLLED = (schema.DrivenConfig, schema.CoverConfig)
_STRICTNESS: tuple[Audience, ...] = ("everyone", "code", "nobody")
COOKIE_LIFETIME_DAYS = 400
"""The longest life that browsers give a cookie; it is renewed at each visit."""
_PORT = re.compile(r":([0-9]{1,5})$")
_DEFAULT_PORTS = {"http": "80", "https": "443"}
_PLAIN_PATH = re.compile(r"((?:/[\w.~-]+)*)/?", re.ASCII)
_CLIENT = "raspi_server_client"
"""The attribute of a request with its Client."""
_BY_PROXY = "+proxy"
"""The end of a session's scheme that a trusted proxy told: our own may be another one."""
COOKIES_DECLINED = "cookies=no"
"""The query of a request that wants its cookie not to count. Browsers send it with a WebSocket."""

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


def _client(request: HTTPServerRequest) -> Client:
    """Return the client of a request, as `AccessPolicy.identify` found it."""
    return getattr(request, _CLIENT, None) or Client(str(request.remote_ip))


def _peer(request: HTTPServerRequest) -> str:
    """Return the address from which a request came: a proxy's, if there is one."""
    return str(getattr(getattr(request.connection, "context", None), "remote_ip", ""))


def _connection(request: HTTPServerRequest) -> Connection | None:
    """Return the connection of a request, None once the client has closed it."""
    stream = getattr(request.connection, "stream", None)
    return stream if isinstance(stream, Connection) else None


def _session_scheme(request: HTTPServerRequest) -> str:
    """Return the scheme to which a session is bound; one that a proxy told is another one."""
    return request.protocol + (_BY_PROXY if _client(request).scheme else "")


def _cookies(request: HTTPServerRequest) -> list[str]:
    """Return the values of all cookies that have our name.

    Another site below another path of the same host may have set one, too."""
    pairs = (each.strip().partition("=") for each in request.headers.get("Cookie", "").split(";"))
    name = cookie_name(request)
    return [value for key, _, value in pairs if key == name]


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
        self._codes = codes
        self._sessions = sessions
        self._links = links
        self._limiter = limiter
        self._login = Login(codes, limits)
        self.access = access

    @property
    def access(self) -> schema.AccessConfig:
        """The keys. A reload sets another value."""
        return self._access

    @access.setter
    def access(self, access: schema.AccessConfig) -> None:
        self._access = access
        self._limiter.proxies.replace(access.proxies)

    def read_codes(self) -> None:
        """Read the codes from their file, and end the sessions of replaced codes."""
        self._codes.read()
        self._sessions.keep(lambda session: self._codes.right(session.code) is not None)
        self._unprotect()

    def set_scheme(self, scheme: str) -> None:
        """End all sessions that began over another scheme than `scheme`, unless a proxy told it."""
        told = [f"{each}{_BY_PROXY}" for each in _DEFAULT_PORTS if self.access.proxies]
        self._sessions.keep(lambda session: session.scheme in (scheme, *told))
        self._unprotect()

    def identify(self, request: HTTPServerRequest) -> None:
        """Give a request the address, scheme and host of its client, if a trusted proxy tells them.

        `request.headers["Host"]` stays as the proxy sent it."""
        peer = str(request.remote_ip)
        if peer not in self._limiter.proxies:
            return
        client = client_of(peer, request.headers, self._limiter.proxies)
        if client.is_contradictory:
            words = "%s: Forwarded and X-Forwarded-… differ: what they contradict does not count"
            log.info(
                words + "; let this proxy remove the one that it does not set", peer, extra=LIMITED
            )
        request.remote_ip = client.address
        request.protocol = client.scheme or request.protocol
        request.host = client.host or request.host
        request.host_name = split_host_and_port(request.host.lower())[0]
        setattr(request, _CLIENT, client)

    def admit_viewer(
        self, request: HTTPServerRequest, connection: Connection, caller: Caller
    ) -> bool:
        """Count the connection of a viewer that a proxy forwarded for the address of its caller.

        Return False if that has too many, all of them protected from eviction."""
        if not _client(request).is_forwarded:
            return True
        is_admitted = self._limiter.admit_client(connection, caller.address)
        credential = caller.code or caller.session
        if is_admitted and credential:
            self.protect(connection, credential)
        return is_admitted

    async def caller(
        self, request: HTTPServerRequest, code: str | None = None, token: str | None = None
    ) -> Caller:
        """Return the caller of a request. Every way to sign in leads through here.

        It is known by the token of a link or by the code that it sent in a body or a message, else
        by the code in its `Authorization`, else by its cookie. What browsers send by themselves,
        the cookie and Basic, counts only for our own pages, and not if the request declines
        cookies, as our pages do while another site frames them. Raise RequestError for a wrong code
        or token, or after too many codes."""
        address = str(request.remote_ip)
        if token is not None:
            code_id = self._take_link(token)
        else:
            is_own = request.query != COOKIES_DECLINED and not self.listed_origin(request)
            if code is None and (is_own or presents_bearer(request)):
                code = _code_in_header(request)
            if code is None:
                return Caller(address, session=self._session(request) if is_own else None)
            code_id = await self._login.check(code, address)
        self.protect(_connection(request), code_id)
        return Caller(address, code=code_id)

    def _session(self, request: HTTPServerRequest) -> str | None:
        """Return the key of the session of a request's cookie, or None."""
        cookie = self._cookie(request)
        key = cookie and self._sessions.find(cookie, _session_scheme(request))
        if not key or self._codes.right(self._sessions.code(key)) is None:
            return None
        self.protect(_connection(request), key)
        return key

    def _cookie(self, request: HTTPServerRequest) -> str | None:
        """Return the first cookie of a request that has a session, or None."""
        scheme = _session_scheme(request)
        return next((each for each in _cookies(request) if self._sessions.find(each, scheme)), None)

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

    async def begin_session(
        self, handler: RequestHandler, code: str, path: str | None = None
    ) -> Caller:
        """Give a browser a cookie for the code with this id, and return its new caller.

        `path` is where the browser reaches this server; it becomes the cookie's if it is plain.
        Without one the browser takes the folder of the address that it asked for.

        The session that the browser had ends. Its WebSockets are not closed here."""
        request = handler.request
        before = self._session(request)
        if before:
            self._sessions.end(before)
        cookie, key = self._sessions.begin(code, _session_scheme(request))
        self._unprotect()
        self.protect(_connection(request), key)
        await self._sessions.save()
        self._set_cookie(handler, cookie, path)
        return Caller(str(request.remote_ip), session=key)

    def renew_cookie(self, handler: RequestHandler) -> None:
        """Send a signed-in browser its cookie again, so that the browser keeps it longer."""
        cookie = self._cookie(handler.request)
        if cookie and self._session(handler.request):
            self._set_cookie(handler, cookie, None)  # browsers take the path of the page

    def end_session(
        self, handler: RequestHandler, path: str | None = None
    ) -> asyncio.Future[None] | None:
        """End the session of a browser, if it has one, and delete its cookie of this path.

        Return a future that is done when a power cut cannot undo that, or None without a session.
        The WebSockets of the session are not closed here, but have lost its rights."""
        self._set_cookie(handler, "", path, days=-1)
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
        self,
        handler: RequestHandler,
        value: str,
        path: str | None,
        days: float = COOKIE_LIFETIME_DAYS,
    ) -> None:
        """Set our cookie so that scripts cannot read it and pages of other sites do not send it.

        The slash at the end of a path is left out, as in the path that browsers take themselves."""
        plain = _PLAIN_PATH.fullmatch(path or "")
        handler.set_cookie(
            cookie_name(handler.request),
            value,
            path="" if path is None else (plain[1] if plain else "") or "/",
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
            raise refusal("link-failed", why=str(error.strerror)) from None
        if self._codes.right(code) is None:
            raise refusal("used-link", command="sudo raspi-server code --qr")
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
            raise refusal("session-ended")
        if self.access.view == "code" and not self.role(caller):
            raise self._needs_code("view", "view-needs-code", "no-view-code")

    def may_view(self, caller: Caller) -> bool:
        """Return True if the caller may view the pins."""
        try:
            self.check_view(caller)
        except RequestError:
            return False
        return True

    def code_would_help(self, pins: Iterable[Switched], caller: Caller) -> bool:
        """Return True if the control code would let the caller switch more of these pins.

        It is False for a caller that presented that code."""
        outputs = [pin for pin in pins if isinstance(pin, _CONTROLLED)]
        audiences = {pin.control or self.access.control for pin in outputs}
        return "code" in audiences and self.role(caller) != "control"

    def check_clock(self, caller: Caller) -> None:
        """Raise RequestError if the caller may not say that the clock is right."""
        if "control" not in (self.role(caller), self.right(caller)):
            raise self._needs_code("control", "clock-needs-code", "no-clock-code")

    def check_control(self, pin: Switched, caller: Caller) -> None:
        """Raise RequestError if the caller may not switch a pin."""
        audience = self._audience(pin)
        if audience == "code" and self.role(caller) != "control":
            names = ("switching-needs-code", "no-control-code")
            raise self._needs_code("control", *names, label=pin.label)

    def fleet_audience(self, published: Audience | None) -> Audience:
        """Return the audience that may switch a pin of another Pi from here.

        It is the stricter of `access.control` and the `control` that the other Pi published. A Pi
        that published none counts as `code`: its release may not publish it."""
        return max(self.access.control, published or "code", key=_STRICTNESS.index)

    def check_fleet(self, pi: str, label: str, published: Audience | None, caller: Caller) -> None:
        """Raise RequestError if the caller may not switch a pin of the other Pi `pi` from here.

        That Pi checks the command by its own policy, too."""
        audience = self.fleet_audience(published)
        if audience == "nobody":
            raise refusal("fleet-nobody")
        if audience == "code" and self.role(caller) != "control":
            names = ("fleet-needs-code", "no-fleet-code")
            raise self._needs_code("control", *names, label=label, pi=pi)

    def check_broker(self, pin: Switched) -> None:
        """Raise RequestError if the broker's clients may not switch a pin.

        They count as callers with the control code: the broker checks their passwords, and
        `mqtt.control` allows it."""
        self._audience(pin)

    def check_hook(self, pin: Switched) -> None:
        """Raise RequestError if nobody may switch a pin. A hook needs no code: it has a secret."""
        self._audience(pin)

    def broker_may_control(self, pin: Switched) -> bool:
        """Return True if the broker's clients may switch a pin."""
        try:
            self.check_broker(pin)
        except RequestError:
            return False
        return True

    def audience(self, pin: Switched) -> Audience:
        """Return the audience that may switch an output, or drive a simulated input."""
        own = pin.control if isinstance(pin, _CONTROLLED) else None
        return own or self.access.control

    def _audience(self, pin: Switched) -> Audience:
        """Return the audience of a pin. Raise RequestError if it is `nobody`."""
        audience = self.audience(pin)
        if audience == "nobody":
            is_own = isinstance(pin, _CONTROLLED) and pin.control
            section = "covers" if isinstance(pin, schema.CoverConfig) else "pins"
            key = f"{section}.{pin.name}.control" if is_own else "access.control"
            raise refusal("nobody", label=pin.label, key=key)
        return audience

    def _needs_code(self, right: Right, name: str, none_yet: str, **values: str) -> RequestError:
        """Return the error `name`, or `none_yet` if there is no code that would help."""
        if self._codes.exists(right) or self._codes.exists("control"):
            return refusal(name, **values)
        return refusal(none_yet, command=f"sudo raspi-server code --new {right}", **values)

    def may_control(self, pin: Switched, caller: Caller) -> bool:
        """Return True if the caller may switch a pin."""
        try:
            self.check_control(pin, caller)
        except RequestError:
            return False
        return True

    def check_host(self, request: HTTPServerRequest) -> None:
        """Raise RequestError if `Host` is not a name of this server.

        A client can send the `X-Forwarded-Host` that a proxy passes on, so `Host` is checked in any
        case."""
        sent = split_host_and_port(request.headers.get("Host", request.host).lower())[0]
        for name in dict.fromkeys((sent, request.host_name)):
            host_names.check(name.rstrip("."), self.access.hosts)

    def check_origin(self, request: HTTPServerRequest, only_own: bool = False) -> None:
        """Raise RequestError if a page of another site sent the request.

        Those of `access.origins` may, unless the request is for our own pages only.

        Browsers name the site in `Origin`; scripts send none."""
        text = request.headers.get("Origin")
        if text is None or self._is_own_page(text, request):
            return
        if self.listed_origin(request):
            if not only_own:
                return
            words = "pages of access.origins get no cookie: expected Authorization: Bearer CODE"
            raise refusal("foreign", why=words)
        peer = _peer(request)
        words = origin_check.refusal(text, request.protocol, request.host, peer)
        log.info("%s: refused: %s", request.remote_ip, words, extra=LIMITED)
        raise refusal("foreign", why=words)

    def listed_origin(self, request: HTTPServerRequest) -> str | None:
        """Return the origin of the page that sent the request if `access.origins` has it.

        Return None for our own pages."""
        text = request.headers.get("Origin")
        if not self.access.origins or text is None or self._is_own_page(text, request):
            return None
        origin = str(origins.parse(text))
        return origin if origin in self.access.origins else None

    def _is_own_page(self, text: str, request: HTTPServerRequest) -> bool:
        """Return True if an `Origin` is that of the server that the request is for."""
        origin = origins.parse(text)
        return origin is not None and origin_check.is_own(origin, request.protocol, request.host)
