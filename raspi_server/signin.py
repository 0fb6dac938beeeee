"""Signing in with an access code: looked at off the loop, remembered once proved, and slowed for
whoever sends wrong ones, address by address, so that nobody else is locked out."""

import asyncio
import hmac
import ipaddress
import logging
import math
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor

from .codes import Codes
from .journal import LIMITED
from .messages import Refused

TRIES_AT_ONCE = 5
TRY_EVERY = 10.0
"""Wrong codes from one address, and the seconds after which it has one more try."""
MOST_CHECKS = 16
"""Codes that may wait to be looked at, of all addresses together."""
_MOST_ADDRESSES = 1024
_MOST_PROVED = 64
"""Addresses and proved codes kept in mind; the ones longest not seen are forgotten first."""

log = logging.getLogger(__name__)


class SignIn:
    """All methods belong to the loop's thread."""

    def __init__(self, codes: Codes) -> None:
        self._codes = codes
        self._worker = ThreadPoolExecutor(1, "codes")  # starts no thread before it is needed
        self._waiting = 0
        self._proved: OrderedDict[bytes, str] = OrderedDict()
        self._tries: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def close(self) -> None:
        """Nobody waits for a code any more."""
        self._worker.shutdown(wait=False, cancel_futures=True)

    def forget(self) -> None:
        """The codes are others now."""
        self._proved.clear()

    async def check(self, code: str, address: str) -> str:
        """The id of the code. Raises Refused for a wrong one, and for one too many."""
        proof = hmac.digest(self._codes.secret, code.encode(), "sha256")
        found = self._proved.get(proof)
        if found is None:
            self._check_tries(address)
            self._waiting += 1
            try:
                loop = asyncio.get_running_loop()
                found = await loop.run_in_executor(self._worker, self._codes.find, code)
            finally:
                self._waiting -= 1
            if found is None:
                self._note_wrong(address)
                raise Refused("sign-in", "this is not the code")
        self._proved[proof] = found
        self._proved.move_to_end(proof)
        if len(self._proved) > _MOST_PROVED:
            self._proved.popitem(last=False)
        return found

    def _check_tries(self, address: str) -> None:
        left, _ = self._left(address)
        if left < 1:
            wait = math.ceil((1 - left) * TRY_EVERY)
            raise Refused("too-fast", f"too many wrong codes: try again in {wait} s")
        if self._waiting >= MOST_CHECKS:
            raise Refused("too-fast", "too many codes to look at: try again in a few seconds")

    def _left(self, address: str) -> tuple[float, float]:
        """How many wrong codes an address may still send, and the moment."""
        now = asyncio.get_running_loop().time()
        left, moment = self._tries.get(_network(address), (float(TRIES_AT_ONCE), now))
        return min(TRIES_AT_ONCE, left + (now - moment) / TRY_EVERY), now

    def _note_wrong(self, address: str) -> None:
        left, now = self._left(address)
        network = _network(address)
        self._tries[network] = (left - 1, now)
        self._tries.move_to_end(network)
        if len(self._tries) > _MOST_ADDRESSES:
            self._tries.popitem(last=False)
        more = "" if left >= 2 else "; it has to wait before it may try again"
        log.warning("%s: a wrong access code%s", address, more, extra=LIMITED)


def _network(address: str) -> str:
    """Whom to count as one: an IPv4 address, or the /64 in which a machine can pick any address."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if found.version == 4 or found.is_link_local:
        return address
    return str(ipaddress.ip_network((found, 64), strict=False))
