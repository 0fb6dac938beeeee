"""Watcher of all Pis at the broker. It also sends commands to them.

It has a connection of its own while there are viewers, so that the fleet does not delay what this
Pi publishes."""

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Callable, Iterator

from .. import messages
from ..decoding import shorten
from ..errors import RequestError, refusal
from ..limits import DEFAULT, Limits
from ..messages import (
    BROKER_ERROR,
    Audience,
    BrokerNews,
    BrokerState,
    CoverResult,
    FleetCover,
    FleetPin,
    News,
    Ping,
    RemoteCommand,
    RemoteMove,
    RemoteSet,
    Value,
    encode,
)
from ..net.hub import Hub
from ..system.logs import LIMITED
from ..system.ticker import Ticker
from .broker_config import BrokerConfig
from .client import MqttClient, MqttListener
from .fleet import Fleet, Pi
from .message import Message
from .pending_commands import PendingCommands, in_words, payload

_NOTHING_STORED = (
    "it sent nothing that was published before. RabbitMQ never sends it; another broker's ACL may"
    " forbid it. A Pi appears when it connects to the broker the next time"
)

log = logging.getLogger(__name__)


class FleetWatcher(MqttListener):
    """Fleet as seen from the Pi at `own_topic`. All methods belong to the loop's thread.

    `audience` returns the callers that may switch a pin or move a cover from here. Its first
    argument is true for one of this Pi."""

    def __init__(
        self,
        config: BrokerConfig,
        own_topic: str,
        audience: Callable[[bool, FleetPin | FleetCover], Audience | None],
        limits: Limits = DEFAULT,
    ) -> None:
        self.hub = Hub(self._viewers_changed, limits)
        self._config = config
        self._own_topic = own_topic
        self._audience = audience
        self._limits = limits
        self._loop = asyncio.get_running_loop()
        self._fleet = self._new_fleet()
        self._commands = PendingCommands(limits.fleet_answer_timeout_s)
        self._client: MqttClient | None = None
        self._disconnecting: asyncio.Future[None] | None = None
        self._is_closed = False
        self._seq = 0
        self._was_read = False
        """True if a caller has the whole fleet, to which news can be applied."""
        self._sent_state: BrokerState | None = None
        self._last_news = 0.0
        self._followed: set[str] = set()
        """Pis heard over this connection whose topics were subscribed to, or will be."""
        self._to_follow: deque[str] = deque()
        self._unanswered_subscriptions = 0
        self._was_sent_retained = False
        """True if the broker has sent a retained status over this connection."""
        self._is_in_doubt = self._asks_again = False
        """In doubt: it sent none in time. Asks again: the answer to that is on its way."""
        self._retains_for_wildcards = True
        self._with_results: set[str] = set()
        """Topics of pins and covers of Pis, whose answers were subscribed to."""
        self._with_covers: set[str] = set()
        """Pis whose covers were subscribed to over this connection."""
        self._is_complete = asyncio.Event()
        self._linger_timer: asyncio.TimerHandle | None = None
        self._news_timer: asyncio.TimerHandle | None = None
        self._return_timer: asyncio.TimerHandle | None = None
        self._tickers = (
            Ticker(self._ping_viewers, limits.fleet_ping_interval_s),
            Ticker(self._check_viewers, limits.fleet_viewer_check_interval_s),
        )

    @property
    def seq(self) -> int:
        """Number of the last news."""
        return self._seq

    @property
    def state(self) -> BrokerState:
        """State of the connection to the broker, the same for all viewers.

        It has no host, user or words of the broker. `/api/health` has them for callers that may
        switch pins."""
        client = self._client
        error = BROKER_ERROR if client and client.error else None
        if not error and self._fleet.is_over_limit:
            error = "there are more Pis at the broker than can be shown: some are left out"
        if not error and not self._retains_for_wildcards:
            error = _NOTHING_STORED
        return BrokerState(client is not None and client.is_connected, error)

    async def refresh(self) -> None:
        """Connect if necessary, and wait until all Pis have been received.

        The wait ends after `fleet_first_answer_timeout_s`, and when the broker is unreachable."""
        self._connect()
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._limits.fleet_first_answer_timeout_s):
                    await self._is_complete.wait()
        finally:
            if not self.hub:
                self._disconnect_later()

    def parts(self) -> Iterator[bytes]:
        """Yield the whole fleet as JSON of messages.Fleet, a few Pis at a time.

        A whole copy for each caller would take much memory. Changes made meanwhile are also sent as
        news."""
        self._was_read = True
        self._send_state()  # so that the caller is told of the next change from this state
        head = encode(messages.Fleet(time.time(), self._seq, self.state, []))
        yield head.removesuffix(b"]}")
        part = bytearray()
        comma = b""
        for entry in self._fleet.entries():
            part += comma + encode(entry)
            comma = b","
            if len(part) >= self._limits.fleet_part_bytes:
                yield bytes(part)
                part.clear()
        yield bytes(part) + b"]}"

    def is_own(self, topic: str) -> bool:
        """Return whether the topic is that of this Pi."""
        return topic == self._own_topic

    def target(self, command: RemoteCommand) -> tuple[Pi, FleetPin | FleetCover]:
        """Return the Pi of a command, and its pin or cover.

        Raises RequestError if the command cannot succeed."""
        try:
            pi = self._fleet[command.pi]
        except KeyError:
            raise refusal("unknown-pi", command.ref, pi=command.pi[:100]) from None
        target: FleetPin | FleetCover | None
        if isinstance(command, RemoteMove):
            name, unknown = command.cover, "unknown-fleet-cover"
            target = pi.covers.get(name)
        else:
            name, unknown = command.pin, "unknown-fleet-pin"
            target = (pi.pins or {}).get(name)
        if target is None:
            raise refusal(unknown, command.ref, pi=pi.name, name=shorten(name))
        if isinstance(target, FleetPin) and target.mode == "input":
            raise refusal("fleet-input", command.ref, pi=pi.name, label=target.label)
        if not target.writable:
            raise refusal("takes-no-commands", command.ref, pi=pi.name, label=target.label)
        if not pi.is_online:
            raise refusal("pi-offline", command.ref, pi=pi.name)
        if self.state.connected and pi.topic not in self._followed:
            raise refusal("pi-not-back", command.ref, pi=pi.name)
        return pi, target

    def carry_out(self, command: RemoteCommand, by: str) -> asyncio.Future[Value | CoverResult]:
        """Send a command once and return the future of its answer.

        `by` names the caller for the log. Raises RequestError, or the future does."""
        pi, target = self.target(command)
        client = self._client
        if client is None or not client.is_connected:
            raise refusal("broker-unreachable", command.ref)
        if not client.can_publish:
            raise refusal("broker-slow", command.ref)
        of_kind = f"{pi.topic}/{'pins' if isinstance(target, FleetPin) else 'covers'}"
        if of_kind not in self._with_results:
            self._with_results.add(of_kind)
            self._unanswered_subscriptions += 1
            client.subscribe(f"{of_kind}/+/result", retain_as_published=False)
        command_id, done = self._commands.add(f"{of_kind}/{target.name}/result", pi.name)
        topic, lifetime_s = f"{of_kind}/{target.name}/set", self._limits.fleet_answer_timeout_s
        client.publish(Message(topic, payload(command, command_id), False, command_id, lifetime_s))
        is_dimmed = (
            isinstance(command, RemoteSet)
            and isinstance(target, FleetPin)
            and target.mode == "pwm"
            and command.value
            and target.value
        )
        level = logging.DEBUG if is_dimmed else logging.INFO  # a slider sends many
        log.log(level, "%s at %s: %s, by %s", target.name, pi.topic, in_words(command), by)
        return done

    def renew(self) -> None:
        """Send all Pis to the viewers again: the audience of their pins may have changed."""
        self._fleet.renew()
        self._send_news_soon()

    async def close(self, code: int, reason: str) -> None:
        """Close all viewers with a close code and a reason, and disconnect from the broker."""
        self._is_closed = True
        self._commands.fail_all(RequestError("no-answer", reason))
        await asyncio.sleep(0)  # the errors are sent before the close frames
        self.hub.close(code, reason)
        self._disconnect()
        if self._disconnecting:
            await self._disconnecting

    # Start and stop

    def _viewers_changed(self, are_there_any: bool) -> None:
        if are_there_any:
            self._connect()
            for ticker in self._tickers:
                ticker.start()
        else:
            for ticker in self._tickers:
                ticker.stop()
            self._disconnect_later()

    def _new_fleet(self) -> Fleet:
        def audience(topic: str, pin: FleetPin | FleetCover) -> Audience | None:
            return self._audience(self.is_own(topic), pin)

        return Fleet(self._own_topic, audience, self._limits)

    def _connect(self) -> None:
        if self._linger_timer:
            self._linger_timer.cancel()
            self._linger_timer = None
        if self._client is None and not self._is_closed:
            log.info("mqtt: watching the Pis below %s", self._fleet.pattern, extra=LIMITED)
            self._is_complete.clear()
            self._was_read = False
            client_id = f"{self._own_topic.replace('/', '-')}-fleet"
            self._client = MqttClient(self._config, client_id, None, self, self._limits)
            self._client.start(self._disconnecting)

    def _disconnect_later(self) -> None:
        if self._linger_timer:
            self._linger_timer.cancel()
        if self._client:
            delay_s = self._limits.fleet_linger_s
            self._linger_timer = self._loop.call_later(delay_s, self._disconnect)

    def _disconnect(self) -> None:
        """Disconnect from the broker and forget all Pis."""
        for timer in (self._linger_timer, self._return_timer, self._news_timer):
            if timer:
                timer.cancel()
        self._linger_timer = self._return_timer = self._news_timer = None
        client, self._client = self._client, None
        if client:
            words = "mqtt: no longer watching the Pis below %s"
            log.info(words, self._fleet.pattern, extra=LIMITED)
            closing = client.close(timeout_s=self._limits.mqtt_close_timeout_s)
            self._disconnecting = asyncio.ensure_future(closing)
        self._fleet = self._new_fleet()
        self._reset_subscriptions()

    def _reset_subscriptions(self) -> None:
        """Forget what was subscribed to over the last connection."""
        self._followed.clear()
        self._with_results.clear()
        self._with_covers.clear()
        self._to_follow.clear()
        self._unanswered_subscriptions = 0
        self._was_sent_retained = self._is_in_doubt = self._asks_again = False
        self._retains_for_wildcards = True

    # Called by the client

    def connected(self) -> None:
        """Subscribe to the status of all Pis. Those that do not answer in time are offline."""
        if self._client is None:
            return  # disconnected meanwhile
        self._is_complete.clear()
        self._reset_subscriptions()
        timeout_s = self._limits.fleet_return_timeout_s
        self._return_timer = self._loop.call_later(timeout_s, self._set_missing_offline)
        self._subscribe(f"{self._fleet.pattern}/status")
        self._send_state()

    def disconnected(self, unacknowledged: list[Message]) -> None:
        """Let all waiting commands fail, and send the new state to the viewers."""
        if self._return_timer:
            self._return_timer.cancel()
            self._return_timer = None
        self._commands.fail_all(refusal("broker-lost"))
        self._send_state()

    def error_changed(self) -> None:
        """Send the new state to the viewers. A waiting `refresh` ends."""
        self._is_complete.set()
        self._send_state()

    def received(self, message: Message) -> None:
        """Apply a message of a Pi to the fleet, or finish the command that it answers."""
        topic = message.topic
        if self._client is None:
            return
        is_of_pi = "/pins/" not in topic and "/covers/" not in topic
        if topic.endswith("/result") and not is_of_pi:
            self._commands.answer(message)
            return
        self._fleet.receive(topic, message.payload, message.retain, time.time())
        if topic.endswith("/describe") and is_of_pi:
            self._follow_covers(topic.removesuffix("/describe"))
        if topic.endswith("/status") and is_of_pi:
            if message.retain:
                self._was_sent_retained, self._is_in_doubt = True, False
            elif self._is_in_doubt and topic == f"{self._own_topic}/status":
                self._ask_for_retained()  # it may have been too early before
            self._follow_or_leave(topic.removesuffix("/status"))
        self._send_news_soon()

    def subscribed(self) -> None:
        """Subscribe to the next Pis, if the last ones have been received."""
        self._unanswered_subscriptions -= 1
        if self._unanswered_subscriptions <= 0 and self._client:
            if self._asks_again:
                self._asks_again = False
                self._retains_for_wildcards = self._was_sent_retained
                self._send_state()
            self._follow_next()

    def publish_rejected(self, message: Message, rule: str, words: str) -> None:
        """Let the command in the message fail with `not-allowed`."""
        self._commands.fail(message.extra, refusal("broker-forbids", why=words))

    # Subscriptions

    def _follow_or_leave(self, topic: str) -> None:
        """Subscribe to a Pi that published its status, or unsubscribe from one that was removed."""
        assert self._client
        if topic in self._fleet and topic not in self._followed:
            self._followed.add(topic)
            self._to_follow.append(topic)
            if self._unanswered_subscriptions <= 0:
                self._follow_next()
        elif topic in self._followed and topic not in self._fleet:
            self._followed.discard(topic)
            self._with_results -= {f"{topic}/pins", f"{topic}/covers"}
            filters = [f"{topic}/describe", f"{topic}/pins/+"]
            if topic in self._with_covers:
                self._with_covers.discard(topic)
                filters.append(f"{topic}/covers/+")
            self._client.unsubscribe(*filters)

    def _follow_covers(self, topic: str) -> None:
        """Subscribe to the covers of a Pi, once it has described any."""
        try:
            has_covers = bool(self._fleet[topic].covers)
        except KeyError:
            return
        if has_covers and topic in self._followed and topic not in self._with_covers:
            self._with_covers.add(topic)
            self._subscribe(f"{topic}/covers/+")

    def _follow_next(self) -> None:
        """Subscribe to the next Pis. All messages of the last ones have been received."""
        if not self._to_follow:
            self._is_complete.set()
            return
        filters: list[str] = []
        while self._to_follow and len(filters) < 2 * self._limits.fleet_pis_at_once:
            topic = self._to_follow.popleft()
            if topic in self._followed:
                filters += [f"{topic}/describe", f"{topic}/pins/+"]
        if filters:
            self._subscribe(*filters)

    def _subscribe(self, *filters: str) -> None:
        """Subscribe, with the retained messages, and count the answers that are expected.

        The broker sends its answer before those messages. So there is a second subscription, which
        changes nothing and is answered after them. Both are at QoS 0, because Mosquitto counts
        messages on their way at QoS 1 and drops those beyond its limit."""
        assert self._client
        self._unanswered_subscriptions += 2
        self._client.subscribe(*filters, with_retained=True, retain_as_published=False, quality=0)
        status = f"{self._fleet.pattern}/status"
        self._client.subscribe(status, retain_as_published=False, quality=0)

    def _set_missing_offline(self) -> None:
        """Set the Pis offline that have not been heard since the connection was made.

        If the broker had nothing retained, not even the status of this Pi, ask it once more: this
        Pi may have connected after the fleet. Ask again when its status comes."""
        self._fleet.set_offline_except(self._followed)
        if not self._was_sent_retained:
            self._is_in_doubt = True
            self._ask_for_retained()
        self._send_news_soon()

    def _ask_for_retained(self) -> None:
        self._asks_again = True
        self._subscribe(f"{self._fleet.pattern}/status")

    # Messages to the viewers

    def _ping_viewers(self) -> None:
        self.hub.send_or_skip(Ping(round(time.time(), 6)))

    def _check_viewers(self) -> None:
        self.hub.check(self._loop.time())

    def _send_news_soon(self) -> None:
        """Send the news, if there are any, `fleet_news_interval_s` after the last ones."""
        if not self._fleet.has_news:
            return
        if not self.hub or not self._was_read:
            self._fleet.skip_news()
        elif self._news_timer is None:
            due = self._last_news + self._limits.fleet_news_interval_s
            self._news_timer = self._loop.call_at(max(due, self._loop.time()), self._send_news)

    def _send_news(self) -> None:
        self._news_timer = None
        self._last_news = self._loop.time()
        pins, pis, removed, covers = self._fleet.take_news()
        self._seq += 1
        self.hub.send(News(self._seq, round(time.time(), 6), pins, pis, removed, covers))
        self._send_news_soon()
        self._send_state()

    def _send_state(self) -> None:
        """Send the broker's state if it changed."""
        state = self.state
        if state != self._sent_state:
            self._sent_state = state
            self.hub.send(BrokerNews(state.connected, state.error))
