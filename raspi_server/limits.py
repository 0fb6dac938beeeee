"""Limits and timeouts of the server, in one frozen value. config.yaml does not name them; tests
give others, so that none has to wait a minute."""

import msgspec


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Each field carries its unit: `_s` are seconds. The reason for a number stands below it."""

    # cli: doctor and wait-healthy

    health_timeout_s: float = 5.0
    """For one answer of /api/health: doctor and install.sh do not wait longer for a hung server."""
    program_timeout_s: float = 5.0
    """For one answer of another program that doctor runs."""
    wait_healthy_s: float = 10.0
    """Until the server must answer that it is healthy. It is READY by then, and the first TLS
    handshake is slow on a small Pi."""


DEFAULT = Limits()
