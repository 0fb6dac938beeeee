"""Addresses and names of this machine: how others reach it, and how that is written in a URL."""

import errno
import re
import socket
import subprocess

LOOPBACK = "127.0.0.1"
EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
"""Errors for a socket that would need one more file descriptor, or more memory, than is left."""

_AVAHI_QUERY = "busctl call org.freedesktop.Avahi / org.freedesktop.Avahi.Server GetHostNameFqdn"
_AVAHI_TIMEOUT_S = 5
_AVAHI_REPLY = re.compile(r's "([a-z0-9.-]+)"', re.IGNORECASE)

_last_own_address: str | None = None


def own_address() -> str | None:
    """Return the IPv4 address by which the network reaches this machine, None without a network.
    While no descriptor is left to find out with, return the last one known."""
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
    """Return names and addresses to show to people: this machine itself, then how others reach
    it."""
    return list(dict.fromkeys(filter(None, (LOOPBACK, own_address(), _mdns_name()))))


def local_name() -> str:
    """Return the name under which Avahi publishes this machine, in lower case. Of two machines
    with the same name the second is NAME-2.local. Where Avahi does not answer, return the name that
    it would try first."""
    query, timeout_s = _AVAHI_QUERY.split(), _AVAHI_TIMEOUT_S
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=timeout_s)
    except (OSError, subprocess.TimeoutExpired):
        reply = None  # no D-Bus here
    else:
        reply = _AVAHI_REPLY.fullmatch(done.stdout.strip())
    return (reply[1] if reply else _mdns_name()).lower()


def _mdns_name() -> str:
    """Return this machine's name on the network, as if no other machine had the same."""
    return f"{socket.gethostname().partition('.')[0]}.local"


def in_url(host: str) -> str:
    """Return a host as it is written in a URL: an IPv6 address in brackets."""
    return f"[{host}]" if ":" in host else host
