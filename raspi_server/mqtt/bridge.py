"""Bridge that publishes one Pi at an MQTT broker and carries out commands from there.

Changes made while the broker is unreachable are kept and published later under another topic: the
retained topic always has the present state."""

import asyncio
import logging
import math
import random
import re
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import msgspec
from msgspec import Raw

from ..config import schema
from ..decoding import number, pin_value, shorten
from ..errors import Ref, RequestError, refusal
from ..gpio import raspberry_pi
from ..gpio.pin import PinChange
from ..limits import DEFAULT, Limits
from ..messages import (
    MAX_MESSAGE_BYTES,
    UNREADABLE,
    Command,
    CoverCommand,
    CoverInfo,
    CoverResult,
    CoverStatus,
    Description,
    Error,
    Health,
    PinInfo,
    PinState,
    Position,
    Result,
    ScheduleInfo,
    ScheduleResult,
    ScheduleState,
    ServerInfo,
    Set,
    Value,
    decode_command,
    decode_cover_command,
    encode,
)
from ..net.rate_limit import TokenBucket
from ..system.ticker import Ticker
from . import discovery, trace
from .broker_config import BrokerConfig
from .client import MqttClient, MqttListener
from .message import Message
from .outbox import Outbox
from .trace import Trace

_NAME = re.compile(schema.NAME)
_STATE = re.compile(rf"(pins|schedules|covers)/{schema.NAME}")
"""The topic of a state, below that of a Pi."""
_FIRST_OF_NUMBER = tuple(b"%c" % each for each in b"-0123456789")

log = logging.getLogger(__name__)


@dataclass
class LocalPi:
    """Functions of this Pi that the bridge calls. Those without arguments return the present state.

    `carry_out` raises RequestError, or its future does; `url` is the address of the Pi's page.
    `pause` pauses the schedule of a name, or lets it act again, or raises RequestError. `move`
    begins a command to a cover and returns the cover, or raises RequestError."""

    server: Callable[[], ServerInfo]
    pins: Callable[[], list[PinInfo]]
    health: Callable[[], Health]
    carry_out: Callable[[Command], asyncio.Future[Value]]
    url: Callable[[], str | None] = lambda: None
    schedules: Callable[[], list[ScheduleInfo]] = lambda: []
    pause: Callable[[str, bool], None] = lambda name, is_paused: None
    covers: Callable[[], list[CoverInfo]] = lambda: []
    move: Callable[[CoverCommand], CoverInfo] | None = None


def topic(settings: schema.MqttConfig) -> str:
    """Return the topic of this Pi: `mqtt.topic`, or by default raspi-server/HOST."""
    return settings.topic or f"raspi-server/{socket.gethostname().partition('.')[0]}"


class MqttBridge(MqttListener):
    """Bridge between one Pi and one broker. All methods belong to the loop's thread.

    `folder` keeps the trace of what was published, None for nowhere."""

    def __init__(
        self,
        settings: schema.MqttConfig,
        config: BrokerConfig,
        pi: LocalPi,
        limits: Limits = DEFAULT,
        folder: Path | None = None,
    ) -> None:
        self._pi = pi
        self._folder = folder
        self._limits = limits
        self._accepts_commands = settings.control
        self.topic = topic(settings)
        self._discovery = settings.discovery
        self._birth_topics = discovery.birth_topics(self._discovery) if self._discovery else []
        will = Message(f"{self.topic}/status", b"offline", retain=True)
        self._client = MqttClient(config, self.topic.replace("/", "-"), will, self, limits)
        self._outbox = Outbox(self.topic, limits.mqtt_max_kept_changes)
        self._is_closing = False
        self._trace: Trace | None = None
        self._former: Trace | None = None
        """What an earlier configuration left at this broker, until it is removed."""
        self._has_read = False
        """True once the broker has sent what it retained before this connection."""
        self._announced: dict[str, str] = {}
        """Platform of each component, as Home Assistant knows it."""
        self._announce_timer: asyncio.TimerHandle | None = None
        self._published: set[str] = set()
        """Topics of the states of pins, schedules and covers, below that of this Pi."""
        self._stale: set[str] = set()
        """Those of what no longer exists, which are still retained."""
        self._stale_left = 0
        """How many more of them are accepted over this connection."""
        self._schedules: dict[str, ScheduleState] = {}
        """The states of schedules as they were published last."""
        self._have_schedules_changed = False
        self._covers: dict[str, CoverStatus] = {}
        """The states of covers as they were published last."""
        self._have_covers_changed = False
        self._heard: set[str] = set()
        """The kinds whose commands were subscribed to over this connection, besides pins."""
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

    async def close(self, for_good: bool = False) -> None:
        """Publish `offline` and disconnect, within `mqtt_close_timeout_s`.

        `for_good` removes this Pi from Home Assistant, since it has no broker any more."""
        self._health_ticker.stop()
        self._cancel_announcement()
        self._is_closing = True
        if self.kept:
            name = self._client.broker_name
            log.warning(
                "mqtt: %d changes were not published at %s before the stop", self.kept, name
            )
        last = [Message(f"{self.topic}/status", b"offline", retain=True)]
        if for_good and self._announcement:
            last.insert(0, Message(self._announcement, b"", retain=True))
        await self._client.close(*last, timeout_s=self._limits.mqtt_close_timeout_s)

    def publish_change(self, change: PinChange) -> None:
        """Publish a change of a pin, or keep it until the broker can take it."""
        self._outbox.add_change(change, self.is_connected)
        self._flush()

    def publish_schedules(self) -> None:
        """Publish the states of schedules that have changed, once the broker can take them."""
        self._have_schedules_changed = True
        self._flush()

    def publish_covers(self) -> None:
        """Publish the states of covers that have changed, once the broker can take them."""
        self._have_covers_changed = True
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
        # The broker answers with what it retained of earlier configurations. This comes before our
        # own messages, so that they are not among the answers. At QoS 0 all of it comes before the
        # answer to the second packet.
        self._has_read = False
        self._heard.clear()
        self._stale_left = self._limits.mqtt_max_stale_pins
        self._former = self._find_former()
        filters = [f"{self.topic}/pins/+"]
        if self._pi.schedules() or (self._trace and self._trace.schedules):
            filters.append(f"{self.topic}/schedules/+")
        if self._pi.covers() or (self._trace and self._trace.covers):
            filters.append(f"{self.topic}/covers/+")
        if self._announcement:
            filters.insert(0, self._announcement)
        if self._former and self._former.topic != self.topic:
            filters.insert(0, f"{self._former.topic}/status")
        self._client.subscribe(*filters, with_retained=True, quality=0)
        self._client.unsubscribe(*filters)
        wanted = [f"{self.topic}/pins/+/set"] if self._accepts_commands else []
        wanted += self._birth_topics
        if wanted:
            self._client.subscribe(*wanted)
        self._describe()
        self._add("status", b"online", retain=True)
        self._publish_health()
        self._flush()

    def unsubscribed(self) -> None:
        """Remove what earlier configurations left, and announce this Pi to Home Assistant."""
        if self._has_read:
            return
        self._has_read = True
        if self._former and self._former.topic == self.topic and self._former.announcement:
            self._outbox.add_present(Message(self._former.announcement, b"", retain=True))
        elif not self._former and self._trace and self._trace.broker == self.config.address:
            # What the broker retained may have been too large to be received.
            self._announced = self._announced or dict(self._trace.components)
        self._former = None
        self._announce()
        self._remove_stale()
        self._keep_trace()
        self._flush()

    def can_publish_more(self) -> None:
        """Publish what waits."""
        self._flush()

    def disconnected(self, unacknowledged: list[Message]) -> None:
        """Keep the unacknowledged changes for the next connection."""
        self._cancel_announcement()
        self._outbox.disconnected(unacknowledged)

    def publish_rejected(self, message: Message, rule: str, words: str) -> None:
        """Report the rejection as a restriction, but not that of a removal."""
        if message.payload:
            self._client.restricted(rule, words)
        else:
            log.info("mqtt: an old message stays: %s", words)

    def received(self, message: Message) -> None:
        """Carry out a command, note what the broker has retained, or announce this Pi again."""
        subtopic = message.topic.removeprefix(f"{self.topic}/")
        kind, _, name = subtopic.partition("/")
        if name.endswith("/set"):
            self._receive_command(kind, name.removesuffix("/set"), message)
        elif message.topic in self._birth_topics:
            if message.payload == b"online":
                self._announce_later()
        elif not message.retain or not message.payload:
            return
        elif message.topic == self._announcement:
            self._announced = discovery.components(message.payload)
        elif self._former and message.topic == f"{self._former.topic}/status":
            self._remove_former(self._former, message.payload)
        elif self._is_stale(subtopic) and self._stale_left > 0:
            self._stale_left -= 1
            self._stale.add(subtopic)
            if self._has_read:  # a broker that sends it late
                self._remove_stale()
        self._flush()

    def _is_stale(self, subtopic: str) -> bool:
        """Return whether a topic may be the state of something that does not exist now."""
        return subtopic not in self._published and bool(_STATE.fullmatch(subtopic))

    def _flush(self) -> None:
        """Publish as many messages as the broker takes now."""
        while self._client.can_publish and not self._is_closing:
            message = self._outbox.next()
            if message is None and (self._have_schedules_changed or self._have_covers_changed):
                self._add_changed_schedules()
                self._add_changed_covers()
                message = self._outbox.next()
            if message is None:
                break
            self._client.publish(message)

    def _add(self, subtopic: str, payload: bytes, retain: bool = False) -> None:
        self._outbox.add_present(Message(f"{self.topic}/{subtopic}", payload, retain))

    def _describe(self) -> None:
        """Add the description and all states, and remove those that no longer exist.

        The announcement comes first: Home Assistant reads no state of a component it removed."""
        server, pins, schedules = self._pi.server(), self._pi.pins(), self._pi.schedules()
        covers = self._pi.covers()
        present = {f"pins/{pin.name}" for pin in pins}
        present |= {f"schedules/{schedule.name}" for schedule in schedules}
        present |= {f"covers/{cover.name}" for cover in covers}
        self._stale = (self._stale | self._published) - present
        self._published = present
        for kind, there_are in (("schedules", bool(schedules)), ("covers", bool(covers))):
            if there_are and self._accepts_commands and kind not in self._heard:
                self._heard.add(kind)
                self._client.subscribe(f"{self.topic}/{kind}/+/set")
        if self._has_read:
            self._announce()
        description = Description(time.time(), server, self._pi.url(), pins, covers)
        self._add("describe", encode(description), retain=True)
        for pin in pins:
            self._add(f"pins/{pin.name}", encode(PinState(pin.value, pin.since)), retain=True)
        self._schedules.clear()
        self._add_changed_schedules()
        self._covers.clear()
        self._add_changed_covers()
        if self._has_read:
            self._remove_stale()
            self._keep_trace()

    def _add_changed_schedules(self) -> None:
        self._have_schedules_changed = False
        for schedule in self._pi.schedules():
            coming = None if schedule.paused else schedule.next
            begin = coming.begin if coming else None
            state = ScheduleState(int(not schedule.paused), schedule.until, begin)
            if self._schedules.get(schedule.name) != state:
                self._schedules[schedule.name] = state
                self._add(f"schedules/{schedule.name}", encode(state), retain=True)

    def _add_changed_covers(self) -> None:
        self._have_covers_changed = False
        for cover in self._pi.covers():
            state = CoverStatus(
                cover.state,
                cover.position,
                cover.problem,
                cover.problem_reason,
                cover.problem_values,
                cover.since,
            )
            if self._covers.get(cover.name) != state:
                self._covers[cover.name] = state
                self._add(f"covers/{cover.name}", encode(state), retain=True)

    def _remove_stale(self) -> None:
        for subtopic in sorted(self._stale):
            self._add(subtopic, b"", retain=True)
        self._stale.clear()

    # Home Assistant

    @property
    def _announcement(self) -> str | None:
        """Topic of the announcement, None without `discovery`."""
        return discovery.topic(self._discovery, self.topic) if self._discovery else None

    def _announce(self) -> None:
        """Add the announcement of all pins. Components that are gone are removed before it."""
        topic = self._announcement
        if topic is None:
            return
        server, pins, url = self._pi.server(), self._pi.pins(), self._pi.url()
        model = "Simulated pins" if server.simulated else raspberry_pi.model() or "Computer"
        covers, schedules = self._pi.covers(), self._pi.schedules()
        device = discovery.device(self.topic, server, pins, covers, schedules, url, model)
        for step in discovery.steps(self._announced, device):
            self._outbox.add_present(Message(topic, encode(step), retain=True))
        self._announced = discovery.platforms(device)

    def _announce_later(self) -> None:
        """Announce this Pi again, at a random time and once, whatever else is received by then."""
        if self._announce_timer is None:
            delay_s = random.uniform(0.5, 1) * self._limits.mqtt_announce_within_s
            loop = asyncio.get_running_loop()
            self._announce_timer = loop.call_later(delay_s, self._announce_again)

    def _announce_again(self) -> None:
        self._announce_timer = None
        if self._has_read:
            self._announce()
            self._flush()

    def _cancel_announcement(self) -> None:
        if self._announce_timer:
            self._announce_timer.cancel()
            self._announce_timer = None

    # Former configurations

    def _find_former(self) -> Trace | None:
        """Return what an earlier configuration left at this broker under other topics."""
        found = self._trace = trace.read(self._folder)
        if found is None or found.broker != self.config.address:
            return None
        same = (found.topic, found.announcement) == (self.topic, self._announcement)
        return None if same else found

    def _keep_trace(self) -> None:
        """Keep the present topics for a later configuration."""
        names: dict[str, list[str]] = {"pins": [], "schedules": [], "covers": []}
        for subtopic in sorted(self._published):
            kind, _, name = subtopic.partition("/")
            names[kind].append(name)
        present = Trace(
            self.config.address, self.topic, self._announcement, **names, components=self._announced
        )
        if present != self._trace:
            self._trace = present
            trace.write(self._folder, present)

    def _remove_former(self, former: Trace, status: bytes) -> None:
        """Remove what is retained below an earlier topic, unless another Pi uses it now."""
        if status != b"offline":
            log.warning("mqtt: %s is in use by another Pi: nothing was removed", former.topic)
            return
        log.info("mqtt: removing the retained messages of %s, the topic before", former.topic)
        for message in former.removal():
            self._outbox.add_present(message)

    def _publish_health(self) -> None:
        if self.is_connected:
            self._add("health", encode(self._pi.health()), retain=True)
            self._flush()

    # Commands

    def _receive_command(self, kind: str, name: str, message: Message) -> None:
        """Carry out a command for a pin, a schedule or a cover, and answer it.

        Commands beyond the rate limit, and those for names that none can have, get no answer."""
        subtopic = f"{kind}/{name}"
        if not self._accepts_commands or not _STATE.fullmatch(subtopic):
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
            if kind == "schedules":
                wish = _wish(name, message.payload)
                ref = wish.ref
                self._pi.pause(name, not wish.value)
                self._add_answer(subtopic, ScheduleResult(ref, name, int(wish.value)))
                return
            if kind == "covers":
                move = _cover_command(name, message.payload)
                ref = move.ref
                self._add_answer(subtopic, self._move(move))
                return
            command = _command(name, message.payload)
            ref = command.ref
            done = self._pi.carry_out(command)
        except RequestError as error:
            self._answer_error(subtopic, ref if error.ref is None else error.ref, error)
        else:
            done.add_done_callback(partial(self._answer, name, ref))

    def _move(self, command: CoverCommand) -> CoverResult:
        """Begin a command to a cover and return the answer. Raises RequestError."""
        if self._pi.move is None:
            raise refusal("unknown-cover", name=command.cover)
        cover = self._pi.move(command)
        return CoverResult(command.ref, cover.name, cover.state, cover.position)

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

    def _add_answer(
        self, subtopic: str, answer: Result | ScheduleResult | CoverResult | Error
    ) -> None:
        topic = f"{self.topic}/{subtopic}/result"
        self._outbox.add_answer(Message(topic, encode(answer)))
        self._flush()

    def _answer(self, name: str, ref: Ref | None, done: asyncio.Future[Value]) -> None:
        try:
            self._add_answer(f"pins/{name}", Result(ref, name, done.result()))
        except RequestError as error:
            self._answer_error(f"pins/{name}", ref, error)

    def _answer_error(self, subtopic: str, ref: Ref | None, error: RequestError) -> None:
        log.debug("mqtt: %s was not switched: %s", subtopic, error.code)
        self._add_answer(subtopic, Error.of(error, ref))


def _cover_command(name: str, payload: bytes) -> CoverCommand:
    """Return the command to a cover in a payload.

    It is OPEN, CLOSE, STOP, or a position in percent, or an object as over the WebSocket without
    the cover. Raises RequestError."""
    if len(payload) > MAX_MESSAGE_BYTES:
        raise RequestError("too-large", f"expected at most {MAX_MESSAGE_BYTES} bytes")
    text = payload.decode(errors="replace")
    word = text.strip().strip('"').lower()
    if word in ("open", "close", "stop"):
        return decode_cover_command(encode({"type": word, "cover": name}))
    if isinstance(position := number(word), float):
        return Position(cover=name, position=position)
    try:
        found = bytes(msgspec.json.decode(payload, type=Raw)).strip()
        if found[:1] in _FIRST_OF_NUMBER:
            # A number that is too large for a float is infinite.
            return Position(cover=name, position=float(found))
        # Values stay encoded: not everything that can be decoded can be encoded again.
        fields = msgspec.json.decode(found, type=dict[str, Raw])
    except UNREADABLE:
        fields = {"cover": Raw()}
    if "cover" in fields:
        wanted = 'OPEN, CLOSE, STOP, a number from 0 to 100 or an object without "cover"'
        example = '{"type":"open"}'
        message = f"expected {wanted} such as {example}, got {shorten(text)}"
        raise RequestError("bad-message", message)
    return decode_cover_command(encode({**fields, "cover": name}))


def _wish(name: str, payload: bytes) -> Set:
    """Return the command in a payload for a schedule: 1 lets it act, 0 pauses it.

    Raises RequestError."""
    found = _command(name, payload, '{"value":1}')
    if isinstance(found, Set) and found.value in (0, 1) and found.seconds is None:
        return found
    words = f"{name}: expected 1 (it acts) or 0 (it is paused)"
    raise RequestError(
        "bad-value", f"{words}, got {shorten(payload.decode(errors='replace'))}", found.ref
    )


def _command(name: str, payload: bytes, example: str = '{"type":"toggle"}') -> Command:
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
        wanted = f'a number, ON, OFF or an object without "pin" such as {example}'
        raise RequestError("bad-message", f"expected {wanted}, got {shorten(text)}")
    return decode_command(encode({"type": "set", **fields, "pin": name}))
