"""Watches all Pis at the broker, as long as somebody looks at their page or has just looked, over a
connection of its own, so that it holds up nothing that this Pi has to say; and passes on what is
to be switched there."""

import asyncio
import contextlib
import logging
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator
from typing import NamedTuple

import msgspec

from .. import messages
from ..errors import STATUS, ErrorCode, Ref, RequestError
from ..messages import (
    BROKER_ERROR,
    UNREADABLE,
    Audience,
    BrokerNews,
    BrokerState,
    FleetPin,
    News,
    Ping,
    RemoteCommand,
    RemoteSet,
    Value,
    encode,
)
from ..net.hub import Hub
from ..system.logs import LIMITED
from ..system.ticker import Ticker
from .broker_config import Account
from .client import Broker, Message, Speaker
from .fleet import Pi, PinAudience, PinValue, Pis

LINGER = 60.0
"""Seconds for which the connection is kept after the last one has looked."""
NEWS_EVERY = 0.05
"""Seconds between two lots of news; the first comes at once."""
ALIVE_EVERY = 5.0
LOOK_EVERY = 1.0
"""Seconds between two looks at whether the viewers are well."""
FIRST_LOOK = 2.0
"""Seconds that a question waits, at most, until all Pis have been heard."""
BACK_WITHIN = 2.0
"""Seconds after a connection within which a Pi that we knew is to be heard of again."""
ANSWER_WITHIN = 5
"""Whole seconds for a Pi to answer a command, which the broker drops after them, too."""
AT_ONCE = 25
"""Pis that are asked for together: Mosquitto keeps no more than 1,000 messages for one client, and
drops those beyond without a word."""
ONE_PART = 64 * 1024
"""Bytes, or somewhat more, that are encoded together for one who asks."""
GOODBYE = 1.0

log = logging.getLogger(__name__)


class _Answer(msgspec.Struct):
    """What a Pi answers: a `result` or an `error`."""

    type: str
    ref: Ref | None = None
    value: PinValue = None
    code: str = ""
    message: str = ""


_answers = msgspec.json.Decoder(_Answer)


class _Waiting(NamedTuple):
    topic: str
    name: str
    done: asyncio.Future[Value]
    timer: asyncio.TimerHandle


class Lookout(Speaker):
    """The house as it is seen from this Pi, whose topic is `own_topic`. `audience` tells of a pin,
    and whether it is of this Pi, who may switch it from here. All methods belong to the loop's
    thread."""

    def __init__(
        self,
        account: Account,
        own_topic: str,
        audience: Callable[[bool, FleetPin], Audience | None],
    ) -> None:
        self.hub = Hub(self._watched)
        self._account = account
        self._client_id = f"{own_topic.replace('/', '-')}-fleet"
        self._own_topic = own_topic
        self._loop = asyncio.get_running_loop()
        self._audience: PinAudience = lambda topic, pin: audience(self.is_own(topic), pin)
        self._pis = Pis(own_topic, self._audience)
        self._broker: Broker | None = None
        self._leaving: asyncio.Future[None] | None = None
        self._leave_at: asyncio.TimerHandle | None = None
        self._is_closed = False
        self._seq = 0
        self._is_read = False
        """Whether anybody has the whole, so that news are of use."""
        self._told: BrokerState | None = None
        self._next_news: asyncio.TimerHandle | None = None
        self._last_news = 0.0
        self._followed: set[str] = set()
        """Pis that have been heard over this connection, and whose pins were asked for."""
        self._to_follow: deque[str] = deque()
        self._unanswered = 0
        self._is_complete = asyncio.Event()
        self._settling: asyncio.TimerHandle | None = None
        self._waiting: dict[str, _Waiting] = {}
        self._answering: set[str] = set()
        """Pis to whose answers we listen over this connection."""
        self._tickers = (
            Ticker(lambda: self.hub.show(Ping(round(time.time(), 6))), ALIVE_EVERY),
            Ticker(lambda: self.hub.look_after(self._loop.time()), LOOK_EVERY),
        )

    # What is asked from outside.

    @property
    def seq(self) -> int:
        return self._seq

    @property
    def state(self) -> BrokerState:
        """How it stands with the broker. All viewers get the same, so it names no host and no user;
        the health reasons of callers who may switch do."""
        broker = self._broker
        trouble = BROKER_ERROR if broker and broker.trouble else None
        if not trouble and self._pis.are_too_many:
            trouble = "there are more Pis at the broker than can be shown: some are left out"
        return BrokerState(broker is not None and broker.is_connected, trouble)

    async def look(self) -> None:
        """Looks at all Pis, if it does not yet, and waits for a moment until they have been
        heard."""
        self._open()
        if not self.hub:
            self._leave_later()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FIRST_LOOK):
                await self._is_complete.wait()

    def parts(self) -> Iterator[bytes]:
        """All that is known, as JSON of messages.Fleet, a few Pis at a time: a large house is not
        to be in memory once more for each who asks. What changes meanwhile comes as news, too."""
        self._is_read = True
        head = encode(messages.Fleet(time.time(), self._seq, self.state, []))
        yield head.removesuffix(b"]}")
        part = bytearray()
        comma = b""
        for entry in self._pis.entries():
            part += comma + encode(entry)
            comma = b","
            if len(part) >= ONE_PART:
                yield bytes(part)
                part.clear()
        yield bytes(part) + b"]}"

    def carry_out(self, order: RemoteCommand, by: str) -> asyncio.Future[Value]:
        """Passes a command on, once. Raises RequestError, or the future does; `by` says who, for
        the journal."""
        pi, pin = self.target(order)
        broker = self._broker
        if broker is None or not broker.is_connected:
            raise RequestError(
                "unavailable", "the broker is not there: nothing was sent", order.ref
            )
        if not broker.room:
            raise RequestError("unavailable", "the broker is too slow: nothing was sent", order.ref)
        base = f"{pi.topic}/pins"
        if pi.topic not in self._answering:
            self._answering.add(pi.topic)
            self._unanswered += 1
            broker.subscribe(f"{base}/+/result", as_published=False)
        id = uuid.uuid4().hex
        done: asyncio.Future[Value] = self._loop.create_future()
        timer = self._loop.call_later(ANSWER_WITHIN, self._give_up, id)
        self._waiting[id] = _Waiting(f"{base}/{pin.name}/result", pi.name, done, timer)
        payload = _payload(order, id)
        broker.publish(Message(f"{base}/{pin.name}/set", payload, False, id, ANSWER_WITHIN))
        is_dimmed = isinstance(order, RemoteSet) and pin.mode == "pwm" and order.value and pin.value
        level = logging.DEBUG if is_dimmed else logging.INFO  # a slider moves a lot
        log.log(level, "%s at %s: %s, by %s", pin.name, pi.topic, _in_words(order), by)
        return done

    def renew(self) -> None:
        """Tell all there is once more: who may switch from here may be another."""
        self._pis.renew()
        if self._pis.has_news:
            self._tell_soon()

    async def close(self, code: int, reason: str) -> None:
        """Sends the viewers away, and takes leave of the broker."""
        self._is_closed = True
        self._fail_all("no-answer", reason)
        await asyncio.sleep(0)  # whose command waited is told, and only then bidden goodbye
        self.hub.close(code, reason)
        self._leave()
        if self._leaving:
            await self._leaving

    # Coming and going.

    def _watched(self, by_somebody: bool) -> None:
        if by_somebody:
            self._open()
            for ticker in self._tickers:
                ticker.start()
        else:
            for ticker in self._tickers:
                ticker.stop()
            self._leave_later()

    def _open(self) -> None:
        if self._leave_at:
            self._leave_at.cancel()
            self._leave_at = None
        if self._broker is None and not self._is_closed:
            log.info("mqtt: looking at the Pis below %s", self._pis.pattern, extra=LIMITED)
            self._is_complete.clear()
            self._is_read = False
            self._broker = Broker(self._account, self._client_id, None, self)
            self._broker.start(self._leaving)

    def _leave_later(self) -> None:
        if self._leave_at:
            self._leave_at.cancel()
        if self._broker:
            self._leave_at = self._loop.call_later(LINGER, self._leave)

    def _leave(self) -> None:
        """Nobody looks any more: nothing is kept."""
        for timer in (self._leave_at, self._settling, self._next_news):
            if timer:
                timer.cancel()
        self._leave_at = self._settling = self._next_news = None
        broker, self._broker = self._broker, None
        if broker:
            words = "mqtt: nobody looks at the Pis below %s any more"
            log.info(words, self._pis.pattern, extra=LIMITED)
            self._leaving = asyncio.ensure_future(broker.close(None, GOODBYE))
        self._pis = Pis(self._own_topic, self._audience)
        self._begin_anew()

    def _begin_anew(self) -> None:
        """Of another connection nothing counts."""
        self._followed.clear()
        self._answering.clear()
        self._to_follow.clear()
        self._unanswered = 0

    # What the broker calls.

    def connected(self) -> None:
        if self._broker is None:
            return  # nobody looks any more
        self._is_complete.clear()
        self._begin_anew()
        self._settling = self._loop.call_later(BACK_WITHIN, self._settle)
        self._follow(f"{self._pis.pattern}/status")
        self._tell_of_broker()

    def lost(self, unacknowledged: list[Message]) -> None:
        if self._settling:
            self._settling.cancel()
            self._settling = None
        self._fail_all("no-answer", "the broker was lost before the answer came")
        self._tell_of_broker()

    def troubled(self) -> None:
        self._is_complete.set()
        self._tell_of_broker()

    def received(self, message: Message) -> None:
        topic = message.topic
        if self._broker is None:
            return
        if topic.endswith("/result") and "/pins/" in topic:
            self._answered(message)
            return
        self._pis.take(topic, message.payload, message.retain, time.time())
        if topic.endswith("/status") and "/pins/" not in topic:
            self._see(topic.removesuffix("/status"))
        if self._pis.has_news:
            self._tell_soon()

    def subscribed(self) -> None:
        self._unanswered -= 1
        if self._unanswered <= 0 and self._broker:
            self._go_on()

    def refused(self, message: Message, about: str, words: str) -> None:
        waiting = self._waiting.pop(message.extra, None)
        if waiting:
            waiting.timer.cancel()
            waiting.done.set_exception(RequestError("not-allowed", words))

    # Whom we listen to.

    def _see(self, topic: str) -> None:
        """A Pi has said that it is there or not, or that it is no more."""
        assert self._broker
        if topic in self._pis and topic not in self._followed:
            self._followed.add(topic)
            self._to_follow.append(topic)
            if self._unanswered <= 0:
                self._go_on()
        elif topic in self._followed and topic not in self._pis:
            self._followed.discard(topic)
            self._answering.discard(topic)
            self._broker.unsubscribe(*(f"{topic}/{what}" for what in ("describe", "pins/+")))

    def _go_on(self) -> None:
        """Asks for the next Pis, now that all of the last ones have been heard."""
        if not self._to_follow:
            self._is_complete.set()
            return
        filters: list[str] = []
        while self._to_follow and len(filters) < 2 * AT_ONCE:
            topic = self._to_follow.popleft()
            if topic in self._followed:
                filters += [f"{topic}/describe", f"{topic}/pins/+"]
        if filters:
            self._follow(*filters)

    def _follow(self, *filters: str) -> None:
        """Listens, from now on and to what the broker kept. It answers before it tells that; once
        it answers another time, for which something is asked that changes nothing, it has. At
        quality 0, since it would count what is on its way, and drop what is beyond its limit."""
        assert self._broker
        self._unanswered += 2
        self._broker.subscribe(*filters, with_kept=True, as_published=False, quality=0)
        self._broker.subscribe(f"{self._pis.pattern}/status", as_published=False, quality=0)

    def _settle(self) -> None:
        """Whoever has not come back with the broker is not there."""
        self._pis.are_uncertain(self._followed)
        if self._pis.has_news:
            self._tell_soon()

    # What the viewers are told.

    def _tell_soon(self) -> None:
        if not self.hub or not self._is_read:
            self._pis.skip_news()
        elif self._next_news is None:
            wait = self._last_news + NEWS_EVERY - self._loop.time()
            self._next_news = self._loop.call_later(max(0, wait), self._tell_news)

    def _tell_news(self) -> None:
        self._next_news = None
        self._last_news = self._loop.time()
        pins, pis, gone = self._pis.take_news()
        self._seq += 1
        self.hub.send(News(self._seq, round(time.time(), 6), pins, pis, gone))
        if self._pis.has_news:
            self._tell_soon()
        self._tell_of_broker()

    def _tell_of_broker(self) -> None:
        if self.state != self._told:
            self._told = self.state
            self.hub.send(BrokerNews(self.state.connected, self.state.error))

    # What is switched.

    def is_own(self, topic: str) -> bool:
        """Return whether a Pi is this one."""
        return topic == self._own_topic

    def target(self, order: RemoteCommand) -> tuple[Pi, FleetPin]:
        """Where a command goes. Raises RequestError where it would come to nothing."""
        try:
            pi = self._pis[order.pi]
        except KeyError:
            raise RequestError(
                "not-found", f"there is no Pi at {order.pi[:100]!r}", order.ref
            ) from None
        pin = pi.pins.get(order.pin) if pi.pins else None
        if pin is None:
            words = f"{pi.name} has no pin {order.pin[:40]!r}"
            raise RequestError("unknown-pin", words, order.ref)
        if pin.mode == "input":
            raise RequestError("not-writable", f"{pin.name} of {pi.name} is an input", order.ref)
        if not pin.writable:
            words = f"{pi.name} lets nobody at the broker switch {pin.name}"
            raise RequestError("not-allowed", words, order.ref)
        if not pi.is_online:
            raise RequestError("unavailable", f"{pi.name} is offline: nothing was sent", order.ref)
        if self.state.connected and pi.topic not in self._followed:
            words = f"{pi.name} has not come back with the broker yet: nothing was sent"
            raise RequestError("unavailable", words, order.ref)
        return pi, pin

    def _answered(self, message: Message) -> None:
        if message.retain:
            return
        try:
            answer = _answers.decode(message.payload)
        except UNREADABLE:
            return
        waiting = self._waiting.get(str(answer.ref))
        if waiting is None or waiting.topic != message.topic:
            return
        del self._waiting[str(answer.ref)]
        waiting.timer.cancel()
        if answer.type == "result":
            waiting.done.set_result(answer.value)
        else:
            code: ErrorCode = answer.code if answer.code in STATUS else "unavailable"
            words = answer.message[:300] or "no reason was given"
            waiting.done.set_exception(RequestError(code, f"{waiting.name}: {words}"))

    def _give_up(self, id: str) -> None:
        waiting = self._waiting.pop(id)
        words = f"{waiting.name} did not answer within {ANSWER_WITHIN} s"
        waiting.done.set_exception(RequestError("no-answer", words))

    def _fail_all(self, code: ErrorCode, words: str) -> None:
        while self._waiting:
            _, waiting = self._waiting.popitem()
            waiting.timer.cancel()
            waiting.done.set_exception(RequestError(code, words))


def _payload(order: RemoteCommand, id: str) -> bytes:
    """A command as a Pi takes it at the broker."""
    told = msgspec.structs.asdict(order)
    kind = type(order).__struct_config__.tag
    about = {key: value for key, value in told.items() if key in ("value", "seconds")}
    return encode({"type": kind, "ref": id, **{k: v for k, v in about.items() if v is not None}})


def _in_words(order: RemoteCommand) -> str:
    """For the journal."""
    if isinstance(order, RemoteSet):
        return f"set to {order.value:g}"
    return str(type(order).__struct_config__.tag)
