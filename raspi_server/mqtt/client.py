"""Client of one broker that stays connected.

It retries with back-off, reports errors in words, and hands unacknowledged messages back. It keeps
no message itself."""

import asyncio
import contextlib
import logging
import math
import random
import time
import traceback
from pathlib import Path

from paho.mqtt.subscribeoptions import SubscribeOptions

from ..limits import DEFAULT, Limits
from . import errors
from .broker_config import BrokerConfig
from .connection import Connection, connect
from .errors import BrokerError
from .message import Message

log = logging.getLogger(__name__)


class MqttListener:
    """Receiver of a client's events, called from the loop's thread.

    A subclass overrides the ones it needs; the others are ignored."""

    def connected(self) -> None:
        """Handle a new connection. The broker has no subscription of the last one."""

    def can_publish_more(self) -> None:
        """Handle that `can_publish` is true."""

    def disconnected(self, unacknowledged: list[Message]) -> None:
        """Handle the end of a connection. The `unacknowledged` messages may have arrived."""

    def received(self, message: Message) -> None:
        """Handle a message that another client published."""

    def subscribed(self) -> None:
        """Handle the broker's answer to one subscription."""

    def unsubscribed(self) -> None:
        """Handle the broker's answer to one `unsubscribe`."""

    def publish_rejected(self, message: Message, rule: str, words: str) -> None:
        """Handle a message that the broker rejected.

        `rule` names the reason for programs, `words` for people."""

    def error_changed(self) -> None:
        """Handle that the client's `error` may have changed."""


class Backoff:
    """Waits between attempts, doubled up to a limit, each cut by up to a half at random."""

    def __init__(self, min_s: float, max_s: float) -> None:
        self._min_s = min_s
        self._max_s = max_s
        self._next_s = min_s

    def reset(self) -> None:
        """Begin with the shortest wait again."""
        self._next_s = self._min_s

    def next_s(self) -> float:
        """Return the next wait in seconds."""
        wait_s = self._next_s
        self._next_s = min(2 * wait_s, self._max_s)
        return wait_s * random.uniform(0.5, 1)


class MqttClient:
    """Client of one broker. All methods belong to the loop's thread.

    No other client at the broker may have its `client_id`. The broker publishes `will` when the
    connection is lost."""

    def __init__(
        self,
        config: BrokerConfig,
        client_id: str,
        will: Message | None = None,
        listener: MqttListener | None = None,
        limits: Limits = DEFAULT,
    ) -> None:
        self.config = config
        self.client_id = client_id
        self._will = will
        self._listener = listener or MqttListener()
        self._limits = limits
        self._connection: Connection | None = None
        self._task: asyncio.Task[None] | None = None
        self._error: str | None = None
        self._restrictions: dict[str, str] = {}
        self._is_closing = False
        self._dropped = 0
        self._dropped_logged_at = -math.inf

    @property
    def broker_name(self) -> str:
        """The broker's name for sentences."""
        return errors.broker_name(self.config)

    @property
    def error(self) -> str | None:
        """Error of the connection, or first restriction on it, in words; None if all is well."""
        return self._error or next(iter(self._restrictions.values()), None)

    @property
    def is_connected(self) -> bool:
        """True while the broker has accepted a connection."""
        return self._connection is not None

    @property
    def can_publish(self) -> bool:
        """True while the broker takes one more message."""
        return self._connection is not None and self._connection.can_publish

    def start(self, after: asyncio.Future[None] | None = None) -> None:
        """Connect once `after` is done, and again after each loss, until `close`."""
        self._task = asyncio.create_task(self._stay_connected(after), name="mqtt")
        self._task.add_done_callback(self._task_ended)

    async def close(self, *last: Message, timeout_s: float) -> None:
        """Publish the last messages and disconnect.

        After `timeout_s` seconds the connection is cut, and the broker publishes the will."""
        self._is_closing = True
        connection = self._connection
        if connection:
            try:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(timeout_s):
                        await connection.disconnect(*last)
            finally:
                connection.abort()
        if self._task:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def check(self) -> str | None:
        """Connect and disconnect once. Return the error in words, or None."""
        try:
            connection = await self._connect()
        except BrokerError as error:
            return str(error)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._limits.mqtt_connect_timeout_s):
                await connection.disconnect()
        connection.abort()
        return None

    def subscribe(
        self,
        *filters: str,
        with_retained: bool = False,
        retain_as_published: bool = True,
        quality: int = 1,
    ) -> None:
        """Subscribe to all filters in one packet, if connected.

        `with_retained`: also receive the messages that the broker has retained by now.
        `retain_as_published`: messages published later keep their retain flag."""
        if self._connection:
            retained = (
                SubscribeOptions.RETAIN_SEND_ON_SUBSCRIBE
                if with_retained
                else SubscribeOptions.RETAIN_DO_NOT_SEND
            )
            options = SubscribeOptions(quality, False, retain_as_published, retained)
            self._connection.subscribe(filters, options)

    def unsubscribe(self, *filters: str) -> None:
        """Unsubscribe from all filters in one packet, if connected."""
        if self._connection:
            self._connection.unsubscribe(filters)

    def publish(self, message: Message) -> None:
        """Publish at QoS 1. Call it while `can_publish`."""
        assert self._connection
        self._connection.publish(message)

    def _task_ended(self, task: asyncio.Task[None]) -> None:
        """Log and report an exception of the task. Only `close` ends it without one."""
        if not task.cancelled() and task.exception():
            name = self.broker_name
            log.error(
                "mqtt: an internal error ended all attempts to reach %s",
                name,
                exc_info=task.exception(),
            )
            self._error = f"{name}: an internal error ended all attempts: see this server's log"
            self._listener.error_changed()

    async def _stay_connected(self, after: asyncio.Future[None] | None) -> None:
        loop = asyncio.get_running_loop()
        if after:
            await asyncio.wait([after])
        backoff = Backoff(self._limits.mqtt_min_retry_s, self._limits.mqtt_max_retry_s)
        ended_early = False
        while True:
            began = math.inf
            self._restrictions.clear()
            try:
                connection = await self._connect()
                began = loop.time()
                await self._use(connection)
            except BrokerError as error:
                if self._is_closing:
                    return
                is_new = loop.time() - began < self._limits.mqtt_settled_after_s
                ended_before, ended_early = ended_early, error.is_sudden and is_new
                again = ended_before and ended_early
                self._report(errors.ended_again(str(error)) if again else str(error))
            if loop.time() - began > self._limits.mqtt_settled_after_s:
                backoff.reset()
            await asyncio.sleep(backoff.next_s())

    def _report(self, error: str) -> None:
        if self._error != error:
            log.warning("mqtt: %s", error)
        self._error = error
        self._listener.error_changed()

    async def _connect(self) -> Connection:
        """Return a connection that the broker has accepted. Raises BrokerError."""
        return await connect(self.config, self.client_id, self._will, self, self._limits)

    async def _use(self, connection: Connection) -> None:
        """Let the listener use the connection until its end. Raises BrokerError."""
        self._connection = connection
        try:
            self._error = None
            log.info("mqtt: connected to %s as %s", self.config.address, self.client_id)
            self._listener.connected()
            await connection.ended()
        finally:
            self._connection = None
            connection.abort()
            self._listener.disconnected(connection.unacknowledged)

    # Called by the connection

    def received(self, message: Message) -> None:
        """Pass a message to the listener."""
        self._listener.received(message)

    def receive_failed(self, topic: str, error: Exception) -> None:
        """Count a message that raised an exception, and log it if none was logged lately."""
        self._dropped += 1
        now = time.monotonic()
        if now - self._dropped_logged_at >= self._limits.mqtt_log_interval_s:
            self._dropped_logged_at = now
            words = f"{type(error).__name__}: {error}{_place(error)}"
            count = f", {self._dropped} in all" if self._dropped > 1 else ""
            log.error("mqtt: a message at %s was dropped%s: %s", topic[:100], count, words)

    def subscribed(self) -> None:
        """Pass the answer to one subscription to the listener."""
        self._listener.subscribed()

    def unsubscribed(self) -> None:
        """Pass the answer to one `unsubscribe` to the listener."""
        self._listener.unsubscribed()

    def can_publish_more(self) -> None:
        """Tell the listener that `can_publish` is true."""
        self._listener.can_publish_more()

    def publish_rejected(self, message: Message, rule: str, words: str) -> None:
        """Pass a rejected message to the listener."""
        self._listener.publish_rejected(message, rule, words)

    def restricted(self, rule: str, words: str) -> None:
        """Report what the broker does not allow, once for each connection and rule."""
        if rule not in self._restrictions:
            self._restrictions[rule] = words
            log.warning("mqtt: %s", words)
            self._listener.error_changed()


def _place(error: Exception) -> str:
    """Return file and line where an exception was raised, in place of its whole traceback."""
    frames = traceback.extract_tb(error.__traceback__)
    return f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
