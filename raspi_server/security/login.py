"""Signing in with an access code, slowed for each network that sends wrong ones."""

import asyncio
import ipaddress
import logging
import math

from ..errors import RequestError
from ..system.logs import LIMITED
from .codes import Codes

TRIES_AT_ONCE = 5
TRY_EVERY = 10.0
"""Wrong codes from one network, and the seconds after which it has one more try."""
MOST_NETWORKS = 1024
OLD_AT_ONCE = 3
OLD_EVERY = 10.0
"""Looks at codes that older releases made, of all networks together, and the seconds after which
there is one more: each costs a Pi Zero a second or two."""

log = logging.getLogger(__name__)


class Tries:
    """A count for each key: `at_once` tries, and one more every `every` seconds. Kept is when a key
    has all its tries again.

    Of more than `most` keys the one is forgotten that has its tries soonest. So a count that has
    run out is forgotten only when `most` others have run out, too: whoever had so many networks
    would gain no more by it than those give."""

    def __init__(self, at_once: int, every: float, most: int = 1) -> None:
        self._every = every
        self._room = (at_once - 1) * every
        self._most = most
        self._full_at: dict[str, float] = {}

    def wait(self, key: str, now: float) -> float:
        """Return the seconds until the key has a try; 0 or less where it has one."""
        return self._full_at.get(key, now) - now - self._room

    def take(self, key: str, now: float) -> None:
        """Take one try away."""
        if key not in self._full_at and len(self._full_at) >= self._most:
            del self._full_at[min(self._full_at, key=self._full_at.__getitem__)]
        self._full_at[key] = max(self._full_at.get(key, now), now) + self._every

    def give_back(self, key: str) -> None:
        """Undo one `take`."""
        if key in self._full_at:
            self._full_at[key] -= self._every


class SignIn:
    """All methods belong to the loop's thread."""

    def __init__(self, codes: Codes) -> None:
        self._codes = codes
        self._tries = Tries(TRIES_AT_ONCE, TRY_EVERY, MOST_NETWORKS)
        self._old = Tries(OLD_AT_ONCE, OLD_EVERY)

    async def check(self, code: str, address: str) -> str:
        """Return the id of the code. Raises RequestError for a wrong one, and whatever it is where
        the network has sent too many wrong ones."""
        network = network_of(address)
        now = asyncio.get_running_loop().time()
        wait = self._tries.wait(network, now)
        if wait > 0:
            message = f"too many wrong codes: try again in {math.ceil(wait)} s"
            raise RequestError("too-fast", message)
        self._tries.take(network, now)
        found = self._codes.find(code)
        if found is None and self._codes.has_old:
            try:
                found = await self._find_old(code, now)
            except RequestError:
                self._tries.give_back(network)
                raise
        if found is None:
            more = "; it has to wait before it may try again"
            is_last = self._tries.wait(network, now) > 0
            words = "%s: a wrong access code%s"
            log.warning(words, address, more if is_last else "", extra=LIMITED)
            raise RequestError("sign-in", "this is not the code")
        self._tries.give_back(network)
        return found

    async def _find_old(self, code: str, now: float) -> str | None:
        """Look at the codes that an older release made; only until each was used once, or
        replaced."""
        if self._old.wait("", now) > 0:
            message = (
                "too many codes to check: try again in a minute, or make a link that needs none:"
                " sudo raspi-server code --qr"
            )
            raise RequestError("too-fast", message)
        self._old.take("", now)
        found = await asyncio.to_thread(self._codes.find_old, code)
        if found:
            self._codes.read()
        return found


def network_of(address: str) -> str:
    """Return whom to count as one: an IPv4 address; for IPv6 the /64 in which a machine can pick
    any address; and all that are link-local, of which it can pick any, too."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    found = getattr(found, "ipv4_mapped", None) or found
    if found.is_link_local:
        return "link-local"
    if found.version == 4:
        return str(found)
    return str(ipaddress.ip_network((found, 64), strict=False))
