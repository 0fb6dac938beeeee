"""What a Pi says at an MQTT broker, and what it obeys there. What happens while the broker is away
is kept, and told later under another topic: the retained one always tells the present."""

import asyncio
import logging
import re
import socket
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import msgspec
from msgspec import Raw

from ..config import schema
from ..errors import Ref, RequestError
from ..gpio.pin import Changed
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
from ..system.clock import wall_time
from ..system.ticker import Ticker
from . import discovery
from .broker_config import Account
from .client import Broker, Message, Speaker

MOST_KEPT = 10_000
"""Changes that are kept while the broker is away or slow; beyond that the oldest go."""
HEALTH_EVERY = 30.0
GOODBYE = 1.0
"""Seconds for the broker to take our last word."""
SAY_EVERY = 60.0
"""Seconds between two lines in the log about somebody who publishes too fast."""
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}")
_BEGINS_NUMBER = tuple(b"%c" % each for each in b"-0123456789")

log = logging.getLogger(__name__)


@dataclass
class House:
    """What is told of a Pi, each looked at afresh, and what it obeys: `carry_out` raises
    RequestError, or its future does."""

    server: Callable[[], ServerInfo]
    pins: Callable[[], list[PinInfo]]
    report: Callable[[], Health]
    carry_out: Callable[[Command], asyncio.Future[Value]]
    url: Callable[[], str | None] = lambda: None


def topic(settings: schema.Mqtt) -> str:
    """The beginning of all topics of this Pi."""
    return settings.topic or f"raspi-server/{socket.gethostname().partition('.')[0]}"


class _Kept(NamedTuple):
    number: int
    changed: Changed


class Mqtt(Speaker):
    """One Pi at one broker. All methods belong to the loop's thread."""

    def __init__(
        self,
        settings: schema.Mqtt,
        account: Account,
        house: House,
        limits: Limits = DEFAULT,
    ) -> None:
        self._limits = limits
        self._house = house
        self._control = settings.control
        self.topic = topic(settings)
        self._discovery = settings.discovery
        will = Message(f"{self.topic}/status", b"offline", retain=True)
        self._broker = Broker(account, self.topic.replace("/", "-"), will, self)
        self._first: deque[Message] = deque()
        self._live: deque[Message] = deque()
        self._late: deque[_Kept] = deque()
        self._is_leaving = False
        self._number = 0
        self.lost_changes = 0
        """How many were never told, since the server started."""
        self._announced: dict[str, Any] = {}
        self._told: set[str] = set()
        self._allowance = TokenBucket(
            limits.max_messages_per_s, limits.message_burst, time.monotonic()
        )
        self._complained = -SAY_EVERY
        self._health = Ticker(self._say_health, HEALTH_EVERY)

    @property
    def account(self) -> Account:
        return self._broker.account

    @property
    def is_connected(self) -> bool:
        return self._broker.is_connected

    @property
    def kept(self) -> int:
        """How many changes wait for the broker."""
        return len(self._live) + len(self._late)

    @property
    def trouble(self) -> str | None:
        """What is wrong with the broker, in words, or None."""
        words = self._broker.trouble
        if words and self._late:
            words += f"; {len(self._late)} changes are kept for it"
        if words and self.lost_changes:
            words += f", and {self.lost_changes} older ones were lost"
        return words and f"mqtt: {words}"

    def start(self, after: asyncio.Future[None] | None = None) -> None:
        """Connects, once somebody who may have the same name there has left."""
        self._broker.start(after)
        self._health.start()

    async def close(self) -> None:
        """Says that we are offline, where that can be said within a second."""
        self._health.stop()
        self._is_leaving = True
        if self.kept:
            log.warning("mqtt: %d changes were never told to %s", self.kept, self._broker)
        await self._broker.close(Message(f"{self.topic}/status", b"offline", True), GOODBYE)

    def changed(self, changed: Changed) -> None:
        """To be told of each change, at once."""
        self._number += 1
        kept = _Kept(self._number, changed)
        if self._broker.is_connected:
            self._live.append(self._message(kept, ""))
        else:
            self._late.append(kept)
        while self.kept > MOST_KEPT:
            (self._late or self._live).popleft()
            if not self.lost_changes:
                log.error("mqtt: more than %d changes wait: the oldest are lost", MOST_KEPT)
            self.lost_changes += 1
        self._feed()

    def remade(self) -> None:
        """To be told when a pin was lost or came back, and after a reload."""
        if self._broker.is_connected:
            self._describe()
            self._feed()

    # What the broker calls.

    def connected(self) -> None:
        if self._late:
            words = f", and {self.lost_changes} older ones are lost" if self.lost_changes else ""
            log.info("mqtt: %d kept changes follow%s", len(self._late), words)
        self._first.clear()
        # What it kept from before that is no more is to go; none of ours has been sent yet.
        filters = [f"{self.topic}/pins/+"]
        if self._discovery:
            filters.append(discovery.topic(self._discovery, self.topic))
        self._broker.subscribe(*filters, with_kept=True)
        self._broker.unsubscribe(*filters)
        if self._control:
            self._broker.subscribe(f"{self.topic}/pins/+/set")
        self._describe()
        self._say("status", b"online", retain=True)
        self._say_health()
        self._feed()

    def has_room(self) -> None:
        self._feed()

    def lost(self, unacknowledged: list[Message]) -> None:
        untold = [each.extra for each in (*unacknowledged, *self._live) if each.extra]
        self._late = deque(sorted((*self._late, *untold)))
        self._live.clear()

    def refused(self, message: Message, about: str, words: str) -> None:
        self._broker.complain(about, words)

    def received(self, message: Message) -> None:
        name = message.topic.removeprefix(f"{self.topic}/pins/")
        if name.endswith("/set"):
            self._ordered(name.removesuffix("/set"), message)
        elif self._discovery and message.topic == discovery.topic(self._discovery, self.topic):
            self._withdraw(discovery.components(message.payload))
        elif (
            message.retain and message.payload and name not in self._told and _NAME.fullmatch(name)
        ):
            self._say(f"pins/{name}", b"", retain=True)
        self._feed()

    def _feed(self) -> None:
        """Publishes as much as the broker has room for: what is, then what happens, and then what
        has happened."""
        while self._broker.room and not self._is_leaving:
            if self._first:
                self._broker.publish(self._first.popleft())
            elif self._live:
                self._broker.publish(self._live.popleft())
            elif self._late:
                self._broker.publish(self._message(self._late.popleft(), "/late"))
            else:
                break

    def _message(self, kept: _Kept, where: str) -> Message:
        """A change as it is told. Its time is that of the clock as it is set now: a Pi that was
        without network may have learned meanwhile what time it was."""
        changed = kept.changed
        state = PinState(changed.value, wall_time(changed.moment))
        topic = f"{self.topic}/pins/{changed.pin}{where}"
        return Message(topic, encode(state), not where, kept)

    def _say(self, where: str, payload: bytes, retain: bool = False) -> None:
        self._first.append(Message(f"{self.topic}/{where}", payload, retain))

    def _describe(self) -> None:
        """All there is, as it is now; what is no more is taken back."""
        server, pins = self._house.server(), self._house.pins()
        description = Description(time.time(), server, self._house.url(), pins)
        self._say("describe", encode(description), retain=True)
        for pin in pins:
            self._say(f"pins/{pin.name}", encode(PinState(pin.value, pin.since)), retain=True)
        names = {pin.name for pin in pins}
        for name in self._told - names:
            self._say(f"pins/{name}", b"", retain=True)
        self._told = names
        if self._discovery:
            before = discovery.platforms(self._announced)
            self._announced = discovery.device(self.topic, server, pins)
            if not self._withdraw(before):
                self._announce(self._announced)

    def _announce(self, device: dict[str, Any]) -> None:
        if self._discovery:
            where = discovery.topic(self._discovery, self.topic)
            self._first.append(Message(where, encode(device), retain=True))

    def _withdraw(self, before: dict[str, str]) -> bool:
        """Takes back what was announced `before` and is no more, and then announces what is;
        whether there was anything to take back."""
        gone = before.keys() - discovery.platforms(self._announced).keys()
        if gone:
            self._announce(discovery.without(self._announced, {id: before[id] for id in gone}))
            self._announce(self._announced)
        return bool(gone)

    def _say_health(self) -> None:
        if self._broker.is_connected:
            self._say("health", encode(self._house.report()))
            self._feed()

    def _ordered(self, name: str, message: Message) -> None:
        """Somebody's command. It is answered, unless they come too fast or name no possible pin."""
        if not self._control or not _NAME.fullmatch(name):
            return
        now = time.monotonic()
        if not self._allowance.take(now):
            if now - self._complained >= SAY_EVERY:
                self._complained = now
                words = "more than %d commands a second; those beyond are dropped"
                log.warning(f"mqtt: {words}", self._limits.max_messages_per_s)
            return
        ref: Ref | None = None
        try:
            if message.retain:
                words = "expected a command that is not retained: it would come again each time"
                raise RequestError("bad-message", words)
            order = _command(name, message.payload)
            ref = order.ref
            done = self._house.carry_out(order)
        except RequestError as refused:
            self._refuse(name, ref if refused.ref is None else refused.ref, refused)
        else:
            done.add_done_callback(partial(self._answer, name, ref))

    def _tell(self, name: str, answer: Result | Error) -> None:
        """Answers in the line of the changes, after those of the command."""
        self._live.append(Message(f"{self.topic}/pins/{name}/result", encode(answer)))
        self._feed()

    def _answer(self, name: str, ref: Ref | None, done: asyncio.Future[Value]) -> None:
        try:
            self._tell(name, Result(ref, name, done.result()))
        except RequestError as refused:
            self._refuse(name, ref, refused)

    def _refuse(self, name: str, ref: Ref | None, refused: RequestError) -> None:
        log.debug("mqtt: %s was not switched: %s", name, refused.code)
        self._tell(name, Error(ref, refused.code, refused.message))


def _command(name: str, payload: bytes) -> Command:
    """A number to set, or an object as over the WebSocket, without the pin. Raises RequestError."""
    if len(payload) > MAX_MESSAGE_BYTES:
        raise RequestError("too-large", f"expected at most {MAX_MESSAGE_BYTES} bytes")
    try:
        found = bytes(msgspec.json.decode(payload, type=Raw)).strip()
        if found[:1] in _BEGINS_NUMBER:
            return Set(pin=name, value=float(found))  # one that no float holds is infinite
        # Values stay as they came: not all that can be read can be written again.
        fields = msgspec.json.decode(found, type=dict[str, Raw])
    except UNREADABLE:
        fields = {"pin": Raw()}
    if "pin" in fields:
        raise RequestError("bad-message", 'expected 0, 1 or an object such as {"type":"toggle"}')
    return decode_command(encode({"type": "set", **fields, "pin": name}))
