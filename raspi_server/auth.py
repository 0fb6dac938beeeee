"""Who may look, who may touch, and under which names this server answers."""

import ipaddress
import socket

from tornado.httputil import HTTPServerRequest

from . import config
from .messages import Refused, Right


class Auth:
    """The `access` keys, asked at every request. Everything raises Refused with the reason."""

    def __init__(self, access: config.Access) -> None:
        self._access = access

    @property
    def right(self) -> Right:
        """What a viewer may do with pins that have no `control` of their own."""
        return "control" if self._access.control == "everyone" else "view"

    def check_view(self) -> None:
        if self._access.view == "code":
            raise Refused("sign-in", "looking needs an access code, and none exists yet")

    def check_control(self, pin: config.Pin) -> None:
        own = None if isinstance(pin, config.InputPin) else pin.control
        audience = own or self._access.control
        if audience == "nobody":
            key = f"pins.{pin.name}.control" if own else "access.control"
            raise Refused("not-allowed", f"nobody may switch {pin.name} ({key}: nobody)")
        if audience == "code":
            message = f"switching {pin.name} needs the control code, and none exists yet"
            raise Refused("sign-in", message)

    def may_control(self, pin: config.Pin) -> bool:
        try:
            self.check_control(pin)
        except Refused:
            return False
        return True

    def check_host(self, request: HTTPServerRequest) -> None:
        """A page of another site that gave its own name our address (DNS rebinding) carries that
        name as Host. An address cannot be given away, so every address is let in."""
        name = request.host_name.rstrip(".").lower()
        if _is_address(name) or name in self._names():
            return
        shown = name[:80] if name.isprintable() else "such names"
        message = (
            f"this server does not go by the name {shown}: open it by its address,"
            f" or add to config.yaml, below access:   hosts: [{shown}]"
        )
        raise Refused("unknown-host", message)

    def check_origin(self, request: HTTPServerRequest) -> None:
        """A browser says which page asks; scripts do not."""
        origin = request.headers.get("Origin")
        if origin is not None and origin.partition("://")[2].lower() != request.host.lower():
            raise Refused("foreign", "pages of other sites may not do this")

    def _names(self) -> set[str]:
        """Asked for each time, since a Pi can be renamed while we run."""
        full = socket.gethostname().lower()
        short = full.partition(".")[0]
        return {"localhost", full, short, f"{short}.local", *self._access.hosts}


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.strip("[]").partition("%")[0])
    except ValueError:
        return False
    return True
