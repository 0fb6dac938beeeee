"""Message of MQTT, as this package sends and receives it."""

from typing import Any, NamedTuple


class Message(NamedTuple):
    """Message at a topic.

    `retain`: the broker had kept it, or is asked to keep it. `extra` belongs to the sender and is
    not sent. `lifetime_s`: seconds after which the broker no longer delivers it.
    """

    topic: str
    payload: bytes
    retain: bool = False
    extra: Any = None
    lifetime_s: int | None = None
