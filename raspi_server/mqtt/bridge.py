"""Bridge that publishes one Pi at an MQTT broker and carries out commands from there.

Changes made while the broker is unreachable are kept and published later under another topic: the
retained topic always has the present state."""

import asyncio
import logging
import math
import re
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import msgspec
from msgspec import Raw

from ..config import schema
from ..decoding import pin_value, shorten
from ..errors import Ref, RequestError
from ..gpio.pin import PinChange
from ..limits import DEFAULT, Limits
from ..messages import (
    MAX_MESSAGE_BYTES,
    UNREADABLE,
    Command,
    Description,
    Error,
    Health,
    PinInfo,
    PinState,
    Result,
    ServerInfo,
    Set,
    Value,
    decode_command,
    encode,
)
from ..net.rate_limit import TokenBucket
from ..system.ticker import Ticker
from . import discovery
from .broker_config import BrokerConfig
from .client import MqttClient, MqttListener
from .message import Message
from .outbox import Outbox

_NAME = re.compile(schema.NAME)
_FIRST_OF_NUMBER = tuple(b"%c" % each for each in b"-0123456789")

log = logging.getLogger(__name__)


@dataclass
class LocalPi:
    """Functions of this Pi that the bridge calls. Each returns the present state.

    `carry_out` raises RequestError, or its future does; `url` is the address of the Pi's page."""

    server: Callable[[], ServerInfo]
    pins: Callable[[], list[PinInfo]]
    health: Callable[[], Health]
    carry_out: Callable[[Command], asyncio.Future[Value]]
    url: Callable[[], str | None] = lambda: None


def topic(settings: schema.MqttConfig) -> str:
    """Return the topic of this Pi: `mqtt.topic`, or by default raspi-server/HOST."""
    return settings.topic or f"raspi-server/{socket.gethostname().partition('.')[0]}"


class MqttBridge(MqttListener):
    """Bridge between one Pi and one broker. All methods belong to the loop's thread."""

    def __init__(
        self,
        settings: schema.MqttConfig,
        config: BrokerConfig,
        pi: LocalPi,
        limits: Limits = DEFAULT,
    ) -> None:
        self._pi = pi
        self._limits = limits
        self._accepts_commands = settings.control
        self.topic = topic(settings)
        self._discovery = settings.discovery
        will = Message(f"{self.topic}/status", b"offline", retain=True)
        self._client = MqttClient(config, self.topic.replace("/", "-"), will, self, limits)
        self._outbox = Outbox(self.topic, limits.mqtt_max_kept_changes)
        self._is_closing = False
        self._announced: dict[str, Any] = {}
        """Announcement to Home Assistant, as published last."""
        self._published_pins: set[str] = set()
        self._rate_limit = TokenBucket(
            limits.max_messages_per_s, limits.message_burst, time.monotonic()
        )
        self._flood_logged_at = -math.inf
        self._health_ticker = Ticker(self._publish_health, limits.mqtt_health_interval_s)

    @property
    def config(self) -> BrokerConfig:
        """The broker's configuration."""
        return self._client.config

    @property
    def is_connected(self) -> bool:
        """True while the broker has accepted a connection."""
        return self._client.is_connected

    @property
    def kept(self) -> int:
        """Number of changes and answers that wait for the broker."""
        return len(self._outbox)

    @property
    def lost_changes(self) -> int:
        """Number of changes dropped since the server started, because too many were waiting."""
        return self._outbox.lost_changes

    @property
    def error(self) -> str | None:
        """Error of the connection to the broker, in words, or None."""
        words = self._client.error
        if words and self._outbox.late_changes:
            words += f"; {self._outbox.late_changes} changes are kept for it"
        if words and self.lost_changes:
            words += f", and {self.lost_changes} older ones were lost"
        return words and f"mqtt: {words}"

    def start(self, after: asyncio.Future[None] | None = None) -> None:
        """Connect, once `after` is done: for example when a client with the same id has ended."""
        self._client.start(after)
        self._health_ticker.start()

    async def close(self) -> None:
        """Publish `offline` and disconnect, within `mqtt_close_timeout_s`."""
        self._health_ticker.stop()
        self._is_closing = True
        if self.kept:
            name = self._client.broker_name
            log.warning(
                "mqtt: %d changes were not published at %s before the stop", self.kept, name
            )
        last = Message(f"{self.topic}/status", b"offline", True)
        await self._client.close(last, self._limits.mqtt_close_timeout_s)

    def publish_change(self, change: PinChange) -> None:
        """Publish a change of a pin, or keep it until the broker can take it."""
        self._outbox.add_change(change, self.is_connected)
        self._flush()

    def publish_all(self) -> None:
        """Publish the description and all states again.

        Call it after a reload, and when a pin failed or recovered."""
        if self.is_connected:
            self._describe()
            self._flush()

    # Called by the client

    def connected(self) -> None:
        """Publish the description, all present states and the health, then the kept changes."""
        if self._outbox.late_changes:
            lost = self.lost_changes
            words = f"; {lost} older ones were lost" if lost else ""
            log.info("mqtt: publishing %d kept changes%s", self._outbox.late_changes, words)
        self._outbox.clear_present()
        # The broker answers with what it retained for pins that no longer exist. This comes before
        # our own messages, so that they are not among the answers.
        filters = [f"{self.topic}/pins/+"]
        if self._discovery:
            filters.append(discovery.topic(self._discovery, self.topic))
        self._client.subscribe(*filters, with_retained=True)
        self._client.unsubscribe(*filters)
        if self._accepts_commands:
            self._client.subscribe(f"{self.topic}/pins/+/set")
        self._describe()
        self._add("status", b"online", retain=True)
        self._publish_health()
        self._flush()

    def can_publish_more(self) -> None:
        """Publish what waits."""
        self._flush()

    def disconnected(self, unacknowledged: list[Message]) -> None:
        """Keep the unacknowledged changes for the next connection."""
        self._outbox.disconnected(unacknowledged)

    def publish_rejected(self, message: Message, rule: str, words: str) -> None:
        """Report the rejection as a restriction of this connection."""
        self._client.restricted(rule, words)

    def received(self, message: Message) -> None:
        """Carry out a command, or remove a retained message of a pin that no longer exists."""
        name = message.topic.removeprefix(f"{self.topic}/pins/")
        if name.endswith("/set"):
            self._receive_command(name.removesuffix("/set"), message)
        elif self._discovery and message.topic == discovery.topic(self._discovery, self.topic):
            self._withdraw(discovery.components(message.payload))
        elif message.retain and message.payload and self._is_stale(name):
            self._add(f"pins/{name}", b"", retain=True)
        self._flush()

    def _is_stale(self, name: str) -> bool:
        """Return whether a pin of that name may have existed, and does not exist now."""
        return name not in self._published_pins and bool(_NAME.fullmatch(name))

    def _flush(self) -> None:
        """Publish as many messages as the broker takes now."""
        while self._client.can_publish and not self._is_closing:
            message = self._outbox.next()
            if message is None:
                break
            self._client.publish(message)

    def _add(self, subtopic: str, payload: bytes, retain: bool = False) -> None:
        self._outbox.add_present(Message(f"{self.topic}/{subtopic}", payload, retain))

    def _describe(self) -> None:
        """Add the description and the states of all pins, and remove those that no longer exist."""
        server, pins = self._pi.server(), self._pi.pins()
        description = Description(time.time(), server, self._pi.url(), pins)
        self._add("describe", encode(description), retain=True)
        for pin in pins:
            self._add(f"pins/{pin.name}", encode(PinState(pin.value, pin.since)), retain=True)
        names = {pin.name for pin in pins}
        for name in self._published_pins - names:
            self._add(f"pins/{name}", b"", retain=True)
        self._published_pins = names
        if self._discovery:
            before = discovery.platforms(self._announced)
            self._announced = discovery.device(self.topic, server, pins)
            if not self._withdraw(before):
                self._announce(self._announced)

    def _announce(self, device: dict[str, Any]) -> None:
        if self._discovery:
            topic = discovery.topic(self._discovery, self.topic)
            self._outbox.add_present(Message(topic, encode(device), retain=True))

    def _withdraw(self, before: dict[str, str]) -> bool:
        """Remove the components in `before` that no longer exist, and announce the present ones.

        Return whether there was anything to remove."""
        removed = before.keys() - discovery.platforms(self._announced).keys()
        if removed:
            components = {name: before[name] for name in removed}
            self._announce(discovery.without(self._announced, components))
            self._announce(self._announced)
        return bool(removed)

    def _publish_health(self) -> None:
        if self.is_connected:
            self._add("health", encode(self._pi.health()))
            self._flush()

    # Commands

    def _receive_command(self, name: str, message: Message) -> None:
        """Carry out a command and answer it.

        Commands beyond the rate limit, and those for names that no pin can have, get no answer."""
        if not self._accepts_commands or not _NAME.fullmatch(name):
            return
        if not self._is_within_rate():
            return
        ref: Ref | None = None
        try:
            if message.retain:
                words = (
                    "expected a command without the retain flag: it would be sent again each time"
                )
                raise RequestError("bad-message", words)
            command = _command(name, message.payload)
            ref = command.ref
            done = self._pi.carry_out(command)
        except RequestError as error:
            self._answer_error(name, ref if error.ref is None else error.ref, error)
        else:
            done.add_done_callback(partial(self._answer, name, ref))

    def _is_within_rate(self) -> bool:
        """Count a command and return whether it may be carried out."""
        now = time.monotonic()
        if self._rate_limit.take(now):
            return True
        if now - self._flood_logged_at >= self._limits.mqtt_log_interval_s:
            self._flood_logged_at = now
            words = "mqtt: more than %d commands a second: dropping the others"
            log.warning(words, self._limits.max_messages_per_s)
        return False

    def _add_answer(self, name: str, answer: Result | Error) -> None:
        topic = f"{self.topic}/pins/{name}/result"
        self._outbox.add_answer(Message(topic, encode(answer)))
        self._flush()

    def _answer(self, name: str, ref: Ref | None, done: asyncio.Future[Value]) -> None:
        try:
            self._add_answer(name, Result(ref, name, done.result()))
        except RequestError as error:
            self._answer_error(name, ref, error)

    def _answer_error(self, name: str, ref: Ref | None, error: RequestError) -> None:
        log.debug("mqtt: %s was not switched: %s", name, error.code)
        self._add_answer(name, Error(ref, error.code, error.message))


def _command(name: str, payload: bytes) -> Command:
    """Return the command in a payload.

    It is a number to set, or a word such as ON, or an object as over the WebSocket without the pin.
    Raises RequestError."""
    if len(payload) > MAX_MESSAGE_BYTES:
        raise RequestError("too-large", f"expected at most {MAX_MESSAGE_BYTES} bytes")
    text = payload.decode(errors="replace")
    word = pin_value(text.strip().strip('"'))
    if isinstance(word, float):
        return Set(pin=name, value=word)
    try:
        found = bytes(msgspec.json.decode(payload, type=Raw)).strip()
        if found[:1] in _FIRST_OF_NUMBER:
            return Set(pin=name, value=float(found))  # too large for a float: infinite
        # Values stay encoded: not everything that can be decoded can be encoded again.
        fields = msgspec.json.decode(found, type=dict[str, Raw])
    except UNREADABLE:
        fields = {"pin": Raw()}
    if "pin" in fields:
        wanted = 'a number, ON, OFF or an object without "pin" such as {"type":"toggle"}'
        raise RequestError("bad-message", f"expected {wanted}, got {shorten(text)}")
    return decode_command(encode({"type": "set", **fields, "pin": name}))
