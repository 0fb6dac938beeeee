"""Addresses and names of this machine, and their form in a URL."""

import errno
import re
import socket
import subprocess

LOOPBACK = "127.0.0.1"
EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
"""Error numbers of a machine that has no file descriptor, or no memory, left for a socket."""

_AVAHI_QUERY = "busctl call org.freedesktop.Avahi / org.freedesktop.Avahi.Server GetHostNameFqdn"
_AVAHI_TIMEOUT_S = 5
_AVAHI_REPLY = re.compile(r's "([a-z0-9.-]+)"', re.IGNORECASE)

_last_own_address: str | None = None


def own_address() -> str | None:
    """Return the IPv4 address by which the network reaches this machine, None without a network.

    The check needs a file descriptor. While none is left, return the last known address."""
    global _last_own_address
    try:
        probe = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    except OSError as error:
        if error.errno not in EXHAUSTED:
            raise
        return _last_own_address
    with probe:
        try:
            probe.connect(("192.0.2.1", 9))  # TEST-NET-1; a datagram socket sends nothing here
        except OSError:
            _last_own_address = None
        else:
            _last_own_address = probe.getsockname()[0]
    return _last_own_address


def reachable_hosts() -> list[str]:
    """Return names and addresses to show to people: first loopback, then those for the network."""
    return list(dict.fromkeys(filter(None, (LOOPBACK, own_address(), _mdns_name()))))


def local_name() -> str:
    """Return the name under which Avahi publishes this machine, in lower case.

    Of two machines with the same name the second one is NAME-2.local. If Avahi does not answer
    within 5 s, return NAME.local, which it tries first."""
    query, timeout_s = _AVAHI_QUERY.split(), _AVAHI_TIMEOUT_S
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=timeout_s)
    except (OSError, subprocess.TimeoutExpired):
        reply = None  # no D-Bus here
    else:
        reply = _AVAHI_REPLY.fullmatch(done.stdout.strip())
    return (reply[1] if reply else _mdns_name()).lower()


def _mdns_name() -> str:
    """Return this machine's name on the network, provided that no other machine has the same."""
    return f"{socket.gethostname().partition('.')[0]}.local"


def in_url(host: str) -> str:
    """Return a host in the form for a URL: an IPv6 address gets brackets."""
    return f"[{host}]" if ":" in host else host
