"""The talk with an MQTT broker: connects, stays connected, connects again, and says in words why it
cannot. The packets are Eclipse Paho's. What is said is not known here, nor kept: what was not
acknowledged goes back."""

import asyncio
import contextlib
import logging
import math
import random
import socket
import ssl
import sys
import threading
import time
import traceback
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, NamedTuple

from paho.mqtt.client import Client, DisconnectFlags, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties, VariableByteIntegers
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from . import errors
from .broker_config import Account
from .errors import Trouble

PATIENCE = 10.0
"""Seconds for a connection, a handshake, or the broker's first word."""
LONGEST_DIAL = 60.0
"""Seconds for a name and all of these, at each address that it has."""
KEEP_ALIVE = 15
"""Seconds of silence, a whole number, after which we ask whether the broker is there; of as many
again without an answer a connection is dead. After one and a half times as many of ours the broker
publishes our will. A broker may want others."""
FIRST_WAIT = 0.5
LONGEST_WAIT = 20.0
"""Seconds between two tries, doubled each time; each wait is cut by up to a half, by chance, so
that a thousand who lost one broker do not come back in one moment."""
SETTLED = 30.0
"""Seconds after which a connection counts as good, and the next loss begins with a short wait."""
MOST_UNACKNOWLEDGED = 100
LARGEST = 64 * 1024
"""Bytes of the largest packet that we take; the broker is told, and keeps larger ones."""
SAY_EVERY = 60.0
"""Seconds between two lines in the log about messages that were dropped."""
_HEAD = 10
"""Bytes of a PUBLISH beside its topic and payload, at most (3.3)."""

log = logging.getLogger(__name__)


class Message(NamedTuple):
    """What is published. `retain`: it was kept by the broker, or is to be; of `extra` it hears
    nothing. `lifetime`: so many seconds after which nobody is to get it any more."""

    topic: str
    payload: bytes
    retain: bool = False
    extra: Any = None
    lifetime: int | None = None


class Speaker:
    """Who has something to say to a broker, and hears what it says; this one neither."""

    def connected(self) -> None:
        """A new connection: the broker knows nothing of the last one."""

    def has_room(self) -> None:
        """More may be published now."""

    def lost(self, unacknowledged: list[Message]) -> None:
        """The connection is gone; what of the last messages arrived is not known."""

    def received(self, message: Message) -> None:
        """Somebody's message."""

    def subscribed(self) -> None:
        """The broker has answered one more subscription."""

    def refused(self, message: Message, about: str, words: str) -> None:
        """The broker does not take our message; `about`: which of its rules is in the way."""

    def troubled(self) -> None:
        """The broker's `trouble` is another now."""


class Broker:
    """One broker, for one client. `client_id` must be its alone; `will` is published by the broker
    when we vanish. All methods belong to the loop's thread."""

    def __init__(
        self,
        account: Account,
        client_id: str,
        will: Message | None = None,
        speaker: Speaker | None = None,
    ) -> None:
        self.account = account
        self.client_id = client_id
        self._will = will
        self._speaker = speaker or Speaker()
        self._connection: _Connection | None = None
        self._task: asyncio.Task[None] | None = None
        self._trouble: str | None = None
        self._is_closing = False
        self._dropped = 0
        self._said_dropped = -math.inf
        self.refusals: dict[str, str] = {}
        """What this connection may not do, in words, by what it is."""

    def __str__(self) -> str:
        return errors.broker(self.account)

    @property
    def trouble(self) -> str | None:
        """What is wrong, in words, or None."""
        return self._trouble or next(iter(self.refusals.values()), None)

    @property
    def is_connected(self) -> bool:
        return self._connection is not None

    def start(self, after: asyncio.Future[None] | None = None) -> None:
        """Connects, after something else is done, and again after each loss, until `close`."""
        self._task = asyncio.create_task(self._stay_connected(after), name="mqtt")
        self._task.add_done_callback(self._ended)

    async def close(self, last: Message | None, patience: float) -> None:
        """Publishes a last message and takes leave, if that is to be had within `patience` seconds;
        the broker publishes the will otherwise."""
        self._is_closing = True
        if self._connection:
            connection = self._connection
            try:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(patience):
                        await connection.take_leave(last)
            finally:
                connection.abort()
        if self._task:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def try_once(self) -> str | None:
        """Connects and leaves at once; what was in the way, in words, or None."""
        try:
            connection = await self._connect()
        except Trouble as trouble:
            return str(trouble)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                await connection.take_leave(None)
        connection.abort()
        return None

    def subscribe(
        self,
        *filters: str,
        with_kept: bool = False,
        as_published: bool = True,
        quality: int = 1,
    ) -> None:
        """`with_kept`: the retained messages, too, that are there already; `as_published`: what
        others publish retained later arrives marked as such, too."""
        if self._connection:
            kept = (
                SubscribeOptions.RETAIN_SEND_ON_SUBSCRIBE
                if with_kept
                else SubscribeOptions.RETAIN_DO_NOT_SEND
            )
            self._connection.subscribe(
                filters, SubscribeOptions(quality, False, as_published, kept)
            )

    def unsubscribe(self, *filters: str) -> None:
        if self._connection:
            self._connection.unsubscribe(filters)

    @property
    def room(self) -> bool:
        """Whether a message may be published now."""
        return self._connection is not None and self._connection.room

    def publish(self, message: Message) -> None:
        """Publishes at QoS 1. To be called while there is `room`."""
        assert self._connection
        self._connection.publish(message)

    def drop(self, topic: str, error: Exception) -> None:
        """Count a message that could not be handled, and log it, at most once in SAY_EVERY."""
        self._dropped += 1
        now = time.monotonic()
        if now - self._said_dropped >= SAY_EVERY:
            self._said_dropped = now
            words = f"{type(error).__name__}: {error}{_place(error)}"
            count = f", {self._dropped} in all" if self._dropped > 1 else ""
            log.error("mqtt: a message at %s was dropped%s: %s", topic[:100], count, words)

    def complain(self, about: str, words: str) -> None:
        """Notes, and says once for each connection, what the broker does not let us do."""
        if about not in self.refusals:
            self.refusals[about] = words
            log.warning("mqtt: %s", words)
            self._speaker.troubled()

    def _ended(self, task: asyncio.Task[None]) -> None:
        """Only `close` ends it; anything else is a fault of ours, and is said as one."""
        if not task.cancelled() and task.exception():
            log.error("mqtt: %s is given up", self, exc_info=task.exception())
            self._trouble = f"{self} is given up, by a fault of this server: see its log"
            self._speaker.troubled()

    async def _stay_connected(self, after: asyncio.Future[None] | None) -> None:
        loop = asyncio.get_running_loop()
        if after:
            await asyncio.wait([after])
        wait = FIRST_WAIT
        while True:
            began = math.inf
            self.refusals.clear()
            try:
                self._connection = await self._connect()
                try:
                    began = loop.time()
                    self._trouble = None
                    log.info("mqtt: connected to %s as %s", self.account, self.client_id)
                    self._speaker.connected()
                    await self._connection.ended()
                finally:
                    connection, self._connection = self._connection, None
                    connection.abort()
                    self._speaker.lost(connection.unacknowledged)
            except Trouble as trouble:
                if self._is_closing:
                    return
                if self._trouble != str(trouble):
                    log.warning("mqtt: %s", trouble)
                self._trouble = str(trouble)
                self._speaker.troubled()
            if loop.time() - began > SETTLED:
                wait = FIRST_WAIT
            await asyncio.sleep(wait * random.uniform(0.5, 1))
            wait = min(2 * wait, LONGEST_WAIT)

    async def _connect(self) -> "_Connection":
        """A connection whose broker has said yes. Raises Trouble."""
        connection = _Connection(self, self._speaker, await self._dial())
        try:
            async with _patience(PATIENCE, f"{self} takes the connection and does not answer"):
                await connection.greeted()
        except BaseException:
            connection.abort()
            raise
        return connection

    async def _dial(self) -> Client:
        """A client that has said CONNECT, and is ours from then on. Until then it waits in a thread
        that nobody waits for: asyncio's own threads hold up the end of the process. Raises
        Trouble."""
        loop = asyncio.get_running_loop()
        client = _client(self.account, self.client_id, self._will)
        dialled: asyncio.Future[None] = loop.create_future()

        def tell(error: Exception | None) -> None:
            if dialled.done():  # nobody wants it any more
                _hang_up(client)
            elif error:
                dialled.set_exception(error)
            else:
                dialled.set_result(None)

        def dial() -> None:
            failed: Exception | None = None
            try:
                host, port, properties = self.account.host, self.account.port, _greeting()
                if client.connect(host, port, KEEP_ALIVE, clean_start=True, properties=properties):
                    raise ConnectionAbortedError
            except Exception as error:
                failed = error
            with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
                loop.call_soon_threadsafe(tell, failed)

        threading.Thread(target=dial, name="mqtt-dial", daemon=True).start()
        # Whatever it does but ask for the name has its own limit.
        async with _patience(LONGEST_DIAL, errors.no_name_server(self.account)):
            try:
                await dialled
            except (OSError, UnicodeError) as error:
                raise Trouble(errors.failed(self.account, error)) from None
        return client


@contextlib.asynccontextmanager
async def _patience(seconds: float, otherwise: str) -> AsyncIterator[None]:
    """Raises Trouble where something takes too long."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise Trouble(otherwise) from None


class _Client(Client):
    """Paho, without the properties of messages that others publish: they are of no use here, and
    characters that MQTT allows in them, such as U+FEFF, make Paho end the connection."""

    def _handle_publish(self) -> MQTTErrorCode:
        quality = self._in_packet["command"] >> 1 & 3
        packet = self._in_packet["packet"]
        self._in_packet["packet"] = _without_properties(packet, quality)
        return super()._handle_publish()


def _without_properties(packet: bytearray, quality: int) -> bytearray:
    """Return what follows the fixed header of a PUBLISH, with no property left in it (3.3.2).
    Raises what Paho expects of a broken one."""
    at = 2 + int.from_bytes(packet[:2], "big") + (2 if quality else 0)
    size, width = VariableByteIntegers.decode(packet[at : at + 4])  # type: ignore[no-untyped-call]
    if at + width + size > len(packet):
        return packet
    return packet[:at] + b"\0" + packet[at + width + size :]


def _client(account: Account, client_id: str, will: Message | None) -> Client:
    """One for one connection: Paho would keep messages for the next, and try again in its own
    time."""
    client = _Client(
        CallbackAPIVersion.VERSION2,
        client_id,
        protocol=MQTTProtocolVersion.MQTTv5,
        reconnect_on_failure=False,
    )
    client.connect_timeout = PATIENCE
    client.max_inflight_messages = 0  # none of its own: we keep to the broker's, see room
    client.username_pw_set(account.user, account.password)  # type: ignore[arg-type]  # bytes do
    if account.context:
        client.tls_set_context(account.context)
    if will:
        client.will_set(will.topic, will.payload, qos=1, retain=will.retain)
    return client


def _greeting() -> Properties:
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    properties.MaximumPacketSize = LARGEST
    return properties


def _lifetime(message: Message) -> Properties | None:
    if message.lifetime is None:
        return None
    properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
    properties.MessageExpiryInterval = message.lifetime
    return properties


def _hang_up(client: Client) -> None:
    """Closes the connection without a word. Paho itself has none for that."""
    connection = client.socket()
    if connection:
        client.on_socket_close = client.on_socket_unregister_write = None
        connection.close()


class _Connection:
    """One connection, from CONNECT to its end. Paho works in the loop, when there is something to
    read or room to write, and never waits; its callbacks note what has happened, and no more."""

    def __init__(self, broker: Broker, speaker: Speaker, client: Client) -> None:
        self._loop = asyncio.get_running_loop()
        self._broker = broker
        self._account = broker.account
        self._speaker = speaker
        self._client = client
        self._greeted: asyncio.Future[None] = self._loop.create_future()
        self._end: asyncio.Future[Trouble] = self._loop.create_future()
        self._leaving: asyncio.Future[None] | None = None
        self._sent: dict[int, Message] = {}
        self._most = 0
        self._quality = 1
        self._retains = True
        self._largest = 0
        self._is_ready = False
        self._error: BaseException | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._began = self._loop.time()
        connection = client.socket()
        assert isinstance(connection, socket.socket)
        self._socket = connection
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.on_connect = lambda c, d, flags, *answer: self._answered(*answer)
        client.on_message = lambda c, d, message: self._received(message)
        client.on_publish = lambda c, d, *answer: self._acknowledged(*answer)
        client.on_subscribe = lambda c, d, id, reasons, properties: self._subscribed(reasons)
        client.on_disconnect = lambda c, d, *why: self._disconnected(*why)
        client.on_socket_register_write = self._wants_to_write
        client.on_socket_unregister_write = self._has_written
        client.on_socket_close = self._unplug
        overheard = logging.Logger("paho", logging.ERROR)
        overheard.addFilter(self._overhear)
        client.enable_logger(overheard)
        self._loop.add_reader(connection, self._read)
        if client.want_write():
            self._wants_to_write()

    # What the loop calls.

    def _read(self) -> None:
        self._step(self._client.loop_read)
        if self._socket.fileno() >= 0:
            # A broker that waits for the one before to be acknowledged would send the next message
            # 40 ms late; the kernel forgets it each time (tcp(7)).
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        pending = self._socket.pending() if isinstance(self._socket, ssl.SSLSocket) else 0
        if pending and not self._end.done():
            self._loop.call_soon(self._read)  # the loop hears nothing of what TLS has decrypted

    def _write(self) -> None:
        self._step(self._client.loop_write)

    def _look(self, every: float) -> None:
        """Keeps the connection alive, and finds out when it is dead."""
        self._step(self._client.loop_misc)
        if not self._end.done():
            self._timer = self._loop.call_later(every, self._look, every)

    def _step(self, step: Callable[[], MQTTErrorCode]) -> None:
        """Lets Paho do what it can without waiting. How it ended, if it did, it tells
        `_disconnected`."""
        if self._end.done():
            return
        try:
            step()
        except Exception:  # Paho's state is broken; the loop logs it
            self._finish(f"the talk with {self._broker} failed, by a fault of this server")
            raise
        if self.room:
            self._speaker.has_room()

    # What Paho calls.

    def _wants_to_write(self, *_: object) -> None:
        self._loop.add_writer(self._socket, self._write)

    def _has_written(self, *_: object) -> None:
        self._loop.remove_writer(self._socket)

    def _unplug(self, *_: object) -> None:
        self._loop.remove_reader(self._socket)
        self._loop.remove_writer(self._socket)

    def _overhear(self, record: logging.LogRecord) -> bool:
        """Paho tells what the network said to nobody but its log, while it handles the error."""
        self._error = sys.exception()
        return False

    def _answered(self, reason: ReasonCode, properties: Properties | None) -> None:
        if self._greeted.done():
            return
        if reason.is_failure:
            self._finish(errors.refused(self._account, reason.value, _own_words(properties)))
            return
        most = getattr(properties, "ReceiveMaximum", MOST_UNACKNOWLEDGED)
        self._most = min(most, MOST_UNACKNOWLEDGED)
        self._quality = min(getattr(properties, "MaximumQoS", 1), 1)
        self._retains = bool(getattr(properties, "RetainAvailable", 1))
        self._largest = getattr(properties, "MaximumPacketSize", 0)
        if not self._retains:
            self._broker.complain("retain", f"{self._broker} keeps no messages for latecomers")
        self._greeted.set_result(None)
        every = min(self._client.keepalive or KEEP_ALIVE, KEEP_ALIVE) / 6
        self._timer = self._loop.call_later(every, self._look, every)

    def _received(self, message: MQTTMessage) -> None:
        """Whatever somebody publishes, it does not end the connection."""
        topic = "a topic that is no text"
        try:
            topic = message.topic
            self._speaker.received(Message(topic, bytes(message.payload), message.retain))
        except Exception as error:
            self._broker.drop(topic, error)

    def _acknowledged(self, id: int, reason: ReasonCode, properties: Properties | None) -> None:
        message = self._sent.pop(id, None)
        if message and reason.is_failure:
            told = _own_words(properties)
            words = errors.not_published(self._account, message.topic, reason.value, told)
            self._speaker.refused(message, "publish", words)
        if self._leaving and not self._sent and not self._leaving.done():
            self._leaving.set_result(None)

    def _subscribed(self, reasons: list[ReasonCode]) -> None:
        if any(reason.is_failure for reason in reasons):
            self._broker.complain("subscribe", errors.not_subscribed(self._account))
        self._speaker.subscribed()

    def _disconnected(
        self, flags: DisconnectFlags, reason: ReasonCode, properties: Properties | None
    ) -> None:
        """By the broker's last word, or by Paho, whose reasons are then its own."""
        if flags.is_disconnect_packet_from_server:
            words = errors.let_go(self._account, reason.value, _own_words(properties))
        elif reason == "Protocol error":
            words = errors.not_mqtt_5(self._account)
        elif reason == "Keep alive timeout":
            words = f"{self._broker} has not answered for {self._client.keepalive} s"
        elif not self._is_ready:
            words = errors.failed(self._account, self._error)
        else:
            is_early = self._loop.time() - self._began < SETTLED
            words = errors.lost(self._account, self._error, is_early)
        self._finish(words)

    # What the broker asks for.

    async def greeted(self) -> None:
        """Waits for CONNACK. Raises Trouble."""
        await _first_of(self._greeted, self._end)
        if self._end.done():
            raise self._end.result()
        self._is_ready = True

    async def ended(self) -> None:
        """Waits for the end. Raises Trouble, which says why."""
        raise await self._end

    async def take_leave(self, last: Message | None) -> None:
        """Waits until a last message is acknowledged and the connection closed."""
        if last and self._is_ready:
            self._leaving = self._loop.create_future()
            self.publish(last)
            if not self._sent:
                self._leaving.set_result(None)
            await _first_of(self._leaving, self._end)
        self._client.disconnect()
        await _first_of(self._end)

    def abort(self) -> None:
        """Ends it now; nothing is heard of it any more."""
        self._finish("left")
        if self._socket.fileno() >= 0:  # neither Paho has closed it nor we
            self._unplug()
            _hang_up(self._client)

    @property
    def unacknowledged(self) -> list[Message]:
        """In the order in which they were published."""
        return list(self._sent.values())

    @property
    def room(self) -> bool:
        return self._is_ready and len(self._sent) < self._most

    def publish(self, message: Message) -> None:
        size = len(message.topic.encode()) + len(message.payload) + _HEAD
        if self._largest and size > self._largest:
            words = f"{self._broker} takes no message of {size} bytes ({message.topic})"
            self._speaker.refused(message, "size", words)
            return
        retain = message.retain and self._retains
        info = self._client.publish(
            message.topic, message.payload, self._quality, retain, _lifetime(message)
        )
        self._sent[info.mid] = message

    def subscribe(self, filters: tuple[str, ...], options: SubscribeOptions) -> None:
        self._client.subscribe([(each, options) for each in filters])

    def unsubscribe(self, filters: tuple[str, ...]) -> None:
        self._client.unsubscribe(list(filters))

    def _finish(self, words: str) -> None:
        self._is_ready = False
        if self._timer:
            self._timer.cancel()
        if not self._end.done():
            self._end.set_result(Trouble(words))


def _place(error: Exception) -> str:
    """Where in this server it was raised, for the log, in place of a whole traceback."""
    frames = traceback.extract_tb(error.__traceback__)
    return f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""


def _own_words(properties: Properties | None) -> str:
    """The broker's, where it gives any with a reason."""
    return str(getattr(properties, "ReasonString", ""))


async def _first_of(*futures: asyncio.Future[Any]) -> None:
    """Waits for one of them, and leaves the others as they are."""
    await asyncio.wait(futures, return_when=asyncio.FIRST_COMPLETED)
