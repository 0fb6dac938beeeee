"""Limits and timeouts of the server, in one frozen value. config.yaml does not name them; tests
give others, so that none has to wait a minute."""

import msgspec


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Each field carries its unit: `_s` are seconds. The reason for a number stands below it."""


DEFAULT = Limits()
