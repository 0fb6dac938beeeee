"""Who may look, who may touch, and under which names this server answers."""

import ipaddress
import re
import socket
from collections.abc import Iterable
from typing import NamedTuple

from tornado.http1connection import HTTP1Connection
from tornado.httputil import HTTPServerRequest
from tornado.web import RequestHandler, create_signed_value, decode_signed_value

from . import config
from .codes import Codes
from .guests import Guest, Guests
from .messages import Refused, Right
from .signin import SignIn

COOKIE = "raspi-server"
_NAMESAKE = re.compile(r"-\d{1,2}\.local$")
"""What Avahi adds to the name of the second of two machines that are called the same."""
COOKIE_DAYS = 400
"""Browsers cap a cookie's life there; it is renewed at each visit."""


class Caller(NamedTuple):
    """Somebody at the door: from where, and the id of the code that was shown, or None."""

    address: str
    code: str | None = None


class Auth:
    """The `access` keys and the codes. All methods belong to the loop's thread; what is refused
    raises Refused with the reason."""

    def __init__(self, access: config.Access, codes: Codes, guests: Guests) -> None:
        self.access = access
        """A reload puts another in."""
        self._codes = codes
        self._guests = guests
        self._sign_in = SignIn(codes)

    def close(self) -> None:
        self._sign_in.close()

    def read_codes(self) -> None:
        """Takes the codes as they are now; those who used one that was replaced are out."""
        self._codes.read()
        self._sign_in.forget()
        self._guests.distrust(lambda code: self._codes.right(code) is None)

    async def caller(self, request: HTTPServerRequest) -> Caller:
        """Who asks, by cookie or `Authorization: Bearer`. Raises Refused for a wrong code."""
        address = str(request.remote_ip)
        header = request.headers.get("Authorization", "")
        scheme, _, code = header.partition(" ")
        if scheme.lower() == "bearer":
            id = await self.sign_in(code, address)
            self._trust(request, id)
            return Caller(address, id)
        return Caller(address, self.signed_in(request))

    def signed_in(self, request: HTTPServerRequest) -> str | None:
        """The id of a code that is still the one, from a cookie that we signed, or None."""
        cookie = request.cookies.get(COOKIE)
        if cookie is None:
            return None
        secret = self._codes.secret
        found = decode_signed_value(secret, COOKIE, cookie.value, max_age_days=COOKIE_DAYS)
        id = found.decode("ascii", "replace") if found else None
        if id is None or not self._codes.right(id):
            return None
        self._trust(request, id)
        return id

    def _trust(self, request: HTTPServerRequest, id: str) -> None:
        """Who showed the control code is not sent away when there is no room."""
        if self._codes.right(id) == "control" and isinstance(request.connection, HTTP1Connection):
            guest = request.connection.stream
            if isinstance(guest, Guest):
                self._guests.trust(guest, id)

    def give_cookie(self, handler: RequestHandler, id: str) -> None:
        """What a browser shows later in the place of the code: it is kept from scripts, and not
        sent along by pages of other sites."""
        handler.set_cookie(
            COOKIE,
            create_signed_value(self._codes.secret, COOKIE, id),
            expires_days=COOKIE_DAYS,
            httponly=True,
            samesite="Strict",
            secure=handler.request.protocol == "https",
        )

    async def sign_in(self, code: str, address: str) -> str:
        """The id of the code. Raises Refused for a wrong one, and for one too many."""
        return await self._sign_in.check(code, address)

    def role(self, caller: Caller) -> Right | None:
        """The right of the code that was shown."""
        return self._codes.right(caller.code)

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
        if caller.code and not self.role(caller):
            raise Refused("sign-in", "the code was replaced: sign in again")
        if self.access.view == "code" and not self.role(caller):
            self._ask_for_code("looking needs an access code", "view")

    def may_view(self, caller: Caller) -> bool:
        try:
            self.check_view(caller)
        except Refused:
            return False
        return True

    def code_would_help(self, pins: Iterable[config.Pin], caller: Caller) -> bool:
        """Whether there are outputs that the control code, which was not shown, would switch."""
        outputs = [pin for pin in pins if isinstance(pin, config.DrivenPin)]
        audiences = {pin.control or self.access.control for pin in outputs}
        return "code" in audiences and self.role(caller) != "control"

    def check_control(self, pin: config.Pin, caller: Caller) -> None:
        audience = self._audience(pin)
        if audience == "code" and self.role(caller) != "control":
            self._ask_for_code(f"switching {pin.name} needs the control code", "control")

    def check_fleet(self, caller: Caller) -> None:
        """Who may switch pins of other Pis from here; those have rules of their own besides."""
        if self.access.control == "nobody":
            words = "nobody may switch other Pis from here (access.control: nobody)"
            raise Refused("not-allowed", words)
        if self.right(caller) != "control":
            self._ask_for_code("switching other Pis needs the control code", "control")

    def check_broker(self, pin: config.Pin) -> None:
        """Whoever may publish at the broker counts as one who has the control code: the broker
        knows them, and `mqtt.control` says so."""
        self._audience(pin)

    def broker_may_control(self, pin: config.Pin) -> bool:
        try:
            self.check_broker(pin)
        except Refused:
            return False
        return True

    def _audience(self, pin: config.Pin) -> config.Audience:
        """Who may switch a pin. Raises Refused where nobody may."""
        own = None if isinstance(pin, config.InputPin) else pin.control
        audience = own or self.access.control
        if audience == "nobody":
            key = f"pins.{pin.name}.control" if own else "access.control"
            raise Refused("not-allowed", f"nobody may switch {pin.name} ({key}: nobody)")
        return audience

    def _ask_for_code(self, what: str, right: Right) -> None:
        if self._codes.exists(right):
            raise Refused("sign-in", what)
        how = f"sudo raspi-server code --new {right}"
        raise Refused("sign-in", f"{what}, and none exists yet ({how})")

    def may_control(self, pin: config.Pin, caller: Caller) -> bool:
        try:
            self.check_control(pin, caller)
        except Refused:
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
        raise Refused("unknown-host", message)

    def check_origin(self, request: HTTPServerRequest) -> None:
        """A browser says which page asks; scripts do not. A page of ours that came by plain http is
        not ours where https is spoken: anybody on the way could have altered it. (The reverse is:
        a proxy may speak https in our name.)"""
        origin = request.headers.get("Origin")
        if origin is None:
            return
        scheme, _, host = origin.lower().partition("://")
        if host != request.host.lower() or (request.protocol == "https" and scheme != "https"):
            raise Refused("foreign", "pages of other sites may not do this")

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
