"""Record of where this Pi publishes.

With it a later configuration removes what an earlier one left at the broker: the messages below
another topic, or an announcement to Home Assistant."""

import logging
from pathlib import Path

import msgspec

from ..system import storage
from .message import Message

_FILE = "mqtt.json"
_MAX_BYTES = 64 * 1024

log = logging.getLogger(__name__)


class Trace(msgspec.Struct, frozen=True):
    """Topics with retained messages of this Pi at one broker."""

    broker: str
    topic: str
    announcement: str | None
    """Topic of the announcement to Home Assistant."""
    pins: list[str]
    schedules: list[str] = []
    covers: list[str] = []
    components: dict[str, str] = {}
    """Platform of each announced component. The broker does not tell it if that is too much."""

    def removal(self) -> list[Message]:
        """Return the messages that remove all of it: the announcement first, the status last."""
        pins = [f"pins/{name}" for name in self.pins]
        schedules = [f"schedules/{name}" for name in self.schedules]
        covers = [f"covers/{name}" for name in self.covers]
        names = ["describe", "health", *pins, *schedules, *covers, "status"]
        topics = [f"{self.topic}/{name}" for name in names]
        if self.announcement:
            topics.insert(0, self.announcement)
        return [Message(topic, b"", retain=True) for topic in topics]


_traces = msgspec.json.Decoder(Trace)


def read(folder: Path | None) -> Trace | None:
    """Return the trace in a folder, None if there is none."""
    if folder is None:
        return None
    try:
        return _traces.decode(storage.read(folder / _FILE, _MAX_BYTES))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:  # ValueError: no JSON, or no trace
        log.warning("%s/%s: ignored: %s", folder, _FILE, error)
        return None


def write(folder: Path | None, trace: Trace) -> None:
    """Replace the trace in a folder."""
    if folder is None:
        return
    try:
        storage.replace(folder / _FILE, msgspec.json.encode(trace), durable=False)
    except OSError as error:
        log.warning("%s/%s was not written: %s", folder, _FILE, error)
