"""Model of all Pis at a broker, from what they publish there.

Any client may publish anything: only valid messages are accepted, and the memory for them is
bounded."""

import logging
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from sys import getsizeof
from typing import Annotated, Literal, TypeVar
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta, Raw, Struct
from msgspec.structs import replace

from ..config.schema import Label, Name, Seconds
from ..errors import Values
from ..limits import DEFAULT, Limits
from ..messages import (
    UNREADABLE,
    Audience,
    CoverState,
    FleetCover,
    FleetPi,
    FleetPin,
    PinWords,
    Value,
    encode,
)

_TOPIC = re.compile(r"[^\s+#$/]+(/[^\s+#/]+)+")
_MAX_TOPIC_CHARACTERS = 100
_MAX_ERROR_CHARACTERS = 200
_MAX_PINS_OF_COVER = 4
"""Two outputs and two contacts."""

log = logging.getLogger(__name__)

PinAudience = Callable[[str, FleetPin | FleetCover], Audience | None]
"""Function that returns who may switch a pin, or move a cover, of the Pi at a topic from this
server."""

# Only the fields that are needed. A newer Pi may send more.
Position = Annotated[int, Meta(ge=0, le=100)] | None
PinValue = Annotated[int, Meta(ge=0, le=1)] | Annotated[float, Meta(ge=0, le=1)] | None
_Word = Annotated[str, Meta(pattern=r"\A[a-z][a-z0-9_-]{0,31}\Z")]
_Time = Annotated[float, Meta(ge=0, le=1e11)] | None
_Values = Annotated[
    dict[Annotated[str, Meta(pattern=r"\A[a-z_]{1,32}\Z")], str | float], Meta(max_length=8)
]
"""What fills the braces of a message. No integers: one of more than 64 bits could not be sent."""


class _PinState(Struct):
    value: PinValue
    time: _Time


class _CoverState(Struct):
    state: CoverState
    position: Position
    problem: str | None
    time: _Time
    problem_reason: _Word | None = None
    problem_values: _Values = {}


class _Server(Struct):
    host: Annotated[str, Meta(max_length=253)]
    version: Annotated[str, Meta(max_length=40)]
    simulated: bool


class _DescribedWords(Struct):
    on: Label
    off: Label


class _DescribedPin(Struct):
    name: Name
    label: Label
    mode: Literal["input", "output", "pwm"]
    value: PinValue
    since: _Time
    writable: bool
    pulse: Seconds | None = None
    group: Name | None = None
    confirm: bool = False
    control: Audience | None = None
    error: str | None = None
    error_reason: _Word | None = None
    error_values: _Values = {}
    kind: _Word | None = None
    room: Label | None = None
    icon: _Word | None = None
    words: _DescribedWords | None = None
    hidden: bool = False


class _DescribedCover(Struct):
    name: Name
    label: Label
    kind: _Word
    state: CoverState
    position: Position
    problem: str | None
    since: _Time
    writable: bool
    has_position: bool
    can_stop: bool
    problem_reason: _Word | None = None
    problem_values: _Values = {}
    confirm: bool = False
    control: Audience | None = None
    room: Label | None = None
    icon: _Word | None = None
    hidden: bool = False
    pins: list[Name] = []


class _Description(Struct):
    time: _Time
    server: _Server
    pins: list[_DescribedPin]
    url: Annotated[str, Meta(max_length=300)] | None = None
    covers: list[_DescribedCover] = []


_states = msgspec.json.Decoder(_PinState)
_cover_states = msgspec.json.Decoder(_CoverState)
_descriptions = msgspec.json.Decoder(_Description)
_State = TypeVar("_State", _PinState, _CoverState)


class Pi:
    """Pi that has published its status.

    `pins` is None until it has described itself. Until then it is not sent to viewers."""

    __slots__ = ("topic", "is_online", "heard", "server", "url", "pins", "covers", "text_bytes")

    def __init__(self, topic: str) -> None:
        self.topic = topic
        self.is_online = False
        self.heard: float | None = None
        self.server: _Server | None = None
        self.url: str | None = None
        self.pins: dict[str, FleetPin] | None = None
        self.covers: dict[str, FleetCover] = {}
        self.text_bytes = 0
        """Memory for its texts."""

    @property
    def name(self) -> str:
        """Name for people: the host, or the topic while that is unknown."""
        return self.server.host if self.server else self.topic

    def entry(self, audience: PinAudience) -> FleetPi:
        """Return the Pi as viewers get it, with the `audience` of each pin and cover."""
        assert self.server and self.pins is not None
        pins = [replace(pin, control=audience(self.topic, pin)) for pin in self.pins.values()]
        covers = [
            replace(each, control=audience(self.topic, each)) for each in self.covers.values()
        ]
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
            covers=covers,
        )

    @property
    def size(self) -> int:
        """Number of its pins and covers."""
        return len(self.pins or ()) + len(self.covers)

    def note_heard(self, when: float | None) -> None:
        """Note the time of a message, None if it is unknown."""
        if when is not None:
            self.heard = max(when, self.heard or 0)


class Fleet:
    """All Pis whose topics have the same first level as `own_topic` and as many levels.

    It does no input or output. Times are Unix seconds."""

    def __init__(
        self,
        own_topic: str,
        audience: PinAudience = lambda topic, pin: pin.control,
        limits: Limits = DEFAULT,
    ) -> None:
        self._audience = audience
        self._limits = limits
        levels = own_topic.split("/")
        self._root = levels[0]
        self._depth = len(levels)
        self._pis: dict[str, Pi] = {}
        self._pin_count = 0
        self._text_bytes = 0
        self._changed: dict[str, dict[str, FleetPin]] = {}
        self._moved: dict[str, dict[str, FleetCover]] = {}
        self._renewed: dict[str, None] = {}
        self._removed: dict[str, None] = {}
        self._ignored = 0
        self._ignored_logged_at = -math.inf
        self.is_over_limit = False
        """True if some Pis are left out because there are too many."""

    def __getitem__(self, topic: str) -> Pi:
        """Return a Pi that has described itself. Raises KeyError."""
        pi = self._pis[topic]
        if pi.pins is None:
            raise KeyError(topic)
        return pi

    def __contains__(self, topic: str) -> bool:
        """Return whether a Pi has published its status, described or not."""
        return topic in self._pis

    @property
    def pattern(self) -> str:
        """Filter for the topics of all Pis, in MQTT's syntax."""
        return "/".join([self._root, *("+" * (self._depth - 1))])

    def entries(self) -> Iterator[FleetPi]:
        """Yield all described Pis by topic, each with its state at that moment."""
        for topic in sorted(self._pis):
            pi = self._pis.get(topic)
            if pi and pi.pins is not None:
                yield pi.entry(self._audience)

    # Messages from the broker

    def receive(self, topic: str, payload: bytes, is_retained: bool, now: float) -> None:
        """Apply a message to the model, or ignore it if it is invalid.

        `is_retained` is true if it was published at an unknown time before we subscribed."""
        base, _, name = topic.rpartition("/pins/")
        if base:
            self._receive_pin(base, name, payload, is_retained, now)
            return
        base, _, name = topic.rpartition("/covers/")
        if base:
            self._receive_cover(base, name, payload, is_retained, now)
            return
        base, _, subtopic = topic.rpartition("/")
        if subtopic == "status":
            self._receive_status(base, payload, is_retained, now)
        elif subtopic == "describe":
            self._receive_description(base, payload, is_retained, now)

    def set_offline_except(self, topics: set[str]) -> None:
        """Set all Pis offline except those at `topics`, which were heard since the reconnection."""
        for pi in self._pis.values():
            if pi.is_online and pi.topic not in topics:
                pi.is_online = False
                self._renew(pi)

    def _receive_status(self, topic: str, payload: bytes, is_retained: bool, now: float) -> None:
        pi = self._pis.get(topic)
        if not payload:
            self._remove(topic)
        elif payload not in (b"online", b"offline"):
            self._ignore(topic, now)
        elif pi := pi or self._add(topic, now):
            is_online = payload == b"online"
            if not is_retained:
                pi.note_heard(now)
            if is_online != pi.is_online:
                pi.is_online = is_online
                self._renew(pi)

    def _add(self, topic: str, now: float) -> Pi | None:
        """Add a Pi and return it, or None if its topic is not one of ours or there are too many."""
        levels = topic.split("/")
        is_ours = len(levels) == self._depth and levels[0] == self._root
        if not is_ours or not _TOPIC.fullmatch(topic) or not topic.isprintable():
            return None
        if len(topic) > _MAX_TOPIC_CHARACTERS:
            self._ignore(topic, now)
            return None
        if len(self._pis) >= self._limits.fleet_max_pis:
            self.is_over_limit = True
            return None
        pi = self._pis[topic] = Pi(topic)
        return pi

    def _receive_description(
        self, topic: str, payload: bytes, is_retained: bool, now: float
    ) -> None:
        pi = self._pis.get(topic)
        if pi is None:
            return
        if not payload:
            self._remove_description(pi)
            return
        try:
            if len(payload) > self._limits.fleet_max_description_bytes:
                raise ValueError(len(payload))
            found = _descriptions.decode(payload)
        except UNREADABLE:
            self._ignore(topic, now)
            return
        before = pi.pins or {}
        described = found.pins[: self._limits.fleet_max_pins_per_pi]
        pins = {pin.name: _fleet_pin(pin, before.get(pin.name)) for pin in described}
        covers = {
            each.name: _fleet_cover(each, pi.covers.get(each.name))
            for each in found.covers[: self._limits.fleet_max_pins_per_pi]
        }
        pin_count = self._pin_count - pi.size + len(pins) + len(covers)
        own_text_bytes = _text_bytes(found, pins.values(), covers.values())
        text_bytes = self._text_bytes - pi.text_bytes + own_text_bytes
        limits = self._limits
        if pin_count > limits.fleet_max_pins or text_bytes > limits.fleet_max_text_bytes:
            self.is_over_limit = True
            return
        self._pin_count, self._text_bytes = pin_count, text_bytes
        pi.text_bytes = own_text_bytes
        pi.pins, pi.covers = pins, covers
        pi.server, pi.url = found.server, _checked_url(found.url)
        pi.note_heard(now if not is_retained else found.time and min(found.time, now))
        self._renew(pi)

    def _receive_pin(
        self, topic: str, name: str, payload: bytes, is_retained: bool, now: float
    ) -> None:
        pi = self._pis.get(topic)
        pin = pi and pi.pins and pi.pins.get(name)
        if not pi or not pin or not payload:
            return  # no pin of the description
        state = self._decoded(pi, _states, payload, is_retained, now)
        if state and (state.value, state.time) != (pin.value, pin.since):
            pin.value, pin.since = state.value, state.time
            if topic not in self._renewed:
                self._changed.setdefault(topic, {})[name] = pin

    def _receive_cover(
        self, topic: str, name: str, payload: bytes, is_retained: bool, now: float
    ) -> None:
        pi = self._pis.get(topic)
        cover = pi and pi.covers.get(name)
        if not pi or not cover or not payload:
            return  # no cover of the description
        state = self._decoded(pi, _cover_states, payload, is_retained, now)
        if state is None:
            return
        found = replace(
            cover,
            state=state.state,
            position=state.position,
            since=state.time,
            problem=_shortened(state.problem),
            problem_reason=state.problem_reason,
            problem_values=_shortened_values(state.problem_values),
        )
        more_bytes = _bytes_of(_cover_texts(found)) - _bytes_of(_cover_texts(cover))
        if self._text_bytes + more_bytes > self._limits.fleet_max_text_bytes:
            self.is_over_limit = True
        elif found != cover:
            self._text_bytes += more_bytes
            pi.text_bytes += more_bytes
            pi.covers[name] = found
            if topic not in self._renewed:
                self._moved.setdefault(topic, {})[name] = found

    def _decoded(
        self,
        pi: Pi,
        decoder: msgspec.json.Decoder[_State],
        payload: bytes,
        is_retained: bool,
        now: float,
    ) -> _State | None:
        """Return a published state, None if it is invalid, and note when its Pi was heard."""
        try:
            state = decoder.decode(payload)
        except UNREADABLE:
            self._ignore(pi.topic, now)
            return None
        pi.note_heard(now if not is_retained else state.time and min(state.time, now))
        return state

    def _remove(self, topic: str) -> None:
        pi = self._pis.get(topic)
        if pi:
            self._remove_description(pi)
            del self._pis[topic]
            self.is_over_limit = False

    def _remove_description(self, pi: Pi) -> None:
        if pi.pins is not None:
            self._pin_count -= pi.size
            self._text_bytes -= pi.text_bytes
            pi.pins, pi.covers, pi.text_bytes = None, {}, 0
            self._changed.pop(pi.topic, None)
            self._moved.pop(pi.topic, None)
            self._renewed.pop(pi.topic, None)
            self._removed[pi.topic] = None

    def _ignore(self, topic: str, now: float) -> None:
        """Count an invalid message, and log it if none was logged lately."""
        self._ignored += 1
        if now - self._ignored_logged_at >= self._limits.mqtt_log_interval_s:
            self._ignored_logged_at = now
            words = "mqtt: %d messages of other clients were invalid, the last one at %s"
            log.warning(words, self._ignored, topic[:_MAX_TOPIC_CHARACTERS])
            self._ignored = 0

    # News for viewers

    @property
    def has_news(self) -> bool:
        """True if anything changed since the last `take_news` or `skip_news`."""
        return bool(self._changed or self._moved or self._renewed or self._removed)

    def skip_news(self) -> None:
        """Drop all news."""
        self._changed.clear()
        self._moved.clear()
        self._renewed.clear()
        self._removed.clear()

    def take_news(self) -> tuple[dict[str, Raw], list[Raw], list[str], dict[str, Raw]]:
        """Return what changed since the last call, with the present values, as in messages.News.

        It is the changed pins by topic, the entries of Pis, the topics of removed Pis, and the
        changed covers by topic. One call returns at most `fleet_max_news_bytes`, or one entry that
        is larger; the next continues."""
        changed: dict[str, Raw] = {}
        moved: dict[str, Raw] = {}
        renewed: list[Raw] = []
        removed: list[str] = []
        size = 0
        max_bytes = self._limits.fleet_max_news_bytes
        while self._removed and size < max_bytes:
            topic = next(iter(self._removed))
            del self._removed[topic]
            removed.append(topic)
            size += len(encode(topic))
        while self._renewed and size < max_bytes:
            topic = next(iter(self._renewed))
            entry = encode(self._pis[topic].entry(self._audience))
            if size and size + len(entry) > max_bytes:
                break
            del self._renewed[topic]
            renewed.append(Raw(entry))
            size += len(entry)
        while self._changed and size < max_bytes:
            topic = next(iter(self._changed))
            pins = self._changed.pop(topic)
            values = encode({name: (pin.value, pin.since) for name, pin in pins.items()})
            changed[topic] = Raw(values)
            size += len(encode(topic)) + len(values)
        while self._moved and size < max_bytes:
            topic = next(iter(self._moved))
            covers, states = self._moved[topic], dict[str, Raw]()
            size += len(encode(topic))
            while covers and size < max_bytes:  # the problems of all may be more than one message
                name, cover = covers.popitem()
                states[name] = Raw(encode(_news_of(cover)))
                size += len(name) + len(states[name])
            if not covers:
                del self._moved[topic]
            moved[topic] = Raw(encode(states))
        return changed, renewed, removed, moved

    def renew(self) -> None:
        """Add the entries of all Pis to the news."""
        for pi in self._pis.values():
            self._renew(pi)

    def _renew(self, pi: Pi) -> None:
        if pi.pins is not None:
            self._removed.pop(pi.topic, None)
            self._changed.pop(pi.topic, None)  # the entry has the values
            self._moved.pop(pi.topic, None)
            self._renewed[pi.topic] = None


def _fleet_pin(described: _DescribedPin, known: FleetPin | None) -> FleetPin:
    """Return a pin as it was described.

    Its state is that of `known` if that is newer: the broker may have retained the description for
    long."""
    value: Value = described.value
    since = described.since
    if known and (known.since or 0) > (since or 0):
        value, since = known.value, known.since
    is_writable = described.writable and described.mode != "input"
    words = described.words
    return FleetPin(
        name=described.name,
        label=described.label or described.name,
        mode=described.mode,
        value=value,
        since=since,
        writable=is_writable and described.control != "nobody",
        pulse=described.pulse,
        group=described.group,
        confirm=described.confirm,
        control=described.control,
        error=_shortened(described.error),
        error_reason=described.error_reason,
        error_values=_shortened_values(described.error_values),
        kind=described.kind,
        room=described.room,
        icon=described.icon,
        words=PinWords(words.on, words.off) if words else None,
        hidden=described.hidden,
    )


def _fleet_cover(described: _DescribedCover, known: FleetCover | None) -> FleetCover:
    """Return a cover as it was described, with the state of `known` if that is newer."""
    newest: _DescribedCover | FleetCover = described
    if known and (known.since or 0) > (described.since or 0):
        newest = known
    return FleetCover(
        name=described.name,
        label=described.label or described.name,
        kind=described.kind,
        room=described.room,
        icon=described.icon,
        hidden=described.hidden,
        state=newest.state,
        position=newest.position,
        problem=_shortened(newest.problem),
        problem_reason=newest.problem_reason,
        problem_values=_shortened_values(newest.problem_values),
        since=newest.since,
        writable=described.writable and described.control != "nobody",
        confirm=described.confirm,
        control=described.control,
        has_position=described.has_position,
        can_stop=described.can_stop,
        pins=described.pins[:_MAX_PINS_OF_COVER],
    )


def _shortened(error: str | None) -> str | None:
    return None if error is None else error[:_MAX_ERROR_CHARACTERS]


def _shortened_values(values: Mapping[str, str | float]) -> Values:
    return {
        name: value[:_MAX_ERROR_CHARACTERS] if isinstance(value, str) else value
        for name, value in values.items()
    }


def _news_of(cover: FleetCover) -> tuple[object, ...]:
    """Return the state of a cover as messages.News has it."""
    return (
        cover.state,
        cover.position,
        cover.since,
        cover.problem,
        cover.problem_reason,
        cover.problem_values,
    )


def _text_bytes(found: _Description, pins: Iterable[FleetPin], covers: Iterable[FleetCover]) -> int:
    """Return the memory in bytes of the texts that are kept of a description."""
    texts = [found.server.host, found.server.version, found.url or ""]
    for pin in pins:
        texts += (pin.name, pin.label, pin.group or "", pin.room or "")
        texts += _words_of(pin.error, pin.error_reason, pin.error_values)
        if pin.words:
            texts += (pin.words.on, pin.words.off)
    for cover in covers:
        texts += _cover_texts(cover)
    return _bytes_of(texts)


def _cover_texts(cover: FleetCover) -> Iterator[str]:
    yield from (cover.name, cover.label, cover.room or "", *cover.pins)
    yield from _words_of(cover.problem, cover.problem_reason, cover.problem_values)


def _words_of(message: str | None, reason: str | None, values: Values) -> Iterator[str]:
    yield from (message or "", reason or "", *values)
    yield from (value for value in values.values() if isinstance(value, str))


def _bytes_of(texts: Iterable[str]) -> int:
    return sum(getsizeof(text) for text in texts if text)


def _checked_url(url: str | None) -> str | None:
    """Return an address if a page may link to it: plain http or https, and no script."""
    try:
        found = urlsplit(url or "")
        is_valid = found.scheme in ("http", "https") and found.hostname and "@" not in found.netloc
    except ValueError:
        return None
    return url if is_valid and url and url.isprintable() and " " not in url else None
