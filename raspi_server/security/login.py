"""Login with an access code, with a wait for networks that send wrong codes."""

import asyncio
import ipaddress
import logging
import math

from ..errors import RequestError, refusal
from ..limits import DEFAULT, Limits
from ..system.logs import LIMITED
from .codes import Codes

log = logging.getLogger(__name__)


class AttemptLimiter:
    """Attempts for each key: `burst` at once, and one more every `interval_s` seconds.

    For each key the time is stored at which it has all its attempts again. Beyond `max_keys` keys
    the one that has all its attempts soonest is forgotten. So an exhausted key is forgotten only
    when `max_keys` others are exhausted, too. A client with so many networks gains little by that:
    each of them gives it attempts anyway. `now` is a time of a monotonic clock, in seconds."""

    def __init__(self, burst: int, interval_s: float, max_keys: int = 1) -> None:
        self._interval_s = interval_s
        self._burst_s = (burst - 1) * interval_s
        self._max_keys = max_keys
        self._full_at: dict[str, float] = {}

    def wait(self, key: str, now: float) -> float:
        """Return the seconds until the key has an attempt, 0 or less if it has one."""
        return self._full_at.get(key, now) - now - self._burst_s

    def take(self, key: str, now: float) -> None:
        """Use one attempt up."""
        if key not in self._full_at and len(self._full_at) >= self._max_keys:
            del self._full_at[min(self._full_at, key=self._full_at.__getitem__)]
        self._full_at[key] = max(self._full_at.get(key, now), now) + self._interval_s

    def give_back(self, key: str) -> None:
        """Undo one `take`."""
        if key in self._full_at:
            self._full_at[key] -= self._interval_s


class Login:
    """The check of access codes. All methods belong to the loop's thread."""

    def __init__(self, codes: Codes, limits: Limits = DEFAULT) -> None:
        self._codes = codes
        self._attempts = AttemptLimiter(
            limits.code_attempts, limits.code_retry_interval_s, limits.max_code_networks
        )
        self._legacy_attempts = AttemptLimiter(
            limits.legacy_code_attempts, limits.legacy_code_retry_interval_s
        )

    async def check(self, code: str, address: str) -> str:
        """Return the id of a code.

        Raise RequestError for a wrong code, and for any code while the network of `address` has
        sent too many wrong ones."""
        network = network_of(address)
        now = asyncio.get_running_loop().time()
        wait = self._attempts.wait(network, now)
        if wait > 0:
            raise refusal("wrong-codes", seconds=math.ceil(wait))
        self._attempts.take(network, now)
        found = self._codes.find(code)
        if found is None and self._codes.has_legacy:
            try:
                found = await self._find_legacy(code, now)
            except RequestError:
                self._attempts.give_back(network)
                raise
        if found is None:
            more = "; it has to wait before it may try again"
            is_last = self._attempts.wait(network, now) > 0
            words = "%s: a wrong access code%s"
            log.warning(words, address, more if is_last else "", extra=LIMITED)
            raise refusal("wrong-code")
        self._attempts.give_back(network)
        return found

    async def _find_legacy(self, code: str, now: float) -> str | None:
        """Return the id of a code of an older release, or None; each is checked here only once."""
        if self._legacy_attempts.wait("", now) > 0:
            raise refusal("slow-codes", command="sudo raspi-server code --qr")
        self._legacy_attempts.take("", now)
        found = await asyncio.to_thread(self._codes.find_legacy, code)
        if found:
            self._codes.read()
        return found


def network_of(address: str) -> str:
    """Return the network of an address, whose attempts are counted together.

    It is an IPv4 address, an IPv6 /64, in which a machine can pick any address, or all link-local
    addresses, for the same reason."""
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
