"""One connection to a broker, from CONNECT to its end.

Paho encodes and decodes the packets. The event loop calls it when the socket can be read or
written, and Paho never waits. Reconnection is the task of `client.py`."""

import asyncio
import contextlib
import logging
import socket
import ssl
import sys
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any, Protocol

from paho.mqtt.client import Client, DisconnectFlags, MQTTMessage
from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from ..limits import Limits
from . import errors
from .broker_config import BrokerConfig
from .errors import BrokerError
from .message import Message
from .paho_client import (
    close_socket,
    connect_blocking,
    new_client,
    publish_properties,
    reason_string,
)

CHECKS_PER_KEEP_ALIVE = 6
_PUBLISH_OVERHEAD_BYTES = 10
"""Most bytes of a PUBLISH apart from its topic and payload (3.3)."""


class ConnectionListener(Protocol):
    """Receiver of one connection's events. All calls come from the loop's thread."""

    def received(self, message: Message) -> None:
        """Handle a message that another client published.

        The connection passes an exception to `receive_failed`."""

    def receive_failed(self, topic: str, error: Exception) -> None:
        """Handle a message that `received` could not."""

    def subscribed(self) -> None:
        """Handle the broker's answer to one subscription."""

    def unsubscribed(self) -> None:
        """Handle the broker's answer to one `unsubscribe`."""

    def can_publish_more(self) -> None:
        """Handle that `can_publish` is true."""

    def publish_rejected(self, message: Message, rule: str, words: str) -> None:
        """Handle a message that the broker rejected.

        `rule` names the reason for programs, `words` for people."""

    def restricted(self, rule: str, words: str) -> None:
        """Handle that the broker does not allow or offer something that this server uses."""


async def connect(
    config: BrokerConfig,
    client_id: str,
    will: Message | None,
    listener: ConnectionListener,
    limits: Limits,
) -> "Connection":
    """Return a connection that the broker has accepted. Raises BrokerError."""
    client = await _dial(config, client_id, will, limits)
    connection = Connection(client, config, listener, limits)
    try:
        async with _timeout(limits.mqtt_connect_timeout_s, errors.connect_timeout(config)):
            await connection.accepted()
    except BaseException:
        connection.abort()
        raise
    return connection


async def _dial(
    config: BrokerConfig, client_id: str, will: Message | None, limits: Limits
) -> Client:
    """Return a client that has sent CONNECT. Raises BrokerError.

    It blocks in a daemon thread until then: the process waits at its end for asyncio's threads."""
    loop = asyncio.get_running_loop()
    client = new_client(config, client_id, will, limits)
    dialled: asyncio.Future[None] = loop.create_future()

    def finish(error: Exception | None) -> None:
        if dialled.done():  # cancelled
            close_socket(client)
        elif error:
            dialled.set_exception(error)
        else:
            dialled.set_result(None)

    def dial() -> None:
        error: Exception | None = None
        try:
            connect_blocking(client, config, limits)
        except Exception as raised:
            error = raised
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(finish, error)

    threading.Thread(target=dial, name="mqtt-dial", daemon=True).start()
    # All steps but the name look-up have time-outs of their own.
    async with _timeout(limits.mqtt_dial_timeout_s, errors.name_timeout(config)):
        try:
            await dialled
        except (OSError, UnicodeError) as error:
            raise BrokerError(errors.connect_failed(config, error)) from None
    return client


class Connection:
    """One connection whose client has sent CONNECT. All methods belong to the loop's thread.

    Paho's callbacks only note what happened and call the listener."""

    def __init__(
        self,
        client: Client,
        config: BrokerConfig,
        listener: ConnectionListener,
        limits: Limits,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._client = client
        self._config = config
        self._listener = listener
        self._limits = limits
        self._accepted: asyncio.Future[None] = self._loop.create_future()
        self._end: asyncio.Future[BrokerError] = self._loop.create_future()
        self._drained: asyncio.Future[None] | None = None
        self._sent: dict[int, Message] = {}
        self._asked: dict[int, tuple[str, ...]] = {}
        """Filters of the subscriptions that were not answered yet."""
        self._max_unacknowledged = 0
        self._max_packet_bytes: int | None = None
        self._quality = 1
        self._retains = True
        self._is_ready = False
        self._network_error: BaseException | None = None
        self._check_timer: asyncio.TimerHandle | None = None
        connection = client.socket()
        assert isinstance(connection, socket.socket)
        self._socket = connection
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._take_callbacks()
        self._loop.add_reader(connection, self._read)
        if client.want_write():
            self._start_writing()

    async def accepted(self) -> None:
        """Wait for CONNACK. Raises BrokerError."""
        await _first_of(self._accepted, self._end)
        if self._end.done():
            raise self._end.result()
        self._is_ready = True

    async def ended(self) -> None:
        """Wait for the end of the connection. Raises BrokerError with the reason."""
        raise await self._end

    async def disconnect(self, *last: Message) -> None:
        """Publish the last messages, wait for all acknowledgements, and send DISCONNECT."""
        if last and self._is_ready:
            self._drained = self._loop.create_future()
            for message in last:
                self.publish(message)
            if not self._sent:
                self._drained.set_result(None)
            await _first_of(self._drained, self._end)
        self._client.disconnect()
        await _first_of(self._end)

    def abort(self) -> None:
        """Close the connection at once. The listener gets no further call."""
        self._finish("closed by this server")
        if self._socket.fileno() >= 0:  # neither Paho has closed it nor we
            self._remove_from_loop()
            close_socket(self._client)

    @property
    def unacknowledged(self) -> list[Message]:
        """Messages without PUBACK, in the order in which they were published."""
        return list(self._sent.values())

    @property
    def can_publish(self) -> bool:
        """True while the broker takes one more message."""
        return self._is_ready and len(self._sent) < self._max_unacknowledged

    def publish(self, message: Message) -> None:
        """Publish a message at QoS 1, if the broker has it. Call it while `can_publish`."""
        size = len(message.topic.encode()) + len(message.payload) + _PUBLISH_OVERHEAD_BYTES
        if self._max_packet_bytes and size > self._max_packet_bytes:
            words = errors.message_too_large(self._config, message.topic, size)
            self._listener.publish_rejected(message, "size", words)
            return
        retain = message.retain and self._retains
        info = self._client.publish(
            message.topic, message.payload, self._quality, retain, publish_properties(message)
        )
        self._sent[info.mid] = message

    def subscribe(self, filters: tuple[str, ...], options: SubscribeOptions) -> None:
        """Subscribe to all filters in one packet."""
        _, mid = self._client.subscribe([(each, options) for each in filters])
        if mid is not None:
            self._asked[mid] = filters

    def unsubscribe(self, filters: tuple[str, ...]) -> None:
        """Unsubscribe from all filters in one packet."""
        self._client.unsubscribe(list(filters))

    # Called by the event loop

    def _read(self) -> None:
        self._step(self._client.loop_read)
        if self._socket.fileno() >= 0:
            # The kernel would delay its ACK by 40 ms, and a broker that waits for it delays the
            # next message. The option is cleared each time (tcp(7)).
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        pending = self._socket.pending() if isinstance(self._socket, ssl.SSLSocket) else 0
        if pending and not self._end.done():
            self._loop.call_soon(self._read)  # already decrypted: the socket is not readable

    def _write(self) -> None:
        self._step(self._client.loop_write)

    def _check(self, interval_s: float) -> None:
        """Send PINGREQ after silence, and end a connection that does not answer."""
        self._step(self._client.loop_misc)
        if not self._end.done():
            self._check_later(interval_s)

    def _check_later(self, interval_s: float) -> None:
        self._check_timer = self._loop.call_later(interval_s, self._check, interval_s)

    def _step(self, step: Callable[[], MQTTErrorCode]) -> None:
        """Call Paho. If the connection ended, Paho has called `_on_disconnect`."""
        if self._end.done():
            return
        try:
            step()
        except Exception:  # Paho's state is broken; the loop logs the traceback
            self._finish(errors.internal(self._config))
            raise
        if self.can_publish:
            self._listener.can_publish_more()

    def _start_writing(self) -> None:
        self._loop.add_writer(self._socket, self._write)

    def _stop_writing(self) -> None:
        self._loop.remove_writer(self._socket)

    def _remove_from_loop(self) -> None:
        self._loop.remove_reader(self._socket)
        self._loop.remove_writer(self._socket)

    # Called by Paho

    def _take_callbacks(self) -> None:
        client = self._client
        client.on_connect = lambda c, d, flags, *answer: self._on_connack(*answer)
        client.on_message = lambda c, d, message: self._on_message(message)
        client.on_publish = lambda c, d, *answer: self._on_puback(*answer)
        client.on_subscribe = lambda c, d, mid, reasons, properties: self._on_suback(mid, reasons)
        client.on_unsubscribe = lambda *_: self._listener.unsubscribed()
        client.on_disconnect = lambda c, d, *reason: self._on_disconnect(*reason)
        client.on_socket_register_write = lambda *_: self._start_writing()
        client.on_socket_unregister_write = lambda *_: self._stop_writing()
        client.on_socket_close = lambda *_: self._remove_from_loop()
        logger = logging.Logger("paho", logging.ERROR)
        logger.addFilter(self._note_network_error)
        client.enable_logger(logger)

    def _note_network_error(self, record: logging.LogRecord) -> bool:
        """Keep the exception that Paho is handling. Paho reports it only to its log."""
        self._network_error = sys.exception()
        return False

    def _on_connack(self, reason: ReasonCode, properties: Properties | None) -> None:
        if self._accepted.done():
            return
        if reason.is_failure:
            words = reason_string(properties)
            self._finish(errors.login_rejected(self._config, reason.value, words))
            return
        most = self._limits.mqtt_max_unacknowledged
        self._max_unacknowledged = min(getattr(properties, "ReceiveMaximum", most), most)
        self._quality = min(getattr(properties, "MaximumQoS", 1), 1)
        self._retains = bool(getattr(properties, "RetainAvailable", 1))
        self._max_packet_bytes = getattr(properties, "MaximumPacketSize", None)
        if not self._retains:
            self._listener.restricted("retain", errors.retain_unavailable(self._config))
        self._accepted.set_result(None)
        ours = self._limits.mqtt_keep_alive_s
        keep_alive_s = min(self._client.keepalive or ours, ours)
        self._check_later(keep_alive_s / CHECKS_PER_KEEP_ALIVE)

    def _on_message(self, message: MQTTMessage) -> None:
        """Pass a message on. No message ends the connection."""
        topic = "a topic that is no text"
        try:
            topic = message.topic
            self._listener.received(Message(topic, bytes(message.payload), message.retain))
        except Exception as error:
            self._listener.receive_failed(topic, error)

    def _on_puback(self, mid: int, reason: ReasonCode, properties: Properties | None) -> None:
        message = self._sent.pop(mid, None)
        if message and reason.is_failure:
            topic, own_words = message.topic, reason_string(properties)
            words = errors.publish_rejected(self._config, topic, reason.value, own_words)
            self._listener.publish_rejected(message, "publish", words)
        if self._drained and not self._sent and not self._drained.done():
            self._drained.set_result(None)

    def _on_suback(self, mid: int, reasons: list[ReasonCode]) -> None:
        answers = zip(self._asked.pop(mid, ()), reasons, strict=False)
        rejected = [each for each, reason in answers if reason.is_failure]
        if rejected:
            words = errors.subscribe_rejected(self._config, rejected)
            self._listener.restricted("subscribe", words)
        self._listener.subscribed()

    def _on_disconnect(
        self, flags: DisconnectFlags, reason: ReasonCode, properties: Properties | None
    ) -> None:
        """Note why the connection ended: the broker's reason, or else Paho's."""
        is_sudden = False
        if flags.is_disconnect_packet_from_server:
            words = errors.disconnected(self._config, reason.value, reason_string(properties))
        elif reason == "Protocol error":
            words = errors.not_mqtt_5(self._config)
        elif reason == "Keep alive timeout":
            words = errors.ping_timeout(self._config, self._client.keepalive)
        elif not self._is_ready:
            words = errors.connack_missing(self._config, self._network_error)
        else:
            is_sudden = self._network_error is None
            words = errors.connection_lost(self._config, self._network_error)
        self._finish(words, is_sudden)

    def _finish(self, words: str, is_sudden: bool = False) -> None:
        self._is_ready = False
        if self._check_timer:
            self._check_timer.cancel()
        if not self._end.done():
            self._end.set_result(BrokerError(words, is_sudden))


@contextlib.asynccontextmanager
async def _timeout(seconds: float, words: str) -> AsyncIterator[None]:
    """Raise BrokerError with these words if the block takes longer."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise BrokerError(words) from None


async def _first_of(*futures: asyncio.Future[Any]) -> None:
    """Wait for one of the futures. The others stay as they are."""
    await asyncio.wait(futures, return_when=asyncio.FIRST_COMPLETED)
