"""What is known of all Pis at a broker, from what they say there. Whoever may publish there may
say anything: only what fits is taken, and never more of it than fits into a small machine."""

import logging
import re
from collections.abc import Callable, Iterable, Iterator
from sys import getsizeof
from typing import Annotated, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta, Raw, Struct
from msgspec.structs import replace

from ..messages import UNREADABLE, Audience, FleetPi, FleetPin, Value, encode

MOST_PIS = 5000
MOST_PINS = 40
"""Of one Pi."""
MOST_PINS_IN_ALL = 50_000
MOST_TEXT = 16 * 1024 * 1024
"""Bytes of memory for the texts of all Pis: one wide character makes a text four times as large."""
MOST_AT_ONCE = 64 * 1024
"""Bytes of JSON in one lot of news, a quarter of what closes a viewer (hub.MOST_BEHIND)."""
LARGEST = 64 * 1024
"""Bytes of a description that is read, so that its entry, which is told whole, is hardly larger."""
SAY_EVERY = 60.0
"""Seconds between two lines in the log about what was not understood."""
_TOPIC = re.compile(r"[^\s+#$/]+(/[^\s+#/]+)+")
_LONGEST_TOPIC = 100

log = logging.getLogger(__name__)

PinAudience = Callable[[str, FleetPin], Audience | None]
"""Who may switch a pin of the Pi at a topic from here."""

# Only what is needed here: a newer Pi may say more.
PinValue = Annotated[int, Meta(ge=0, le=1)] | Annotated[float, Meta(ge=0, le=1)] | None
_Time = Annotated[float, Meta(ge=0, le=1e11)] | None


class _State(Struct):
    value: PinValue
    time: _Time


class _Server(Struct):
    host: Annotated[str, Meta(max_length=253)]
    version: Annotated[str, Meta(max_length=40)]
    simulated: bool


class _Pin(Struct):
    name: Annotated[str, Meta(pattern=r"\A[a-z][a-z0-9_-]{0,31}\Z")]
    label: Annotated[str, Meta(max_length=64)]
    mode: Literal["input", "output", "pwm"]
    value: PinValue
    since: _Time
    writable: bool
    pulse: Annotated[float, Meta(ge=0, le=86400)] | None = None
    group: Annotated[str, Meta(max_length=32)] | None = None
    confirm: bool = False
    control: Audience | None = None
    error: str | None = None


class _Description(Struct):
    time: _Time
    server: _Server
    pins: list[_Pin]
    url: Annotated[str, Meta(max_length=300)] | None = None


_states = msgspec.json.Decoder(_State)
_descriptions = msgspec.json.Decoder(_Description)


class Pi:
    """One that has said whether it is there. `pins` is None until it has said what stands there,
    and nobody is told of it until then."""

    __slots__ = ("topic", "is_online", "heard", "server", "url", "pins", "text")

    def __init__(self, topic: str) -> None:
        self.topic = topic
        self.is_online = False
        self.heard: float | None = None
        self.server: _Server | None = None
        self.url: str | None = None
        self.pins: dict[str, FleetPin] | None = None
        self.text = 0
        """Bytes of memory for its texts."""

    @property
    def name(self) -> str:
        """For people."""
        return self.server.host if self.server else self.topic

    def entry(self, audience: PinAudience) -> FleetPi:
        """All there is to say of it, with the `audience` of each pin."""
        assert self.server and self.pins is not None
        pins = [replace(pin, control=audience(self.topic, pin)) for pin in self.pins.values()]
        return FleetPi(
            topic=self.topic,
            group="/".join(self.topic.split("/")[1:-1]),
            host=self.server.host,
            online=self.is_online,
            heard=self.heard,
            simulated=self.server.simulated,
            version=self.server.version,
            url=self.url,
            pins=pins,
        )

    def was_heard(self, when: float | None) -> None:
        if when is not None:
            self.heard = max(when, self.heard or 0)


class Pis:
    """All Pis like the one at `own_topic`: under its first level, at its depth. Pure knowledge;
    times are Unix seconds, `now` as given."""

    def __init__(
        self, own_topic: str, audience: PinAudience = lambda topic, pin: pin.control
    ) -> None:
        self._audience = audience
        levels = own_topic.split("/")
        self._root = levels[0]
        self._depth = len(levels)
        self._pis: dict[str, Pi] = {}
        self._count = 0
        self._text = 0
        self._changes: dict[str, dict[str, FleetPin]] = {}
        self._renewed: dict[str, None] = {}
        self._gone: dict[str, None] = {}
        self._strange = 0
        self._complained = -SAY_EVERY
        self.are_too_many = False
        """Whether some are not shown, since there are more than we bear."""

    def __getitem__(self, topic: str) -> Pi:
        """A Pi that has described itself. Raises KeyError."""
        pi = self._pis[topic]
        if pi.pins is None:
            raise KeyError(topic)
        return pi

    def __contains__(self, topic: str) -> bool:
        """Whether it has said that it is there or was, be it described or not."""
        return topic in self._pis

    @property
    def pattern(self) -> str:
        """Whose topics count, as a filter for a broker."""
        return "/".join([self._root, *("+" * (self._depth - 1))])

    def entries(self) -> Iterator[FleetPi]:
        """All of them, by topic, each as it is when its turn comes."""
        for topic in sorted(self._pis):
            pi = self._pis.get(topic)
            if pi and pi.pins is not None:
                yield pi.entry(self._audience)

    # What comes in.

    def take(self, topic: str, payload: bytes, kept: bool, now: float) -> None:
        """A message at `topic`; `kept`: the broker had it from before, who knows for how long."""
        base, _, name = topic.rpartition("/pins/")
        if base:
            self._take_pin(base, name, payload, kept, now)
            return
        base, _, what = topic.rpartition("/")
        if what == "status":
            self._take_status(base, payload, kept, now)
        elif what == "describe":
            self._take_description(base, payload, kept, now)

    def are_uncertain(self, certain: set[str]) -> None:
        """Whoever is not among the `certain` has not been heard since we lost the broker, and
        counts as offline."""
        for pi in self._pis.values():
            if pi.is_online and pi.topic not in certain:
                pi.is_online = False
                self._renew(pi)

    def _take_status(self, topic: str, payload: bytes, kept: bool, now: float) -> None:
        pi = self._pis.get(topic)
        if not payload:
            self._forget(topic)
        elif payload not in (b"online", b"offline"):
            self._ignore(topic, now)
        elif pi or self._welcome(topic, now):
            pi = pi or self._pis[topic]
            is_online = payload == b"online"
            if not kept:
                pi.was_heard(now)
            if is_online != pi.is_online:
                pi.is_online = is_online
                self._renew(pi)

    def _welcome(self, topic: str, now: float) -> bool:
        """Makes room for one more, if it may be one and there is any."""
        levels = topic.split("/")
        is_ours = len(levels) == self._depth and levels[0] == self._root
        if not is_ours or not _TOPIC.fullmatch(topic) or not topic.isprintable():
            return False
        if len(topic) > _LONGEST_TOPIC:
            self._ignore(topic, now)
            return False
        if len(self._pis) >= MOST_PIS:
            self.are_too_many = True
            return False
        self._pis[topic] = Pi(topic)
        return True

    def _take_description(self, topic: str, payload: bytes, kept: bool, now: float) -> None:
        pi = self._pis.get(topic)
        if pi is None:
            return
        if not payload:
            self._undescribe(pi)
            return
        try:
            if len(payload) > LARGEST:
                raise ValueError(len(payload))
            found = _descriptions.decode(payload)
        except UNREADABLE:
            self._ignore(topic, now)
            return
        before = pi.pins or {}
        pins = {pin.name: _pin(pin, before.get(pin.name)) for pin in found.pins[:MOST_PINS]}
        count = self._count - len(before) + len(pins)
        own_text = _memory_of_texts(found, pins.values())
        text = self._text - pi.text + own_text
        if count > MOST_PINS_IN_ALL or text > MOST_TEXT:
            self.are_too_many = True
            return
        self._count, self._text, pi.text = count, text, own_text
        pi.pins, pi.server, pi.url = pins, found.server, _checked(found.url)
        pi.was_heard(now if not kept else found.time and min(found.time, now))
        self._renew(pi)

    def _take_pin(self, topic: str, name: str, payload: bytes, kept: bool, now: float) -> None:
        pi = self._pis.get(topic)
        pin = pi and pi.pins and pi.pins.get(name)
        if not pi or not pin or not payload:
            return  # a leftover, or a trap
        try:
            state = _states.decode(payload)
        except UNREADABLE:
            self._ignore(topic, now)
            return
        pi.was_heard(now if not kept else state.time and min(state.time, now))
        if (state.value, state.time) != (pin.value, pin.since):
            pin.value, pin.since = state.value, state.time
            if topic not in self._renewed:
                self._changes.setdefault(topic, {})[name] = pin

    def _forget(self, topic: str) -> None:
        pi = self._pis.get(topic)
        if pi:
            self._undescribe(pi)
            del self._pis[topic]
            self.are_too_many = False

    def _undescribe(self, pi: Pi) -> None:
        if pi.pins is not None:
            self._count -= len(pi.pins)
            self._text -= pi.text
            pi.pins, pi.text = None, 0
            self._changes.pop(pi.topic, None)
            self._renewed.pop(pi.topic, None)
            self._gone[pi.topic] = None

    def _ignore(self, topic: str, now: float) -> None:
        self._strange += 1
        if now - self._complained >= SAY_EVERY:
            self._complained = now
            words = "%d messages of others were not understood, the last one at %s"
            log.warning(f"mqtt: {words}", self._strange, topic[:_LONGEST_TOPIC])
            self._strange = 0

    # What goes out.

    @property
    def has_news(self) -> bool:
        return bool(self._changes or self._renewed or self._gone)

    def skip_news(self) -> None:
        """Nobody is there to be told."""
        self._changes.clear()
        self._renewed.clear()
        self._gone.clear()

    def take_news(self) -> tuple[dict[str, Raw], list[Raw], list[str]]:
        """Return pins by topic, entries and topics that are gone, as in messages.News: what has
        changed since the last call, as it is now. Of a lot only as much as MOST_AT_ONCE, or one
        entry that is larger."""
        changes: dict[str, Raw] = {}
        renewed: list[Raw] = []
        gone: list[str] = []
        size = 0
        while self._gone and size < MOST_AT_ONCE:
            topic = next(iter(self._gone))
            del self._gone[topic]
            gone.append(topic)
            size += len(encode(topic))
        while self._renewed and size < MOST_AT_ONCE:
            topic = next(iter(self._renewed))
            entry = encode(self._pis[topic].entry(self._audience))
            if size and size + len(entry) > MOST_AT_ONCE:
                break
            del self._renewed[topic]
            renewed.append(Raw(entry))
            size += len(entry)
        while self._changes and size < MOST_AT_ONCE:
            topic = next(iter(self._changes))
            pins = self._changes.pop(topic)
            values = encode({name: (pin.value, pin.since) for name, pin in pins.items()})
            changes[topic] = Raw(values)
            size += len(encode(topic)) + len(values)
        return changes, renewed, gone

    def renew(self) -> None:
        """Count all that is known as news."""
        for pi in self._pis.values():
            self._renew(pi)

    def _renew(self, pi: Pi) -> None:
        if pi.pins is not None:
            self._gone.pop(pi.topic, None)
            self._changes.pop(pi.topic, None)  # its entry will say it
            self._renewed[pi.topic] = None


def _pin(told: _Pin, known: FleetPin | None) -> FleetPin:
    """A pin as it was described. A description that the broker has kept may be older than what
    was told since."""
    value: Value = told.value
    since = told.since
    if known and (known.since or 0) > (since or 0):
        value, since = known.value, known.since
    return FleetPin(
        name=told.name,
        label=told.label or told.name,
        mode=told.mode,
        value=value,
        since=since,
        writable=told.writable and told.mode != "input" and told.control != "nobody",
        pulse=told.pulse,
        group=told.group,
        confirm=told.confirm,
        control=told.control,
        error=None if told.error is None else told.error[:200],
    )


def _memory_of_texts(found: _Description, pins: Iterable[FleetPin]) -> int:
    """Return how many bytes of memory the texts take that are kept of a description."""
    texts = [found.server.host, found.server.version, found.url or ""]
    for pin in pins:
        texts += (pin.name, pin.label, pin.group or "", pin.error or "")
    return sum(getsizeof(text) for text in texts if text)


def _checked(url: str | None) -> str | None:
    """An address that a page may link to: nothing that runs in it."""
    try:
        found = urlsplit(url or "")
        is_one = found.scheme in ("http", "https") and found.hostname and "@" not in found.netloc
    except ValueError:
        return None
    return url if is_one and url and url.isprintable() and " " not in url else None
