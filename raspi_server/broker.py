"""The talk with an MQTT broker: connects, stays connected, connects again, and says in words why it
cannot. What is said there is not known here, nor kept: what was not acknowledged goes back."""

import asyncio
import contextlib
import logging
import random
import socket
import ssl
import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import urlsplit

from . import config
from .config import ConfigError, Fault
from .doors import in_url
from .mqttpackets import (
    DISCONNECT,
    MAXIMUM_PACKET_SIZE,
    MAXIMUM_QOS,
    PINGREQ,
    RECEIVE_MAXIMUM,
    RETAIN_AVAILABLE,
    SERVER_KEEP_ALIVE,
    Connack,
    Disconnect,
    Malformed,
    Message,
    Packets,
    Puback,
    Publish,
    Suback,
    Subscription,
    connect,
    puback,
    publish,
    subscribe,
    unsubscribe,
)

PATIENCE = 10.0
"""Seconds for a name, a connection, a handshake, or the broker's first word."""
KEEP_ALIVE = 30
"""Seconds of our silence, and half as many again, after which the broker publishes our will."""
LOOK_EVERY = 10.0
SILENT_FOR = 25.0
"""Seconds between two looks, and of the broker's silence after which a connection is dead."""
FIRST_WAIT = 0.5
LONGEST_WAIT = 20.0
"""Seconds between two tries, doubled each time; each wait is cut by up to a half, by chance, so
that a thousand who lost one broker do not come back in one moment."""
SETTLED = 30.0
"""Seconds after which a connection counts as good, and the next loss begins with a short wait."""
MOST_UNACKNOWLEDGED = 100
LARGEST = 64 * 1024
"""Bytes of the largest packet that is taken; the broker is told, and keeps larger ones."""
MOST_WAITING = 64 * 1024
"""Bytes that may wait for a slow broker before nothing more is given to it."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Account:
    """Where the broker is and as whom we come. Two are equal if nothing of that differs."""

    host: str
    port: int
    user: str | None = None
    password: bytes | None = field(default=None, repr=False)
    context: ssl.SSLContext | None = field(default=None, compare=False)
    files: tuple[bytes, ...] = field(default=(), repr=False)
    """What stands in the files of the context."""

    def __str__(self) -> str:
        return f"{in_url(self.host)}:{self.port}"


def account(mqtt: config.Mqtt) -> Account:
    """The account of a configuration, with all its files read. Raises ConfigError, with every file
    that is missing, unreadable, or not what it should be."""
    faults: list[Fault] = []
    contents: dict[str, bytes] = {}
    for key in ("password_file", "ca", "certificate", "key"):
        file = getattr(mqtt, key)
        if file is None:
            continue
        try:
            contents[key] = file.read_bytes()
        except OSError as error:
            message = f"expected a file that can be read: {error.strerror}"
            faults.append(Fault(str(file), None, f"mqtt.{key}", message))
    if faults:
        raise ConfigError(faults)
    url = urlsplit(mqtt.url)
    password = contents.pop("password_file", None)
    return Account(
        host=str(url.hostname),
        port=url.port or (8883 if url.scheme == "mqtts" else 1883),
        user=mqtt.user,
        password=None if password is None else password.rstrip(b"\r\n"),
        context=_context(mqtt) if url.scheme == "mqtts" else None,
        files=tuple(contents.values()),
    )


def _context(mqtt: config.Mqtt) -> ssl.SSLContext:
    """TLS 1.2 and later; the broker's certificate must be good for its name."""
    try:
        context = ssl.create_default_context(cafile=mqtt.ca)
    except ssl.SSLError:
        raise _fault(mqtt, "ca", "expected certificates in PEM format") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if mqtt.certificate is None:
        return context

    def refuse_passphrase() -> bytes:  # OpenSSL would ask for it on the terminal
        raise _fault(mqtt, "key", "expected a key without a passphrase")

    try:
        context.load_cert_chain(mqtt.certificate, mqtt.key, password=refuse_passphrase)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            message = f"expected the key of {mqtt.certificate}, got another"
            raise _fault(mqtt, "key", message) from None
        message = "expected a certificate and its key in PEM format"
        raise _fault(mqtt, "certificate", message) from None
    return context


def _fault(mqtt: config.Mqtt, key: str, message: str) -> ConfigError:
    return ConfigError([Fault(str(getattr(mqtt, key)), None, f"mqtt.{key}", message)])


class Trouble(Exception):
    """Why there is no connection, in words."""


class Speaker(Protocol):
    """Who has something to say to a broker, and hears what it says."""

    def connected(self) -> None:
        """A new connection: the broker knows nothing of the last one."""

    def has_room(self) -> None:
        """More may be published now."""

    def lost(self, unacknowledged: list[Message]) -> None:
        """The connection is gone; what of the last messages arrived is not known."""

    def received(self, message: Publish) -> None:
        """Somebody's message."""


class _Nobody:
    """Who has nothing to say."""

    def connected(self) -> None: ...
    def has_room(self) -> None: ...
    def lost(self, unacknowledged: list[Message]) -> None: ...
    def received(self, message: Publish) -> None: ...


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
        self._speaker = speaker or _Nobody()
        self._connection: _Connection | None = None
        self._task: asyncio.Task[None] | None = None
        self._trouble: str | None = None
        self._is_closing = False
        self.refusals: dict[str, str] = {}
        """What this connection may not do, in words, by what it is."""

    def __str__(self) -> str:
        return f"the broker {self.account}"

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

    def subscribe(self, *subscriptions: Subscription) -> None:
        if self._connection:
            self._connection.subscribe(subscriptions)

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

    def complain(self, about: str, words: str) -> None:
        """Notes, and says once for each connection, what the broker does not let us do."""
        if about not in self.refusals:
            self.refusals[about] = words
            log.warning("mqtt: %s", words)

    def _ended(self, task: asyncio.Task[None]) -> None:
        """Only `close` ends it; anything else is a fault of ours, and is said as one."""
        if not task.cancelled() and task.exception():
            log.error("mqtt: %s is given up", self, exc_info=task.exception())
            self._trouble = f"{self} is given up, by a fault of this server: see its log"

    async def _stay_connected(self, after: asyncio.Future[None] | None) -> None:
        loop = asyncio.get_running_loop()
        if after:
            await asyncio.wait([after])
        wait = FIRST_WAIT
        while True:
            began = loop.time()
            try:
                self._connection = await self._connect()
                try:
                    began = loop.time()
                    self._trouble = None
                    self.refusals.clear()
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
            if loop.time() - began > SETTLED:
                wait = FIRST_WAIT
            await asyncio.sleep(wait * random.uniform(0.5, 1))
            wait = min(2 * wait, LONGEST_WAIT)

    async def _connect(self) -> "_Connection":
        """A connection whose broker has said yes. Raises Trouble."""
        loop = asyncio.get_running_loop()
        host, port, context = self.account.host, self.account.port, self.account.context
        error: Exception | None = None
        for address in await _addresses(host, port):
            try:
                async with _patience(f"{self} does not answer"):
                    _, connection = await loop.create_connection(
                        lambda: _Connection(self, self._speaker),
                        address,
                        port,
                        ssl=context,
                        server_hostname=host if context else None,
                        ssl_handshake_timeout=2 * PATIENCE if context else None,
                        ssl_shutdown_timeout=1 if context else None,
                    )
                break
            except Trouble as slow:
                error = slow
            except OSError as failed:
                error = Trouble(self._why(failed))
        else:
            raise error or Trouble(f"{self} has no address")
        account = self.account
        hello = connect(
            self.client_id, KEEP_ALIVE, account.user, account.password, self._will, LARGEST
        )
        try:
            async with _patience(f"{self} takes the connection and does not answer"):
                await connection.greet(hello)
        except BaseException:
            connection.abort()
            raise
        return connection

    def _why(self, error: BaseException | None, is_in: bool = False) -> str:
        """Why a connection failed, or ended once we were in, in words."""
        where = f"mqtt.url {self.account}"
        if isinstance(error, ssl.SSLCertVerificationError):
            if error.verify_code in _UNKNOWN_AUTHORITY:
                authority = "an authority that mqtt.ca names, or that this system knows"
                return f"{self}: expected its certificate to be from {authority}"
            return f"{self}: its certificate was refused: {error.verify_message}"
        if isinstance(error, ssl.SSLError):
            reason = (error.reason or str(error)).lower().replace("_", " ")
            if "wrong version number" in reason or "record layer" in reason:
                return f"{self} speaks no TLS on that port: expected mqtt://, or another port"
            if "certificate required" in reason or "handshake failure" in reason:
                return f"{self} wants a client certificate (mqtt.certificate): {reason}"
            return f"{self}: TLS failed: {reason}"
        if isinstance(error, ConnectionRefusedError):
            return f"{self} refuses connections: nothing listens there"
        if isinstance(error, ConnectionResetError | ConnectionAbortedError) and not is_in:
            return f"{self} ended the connection at once: {_OTHER_URL}"
        if isinstance(error, PermissionError):
            return f"{where}: the service may reach private networks only (systemd/README.md)"
        if isinstance(error, OSError) and error.strerror:
            return f"{where}: {error.strerror[:1].lower()}{error.strerror[1:]}"
        return f"{self} ended the connection" + ("" if is_in else f" at once: {_OTHER_URL}")


_OTHER_URL = "is that port one for mqtt:// or for mqtts://?"
_UNKNOWN_AUTHORITY = (2, 18, 19, 20, 21)
"""Codes of OpenSSL's x509_vfy.h for a chain that does not begin with anything we trust."""


@contextlib.asynccontextmanager
async def _patience(otherwise: str) -> AsyncIterator[None]:
    """Raises Trouble where something takes too long."""
    try:
        async with asyncio.timeout(PATIENCE):
            yield
    except TimeoutError:
        raise Trouble(otherwise) from None


async def _addresses(host: str, port: int) -> list[str]:
    """The addresses of a host. In a thread that nobody waits for: a resolver may take long, and
    asyncio's own threads hold up the end of the process. Raises Trouble."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[list[str]] = loop.create_future()

    def tell(found: list[str]) -> None:
        if not answer.done():
            answer.set_result(found)

    def resolve() -> None:
        found: list[str] = []
        with contextlib.suppress(OSError, UnicodeError):  # an empty answer says it
            infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            found = list(dict.fromkeys(str(info[4][0]) for info in infos))
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(tell, found)

    threading.Thread(target=resolve, name="mqtt-resolver", daemon=True).start()
    async with _patience(f"mqtt.url: no name server says where {host} is"):
        addresses = await answer
    if not addresses:
        raise Trouble(f"mqtt.url: no host is called {host}, or no name server answers")
    return addresses


class _Connection(asyncio.Protocol):
    """One connection, from CONNECT to its end."""

    def __init__(self, broker: Broker, speaker: Speaker) -> None:
        self._loop = asyncio.get_running_loop()
        self._broker = broker
        self._speaker = speaker
        self._packets = Packets(LARGEST)
        self._greeted: asyncio.Future[None] = self._loop.create_future()
        self._end: asyncio.Future[Trouble] = self._loop.create_future()
        self._leaving: asyncio.Future[None] | None = None
        self._sent: dict[int, Message] = {}
        self._last_id = 0
        self._most = 0
        self._quality = 1
        self._retains = True
        self._largest = 0
        self._keep_alive = float(KEEP_ALIVE)
        self._is_full = False
        self._is_ready = False
        self._timer: asyncio.TimerHandle | None = None
        self._began = self._heard = self._spoke = self._loop.time()

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.set_write_buffer_limits(MOST_WAITING)
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def connection_lost(self, error: Exception | None) -> None:
        words = self._broker._why(error, self._is_ready)
        if error is None and self._is_ready and self._loop.time() - self._began < SETTLED:
            # Mosquitto 2.0.11 gives no reason to who is thrown out by another of its name.
            words += f" at once: does another have our client id? {_OWN_NAME}"
        self._finish(words)

    def pause_writing(self) -> None:
        self._is_full = True

    def resume_writing(self) -> None:
        self._is_full = False
        self._say_room()

    def data_received(self, data: bytes) -> None:
        self._heard = self._loop.time()
        try:
            for packet in self._packets.feed(data):
                self._take(packet)
        except Malformed as error:
            self._finish(f"{self._broker} does not speak MQTT 5: it sent {error}")
        self._say_room()

    # What the broker asks for.

    async def greet(self, hello: bytes) -> None:
        """Says CONNECT and hears CONNACK. Raises Trouble."""
        self._write(hello)
        waiting: set[asyncio.Future[Any]] = {self._greeted, self._end}
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        if self._end.done():
            raise self._end.result()
        self._is_ready = True
        self._look()

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
            waiting: set[asyncio.Future[Any]] = {self._leaving, self._end}
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        self._write(DISCONNECT)
        self._transport.close()
        await asyncio.wait({self._end})

    def abort(self) -> None:
        """Ends it now; nothing is heard of it any more."""
        self._finish("left")

    @property
    def unacknowledged(self) -> list[Message]:
        """In the order in which they were published."""
        return list(self._sent.values())

    @property
    def room(self) -> bool:
        return self._is_ready and not self._is_full and len(self._sent) < self._most

    def publish(self, message: Message) -> None:
        data = publish(message, self._next_id() if self._quality else None, self._retains)
        if self._largest and len(data) > self._largest:
            words = f"{self._broker} takes no message of {len(data)} bytes ({message.topic})"
            self._broker.complain("size", words)
            return
        if self._quality:
            self._sent[self._last_id] = message
        self._write(data)

    def subscribe(self, subscriptions: tuple[Subscription, ...]) -> None:
        self._write(subscribe(self._next_id(), subscriptions))

    def unsubscribe(self, filters: tuple[str, ...]) -> None:
        self._write(unsubscribe(self._next_id(), filters))

    def _next_id(self) -> int:
        while True:
            self._last_id = self._last_id % 0xFFFF + 1
            if self._last_id not in self._sent:
                return self._last_id

    def _write(self, data: bytes) -> None:
        if not self._end.done():
            self._spoke = self._loop.time()
            self._transport.write(data)

    def _take(self, packet: object) -> None:
        if isinstance(packet, Puback):
            self._acknowledged(packet)
        elif isinstance(packet, Publish):
            if packet.id is not None:
                self._write(puback(packet.id))
            self._speaker.received(packet)
        elif isinstance(packet, Connack):
            self._answered(packet)
        elif isinstance(packet, Suback):
            if any(reason >= 0x80 for reason in packet.reasons):
                who = _as_whom(self._broker.account)
                words = f"{self._broker} does not let us subscribe{who}: its ACL is in the way"
                self._broker.complain("subscribe", words)
        elif isinstance(packet, Disconnect):
            words = _DISCONNECTS.get(packet.reason, f"ended the connection ({packet.reason:#x})")
            self._finish(f"{self._broker} {words}" + _in_brackets(packet.words))

    def _acknowledged(self, packet: Puback) -> None:
        message = self._sent.pop(packet.id, None)
        if message and packet.reason >= 0x80:
            who = _as_whom(self._broker.account)
            what = "its ACL is in the way" if packet.reason == 0x87 else f"{packet.reason:#x}"
            topic = message.topic
            words = f"{self._broker} does not let us publish {topic}{who}: {what}"
            self._broker.complain("publish", words + _in_brackets(packet.words))
        if self._leaving and not self._sent and not self._leaving.done():
            self._leaving.set_result(None)

    def _answered(self, packet: Connack) -> None:
        if self._greeted.done():
            return
        if packet.reason:
            words = _REFUSALS.get(packet.reason, f"refuses us ({packet.reason:#x})")
            who = _as_whom(self._broker.account)
            words = words.format(who=who) + _in_brackets(packet.words)
            self._finish(f"{self._broker} {words}")
            return
        limits = packet.properties
        self._most = min(limits.get(RECEIVE_MAXIMUM, MOST_UNACKNOWLEDGED), MOST_UNACKNOWLEDGED)
        self._quality = min(limits.get(MAXIMUM_QOS, 1), 1)
        self._retains = bool(limits.get(RETAIN_AVAILABLE, 1))
        self._largest = limits.get(MAXIMUM_PACKET_SIZE, 0)
        self._keep_alive = limits.get(SERVER_KEEP_ALIVE, KEEP_ALIVE) or KEEP_ALIVE
        if not self._retains:
            self._broker.complain("retain", f"{self._broker} keeps no messages for latecomers")
        self._greeted.set_result(None)

    def _say_room(self) -> None:
        if self.room:
            self._speaker.has_room()

    def _look(self) -> None:
        """Keeps the connection alive, and finds out when it is dead."""
        now = self._loop.time()
        if now - self._heard > SILENT_FOR:
            self._finish(f"{self._broker} has not answered for {SILENT_FOR:.0f} s")
            return
        every = min(LOOK_EVERY, self._keep_alive / 3)
        if now - min(self._spoke, self._heard) >= every / 2:
            self._write(PINGREQ)
        self._timer = self._loop.call_later(every, self._look)

    def _finish(self, words: str) -> None:
        self._is_ready = False
        if self._timer:
            self._timer.cancel()
        if not self._end.done():
            self._end.set_result(Trouble(words))
            self._transport.abort()


def _as_whom(account: Account) -> str:
    return f" as {account.user}" if account.user else " without a name (mqtt.user)"


def _in_brackets(words: str) -> str:
    shown = "".join(each if each.isprintable() else "?" for each in words[:100])
    return f" ({shown})" if shown else ""


_REFUSALS = {
    0x01: "does not speak MQTT 5",  # a broker of MQTT 3
    0x84: "does not speak MQTT 5",
    0x85: "does not take our client id (mqtt.topic)",
    0x86: "refuses us{who}: a wrong name or password",
    0x87: "refuses us{who}: a wrong name or password, or not authorised",
    0x88: "is not available",
    0x89: "is busy",
    0x8A: "has banned us{who}",
    0x97: "refuses us: its quota is used up",
    0x9F: "refuses us: too many connections in a short time",
}
"""Reasons in a CONNACK (3.2.2.2)."""

_OWN_NAME = "each Pi needs a host name or mqtt.topic of its own"
_DISCONNECTS = {
    0x87: "ended the connection: not authorised",
    0x8B: "is shutting down",
    0x8D: "ended the connection: it heard nothing of us",
    0x8E: f"let another in with our client id: {_OWN_NAME}",
    0x93: "ended the connection: too much at once",
    0x95: "ended the connection: a packet was too large",
    0x98: "ended the connection by its administrator",
}
"""Reasons in a DISCONNECT (3.14.2.1)."""
