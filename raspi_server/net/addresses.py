"""The name by which the network finds this machine, as Avahi tells it: of two machines that are
called the same, the second is NAME-2.local."""

import re
import socket
import subprocess

PATIENCE = 5.0
"""Seconds for Avahi to answer."""
_ASK = "busctl call org.freedesktop.Avahi / org.freedesktop.Avahi.Server GetHostNameFqdn"
_ANSWER = re.compile(r's "([a-z0-9.-]+)"', re.IGNORECASE)


def local_name() -> str:
    """What Avahi says, in lower case; where it does not run, the name it would begin with."""
    try:
        done = subprocess.run(_ASK.split(), capture_output=True, text=True, timeout=PATIENCE)
    except (OSError, subprocess.TimeoutExpired):
        told = None  # no D-Bus here
    else:
        told = _ANSWER.fullmatch(done.stdout.strip())
    return (told[1] if told else f"{socket.gethostname().partition('.')[0]}.local").lower()
