"""Names of this server, the only ones that a request may have as its host.

A page of another site that points its own name at our address (DNS rebinding) sends that name."""

import ipaddress
import re
import socket
from collections.abc import Iterable

from ..errors import RequestError

_NAMESAKE = re.compile(r"-\d{1,2}\.local$")
"""The suffix that Avahi adds to the name of the second of two machines with the same name."""
_HOME_DOMAINS = ("local", "lan", "home.arpa", "internal", "localdomain", "fritz.box", "home")
"""Domains that routers and Avahi give to machines at home. No site on the internet can have this
machine's name in one of them. fritz.box itself belongs to AVM, which serves no others below it."""


def check(name: str, hosts: Iterable[str]) -> None:
    """Raise RequestError if a name in lower case is none of this server, and none of `hosts`.

    An address cannot be pointed elsewhere, so every address is allowed."""
    own = {name, _NAMESAKE.sub(".local", name), f"*.{name.partition('.')[2]}"}
    if _is_address(name) or own & {*_own_names(), *hosts}:
        return
    shown = name[:80] if name.isprintable() else "such names"
    message = (
        f"this server does not go by the name {shown}: open it by its address,"
        f" or add to config.yaml, below access:   hosts: [{shown}]"
    )
    raise RequestError("unknown-host", message)


def _own_names() -> set[str]:
    """Return the machine's names, read again each time: a Pi can be renamed at any time."""
    full = socket.gethostname().lower()
    short = full.partition(".")[0]
    return {"localhost", full, short, *(f"{short}.{domain}" for domain in _HOME_DOMAINS)}


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.strip("[]").partition("%")[0])
    except ValueError:
        return False
    return True
