"""Clients behind proxies, by the headers that a trusted proxy adds to their requests.

X-Forwarded-For, -Proto and -Host, and Forwarded (RFC 7239). A client can send such headers itself,
and a proxy may pass them on. So each list is read from its end, where the nearest proxy adds."""

import ipaddress
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from ..config.origins import SCHEMES

_HOST = re.compile(r"[a-z0-9_.-]+(:[0-9]{1,5})?|\[[0-9a-f:.]+\](:[0-9]{1,5})?", re.IGNORECASE)
_WITH_PORT = re.compile(r"([0-9.]+):[0-9]+|\[([0-9a-f:.]+)\](?::[0-9]+)?", re.IGNORECASE)
_PAIR = re.compile(
    r'[ \t]*([\w!#$%&\'*+.^`|~-]+)=(?:"((?:[^"\\]|\\.)*)"|([^\s",;]+))[ \t]*([;,]|$)'
)
"""A pair of Forwarded, and what follows it. A value that is not quoted may be more than a token."""


class Client(NamedTuple):
    """A client: its address, and the scheme and the host by which it reached the first proxy.

    Scheme and host are None if no trusted proxy told them. `is_forwarded` is True if a proxy told
    the address. If its headers contradict each other, the address is the proxy's own."""

    address: str
    scheme: str | None = None
    host: str | None = None
    is_forwarded: bool = False
    is_contradictory: bool = False


class Proxies:
    """Addresses of proxies whose headers are believed: those of some networks."""

    def __init__(self, networks: Iterable[str] = ()) -> None:
        self.replace(networks)

    def replace(self, networks: Iterable[str]) -> None:
        """Trust these networks from now on, instead of those before. Each is valid."""
        self._networks = tuple(ipaddress.ip_network(each) for each in networks)

    def __contains__(self, address: object) -> bool:
        if not self._networks:
            return False
        found = _ip(str(address))
        return found is not None and any(found in network for network in self._networks)


def client_of(peer: str, headers: Mapping[str, str], proxies: Proxies) -> Client:
    """Return the client of a request that came from the address `peer`.

    The headers count only if `peer` is a proxy. Of several proxies the outermost one that is
    trusted tells the client. What X-Forwarded-… and Forwarded tell differently does not count."""
    if peer not in proxies:
        return Client(peer)
    told = (_from_x_forwarded(headers, proxies), _from_forwarded(headers, proxies))
    addresses = {each.address for each in told if each.is_forwarded}
    schemes = {each.scheme for each in told if each.scheme is not None}
    hosts = {each.host for each in told if each.host is not None}
    return Client(
        _only(addresses) or peer,
        _only(schemes),
        _only(hosts),
        is_forwarded=bool(addresses),
        is_contradictory=any(len(each) > 1 for each in (addresses, schemes, hosts)),
    )


def _only(told: set[str]) -> str | None:
    """Return the only member of a set, or None."""
    return next(iter(told)) if len(told) == 1 else None


def _from_x_forwarded(headers: Mapping[str, str], proxies: Proxies) -> Client:
    """Return what X-Forwarded-… tell. The address is "" if none is known."""
    hops = _items(headers.get("X-Forwarded-For", ""))
    schemes = _items(headers.get("X-Forwarded-Proto", ""))
    hosts = _items(headers.get("X-Forwarded-Host", ""))
    return Client(
        _client_hop(hops, proxies)[0],
        SCHEMES.get(schemes[-1].lower()) if schemes else None,
        _host(hosts[-1]) if hosts else None,
        is_forwarded=bool(hops),
    )


def _from_forwarded(headers: Mapping[str, str], proxies: Proxies) -> Client:
    """Return what Forwarded tells. The address is "" if it is invalid."""
    text = headers.get("Forwarded", "")
    try:
        elements = _elements(text)
    except ValueError:
        return Client("", is_forwarded=True)
    address, index = _client_hop([each.get("for", "") for each in elements], proxies)
    found = elements[index] if address else {}
    scheme, host = SCHEMES.get(found.get("proto", "").lower()), _host(found.get("host", ""))
    return Client(address, scheme, host, is_forwarded=bool(elements))


def _client_hop(hops: Sequence[str], proxies: Proxies) -> tuple[str, int]:
    """Return the first address from the end that is no proxy, and its index.

    If all are proxies, that is the first one. Before anything that is no address, the last address
    counts. Return "" without any address."""
    found, at = "", 0
    for index in range(len(hops) - 1, -1, -1):
        address = _address(hops[index])
        if address is None:
            break
        found, at = address, index
        if address not in proxies:
            break
    return found, at


def _address(text: str) -> str | None:
    """Return the address in a hop, without its port, or None if there is none."""
    with_port = _WITH_PORT.fullmatch(text)
    found = _ip((with_port[1] or with_port[2]) if with_port else text)
    return None if found is None else str(found)


def _ip(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        found = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(found, "ipv4_mapped", None) or found


def _host(text: str) -> str | None:
    return text if _HOST.fullmatch(text) else None


def _items(text: str) -> list[str]:
    return [item for each in text.split(",") if (item := each.strip())]


def _elements(text: str) -> list[dict[str, str]]:
    """Return the elements of Forwarded. Raise ValueError if any part of it is invalid.

    A client could else hide what a proxy adds in a quotation that it does not end."""
    elements: list[dict[str, str]] = []
    element: dict[str, str] = {}
    at = 0
    while at < len(text):
        found = _PAIR.match(text, at)
        if found is None or found[1].lower() in element:
            raise ValueError(text)
        quoted, plain = found[2], found[3]
        element[found[1].lower()] = plain if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
        at = found.end()
        if found[4] != ";":
            elements.append(element)
            element = {}
    if element or text.rstrip()[-1:] in (",", ";"):
        raise ValueError(text)
    return elements
